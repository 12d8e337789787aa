"""Every command explains itself, with examples that the command line takes."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import edge_sdk
from edge_sdk.cli.main import COMMANDS, edge


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_with_examples(run, name, option):
    """Usage and examples are on stdout, and the command exits well."""
    result = run(name, option)

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: edge {name} ")
    assert "Examples:" in result.out
    assert f"  edge {name} " in result.out or f"  edge {name}\n" in result.out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_examples_are_parsed(run, name):
    """An example has no option that the command lacks and no value that it refuses."""
    command = importlib.import_module(f"edge_sdk.cli.{name}_command").command
    text = run(name, "--help").out.split("Examples:")[1].split("Options:")[0]
    examples = re.findall(rf"^ +edge {name}\b(.*)$", text, re.MULTILINE)

    contexts = [command.make_context(name, shlex.split(example.split("|")[0])) for example in examples]

    assert examples
    assert all(isinstance(context, click.Context) for context in contexts)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_explained(name):
    """No option stands in the help page with its name alone."""
    command = importlib.import_module(f"edge_sdk.cli.{name}_command").command
    commands = [command, *getattr(command, "commands", {}).values()]

    options = [one for each in commands for one in each.params if isinstance(one, click.Option)]

    assert [one.opts for one in options if not one.help] == []


def test_the_page_of_the_group_lists_every_command(run):
    """With a line on each, in alphabetical order, and examples."""
    out = run("--help").out

    places = [out.index(f"\n  {name} ") for name in sorted(COMMANDS)]
    assert places == sorted(places)
    assert "Examples:" in out
    assert all(line.split(".")[0][:40] in out for line in COMMANDS.values())


def test_the_list_of_commands_is_complete():
    """Every module of a command is in the table."""
    folder = importlib.import_module("edge_sdk.cli").__path__[0]

    modules = {path.name.removesuffix("_command.py") for path in Path(folder).glob("*_command.py")}

    assert modules == set(COMMANDS) == set(edge.list_commands(click.Context(edge)))


def test_the_version_is_the_package_s(run):
    """`edge --version` names program and version."""
    assert run("--version").out == f"edge, version {edge_sdk.__version__}\n"


def test_help_loads_no_heavy_library():
    """The page comes without Numba, Pillow, a runtime or a converter being imported."""
    code = (
        "import sys\nfrom edge_sdk.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        "    heavy = ['numba', 'PIL', 'rich', 'ai_edge_litert', 'safetensors', 'edge_sdk.converters']\n"
        "    print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)

    assert done.stderr == "[]\n"
    assert "Usage: edge" in done.stdout
