"""Every error becomes an answer: problem+json (RFC 9457) for programs, a page for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from relay.errors import (
    ConfigError,
    Gone,
    NotNeeded,
    Rejected,
    RelayError,
    TemporaryFailure,
    TooLarge,
    Unverified,
    Words,
)
from relay.ledger import Conflict, NotFound
from relay.model import Localized, Problem
from relay.web.language import language

STATUSES: tuple[tuple[type[RelayError], int], ...] = (
    (Unverified, 401),
    (TooLarge, 413),
    (NotFound, 404),
    (Conflict, 409),
    (Gone, 404),
    (NotNeeded, 409),
    (Rejected, 422),
    (TemporaryFailure, 503),
    (ConfigError, 500),
    (RelayError, 422),
)
"""First match wins; whatever is left is permanent: the request cannot be done as it stands."""

MACHINE_PATHS = ("/api/", "/hooks/", "/healthz", "/readyz", "/metrics")
RETRY_AFTER = 10
"""Seconds we ask a sender to wait when nothing better is known."""


class Refused(Rejected):
    """A request this floor refuses by itself, with the HTTP status to say so."""

    def __init__(self, status: int, code: str, message: Words, hint: Words = "") -> None:
        super().__init__(code, message, hint)
        self.status = status


def status_of(error: RelayError) -> int:
    """The HTTP status that tells a caller whose fault it is and whether waiting helps."""
    if isinstance(error, Refused):
        return error.status
    return next(status for branch, status in STATUSES if isinstance(error, branch))


def register(app: Flask) -> None:
    """Lets the app answer every error, its own and Flask's, in one form."""
    app.register_error_handler(RelayError, _relay_error)
    app.register_error_handler(HTTPException, _http_error)


def problem(status: int, trouble: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for a program: application/problem+json as RFC 9457 describes it."""
    tongue = language()
    document = {
        "type": f"urn:relay:problem:{trouble.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": trouble.message.in_(tongue),
        "code": trouble.code,
        "hint": trouble.hint.in_(tongue) or None,
        "request_id": g.get("request_id"),
    }
    body = json.dumps(document)
    return Response(body, status, headers, content_type="application/problem+json")


def _relay_error(error: RelayError) -> Response:
    status = status_of(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = _challenges()
    if status == 503:
        headers["Retry-After"] = str(_seconds(error))
    return _answer(status, error.problem, headers)


def _challenges() -> str:
    """How a token may be shown. Oracle's notifications show theirs once Basic is asked for."""
    basic = 'Basic realm="relay", ' if request.path.startswith("/hooks/") else ""
    return f'{basic}Bearer realm="relay"'


def _http_error(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400 or error.response is not None:
        return error
    kept = {
        name: value
        for name, value in error.get_response().headers.items()
        if name not in ("Content-Type", "Content-Length")
    }
    return _answer(status, _http_problem(status, error), kept)


def _http_problem(status: int, error: HTTPException) -> Problem:
    name = HTTPStatus(status).phrase
    code = f"http.{name.lower().replace(' ', '_').replace('-', '_')}"
    if status == 500:
        return Problem(
            code,
            Localized("Relay itself failed", "Relay 自身出错"),
            Localized(
                "The log has the traceback under this request id.", "日志中有此请求号的堆栈。"
            ),
        )
    if status == 404:
        return Problem(
            code,
            Localized("There is nothing at this address", "此地址没有内容"),
            Localized(
                "The API is described at /api/v1/openapi.json.", "API 说明见 /api/v1/openapi.json。"
            ),
        )
    words = error.description or name
    return Problem(code, Localized(words, words), Localized("", ""))


def _answer(status: int, trouble: Problem, headers: Mapping[str, str]) -> Response:
    if request.path.startswith(MACHINE_PATHS):
        return problem(status, trouble, headers)
    page = render_template("error.html", status=status, problem=trouble)
    return Response(page, status, headers, content_type="text/html; charset=utf-8")


def _seconds(error: RelayError) -> int:
    asked = error.retry_after if isinstance(error, TemporaryFailure) else None
    return max(1, math.ceil(asked.total_seconds())) if asked else RETRY_AFTER
