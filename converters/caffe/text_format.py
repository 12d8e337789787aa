"""Protocol buffers' text format, as .prototxt files have it: a parser without a schema, and typed access to fields.

The grammar is that of "Text Format Language Specification" (protobuf.dev), without extensions and Any.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NoReturn, TypeAlias, TypeVar

from edge_sdk.errors import FormatError, suggestion

MOST_BYTES = 1 << 21
"""The definition of a network of a thousand layers takes a quarter of it."""
DEEPEST = 32
LARGEST_INTEGER = (1 << 31) - 1

_TOKEN = re.compile(
    r"""(?:\s|\#[^\n]*)*(?:([A-Za-z0-9_.+-]+)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|([{}<>:;,\[\]])|(\Z)|(.))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CLOSING = {"{": "}", "<": ">"}


class Quoted(str):
    """The content of a string; other scalars are plain words."""

    __slots__ = ()


Scalar: TypeAlias = str
_T = TypeVar("_T")
_WORD, _STRING, _PUNCTUATION, _END, _OTHER = 1, 2, 3, 4, 5  # the groups of _TOKEN


class Message:
    """The fields of a message, in order of their names' first use; what was read is noted.

    Attributes:
        path: Where it stands, for messages: `layer 'conv1': convolution_param`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fields: dict[str, list[Scalar | Message]] = {}
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def append(self, name: str, value: Scalar | Message) -> None:
        """Add one value of a field."""
        self._fields.setdefault(name, []).append(value)

    def unread(self) -> list[str]:
        """Return the names of fields that nobody asked for."""
        return [name for name in self._fields if name not in self._read]

    def ignore(self, *names: str) -> None:
        """Say that these fields do not matter."""
        self._read.update(names)

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        values = self.texts(name)
        return self._single(name, values) if values else default

    def texts(self, name: str) -> list[str]:
        """All values of a repeated string."""
        values = [str(value) for value in self._values(name) if isinstance(value, Quoted)]
        self._check_kinds(name, len(values), 'text in "quotes"')
        return values

    def word(self, name: str, default: str = "") -> str:
        """A name of an enumeration, as text or bare."""
        values = [str(value) for value in self._values(name) if isinstance(value, str)]
        self._check_kinds(name, len(values), "a word")
        return self._single(name, values) if values else default

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        word = self.word(name, "true" if default else "false")
        if word not in ("true", "false", "True", "False", "t", "f", "1", "0"):
            raise FormatError(f"{self.path}: {name} is {word[:40]!r}, wanted true or false")
        return word in ("true", "True", "t", "1")

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of an enumeration's names, or its number."""
        word = self.word(name, default)
        if word.isdecimal() and len(word) < 4 and int(word) < len(choices):
            return choices[int(word)]
        if word not in choices:
            raise FormatError(
                f"{self.path}: {name} is {word[:40]!r}, wanted {' or '.join(choices)}{suggestion(word, choices)}"
            )
        return word

    def integer(self, name: str, default: int, low: int = 0) -> int:
        """A whole number from `low` on."""
        values = self.integers(name, low)
        return self._single(name, values) if values else default

    def integers(self, name: str, low: int = 0) -> list[int]:
        """All values of a repeated whole number."""
        return [self._integer(name, value, low) for value in self._values(name)]

    def number(self, name: str, default: float) -> float:
        """A finite number."""
        values = self.numbers(name)
        return self._single(name, values) if values else default

    def numbers(self, name: str) -> list[float]:
        """All values of a repeated number."""
        return [self._number(name, value) for value in self._values(name)]

    def message(self, name: str) -> Message:
        """A message within; an empty one when it is not there. One given twice is merged, as protocol buffers do."""
        merged = Message(f"{self.path}: {name}")
        for part in self.messages(name):
            for field, values in part._fields.items():
                for value in values:
                    merged.append(field, value)
        return merged

    def messages(self, name: str) -> list[Message]:
        """All values of a repeated message."""
        values = [value for value in self._values(name) if isinstance(value, Message)]
        self._check_kinds(name, len(values), "{ fields }")
        return values

    def _values(self, name: str) -> list[Scalar | Message]:
        self._read.add(name)
        return self._fields.get(name, [])

    def _check_kinds(self, name: str, fitting: int, wanted: str) -> None:
        if fitting != len(self._fields.get(name, [])):
            raise FormatError(f"{self.path}: {name} is something else than {wanted}")

    def _single(self, name: str, values: Sequence[_T]) -> _T:
        if len(values) > 1:
            raise FormatError(f"{self.path}: {name} is given {len(values)} times, wanted once")
        return values[0]

    def _integer(self, name: str, value: Scalar | Message, low: int) -> int:
        word = "{ … }" if isinstance(value, Message) else value
        try:
            found = (
                None if isinstance(value, Quoted | Message) or len(word) > 24 else int(word, 0 if "x" in word else 10)
            )
        except ValueError:
            found = None
        if found is None or "_" in word or not low <= found <= LARGEST_INTEGER:
            raise FormatError(
                f"{self.path}: {name} is {word[:40]!r}, wanted a whole number from {low} to {LARGEST_INTEGER}"
            )
        return found

    def _number(self, name: str, value: Scalar | Message) -> float:
        word = "{ … }" if isinstance(value, Message) else value
        try:
            found = math.nan if isinstance(value, Quoted | Message) or len(word) > 64 else float(word.rstrip("fF"))
        except ValueError:
            found = math.nan
        if not math.isfinite(found) or abs(found) > 3.4e38 or "_" in word:
            raise FormatError(f"{self.path}: {name} is {word[:40]!r}, wanted a number")
        return found


def parse(text: str, source: str) -> Message:
    """Parse a whole message.

    Raises:
        FormatError: the text is not of the format, nests deeper than 32 messages or is longer than two megabytes.
    """
    if len(text) > MOST_BYTES:
        raise FormatError(
            f"{source}: a definition of {len(text)} characters; those of networks have at most {MOST_BYTES}"
        )
    return _Parser(text, source).whole()


class _Parser:
    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._start = 0
        self._end = 0
        self._kind = 0
        self._word = ""
        self._advance()

    def whole(self) -> Message:
        root = Message(self._source)
        self._fields(root, "", 0)
        return root

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._end)
        if match is None or match.lastindex is None or match.lastindex == _OTHER:
            self._fail("a character that no token starts with")
        self._kind, self._word = match.lastindex, match.group(match.lastindex)
        self._start, self._end = match.start(match.lastindex), match.end()

    def _fail(self, wanted: str) -> NoReturn:
        line = self._text.count("\n", 0, self._start) + 1
        raise FormatError(f"{self._source}: line {line}: {wanted} (at {self._text[self._start : self._start + 20]!r})")

    def _fields(self, message: Message, closing: str, depth: int) -> None:
        if depth > DEEPEST:
            self._fail(f"messages nest deeper than {DEEPEST}")
        while True:
            if self._word == closing and self._kind in (_PUNCTUATION, _END):
                return
            if self._kind != _WORD:
                self._fail("wanted the name of a field")
            name = self._word
            self._advance()
            colon = self._accept(":")
            if self._kind == _PUNCTUATION and self._word == "[":
                self._list(message, name, depth)
            else:
                self._value(message, name, depth, colon=colon)
            if not self._accept(","):
                self._accept(";")

    def _list(self, message: Message, name: str, depth: int) -> None:
        self._advance()
        while not self._accept("]"):
            self._value(message, name, depth, colon=True)
            if not self._accept(",") and self._word != "]":
                self._fail("wanted , or ] in a list")

    def _value(self, message: Message, name: str, depth: int, *, colon: bool) -> None:
        if self._kind == _PUNCTUATION and self._word in _CLOSING:
            closing = _CLOSING[self._word]
            self._advance()
            inner = Message(f"{message.path}: {name}" if depth else self._source)
            self._fields(inner, closing, depth + 1)
            self._advance()
            message.append(name, inner)
        elif self._kind == _STRING and colon:
            parts = []
            while self._kind == _STRING:  # neighbours are one string
                parts.append(_unescaped(self._word[1:-1]))
                self._advance()
            message.append(name, Quoted("".join(parts)))
        elif self._kind == _WORD and colon:
            message.append(name, self._word)
            self._advance()
        else:
            self._fail(f"wanted a value of {name[:40]}")

    def _accept(self, punctuation: str) -> bool:
        found = self._kind == _PUNCTUATION and self._word == punctuation
        if found:
            self._advance()
        return found


def _unescaped(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        return chr(int(code, 8) & 0xFF) if code[0] in "01234567" else _ESCAPED.get(code, code)

    return _ESCAPE.sub(replaced, text) if "\\" in text else text
