"""Liveness, readiness and metrics, for load balancers and Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from relay.delivery.metrics import ProcessMetrics, render
from relay.web.auth import is_local
from relay.web.context import WebContext


def blueprint(context: WebContext, metrics: ProcessMetrics) -> Blueprint:
    """Create the three addresses. Only /metrics is guarded: it names sources and targets."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def alive() -> Response:
        return jsonify(status="alive")

    @health.get("/readyz")
    def ready() -> Response:
        context.ledger.administration.ping()
        return jsonify(status="ready")

    @health.get("/metrics")
    def show_metrics() -> Response:
        if not is_local():
            context.guard.check()
        body, content_type = render(metrics.registry)
        return Response(body, content_type=content_type)

    return health
