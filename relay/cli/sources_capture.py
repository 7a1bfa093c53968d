"""`relay sources capture NAME`: writes a received notification as a test case."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import click

from relay.cli.capture_case import Case, build_case
from relay.cli.context import load_settings, open_ledger, unknown_source
from relay.cli.main import FAILED
from relay.cli.output import visible
from relay.config.units import parse_duration
from relay.ledger import Notification
from relay.ledger.history import History
from relay.model import Origin
from relay.plugins import find
from relay.sources.contract import StorageHandler

POLL_INTERVAL = 0.25
"""Seconds between two queries of the ledger."""

_FROM_STORAGE = (Origin.HOOK, Origin.QUEUE)


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError):
        raise click.BadParameter('should be such as "30s" or "5m"') from None


@click.command("capture")
@click.argument("name")
@click.option("--last", is_flag=True, help="The last notification received, instead of the next.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("captured"),
    show_default=True,
    help="The folder for KIND/NAME.http and KIND/NAME.json.",
)
@click.option(
    "--timeout",
    type=_duration,
    metavar="SPAN",
    default="5m",
    show_default=True,
    help="How long to wait.",
)
@click.option("--hide-accounts", is_flag=True, help="Also replace account ids and addresses.")
def capture(name: str, last: bool, out: Path, timeout: timedelta, hide_accounts: bool) -> None:
    """Write the next notification of source NAME as a test case without secrets.

    Relay must be running: this command only reads the ledger. The two files have the format of
    tests/notifications. Attach them to a report about an unknown wire format.
    """
    settings = load_settings()
    if name not in settings.sources:
        raise unknown_source(name, settings.sources)
    with open_ledger(settings) as ledger:
        history = ledger.history
        notification = newest(history, name) if last else _wait_for_next(history, name, timeout)
    if notification is None:
        period = "so far" if last else f"within {timeout}"
        click.echo(
            f"No notification of {name} arrived {period}. Is Relay running with this database? A "
            "request from a sender that cannot be verified gets 401 and is not stored: see Relay's "
            f"log, and: relay sources setup {name}",
            err=True,
        )
        raise SystemExit(FAILED)
    source = settings.sources[name]
    handler: StorageHandler = find("handlers", source.kind)(name, source)
    try:
        case = build_case(notification, handler, hide=hide_accounts)
    finally:
        handler.close()
    _write(case, notification, out / source.kind.replace(":", "."))


def newest(history: History, source: str, after: str = "") -> Notification | None:
    """Return the newest notification from the storage of a source whose id is above `after`."""
    cursor: str | None = None
    while True:
        page = history.notifications(200, cursor)
        for notification in page.items:
            if notification.id <= after:
                return None
            if notification.source == source and notification.origin in _FROM_STORAGE:
                return notification
        if page.next_cursor is None:
            return None
        cursor = page.next_cursor


def _wait_for_next(history: History, source: str, timeout: timedelta) -> Notification | None:
    before = newest(history, source)
    after = before.id if before else ""
    until = time.monotonic() + timeout.total_seconds()
    click.echo(f"waiting for a notification of {source} ...", err=True)
    while (found := newest(history, source, after)) is None and time.monotonic() < until:
        time.sleep(POLL_INTERVAL)
    return found


def _write(case: Case, notification: Notification, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"captured-{notification.received:%Y%m%d-%H%M%S}-{notification.id[-6:]}"
    for extension, content in (("http", case.http), ("json", case.json)):
        path = folder / f"{name}.{extension}"
        path.write_bytes(content)
        click.echo(str(path))
    if notification.reason:
        click.echo(f"{notification.verdict}: {visible(notification.reason)}")
    if not case.is_faithful:
        click.echo(
            "The case reads differently without the envelope: the .json has the result of the case."
        )
    click.echo(
        "Before you share the files, check them for private data: keys, bucket names, user names, "
        "addresses (account ids: --hide-accounts). Then add both to tests/notifications/KIND, with "
        "the .json corrected to the expected result, or attach them to a report."
    )
