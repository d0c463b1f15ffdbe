"""Everything the sandbox's Calendly remembers."""

from sandbox.snapshot import State


class CalendlyState(State):
    def __init__(self) -> None:
        pass
