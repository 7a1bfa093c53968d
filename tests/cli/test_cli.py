"""The command line itself: what it loads, how it ends."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from relay import __version__
from relay.cli.main import COMMANDS

from .conftest import Run

HEAVY = ("flask", "boto3", "sqlalchemy", "pydantic", "requests", "alembic", "gunicorn")


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, (_, words) in COMMANDS.items():
        assert name in result.stdout
        assert words[:30] in result.stdout


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom relay.cli.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str, run: Run) -> None:
    command = importlib.import_module(f"relay.cli.{COMMANDS[name][0]}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert run(name, "--help").exit_code == 0


def test_every_module_with_a_command_is_registered() -> None:
    folder = Path(importlib.import_module("relay.cli").__path__[0])
    with_command = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if "\ndef command(" in path.read_text()
    }
    assert with_command == {module for module, _ in COMMANDS.values()}


def test_the_version_is_told(run: Run) -> None:
    assert __version__ in run("--version").stdout


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    assert run("chekc").exit_code == 2


def test_a_wrong_configuration_ends_any_command_with_78(run: Run) -> None:
    result = run("deliveries", RELAY_DATABSE__URL="x", RELAY_DELIVERY__ATTEMPTS="x")
    assert result.exit_code == 78
    assert "Did you mean `RELAY_DATABASE__URL`?" in result.stderr
    assert "delivery.attempts: should be a whole number" in result.stderr
    assert result.stdout == ""


def test_it_is_a_module_too(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relay", "--config", "nowhere.toml", "check"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr == "error nowhere.toml cannot be read: No such file or directory.\n"
