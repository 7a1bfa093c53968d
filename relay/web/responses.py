"""What the API answers, as pydantic models made from the values of the house."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from relay.ledger import Attempt, Notification
from relay.ledger.batching_rules import summarize_message
from relay.model import Delivery, Event, Json, Kind, Origin, Problem, State, Trigger, Verdict
from relay.web.text import clean, cleaned, text_of


class Given(BaseModel):
    """What we answer."""

    model_config = ConfigDict(frozen=True)


class ProblemShape(Given):
    """application/problem+json, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None
    request_id: str | None


class ErrorShape(Given):
    """Why something failed, in the caller's language."""

    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, problem: Problem | None, language: str) -> ErrorShape | None:
        if problem is None:
            return None
        message, hint = problem.message.in_(language), problem.hint.in_(language)
        return cls(code=problem.code, message=clean(message), hint=clean(hint))


class AttemptShape(Given):
    """One try. `by`: who asked for it, where somebody did."""

    number: int
    trigger: Trigger
    started: AwareDatetime
    finished: AwareDatetime | None
    outcome: str | None
    error: ErrorShape | None
    answer: str | None
    by: str | None

    @classmethod
    def of(cls, attempt: Attempt, language: str) -> AttemptShape:
        return cls(
            number=attempt.number,
            trigger=attempt.trigger,
            started=attempt.started,
            finished=attempt.finished,
            outcome=attempt.outcome,
            error=ErrorShape.of(attempt.error, language),
            answer=clean(attempt.answer),
            by=attempt.by,
        )


class EventShape(Given):
    """The object version that came into being. `size` in bytes."""

    id: str
    type: str
    bucket: str
    key: str
    version: str | None
    etag: str | None
    size: int | None
    time: AwareDatetime | None

    @classmethod
    def of(cls, event: Event, event_id: str) -> EventShape:
        ref = event.object
        return cls(
            id=event_id,
            type=clean(event.type),
            bucket=clean(ref.bucket),
            key=clean(ref.key),
            version=clean(ref.version),
            etag=clean(ref.etag),
            size=ref.size,
            time=event.time,
        )


class MessageShape(Given):
    """What a message is about; `count`: of how many imports a digest tells, else null."""

    type: str
    count: int | None


class DeliveryBase(Given):
    """What a delivery looks like in a list and alone; `message` is null for imports."""

    id: str
    kind: Kind
    state: State
    reason: str | None
    source: str
    route: str
    bucket: str
    key: str
    version: str | None
    destination: str
    due: AwareDatetime | None
    created: AwareDatetime
    finished: AwareDatetime | None
    result: dict[str, Any] | None
    error: ErrorShape | None
    message: MessageShape | None


class DeliveryShape(DeliveryBase):
    """A delivery in a list; `attempts` counts them."""

    attempts: int

    @classmethod
    def of(cls, delivery: Delivery, language: str) -> DeliveryShape:
        return cls(attempts=delivery.attempts, **fields_of(delivery, language))


class DeliveryStory(DeliveryBase):
    """A delivery alone, with all its attempts, its event, its plan and the messages about it."""

    attempts: list[AttemptShape]
    trigger: Trigger
    by: str | None
    parent: str | None
    event: EventShape | None
    plan: dict[str, Any]
    messages: list[DeliveryShape]


class DeliveryPage(Given):
    """A page of deliveries, newest first. `next_cursor` is null on the last."""

    items: list[DeliveryShape]
    next_cursor: str | None


class SubmissionShape(Given):
    """The deliveries that bring the submitted object to its destinations."""

    deliveries: list[DeliveryShape]


class PlanShape(Given):
    """What lies in the archive and what would happen to it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    archive: dict[str, Any] | None = None
    route: str | None = None
    target: str | None = None
    order: dict[str, Any] | None = None
    held: dict[str, Any] | None = None
    would: dict[str, Any] | None = None


class ReceiptShape(Given):
    """What became of a notification."""

    notification: str | None
    events: int


class NotificationShape(Given):
    """What came in, in a list."""

    id: str
    source: str
    road: Origin
    received: AwareDatetime
    method: str
    path: str
    verdict: Verdict
    reason: str | None
    envelopes: list[str]
    events: int

    @classmethod
    def of(cls, notification: Notification) -> NotificationShape:
        return cls(**_arrived(notification))


class NotificationWhole(NotificationShape):
    """What came in, byte for byte. `body` is base64; `text` is it as UTF-8, when it is that."""

    headers: dict[str, str]
    body: str
    text: str | None

    @classmethod
    def of(cls, notification: Notification) -> NotificationWhole:
        return cls(
            headers=cleaned(dict(notification.headers)),
            body=base64.b64encode(notification.body).decode(),
            text=text_of(notification.body),
            **_arrived(notification),
        )


class NotificationPage(Given):
    """A page of notifications, newest first."""

    items: list[NotificationShape]
    next_cursor: str | None


def deliveries(found: Iterable[Delivery], language: str) -> list[DeliveryShape]:
    """Deliveries as a list shows them."""
    return [DeliveryShape.of(one, language) for one in found]


def fields_of(delivery: Delivery, language: str) -> Json:
    return {
        "id": delivery.id,
        "kind": delivery.kind,
        "state": delivery.state,
        "reason": delivery.reason,
        "source": delivery.source,
        "route": delivery.route,
        "bucket": clean(delivery.bucket),
        "key": clean(delivery.key),
        "version": clean(delivery.version),
        "destination": delivery.destination,
        "due": delivery.due,
        "created": delivery.created,
        "finished": delivery.finished,
        "result": delivery.result and cleaned(delivery.result),
        "error": ErrorShape.of(delivery.error, language),
        "message": summarize_message(delivery.message),
    }


def _arrived(notification: Notification) -> Json:
    return {
        "id": notification.id,
        "source": notification.source,
        "road": notification.road,
        "received": notification.received,
        "method": notification.method,
        "path": clean(notification.path),
        "verdict": notification.verdict,
        "reason": clean(notification.reason),
        "envelopes": list(notification.envelopes),
        "events": notification.events,
    }
