"""The scheduling pages a person clicks, where calendly.com would be: `/calendly/web`.

- `/<user>`: what the user offers; `/<user>/<event type>` and `/d/<link>/<event type>`: book
- `/reschedulings/<invitee>`: that invitee moves; `/cancellations/<invitee>`: that invitee leaves

GET shows the free times of `date` (YYYY-MM-DD) in `timeZone`. POST acts; a test may post without showing the page first. Fields:
`start`, and to book `name`, `email`, `timeZone`, `a1`.. for the questions, `location` where the invitee chooses it, `guests`;
to leave `reason`. `utm_*` and `salesforce_uuid` may stand in the query. What cannot be done is told on the page.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from sandbox import times
from sandbox.calendly import acts, availability, bookings
from sandbox.calendly.availability import Span
from sandbox.calendly.booking_input import INVITEE_KINDS
from sandbox.calendly.context import setting, state, world
from sandbox.calendly.errors import ApiError, invalid
from sandbox.calendly.faces import TRACKING
from sandbox.calendly.rows import EventType, Invitee, Json, Link

blueprint = Blueprint("calendly_web", __name__, url_prefix="/calendly/web")
Act = Callable[[], ResponseReturnValue]


@blueprint.errorhandler(ApiError)
def not_here(problem: ApiError) -> ResponseReturnValue:
    return render_template("calendly/told.html", message=problem.sentence, invitee=None), problem.status


@blueprint.get("/<slug>")
def show_person(slug: str) -> str:
    host = state().user_by_slug(slug)
    if host is None:
        raise ApiError(404, "This page does not exist.")
    kinds = [row for row in state().types_of(host.id) if row.active and not row.secret]
    return render_template("calendly/person.html", host=host, kinds=kinds)


@blueprint.route("/<slug>/<type_slug>", methods=["GET", "POST"])
@blueprint.route("/<slug>/<type_slug>/<start>", methods=["GET", "POST"])
def schedule(slug: str, type_slug: str, start: str | None = None) -> ResponseReturnValue:
    """A secret type is found by whoever knows its address."""
    host = state().user_by_slug(slug)
    kinds = state().types_of(host.id) if host else []
    kind = next((row for row in kinds if row.slug == type_slug and row.active), None)
    if kind is None:
        raise ApiError(404, "This page does not exist.")
    return _booking_page(kind, start)


@blueprint.route("/d/<code>/<type_slug>", methods=["GET", "POST"])
def schedule_once(code: str, type_slug: str) -> ResponseReturnValue:
    """A single-use link books an inactive type as well [?], and one time only."""
    link = state().links.get(code)
    kind = state().event_types.get(link.type_id) if link else None
    if link is None or kind is None or kind.slug != type_slug:
        raise ApiError(404, "This page does not exist.")
    if link.used:
        raise ApiError(404, "This link has been used already.")
    return _booking_page(kind, None, link)


def _booking_page(kind: EventType, start: str | None, link: Link | None = None) -> ResponseReturnValue:
    def act() -> ResponseReturnValue:
        _, invitee = acts.book(world(), _wanted(kind) | {"anyway": link is not None})
        if link is not None:
            with world().writing():
                link.used = True
        return redirect(setting().page(f"confirmed/{invitee.id}"), 303)

    tracking = {name: request.values[name] for name in TRACKING if name in request.values}
    chooses = any(place["kind"] in INVITEE_KINDS for place in kind.locations or [])
    return _page("calendly/book.html", kind, act, None, start, tracking=tracking, chooses=chooses)


def _wanted(kind: EventType) -> Json:
    form = request.form
    missing = [one["name"] for number, one in enumerate(kind.questions, 1) if one["required"] and not form.get(f"a{number}", "").strip()]
    if missing:
        raise ApiError(400, f"Please answer: {missing[0]}")
    return {
        "eventType": kind.id,
        "start": _start(),
        "invitee": {
            "name": form.get("name", "").strip(),
            "email": form.get("email", "").strip(),
            "timeZone": form.get("timeZone") or state().users[kind.owner_id].time_zone,
        },
        "answers": {one["name"]: form.get(f"a{number}", "") for number, one in enumerate(kind.questions, 1)},
        "tracking": {name: request.values[name][:255] for name in TRACKING if name in request.values},
        "guests": form.get("guests", "").replace(",", " ").split(),
        "location": _location(kind),
    }


def _location(kind: EventType) -> Json | None:
    place = kind.locations[0] if kind.locations else None
    if place is None or place["kind"] not in INVITEE_KINDS:
        return place
    text = request.form.get("location", "").strip()
    if not text:
        raise ApiError(400, "Please say where.")
    return place | {"location": text}


def _start() -> str:
    if not request.form.get("start"):
        raise ApiError(400, "Choose a time.")
    return request.form["start"]


@blueprint.route("/reschedulings/<invitee_id>", methods=["GET", "POST"])
def reschedule(invitee_id: str) -> ResponseReturnValue:
    """Another time for this one invitee, in the same or in another group event."""
    invitee = _known(invitee_id)
    bookings.check_open(setting(), invitee)
    kind = state().event_types[state().events[invitee.event_id].type_id]

    def act() -> ResponseReturnValue:
        new = acts.move(world(), invitee, acts.start_of({"start": _start()}), None)
        return redirect(setting().page(f"confirmed/{new.id}"), 303)

    return _page("calendly/reschedule.html", kind, act, invitee, None)


@blueprint.route("/cancellations/<invitee_id>", methods=["GET", "POST"])
def cancel(invitee_id: str) -> ResponseReturnValue:
    invitee = _known(invitee_id)
    bookings.check_open(setting(), invitee)
    if request.method == "POST":
        acts.cancel(world(), invitee, by="invitee", reason=request.form.get("reason", "").strip() or None)
        return redirect(setting().page(f"confirmed/{invitee.id}"), 303)
    return render_template("calendly/cancel.html", invitee=invitee, when=_when(invitee), event=state().events[invitee.event_id])


@blueprint.get("/confirmed/<invitee_id>")
def confirmed(invitee_id: str) -> str:
    invitee = _known(invitee_id)
    done = "is booked" if invitee.status == "active" else "is canceled"
    message = f"{state().events[invitee.event_id].name} on {_when(invitee)} {done}."
    return render_template("calendly/told.html", message=message, invitee=invitee if invitee.status == "active" else None)


def _known(invitee_id: str) -> Invitee:
    row = state().invitees.get(invitee_id)
    if row is None:
        raise ApiError(404, "This page does not exist.")
    return row


def _when(invitee: Invitee) -> str:
    event, zone = state().events[invitee.event_id], invitee.time_zone or "UTC"
    return f"{event.start.astimezone(ZoneInfo(zone)):%a %d %b %Y %H:%M} ({zone})"


def _page(template: str, kind: EventType, act: Act, invitee: Invitee | None, start: str | None, **more: object) -> ResponseReturnValue:
    """Acts on POST; shows the form on GET, and again with what was wrong."""
    problem = None
    if request.method == "POST":
        try:
            return act()
        except ApiError as told:
            problem = told.sentence
    host = state().users[kind.owner_id]
    zone = times.zone(request.values.get("timeZone")) or ZoneInfo((invitee.time_zone if invitee else None) or host.time_zone)
    day = _day(start, zone)
    shown = {
        "event_type": kind,
        "host": host,
        "invitee": invitee,
        "day": day,
        "zone": zone.key,
        "problem": problem,
        "values": request.values,
    }
    if invitee is not None:
        shown["when"] = _when(invitee)
    page = render_template(template, slots=_free(kind, invitee, day, zone), **shown, **more)
    return page, 400 if problem else 200


def _day(start: str | None, zone: ZoneInfo) -> date:
    """Of the address's start, else of `date`, else tomorrow."""
    try:
        if start is not None:
            return times.parse(start).astimezone(zone).date()
        if request.values.get("date"):
            return times.parse_edge(request.values["date"][:10], end=False).date()
    except ValueError:
        raise invalid("date", "must be written as YYYY-MM-DD") from None
    return setting().now.astimezone(zone).date() + timedelta(days=1)


def _free(kind: EventType, invitee: Invitee | None, day: date, zone: ZoneInfo) -> list[tuple[str, str]]:
    span = Span(datetime.combine(day, time(0), zone), datetime.combine(day + timedelta(days=1), time(0), zone))
    with world().lock:
        own = bookings.given_back(setting(), invitee) if invitee else None
        free = list(availability.slots(state(), kind, span, setting().now, own))
    return [(times.seconds(slot.start), f"{slot.start.astimezone(zone):%H:%M}") for slot in free]
