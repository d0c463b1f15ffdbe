"""Mail goes in over SMTP and is read back over the control face, with exact values."""

import smtplib
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_house import CALENDAR, kept, letter, smtp
from sandbox_house import NOW

from sandbox.app import Sandbox
from sandbox.mail.reading import read


def test_all_parts_of_a_message(sandbox):
    message = letter(
        "Änderung: Sitzung → Dienstag", "Max <max@example.test>", Message_ID="<1@convene.test>", Date="Tue, 01 Dec 2026 08:00:00 +0000"
    )
    message.add_alternative("<p>Grüße</p>\n", subtype="html")
    message.add_alternative(CALENDAR.encode(), "text", "calendar", params={"method": "REQUEST", "charset": "utf-8"})
    with smtp(sandbox) as client:
        assert client.send_message(message, "bounces@convene.test", ["max@example.test", "clara@example.test"]) == {}
    (found,) = kept(sandbox)
    headers, raw = found.pop("headers"), found.pop("raw")
    assert found == {
        "id": sandbox.world.mail.messages()[0].id,
        "receivedAt": "2026-12-01T08:00:00.000Z",
        "envelope": {"from": "bounces@convene.test", "to": ["max@example.test", "clara@example.test"]},
        "user": None,
        "subject": "Änderung: Sitzung → Dienstag",
        "text": "Hello Max\nsee you.\n",
        "html": "<p>Grüße</p>\n",
        "calendar": {"method": "REQUEST", "text": CALENDAR},
    }
    assert headers.pop("contentType").startswith("multipart/alternative; boundary=")
    assert headers == {
        "subject": "Änderung: Sitzung → Dienstag",
        "from": "Convene <no-reply@convene.test>",
        "to": "Max <max@example.test>",
        "messageId": "<1@convene.test>",
        "date": "Tue, 01 Dec 2026 08:00:00 +0000",
        "mimeVersion": "1.0",
    }
    assert raw.encode() == sandbox.world.mail.messages()[0].raw
    assert "Subject: =?utf-8?" in raw


def test_the_bytes_are_kept_as_they_came(sandbox):
    raw = b"Subject: a\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n.a dot, \xff and caf\xc3\xa9\r\n"
    with smtp(sandbox) as client:
        client.sendmail("a@example.test", ["b@example.test"], raw)
    (message,) = sandbox.world.mail.messages()
    assert message.raw == raw
    (found,) = kept(sandbox)
    assert found["headers"] == {"subject": "a", "xTwice": "1, 2"}
    assert (found["text"], found["html"], found["calendar"]) == (".a dot, � and café\n", None, None)


def test_an_unread_charset_and_addresses_beyond_ascii(sandbox):
    raw = "Subject: Grüße\r\nContent-Type: text/html; charset=no-such\r\n\r\n<p>ü</p>\r\n".encode()
    with smtp(sandbox) as client:
        client.sendmail("jürgen@example.test", ["zoë@example.test"], raw, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    (found,) = kept(sandbox)
    assert found["envelope"] == {"from": "jürgen@example.test", "to": ["zoë@example.test"]}
    assert (found["subject"], found["html"]) == ("Grüße", "<p>ü</p>\n")


@given(st.binary(), st.sampled_from([b"Subject", b"From", b"To", b"Date", b"Message-ID", b"Content-Type", b"Content-Disposition"]))
def test_no_message_is_too_broken_to_be_looked_at(content, name):
    found = read(name + b": " + content + b"\r\n\r\n" + content)
    "".join([value for _, value in found.headers] + [found.text or "", found.html or ""]).encode()


def test_one_message_id_twice_is_two_rows_oldest_first(sandbox):
    with smtp(sandbox) as client:
        for subject in ("first", "second"):
            client.send_message(letter(subject, Message_ID="<same@convene.test>"))
            sandbox.world.clock.shift(60)
    found = kept(sandbox)
    assert [(row["subject"], row["headers"]["messageId"], row["receivedAt"]) for row in found] == [
        ("first", "<same@convene.test>", "2026-12-01T08:00:00.000Z"),
        ("second", "<same@convene.test>", "2026-12-01T08:01:00.000Z"),
    ]
    assert found[0]["id"] < found[1]["id"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_anybody_may_sign_in(sandbox, mechanism):
    with smtp(sandbox) as client:
        client.ehlo()
        assert not client.has_extn("starttls")
        client.user, client.password = "postmaster", "anything"
        assert client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))[0] == 235
        client.send_message(letter())
    (found,) = kept(sandbox)
    assert found["user"] == "postmaster"
    assert "anything" not in str(found)


def test_emptying_and_resetting(sandbox):
    with smtp(sandbox) as client:
        client.send_message(letter())
        assert httpx.delete(f"{sandbox.url}/_sandbox/mail").json() == []
        assert sandbox.world.mail.messages() == []
        client.send_message(letter("again"))
        sandbox.reset()
        assert kept(sandbox) == []
        client.send_message(letter("after the reset"))  # the connection outlives it
    assert [row["subject"] for row in kept(sandbox)] == ["after the reset"]


def test_a_folder_survives_a_restart(tmp_path: Path):
    box = tmp_path / "var" / "mail"
    with Sandbox(mailbox=box) as sandbox, smtp(sandbox) as client:
        sandbox.world.clock.freeze(NOW)
        client.login("postmaster", "anything")
        client.sendmail("a@example.test", ["b@example.test", "c@example.test"], b"Subject: kept\r\n\r\n\xffbody\r\n")
        client.send_message(letter("second"))
        before, raw = kept(sandbox), [message.raw for message in sandbox.world.mail.messages()]
    assert [path.name for path in sorted(box.iterdir())] == ["000001.eml", "000002.eml"]
    (box / "000003.new").write_bytes(b"half a mess")  # what a kill leaves
    with Sandbox(mailbox=box) as sandbox:
        assert kept(sandbox) == before
        assert [message.raw for message in sandbox.world.mail.messages()] == raw
        with smtp(sandbox) as client:
            client.send_message(letter("third"))
        assert [(row["id"], row["subject"]) for row in kept(sandbox)] == [(1, "kept"), (2, "second"), (3, "third")]
        sandbox.reset()
    assert list(box.glob("*.eml")) == []
    assert Sandbox(mailbox=box).world.mail.messages() == []


def test_it_listens_only_when_asked_and_ends_with_the_sandbox():
    sandbox = Sandbox().start()
    assert sandbox.world.smtp_url == ""
    assert "There is no mail server here" in httpx.get(f"{sandbox.url}/mail").text
    url = sandbox.smtp_url
    assert sandbox.smtp_url == url
    client = smtp(sandbox)
    sandbox.stop()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP(*url.removeprefix("smtp://").split(":"))
    assert sandbox.world.smtp_url == ""
    sandbox.start()
    assert sandbox.world.smtp_url == url  # where it was before
    with smtp(sandbox) as again:
        again.send_message(letter())
    assert len(kept(sandbox)) == 1
    sandbox.stop()


def test_two_sandboxes_have_two_boxes(sandbox):
    with Sandbox(smtp_port=0) as other, smtp(other) as client:
        assert other.world.smtp_url not in {"", sandbox.smtp_url}
        client.send_message(letter())
        assert len(kept(other)) == 1
    assert kept(sandbox) == []


def test_its_manual_is_part_of_the_sandboxs(sandbox):
    assert "GET    /_sandbox/mail " in httpx.get(f"{sandbox.url}/_sandbox").text
