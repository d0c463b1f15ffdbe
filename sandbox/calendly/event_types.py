"""Event types: list, read, make, change. There is no DELETE; an inactive type cannot be booked."""

from flask import request

from sandbox.calendly import auth, event_type_data, faces, hooks, paging
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.errors import NO_ACCESS, NOT_IN_ORGANIZATION, ApiError
from sandbox.calendly.rows import EventType, Json
from sandbox.calendly.state import new_id

SORTS = [f"{name}:{way}" for name in ("name", "position", "created_at", "updated_at") for way in ("asc", "desc")]


@blueprint.get("/event_types")
def list_event_types() -> Json:
    caller, given = auth.needed("event_types:read"), Given(request.args)
    user = given.resource(setting(), "user", "users")
    organization = given.resource(setting(), "organization", "organizations")
    active, managed = given.flag("active"), given.flag("admin_managed")
    schedule = given.resource(setting(), "user_availability_schedule", "user_availability_schedules")
    field, _, way = (given.choice("sort", SORTS) or "name:asc").partition(":")
    given.one_of("user", "organization")
    count = paging.read(given)
    given.finish()
    if organization not in {None, caller.user.organization_id}:
        raise ApiError(403, NO_ACCESS)
    if user is not None and (user not in state().users or not caller.same_organization(state().users[user])):
        raise ApiError(403, NOT_IN_ORGANIZATION)

    def wanted(row: EventType) -> bool:
        inside = caller.same_organization(state().users[row.owner_id])
        default = state().default_schedule(row.owner_id)
        follows = schedule is None or (row.own_rule is None and default is not None and default.id == schedule)
        return inside and user in {None, row.owner_id} and active in {None, row.active} and not managed and follows

    rows = sorted(filter(wanted, list(state().event_types.values())), key=event_type_data.sort_key(field), reverse=way == "desc")
    return paging.page(rows, lambda row: faces.event_type(setting(), row), count)


def find(type_id: str) -> EventType:
    row = state().event_types.get(type_id)
    if row is None:
        raise ApiError(404)
    return row


@blueprint.get("/event_types/<type_id>")
def show_event_type(type_id: str) -> Json:
    caller, row = auth.needed("event_types:read"), find(type_id)
    if not caller.same_organization(state().users[row.owner_id]):
        raise ApiError(403, NO_ACCESS)
    return resource(faces.event_type(setting(), row))


@blueprint.post("/event_types")
def create_event_type() -> tuple[Json, int]:
    """Solo and inactive unless told otherwise: a fresh type cannot be booked."""
    caller, given = auth.needed("event_types:write"), Given(body())
    owner = given.resource(setting(), "owner", "users", required=True)
    if "name" not in given.values:
        given.wrong("name", "is missing")
    changes = event_type_data.read(given)
    given.finish()
    if owner not in state().users:
        raise ApiError(404)
    caller.check_manages(str(owner))
    with world().writing():
        row = make(str(owner), changes)
        batch = hooks.changed_type(world(), row, "event_type.created")
        answer = resource(faces.event_type(setting(), row))
    world().deliveries.send_soon(batch)
    return answer, 201


def make(owner_id: str, changes: Json) -> EventType:
    known, now = state(), setting().now
    slug, position = event_type_data.free_slug(known, owner_id, changes["name"]), len(known.types_of(owner_id))
    row = EventType(new_id(), owner_id, changes["name"], slug, changes.get("duration", 30), position, now, now)
    event_type_data.apply(row, changes)
    return known.event_types.add(row)


@blueprint.patch("/event_types/<type_id>")
def change_event_type(type_id: str) -> Json:
    caller, row, given = auth.needed("event_types:write"), find(type_id), Given(body())
    changes = event_type_data.read(given)
    given.finish()
    caller.check_manages(row.owner_id)
    with world().writing():
        event_type_data.apply(row, changes)
        row.updated_at = setting().now
        batch = hooks.changed_type(world(), row, "event_type.updated")
        answer = resource(faces.event_type(setting(), row))
    world().deliveries.send_soon(batch)
    return answer
