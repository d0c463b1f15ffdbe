"""Marks that somebody did not come. Marking twice answers the mark that is there [?]."""

from sandbox.calendly import auth, faces, hooks
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.errors import NO_ACCESS, ApiError
from sandbox.calendly.rows import Json, NoShow
from sandbox.calendly.state import new_id


@blueprint.post("/invitee_no_shows")
def create_no_show() -> tuple[Json, int]:
    caller, given = auth.needed("scheduled_events:write"), Given(body())
    invitee_id = setting().invitee_in(given.values.get("invitee"))
    if invitee_id is None:
        given.wrong("invitee", "is invalid" if given.values.get("invitee") else "is missing")
    given.finish()
    with world().writing():
        invitee = state().invitees.get(str(invitee_id))
        if invitee is None:
            raise ApiError(404)
        caller.check_manages(state().events[invitee.event_id].owner_id)
        row, batch = state().no_show_of(invitee), []
        if row is None:
            row = state().no_shows.add(NoShow(new_id(), invitee.id, setting().now))
            invitee.updated_at = setting().now
            batch = hooks.no_show(world(), invitee, "invitee_no_show.created")
        answer = resource(faces.no_show(setting(), row))
    world().deliveries.send_soon(batch)
    return answer, 201


def _find(scope: str, no_show_id: str) -> NoShow:
    caller, row = auth.needed(scope), state().no_shows.get(no_show_id)
    if row is None:
        raise ApiError(404)
    event = state().events[state().invitees[row.invitee_id].event_id]
    if not caller.may_manage(event.owner_id):
        raise ApiError(403, NO_ACCESS)
    return row


@blueprint.get("/invitee_no_shows/<no_show_id>")
def show_no_show(no_show_id: str) -> Json:
    return resource(faces.no_show(setting(), _find("scheduled_events:read", no_show_id)))


@blueprint.delete("/invitee_no_shows/<no_show_id>")
def delete_no_show(no_show_id: str) -> tuple[str, int]:
    """The delivery still shows the mark that was taken away, so that it can be told from others [?]."""
    with world().writing():
        row = _find("scheduled_events:write", no_show_id)
        invitee = state().invitees[row.invitee_id]
        batch = hooks.no_show(world(), invitee, "invitee_no_show.deleted")
        del state().no_shows[row.id]
        invitee.updated_at = setting().now
    world().deliveries.send_soon(batch)
    return "", 204
