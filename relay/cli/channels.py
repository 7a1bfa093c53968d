"""`relay channels`: what there is, and whether a message gets there and how it looks."""

from __future__ import annotations

import click

from relay.cli.channels_test import post
from relay.cli.context import load_settings
from relay.cli.output import json_option, print_json, print_table, visible
from relay.config.load import ChannelSettings, Settings
from relay.config.units import rate_words
from relay.config.validators import hours_words
from relay.model import Json


@click.group("channels", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List channels; post a test message to one, or see how it would look."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, as_json=False)


@command.command("list")
@json_option
def listing(as_json: bool) -> None:
    """Every channel: what it is told, how often, in which language, by which routes."""
    settings = load_settings()
    told = [describe(name, channel, settings) for name, channel in settings.channels.items()]
    if as_json:
        print_json({"channels": told})
    elif told:
        head = ("channel", "kind", "language", "on", "rate", "burst", "quiet hours", "routes")
        print_table(head, [_row(one) for one in told])
    else:
        click.echo("There is no [channels.NAME] table yet.")


command.add_command(post)


def describe(name: str, channel: ChannelSettings, settings: Settings) -> Json:
    """One channel as JSON tells of it; nothing of its credential."""
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


def _row(one: Json) -> tuple[str, ...]:
    return (
        one["name"],
        visible(one["kind"]),
        one["language"],
        ",".join(one["on"]),
        one["rate"] or "-",
        str(one["burst"]),
        one["quiet_hours"] or "-",
        str(one["routes"]),
    )
