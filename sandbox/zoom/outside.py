"""What happens outside the API: hosts and guests who meet, and people who remove an app.

Functions with an underscore, and `close`, run under the world's lock; the others send, one event after the other, and must be
called without it.
"""

import uuid
from datetime import datetime, timedelta
from typing import Literal

from sandbox.deliveries import Outgoing
from sandbox.zoom import events, meeting_input, meetings, oauth, recordings
from sandbox.zoom.context import now, state, web, world
from sandbox.zoom.rows import Json, Meeting, Recording, User

Batches = list[list[Outgoing]]
Wish = bool | Literal["later"]


def _send(batches: Batches) -> int:
    for batch in batches:
        world().deliveries.send(batch)
    return sum(map(len, batches))


def create(host: User, given: Json) -> Meeting:
    """Made by the host in Zoom itself: no limit of the API counts."""
    given = meeting_input.checked(given)
    with world().writing():
        meetings.check_host(host)
        meeting = meetings.create(state(), now(), host, given, "web_portal")
        batch = events.created(meeting, host)
    _send([batch])
    return meeting


def change(meeting_id: str, given: Json) -> int:
    given = meeting_input.checked(given)
    with world().writing():
        meeting = meetings.find(state(), meeting_id, now())
        host = state().host(meeting)
        changed = meetings.update(meeting, host, now(), given)
        batch = events.updated(meeting, host, changed) if changed else []
    return _send([batch])


def delete(meeting_id: str) -> int:
    with world().writing():
        meeting = meetings.find(state(), meeting_id, now())
        meetings.delete(state(), meeting)
        batch = events.deleted(meeting, state().host(meeting))
    return _send([batch])


def start(meeting_id: str, people: list[Json]) -> int:
    """Nothing when it runs already."""
    with world().writing():
        meeting = meetings.find(state(), meeting_id, now())
        batches = _open(meeting, now(), people) if meeting.started_at is None else []
    return _send(batches)


def _open(meeting: Meeting, at: datetime, people: list[Json]) -> Batches:
    present = [person | {"user_id": str(16_778_240 + 1024 * number), "uuid": str(uuid.uuid4())} for number, person in enumerate(people)]
    meetings.begin(meeting, at, present)
    return [events.started(meeting), *(events.joined(meeting, person, at) for person in present)]


def close(meeting: Meeting, at: datetime) -> tuple[Meeting, Batches]:
    """Everybody leaves, and it has ended."""
    left = [events.left(meeting, person, at) for person in meeting.present]
    ended = meetings.end(state(), meeting, at)
    return ended, [*left, events.ended(ended, at)]


def end(meeting_id: str, people: list[Json], *, recording: Wish = False, transcript: Wish = False, twice: bool = False) -> int:
    """The whole meeting as if it had just been held, or the rest of a running one; `twice`: stopped and started again.

    A recording and a transcript are ready at once, or `later`: with `record` and `transcribe`.
    """
    made: list[Recording] = []
    with world().writing():
        meeting = meetings.find(state(), meeting_id, now())
        rounds, at = 2 if twice else 1, meeting.started_at or now() - timedelta(minutes=meeting.duration)
        part, batches = (now() - at) / rounds, Batches()
        for _ in range(rounds):
            batches += _open(meeting, at, people) if meeting.started_at is None else []
            at += part
            ended, closing = close(meeting, at)
            batches += closing
            if recording:
                made.append(recordings.make(state(), ended, at, transcript=bool(transcript), ready=recording is True))
        batches += [_told(row) for row in made if row.ready]
        batches += [_transcribed(row) for row in made if row.ready and transcript is True]
    return _send(batches)


def record(meeting_id: str) -> int:
    """The recordings in work are ready."""
    with world().writing():
        rows = [row for row in _recorded(meeting_id) if not row.ready]
        for row in rows:
            row.ready = True
        batches = [_told(row) for row in rows]
    return _send(batches)


def transcribe(meeting_id: str) -> int:
    """The transcripts in work are ready."""
    with world().writing():
        batches = [_transcribed(row) for row in _recorded(meeting_id) if row.ready]
    return _send(batches)


def _recorded(meeting_id: str) -> list[Recording]:
    return [row for row in state().recordings.values() if str(row.meeting_id) == meeting_id]


def _told(row: Recording, *, transcript: bool = False) -> list[Outgoing]:
    host, expires_at = state().host(row), now() + recordings.TOKEN_LIFE
    shown = recordings.event_face(row, host, web(), transcript_only=transcript)
    event = "recording.transcript_completed" if transcript else "recording.completed"
    return events.recorded(event, row, shown, lambda app: recordings.token(state(), app.client_id, host, expires_at))


def _transcribed(row: Recording) -> list[Outgoing]:
    return _told(row, transcript=True) if recordings.finish_transcript(row) else []


def deauthorize(user: User, client_id: str | None) -> int:
    """The user removes the app (or each of them) in the Marketplace: its tokens are dead, and it is told."""
    with world().writing():
        gone = [row for row in state().installs.values() if row.user_id == user.id and client_id in (None, row.client_id)]
        batches = []
        for row in gone:
            del state().installs[row.key]
            oauth.drop_pairs(row.client_id, user.id)
            batches.append(events.deauthorized(state().apps[row.client_id], user))
    _send(batches)
    return len(gone)
