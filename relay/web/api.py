"""The API of interface.md §3: deliveries, submissions, notifications, sources."""

from __future__ import annotations

import re
from functools import cache
from typing import ClassVar

from flask import Blueprint, Response, jsonify, request, url_for

from relay.errors import Rejected
from relay.ledger import DeliveryQuery, Ledger, NotFound, Notification, Page
from relay.model import Delivery, Json, Kind
from relay.web import responses as shapes
from relay.web import responses_status as places
from relay.web.context import WebContext
from relay.web.language import language
from relay.web.openapi import Operation, Reply, document, mount, offers
from relay.web.requests import DeliveriesQuery, PageQuery, RetriggerBody, SubmissionBody
from relay.web.text import clean, cleaned

PREFIX = "/api/v1"
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def blueprint(front: WebContext) -> Blueprint:
    """The API, guarded by the tokens."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    api.before_request(front.guard.check)
    api.before_request(front.guard.check_api_change)
    mount(api, Api(front))

    @api.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(described())

    return api


@cache
def described() -> Json:
    """The OpenAPI document; made when it is asked for, for that takes as long as the whole app."""
    return document(PREFIX, Api)


class Api:
    """Every operation, over the store and the desk."""

    READS: ClassVar[tuple[int, ...]] = (401, 403, 422, 503)
    FINDS: ClassVar[tuple[int, ...]] = (401, 403, 404, 422, 503)
    ACTS: ClassVar[tuple[int, ...]] = (401, 403, 404, 409, 413, 415, 422, 503)

    def __init__(self, front: WebContext) -> None:
        self.front = front

    @offers(
        Operation(
            "GET",
            "/deliveries",
            "Deliveries, newest first",
            {200: shapes.DeliveryPage},
            query=DeliveriesQuery,
            errors=READS,
        )
    )
    def list_deliveries(self, query: DeliveriesQuery) -> shapes.DeliveryPage:
        found: Page[Delivery] = self.front.ledger.history.deliveries(
            DeliveryQuery(**query.model_dump())
        )
        items = shapes.deliveries(found.items, language())
        return shapes.DeliveryPage(items=items, next_cursor=found.next_cursor)

    @offers(
        Operation(
            "GET",
            "/deliveries/<delivery_id>",
            "One delivery with its attempts, event, plan and messages",
            {200: shapes.DeliveryStory},
            errors=FINDS,
        )
    )
    def show_delivery(self, delivery_id: str) -> shapes.DeliveryStory:
        ledger = self.front.ledger
        return story(ledger, known_delivery(ledger, delivery_id), language())

    @offers(
        Operation(
            "POST",
            "/deliveries/<delivery_id>/retrigger",
            "Try a delivery again",
            {202: shapes.DeliveryShape},
            body=RetriggerBody,
            headers={"Idempotency-Key": "The same key again does nothing again."},
            errors=ACTS,
        )
    )
    def retrigger_delivery(self, delivery_id: str, body: RetriggerBody) -> Reply:
        delivery = known_delivery(self.front.ledger, delivery_id)
        options = body.model_dump(exclude_none=True) or None
        if options and delivery.kind != Kind.IMPORT:
            raise Rejected("request.invalid", "on_conflict: a message has none", "Leave it out.")
        key = _idempotency_key()
        again = self.front.desk.retrigger(delivery_id, options, key, by="api")
        place = url_for("api.show_delivery", delivery_id=again.id)
        return Reply(shapes.DeliveryShape.of(again, language()), 202, {"Location": place})

    @offers(
        Operation(
            "POST",
            "/submissions",
            "Import an object that nobody announced, or plan it",
            {200: shapes.PlanShape, 202: shapes.SubmissionShape},
            body=SubmissionBody,
            errors=ACTS,
        )
    )
    def submit(self, body: SubmissionBody) -> Reply:
        wanted = (body.source, body.bucket, body.key, body.version)
        if body.dry_run:
            planned = cleaned(self.front.desk.plan(*wanted))
            return Reply(shapes.PlanShape.model_validate(planned))
        made = shapes.deliveries(self.front.desk.submit(*wanted), language())
        return Reply(shapes.SubmissionShape(deliveries=made), 202)

    @offers(
        Operation(
            "GET",
            "/notifications",
            "What storages sent, newest first",
            {200: shapes.NotificationPage},
            query=PageQuery,
            errors=READS,
        )
    )
    def list_notifications(self, query: PageQuery) -> shapes.NotificationPage:
        found: Page[Notification] = self.front.ledger.history.notifications(
            query.limit, query.cursor
        )
        items = [shapes.NotificationShape.of(one) for one in found.items]
        return shapes.NotificationPage(items=items, next_cursor=found.next_cursor)

    @offers(
        Operation(
            "GET",
            "/notifications/<notification_id>",
            "One notification, byte for byte",
            {200: shapes.NotificationWhole},
            errors=FINDS,
        )
    )
    def show_notification(self, notification_id: str) -> shapes.NotificationWhole:
        found = known_notification(self.front.ledger, notification_id)
        return shapes.NotificationWhole.of(found)

    @offers(
        Operation(
            "POST",
            "/notifications/<notification_id>/replay",
            "Read a notification again, after a fix",
            {200: shapes.ReceiptShape},
            errors=ACTS,
        )
    )
    def replay_notification(self, notification_id: str) -> shapes.ReceiptShape:
        receipt = self.front.desk.intake.replay(notification_id)
        return shapes.ReceiptShape(notification=receipt.notification, events=receipt.events)

    @offers(Operation("GET", "/sources", "How each source is doing", {200: places.SourceList}))
    def list_sources(self) -> places.SourceList:
        tongue = language()
        found = [places.SourceShape.of(one, tongue) for one in self.front.desk.sources()]
        return places.SourceList(items=found)

    @offers(
        Operation(
            "POST",
            "/sources/<source>/scan",
            "Enqueue what no event announced",
            {200: places.ScanShape},
            errors=ACTS,
        )
    )
    def scan_source(self, source: str) -> places.ScanShape:
        return places.ScanShape.model_validate(self.front.desk.scan(source))

    @offers(Operation("GET", "/targets", "How each target is doing", {200: places.TargetList}))
    def list_targets(self) -> places.TargetList:
        found = [places.TargetShape(**one) for one in self.front.desk.targets()]
        return places.TargetList(items=found)

    @offers(
        Operation(
            "POST",
            "/targets/<target>/pause",
            "Deliver nothing to a target until it is resumed",
            {200: places.TargetShape},
            errors=ACTS,
        )
    )
    def pause_target(self, target: str) -> places.TargetShape:
        return places.TargetShape(**self.front.desk.pause(target))

    @offers(
        Operation(
            "POST",
            "/targets/<target>/resume",
            "Deliver to a target again, whatever held it back",
            {200: places.TargetShape},
            errors=ACTS,
        )
    )
    def resume_target(self, target: str) -> places.TargetShape:
        return places.TargetShape(**self.front.desk.resume(target))


def known_delivery(ledger: Ledger, delivery_id: str) -> Delivery:
    """The delivery, or NotFound in words."""
    delivery = ledger.history.delivery(delivery_id)
    if delivery is None:
        raise NotFound("delivery.unknown", f"There is no delivery {clean(delivery_id)}")
    return delivery


def known_notification(ledger: Ledger, notification_id: str) -> Notification:
    """The notification, or NotFound in words."""
    found = ledger.history.notification(notification_id)
    if found is None:
        named = clean(notification_id)
        raise NotFound("notification.unknown", f"There is no notification {named}")
    return found


def story(ledger: Ledger, delivery: Delivery, tongue: str) -> shapes.DeliveryStory:
    """All that the ledger knows of one delivery."""
    attempts = [shapes.AttemptShape.of(one, tongue) for one in ledger.history.attempts(delivery.id)]
    event = ledger.history.event(delivery.event_id) if delivery.event_id else None
    return shapes.DeliveryStory(
        **shapes.fields_of(delivery, tongue),
        attempts=attempts,
        trigger=delivery.trigger,
        by=delivery.by,
        parent=delivery.parent,
        event=event and shapes.EventShape.of(event, str(delivery.event_id)),
        plan=cleaned(delivery.options),
        messages=shapes.deliveries(ledger.history.messages(delivery.id), tongue),
    )


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Rejected(
            "request.invalid",
            "Idempotency-Key is not usable",
            "Send 1 to 255 visible ASCII characters.",
        )
    return key
