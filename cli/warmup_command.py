"""`edge warmup`: compile the kernels ahead of their first use."""

from __future__ import annotations

import time

import click

from edge_sdk.cli.output import json_option, note, print_json, size


@click.command("warmup")
@click.option("--model", "models", multiple=True, help="A network of the zoo; all of them when left out. Repeatable.")
@json_option
def command(models: tuple[str, ...], as_json: bool) -> None:
    """Compile everything that training and inference of the zoo's networks need, so that nothing waits for it later.

    Compiled code stays in the user's cache folder; a second call only loads it.

    \b
    Examples:
      edge warmup
      edge warmup --model resnet18 --json
    """
    from edge_sdk.pretrained.warmup import warmup
    from edge_sdk.threads import get_threads, threading_layer

    start = time.perf_counter()
    known = warmup(models or None, on_part=lambda name: note(f"{time.perf_counter() - start:6.1f} s  {name}"))
    seconds = time.perf_counter() - start
    files = [path for path in known.folder.iterdir() if path.is_file()] if known.folder is not None else []
    kept = sum(path.stat().st_size for path in files)
    if as_json:
        print_json(
            {
                "folder": str(known.folder),
                "bytes": kept,
                "files": len(files),
                "compiled": known.compiled,
                "loaded": known.loaded,
                "seconds": round(seconds, 3),
                "threads": get_threads(),
                "threading_layer": threading_layer(),
            }
        )
        return
    click.echo(f"compiled {known.compiled} kernels, loaded {known.loaded}, in {seconds:.1f} s")
    click.echo(f"{known.folder}: {len(files)} files, {size(kept)}")
    click.echo(f"{get_threads()} threads, run by {threading_layer()}")
