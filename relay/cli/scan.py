"""`relay scan SOURCE`: enqueue what no event announced."""

from __future__ import annotations

import sys
from datetime import datetime
from itertools import islice

import click

from relay.app.relay import Relay
from relay.cli.context import configured
from relay.cli.output import Moment, json_option, print_json, visible
from relay.errors import ConfigError
from relay.intake.scanner import Watch
from relay.model import Json
from relay.sources.contract import StorageHandler

SHOWN = 20


@click.command("scan")
@click.argument("source")
@click.option("--since", type=Moment(), help='Only objects modified since then, such as "2d".')
@click.option("--everything", is_flag=True, help="Import what is there, in a first scan too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be enqueued.")
@json_option
def command(
    source: str, since: datetime | None, everything: bool, dry_run: bool, as_json: bool
) -> None:
    """Lists SOURCE and enqueues the objects that no event announced.

    The first scan of a source marks what is there as seen, unless --everything is given. One run
    looks at scan_limit objects at most; the next goes on where it stopped.
    """
    relay = Relay.open(configured())
    try:
        handler = _handler(relay, source)
        if dry_run:
            told = _would(relay, handler, since)
        else:
            scanner, watch = relay.queue_poller.scanner, _counter()
            told = scanner.scan_once(handler, since, everything=everything, watch=watch)
    finally:
        relay.close()
    if as_json:
        print_json(told)
    elif dry_run:
        _say_what_would(told["would_enqueue"])
    else:
        _say(told)


def _handler(relay: Relay, source: str) -> StorageHandler:
    if source not in relay.plugins.sources:
        known = ", ".join(relay.plugins.sources) or "none"
        raise ConfigError("sources", f"there is no source {source}", f"Known: {known}.")
    return relay.plugins.sources[source]


def _would(relay: Relay, handler: StorageHandler, since: datetime | None) -> Json:
    unknown = relay.queue_poller.scanner.unknown(handler, since)
    return {"would_enqueue": [f"{e.object.bucket}/{e.object.key}" for e in islice(unknown, 1000)]}


def _counter() -> Watch:
    """Counts on a terminal, on one line that is written over."""
    if not sys.stderr.isatty():
        return lambda _listed, _found: None
    return lambda listed, found: click.echo(
        f"\r{listed:,} listed, {found:,} found", nl=False, err=True
    )


def _say(told: Json) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    did = "marked as seen" if told["first"] else "enqueued"
    click.echo(f"{told['listed']} objects looked at, {told['found']} {did}")
    if told["first"]:
        click.echo("It was the first scan: what was there before counts as seen (--everything).")
    if told["resumed"]:
        click.echo("It went on where the last run was cut off.")
    if not told["finished"]:
        click.echo("There are more (scan_limit): the next run goes on here.")


def _say_what_would(keys: list[str]) -> None:
    click.echo(f"{len(keys)} would be enqueued")
    for key in keys[:SHOWN]:
        click.echo(f"  {visible(key)}")
    if len(keys) > SHOWN:
        click.echo("  ...")
