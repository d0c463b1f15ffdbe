"""Free times, busy times and schedules. None of these lists is paginated."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from flask import request

from sandbox import times
from sandbox.calendly import auth, availability, faces, rules
from sandbox.calendly.auth import Caller
from sandbox.calendly.availability import Span
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.errors import NO_ACCESS, ApiError
from sandbox.calendly.event_types import find
from sandbox.calendly.rows import EventType, Json, Schedule
from sandbox.calendly.setting import spell
from sandbox.calendly.state import new_id


@blueprint.get("/event_type_available_times")
def list_available_times() -> Json:
    """Two pages of the documents name two different scopes for this call: both are asked for [?]."""
    caller, given = auth.needed("event_types:read", "availability:read"), Given(request.args)
    type_id = given.resource(setting(), "event_type", "event_types", required=True)
    span = _span(given, state().switches["windowDays"])
    event_type = find(str(type_id))
    if not caller.same_organization(state().users[event_type.owner_id]):
        raise ApiError(403, NO_ACCESS)
    with world().lock:
        if not event_type.active or state().switches["noTimes"]:
            return {"collection": []}
        free = availability.slots(state(), event_type, span, setting().now)
        return {"collection": [_time(event_type, slot.start, slot.remaining) for slot in free]}


def _span(given: Given, days: int) -> Span:
    begin, end = given.moment("start_time", required=True), given.moment("end_time", required=True)
    if begin is not None and begin <= setting().now:
        given.wrong("start_time", "start_time must be in the future")
    if begin is not None and end is not None and end <= begin:
        given.wrong("end_time", "end_time must be after start_time")
    if begin is not None and end is not None and end - begin > timedelta(days=days):
        given.wrong("end_time", f"date range can never be greater than {days} days")
    given.finish()
    assert begin is not None
    assert end is not None
    return Span(begin, end)


def _time(event_type: EventType, start: datetime, remaining: int) -> Json:
    owner, text = state().users[event_type.owner_id], times.seconds(start)
    address = setting().page(f"{owner.slug}/{event_type.slug}/{text}?month={text[:7]}&date={text[:10]}")
    return {"status": "available", "invitees_remaining": remaining, "start_time": text, "scheduling_url": address}


@blueprint.get("/user_busy_times")
def list_busy_times() -> Json:
    caller, given = auth.needed("availability:read"), Given(request.args)
    user = given.resource(setting(), "user", "users", required=True)
    span = _span(given, 7)
    _check_member(caller, user)
    with world().lock:
        if state().users[str(user)].email in state().switches["brokenCalendars"]:
            raise ApiError(424)
        return {"collection": sorted(_busy(str(user), span), key=lambda row: str(row["start_time"]))}


def _busy(user_id: str, span: Span) -> list[Json]:
    rows: list[Json] = [
        {
            "type": "calendly",
            "start_time": spell(row.start),
            "end_time": spell(row.end),
            "buffered_start_time": spell(row.buffered[0]),
            "buffered_end_time": spell(row.buffered[1]),
            "event": {"uri": setting().event_uri(row.id)},
        }
        for row in availability.active_events(state(), user_id)
        if span.overlaps(Span(*row.buffered))
    ]
    return rows + [
        {"type": "external", "start_time": spell(row.start), "end_time": spell(row.end)}
        for row in list(state().busy.values())
        if row.user_id == user_id and span.overlaps(Span(row.start, row.end))
    ]


def _check_member(caller: Caller, user_id: str | None) -> None:
    if user_id is None or user_id not in state().users:
        raise ApiError(404)
    caller.check_manages(user_id)


@blueprint.get("/user_availability_schedules")
def list_schedules() -> Json:
    caller, given = auth.needed("availability:read"), Given(request.args)
    user = given.resource(setting(), "user", "users", required=True)
    given.finish()
    _check_member(caller, user)
    rows = [row for row in list(state().schedules.values()) if row.user_id == user]
    return {"collection": [faces.schedule(setting(), row) for row in rows]}


@blueprint.get("/user_availability_schedules/<schedule_id>")
def show_schedule(schedule_id: str) -> Json:
    caller, row = auth.needed("availability:read"), state().schedules.get(schedule_id)
    if row is None:
        raise ApiError(404)
    caller.check_manages(row.user_id)
    return resource(faces.schedule(setting(), row))


@blueprint.post("/user_availability_schedules")
def create_schedule() -> tuple[Json, int]:
    """For the caller, and applied to no event type."""
    caller, given = auth.needed("availability:write"), Given(body())
    name, zone = given.text("name", required=True), given.zone("timezone", required=True)
    wrong = rules.problem(given.values.get("rules"), _today(zone), whole_week=True)
    if wrong:
        given.wrong("rules", wrong)
    given.finish()
    with world().writing():
        row = Schedule(new_id(), caller.user.id, str(name), str(zone), default=False, rules=rules.plain(given.values["rules"]))
        return resource(faces.schedule(setting(), state().schedules.add(row))), 201


def _today(zone: str | None) -> date:
    return setting().now.astimezone(ZoneInfo(zone or "UTC")).date()


@blueprint.get("/event_type_availability_schedules")
def list_type_schedules() -> Json:
    caller, given = auth.needed("event_types:read", "availability:read"), Given(request.args)
    row = _managed_type(caller, given)
    return {"collection": [_type_schedule(row)]}


def _managed_type(caller: Caller, given: Given) -> EventType:
    type_id = given.resource(setting(), "event_type", "event_types", required=True)
    given.finish()
    row = find(str(type_id))
    caller.check_manages(row.owner_id)
    return row


def _type_schedule(row: EventType) -> Json:
    rule = availability.rule_of(state(), row)
    return {
        "event_type": setting().uri(f"event_types/{row.id}"),
        "availability_setting": "host",
        "availability_rule": {"timezone": rule["timezone"], "user": setting().user_uri(row.owner_id), "rules": rule["rules"]},
    }


@blueprint.patch("/event_type_availability_schedules")
def change_type_schedule() -> Json:
    """The rules replace all that were there: a day that is not named is closed."""
    caller = auth.needed("event_types:write", "availability:write")
    row, sent = _managed_type(caller, Given(request.args)), Given(body())
    sent.choice("availability_setting", ("host",))
    rule = sent.values.get("availability_rule")
    if not isinstance(rule, dict):
        sent.wrong("availability_rule", "is missing")
        rule = {}
    inner = Given(rule)
    zone = inner.zone("timezone", required=True)
    wrong = rules.problem(rule.get("rules", []), _today(zone), whole_week=False)
    if wrong:
        inner.wrong("rules", wrong)
    sent.finish()
    inner.finish()
    with world().writing():
        row.own_rule = {"timezone": zone, "rules": rules.plain(rule.get("rules", []))}
        row.updated_at = setting().now
        return resource(_type_schedule(row))
