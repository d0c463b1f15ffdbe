"""`Sandbox` for tests in the same process, `create_app` for anything that speaks WSGI."""

from pathlib import Path
from typing import Any, Self
from wsgiref.types import WSGIApplication

from flask import Flask

from sandbox import control, pages
from sandbox.calcom import parts as calcom
from sandbox.calendly import parts as calendly
from sandbox.faults import Fault
from sandbox.front import Front
from sandbox.requests import Request
from sandbox.server import Server
from sandbox.world import World
from sandbox.zoom import parts as zoom

PREFIXES = ("/calcom/", "/calendly/", "/zoom/")


def create_app(world: World) -> Flask:
    app = Flask("sandbox", template_folder=str(Path(__file__).parent / "templates"), static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["world"] = world
    for part in (control.blueprint, pages.blueprint, *calcom.blueprints, *calendly.blueprints, *zoom.blueprints):
        app.register_blueprint(part)
    return app


class Sandbox:
    """A running sandbox: `start()`, `url`, `world`, `reset()`, `fault(...)`, `requests`, `stop()`."""

    def __init__(
        self, port: int = 0, state: str | Path | None = None, demo: bool = False, host: str = "127.0.0.1", verbose: bool = False
    ) -> None:
        self.world = World(Path(state) if state is not None else None)
        self._host, self._port, self._demo, self._verbose = host, port, demo, verbose
        self._server: Server | None = None

    def start(self) -> Self:
        app = create_app(self.world)
        wrapped: WSGIApplication = Front(app.wsgi_app, self.world, PREFIXES)
        self._server = Server(self._host, self._port, wrapped)
        self._server.verbose = self._verbose
        self._port = self._server.port  # after a stop it starts at the same address again
        self.world.url = self.url
        if self._demo:
            for provider in (calcom, calendly, zoom):
                provider.seed(self.world)
        self._server.start()
        return self

    def stop(self) -> None:
        """Idempotent. Requests on hold are let go first."""
        self.world.faults.clear()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        assert self._server is not None, "the sandbox is not running"
        return f"http://{self._host}:{self._server.port}"

    @property
    def requests(self) -> list[Request]:
        return self.world.requests.entries()

    def settle(self) -> None:
        """Waits for deliveries that were sent after an answer."""
        self.world.deliveries.settle()

    def reset(self) -> None:
        self.world.reset()

    def fault(
        self,
        effect: dict[str, Any],
        *,
        method: str = "*",
        path: str = "*",
        webhook: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        share: float = 1.0,
    ) -> Fault:
        """A fault for requests by `method` and `path`, or for deliveries by `webhook`."""
        match = {"webhook": webhook} if webhook is not None else {"method": method, "path": path}
        return self.world.faults.add(match, effect, times=times, skip=skip, share=share)
