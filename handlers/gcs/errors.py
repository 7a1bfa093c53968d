"""What Google's JSON APIs answer when they refuse, in our words."""

from __future__ import annotations

import requests

from relay.errors import RelayError
from relay.model import Localized
from relay.outbound.responses import cleaned, retry_after
from relay.sources.errors import busy, denied, gone, no_bucket, refused, superseded

_BUSY = (408, 429)


def refusal(answer: requests.Response, thing: str) -> RelayError:
    """The error of an answer about an object (Cloud Storage, "HTTP status and error codes")."""
    status, code = answer.status_code, _code(answer)
    if status in _BUSY or status >= 500:
        return busy(thing, code, retry_after(answer))
    if status in (401, 403):
        return denied(thing, code, HINT)
    if status == 404:
        return gone(thing, code)
    if status in (304, 412):
        return superseded(thing)
    return refused(thing, code)


def refusal_of_place(answer: requests.Response, thing: str) -> RelayError:
    """The same about a bucket or a subscription: it is no matter of course that one is gone."""
    if answer.status_code == 404:
        return no_bucket(thing, _code(answer))
    return refusal(answer, thing)


def _code(answer: requests.Response) -> str:
    """The status, and the reason that the error names: {"error": {"errors": [{"reason"}]}}, or
    {"error": {"status"}} at Pub/Sub."""
    try:
        error = answer.json()["error"]
        reason = error.get("status") or error["errors"][0]["reason"]
    except (requests.JSONDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        reason = ""
    return cleaned(f"{answer.status_code} {reason}", 100)


HINT = Localized(
    "Check the source's credentials, their right to get and list objects (roles/"
    "storage.objectViewer; roles/pubsub.subscriber to pull), and this machine's clock. Without the "
    "right to list, Google answers so for a missing object too.",
    "请检查该来源的凭证、读取与列举权限 (roles/storage.objectViewer；拉取需 "
    "roles/pubsub.subscriber) 以及本机时钟。没有列举权限时，Google 对不存在的对象也会如此回答。",
)
