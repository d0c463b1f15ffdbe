"""Signed deliveries to the apps' endpoints.

Not told for sure [?]: which failures are tried again (5xx and no answer in time; the switch `retryAny` takes everything but 200
and 204), and whether a retry is signed anew with its own timestamp (yes; `staleRetryTimestamp` repeats the old headers).
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable

from sandbox.deliveries import Outgoing
from sandbox.world import World
from sandbox.zoom.rows import App, Install, Json, User

TIME_LIMIT = 3.0
PAUSES = (300.0, 1200.0, 3600.0)
TIMESTAMP, SIGNATURE = "x-zm-request-timestamp", "x-zm-signature"


def audience(world: World, host: User) -> list[App]:
    """The account's own apps, and those that the host has authorized."""
    return [app for app in world.zoom.apps.values() if receives(world, app) and _concerns(world, app, host)]


def receives(world: World, app: App) -> bool:
    """An address that never answered its challenge rightly cannot be saved at Zoom, so nothing is sent there."""
    switches = world.zoom.switches
    if switches["deliverUnvalidated"]:
        return app.webhook_url is not None
    refused = app.failures > 0 and switches["disableOnFailedValidation"]
    return app.webhook_url is not None and app.validated_at is not None and not refused


def _concerns(world: World, app: App, host: User) -> bool:
    if app.account_id is not None:
        return app.account_id == host.account_id
    return Install(app.client_id, host.id).key in world.zoom.installs


def outgoing(world: World, app: App, content: Json) -> Outgoing:
    assert app.webhook_url is not None, "only apps with an address are told anything"
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    secret, stale = app.secret_token, world.zoom.switches["staleRetryTimestamp"]
    signed = headers(world, secret, body)
    wrong = {SIGNATURE: sign("not the secret", signed[TIMESTAMP], body)}
    return Outgoing(
        subscription=app.client_id,
        event=str(content["event"]),
        url=app.webhook_url,
        body=body,
        headers=signed
        | {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Zoom Marketplace/1.0a", "clientid": app.client_id},
        variants={"unsigned": {SIGNATURE: ""}, "wrong-signature": wrong},
        time_limit=TIME_LIMIT,
        pauses=PAUSES,
        renewed=None if stale else lambda: headers(world, secret, body),
        settles=_settles(any_other=bool(world.zoom.switches["retryAny"])),
    )


def _settles(*, any_other: bool) -> Callable[[int, bytes], bool]:
    return lambda status, _: status in {200, 204} or (status < 500 and not any_other)


def headers(world: World, secret: str, body: bytes) -> dict[str, str]:
    now = world.clock.now().timestamp()
    timestamp = str(int(now * 1000) if world.zoom.switches["millisecondTimestamp"] else int(now))
    return {
        TIMESTAMP: timestamp,
        SIGNATURE: sign(secret, timestamp, body),
        "x-zm-trackingid": f"v=2.0;clid=us02;rid=WEB_{secrets.token_hex(16)}",
    }


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Over the raw bytes and the timestamp's own text."""
    return "v0=" + hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()


def moment(world: World, event: str, subject: str) -> int:
    """Milliseconds. No two events of one kind and subject share one, not even while the clock stands still."""
    wanted = int(world.clock.now().timestamp() * 1000)
    given = world.zoom.event_moments
    while (event, subject, wanted) in given:
        wanted += 1
    given.add((event, subject, wanted))
    return wanted
