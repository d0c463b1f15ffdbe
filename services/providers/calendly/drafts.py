"""What `POST /invitees` is sent: a wish, or an old booking, in Calendly's words (developer.calendly.com, Scheduling API)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.errors import BadAnswer, Unbookable
from services.providers.base import BookingWish
from services.providers.calendly.payloads import OURS, TRACKED, UNREADABLE

TEXT_KINDS = ("physical", "outbound_call", "ask_invitee", "custom")
"""Kinds of location whose text the caller may send."""
INVITEE_KINDS = ("outbound_call", "ask_invitee")
"""Of these only the invitee knows the text."""
KIND_OF_TYPE = {"zoom": "zoom_conference", "gotomeeting": "gotomeeting_conference"}
"""Events name these otherwise than event types do."""


def of_wish(kind: Any, wish: BookingWish) -> dict[str, Any]:
    """Raises Unbookable where the scheduling page asks for something that has no place here."""
    try:
        if kind.get("is_paid"):
            raise Unbookable(
                "calendly", f"This event type is paid for when it is booked. Book it on its page: {kind.get('scheduling_url')}"
            )
        body = {
            "event_type": kind["uri"],
            "start_time": _utc(wish.start),
            "invitee": {"name": wish.name, "email": wish.email, "timezone": wish.time_zone},
            "tracking": {"utm_source": "convene", TRACKED: f"{OURS}{wish.mark}"},
        }
        if wish.answers:
            body["questions_and_answers"] = _answers(kind, dict(wish.answers))
        if place := _place(kind):
            body["location"] = place
    except UNREADABLE as error:
        raise BadAnswer("calendly", "an event type that cannot be read") from error
    return body


def of_replacement(kind: Any, event: Any, invitee: Any, start: datetime, mark: str) -> dict[str, Any] | None:
    """The same booking at another time; None where a part of it would be lost or is asked for anew."""
    try:
        if not _plain(kind, event, invitee):
            return None
        known = {one["question"]: one["answer"] for one in invitee.get("questions_and_answers") or () if one.get("answer")}
        asked = {one["name"]: one for one in kind.get("custom_questions") or () if one.get("enabled")}
        lacking = any(one.get("required") and name not in known for name, one in asked.items())
        if lacking or not set(known) <= set(asked):
            return None
        place = _same_place(kind, event.get("location") or {})
        if place is None:
            return None
        tracking = {name: value for name, value in (invitee.get("tracking") or {}).items() if value}
        body: dict[str, Any] = {
            "event_type": kind["uri"],
            "start_time": _utc(start),
            "invitee": _same_person(invitee),
            "tracking": {**tracking, TRACKED: f"{OURS}{mark}"},
        }
        if known:
            body["questions_and_answers"] = _answers(kind, known)
        if place:
            body["location"] = place
        if guests := [one["email"] for one in event.get("event_guests") or ()]:
            body["event_guests"] = guests
    except UNREADABLE as error:
        raise BadAnswer("calendly", "a booking that cannot be read") from error
    return body


def _plain(kind: Any, event: Any, invitee: Any) -> bool:
    """One host, one invitee, nothing paid, and an event type that can still be booked for that length."""
    length = (_moment(event["end_time"]) - _moment(event["start_time"])).total_seconds()
    return bool(
        kind.get("active")
        and not kind.get("is_paid")
        and not invitee.get("payment")
        and kind.get("kind", "solo") == "solo"
        and not kind.get("pooling_type")
        and len(event.get("event_memberships") or ()) == 1
        and invitee.get("status") == "active"
        and invitee.get("timezone")
        and length == kind["duration"] * 60
    )


def _same_person(invitee: Any) -> dict[str, Any]:
    names = ("first_name", "last_name") if invitee.get("first_name") else ("name",)
    kept = (*names, "email", "timezone", "text_reminder_number")
    return {name: invitee[name] for name in kept if invitee.get(name)}


def _answers(kind: Any, known: Mapping[str, str]) -> list[dict[str, Any]]:
    questions = [one for one in kind.get("custom_questions") or () if one.get("enabled") and one["name"] in known]
    return [{"question": one["name"], "answer": known[one["name"]], "position": one["position"]} for one in questions]


def _place(kind: Any) -> dict[str, Any] | None:
    """The first configured location that needs no word of the invitee's; left out for round robin and where there is none."""
    offered = kind.get("locations") or []
    if not offered or kind.get("pooling_type") == "round_robin":
        return None
    fitting = next((one for one in offered if one["kind"] not in INVITEE_KINDS), None)
    if fitting is None:
        raise Unbookable("calendly", f"Here the invitee says where to meet. Book it on its page: {kind.get('scheduling_url')}")
    return _worded(fitting)


def _worded(place: Any) -> dict[str, Any]:
    text = place.get("location") if place["kind"] in TEXT_KINDS else None
    return {"kind": place["kind"], "location": text} if text else {"kind": place["kind"]}


def _same_place(kind: Any, location: Any) -> dict[str, Any] | None:
    """Empty where there is none; None where the event type no longer has the one it was."""
    offered = kind.get("locations") or []
    if not location.get("type"):
        return None if offered else {}
    wanted = KIND_OF_TYPE.get(location["type"], location["type"])
    for place in offered:
        if place["kind"] != wanted:
            continue
        if wanted in INVITEE_KINDS:
            return {"kind": wanted, "location": location["location"]} if location.get("location") else None
        if wanted not in TEXT_KINDS or place.get("location") in {None, location.get("location")}:
            return _worded({**place, "location": location.get("location")})
    return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _utc(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
