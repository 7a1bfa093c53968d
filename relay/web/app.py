"""The Flask application: hooks, API, health checks and pages."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta

from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from relay.config.log_context import request_id
from relay.delivery.metrics import ProcessMetrics
from relay.intake.intake import Intake
from relay.ledger import Ledger
from relay.web import api, filters, health, hooks, language, login, pages, problems, retrigger_page
from relay.web.auth import RequestGuard, Sessions
from relay.web.context import WebContext
from relay.web.openapi import MAX_BODY
from relay.web.operations import Operations

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(
    ledger: Ledger,
    intake: Intake,
    operations: Operations,
    *,
    metrics: ProcessMetrics | None = None,
) -> Flask:
    """Create the WSGI app. /metrics shows the `metrics` of this process and those of the ledger."""
    settings, clock = intake.settings, intake.clock
    guard = RequestGuard(token.get_secret_value() for token in settings.api.tokens)
    context = WebContext(settings, ledger, intake, operations, guard, clock)
    metrics = metrics or ProcessMetrics()
    metrics.watch(ledger, context.configured, clock)
    app = Flask("relay.web")
    app.secret_key = guard.session_key(settings.database.url)
    app.session_interface = Sessions()
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        SESSION_COOKIE_NAME="relay_session",
        SESSION_COOKIE_SAMESITE="Strict",
    )
    app.before_request(_set_request_id)
    app.after_request(_add_headers)
    app.teardown_request(_clear_request_id)
    app.after_request(language.remember)
    problems.register(app)
    filters.register(app, clock)
    app.register_blueprint(health.blueprint(context, metrics))
    for module in (hooks, api, login, retrigger_page, pages):
        app.register_blueprint(module.blueprint(context))
    if hops := settings.server.proxies:
        trusted = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = trusted  # type: ignore[method-assign]
    return app


def _set_request_id() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    request_id.set(g.request_id)


def _clear_request_id(_error: BaseException | None) -> None:
    request_id.set(None)


def _add_headers(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
