"""For operators and their tools: liveness, readiness, metrics."""

import hmac
from collections.abc import Callable

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from routes.common import error, json_response
from routes.loopback import from_loopback
from services import health
from services.gauges import Gauges
from services.runtime import Runtime


def blueprint(rt: Runtime, heartbeat_age: Callable[[], float | None]) -> Blueprint:
    routes = Blueprint("operations", __name__)
    gauges = Gauges(rt)

    @routes.get("/health")
    def alive() -> Response:
        """The process answers; says nothing of the database."""
        return json_response({"status": "ok"})

    @routes.get("/ready")
    def ready() -> Response:
        """Fit for work: database, migrations, sealing keys, scheduler."""
        parts = health.readiness(rt, heartbeat_age())
        body = {
            "status": "ready" if parts.ready else "not ready",
            "database": parts.database,
            "migrations": parts.migrations,
            "sealingKeys": parts.sealing_keys,
            "scheduler": parts.scheduler,
        }
        return json_response(body, 200 if parts.ready else 503)

    @routes.get("/metrics")
    def metrics() -> Response:
        secret, given = rt.settings.metrics_token, request.headers.get("Authorization", "")
        allowed = bool(secret) and hmac.compare_digest(given.encode(), f"Bearer {secret}".encode())
        if not allowed and not from_loopback(request):
            return error(401, "UNAUTHENTICATED", "Metrics need the bearer secret of CONVENE_METRICS_TOKEN from here.")
        gauges.refresh()
        return Response(generate_latest(rt.metrics.registry), content_type=CONTENT_TYPE_LATEST)

    return routes
