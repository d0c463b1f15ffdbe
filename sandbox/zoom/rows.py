"""The rows of the sandbox's Zoom."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass
class Account:
    id: str
    named: bool  # by whoever registered an app; else it was made for the first user


@dataclass
class User:
    id: str
    email: str
    name: str
    time_zone: str
    account_id: str
    plan: str  # basic, pro or business
    status: str  # active or pending: invited, has not come yet
    personal_id: int
    created_at: datetime


@dataclass
class App:
    client_id: str
    secret: str
    name: str
    account_id: str | None  # of a server-to-server app; None: users authorise it
    redirect_uris: list[str]
    scopes: list[str]
    webhook_url: str | None
    secret_token: str
    # The endpoint's last right answer to a challenge, the moment of the last challenge, and wrong answers since the right one.
    validated_at: datetime | None = None
    challenged_at: datetime | None = None
    failures: int = 0

    @property
    def acts_as_account(self) -> bool:
        return self.account_id is not None


@dataclass
class Install:
    """A user has authorised an app and has not removed it."""

    client_id: str
    user_id: str

    @property
    def key(self) -> str:
        return f"{self.client_id} {self.user_id}"


@dataclass
class Code:
    code: str
    client_id: str
    user_id: str
    redirect_uri: str
    scopes: list[str]
    challenge: str | None
    method: str
    expires_at: datetime


@dataclass
class Token:
    text: str
    kind: str  # access, refresh or download
    client_id: str
    account_id: str
    user_id: str | None  # None: acts as the account
    scopes: list[str]
    expires_at: datetime


@dataclass
class Meeting:
    """`host` is an e-mail address. `uuid` names the instance that runs or comes next; past ones are `Instance` rows."""

    id: int
    uuid: str
    host: str
    topic: str
    type: int
    start: datetime | None  # None: instant, or recurring without a fixed time
    duration: int
    time_zone: str
    agenda: str
    password: str
    encrypted_password: str
    settings: Json
    created_at: datetime
    source: str
    extras: Json = field(default_factory=dict)  # tracking_fields, recurrence, pre_schedule as given
    started_at: datetime | None = None  # of the running instance
    present: list[Json] = field(default_factory=list)  # who is in it
    last_used: datetime | None = None
    patched: list[datetime] = field(default_factory=list)

    @property
    def status(self) -> str:
        return "waiting" if self.started_at is None else "started"


@dataclass
class Recording:
    """What was recorded of one instance. It outlives the meeting."""

    uuid: str
    meeting_id: int
    host: str
    topic: str
    type: int
    time_zone: str
    start: datetime
    end: datetime
    share: str
    password: str
    play_passcode: str
    files: list[Json]
    ready: bool = True  # False: Zoom still works on it, and nobody can see it


@dataclass
class HostDay:
    """Creations and updates of one host's meetings on one UTC day."""

    host: str
    day: str
    count: int = 0

    @property
    def key(self) -> str:
        return f"{self.host} {self.day}"
