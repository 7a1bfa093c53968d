"""The sandbox's URLs: those of FunctionGraph, IAM and metadata, and the control door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Unpack

from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException

from relay.errors import ConfigError
from relay.model import Json
from relay.testing.sandbox.answers import SandboxReply, refusal
from relay.testing.sandbox.api import Api
from relay.testing.sandbox.exchange import Counter, Endpoint, Exchange
from relay.testing.sandbox.faults import Fault, FaultFields, FaultQueue, parse_fault
from relay.testing.sandbox.iam import Iam
from relay.testing.sandbox.metadata import Metadata
from relay.testing.sandbox.server import is_loopback
from relay.testing.sandbox.state import Account, Function, RecordedCall, describe

PUBLIC = {"token", "metadata_token", "metadata_key", "download"}
"""Operations that need no credentials: they give them, or the address is one."""

MAX_ORDER = 1 << 16
"""Bytes of a control request."""


class Control(Protocol):
    """What the control door shows and does: the sandbox itself."""

    @property
    def functions(self) -> dict[str, Function]: ...
    @property
    def calls(self) -> list[RecordedCall]: ...
    @property
    def faults(self) -> FaultQueue: ...
    def fault(self, **fields: Unpack[FaultFields]) -> Fault: ...


@dataclass(frozen=True)
class Neighbours:
    """What is asked beside FunctionGraph itself."""

    iam: Iam
    metadata: Metadata


def make_app(api: Api, neighbours: Neighbours, counter: Counter, control: Control) -> Flask:
    """The WSGI application of one sandbox; it needs relay.testing.sandbox.server to run on."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    iam, metadata = neighbours.iam, neighbours.metadata
    functions = "/v2/<project_id>/fgs/functions"
    one = f"{functions}/<urn>"
    for operation, method, path, endpoint in (
        ("import", "POST", f"{functions}/import", api.import_function),
        ("list", "GET", functions, api.list_functions),
        ("config", "GET", f"{one}/config", api.show_config),
        ("code", "GET", f"{one}/code", api.show_code),
        ("update_code", "PUT", f"{one}/code", api.update_code),
        ("update_config", "PUT", f"{one}/config", api.update_config),
        ("delete", "DELETE", one, api.delete),
        ("export", "GET", f"{one}/export", api.export),
        ("quotas", "GET", "/v2/<project_id>/fgs/quotas", api.quotas),
        ("projects", "GET", "/v3/projects", lambda one: iam.projects(one.query.get("name"))),
        ("domains", "GET", "/v3/auth/domains", lambda _: iam.domains()),
        ("token", "POST", "/v3/auth/tokens", _token(iam)),
        ("metadata_token", "PUT", "/meta-data/latest/api/token", metadata.token),
        ("metadata_key", "GET", "/openstack/latest/securitykey", metadata.key),
        ("download", "GET", "/code/<key>", api.download),
    ):
        public = operation in PUBLIC
        view = partial(_call, counter, operation, endpoint, public)
        app.add_url_rule(path, operation, view, methods=[method])
    _add_control(app, control, api.account)
    for status in (404, 405):
        app.register_error_handler(status, partial(_unknown, counter))
    return app


def _call(
    counter: Counter, operation: str, endpoint: Endpoint, public: bool, /, **places: str
) -> Response:
    return counter.handle(operation, endpoint, places, public=public)


def _token(iam: Iam) -> Endpoint:
    def token(exchange: Exchange) -> SandboxReply:
        if exchange.body.length > MAX_ORDER:
            raise refusal("FSS.0413")
        return iam.authenticate(exchange.fields())

    return token


def _unknown(counter: Counter, error: HTTPException) -> Response:
    """What the gateway says of a path or a method that nobody published."""

    def unpublished(_: Exchange) -> SandboxReply:
        raise refusal("APIGW.0101", status=error.code if error.code == 405 else None)

    return counter.handle("unknown", unpublished, {}, public=True)


def _add_control(app: Flask, control: Control, account: Account) -> None:
    """For other processes on this machine, without credentials."""
    views: dict[tuple[str, str], Callable[[], tuple[Any, int]]] = {
        ("GET", "faults"): lambda: ([one.to_json() for one in control.faults.waiting()], 200),
        ("POST", "faults"): partial(_add_fault, control),
        ("DELETE", "faults"): lambda: ({"forgotten": control.faults.clear()}, 200),
        ("GET", "functions"): lambda: (_described(control, account), 200),
        ("GET", "calls"): lambda: ([call.to_json() for call in control.calls], 200),
    }
    for (method, name), view in views.items():
        guarded = partial(_local, view)
        app.add_url_rule(f"/sandbox/{name}", f"{method} {name}", guarded, methods=[method])


def _local(view: Callable[[], tuple[Any, int]]) -> Response:
    if not is_loopback(request.remote_addr or ""):
        return _json({"error": "the control door answers on loopback only"}, 403)
    return _json(*view())


def _add_fault(control: Control) -> tuple[Any, int]:
    # A page in a browser cannot send this type without asking first, and is not answered then.
    if not request.is_json or (request.content_length or 0) > MAX_ORDER:
        return {"error": "a fault is sent as application/json, 64 KiB at most"}, 415
    given = request.get_json(silent=True)
    if not isinstance(given, dict):
        return {"error": "a fault is a JSON object"}, 400
    try:
        fields = parse_fault(given["spec"]) if isinstance(given.get("spec"), str) else given
        return control.fault(**fields).to_json(), 201
    except ConfigError as error:
        return {"error": str(error)}, 400


def _described(control: Control, account: Account) -> Json:
    return {name: describe(one, account) for name, one in sorted(control.functions.items())}


def _json(value: Any, status: int) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")
