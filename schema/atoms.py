"""Provider components in the browser."""

from datetime import datetime
from typing import Annotated

import strawberry

from schema.context import Info
from schema.problems import ConnectionUnusable, NotConnected, ProviderFailure, answered
from services import atoms


@strawberry.type(description="What Cal.com's CalProvider (for an OAuth link: CalOAuthProvider) is started with in this browser session.")
class AtomsSession:
    client_id: str = strawberry.field(description="`clientId`.")
    api_url: str = strawberry.field(description="`options.apiUrl`.")
    refresh_url: str = strawberry.field(description="`options.refreshUrl`; it carries the session's handle. For allow-listed origins only.")
    access_token: str = strawberry.field(description="`accessToken`, as it is now. Short-lived; the browser renews it at `refreshUrl`.")
    expires_at: datetime = strawberry.field(
        description="When the handle ends, twelve hours after the start; unlinking ends it at once. Start another session then."
    )


StartAtomsSessionResult = Annotated[
    AtomsSession | ConnectionUnusable | NotConnected | ProviderFailure,
    strawberry.union("StartAtomsSessionResult", description="What startAtomsSession answers."),
]


@answered
def start(info: Info) -> StartAtomsSessionResult:
    session = atoms.start(info.context.rt, info.context.viewer)
    return AtomsSession(
        client_id=session.client_id,
        api_url=session.api_url,
        refresh_url=session.refresh_url,
        access_token=session.access_token,
        expires_at=session.expires_at,
    )
