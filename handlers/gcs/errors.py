"""Translation of error responses from Google's JSON APIs."""

from __future__ import annotations

import requests

from relay.config.text import excerpt
from relay.errors import RelayError
from relay.model import Localized
from relay.outbound.responses import retry_after
from relay.sources.errors import (
    busy,
    cannot_decrypt,
    denied,
    gone,
    no_bucket,
    not_authenticated,
    refused,
    superseded,
    unexplained_404,
)

_BUSY = (408, 429)
_MAX_MESSAGE = 2000


def refusal(response: requests.Response, resource: str) -> RelayError:
    """The error for a response about an object (Cloud Storage, "HTTP status and error codes")."""
    status, code = response.status_code, _code(response)
    if status in _BUSY or status >= 500:
        return busy(resource, code, retry_after(response))
    if problem := cannot_decrypt(resource, code, response.text[:_MAX_MESSAGE]):
        return problem
    if status == 401:
        return not_authenticated(resource, code, HINT)
    if status == 403:
        return denied(resource, code, HINT)
    if status == 404:
        return gone(resource, code) if is_not_found(response) else unexplained_404(resource, code)
    if status in (304, 412):
        return superseded(resource)
    return refused(resource, code)


def refusal_of_container(response: requests.Response, resource: str) -> RelayError:
    """The same for a bucket or a subscription, whose absence is a configuration error."""
    if is_not_found(response):
        return no_bucket(resource, _code(response))
    return refusal(response, resource)


def is_not_found(response: requests.Response) -> bool:
    """Whether this is Google's own 404, {"error": {"code", "status"}}, and not that of a proxy."""
    if response.status_code != 404:
        return False
    try:
        error = response.json()["error"]
        return bool(error.get("code") == 404 or error.get("status") == "NOT_FOUND")
    except (requests.JSONDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return False


def _code(response: requests.Response) -> str:
    """The status and the reason: {"error": {"errors": [{"reason"}]}}; {"error": {"status"}} from
    Pub/Sub."""
    try:
        error = response.json()["error"]
        reason = error.get("status") or error["errors"][0]["reason"]
    except (requests.JSONDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        reason = ""
    return excerpt(f"{response.status_code} {reason}", 100)


HINT = Localized(
    "Check the source's credentials, their permissions to get and list objects (roles/"
    "storage.objectViewer; roles/pubsub.subscriber to pull), and this machine's clock. Without "
    "permission to list, Google also answers this for missing objects.",
    "请检查该来源的凭证、读取与列举权限（roles/storage.objectViewer；拉取需 "
    "roles/pubsub.subscriber）以及本机时钟。没有列举权限时，Google 对不存在的对象也会返回此错误。",
)
