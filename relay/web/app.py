"""The web floor put together: hooks, API and pages over one store and one desk."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from flask import Flask, Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from relay.config.load import Settings
from relay.config.log_context import request_id
from relay.delivery.metrics import ProcessMetrics
from relay.ledger import Ledger
from relay.model import utc_now
from relay.web import (
    api,
    health,
    hooks,
    language,
    pages,
    problems,
)
from relay.web import (
    filters as display,
)
from relay.web import (
    login as door,
)
from relay.web import (
    retrigger_page as links,
)
from relay.web.auth import Guard, Sessions
from relay.web.context import OperationsProtocol, WebContext
from relay.web.openapi import MAX_BODY

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

SECURITY = {
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
    settings: Settings,
    ledger: Ledger,
    desk: OperationsProtocol,
    *,
    clock: Callable[[], datetime] = utc_now,
    meters: ProcessMetrics | None = None,
) -> Flask:
    """The WSGI app. `meters`: this process's own figures, shown at /metrics with the ledger's."""
    guard = Guard(token.get_secret_value() for token in settings.api.tokens)
    front = WebContext(settings, ledger, desk, guard, clock)
    app = Flask("relay.web")
    app.secret_key = guard.secret(settings.database.url)
    app.session_interface = Sessions()
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        SESSION_COOKIE_NAME="relay_session",
        SESSION_COOKIE_SAMESITE="Strict",
    )
    app.before_request(_name_request)
    app.after_request(_seal)
    app.teardown_request(_forget_request)
    app.after_request(language.remember)
    problems.register(app)
    display.register(app, clock)
    meters = meters or ProcessMetrics()
    meters.watch(ledger, clock)
    for made in (hooks.blueprint(front), api.blueprint(front), health.blueprint(front, meters)):
        app.register_blueprint(made)
    app.register_blueprint(door.blueprint(front))
    app.register_blueprint(links.blueprint(front))
    app.register_blueprint(pages.blueprint(front))
    if hops := settings.server.proxies:
        trusted = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = trusted  # type: ignore[method-assign]
    return app


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    request_id.set(g.request_id)


def _forget_request(_error: BaseException | None) -> None:
    request_id.set(None)


def _seal(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    there = {name.lower() for name in response.headers.keys()}  # noqa: SIM118 - it is no dict
    added = SECURITY if request.endpoint == "static" else {**SECURITY, "Cache-Control": "no-store"}
    response.headers.extend([one for one in added.items() if one[0].lower() not in there])
    return response
