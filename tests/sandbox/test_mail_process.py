"""The command with a mailbox: the ready line names both addresses, mail survives a kill, and the end is clean."""

import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import httpx
from mail_house import letter

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments):
    command = [sys.executable, "-m", "sandbox", "--port", "0", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ready(process):
    """Its two addresses."""
    words = process.stdout.readline().split()
    assert words[:3] == ["sandbox", "ready", "on"], process.stderr.read()
    url, smtp_url = words[3:]
    assert smtp_url.startswith("smtp://127.0.0.1:")
    return url, smtp_url.removeprefix("smtp://").split(":")


def test_mail_survives_a_kill(tmp_path):
    process = start("--smtp-port", "0", "--mailbox", tmp_path / "mail")
    _, address = ready(process)
    with smtplib.SMTP(*address) as client:
        client.send_message(letter("Before the kill"))
        process.kill()
        process.communicate()
        client.close()
    process = start("--smtp-port", address[1], "--mailbox", tmp_path / "mail")
    url, again = ready(process)
    assert again == address
    with smtplib.SMTP(*again) as client:
        client.login("postmaster", "anything")
        client.send_message(letter("After it"))
        found = httpx.get(f"{url}/_sandbox/mail").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        client.close()
    assert [row["subject"] for row in found] == ["Before the kill", "After it"]
    assert process.communicate()[1] == "GET /_sandbox/mail 200\n"


def test_a_folder_needs_a_server(tmp_path):
    process = start("--mailbox", tmp_path / "mail")
    out, errors = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert errors.endswith("error: --mailbox needs --smtp-port\n")
    assert not (tmp_path / "mail").exists()
