"""`relay channels`: lists the configured channels, or tests a channel."""

from __future__ import annotations

import click

from relay.cli.channels_test import test_channel
from relay.cli.context import load_settings
from relay.cli.output import json_option, print_json, print_table, visible
from relay.config.load import ChannelSettings, Settings
from relay.config.units import rate_words
from relay.config.validators import hours_words
from relay.model import Json

_HEAD = ("channel", "kind", "language", "on", "rate", "burst", "quiet hours", "routes")


@click.group("channels", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List channels, post a test message, or preview a message."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_channels, as_json=False)


@command.command("list")
@json_option
def list_channels(as_json: bool) -> None:
    """List every channel: results that are posted, rate, language, quiet hours, routes."""
    settings = load_settings()
    channels = [describe(name, channel, settings) for name, channel in settings.channels.items()]
    if as_json:
        print_json({"channels": channels})
    elif channels:
        print_table(_HEAD, [_row(channel) for channel in channels])
    else:
        click.echo("There is no [channels.NAME] table in the configuration.")


command.add_command(test_channel)


def describe(name: str, channel: ChannelSettings, settings: Settings) -> Json:
    """Return a channel's settings for JSON, without credentials."""
    quiet = hours_words(channel.quiet_hours)
    return {
        "name": name,
        "kind": channel.kind,
        "language": channel.language,
        "on": list(channel.on),
        "rate": rate_words(channel.rate) if channel.rate else None,
        "burst": channel.burst,
        "quiet_hours": f"{quiet} {channel.timezone}" if quiet else None,
        "urgent": list(channel.urgent),
        "routes": sum(name in route.channels for route in settings.routes),
    }


def _row(channel: Json) -> tuple[str, ...]:
    return (
        channel["name"],
        visible(channel["kind"]),
        channel["language"],
        ",".join(channel["on"]),
        channel["rate"] or "-",
        str(channel["burst"]),
        channel["quiet_hours"] or "-",
        str(channel["routes"]),
    )
