"""`edge`: the command group. Commands are imported when they are called, so that `edge --help` is quick."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from edge_sdk import __version__
from edge_sdk.errors import EdgeError, suggestion

# Name → one line for `edge --help`; the command itself is `command` in edge_sdk.cli.<name>.
COMMANDS = {
    "benchmark": "Time a model, and each of its operators beside the machine's peaks.",
    "compare": "Run two models on the same photos and say where they differ.",
    "convert": "Turn a network of other software, or a checkpoint, into an .edge file.",
    "demo": "Fine-tune, export and run a network on real photos, in minutes.",
    "doctor": "Print what this machine has: versions, processors, GPU, caches, runtimes.",
    "eval": "Measure the accuracy of a model file on labelled photos.",
    "export": "Write a model as a .tflite file and prove it in the runtime.",
    "inspect": "Print a model's program, sizes and memory plan.",
    "predict": "Classify photos with a model file.",
    "prune": "Make a network smaller: fewer channels, and training that wins the accuracy back.",
    "snippets": "Write code that runs an exported file in an app: Kotlin, Swift, C, Python, JavaScript.",
    "train": "Fine-tune a network on a folder of labelled photos.",
    "verify": "Check an exported file, and replay its self-test in the runtime.",
    "warmup": "Compile everything that the zoo's networks need, once.",
    "zoo": "List, download, check and remove published weights.",
}


class Commands(click.Group):
    """Finds commands by module name; an unknown one gets a suggestion."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"no command {cmd_name!r}{suggestion(cmd_name, COMMANDS)}; see `edge --help`")
        module = importlib.import_module(f"edge_sdk.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; that the reader of its output has gone, such as `head`, is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # the rest goes out here, where a closed pipe can still be dealt with
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge")
@click.option("--threads", type=click.IntRange(min=1), help="Threads that compute; else EDGE_NUM_THREADS, or all.")
@click.pass_context
def edge(context: click.Context, threads: int | None) -> None:
    """Fine-tune vision models and ship them to devices without Python.

    \b
    Examples:
      edge train photos/ --model efficientnet_lite0 --out runs/a
      edge export runs/a --quantize int8 --calibrate photos/ --out a.tflite
      edge eval a.tflite photos/
      edge --threads 1 predict runs/a photo.jpg
    """
    from edge_sdk.cli.compile_display import CompileDisplay
    from edge_sdk.threads import preferring

    context.with_resource(CompileDisplay())
    context.with_resource(preferring(threads, "--threads"))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 the caller's mistake (one or two lines on stderr), 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path or a label may have what the terminal cannot show
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = edge.main(args=arguments, prog_name="edge", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as help_page:
        click.echo(help_page.format_message())
        return 2
    except click.ClickException as error:
        return _complain(error.format_message())
    except EdgeError as error:
        return _complain(str(error))
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(f"\nedge: {str(stop) or 'interrupted'}", err=True)
        return 130
    except OSError as error:
        path = error.filename2 or error.filename  # of a renaming the second is the one that the caller knows
        return _complain(f"{path}: {error.strerror}" if path else str(error))
    except MemoryError as error:
        return _complain(f"there is not enough memory: {str(error) or 'try a smaller batch'}")
    return result if isinstance(result, int) else 0


def _complain(message: str) -> int:
    click.echo(f"edge: {message}", err=True)
    return 2


if __name__ == "__main__":
    main()
