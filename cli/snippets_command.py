"""`edge snippets`: code that runs an exported file in an app."""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.cli.output import check_exported, json_option, print_json


@click.command("snippets")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option(
    "--language",
    "languages",
    multiple=True,
    type=click.Choice(["c", "javascript", "kotlin", "python", "swift"]),
    help="One of them; may be given again. All if left out.",
)
@json_option
def command(file: Path, out: Path, languages: tuple[str, ...], as_json: bool) -> None:
    """Write code that runs an exported FILE (.tflite), with its labels and the photos of its self-test.

    \b
    Examples:
      edge snippets model.tflite --out app
      edge snippets model.tflite --out app --language kotlin --language swift
    """
    from edge_sdk.converters.snippets.generate import write_snippets

    check_exported(file, "snippets")
    written = [str(path) for path in write_snippets(file, out, languages)]
    if as_json:
        print_json({"file": str(file), "written": written})
        return
    for path in written:
        click.echo(path)
