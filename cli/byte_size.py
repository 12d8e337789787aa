"""Sizes of files as people write them: 4MB, 500kB, 3.5MiB."""

from __future__ import annotations

import re

import click


def byte_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return an option's number of bytes, as click's `callback`: units are of 1000, or of 1024 with an i.

    Raises:
        BadParameter: a text that is no size.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(k|M|G)?(i)?B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size, such as 4MB, 500kB or 3.5MiB", context, parameter)
    number, unit, binary = found.groups()
    power = " kmg".index((unit or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)
