"""`relay channels`: lists the configured channels; `relay channels test NAME` tests a channel."""

from __future__ import annotations

import json

import click

from relay.channels.contract import Channel, Message
from relay.channels.retrigger_links import PATH
from relay.channels.samples import TYPES, sample_message
from relay.cli.context import load_settings
from relay.cli.main import FAILED
from relay.cli.output import (
    error_as_json,
    error_text,
    json_option,
    print_json,
    print_table,
    style,
    visible,
)
from relay.config.load import ChannelSettings, Settings
from relay.config.text import escape_invisible
from relay.config.units import rate_words
from relay.config.validators import hours_words
from relay.errors import ConfigErrors, RelayError
from relay.ledger import NotFound
from relay.ledger.ids import new_id
from relay.model import Json, utc_now
from relay.plugins import Plugins, build, outbound

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


@command.command("test")
@click.argument("name")
@click.option(
    "--type", "type_", type=click.Choice(TYPES), default="succeeded", help="Type of the message."
)
@click.option("--preview", is_flag=True, help="Print the message as JSON instead of posting it.")
@json_option
def test_channel(name: str, type_: str, preview: bool, as_json: bool) -> None:
    """Post a test message to channel NAME. Exit code 1: the message was not posted."""
    settings = load_settings()
    plugins, channel = _build_channel(settings, name)
    try:
        now = utc_now()
        # The links of a test message lead to a page which says that the message was a test.
        page = f"{settings.public_url}{PATH}test" if settings.public_url else None
        message = sample_message(type_, new_id(now), now, page)
        message.body["test"] = True
        if preview:
            _print_preview(channel, message)
        else:
            _post(channel, message, as_json)
    finally:
        plugins.close()


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


def _build_channel(settings: Settings, name: str) -> tuple[Plugins, Channel]:
    """Build this channel and no other plug-in. Raises NotFound or ConfigErrors."""
    if name not in settings.channels:
        known = ", ".join(sorted(settings.channels)) or "none"
        raise NotFound(
            "channel.unknown", f"There is no channel {visible(name)!r}", f"Known: {known}."
        )
    only = {"sources": {}, "targets": {}, "channels": {name: settings.channels[name]}}
    plugins = build(settings.model_copy(update=only), outbound(settings))
    if plugins.errors:
        raise ConfigErrors(plugins.errors)
    return plugins, plugins.channels[name]


def _post(channel: Channel, message: Message, as_json: bool) -> None:
    result: Json = {"channel": channel.name, "kind": channel.settings.kind, "type": message.type}
    receiver = visible(f"{channel.name} ({channel.settings.kind})")
    try:
        posted = channel.post(message)
    except RelayError as error:
        result |= {"posted": False, "error": error_as_json(error), "answer": error.answer}
        text = error_text(error.message.en, error.hint.en)
        line = f"{style('not posted', fg='red')} to {receiver}: {visible(text)}"
    else:
        result |= {"posted": True, "answer": posted.answer, "thread": posted.thread}
        line = f"{style('posted', fg='green')} to {receiver}: {message.type}"
    if as_json:
        print_json(result)
    else:
        click.echo(line)
        if result["answer"]:
            click.echo(f"response: {visible(result['answer'])}")
    if not result["posted"]:
        raise SystemExit(FAILED)


def _print_preview(channel: Channel, message: Message) -> None:
    body = channel.preview(message)
    if body is None:
        kind = channel.settings.kind
        raise RelayError("channel.unseen", f"Channels of kind {kind!r} have no preview")
    text = json.dumps(body, indent=2, ensure_ascii=False)
    # JSON may contain invisible characters as they are, but a terminal would interpret them.
    click.echo(escape_invisible(text, keep="\n"))
