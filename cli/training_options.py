"""The options of commands that train: how photos vary and are divided, and the seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

augment_option: Callable[[Any], Any] = click.option(
    "--augment", type=click.Choice(["off", "flip", "crop", "any-side-up"]), default="flip", show_default=True,
    help="How training photos vary: mirrored; random parts, mirrored; or also upside down and in other light.",
)  # fmt: skip
validation_option: Callable[[Any], Any] = click.option(
    "--validation", type=click.FloatRange(0, 1, max_open=True), default=0.2, show_default=True,
    help="Share held out when there is no val/.",
)  # fmt: skip
seed_option: Callable[[Any], Any] = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides split, order and all chance."
)
