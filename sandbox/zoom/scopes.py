"""Scopes: granular ones, each with the older one that still covers it, and both with `:admin` for the whole account."""

OLDER = {
    "meeting:write:meeting": "meeting:write",
    "meeting:read:meeting": "meeting:read",
    "meeting:read:list_meetings": "meeting:read",
    "meeting:update:meeting": "meeting:write",
    "meeting:delete:meeting": "meeting:write",
    "meeting:update:status": "meeting:write",
    "cloud_recording:read:list_recording_files": "recording:read",
    "cloud_recording:read:list_user_recordings": "recording:read",
    "user:read:user": "user:read",
    "user:read:list_users": "user:read",
}
PERSONAL = list(OLDER)
ACCOUNT = [f"{scope}:admin" for scope in OLDER]
ALL = {*PERSONAL, *ACCOUNT, *OLDER.values(), *(f"{scope}:admin" for scope in OLDER.values())}


def covering(scope: str, *, whole_account: bool) -> list[str]:
    """Those of which one is enough. Acting for somebody else by name needs the account's."""
    either = [scope, OLDER[scope]]
    everybody = [f"{one}:admin" for one in either]
    return everybody if whole_account else [*either, *everybody]
