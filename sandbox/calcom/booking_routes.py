"""The bookings' routes. A change is committed under the lock, told to every subscriber, and only then answered."""

from collections.abc import Callable
from typing import Any

from flask import request

from sandbox.calcom import auth, booking_changes, booking_list, checks, hooks
from sandbox.calcom.auth import Caller
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.booking_changes import Setting
from sandbox.calcom.booking_face import VERSIONS, face, old_face
from sandbox.calcom.booking_input import CANCEL, CREATION, RESCHEDULE
from sandbox.calcom.checks import Field
from sandbox.calcom.context import arrived, asked, body, now, state, success, version, world
from sandbox.calcom.errors import CalError, cannot
from sandbox.calcom.state import Booking, Json
from sandbox.deliveries import Outgoing

Change = Callable[[Setting], tuple[Booking, list[Outgoing]]]
_OLD_CREATION = {
    "start": Field(checks.text, required=True),
    "eventTypeId": Field(checks.at_least(1), required=True),
    "timeZone": Field(checks.time_zone, required=True),
    "language": Field(checks.text, required=True),
    "metadata": Field(checks.obj, required=True),
    "responses": Field(checks.obj, required=True),
}
_ABSENT = {"host": Field(checks.boolean), "attendees": Field(checks.array)}


def change(caller: Caller | None, act: Change, **how: Any) -> Json:
    """One change: commit, tell, answer. The lock is not held while subscribers are told, for they call back."""
    with world().writing():
        setting = Setting(state(), now(), arrived(), world().commits, caller, version() or "2026-02-25", **how)
        booking, batch = act(setting)
        shown = face(state(), booking)
    world().deliveries.send(batch)
    return success(shown)


def _needs_version() -> None:
    """The calls that the older contract never had."""
    if version() not in VERSIONS:
        raise cannot(request.method, asked())


def create(given: Json, caller: Caller | None, *, force: bool = False, status: str | None = None, silent: bool = False) -> Json:
    """Also what the control face books with, for outsiders."""
    checks.worded(given, CREATION)

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = booking_changes.create(setting, given)
        return booking, [] if silent else hooks.created(setting, booking)

    return change(caller, act, force=force, status=status)


@blueprint.post("/bookings")
def create_booking() -> tuple[Json, int]:
    caller = auth.optional()
    if version() not in VERSIONS:
        checks.listed(body(), _OLD_CREATION)
        raise CalError(400, "The contract 2024-04-15 cannot create bookings in this sandbox. Send cal-api-version 2026-02-25.")
    return create(body(), caller), 201


@blueprint.get("/bookings")
def list_bookings() -> Json:
    user = auth.needed("BOOKING_READ", anonymous=403)
    with world().lock:
        return booking_list.answer(state(), user, request.args.to_dict(), version(), now())


@blueprint.get("/bookings/<uid>")
def show_booking(uid: str) -> Json:
    """Public to anybody who knows the uid, e-mail addresses included."""
    auth.optional()
    with world().lock:
        booking = booking_changes.find(state(), uid)
        return success((face if version() in VERSIONS else old_face)(state(), booking))


@blueprint.post("/bookings/<uid>/reschedule")
def reschedule_booking(uid: str) -> tuple[Json, int]:
    caller = auth.optional()
    _needs_version()
    given = checks.worded(body(), RESCHEDULE)

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        old, new = booking_changes.reschedule(setting, uid, given)
        return new, hooks.rescheduled(setting, old, new)

    return change(caller, act), 201


@blueprint.post("/bookings/<uid>/cancel")
def cancel_booking(uid: str) -> Json:
    caller = auth.optional()
    given = checks.worded(body(), CANCEL)

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = booking_changes.cancel(setting, uid, given)
        return booking, hooks.cancelled(setting, booking)

    answer = change(caller, act)
    if "cancelSubsequentBookings" in given:
        # Measured: the booking is gone and the webhook sent, and then the call fails.
        raise CalError(400, f"Cancelling subsequent bookings is not possible: booking with uid={uid} is not recurring.")
    return answer


@blueprint.post("/bookings/<uid>/confirm")
def confirm_booking(uid: str) -> Json:
    auth.needed("BOOKING_WRITE", anonymous=403)
    _needs_version()

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = booking_changes.answer(setting, uid, accept=True)
        return booking, hooks.confirmed(setting, booking)

    return change(auth.optional(), act)


@blueprint.post("/bookings/<uid>/decline")
def decline_booking(uid: str) -> Json:
    auth.needed("BOOKING_WRITE", anonymous=403)
    _needs_version()
    given = checks.listed(body(), {"reason": Field(checks.text)})

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = booking_changes.answer(setting, uid, accept=False, reason=given.get("reason"))
        return booking, hooks.declined(setting, booking)

    return change(auth.optional(), act)


@blueprint.post("/bookings/<uid>/mark-absent")
def mark_absent(uid: str) -> Json:
    auth.needed("BOOKING_WRITE", anonymous=403)
    _needs_version()
    given = checks.listed(body(), _ABSENT)

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = booking_changes.mark_absent(setting, uid, given)
        return booking, hooks.absent(setting, booking, given)

    return change(auth.optional(), act)


@blueprint.post("/bookings/<uid>/request-reschedule")
def request_reschedule(uid: str) -> Json:
    auth.needed("BOOKING_WRITE", anonymous=403)
    _needs_version()
    given = checks.listed(body(), {"rescheduleReason": Field(checks.text)})

    def act(setting: Setting) -> tuple[Booking, list[Outgoing]]:
        booking = booking_changes.request_reschedule(setting, uid, given.get("rescheduleReason") or "")
        return booking, hooks.cancelled(setting, booking, requested=True)

    change(auth.optional(), act)
    return {"status": "success"}
