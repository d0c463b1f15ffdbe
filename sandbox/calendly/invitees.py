"""`POST /invitees`: books without the scheduling page. Nothing makes it idempotent and nothing holds a slot beforehand."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from sandbox.calendly import auth, booking_input, bookings, faces, hooks, limits
from sandbox.calendly.auth import Caller
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.bookings import TakenError, Wish
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.errors import NO_ACCESS, ApiError
from sandbox.calendly.event_types import find
from sandbox.calendly.rows import Json


@blueprint.post("/invitees")
def create_invitee() -> ResponseReturnValue:
    caller = auth.needed("scheduled_events:write")
    limits.invitees(caller.user)
    with world().writing():
        try:
            event, invitee = bookings.book(setting(), _wish(caller, Given(body())))
        except TakenError:
            raise _gone() from None
        batch = hooks.created(world(), invitee)
        face = faces.invitee(setting(), invitee)
        answer: Json = resource(face)
        if state().switches["legacyInviteeAnswer"]:
            answer = {"resource": setting().event_uri(event.id), "invitee": face}
    world().deliveries.send_soon(batch)
    return jsonify(answer), 201


def _wish(caller: Caller, given: Given) -> Wish:
    type_id = given.resource(setting(), "event_type", "event_types", required=True)
    start = given.moment("start_time", required=True)
    if start is not None and start <= setting().now:
        given.wrong("start_time", "start_time must be in the future")
    given.finish()
    event_type = find(str(type_id))
    if not caller.same_organization(state().users[event_type.owner_id]):
        raise ApiError(403, NO_ACCESS)
    if not event_type.active:
        raise ApiError(404)
    if event_type.paid:
        raise ApiError(403, "Paid event types cannot be booked through the API.")  # status and text are open [?]
    person, place = booking_input.person(given, event_type), booking_input.place(given, event_type)
    answers, tracking = booking_input.answers(given, event_type), booking_input.tracking(given)
    guests = booking_input.guests(given)
    given.finish()
    assert start is not None
    more: Json = {"location": place, "answers": answers, "tracking": tracking, "guests": guests}
    return Wish(event_type, start, **person, **more, method="api", scheduled_by=caller.user.id)


def _gone() -> ApiError:
    """The status for a time that was taken meanwhile is not settled [?]: switch `takenSlotStatus`."""
    status = int(state().switches["takenSlotStatus"])
    text = "This time is no longer available."
    if status == 400:
        return ApiError(400, details=[{"parameter": "start_time", "message": text}])
    return ApiError(status, text)
