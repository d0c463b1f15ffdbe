"""A message taken apart for whoever looks at it. Never raises: what cannot be decoded is shown as it is."""

from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import Message as Part


@dataclass(frozen=True)
class Calendar:
    method: str | None
    text: str  # with the line ends that RFC 5545 asks for, if they came


@dataclass
class Content:
    """The first part of each kind; line ends of `text` and `html` are newlines."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    text: str | None = None
    html: str | None = None
    calendar: Calendar | None = None

    def header(self, name: str) -> str:
        """The first of that name; empty if there is none."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")


def read(raw: bytes) -> Content:
    # The old policy for the structure: the new one parses headers when asked for a part's type, and stumbles over broken ones.
    whole = message_from_bytes(raw, policy=policy.compat32)
    content = Content([(name, _value(name, value)) for name, value in whole.raw_items()])
    for part in whole.walk():
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if kind == "text/plain" and content.text is None:
            content.text = _newlines(_text(part))
        elif kind == "text/html" and content.html is None:
            content.html = _newlines(_text(part))
        elif kind == "text/calendar" and content.calendar is None:
            method = part.get_param("method")
            content.calendar = Calendar(None if method is None else str(method), _text(part))
    return content


def _value(name: str, value: object) -> str:
    """Decoded and unfolded."""
    try:
        return str(policy.default.header_fetch_parse(name, str(value)))
    except Exception:  # noqa: BLE001 - the library's parsers raise anything over hostile headers
        return str(value).encode("utf-8", "replace").decode()


def _text(part: Part) -> str:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    try:
        return content.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n")
