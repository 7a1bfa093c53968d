"""Fakes of what the web application uses, over a real ledger, and a driver of delivery states."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from relay.config import routing
from relay.config.load import ChannelSettings, Route, Settings, SourceSettings, TargetSettings
from relay.errors import Gone, PermanentFailure, TemporaryFailure, TooLarge, Unreadable, Unverified
from relay.intake.intake import Receipt
from relay.ledger import DeliveryQuery, Ledger, NewNotification, NewScan, NotFound, RoutedEvent
from relay.model import (
    Event,
    Failed,
    Incoming,
    Kind,
    Localized,
    NewMessage,
    ObjectRef,
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
NAME_TAKEN = Problem(
    "FSS.1061",
    Localized("The function name is taken", "函数名已被占用"),
    Localized("Choose update or rename.", "请选择 update 或 rename。"),
)
UNREACHABLE = Problem(
    "target.unreachable",
    Localized("The target did not respond in time", "目标未及时响应"),
    Localized("Relay retries automatically.", "Relay 会自动重试。"),
)


class Clock:
    """A clock that only a test moves."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


def settings_for(folder, *, tokens=(), **tables) -> Settings:
    """Settings with two sources, a target, a channel and two routes."""
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


class FakeHandler:
    """A storage that has every object except the `missing` ones; some keys fail."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.missing: set[str] = set()

    def stat(self, ref: ObjectRef) -> ObjectRef:
        if ref.key in self.missing:
            raise Gone("object.gone", f"There is no object {ref.key}")
        if ref.key.startswith("slow"):
            delay = timedelta(seconds=42)
            raise TemporaryFailure("store.slow", "The storage is slow", retry_after=delay)
        if ref.key.startswith("forbidden"):
            raise PermanentFailure("store.forbidden", "The storage refuses access")
        return ObjectRef(ref.bucket, ref.key, ref.version, f"e{len(ref.key)}")

    def event_for(self, ref: ObjectRef, stat: ObjectRef) -> Event:
        return Event(stat, f"version:{ref.version}", "found", self.clock())


class FakeIntake:
    """An intake without envelopes, with a fixed token and a JSON format for tests."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Clock) -> None:
        self.settings = settings
        self.ledger = ledger
        self.clock = clock
        self.handler = FakeHandler(clock)
        self.sources = dict.fromkeys(settings.sources, self.handler)
        self.received: list[Incoming] = []

    def accept(self, incoming: Incoming) -> Receipt:
        self.received.append(incoming)
        if incoming.source not in self.settings.sources:
            raise NotFound("source.unknown", f"There is no source {incoming.source!r}")
        if incoming.method != "POST":
            allowed = {"WebHook-Allowed-Origin": incoming.headers.get("webhook-request-origin", "")}
            return Receipt(None, 0, answer=HandshakeReply(200, b"hello", allowed))
        if incoming.headers.get("authorization") != HOOK:
            raise Unverified("hook.unverified", "The sender did not send the token of the source")
        if len(incoming.body) > self.settings.hooks.max_body:
            raise TooLarge("hook.too_large", "The body is too large")
        return self._parse(incoming)

    def replay(self, notification_id: str) -> Receipt:
        stored = self.ledger.history.notification(notification_id)
        if stored is None:
            raise NotFound("notification.unknown", f"There is no notification {notification_id}")
        if stored.verdict == Verdict.HANDSHAKE:
            raise Unreadable("notification.no_replay", "A handshake has no events")
        return self._parse(Incoming(stored.source, stored.body, self.clock(), stored.origin))

    def accept_found(self, incoming: Incoming, events: list[Event]) -> Receipt:
        return self._store(incoming, events, Verdict.ACCEPTED)

    def wake(self) -> None:
        """There is no worker."""

    def _parse(self, incoming: Incoming) -> Receipt:
        try:
            objects = json.loads(incoming.body)["objects"]
        except (ValueError, KeyError, TypeError):
            return self._store(incoming, [], Verdict.UNREADABLE, "it is not JSON")
        return self._store(incoming, [self._event(**item) for item in objects], Verdict.ACCEPTED)

    def _event(self, key, etag, version=None, size=None) -> Event:
        ref = ObjectRef("exports", key, version, etag, size)
        return Event(ref, f"etag:{etag}", "ObjectCreated:Put", self.clock())

    def _store(self, incoming, events, verdict, reason=None) -> Receipt:
        rules = self.settings.routes
        routed = [
            RoutedEvent(event, (routing.match(rules, incoming.source, event),)) for event in events
        ]
        redacted = Incoming(
            incoming.source,
            incoming.body,
            incoming.received,
            incoming.origin,
            incoming.method,
            incoming.path,
            headers={**incoming.headers, "authorization": "[redacted]"},
        )
        notification = NewNotification(redacted, verdict, reason, ("bare",))
        accepted = self.ledger.intake.accept(notification, routed, self.clock())
        return Receipt(accepted.notification_id, accepted.new_events, accepted.deliveries)


class FakeScanner:
    """A scanner that lists two objects, of which the second is new."""

    def scan_once(self, _handler):
        return {"listed": 2, "found": 1, "first": False}


class FakePlanner:
    """A planner that would create the function."""

    def plan(self, source, event):
        return {
            "archive": {"size": 120, "importable": True},
            "route": f"{source}#1",
            "target": "prod",
            "held": None,
            "would": {"action": "create", "func_name": routing.stem(event.object.key)},
        }


class LedgerDriver:
    """Brings deliveries into the states that a test needs, as intake and worker would."""

    def __init__(self, intake: FakeIntake) -> None:
        self.intake = intake
        self.ledger = intake.ledger
        self.clock = intake.clock

    def announce(self, key="prod/hello.zip", source="exports", etag="e1", **fields) -> str:
        """Accept a notification of an object; return the id of the delivery."""
        body = json.dumps({"objects": [{"key": key, "etag": etag, **fields}]}).encode()
        headers = {"authorization": HOOK, "content-type": "application/json"}
        path = f"/hooks/{source}"
        incoming = Incoming(source, body, self.clock(), path=path, headers=headers)
        return self.intake.accept(incoming).deliveries[0]

    def fall_silent(self, source="exports") -> datetime:
        """Let a scan find an object without a notification, eleven minutes ago."""
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
        result = {"how": "created", "func_urn": URN.format(name), "func_name": name, **result}
        body = {"func_name": name, "delivery": delivery_id}
        message = NewMessage("ops", "import.succeeded", body)
        self.ledger.outcomes.finish(claim, Succeeded(result), self.clock(), messages=[message])
        return self.ledger.history.delivery(delivery_id)

    def fail(self, delivery_id, problem=NAME_TAKEN, response="409 FSS.1061", seconds=0.4, **result):
        claim = self.claim(delivery_id)
        self.clock.forward(seconds=seconds)
        message = NewMessage("ops", "import.failed", {"delivery": delivery_id})
        outcome = Failed(problem, response, result)
        self.ledger.outcomes.finish(claim, outcome, self.clock(), messages=[message])
        return self.ledger.history.delivery(delivery_id)

    def retry(self, delivery_id, problem=UNREACHABLE, seconds=5.0, retry_after=40):
        claim = self.claim(delivery_id)
        now = self.clock.forward(seconds=seconds)
        self.ledger.outcomes.finish(
            claim, Retry(problem), now, due=now + timedelta(seconds=retry_after)
        )
        return self.ledger.history.delivery(delivery_id)

    def skip(self, delivery_id, reason="unchanged", **result):
        claim = self.claim(delivery_id)
        self.ledger.outcomes.finish(claim, Skipped(reason, result), self.clock())
        return self.ledger.history.delivery(delivery_id)

    def post(self, message_id):
        claim = self.claim(message_id)
        self.clock.forward(seconds=0.3)
        self.ledger.outcomes.finish(claim, Succeeded({}, "ok"), self.clock())

    def message_of(self, delivery_id) -> str:
        return self.ledger.history.messages(delivery_id)[0].id

    def imports(self):
        return self.ledger.history.deliveries(DeliveryQuery(kind=Kind.IMPORT)).items
