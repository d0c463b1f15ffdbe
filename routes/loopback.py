"""Whether a request really comes from this machine."""

import ipaddress
from urllib.parse import urlsplit

from flask import Request

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via")
NAMES = {"localhost", "127.0.0.1", "::1"}


def from_loopback(request: Request) -> bool:
    """True for a peer and a Host on loopback, and no sign of a proxy: one on this machine would look local too."""
    try:
        local = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
    host = urlsplit(f"//{request.host}").hostname
    return local and host in NAMES and not any(name in request.headers for name in FORWARDED)
