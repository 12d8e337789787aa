"""What a checkpoint's pickle may name: the allow-list, and the plain records that stand for storages and tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edge_sdk.converters.tensor_file import ELEMENT_BYTES
from edge_sdk.errors import FormatError

# A storage class of PyTorch → the dtype of its elements. An untyped storage counts bytes; its tensors know their dtype.
STORAGE_DTYPES = {
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
# What training scripts leave beside the weights, and what is pickled with it. None of these is ever imported or called:
# an `Inert` record takes the object's place, and its arguments and state are dropped.
INERT = frozenset(
    [
        "_codecs.encode", "argparse.Namespace", "collections.Counter", "datetime.date", "datetime.datetime",
        "datetime.timedelta", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
        "pathlib.WindowsPath", "torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Buffer",
        "torch.nn.parameter.Parameter", "torch.serialization._get_layout", "numpy.dtype", "numpy.ndarray",
    ]
    + [f"{core}.{name}" for core in ("numpy.core.multiarray", "numpy._core.multiarray") for name in
       ("scalar", "_reconstruct")]
    + [f"{module}.{name}" for module in ("builtins", "__builtin__") for name in
       ("bool", "bytes", "complex", "dict", "float", "int", "list", "object", "set", "frozenset", "str", "tuple")]
    + [f"torch.{kind}Tensor" for kind in
       ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")]
    + [f"torch.cuda.{kind}Tensor" for kind in
       ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")]
)  # fmt: skip
MAX_RANK = 32
MAX_INT64 = 2**63 - 1


@dataclass(frozen=True)
class StorageClass:
    """The class of a storage, named by its element dtype."""

    dtype: str


@dataclass(frozen=True)
class Dtype:
    """`torch.float32` and its like, by the name behind the dot."""

    name: str


@dataclass(frozen=True)
class Constructor:
    """A function or class on the allow-list; `build` turns its pickled arguments into a record."""

    name: str
    build: Callable[[tuple[Any, ...]], Any]


@dataclass(frozen=True)
class Inert:
    """What stands for an object of no use here, whose class is called `name`."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A run of `elements` values of `dtype`; its bytes lie elsewhere in the file under `key`."""

    key: str
    dtype: str
    elements: int


@dataclass(frozen=True)
class StorageView:
    """The `elements` values of `root` from `offset` on."""

    root: Storage
    offset: int
    elements: int


@dataclass(frozen=True)
class Tensor:
    """A strided window on a storage; offset and strides count elements.

    `dtype` is that of the elements where the storage is untyped.
    """

    view: StorageView
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str | None = None


def find_symbol(module: str, name: str) -> StorageClass | Constructor | Dtype:
    """Return what stands for the pickled global `module.name`.

    Raises:
        FormatError: the global is not on the allow-list. Nothing is imported or called to find out.
    """
    if module in STORAGE_MODULES and name in STORAGE_DTYPES:
        return StorageClass(STORAGE_DTYPES[name])
    whole = f"{module}.{name}"
    if module == "torch" and (name in ELEMENT_BYTES or name.startswith(("float8", "qint", "quint"))):
        return Dtype(name)
    if whole in INERT:
        return Constructor(whole, lambda _: Inert(whole))
    constructor = _CONSTRUCTORS.get(whole)
    if constructor is None:
        # The name comes from the file: quoted and cut, so that no control character reaches a terminal.
        raise FormatError(
            f"the pickle names {whole[:120]!r}, which a state dict of tensors does not need and which could run code; "
            "refused. Save the weights alone: torch.save(model.state_dict(), path)"
        )
    return constructor


def storage_view(persistent_id: object) -> StorageView:
    """Read a persistent id: ("storage", class, key, location, elements[, None or (key, offset, elements)])."""
    if isinstance(persistent_id, tuple) and persistent_id[:1] == ("module",):
        raise FormatError(
            "the file holds a whole network with its program and not its weights alone; refused. "
            "Save the weights alone: torch.save(model.state_dict(), path)"
        )
    if not isinstance(persistent_id, tuple) or len(persistent_id) not in {5, 6} or persistent_id[0] != "storage":
        raise FormatError("a persistent id is not a storage (class, key, location, elements)")
    kind, key = persistent_id[1], persistent_id[2]
    if not isinstance(kind, StorageClass) or not isinstance(key, str):
        raise FormatError("a storage has no known class or no text key")
    root = Storage(key, kind.dtype, _count(persistent_id[4], f"the size of storage {key[:40]!r}"))
    window = persistent_id[5] if len(persistent_id) == 6 else None
    if window is None:
        return StorageView(root, 0, root.elements)
    if not isinstance(window, tuple) or len(window) != 3:
        raise FormatError(f"the view of storage {key[:40]!r} is not (key, offset, elements)")
    offset, elements = (
        _count(window[1], "the offset of a storage view"),
        _count(window[2], "the size of a storage view"),
    )
    if offset + elements > root.elements:
        raise FormatError(f"a view of storage {key[:40]!r} ends at {offset + elements} of {root.elements} elements")
    return StorageView(root, offset, elements)


def _build_tensor(arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) < 4:
        raise FormatError(f"a tensor has {len(arguments)} fields; expected storage, offset, shape and strides")
    view, offset, shape, strides = arguments[:4]
    if not isinstance(view, StorageView):
        raise FormatError(f"a tensor's storage is a {type(view).__name__}")
    offset, shape, strides = _count(offset, "a tensor's offset"), _counts(shape, "shape"), _counts(strides, "strides")
    if len(shape) != len(strides):
        raise FormatError(f"a tensor has {len(shape)} dimensions but {len(strides)} strides")
    return Tensor(view, offset, shape, strides)


def _build_untyped_tensor(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_tensor_v3`: (storage, offset, shape, strides, requires_grad, hooks, dtype, …)."""
    if len(arguments) < 7 or not isinstance(arguments[6], Dtype):
        raise FormatError("a tensor on an untyped storage has no dtype")
    dtype = arguments[6].name
    if dtype not in ELEMENT_BYTES:
        raise FormatError(f"a tensor has elements of torch.{dtype[:20]}; save it after .float()")
    return replace(_build_tensor(arguments[:4]), dtype=dtype)


def _build_parameter(arguments: tuple[Any, ...]) -> Tensor:
    if not arguments or not isinstance(arguments[0], Tensor):
        raise FormatError("a parameter holds no tensor")
    return arguments[0]


def _build_from_type(arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_from_type_v2`: (function, type, its arguments, state), of tensors with attributes of their own."""
    if len(arguments) < 3 or not isinstance(arguments[0], Constructor) or not isinstance(arguments[2], tuple):
        raise FormatError("a tensor with attributes is not (function, type, arguments, state)")
    if arguments[0].build is _build_from_type:
        raise FormatError("a tensor with attributes is nested in itself")
    return arguments[0].build(arguments[2])


def _build_ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    if not arguments:
        return result
    if len(arguments) != 1 or not isinstance(arguments[0], list):
        raise FormatError("an OrderedDict is not made of a list of pairs")
    for pair in arguments[0]:  # as Python 2 wrote it: a list of [key, value]
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise FormatError("an OrderedDict has an item that is no pair")
        result[plain_key(pair[0])] = pair[1]
    return result


def _build_default_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    return {}


def plain_key(key: object) -> str | int | float | bytes | None:
    """Return a dictionary key; containers are refused, since hashing a deeply nested tuple overflows the C stack."""
    if key is None or isinstance(key, (str, int, float, bytes)):
        return key
    raise FormatError(f"a dictionary has a key of type {type(key).__name__}; expected text or a number")


def _count(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"{what} is a {type(value).__name__}; expected an integer")
    if not 0 <= value <= MAX_INT64:
        raise FormatError(f"{what} is {value}; expected 0 to 2^63 - 1")
    return value


def _counts(values: object, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)):
        raise FormatError(f"a tensor's {what} is a {type(values).__name__}; expected a tuple")
    if len(values) > MAX_RANK:
        raise FormatError(f"a tensor's {what} has {len(values)} entries; at most {MAX_RANK} are read")
    return tuple(_count(value, f"an entry of a tensor's {what}") for value in values)


_CONSTRUCTORS = {
    constructor.name: constructor
    for constructor in (
        Constructor("collections.OrderedDict", _build_ordered_dict),
        Constructor("collections.defaultdict", _build_default_dict),
        Constructor("torch._utils._rebuild_tensor", _build_tensor),
        Constructor("torch._utils._rebuild_tensor_v2", _build_tensor),
        Constructor("torch._utils._rebuild_tensor_v3", _build_untyped_tensor),
        Constructor("torch._utils._rebuild_parameter", _build_parameter),
        Constructor("torch._utils._rebuild_parameter_with_state", _build_parameter),
        Constructor("torch._tensor._rebuild_from_type_v2", _build_from_type),
    )
}
