"""Scheduled events and their invitees: read and cancel. There is no call that moves an event or changes anything else of it."""

from flask import request

from sandbox.calendly import auth, bookings, faces, hooks, paging
from sandbox.calendly.auth import Caller
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.errors import ASK_ORGANIZATION, NO_ACCESS, NOT_IN_ORGANIZATION, ApiError
from sandbox.calendly.rows import Event, Invitee, Json

STATUSES = ("active", "canceled")
NOT_YOURS = "You are not allowed to view this event"


@blueprint.get("/scheduled_events")
def list_events() -> Json:
    caller, given = auth.needed("scheduled_events:read"), Given(request.args)
    user = given.resource(setting(), "user", "users")
    organization = given.resource(setting(), "organization", "organizations")
    group, email, status = given.text("group"), given.text("invitee_email"), given.choice("status", STATUSES)
    way = given.choice("sort", ("start_time:asc", "start_time:desc")) or "start_time:asc"
    given.one_of("user", "organization", "group")
    first, last = given.moment("min_start_time"), given.moment("max_start_time")
    count = paging.read(given)
    given.finish()
    hosts = _hosts(caller, user, organization, group)

    def wanted(row: Event) -> bool:
        coming = state().invitees_of(row)
        return (
            row.owner_id in hosts
            and status in {None, row.status}
            and (first is None or row.start >= first)
            and (last is None or row.start <= last)
            and (email is None or any(one.email.lower() == email.lower() for one in coming))
        )

    with world().lock:
        rows = sorted(filter(wanted, state().events.values()), key=lambda row: (row.start, row.created_at), reverse=way.endswith("desc"))
        return paging.page(rows, lambda row: faces.event(setting(), row), count)


def _hosts(caller: Caller, user: str | None, organization: str | None, group: str | None) -> set[str]:
    """Whose events may be listed: one's own, or as an administrator those of the organization, which must then be named."""
    if group is not None:
        raise ApiError(404)  # nobody here has groups
    if organization is not None and (organization != caller.user.organization_id or not (caller.is_admin or user == caller.user.id)):
        raise ApiError(403, NO_ACCESS)
    if user is None:
        return {row.id for row in list(state().users.values()) if caller.same_organization(row)}
    if user != caller.user.id:
        other = state().users.get(user)
        if other is None or not caller.same_organization(other):
            raise ApiError(403, NOT_IN_ORGANIZATION)
        if organization is None:
            raise ApiError(403, ASK_ORGANIZATION)
    return {user}


def find(caller: Caller, event_id: str, denied: str = NOT_YOURS) -> Event:
    row = state().events.get(event_id)
    if row is None:
        raise ApiError(404)
    if not caller.may_manage(row.owner_id):
        raise ApiError(403, denied)
    return row


@blueprint.get("/scheduled_events/<event_id>")
def show_event(event_id: str) -> Json:
    caller = auth.needed("scheduled_events:read")
    with world().lock:
        return resource(faces.event(setting(), find(caller, event_id)))


@blueprint.get("/scheduled_events/<event_id>/invitees")
def list_invitees(event_id: str) -> Json:
    caller, given = auth.needed("scheduled_events:read"), Given(request.args)
    status, email = given.choice("status", STATUSES), given.text("email")
    way = given.choice("sort", ("created_at:asc", "created_at:desc")) or "created_at:asc"
    count = paging.read(given)
    given.finish()

    def wanted(row: Invitee) -> bool:
        return status in {None, row.status} and (email is None or row.email.lower() == email.lower())

    with world().lock:
        rows = [row for row in state().invitees_of(find(caller, event_id)) if wanted(row)]
        rows.sort(key=lambda row: row.created_at, reverse=way.endswith("desc"))
        return paging.page(rows, lambda row: faces.invitee(setting(), row), count)


@blueprint.get("/scheduled_events/<event_id>/invitees/<invitee_id>")
def show_invitee(event_id: str, invitee_id: str) -> Json:
    caller = auth.needed("scheduled_events:read")
    with world().lock:
        event, row = find(caller, event_id), state().invitees.get(invitee_id)
        if row is None or row.event_id != event.id:
            raise ApiError(404)
        return resource(faces.invitee(setting(), row))


@blueprint.post("/scheduled_events/<event_id>/cancellation")
def cancel(event_id: str) -> tuple[Json, int]:
    """The whole event, with one delivery for each invitee; a second time it is 403."""
    caller, given = auth.needed("scheduled_events:write"), Given(body())
    reason = given.text("reason", longest=10_000)
    given.finish()
    with world().writing():
        event = find(caller, event_id, "You are not allowed to cancel this event")
        gone = bookings.cancel_event(setting(), event, caller.user.name, "host", reason)
        batch = [delivery for invitee in gone for delivery in hooks.canceled(world(), invitee)]
        answer = resource(event.cancellation)
    world().deliveries.send_soon(batch)
    return answer, 201
