"""Where storages post: read with a bound, hand to the desk, say what became of it."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.web.context import WebContext
from relay.web.request_body import read_body


def blueprint(front: WebContext) -> Blueprint:
    """The hooks. Not behind the tokens: each source's envelope verifies its own senders."""
    hooks = Blueprint("hooks", __name__)

    # OPTIONS is listed, not left to Flask: its own answer lacks what Event Grid's handshake needs.
    @hooks.route(
        "/hooks/<source>",
        methods=["POST", "OPTIONS", "HEAD"],
        provide_automatic_options=False,
    )
    def take(source: str) -> Response:
        body = read_body(front.settings.hooks.max_body)
        incoming = Incoming(
            source,
            body,
            front.clock(),
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers={name.lower(): value for name, value in request.headers.items()},
            raw_query=request.query_string.decode("latin-1"),
        )
        receipt = front.desk.intake.accept(incoming)
        if receipt.answer is not None:
            return _handshake(receipt.answer)
        return jsonify(notification=receipt.notification, events=receipt.events)

    return hooks


def _handshake(answer: HandshakeReply) -> Response:
    response = Response(answer.body, answer.status)
    response.headers.update(answer.headers)
    return response
