"""Where providers send news. 2xx only after the delivery is stored; a repeat of a stored one is 2xx without effect."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, request

from routes.common import MAX_WEBHOOK_BODY, error, json_response, read_body
from services import webhooks
from services.runtime import Runtime

MOST_IN_HAND = 32 * 1024 * 1024
"""Bytes of deliveries that one process holds in memory at a time, slow senders' included."""
RETRY_AFTER = 5
RECEIVED = {"data": {"received": True}, "error": None}

REFUSALS = {
    webhooks.UnknownEndpoint: (404, "NOT_FOUND", "No subscription has this address."),
    webhooks.BadSignature: (401, "BAD_SIGNATURE", "The delivery is not signed with this subscription's secret."),
    webhooks.TooOld: (401, "TOO_OLD", "The delivery is signed but older than four weeks, so it is taken for a repeat."),
    webhooks.NotJson: (400, "BAD_USER_INPUT", "The body is not JSON."),
}


class _Full(Exception):
    """No more can be held in memory now."""


class _InHand:
    """Counts what is in memory by what was announced, before any of it is read."""

    def __init__(self) -> None:
        self._bytes = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        with self._lock:
            if self._bytes + size > MOST_IN_HAND:
                raise _Full
            self._bytes += size
        try:
            yield
        finally:
            with self._lock:
                self._bytes -= size


def _too_large() -> Response:
    return error(413, "TOO_LARGE", f"A delivery may have at most {MAX_WEBHOOK_BODY // 1024} KiB.")


def blueprint(rt: Runtime) -> Blueprint:
    routes = Blueprint("webhooks", __name__)
    in_hand = _InHand()

    def handle(find: Callable[[], webhooks.Target], success: object) -> Response:
        """Size, endpoint, and only then the body: whoever does not know an endpoint keeps nobody waiting."""
        announced = request.content_length
        if announced is not None and announced > MAX_WEBHOOK_BODY:
            return _too_large()
        try:
            target = find()
            with in_hand.hold(MAX_WEBHOOK_BODY if announced is None else announced):
                body = read_body(MAX_WEBHOOK_BODY)
                if body is None:
                    return _too_large()
                answer = webhooks.receive(rt, target, request.headers, body)
        except tuple(REFUSALS) as refusal:
            return error(*REFUSALS[type(refusal)])
        except (_Full, webhooks.NotStored):
            response = error(503, "TRY_AGAIN", "The delivery could not be stored now. Send it again.")
            response.headers["Retry-After"] = str(RETRY_AFTER)
            return response
        return json_response(success if answer is None else answer)

    @routes.post("/webhooks/<provider>")
    def app(provider: str) -> Response:
        """One address and secret per app."""
        return handle(lambda: webhooks.of_app(rt, provider), RECEIVED)

    @routes.post("/webhooks/<provider>/<endpoint>")
    def own(provider: str, endpoint: str) -> Response:
        """One unguessable endpoint and secret per subscription."""
        return handle(lambda: webhooks.subscribed(rt, provider, endpoint), RECEIVED)

    @routes.post("/webhooks/cal/booking.created")
    @routes.post("/webhooks/cal/booking.updated")
    def existing() -> Response:
        """For existing Cal.com set-ups: one configured secret, off (404) unless set."""
        return handle(lambda: webhooks.shared(rt), {"status": "success"})

    return routes
