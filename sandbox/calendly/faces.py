"""What the API shows of each row."""

import html
import uuid

from sandbox.calendly.rows import Event, EventType, Invitee, Membership, NoShow, Organization, Schedule, Subscription, User
from sandbox.calendly.setting import Json, Setting, spell, spell_maybe

CONFERENCES = {
    "zoom_conference": "zoom",
    "gotomeeting_conference": "gotomeeting",
    "google_conference": "google_conference",
    "microsoft_teams_conference": "microsoft_teams_conference",
    "webex_conference": "webex_conference",
}
TRACKING = ("utm_campaign", "utm_source", "utm_medium", "utm_content", "utm_term", "salesforce_uuid")


def short_user(setting: Setting, row: User) -> Json:
    """As a membership shows it."""
    return {
        "avatar_url": None,
        "created_at": spell(row.created_at),
        "email": row.email,
        "locale": row.locale,
        "name": row.name,
        "scheduling_url": setting.page(row.slug),
        "slug": row.slug,
        "time_notation": row.time_notation,
        "timezone": row.time_zone,
        "updated_at": spell(row.updated_at),
        "uri": setting.user_uri(row.id),
    }


def user(setting: Setting, row: User) -> Json:
    more = {"current_organization": setting.organization_uri(row.organization_id), "resource_type": "User"}
    return short_user(setting, row) | more


def organization(setting: Setting, row: Organization) -> Json:
    members = [one for one in list(setting.known.memberships.values()) if one.organization_id == row.id]
    return {
        "created_at": spell(row.created_at),
        "id": row.number,
        "kind": "multiple" if len(members) > 1 else "single",
        "name": row.name,
        "plan": row.plan,
        "stage": row.stage,
        "updated_at": spell(row.updated_at),
        "uri": setting.organization_uri(row.id),
    }


def membership(setting: Setting, row: Membership) -> Json:
    return {
        "created_at": spell(row.created_at),
        "organization": setting.organization_uri(row.organization_id),
        "role": row.role,
        "updated_at": spell(row.updated_at),
        "uri": setting.uri(f"organization_memberships/{row.id}"),
        "user": short_user(setting, setting.known.users[row.user_id]),
    }


def event_type(setting: Setting, row: EventType) -> Json:
    owner = setting.known.users[row.owner_id]
    return {
        "active": row.active,
        "admin_managed": False,
        "booking_method": "instant",
        "color": row.color,
        "created_at": spell(row.created_at),
        "custom_questions": row.questions,
        "deleted_at": None,
        "description_html": f"<p>{html.escape(row.description)}</p>" if row.description else None,
        "description_plain": row.description,
        "duration": row.duration,
        "duration_options": row.duration_options,
        "internal_note": None,
        "is_paid": row.paid,
        "kind": row.kind,
        "locale": row.locale,
        "locations": row.locations,
        "name": row.name,
        "pooling_type": None,
        "position": row.position,
        "profile": {"type": "User", "name": owner.name, "owner": setting.user_uri(owner.id)},
        "scheduling_url": setting.page(f"{owner.slug}/{row.slug}"),
        "secret": row.secret,
        "slug": row.slug,
        "type": "StandardEventType",
        "updated_at": spell(row.updated_at),
        "uri": setting.uri(f"event_types/{row.id}"),
    }


def schedule(setting: Setting, row: Schedule) -> Json:
    return {
        "uri": setting.uri(f"user_availability_schedules/{row.id}"),
        "default": row.default,
        "name": row.name,
        "user": setting.user_uri(row.user_id),
        "timezone": row.time_zone,
        "rules": row.rules,
    }


def event(setting: Setting, row: Event, *, in_webhook: bool = False) -> Json:
    """In a webhook without `calendar_event` and without the buffered times."""
    pushed = row.conference_at is not None and row.conference_at <= setting.now
    face: Json = {
        "created_at": spell(row.created_at),
        "end_time": spell(row.end),
        "event_guests": row.guests,
        "event_memberships": [_host(setting, row, in_webhook=in_webhook)],
        "event_type": setting.uri(f"event_types/{row.type_id}"),
        "invitees_counter": {
            "total": len(setting.known.invitees_of(row)),
            "active": len(setting.known.active_invitees(row)),
            "limit": row.limit,
        },
        "location": location(setting, row),
        "meeting_notes_html": None,
        "meeting_notes_plain": None,
        "name": row.name,
        "start_time": spell(row.start),
        "status": row.status,
        "updated_at": spell(max(row.updated_at, row.conference_at) if pushed and row.conference_at else row.updated_at),
        "uri": setting.event_uri(row.id),
    }
    if not in_webhook:
        face = {"calendar_event": {"kind": "google", "external_id": row.id.replace("-", "")}} | face
    return face | ({"cancellation": row.cancellation} if row.cancellation else {})


def _host(setting: Setting, row: Event, *, in_webhook: bool) -> Json:
    owner = setting.known.users[row.owner_id]
    face = {"user": setting.user_uri(owner.id), "user_email": owner.email, "user_name": owner.name}
    if in_webhook:
        return face
    begin, end = row.buffered
    return face | {"buffered_start_time": spell(begin), "buffered_end_time": spell(end)}


def location(setting: Setting, row: Event) -> Json | None:
    """In events the key is `type`, and Zoom and GoTo have other names than in event types."""
    place = row.location
    if place is None:
        return None
    kind = place["kind"]
    if kind in CONFERENCES:
        return _conference(setting, row, CONFERENCES[kind], fails=bool(place.get("fails")))
    face: Json = {"type": kind, "location": place.get("location") or place.get("phone_number")}
    if kind in {"physical", "inbound_call"}:
        face["additional_info"] = place.get("additional_info")
    return face


def _conference(setting: Setting, row: Event, kind: str, *, fails: bool) -> Json:
    """`processing` without a link until the conference is made; no webhook tells when that is."""
    ready = row.conference_at is not None and row.conference_at <= setting.now
    status = "processing" if not ready else "failed" if fails else "pushed"
    face: Json = {"type": kind, "status": status, "join_url": None}
    if kind != "google_conference":
        face["data"] = None
    if status == "pushed":
        face |= _joining(setting, row, kind)
    return face


def _joining(setting: Setting, row: Event, kind: str) -> Json:
    number = 80_000_000_000 + uuid.UUID(row.id).int % 9_000_000_000
    if kind == "google_conference":
        return {"join_url": setting.page(f"events/{row.id}/google_meet")}
    if kind == "zoom":
        settings = {"global_dial_in_numbers": [{"number": "+49 30 5550100", "country": "DE", "type": "toll"}]}
        extra = {"intl_numbers_url": "https://zoom.example/u/numbers"}
        data: Json = {"id": number, "settings": settings, "extra": extra, "password": str(number % 1_000_000)}
        return {"join_url": f"https://zoom.example/j/{number}?pwd=made-up", "data": data}
    others: dict[str, Json] = {
        "gotomeeting": {"uniqueMeetingId": number, "conferenceCallInfo": "DE: +49 30 5550101"},
        "microsoft_teams_conference": {"id": str(number), "audioConferencing": None},
        "webex_conference": {"id": str(number), "telephony": {"callInNumbers": []}, "password": str(number % 1_000_000)},
    }
    return {"join_url": f"https://meet.example/{kind}/{number}", "data": others[kind]}


def invitee(setting: Setting, row: Invitee) -> Json:
    mark = setting.known.no_show_of(row)
    face: Json = {
        "cancel_url": setting.page(f"cancellations/{row.id}"),
        "created_at": spell(row.created_at),
        "email": row.email,
        "event": setting.event_uri(row.event_id),
        "first_name": row.first_name,
        "invitee_scheduled_by": setting.user_uri(row.scheduled_by) if row.scheduled_by else None,
        "last_name": row.last_name,
        "name": row.name,
        "new_invitee": setting.invitee_uri(row.new_id),
        "no_show": None if mark is None else {"uri": setting.uri(f"invitee_no_shows/{mark.id}"), "created_at": spell(mark.created_at)},
        "old_invitee": setting.invitee_uri(row.old_id),
        "payment": row.payment,
        "questions_and_answers": row.answers,
        "reconfirmation": None,
        "reschedule_url": setting.page(f"reschedulings/{row.id}"),
        "rescheduled": row.rescheduled,
        "routing_form_submission": None,
        "scheduling_method": row.method,
        "status": row.status,
        "text_reminder_number": row.text_reminder_number,
        "timezone": row.time_zone,
        "tracking": {name: row.tracking.get(name) for name in TRACKING},
        "updated_at": spell(row.updated_at),
        "uri": setting.invitee_uri(row.id),
    }
    return face | ({"cancellation": row.cancellation} if row.cancellation else {})


def no_show(setting: Setting, row: NoShow) -> Json:
    return {
        "uri": setting.uri(f"invitee_no_shows/{row.id}"),
        "invitee": setting.invitee_uri(row.invitee_id),
        "created_at": spell(row.created_at),
    }


def subscription(setting: Setting, row: Subscription) -> Json:
    """The signing key is never shown."""
    return {
        "callback_url": row.url,
        "created_at": spell(row.created_at),
        "creator": setting.user_uri(row.creator_id),
        "events": row.events,
        "group": None,
        "organization": setting.organization_uri(row.organization_id),
        "retry_started_at": spell_maybe(row.retry_started_at),
        "scope": row.scope,
        "state": row.state,
        "updated_at": spell(row.updated_at),
        "uri": setting.uri(f"webhook_subscriptions/{row.id}"),
        "user": setting.user_uri(row.user_id) if row.user_id else None,
    }
