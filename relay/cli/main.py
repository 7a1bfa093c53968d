"""`relay`: the command line. Knows its commands by name; imports one only when it is called."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relay import __version__
from relay.cli.exit_codes import FAILED, MISCONFIGURED
from relay.errors import ConfigError, ConfigErrors, RelayError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("demo.command", "Show all of it at work, without account or configuration."),
    "serve": ("serve", "Take notifications, show the pages, and deliver."),
    "work": ("work", "Deliver only."),
    "check": ("check", "Find every error in the configuration."),
    "plan": ("plan", "Say what would happen to an object or a file; change nothing."),
    "import": ("import_", "Import an object or a file now."),
    "deliveries": ("deliveries", "List deliveries, newest first."),
    "show": ("show", "Tell one delivery's story."),
    "retrigger": ("retrigger", "Try deliveries again."),
    "scan": ("scan", "Enqueue what no event announced."),
    "sources": ("sources", "List sources; set up their storages; capture notifications."),
    "targets": ("targets", "Say how each target is doing."),
    "channels": ("channels", "List channels; post a test message, or see how it would look."),
    "pause": ("pause", "Deliver nothing to a target until it is resumed."),
    "resume": ("resume", "Deliver to a target again, whatever held it back."),
    "migrate": ("migrate", "Bring the database to the newest version."),
    "sandbox": ("sandbox", "Run the FunctionGraph sandbox alone."),
    "config": ("config", "About the configuration itself."),
}
"""name -> (module in relay.cli.main whose `command` it is, what it does)."""


class Commands(click.Group):
    """A group that imports a command when it is needed, and ends in the right exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"relay.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _complain(error)
            ctx.exit(MISCONFIGURED)
        except RelayError as error:
            _complain(error)
            ctx.exit(FAILED)


def _complain(error: RelayError) -> None:
    sign = click.style("error", fg=None if os.environ.get("NO_COLOR") else "red")
    for one in error.errors if isinstance(error, ConfigErrors) else (error,):
        words = str(one) if isinstance(one, ConfigError) else f"{one.message.en}. {one.hint.en}"
        click.echo(f"{sign} {words.rstrip()}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The configuration; else RELAY_CONFIG, else ./relay.toml.",
)
@click.version_option(__version__, prog_name="relay")
def cli(config: Path | None) -> None:
    """A zip lands in a bucket, the function is imported, the team is told."""
    # Not handed on: commands.context asks click for it.
    del config


def main() -> None:
    """The console script `relay`, and `python -m relay`."""
    # What is imported stays: to look through it again and again took a fifth of a start.
    gc.set_threshold(20_000, 20, 50)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character (GBK has no check mark) is shown its number.
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="relay")
