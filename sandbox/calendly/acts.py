"""What people do outside the API, by the scheduling pages or the control face: book, move, cancel, and send the deliveries.

Every act is committed under the world's lock first; what it causes is sent after that.
"""

from datetime import datetime

from sandbox.calendly import bookings, hooks
from sandbox.calendly.bookings import TakenError, Wish
from sandbox.calendly.checks import Given
from sandbox.calendly.context import setting_of
from sandbox.calendly.errors import ApiError
from sandbox.calendly.faces import TRACKING
from sandbox.calendly.rows import Event, EventType, Invitee, Json
from sandbox.world import World

NO_LONGER_FREE = "This time is no longer available. Choose another one."


def type_of(place: World, given: object) -> EventType:
    """By its URI or its id."""
    row = place.calendly.event_types.get(setting_of(place).id_in(given, "event_types") or str(given))
    if row is None:
        raise ApiError(404, "There is no such event type.")
    return row


def invitee_of(place: World, given: object) -> Invitee:
    row = place.calendly.invitees.get(setting_of(place).invitee_in(given) or str(given))
    if row is None:
        raise ApiError(404, "There is no such invitee.")
    return row


def start_of(sent: Json) -> datetime:
    given = Given(sent)
    start = given.moment("start", required=True)
    given.finish()
    assert start is not None
    return start


def book(place: World, sent: Json) -> tuple[Event, Invitee]:
    event_type, start = type_of(place, sent.get("eventType")), start_of(sent)
    person = Given(sent.get("invitee") or {})
    name, email = person.text("name", required=True), person.email("email", required=True)
    zone = person.zone("timeZone", required=True)
    person.finish()
    first, _, last = str(name).partition(" ")
    wish = Wish(
        event_type,
        start,
        str(email),
        str(name),
        zone,
        first_name=first,
        last_name=last or None,
        location=_place(event_type, sent.get("location")),
        answers=_answers(event_type, sent.get("answers") or {}),
        tracking={key: (sent.get("tracking") or {}).get(key) for key in TRACKING},
        guests=list(sent.get("guests") or []),
        force=bool(sent.get("force")),
    )
    if not wish.force and not sent.get("anyway") and not event_type.active:
        raise ApiError(403, "This event type cannot be booked at present.")
    return _book(place, wish, silent=bool(sent.get("silent")))


def _book(place: World, wish: Wish, *, silent: bool) -> tuple[Event, Invitee]:
    with place.writing():
        try:
            event, invitee = bookings.book(setting_of(place), wish)
        except TakenError:
            raise ApiError(400, NO_LONGER_FREE) from None
        if wish.event_type.paid:
            invitee.payment = {
                "external_id": f"made_up_{invitee.id[:8]}",
                "provider": "stripe",
                "amount": 50.0,
                "currency": "EUR",
                "terms": None,
                "successful": True,
            }
        batch = hooks.created(place, invitee)
    if not silent:
        place.deliveries.send_soon(batch)
    return event, invitee


def _place(event_type: EventType, sent: object) -> Json | None:
    """The one chosen, else the first configured one."""
    if isinstance(sent, dict) and isinstance(sent.get("kind"), str):
        return dict(sent)
    return dict(event_type.locations[0]) if event_type.locations else None


def _answers(event_type: EventType, sent: Json) -> list[Json]:
    """Required questions stay unanswered when nothing is given: the form is not what is tested here."""
    return [
        {"answer": str(sent[one["name"]]), "position": one["position"], "question": one["name"]}
        for one in event_type.questions
        if sent.get(one["name"])
    ]


def move(place: World, invitee: Invitee, start: datetime, event_type: EventType | None, *, silent: bool = False) -> Invitee:
    with place.writing():
        try:
            new = bookings.move(setting_of(place), invitee, start, event_type)
        except TakenError:
            raise ApiError(400, NO_LONGER_FREE) from None
        batch = hooks.moved(place, invitee, new)
    if not silent:
        place.deliveries.send_soon(batch)
    return new


def cancel(place: World, invitee: Invitee, *, by: str, reason: str | None, silent: bool = False) -> None:
    """As an invitee who leaves alone, or as the host who cancels for everybody."""
    with place.writing():
        here = setting_of(place)
        gone = [invitee]
        if by == "host":
            event = here.known.events[invitee.event_id]
            gone = bookings.cancel_event(here, event, here.known.users[event.owner_id].name, "host", reason)
        else:
            bookings.cancel_invitee(here, invitee, reason)
        batch = [delivery for one in gone for delivery in hooks.canceled(place, one)]
    if not silent:
        place.deliveries.send_soon(batch)
