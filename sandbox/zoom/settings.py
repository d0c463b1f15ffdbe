"""The long list of a meeting's settings, and what Zoom makes of those that were sent."""

from copy import deepcopy

from sandbox.zoom.rows import Json

_OFF: Json = {"enable": False}
DEFAULTS: Json = {
    "host_video": False,
    "participant_video": False,
    "cn_meeting": False,
    "in_meeting": False,
    "join_before_host": False,
    "jbh_time": 0,
    "mute_upon_entry": False,
    "watermark": False,
    "use_pmi": False,
    "approval_type": 2,
    "audio": "both",
    "auto_recording": "none",
    "auto_add_recording_to_video_management": _OFF,
    "enforce_login": False,
    "enforce_login_domains": "",
    "alternative_hosts": "",
    "alternative_host_update_polls": False,
    "alternative_host_manage_meeting_summary": False,
    "alternative_host_manage_cloud_recording": False,
    "close_registration": False,
    "show_share_button": False,
    "allow_multiple_devices": False,
    "registrants_confirmation_email": True,
    "waiting_room": False,
    "request_permission_to_unmute_participants": False,
    "registrants_email_notification": True,
    "meeting_authentication": False,
    "encryption_type": "enhanced_encryption",
    "approved_or_denied_countries_or_regions": _OFF,
    "breakout_room": _OFF,
    "internal_meeting": False,
    "continuous_meeting_chat": {
        "enable": True,
        "auto_add_invited_external_users": False,
        "auto_add_meeting_participants": False,
        "channel_id": "web_sch_sandbox",
    },
    "participant_focused_meeting": False,
    "push_change_to_calendar": False,
    "resources": [],
    "auto_start_meeting_summary": False,
    "auto_start_ai_companion_questions": False,
    "allow_host_control_participant_mute_state": False,
    "alternative_hosts_email_notification": True,
    "show_join_info": False,
    "device_testing": False,
    "focus_mode": False,
    "meeting_invitees": [],
    "private_meeting": False,
    "email_notification": True,
    "host_save_video_order": False,
    "sign_language_interpretation": _OFF,
    "email_in_attendee_report": False,
}


def merged(before: Json, sent: Json, *, licensed: bool) -> Json:
    """A waiting room switches `join_before_host` off; recording in the cloud needs a licence and is dropped without one [?]."""
    made: Json = deepcopy(before) | deepcopy(sent)
    if made["waiting_room"]:
        made["join_before_host"] = False
    if made["auto_recording"] == "cloud" and not licensed:
        made["auto_recording"] = "none"
    made["meeting_invitees"] = [{"email": one["email"], "internal_user": False} for one in made["meeting_invitees"]]
    return made
