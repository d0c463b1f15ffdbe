"""Calendly's JSON into our dataclasses. Unreadable parts raise BadAnswer; unknown fields are ignored.

An invitee is a booking of ours, and its id here is "<event>/<invitee>": what people answer, cancel and move is theirs
alone, also in a group event. Calendly moves an invitee by making a new one of another event; the two name each other.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from services.errors import BadAnswer
from services.providers.base import (
    Conference,
    EventTypeField,
    Hours,
    Occasion,
    Question,
    RemoteAccount,
    RemoteBooking,
    RemoteEventType,
    RemotePerson,
    RemoteSchedule,
)

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Some say zoom and gotomeeting, some zoom_conference and gotomeeting_conference.
CONFERENCES = (
    "zoom",
    "zoom_conference",
    "gotomeeting",
    "gotomeeting_conference",
    "google_conference",
    "microsoft_teams_conference",
    "webex_conference",
)
IN_WORK = ("initiated", "processing")
TRACKED, OURS = "utm_term", "convene:"
"""An invitee's tracking is the only place for an id of the caller's."""
UNREADABLE = (KeyError, AttributeError, TypeError, ValueError, IndexError, OverflowError, RecursionError)
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
MOST = 2**31 - 1
"""The largest number that a column holds."""


def last(uri: Any) -> str:
    """The id at the end of a resource's address."""
    if not isinstance(uri, str) or "\0" in uri or not (found := uri.rstrip("/").rpartition("/")[2]):
        raise ValueError("an address without an id")
    return found


def subscription(raw: Any) -> tuple[str, str | None]:
    """Its id, and the address that it calls."""
    try:
        return last(raw["uri"]), _text(raw.get("callback_url"))
    except UNREADABLE as error:
        raise BadAnswer("calendly", "a webhook subscription that cannot be read") from error


def _text(value: Any) -> str | None:
    """Without U+0000, which may stand in a webhook and in no text of PostgreSQL's."""
    return value.replace("\0", "") or None if isinstance(value, str) else None


def _required(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value


def _whole(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= MOST:
        raise ValueError("a number that cannot be")
    return number


def place(uri: Any) -> str:
    """An invitee's address, which ends in scheduled_events/<event>/invitees/<invitee>, as "<event>/<invitee>"."""
    *_, events, event, invitees, invitee = str(uri).rstrip("/").split("/")
    if (events, invitees) != ("scheduled_events", "invitees") or not event or not invitee or "\0" in str(uri):
        raise ValueError("no invitee's address")
    return f"{event}/{invitee}"


def account(raw: Any) -> RemoteAccount:
    try:
        return RemoteAccount(
            external_id=last(raw["uri"]),
            name=_text(raw.get("name")),
            email=_text(raw.get("email")),
            username=_text(raw.get("slug")),
            time_zone=_text(raw.get("timezone")),
            organization=last(raw["current_organization"]) if raw.get("current_organization") else None,
            scheduling_url=_text(raw.get("scheduling_url")),
        )
    except UNREADABLE as error:
        raise BadAnswer("calendly", "a profile that cannot be read") from error


def event_type(raw: Any) -> RemoteEventType:
    """`secret` ones are hidden. A booking is never left for the host to confirm."""
    try:
        return RemoteEventType(
            external_id=last(raw["uri"]),
            title=_text(raw.get("name")) or "Untitled",
            slug=_text(raw.get("slug")),
            description=_text(raw.get("description_plain")),
            duration_minutes=_whole(raw["duration"]),
            duration_options=tuple(_whole(n) for n in raw.get("duration_options") or ()),
            hidden=bool(raw.get("secret")),
            requires_confirmation=False,
            is_group=raw.get("kind") == "group",
            scheduling_url=_text(raw.get("scheduling_url")),
            active=bool(raw.get("active")) and not raw.get("deleted_at") and raw.get("booking_method", "instant") == "instant",
            questions=tuple(question(one) for one in raw.get("custom_questions") or () if one.get("enabled")),
        )
    except UNREADABLE as error:
        raise BadAnswer("calendly", "an event type that cannot be read") from error


def question(raw: Any) -> Question:
    """Its text is its key: an answer must repeat it letter for letter."""
    select = raw.get("type") in {"single_select", "multi_select"} and not raw.get("include_other")
    choices = tuple(str(one) for one in raw.get("answer_choices") or ()) if select else ()
    return Question(_required(raw["name"]), raw["name"], bool(raw.get("required")), choices)


def event_type_body(wanted: Mapping[EventTypeField, Any]) -> dict[str, Any]:
    names = {
        "title": "name",
        "description": "description",
        "duration_minutes": "duration",
        "duration_options": "duration_options",
        "active": "active",
    }
    return {names[name]: value for name, value in wanted.items() if name in names}


def schedule(raw: Any) -> RemoteSchedule:
    """A rule per weekday, and one per special date; no intervals: closed."""
    try:
        rules = raw["rules"]
        weekly = {DAYS.index(rule["wday"]) + 1: _hours(rule) for rule in rules if rule["type"] == "wday"}
        special = {date.fromisoformat(rule["date"]): _hours(rule) for rule in rules if rule["type"] == "date"}
        return RemoteSchedule(
            external_id=last(raw["uri"]),
            name=_required(raw["name"]),
            time_zone=_required(raw["timezone"]),
            is_default=bool(raw.get("default")),
            weekly=tuple((day, hours) for day, hours in sorted(weekly.items()) if hours),
            overrides=tuple(sorted(special.items())),
        )
    except UNREADABLE as error:
        raise BadAnswer("calendly", "a schedule that cannot be read") from error


def _hours(rule: Any) -> tuple[Hours, ...]:
    if not all(CLOCK.fullmatch(one["from"]) and CLOCK.fullmatch(one["to"]) for one in rule["intervals"]):
        raise ValueError("no time of day")
    return tuple(Hours(one["from"], one["to"]) for one in rule["intervals"])


def occasion(event: Any) -> Occasion:
    try:
        counter = event["invitees_counter"]
        return Occasion(
            id=last(event["uri"]),
            start=moment(event["start_time"]),
            updated_at=moment(event["updated_at"]),
            places=_whole(counter["total"]),
            taken=_whole(counter["active"]),
        )
    except UNREADABLE as error:
        raise BadAnswer("calendly", "an event that cannot be read") from error


def booking(event: Any, invitee: Any) -> RemoteBooking:
    """One invitee of an event. What is cancelled for everybody is cancelled for each."""
    try:
        external_id = place(invitee["uri"])
        cancelled = invitee["status"] == "canceled" or event["status"] == "canceled"
        cancellation = invitee.get("cancellation") or event.get("cancellation") or {}
        location = event.get("location") or {}
        address, name = _who(event, invitee, cancellation)
        return RemoteBooking(
            external_id=external_id,
            title=_text(event.get("name")) or "Meeting",
            status="CANCELLED" if cancelled else "CONFIRMED",
            start=moment(event["start_time"]),
            end=moment(event["end_time"]),
            people=_people(event, invitee),
            created_at=moment(invitee["created_at"]),
            # whichever part of it changed last
            updated_at=max(moment(invitee["updated_at"]), moment(event["updated_at"])),
            event_type_id=last(event["event_type"]) if event.get("event_type") else None,
            previous_id=place(invitee["old_invitee"]) if invitee.get("old_invitee") else None,
            next_id=place(invitee["new_invitee"]) if invitee.get("new_invitee") else None,
            is_group=_is_group(event),
            location=_where(location),
            meeting_url=_link(location.get("join_url")),
            answers=tuple((str(a["question"]), str(a["answer"])) for a in invitee.get("questions_and_answers") or () if a.get("answer")),
            cancellation_reason=_text(cancellation.get("reason")),
            changed_by_email=address,
            changed_by=name,
            occasion_id=last(event["uri"]),
            conference=_conference(location),
            incomplete=not cancelled and _makes_conference(location) and location.get("status") in IN_WORK,
            mark=_mark(invitee.get("tracking") or {}),
            movable=not _is_group(event) and not invitee.get("payment") and len(event.get("event_memberships") or ()) == 1,
        )
    except UNREADABLE as error:
        raise BadAnswer("calendly", "an invitee that cannot be read") from error


def cancelled(before: RemoteBooking, cancellation: Any) -> RemoteBooking:
    """The booking as it is after a cancellation that was answered; it is the host's, whoever asked us for it."""
    try:
        hosts = [person.email for person in before.people if person.role == "COACH"]
        return replace(
            before,
            status="CANCELLED",
            updated_at=max(before.updated_at, moment(cancellation["created_at"])),
            cancellation_reason=_text(cancellation.get("reason")),
            changed_by_email=hosts[0] if len(hosts) == 1 else None,
            incomplete=False,
        )
    except UNREADABLE as error:
        raise BadAnswer("calendly", "a cancellation that cannot be read") from error


def _mark(tracking: Any) -> str | None:
    term = tracking.get(TRACKED)
    return term.removeprefix(OURS) if isinstance(term, str) and term.startswith(OURS) else None


def _who(event: Any, invitee: Any, cancellation: Any) -> tuple[str | None, str | None]:
    """Calendly says whether host or invitee, and a display name."""
    if cancellation.get("canceler_type") == "invitee":
        return _address(invitee.get("email")), None
    hosts = event.get("event_memberships") or []
    if cancellation.get("canceler_type") == "host" and len(hosts) == 1:
        return _address(hosts[0].get("user_email")), None
    return None, _text(cancellation.get("canceled_by"))


def _people(event: Any, invitee: Any) -> tuple[RemotePerson, ...]:
    hosts = [
        RemotePerson("COACH", _text(one.get("user_name")) or "", _address(one.get("user_email")), external_id=last(one["user"]))
        for one in event.get("event_memberships") or ()
    ]
    name = _text(invitee.get("name")) or " ".join(part for part in (invitee.get("first_name"), invitee.get("last_name")) if part)
    mentee = RemotePerson("MENTEE", name, _address(invitee["email"]), _text(invitee.get("timezone")), no_show=bool(invitee.get("no_show")))
    # of a group event's guests nobody says whose they are
    guests = [] if _is_group(event) else [_address(one.get("email")) for one in event.get("event_guests") or ()]
    return (*hosts, mentee, *(RemotePerson("GUEST", "", address) for address in guests if address))


def _is_group(event: Any) -> bool:
    return int((event.get("invitees_counter") or {}).get("limit") or 1) > 1


def _where(location: Any) -> str | None:
    found = location.get("location") or location.get("join_url")
    return _text(found)


def _link(value: Any) -> str | None:
    return _text(value) if isinstance(value, str) and value.startswith(("https://", "http://")) else None


def _conference(location: Any) -> Conference | None:
    """One that failed will not come: then the meeting may be made by us."""
    if not _makes_conference(location) or location.get("status") == "failed":
        return None
    zoom = str(location["type"]).startswith("zoom")
    meeting_id = (location.get("data") or {}).get("id") if zoom else None
    return Conference("zoom" if zoom else None, None if meeting_id is None else str(meeting_id))


def _makes_conference(location: Any) -> bool:
    return location.get("type") in CONFERENCES


def _address(value: Any) -> str | None:
    return (_text(value) or "").strip().lower() or None


def moment(text: Any) -> datetime:
    """UTC, to the millisecond as we keep it; Calendly writes up to six digits."""
    at = datetime.fromisoformat(text)
    if not 1 < at.year < 9999:  # noqa: PLR2004 - the calendar's ends, where not every zone can show it
        raise ValueError("a time outside the calendar")
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
