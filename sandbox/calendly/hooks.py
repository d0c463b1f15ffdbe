"""From an effect to the deliveries it causes.

They go out after the answer, are signed over the raw bytes, and are tried again for 24 hours. Whoever takes nothing for that
long is disabled for good.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta

from sandbox.calendly import faces
from sandbox.calendly.context import setting_of
from sandbox.calendly.rows import EventType, Invitee, Json, Subscription
from sandbox.calendly.setting import spell_whole
from sandbox.deliveries import Outgoing
from sandbox.world import World

SIGNATURE = "Calendly-Webhook-Signature"
# The steps are not published [?]; together they make 24 hours.
PAUSES = (60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 25020)
PATIENCE = timedelta(hours=24)
READ_LIMIT = 15.0


def created(place: World, invitee: Invitee) -> list[Outgoing]:
    return _about(place, "invitee.created", invitee)


def canceled(place: World, invitee: Invitee) -> list[Outgoing]:
    return _about(place, "invitee.canceled", invitee)


def moved(place: World, old: Invitee, new: Invitee) -> list[Outgoing]:
    """Two deliveries to each subscriber, in either order."""
    pair = [canceled(place, old), created(place, new)]
    if place.calendly.switches["pairOrder"] == "created-first":
        pair.reverse()
    return [*pair[0], *pair[1]]


def no_show(place: World, invitee: Invitee, event: str) -> list[Outgoing]:
    return _about(place, event, invitee)


def changed_type(place: World, row: EventType, event: str) -> list[Outgoing]:
    def build() -> Json:
        face = faces.event_type(setting_of(place), row)
        face.pop("description_html")
        return face

    return _emit(place, event, row.owner_id, build)


def payload(place: World, invitee: Invitee) -> Json:
    """The invitee, with the event it belongs to inside; `event` stays the URI."""
    setting = setting_of(place)
    row = setting.known.events[invitee.event_id]
    return faces.invitee(setting, invitee) | {"scheduled_event": faces.event(setting, row, in_webhook=True)}


def _about(place: World, event: str, invitee: Invitee) -> list[Outgoing]:
    host = place.calendly.events[invitee.event_id].owner_id
    return _emit(place, event, host, lambda: payload(place, invitee))


def _emit(place: World, event: str, host_id: str, build: Callable[[], Json]) -> list[Outgoing]:
    hooks = [hook for hook in place.calendly.subscriptions.values() if event in hook.events and _hears(place, hook, host_id)]
    content = build() if hooks else {}
    return [_outgoing(place, hook, event, content) for hook in hooks]


def _hears(place: World, hook: Subscription, host_id: str) -> bool:
    """A user's own hook hears while the user is a member; an organization's hears all its members and survives its creator."""
    host = place.calendly.users[host_id]
    inside = host.organization_id == hook.organization_id
    return hook.state == "active" and inside and (hook.scope == "organization" or hook.user_id == host_id)


def envelope(place: World, event: str, creator_id: str, content: Json) -> Json:
    """`created_by` is who subscribed, neither the host nor the invitee."""
    setting = setting_of(place)
    stamp = {"created_at": spell_whole(setting.now), "created_by": setting.user_uri(creator_id)}
    return {**stamp, "event": event, "payload": content}


def _outgoing(place: World, hook: Subscription, event: str, content: Json) -> Outgoing:
    odd = place.calendly.switches["oddWhitespace"]
    layout: Json = {"indent": 3} if odd else {"separators": (",", ":")}
    body = json.dumps(envelope(place, event, hook.creator_id, content), ensure_ascii=False, **layout).encode()
    key = _key(place, hook)
    headers = {"Content-Type": "application/json"} | _signed(place, key, body)
    variants = {"unsigned": {SIGNATURE: ""}, "wrong-signature": _signed(place, "not the key", body)}

    def renewed() -> dict[str, str]:
        return {} if place.calendly.switches["retryKeepsTimestamp"] else _signed(place, key, body)

    def told(_: Outgoing, arrived: bool) -> None:
        _note(place, hook.id, arrived=arrived)

    return Outgoing(hook.id, event, hook.url, body, headers, variants, READ_LIMIT, PAUSES, renewed, told)


def _key(place: World, hook: Subscription) -> str | None:
    """The app's key, or the one given with a personal access token; without one there is no header at all."""
    app = place.calendly.apps.get(hook.app_id or "")
    return app.signing_key if app is not None else hook.key


def _signed(place: World, key: str | None, body: bytes) -> dict[str, str]:
    if key is None:
        return {}
    stamp = str(int(place.clock.now().timestamp()))
    parts = [f"t={stamp}", f"v1={sign(key, stamp, body)}"]
    if place.calendly.switches["twoSignatures"]:
        decoys = [f"v1={sign('a former key', stamp, body)}", f"v0={sign('not the key', stamp, body)}"]
        parts = [parts[0], *decoys, parts[1]]
    return {SIGNATURE: ",".join(parts)}


def sign(key: str, stamp: str, body: bytes) -> str:
    return hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _note(place: World, hook_id: str, *, arrived: bool) -> None:
    with place.lock:
        hook = place.calendly.subscriptions.get(hook_id)
        if hook is None or hook.state == "disabled" or (arrived and hook.retry_started_at is None):
            return
        now = place.clock.now()
        if not arrived and hook.retry_started_at is not None and now - hook.retry_started_at < PATIENCE:
            return
        with place.writing():
            if arrived:
                hook.retry_started_at = None
            elif hook.retry_started_at is None:
                hook.retry_started_at = now
            else:
                hook.state, hook.updated_at = "disabled", now
    if hook.state == "disabled":
        place.deliveries.forget(hook_id)
