"""The parameters and results of the ledger's methods: frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from relay.model import (
    AttemptOutcome,
    Delivery,
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


class WaitReason(StrEnum):
    """Why a pending delivery is not attempted yet."""

    PAUSED = "paused"
    DOWN = "down"
    RATE = "rate"
    CONCURRENCY = "concurrency"
    SAME_FUNCTION = "same function"
    """An import of the function or object is running, or a message about it is being posted."""
    BACKOFF = "backoff"
    ASKED_TO_WAIT = "asked to wait"
    QUIET_HOURS = "quiet hours"
    NOT_CONFIGURED = "not configured"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a delivery waits. `until` None: until something else happens."""

    reason: WaitReason
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExplainedDelivery(Delivery):
    """A delivery and why it waits; None: it is not pending, or nothing holds it back."""

    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to store.

    `incoming.headers` are stored as given: the caller has redacted them. `incoming.query` is not
    stored, because it may contain a token.
    """

    incoming: Incoming
    verdict: Verdict
    reason: str | None = None
    envelopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """A stored notification. `events`: the number of events in it, new or known."""

    id: str
    source: str
    origin: Origin
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
    """An attempt at a delivery; a finished attempt never changes.

    `outcome`: None while it is running. `by`: the requester, as in the delivery.
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
    """An event of a notification, with the deliveries to create if the event is new."""

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
    """A requested scan.

    `everything`: a first scan also delivers existing objects. `owner`: a unique name of the
    scanning process; `dead`: an owner whose process has certainly ended. `buckets`: those that the
    configuration names; empty: not known in advance.
    """

    source: str
    owner: str
    since: datetime | None = None
    everything: bool = False
    dead: str | None = None
    buckets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """The current or the last scan of a source.

    `first`: objects are marked as seen, and not delivered; likewise objects of `new_buckets`, which
    were added to a source that was scanned before. `listed`: the number of objects listed; `found`:
    the number of those without a notification. `cursor`: where to resume; None: at the beginning,
    or ended. `finished`: when a scan of the whole source last ended. `buckets`: the buckets of this
    scan, and whether an earlier scan has listed them completely; None: not recorded.
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
    cursor: ScanCursor | None = None
    finished: datetime | None = None
    buckets: Mapping[str, bool] | None = None
    new_buckets: tuple[str, ...] = ()
    resumed: bool = False

    def marks(self, bucket: str) -> bool:
        """Return whether objects of a bucket are only marked as seen."""
        return self.first or bucket in self.new_buckets


@dataclass(frozen=True, slots=True)
class ScanStep:
    """The result of a page of a scan. `cursor` None: the scan cannot be resumed here."""

    listed: int
    found: int
    cursor: ScanCursor | None


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Filters of a list of deliveries; None does not filter.

    `bucket` and `key` are globs as in routes. `since` is inclusive, `until` exclusive. `limit` is
    1 to 200; `cursor` is the `next_cursor` of the previous page.
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
    """A page of a list, newest first. `next_cursor`: the cursor of older items; None: the end."""

    items: tuple[T, ...]
    next_cursor: str | None
