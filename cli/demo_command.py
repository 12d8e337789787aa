"""`edge demo`: the whole job, from photos to a proven file."""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.cli.device_option import device_for, device_option
from edge_sdk.cli.output import TrainingDisplay, json_option, note, percent, print_json, print_table, size


@click.command("demo")
@click.option("--quick", is_flag=True, help="A quarter of the photos, two epochs: under a minute, and less accurate.")
@click.option("--out", type=click.Path(path_type=Path), default="edge-demo", show_default=True, help="Folder to write.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides split and training.")
@device_option
@json_option
def command(quick: bool, out: Path, seed: int, device: str, as_json: bool) -> int:
    """Fine-tune EfficientNet-Lite0 on photos of solar cells, export it to int8, and run the file.

    The photos are those of elpv-dataset (pip install 'edge-sdk[demo]'), which is licensed for non-commercial use.
    Ctrl-C saves a checkpoint; the same command goes on from it.

    \b
    Examples:
      edge demo
      edge demo --quick --json
    """
    from edge_sdk.pretrained.demo import FULL, QUICK, run_demo
    from edge_sdk.pretrained.solar_cells import BLOCK, DISTRIBUTION, LICENCE
    from edge_sdk.training.fit import Interrupted

    place = device_for(device)
    note(f"photos: {DISTRIBUTION}, Buerhop-Lutz et al. 2018; licence: {LICENCE}")
    folder = out / ("quick" if quick else "full") / f"seed-{seed}"
    try:
        with TrainingDisplay() as display:
            demo = run_demo(folder, QUICK if quick else FULL, seed, display, note, place)
    except Interrupted as stop:
        note(f"\n{stop}; a checkpoint is in {stop.folder}. Go on with the same command")
        return 130
    if as_json:
        print_json(demo.to_dict())
        return 0
    report = demo.report
    print_table(
        f"{demo.held_out} held-out photos of {demo.photos}, split by blocks of {BLOCK} file numbers",
        ("", "top-1 accuracy"),
        [
            ("always the commonest class", percent(demo.majority)),
            ("linear probe on frozen features", percent(demo.probe)),
            ("linear probe, random split (neighbouring cells on both sides)", percent(demo.probe_random_split)),
            ("fine-tuned", percent(report.model_accuracy)),
            ("fine-tuned, the int8 file in the runtime", percent(report.file_accuracy)),
        ],
    )
    click.echo(
        f"int8 file and float model agree on {percent(report.agreement)} of the photos\n"
        f"{report.path}: {size(report.bytes)}, {report.milliseconds:.1f} ms a photo in {report.runtime}\n"
        f"{demo.seconds:.0f} s in all; next: edge predict {report.path} PHOTO, edge inspect {demo.model}"
    )
    return 0
