"""A Zoom with two hosts and two apps, and an endpoint for its events."""

from collections.abc import Iterator

import httpx
import pytest
from zoom_house import Endpoint, ZoomHouse

from sandbox.app import Sandbox


@pytest.fixture
def zoom(sandbox: Sandbox) -> Iterator[ZoomHouse]:
    with httpx.Client(base_url=sandbox.url, timeout=15) as http:
        house = ZoomHouse(sandbox, http)
        house.build()
        yield house


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()
