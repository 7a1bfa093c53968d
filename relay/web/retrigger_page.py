"""The page behind a retrigger link in a message; the signed link itself is the authorization.

A GET changes nothing, because chat services fetch every link for a preview. The link is a secret:
it appears in no log line and in no response except the page itself.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from relay.channels.retrigger_links import PATH, RetriggerGrant, read_token
from relay.config.redaction import HIDDEN
from relay.ledger import Conflict
from relay.model import Delivery, Json, Localized, Problem
from relay.web.context import WebContext
from relay.web.problems import Refused

TEST_TOKEN = "test"  # noqa: S105 - not a secret
"""The last part of the link in a message of `relay channels test`."""


def blueprint(context: WebContext) -> Blueprint:
    """Create the page."""
    links = Blueprint("links", __name__)
    views = RetriggerPage(context)
    links.get(f"{PATH}<token>")(views.ask)
    links.post(f"{PATH}<token>")(views.retrigger)
    links.after_app_request(_protect_link)
    return links


class RetriggerPage:
    """Asks for confirmation (GET) and retriggers the delivery (POST)."""

    def __init__(self, context: WebContext) -> None:
        self.context = context

    def ask(self, token: str) -> Any:
        grant = self._grant(token)
        delivery = self._delivery(grant)
        if not delivery.state.finished or delivery.attempts != grant.attempts:
            return _page(delivery, problem=Problem("link.used", *_USED)), 409
        newer = self.context.operations.overwritten_by(delivery)
        return _page(delivery, channel=grant.channel, newer=newer)

    def retrigger(self, token: str) -> Any:
        self._check_origin()
        grant = self._grant(token)
        delivery = self._delivery(grant)
        by = f"link in {grant.channel} from {request.remote_addr}"
        try:
            delivery = self.context.operations.retrigger(
                delivery.id, by=by, expected_attempts=grant.attempts
            )
        except Conflict as error:
            is_used = error.code == "delivery.tried_since"
            problem = Problem("link.used", *_USED) if is_used else error.problem
            return _page(self._delivery(grant), problem=problem), 409
        return _page(delivery, is_done=True)

    def _grant(self, token: str) -> RetriggerGrant:
        """Verify the token. Raises Refused, which reveals nothing about any delivery."""
        if token == TEST_TOKEN:
            raise Refused(404, "link.test", *_TEST)
        grant = read_token(self.context.settings, token)
        if grant is None:
            raise Refused(404, "link.unknown", *_UNKNOWN)
        if grant.ends <= self.context.clock():
            raise Refused(410, "link.ended", *_EXPIRED)
        return grant

    def _delivery(self, grant: RetriggerGrant) -> Delivery:
        delivery = self.context.ledger.history.delivery(grant.delivery)
        if delivery is None:
            raise Refused(410, "link.forgotten", *_DELETED)
        return delivery

    def _check_origin(self) -> None:
        """Raise Refused for a form on another web site.

        Our own page sends `Origin: null`, an effect of `Referrer-Policy: no-referrer`.
        """
        public = urlsplit(self.context.settings.public_url or "")
        allowed = {"null", f"{public.scheme}://{public.netloc}", request.host_url.rstrip("/")}
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.headers.get("Origin", "null") in allowed and site in ("none", "same-origin"):
            return
        raise Refused(403, "link.cross_site", *_CROSS_SITE)


def _page(
    delivery: Delivery,
    *,
    channel: str = "",
    newer: Json | None = None,
    problem: Problem | None = None,
    is_done: bool = False,
) -> str:
    # base.html shows `problem` if it is defined.
    values = {"problem": problem} if problem else {}
    return render_template(
        "link.html", delivery=delivery, channel=channel, newer=newer, is_done=is_done, **values
    )


def _protect_link(response: Response) -> Response:
    if request.path.startswith(PATH):
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        # Replace the link in the values that a server logs after the response.
        paths = dict.fromkeys(("PATH_INFO", "RAW_URI", "REQUEST_URI"), PATH + HIDDEN)
        replacements = {**paths, "HTTP_REFERER": "", "QUERY_STRING": ""}
        request.environ.update(
            {name: value for name, value in replacements.items() if name in request.environ}
        )
    return response


_USE_PAGE = Localized(
    "After login, the delivery can be retriggered on its page.", "登录后可在投递页面重新触发。"
)
_UNKNOWN = (
    Localized("This link is invalid or incomplete", "此链接无效或不完整"),
    Localized(
        "Copy the whole link. Links become invalid when api.tokens changes; "
        "use the page of the delivery then.",
        "请复制完整链接。更换 api.tokens 后旧链接失效，此时请使用投递页面。",
    ),
)
_EXPIRED = (Localized("This link has expired", "此链接已过期"), _USE_PAGE)
_DELETED = (
    Localized("The delivery of this link has been deleted", "此链接对应的投递记录已被清理"),
    Localized("To import the object again, submit it.", "如需再次导入，请重新提交该对象。"),
)
_USED = (
    Localized("This delivery has already been retriggered", "此投递已被重新触发过"),
    Localized("A link can be used once.", "每个链接只能使用一次。"),
)
_CROSS_SITE = (
    Localized("Requests from other web sites are not allowed", "不允许来自其他网站的请求"),
    Localized("Open the link directly.", "请直接打开该链接。"),
)
_TEST = (
    Localized(
        "This link is from a test message: there is nothing to retrigger",
        "此链接来自测试消息，没有可重新触发的投递",
    ),
    Localized(
        "Links in real messages open a confirmation page here.",
        "真实消息中的链接会打开确认页面。",
    ),
)
