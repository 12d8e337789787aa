"""Whether warps read and write whole sectors of memory, and different banks of shared memory, in the hot kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from op_cases.case import normal

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver
from edge_sdk.kernels.gpu.emulation_efficiency import Instruction, Recording
from edge_sdk.kernels.gpu.launch import Launch
from edge_sdk.kernels.gpu.source import Line, Source
from edge_sdk.op import Op
from edge_sdk.ops.activation import Softmax
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.norm import BatchNormTraining, BatchNormTrainingGrad
from edge_sdk.ops.pool import AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.update import GroupedSGDUpdate
from edge_sdk.spec import Array, spec_of

load_device("gpu")
pytestmark = pytest.mark.emulated

PATTERNS = {
    "neighbours": ("y[t] = x[t];", (4, 4)),
    "every_second": ("y[t] = x[2 * t];", (8, 4)),
    "one_of_eight": ("y[t] = x[8 * t];", (32, 4)),
    "fours": ("float4 four = ((const float4*)x)[t]; y[t] = four.x + four.w;", (16, 16)),
    "fours_apart": ("y[t] = x[4 * t];", (16, 4)),
    "beside_a_sector": ("y[t] = x[t + 1];", (5, 4)),
    "all_the_same": ("y[t] = x[0];", (1, 1)),
}
"""What a warp reads of memory, and sectors: those that it takes, and as few as would do."""

BANKS = {
    "row": ("z += s[t];", (1, 1)),
    "every_second_word": ("z += s[2 * t];", (2, 1)),
    "column": ("z += s[32 * t];", (32, 1)),
    "padded_column": ("z += s[33 * t];", (1, 1)),
    "one_word": ("z += s[7];", (1, 1)),
    "twos": ("float2 two = ((float2*)s)[t]; z += two.x + two.y;", (2, 2)),
    "fours_of_shared": ("float4 four = ((float4*)s)[t]; z += four.x + four.w;", (4, 4)),
    "rows_of_fours": ("float4 four = ((float4*)s)[t * 8]; z += four.x + four.w;", (32, 4)),
    "threes": ("Three three = ((Three*)s)[t]; z += three.a + three.c;", (3, 3)),
}
"""The same of shared memory, and turns."""


@dataclass(frozen=True)
class PatternSource(Source):
    """A kernel for each pattern."""

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """One a line."""
        head = 'extern "C" __global__ void'
        zeros = "for (int i = 0; i < 280; i++) if (t == 0) c[i] = make_float4(0, 0, 0, 0);"
        fill = f"__shared__ float4 c[280]; float* s = (float*)c; {zeros}"
        texts = ["struct Three { float a, b, c; };"]
        for name, (body, _) in PATTERNS.items():
            texts.append(f"{head} {name}(float* y, const float* x) {{ const int t = threadIdx.x; {body} }}")
        for name, (body, _) in BANKS.items():
            body = f"const int t = threadIdx.x; {fill} __syncthreads(); float z = 0; {body} y[t] = z;"
            texts.append(f"{head} {name}(float* y, const float* x) {{ {body} }}")
        return tuple(Line(text, "patterns.cu", number) for number, text in enumerate(texts, 1))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[Instruction]]:
    """What a call of the device takes."""
    driver = current_driver()

    def record(call: Callable[[], object]) -> list[Instruction]:
        recording = Recording(blocks=2)
        with monkeypatch.context() as patch:
            patch.setattr(driver, "recording", recording)
            call()
        return recording.instructions

    return record


@pytest.mark.parametrize("name", [*PATTERNS, *BANKS])
def test_patterns_take_what_is_known_of_them(recorded, name: str) -> None:
    """By hand: lanes side by side, apart, off by one, on one word; in memory and in banks."""
    driver, source = current_driver(), PatternSource("patterns")
    assert isinstance(driver, EmulatedDriver)
    x, y = (driver.allocate(4 * count).view(np.float32) for count in (256, 32))
    driver.write(x, np.zeros(256, np.float32))

    def launch() -> None:
        Launch(driver, driver.function(source, name), (1, 1, 1), (32, 1, 1), 0, (y, x))()

    found = recorded(launch)

    (read,) = [one for one in found if not one.writes]
    (written,) = [one for one in found if one.writes and not one.shared]
    assert (read.taken, read.least) == {**PATTERNS, **BANKS}[name][1]
    assert read.shared == (name in BANKS)
    assert (written.taken, written.least, written.requests) == (4, 4, 1)
    assert "patterns.cu" in read.place


IMAGE, SLOPE = normal(2, 16, 16, 64), normal(2, 16, 16, 64, seed=2)
KERNEL, CHANNELS = normal(64, 3, 3, 64, seed=1), normal(1, 3, 3, 64, seed=1)
PER_CHANNEL = tuple(np.abs(normal(64, seed=i)) for i in range(4))
GEOMETRY = ((1, 1), "same", (1, 1))
RATE = np.array(0.1, np.float32)
PRODUCTS: list[tuple[Op, tuple[Array, ...]]] = [
    (Conv2D(padding="same"), (IMAGE, KERNEL)),
    (Conv2DGradInput(*GEOMETRY, 1, input_size=(16, 16)), (SLOPE, KERNEL)),
    (Conv2DGradWeight(*GEOMETRY, 1, kernel_size=(3, 3)), (SLOPE, IMAGE)),
    (Linear(), (normal(128, 256), normal(64, 256, seed=1))),
    (MatMul(), (normal(128, 256), normal(256, 64, seed=1))),
]
BOUND_BY_MEMORY: list[tuple[Op, tuple[Array, ...]]] = [
    (Add(), (IMAGE, SLOPE)),
    (MaxPool2D((3, 3), (2, 2), "same"), (IMAGE,)),
    (AvgPool2D((2, 2), (2, 2)), (IMAGE,)),
    (GlobalAvgPool(), (IMAGE,)),
    (DepthwiseConv2D(padding="same"), (IMAGE, CHANNELS)),
    (DepthwiseConv2DGradInput(*GEOMETRY, (16, 16), 64), (SLOPE, CHANNELS)),
    (DepthwiseConv2DGradWeight(*GEOMETRY, (3, 3)), (SLOPE, IMAGE)),
    (Softmax(), (normal(64, 1024),)),
    (ReduceSum((0, 1, 2)), (IMAGE,)),
    (ReduceSum((3,)), (IMAGE,)),
    (GroupedSGDUpdate(0.9), (RATE, *(normal(9000, seed=i) for i in range(3)))),
]
BATCH_NORMS: list[tuple[Op, tuple[Array, ...]]] = [
    (BatchNormTraining(activation="relu"), (IMAGE, *PER_CHANNEL)),
    (BatchNormTrainingGrad(None), (SLOPE, IMAGE, *PER_CHANNEL[:3])),
]
named = {"ids": lambda part: part.name if isinstance(part, Op) else None}


def called(recorded, op: Op, inputs: Sequence[Array]) -> list[Instruction]:
    """What the kernel's instructions took; there are some of each kind that it must have."""
    kernel = find_kernel(op, "gpu", [spec_of(x) for x in inputs])
    assert kernel is not None
    found: list[Instruction] = recorded(lambda: call_on_device(kernel, op, inputs))
    assert any(one.writes and not one.shared for one in found)
    assert any(not one.writes and not one.shared for one in found)
    return found


@pytest.mark.parametrize(("op", "inputs"), BOUND_BY_MEMORY, **named)
def test_what_memory_bounds_moves_whole_sectors(recorded, op: Op, inputs: tuple[Array, ...]) -> None:
    """Each request of each instruction, with no conflict of banks on the way."""
    found = called(recorded, op, inputs)

    assert [str(one) for one in found if one.efficiency < 1] == []


@pytest.mark.parametrize(("op", "inputs"), PRODUCTS, **named)
def test_products_move_whole_sectors(recorded, op: Op, inputs: tuple[Array, ...]) -> None:
    """Plain tiles: shared memory is read without conflicts, and written in two turns where terms are neighbours."""
    found = called(recorded, op, inputs)

    assert [str(one) for one in found if one.efficiency < 1 and not (one.shared and one.writes)] == []
    assert all(one.efficiency >= 0.5 for one in found)


@pytest.mark.parametrize(("op", "inputs"), PRODUCTS, **named)
def test_products_on_tensor_cores_have_no_conflicts(recorded, op: Op, inputs: tuple[Array, ...]) -> None:
    """Factors of float16: copies, fragments, and sums on their way out."""
    found = called(recorded, op, [x.astype(np.float16) for x in inputs])

    assert any(one.shared for one in found)
    assert [str(one) for one in found if one.efficiency < 1] == []


@pytest.mark.parametrize(("op", "inputs"), BATCH_NORMS, **named)
def test_batch_norms_move_whole_sectors(recorded, op: Op, inputs: tuple[Array, ...]) -> None:
    """All that has as many elements as x; numbers of a channel, once a thread, are read and written by fours apart."""
    found = called(recorded, op, inputs)

    apart = [one for one in found if one.efficiency < 1]
    assert all(one.efficiency >= 0.25 and not one.shared for one in apart)
    assert sum(one.efficiency == 1 for one in found if not one.shared) >= 3
