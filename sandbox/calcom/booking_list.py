"""GET /v2/bookings: 2026-05-01 with a cursor, 2024-08-13 with take and skip, the older shape for any other version."""

import base64
import json
from collections.abc import Callable
from datetime import datetime

from sandbox import times
from sandbox.calcom import checks
from sandbox.calcom.booking_face import face, old_face
from sandbox.calcom.checks import Field, Reasons
from sandbox.calcom.errors import CalError
from sandbox.calcom.state import Booking, CalcomState, Json, User

CURSOR, PAGES = "2026-05-01", "2024-08-13"
STATUSES = ("upcoming", "recurring", "past", "cancelled", "unconfirmed")


def _statuses(name: str, value: object) -> Reasons:
    return {} if all(one in STATUSES for one in str(value).split(",")) else _bad_status(name)


def _bad_status(name: str) -> Reasons:
    return {"isEnum": f"Invalid {name}. Allowed are {', '.join(STATUSES)}"}


def _between(low: int, high: int) -> checks.Rule:
    def rule(name: str, value: object) -> Reasons:
        fine = str(value).isdecimal() and low <= int(str(value)) <= high
        return {} if fine else {"range": f"{name} must be a number between {low} and {high}"}

    return rule


def _ids(name: str, value: object) -> Reasons:
    fine = all(one.strip().isdecimal() and len(one) < 16 for one in str(value).split(","))
    return {} if fine else {"isInt": f"each value in {name} must be an integer number"}


FILTERS = {
    **{name: Field(checks.text) for name in ("attendeeEmail", "attendeeName", "bookingUid", "cursor")},
    **{name: Field(_ids) for name in ("eventTypeIds", "eventTypeId", "teamsIds", "teamId")},
    **{
        name: Field(checks.edge)
        for name in ("afterStart", "beforeEnd", "afterCreatedAt", "beforeCreatedAt", "afterUpdatedAt", "beforeUpdatedAt")
    },
    **{name: Field(checks.one_of("asc", "desc")) for name in ("sortStart", "sortEnd", "sortCreated", "sortUpdatedAt")},
}
BY_CURSOR = FILTERS | {"status": Field(checks.one_of(*STATUSES)), "limit": Field(_between(1, 100))}
BY_PAGE = FILTERS | {"status": Field(_statuses), "take": Field(_between(1, 250)), "skip": Field(_between(0, 10**9))}
_EDGES: dict[str, Callable[[Booking, datetime], bool]] = {
    "afterStart": lambda row, edge: row.start >= edge,
    "beforeEnd": lambda row, edge: row.end <= edge,
    "afterCreatedAt": lambda row, edge: row.created_at >= edge,
    "beforeCreatedAt": lambda row, edge: row.created_at <= edge,
    "afterUpdatedAt": lambda row, edge: row.updated_at >= edge,
    "beforeUpdatedAt": lambda row, edge: row.updated_at <= edge,
}
_SORTS: dict[str, Callable[[Booking], datetime]] = {
    "sortStart": lambda row: row.start,
    "sortEnd": lambda row: row.end,
    "sortCreated": lambda row: row.created_at,
    "sortUpdatedAt": lambda row: row.updated_at,
}
_MEANING: dict[str, Callable[[Booking, datetime], bool]] = {
    # upcoming includes pending ones; cancelled includes rejected ones and every original of a reschedule
    "upcoming": lambda row, now: row.takes_time and row.end >= now,
    "past": lambda row, now: row.takes_time and row.end < now,
    "cancelled": lambda row, _: not row.takes_time,
    "unconfirmed": lambda row, now: row.status == "pending" and row.end >= now,
    "recurring": lambda _row, _now: False,
}


def answer(known: CalcomState, user: User, query: Json, version: str, now: datetime) -> Json:
    given = checks.listed(query, BY_CURSOR if version == CURSOR else BY_PAGE)
    rows = _filtered(_visible(known, user), given, now)
    if version == CURSOR:
        return _by_cursor(known, rows, given)
    if version == PAGES:
        return _by_page(known, rows, given)
    return {
        "status": "success",
        "data": {"bookings": [old_face(known, row) for row in rows], "recurringInfo": [], "nextCursor": None},
    }


def _visible(known: CalcomState, user: User) -> list[Booking]:
    """One's own as a host, and those one attends by e-mail address."""
    mail = user.email.lower()
    return [row for row in known.bookings.values() if row.owner_id == user.id or any(one["email"].lower() == mail for one in row.attendees)]


def _filtered(rows: list[Booking], given: Json, now: datetime) -> list[Booking]:
    if "status" in given:
        wanted = [_MEANING[one] for one in given["status"].split(",")]
        rows = [row for row in rows if any(meaning(row, now) for meaning in wanted)]
    for name, keeps in _EDGES.items():
        if name in given:
            edge = times.parse_edge(given[name], end=name.startswith("before"))
            rows = [row for row in rows if keeps(row, edge)]
    if "bookingUid" in given:
        rows = [row for row in rows if row.uid == given["bookingUid"]]
    ids = [int(one) for name in ("eventTypeId", "eventTypeIds") if name in given for one in given[name].split(",")]
    if ids:
        rows = [row for row in rows if row.event_type_id in ids]
    for name, part in (("attendeeEmail", "email"), ("attendeeName", "name")):
        if name in given:
            rows = [row for row in rows if any(one[part].lower() == given[name].lower() for one in row.attendees)]
    return _sorted(rows, given)


def _sorted(rows: list[Booking], given: Json) -> list[Booking]:
    """By start when nothing else is asked for; the id decides between equals, so that pages never overlap."""
    rows = sorted(rows, key=lambda row: row.id)
    for name in reversed(_SORTS):
        if name in given:
            rows = sorted(rows, key=_SORTS[name], reverse=given[name] == "desc")
    return rows if any(name in given for name in _SORTS) else sorted(rows, key=lambda row: row.start)


def _by_cursor(known: CalcomState, rows: list[Booking], given: Json) -> Json:
    """The cursor names the last booking given, so that one made in between shifts nothing."""
    limit, begin = int(given.get("limit", 50)), 0
    if "cursor" in given:
        begin = _after(rows, given["cursor"])
    page = rows[begin : begin + limit]
    more = begin + limit < len(rows)
    cursor = base64.urlsafe_b64encode(json.dumps({"after": page[-1].id, "at": begin + limit}).encode()).decode() if more else None
    return {
        "status": "success",
        "data": [face(known, row) for row in page],
        "pagination": {"nextCursor": cursor, "hasMore": more},
    }


def _after(rows: list[Booking], cursor: str) -> int:
    try:
        saved = json.loads(base64.urlsafe_b64decode(cursor))
        last, fallback = int(saved["after"]), int(saved["at"])
    except (ValueError, KeyError, TypeError):
        raise CalError(400, "Invalid cursor") from None
    return next((index + 1 for index, row in enumerate(rows) if row.id == last), fallback)


def _by_page(known: CalcomState, rows: list[Booking], given: Json) -> Json:
    take, skip, total = int(given.get("take", 100)), int(given.get("skip", 0)), len(rows)
    page = rows[skip : skip + take]
    pages = -(-total // take)
    current = skip // take + 1 if total else 0
    pagination = {
        "returnedItems": len(page),
        "totalItems": total,
        "itemsPerPage": take,
        "remainingItems": max(0, total - skip - len(page)),
        "currentPage": current,
        "totalPages": pages,
        "hasNextPage": skip + len(page) < total,
        "hasPreviousPage": skip > 0 and total > 0,
    }
    return {"status": "success", "data": [face(known, row) for row in page], "pagination": pagination}
