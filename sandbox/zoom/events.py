"""From what happened to the deliveries it causes: one body each, to every app that hears of this host.

`object.id` is a text in the events of a running meeting, and a number everywhere else.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox import times
from sandbox.deliveries import Outgoing
from sandbox.zoom import hooks, meeting_face
from sandbox.zoom.context import now, state, web, world
from sandbox.zoom.meetings import Change
from sandbox.zoom.rows import App, Json, Meeting, Recording, User


def emit(event: str, host: User, subject: str, payload: Json, top: Callable[[App], Json] = lambda _: {}) -> list[Outgoing]:
    apps = hooks.audience(world(), host)
    if not apps:
        return []
    head = {"event": event, "event_ts": hooks.moment(world(), event, subject)}
    content = {"payload": {"account_id": host.account_id} | payload}
    return [hooks.outgoing(world(), app, head | content | top(app)) for app in apps]


def _operator(user: User) -> Json:
    return {"operator": user.email, "operator_id": user.id}


def _about(event: str, meeting: Meeting, payload: Json) -> list[Outgoing]:
    return emit(event, state().host(meeting), meeting.uuid, payload)


def _plan(meeting: Meeting) -> Json:
    return {
        "id": meeting.id,
        "uuid": meeting.uuid,
        "host_id": state().host(meeting).id,
        "topic": meeting.topic,
        "type": meeting.type,
        **({"start_time": times.seconds(meeting.start)} if meeting.start else {}),
        "timezone": meeting.time_zone,
        "duration": meeting.duration,
    }


def created(meeting: Meeting, operator: User) -> list[Outgoing]:
    settings = {name: meeting.settings[name] for name in ("use_pmi", "alternative_hosts", "join_before_host")}
    invitees = [{"email": one["email"]} for one in meeting.settings["meeting_invitees"]]
    made = _plan(meeting) | {
        "join_url": meeting_face.join_url(meeting, web()),
        "password": meeting.password,
        "settings": settings | {"meeting_invitees": invitees},
    }
    return _about("meeting.created", meeting, _operator(operator) | {"operation": "all", "object": made})


def updated(meeting: Meeting, operator: User, change: Change) -> list[Outgoing]:
    """Only the keys that changed, with their old values beside them."""
    names = {"id": meeting.id, "uuid": meeting.uuid}
    changed = {"scope": "single", "object": names | change.new, "old_object": names | change.old}
    return _about("meeting.updated", meeting, _operator(operator) | changed | {"time_stamp": int(now().timestamp() * 1000)})


def deleted(meeting: Meeting, operator: User) -> list[Outgoing]:
    return _about("meeting.deleted", meeting, _operator(operator) | {"operation": "all", "object": _plan(meeting)})


def _running(meeting: Meeting) -> Json:
    return _plan(meeting) | {"id": str(meeting.id), "start_time": times.seconds(meeting.started_at or now())}


def started(meeting: Meeting) -> list[Outgoing]:
    return _about("meeting.started", meeting, {"object": _running(meeting)})


def ended(meeting: Meeting, at: datetime) -> list[Outgoing]:
    return _about("meeting.ended", meeting, {"object": _running(meeting) | {"end_time": times.seconds(at)}})


def joined(meeting: Meeting, person: Json, at: datetime) -> list[Outgoing]:
    more = {"join_time": times.seconds(at), "customer_key": "", "phone_number": ""}
    return _participant("meeting.participant_joined", meeting, person, more)


def left(meeting: Meeting, person: Json, at: datetime) -> list[Outgoing]:
    more = {"leave_time": times.seconds(at), "leave_reason": "left the meeting"}
    return _participant("meeting.participant_left", meeting, person, more)


def _participant(event: str, meeting: Meeting, person: Json, more: Json) -> list[Outgoing]:
    """Somebody who is not signed in has empty texts where the others have ids, and often no e-mail address."""
    known: Any = state().user(person.get("email") or "")
    shown = {
        "user_id": person["user_id"],
        "user_name": person["name"],
        "id": known.id if known else "",
        "participant_uuid": person["uuid"],
        "email": person.get("email") or "",
        "registrant_id": "",
        "participant_user_id": known.id if known else "",
    }
    return _about(event, meeting, {"object": _running(meeting) | {"participant": shown | more}})


def recorded(event: str, recording: Recording, shown: Json, download_token: Callable[[App], str]) -> list[Outgoing]:
    """The token to fetch the files with stands beside the payload, not in it."""
    host = state().host(recording)
    return emit(event, host, recording.uuid, {"object": shown}, lambda app: {"download_token": download_token(app)})


def deauthorized(app: App, user: User) -> list[Outgoing]:
    """To the one app that was removed."""
    if not hooks.receives(world(), app):
        return []
    event = "app_deauthorized"
    payload = {
        "user_id": user.id,
        "account_id": user.account_id,
        "client_id": app.client_id,
        "deauthorization_time": times.millis(now()),
        "signature": hooks.sign(app.secret_token, user.id, app.client_id.encode()).removeprefix("v0="),
    }
    content = {"event": event, "event_ts": hooks.moment(world(), event, user.id), "payload": payload}
    return [hooks.outgoing(world(), app, content)]
