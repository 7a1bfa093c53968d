"""What goes in at the ledger's doors and what its lists give out: frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from relay.model import (
    AttemptOutcome,
    Event,
    Incoming,
    Kind,
    NewDelivery,
    Origin,
    Problem,
    ScanCursor,
    State,
    Trigger,
    Verdict,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to store. `incoming.headers` are kept as given: the caller has redacted them.

    `incoming.query` is not kept, for it may hold a token.
    """

    incoming: Incoming
    verdict: Verdict
    reason: str | None = None
    envelopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification as the ledger holds it. `events`: how many it announced, new or known."""

    id: str
    source: str
    road: Origin
    received: datetime
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    verdict: Verdict
    reason: str | None
    envelopes: tuple[str, ...]
    events: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a delivery; never changed once finished.

    `outcome`: None while it runs. `by`: as in its delivery.
    """

    delivery_id: str
    number: int
    trigger: Trigger
    started: datetime
    finished: datetime | None = None
    outcome: AttemptOutcome | None = None
    error: Problem | None = None
    answer: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class RoutedEvent:
    """An event that a notification announced, with the deliveries to make of it if it is new."""

    event: Event
    deliveries: tuple[NewDelivery, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The result of accepting a notification. `deliveries`: the imports of all events in it."""

    notification_id: str
    new_events: int
    deliveries: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class NewScan:
    """A scan that is asked for. `everything`: a first one delivers what is there, too.

    `owner`: who scans, unlike anybody else; `dead`: an owner that is certainly gone.
    """

    source: str
    owner: str
    since: datetime | None = None
    everything: bool = False
    dead: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan under way, or the last one.

    `first`: it marks as seen and delivers nothing. `listed`, `found`: how many objects it looked
    at so far, and how many of them nobody had announced. `place`: where it goes on; None: it is at
    its beginning, or has ended. `finished`: when one of the whole source last ended.
    """

    source: str
    started: datetime
    ran: datetime
    fence: int
    owner: str | None = None
    first: bool = False
    since: datetime | None = None
    listed: int = 0
    found: int = 0
    place: ScanCursor | None = None
    finished: datetime | None = None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class ScanStep:
    """What one more page of a scan brought. `place` None: it cannot go on from here."""

    listed: int
    found: int
    place: ScanCursor | None


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries to list; None does not filter.

    `bucket` and `key` are globs as in routes; created at or after `since` and before `until`;
    `limit` 1 to 200; `cursor` is the `next_cursor` of the page before.
    """

    state: State | None = None
    kind: Kind | None = None
    source: str | None = None
    route: str | None = None
    bucket: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, newest first. `next_cursor` leads to the older ones; None: the end."""

    items: tuple[T, ...]
    next_cursor: str | None
