"""The demo world of Zoom: two hosts."""

from sandbox.world import World
from sandbox.zoom import people
from sandbox.zoom.rows import Json

COACHES: tuple[Json, ...] = (
    {"email": "coach@demo.test", "name": "Clara Coach", "timeZone": "Europe/Berlin", "plan": "pro"},
    {"email": "coach2@demo.test", "name": "Cora Calendly", "timeZone": "Europe/Berlin", "plan": "pro"},
)


def seed(world: World) -> None:
    """Only in a world without users. Apps are registered through the control face, where their webhooks can be reached."""
    if world.zoom.users:
        return
    with world.writing():
        for coach in COACHES:
            people.create(world.zoom, world.clock.now(), coach)
