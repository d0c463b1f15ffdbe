"""The routes of recordings, and the download of their files."""

from calendar import monthrange
from datetime import date, timedelta
from urllib.parse import unquote

from flask import Blueprint, Response, redirect, request
from flask.typing import ResponseReturnValue

from sandbox.zoom import auth, errors, paging, recordings
from sandbox.zoom.auth import Caller
from sandbox.zoom.blueprint import blueprint, guarded
from sandbox.zoom.context import now, state, web, world
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import Json, Recording

files = Blueprint("zoom_files", __name__, url_prefix="/zoom/web/rec")
OF_MEETING, OF_USER = "cloud_recording:read:list_recording_files", "cloud_recording:read:list_user_recordings"


def _check_allowed() -> None:
    """One of Zoom's oddities: a refusal that is documented as HTTP 200 with an error in the body."""
    if state().switches["recordingsForbidden"]:
        raise ZoomError(200, 200, "You do not have the right permissions.")


@blueprint.get("/meetings/<path:name>/recordings")
@guarded("Light", OF_MEETING)
def of_meeting(caller: Caller, name: str) -> Json:
    _check_allowed()
    wants_token = request.args.get("include_fields") == "download_access_token"
    with world().writing() if wants_token else world().lock:
        recording = _find(name)
        if recording is None or not auth.reaches(caller, recording, OF_MEETING):
            raise errors.no_recording()
        host = state().host(recording)
        shown = recordings.face(recording, host, web())
        if wants_token:
            shown["download_access_token"] = recordings.token(state(), caller.client_id, host, now() + _ttl())
        return shown


def _find(name: str) -> Recording | None:
    """A number, or a uuid, of which the server has undone one encoding.

    One that begins with a slash or has two in a row is lost in the address unless it was encoded twice.
    """
    if name.isdecimal():
        return recordings.latest(state(), int(name))
    if "//" in name:
        raise errors.unknown_route()
    return recordings.by_uuid(state(), unquote(name))


def _ttl() -> timedelta:
    text = request.args.get("ttl", "3600")
    if not text.isdecimal() or int(text) > 604_800:
        raise errors.invalid("ttl")
    return timedelta(seconds=int(text))


@blueprint.get("/users/<user_id>/recordings")
@guarded("Medium", OF_USER)
def of_user(caller: Caller, user_id: str) -> Json:
    """Without dates only the last day. `page_size` is 0 when there is nothing."""
    _check_allowed()
    with world().lock:
        host = auth.find_user(caller, user_id)
        first, last = _window()
        rows = [row for row in state().recordings.values() if row.ready and row.host == host.email and first <= row.start.date() <= last]
        shown, size, token = paging.page(sorted(rows, key=lambda row: row.start, reverse=True))
        meetings = [recordings.face(row, host, web()) for row in shown]
    return {
        "from": first.isoformat(),
        "to": last.isoformat(),
        "page_count": -(-len(rows) // size),
        "page_size": size if rows else 0,
        "total_records": len(rows),
        "next_page_token": token,
        "meetings": meetings,
    }


def _window() -> tuple[date, date]:
    """At most a month; what a longer one is answered is not told [?]."""
    last = _day("to", now().date())
    first = _day("from", last - timedelta(days=1))
    if first > last or last > _month_after(first):
        raise errors.invalid("from", "to")
    return first, last


def _day(name: str, default: date) -> date:
    try:
        return date.fromisoformat(request.args[name]) if request.args.get(name) else default
    except ValueError:
        raise errors.invalid(name) from None


def _month_after(day: date) -> date:
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return date(year, month, min(day.day, monthrange(year, month)[1]))


@files.get("/download/<file_id>")
def download(file_id: str) -> ResponseReturnValue:
    """With an access token of the API, a download_access_token or an event's download_token. The file itself is elsewhere."""
    with world().lock:
        token = state().tokens.get(auth.bearer())
        recording = _of_file(file_id)
        if token is None or token.kind == "refresh" or token.expires_at <= now():
            return errors.invalid_token().body(), 401
        if recording is None or state().host(recording).account_id != token.account_id:
            return errors.no_recording().body(), 404
    return redirect(f"{web()}/rec/file/{file_id}", 302)


@files.get("/file/<file_id>")
def content(file_id: str) -> ResponseReturnValue:
    with world().lock:
        recording = _of_file(file_id)
        if recording is None:
            return errors.no_recording().body(), 404
        kind = next(file["recording_type"] for file in recording.files if file.get("id") == file_id)
    return Response(recordings.file_content(kind), mimetype="application/octet-stream")


def _of_file(file_id: str) -> Recording | None:
    rows = state().recordings.values()
    return next((row for row in rows if any(file.get("id") == file_id for file in row.files)), None)
