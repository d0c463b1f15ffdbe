"""Live updates."""

from datetime import datetime

import strawberry

from schema.context import Info
from services import live


@strawberry.type(description="Opens one stream of server-sent events for the viewer, once.")
class LiveUpdatesTicket:
    url: str = strawberry.field(
        description="GET it as an event stream; `lastEventId` may be added to go on where an earlier stream ended. It carries a secret."
    )
    expires_at: datetime = strawberry.field(description="Until when the stream can be opened. An open one lasts as long as the session.")


def start(info: Info) -> LiveUpdatesTicket:
    ticket = live.issue_ticket(info.context.rt, info.context.viewer)
    return LiveUpdatesTicket(url=ticket.url, expires_at=ticket.expires_at)
