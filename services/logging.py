"""Structured logs: JSON lines (readable lines on a terminal), a request id on each, secrets never.

Redaction is by name and by shape: values of telling names are dropped, and bearer tokens, JWTs and Cal.com booking
addresses inside sentences are cut out. It is the second line; the first is not to log such things at all.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

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
ALLOWED_NAMES = {"token_version", "code", "error_code"}


def redact_text(text: str) -> str:
    for shape, instead in SECRET_SHAPES:
        text = shape.sub(instead, text)
    return text


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: Any) -> Any:
    if name not in ALLOWED_NAMES and SECRET_NAMES.search(name):
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
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
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


def get_logger(name: str) -> Any:
    return structlog.get_logger(name)
