"""Structured logs: JSON lines (readable lines on a terminal), a request id on each, secrets never.

Redaction is by name and by shape: values of telling names are dropped, and bearer tokens, JWTs and Cal.com booking
addresses inside sentences are cut out. It is the second line; the first is not to log such things at all.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import orjson
import structlog

SECRET_NAMES = re.compile(r"token|secret|authorization|password|verifier|\bcode\b|cookie|signature|api_?key|\buid\b", re.IGNORECASE)
SECRET_SHAPES = (
    (re.compile(r"(?i)bearer\s+[\w.~+/=-]+"), "Bearer [redacted]"),
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), "[redacted]"),
    (re.compile(r"(/bookings?/)[A-Za-z0-9_-]{16,}"), r"\1[redacted]"),
    (re.compile(r"(?i)((?:code|state|session|ticket|secret|bookingUidToReschedule)=)[^&\s\"']+"), r"\1[redacted]"),
    (re.compile(r"(?i)(\buid[=: ]+)[\w-]+"), r"\1[redacted]"),
    (re.compile(r"Key \(.*?\)=\(.*?\)"), "Key [redacted]"),
    (re.compile(r"(/webhooks/\w+/)[\w-]{20,}"), r"\1[redacted]"),
)
SUSPECT = re.compile(r"(?i)bearer|eyJ|/booking|=|uid|Key \(|/webhooks/")
"""What each of the shapes needs: most texts have none of it, and are not looked at any further."""
ALLOWED_NAMES = {"token_version", "code", "error_code"}


def redact_text(text: str) -> str:
    if not SUSPECT.search(text):
        return text
    for shape, instead in SECRET_SHAPES:
        text = shape.sub(instead, text)
    return text


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


@lru_cache(maxsize=500)
def _is_secret(name: str) -> bool:
    return name not in ALLOWED_NAMES and SECRET_NAMES.search(name) is not None


def _redacted(name: str, value: Any) -> Any:
    if _is_secret(name):
        return "[redacted]"
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: _redacted(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_redacted(name, inner) for inner in value]
    return value


def configure(level: str = "INFO") -> None:
    """Send structlog and the standard library's loggers through the same processors, to standard error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(_line)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # these two speak of every tick and every query, with addresses and parameters
    for name in ("apscheduler", "peewee", "httpx", "httpcore", "authlib"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _line(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half of a surrogate pair, which the standard library writes as an escape
        return json.dumps(event, default=repr)


def get_logger(name: str) -> Any:
    return structlog.get_logger(name)
