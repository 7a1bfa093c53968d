"""What a link in a message leads to: a question, and its answer. No login: the link is the right.

A GET changes nothing, for chats look at every link they are given. The link itself is in no log
line and no answer of ours but the one page that it opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from relay.channels.retrigger_links import PATH, RetriggerGrant, read_token
from relay.config.redaction import HIDDEN
from relay.errors import RelayError
from relay.ledger import Conflict
from relay.model import Delivery, Localized, Problem
from relay.web.context import WebContext
from relay.web.problems import Refused

TEST = "test"
"""The last part of the link in a message that `relay channels test` posts."""


def blueprint(front: WebContext) -> Blueprint:
    """The page of a link."""
    links = Blueprint("links", __name__)
    views = Links(front)
    links.get(f"{PATH}<token>")(views.ask)
    links.post(f"{PATH}<token>")(views.answer)
    links.after_app_request(_keep_secret)
    return links


class Links:
    """The question whether a delivery is to be tried again, and the answer."""

    def __init__(self, front: WebContext) -> None:
        self.front = front

    def ask(self, token: str) -> Any:
        offer = self._offer(token)
        delivery = self._delivery(offer)
        if not delivery.state.finished or delivery.attempts != offer.attempts:
            return _page(delivery, _used()), 409
        return _page(delivery, asked=offer.channel)

    def answer(self, token: str) -> Any:
        self._refuse_foreign()
        offer = self._offer(token)
        delivery = self._delivery(offer)
        by = f"link in {offer.channel} from {request.remote_addr}"
        try:
            again = self.front.desk.retrigger(delivery.id, by=by, seen=offer.attempts)
        except Conflict as error:
            used = error.code == "delivery.tried_since"
            return _page(self._delivery(offer), _used() if used else error.problem), 409
        return _page(again, done=True)

    def _offer(self, token: str) -> RetriggerGrant:
        """What a link of ours offers that has not ended; else Refused, which tells of nothing."""
        if token == TEST:
            raise _refused(404, "link.test", _TEST)
        offer = read_token(self.front.settings, token)
        if offer is None:
            raise _refused(404, "link.unknown", _UNKNOWN)
        if offer.ends <= self.front.clock():
            raise _refused(410, "link.ended", _ENDED)
        return offer

    def _delivery(self, offer: RetriggerGrant) -> Delivery:
        delivery = self.front.ledger.history.delivery(offer.delivery)
        if delivery is None:
            raise _refused(410, "link.forgotten", _FORGOTTEN)
        return delivery

    def _refuse_foreign(self) -> None:
        """Refused for a form on another web site. Ours says "null": its page sends no referrer."""
        public = urlsplit(self.front.settings.public_url or "")
        ours = {"null", f"{public.scheme}://{public.netloc}", request.host_url.rstrip("/")}
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.headers.get("Origin", "null") in ours and site in ("none", "same-origin"):
            return
        raise _refused(403, "link.cross_site", _CROSS_SITE)


def _page(
    delivery: Delivery, problem: Problem | None = None, asked: str = "", *, done: bool = False
) -> str:
    told = {"problem": problem} if problem else {}
    return render_template("link.html", delivery=delivery, asked=asked, done=done, **told)


def _used() -> Problem:
    return Problem("link.used", *_USED)


def _refused(status: int, code: str, words: tuple[Localized, Localized]) -> RelayError:
    return Refused(status, code, *words)


def _keep_secret(response: Response) -> Response:
    if request.path.startswith(PATH):
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        _forget(request.environ)
    return response


def _forget(environ: Any) -> None:
    """Takes the link out of what a server writes into its access log after the answer."""
    kept: Mapping[str, str] = {"HTTP_REFERER": "", "QUERY_STRING": ""}
    named = ("PATH_INFO", "RAW_URI", "REQUEST_URI")
    for name, value in {**dict.fromkeys(named, PATH + HIDDEN), **kept}.items():
        if name in environ:
            environ[name] = value


_PAGE = Localized(
    "The delivery's page, with a login, can always do it.", "登录后可随时在投递页面操作。"
)
_UNKNOWN = (
    Localized("This link is not one of ours, or not all of it", "此链接无效或不完整"),
    Localized(
        "Copy all of it. If api.tokens was changed since, it is over: use the delivery's page.",
        "请复制完整链接。如果 api.tokens 已更换，旧链接即失效，请使用投递页面。",
    ),
)
_ENDED = (Localized("This link has ended", "此链接已过期"), _PAGE)
_FORGOTTEN = (
    Localized("The delivery of this link is not kept any more", "此链接对应的投递记录已被清理"),
    Localized("Submit the object to import it again.", "如需再次导入，请重新提交该对象。"),
)
_USED = (
    Localized("It has been tried again since", "此后已经重新触发过"),
    Localized("A link works once.", "每个链接只能使用一次。"),
)
_CROSS_SITE = (
    Localized("Another web site may not change anything here", "其他网站不得在此进行更改"),
    Localized("Open the link itself.", "请直接打开该链接。"),
)
_TEST = (
    Localized(
        "That was a test message: there is nothing to try again",
        "这是一条测试消息，没有可重试的投递",
    ),
    Localized(
        "The links of real messages lead to a question here.", "真实消息中的链接会在此请求确认。"
    ),
)
