"""What FunctionGraph answered, and which branch of our error tree that means.

Decided on status *and* code: a code alone is no key (APIGW.0201 comes with six statuses).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import requests

from relay.errors import (
    NameTaken,
    OutcomeUnknown,
    PermanentFailure,
    RelayError,
    TemporaryFailure,
    Throttled,
)
from relay.model import Localized
from relay.outbound.responses import cleaned, excerpt, retry_after
from relay.targets.functiongraph.error_hints import BY_STATUS, HINTS

Effect = Literal["create", "replace", "none"]
"""What a call does when it succeeds."""

STALE_TOKEN = {(401, "APIGW.0307"), (401, "FSS.0401")}
"""A new token may help; once."""

STALE_KEY = {(401, "APIGW.0301"), (401, "FSS.0401")}
"""A temporary key may have ended; another one may help, once."""

NAME_TAKEN = {(409, "FSS.1061"), (409, "FSS.0409")}
TOO_LARGE_FOR_SIGNED = (413, "APIGW.0201")
BAD_SIGNATURE = "APIGW.0301"
NOT_READY = {(412, "FSS.1090"), (412, "FSS.1095")}
UNCLEAR = {408, 500, 502, 504}

CLOCK_TOLERANCE = timedelta(minutes=15)

_SECRET = re.compile(r"[A-Za-z0-9+/=_-]{41,}")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An answer that was no success. `code` in the spelling APIGW.; "" when it gave none."""

    status: int
    code: str
    message: str
    request_id: str
    retry_after: timedelta | None = None
    date: datetime | None = None

    @property
    def key(self) -> tuple[int, str]:
        return self.status, self.code

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return " ".join(filter(None, (str(self.status), self.code, self.message))) + request


def read_answer(response: requests.Response, now: datetime) -> ApiResponse:
    """Reads all spellings of an error body: service, gateway, nested one level deep, or no JSON."""
    body = _error_body(response)
    code = _first(body, "error_code", "errorCode", "code")
    message = _first(body, "error_msg", "errorMsg", "message") or excerpt(response)
    request_id = response.headers.get("X-Request-Id") or _first(body, "request_id")
    return ApiResponse(
        response.status_code,
        re.sub(r"^APIG\.", "APIGW.", cleaned(code, 40)),
        _SECRET.sub("…", cleaned(message)),
        cleaned(request_id, 64),
        retry_after(response, now),
        _date(response),
    )


def classify(answer: ApiResponse, effect: Effect, now: datetime) -> RelayError:
    """The error that an answer means to a call with that effect.

    Known codes carry a hint that a person can act on; unknown ones pass through whole.
    """
    code = f"functiongraph.{(answer.code or f'http.{answer.status}').lower()}"
    message = Localized(f"FunctionGraph answered {answer}", f"FunctionGraph 返回 {answer}")
    hint = _hint(answer, now)
    kind = _kind(answer, effect)
    if issubclass(kind, TemporaryFailure):
        return kind(code, message, hint, answer=str(answer), retry_after=answer.retry_after)
    return kind(code, message, hint, answer=str(answer))


def unreadable(answer: ApiResponse, effect: Effect) -> RelayError:
    """The error that a success means which says nothing that we can read."""
    kind: type[TemporaryFailure] = TemporaryFailure if effect == "none" else OutcomeUnknown
    return kind(
        "functiongraph.unreadable",
        Localized(
            f"FunctionGraph's answer is not what its API promises: {answer}",
            f"FunctionGraph 的应答不符合其 API 规范：{answer}",
        ),
        Localized(
            "Check endpoint: something else may answer there, such as a proxy.",
            "请检查 endpoint: 应答的可能是代理等其他服务。",
        ),
        answer=str(answer),
    )


def _kind(answer: ApiResponse, effect: Effect) -> type[RelayError]:
    if answer.key in NAME_TAKEN and effect == "create":
        return NameTaken
    if answer.status == 429 or (answer.status == 503 and answer.retry_after):
        return Throttled
    if answer.status == 503 or answer.key in NOT_READY:
        return TemporaryFailure
    if answer.status in UNCLEAR or answer.status >= 500:
        return TemporaryFailure if effect == "none" else OutcomeUnknown
    return PermanentFailure


def _hint(answer: ApiResponse, now: datetime) -> Localized:
    if answer.code == BAD_SIGNATURE and answer.date and abs(now - answer.date) > CLOCK_TOLERANCE:
        return _clock_is_off(now - answer.date)
    if 300 <= answer.status < 400:
        return Localized(
            "Something redirects the call: check endpoint, and proxies on the way.",
            "请求被重定向：请检查 endpoint 以及途中的代理。",
        )
    return BY_STATUS.get(answer.key) or HINTS.get(answer.code) or _general_hint(answer.status)


def _clock_is_off(by: timedelta) -> Localized:
    minutes = round(abs(by).total_seconds() / 60)
    way, way_zh = ("ahead of", "快") if by > timedelta(0) else ("behind", "慢")
    return Localized(
        f"This machine's clock is {minutes} minutes {way} the server's: set it right. The key may"
        " be good; 15 minutes off is too much.",
        f"本机时钟比服务端{way_zh} {minutes} 分钟：请校准时间。"
        "密钥可能无误，偏差不得超过 15 分钟。",
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
        "Relay does not know this code; Huawei's support can look it up by the request id.",
        "Relay 未收录该错误码；可凭请求 ID 向华为云支持查询。",
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
