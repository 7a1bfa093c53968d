"""Reads error responses of FunctionGraph and maps them to the error tree.

Status and code decide together, because a code comes with several statuses (APIGW.0201 with six).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import requests

from relay.config.text import excerpt
from relay.errors import (
    NameTaken,
    OutcomeUnknown,
    PermanentFailure,
    RelayError,
    TemporaryFailure,
    Throttled,
)
from relay.model import Localized
from relay.outbound.responses import LONGEST_WAIT, retry_after
from relay.targets.functiongraph.error_hints import BY_STATUS, HINTS, LOCKED

Effect = Literal["create", "replace", "none"]
"""The change that a successful call makes."""

STALE_TOKEN = {(401, "APIGW.0301"), (401, "APIGW.0307"), (401, "FSS.0401")}
"""Responses after which a new token is tried once: "token expires", "decrypt token fail"."""

STALE_KEY = {(401, "APIGW.0301"), (401, "FSS.0401")}
"""Responses after which another access key is tried once: a temporary key may have expired."""

NAME_TAKEN = {(409, "FSS.1061"), (409, "FSS.0409")}
TOO_LARGE_FOR_SIGNED = (413, "APIGW.0201")
BAD_SIGNATURE = "APIGW.0301"
NOT_READY = {(412, "FSS.1090"), (412, "FSS.1095")}
OUTCOME_UNKNOWN = {408, 500, 502, 504}

CLOCK_TOLERANCE = timedelta(minutes=15)

LOCKED_FOR = timedelta(minutes=5)
"""How long the gateway locks an access key after more than five failures in a row."""

_IS_LOCKED = re.compile(
    r"\block(ed|s|out)?\b|\baccess failed to reach the limit|锁定", re.IGNORECASE
)
_MINUTES = re.compile(r"([0-9]{1,4})\s*(?:min|分)", re.IGNORECASE)
_AGAIN_IN_MINUTES = re.compile(
    r"(?:again|wait)[^0-9]{0,20}[0-9]{1,4}\s*min|[0-9]{1,4}\s*min[a-z]* later|[0-9]\s*分钟?后",
    re.IGNORECASE,
)

_SECRET = re.compile(r"[A-Za-z0-9+/=_-]{41,}")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An error response. `code` is spelled APIGW. instead of APIG., or "" if there is none.

    `is_locked`: the key or the account is locked, or has to wait for some minutes.
    """

    status: int
    code: str
    message: str
    request_id: str
    retry_after: timedelta | None = None
    date: datetime | None = None
    is_locked: bool = False

    @property
    def asks_to_wait(self) -> bool:
        """Whether the same request may succeed later: throttled, or a locked key or account."""
        is_unavailable = self.status == 503 and self.retry_after is not None
        return self.status == 429 or is_unavailable or self.is_locked

    @property
    def key(self) -> tuple[int, str]:
        return self.status, self.code

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return " ".join(filter(None, (str(self.status), self.code, self.message))) + request


def read_response(
    response: requests.Response, now: datetime, *, locked_statuses: tuple[int, ...] = (401,)
) -> ApiResponse:
    """Read an error body in any known form: service, gateway, nested in an object, or not JSON.

    `locked_statuses`: the statuses that a locked key or account has. A 403 of FunctionGraph is a
    missing permission or a quota, in similar words ("has reached the limit").
    """
    body = _error_body(response)
    code = _first(body, "error_code", "errorCode", "code")
    message = _first(body, "error_msg", "errorMsg", "message") or excerpt(response.text)
    request_id = response.headers.get("X-Request-Id") or _first(body, "request_id")
    status = response.status_code
    wait, wait_in_words = retry_after(response, now), _wait_in_words(message)
    is_locked = status in locked_statuses and wait_in_words is not None
    if wait is None and (is_locked or status == 429):
        wait = wait_in_words
    return ApiResponse(
        status,
        re.sub(r"^APIG\.", "APIGW.", excerpt(code, 40)),
        _SECRET.sub("…", excerpt(message)),
        excerpt(request_id, 64),
        wait,
        _date(response),
        is_locked,
    )


def classify(response: ApiResponse, effect: Effect, now: datetime) -> RelayError:
    """Return the error that a response means for a call with this effect.

    Known codes get a specific hint. Unknown codes are shown unchanged.
    """
    code = f"functiongraph.{(response.code or f'http.{response.status}').lower()}"
    message = Localized(f"FunctionGraph answered {response}", f"FunctionGraph 返回 {response}")
    hint = _hint(response, now)
    error_class = _error_class(response, effect)
    if issubclass(error_class, TemporaryFailure):
        return error_class(
            code, message, hint, answer=str(response), retry_after=response.retry_after
        )
    return error_class(code, message, hint, answer=str(response))


def malformed_response(response: ApiResponse, effect: Effect) -> RelayError:
    """Return the error for a success status whose body cannot be used."""
    error_class: type[TemporaryFailure] = TemporaryFailure if effect == "none" else OutcomeUnknown
    return error_class(
        "functiongraph.unreadable",
        Localized(
            f"FunctionGraph's response does not match the API specification: {response}",
            f"FunctionGraph 的响应不符合 API 规范：{response}",
        ),
        Localized(
            "Check endpoint: another server, such as a proxy, may have sent the response.",
            "请检查 endpoint：响应可能来自代理等其他服务。",
        ),
        answer=str(response),
    )


def _error_class(response: ApiResponse, effect: Effect) -> type[RelayError]:
    if response.key in NAME_TAKEN and effect == "create":
        return NameTaken
    if response.asks_to_wait:
        return Throttled
    if response.status == 503 or response.key in NOT_READY:
        return TemporaryFailure
    if response.status in OUTCOME_UNKNOWN or response.status >= 500:
        return TemporaryFailure if effect == "none" else OutcomeUnknown
    return PermanentFailure


def _wait_in_words(message: str) -> timedelta | None:
    """The wait that a message asks for, such as "try again in 5 minutes"; None for none."""
    asked = _AGAIN_IN_MINUTES.search(message)
    if not asked and not _IS_LOCKED.search(message):
        return None
    minutes = _MINUTES.search(asked[0] if asked else message)
    return min(timedelta(minutes=int(minutes[1])), LONGEST_WAIT) if minutes else LOCKED_FOR


def _hint(response: ApiResponse, now: datetime) -> Localized:
    if response.is_locked:
        return LOCKED
    if response.code == BAD_SIGNATURE and "token" in response.message.lower():
        return HINTS["APIGW.0307"]
    if (
        response.code == BAD_SIGNATURE
        and response.date
        and abs(now - response.date) > CLOCK_TOLERANCE
    ):
        return _clock_hint(now - response.date)
    if 300 <= response.status < 400:
        return Localized(
            "The request was redirected: check endpoint and any proxies.",
            "请求被重定向：请检查 endpoint 以及代理配置。",
        )
    return BY_STATUS.get(response.key) or HINTS.get(response.code) or _general_hint(response.status)


def _clock_hint(offset: timedelta) -> Localized:
    minutes = round(abs(offset).total_seconds() / 60)
    direction, direction_zh = ("ahead of", "快") if offset > timedelta(0) else ("behind", "慢")
    return Localized(
        f"This machine's clock is {minutes} minutes {direction} the server's: correct it. The limit"
        " is 15 minutes. The key may be valid.",
        f"本机时钟比服务端{direction_zh} {minutes} 分钟，请校准时间。"
        "偏差不得超过 15 分钟；密钥可能无误。",
    )


def _general_hint(status: int) -> Localized:
    if status in (401, 403):
        return HINTS["FSS.0401"]
    if status == 404:
        return HINTS["APIGW.0101"]
    if status == 413:
        return HINTS["FSS.0413"]
    if status == 429:
        return HINTS["FSS.0429"]
    if status >= 500 or status == 408:
        return HINTS["FSS.0500"]
    return Localized(
        "Relay has no advice for this code. Huawei Cloud support can look up the request id.",
        "Relay 未收录该错误码，可凭请求 ID 向华为云技术支持查询。",
    )


def _error_body(response: requests.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    if not _first(body, "error_code", "errorCode", "code"):
        nested = next((value for value in body.values() if isinstance(value, dict)), None)
        return nested or body
    return body


def _first(body: Mapping[str, Any], *names: str) -> str:
    return next((str(body[name]) for name in names if body.get(name)), "")


def _date(response: requests.Response) -> datetime | None:
    try:
        date = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return date if date.tzinfo else None
