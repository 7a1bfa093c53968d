"""The command line: help, imports and exit codes."""

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
    for name, (_, summary) in COMMANDS.items():
        assert name in result.stdout
        assert summary[:30] in result.stdout


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
def test_every_command_exists_and_has_help(name: str, run: Run) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(f"relay.cli.{module}"), attribute)
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
    registered = {entry.partition(":")[0] for entry, _ in COMMANDS.values()}
    assert with_command == registered


def test_the_version_is_printed(run: Run) -> None:
    assert __version__ in run("--version").stdout


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    assert run("chekc").exit_code == 2


def test_an_invalid_configuration_ends_any_command_with_78(run: Run) -> None:
    result = run("deliveries", RELAY_DATABSE__URL="x", RELAY_DELIVERY__ATTEMPTS="x")
    assert result.exit_code == 78
    assert "Did you mean `RELAY_DATABASE__URL`?" in result.stderr
    assert "delivery.attempts: should be a whole number" in result.stderr
    assert result.stdout == ""


def test_relay_runs_as_a_module(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relay", "--config", "missing.toml", "check"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr == "error missing.toml cannot be read: No such file or directory.\n"


def test_the_demo_without_its_extra_prints_the_install_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    monkeypatch.setitem(sys.modules, "moto.server", None)
    monkeypatch.delitem(sys.modules, "relay.cli.demo.environment", raising=False)
    result = run("demo", "--once")
    assert result.exit_code == 2
    assert 'pip install "ziprelay[demo]"' in result.stderr
    assert 'pip install -e ".[demo]"' in result.stderr
    assert "Traceback" not in result.output


def test_the_demo_has_help_without_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    assert run("demo", "--help").exit_code == 0


def test_the_sandbox_and_the_demo_do_not_need_pytest() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "import relay.cli.demo.command, relay.cli.sandbox\n"
        "from relay.testing.sandbox.functiongraph import SandboxServer"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
