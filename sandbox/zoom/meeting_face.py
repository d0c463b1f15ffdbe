"""A meeting as the API shows it, whole and as a line of a list."""

import secrets
from datetime import datetime

from sandbox import times
from sandbox.zoom.rows import Json, Meeting, User


def face(meeting: Meeting, host: User, web: str, now: datetime) -> Json:
    """`start_url` carries a fresh secret of the host each time, good for two hours; `join_url` lives as long as the meeting."""
    shown: Json = {
        "uuid": meeting.uuid,
        "id": meeting.id,
        "host_id": host.id,
        "host_email": host.email,
        "topic": meeting.topic,
        "type": meeting.type,
        "status": meeting.status,
        "start_time": times.seconds(meeting.start) if meeting.start else None,
        "duration": meeting.duration,
        "timezone": meeting.time_zone,
        "agenda": meeting.agenda,
        "created_at": times.seconds(meeting.created_at),
        "start_url": f"{web}/s/{meeting.id}?zak={secrets.token_urlsafe(96)}.{int(now.timestamp())}",
        "join_url": join_url(meeting, web),
        "chat_join_url": f"{web}/launch/jc/{meeting.id}",
        "password": meeting.password,
        "h323_password": meeting.password,
        "pstn_password": meeting.password,
        "encrypted_password": meeting.encrypted_password,
        "settings": meeting.settings,
        "creation_source": meeting.source,
        "pre_schedule": False,
    }
    return {name: value for name, value in shown.items() if value is not None} | meeting.extras


def join_url(meeting: Meeting, web: str) -> str:
    return f"{web}/j/{meeting.id}?pwd={meeting.encrypted_password}"


def line(meeting: Meeting, host: User, web: str) -> Json:
    """Short: no password, no start_url, no status, and the agenda cut to 250 characters, as Zoom's documentation says."""
    shown: Json = {
        "uuid": meeting.uuid,
        "id": meeting.id,
        "host_id": host.id,
        "topic": meeting.topic,
        "type": meeting.type,
        "start_time": times.seconds(meeting.start) if meeting.start else None,
        "duration": meeting.duration,
        "timezone": meeting.time_zone,
        "agenda": meeting.agenda[:250] or None,
        "created_at": times.seconds(meeting.created_at),
        "join_url": join_url(meeting, web),
    }
    return {name: value for name, value in shown.items() if value is not None}
