"""`edge zoo`: published weights from a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from weight_server import CONTENT, HALF, SHA256, Server, running_server

from edge_sdk.pretrained import manifest
from edge_sdk.pretrained.file_lock import locked
from edge_sdk.pretrained.manifest import entries, parse_manifest

SMALL = "resnet18.imagenet1k_v1"
FILE = "resnet18-f37072fd.pth"
VGG = "vgg16-397923af.pth"
LEFT = (f"{VGG}.part", f"{VGG}.part.json", f"{VGG}.lock", f".{VGG}.part.json.abcd1234.tmp", f".{VGG}.abcd_234.tmp")
MINE = ("mine.pth", "mine.part", "notes.txt")


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port of this machine's loopback."""
    with running_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch, server) -> Path:
    """An empty cache folder, the server as mirror, and a manifest by which ResNet-18's file is the server's."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGE_ZOO_URL", server.folder)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("EDGE_OFFLINE", raising=False)
    values = json.loads(resources.files("edge_sdk.pretrained").joinpath("manifest.json").read_text("utf-8"))
    values[SMALL] |= {"digest": f"sha256:{SHA256}", "bytes": len(CONTENT)}
    changed = parse_manifest(json.dumps(values))
    for module in ("manifest", "weight_cache"):
        monkeypatch.setattr(f"edge_sdk.pretrained.{module}.entries", lambda: changed)
    return tmp_path / "cache"


def test_list_names_all_published_weights(run):
    """As a table and as JSON; a part of the name chooses some."""
    everything = run("zoo", "list", "--json")

    assert [entry["name"] for entry in everything.json] == list(entries())
    table = run("zoo", "list", "resnet50.", "vgg16_bn").out
    assert all(name in table for name in ("resnet50.imagenet1k_v1*", "resnet50.imagenet1k_v2 ", "vgg16_bn", "80.86"))
    assert "alexnet" not in table


def test_info_says_what_is_known(run, cache):
    """Licence, source, hash, preprocessing and where the file is; a network's name means its default weights."""
    info = run("zoo", "info", "resnet50", "--json").json

    assert (info["name"], info["top1"], info["path"]) == ("resnet50.imagenet1k_v1", 76.13, None)
    text = run("zoo", "info", "resnet50.imagenet1k_v2").out
    assert text.startswith("resnet50.imagenet1k_v2\n")
    for known in ("resize 232", "sha256:11ad3fa6", "ImageNet", "not here: edge zoo download", "resnet50.imagenet1k_v1"):
        assert known in text


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_download_fetches_and_checks(run, server, cache, arguments):
    """The path is printed, or with the hash as JSON; the bar is on stderr, and a second call has nothing to show."""
    first, second = (run("zoo", "download", "resnet18", *arguments) for _ in range(2))

    assert (first.code, first.out) == (0, second.out)
    assert SMALL in first.out
    assert str(cache / FILE) in first.out
    assert SMALL in first.err
    assert second.err == ""
    assert (cache / FILE).read_bytes() == CONTENT
    assert [request.path for request in server.requests] == [f"/{FILE}"]


def test_a_download_that_fails_is_explained(run, server, cache):
    """Exit code 2, the reason, and what is kept."""
    server.behaviours = ["breaking_off", "missing"]

    result = run("zoo", "download", "resnet18")

    assert (result.code, result.out) == (2, "")
    assert "404 Not Found); 256000 bytes are kept" in result.err
    assert "Traceback" not in result.err
    server.behaviours = ["right"]
    assert run("zoo", "download", "resnet18").code == 0
    assert server.ranges[-1] == f"bytes={HALF}-"


def test_verify_finds_what_is_damaged(run, server, cache):
    """A right file is right; one with a changed byte is named, with the way to replace it."""
    run("zoo", "download", "resnet18")

    assert run("zoo", "verify", "resnet18", "--json").json == [
        {"name": SMALL, "path": str(cache / FILE), "state": "right"}
    ]
    (cache / FILE).write_bytes(CONTENT[:-1] + b"!")
    result = run("zoo", "verify")
    assert result.code == 2
    assert "damaged" in result.out
    assert result.err == f"edge: damaged: {SMALL}; `edge zoo download {SMALL}` replaces them\n"
    assert run("zoo", "download", "resnet18").code == 0
    assert run("zoo", "verify").code == 0


def fill(cache: Path) -> set[str]:
    """Weights, what downloads leave behind, a stranger's file, and folders; return all names."""
    names = [FILE, *LEFT, *MINE]
    (cache / "features").mkdir(parents=True)
    (cache / "features" / "some.features").write_bytes(b"1")
    for name in names:
        (cache / name).write_bytes(b"12")
    return {*names, "features"}


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ((), {*LEFT}),
        (("--all",), {*LEFT, FILE}),
        (("--unknown",), {*LEFT, *MINE}),
    ],
)
def test_clean_removes_what_it_is_told_to(run, cache, options, gone):
    """What downloads have left; on demand weights, or strangers' files; never a folder."""
    names = fill(cache)

    result = run("zoo", "clean", "--yes", "--json", *options)

    left = {path.name for path in cache.iterdir()}
    assert left == names - gone
    assert {Path(path).name for path in result.json["removed"]} == gone
    assert result.json["bytes"] == 2 * len(gone)
    assert (cache / "features" / "some.features").exists()


def test_clean_names_strangers_and_leaves_a_download_alone(run, cache):
    """A part whose lock is held is not touched; files that nobody knows are mentioned."""
    fill(cache)

    with locked(cache / f"{VGG}.lock"):
        result = run("zoo", "clean", "--yes")

    assert result.out == "removed 0 files, 0.0 kB\n"
    assert "3, among them" in result.err
    assert (cache / f"{VGG}.part").exists()


def test_clean_asks_first(run, refused, cache, monkeypatch):
    """Where nobody can be asked it refuses; a no leaves everything."""
    names = fill(cache)

    assert "add --yes" in refused("zoo", "clean")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *arguments: "n")
    assert run("zoo", "clean", "--all").code == 130
    assert {path.name for path in cache.iterdir()} == names
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *arguments: "y")
    assert run("zoo", "clean").code == 0
    assert not (cache / f"{VGG}.part").exists()


def test_nothing_is_removed_where_nothing_is(run, cache):
    """An absent folder is no error, and needs no confirmation."""
    assert run("zoo", "clean").out == "removed 0 files, 0.0 kB\n"
    assert not cache.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("lst",), "did you mean 'list'?"),
        (("list", "resnet81"), "'resnet81'"),
        (("info", "resnet81"), "did you mean 'resnet18'?"),
        (("info", "resnet50.imagenet1k_v3"), "did you mean 'resnet50.imagenet1k_v2'?"),
        (("download",), "NAME"),
        (("download", "efficientnet_lite4"), "edge zoo list"),
        (("verify", "resnet18"), "edge zoo download resnet18.imagenet1k_v1"),
        (("clean", "--al"), "--all"),
    ],
)
def test_mistakes_are_explained(refused, cache, arguments, named):
    """In one or two lines, with a suggestion for what is nearly right."""
    assert named in refused("zoo", *arguments)


def test_offline_is_explained(refused, cache, monkeypatch):
    """EDGE_OFFLINE=1 forbids the download, and other values than 1 and 0 are mistakes."""
    monkeypatch.setenv("EDGE_OFFLINE", "1")
    assert "EDGE_OFFLINE=1 forbids" in refused("zoo", "download", "resnet18")
    monkeypatch.setenv("EDGE_OFFLINE", "yes")
    assert "EDGE_OFFLINE" in refused("zoo", "download", "resnet18")


def test_training_shows_the_download(run, server, cache, photos, tmp_path):
    """`edge train` fetches weights with the same bar; here the file is no checkpoint, which ends it."""
    result = run("train", photos, "--model", "resnet18", "--out", tmp_path / "run")

    assert result.code == 2
    assert "weights resnet18" in result.err
    assert FILE in result.err.splitlines()[-1]
    assert manifest.entries()[SMALL].bytes == len(CONTENT)
