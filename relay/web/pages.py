"""The operator pages: deliveries, one delivery's story, notifications, sources."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel, ValidationError

from relay.errors import Rejected, RelayError
from relay.ledger import DeliveryQuery
from relay.model import Delivery, Kind, Localized, State
from relay.web.api import known_delivery, known_notification
from relay.web.auth import check_form
from relay.web.context import WebContext
from relay.web.problems import status_of
from relay.web.requests import DeliveriesFilter, PageQuery, RetriggerBody
from relay.web.text import text_of

M = TypeVar("M", bound=BaseModel)
OURS = ("lang", "told")
"""Query names that every page takes beside its own."""
SHOWN_BODY = 64 * 1024
"""Bytes of a notification that its page shows; the API has all of them."""


def blueprint(front: WebContext) -> Blueprint:
    """The pages, guarded by the login."""
    pages = Blueprint("pages", __name__)
    views = Pages(front)

    @pages.before_request
    def let_in() -> Any:
        wants_login = front.guard.has_tokens and "Authorization" not in request.headers
        if wants_login and not front.guard.is_in():
            onward = request.full_path.rstrip("?") if request.method == "GET" else None
            return redirect(url_for("door.ask", next=onward), 303)
        front.guard.check()
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
    """Every page, over the store and the desk."""

    def __init__(self, front: WebContext) -> None:
        self.front = front

    def deliveries(self) -> Any:
        asked = _asked(DeliveriesFilter)
        every = asked.kind == "all"
        wanted = asked.model_dump(exclude={"kind"})
        query = DeliveryQuery(**wanted, kind=None if every else Kind(asked.kind))
        found = self.front.ledger.history.deliveries(query)
        return _page(
            "deliveries.html",
            found=found,
            asked=asked,
            filtered=bool(asked.model_fields_set),
            counts=self._counts(),
            sources=sorted(self.front.settings.sources),
            base=self._base(),
        )

    def delivery(self, delivery_id: str) -> Any:
        return _page("delivery.html", **self._story(delivery_id))

    def retrigger(self, delivery_id: str) -> Any:
        check_form()
        known_delivery(self.front.ledger, delivery_id)
        chosen = _parsed(RetriggerBody, {"on_conflict": request.form.get("on_conflict") or None})
        options = chosen.model_dump(exclude_none=True) or None
        try:
            self.front.desk.retrigger(delivery_id, options, by="page")
        except RelayError as error:
            story = self._story(delivery_id)
            page = render_template("delivery.html", problem=error.problem, **story)
            return page, status_of(error)
        return redirect(url_for("pages.delivery", delivery_id=delivery_id, told="retriggered"), 303)

    def notifications(self) -> Any:
        asked = _asked(PageQuery)
        found = self.front.ledger.history.notifications(asked.limit, asked.cursor)
        return _page("notifications.html", found=found, asked=asked)

    def notification(self, notification_id: str) -> Any:
        return render_template("notification.html", **self._arrival(notification_id))

    def replay(self, notification_id: str) -> Any:
        check_form()
        known_notification(self.front.ledger, notification_id)
        try:
            receipt = self.front.desk.intake.replay(notification_id)
        except RelayError as error:
            arrival = self._arrival(notification_id)
            page = render_template("notification.html", problem=error.problem, **arrival)
            return page, status_of(error)
        shown = receipt.notification or notification_id
        address = url_for("pages.notification", notification_id=shown, told="replayed")
        return redirect(address, 303)

    def sources(self) -> Any:
        desk = self.front.desk
        return _page(
            "sources.html", sources=desk.sources(), targets=desk.targets(), base=self._base()
        )

    def pause(self, target: str) -> Any:
        check_form()
        self.front.desk.pause(target)
        return redirect(url_for("pages.sources"), 303)

    def resume(self, target: str) -> Any:
        check_form()
        self.front.desk.resume(target)
        return redirect(url_for("pages.sources"), 303)

    def _story(self, delivery_id: str) -> dict[str, Any]:
        ledger = self.front.ledger
        delivery = known_delivery(ledger, delivery_id)
        return {
            "delivery": delivery,
            "event": ledger.history.event(delivery.event_id) if delivery.event_id else None,
            "came": ledger.history.announcement(delivery.event_id) if delivery.event_id else None,
            "attempts": ledger.history.attempts(delivery.id),
            "messages": ledger.history.messages(delivery.id),
            "waits": _waits(delivery),
        }

    def _arrival(self, notification_id: str) -> dict[str, Any]:
        found = known_notification(self.front.ledger, notification_id)
        shown = found.body[:SHOWN_BODY]
        cut = len(found.body) > SHOWN_BODY
        text = text_of(shown) if not cut else shown.decode("utf-8", "replace")
        return {"notification": found, "text": text, "cut": cut, "bytes": shown[:1024].hex(" ")}

    def _counts(self) -> dict[State, int]:
        counts = self.front.ledger.statistics.counts()
        return {state: counts.get((Kind.IMPORT, state), 0) for state in State}

    def _base(self) -> str:
        return (self.front.settings.public_url or request.url_root).rstrip("/")


def _waits(delivery: Delivery) -> bool:
    return delivery.state == State.PENDING and delivery.due is not None


def _page(template: str, **values: Any) -> Response:
    """A page that a poll gets anew only when it changed."""
    response = make_response(render_template(template, **values))
    response.add_etag()
    return cast(Response, response.make_conditional(request))


def _asked(model: type[M]) -> M:
    given = {name: value for name, value in request.args.items() if value and name not in OURS}
    return _parsed(model, given)


def _parsed(model: type[M], values: dict[str, Any]) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        names = ", ".join(str(one["loc"][0]) for one in error.errors(include_input=False))
        raise Rejected(
            "page.filter",
            Localized(f"This filter cannot be used: {names}", f"无法使用此筛选条件：{names}"),
            Localized("Go back and choose again.", "请返回重新选择。"),
        ) from error
