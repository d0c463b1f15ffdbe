"""The demo world of Calendly."""

from sandbox.world import World


def seed(world: World) -> None:
    del world
