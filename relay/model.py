"""The domain types: frozen values that all packages share. No I/O, no decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple

from relay.intents import Intent

Json = dict[str, Any]

GaveUp = Literal["attempts", "time", "crashes"]
"""Why Relay stopped trying: `delivery.attempts` or `delivery.give_up_after` is used up, or the
delivery crashes or hangs its workers."""

ScanCursor = tuple[str, str]
"""Where a scan continues: the bucket and the last key listed; "" is the beginning."""


class State(StrEnum):
    """The state of a delivery. `pending` with attempts > 0 is called "retrying"."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def finished(self) -> bool:
        return self not in (State.PENDING, State.RUNNING)


class Kind(StrEnum):
    """The kind of a delivery: an archive to a target, or a message to a channel."""

    IMPORT = "import"
    MESSAGE = "message"


class Verdict(StrEnum):
    """The result of accepting a notification."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    HANDSHAKE = "handshake"


class Origin(StrEnum):
    """How a notification reached Relay."""

    HOOK = "hook"
    QUEUE = "queue"
    SCAN = "scan"
    SUBMISSION = "submission"


class Trigger(StrEnum):
    """Whether an attempt was scheduled or requested by a person."""

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
    """A sentence in English and Chinese."""

    en: str
    zh: str

    def in_language(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


def warning(code: str, message: Localized, where: str | None = None) -> Json:
    """Return a warning as it is stored in the result of a delivery."""
    return {"code": code, "message": message._asdict(), "where": where}


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of a function that an archive changes. None: not set. "***": a secret value."""

    field: str
    current: Any
    wanted: Any

    @property
    def words(self) -> Localized:
        if self.current == self.wanted:
            return Localized(f"{self.field} (changed)", f"{self.field}（已修改）")
        if self.current is None:
            return Localized(
                f"{self.field} not set → {self.wanted}", f"{self.field} 未设置 → {self.wanted}"
            )
        if self.wanted is None:
            return Localized(
                f"{self.field} {self.current} → not set", f"{self.field} {self.current} → 未设置"
            )
        change = f"{self.field} {self.current} → {self.wanted}"
        return Localized(change, change)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Difference:
        return cls(str(fields.get("field")), fields.get("current"), fields.get("wanted"))

    def to_json(self) -> Json:
        return {"field": self.field, "current": self.current, "wanted": self.wanted}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error for people: a code to search for, a message, and a hint on what to do."""

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
    """An object version.

    `key` is decoded, as a GET needs it. `version` and `etag` pin the bytes; `etag` is unquoted and
    only set when the store accepts it in If-Match. None: the notification did not say.
    """

    bucket: str
    key: str
    version: str | None = None
    etag: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The metadata of an object now. `size` in bytes; `etag` unquoted."""

    size: int
    etag: str | None = None
    version: str | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """The creation of an object version.

    `identity` distinguishes the versions of an object and does not depend on the transport of the
    notification (version id, else sequencer and etag, else etag and time). `order` compares as text
    with the `order` of other events of the object with the same prefix up to ':'; "" is unknown.
    """

    object: ObjectRef
    identity: str
    type: str
    time: datetime | None = None
    order: str = ""

    def id_in(self, source: str) -> str:
        """Return the id of the event in a source: equal for every announcement of an upload."""
        parts = (source, self.object.bucket, self.object.key, self.identity)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request of a sender, byte for byte. Header names are lower-case; first query values.

    `raw_query` is the query as sent: some senders sign the URL that they post to.
    """

    source: str
    body: bytes
    received: datetime
    origin: Origin = Origin.HOOK
    method: str = "POST"
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw_query: str = ""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to create for an event. `function`: the name at the target, if known yet."""

    route: str
    destination: str
    options: Json
    channels: tuple[str, ...] = ()
    state: State = State.PENDING
    reason: str | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to post; stored in the transaction of the outcome that it reports.

    `only_if_recovered`: the channel wants a success only after it was told of a failure.
    """

    channel: str
    type: str
    body: Json
    only_if_recovered: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """The job of delivering an event to a destination, as stored in the ledger.

    `options`: func_name, package, on_conflict, replace_environment, export_shape (imports);
    `channels`: those to notify.
    `message`: type and body (messages). `parent`: the import that a message reports.
    `missing_since`: the object was not in the storage from then on, at each attempt.
    `fence` grows at each claim; `attempts` counts over all runs. `waits`: attempts of this run that
    ended with a request to wait. `budget_from`: when the time of this run began (None: `created`);
    it moves on while the destination is paused or not configured. `gave_up`: why Relay stopped
    trying, as against a refusal by the destination. `by`: the requester of a manual
    run: api, page, command, or "link in CHANNEL from ADDRESS".
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
    missing_since: datetime | None = None
    attempts: int = 0
    fence: int = 0
    waits: int = 0
    budget_from: datetime | None = None
    gave_up: GaveUp | None = None
    run: int = 1
    trigger: Trigger = Trigger.AUTOMATIC
    by: str | None = None
    options: Json = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    message: Json | None = None
    result: Json | None = None
    error: Problem | None = None

    @property
    def tried_since(self) -> datetime:
        return self.budget_from or self.created


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a delivery until the lease expires.

    `attempt` counts within the current run (a retrigger starts a new run). `intents`: the open ones
    of the delivery, and those of the current run that were applied. `crashes`: the number of latest
    attempts in a row that ended with a worker crash; `hangs`: of those without progress.
    `crashed_elsewhere`: workers crashed recently for other reasons. `is_overdue`: the time of the
    delivery is over while it cannot be tried: only end it. `lease_end`: by the lease clock of the
    worker; 0: unknown. `is_only_event`: no other event of the object was known then.
    """

    delivery: Delivery
    event: Event | None
    owner: str
    fence: int
    attempt: int
    intents: tuple[Intent, ...] = ()
    crashes: int = 0
    hangs: int = 0
    crashed_elsewhere: bool = False
    is_overdue: bool = False
    lease_end: float = 0.0
    is_only_event: bool = False


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Delivered. `result`: the response of the destination in our terms; `answer`: an excerpt."""

    result: Json
    answer: str | None = None

    attempt_outcome: ClassVar = AttemptOutcome.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class _NotDelivered:
    """An outcome without a delivery. `responded`: the destination sent a response of any status.
    `destination_failing`: other deliveries to it would fail too."""

    responded: bool = False
    destination_failing: bool = False


@dataclass(frozen=True, slots=True)
class Skipped(_NotDelivered):
    """Not delivered on purpose: `superseded`, `gone`, `unchanged`, `no route`, `digest`."""

    reason: str
    result: Json = field(default_factory=dict)

    attempt_outcome: ClassVar = AttemptOutcome.SKIPPED


@dataclass(frozen=True, slots=True)
class Failed(_NotDelivered):
    """No more automatic attempts. `result` names the function, as far as it is known.

    `gave_up`: Relay stops trying; None: the destination refused, or the archive is at fault.
    """

    problem: Problem
    answer: str | None = None
    result: Json = field(default_factory=dict)
    gave_up: GaveUp | None = None

    attempt_outcome: ClassVar = AttemptOutcome.FAILED


@dataclass(frozen=True, slots=True)
class Retry(_NotDelivered):
    """To be tried again. `retry_after`: the requested delay.

    `pauses_destination`: all deliveries to the destination wait.
    `counts_as_attempt`: False if the ledger or the plug-in was unavailable, or the object missing;
    then the delivery is due exactly after `retry_after`. `missing_since`: see Delivery.
    `not_configured`: the table that the configuration lacks, such as `targets.prod`; the wait takes
    none of the delivery's time. `is_probe`: the destination was down already. `gave_up`: nothing
    more is sent, and the delivery ends as soon as the target could be asked what was changed.
    """

    problem: Problem
    retry_after: timedelta | None = None
    pauses_destination: bool = False
    answer: str | None = None
    result: Json = field(default_factory=dict)
    counts_as_attempt: bool = True
    missing_since: datetime | None = None
    not_configured: str | None = None
    is_probe: bool = False
    gave_up: GaveUp | None = None

    attempt_outcome: ClassVar = AttemptOutcome.RETRY

    @property
    def asked_to_wait(self) -> bool:
        """Whether waiting was asked for: then the attempt costs no try."""
        asked = self.retry_after is not None or self.pauses_destination
        return self.counts_as_attempt and (asked or self.is_probe)

    def last(self, problem: Problem, gave_up: GaveUp = "attempts") -> Failed:
        """Return the failure to record when Relay gives up. `problem`: in words for that."""
        known = {"responded": self.responded, "destination_failing": self.destination_failing}
        return Failed(problem, self.answer, self.result, gave_up, **known)


Outcome = Succeeded | Skipped | Failed | Retry


def utc_now() -> datetime:
    """Return the current time, aware and in UTC. Pass it in as `clock` where time matters."""
    return datetime.now(UTC)
