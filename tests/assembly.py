"""What the compiled micro-kernels consist of: the innermost loops of a function's assembly.

Run as a program it compiles the micro-kernels anew, for the machine that Numba's environment variables name, and prints
{"lanes": …, "tiles": {name: products}, "summing": [name, …], "loops": {name: [loop, …]}} as JSON: of each innermost
loop with fused multiply-adds, how many there are on full vectors, how many instructions use the stack for vectors, and
how many there are in all. With `aarch64` the code is made for that processor, by LLVM's back end in llvmlite, from what
Numba would give to its own.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NamedTuple

AARCH64 = "aarch64-unknown-linux-gnu"
_LABEL = re.compile(r"^(\.L[\w.$]+):")
_JUMP = re.compile(r"^\s+(?:j\w+|b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+[^,]+,[^,]+,)\s+(\.L[\w.$]+)\s*$")
_INSTRUCTION = re.compile(r"^\s+[a-z]")
_FMA = {
    16: re.compile(r"\bvfn?m(?:add|sub)\w*ps\b.*%zmm"),
    8: re.compile(r"\bvfn?m(?:add|sub)\w*ps\b.*%ymm"),
    4: re.compile(r"\bfml[as]\b.*\.4s"),
}
_REFERENCE_COUNT = re.compile(r"(%\S+) = (?:tail )?call i8 @llvm\.x86\.atomic\..*")
_NEON_STACK = re.compile(r"\b(?:ldr|str|ldp|stp|ldur|stur)\s+q\d+.*\[(?:sp|x29)")


def _stack_access(assembly: str, lanes: int) -> re.Pattern[str]:
    """A vector instruction on the stack; rbp is its frame only where the function says so."""
    if lanes == 4:
        return _NEON_STACK
    frame = "[sb]" if re.search(r"movq\s+%rsp, %rbp", assembly) else "s"
    return re.compile(rf"\(%r{frame}p.*%[xyz]mm|%[xyz]mm.*\(%r{frame}p")


def innermost_loops(assembly: str, lanes: int) -> list[dict[str, int]]:
    """Of every innermost loop that multiplies: fused multiply-adds, vectors on the stack, instructions."""
    lines, on_stack = assembly.splitlines(), _stack_access(assembly, lanes)
    places = {match[1]: index for index, line in enumerate(lines) if (match := _LABEL.match(line))}
    spans = sorted(
        {
            (places[match[1]], index)
            for index, line in enumerate(lines)
            if (match := _JUMP.match(line)) and places.get(match[1], index) < index
        }
    )
    inner = [
        (first, last)
        for first, last in spans
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in spans)
    ]
    loops = []
    for first, last in inner:
        body = lines[first : last + 1]
        multiplied = sum(bool(_FMA[lanes].search(line)) for line in body)
        if multiplied:
            moved = sum(bool(on_stack.search(line)) for line in body)
            loops.append({"fma": multiplied, "stack": moved, "instructions": sum(map(_is_instruction, body))})
    return loops


def _is_instruction(line: str) -> bool:
    return bool(_INSTRUCTION.match(line))


class MicroKernel(NamedTuple):
    """A compiled function, the types of its arguments, and how many products a turn of its innermost loops forms."""

    name: str
    function: Any
    arguments: tuple[Any, ...]
    tiles: tuple[int, ...]
    summing: bool = False
    """Whether finished tiles are summed up, in short loops of their own where those are not unrolled."""


def micro_kernels() -> list[MicroKernel]:
    """The functions in which most of the time is spent: flat float32 arrays, indices, limits."""
    from numba import types

    from edge_sdk.kernels.cpu import depthwise, few_rows, gemm, in_place, weight_gradient

    array, index, limit, flag = types.float32[::1], types.intp, types.float32, types.boolean
    product = (
        array, index, index, index, array, index, array, index, array, array, index, index, index, index, limit, limit,
    )  # fmt: skip
    rows = (
        index, array, index, index, index, array, index, array, index, array, array, index, index, index, limit, limit,
    )  # fmt: skip
    in_place_product = (
        array, index, index, index, index, index, array, index, array, index, array, array, index, index, index, index,
        limit, limit, flag, array, index, limit,
    )  # fmt: skip
    gradient = (array, index, array, index, index, index, array, index, index, index, index, flag)
    dots = (array, index, index, array, index, index, index, index, array, index)
    added = (index, array, index, index, index, array, index, index, array, index)
    neighbours = (
        array, index, index, array, index, index, index, array, index, index, array, index, limit, limit,
    )  # fmt: skip
    tall, half = gemm.TILE_ROWS * gemm.TILE_COLUMNS, gemm.HALF_ROWS * gemm.TILE_COLUMNS
    rows_of_depthwise = depthwise._make_sum_neighbours(3, 1, 1, depthwise.NEIGHBOURS)
    return [
        MicroKernel("product of a tall tile", gemm._product_tall, product, (tall,)),
        MicroKernel("product of a half tile", gemm._product_half, product, (half,)),
        MicroKernel("winograd product", gemm.multiply_rows, rows, (tall, half)),
        MicroKernel("in place, wide", in_place._product_wide, in_place_product, (tall,)),
        MicroKernel("in place, narrow", in_place._product_narrow, in_place_product, (gemm.TILE_ROWS,)),
        MicroKernel(
            "in place, wide, gathering", in_place._product_wide_gathering, in_place_product, (tall,), summing=True
        ),
        MicroKernel(
            "in place, narrow, gathering",
            in_place._product_narrow_gathering,
            in_place_product,
            (gemm.TILE_ROWS,),
            summing=True,
        ),
        MicroKernel(
            "weight gradient", weight_gradient.add_gradient_tile, gradient, (2 * weight_gradient.GRADIENT_ROWS,)
        ),
        MicroKernel("few rows, y", few_rows._dot_tile, dots, (few_rows.DOT_ROWS * few_rows.DOT_COLUMNS,)),
        MicroKernel("few rows, dx", few_rows._add_rows, added, (tall, half)),
        MicroKernel("depthwise rows", rows_of_depthwise, neighbours, (3 * depthwise.NEIGHBOURS,)),
    ]


def for_aarch64(intermediate: str) -> str:
    """Assembly of a Cortex-A76, made of LLVM's intermediate code for this machine."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(AARCH64).create_target_machine(cpu="cortex-a76", opt=3)
    lines = [line for line in intermediate.splitlines() if not line.startswith(("target triple", "target datalayout"))]
    # Reference counts of the wrapper for Python are x86's own instructions by now; no loop has any.
    lines = [_REFERENCE_COUNT.sub(r"\1 = add i8 0, 0", line) for line in lines]
    module = llvm.parse_assembly("\n".join([f'target triple = "{AARCH64}"', *lines]))
    module.data_layout = str(machine.target_data)
    return str(machine.emit_assembly(module))


def main() -> None:
    """Compile and count."""
    from edge_sdk.kernels.cpu.simd import LANES

    loops, tiles, summing = {}, {}, []
    for name, function, arguments, sizes, sums in micro_kernels():
        function.compile(arguments)
        compiled = function.inspect_llvm() if sys.argv[1:] == ["aarch64"] else function.inspect_asm()
        (text,) = compiled.values()
        loops[name] = innermost_loops(for_aarch64(text) if sys.argv[1:] == ["aarch64"] else text, LANES)
        tiles[name] = sizes
        summing += [name] * sums
    sys.stdout.write(json.dumps({"lanes": LANES, "tiles": tiles, "summing": summing, "loops": loops}))


if __name__ == "__main__":
    main()
