"""The walls of the house: which layer imports which, where each library may be imported, how files are kept."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_tree import PACKAGE_FOLDERS, ROOT, lay_out, run_python, source_files

SOURCES = source_files()
OUTER = ("cli", "pretrained", "converters", "kernels")
CORE = sorted({name.split(".")[1] for name in SOURCES if "." in name} - set(OUTER))

LAYERS = f"""
[importlinter]
root_package = edge_sdk
exclude_type_checking_imports = True

[importlinter:contract:layers]
name = cli on the zoo on the converters on the core; the kernels beside the converters
type = layers
containers = edge_sdk
exhaustive = True
layers =
    cli
    pretrained
    converters | kernels
    {" : ".join(CORE)}

[importlinter:contract:kernels]
name = kernels are found by name
type = forbidden
source_modules =
    edge_sdk.cli
    edge_sdk.pretrained
forbidden_modules =
    edge_sdk.kernels
"""

# Library → the package whose modules may import it when they are loaded. Everywhere else the import stands in a
# function, so that neither `import edge_sdk` nor a command pays for what it does not use. NumPy is everywhere.
HOMES = {
    "PIL": "edge_sdk.data",
    "click": "edge_sdk.cli",
    "flatbuffers": "edge_sdk.converters.tflite",
    "llvmlite": "edge_sdk.kernels.cpu",
    "numba": "edge_sdk.kernels.cpu",
    "numpy": "edge_sdk",
    "onnx": "edge_sdk.converters.onnx.backend",
    "platformdirs": "edge_sdk.kernels.cpu",
}

MOST_LINES = 400
FOLDERS = (*PACKAGE_FOLDERS.values(), "benchmarks", "examples", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SHAPELESS = {"common", "helper", "helpers", "misc", "util", "utilities", "utils"}
UNFINISHED = re.compile("TOD[O]|FIXM[E]|XX[X]")  # spelt so that this line is none


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Check the layers of a tree with import-linter."""
    (tree / "layers.ini").write_text(LAYERS, encoding="utf-8")
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run_python(
        tree, "-c", run, "--config", "layers.ini", "--no-cache", cwd=tree, environment={"PYTHONIOENCODING": "utf-8"}
    )


def test_layers_import_downwards_only(tmp_path):
    """No module imports a layer above its own, and none imports kernels, which the core finds by name."""
    result = lint_imports(lay_out(tmp_path))

    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 kept, 0 broken" in result.stdout
    assert f"Analyzed {len(SOURCES)} files" in result.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("session", "kernels.cpu"),
        ("model", "converters.tflite.export"),
        ("converters/tflite/writer", "pretrained.zoo"),
        ("converters/tflite/writer", "kernels.reference"),
        ("kernels/reference/conv", "converters.tflite.geometry"),
        ("pretrained/zoo", "cli.output"),
        ("cli/main", "kernels.cpu"),
    ],
)
def test_an_import_upwards_is_found(tmp_path, module, imported):
    """Each wall holds, even against an import inside a function."""
    tree = lay_out(tmp_path)
    with (tree / "edge_sdk" / f"{module}.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef forbidden():\n    import edge_sdk.{imported}\n")

    result = lint_imports(tree)

    assert result.returncode == 1, result.stdout + result.stderr
    assert f"edge_sdk.{module.replace('/', '.')} -> edge_sdk.{imported}" in result.stdout


def imported_at_once(statements: list[ast.stmt]) -> Iterator[str]:
    """The absolute names that a module imports while it is loaded, type checkers' imports left out."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield str(statement.module)
        elif isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            yield from imported_at_once(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            blocks = (getattr(statement, name, []) for name in ("body", "orelse", "finalbody"))
            handlers = (handler.body for handler in getattr(statement, "handlers", []))
            for block in itertools.chain(blocks, handlers):
                yield from imported_at_once(block)


def test_imports_are_seen_wherever_a_module_runs_them():
    """In branches, classes and handlers, and not in functions or for type checkers."""
    module = ast.parse(
        "import a.b\nif TYPE_CHECKING:\n    import unseen\nelse:\n    from c import d\n"
        "class E:\n    import f\ntry:\n    import g\nexcept ImportError:\n    import h\nfinally:\n    import i\n"
        "with j:\n    import k\ndef l():\n    import unseen\n"
    )

    assert list(imported_at_once(module.body)) == ["a.b", "c", "f", "g", "i", "h", "k"]


def test_libraries_are_imported_late():
    """A library is imported by the modules of its home, and by all others inside functions."""
    early = [
        f"{name} imports {library}"
        for name, path in SOURCES.items()
        for library in imported_at_once(ast.parse(path.read_text("utf-8")).body)
        if (top := library.split(".")[0]) not in {*sys.stdlib_module_names, "edge_sdk"}
        and not f"{name}.".startswith(f"{HOMES.get(top)}.")
    ]

    assert early == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_has_one_subject_and_is_finished(path):
    """It is short enough to be read from top to bottom, is named for a subject, and leaves nothing for later."""
    lines = path.read_text("utf-8").splitlines()

    assert len(lines) <= MOST_LINES
    assert path.stem.lower() not in SHAPELESS
    assert [line for line in lines if UNFINISHED.search(line)] == []
