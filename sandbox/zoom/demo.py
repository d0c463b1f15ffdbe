"""The demo world of Zoom."""

from sandbox.world import World


def seed(world: World) -> None:
    del world
