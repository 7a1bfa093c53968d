"""`relay channels test NAME`: posts a test message through a configured channel, or previews it."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from relay.channels.contract import Channel, Message
from relay.channels.retrigger_links import PATH
from relay.channels.samples import TYPES, sample_message
from relay.cli.context import load_settings
from relay.cli.main import FAILED
from relay.cli.output import error_as_json, json_option, print_json, style, visible
from relay.config.load import Settings
from relay.errors import ConfigErrors, RelayError
from relay.ledger import NotFound
from relay.ledger.ids import new_id
from relay.model import Json, utc_now
from relay.plugins import Plugins, build, outbound

# JSON may contain these as they are, but a terminal would interpret them.
_UNSAFE = re.compile(r"[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@click.command("test")
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
        message = sample_message(type_, new_id(now), now, _links(settings))
        message.body["test"] = True
        if preview:
            _print_preview(channel, message)
        else:
            _post(channel, message, as_json)
    finally:
        plugins.close()


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


def _links(settings: Settings) -> Json:
    """Return links for the test message: to a page which says that the message was a test."""
    page = f"{settings.public_url}{PATH}test" if settings.public_url else None
    return {"delivery": page, "retrigger": page}


def _post(channel: Channel, message: Message, as_json: bool) -> None:
    result: Json = {"channel": channel.name, "kind": channel.settings.kind, "type": message.type}
    try:
        posted = channel.post(message)
    except RelayError as error:
        result |= {"posted": False, "error": error_as_json(error), "answer": error.answer}
        _print_result(result, as_json)
        raise SystemExit(FAILED) from None
    result |= {"posted": True, "answer": posted.answer, "thread": posted.thread}
    _print_result(result, as_json)


def _print_result(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    channel = visible(f"{result['channel']} ({result['kind']})")
    if result["posted"]:
        click.echo(f"{style('posted', fg='green')} to {channel}: {result['type']}")
    else:
        error = result["error"]
        text = f"{error['message']}. {error['hint']}".rstrip()
        click.echo(f"{style('not posted', fg='red')} to {channel}: {visible(text)}")
    if result["answer"]:
        click.echo(f"response: {visible(result['answer'])}")


def _print_preview(channel: Channel, message: Message) -> None:
    body = channel.preview(message)
    if body is None:
        kind = channel.settings.kind
        raise RelayError("channel.unseen", f"Channels of kind {kind!r} have no preview")
    text = json.dumps(body, indent=2, ensure_ascii=False)
    click.echo(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
