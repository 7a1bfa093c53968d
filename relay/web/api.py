"""The JSON API under /api/v1: deliveries, submissions, notifications, sources and targets."""

from __future__ import annotations

import re
from functools import cache
from typing import ClassVar

from flask import Blueprint, Response, jsonify, request, url_for

from relay.errors import Rejected
from relay.ledger import DeliveryQuery, Ledger, NotFound, Notification, Page
from relay.model import Delivery, Json, Kind
from relay.web import responses
from relay.web.context import WebContext
from relay.web.language import language
from relay.web.openapi import Operation, Reply, document, mount
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

    LIST_ERRORS: ClassVar[tuple[int, ...]] = (401, 403, 422, 503)
    DETAIL_ERRORS: ClassVar[tuple[int, ...]] = (401, 403, 404, 422, 503)
    CHANGE_ERRORS: ClassVar[tuple[int, ...]] = (401, 403, 404, 409, 413, 415, 422, 503)

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self.ledger = context.ledger
        self.operations = context.operations

    @Operation(
        "GET",
        "/deliveries",
        "List deliveries, newest first",
        {200: responses.DeliveryPage},
        query=DeliveriesQuery,
        errors=LIST_ERRORS,
    )
    def list_deliveries(self, query: DeliveriesQuery) -> responses.DeliveryPage:
        page: Page[Delivery] = self.ledger.history.deliveries(DeliveryQuery(**query.model_dump()))
        items = responses.delivery_list(page.items, language())
        return responses.DeliveryPage(items=items, next_cursor=page.next_cursor)

    @Operation(
        "GET",
        "/deliveries/<delivery_id>",
        "Get a delivery with its attempts, event, plan and messages",
        {200: responses.DeliveryStory},
        errors=DETAIL_ERRORS,
    )
    def show_delivery(self, delivery_id: str) -> responses.DeliveryStory:
        delivery = get_delivery(self.ledger, delivery_id)
        return delivery_details(self.ledger, delivery, language())

    @Operation(
        "POST",
        "/deliveries/<delivery_id>/retrigger",
        "Retrigger a delivery",
        {202: responses.DeliveryShape},
        body=RetriggerBody,
        headers={"Idempotency-Key": "A repeated request with the same key has no effect."},
        errors=CHANGE_ERRORS,
    )
    def retrigger_delivery(self, delivery_id: str, body: RetriggerBody) -> Reply:
        delivery = get_delivery(self.ledger, delivery_id)
        options = body.model_dump(exclude_none=True) or None
        if options and delivery.kind != Kind.IMPORT:
            raise Rejected(
                "request.invalid", "on_conflict does not apply to messages", "Leave it out."
            )
        key = _idempotency_key()
        delivery = self.operations.retrigger(delivery_id, options, key, by="api")
        location = url_for("api.show_delivery", delivery_id=delivery.id)
        shape = responses.DeliveryShape.of(delivery, language())
        return Reply(shape, 202, {"Location": location})

    @Operation(
        "POST",
        "/submissions",
        "Import an object without a notification, or return the plan for it",
        {200: responses.PlanShape, 202: responses.SubmissionShape},
        body=SubmissionBody,
        errors=CHANGE_ERRORS,
    )
    def submit(self, body: SubmissionBody) -> Reply:
        address = (body.source, body.bucket, body.key, body.version)
        if body.dry_run:
            plan = responses.clean_json(self.operations.plan(*address))
            return Reply(responses.PlanShape.model_validate(plan))
        deliveries = responses.delivery_list(self.operations.submit(*address), language())
        return Reply(responses.SubmissionShape(deliveries=deliveries), 202)

    @Operation(
        "GET",
        "/notifications",
        "List notifications, newest first",
        {200: responses.NotificationPage},
        query=PageQuery,
        errors=LIST_ERRORS,
    )
    def list_notifications(self, query: PageQuery) -> responses.NotificationPage:
        page: Page[Notification] = self.ledger.history.notifications(query.limit, query.cursor)
        items = [responses.NotificationShape.of(notification) for notification in page.items]
        return responses.NotificationPage(items=items, next_cursor=page.next_cursor)

    @Operation(
        "GET",
        "/notifications/<notification_id>",
        "Get a notification, byte for byte",
        {200: responses.NotificationWhole},
        errors=DETAIL_ERRORS,
    )
    def show_notification(self, notification_id: str) -> responses.NotificationWhole:
        notification = get_notification(self.ledger, notification_id)
        return responses.NotificationWhole.of(notification)

    @Operation(
        "POST",
        "/notifications/<notification_id>/replay",
        "Read a notification again, for example after a fix",
        {200: responses.ReceiptShape},
        errors=CHANGE_ERRORS,
    )
    def replay_notification(self, notification_id: str) -> responses.ReceiptShape:
        receipt = self.context.intake.replay(notification_id)
        return responses.ReceiptShape(notification=receipt.notification, events=receipt.events)

    @Operation("GET", "/sources", "List sources and their status", {200: responses.SourceList})
    def list_sources(self) -> responses.SourceList:
        sources = self.operations.sources()
        items = [responses.SourceShape.of(source, language()) for source in sources]
        return responses.SourceList(items=items)

    @Operation(
        "POST",
        "/sources/<source>/scan",
        "Scan a source and enqueue objects without a notification",
        {200: responses.ScanShape},
        errors=CHANGE_ERRORS,
    )
    def scan_source(self, source: str) -> responses.ScanShape:
        return responses.ScanShape.model_validate(self.operations.scan(source))

    @Operation("GET", "/targets", "List targets and their status", {200: responses.TargetList})
    def list_targets(self) -> responses.TargetList:
        items = [responses.TargetShape(**target) for target in self.operations.targets()]
        return responses.TargetList(items=items)

    @Operation(
        "POST",
        "/targets/<target>/pause",
        "Pause a target: deliver nothing to it until it is resumed",
        {200: responses.TargetShape},
        errors=CHANGE_ERRORS,
    )
    def pause_target(self, target: str) -> responses.TargetShape:
        return responses.TargetShape(**self.operations.pause(target))

    @Operation(
        "POST",
        "/targets/<target>/resume",
        "Resume a target that is paused, down or waiting",
        {200: responses.TargetShape},
        errors=CHANGE_ERRORS,
    )
    def resume_target(self, target: str) -> responses.TargetShape:
        return responses.TargetShape(**self.operations.resume(target))


def get_delivery(ledger: Ledger, delivery_id: str) -> Delivery:
    """Return the delivery. Raises NotFound."""
    delivery = ledger.history.delivery(delivery_id)
    if delivery is None:
        raise NotFound("delivery.unknown", f"There is no delivery {responses.clean(delivery_id)}")
    return delivery


def get_notification(ledger: Ledger, notification_id: str) -> Notification:
    """Return the notification. Raises NotFound."""
    notification = ledger.history.notification(notification_id)
    if notification is None:
        shown_id = responses.clean(notification_id)
        raise NotFound("notification.unknown", f"There is no notification {shown_id}")
    return notification


def delivery_details(ledger: Ledger, delivery: Delivery, language: str) -> responses.DeliveryStory:
    """Collect everything that the ledger stores about a delivery."""
    history = ledger.history
    event = history.event(delivery.event_id) if delivery.event_id else None
    return responses.DeliveryStory(
        **responses.delivery_fields(delivery, language),
        attempts=[
            responses.AttemptShape.of(attempt, language)
            for attempt in history.attempts(delivery.id)
        ],
        trigger=delivery.trigger,
        by=delivery.by,
        parent=delivery.parent,
        event=event and responses.EventShape.of(event, str(delivery.event_id)),
        plan=responses.clean_json(delivery.options),
        messages=responses.delivery_list(history.messages(delivery.id), language),
    )


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Rejected(
            "request.invalid",
            "Idempotency-Key is not valid",
            "Send 1 to 255 visible ASCII characters.",
        )
    return key
