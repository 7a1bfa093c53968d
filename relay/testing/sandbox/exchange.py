"""Processes a call: admission by the gateway, faults, the endpoint, and the record of the call."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from flask import Response, json, request
from werkzeug.datastructures import Headers

from relay.model import Json
from relay.testing.sandbox.body import Base64Sink, Malformed, NotBase64, TooLong, read_object
from relay.testing.sandbox.faults import FaultQueue
from relay.testing.sandbox.gateway import BodyCheck, Gateway, SignedRequest
from relay.testing.sandbox.replies import RequestRefused, SandboxReply, refusal
from relay.testing.sandbox.server import ReadStopped, RequestBody, SenderGone
from relay.testing.sandbox.state import RecordedCall


@dataclass
class Exchange:
    """A call as seen by the endpoint."""

    call: RecordedCall
    body: RequestBody
    query: Mapping[str, str]
    headers: Headers
    check: BodyCheck | None = None

    def fields(self, sinks: Mapping[str, Base64Sink] | None = None) -> Json:
        """Read the JSON body and verify the signature of the body."""
        self.body.hashed = self.check is not None
        try:
            fields = read_object(self.body.read, sinks or {})
        except Malformed:
            raise refusal("FSS.0406") from None
        except NotBase64:
            raise refusal("FSS.1011", "Invalid function code: not base64") from None
        except TooLong:
            raise refusal("FSS.1023") from None
        if self.check is not None:
            self.check(self.body.sha256)
        return fields


Endpoint = Callable[..., SandboxReply]
"""endpoint(exchange, **path_parameters) -> SandboxReply; raises RequestRefused."""


@dataclass(frozen=True)
class Dispatcher:
    """Runs calls through the gateway, the faults and the endpoint, and records them."""

    gateway: Gateway
    faults: FaultQueue
    calls: list[RecordedCall]
    stopping: threading.Event
    clock: Callable[[], datetime]
    on_call: Callable[[RecordedCall], None] | None = None

    def handle(
        self, operation: str, endpoint: Endpoint, public: bool, /, **path_parameters: str
    ) -> Response:
        """Run a call. A `public` operation (IAM, download links) needs no credentials."""
        body = request.environ["wsgi.input"]
        call = RecordedCall(request.method, request.path, operation, self.clock(), uuid.uuid4().hex)
        body.on_read = partial(setattr, call, "received")
        exchange = Exchange(call, body, request.args, request.headers)
        self.calls.append(call)
        try:
            if not public:
                exchange.check = self.gateway.admit(_signed_request(), body.length)
            reply = self._run(exchange, partial(endpoint, exchange, **path_parameters))
        except RequestRefused as refused:
            reply = refused.reply
        except SenderGone:
            body.drop()
            reply = SandboxReply(400)
        call.status = None if body.dropped else reply.status
        call.finished = True
        if self.on_call is not None:
            self.on_call(replace(call))
        response = _to_response(reply, call.request_id)
        response.date = self.clock()  # clients compare it with the local clock
        return response

    def _run(self, exchange: Exchange, execute: Callable[[], SandboxReply]) -> SandboxReply:
        fault = self.faults.take(exchange.call.operation)
        if fault is None:
            return execute()
        exchange.body.rate = fault.trickle
        exchange.body.cut_after = fault.cut_after
        reply = SandboxReply(200)
        try:
            if fault.has_effect:
                reply = execute()
            else:
                exchange.body.drain()
        except RequestRefused as refused:
            reply = refused.reply
        except ReadStopped:
            pass  # the fault stops reading here and determines the response
        self.stopping.wait(fault.delay)
        if fault.resets:
            exchange.body.drop()
        if fault.func_name is not None and reply.body is not None:
            reply = replace(reply, body={**reply.body, "func_name": fault.func_name})
        return fault.reply or reply


def _signed_request() -> SignedRequest:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return SignedRequest(request.method, request.environ["RAW_URI"], headers)


def _to_response(reply: SandboxReply, request_id: str) -> Response:
    body = reply.body
    if body is not None and str(body.get("error_code", "")).startswith("APIG"):
        body = {**body, "request_id": request_id}
    content = json.dumps(body) if body is not None else reply.stream
    response = Response(content, reply.status, mimetype="application/json")
    response.headers.update(reply.headers)
    response.headers["X-Request-Id"] = request_id
    return response
