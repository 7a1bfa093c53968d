"""`relay scan SOURCE`: enqueues objects for which no notification arrived."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import datetime
from itertools import islice

import click

from relay.app.relay import Relay
from relay.cli.context import load_settings, unknown_source
from relay.cli.output import json_option, point_in_time, print_json, visible
from relay.intake.scanner import ScanProgress
from relay.model import Json
from relay.sources.contract import StorageHandler

SHOWN = 20


@click.command("scan")
@click.argument("source")
@click.option(
    "--since", type=point_in_time, metavar="WHEN", help='Only objects modified since, such as "2d".'
)
@click.option("--everything", is_flag=True, help="Import existing objects in a first scan, too.")
@click.option("--dry-run", is_flag=True, help="Only show what would be enqueued.")
@json_option
def command(
    source: str, since: datetime | None, everything: bool, dry_run: bool, as_json: bool
) -> None:
    """List SOURCE and enqueue the objects for which no notification arrived.

    The first scan of a source, or of a bucket that was added, marks the existing objects as seen,
    unless --everything is given. A run lists at most scan_limit objects; the next run continues
    there.
    """
    with closing(Relay.open(load_settings())) as relay:
        handler = _handler(relay, source)
        if dry_run:
            result = _dry_run(relay, handler, since)
        else:
            result = relay.queue_poller.scanner.scan_once(
                handler, since, everything=everything, progress=_progress()
            )
    if as_json:
        print_json(result)
    elif dry_run:
        _print_dry_run(result["would_enqueue"])
    else:
        _print(result)


def _handler(relay: Relay, source: str) -> StorageHandler:
    if source not in relay.plugins.sources:
        raise unknown_source(source, relay.plugins.sources)
    return relay.plugins.sources[source]


def _dry_run(relay: Relay, handler: StorageHandler, since: datetime | None) -> Json:
    events = islice(relay.queue_poller.scanner.list_unannounced(handler, since), 1000)
    return {"would_enqueue": [f"{event.object.bucket}/{event.object.key}" for event in events]}


def _progress() -> ScanProgress:
    """Return a callback that updates a counter line, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda _listed, _found: None
    return lambda listed, found: click.echo(
        f"\r{listed:,} listed, {found:,} found", nl=False, err=True
    )


def _print(result: Json) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    action = "marked as seen" if result["first"] else "enqueued"
    count = result["found"] if result["first"] else result["found"] - result["marked"]
    click.echo(f"{result['listed']} objects listed, {count} {action}")
    if result["marked"] and not result["first"]:
        click.echo(f"{result['marked']} objects of new buckets count as seen (see --everything).")
    if result["revived"]:
        click.echo(f"{result['revived']} deliveries that had ended run again.")
    if result["first"]:
        click.echo("First scan: existing objects count as seen (to import them: --everything).")
    if result["resumed"]:
        click.echo("Continued where the last run stopped.")
    if not result["finished"]:
        click.echo("There are more objects (scan_limit): the next run continues here.")


def _print_dry_run(keys: list[str]) -> None:
    click.echo(f"{len(keys)} would be enqueued")
    for key in keys[:SHOWN]:
        click.echo(f"  {visible(key)}")
    if len(keys) > SHOWN:
        click.echo("  ...")
