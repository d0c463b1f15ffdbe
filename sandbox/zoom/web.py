"""What the links lead to: `/zoom/web/j/...` for guests, `/zoom/web/s/...` for the host, and a recording's pages."""

from datetime import timedelta

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from sandbox import times
from sandbox.zoom import meetings
from sandbox.zoom.context import now, state, world
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import Meeting

blueprint = Blueprint("zoom_web", __name__, url_prefix="/zoom/web")
ZAK_LIFE = timedelta(hours=2)


class _PageError(Exception):
    """Told to the person."""


@blueprint.errorhandler(_PageError)
def told(problem: _PageError) -> ResponseReturnValue:
    return _page("This link does not work", str(problem)), 404


def _page(title: str, message: str) -> str:
    return render_template("zoom_message.html", title=title, message=message)


def _meeting(meeting_id: str) -> Meeting:
    try:
        return meetings.find(state(), meeting_id, now())
    except ZoomError:
        raise _PageError("Invalid meeting ID. (3,001)") from None


@blueprint.get("/j/<meeting_id>")
def join(meeting_id: str) -> ResponseReturnValue:
    """The query belongs to the link: without it the guest is asked for the passcode."""
    with world().lock:
        meeting = _meeting(meeting_id)
        if request.args.get("pwd") != meeting.encrypted_password:
            raise _PageError("Enter the meeting passcode.")
        return _page(meeting.topic, _situation(meeting))


@blueprint.get("/s/<meeting_id>")
def begin(meeting_id: str) -> ResponseReturnValue:
    """For two hours after the API gave it out."""
    with world().lock:
        meeting = _meeting(meeting_id)
        issued = request.args.get("zak", "").rpartition(".")[2]
        if not issued.isdecimal() or int(issued) + ZAK_LIFE.total_seconds() <= now().timestamp():
            raise _PageError("The link to start this meeting has expired.")
        return _page(meeting.topic, f"You are the host. {_situation(meeting)}")


def _situation(meeting: Meeting) -> str:
    if meeting.started_at is not None:
        return "The meeting is running."
    return f"It is planned for {times.seconds(meeting.start)}." if meeting.start else "It has no fixed time."


@blueprint.get("/rec/<any(share, play):kind>/<name>")
def watch(kind: str, name: str) -> ResponseReturnValue:
    with world().lock:
        for row in state().recordings.values():
            if name == row.share or any(name == file.get("id") for file in row.files):
                return _page(row.topic, f"A recording of {times.seconds(row.start)}.")
    raise _PageError(f"There is no recording to {kind}.")
