"""`relay sources capture NAME`: the next notification becomes a test case."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from relay.cli.capture_case import Case, case_of
from relay.cli.context import configured, opened
from relay.cli.exit_codes import FAILED
from relay.cli.output import visible
from relay.config.units import parse_duration
from relay.errors import ConfigError
from relay.ledger import Ledger, Notification
from relay.model import Origin
from relay.plugins import find
from relay.sources.contract import StorageHandler

PAUSE = 0.25
"""Seconds between two looks into the ledger."""

_SENT = (Origin.HOOK, Origin.QUEUE)


class Span(click.ParamType[timedelta]):
    """How long: "5m"."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except (ValueError, OverflowError):
            self.fail('should be such as "30s" or "5m"', param, ctx)


@click.command("capture")
@click.argument("name")
@click.option("--last", is_flag=True, help="The last one that came, instead of the next.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("captured"),
    show_default=True,
    help="Where KIND/NAME.http and .json are put.",
)
@click.option("--timeout", type=Span(), default="5m", show_default=True, help="How long to wait.")
@click.option("--hide-accounts", is_flag=True, help="Replace account ids and addresses too.")
def capture(name: str, last: bool, out: Path, timeout: timedelta, hide_accounts: bool) -> None:
    """Writes the next notification of source NAME as a test case, without its secrets.

    Relay itself must run: this only reads its ledger. The two files are what tests/notifications
    is made of, and what a report of an unknown wire format needs.
    """
    settings = configured()
    if name not in settings.sources:
        known = ", ".join(settings.sources) or "none"
        raise ConfigError("sources", f"there is no source {name}", f"Known: {known}.")
    with opened(settings) as ledger:
        found = newest(ledger, name) if last else _awaited(ledger, name, timeout)
    if found is None:
        click.echo(_nothing(name, last=last, timeout=timeout), err=True)
        raise SystemExit(FAILED)
    source = settings.sources[name]
    handler: StorageHandler = find("handlers", source.kind)(name, source)
    try:
        case = case_of(found, handler, hide=hide_accounts)
    finally:
        handler.close()
    _write(case, found, out / source.kind.replace(":", "."))


def newest(ledger: Ledger, source: str, after: str = "") -> Notification | None:
    """The newest notification that was sent to the source and whose id is behind `after`."""
    cursor: str | None = None
    while True:
        page = ledger.history.notifications(200, cursor)
        for one in page.items:
            if one.id <= after:
                return None
            if one.source == source and one.road in _SENT:
                return one
        if page.next_cursor is None:
            return None
        cursor = page.next_cursor


def _awaited(ledger: Ledger, source: str, timeout: timedelta) -> Notification | None:
    before = newest(ledger, source)
    after = before.id if before else ""
    until = time.monotonic() + timeout.total_seconds()
    click.echo(f"waiting for a notification of {source} ...", err=True)
    while (found := newest(ledger, source, after)) is None and time.monotonic() < until:
        time.sleep(PAUSE)
    return found


def _nothing(source: str, *, last: bool, timeout: timedelta) -> str:
    came = "ever came" if last else f"came within {timeout}"
    return (
        f"No notification of {source} {came}. Is Relay running, with this database? What cannot "
        "show who sent it is answered 401 and leaves nothing here: look into Relay's log, and "
        f"at: relay sources setup {source}"
    )


def _write(case: Case, notification: Notification, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"captured-{notification.received:%Y%m%d-%H%M%S}-{notification.id[-6:]}"
    for ending, content in (("http", case.http), ("json", case.json)):
        path = folder / f"{name}.{ending}"
        path.write_bytes(content)
        click.echo(str(path))
    if notification.reason:
        click.echo(f"{notification.verdict}: {visible(notification.reason)}")
    if not case.is_true:
        click.echo(
            "Outside of its envelope it reads otherwise: the .json says what a test would see."
        )
    click.echo(
        "Before you share them, look for what is nobody's business: keys, bucket names, user "
        "names, addresses (account ids: --hide-accounts). Then put both into "
        "tests/notifications/KIND, correct the .json to what should be, or attach them to a report."
    )
