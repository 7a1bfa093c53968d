"""The operations that the API, the pages and the commands share, from dry run to retrigger."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime

from relay.config.load import Settings
from relay.delivery.changes import effect_of
from relay.delivery.plan import Planner
from relay.intake.intake import Intake
from relay.intake.scanner import Scanner, silence_problem
from relay.intents import MADE
from relay.ledger import Gate, Ledger, NotFound
from relay.model import Delivery, Event, Incoming, Json, Kind, ObjectRef, Origin, Verdict
from relay.sources.contract import StorageHandler

NOT_CONFIGURED = "not configured"
"""The kind of a target that is not in the configuration."""

log = logging.getLogger(__name__)


class Operations:
    """Changes that users request; plain reads go to the ledger directly."""

    def __init__(self, ledger: Ledger, intake: Intake, scanner: Scanner, planner: Planner) -> None:
        self.settings = intake.settings
        self.ledger = ledger
        self.clock = intake.clock
        self.intake = intake
        self.scanner = scanner
        self.planner = planner

    def plan(self, source: str, bucket: str, key: str, version: str | None = None) -> Json:
        """Return the dry run for an object, which changes nothing. Raises as Planner.plan does."""
        return self.planner.plan(source, self._event(source, ObjectRef(bucket, key, version)))

    def submit(
        self, source: str, bucket: str, key: str, version: str | None = None
    ) -> list[Delivery]:
        """Import an object without a notification; retrigger it if the event is known.

        Returns the deliveries of the object. Raises NotFound (source), Gone, and any error of
        opening the object.
        """
        event = self._event(source, ObjectRef(bucket, key, version))
        [known_id] = self.ledger.intake.known_ids(source, [event])
        if known_id is not None and (retriggered := self._retrigger_event(known_id)):
            return retriggered
        body = json.dumps({"source": source, "bucket": bucket, "key": key, "version": version})
        now = self.clock()
        incoming = Incoming(source, body.encode(), now, Origin.SUBMISSION, method="", path="")
        receipt = self.intake.accept_found(incoming, [event])
        deliveries = map(self.ledger.history.delivery, receipt.deliveries)
        return [delivery for delivery in deliveries if delivery is not None]

    def known_imports(
        self, source: str, bucket: str, key: str, version: str | None = None
    ) -> list[Delivery]:
        """Return the imports of an object that is known already. Raises as `submit` does."""
        event = self._event(source, ObjectRef(bucket, key, version))
        [known_id] = self.ledger.intake.known_ids(source, [event])
        if known_id is None:
            return []
        found = self.ledger.history.event_deliveries(known_id)
        return [delivery for delivery in found if delivery.destination]

    def retrigger(
        self,
        delivery_id: str,
        options: Json | None = None,
        key: str | None = None,
        *,
        by: str | None = None,
        expected_attempts: int | None = None,
    ) -> Delivery:
        """Make a delivery due now. Raises NotFound and Conflict.

        `key` is an idempotency key, `by` names the caller. With `expected_attempts`, raises
        Conflict if the delivery has more attempts or has been retriggered already.
        """
        delivery = self.ledger.retriggers.retrigger(
            delivery_id,
            self.clock(),
            options=options,
            key=key,
            by=by,
            expected_attempts=expected_attempts,
        )
        log.info("delivery retriggered", extra={"delivery": delivery.id, "by": delivery.by})
        self.intake.wake()
        return delivery

    def overwritten_by(self, delivery: Delivery, options: Json | None = None) -> Json | None:
        """Return the newer upload that the function holds, if the import would overwrite it.

        `options` override those of the delivery.
        """
        policy = {**delivery.options, **(options or {})}.get("on_conflict")
        return self.newer_import(delivery) if policy == "update" else None

    def newer_import(self, delivery: Delivery) -> Json | None:
        """Return the newer upload that the function of an import holds, if there is one."""
        if delivery.kind != Kind.IMPORT:
            return None
        newer = self.ledger.functions.overwritten_by(delivery.id)
        return newer.as_json() if newer else None

    def scan(self, source: str) -> Json:
        """Scan a source once and enqueue objects without a notification. Raises NotFound."""
        return self.scanner.scan_once(self._handler(source))

    def sources(self) -> list[Json]:
        """Return name, kind, activity, reading errors and silence of every source."""
        statistics, now = self.ledger.statistics, self.clock()
        last_notifications, last_events = statistics.last_notifications(), statistics.last_events()
        counts = statistics.notification_counts()
        silent_since = self.ledger.scans.silences(now)
        return [
            {
                "name": name,
                "kind": source.kind,
                "last_notification": last_notifications.get(name),
                "last_event": last_events.get(name),
                "lag_seconds": _seconds_since(last_events.get(name), now),
                "silent_since": silent_since.get(name),
                "silent": silence_problem(name) if silent_since.get(name) else None,
                "errors": _reading_errors(counts.get((name, Verdict.UNREADABLE), 0)),
            }
            for name, source in self.settings.sources.items()
        ]

    def targets(self) -> list[Json]:
        """Return the state of every target; see target_states."""
        return target_states(self.settings, self.ledger.destinations.all(), self.clock())

    def pause(self, target: str) -> Json:
        """Stop deliveries to the target until it is resumed. Raises NotFound."""
        check_target(self.settings, target)
        self.ledger.destinations.pause(Kind.IMPORT, target, self.clock())
        return self._target(target)

    def resume(self, target: str) -> Json:
        """Open the target again, whether it is paused, down or waiting. Raises NotFound."""
        check_target(self.settings, target, self.ledger.destinations.all())
        self.ledger.destinations.resume(Kind.IMPORT, target, self.clock())
        self.intake.wake()
        return self._target(target)

    def _target(self, name: str) -> Json:
        gates = self.ledger.destinations.all()
        states = target_states(self.settings, gates, self.clock(), only=name)
        return states[0]

    def _retrigger_event(self, event_id: str) -> list[Delivery]:
        """Retrigger the finished deliveries of an event; return all that have a destination."""
        return [
            self.retrigger(delivery.id, by="submission") if delivery.state.finished else delivery
            for delivery in self.ledger.history.event_deliveries(event_id)
            if delivery.destination
        ]

    def _event(self, source: str, ref: ObjectRef) -> Event:
        handler = self._handler(source)
        return handler.event_for(ref, handler.stat(ref))

    def _handler(self, source: str) -> StorageHandler:
        handlers = self.intake.sources
        if source not in handlers:
            raise _unknown("source", source, handlers)
        return handlers[source]


def effect_so_far(ledger: Ledger, delivery: Delivery) -> list[str]:
    """Return what an import has changed at the target, also if it has not ended: code, ..."""
    stored = (delivery.result or {}).get("effect")
    if isinstance(stored, list):
        return list(map(str, stored))
    if delivery.kind != Kind.IMPORT or delivery.state.finished or not delivery.attempts:
        return []
    return effect_of(ledger.intents.of_delivery(delivery.id, delivery.run), *MADE)


def target_states(
    settings: Settings, gates: Iterable[Gate], now: datetime, *, only: str | None = None
) -> list[Json]:
    """Return name, kind, `state` (open, paused, down, waiting), `since` and `until` per target.

    A target that is paused and not in the configuration has the kind "not configured". `only`:
    this target alone.
    """
    gates_by_name = {gate.destination: gate for gate in gates if gate.kind == Kind.IMPORT}
    kinds = {name: target.kind for name, target in settings.targets.items()}
    paused = [name for name, gate in gates_by_name.items() if gate.paused and name not in kinds]
    names = [only] if only else [*kinds, *paused]
    return [
        {
            "name": name,
            "kind": kinds.get(name, NOT_CONFIGURED),
            **_gate_state(gates_by_name.get(name), now),
        }
        for name in names
    ]


def check_target(settings: Settings, name: str, gates: Iterable[Gate] = ()) -> None:
    """Raise NotFound unless the target is configured, or one of the `gates` is that of it."""
    has_gate = any((gate.kind, gate.destination) == (Kind.IMPORT, name) for gate in gates)
    if name not in settings.targets and not has_gate:
        raise _unknown("target", name, settings.targets)


def _unknown(noun: str, name: str, known: Iterable[str]) -> NotFound:
    names = ", ".join(sorted(known)) or "none"
    return NotFound(f"{noun}.unknown", f"There is no {noun} {name!r}", f"Known: {names}.")


def _gate_state(gate: Gate | None, now: datetime) -> Json:
    if gate and gate.paused:
        return {"state": "paused", "since": gate.paused, "until": None}
    if gate and gate.down:
        return {"state": "down", "since": gate.down, "until": None}
    if gate and gate.until and gate.until > now:
        return {"state": "waiting", "since": None, "until": gate.until}
    return {"state": "open", "since": None, "until": None}


def _reading_errors(count: int) -> list[str]:
    return [f"{count} notifications could not be read"] if count else []


def _seconds_since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds()
