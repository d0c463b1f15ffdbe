"""The pages for people at `/mail`: what was sent, as its reader would see it, and buttons for what goes wrong on the way."""

from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, current_app, redirect, render_template
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from sandbox.mail.box import Message
from sandbox.mail.reading import read
from sandbox.pages import FaultMenu, InputError, add_chosen_fault
from sandbox.world import World

blueprint = Blueprint("mail_pages", __name__)
FAULTS: FaultMenu = {
    "refused": ("The connection is refused", {"mail": "*"}, {"kind": "refuse-connection"}),
    "temporary": ("The message is put off (451)", {"mail": "*"}, {"kind": "temporary"}),
    "permanent": ("The recipient is unknown (550)", {"mail": "*"}, {"kind": "permanent"}),
    "lost": ("The message is kept, the answer lost", {"mail": "*"}, {"kind": "lost-answer"}),
    "slow": ("The answer comes ten seconds late", {"mail": "*"}, {"kind": "slow", "seconds": 10, "when": "after"}),
}


def _world() -> World:
    return cast("World", current_app.extensions["world"])


def _back(message: str, *, bad: bool = False) -> Response:
    return redirect("/mail?" + urlencode({"message": message} | ({"bad": "1"} if bad else {})), 303)


@blueprint.errorhandler(InputError)
def told(problem: Exception) -> ResponseReturnValue:
    return _back(str(problem), bad=True)


@blueprint.get("/mail")
def index() -> str:
    world = _world()
    newest_first = world.mail.messages()[::-1]
    return render_template(
        "mail.html",
        messages=[_line(message) for message in newest_first],
        smtp_url=world.smtp_url,
        faults=[fault for fault in world.faults.entries() if "mail" in fault.match],
        common=FAULTS,
    )


def _line(message: Message) -> dict[str, Any]:
    return {"row": message, "when": f"{message.at:%a %d %b %Y %H:%M:%S} UTC", "content": read(message.raw)}


@blueprint.get("/mail/<int:message_id>")
def one(message_id: int) -> str:
    message = _world().mail.get(message_id)
    if message is None:
        raise InputError("That message is no longer here.")
    return render_template("mail_message.html", raw=message.raw.decode("utf-8", "replace"), **_line(message))


@blueprint.post("/page/mail/empty")
def empty() -> Response:
    _world().mail.clear()
    return _back("The mailbox is empty.")


@blueprint.post("/page/mail/faults")
def add_fault() -> Response:
    return _back(f"{add_chosen_fault(FAULTS)}.")


@blueprint.post("/page/mail/faults/<fault_id>/remove")
def remove_fault(fault_id: str) -> Response:
    _world().faults.remove(fault_id)
    return _back("The fault is gone.")
