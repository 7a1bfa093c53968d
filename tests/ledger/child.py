"""A separate process that uses a ledger, `child.py ACTION URL ...`, and prints the results."""

from __future__ import annotations

import os
import resource
import signal
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path

from relay.ledger import Ledger, LedgerUnavailable, NewNotification, RoutedEvent
from relay.model import (
    Event,
    Incoming,
    NewDelivery,
    NewMessage,
    ObjectRef,
    Succeeded,
    Verdict,
    utc_now,
)

LEASE = timedelta(seconds=30)


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - read by the test


def accept_one(ledger: Ledger, key: str, body: bytes = b"{}") -> tuple[str, str]:
    now = utc_now()
    event = Event(ObjectRef("exports", key, version="1"), "version:1", "ObjectCreated:Put", now)
    new = NewNotification(Incoming("exports", body, now), Verdict.ACCEPTED)
    arrival = RoutedEvent(event, (NewDelivery("r", "prod", {}, ("ops",)),))
    accepted = ledger.intake.accept(new, [arrival], now)
    return accepted.notification_id, accepted.deliveries[0]


def accept(ledger: Ledger, prefix: str, number: str) -> None:
    for n in range(int(number)) if number != "endless" else count():
        say(*accept_one(ledger, f"{prefix}/{n}.zip"))


def claim(ledger: Ledger, owner: str, number: str) -> None:
    """Deliver until `number` attempts have finished in all processes."""
    while sum(ledger.statistics.attempt_counts().values()) < int(number):
        found = ledger.queue.claim(owner, LEASE, {}, utc_now())
        if found is not None:
            message = [NewMessage("ops", "import.succeeded", {})] if found.event else []
            if ledger.outcomes.finish(found, Succeeded({}), utc_now(), messages=message):
                say(found.delivery.id)


def hold(ledger: Ledger) -> None:
    """Claim a delivery, then wait for a signal."""
    found = ledger.queue.claim("held", LEASE, {}, utc_now())
    say(found.delivery.id if found else "nothing")
    signal.pause()


def fill(ledger: Ledger, path: str) -> None:
    """Accept until the file cannot grow, then once more without the limit."""
    size = Path(path).stat().st_size + 256 * 1024
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        for n in range(1000):
            say("kept", *accept_one(ledger, f"{n}.zip", b"x" * 8192))
    except LedgerUnavailable as error:
        say("refused", error.code)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    say("kept", *accept_one(ledger, "after.zip"))


def migrate(url: str, number: str) -> None:
    """Migrate in several processes that start at the same time."""
    begin, start = os.pipe()
    children = [pid for _ in range(int(number)) if (pid := _migrating(url, begin, start))]
    os.close(start)
    for pid in children:
        say("migrated", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _migrating(url: str, begin: int, start: int) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.close(start)
        os.read(begin, 1)  # until the parent closes the pipe
        ledger = Ledger.open(url)
        ledger.administration.migrate()
        ledger.close()
        code = 0
    finally:
        os._exit(code)


def main(act: str, url: str, *more: str) -> None:
    if act == "migrate":
        migrate(url, *more)
        return
    ledger = Ledger.open(url)
    {"accept": accept, "claim": claim, "hold": hold, "fill": fill}[act](ledger, *more)
    ledger.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
