"""Reading of HTTP responses and errors: excerpts, Retry-After, and errors of `requests` as ours."""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime, timedelta

import requests

from relay.errors import OutcomeUnknown, RelayError, TemporaryFailure
from relay.model import Localized, utc_now
from relay.outbound.connection_problems import Causes, connection_problem, host_of
from relay.outbound.final_response import NOT_CONNECTED, NOT_SENT

LONGEST_WAIT = timedelta(hours=24)
"""The longest wait that a Retry-After header can ask for."""

_HINT = Localized("Nothing was changed. Relay retries.", "未做任何更改。Relay 会重试。")


def interrupted(url: str) -> TemporaryFailure:
    """Return the error for a request that was not sent completely."""
    host = host_of(url)
    return TemporaryFailure(
        "outbound.interrupted",
        Localized(
            f"The connection to {host} ended before the request was sent",
            f"请求尚未发送完毕，与 {host} 的连接已中断",
        ),
        _HINT,
    )


def without_nothing_changed(hint: Localized) -> Localized:
    """Return a hint without the sentence that nothing was changed: an earlier call did."""
    return Localized(
        hint.en.replace("Nothing was changed.", "").strip(),
        hint.zh.replace("未做任何更改。", "").strip(),
    )


def translate(error: requests.RequestException, *, sent: bool) -> RelayError:
    """Return the error of Relay's tree for an exception of a session.

    `sent`: the request changes something and may have been sent completely. If the response is
    lost then, the outcome is unknown (OutcomeUnknown), unless the connection knows that the
    request was not sent. Faults that are usually repaired soon, such as an expired certificate or
    a wrong proxy variable, are TemporaryFailures.
    """
    url = str(getattr(error.request, "url", None) or "")
    causes = Causes(error)
    problem = connection_problem(causes, url)
    if problem:
        return problem
    if causes.have_note(NOT_CONNECTED, NOT_SENT):
        return interrupted(url)
    host = host_of(url)
    if sent:
        return OutcomeUnknown(
            "outbound.answer_lost",
            Localized(f"The response of {host} was lost", f"{host} 的响应丢失"),
            Localized("The change may have taken effect.", "变更可能已经生效。"),
        )
    return TemporaryFailure(
        "outbound.interrupted",
        Localized(f"The connection to {host} was interrupted", f"与 {host} 的连接中断"),
        _HINT,
    )


def retry_after(response: requests.Response, now: datetime | None = None) -> timedelta | None:
    """Return the wait in Retry-After (seconds or a date, RFC 9110 §10.2.3), at most LONGEST_WAIT.

    None when the header is absent or unreadable, or when the time has passed.
    """
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        wait = timedelta(seconds=int(value))
    else:
        try:
            until = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        wait = until - (now or utc_now())
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None
