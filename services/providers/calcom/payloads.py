"""Cal.com's JSON into our dataclasses. Unreadable parts raise BadAnswer; unknown fields are ignored.

Bookings: version 2024-08-13 and later. Status is lower case in the API and upper case in webhooks; times come as
`Z`, `.000Z` and `+00:00`. There is no boolean `rescheduled`: a moved booking is cancelled and has `rescheduledToUid`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.errors import BadAnswer
from services.providers.base import (
    Conference,
    EventTypeField,
    Grant,
    Hours,
    Question,
    RemoteAccount,
    RemoteBooking,
    RemoteEventType,
    RemotePerson,
    RemoteSchedule,
    sendable,
)

STATUS = {
    "accepted": "CONFIRMED",
    "pending": "PENDING",
    "awaiting_host": "PENDING",
    "cancelled": "CANCELLED",
    "rejected": "DECLINED",
}
UNREADABLE = (KeyError, AttributeError, TypeError, ValueError, OverflowError, OSError, RecursionError)
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
MOST = 2**31 - 1
"""The largest number that a column holds."""
ZOOM_LINK = re.compile(r"^https://[\w.-]*\bzoom\.us/[jw]/(\d{9,})")
# Answers that are told elsewhere on a booking, or are about Cal.com's form and not about the meeting.
NOT_ANSWERS = {
    "name", "email", "displayEmail", "guests", "displayGuests", "location", "rescheduledReason", "rescheduleReason",
    "attendeePhoneNumber", "title", "smsReminderNumber",
}  # fmt: skip
LABELS = {"notes": "Additional notes"}
MARK = "conveneOperation"
"""The key of a booking's metadata under which the mark of a wish is kept."""


def data(answer: Any) -> Any:
    """The `data` of Cal.com's envelope."""
    if not isinstance(answer, dict) or "data" not in answer:
        raise BadAnswer("calcom", "an answer without data")
    return answer["data"]


def managed_grant(raw: Any, now: datetime) -> Grant:
    """A managed user's pair: expiries are epoch milliseconds, and there are no scopes."""
    try:
        if not sendable(raw["accessToken"]):
            raise ValueError("no token")
        life = datetime.fromtimestamp(int(raw["accessTokenExpiresAt"]) / 1000, UTC) - now
        return Grant(raw["accessToken"], _required(raw["refreshToken"]), life, None)
    except UNREADABLE as error:
        raise BadAnswer("calcom", "a token pair that cannot be read") from error


def unmarked(raw: Any, platform_client_id: str) -> Any:
    """The same without our platform client's mark: a managed user's address is kept there as `local+<clientId>@domain`."""
    try:
        return _without(f"+{platform_client_id}@", raw) if platform_client_id else raw
    except RecursionError as error:
        raise BadAnswer("calcom", "an answer that is nested too deeply") from error


def _without(mark: str, raw: Any) -> Any:
    if isinstance(raw, str):
        return raw.replace(mark, "@")
    if isinstance(raw, list):
        return [_without(mark, one) for one in raw]
    if isinstance(raw, dict):
        return {name: _without(mark, one) for name, one in raw.items()}
    return raw


def account(raw: Any, app_url: str) -> RemoteAccount:
    """A managed user without a schedule is one whom nobody can book."""
    try:
        username = _text(raw.get("username"))
        organization = raw.get("organizationId")
        return RemoteAccount(
            external_id=_id(raw["id"]),
            name=_text(raw.get("name")),
            email=_text(raw.get("email")),
            username=username,
            time_zone=_text(raw.get("timeZone")),
            organization=None if organization is None else _id(organization),
            scheduling_url=f"{app_url}/{username}" if username else None,
            bookable=raw.get("defaultScheduleId", 0) is not None,
        )
    except UNREADABLE as error:
        raise BadAnswer("calcom", "a profile that cannot be read") from error


def event_type(raw: Any, app_url: str) -> RemoteEventType:
    try:
        users = raw.get("users") or []
        username = users[0].get("username") if users else None
        policy = raw.get("confirmationPolicy") or {}
        seats = raw.get("seats") or {}
        return RemoteEventType(
            external_id=_id(raw["id"]),
            title=_text(raw["title"]) or "Untitled",
            slug=_text(raw.get("slug")),
            description=_text(raw.get("description")),
            duration_minutes=_whole(raw["lengthInMinutes"]),
            duration_options=tuple(_whole(n) for n in raw.get("lengthInMinutesOptions") or ()),
            hidden=bool(raw.get("hidden")),
            requires_confirmation=bool(policy) and not policy.get("disabled", False),
            is_group=bool(seats.get("seatsPerTimeSlot")) and not seats.get("disabled", False),
            scheduling_url=_text(raw.get("bookingUrl")) or (f"{app_url}/{username}/{raw.get('slug')}" if username else None),
            questions=tuple(_questions(raw.get("bookingFields") or ())),
            buffer_before=_whole(raw.get("beforeEventBuffer") or 0),
            buffer_after=_whole(raw.get("afterEventBuffer") or 0),
            notice_minutes=_whole(raw.get("minimumBookingNotice") or 0),
        )
    except UNREADABLE as error:
        raise BadAnswer("calcom", "an event type that cannot be read") from error


def _questions(fields: Any) -> Iterator[Question]:
    """What the host asks, besides the default fields that every booking has: of those only the notes are a question."""
    for one in fields:
        slug = _text(one.get("slug"))
        if slug and not one.get("hidden") and (slug == "notes" or not one.get("isDefault")):
            choices = one.get("options") or ()
            yield Question(
                key=slug,
                text=LABELS.get(slug) or _text(one.get("label")) or slug,
                required=bool(one.get("required")),
                choices=tuple(str(choice.get("value", choice) if isinstance(choice, dict) else choice) for choice in choices),
            )


DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def event_type_body(wanted: Mapping[EventTypeField, Any]) -> dict[str, Any]:
    """What may be set of an event type, in Cal.com's words."""
    names = {
        "title": "title",
        "slug": "slug",
        "description": "description",
        "duration_minutes": "lengthInMinutes",
        "duration_options": "lengthInMinutesOptions",
        "hidden": "hidden",
    }
    body = {names[name]: value for name, value in wanted.items() if name in names}
    if body.get("lengthInMinutesOptions"):
        # its own length has to be one of them
        body["lengthInMinutesOptions"] = sorted(
            {*body["lengthInMinutesOptions"], *([body["lengthInMinutes"]] if "lengthInMinutes" in body else [])}
        )
    if "requires_confirmation" in wanted:
        always = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
        body["confirmationPolicy"] = always if wanted["requires_confirmation"] else {"disabled": True}
    return body


def schedule(raw: Any) -> RemoteSchedule:
    """Rules of several days each, into hours by day; times are local to the schedule's zone."""
    try:
        weekly: dict[int, list[Hours]] = {}
        for rule in raw.get("availability") or ():
            for day in rule["days"]:
                weekly.setdefault(DAYS.index(day) + 1, []).append(_hours(rule))
        special: dict[date, list[Hours]] = {}
        for rule in raw.get("overrides") or ():
            hours = special.setdefault(date.fromisoformat(rule["date"]), [])
            if rule["startTime"] != rule["endTime"]:  # 00:00 to 00:00: closed
                hours.append(_hours(rule))
        return RemoteSchedule(
            external_id=_id(raw["id"]),
            name=_required(raw["name"]),
            time_zone=_required(raw["timeZone"]),
            is_default=bool(raw.get("isDefault")),
            weekly=tuple((day, tuple(sorted(hours, key=lambda h: h.start))) for day, hours in sorted(weekly.items())),
            overrides=tuple((day, tuple(sorted(hours, key=lambda h: h.start))) for day, hours in sorted(special.items())),
        )
    except UNREADABLE as error:
        raise BadAnswer("calcom", "a schedule that cannot be read") from error


def _hours(rule: Any) -> Hours:
    """The last minute of a day stands for its end."""
    start, end = rule["startTime"], "24:00" if rule["endTime"] == "23:59" else rule["endTime"]
    if not (CLOCK.fullmatch(start) and CLOCK.fullmatch(end)):
        raise ValueError("no time of day")
    return Hours(start, end)


def schedule_body(wanted: RemoteSchedule) -> dict[str, Any]:
    """The same way back. A closed day is an override from 00:00 to 00:00; the last minute is the end of the day."""
    closed = (Hours("00:00", "00:00"),)

    def end(hours: Hours) -> str:
        return "23:59" if hours.end == "24:00" else hours.end

    return {
        "name": wanted.name,
        "timeZone": wanted.time_zone,
        "availability": [
            {"days": [DAYS[day - 1]], "startTime": hours.start, "endTime": end(hours)} for day, open_ in wanted.weekly for hours in open_
        ],
        "overrides": [
            {"date": day.isoformat(), "startTime": hours.start, "endTime": end(hours)}
            for day, open_ in wanted.overrides
            for hours in open_ or closed
        ],
    }


def _conference(link: Any) -> Conference | None:
    """A link, or an app that makes one; of Zoom's the meeting's id is in the link."""
    if not isinstance(link, str) or not link.startswith(("https://", "http://", "integrations:")):
        return None
    zoom = ZOOM_LINK.search(link)
    return Conference("zoom", zoom[1]) if zoom else Conference()


def booking(raw: Any) -> RemoteBooking:
    try:
        start = moment(raw["start"])
        end = moment(raw["end"]) if raw.get("end") else start + timedelta(minutes=int(raw["duration"]))
        responses = raw.get("bookingFieldsResponses")
        responses = responses if isinstance(responses, dict) else {}
        link = raw.get("meetingUrl") or raw.get("location")
        kind = raw.get("eventType") or {}
        kind_id = kind.get("id", raw.get("eventTypeId"))
        return RemoteBooking(
            external_id=_required(raw["uid"]),
            title=_text(raw.get("title")) or "Meeting",
            status=STATUS[str(raw["status"]).lower()],
            start=start,
            end=end,
            people=_people(raw),
            created_at=moment(raw["createdAt"]),
            updated_at=moment(raw.get("updatedAt") or raw["createdAt"]),
            event_type_id=None if kind_id is None else _id(kind_id),
            previous_id=_text(raw.get("rescheduledFromUid")),
            next_id=_text(raw.get("rescheduledToUid")),
            is_group=bool(raw.get("seatsPerTimeSlot")) or any("seatUid" in a for a in raw.get("attendees") or ()),
            location=_text(raw.get("location")),
            meeting_url=_text(link) if isinstance(link, str) and link.startswith(("https://", "http://")) else None,
            answers=tuple(_answers(responses)),
            cancellation_reason=_text(raw.get("cancellationReason")),
            reschedule_reason=_text(raw.get("reschedulingReason")) or _text(responses.get("rescheduledReason")),
            changed_by_email=_text(raw.get("cancelledByEmail")) or _text(raw.get("rescheduledByEmail")),
            conference=_conference(link),
            mark=_text(metadata.get(MARK)) if isinstance(metadata := raw.get("metadata"), dict) else None,
        )
    except UNREADABLE as error:
        raise BadAnswer("calcom", "a booking that cannot be read") from error


@dataclass(frozen=True)
class Subscription:
    id: str
    url: str | None
    active: bool


def subscription(raw: Any) -> Subscription:
    try:
        return Subscription(_id(raw["id"]), _text(raw.get("subscriberUrl")), bool(raw.get("active")))
    except UNREADABLE as error:
        raise BadAnswer("calcom", "a webhook that cannot be read") from error


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _required(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value


def _id(value: Any) -> str:
    """Numbers here and texts there; `None` is nobody's."""
    return str(value) if type(value) is int else _required(value)


def _whole(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= MOST:
        raise ValueError("a number that cannot be")
    return number


def _people(raw: dict[str, Any]) -> tuple[RemotePerson, ...]:
    hosts = [
        RemotePerson(
            role="COACH",
            name=_text(host.get("name")) or "",
            email=_address(host),
            time_zone=_text(host.get("timeZone")),
            external_id=None if host.get("id") in {None, "unknown"} else _id(host["id"]),
            no_show=bool(raw.get("absentHost")),
        )
        for host in raw.get("hosts") or ()
    ]
    guests = {str(g).lower() for g in raw.get("guests") or ()}
    attendees = [
        RemotePerson(
            # guests come back as attendees without a name
            role="GUEST" if index and (_address(a) in guests or not a.get("name")) else "MENTEE",
            name=_text(a.get("name")) or "",
            email=_address(a),
            time_zone=_text(a.get("timeZone")),
            no_show=bool(a.get("absent")),
        )
        for index, a in enumerate(raw.get("attendees") or ())
    ]
    return (*hosts, *attendees)


def _address(person: dict[str, Any]) -> str | None:
    """`displayEmail` is what the person typed."""
    address = person.get("displayEmail") or person.get("email")
    return address.strip().lower() if isinstance(address, str) and address.strip() else None


def _answers(responses: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in responses.items():
        if name in NOT_ANSWERS or value in (None, "", [], {}):
            continue
        text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
        found.append((LABELS.get(name, name), text))
    return found


def moment(text: str) -> datetime:
    """Any of Cal.com's three spellings of a time; a naive one is read as UTC, as Cal.com does."""
    at = datetime.fromisoformat(text)
    if not 1 < at.year < 9999:  # noqa: PLR2004 - the calendar's ends, where not every zone can show it
        raise ValueError("a time outside the calendar")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
