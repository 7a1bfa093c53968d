"""One call from its first byte to its answer: admitted, hit by faults, acted on, recorded."""

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
from relay.testing.sandbox.answers import Refused, SandboxReply, refusal
from relay.testing.sandbox.body import Malformed, NotBase64, Sink, TooLong, read_object
from relay.testing.sandbox.faults import Fault, FaultQueue
from relay.testing.sandbox.gateway import BodyCheck, Gateway
from relay.testing.sandbox.server import Cut, RequestBody, SenderGone
from relay.testing.sandbox.signature import Signed
from relay.testing.sandbox.state import Ledger, RecordedCall


@dataclass
class Exchange:
    """What an endpoint sees of its call."""

    call: RecordedCall
    body: RequestBody
    query: Mapping[str, str]
    headers: Headers
    check: BodyCheck | None = None

    def fields(self, sinks: Mapping[str, Sink] | None = None) -> Json:
        """The JSON body's fields, read to the end and checked against the signature."""
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

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def applied(self) -> None:
        self.call.applied = True


Endpoint = Callable[..., SandboxReply]
"""endpoint(exchange, **names in the path) -> Answer; raises Refused."""


@dataclass(frozen=True)
class Counter:
    """Where calls are handled: the gateway, the faults, the record."""

    gateway: Gateway
    faults: FaultQueue
    ledger: Ledger
    stopping: threading.Event
    clock: Callable[[], datetime]
    on_call: Callable[[RecordedCall], None] | None = None

    def handle(
        self, operation: str, endpoint: Endpoint, places: Json, *, public: bool = False
    ) -> Response:
        """Runs one call. `public`: it needs no token (IAM itself, signed links)."""
        body = request.environ["wsgi.input"]
        call = RecordedCall(request.method, request.path, operation, self.clock(), uuid.uuid4().hex)
        body.on_read = partial(setattr, call, "received")
        exchange = Exchange(call, body, request.args, request.headers)
        self.ledger.add(call)
        try:
            answer = self._settle(exchange, endpoint, places, public=public)
        except Refused as refused:
            answer = refused.answer
        except SenderGone:
            body.drop()
            answer = SandboxReply(400)
        call.status = None if body.dropped else answer.status
        call.finished = True
        if self.on_call is not None:
            self.on_call(replace(call))
        response = _respond(answer, call.request_id)
        response.date = self.clock()  # so that a clock that is off can be seen
        return response

    def _settle(
        self, exchange: Exchange, endpoint: Endpoint, places: Json, *, public: bool
    ) -> SandboxReply:
        if not public:
            exchange.check = self.gateway.admit(_signed(), exchange.body.length)
        fault = self.faults.take(exchange.call.operation)
        if fault is None:
            return endpoint(exchange, **places)
        exchange.body.rate = fault.trickle
        exchange.body.cut_after = fault.cut_after
        truth = self._truth(fault, exchange, endpoint, places)
        self.stopping.wait(fault.delay)
        if fault.resets:
            exchange.body.drop()
        return fault.answer or truth

    def _truth(
        self, fault: Fault, exchange: Exchange, endpoint: Endpoint, places: Json
    ) -> SandboxReply:
        try:
            if fault.acts:
                return endpoint(exchange, **places)
            exchange.body.drain()
        except Refused as refused:
            return refused.answer
        except Cut:
            pass  # the fault wanted it read no further; its answer follows
        return SandboxReply(200)


def _signed() -> Signed:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Signed(request.method, request.environ["RAW_URI"], headers)


def _respond(answer: SandboxReply, request_id: str) -> Response:
    body = answer.body
    if body is not None and str(body.get("error_code", "")).startswith("APIG"):
        body = {**body, "request_id": request_id}
    content = json.dumps(body) if body is not None else answer.stream
    response = Response(content, answer.status, mimetype="application/json")
    response.headers.update(answer.headers)
    response.headers["X-Request-Id"] = request_id
    return response
