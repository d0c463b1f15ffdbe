"""What a change or a face needs to know of the world: the state, the time and the address that URIs begin with."""

import re
from dataclasses import dataclass
from datetime import datetime

from sandbox import times
from sandbox.calendly.state import CalendlyState, Json

ID = r"([A-Za-z0-9_-]+)"


@dataclass(frozen=True)
class Setting:
    known: CalendlyState
    now: datetime
    url: str

    def uri(self, path: str) -> str:
        return f"{self.url}/calendly/api/{path}"

    def page(self, path: str) -> str:
        """Where calendly.com would be."""
        return f"{self.url}/calendly/web/{path}"

    def id_in(self, uri: object, kind: str) -> str | None:
        """The id in the URI of such a resource of this sandbox; None for anything else."""
        if not isinstance(uri, str):
            return None
        found = re.fullmatch(re.escape(self.uri(f"{kind}/")) + ID, uri)
        return found[1] if found else None

    def invitee_in(self, uri: object) -> str | None:
        """The id in an invitee's URI, which stands below its event's."""
        if not isinstance(uri, str):
            return None
        found = re.fullmatch(re.escape(self.uri("scheduled_events/")) + ID + "/invitees/" + ID, uri)
        return found[2] if found else None

    def user_uri(self, user_id: str) -> str:
        return self.uri(f"users/{user_id}")

    def organization_uri(self, organization_id: str) -> str:
        return self.uri(f"organizations/{organization_id}")

    def event_uri(self, event_id: str) -> str:
        return self.uri(f"scheduled_events/{event_id}")

    def invitee_uri(self, invitee_id: str | None) -> str | None:
        row = self.known.invitees.get(invitee_id or "")
        return self.uri(f"scheduled_events/{row.event_id}/invitees/{row.id}") if row else None


def spell(moment: datetime) -> str:
    """`2026-12-07T09:00:00.000000Z`; the sandbox itself knows milliseconds only."""
    return times.millis(moment)[:-1] + "000Z"


def spell_maybe(moment: datetime | None) -> str | None:
    return None if moment is None else spell(moment)


def spell_whole(moment: datetime) -> str:
    """Whole seconds written with six zeros, as on the envelope of a webhook."""
    return times.seconds(moment.replace(microsecond=0))[:-1] + ".000000Z"


__all__ = ["Json", "Setting", "spell", "spell_maybe", "spell_whole"]
