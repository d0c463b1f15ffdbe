"""The routes of meetings. A change is committed under the lock, answered, and told to subscribers without waiting for them."""

from flask.typing import ResponseReturnValue

from sandbox.zoom import auth, errors, events, limits, meeting_face, meeting_input, meeting_list, meetings, outside, paging
from sandbox.zoom.auth import Caller
from sandbox.zoom.blueprint import blueprint, empty, guarded
from sandbox.zoom.context import body, now, state, web, world
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import Json, Meeting, User


def _found(caller: Caller, meeting_id: str, scope: str) -> Meeting:
    meeting = meetings.find(state(), meeting_id, now())
    if not auth.reaches(caller, meeting, scope):
        raise errors.no_meeting(meeting_id)
    return meeting


def _operator(caller: Caller) -> User:
    """Who an event names as the one who acted: the user, or the account's owner for a server-to-server app [?]."""
    return auth.find_user(caller, "me")


@blueprint.post("/users/<user_id>/meetings")
@guarded("Medium", "meeting:write:meeting")
def create(caller: Caller, user_id: str) -> tuple[Json, int]:
    given = body()
    with world().writing():
        host = auth.find_user(caller, user_id)
        given = meeting_input.checked(given)
        if given.get("schedule_for"):
            host = auth.find_user(caller, given["schedule_for"])
        meetings.check_host(host)
        limits.spend_host_day(host.email, "Medium")
        meeting = meetings.create(state(), now(), host, given)
        shown = meeting_face.face(meeting, host, web(), now())
        batch = events.created(meeting, _operator(caller))
    world().deliveries.send_soon(batch)
    return shown, 201


@blueprint.get("/users/<user_id>/meetings")
@guarded("Medium", "meeting:read:list_meetings")
def list_meetings(caller: Caller, user_id: str) -> Json:
    with world().lock:
        host = auth.find_user(caller, user_id)
        rows = meeting_list.chosen(state(), host, now())
        shown, size, token = paging.page(rows)
        lines = [meeting_face.line(meeting, host, web()) for meeting in shown]
    return {"page_size": size, "total_records": len(rows), "next_page_token": token, "meetings": lines}


@blueprint.get("/meetings/<meeting_id>")
@guarded("Light", "meeting:read:meeting")
def show(caller: Caller, meeting_id: str) -> Json:
    with world().lock:
        meeting = _found(caller, meeting_id, "meeting:read:meeting")
        return meeting_face.face(meeting, state().host(meeting), web(), now()) | {"assistant_id": ""}


@blueprint.patch("/meetings/<meeting_id>")
@guarded("Light", "meeting:update:meeting")
def change(caller: Caller, meeting_id: str) -> ResponseReturnValue:
    given = body()
    with world().writing():
        meeting = _found(caller, meeting_id, "meeting:update:meeting")
        given = meeting_input.checked(given)
        limits.check_patch(meeting)
        limits.spend_host_day(meeting.host, "Light")
        meeting.patched.append(now())
        changed = meetings.update(meeting, state().host(meeting), now(), given)
        batch = events.updated(meeting, _operator(caller), changed) if changed else []
    world().deliveries.send_soon(batch)
    return empty()


@blueprint.delete("/meetings/<meeting_id>")
@guarded("Light", "meeting:delete:meeting")
def delete(caller: Caller, meeting_id: str) -> ResponseReturnValue:
    with world().writing():
        meeting = _found(caller, meeting_id, "meeting:delete:meeting")
        meetings.delete(state(), meeting)
        batch = events.deleted(meeting, _operator(caller))
    world().deliveries.send_soon(batch)
    return empty()


@blueprint.put("/meetings/<meeting_id>/status")
@guarded("Light", "meeting:update:status")
def set_status(caller: Caller, meeting_id: str) -> ResponseReturnValue:
    """Ending one that does not run changes nothing and is no error [?]."""
    given = body()
    with world().writing():
        meeting = _found(caller, meeting_id, "meeting:update:status")
        if given.get("action") != "end":
            raise ZoomError(400, 300, "Validation Failed.", {"action": "Invalid field."})
        batches = outside.close(meeting, now())[1] if meeting.started_at else []
    world().deliveries.send_soon([outgoing for batch in batches for outgoing in batch])
    return empty()
