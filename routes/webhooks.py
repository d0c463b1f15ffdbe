"""Where providers send news. 2xx only after the delivery is stored; a repeat of a stored one is 2xx without effect."""

from collections.abc import Callable

from flask import Blueprint, Response, request

from routes.common import MAX_WEBHOOK_BODY, error, json_response, read_body
from services import webhooks
from services.runtime import Runtime


def _answer(take: Callable[[bytes], bool], success: object) -> Response:
    body = read_body(MAX_WEBHOOK_BODY)
    if body is None:
        return error(413, "TOO_LARGE", f"A delivery may have at most {MAX_WEBHOOK_BODY // 1024} KiB.")
    try:
        take(body)
    except webhooks.UnknownEndpoint:
        return error(404, "NOT_FOUND", "No subscription has this address.")
    except webhooks.BadSignature:
        return error(401, "BAD_SIGNATURE", "The delivery is not signed with this subscription's secret.")
    except webhooks.TooOld:
        return error(401, "TOO_OLD", "The delivery is signed but older than four weeks, so it is taken for a repeat.")
    except webhooks.NotJson:
        return error(400, "BAD_USER_INPUT", "The body is not JSON.")
    return json_response(success)


def blueprint(rt: Runtime) -> Blueprint:
    routes = Blueprint("webhooks", __name__)

    @routes.post("/webhooks/<provider>/<endpoint>")
    def own(provider: str, endpoint: str) -> Response:
        """One unguessable endpoint and secret per subscription."""
        if provider not in rt.providers:
            return error(404, "NOT_FOUND", "No subscription has this address.")
        return _answer(
            lambda body: webhooks.receive(rt, provider, endpoint, request.headers, body),
            {"data": {"received": True}, "error": None},
        )

    @routes.post("/webhooks/cal/booking.created")
    @routes.post("/webhooks/cal/booking.updated")
    def existing() -> Response:
        """For existing Cal.com set-ups: one configured secret, off unless set."""
        secret = rt.legacy_webhook_secret
        if not secret:
            return error(404, "NOT_FOUND", "This address is off: CONVENE_CALCOM_WEBHOOK_SECRET is not set.")
        return _answer(lambda body: webhooks.receive_shared(rt, "calcom", secret, request.headers, body), {"status": "success"})

    return routes
