"""`import edge_sdk` and `edge --help` are quick because they load next to nothing; the public names are all there."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest
from source_tree import lay_out, run_python

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.evaluation import Evaluation
from edge_sdk.model import Model
from edge_sdk.session import Session
from edge_sdk.training.fit import Run, Settings

LIBRARIES = {
    "ai_edge_litert", "click", "cupy", "flatbuffers", "llvmlite", "numba", "numpy", "PIL", "platformdirs", "rich",
    "safetensors", "tflite_runtime",
}  # fmt: skip

# The standard library's importlib and typing bring about 37 modules into an interpreter that has nothing yet, the SDK
# itself one. NumPy would add 90, Numba 700.
MOST_FOR_IMPORT = 60
# The same, and click with what it needs of the standard library: together 105 where this was written.
MOST_FOR_HELP = 150

HELP = """
from edge_sdk.cli.main import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""


@pytest.fixture(scope="module")
def loaded_by(tmp_path_factory):
    """Tell which modules a statement adds to a fresh interpreter."""
    tree = lay_out(tmp_path_factory.mktemp("tree"))

    def names(statement: str) -> set[str]:
        script = (
            "import json, sys; before = set(sys.modules)\n"
            f"{statement}\n"
            "print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)\n"
        )
        result = run_python(tree, "-c", script, cwd=tree)
        assert result.returncode == 0, result.stderr
        return set(json.loads(result.stderr.splitlines()[-1]))

    return names


def test_importing_the_package_loads_nothing_else(loaded_by):
    """No library, no module of the SDK besides the package itself, and few of the standard library."""
    loaded = loaded_by("import edge_sdk")

    assert {name for name in loaded if name.startswith("edge_sdk")} == {"edge_sdk"}
    assert not LIBRARIES & loaded
    assert len(loaded) <= MOST_FOR_IMPORT


def test_help_loads_click_and_no_command(loaded_by):
    """The commands' names and descriptions stand in the table, so none of them is imported."""
    loaded = loaded_by(HELP)

    assert {name for name in loaded if name.startswith("edge_sdk")} == {
        "edge_sdk", "edge_sdk.cli", "edge_sdk.cli.main", "edge_sdk.errors",
    }  # fmt: skip
    assert LIBRARIES & loaded == {"click"}
    assert len(loaded) <= MOST_FOR_HELP


def test_the_loaded_modules_are_counted(loaded_by):
    """What the two tests above watch for is seen when it happens."""
    loaded = loaded_by("import edge_sdk; edge_sdk.Session")

    assert {"edge_sdk.session", "numpy"} <= loaded
    assert len(loaded) > MOST_FOR_IMPORT


@pytest.mark.parametrize("name", edge.__all__)
def test_every_public_name_is_there(name):
    """Each resolves, is found again, and is listed for completion."""
    value = getattr(edge, name)

    assert getattr(edge, name) is value
    assert name in dir(edge)


def test_what_the_package_imports_for_itself_is_not_offered():
    """Completion after `edge.` lists the package's own names and modules."""
    assert {"Any", "TYPE_CHECKING", "annotations", "importlib"}.isdisjoint(dir(edge))


def test_an_unknown_name_is_an_attribute_error():
    """Not the KeyError of a table."""
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        edge.Sesion  # noqa: B018 - looking it up is the test


# The calls that benchmarks and users rely on, as they are written.
CONTRACT = [
    (pretrained.load, ("resnet18",), {"weights": "imagenet", "num_classes": 10}),
    (Model.predict, ("model", "photo"), {}),
    (Model.run, ("model", "x"), {}),
    (Model.save, ("model", "m.edge"), {}),
    (edge.load, ("m.edge",), {}),
    (edge.fit, ("model", "photos/"), {"epochs": 5, "freeze": "backbone", "out": "runs/a", "seed": 0}),
    (edge.evaluate, ("model", "photos/val"), {}),
    (edge.export, ("model", "m.tflite"), {"quantize": "int8", "calibrate": "photos/train"}),
    (
        edge.training_session,
        ("model",),
        {"batch": 16, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "freeze": None},
    ),
    (Session.run, ("session", {"image": "x", "label": "y"}), {}),
]


@pytest.mark.parametrize(("function", "arguments", "keywords"), CONTRACT)
def test_the_public_calls_keep_their_signatures(function, arguments, keywords):
    """Each call of the contract binds by these names, and whatever else there is has a default."""
    bound = inspect.signature(function).bind(*arguments, **keywords)

    assert set(keywords) <= {*bound.arguments, *bound.arguments.get("settings", ())}


def test_the_public_results_keep_their_fields():
    """A run has its model and history, an evaluation its accuracies; fit's settings are those of the contract."""
    assert {"model", "history"} <= {field.name for field in dataclasses.fields(Run)}
    assert {"epochs", "freeze", "seed"} <= {field.name for field in dataclasses.fields(Settings)}
    assert all(isinstance(getattr(Evaluation, name), property) for name in ("top1", "top5", "per_class"))
