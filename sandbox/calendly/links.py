"""Single-use scheduling links. They cannot be listed, read or deleted."""

import secrets
import string

from sandbox.calendly import auth
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.event_types import find
from sandbox.calendly.rows import Json, Link

_LETTERS = string.ascii_lowercase + string.digits


@blueprint.post("/scheduling_links")
def create_link() -> tuple[Json, int]:
    """Only one booking to a link; the number is taken as text too, since two documents type it differently."""
    caller, given = auth.needed("scheduling_links:write"), Given(body())
    given.choice("max_event_count", (1, "1"), required=True)
    given.choice("owner_type", ("EventType",), required=True)
    type_id = given.resource(setting(), "owner", "event_types", required=True)
    given.finish()
    row = find(str(type_id))
    caller.check_manages(row.owner_id)
    with world().writing():
        code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(size)) for size in (4, 3, 3))
        link = state().links.add(Link(code, row.id))
    face = {"booking_url": setting().page(f"d/{link.id}/{row.slug}"), "owner": given.values["owner"], "owner_type": "EventType"}
    return resource(face), 201
