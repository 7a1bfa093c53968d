"""`relay`: the command line, the list of commands and the exit codes."""

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
from relay.errors import ConfigError, ConfigErrors, RelayError

FAILED = 1
MISCONFIGURED = 78
"""EX_CONFIG of sysexits.h. It lets a supervisor see that a restart does not help."""

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("demo.command:command", "Run a complete demo without an account or configuration."),
    "serve": ("serve:command", "Receive notifications, serve the pages and run deliveries."),
    "work": ("work:command", "Run deliveries only."),
    "check": ("check:command", "Report every error in the configuration."),
    "plan": ("plan:command", "Show what an import would do, without changing anything."),
    "import": ("import_:command", "Import an object or a file now."),
    "deliveries": ("deliveries:command", "List deliveries, newest first."),
    "show": ("show:command", "Show one delivery: its attempts, messages and event."),
    "retrigger": ("retrigger:command", "Make finished deliveries due again."),
    "scan": ("scan:command", "List a source and enqueue objects without a notification."),
    "sources": ("sources:command", "List sources, set up storages, capture notifications."),
    "targets": ("targets:command", "Show the state of each target."),
    "channels": ("channels:command", "List channels, post test messages, render samples."),
    "pause": ("targets:pause", "Stop deliveries to a target until it is resumed."),
    "resume": ("targets:resume", "Deliver to a paused or unavailable target again."),
    "migrate": ("migrate:command", "Upgrade the database schema to the current version."),
    "sandbox": ("sandbox:command", "Run the FunctionGraph sandbox as a server."),
    "config": ("config:command", "Describe the configuration file."),
}
"""Command name -> (module in relay.cli and attribute, summary)."""


class Commands(click.Group):
    """Imports a command only when it is called, and maps errors to exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"relay.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _print_error(error)
            ctx.exit(MISCONFIGURED)
        except RelayError as error:
            _print_error(error)
            ctx.exit(FAILED)


def _print_error(error: RelayError) -> None:
    label = click.style("error", fg=None if os.environ.get("NO_COLOR") else "red")
    for part in error.errors if isinstance(error, ConfigErrors) else (error,):
        text = str(part) if isinstance(part, ConfigError) else f"{part.message.en}. {part.hint.en}"
        click.echo(f"{label} {text.rstrip()}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The configuration file. Default: $RELAY_CONFIG, then ./relay.toml.",
)
@click.version_option(__version__, prog_name="relay")
def cli(config: Path | None) -> None:
    """Import function zips from object storage into FunctionGraph and notify the team."""
    del config  # context.config_file() reads it from the click context.


def main() -> None:
    """Run the console script `relay` or `python -m relay`."""
    # Imported modules are never freed. Frequent collections took a fifth of the start-up time.
    gc.set_threshold(20_000, 20, 50)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Print an escape for a character that the terminal's encoding lacks (GBK has no ✓).
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="relay")
