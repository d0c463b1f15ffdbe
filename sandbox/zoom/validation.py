"""The challenge `endpoint.url_validation`: sent when an address is saved, and again every 72 hours."""

import hashlib
import hmac
import json
import secrets
from dataclasses import replace
from datetime import timedelta

from sandbox.deliveries import Outgoing
from sandbox.world import World
from sandbox.zoom import hooks
from sandbox.zoom.rows import App

EVENT = "endpoint.url_validation"
INTERVAL = timedelta(hours=72)


def due(world: World) -> list[App]:
    """Those that were asked 72 hours ago or longer."""
    latest = world.clock.now() - INTERVAL
    return [app for app in world.zoom.apps.values() if app.webhook_url and (app.challenged_at is None or app.challenged_at <= latest)]


def ask(world: World, apps: list[App]) -> None:
    """Sends the signed challenges and waits for the answers. The caller must not hold the world's lock."""
    with world.writing():
        batch = [_challenge(world, app) for app in apps if app.webhook_url]
    world.deliveries.send(batch)


def _challenge(world: World, app: App) -> Outgoing:
    """Right is only: 200, within three seconds, the token, and its HMAC. It is asked once, without retries."""
    app.challenged_at = world.clock.now()
    plain, client_id = secrets.token_urlsafe(16), app.client_id
    content = {"event": EVENT, "event_ts": hooks.moment(world, EVENT, client_id), "payload": {"plainToken": plain}}
    digest = hmac.new(app.secret_token.encode(), plain.encode(), hashlib.sha256).hexdigest()
    expected = {"plainToken": plain, "encryptedToken": digest}

    def right(status: int, body: bytes) -> bool:
        try:
            answer = json.loads(body)
        except ValueError:
            return False
        return status == 200 and isinstance(answer, dict) and {name: answer.get(name) for name in expected} == expected

    def note(_: Outgoing, answered: bool) -> None:
        _record(world, client_id, answered=answered)

    return replace(hooks.outgoing(world, app, content), pauses=(), settles=right, told=note)


def _record(world: World, client_id: str, *, answered: bool) -> None:
    with world.writing():
        app = world.zoom.apps.get(client_id)
        if app is None:
            return
        if answered:
            app.validated_at, app.failures = world.clock.now(), 0
        else:
            app.failures += 1
