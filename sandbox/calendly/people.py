"""Making people and their event types outside the API, for the control face and the demo."""

import re
from typing import Any

from sandbox.calendly import event_type_data, rules
from sandbox.calendly.checks import Given
from sandbox.calendly.errors import ApiError
from sandbox.calendly.rows import EventType, Json, Membership, Organization, Schedule, User
from sandbox.calendly.setting import Setting
from sandbox.calendly.state import CalendlyState, new_id

PLANS = ("basic", "essentials", "professional", "teams", "enterprise")
STAGES = ("trial", "free", "paid")
QUESTION_TYPES = ("string", "text", "phone_number", "single_select", "multi_select")


def create(setting: Setting, sent: Json) -> User:
    """In an organization of their own unless one is named, with hours from nine to five unless `schedule` is given or null."""
    known, given = setting.known, Given(sent)
    email, name, zone = given.email("email", required=True), given.text("name", required=True), given.zone("timeZone", required=True)
    plan, stage = given.choice("plan", PLANS) or "professional", given.choice("stage", STAGES) or "paid"
    role, slug = given.choice("role", ("admin", "user")) or "user", given.text("slug")
    schedule = _schedule(setting, given)
    kinds = [_event_type(one) for one in given.listed("eventTypes")]
    given.finish()
    if known.user_by_email(str(email)) is not None:
        raise ApiError(409, "A user with this e-mail address exists already.")
    host = known.user_by_email(str(sent["organization"])) if sent.get("organization") else None
    if sent.get("organization") and host is None:
        raise ApiError(404, "No sandbox user has the e-mail address given as organization.")
    organization = known.organizations[host.organization_id] if host else _organization(setting, str(name), plan, stage)
    slug = slug if slug and known.user_by_slug(slug) is None else _free_slug(known, str(name))
    user = known.users.add(User(new_id(), str(email), str(name), slug, str(zone), organization.id, setting.now, setting.now))
    join(setting, user, role if host else "owner")
    if schedule is not None:
        hours = rules.plain(schedule["rules"])
        known.schedules.add(Schedule(new_id(), user.id, "Working hours", schedule.get("timezone") or str(zone), default=True, rules=hours))
    for one in kinds:
        _add_type(setting, user, one)
    return user


def _organization(setting: Setting, name: str, plan: str, stage: str) -> Organization:
    known = setting.known
    known.organization_number += 1
    row = Organization(new_id(), name, known.organization_number, plan, stage, setting.now, setting.now)
    return known.organizations.add(row)


def join(setting: Setting, user: User, role: str) -> None:
    setting.known.memberships.add(Membership(new_id(), user.id, user.organization_id, role, setting.now, setting.now))


def remove(setting: Setting, user: User) -> list[str]:
    """Out of the organization, into a free one of their own. Answers the subscriptions that hear nothing from now on."""
    known, left = setting.known, user.organization_id
    known.memberships.remove(lambda row: row.user_id != user.id)
    user.organization_id, user.updated_at = _organization(setting, user.name, "basic", "free").id, setting.now
    join(setting, user, "owner")
    return [row.id for row in known.subscriptions.values() if row.user_id == user.id and row.organization_id == left]


def _free_slug(known: CalendlyState, name: str) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "user"
    return next(slug for slug in (base, *(f"{base}-{number}" for number in range(1, 10_000))) if known.user_by_slug(slug) is None)


def _schedule(setting: Setting, given: Given) -> Json | None:
    """`null` is a host who is never free; absent is nine to five on weekdays."""
    if "schedule" not in given.values:
        return {"rules": rules.nine_to_five()}
    schedule = given.values["schedule"]
    if schedule is None:
        return None
    if not isinstance(schedule, dict):
        given.wrong("schedule", "must be an object or null")
        return None
    wrong = rules.problem(schedule.get("rules"), setting.now.date(), whole_week=False)
    if wrong:
        given.wrong("schedule", wrong)
    Given(schedule).zone("timezone")
    return schedule


def _event_type(sent: Any) -> Json:
    """As the API reads it, and what the API cannot set."""
    given = Given(sent if isinstance(sent, dict) else {})
    changes: Json = {"active": True} | event_type_data.read(given)
    kind, limit = given.choice("kind", ("solo", "group")), given.whole("limit", 1, 1000)
    changes |= {"kind": kind or "solo", "limit": (limit or 10) if kind == "group" else 1}
    for name in ("before", "after"):
        buffers = given.values.get("buffers") or {}
        changes[f"buffer_{name}"] = Given(buffers).whole(name, 0, 720) or 0
    changes["notice"] = given.whole("notice", 0, 100_000) or 0
    changes["interval"] = given.whole("interval", 5, 720) or 30
    changes |= {"paid": bool(given.flag("paid")), "secret": bool(given.flag("secret")), "split_name": bool(given.flag("splitName"))}
    changes["questions"] = [_question(one, number) for number, one in enumerate(given.listed("questions"))]
    if not changes.get("name"):
        given.wrong("eventTypes", "need a name")
    given.finish()
    return changes


def _question(sent: Any, position: int) -> Json:
    given = Given(sent if isinstance(sent, dict) else {"name": sent})
    name, kind = given.text("name", required=True), given.choice("type", QUESTION_TYPES) or "string"
    required, other, choices = given.flag("required"), given.flag("include_other"), given.listed("answer_choices")
    given.finish()
    return {
        "name": name,
        "type": kind,
        "position": position,
        "enabled": True,
        "required": bool(required),
        "answer_choices": choices,
        "include_other": bool(other),
    }


def _add_type(setting: Setting, user: User, changes: Json) -> EventType:
    known = setting.known
    slug, position = event_type_data.free_slug(known, user.id, changes["name"]), len(known.types_of(user.id))
    row = EventType(new_id(), user.id, changes["name"], slug, changes.get("duration") or 30, position, setting.now, setting.now)
    event_type_data.apply(row, changes)
    return known.event_types.add(row)
