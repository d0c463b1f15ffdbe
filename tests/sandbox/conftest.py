"""One sandbox for all tests, emptied before each; a house with a coach, a mentee and an OAuth client; an inbox for webhooks."""

from collections.abc import Iterator

import httpx
import pytest
from sandbox_house import CALLBACK, NOW, House, Inbox

from sandbox.app import Sandbox


@pytest.fixture(scope="session")
def _running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running: Sandbox) -> Sandbox:
    _running.reset()
    _running.world.clock.freeze(NOW)
    return _running


@pytest.fixture
def house(sandbox: Sandbox) -> Iterator[House]:
    with httpx.Client(base_url=sandbox.url, timeout=15) as http:
        house = House(sandbox, http)
        client = {"clientId": "client", "clientSecret": "shh", "redirectUris": [CALLBACK]}
        house.control("POST", "/calcom/oauth-clients", client)
        link = [{"type": "link", "link": "https://meet.example/room"}]
        types = [
            {"title": "Session", "slug": "session", "lengthInMinutes": 30, "locations": link},
            {
                "title": "Deep dive",
                "slug": "dive",
                "lengthInMinutes": 60,
                "confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False},
            },
        ]
        coach = {
            "email": "coach@demo.test",
            "name": "Clara Coach",
            "username": "clara",
            "timeZone": "Europe/Berlin",
            "eventTypes": types,
        }
        made = house.control("POST", "/calcom/users", coach)
        house.ids = {"coach": made["id"], "session": made["eventTypes"][0]["id"], "dive": made["eventTypes"][1]["id"]}
        mentee = {"email": "mentee@demo.test", "name": "Max Mentee", "timeZone": "America/New_York"}
        house.ids["mentee"] = house.control("POST", "/calcom/users", mentee)["id"]
        yield house


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()
