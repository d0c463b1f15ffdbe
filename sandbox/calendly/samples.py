"""`GET /sample_webhook_data`: an envelope with made-up people. Event families that the sandbox never sends have an empty payload."""

from datetime import timedelta

from sandbox.calendly import faces, hooks
from sandbox.calendly.context import setting_of
from sandbox.calendly.rows import Event, EventType, Invitee, Json, NoShow, User
from sandbox.calendly.setting import Setting, spell
from sandbox.calendly.state import CalendlyState, new_id
from sandbox.world import World


def envelope(place: World, event: str, host: User) -> Json:
    family = event.partition(".")[0]
    content: Json = {}
    if family == "event_type":
        content = faces.event_type(setting_of(place), _type(setting_of(place), host))
        content.pop("description_html")
    elif family in {"invitee", "invitee_no_show"}:
        content = _invitee(setting_of(place), event, host)
    return hooks.envelope(place, event, host.id, content)


def _type(setting: Setting, host: User) -> EventType:
    return EventType(new_id(), host.id, "Sample meeting", "sample-meeting", 30, 0, setting.now, setting.now, active=True)


def _invitee(setting: Setting, event: str, host: User) -> Json:
    """Made in a state of its own, so that nothing of it can be found afterwards."""
    scratch = CalendlyState()
    apart = Setting(scratch, setting.now, setting.url)
    scratch.users.add(host)
    start = (setting.now + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
    meeting = Event(
        new_id(), new_id(), host.id, "Sample meeting", start, start + timedelta(minutes=30), 1, None, setting.now, setting.now
    )  # fmt: skip
    invitee = Invitee(new_id(), meeting.id, "sample@invitee.example", "Sample Invitee", "Etc/UTC", setting.now, setting.now)
    scratch.events.add(meeting)
    scratch.invitees.add(invitee)
    if event == "invitee.canceled":
        gone = {"canceled_by": invitee.name, "reason": None, "canceler_type": "invitee", "created_at": spell(setting.now)}
        invitee.status = meeting.status = "canceled"
        invitee.cancellation = meeting.cancellation = gone
    if event.startswith("invitee_no_show"):
        scratch.no_shows.add(NoShow(new_id(), invitee.id, setting.now))
    return faces.invitee(apart, invitee) | {"scheduled_event": faces.event(apart, meeting, in_webhook=True)}
