"""Webhook subscriptions of a user, an event type or (deprecated) a platform client."""

import uuid
from typing import Any

from flask import request

from sandbox.calcom import auth, checks
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field, Reasons
from sandbox.calcom.context import body, state, success, world
from sandbox.calcom.errors import CalError
from sandbox.calcom.event_types import owned
from sandbox.calcom.state import Json, Webhook

TRIGGERS = [
    "BOOKING_CREATED",
    "BOOKING_PAYMENT_INITIATED",
    "BOOKING_PAID",
    "BOOKING_RESCHEDULED",
    "BOOKING_REQUESTED",
    "BOOKING_CANCELLED",
    "BOOKING_REJECTED",
    "BOOKING_NO_SHOW_UPDATED",
    "BOOKING_LOCATION_UPDATED",
    "BOOKING_REASSIGNED",
    "FORM_SUBMITTED",
    "FORM_SUBMITTED_NO_EVENT",
    "MEETING_STARTED",
    "MEETING_ENDED",
    "RECORDING_READY",
    "RECORDING_TRANSCRIPTION_GENERATED",
    "INSTANT_MEETING",
    "INSTANT_MEETING_ACCEPTED",
    "OOO_CREATED",
    "AFTER_HOSTS_CAL_VIDEO_NO_SHOW",
    "AFTER_GUESTS_CAL_VIDEO_NO_SHOW",
    "ROUTING_FORM_FALLBACK_HIT",
    "WRONG_ASSIGNMENT_REPORT",
    "CALENDAR_ENTRY_REJECTED",
    "DELEGATION_CREDENTIAL_ERROR",
    "DELEGATION_CREDENTIAL_SECRET_ROTATED",
    "DELEGATION_CREDENTIAL_SECRET_ROTATION_FAILED",
    "DELEGATION_CREDENTIAL_ROTATION_REQUIRED",
]
VERSIONS = ("2021-10-20", "2026-07-27")
Owner = tuple[int | None, int | None, str | None]  # user, event type, platform client


def _triggers(name: str, value: Any) -> Reasons:
    if not isinstance(value, list):
        return {"isArray": f"{name} must be an array"}
    if any(one not in TRIGGERS for one in value):
        return {"isEnum": f"each value in {name} must be one of the following values: {', '.join(TRIGGERS)}"}
    return {}


CHANGES = {
    "active": Field(checks.boolean),
    "subscriberUrl": Field(checks.text),
    "triggers": Field(_triggers),
    "secret": Field(checks.text),
    "payloadTemplate": Field(checks.text),
    "version": Field(checks.one_of(*VERSIONS)),
    "time": Field(checks.at_least(1)),
    "timeUnit": Field(checks.one_of("DAY", "HOUR", "MINUTE")),
}
CREATION = CHANGES | {
    "active": Field(checks.boolean, required=True),
    "subscriberUrl": Field(checks.text, required=True),
    "triggers": Field(_triggers, required=True),
}
_COLUMNS = {"subscriberUrl": "url", "payloadTemplate": "payload_template", "timeUnit": "time_unit"}


def face(hook: Webhook) -> Json:
    """The id is a text, although it was documented as a number; the secret is told in clear."""
    shown: Json = {
        "id": hook.id,
        "payloadTemplate": hook.payload_template,
        "triggers": hook.triggers,
        "subscriberUrl": hook.url,
        "active": hook.active,
        "version": hook.version,
    }
    optional = {
        "secret": hook.secret,
        "time": hook.time,
        "timeUnit": hook.time_unit,
        "userId": hook.user_id,
        "eventTypeId": hook.event_type_id,
        "oAuthClientId": hook.client_id,
    }
    return shown | {name: value for name, value in optional.items() if value is not None}


def subscribe(owner: Owner, given: Json) -> Webhook:
    _check_url(owner, given["subscriberUrl"])
    return state().webhooks.add(
        Webhook(
            id=str(uuid.uuid4()),
            url=given["subscriberUrl"],
            triggers=given["triggers"],
            active=given["active"],
            secret=given.get("secret") or None,
            payload_template=given.get("payloadTemplate"),
            version=given.get("version") or VERSIONS[0],
            time=given.get("time"),
            time_unit=given.get("timeUnit"),
            user_id=owner[0],
            event_type_id=owner[1],
            client_id=owner[2],
        )
    )


def _check_url(owner: Owner, url: str, own_id: str | None = None) -> None:
    if any(hook.owner == owner and hook.url == url and hook.id != own_id for hook in state().webhooks.values()):
        whose = "user" if owner[0] else "event type" if owner[1] else "oAuth client"
        raise CalError(409, f"Webhook with this subscriber url already exists for this {whose}")


def _create(owner: Owner) -> tuple[Json, int]:
    given = checks.listed(body(), CREATION)
    with world().writing():
        return success(face(subscribe(owner, given))), 201


def _list(owner: Owner) -> Json:
    take, skip = (request.args.get(name, default, int) for name, default in (("take", 250), ("skip", 0)))
    with world().lock:
        return success([face(hook) for hook in state().webhooks.values() if hook.owner == owner][skip : skip + take])


def _find(owner: Owner, hook_id: str) -> Webhook:
    """Somebody else's is as good as unknown to the event type, and forbidden to a user."""
    hook = state().webhooks.get(hook_id)
    if hook is None:
        raise CalError(404, f"Webhook ({hook_id}) not found")
    if hook.owner != owner:
        raise CalError(403, f"User ({owner[0]}) is not the owner of webhook ({hook_id})")
    return hook


def _change(owner: Owner, hook_id: str) -> Json:
    given = checks.listed(body(), CHANGES)
    with world().writing():
        hook = _find(owner, hook_id)
        _check_url(owner, given.get("subscriberUrl", hook.url), hook.id)
        for name, value in given.items():
            setattr(hook, _COLUMNS.get(name, name), value)
        return success(face(hook))


def _delete(owner: Owner, hook_id: str) -> Json:
    with world().writing():
        hook = _find(owner, hook_id)
        del state().webhooks[hook_id]
        return success(face(hook))


def one_of(owner: Owner, hook_id: str) -> Json:
    if request.method == "PATCH":
        return _change(owner, hook_id)
    if request.method == "DELETE":
        return _delete(owner, hook_id)
    with world().lock:
        return success(face(_find(owner, hook_id)))


def _kind() -> str:
    return "READ" if request.method == "GET" else "WRITE"


def all_of(owner: Owner) -> Json | tuple[Json, int]:
    return _list(owner) if request.method == "GET" else _create(owner)


@blueprint.route("/webhooks", methods=["GET", "POST"])
def user_webhooks() -> Json | tuple[Json, int]:
    return all_of((auth.needed(f"WEBHOOK_{_kind()}").id, None, None))


@blueprint.route("/webhooks/<hook_id>", methods=["GET", "PATCH", "DELETE"])
def user_webhook(hook_id: str) -> Json:
    return one_of((auth.needed(f"WEBHOOK_{_kind()}").id, None, None), hook_id)


def _event_type_owner(event_type_id: int) -> Owner:
    owned(auth.needed(f"EVENT_TYPE_{_kind()}"), event_type_id)
    return None, event_type_id, None


@blueprint.route("/event-types/<int:event_type_id>/webhooks", methods=["GET", "POST", "DELETE"])
def event_type_webhooks(event_type_id: int) -> Json | tuple[Json, int]:
    owner = _event_type_owner(event_type_id)
    if request.method == "DELETE":
        with world().writing():
            count = state().webhooks.remove(lambda hook: hook.owner != owner)
        return success(f"{count} webhooks deleted")
    return all_of(owner)


@blueprint.route("/event-types/<int:event_type_id>/webhooks/<hook_id>", methods=["GET", "PATCH", "DELETE"])
def event_type_webhook(event_type_id: int, hook_id: str) -> Json:
    return one_of(_event_type_owner(event_type_id), hook_id)
