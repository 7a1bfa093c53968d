"""The responses of the API as pydantic models; their class names are the OpenAPI schema names."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, overload

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from relay.ledger import Attempt, Notification
from relay.ledger.batching_rules import summarize_message
from relay.model import Delivery, Event, Json, Kind, Origin, Problem, State, Trigger, Verdict


class ResponseModel(BaseModel):
    """Base of all response models."""

    model_config = ConfigDict(frozen=True)


class ProblemShape(ResponseModel):
    """An application/problem+json document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None
    request_id: str | None


class ErrorShape(ResponseModel):
    """The reason of a failure, in the language of the request."""

    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, problem: Problem | None, language: str) -> ErrorShape | None:
        if problem is None:
            return None
        message, hint = problem.message.in_(language), problem.hint.in_(language)
        return cls(code=problem.code, message=clean(message), hint=clean(hint))


class AttemptShape(ResponseModel):
    """One attempt. `by` names the origin of a manual retrigger."""

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


class EventShape(ResponseModel):
    """The object version that was created. `size` is in bytes."""

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


class MessageShape(ResponseModel):
    """The type of a message. `count` is the number of imports in a digest, else null."""

    type: str
    count: int | None


class DeliveryBase(ResponseModel):
    """The fields of a delivery in lists and details. `message` is null for imports."""

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
    """A delivery in a list. `attempts` is the number of attempts."""

    attempts: int

    @classmethod
    def of(cls, delivery: Delivery, language: str) -> DeliveryShape:
        return cls(attempts=delivery.attempts, **delivery_fields(delivery, language))


class DeliveryStory(DeliveryBase):
    """The details of a delivery: attempts, event, plan and messages."""

    attempts: list[AttemptShape]
    trigger: Trigger
    by: str | None
    parent: str | None
    event: EventShape | None
    plan: dict[str, Any]
    messages: list[DeliveryShape]


class DeliveryPage(ResponseModel):
    """A page of deliveries, newest first. `next_cursor` is null on the last page."""

    items: list[DeliveryShape]
    next_cursor: str | None


class SubmissionShape(ResponseModel):
    """The deliveries of a submitted object."""

    deliveries: list[DeliveryShape]


class PlanShape(ResponseModel):
    """The content of the archive and the action that an import would take."""

    model_config = ConfigDict(extra="allow", frozen=True)

    archive: dict[str, Any] | None = None
    route: str | None = None
    target: str | None = None
    order: dict[str, Any] | None = None
    held: dict[str, Any] | None = None
    would: dict[str, Any] | None = None


class ReceiptShape(ResponseModel):
    """The result of reading a notification: the number of new events."""

    notification: str | None
    events: int


class NotificationShape(ResponseModel):
    """A notification in a list."""

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
        return cls(**_notification_fields(notification))


class NotificationWhole(NotificationShape):
    """A notification with headers and body. `body` is base64; `text` is null if not UTF-8."""

    headers: dict[str, str]
    body: str
    text: str | None

    @classmethod
    def of(cls, notification: Notification) -> NotificationWhole:
        return cls(
            headers=clean_json(dict(notification.headers)),
            body=base64.b64encode(notification.body).decode(),
            text=decode_utf8(notification.body),
            **_notification_fields(notification),
        )


class NotificationPage(ResponseModel):
    """A page of notifications, newest first."""

    items: list[NotificationShape]
    next_cursor: str | None


class SourceShape(ResponseModel):
    """A source. `silent_since` is the time of the first object without a notification."""

    name: str
    kind: str
    last_notification: AwareDatetime | None = None
    last_event: AwareDatetime | None = None
    lag_seconds: float | None = None
    errors: list[Any] = Field(default_factory=list)
    silent_since: AwareDatetime | None = None
    silent: ErrorShape | None = None

    @classmethod
    def of(cls, source: Json, language: str) -> SourceShape:
        return cls(**{**source, "silent": ErrorShape.of(source.get("silent"), language)})


class SourceList(ResponseModel):
    """All configured sources."""

    items: list[SourceShape]


class TargetShape(ResponseModel):
    """A target: `state` is open, paused, down or waiting, `since` or `until` the given time."""

    name: str
    kind: str
    state: str
    since: AwareDatetime | None
    until: AwareDatetime | None


class TargetList(ResponseModel):
    """All configured targets."""

    items: list[TargetShape]


class ScanShape(ResponseModel):
    """The result of a scan.

    `first`: a first scan marks existing objects as seen and enqueues nothing. `resumed`: the scan
    continued after an interruption. `finished`: the scan reached the end of the listing.
    """

    listed: int
    found: int
    first: bool
    resumed: bool = False
    finished: bool = True


@overload
def clean(text: str) -> str: ...
@overload
def clean(text: str | None) -> str | None: ...
def clean(text: str | None) -> str | None:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text if text is None else text.encode("utf-8", "replace").decode()


def clean_json(value: Json) -> Json:
    """Clean all names and texts of a JSON object."""
    return {clean(name): _clean_value(item) for name, item in value.items()}


def decode_utf8(body: bytes) -> str | None:
    """Decode the body, or return None if it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def delivery_list(deliveries: Iterable[Delivery], language: str) -> list[DeliveryShape]:
    return [DeliveryShape.of(delivery, language) for delivery in deliveries]


def delivery_fields(delivery: Delivery, language: str) -> Json:
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
        "result": delivery.result and clean_json(delivery.result),
        "error": ErrorShape.of(delivery.error, language),
        "message": summarize_message(delivery.message),
    }


def _notification_fields(notification: Notification) -> Json:
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


def _clean_value(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return clean_json(value)
        case list():
            return [_clean_value(item) for item in value]
        case _:
            return value
