"""A small real desk over a real ledger, and a hand that brings deliveries into every state."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from relay.app.operations import known_target, target_states
from relay.config import routing as routes
from relay.config.load import ChannelSettings, Route, Settings, SourceSettings, TargetSettings
from relay.errors import Gone, PermanentFailure, TemporaryFailure, TooLarge, Unreadable, Unverified
from relay.intake.intake import Receipt
from relay.intake.scanner import silence
from relay.ledger import DeliveryQuery, Ledger, NewNotification, NewScan, NotFound, RoutedEvent
from relay.model import (
    Event,
    Failed,
    Incoming,
    Kind,
    Localized,
    NewMessage,
    ObjectRef,
    Origin,
    Problem,
    Retry,
    Skipped,
    Succeeded,
    Verdict,
)
from relay.sources.envelope import HandshakeReply

HOOK = "Bearer hook-secret"
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
URN = "urn:fss:cn-north-4:0123456789abcdef0123456789abcdef:function:default:{}:latest"
REFUSED = Problem(
    "FSS.1061",
    Localized("The function name is taken", "函数名已被占用"),
    Localized("Choose update or rename.", "请选择 update 或 rename。"),
)
SLOW = Problem(
    "target.unreachable",
    Localized("The target did not answer in time", "目标端未及时应答"),
    Localized("Relay tries again by itself.", "Relay 会自动重试。"),
)


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


def settings_for(folder, *, tokens=(), **tables) -> Settings:
    """Settings of a relay with one source, one target, one channel and one route."""
    return Settings.model_validate(
        {
            "database": {"url": f"sqlite:///{folder}/relay.db"},
            "api": {"tokens": tokens},
            "sources": {
                "exports": SourceSettings(kind="local"),
                "archive": SourceSettings(kind="local"),
            },
            "targets": {"prod": TargetSettings(kind="functiongraph")},
            "channels": {"ops": ChannelSettings(kind="slack")},
            "routes": (
                Route(source="exports", key="*.zip", target="prod", channels=("ops",)),
                Route(source="archive", key="*.zip", target="prod"),
            ),
            **tables,
        }
    )


@dataclass
class Desk:
    """Does for real, over the ledger, what the house does with plug-ins beside it."""

    settings: Settings
    ledger: Ledger
    clock: Clock
    heard: list[Incoming] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    @property
    def intake(self) -> Desk:
        return self

    def accept(self, incoming: Incoming) -> Receipt:
        self.heard.append(incoming)
        if incoming.source not in self.settings.sources:
            raise NotFound("source.unknown", f"There is no source {incoming.source!r}")
        if incoming.method != "POST":
            allowed = {"WebHook-Allowed-Origin": incoming.headers.get("webhook-request-origin", "")}
            return Receipt(None, 0, answer=HandshakeReply(200, b"hello", allowed))
        if incoming.headers.get("authorization") != HOOK:
            raise Unverified("hook.unverified", "The sender did not show the source's token")
        if len(incoming.body) > self.settings.hooks.max_body:
            raise TooLarge("hook.too_large", "The body is too large")
        return self._store(incoming)

    def replay(self, notification_id: str) -> Receipt:
        old = self.ledger.history.notification(notification_id)
        if old is None:
            raise NotFound("notification.unknown", f"There is no notification {notification_id}")
        if old.verdict == Verdict.HANDSHAKE:
            raise Unreadable("notification.no_replay", "A handshake holds nothing to read again")
        return self._store(Incoming(old.source, old.body, self.clock(), old.road))

    def plan(self, source, bucket, key, version=None):
        self._there(source, key)
        return {
            "archive": {"size": 120, "importable": True},
            "route": f"{source}#1",
            "target": "prod",
            "held": None,
            "would": {"action": "create", "func_name": routes.stem(key)},
        }

    def submit(self, source, bucket, key, version=None):
        self._there(source, key)
        ref = ObjectRef(bucket, key, version, "e" + str(len(key)))
        event = Event(ref, f"version:{version}", "found", self.clock())
        incoming = Incoming(source, b"{}", self.clock(), Origin.SUBMISSION, method="", path="")
        receipt = self._accept(incoming, [event], Verdict.ACCEPTED)
        return [self.ledger.history.delivery(one) for one in receipt.deliveries]

    def retrigger(self, delivery_id, options=None, key=None, **who):
        return self.ledger.retriggers.retrigger(
            delivery_id, self.clock(), options=options, key=key, **who
        )

    def scan(self, source):
        if source not in self.settings.sources:
            raise NotFound("source.unknown", f"There is no source {source!r}")
        return {"listed": 2, "found": 1, "first": False}

    def sources(self):
        events, silent = (
            self.ledger.statistics.last_events(),
            self.ledger.scans.silences(self.clock()),
        )
        return [
            {
                "name": name,
                "kind": one.kind,
                "last_event": events.get(name),
                "errors": [],
                "silent_since": silent.get(name),
                "silent": silence(name) if silent.get(name) else None,
            }
            for name, one in self.settings.sources.items()
        ]

    def targets(self):
        return target_states(self.settings, self.ledger.destinations.all(), self.clock())

    def pause(self, target):
        known_target(self.settings, target)
        self.ledger.destinations.pause(Kind.IMPORT, target, self.clock())
        return self.targets()[0]

    def resume(self, target):
        known_target(self.settings, target)
        self.ledger.destinations.resume(Kind.IMPORT, target)
        return self.targets()[0]

    def _there(self, source, key):
        if source not in self.settings.sources:
            raise NotFound("source.unknown", f"There is no source {source!r}")
        if key in self.missing:
            raise Gone("object.gone", f"There is no object {key}")
        if key.startswith("slow"):
            after = timedelta(seconds=42)
            raise TemporaryFailure("store.slow", "The store is slow", retry_after=after)
        if key.startswith("forbidden"):
            raise PermanentFailure("store.forbidden", "The store refuses us")

    def _store(self, incoming: Incoming) -> Receipt:
        try:
            named = json.loads(incoming.body)["objects"]
        except (ValueError, KeyError, TypeError):
            return self._accept(incoming, [], Verdict.UNREADABLE, "it is not JSON")
        events = [
            Event(
                ObjectRef("exports", one["key"], one.get("version"), one["etag"], one.get("size")),
                f"etag:{one['etag']}",
                "ObjectCreated:Put",
                self.clock(),
            )
            for one in named
        ]
        return self._accept(incoming, events, Verdict.ACCEPTED)

    def _accept(self, incoming, events, verdict, reason=None) -> Receipt:
        match = self.settings.routes, incoming.source
        arrivals = [RoutedEvent(event, (routes.match(*match, event),)) for event in events]
        kept = Incoming(
            incoming.source,
            incoming.body,
            incoming.received,
            incoming.road,
            incoming.method,
            incoming.path,
            headers={**incoming.headers, "authorization": "[redacted]"},
        )
        new = NewNotification(kept, verdict, reason, ("bare",))
        done = self.ledger.intake.accept(new, arrivals, self.clock())
        return Receipt(done.notification_id, done.new_events, done.deliveries)


class Hand:
    """Brings deliveries into the states that a test or a picture needs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.ledger = desk.ledger
        self.clock = desk.clock

    def announce(self, key="prod/hello.zip", source="exports", etag="e1", **more) -> str:
        """The id of the delivery that the object's announcement made."""
        body = json.dumps({"objects": [{"key": key, "etag": etag, **more}]}).encode()
        headers = {"authorization": HOOK, "content-type": "application/json"}
        path = f"/hooks/{source}"
        incoming = Incoming(source, body, self.clock(), path=path, headers=headers)
        return self.desk.accept(incoming).deliveries[0]

    def fall_silent(self, source="exports") -> datetime:
        """A scan finds an object that nobody announced, and eleven minutes pass."""
        modified = self.clock()
        scan = self.ledger.scans.begin(NewScan(source, "tests"), modified)
        self.ledger.scans.end(scan, modified, completed=True)
        self.ledger.scans.note_unannounced(source, [modified])
        self.clock.forward(minutes=11)
        return modified

    def claim(self, delivery_id):
        lease = timedelta(seconds=30)
        claim = self.ledger.queue.claim("tests", lease, {}, self.clock(), only=delivery_id)
        assert claim is not None
        return claim

    def succeed(self, delivery_id, name="hello", seconds=1.2, **result):
        claim = self.claim(delivery_id)
        self.clock.forward(seconds=seconds)
        told = {"how": "created", "func_urn": URN.format(name), "func_name": name, **result}
        body = {"func_name": name, "delivery": delivery_id}
        message = NewMessage("ops", "import.succeeded", body)
        self.ledger.outcomes.finish(claim, Succeeded(told), self.clock(), messages=[message])
        return self.ledger.history.delivery(delivery_id)

    def fail(self, delivery_id, problem=REFUSED, answer="409 FSS.1061", seconds=0.4):
        claim = self.claim(delivery_id)
        self.clock.forward(seconds=seconds)
        message = NewMessage("ops", "import.failed", {"delivery": delivery_id})
        outcome = Failed(problem, answer)
        self.ledger.outcomes.finish(claim, outcome, self.clock(), messages=[message])
        return self.ledger.history.delivery(delivery_id)

    def retry(self, delivery_id, problem=SLOW, seconds=5.0, after=40):
        claim = self.claim(delivery_id)
        now = self.clock.forward(seconds=seconds)
        self.ledger.outcomes.finish(claim, Retry(problem), now, due=now + timedelta(seconds=after))
        return self.ledger.history.delivery(delivery_id)

    def skip(self, delivery_id, reason="unchanged"):
        claim = self.claim(delivery_id)
        self.ledger.outcomes.finish(claim, Skipped(reason), self.clock())
        return self.ledger.history.delivery(delivery_id)

    def post(self, message_id):
        claim = self.claim(message_id)
        self.clock.forward(seconds=0.3)
        self.ledger.outcomes.finish(claim, Succeeded({}, "ok"), self.clock())

    def message_of(self, delivery_id) -> str:
        return self.ledger.history.messages(delivery_id)[0].id

    def imports(self):
        return self.ledger.history.deliveries(DeliveryQuery(kind=Kind.IMPORT)).items
