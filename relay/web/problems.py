"""Error responses: problem+json (RFC 9457) for programs, an HTML page for people."""

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
"""The first match applies. Any other RelayError is permanent: the request cannot succeed."""

MACHINE_PATHS = ("/api/", "/hooks/", "/healthz", "/readyz", "/metrics")
RETRY_AFTER = 10
"""Seconds in the Retry-After header of a 503 if the error names no delay."""


class Refused(Rejected):
    """A request that the web layer refuses with a given HTTP status."""

    def __init__(self, status: int, code: str, message: Words, hint: Words = "") -> None:
        super().__init__(code, message, hint)
        self.status = status


def status_of(error: RelayError) -> int:
    """Return the HTTP status: it shows whose fault the error is and whether a retry may help."""
    if isinstance(error, Refused):
        return error.status
    return next(status for branch, status in STATUSES if isinstance(error, branch))


def register(app: Flask) -> None:
    """Install the error handlers, for our errors and for those of Flask."""
    app.register_error_handler(RelayError, _handle_relay_error)
    app.register_error_handler(HTTPException, _handle_http_error)


def _handle_relay_error(error: RelayError) -> Response:
    status = status_of(error)
    headers = {}
    if status == 401:
        # Oracle sends the token of a notification only in reply to a Basic challenge.
        basic = 'Basic realm="relay", ' if request.path.startswith("/hooks/") else ""
        headers["WWW-Authenticate"] = f'{basic}Bearer realm="relay"'
    if status == 503:
        delay = error.retry_after if isinstance(error, TemporaryFailure) else None
        seconds = max(1, math.ceil(delay.total_seconds())) if delay else RETRY_AFTER
        headers["Retry-After"] = str(seconds)
    return _respond(status, error.problem, headers)


def _handle_http_error(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400 or error.response is not None:
        return error
    headers = {
        name: value
        for name, value in error.get_response().headers.items()
        if name not in ("Content-Type", "Content-Length")
    }
    return _respond(status, _http_problem(status, error), headers)


def _http_problem(status: int, error: HTTPException) -> Problem:
    name = HTTPStatus(status).phrase
    code = f"http.{name.lower().replace(' ', '_').replace('-', '_')}"
    if status == 500:
        return Problem(
            code,
            Localized("Internal error", "内部错误"),
            Localized(
                "The log has a traceback with this request ID.",
                "日志中有此请求 ID 的堆栈信息。",
            ),
        )
    if status == 404:
        return Problem(
            code,
            Localized("This address does not exist", "此地址不存在"),
            Localized(
                "/api/v1/openapi.json describes the API.", "API 说明见 /api/v1/openapi.json。"
            ),
        )
    description = error.description or name
    return Problem(code, Localized(description, description), Localized("", ""))


def _respond(status: int, problem: Problem, headers: Mapping[str, str]) -> Response:
    if not request.path.startswith(MACHINE_PATHS):
        page = render_template("error.html", status=status, problem=problem)
        return Response(page, status, headers, content_type="text/html; charset=utf-8")
    document = {
        "type": f"urn:relay:problem:{problem.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": problem.message.in_language(language()),
        "code": problem.code,
        "hint": problem.hint.in_language(language()) or None,
        "request_id": g.get("request_id"),
    }
    body = json.dumps(document)
    return Response(body, status, headers, content_type="application/problem+json")
