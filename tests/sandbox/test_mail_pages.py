"""The mailbox as a person sees it."""

import html
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mail_house import CALENDAR, letter, smtp

HOSTILE = "<script>alert('x')</script> \"&amp;"


@pytest.fixture
def http(sandbox):
    with httpx.Client(base_url=sandbox.url, timeout=15) as client:
        yield client


def told(answer):
    assert answer.status_code == 303
    place = urlsplit(answer.headers["location"])
    assert place.path == "/mail"
    query = parse_qs(place.query)
    return query["message"][0], "bad" in query


def send(sandbox, *messages):
    with smtp(sandbox) as client:
        for message in messages:
            client.send_message(message)


def test_an_empty_box_says_so(sandbox, http):
    page = http.get("/mail").text
    assert "No mail yet." in page
    assert "Empty the mailbox" not in page
    assert '<a href="/mail">the mailbox</a>' in http.get("/").text


def test_newest_first(sandbox, http):
    send(sandbox, letter("The first"))
    sandbox.world.clock.shift(3600)
    send(sandbox, letter("The second", "Max <max@example.test>"), letter(""))
    page = http.get("/mail").text
    first, second, third = sandbox.world.mail.messages()
    assert (
        f'<td>Tue 01 Dec 2026 08:00:00 UTC</td><td>Convene &lt;no-reply@convene.test&gt;</td>\n      <td>max@example.test</td>\n      <td><a href="/mail/{first.id}">The first</a></td>'
        in page
    )
    assert f'<td><a href="/mail/{third.id}">(no subject)</a></td>' in page
    assert page.index(f"/mail/{third.id}") < page.index(f"/mail/{second.id}") < page.index(f"/mail/{first.id}")
    assert sandbox.smtp_url in page


def test_one_message(sandbox, http):
    message = letter(Message_ID="<1@convene.test>")
    message.add_alternative("<p>Hello</p>", subtype="html")
    message.add_alternative(CALENDAR.encode(), "text", "calendar", params={"method": "REQUEST"})
    send(sandbox, message)
    page = http.get(f"/mail/{sandbox.world.mail.messages()[0].id}").text
    assert "Received Tue 01 Dec 2026 08:00:00 UTC." in page
    assert "<tr><th>Envelope to</th><td>max@example.test</td></tr>" in page
    assert "<tr><th>Message-ID</th><td>&lt;1@convene.test&gt;</td></tr>" in page
    assert '<iframe sandbox srcdoc="&lt;p&gt;Hello&lt;/p&gt;\n"' in page
    assert "<pre>\nHello Max\nsee you.\n</pre>" in page
    assert "<p>Method: REQUEST</p>" in page
    assert f"<pre>\n{CALENDAR}</pre>" in page
    assert "Content-Type: multipart/alternative" in page


def test_what_a_message_has_not(sandbox, http):
    send(sandbox, letter())
    page = http.get(f"/mail/{sandbox.world.mail.messages()[0].id}").text
    assert "There is no HTML part." in page
    assert "There is no calendar part." in page
    assert "<iframe" not in page


def test_hostile_mail_is_escaped(sandbox, http):
    message = letter(HOSTILE, X_Evil=HOSTILE)
    message.set_content(HOSTILE)
    message.add_alternative(f'"><script>alert(2)</script>{HOSTILE}', subtype="html")
    message.add_alternative(HOSTILE, subtype="calendar", params={"method": HOSTILE})
    message.replace_header("From", '"<script>x" <evil@example.test>')
    send(sandbox, message)
    one = http.get(f"/mail/{sandbox.world.mail.messages()[0].id}").text
    assert f"<title>{html.escape(HOSTILE).replace('&#x27;', '&#39;').replace('&quot;', '&#34;')}</title>" in one
    assert 'srcdoc="&#34;&gt;&lt;script&gt;alert(2)' in one
    for page in (one, http.get("/mail").text, http.get("/mail", params={"message": HOSTILE}).text):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_bytes_that_are_no_text(sandbox, http):
    with smtp(sandbox) as client:
        client.ehlo()
        client.send(b"MAIL FROM:<\xff@example.test>\r\n")
        assert client.getreply()[0] == 250
        client.rcpt("b@example.test")
        assert client.data(b"Subject: \xff\r\n\r\n\xff\r\n")[0] == 250
    (message,) = sandbox.world.mail.messages()
    assert message.sender == "\ufffd@example.test"
    assert http.get("/mail").status_code == 200
    assert "\ufffd" in http.get(f"/mail/{message.id}").text


def test_a_message_that_is_gone(sandbox, http):
    assert told(http.get("/mail/99999")) == ("That message is no longer here.", True)


def test_emptying(sandbox, http):
    send(sandbox, letter())
    assert told(http.post("/page/mail/empty")) == ("The mailbox is empty.", False)
    assert sandbox.world.mail.messages() == []


def test_faults(sandbox, http):
    assert told(http.post("/page/mail/faults", data={"fault": "permanent", "times": ""})) == ("The recipient is unknown (550).", False)
    (fault,) = sandbox.world.faults.entries()
    assert (fault.match, fault.effect, fault.times) == ({"mail": "*"}, {"kind": "permanent"}, None)
    assert f"/page/mail/faults/{fault.id}/remove" in http.get("/mail").text
    assert told(http.post(f"/page/mail/faults/{fault.id}/remove")) == ("The fault is gone.", False)
    assert "Everything works." in http.get("/mail").text
    assert told(http.post("/page/mail/faults", data={"fault": "x"}))[1] is True
    assert told(http.post("/page/mail/faults", data={"fault": "lost", "times": "0"}))[1] is True
    assert sandbox.world.faults.entries() == []


@pytest.mark.parametrize("name", ["refused", "temporary", "permanent", "lost", "slow"])
def test_each_button_makes_a_fault(sandbox, http, name):
    label, bad = told(http.post("/page/mail/faults", data={"fault": name, "times": "1"}))
    assert not bad
    assert label.removesuffix(".") in http.get("/mail").text
    assert len(sandbox.world.faults.entries()) == 1
