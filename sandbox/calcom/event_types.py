"""Event types: 2024-06-14 and 2026-06-12 in the same shape, anything else in the shape of 2024-04-15."""

from typing import Any

from flask import request

from sandbox.calcom import auth, checks
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field
from sandbox.calcom.context import body, now, state, success, version, world
from sandbox.calcom.errors import CalError
from sandbox.calcom.event_type_data import CHANGES, CREATION, filled, merged
from sandbox.calcom.state import CalcomState, EventType, Json, User

VERSIONS = {"2024-06-14", "2026-06-12"}
WEB = "https://cal.sandbox.invalid"
_OLD_CREATION = {
    "length": Field(checks.at_least(1), required=True),
    "title": Field(checks.text, required=True),
    "slug": Field(checks.text, required=True),
}


def create(known: CalcomState, user: User, given: Json, moment: Any) -> EventType:
    if any(row.data["slug"] == given["slug"] for row in known.owned_event_types(user.id)):
        raise CalError(400, "User already has an event type with this slug.")
    _check_schedule(known, user, given)
    return known.event_types.add(EventType(known.next_id(), user.id, filled(given), moment))


def _check_schedule(known: CalcomState, user: User, given: Json) -> None:
    schedule_id = given.get("scheduleId")
    if schedule_id is not None and getattr(known.schedules.get(schedule_id), "owner_id", None) != user.id:
        raise CalError(404, f"User with ID={user.id} does not own schedule with ID={schedule_id}")


def face(event_type: EventType) -> Json:
    owner = state().users[event_type.owner_id]
    return {
        "id": event_type.id,
        "ownerId": event_type.owner_id,
        **event_type.data,
        "users": [
            {
                "id": owner.id,
                "name": owner.name,
                "username": owner.username,
                "avatarUrl": owner.avatar_url,
                "brandColor": None,
                "darkBrandColor": None,
                "weekStart": owner.week_start,
                "metadata": owner.metadata or {},
            }
        ],
        "bookingUrl": f"{WEB}/{owner.username}/{event_type.data['slug']}",
    }


def old_face(event_type: EventType) -> Json:
    data = event_type.data
    return {"id": event_type.id, "length": event_type.length} | {
        name: data[name] for name in ("slug", "title", "description", "locations", "hidden")
    }


def _shown(event_type: EventType) -> Json:
    return success(face(event_type) if version() in VERSIONS else {"eventType": old_face(event_type)})


@blueprint.post("/event-types")
def create_event_type() -> tuple[Json, int]:
    user = auth.needed("EVENT_TYPE_WRITE", anonymous=403)
    if version() in VERSIONS:
        given = checks.listed(body(), CREATION)
    else:
        given = checks.listed(body(), _OLD_CREATION)
        given["lengthInMinutes"] = given.pop("length")
    with world().writing():
        return _shown(create(state(), user, given, now())), 201


@blueprint.get("/event-types")
def list_event_types() -> Json:
    """Public by user name; hidden ones only to their owner. Without parameters and with a token: one's own."""
    caller = auth.optional()
    viewer = caller.user if caller else None
    query = request.args
    with world().lock:
        rows = [row for user in _listed_users(viewer) for row in state().owned_event_types(user.id)]
        slug = query.get("eventSlug")
        mine = viewer.id if viewer else None
        rows = [row for row in rows if (slug is None or row.data["slug"] == slug) and (not row.data["hidden"] or row.owner_id == mine)]
        if query.get("sortCreatedAt") in {"asc", "desc"}:
            rows.sort(key=lambda row: (row.created_at, row.id), reverse=query["sortCreatedAt"] == "desc")
        if version() in VERSIONS:
            return success([face(row) for row in rows])
        group = {"bookerUrl": WEB, "eventTypes": [old_face(row) for row in rows]}
        return success({"eventTypeGroups": [group] if rows else [], "profiles": []})


def _listed_users(viewer: User | None) -> list[User]:
    if request.args.get("username"):
        names = [request.args["username"]]
    elif request.args.get("usernames"):
        names = request.args["usernames"].split(",")
    else:
        return [auth.needed("EVENT_TYPE_READ")] if viewer else []
    return [user for user in (state().user_by_name(name.strip()) for name in names) if user]


def owned(user: User, event_type_id: int) -> EventType:
    event_type = state().event_types.get(event_type_id)
    if event_type is None:
        raise CalError(404, f"Event type with id {event_type_id} not found")
    if event_type.owner_id != user.id:
        raise CalError(403, f"User with ID={user.id} does not own event type with ID={event_type_id}")
    return event_type


@blueprint.get("/event-types/<int:event_type_id>")
def show_event_type(event_type_id: int) -> Json:
    user = auth.needed("EVENT_TYPE_READ", anonymous=403)
    with world().lock:
        event_type = state().event_types.get(event_type_id)
        if event_type is None or event_type.owner_id != user.id:
            raise CalError(404, f"Event type with id {event_type_id} not found")
        return _shown(event_type)


@blueprint.patch("/event-types/<int:event_type_id>")
def change_event_type(event_type_id: int) -> Json:
    user = auth.needed("EVENT_TYPE_WRITE", anonymous=403)
    given = checks.listed(body(), CHANGES, keep_null=True)
    with world().writing():
        event_type = owned(user, event_type_id)
        taken = {row.data["slug"] for row in state().owned_event_types(user.id) if row.id != event_type_id}
        if given.get("slug") in taken:
            raise CalError(400, "User already has an event type with this slug.")
        _check_schedule(state(), user, given)
        event_type.data = merged(event_type.data, given)
        return _shown(event_type)


@blueprint.delete("/event-types/<int:event_type_id>")
def delete_event_type(event_type_id: int) -> Json:
    user = auth.needed("EVENT_TYPE_WRITE", anonymous=403)
    with world().writing():
        event_type = owned(user, event_type_id)
        del state().event_types[event_type_id]
        state().webhooks.remove(lambda row: row.event_type_id != event_type_id)
        data = event_type.data
        return success({"id": event_type_id, "lengthInMinutes": event_type.length, "slug": data["slug"], "title": data["title"]})
