"""What people and their programs ask for: take this in, plan it, submit it, try it again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime

from relay.config.load import Settings
from relay.delivery.plan import Planner
from relay.intake.intake import Intake
from relay.intake.queue_poller import QueuePoller
from relay.intake.scanner import silence
from relay.ledger import Gate, NotFound
from relay.model import Delivery, Event, Incoming, Json, Kind, ObjectRef, Origin, Verdict
from relay.plugins import Plugins
from relay.sources.contract import StorageHandler

log = logging.getLogger(__name__)


class Operations:
    """The front desk of a relay; the API, the pages and the command line all come here."""

    def __init__(self, plugins: Plugins, intake: Intake, queue_poller: QueuePoller) -> None:
        self.settings = intake.settings
        self.ledger = intake.ledger
        self.clock = intake.clock
        self.plugins = plugins
        self.intake = intake
        self.queue_poller = queue_poller
        self.planner = Planner(self.settings, plugins, self.ledger, clock=self.clock)

    def plan(self, source: str, bucket: str, key: str, version: str | None = None) -> Json:
        """The dry run for an object of a source; changes nothing. See Planner.plan for errors."""
        return self.planner.plan(source, self._event(source, ObjectRef(bucket, key, version)))

    def submit(
        self, source: str, bucket: str, key: str, version: str | None = None
    ) -> list[Delivery]:
        """Delivers an object that nobody announced; one that is known already is tried again.

        Returns the object's deliveries. Raises NotFound (source), Gone, and what opening raises.
        """
        event = self._event(source, ObjectRef(bucket, key, version))
        [known] = self.ledger.intake.known_ids(source, [event])
        if known is not None and (again := self._again(known)):
            return again
        body = json.dumps({"source": source, "bucket": bucket, "key": key, "version": version})
        now = self.clock()
        incoming = Incoming(source, body.encode(), now, Origin.SUBMISSION, method="", path="")
        receipt = self.intake.found(incoming, [event])
        found = (self.ledger.history.delivery(one) for one in receipt.deliveries)
        return [delivery for delivery in found if delivery is not None]

    def retrigger(
        self,
        delivery_id: str,
        options: Json | None = None,
        key: str | None = None,
        *,
        by: str | None = None,
        seen: int | None = None,
    ) -> Delivery:
        """Tries a delivery again; what may be said, and NotFound and Conflict: Store.retrigger."""
        delivery = self.ledger.retriggers.retrigger(
            delivery_id, self.clock(), options=options, key=key, by=by, expected_attempts=seen
        )
        log.info("delivery retriggered", extra={"delivery": delivery.id, "by": delivery.by})
        self.intake.wake()
        return delivery

    def scan(self, source: str) -> Json:
        """Lists a source and enqueues what no event announced; see Scanner.scan_once."""
        return self.queue_poller.scanner.scan_once(self._handler(source))

    def sources(self) -> list[Json]:
        """Every source with its last notification and event, what could not be read, and since
        when it has been silent while its objects change."""
        came, events = (
            self.ledger.statistics.last_notifications(),
            self.ledger.statistics.last_events(),
        )
        unread, now = self.ledger.statistics.notification_counts(), self.clock()
        silent = self.ledger.scans.silences(now)
        return [
            {
                "name": name,
                "kind": source.kind,
                "last_notification": came.get(name),
                "last_event": events.get(name),
                "lag_seconds": _age(events.get(name), now),
                "silent_since": silent.get(name),
                "silent": silence(name) if silent.get(name) else None,
                "errors": _unreadable(unread.get((name, Verdict.UNREADABLE), 0)),
            }
            for name, source in self.settings.sources.items()
        ]

    def targets(self) -> list[Json]:
        """How every target is doing; see target_states."""
        return target_states(self.settings, self.ledger.destinations.all(), self.clock())

    def pause(self, target: str) -> Json:
        """Nothing is delivered to the target until it is resumed. Raises NotFound."""
        known_target(self.settings, target)
        self.ledger.destinations.pause(Kind.IMPORT, target, self.clock())
        return next(one for one in self.targets() if one["name"] == target)

    def resume(self, target: str) -> Json:
        """Ends a pause, and forgets that the target asked to wait or was down. NotFound."""
        known_target(self.settings, target)
        self.ledger.destinations.resume(Kind.IMPORT, target)
        self.intake.wake()
        return next(one for one in self.targets() if one["name"] == target)

    def _again(self, event_id: str) -> list[Delivery]:
        """The routed deliveries of a known event, the finished ones made due again."""
        routed = [one for one in self.ledger.history.event_deliveries(event_id) if one.destination]
        return [
            self.retrigger(one.id, by="submission") if one.state.finished else one for one in routed
        ]

    def _event(self, source: str, ref: ObjectRef) -> Event:
        handler = self._handler(source)
        return handler.event_for(ref, handler.stat(ref))

    def _handler(self, source: str) -> StorageHandler:
        if source not in self.plugins.sources:
            known = ", ".join(sorted(self.plugins.sources)) or "none"
            raise NotFound("source.unknown", f"There is no source {source!r}", f"Known: {known}.")
        return self.plugins.sources[source]


def target_states(settings: Settings, gates: Iterable[Gate], now: datetime) -> list[Json]:
    """Every target and why its deliveries wait, if they do: name, kind, `state` (open, paused,
    down, or waiting because it asked for it), `since` and `until`."""
    known = {one.destination: one for one in gates if one.kind == Kind.IMPORT}
    return [
        {"name": name, "kind": target.kind, **_gate(known.get(name), now)}
        for name, target in settings.targets.items()
    ]


def known_target(settings: Settings, name: str) -> None:
    """Raises NotFound unless the configuration has that target."""
    if name not in settings.targets:
        known = ", ".join(sorted(settings.targets)) or "none"
        raise NotFound("target.unknown", f"There is no target {name!r}", f"Known: {known}.")


def _gate(gate: Gate | None, now: datetime) -> Json:
    if gate is None:
        return {"state": "open", "since": None, "until": None}
    if gate.paused:
        return {"state": "paused", "since": gate.paused, "until": None}
    if gate.down:
        return {"state": "down", "since": gate.down, "until": None}
    if gate.until and gate.until > now:
        return {"state": "waiting", "since": None, "until": gate.until}
    return {"state": "open", "since": None, "until": None}


def _unreadable(count: int) -> list[str]:
    return [f"{count} notifications could not be read"] if count else []


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds()
