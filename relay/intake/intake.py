"""accept(): the one door. Verify the sender, store what came, and read its events: one transaction.

Hooks, queues, scans and submissions all come through here. What is verified but cannot be
understood is kept as unreadable; only an unknown sender leaves no trace.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any

from relay.config import routing as routes
from relay.config.load import Settings, SourceSettings
from relay.errors import TooLarge, Unreadable, Unverified
from relay.ledger import Accepted, Ledger, NewNotification, NotFound, RoutedEvent
from relay.model import Event, Incoming, Origin, Verdict
from relay.sources import own_record as own_records
from relay.sources.contract import StorageHandler
from relay.sources.envelope import Envelope, Fetch, HandshakeReply, refuse_fetch
from relay.sources.envelopes import ENVELOPES, secret_fields

log = logging.getLogger(__name__)

_SECRET_FIELDS = "|".join((*secret_fields(), "Authorization", "x-cos-security-token"))
SECRETS = re.compile(rf'((?:{_SECRET_FIELDS})\\*"\s*:\s*\\*")[^"\\]*'.encode())
"""Fields of bodies that hold credentials: confirmation URLs of envelopes, and the credentials that
COS passes on from an upload."""

SECRET_HEADERS = (
    "authorization",
    "confirmation",
    "cookie",
    "key",
    "password",
    "secret",
    "signature",
    "token",
)
"""A header whose name holds one of these is stored without its value, as is a `token_header`."""


METHODS = "POST, OPTIONS, HEAD"
SELDOM = 10.0
"""Seconds between two log lines about senders that a source does not know."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a notification. `answer` is set for a handshake."""

    notification: str | None
    events: int
    deliveries: tuple[str, ...] = ()
    answer: HandshakeReply | None = None


@dataclass(frozen=True, slots=True)
class ParsedNotification:
    """What could be made of a body."""

    events: tuple[Event, ...]
    verdict: Verdict
    reason: str | None = None


class Intake:
    """Accepts notifications for every configured source."""

    def __init__(  # noqa: PLR0913 - put together once, in the house
        self,
        settings: Settings,
        ledger: Ledger,
        sources: Mapping[str, StorageHandler],
        *,
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
        fetch: Fetch = refuse_fetch,
    ) -> None:
        """`wake` is called after deliveries were stored, so that a worker need not wait; `fetch`
        is what envelopes get certificates and keys with."""
        self.settings = settings
        self.ledger = ledger
        self.sources = sources
        self.clock = clock
        self.wake = wake
        self._refusals: dict[str, tuple[float, int]] = {}
        self._envelopes = {
            name: envelopes(source, fetch) for name, source in settings.sources.items()
        }

    def accept(self, incoming: Incoming) -> Receipt:
        """Takes a notification from a hook: verified, or nothing is kept.

        Raises NotFound (no such source), TooLarge, Unverified, StoreUnavailable.
        """
        handler = self._handler(incoming.source)
        if len(incoming.body) > self.settings.hooks.max_body:
            raise TooLarge(
                "hook.too_large",
                f"The body is larger than {self.settings.hooks.max_body} bytes",
                "Raise hooks.max_body if your storage really sends such notifications.",
            )
        try:
            envelope = self._verified(incoming)
        except Unverified as error:
            self._refused(incoming.source, error)
            raise
        answer = envelope.answer(incoming)
        if incoming.method != "POST":
            # A handshake without a body: nothing to keep, and anybody may ask.
            return Receipt(None, 0, answer=answer or HandshakeReply(headers={"Allow": METHODS}))
        if answer:
            reading = ParsedNotification((), Verdict.HANDSHAKE)
            return replace(self._store(incoming, reading, envelope.name), answer=answer)
        return self._store(incoming, read(handler, envelope, incoming), envelope.name)

    def pull(self, incoming: Incoming) -> Receipt:
        """Takes a message of the source's own queue, which checked who may write there."""
        handler = self._handler(incoming.source)
        bare = ENVELOPES["bare"](handler.settings)
        return self._store(incoming, read(handler, bare, incoming), bare.name)

    def found(self, incoming: Incoming, events: Sequence[Event]) -> Receipt:
        """Takes objects that a scan or a person came upon."""
        return self._store(incoming, ParsedNotification(tuple(events), Verdict.ACCEPTED))

    def seen(self, incoming: Incoming, events: Sequence[Event]) -> Receipt:
        """Marks objects as seen without delivering them."""
        reason = "first scan: what was there is marked as seen"
        new = NewNotification(incoming, Verdict.IGNORED, reason, ())
        arrivals = [RoutedEvent(event, ()) for event in events]
        accepted = self.ledger.intake.accept(new, arrivals, self.clock())
        return Receipt(accepted.notification_id, accepted.new_events)

    def replay(self, notification_id: str) -> Receipt:
        """Reads a stored notification again, after a fix. Its sender was verified when it came."""
        old = self.ledger.history.notification(notification_id)
        if old is None:
            raise NotFound("notification.unknown", f"There is no notification {notification_id}")
        if old.verdict == Verdict.HANDSHAKE or old.road in (Origin.SCAN, Origin.SUBMISSION):
            raise Unreadable(
                "notification.no_replay",
                "A handshake, a scan or a submission holds nothing to read again",
                "Scan or submit once more instead.",
            )
        handler = self._handler(old.source)
        headers = {**old.headers, "relay-replay-of": old.id}
        incoming = Incoming(
            old.source, old.body, self.clock(), old.road, old.method, old.path, headers=headers
        )
        name = next((one for one in old.envelopes if one in ENVELOPES), "bare")
        envelope = ENVELOPES[name](handler.settings)
        return self._store(incoming, read(handler, envelope, incoming), name)

    def is_open(self, source: str) -> bool:
        """Whether a hook could be let in: one of its envelopes has what it verifies by."""
        return any(envelope.missing_setting() is None for envelope in self._envelopes[source])

    def _handler(self, source: str) -> StorageHandler:
        try:
            return self.sources[source]
        except KeyError:
            raise NotFound(
                "source.unknown",
                f"There is no source {source!r}",
                "The address ends in the name of a [sources.NAME] table of relay.toml.",
            ) from None

    def _verified(self, incoming: Incoming) -> Envelope:
        every = self._envelopes[incoming.source]
        offered = [envelope for envelope in every if envelope.missing_setting() is None]
        envelope = next((one for one in offered if one.recognises(incoming)), None)
        if envelope is None:
            missing = "; ".join(filter(None, (envelope.missing_setting() for envelope in every)))
            raise Unverified(
                "hook.unverified",
                f"Source {incoming.source} has no way to know this sender",
                f"Set {missing} in [sources.{incoming.source}]." if missing else "",
            )
        envelope.verify(incoming)
        return envelope

    def _refused(self, source: str, error: Unverified) -> None:
        """Logs why a sender was refused; seldom, or strangers could fill the disk."""
        said, unsaid = self._refusals.get(source, (-SELDOM, 0))
        if monotonic() - said < SELDOM:
            self._refusals[source] = (said, unsaid + 1)
            return
        self._refusals[source] = (monotonic(), 0)
        told = {"source": source, "reason": error.message.en, "hint": error.hint.en}
        log.warning("notification refused", extra={**told, "others_before": unsaid})

    def _store(self, incoming: Incoming, reading: ParsedNotification, *envelopes: str) -> Receipt:
        source = self.settings.sources[incoming.source]
        allowed = source.buckets
        events = [one for one in reading.events if not allowed or one.object.bucket in allowed]
        if len(events) < len(reading.events):
            reason = "bucket is not in the source's allow-list"
            verdict = reading.verdict if events else Verdict.IGNORED
            reading = ParsedNotification(tuple(events), verdict, reading.reason or reason)
        arrivals = [self._arrival(incoming.source, event) for event in events]
        body = SECRETS.sub(rb"\1redacted", incoming.body)
        kept = replace(incoming, body=body, headers=_redacted(incoming.headers, source))
        new = NewNotification(kept, reading.verdict, reading.reason, envelopes)
        accepted = self.ledger.intake.accept(new, arrivals, self.clock())
        _tell(incoming, reading, accepted)
        if accepted.deliveries:
            self.wake()
        return Receipt(accepted.notification_id, accepted.new_events, accepted.deliveries)

    def _arrival(self, source: str, event: Event) -> RoutedEvent:
        return RoutedEvent(event, (routes.match(self.settings.routes, source, event),))


def envelopes(source: SourceSettings, fetch: Fetch = refuse_fetch) -> list[Envelope]:
    """A source's envelopes in the order in which they are asked: bare takes all, so it is last."""
    return [make(source, fetch) for name, make in ENVELOPES.items() if name in source.accept]


def read(handler: StorageHandler, envelope: Envelope, incoming: Incoming) -> ParsedNotification:
    """The events in a notification. Never raises: one bad record makes it unreadable, and the
    good ones beside it count all the same."""
    events: list[Event] = []
    problems: list[str] = []
    try:
        for record in envelope.unwrap(incoming):
            _read_record(handler, record, events, problems)
    except Unreadable as error:
        problems.append(error.message.en)
    if problems:
        return ParsedNotification(tuple(events), Verdict.UNREADABLE, problems[0])
    if not events:
        return ParsedNotification((), Verdict.IGNORED, "it announces no complete object")
    return ParsedNotification(tuple(events), Verdict.ACCEPTED)


def _read_record(
    handler: StorageHandler, record: Mapping[str, Any], events: list[Event], problems: list[str]
) -> None:
    try:
        if own_records.is_own_record(record):
            events.append(own_records.own_event(record))
        else:
            events.extend(handler.parse(record))
    except Unreadable as error:
        problems.append(error.message.en)
    except Exception as bug:  # a handler's bug must not lose the notification
        log.exception("handler failed on a record", extra={"source": handler.name})
        problems.append(f"the handler itself failed: {type(bug).__name__}")


def _redacted(headers: Mapping[str, str], source: SourceSettings) -> dict[str, str]:
    words = (*SECRET_HEADERS, (source.token_header or SECRET_HEADERS[0]).lower())
    return {
        name: "[redacted]" if any(word in name.lower() for word in words) else value
        for name, value in headers.items()
    }


def _tell(incoming: Incoming, reading: ParsedNotification, accepted: Accepted) -> None:
    level = logging.WARNING if accepted.verdict == Verdict.UNREADABLE else logging.INFO
    log.log(
        level,
        f"notification {accepted.verdict}",  # noqa: G004 - the verdict is the event's name
        extra={
            "notification": accepted.notification_id,
            "source": incoming.source,
            "road": incoming.road,
            "events": accepted.new_events,
            "reason": reading.reason,
        },
    )
