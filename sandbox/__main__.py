"""`python -m sandbox [--host 127.0.0.1] [--port 8001] [--state FILE] [--demo] [--smtp-port 8025 [--mailbox DIR]]`."""

import argparse
import signal
import threading

from sandbox.app import Sandbox


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A local, stateful Cal.com, Calendly and Zoom.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001, help="0 picks a free one")
    parser.add_argument("--state", metavar="FILE", help="keep the whole world in this file")
    parser.add_argument("--demo", action="store_true", help="make demo people if there are no users")
    parser.add_argument("--smtp-port", type=int, metavar="PORT", help="receive mail there; 0 picks a free one")
    parser.add_argument("--mailbox", metavar="DIR", help="keep the mail in this folder")
    given = parser.parse_args()
    if given.mailbox is not None and given.smtp_port is None:
        parser.error("--mailbox needs --smtp-port")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    made = Sandbox(given.port, given.state, given.demo, given.host, verbose=True, smtp_port=given.smtp_port, mailbox=given.mailbox)
    with made as sandbox:
        print(f"sandbox ready on {sandbox.url} {sandbox.world.smtp_url}".rstrip(), flush=True)  # noqa: T201 - the one line others wait for
        while not ended.wait(1):
            sandbox.world.deliveries.repeat()


if __name__ == "__main__":
    main()
