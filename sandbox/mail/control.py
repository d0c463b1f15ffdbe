"""The control face of the sandbox's mailbox, under `/_sandbox/mail`. All answers are JSON.

GET    /_sandbox/mail    what was accepted, oldest first:
                         [{id, receivedAt, envelope: {from, to: []}, user, headers, subject, text, html, calendar, raw}]
                         user: who signed in to send it, or null.  headers: decoded, by their names in camel case
                         (subject, from, to, messageId, date, ...); values of a repeated one are joined by a comma.
                         text, html: the first part of that kind, or null.  calendar: {method, text} of the text/calendar
                         part, or null.  raw: the message as it came, bytes that are not UTF-8 replaced
DELETE /_sandbox/mail    empties the box -> []

Faults are the sandbox's own, POST /_sandbox/faults with match {mail: recipient or pattern such as *@example.test, or *}:
    {kind: refuse-connection}: closed before the greeting; match must be *      {kind: permanent}: 550 to that recipient
    {kind: temporary}: 451 after the content, nothing kept                      {kind: lost-answer}: kept, closed before the 250
    {kind: slow, seconds: 2, when: before|after}   {kind: hold, when: before|after}: before or after the message is kept
A message to several recipients is one delivery: a fault at its content acts if it matches any of them, and counts once.
"""

import re
from typing import Any, cast

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox import times
from sandbox.mail.box import Message
from sandbox.mail.reading import read
from sandbox.world import World

blueprint = Blueprint("mail_control", __name__, url_prefix="/_sandbox/mail")


@blueprint.route("", methods=["GET", "DELETE"])
def messages() -> ResponseReturnValue:
    box = cast("World", current_app.extensions["world"]).mail
    if request.method == "DELETE":
        box.clear()
    return jsonify([_described(message) for message in box.messages()])


def _described(message: Message) -> dict[str, Any]:
    content = read(message.raw)
    headers: dict[str, str] = {}
    for name, value in content.headers:
        key = _camel(name)
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    calendar = content.calendar
    return {
        "id": message.id,
        "receivedAt": times.millis(message.at),
        "envelope": {"from": message.sender, "to": list(message.recipients)},
        "user": message.user,
        "headers": headers,
        "subject": content.header("Subject"),
        "text": content.text,
        "html": content.html,
        "calendar": {"method": calendar.method, "text": calendar.text} if calendar else None,
        "raw": message.raw.decode("utf-8", "replace"),
    }


def _camel(name: str) -> str:
    """`Message-ID` is `messageId`."""
    first, *rest = re.split("[-_]", name.lower())
    return first + "".join(word.capitalize() for word in rest)
