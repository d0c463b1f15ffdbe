"""The mailbox: every accepted message as its bytes arrived, in memory or as a folder of .eml files."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sandbox import times
from sandbox.clock import Clock

ENVELOPE = b"X-Sandbox-Envelope: "


@dataclass(frozen=True)
class Message:
    """`sender` and `recipients` are the envelope's, which need not be those of the headers."""

    id: int
    at: datetime
    sender: str
    recipients: tuple[str, ...]
    user: str | None  # who signed in to send it
    raw: bytes

    def dump(self) -> bytes:
        """The envelope as one header line before the bytes that arrived: one file, and any mail program opens it."""
        envelope: dict[str, Any] = {
            "id": self.id,
            "at": times.millis(self.at),
            "from": self.sender,
            "to": self.recipients,
            "user": self.user,
        }
        return ENVELOPE + json.dumps(envelope).encode() + b"\r\n" + self.raw

    @classmethod
    def load(cls, content: bytes) -> Self:
        head, _, raw = content.partition(b"\r\n")
        envelope = json.loads(head.removeprefix(ENVELOPE))
        return cls(envelope["id"], times.parse(envelope["at"]), envelope["from"], tuple(envelope["to"]), envelope["user"], raw)


class Mailbox:
    """With a folder, a message is on disk before its sender is told, and there again after a restart."""

    def __init__(self, clock: Clock, folder: Path | None = None) -> None:
        self._clock, self._folder = clock, folder
        self._lock = threading.Lock()
        self._messages: dict[int, Message] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [Message.load(path.read_bytes()) for path in folder.glob("*.eml")]
            self._messages = {message.id: message for message in sorted(kept, key=lambda message: message.id)}
        self._made = max(self._messages, default=0)

    def keep(self, sender: str, recipients: Sequence[str], raw: bytes, user: str | None = None) -> Message:
        with self._lock:
            self._made += 1
            message = Message(self._made, self._clock.now(), sender, tuple(recipients), user, raw)
            if self._folder is not None:
                _write(self._path(self._folder, message.id), message.dump())
            self._messages[message.id] = message
            return message

    def messages(self) -> list[Message]:
        """Oldest first."""
        with self._lock:
            return list(self._messages.values())

    def get(self, message_id: int) -> Message | None:
        with self._lock:
            return self._messages.get(message_id)

    def clear(self) -> None:
        with self._lock:
            if self._folder is not None:
                for message_id in self._messages:
                    self._path(self._folder, message_id).unlink(missing_ok=True)
            self._messages.clear()

    @staticmethod
    def _path(folder: Path, message_id: int) -> Path:
        return folder / f"{message_id:06}.eml"


def _write(path: Path, content: bytes) -> None:
    """A restart after kill -9 finds the whole message or none."""
    scratch = path.with_suffix(".new")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
