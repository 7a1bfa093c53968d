"""The WSGI application of the sandbox: routes of FunctionGraph, IAM, metadata and control API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException

from relay.errors import ConfigError
from relay.model import Json
from relay.testing.sandbox.api import FunctionGraphApi
from relay.testing.sandbox.exchange import Dispatcher, Endpoint, Exchange
from relay.testing.sandbox.faults import FaultQueue, make_fault, parse_fault
from relay.testing.sandbox.iam import Iam
from relay.testing.sandbox.metadata import MetadataService
from relay.testing.sandbox.replies import SandboxReply, refusal
from relay.testing.sandbox.server import is_loopback
from relay.testing.sandbox.state import describe

PUBLIC = {"token", "metadata_token", "metadata_key", "download"}
"""Operations without credentials: they issue credentials, or the URL is secret."""

MAX_REQUEST = 1 << 16
"""Maximum size in bytes of a token or control request."""


def make_app(
    api: FunctionGraphApi, iam: Iam, metadata: MetadataService, dispatcher: Dispatcher
) -> Flask:
    """Create the application; it requires the server of relay.testing.sandbox.server."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    functions = "/v2/<project_id>/fgs/functions"
    function = f"{functions}/<urn>"
    for operation, method, path, endpoint in (
        ("import", "POST", f"{functions}/import", api.import_function),
        ("list", "GET", functions, api.list_functions),
        ("config", "GET", f"{function}/config", api.show_config),
        ("code", "GET", f"{function}/code", api.show_code),
        ("update_code", "PUT", f"{function}/code", api.update_code),
        ("update_config", "PUT", f"{function}/config", api.update_config),
        ("delete", "DELETE", function, api.delete),
        ("export", "GET", f"{function}/export", api.export),
        ("quotas", "GET", "/v2/<project_id>/fgs/quotas", api.quotas),
        ("projects", "GET", "/v3/projects", lambda call: iam.projects(call.query.get("name"))),
        ("domains", "GET", "/v3/auth/domains", lambda _: iam.domains()),
        ("token", "POST", "/v3/auth/tokens", _token(iam)),
        ("metadata_token", "PUT", "/meta-data/latest/api/token", metadata.token),
        ("metadata_key", "GET", "/openstack/latest/securitykey", metadata.key),
        ("download", "GET", "/code/<key>", lambda _, key: api.links.download(key)),
    ):
        view = partial(dispatcher.handle, operation, endpoint, operation in PUBLIC)
        app.add_url_rule(path, operation, view, methods=[method])
    _add_control(app, api, dispatcher)
    for status in (404, 405):
        app.register_error_handler(status, partial(_unknown, dispatcher))
    return app


def _token(iam: Iam) -> Endpoint:
    def token(exchange: Exchange) -> SandboxReply:
        if exchange.body.length > MAX_REQUEST:
            raise refusal("FSS.0413")
        return iam.authenticate(exchange.fields())

    return token


def _unknown(dispatcher: Dispatcher, error: HTTPException) -> Response:
    """Return the response of the gateway for an unpublished path or method."""

    def unpublished(_: Exchange) -> SandboxReply:
        raise refusal("APIGW.0101", status=error.code if error.code == 405 else None)

    return dispatcher.handle("unknown", unpublished, True)


def _add_control(app: Flask, api: FunctionGraphApi, dispatcher: Dispatcher) -> None:
    """Add the control API, which processes on this machine use without credentials."""
    faults = dispatcher.faults
    views: dict[tuple[str, str], Callable[[], tuple[Any, int]]] = {
        ("GET", "faults"): lambda: ([asdict(fault) for fault in faults.pending()], 200),
        ("POST", "faults"): partial(_add_fault, faults),
        ("DELETE", "faults"): lambda: ({"forgotten": faults.clear()}, 200),
        ("GET", "functions"): lambda: (_functions(api), 200),
        ("GET", "calls"): lambda: ([call.to_json() for call in tuple(dispatcher.calls)], 200),
    }
    for (method, name), view in views.items():
        guarded = partial(_loopback_only, view)
        app.add_url_rule(f"/sandbox/{name}", f"{method} {name}", guarded, methods=[method])


def _loopback_only(view: Callable[[], tuple[Any, int]]) -> Response:
    if not is_loopback(request.remote_addr or ""):
        return _json({"error": "the control API is available on loopback only"}, 403)
    return _json(*view())


def _add_fault(faults: FaultQueue) -> tuple[Any, int]:
    # A page in a browser cannot send this content type without a CORS preflight, which fails.
    if not request.is_json or (request.content_length or 0) > MAX_REQUEST:
        return {"error": "a fault must be application/json of at most 64 KiB"}, 415
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        return {"error": "a fault must be a JSON object"}, 400
    try:
        spec = body.get("spec")
        fault = parse_fault(spec) if isinstance(spec, str) else make_fault(body)
    except ConfigError as error:
        return {"error": str(error)}, 400
    faults.add(fault)
    return asdict(fault), 201


def _functions(api: FunctionGraphApi) -> Json:
    functions = sorted(api.tenant.snapshot().items())
    return {name: describe(function, api.account) for name, function in functions}


def _json(value: Any, status: int) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")
