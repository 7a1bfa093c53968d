"""The nouns of the house: frozen values that every floor speaks in. No I/O, no decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

Json = dict[str, Any]

ScanCursor = tuple[str, str]
"""Where a scan goes on: a bucket, and what its listing goes on behind; "": at its beginning."""


class State(StrEnum):
    """Where a delivery stands. `pending` with attempts > 0 is what people call "retrying"."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def finished(self) -> bool:
        return self not in (State.PENDING, State.RUNNING)


class Kind(StrEnum):
    """What a delivery brings: an archive to a target, or a message to a channel."""

    IMPORT = "import"
    MESSAGE = "message"


class Verdict(StrEnum):
    """What became of a notification."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    HANDSHAKE = "handshake"


class Origin(StrEnum):
    """By which way a notification came in."""

    HOOK = "hook"
    QUEUE = "queue"
    SCAN = "scan"
    SUBMISSION = "submission"


class Trigger(StrEnum):
    """Who asked for an attempt."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class AttemptOutcome(StrEnum):
    """How an attempt ended, as it is stored, counted and shown."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    RETRY = "retry"
    LOST = "lost"
    """The worker died."""
    HUNG = "hung"
    """The attempt showed no activity for too long."""
    RELEASED = "released"
    """The worker stopped and returned the delivery."""


class Localized(NamedTuple):
    """One sentence in the two languages people read us in."""

    en: str
    zh: str

    def in_(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, told to a person: a code to search for, plain words, and what to do next."""

    code: str
    message: Localized
    hint: Localized

    def to_json(self) -> Json:
        return {"code": self.code, "message": self.message._asdict(), "hint": self.hint._asdict()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Problem:
        return cls(value["code"], Localized(**value["message"]), Localized(**value["hint"]))


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Which object, and exactly which bytes of it.

    `key` is decoded, as a GET needs it. `version` and `etag` pin the bytes; `etag` is unquoted and
    only set when the store accepts it in If-Match. None means: the notification did not say.
    """

    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says about one object now. `size` in bytes; `etag` unquoted."""

    size: int
    etag: str | None = None
    version: str | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One object version came into being.

    `identity` tells versions of one object apart and is the same by whatever road the news came
    (version id, else sequencer and etag, else etag and time). `order` compares as text with the
    `order` of other events of the same object that have the same prefix up to ':'; "" is unknown.
    """

    object: ObjectRef
    identity: str
    type: str
    time: datetime | None = None
    order: str = ""

    def id_in(self, source: str) -> str:
        """The event's id in this source: equal for the same upload, whoever announced it."""
        parts = (source, self.object.bucket, self.object.key, self.identity)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a sender handed us, byte for byte. Header names are lower-case; first query values.

    `raw_query` is the query as it was on the wire: some senders sign the address they post to.
    """

    source: str
    body: bytes
    received: datetime
    road: Origin = Origin.HOOK
    method: str = "POST"
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw_query: str = ""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A duty that a route makes of an event. `function`: its name there, as far as it is known."""

    route: str
    destination: str
    options: Json
    channels: tuple[str, ...] = ()
    state: State = State.PENDING
    reason: str | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to post, made in the transaction of the outcome that it tells."""

    channel: str
    type: str
    body: Json


@dataclass(frozen=True, slots=True)
class Delivery:
    """The duty to bring one event to one destination, as the ledger holds it.

    `options`: func_name, package, on_conflict, export_shape (imports); `channels`: whom to tell.
    `message`: type and body (messages). `parent`: the import that a message tells of.
    `fence` grows at each claim; `attempts` counts all, over all runs. `by`: who asked for this run,
    where somebody did: api, page, command, or "link in CHANNEL from ADDRESS".
    """

    id: str
    kind: Kind
    state: State
    source: str
    route: str
    bucket: str
    key: str
    destination: str
    created: datetime
    event_id: str | None = None
    parent: str | None = None
    version: str | None = None
    reason: str | None = None
    due: datetime | None = None
    finished: datetime | None = None
    attempts: int = 0
    fence: int = 0
    run: int = 1
    trigger: Trigger = Trigger.AUTOMATIC
    by: str | None = None
    options: Json = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    message: Json | None = None
    result: Json | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a delivery until the lease ends.

    `attempt` counts within the current run (a retrigger starts a new run). `earlier` is when the
    first attempt began that may have reached the destination without our knowing the end.
    `crashes`: how many attempts in a row, up to the last, ended with the death of their worker;
    `hangs`: how many in that row were given up since they showed no sign for long.
    `unlucky`: workers died lately of nothing that they had in hand: it ended well when tried again.
    """

    delivery: Delivery
    event: Event | None
    owner: str
    fence: int
    attempt: int
    earlier: datetime | None = None
    crashes: int = 0
    hangs: int = 0
    unlucky: bool = False


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The delivery is done; `result` is what the destination answered, in our words."""

    result: Json
    answer: str | None = None

    attempt_outcome: ClassVar = AttemptOutcome.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Met:
    """How the destination was met. `reached`: it answered, whatever it said. `unwell`: it is in
    trouble itself, so that others would fare no better."""

    reached: bool = False
    unwell: bool = False


@dataclass(frozen=True, slots=True)
class Skipped(_Met):
    """Deliberately not delivered: `superseded`, `gone`, `unchanged`, `no route`, `digest`."""

    reason: str
    result: Json = field(default_factory=dict)

    attempt_outcome: ClassVar = AttemptOutcome.SKIPPED


@dataclass(frozen=True, slots=True)
class Failed(_Met):
    """No more automatic tries. `result` names what it was about, as far as that was known."""

    problem: Problem
    answer: str | None = None
    result: Json = field(default_factory=dict)

    attempt_outcome: ClassVar = AttemptOutcome.FAILED


@dataclass(frozen=True, slots=True)
class Retry(_Met):
    """Waiting would help. `after`: what was asked for; `hold`: all its deliveries wait.

    `counts`: False when it was no try at all: the ledger or the plug-in is not there now.
    """

    problem: Problem
    after: timedelta | None = None
    hold: bool = False
    answer: str | None = None
    result: Json = field(default_factory=dict)
    counts: bool = True

    attempt_outcome: ClassVar = AttemptOutcome.RETRY

    def last(self) -> Failed:
        """What it is when it is not tried again."""
        met = {"reached": self.reached, "unwell": self.unwell}
        return Failed(self.problem, self.answer, self.result, **met)


Outcome = Succeeded | Skipped | Failed | Retry


def utc_now() -> datetime:
    """The time, aware and in UTC. Passed in as `clock` wherever time decides something."""
    return datetime.now(UTC)
