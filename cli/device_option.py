"""The option --device of commands that train or evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

device_option: Callable[[Any], Any] = click.option(
    "--device",
    type=click.Choice(["cpu", "gpu", "auto"]),
    default="cpu",
    show_default=True,
    help="Where to compute; auto is an NVIDIA GPU where one can be used here, and says so.",
)


def device_for(option: str) -> str:
    """Return the device that the option means, which is here; of auto, a line on stderr says what it is and why."""
    from edge_sdk.cli.output import note
    from edge_sdk.device_choice import chosen_device

    return chosen_device(option, note)
