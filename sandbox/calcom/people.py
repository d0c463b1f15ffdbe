"""Making people and their event types outside the API, for the control face and the demo."""

import re

from sandbox.calcom import event_types, schedules
from sandbox.calcom.checks import Field, email, listed, text, time_zone
from sandbox.calcom.errors import CalError
from sandbox.calcom.event_type_data import CREATION
from sandbox.calcom.state import CalcomState, Json, User
from sandbox.clock import Clock

PERSON = {
    "email": Field(email, required=True),
    "name": Field(text, required=True),
    "timeZone": Field(time_zone, required=True),
    "username": Field(text),
}


def create(known: CalcomState, clock: Clock, given: Json) -> User:
    """With a schedule from nine to five on weekdays unless `schedule` is null, and without event types unless given."""
    person = listed(given, PERSON)
    if known.user_by_email(person["email"]) is not None:
        raise CalError(409, "User with the provided e-mail already exists.")
    types = [listed(one, CREATION) for one in given.get("eventTypes") or []]
    if len({one["slug"] for one in types}) < len(types):
        raise CalError(400, "User already has an event type with this slug.")
    username = person.get("username") or _free_username(known, person["email"])
    user = User(known.next_id(), person["email"], person["name"], username, person["timeZone"], clock.now())
    known.users.add(user)
    schedule = given.get("schedule", {})
    if schedule is not None:
        working_hours = {"name": "Working hours", "timeZone": user.time_zone, "isDefault": True}
        schedules.create(known, user, listed(working_hours | schedule | {"isDefault": True}, schedules.CREATION))
    for one in types:
        event_types.create(known, user, one, clock.now())
    return user


def _free_username(known: CalcomState, mail: str) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", mail.partition("@")[0].lower()).strip("-") or "user"
    taken = {user.username for user in known.users.values()}
    return next(name for name in (base, *(f"{base}-{number}" for number in range(2, 10_000))) if name not in taken)
