"""The JSON API under /api/v1: deliveries, submissions, notifications, sources and targets."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from functools import cache

from flask import Blueprint, Response, jsonify, request, url_for

from relay.errors import Rejected
from relay.intake.intake import Receipt
from relay.ledger import DeliveryQuery, NotFound, Notification, Page
from relay.ledger.history import History
from relay.model import Delivery, Json, Kind
from relay.web import responses
from relay.web.context import WebContext
from relay.web.openapi import Operation, ViewResult, document, mount
from relay.web.operations import effect_so_far
from relay.web.requests import DeliveriesQuery, PageQuery, RetriggerBody, SubmissionBody

PREFIX = "/api/v1"
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def blueprint(context: WebContext) -> Blueprint:
    """Create the API, guarded by the tokens."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    api.before_request(context.guard.check)
    api.before_request(context.guard.check_origin)
    mount(api, Api(context))

    @api.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(openapi_document())

    return api


@cache
def openapi_document() -> Json:
    """Build the OpenAPI document at first use: it takes as long as creating the whole app."""
    return document(PREFIX, Api)


class Api:
    """The views of the API."""

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self.history = context.ledger.history
        self.operations = context.operations

    @Operation(
        "GET",
        "/deliveries",
        "List deliveries, newest first",
        {200: responses.DeliveryPage},
        query=DeliveriesQuery,
    )
    def list_deliveries(self, query: DeliveriesQuery) -> Page[Delivery]:
        page = self.history.deliveries(DeliveryQuery(**query.model_dump()))
        return replace(page, items=self.context.explain(page.items))

    @Operation(
        "GET",
        "/deliveries/<delivery_id>",
        "Get a delivery with its attempts, event, plan and messages",
        {200: responses.DeliveryStory},
    )
    def show_delivery(self, delivery_id: str) -> Json:
        found = get_delivery(self.history, delivery_id)
        event = self.history.event(found.event_id) if found.event_id else None
        delivery, *messages = self.context.explain([found, *self.history.messages(delivery_id)])
        result = delivery.result or {}
        return {
            **_as_dict(delivery),
            "effect": effect_so_far(self.context.ledger, delivery),
            "answer": result.get("answer"),
            "attempts": self.history.attempts(delivery.id),
            "event": event and responses.EventShape.of(event, str(delivery.event_id)),
            "plan": delivery.options,
            "messages": messages,
        }

    @Operation(
        "POST",
        "/deliveries/<delivery_id>/retrigger",
        "Retrigger a delivery",
        {202: responses.RequestedDelivery},
        body=RetriggerBody,
        headers={"Idempotency-Key": "A repeated request with the same key has no effect."},
    )
    def retrigger_delivery(self, delivery_id: str, body: RetriggerBody) -> ViewResult:
        delivery = get_delivery(self.history, delivery_id)
        options = body.model_dump(exclude_none=True) or None
        if options and delivery.kind != Kind.IMPORT:
            raise Rejected(
                "request.invalid", "on_conflict does not apply to messages", "Leave it out."
            )
        key = _idempotency_key()
        overwrites = self.operations.overwritten_by(delivery, options)
        delivery = self.operations.retrigger(delivery_id, options, key, by="api")
        location = url_for("api.show_delivery", delivery_id=delivery.id)
        return ViewResult(self._requested(delivery, overwrites), 202, {"Location": location})

    @Operation(
        "POST",
        "/submissions",
        "Import an object without a notification, or return the plan for it",
        {200: responses.PlanShape, 202: responses.SubmissionShape},
        body=SubmissionBody,
    )
    def submit(self, body: SubmissionBody) -> ViewResult:
        address = (body.source, body.bucket, body.key, body.version)
        if body.dry_run:
            return ViewResult(responses.clean_json(self.operations.plan(*address)))
        deliveries = [
            self._requested(delivery, self.operations.overwritten_by(delivery))
            for delivery in self.operations.submit(*address)
        ]
        return ViewResult({"deliveries": deliveries}, 202)

    def _requested(self, delivery: Delivery, overwrites: Json | None) -> Json:
        [explained] = self.context.explain([delivery])
        return {**_as_dict(explained), "overwrites": overwrites}

    @Operation(
        "GET",
        "/notifications",
        "List notifications, newest first",
        {200: responses.NotificationPage},
        query=PageQuery,
    )
    def list_notifications(self, query: PageQuery) -> Page[Notification]:
        return self.history.notifications(query.limit, query.cursor)

    @Operation(
        "GET",
        "/notifications/<notification_id>",
        "Get a notification, byte for byte",
        {200: responses.NotificationDetail},
    )
    def show_notification(self, notification_id: str) -> responses.NotificationDetail:
        return responses.NotificationDetail.of(get_notification(self.history, notification_id))

    @Operation(
        "POST",
        "/notifications/<notification_id>/replay",
        "Read a notification again, for example after a fix",
        {200: responses.ReceiptShape},
    )
    def replay_notification(self, notification_id: str) -> Receipt:
        return self.context.intake.replay(notification_id)

    @Operation("GET", "/sources", "List sources and their status", {200: responses.SourceList})
    def list_sources(self) -> Json:
        return {"items": self.operations.sources()}

    @Operation(
        "POST",
        "/sources/<source>/scan",
        "Scan a source and enqueue objects without a notification",
        {200: responses.ScanShape},
    )
    def scan_source(self, source: str) -> Json:
        return self.operations.scan(source)

    @Operation("GET", "/targets", "List targets and their status", {200: responses.TargetList})
    def list_targets(self) -> Json:
        return {"items": self.operations.targets()}

    @Operation(
        "POST",
        "/targets/<target>/pause",
        "Pause a target: deliver nothing to it until it is resumed",
        {200: responses.TargetShape},
    )
    def pause_target(self, target: str) -> Json:
        return self.operations.pause(target)

    @Operation(
        "POST",
        "/targets/<target>/resume",
        "Resume a target that is paused, down or waiting",
        {200: responses.TargetShape},
    )
    def resume_target(self, target: str) -> Json:
        return self.operations.resume(target)


def get_delivery(history: History, delivery_id: str) -> Delivery:
    """Return the delivery. Raises NotFound."""
    delivery = history.delivery(delivery_id)
    if delivery is None:
        raise NotFound("delivery.unknown", f"There is no delivery {responses.clean(delivery_id)}")
    return delivery


def get_notification(history: History, notification_id: str) -> Notification:
    """Return the notification. Raises NotFound."""
    notification = history.notification(notification_id)
    if notification is None:
        shown_id = responses.clean(notification_id)
        raise NotFound("notification.unknown", f"There is no notification {shown_id}")
    return notification


def _as_dict(delivery: Delivery) -> Json:
    return {field.name: getattr(delivery, field.name) for field in fields(delivery)}


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Rejected(
            "request.invalid",
            "Idempotency-Key is not valid",
            "Send 1 to 255 visible ASCII characters.",
        )
    return key
