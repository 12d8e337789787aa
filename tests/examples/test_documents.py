"""What the documents say is true: their Python runs, their excerpts are in the sources, the files they name exist."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import skimage.data
from PIL import Image

from edge_sdk.cli.main import edge
from edge_sdk.converters.onnx.table import READERS
from edge_sdk.op import OPERATORS
from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.pretrained.manifest import entries

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MAPPED = {"kernels", "converters", "pretrained", "cli"}
"""Folders whose import name starts with edge_sdk."""


@dataclass(frozen=True)
class Block:
    """A fenced block of Python: its code, and the file that it is an excerpt of, or none when it is to be run."""

    document: Path
    line: int
    file: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    """Every block between ```python and ```, in order."""
    text = document.read_text("utf-8")
    return [
        Block(document, text[: found.start()].count("\n") + 1, found[1], found[2])
        for found in re.finditer(r"^```python(?: file=(\S+))?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def run(blocks: list[Block], folder: Path) -> str:
    """Run the blocks of a document as one script in a folder; return what it prints."""
    script = folder / "document.py"
    script.write_text("\n".join(block.code for block in blocks), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=folder, env=os.environ | {"PYTHONIOENCODING": "utf-8"}, capture_output=True, text=True, encoding="utf-8",
        timeout=400, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_there_is_python_to_check():
    """The blocks are found at all."""
    assert {block.document.name for block in BLOCKS} >= {"README.md", "add-an-operator.md"}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.file is None], ids=str)
def test_every_block_compiles(block):
    """No document shows Python that is none."""
    program = ast.parse(block.code, str(block))

    compile(program, str(block), "exec")
    assert program.body, f"{block} holds nothing but comments"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.file is not None], ids=str)
def test_every_excerpt_is_in_its_file(block):
    """An excerpt is the code as it stands today."""
    source = (ROOT / block.file).read_text("utf-8")

    assert block.code.strip("\n") in source, f"{block}: no longer in {block.file}"


def test_add_an_operator_runs(tmp_path):
    """The walk through an operator of one's own: declared, checked, trained, saved, exported, and refused in int8."""
    blocks = [block for block in BLOCKS if block.document.name == "add-an-operator.md" and block.file is None]

    printed = run(blocks, tmp_path)

    assert "no 8-bit form of softsign" in printed
    assert (tmp_path / "small.tflite").exists()


def test_readme_runs(tmp_path):
    """The twenty lines, on real photos in the folders that they name."""
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.jpg")
    scenes = {
        "astronaut": skimage.data.astronaut(), "cat": skimage.data.chelsea(), "coffee": skimage.data.coffee(),
        "rocket": skimage.data.rocket(),
    }  # fmt: skip
    for label, scene in scenes.items():
        for part, offsets in (("train", (0, 15, 30, 45, 60, 75, 90, 105)), ("val", (8, 52))):
            folder = tmp_path / "photos" / part / label
            folder.mkdir(parents=True)
            for offset in offsets:
                Image.fromarray(scene[: 280 - offset, offset : offset + 280]).save(folder / f"{offset}.jpg")

    printed = run([block for block in BLOCKS if block.document.name == "README.md"], tmp_path)

    ranking, accuracy, top1, report = printed.splitlines()
    assert re.match(r"\[\('(tabby|tiger cat|Egyptian cat)', 0\.", ranking)
    assert float(accuracy) >= 0.75
    assert float(top1) >= 0.75
    assert float(report.split()[0]) >= 0.75
    assert (tmp_path / "model.tflite").stat().st_size == int(report.split()[3])


def links(document: Path) -> list[str]:
    """Targets of relative links, without the part behind #."""
    found = re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8"))
    return [target.split("#")[0] for target in found if "://" not in target and not target.startswith("#")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """Every relative link names a file of the repository."""
    missing = [target for target in links(document) if not (document.parent / target).exists()]

    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_the_text_exist(document):
    """What is written as `folder/file` or `folder/` in a known folder is there; `<name>` stands for any."""
    text = document.read_text("utf-8")
    tops = "edge_sdk|kernels|converters|pretrained|cli|tests|docs|examples"
    paths = {
        path for span in re.findall(r"`([^`\n]+)`", text) for path in re.findall(rf"^(?:{tops})/[\w./<>*-]*", span)
    }

    missing = [path for path in paths if not any(ROOT.glob(re.sub(r"<\w+>", "*", path.rstrip("/"))))]

    assert not missing


def packages() -> list[str]:
    """The import packages of pyproject.toml as folders."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    names = [package.removeprefix("edge_sdk.").replace(".", "/") for package in listed]
    return [name if name.split("/")[0] in {*MAPPED, "edge_sdk"} else f"edge_sdk/{name}" for name in names]


PLAN = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def rooms() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Of each section of the plan: the folders in its heading, and the files in the first column of its tables."""
    found = []
    for section in PLAN.split("\n### ")[1:]:
        heading, body = section.split("\n", 1)
        cells = re.findall(r"^\| (.*?) \|", body.split("\n## ")[0], re.MULTILINE)
        files = [name for cell in cells for name in re.findall(r"`(\w+\.\w+)`", cell)]
        found.append((tuple(re.findall(r"`([\w/]+)/`", heading)), tuple(files)))
    return [room for room in found if room[0]]


@pytest.mark.parametrize("folder", packages())
def test_the_plan_names_every_module(folder):
    """No room of the house is left out of docs/architecture.md, and no file of a room."""
    modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}

    named = {name for folders, files in rooms() if folder in folders for name in files}

    assert any(folder in folders for folders, _ in rooms())
    assert not modules - named


@pytest.mark.parametrize("room", rooms(), ids=lambda room: "+".join(room[0]))
def test_the_plan_names_no_file_that_is_gone(room):
    """Every file of a section is in one of its folders."""
    folders, files = room

    assert files
    assert not [name for name in files if not any((ROOT / folder / name).exists() for folder in folders)]


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_commands_in_the_text_have_the_options_that_they_are_given(document):
    """Every `edge …`, in a line of its own or within a sentence, names a command, and options that it has."""
    text = document.read_text("utf-8").replace("\\\n", " ")
    inline, lines = re.findall(r"`edge ([^`]+)`", text), re.findall(r"^ {4}(?:.*&& )?edge (.+)$", text, re.MULTILINE)

    for call in (*inline, *lines):
        name, *words = re.split(r" #|&&|\|(?= )", call)[0].split()
        if name.startswith("-"):
            continue
        command = edge.get_command(click.Context(edge), name)
        parameters = [
            *command.params,
            *(one for sub in getattr(command, "commands", {}).values() for one in sub.params),
        ]
        known = {"--help", *(opt for one in parameters for opt in (*one.opts, *one.secondary_opts))}
        assert {word.strip("[]") for word in words if word.startswith(("--", "[--"))} <= known, call


def test_the_counts_of_the_readme_are_those_of_the_package():
    """Operators, ONNX operators that are read, networks and published files grow; the numbers in the text follow."""
    for package in ("edge_sdk.ops", "edge_sdk.converters.onnx"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if package == "edge_sdk.ops" or module.name.startswith("read_"):
                importlib.import_module(f"{package}.{module.name}")
    known, published = sum(op.__module__.startswith("edge_sdk.ops.") for op in OPERATORS.values()), entries()
    readme = (ROOT / "README.md").read_text("utf-8")

    assert f"reference and CPU kernels | {known}, each" in readme
    assert f"| ONNX | {len(READERS)} operators" in readme
    with_weights = {entry.architecture for entry in published.values()}
    assert f"{len(ZOO)} networks, and {len(published)} files of published weights for {len(with_weights)}" in readme
    in_packages = {entry.architecture for entry in published.values() if entry.package is not None}
    assert f"those of {len(with_weights - in_packages)} others are downloaded" in readme
