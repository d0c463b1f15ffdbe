"""Everything the sandbox's Zoom remembers."""

from datetime import datetime
from typing import Any, ClassVar

from sandbox.snapshot import State, Table
from sandbox.zoom.rows import Account, App, Code, HostDay, Install, Json, Meeting, Recording, Token, User

SWITCHES: Json = {
    "regionalApiUrl": False,
    "badClientStatus": 400,
    "missingScopeStatus": 400,
    "invalidGrant": "invalid_request",
    "limitHeaders": True,
    "pastStart": "keep",
    "refuseDeleteRunning": True,
    "recordingsForbidden": False,
    "retryAny": False,
    "staleRetryTimestamp": False,
    "millisecondTimestamp": False,
    "deliverUnvalidated": False,
    "disableOnFailedValidation": False,
}
LIMITS: dict[str, int | None] = {"dailyPerHost": 100, "patchPerMeeting": 100, "light": None, "medium": None}


class ZoomState(State):
    scalars: ClassVar[tuple[str, ...]] = ("last_id", "uuids_made", "switches", "limits")

    def __init__(self) -> None:
        self.accounts: Table[str, Account] = Table(Account, lambda row: row.id)
        self.users: Table[str, User] = Table(User, lambda row: row.id)
        self.apps: Table[str, App] = Table(App, lambda row: row.client_id)
        self.installs: Table[str, Install] = Table(Install, lambda row: row.key)
        self.codes: Table[str, Code] = Table(Code, lambda row: row.code)
        self.tokens: Table[str, Token] = Table(Token, lambda row: row.text)
        self.meetings: Table[int, Meeting] = Table(Meeting, lambda row: row.id)
        self.recordings: Table[str, Recording] = Table(Recording, lambda row: row.uuid)
        self.host_days: Table[str, HostDay] = Table(HostDay, lambda row: row.key)
        self.last_id = self.uuids_made = 0
        self.switches: Json = dict(SWITCHES)
        self.limits: dict[str, int | None] = dict(LIMITS)
        # Not saved: counters of the running second and day, page tokens, and the moments already given to events.
        self.windows: dict[str, tuple[datetime, int]] = {}
        self.pages: dict[str, Any] = {}
        self.event_moments: set[tuple[str, str, int]] = set()

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def user(self, id_or_email: str) -> User | None:
        wanted = id_or_email.lower()
        return self.users.get(id_or_email) or next((user for user in self.users.values() if user.email.lower() == wanted), None)

    def host(self, meeting: Meeting | Recording) -> User:
        user = self.user(meeting.host)
        assert user is not None, "users are never deleted"
        return user

    def members(self, account_id: str) -> list[User]:
        return [user for user in self.users.values() if user.account_id == account_id]
