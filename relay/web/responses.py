"""The responses of the API as pydantic models."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from relay.ledger import Notification
from relay.ledger.batching_rules import summarize_message
from relay.ledger.values import WaitReason
from relay.model import Event, Json, Kind, Localized, Origin, State, Trigger, Verdict
from relay.web.language import language


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def clean_json(value: Json) -> Json:
    """Clean all names and texts of a JSON object."""
    return {clean(name): _clean_value(item) for name, item in value.items()}


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


def decode_utf8(body: bytes) -> str | None:
    """Decode the body, or return None if it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _translate(text: Localized) -> str:
    return clean(text.in_language(language()))


CleanText = Annotated[str, BeforeValidator(clean)]
CleanJson = Annotated[dict[str, Any], BeforeValidator(clean_json)]
TranslatedText = Annotated[str, BeforeValidator(_translate)]


class ResponseModel(BaseModel):
    """Base of all response models; values of the domain are read by attribute."""

    model_config = ConfigDict(frozen=True, from_attributes=True, serialize_by_alias=True)


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
    message: TranslatedText
    hint: TranslatedText


class AttemptShape(ResponseModel):
    """One attempt. `by` names the origin of a manual retrigger."""

    number: int
    trigger: Trigger
    started: AwareDatetime
    finished: AwareDatetime | None
    outcome: str | None
    error: ErrorShape | None
    answer: CleanText | None
    by: str | None


class EventShape(ResponseModel):
    """The object version that was created. `size` is in bytes."""

    id: str
    type: CleanText
    bucket: CleanText
    key: CleanText
    version: CleanText | None
    etag: CleanText | None
    size: int | None
    time: AwareDatetime | None

    @classmethod
    def of(cls, event: Event, event_id: str) -> EventShape:
        ref = event.object
        return cls(
            id=event_id,
            type=event.type,
            bucket=ref.bucket,
            key=ref.key,
            version=ref.version,
            etag=ref.etag,
            size=ref.size,
            time=event.time,
        )


class WaitingShape(ResponseModel):
    """Why a pending delivery is not attempted yet. `until` null: until something else happens."""

    reason: WaitReason
    until: AwareDatetime | None


class MessageShape(ResponseModel):
    """The type of a message. `count` is the number of imports in a digest, else null."""

    type: str
    count: int | None


class DeliveryBase(ResponseModel):
    """The fields of a delivery in lists and details.

    `message` is null for imports. `waiting` is null if the delivery is due and nothing holds it
    back, and if it is not pending.
    """

    id: str
    kind: Kind
    state: State
    reason: str | None
    source: str
    route: str
    bucket: CleanText
    key: CleanText
    version: CleanText | None
    destination: str
    due: AwareDatetime | None
    waiting: WaitingShape | None
    created: AwareDatetime
    finished: AwareDatetime | None
    result: CleanJson | None
    error: ErrorShape | None
    message: Annotated[MessageShape | None, BeforeValidator(summarize_message)]


class DeliveryShape(DeliveryBase):
    """A delivery in a list. `attempts` is the number of attempts."""

    attempts: int


class OverwrittenShape(ResponseModel):
    """An upload that the function holds and that an older one overwrites. `uploaded`: the time."""

    delivery: str
    source: str
    bucket: CleanText
    key: CleanText
    uploaded: AwareDatetime


class RequestedDelivery(DeliveryShape):
    """A delivery that a person requested. `overwrites`: a newer upload in the function, or null."""

    overwrites: OverwrittenShape | None


class DeliveryStory(DeliveryBase):
    """The details of a delivery: attempts, event, plan and messages.

    `effect` lists what was changed at the target: code, configuration. `answer` is the response of
    the import API with all known fields, or null.
    """

    attempts: list[AttemptShape]
    trigger: Trigger
    by: str | None
    parent: str | None
    event: EventShape | None
    plan: CleanJson
    effect: list[str]
    answer: CleanJson | None
    messages: list[DeliveryShape]


class DeliveryPage(ResponseModel):
    """A page of deliveries, newest first. `next_cursor` is null on the last page."""

    items: list[DeliveryShape]
    next_cursor: str | None


class SubmissionShape(ResponseModel):
    """The deliveries of a submitted object."""

    deliveries: list[RequestedDelivery]


class PlanShape(ResponseModel):
    """The content of the archive and the action that an import would take."""

    model_config = ConfigDict(extra="allow")

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
    origin: Origin = Field(serialization_alias="road")
    received: AwareDatetime
    method: str
    path: CleanText
    verdict: Verdict
    reason: CleanText | None
    envelopes: list[str]
    events: int


class NotificationDetail(NotificationShape):
    """A notification with headers and body. `body` is base64; `text` is null if not UTF-8."""

    headers: Annotated[dict[str, str], BeforeValidator(clean_json)]
    body: str
    text: str | None

    @classmethod
    def of(cls, notification: Notification) -> NotificationDetail:
        return cls(
            **dict(NotificationShape.model_validate(notification)),
            headers=notification.headers,
            body=base64.b64encode(notification.body).decode(),
            text=decode_utf8(notification.body),
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

    `found`: objects without a notification; `marked`: those of them that are only marked as seen,
    in the first scan of the source or of a bucket. `revived`: deliveries that had ended, and run
    again because the object was listed. `first`: a first scan marks existing objects as seen and
    enqueues nothing. `resumed`: the scan continued after an interruption. `finished`: the scan
    reached the end of the listing.
    """

    listed: int
    found: int
    marked: int = 0
    revived: int = 0
    first: bool
    resumed: bool = False
    finished: bool = True
