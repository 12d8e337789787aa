"""`edge zoo`: the published weights: which there are, and which are here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.cli.download_display import DownloadDisplay
from edge_sdk.cli.output import amount, json_option, note, print_json, print_table, size
from edge_sdk.cli.zoo_match import command as match_command
from edge_sdk.errors import FormatError, UsageError, suggestion

if TYPE_CHECKING:
    from edge_sdk.pretrained.manifest import Entry


class _Actions(click.Group):
    """An unknown action gets a suggestion."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return an action."""
        if cmd_name not in self.commands:
            near = suggestion(cmd_name, self.commands)
            raise click.UsageError(f"no action {cmd_name!r}{near}; see `edge zoo --help`")
        return self.commands[cmd_name]


@click.group("zoo", cls=_Actions)
def command() -> None:
    """List, download, check and remove published weights.

    NAME is a network, for which its default weights are taken, or a network and weights: resnet50.imagenet1k_v2.
    Files are kept in the user's cache folder, or in EDGE_CACHE. EDGE_ZOO_URL names a mirror, EDGE_OFFLINE=1 forbids
    downloads.

    \b
    Examples:
      edge zoo list resnet vgg
      edge zoo info resnet50.imagenet1k_v2
      edge zoo download resnet50 vgg16_bn
      edge zoo verify
      edge zoo match model_best.pth.tar
      edge zoo clean --all --yes
    """


command.add_command(match_command)


@command.command("list", short_help="List published weights.")
@click.argument("parts", metavar="[PART]...", nargs=-1)
@json_option
def list_entries(parts: tuple[str, ...], as_json: bool) -> None:
    """List published weights, those whose names contain a PART; * marks a network's default."""
    from edge_sdk.pretrained.manifest import entries

    found = [e for e in entries().values() if not parts or any(part in e.name for part in parts)]
    if not found:
        raise UsageError(
            f"no published weights have {' or '.join(map(repr, parts))} in their names; see `edge zoo list`"
        )
    if as_json:
        print_json([_described(entry) for entry in found])
        return
    rows = [
        (
            entry.name + ("*" if entry.default else ""),
            "–" if entry.top1 is None else f"{entry.top1:.2f}",
            amount(entry.parameters),
            _published_size(entry),
            _place(entry),
        )
        for entry in found
    ]
    print_table("published weights", ("name", "top-1 %", "parameters", "size", ""), rows, compact=True)


@command.command("info", short_help="Print what is known of weights.")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Print what is known of the weights NAME."""
    from edge_sdk.pretrained.manifest import entries_of

    entry = _find(name)
    described = _described(entry)
    if as_json:
        print_json(described)
        return
    others = [other.name for other in entries_of(entry.architecture) if other is not entry]
    lines = {
        **described,
        "size": _published_size(entry),
        "preprocess": ", ".join(f"{key} {value}" for key, value in described["preprocess"].items()),
        "path": described["path"] or f"not here: edge zoo download {entry.name}",
        "other weights": ", ".join(others),
    }
    for key in ("bytes", "mebibytes"):
        del lines[key]
    click.echo(entry.name)
    for key, value in lines.items():
        if key != "name" and value not in (None, [], ""):
            click.echo(f"  {key}: {', '.join(value) if isinstance(value, list) else value}")


@command.command("download", short_help="Download weights, or go on with it, and check them.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def download(names: tuple[str, ...], as_json: bool) -> None:
    """Download the weights NAME, or go on with it, and check them; nothing is done for those that are here."""
    from edge_sdk.pretrained.download import fetch_entry

    results = []
    for entry in [_find(name) for name in names]:
        with DownloadDisplay(entry.name) as display:
            found = fetch_entry(entry, display.on_progress, display.on_wait)
        results.append({"name": entry.name, "path": str(found.path), "sha256": found.sha256})
        if not as_json:
            click.echo(f"{entry.name}: {found.path}")
    if as_json:
        print_json(results)


@command.command("verify", short_help="Compare the files that are here with their published hashes.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def verify_files(names: tuple[str, ...], as_json: bool) -> None:
    """Compare the files of the weights NAME, or of all that are here, with their published hashes."""
    from edge_sdk.pretrained.download import verify
    from edge_sdk.pretrained.manifest import entries
    from edge_sdk.pretrained.weight_cache import stored_file

    results = []
    for entry in [_find(name) for name in names] or entries().values():
        path = stored_file(entry)
        if path is None:
            if names:
                raise UsageError(f"the weights {entry.name} are not here; edge zoo download {entry.name} fetches them")
            continue
        state = "damaged" if verify(path, entry.digest, entry.sizes) is None else "right"
        results.append({"name": entry.name, "path": str(path), "state": state})
    if as_json:
        print_json(results)
    elif results:
        print_table("published weights", ("name", "state"), [(r["name"], r["state"]) for r in results], names=2)
    else:
        click.echo("no published weights are here")
    damaged = [result["name"] for result in results if result["state"] == "damaged"]
    if damaged:
        raise FormatError(f"damaged: {', '.join(damaged)}; `edge zoo download {' '.join(damaged)}` replaces them")


@command.command("clean", short_help="Remove what broken downloads have left.")
@click.option("--all", "weights", is_flag=True, help="Remove the published weights, too.")
@click.option("--unknown", is_flag=True, help="Remove files that edge-sdk knows nothing of, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def clean(weights: bool, unknown: bool, yes: bool, as_json: bool) -> None:
    """Remove what broken downloads have left in the folder of weights; never folders, nor a download that goes on."""
    from edge_sdk.pretrained.weight_cache import look, remove

    found = look()
    paths = (*found.leftovers, *(found.weights if weights else ()), *(found.unknown if unknown else ()))
    count = sum(path.stat().st_size for path in paths)
    if paths and not yes:
        _ask(paths, count)
    remove(paths)
    if as_json:
        print_json({"removed": [str(path) for path in paths], "bytes": count})
        return
    click.echo(f"removed {len(paths)} files, {size(count)}")
    if found.unknown and not unknown:
        note(f"files that edge-sdk knows nothing of stay: {len(found.unknown)}, among them {found.unknown[0]}")


def _ask(paths: Sequence[Path], count: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked whether to remove {len(paths)} files, such as {paths[0]}; add --yes")
    for path in paths:
        note(str(path))
    click.confirm(f"remove these {len(paths)} files, {size(count)}?", abort=True, err=True)


def _find(name: str) -> Entry:
    from edge_sdk.pretrained.architectures import ALIASES
    from edge_sdk.pretrained.manifest import find_entry

    return find_entry(name, ALIASES)


def _described(entry: Entry) -> dict[str, Any]:
    from edge_sdk.pretrained.weight_cache import stored_file

    path = stored_file(entry)
    return {"name": entry.name, **entry.to_dict(), "path": None if path is None else str(path)}


def _published_size(entry: Entry) -> str:
    return "–" if entry.sizes is None else size(sum(entry.sizes) // 2)


def _place(entry: Entry) -> str:
    from edge_sdk.pretrained.weight_cache import stored_file

    if stored_file(entry) is not None:
        return "here"
    return "" if entry.package is None else "package"
