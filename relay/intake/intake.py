"""Accepts notifications: verifies the sender, stores the notification and routes the events.

Hooks, queues, scans and submissions share this path. Storing takes a single transaction. A verified
notification that cannot be read is stored as unreadable; without verification, nothing is stored.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic

from relay.config.load import Settings, SourceSettings
from relay.config.routing import match
from relay.errors import TooLarge, Unreadable, Unverified
from relay.ledger import Accepted, NewNotification, NotFound, RoutedEvent
from relay.ledger.history import History
from relay.ledger.intake import NotificationIntake
from relay.model import Event, Incoming, Origin, Verdict
from relay.sources.contract import StorageHandler
from relay.sources.envelope import Envelope, Fetch, HandshakeReply, refuse_fetch
from relay.sources.envelopes import ENVELOPES, secret_fields
from relay.sources.own_record import is_own_record, own_event

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
"""A header whose name contains such a word is stored without the value, as is the source's
`token_header`."""

HOOK_METHODS = "POST, OPTIONS, HEAD"
REFUSAL_LOG_INTERVAL = 10.0
"""Seconds between two log lines about unverified senders of the same source."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of accepting a notification. `answer` is set for a handshake."""

    notification: str | None
    events: int
    deliveries: tuple[str, ...] = ()
    answer: HandshakeReply | None = None


@dataclass(frozen=True, slots=True)
class ParsedNotification:
    """The events in a notification and the verdict about it."""

    events: tuple[Event, ...]
    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ListedObjects:
    """Objects of a listing that need something: `unannounced` ones are not known yet, and `ended`
    are known events, by id, with deliveries that ended and are to run again."""

    unannounced: list[Event]
    ended: Mapping[str, Event]


class Intake:
    """Accepts notifications for every configured source."""

    def __init__(
        self,
        settings: Settings,
        ledger_intake: NotificationIntake,
        history: History,
        sources: Mapping[str, StorageHandler],
        *,
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
        fetch: Fetch = refuse_fetch,
    ) -> None:
        """`wake` is called after deliveries are stored, so that a worker starts at once.

        `fetch` gets the certificates and keys that envelopes need.
        """
        self.settings = settings
        self.ledger_intake = ledger_intake
        self.history = history
        self.sources = sources
        self.clock = clock
        self.wake = wake
        self._refusals: dict[str, tuple[float, int]] = {}
        self._envelopes = {
            name: build_envelopes(source, fetch) for name, source in settings.sources.items()
        }

    def accept(self, incoming: Incoming) -> Receipt:
        """Accept a notification from a hook.

        Raises NotFound (unknown source), TooLarge, Unverified and LedgerUnavailable; nothing is
        stored then.
        """
        handler = self._handler(incoming.source)
        if len(incoming.body) > self.settings.hooks.max_body:
            raise TooLarge(
                "hook.too_large",
                f"The body is larger than {self.settings.hooks.max_body} bytes",
                "Raise hooks.max_body if the storage really sends such notifications.",
            )
        try:
            envelope = self._verified_envelope(incoming)
        except Unverified as error:
            self._log_refusal(incoming.source, error)
            raise
        answer = envelope.answer(incoming)
        if incoming.method != "POST":
            # A handshake without a body: there is nothing to store.
            headers = {"Allow": HOOK_METHODS}
            return Receipt(None, 0, answer=answer or HandshakeReply(headers=headers))
        if answer:
            handshake = ParsedNotification((), Verdict.HANDSHAKE)
            return replace(self._store(incoming, handshake, envelope.name), answer=answer)
        return self._store(incoming, parse(handler, envelope, incoming), envelope.name)

    def accept_queued(self, incoming: Incoming) -> Receipt:
        """Accept a message of the source's queue; the queue has verified the sender."""
        handler = self._handler(incoming.source)
        bare = ENVELOPES["bare"](handler.settings)
        return self._store(incoming, parse(handler, bare, incoming), bare.name)

    def accept_found(self, incoming: Incoming, events: Sequence[Event]) -> Receipt:
        """Accept objects from a scan or a submission."""
        return self._store(incoming, ParsedNotification(tuple(events), Verdict.ACCEPTED))

    def mark_seen(self, incoming: Incoming, events: Sequence[Event]) -> Receipt:
        """Store the events of existing objects without deliveries."""
        reason = "first scan: existing objects are marked as seen"
        new = NewNotification(incoming, Verdict.IGNORED, reason, ())
        routed = [RoutedEvent(event, ()) for event in events]
        accepted = self.ledger_intake.accept(new, routed, self.clock())
        return Receipt(accepted.notification_id, accepted.new_events)

    def replay(self, notification_id: str) -> Receipt:
        """Parse a stored notification again, after a fix. The sender was verified on arrival.

        Raises NotFound and Unreadable.
        """
        stored = self.history.notification(notification_id)
        if stored is None:
            raise NotFound("notification.unknown", f"There is no notification {notification_id}")
        if stored.verdict == Verdict.HANDSHAKE or stored.origin in (Origin.SCAN, Origin.SUBMISSION):
            raise Unreadable(
                "notification.no_replay",
                "A handshake, a scan or a submission contains nothing to parse again",
                "Start another scan or submission instead.",
            )
        handler = self._handler(stored.source)
        incoming = Incoming(
            stored.source,
            stored.body,
            self.clock(),
            stored.origin,
            stored.method,
            stored.path,
            headers={**stored.headers, "relay-replay-of": stored.id},
        )
        name = next((name for name in stored.envelopes if name in ENVELOPES), "bare")
        envelope = ENVELOPES[name](handler.settings)
        return self._store(incoming, parse(handler, envelope, incoming), name)

    def compare_listed(self, source: str, events: Sequence[Event]) -> ListedObjects:
        """Compare listed objects with the known events."""
        ids = self.ledger_intake.known_ids(source, events)
        known = {id_: event for id_, event in zip(ids, events, strict=True) if id_ is not None}
        ended = self.ledger_intake.listed_again(known, self.clock()) if known else ()
        return ListedObjects(
            [event for event, id_ in zip(events, ids, strict=True) if id_ is None],
            {id_: known[id_] for id_ in ended},
        )

    def revive(self, listed: ListedObjects) -> int:
        """Start a new run of deliveries that ended; returns their number."""
        if not listed.ended:
            return 0
        revived = self.ledger_intake.revive(listed.ended, self.clock())
        log.info("deliveries revived", extra={"deliveries": revived})
        self.wake()
        return len(revived)

    def is_open(self, source: str) -> bool:
        """Whether the hook can accept requests: an envelope can verify senders."""
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

    def _verified_envelope(self, incoming: Incoming) -> Envelope:
        configured = self._envelopes[incoming.source]
        for envelope in configured:
            if envelope.missing_setting() is None and envelope.recognises(incoming):
                envelope.verify(incoming)
                return envelope
        missing = "; ".join(filter(None, (envelope.missing_setting() for envelope in configured)))
        raise Unverified(
            "hook.unverified",
            f"Source {incoming.source} has no way to verify this sender",
            f"Set {missing} in [sources.{incoming.source}]." if missing else "",
        )

    def _log_refusal(self, source: str, error: Unverified) -> None:
        """Log why a sender was refused. Rate-limited: strangers must not fill the disk."""
        logged_at, suppressed = self._refusals.get(source, (-REFUSAL_LOG_INTERVAL, 0))
        if monotonic() - logged_at < REFUSAL_LOG_INTERVAL:
            self._refusals[source] = (logged_at, suppressed + 1)
            return
        self._refusals[source] = (monotonic(), 0)
        fields = {"source": source, "reason": error.message.en, "hint": error.hint.en}
        log.warning("notification refused", extra={**fields, "others_before": suppressed})

    def _store(self, incoming: Incoming, parsed: ParsedNotification, *envelopes: str) -> Receipt:
        source = self.settings.sources[incoming.source]
        parsed = _in_allowed_buckets(parsed, source)
        new = NewNotification(_redacted(incoming, source), parsed.verdict, parsed.reason, envelopes)
        routes = self.settings.routes
        routed = [
            RoutedEvent(event, (match(routes, incoming.source, event),)) for event in parsed.events
        ]
        accepted = self.ledger_intake.accept(new, routed, self.clock())
        _log_accepted(incoming, parsed, accepted)
        if accepted.deliveries:
            self.wake()
        return Receipt(accepted.notification_id, accepted.new_events, accepted.deliveries)


def build_envelopes(source: SourceSettings, fetch: Fetch = refuse_fetch) -> list[Envelope]:
    """A source's envelopes in the order of trial: bare matches everything and comes last."""
    return [
        envelope(source, fetch) for name, envelope in ENVELOPES.items() if name in source.accept
    ]


def parse(handler: StorageHandler, envelope: Envelope, incoming: Incoming) -> ParsedNotification:
    """Read the events of a notification. Never raises.

    A bad record makes the notification unreadable; the events of the other records count.
    """
    events: list[Event] = []
    problems: list[str] = []
    try:
        for record in envelope.unwrap(incoming):
            try:
                events.extend(
                    [own_event(record)] if is_own_record(record) else handler.parse(record)
                )
            except Unreadable as error:
                problems.append(error.message.en)
            except Exception as bug:  # A handler's bug must not lose the notification.
                log.exception("handler failed on a record", extra={"source": handler.name})
                problems.append(f"the handler itself failed: {type(bug).__name__}")
    except Unreadable as error:
        problems.append(error.message.en)
    if problems:
        return ParsedNotification(tuple(events), Verdict.UNREADABLE, problems[0])
    if not events:
        return ParsedNotification((), Verdict.IGNORED, "it announces no complete object")
    return ParsedNotification(tuple(events), Verdict.ACCEPTED)


def _in_allowed_buckets(parsed: ParsedNotification, source: SourceSettings) -> ParsedNotification:
    """Remove events of buckets that are not in the source's allow-list."""
    allowed = source.buckets
    events = tuple(e for e in parsed.events if not allowed or e.object.bucket in allowed)
    if len(events) == len(parsed.events):
        return parsed
    reason = parsed.reason or "bucket is not in the source's allow-list"
    return ParsedNotification(events, parsed.verdict if events else Verdict.IGNORED, reason)


def _redacted(incoming: Incoming, source: SourceSettings) -> Incoming:
    """The notification as it is stored: without credentials in the body and the headers."""
    words = (*SECRET_HEADERS, (source.token_header or SECRET_HEADERS[0]).lower())
    headers = {
        name: "[redacted]" if any(word in name.lower() for word in words) else value
        for name, value in incoming.headers.items()
    }
    return replace(incoming, body=SECRETS.sub(rb"\1redacted", incoming.body), headers=headers)


def _log_accepted(incoming: Incoming, parsed: ParsedNotification, accepted: Accepted) -> None:
    level = logging.WARNING if accepted.verdict == Verdict.UNREADABLE else logging.INFO
    log.log(
        level,
        f"notification {accepted.verdict}",  # noqa: G004 - the verdict is the event's name
        extra={
            "notification": accepted.notification_id,
            "source": incoming.source,
            "road": incoming.origin,
            "events": accepted.new_events,
            "reason": parsed.reason,
        },
    )
