"""Everything the sandbox's Zoom remembers."""

from sandbox.snapshot import State


class ZoomState(State):
    def __init__(self) -> None:
        pass
