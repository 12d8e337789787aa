"""`edge verify`: is an exported file intact, and does the runtime here give the scores it was written with?"""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.cli.output import check_exported, json_option, print_json, print_table


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def command(file: Path, as_json: bool) -> int:
    """Check an exported FILE (.tflite): its hash, labels and metadata, and its self-test in the installed runtime.

    Ends with 0 when nothing failed, 1 when the file failed, 2 when there is no such file or it is of another kind.

    \b
    Examples:
      edge verify model.tflite
      edge verify model.tflite --json
    """
    from edge_sdk.converters.tflite.verification import verify_file

    check_exported(file, "verify")
    verification = verify_file(file)
    if as_json:
        print_json(verification.to_dict())
    else:
        rows = [(check.name, check.state, check.detail) for check in verification.checks]
        print_table(f"{file}: {'passed' if verification.passed else 'FAILED'}", ("", "", ""), rows, names=3)
    return 0 if verification.passed else 1
