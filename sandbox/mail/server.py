"""A mail server that takes everything from everybody, unless a fault says otherwise. No STARTTLS; any name and password will do."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sandbox.faults import Fault, Faults
from sandbox.mail.box import Mailbox

HOLDS = 32  # deliveries that can be on hold at once
AT_DATA = {"temporary", "lost-answer", "slow", "hold"}
# Its lower levels carry addresses, and warn of its own old interface at each login.
logging.getLogger("mail.log").setLevel(logging.ERROR)


class _Connection(SMTP):
    def __init__(self, box: Mailbox, faults: Faults, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            _Hooks(box, faults),
            hostname="sandbox",  # without a name it would look its own up in the DNS
            ident="ESMTP",
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=_anybody,
            loop=loop,
        )
        self._faults = faults

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._faults.for_mail({"refuse-connection"}):
            _cut(self)


class _Hooks:
    """What aiosmtpd calls, by its names; each answers the line for the client."""

    def __init__(self, box: Mailbox, faults: Faults) -> None:
        self._box, self._faults = box, faults

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self._faults.for_mail({"permanent"}, [address]):
            return "550 5.1.1 No such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        faults = self._faults.for_mail(AT_DATA, envelope.rcpt_tos)
        kinds = {fault.kind for fault in faults}
        # A client that gives up meanwhile cancels this: then nothing is kept.
        await _pause(faults, "before")
        if "temporary" in kinds:
            return "451 4.3.0 Try again later"
        user = session.auth_data.login.decode(errors="replace") if session.auth_data else None
        recipients = [_readable(address) for address in envelope.rcpt_tos]
        self._box.keep(_readable(envelope.mail_from or ""), recipients, envelope.original_content or b"", user)
        await _pause(faults, "after")
        if "lost-answer" in kinds:
            _cut(server)
            await asyncio.Event().wait()  # the end of the connection cancels this: nothing is left to be said
        return "250 2.0.0 Kept"


def _anybody(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: LoginPassword) -> AuthResult:
    return AuthResult(success=True, auth_data=given)


def _cut(connection: SMTP) -> None:
    assert isinstance(connection.transport, asyncio.WriteTransport)
    connection.transport.abort()


async def _pause(faults: Iterable[Fault], when: str) -> None:
    for fault in faults:
        if fault.when != when:
            continue
        if fault.kind == "slow":
            await asyncio.sleep(float(fault.effect.get("seconds", 1)))
        elif fault.kind == "hold":
            await asyncio.to_thread(fault.hold)


def _readable(address: str) -> str:
    """Bytes that are not UTF-8 come as lone surrogates, which no page could be written with."""
    return address.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class MailServer:
    """Listens once it is made; answers between `start()` and `stop()`, in a thread of its own.

    aiosmtpd's own Controller cannot pick a free port, makes a connection at its start that a fault would count, and may
    wait forever for open connections at its end (Python 3.12).
    """

    def __init__(self, host: str, port: int, box: Mailbox, faults: Faults) -> None:
        self._box, self._faults = box, faults
        self._socket = socket.create_server((host, port))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-mail", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new connections, and the open ones are cut. Deliveries on hold must be let go first."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop.set_default_executor(ThreadPoolExecutor(HOLDS, "mail-hold"))

        def connection() -> Any:
            return _Connection(self._box, self._faults, self._loop)

        server = await self._loop.create_server(connection, sock=self._socket)
        await self._ended.wait()
        server.close()
