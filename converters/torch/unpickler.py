"""A pickle machine that can build containers, numbers, text, storages and tensors, and nothing else.

Python's own unpickler, even with an overridden `find_class`, allocates whatever a memo index asks for and hashes keys
of any depth. This one never imports or calls what a pickle names, and takes memory in proportion to the file.
Opcodes: PEP 3154 and the standard library's `pickletools`, which decodes them.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any, Protocol

from edge_sdk.converters.torch.symbols import Constructor, Inert, find_symbol, plain_key, storage_view
from edge_sdk.errors import FormatError

# A state dict needs about 60 opcodes a tensor. An opcode of one byte can take 100 bytes of memory: the limit keeps that
# within four times the file, whose weights are most of it, but for files of less than 2 MB.
MAX_OPCODES = 500_000
ALWAYS_ALLOWED = 60_000
FILE_BYTES_PER_OPCODE = 32
# The magic number of the legacy format has 80 bits. Longer integers take quadratic time to print.
MAX_INTEGER_BITS = 128


class Stream(Protocol):
    """A binary file positioned at a pickle. `read(n)` must not take memory for more than the file holds."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes."""

    def readline(self) -> bytes:
        """Read up to a newline."""

    def tell(self) -> int:
        """Return the position in bytes."""


def opcode_limit(file_bytes: int) -> int:
    """Return how many opcodes a pickle in a file of this size may have."""
    return min(MAX_OPCODES, max(ALWAYS_ALLOWED, file_bytes // FILE_BYTES_PER_OPCODE))


def load_pickle(stream: Stream, persistent: Callable[[object], Any] = storage_view, limit: int = ALWAYS_ALLOWED) -> Any:
    """Return the object of the pickle at the stream's position, and leave the stream right behind it.

    Tensors come back as `symbols.Tensor` records; their bytes are not read. `persistent` turns the pickle's references
    to what lies outside it into records; it may have `limit` opcodes.

    Raises:
        FormatError: the pickle is truncated or corrupt, or uses a global or an opcode that is not on the allow-list.
    """
    machine = _Machine(persistent, limit)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count >= limit:
                raise FormatError(f"the pickle has more than {limit} opcodes, too many for a file of this size")
            if opcode.name == "STOP":
                return machine.result()
            handler = _HANDLERS.get(opcode.name)
            if handler is None:
                raise FormatError(f"the pickle uses opcode {opcode.name} at byte {position}, which is refused")
            handler(machine, argument)
    # A Warning arrives as an exception where warnings are errors: bad escapes in old text opcodes are deprecated.
    except (ValueError, OverflowError, struct.error, Warning) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the pickle is truncated or corrupt: {str(error)[:200]}") from error
    raise FormatError("the pickle is truncated: it has no STOP")


class _Machine:
    """The stack, the stacks below the open marks, and the memo."""

    def __init__(self, persistent: Callable[[object], Any], limit: int) -> None:
        self.limit = limit
        self.read_persistent = persistent
        self.copied = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        if self.below or len(self.stack) != 1:
            raise FormatError("the pickle is corrupt: it does not end with one object")
        return self.stack[0]

    def push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
            raise FormatError(f"the pickle holds an integer of {value.bit_length()} bits")
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise FormatError("the pickle is corrupt: it takes from an empty stack")
        return self.stack.pop()

    def top(self, kind: type, opcode: str) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise FormatError(f"the pickle is corrupt: {opcode} finds no {kind.__name__}")
        return self.stack[-1]

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        if not self.below:
            raise FormatError("the pickle is corrupt: it closes a mark that was never opened")
        items, self.stack = self.stack, self.below.pop()
        return items

    def put(self, index: int) -> None:
        if not self.stack:
            raise FormatError("the pickle is corrupt: it remembers from an empty stack")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise FormatError("the pickle is corrupt: it recalls what it never remembered")
        self.stack.append(self.memo[index])

    def tuple_of(self, length: int) -> None:
        items = [self.pop() for _ in range(length)]
        self.stack.append(tuple(reversed(items)))

    def append(self, items: list[Any]) -> None:
        self.top(list, "APPEND").extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict, "SETITEM")
        if len(items) % 2:
            raise FormatError("the pickle is corrupt: a dictionary key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key)] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def new_dict(self, items: list[Any]) -> None:
        self.stack.append({})
        self.set_items(items)

    def push_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise FormatError("the pickle is corrupt: a global's name is not text")
        self.stack.append(find_symbol(module, name))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.push_global(module, name)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Constructor) or not isinstance(arguments, tuple):
            raise FormatError(f"the pickle calls a {type(function).__name__}, which is refused")
        # A list may be recalled again and again: what copies it must not multiply it.
        self.copied += sum(len(argument) for argument in arguments if isinstance(argument, list))
        if self.copied > self.limit:
            raise FormatError("the pickle copies lists beyond any use")
        self.stack.append(function.build(arguments))

    def build(self) -> None:
        # The attributes of an OrderedDict are PyTorch's `_metadata`, the versions of modules: not weights.
        state = self.pop()
        if self.stack and isinstance(self.stack[-1], Inert):
            return
        if not self.stack or not isinstance(self.stack[-1], dict) or not isinstance(state, dict):
            raise FormatError("the pickle sets the state of an object that is no dictionary, which is refused")

    def persistent(self) -> None:
        self.stack.append(self.read_persistent(self.pop()))


def _global(machine: _Machine, argument: Any) -> None:
    # pickletools joins module and name by one space; a module has no space in its name.
    module, _, name = str(argument).partition(" ")
    machine.push_global(module, name)


# fmt: off
_PUSH_ARGUMENT = (
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "STRING", "BINSTRING", "SHORT_BINSTRING",
)
# fmt: on

_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_PUSH_ARGUMENT, _Machine.push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PROTO", "FRAME"), lambda _machine, _argument: None),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(value=True),
    "NEWFALSE": lambda machine, _: machine.push(value=False),
    "MARK": lambda machine, _: machine.mark(),
    "EMPTY_TUPLE": lambda machine, _: machine.tuple_of(0),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.pop_mark()),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: machine.new_dict(machine.pop_mark()),
    "SETITEM": lambda machine, _: machine.set_item(),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
