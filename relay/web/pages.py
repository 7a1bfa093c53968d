"""The pages for operators: deliveries, notifications, sources and targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar, cast

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel, ValidationError

from relay.errors import Rejected, RelayError
from relay.ledger import DeliveryQuery
from relay.model import Kind, Localized, State
from relay.web.api import get_delivery, get_notification
from relay.web.auth import check_form
from relay.web.context import WebContext
from relay.web.operations import effect_so_far
from relay.web.problems import status_of
from relay.web.requests import DeliveriesFilter, PageQuery, RetriggerBody
from relay.web.responses import decode_utf8

M = TypeVar("M", bound=BaseModel)
SHARED_PARAMETERS = ("lang", "notice")
"""Query parameters that every page accepts beside the filters."""
SHOWN_BODY = 64 * 1024
"""Bytes of a notification body that the page shows; the API returns all of it."""


def blueprint(context: WebContext) -> Blueprint:
    """Create the pages, guarded by the login."""
    pages = Blueprint("pages", __name__)
    views = Pages(context)

    @pages.before_request
    def require_login() -> Any:
        wants_login = context.guard.has_tokens and "Authorization" not in request.headers
        if wants_login and not context.guard.is_authorized():
            next_path = request.full_path.rstrip("?") if request.method == "GET" else None
            return redirect(url_for("login.show", next=next_path), 303)
        context.guard.check()
        return None

    pages.get("/")(views.deliveries)
    pages.get("/deliveries/<delivery_id>")(views.delivery)
    pages.post("/deliveries/<delivery_id>/retrigger")(views.retrigger)
    pages.get("/notifications")(views.notifications)
    pages.get("/notifications/<notification_id>")(views.notification)
    pages.post("/notifications/<notification_id>/replay")(views.replay)
    pages.get("/sources")(views.sources)
    pages.post("/targets/<target>/pause")(views.pause)
    pages.post("/targets/<target>/resume")(views.resume)
    return pages


class Pages:
    """The views of the pages."""

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self.history = context.ledger.history
        self.statistics = context.ledger.statistics
        self.operations = context.operations

    def deliveries(self) -> Any:
        filters = _filters(DeliveriesFilter)
        kind = None if filters.kind == "all" else Kind(filters.kind)
        query = DeliveryQuery(**filters.model_dump(exclude={"kind"}), kind=kind)
        page = self.history.deliveries(query)
        return _page(
            "deliveries.html",
            page=replace(page, items=self.context.explain(page.items)),
            filters=filters,
            is_filtered=bool(filters.model_fields_set),
            missing=self.context.missing(),
            counts=self._counts(),
            sources=sorted(self.context.settings.sources),
            base_url=self._base_url(),
        )

    def delivery(self, delivery_id: str) -> Any:
        return _page("delivery.html", **self._delivery_values(delivery_id))

    def retrigger(self, delivery_id: str) -> Any:
        check_form()
        get_delivery(self.history, delivery_id)
        form = {"on_conflict": request.form.get("on_conflict") or None}
        options = _validate(RetriggerBody, form).model_dump(exclude_none=True) or None
        try:
            self.operations.retrigger(delivery_id, options, by="page")
        except RelayError as error:
            values = self._delivery_values(delivery_id)
            page = render_template("delivery.html", problem=error.problem, **values)
            return page, status_of(error)
        address = url_for("pages.delivery", delivery_id=delivery_id, notice="retriggered")
        return redirect(address, 303)

    def notifications(self) -> Any:
        filters = _filters(PageQuery)
        page = self.history.notifications(filters.limit, filters.cursor)
        return _page("notifications.html", page=page, filters=filters)

    def notification(self, notification_id: str) -> Any:
        values = self._notification_values(notification_id)
        return render_template("notification.html", **values)

    def replay(self, notification_id: str) -> Any:
        check_form()
        get_notification(self.history, notification_id)
        try:
            receipt = self.context.intake.replay(notification_id)
        except RelayError as error:
            values = self._notification_values(notification_id)
            page = render_template("notification.html", problem=error.problem, **values)
            return page, status_of(error)
        shown_id = receipt.notification or notification_id
        address = url_for("pages.notification", notification_id=shown_id, notice="replayed")
        return redirect(address, 303)

    def sources(self) -> Any:
        return _page(
            "sources.html",
            sources=self.operations.sources(),
            targets=self.operations.targets(),
            missing=self.context.missing(),
            base_url=self._base_url(),
        )

    def pause(self, target: str) -> Any:
        check_form()
        self.operations.pause(target)
        return redirect(url_for("pages.sources"), 303)

    def resume(self, target: str) -> Any:
        check_form()
        self.operations.resume(target)
        return redirect(url_for("pages.sources"), 303)

    def _delivery_values(self, delivery_id: str) -> dict[str, Any]:
        found = get_delivery(self.history, delivery_id)
        delivery, *messages = self.context.explain([found, *self.history.messages(delivery_id)])
        event_id = delivery.event_id
        return {
            "delivery": delivery,
            "event": self.history.event(event_id) if event_id else None,
            "notification": self.history.announcement(event_id) if event_id else None,
            "attempts": self.history.attempts(delivery.id),
            "messages": messages,
            "newer": self.operations.newer_import(delivery),
            "effect": effect_so_far(self.context.ledger, delivery),
        }

    def _notification_values(self, notification_id: str) -> dict[str, Any]:
        notification = get_notification(self.history, notification_id)
        shown = notification.body[:SHOWN_BODY]
        is_cut = len(notification.body) > SHOWN_BODY
        return {
            "notification": notification,
            # The cut may split a character.
            "text": shown.decode("utf-8", "replace") if is_cut else decode_utf8(shown),
            "is_cut": is_cut,
            "hex_dump": shown[:1024].hex(" "),
        }

    def _counts(self) -> dict[State, int]:
        counts = self.statistics.counts()
        return {state: counts.get((Kind.IMPORT, state), 0) for state in State}

    def _base_url(self) -> str:
        return (self.context.settings.public_url or request.url_root).rstrip("/")


def _page(template: str, **values: Any) -> Response:
    """Render a page with an ETag, so that polling transfers it only after a change."""
    response = make_response(render_template(template, **values))
    response.add_etag()
    return cast(Response, response.make_conditional(request))


def _filters(model: type[M]) -> M:
    values = {
        name: value
        for name, value in request.args.items()
        if value and name not in SHARED_PARAMETERS
    }
    return _validate(model, values)


def _validate(model: type[M], values: dict[str, Any]) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        names = ", ".join(str(detail["loc"][0]) for detail in error.errors(include_input=False))
        raise Rejected(
            "page.filter",
            Localized(f"Invalid value: {names}", f"无效的值：{names}"),
            Localized("Go back and choose again.", "请返回重新选择。"),
        ) from error
