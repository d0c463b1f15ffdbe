"""Cloud recordings: making them of an ended instance, and how they are shown and told."""

from datetime import date, datetime, timedelta

from sandbox import times
from sandbox.zoom import ids
from sandbox.zoom.rows import Json, Meeting, Recording, Token, User
from sandbox.zoom.state import ZoomState

TOKEN_LIFE = timedelta(hours=24)
TRANSCRIPT = "audio_transcript"
_KINDS = (
    ("MP4", "MP4", "shared_screen_with_speaker_view", True),
    ("M4A", "M4A", "audio_only", True),
    ("TIMELINE", "JSON", "timeline", False),
    ("CHAT", "TXT", "chat_file", False),
)


def make(known: ZoomState, ended: Meeting, now: datetime, *, transcript: bool, ready: bool) -> Recording:
    """The transcript takes longer: at first it is there without id and size, and in work."""
    begin = ended.started_at or now
    files = [_file(ended.uuid, begin, now, *kind) for kind in _KINDS]
    if transcript:
        files.append({"file_type": "TRANSCRIPT", "file_extension": "VTT", "recording_type": TRANSCRIPT, "status": "processing"})
    return known.recordings.add(
        Recording(
            uuid=ended.uuid,
            meeting_id=ended.id,
            host=ended.host,
            topic=ended.topic,
            type=ended.type,
            time_zone=ended.time_zone,
            start=begin,
            end=now,
            share=ids.random_text(40),
            password=ids.random_text(8),
            play_passcode=ids.random_text(40),
            files=files,
            ready=ready,
        )
    )


def _file(uuid: str, begin: datetime, end: datetime, kind: str, extension: str, content: str, playable: bool) -> Json:
    file_id = ids.random_text(36)
    return {
        "id": file_id,
        "meeting_id": uuid,
        "recording_start": times.seconds(begin),
        "recording_end": times.seconds(end),
        "file_type": kind,
        "file_extension": extension,
        "file_size": len(file_content(content)),
        "playable": playable,
        "status": "completed",
        "recording_type": content,
    }


def file_content(recording_type: str) -> bytes:
    """What a download gives."""
    if recording_type == TRANSCRIPT:
        return b"WEBVTT\r\n\r\n1\r\n00:00:00.000 --> 00:00:02.000\r\nHello from the sandbox.\r\n"
    return f"The sandbox's {recording_type}.\n".encode()


def finish_transcript(recording: Recording) -> bool:
    """True when there was one in work."""
    for at, file in enumerate(recording.files):
        if file["recording_type"] == TRANSCRIPT and file["status"] == "processing":
            recording.files[at] = _file(recording.uuid, recording.start, recording.end, "TRANSCRIPT", "VTT", TRANSCRIPT, True)
            return True
    return False


def latest(known: ZoomState, meeting_id: int) -> Recording | None:
    """A number means the latest instance that was recorded."""
    rows = [row for row in known.recordings.values() if row.meeting_id == meeting_id and row.ready]
    return max(reversed(rows), key=lambda row: row.end, default=None)


def by_uuid(known: ZoomState, uuid: str) -> Recording | None:
    row = known.recordings.get(uuid)
    return row if row is not None and row.ready else None


def token(known: ZoomState, client_id: str, host: User, expires_at: datetime) -> str:
    row = Token(ids.token(), "download", client_id, host.account_id, None, [], expires_at)
    return known.tokens.add(row).text


def face(recording: Recording, host: User, web: str) -> Json:
    """`type` is a text here, and a number in events."""
    shown = _common(recording, host, web, recording.files)
    return shown | {"type": str(recording.type), "auto_delete": True, "auto_delete_date": _deleted_on(recording).isoformat()}


def event_face(recording: Recording, host: User, web: str, *, transcript_only: bool) -> Json:
    """The finished files; when the transcript comes, usually it alone."""
    files = [file for file in recording.files if file["status"] == "completed"]
    if transcript_only:
        files = [file for file in files if file["recording_type"] == TRANSCRIPT]
    shown = _common(recording, host, web, files)
    return shown | {"participant_audio_files": []}


def _common(recording: Recording, host: User, web: str, files: list[Json]) -> Json:
    return {
        "uuid": recording.uuid,
        "id": recording.meeting_id,
        "account_id": host.account_id,
        "host_id": host.id,
        "host_email": host.email,
        "topic": recording.topic,
        "type": recording.type,
        "start_time": times.seconds(recording.start),
        "timezone": recording.time_zone,
        "duration": int((recording.end - recording.start).total_seconds() // 60),
        "total_size": sum(file.get("file_size", 0) for file in files),
        "recording_count": len(files),
        "share_url": f"{web}/rec/share/{recording.share}",
        "recording_play_passcode": recording.play_passcode,
        "password": recording.password,
        "recording_files": [_with_links(file, web) for file in files],
    }


def _with_links(file: Json, web: str) -> Json:
    shown = {name: value for name, value in file.items() if name != "playable"}
    if "id" in file:
        shown["download_url"] = f"{web}/rec/download/{file['id']}"
        if file["playable"]:
            shown["play_url"] = f"{web}/rec/play/{file['id']}"
    return shown


def _deleted_on(recording: Recording) -> date:
    return (recording.end + timedelta(days=60)).date()
