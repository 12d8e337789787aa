"""Nothing that a pickle names is imported or called, and no pickle takes more memory or time than its size explains."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from edge_sdk.converters.torch import read_state_dict
from edge_sdk.errors import FormatError

OUTSIDE = "which a state dict of tensors does not need and which could run code; refused"


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path: Path, data: bytes, container: str) -> Path:
    """Put a pickle where a container keeps that of the saved object."""
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hostile/data.pkl", data)
    elif container == "tar":
        empty = pickle.dumps(0, protocol=2)
        members = {"storages": empty + pickle.dumps([], protocol=2), "tensors": empty, "pickle": data}
        with tarfile.open(path, "w:") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    else:
        head = [0x1950A86A20F9469CFC6C, 1001, {}]
        path.write_bytes(b"".join(pickle.dumps(value, protocol=2) for value in head) + data)
    return path


@pytest.mark.parametrize("container", ["zip", "legacy", "tar"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call(os.system, "exit 1"), r"(posix|nt)\.system"),
        (Call(builtins.eval, "1"), r"(builtins|__builtin__)\.eval"),
        (Call(builtins.exec, "1"), r"(builtins|__builtin__)\.exec"),
        (Call(getattr, "x", "y"), r"(builtins|__builtin__)\.getattr"),
        (Call(builtins.__import__, "os"), r"(builtins|__builtin__)\.__import__"),
        (Call(subprocess.check_output, ["true"]), r"\w+\.check_output"),
        (Call(pickle.loads, b"N."), r"_?c?[pP]ickle\.loads"),
        (Call(os.path.expanduser, Call(os.getcwd)), r"(posixpath|ntpath)\.expanduser"),
    ],
)
def test_a_call_is_refused_by_name(tmp_path, call, named, protocol, container):
    """In every container and protocol, and before anything is called."""
    path = write(tmp_path / "hostile.pth", pickle.dumps({"weight": call}, protocol), container)

    with pytest.raises(FormatError, match=f"names '{named}', {OUTSIDE}"):
        read_state_dict(path)


# Pickles by hand: c is a global, ( a mark, t a tuple of what follows it, R a call, } an empty dictionary.
GADGETS = {
    "torch.load": b"ctorch.serialization\nload\n(S'other.pth'\ntR.",
    "torch.storage._load_from_bytes": b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
    "torch.jit._unpickler": b"ctorch.jit._pickle\nbuild_intlist\n(]tR.",
    "numpy.load": b"cnumpy\nload\n(S'x'\ntR.",
    "a chain of attributes": b"cbuiltins\ngetattr\n(cos\npath\nS'x'\ntR.",
    "an attribute of what is known": b"ctorch\nFloatStorage.__init__.__globals__\n.",
    "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x16Size.__class__.__mro__\x93.",
    "a call of what was built": b"]]R.",
    "a call of a tensor's class": b"ctorch\nFloatStorage\n(tR.",
    "a hidden one, by its type": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n(S'x'\nt}tR.",
    "a class with arguments": b"(S'x'\nios\nsystem\n.",
    "a class by an object": b"(cos\nsystem\nS'x'\no.",
    "an extension": b"\x80\x02\x82\x01.",
    "a function of a buffer": b"\x80\x05\x97.",
    "a persistent id of text": b"Phostile\n.",
    "a whole network": b"(S'module'\ncos\nsystem\nS'file'\nS'source'\ntQ.",
}


@pytest.mark.parametrize("data", GADGETS.values(), ids=GADGETS)
@pytest.mark.parametrize("container", ["zip", "legacy", "tar"])
def test_a_gadget_is_refused(tmp_path, data, container, monkeypatch):
    """No module is loaded, whatever the pickle does."""
    monkeypatch.setattr(os, "system", None)
    path, before = write(tmp_path / "gadget.pth", data, container), set(sys.modules)

    with pytest.raises(FormatError):
        read_state_dict(path)
    assert not {name for name in set(sys.modules) - before if not name.startswith(("edge_sdk", "encodings"))}


def test_what_scripts_leave_beside_the_weights_stays_inert(tmp_path):
    """A namespace is on the allow-list; its state is dropped, and a class inside it is refused all the same."""
    harmless = b"(S'args'\ncargparse\nNamespace\n)\x81}S'lr'\nF0.1\nsbd."
    hostile = b"(S'args'\ncargparse\nNamespace\n)\x81}S'lr'\ncos\nsystem\nsbd."

    with pytest.raises(FormatError, match="no named tensors; it holds 'args'"):
        read_state_dict(write(tmp_path / "harmless.pth", harmless, "zip"))
    with pytest.raises(FormatError, match=r"names 'os\.system'"):
        read_state_dict(write(tmp_path / "hostile.pth", hostile, "zip"))


BOMBS = {
    "a memo index of 4 billion": b"\x80\x02Nr\xff\xff\xff\xff.",
    "a string of 2 gigabytes": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "bytes of 8 exabytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "an integer of 2 gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "an integer of many digits": b"L" + b"9" * 100_000 + b"L\n.",
    # Each list holds the one before it twice: 2^20,000 entries for who follows them.
    "laughs": b"]q\0" + b"]q\1(h\0h\0e0h\1q\0" * 20_000 + b".",
    "tuples, nested": b")" + b"\x85" * 30_000 + b".",
    "lists, nested": b"]" * 30_000 + b"a" * 29_999 + b".",
    "a dictionary in itself": b"}q\0S'state_dict'\nh\0s.",
    "a nested tuple as a key": b"})" + b"\x85" * 30_000 + b"Ns.",
    # One list of 10,000 pairs, copied into 10,000 dictionaries.
    "copies": b"](" + b"](NNe" * 10_000 + b"eq\1" + b"ccollections\nOrderedDict\nh\1\x85R" * 10_000 + b".",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_bomb_does_not_go_off(tmp_path, data, container):
    """A FormatError, after no more memory than the objects take that tens of thousands of opcodes make."""
    path = write(tmp_path / "bomb.pth", data, container)
    tracemalloc.start()

    with pytest.raises(FormatError):
        read_state_dict(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16_000_000


def test_an_archive_within_its_size(tmp_path):
    """Compressed entries, which could swell a thousandfold, are refused as PyTorch never writes them."""
    path = tmp_path / "zeros.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros/data.pkl", b"]" * 10_000_000)

    with pytest.raises(FormatError, match="is compressed; PyTorch stores its entries as they are"):
        read_state_dict(path)
