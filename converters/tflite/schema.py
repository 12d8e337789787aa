"""The part of TFLite's file schema that is written and read here: enumerations, and how options are laid out in slots.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3. A table's fields are numbered slots; a field that is
left out has the schema's default. The numbers are fixed forever, so they stand here and no generated module is needed:
neither runtime has to be loaded to write a file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3


class TensorType(IntEnum):
    """Element types, named as NumPy names them."""

    float32 = 0
    float16 = 1
    int32 = 2
    uint8 = 3
    int64 = 4
    bool = 6
    int16 = 7
    int8 = 9
    int4 = 17
    float64 = 10


class Padding(IntEnum):
    """Padding rules of windows."""

    SAME = 0
    VALID = 1


class FusedActivation(IntEnum):
    """What an operator applies to its result."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3
    TANH = 4
    SIGN_BIT = 5


class Builtin(IntEnum):
    """Codes of the builtin operators."""

    ADD = 0
    AVERAGE_POOL_2D = 1
    CONCATENATION = 2
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEPTH_TO_SPACE = 5
    DEQUANTIZE = 6
    FULLY_CONNECTED = 9
    LOCAL_RESPONSE_NORMALIZATION = 13
    LOGISTIC = 14
    MAX_POOL_2D = 17
    MUL = 18
    RELU = 19
    RELU_N1_TO_1 = 20
    RELU6 = 21
    RESHAPE = 22
    RESIZE_BILINEAR = 23
    SOFTMAX = 25
    SPACE_TO_DEPTH = 26
    TANH = 28
    PAD = 34
    GATHER = 36
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    DIV = 42
    SQUEEZE = 43
    STRIDED_SLICE = 45
    EXP = 47
    SPLIT = 49
    LOG_SOFTMAX = 50
    CAST = 53
    PRELU = 54
    MAXIMUM = 55
    MINIMUM = 57
    NEG = 59
    PADV2 = 60
    SLICE = 65
    TRANSPOSE_CONV = 67
    TILE = 69
    EXPAND_DIMS = 70
    LOG = 73
    SUM = 74
    SQRT = 75
    RSQRT = 76
    SHAPE = 77
    POW = 78
    REDUCE_MAX = 82
    PACK = 83
    ONE_HOT = 85
    UNPACK = 88
    REDUCE_MIN = 89
    SQUARE = 92
    FILL = 94
    RESIZE_NEAREST_NEIGHBOR = 97
    LEAKY_RELU = 98
    SQUARED_DIFFERENCE = 99
    MIRROR_PAD = 100
    ABS = 101
    SPLIT_V = 102
    QUANTIZE = 114
    HARD_SWISH = 117
    BATCH_MATMUL = 126
    BROADCAST_TO = 130
    GELU = 150
    RELU_0_TO_1 = 152


Kind = Literal["int8", "int32", "float32", "bool", "int32 vector"]


@dataclass(frozen=True)
class Slot:
    """Where and how an option is stored; a value equal to the schema's default is left out of the file."""

    index: int
    kind: Kind
    default: Any


def slot(index: int, kind: Kind, default: Any) -> Any:
    """Declare a field of options with its slot."""
    return dataclasses.field(default=default, metadata={"slot": Slot(index, kind, default)})


@dataclass(frozen=True)
class Options:
    """Attributes of one use of an operator. A subclass's fields are the slots of the table of the same name."""

    union_type: ClassVar[int] = 0
    """Its number in the schema's union BuiltinOptions."""

    def __init_subclass__(cls, union_type: int) -> None:
        cls.union_type = union_type

    def slots(self) -> list[tuple[Slot, Any]]:
        """Return the fields with their values, in slot order."""
        found = [(field.metadata["slot"], getattr(self, field.name)) for field in dataclasses.fields(self)]
        return sorted(found, key=lambda pair: pair[0].index)
