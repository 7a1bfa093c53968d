"""Fixtures: a ledger on each engine, and a driver for it. The time is passed in, from NOW on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.ledger import Accepted, Ledger, NewNotification, RoutedEvent
from relay.model import (
    Claim,
    Delivery,
    Event,
    Incoming,
    Kind,
    Localized,
    NewDelivery,
    NewMessage,
    ObjectRef,
    Origin,
    Outcome,
    Problem,
    Retry,
    Succeeded,
    Verdict,
)
from tests.ledgers import ENGINES, ledger_of_engine
from tests.postgresql import Server

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
LEASE = timedelta(seconds=30)
ROUTED = (NewDelivery("exports#1", "prod", {"on_conflict": "skip"}, ("ops",)),)


class LedgerDriver:
    """Fills a ledger and delivers as a worker does. `now`: the current time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = NOW
        self.problem = Problem("api.busy", Localized("busy", "忙"), Localized("wait", "等"))

    def later(self, **step: float) -> datetime:
        self.now += timedelta(**step)
        return self.now

    def event(self, key: str = "prod/a.zip", **more: Any) -> Event:
        """`version`, `etag`, `size`, `bucket` describe the object; all else describes the event."""
        of_object = {name: more.pop(name) for name in ("version", "etag", "size") if name in more}
        ref = ObjectRef(more.pop("bucket", "exports"), key, **of_object)
        identity = f"version:{ref.version}" if ref.version else f"etag:{ref.etag}"
        given = {"identity": identity, "type": "ObjectCreated:Put", "time": self.now, **more}
        return Event(ref, **given)

    def accept(
        self,
        *events: Event,
        deliveries: tuple[NewDelivery, ...] = ROUTED,
        origin: Origin = Origin.HOOK,
        verdict: Verdict = Verdict.ACCEPTED,
        source: str = "exports",
    ) -> Accepted:
        incoming = Incoming(source, b'{"Records": []}', self.now, origin)
        arrivals = [RoutedEvent(event, deliveries) for event in events]
        return self.ledger.intake.accept(NewNotification(incoming, verdict), arrivals, self.now)

    def deliver_to(self, destination: str, key: str = "prod/a.zip", **more: Any) -> Delivery:
        """Return a pending import of a new object version to a destination."""
        wanted = (NewDelivery(more.pop("route", "exports#1"), destination, {}, ()),)
        accepted = self.accept(self.event(key, **more), deliveries=wanted)
        found = self.ledger.history.delivery(accepted.deliveries[0])
        assert found is not None
        return found

    def claim(self, owner: str = "w1", **more: Any) -> Claim | None:
        limits = more.pop("limits", {})
        return self.ledger.queue.claim(owner, LEASE, limits, self.now, **more)

    def claimed(self, owner: str = "w1", **more: Any) -> Claim:
        claim = self.claim(owner, **more)
        assert claim is not None, "nothing was due"
        return claim

    def finish(self, claim: Claim, outcome: Outcome | None = None, **more: Any) -> bool:
        outcome = outcome or Succeeded({})
        return self.ledger.outcomes.finish(claim, outcome, self.now, **more) is not None

    def retry(self, claim: Claim, seconds: float = 10, *, pauses_destination: bool = False) -> bool:
        due = self.now + timedelta(seconds=seconds)
        return self.finish(
            claim, Retry(self.problem, pauses_destination=pauses_destination), due=due
        )

    def done(self, key: str = "prod/a.zip", **more: Any) -> Delivery:
        """Return an import that was claimed and succeeded, with a pending message."""
        self.deliver_to("prod", key, **more)
        claim = self.claimed(kind=Kind.IMPORT)
        message = NewMessage("ops", "import.succeeded", {"key": key})
        assert self.finish(claim, messages=[message])
        return self.read(claim.delivery.id)

    def read(self, delivery_id: str) -> Delivery:
        found = self.ledger.history.delivery(delivery_id)
        assert found is not None
        return found


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database on each engine; with tables if the test uses `ledger`."""
    if "ledger" in request.fixturenames:
        yield from ledger_of_engine(request, tmp_path)
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/relay.db"
    else:
        server: Server = request.getfixturevalue("postgresql")
        url = server.create()
        yield url
        server.drop(url)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    ledger = Ledger.open(url)
    yield ledger
    ledger.close()


@pytest.fixture
def driver(ledger: Ledger) -> LedgerDriver:
    return LedgerDriver(ledger)
