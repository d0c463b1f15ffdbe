"""One message to one mail server: sent, not accepted, refused for good, or nobody knows.

What matters is how far it came. Until the message's end was sent nothing can have been delivered; a line that breaks after
it leaves the outcome open. The whole exchange has a hard limit, because a server that answers a byte at a time never
meets a limit on single reads.
"""

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from urllib.parse import parse_qsl, unquote, urlsplit

LIMIT_SECONDS = 20
STEP_SECONDS = 10
PORTS = {"smtp": 587, "smtps": 465}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
GREETED, GO_AHEAD, DONE, FOR_GOOD = 220, 354, (250, 251, 252), 500


class MailError(Exception):
    """The message was not sent, as far as is known; the text says how far it came and holds no address."""


class NotAccepted(MailError):
    """The server did not take it, or could not be reached: a later try may succeed."""


class Refused(MailError):
    """The server will never take it for this recipient."""


class AnswerLost(MailError):
    """The message's end may have been sent and the answer did not come: it may have been delivered."""


@dataclass(frozen=True)
class Server:
    """Where mail is handed over. `tls`: `implicit` from the first byte, `required` by STARTTLS, or `off`."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: str

    @classmethod
    def of(cls, url: str) -> "Server":
        """Read `smtp://user:password@host:587?starttls=required` or `smtps://...`. Raises ValueError.

        Without `starttls` it is required, except of a server on this machine.
        """
        parts, asked = urlsplit(url), dict(parse_qsl(urlsplit(url).query))
        wanted = asked.pop("starttls", "off" if parts.hostname in LOOPBACK else "required")
        if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or asked or wanted not in {"required", "off"}:
            raise ValueError("must look like smtp://user:password@host:587?starttls=required (or off) or smtps://user:password@host:465")
        return cls(
            host=parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            tls="implicit" if parts.scheme == "smtps" else wanted,
        )


def send(server: Server, sender: str, recipient: str, message: EmailMessage) -> None:
    """Hand the message over for one recipient. Raises NotAccepted, Refused or AnswerLost.

    Holds nothing but the line: call it without a database connection.
    """
    try:
        with _line(server) as smtp:
            _begin(smtp, server)
            wide = not recipient.isascii()
            if wide and not smtp.has_extn("smtputf8"):
                raise Refused("the server takes no address beyond ASCII")
            _check(smtp.mail(sender, ["SMTPUTF8"] if wide else []), "sender", for_good=False)
            _check(smtp.rcpt(recipient), "recipient")
            _check(_hand_over(smtp, message.as_bytes(policy=SMTPUTF8 if wide else SMTP)), "message")
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise NotAccepted(f"not accepted: {_reason(error)}") from error


@contextlib.contextmanager
def _line(server: Server) -> Iterator[smtplib.SMTP]:
    """A greeted connection that is cut when the limit is over."""
    line = socket.create_connection((server.host, server.port), timeout=STEP_SECONDS)
    # a second handle on the connection: wrapping the first one in TLS takes it away
    lever = line.dup()
    cut = threading.Timer(LIMIT_SECONDS, _cut, [lever])
    cut.daemon = True
    cut.start()
    smtp = smtplib.SMTP(local_hostname=socket.gethostname(), timeout=STEP_SECONDS)
    smtp._host = server.host  # type: ignore[attr-defined] # noqa: SLF001 - the name that STARTTLS checks the certificate for
    try:
        smtp.sock = ssl.create_default_context().wrap_socket(line, server_hostname=server.host) if server.tls == "implicit" else line
        code, _ = smtp.getreply()
        if code != GREETED:
            raise NotAccepted(f"not accepted: greeted with {code}")
        yield smtp
        with contextlib.suppress(OSError, smtplib.SMTPException):
            smtp.quit()
    finally:
        cut.cancel()
        smtp.close()
        line.close()
        lever.close()


def _cut(lever: socket.socket) -> None:
    with contextlib.suppress(OSError):
        lever.shutdown(socket.SHUT_RDWR)


def _begin(smtp: smtplib.SMTP, server: Server) -> None:
    smtp.ehlo_or_helo_if_needed()
    if server.tls == "required":
        smtp.starttls(context=ssl.create_default_context())
        smtp.ehlo()
    if server.user:
        smtp.login(server.user, server.password)


def _hand_over(smtp: smtplib.SMTP, content: bytes) -> tuple[int, bytes]:
    try:
        return smtp.data(content)
    except smtplib.SMTPDataError as error:
        return error.smtp_code, b""
    except (OSError, smtplib.SMTPException) as error:
        raise AnswerLost(f"answer lost: {_reason(error)}") from error


def _check(answer: tuple[int, bytes], what: str, *, for_good: bool = True) -> None:
    """Only what is said of the recipient or the message is for good; a refused sender is the operator's to mend."""
    code = answer[0]
    if code in DONE:
        return
    kind = Refused if for_good and code >= FOR_GOOD else NotAccepted
    raise kind(f"{what} {'refused' if kind is Refused else 'not accepted'}: {code}")


def _reason(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
