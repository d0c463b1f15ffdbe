"""What the tests of the mailbox speak with: a client of its mail server, a message, and the control face."""

import smtplib
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import httpx

from sandbox.app import Sandbox

CALENDAR = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@convene\r\nSEQUENCE:2\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def smtp(sandbox: Sandbox) -> smtplib.SMTP:
    address = urlsplit(sandbox.smtp_url)
    return smtplib.SMTP(str(address.hostname), address.port or 0, local_hostname="convene", timeout=10)


def letter(subject: str = "Your session moved", to: str = "max@example.test", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "Convene <no-reply@convene.test>", to
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Hello Max\nsee you.\n")
    return message


def kept(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What the control face shows."""
    return httpx.get(f"{sandbox.url}/_sandbox/mail").json()
