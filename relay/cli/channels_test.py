"""`relay channels test NAME`: a message of no import, through the real channel, or only shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from relay.channels.contract import Channel, Message
from relay.channels.preview import render_page
from relay.channels.retrigger_links import PATH
from relay.cli.channels_samples import TYPES, sample
from relay.cli.channels_screenshot import draw
from relay.cli.context import load_settings
from relay.cli.main import FAILED
from relay.cli.output import error_as_json, json_option, print_json, style, visible
from relay.config.load import Settings
from relay.errors import ConfigErrors, RelayError
from relay.ledger import NotFound
from relay.model import Json, utc_now
from relay.plugins import Plugins, build, outbound

# What JSON may hold as it is, and a terminal would act on.
_ACTED_ON = re.compile(
    r"[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@click.command("test")
@click.argument("name")
@click.option(
    "--type", "word", type=click.Choice(TYPES), default="succeeded", help="What it tells of."
)
@click.option("--preview", is_flag=True, help="Post nothing: print what would be posted, as JSON.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE.png",
    help="With --preview: also draw it, about as its service would show it.",
)
@json_option
def post(name: str, word: str, preview: bool, picture: Path | None, as_json: bool) -> None:
    """Post a message to channel NAME that says it is a test; exit code 1: it did not arrive."""
    if picture and not preview:
        raise click.UsageError("--picture goes with --preview.")
    settings = load_settings()
    plugins, channel = _made(settings, name)
    try:
        message = sample(word, utc_now(), _links(settings))
        if preview:
            _show(channel, message, picture)
        else:
            _post(channel, message, as_json)
    finally:
        plugins.close()


def _made(settings: Settings, name: str) -> tuple[Plugins, Channel]:
    """That channel alone. NotFound, or ConfigErrors."""
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
    """Where a test's links lead: to a page that says that it was one."""
    there = f"{settings.public_url}{PATH}test" if settings.public_url else None
    return {"delivery": there, "retrigger": there}


def _post(channel: Channel, message: Message, as_json: bool) -> None:
    about = {"channel": channel.name, "kind": channel.settings.kind, "type": message.type}
    try:
        posted = channel.post(message)
    except RelayError as error:
        failed = {**about, "posted": False, "error": error_as_json(error), "answer": error.answer}
        _tell(failed, as_json)
        raise SystemExit(FAILED) from None
    _tell({**about, "posted": True, "answer": posted.answer, "thread": posted.thread}, as_json)


def _tell(outcome: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(outcome)
        return
    named = f"{outcome['channel']} ({outcome['kind']})"
    if outcome["posted"]:
        click.echo(f"{style('posted', fg='green')} to {visible(named)}: {outcome['type']}")
    else:
        error = outcome["error"]
        words = f"{error['message']}. {error['hint']}".rstrip()
        click.echo(f"{style('not posted', fg='red')} to {visible(named)}: {visible(words)}")
    if outcome["answer"]:
        click.echo(f"it answered: {visible(outcome['answer'])}")


def _show(channel: Channel, message: Message, picture: Path | None) -> None:
    shown = channel.preview(message)
    kind = channel.settings.kind
    if shown is None:
        raise RelayError("channel.unseen", f"A channel of kind {kind!r} cannot show what it posts")
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    click.echo(_ACTED_ON.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
    if picture:
        drawn = draw(render_page([(kind, shown)], channel.settings.language), picture)
        why = "" if drawn == picture else " (a picture needs Chromium: apt-get install chromium)"
        click.echo(f"{style('written', fg='green')} {drawn}{why}", err=True)
