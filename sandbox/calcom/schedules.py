"""Schedules, 2024-06-11. Other versions get the older shape, without which no current client can do anything."""

import re
from typing import Any

from sandbox.calcom import auth, checks
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field, Reasons
from sandbox.calcom.context import body, state, success, version, world
from sandbox.calcom.errors import CalError
from sandbox.calcom.me import DAYS
from sandbox.calcom.state import CalcomState, Json, Schedule, User

VERSION = "2024-06-11"
WORKING_HOURS: list[Json] = [{"days": list(DAYS[:5]), "startTime": "09:00", "endTime": "17:00"}]
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def _availability(name: str, value: Any) -> Reasons:
    fine = isinstance(value, list) and all(isinstance(rule, dict) and _has_days(rule) and _has_hours(rule) for rule in value)
    return {} if fine else {"isArray": f"{name} must be an array of {{days, startTime HH:MM, endTime HH:MM}}"}


def _overrides(name: str, value: Any) -> Reasons:
    fine = isinstance(value, list) and all(isinstance(rule, dict) and _is_date(rule.get("date")) and _has_hours(rule) for rule in value)
    return {} if fine else {"isArray": f"{name} must be an array of {{date YYYY-MM-DD, startTime HH:MM, endTime HH:MM}}"}


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and len(value) == len("2026-01-01") and not checks.edge("", value)


def _has_days(rule: Json) -> bool:
    days = rule.get("days")
    return isinstance(days, list) and days != [] and all(day in DAYS for day in days)


def _has_hours(rule: Json) -> bool:
    return all(_CLOCK.fullmatch(str(rule.get(name))) for name in ("startTime", "endTime"))


CHANGES = {
    "name": Field(checks.text),
    "timeZone": Field(checks.time_zone),
    "isDefault": Field(checks.boolean),
    "availability": Field(_availability),
    "overrides": Field(_overrides),
}
CREATION = CHANGES | {
    "name": Field(checks.text, required=True),
    "timeZone": Field(checks.time_zone, required=True),
    "isDefault": Field(checks.boolean, required=True),
}


def create(known: CalcomState, user: User, given: Json) -> Schedule:
    """Without availability: Monday to Friday, nine to five."""
    schedule = Schedule(
        id=known.next_id(),
        owner_id=user.id,
        name=given["name"],
        time_zone=given["timeZone"],
        availability=given.get("availability") or WORKING_HOURS,
        overrides=given.get("overrides") or [],
    )
    known.schedules.add(schedule)
    if given["isDefault"]:
        user.default_schedule_id = schedule.id
    return schedule


def face(schedule: Schedule) -> Json:
    if version() != VERSION:
        return {"id": schedule.id, "name": schedule.name, "timeZone": schedule.time_zone, "schedule": schedule.availability}
    return {
        "id": schedule.id,
        "ownerId": schedule.owner_id,
        "name": schedule.name,
        "timeZone": schedule.time_zone,
        "availability": schedule.availability,
        "isDefault": state().users[schedule.owner_id].default_schedule_id == schedule.id,
        "overrides": schedule.overrides,
    }


def _owned(user: User, schedule_id: int) -> Schedule:
    schedule = state().schedules.get(schedule_id)
    if schedule is None:
        raise CalError(404, f"Schedule with ID={schedule_id} does not exist.")
    if schedule.owner_id != user.id:
        raise CalError(403, f"User with ID={user.id} does not own schedule with ID={schedule_id}")
    return schedule


@blueprint.post("/schedules")
def create_schedule() -> tuple[Json, int]:
    user = auth.needed("SCHEDULE_WRITE")
    given = checks.listed(body(), CREATION)
    with world().writing():
        return success(face(create(state(), user, given))), 201


@blueprint.get("/schedules")
def list_schedules() -> Json:
    user = auth.needed("SCHEDULE_READ")
    with world().lock:
        return success([face(row) for row in state().schedules.values() if row.owner_id == user.id])


@blueprint.get("/schedules/default")
def default_schedule() -> Json:
    user = auth.needed("SCHEDULE_READ")
    with world().lock:
        schedule = state().schedules.get(user.default_schedule_id or 0)
        return success(face(schedule) if schedule else None)


@blueprint.get("/schedules/<int:schedule_id>")
def show_schedule(schedule_id: int) -> Json:
    user = auth.needed("SCHEDULE_READ")
    with world().lock:
        return success(face(_owned(user, schedule_id)))


@blueprint.patch("/schedules/<int:schedule_id>")
def change_schedule(schedule_id: int) -> Json:
    user = auth.needed("SCHEDULE_WRITE")
    given = checks.listed(body(), CHANGES)
    columns = {"name": "name", "timeZone": "time_zone", "availability": "availability", "overrides": "overrides"}
    with world().writing():
        schedule = _owned(user, schedule_id)
        for name, column in columns.items():
            if name in given:
                setattr(schedule, column, given[name])
        if given.get("isDefault"):
            user.default_schedule_id = schedule.id
        return success(face(schedule))


@blueprint.delete("/schedules/<int:schedule_id>")
def delete_schedule(schedule_id: int) -> Json:
    """The default cannot go: somebody would be left without hours."""
    user = auth.needed("SCHEDULE_WRITE")
    with world().writing():
        schedule = _owned(user, schedule_id)
        if user.default_schedule_id == schedule.id:
            raise CalError(400, "Cannot delete a default schedule. Make another schedule the default first.")
        del state().schedules[schedule_id]
        return {"status": "success"}
