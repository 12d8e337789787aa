"""A .mlpackage: made of a MIL program, always of the same bytes, and read back to be verified."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.converters.coreml.translation import coreml_package
from edge_sdk.errors import ExportError
from edge_sdk.spec import Array

SPECIFICATION = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights")
DATE = "com.github.apple.coremltools.conversion_date"
_NAMES = uuid.UUID("6f8a5c1e-0f1d-5a62-9f6e-5b9d0a1c7e42")


def save(model: Any, folder: Path) -> None:
    """Write a converted model as a package, without the date and the random names that coremltools gives it."""
    model.save(str(folder))
    path = folder / SPECIFICATION
    specification = coreml_package().proto.Model_pb2.Model()
    specification.ParseFromString(path.read_bytes())
    specification.description.metadata.userDefined.pop(DATE, None)
    data = specification.SerializeToString(deterministic=True)
    path.write_bytes(data)
    path.chmod(0o644)
    _name_items(folder / "Manifest.json", hashlib.sha256(data).hexdigest())


def _name_items(manifest: Path, digest: str) -> None:
    content = json.loads(manifest.read_text("utf-8"))
    items = sorted(content["itemInfoEntries"].values(), key=lambda item: item["path"])
    named = {str(uuid.uuid5(_NAMES, f"{digest}/{item['path']}")).upper(): item for item in items}
    content["itemInfoEntries"] = named
    (content["rootModelIdentifier"],) = (key for key, item in named.items() if item["path"].endswith(".mlmodel"))
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def operations(program: Any) -> Iterator[Any]:
    """The operations of a MIL program's function, constants left out."""
    for operation in program.functions["main"].operations:
        if operation.op_type != "const":
            yield operation


def counted(program: Any) -> dict[str, int]:
    """How many operations of each kind a program has."""
    return dict(sorted(Counter(operation.op_type for operation in operations(program)).items()))


def load_program(folder: Path) -> tuple[Any, Any]:
    """Read a package back: its specification, and its MIL program with all weights."""
    tools = coreml_package()
    from coremltools.converters.mil.frontend.milproto.load import load

    specification = tools.models.utils.load_spec(str(folder))
    program = load(specification, specification.specificationVersion, str(folder / WEIGHTS))
    return specification, program


def stored_weights(program: Any) -> dict[str, Array]:
    """Every weight that an operation of a program reads, by the name of that operation and of its input."""
    found: dict[str, Array] = {}
    for operation in operations(program):
        for key, value in operation.inputs.items():
            values = value if isinstance(value, list | tuple) else (value,)
            for index, one in enumerate(values):
                array = getattr(one, "val", None)
                if isinstance(array, np.ndarray) and array.size > 1:
                    found[f"{operation.outputs[0].name}/{key}/{index}"] = array
    return found


def verify(folder: Path, program: Any, size: tuple[int, int], labels: tuple[str, ...]) -> dict[str, int]:
    """Compare a package, read back, with the program that was written; return how many operations of a kind it has.

    Raises:
        ExportError: operations, shapes, weights, image type or labels are not what was written.
    """
    specification, found = load_program(folder)
    _check_description(specification, folder, size, labels)
    wanted, here = [list(map(_signature, operations(each))) for each in (program, found)]
    here = [signature for signature in here if signature[0] != "classify"]
    wanted = [signature for signature in wanted if signature[0] != "classify"]
    if wanted != here:
        different = next((pair for pair in zip(wanted, here, strict=False) if pair[0] != pair[1]), ("nothing", "more"))
        raise ExportError(f"{folder}: the package has {different[1]}, wanted {different[0]}")
    stored = stored_weights(found)
    for name, array in stored_weights(program).items():
        if "classify" not in name and not _equal(stored.get(name), array):
            raise ExportError(f"{folder}: the weight {name!r} is not what was written")
    return counted(found)


def _signature(operation: Any) -> tuple[str, tuple[tuple[int, ...], ...]]:
    return operation.op_type, tuple(tuple(map(int, output.shape or ())) for output in operation.outputs)


def _equal(found: Array | None, wanted: Array) -> bool:
    return found is not None and found.shape == wanted.shape and bool(np.array_equal(found, wanted))


def _check_description(specification: Any, folder: Path, size: tuple[int, int], labels: tuple[str, ...]) -> None:
    description = specification.description
    image = description.input[0].type.imageType
    if (image.height, image.width) != size:
        raise ExportError(f"{folder}: takes images {image.height}×{image.width}, wanted {size[0]}×{size[1]}")
    classify = [
        operation
        for block in specification.mlProgram.functions["main"].block_specializations.values()
        for operation in block.operations
        if operation.type == "classify"
    ]
    if len(classify) != 1 or description.predictedFeatureName != "classLabel":
        raise ExportError(f"{folder}: is no classifier; wanted class labels {list(labels)[:5]}")


def metadata(entries: Mapping[str, Any]) -> dict[str, str]:
    """Values as the texts that a specification's metadata hold."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in entries.items()
    }
