"""Is it alive, can it store, and what do the figures say: for load balancers and Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from relay.delivery.metrics import ProcessMetrics, render
from relay.web.auth import is_local
from relay.web.context import WebContext


def blueprint(front: WebContext, meters: ProcessMetrics) -> Blueprint:
    """The three addresses. Only the figures are guarded: they name sources and targets."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def alive() -> Response:
        return jsonify(status="alive")

    @health.get("/readyz")
    def ready() -> Response:
        front.ledger.administration.ping()
        return jsonify(status="ready")

    @health.get("/metrics")
    def metrics() -> Response:
        if not is_local():
            front.guard.check()
        body, kind = render(meters.registry)
        return Response(body, content_type=kind)

    return health
