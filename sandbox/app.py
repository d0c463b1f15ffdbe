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
from sandbox.mail import control as mail_control
from sandbox.mail import pages as mail_pages
from sandbox.mail.server import MailServer
from sandbox.requests import Request
from sandbox.server import Server
from sandbox.world import World
from sandbox.zoom import parts as zoom

PREFIXES = ("/calcom/", "/calendly/", "/zoom/")


def create_app(world: World) -> Flask:
    app = Flask("sandbox", template_folder=str(Path(__file__).parent / "templates"), static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["world"] = world
    own = (control.blueprint, pages.blueprint, mail_control.blueprint, mail_pages.blueprint)
    for part in (*own, *calcom.blueprints, *calendly.blueprints, *zoom.blueprints):
        app.register_blueprint(part)
    return app


class Sandbox:
    """A running sandbox: `start()`, `url`, `smtp_url`, `world`, `reset()`, `fault(...)`, `requests`, `stop()`.

    `smtp_port`: where it receives mail, 0 for a free port; None: nowhere, until somebody asks for `smtp_url`. `mailbox`: the
    folder that keeps the mail; None: memory.
    """

    def __init__(
        self,
        port: int = 0,
        state: str | Path | None = None,
        demo: bool = False,
        host: str = "127.0.0.1",
        verbose: bool = False,
        smtp_port: int | None = None,
        mailbox: str | Path | None = None,
    ) -> None:
        self.world = World(Path(state) if state is not None else None, Path(mailbox) if mailbox is not None else None)
        self._host, self._port, self._demo, self._verbose = host, port, demo, verbose
        self._server: Server | None = None
        self._smtp_port = smtp_port
        self._mail_server: MailServer | None = None

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
        if self._smtp_port is not None:
            self._receive_mail(self._smtp_port)
        return self

    def _receive_mail(self, port: int) -> None:
        self._mail_server = MailServer(self._host, port, self.world.mail, self.world.faults)
        self._smtp_port = self._mail_server.port  # as above
        self.world.smtp_url = f"smtp://{self._host}:{self._smtp_port}"
        self._mail_server.start()

    def stop(self) -> None:
        """Idempotent. Requests on hold are let go first."""
        self.world.faults.clear()
        if self._mail_server is not None:
            self._mail_server.stop()
            self._mail_server, self.world.smtp_url = None, ""
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
    def smtp_url(self) -> str:
        """Where it receives mail; the first look starts the mail server if there is none yet."""
        assert self._server is not None, "the sandbox is not running"
        if self._mail_server is None:
            self._receive_mail(0)
        return self.world.smtp_url

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
        mail: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        share: float = 1.0,
    ) -> Fault:
        """A fault for requests by `method` and `path`, for deliveries by `webhook`, or for mail by its recipient."""
        match = {"method": method, "path": path}
        if webhook is not None:
            match = {"webhook": webhook}
        elif mail is not None:
            match = {"mail": mail}
        return self.world.faults.add(match, effect, times=times, skip=skip, share=share)
