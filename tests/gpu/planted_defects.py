"""Small CUDA kernels that each have one defect, and the same ones without it, in one source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edge_sdk.kernels.gpu.emulation_findings import Fault
from edge_sdk.kernels.gpu.source import Line, Source

THREADS = 64
FILE = "planted.cu"
DEFINITIONS = (
    "#define ALL_LANES 0xFFFFFFFFu",
    "#define SHARED __shared__ float s[64]; s",
    "#define CHUNKS __shared__ uint4 c[64]; c",
    "struct Pair { float first, second; };",
    "#define COPY copy_async(c + t, x + 4 * t); commit_copies();",
    'extern "C" __global__ void through_table(const unsigned long long* table, int count) {',
    "  if (threadIdx.x == 0) for (int i = 0; i < count; i++) ((float*)table[1])[i] = ((const float*)table[0])[0]; }",
)


@dataclass(frozen=True)
class Planted:
    """A kernel of y (64 floats a block) and x (256 floats), 64 threads a block; DEFECT is `wrong` or else `right`."""

    name: str
    fault: Fault
    wrong: str
    right: str
    body: str
    blocks: int = 1
    shared: int = 0
    zeros: bool = False
    """Whether y holds zeros before, or nothing."""

    def line(self, *, wrong: bool) -> str:
        """The code of the kernel, with its defect or without."""
        kernel = f"{self.name}_{'wrong' if wrong else 'right'}"
        body = self.body.replace("DEFECT", self.wrong if wrong else self.right)
        return f'extern "C" __global__ void {kernel}(float* y, const float* x) {{ const int t = threadIdx.x; {body} }}'


PLANTED = (
    Planted("no_barrier", Fault.RACE, "", "__syncthreads();",
            "SHARED[t] = x[t]; DEFECT y[t] = s[t ^ 32];"),
    Planted("warp_barrier_between_warps", Fault.RACE, "__syncwarp();", "__syncthreads();",
            "SHARED[t] = x[t]; DEFECT y[t] = s[t ^ 32];"),
    Planted("no_warp_barrier", Fault.RACE, "", "__syncwarp();",
            "SHARED[t] = x[t]; DEFECT y[t] = s[t ^ 1];"),
    Planted("shuffle_as_barrier", Fault.RACE, "__shfl_sync(ALL_LANES, 0, 0);", "__syncwarp();",
            "SHARED[t] = x[t]; DEFECT y[t] = s[t ^ 1];"),
    Planted("overwritten_while_read", Fault.RACE, "", "__syncthreads();",
            "SHARED[t] = x[t]; __syncthreads(); float z = s[t ^ 32]; DEFECT s[t] = z; y[t] = z;"),
    Planted("two_writers", Fault.RACE, "t / 2", "t",
            "SHARED[DEFECT] = x[t]; __syncthreads(); y[t] = s[0];"),
    Planted("two_readers_of_a_warp", Fault.RACE, "", "__syncwarp();",
            "SHARED[t] = x[t]; __syncwarp(); float z = t % 32 < 2 ? s[t / 32 * 32 + 9] : 0;"
            "DEFECT if (t % 32 == 9) s[t] = z; y[t] = z;"),
    Planted("read_long_ago", Fault.RACE, "__syncwarp();", "__syncthreads();",
            "SHARED[t] = x[t]; __syncthreads(); float z = s[0]; DEFECT if (t) z += s[t];"
            "__syncwarp(); if (t) z += s[t]; if (t == 63) s[0] = z; y[t] = z;"),
    Planted("neighbouring_bytes", Fault.RACE, "t / 2", "t",
            "if (t < 16) y[t] = 0; __syncthreads(); ((char*)y)[DEFECT] = 0; if (t >= 16) y[t] = x[t];"),
    Planted("memory_without_barrier", Fault.RACE, "", "__syncthreads();",
            "y[t] = x[t]; DEFECT float z = y[t ^ 32]; __syncthreads(); y[t] = z;"),
    Planted("blocks_write_one_place", Fault.RACE, "63", "64",
            "y[blockIdx.x * DEFECT + t] = x[t];", blocks=2),
    Planted("blocks_read_each_other", Fault.RACE, "127 -", "",
            "const int i = blockIdx.x * 64 + t; y[i] = x[t]; y[i] += y[DEFECT i];", blocks=2),
    Planted("plain_sum", Fault.RACE, "*(int*)y += 1", "atomicAdd((int*)y, 1)", "DEFECT;", zeros=True),
    Planted("one_behind", Fault.BOUNDS, "1", "0", "y[t + DEFECT] = x[t];"),
    Planted("one_before", Fault.BOUNDS, "1", "0", "y[t] = x[t - DEFECT];"),
    Planted("half_behind", Fault.BOUNDS, "3", "2",
            "y[t] = x[t]; __syncthreads(); if (t == 0) *(Pair*)(y + 60 + DEFECT) = {};"),
    Planted("beyond_shared", Fault.BOUNDS, "1", "0",
            "SHARED[t + DEFECT] = x[t]; y[t] = s[t + DEFECT];"),
    Planted("beyond_dynamic", Fault.BOUNDS, "1", "0",
            "DYNAMIC_SHARED(float, d); d[t + DEFECT] = x[t]; y[t] = d[t + DEFECT];", shared=4 * THREADS),
    Planted("null", Fault.BOUNDS, "(float*)nullptr", "y", "(DEFECT)[t] = x[t];"),
    Planted("misaligned_four", Fault.MISALIGNED, "1", "4",
            "float4 four = *(const float4*)(x + DEFECT); y[t] = four.x + four.w;"),
    Planted("hole_in_shared", Fault.UNINITIALISED, "t != 5", "true",
            "__shared__ float s[64]; if (DEFECT) s[t] = x[t]; __syncthreads(); y[t] = s[t];"),
    Planted("shared_of_the_last_block", Fault.UNINITIALISED, "blockIdx.x == 0", "true",
            "__shared__ float s[64]; if (DEFECT) s[t] = x[t]; __syncthreads(); y[blockIdx.x * 64 + t] = s[t];",
            blocks=2),
    Planted("sum_without_start", Fault.UNINITIALISED, "y[t]", "0", "y[t] = DEFECT + x[t];"),
    Planted("output_with_a_hole", Fault.UNINITIALISED, "t != 63", "true", "if (DEFECT) y[t] = x[t];"),
    Planted("copy_read_early", Fault.UNDER_WAY, "", "wait_copies<0>();",
            "CHUNKS[t] = {0, 0, 0, 0}; COPY DEFECT __syncthreads(); y[t] = c[t].x;"),
    Planted("copy_overwritten_early", Fault.UNDER_WAY, "", "wait_copies<0>();",
            "CHUNKS[t] = {0, 0, 0, 0}; COPY DEFECT c[t].x = 1; y[t] = x[t];"),
    Planted("too_many_left_under_way", Fault.UNDER_WAY, "1", "0",
            "CHUNKS[t] = {0, 0, 0, 0}; COPY wait_copies<DEFECT>(); y[t] = c[t].x;"),
    Planted("copy_without_barrier", Fault.RACE, "", "__syncthreads();",
            "CHUNKS[t] = {0, 0, 0, 0}; COPY wait_copies<0>(); DEFECT y[t] = c[t ^ 32].x;"),
    Planted("copy_over_what_is_read", Fault.RACE, "", "__syncthreads();",
            "CHUNKS[t] = {0, 0, 0, 0}; __syncthreads(); y[t] = c[t ^ 1].x; DEFECT COPY wait_copies<0>();"),
    Planted("rows_without_barrier", Fault.RACE, "", "__syncwarp();",
            "CHUNKS[t] = {0, 0, 0, 0}; DEFECT unsigned r[4]; load_matrices(r, c + t); y[t] = r[0];"),
)  # fmt: skip


@dataclass(frozen=True)
class PlantedSource(Source):
    """All of them, a line each: `NAME_wrong` and `NAME_right`."""

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """What the compiler reads."""
        kernels = [one.line(wrong=wrong) for one in PLANTED for wrong in (True, False)]
        return tuple(Line(text, FILE, number) for number, text in enumerate([*DEFINITIONS, *kernels], 1))
