"""The hooks: the addresses that storages post their notifications to."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from relay.model import Incoming
from relay.web.context import WebContext
from relay.web.request_body import read_body


def blueprint(context: WebContext) -> Blueprint:
    """Create the hooks. API tokens do not guard them: each envelope verifies the sender."""
    hooks = Blueprint("hooks", __name__)

    # OPTIONS is listed here because Flask's automatic reply lacks the headers that the Event Grid
    # handshake needs.
    @hooks.route(
        "/hooks/<source>",
        methods=["POST", "OPTIONS", "HEAD"],
        provide_automatic_options=False,
    )
    def receive_notification(source: str) -> Response:
        incoming = Incoming(
            source,
            read_body(context.settings.hooks.max_body),
            context.clock(),
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers={name.lower(): value for name, value in request.headers.items()},
            raw_query=request.query_string.decode("latin-1"),
        )
        receipt = context.intake.accept(incoming)
        if reply := receipt.answer:
            return Response(reply.body, reply.status, reply.headers)
        return jsonify(notification=receipt.notification, events=receipt.events)

    return hooks
