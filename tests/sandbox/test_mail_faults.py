"""Each fault as a client of the mail server sees it, and what is in the box afterwards."""

import smtplib
import socket
import threading

import httpx
import pytest
from mail_house import kept, letter, smtp

from sandbox.app import Sandbox

MAX, CLARA = "max@example.test", "clara@example.test"


def send(sandbox, *recipients: str):
    """Answers the recipients that were refused, with their lines."""
    with smtp(sandbox) as client:
        return client.send_message(letter(), "no-reply@convene.test", list(recipients) or [MAX])


def subjects(sandbox):
    return [row["subject"] for row in kept(sandbox)]


def test_a_refused_connection(sandbox):
    fault = sandbox.fault({"kind": "refuse-connection"}, mail="*", times=2)
    for hits in (1, 2):
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            send(sandbox)
        assert fault.hits == hits
    assert kept(sandbox) == []
    assert send(sandbox) == {}
    assert (fault.hits, len(kept(sandbox))) == (2, 1)


def test_starting_the_mail_server_is_no_connection_to_refuse():
    with Sandbox() as fresh:
        fault = fresh.fault({"kind": "refuse-connection"}, mail="*")
        assert fresh.smtp_url
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            send(fresh)
        assert fault.hits == 1


def test_temporary(sandbox):
    fault = sandbox.fault({"kind": "temporary"}, mail="*")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(sandbox)
    assert (refused.value.smtp_code, refused.value.smtp_error) == (451, b"4.3.0 Try again later")
    assert kept(sandbox) == []
    assert send(sandbox) == {}
    assert (fault.hits, subjects(sandbox)) == (1, ["Your session moved"])


def test_permanent_for_one_of_two(sandbox):
    fault = sandbox.fault({"kind": "permanent"}, mail="CLARA@*", times=None)
    assert send(sandbox, MAX, CLARA) == {CLARA: (550, b"5.1.1 No such mailbox here")}
    assert [row["envelope"]["to"] for row in kept(sandbox)] == [[MAX]]
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(sandbox, CLARA)
    assert (fault.hits, len(kept(sandbox))) == (2, 1)


def test_a_lost_answer(sandbox):
    fault = sandbox.fault({"kind": "lost-answer"}, mail="*")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(sandbox)
    assert (fault.hits, subjects(sandbox)) == (1, ["Your session moved"])
    assert send(sandbox) == {}
    assert len(kept(sandbox)) == 2


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
def test_slow_beyond_the_clients_patience(sandbox, when, count):
    fault = sandbox.fault({"kind": "slow", "seconds": 30, "when": when}, mail="*")
    with smtp(sandbox) as client:
        client.sock.settimeout(0.2)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.send_message(letter())
    assert (fault.hits, len(kept(sandbox))) == (1, count)


def test_slow_but_in_time(sandbox):
    sandbox.fault({"kind": "slow", "seconds": 0.05}, mail="*")
    assert send(sandbox) == {}
    assert len(kept(sandbox)) == 1


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
def test_on_hold_and_let_go(sandbox, when, count):
    fault = sandbox.fault({"kind": "hold", "when": when}, mail=MAX)
    answers = []
    sender = threading.Thread(target=lambda: answers.append(send(sandbox)))
    sender.start()
    assert fault.wait_held()
    assert (len(kept(sandbox)), answers) == (count, [])
    assert send(sandbox, CLARA) == {}  # others get through meanwhile
    fault.release()
    sender.join(10)
    assert (answers, len(kept(sandbox))) == ([{}], 2)


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
def test_a_sender_that_dies_while_on_hold(sandbox, when, count):
    fault = sandbox.fault({"kind": "hold", "when": when}, mail="*")
    client = smtp(sandbox)
    client.ehlo()
    client.mail("no-reply@convene.test")
    client.rcpt(MAX)
    client.docmd("DATA")
    client.send(b"Subject: last words\r\n\r\n.\r\n")
    assert fault.wait_held()
    client.sock.shutdown(socket.SHUT_RDWR)
    client.close()
    assert send(sandbox, CLARA) == {}  # by now the server has seen the end of the other connection
    fault.release()
    assert send(sandbox, CLARA) == {}
    assert subjects(sandbox) == ["last words"] * count + ["Your session moved"] * 2


def test_more_on_hold_than_the_machine_has_processors(sandbox):
    fault = sandbox.fault({"kind": "hold"}, mail="*", times=None)
    senders = [threading.Thread(target=send, args=[sandbox]) for _ in range(12)]
    for sender in senders:
        sender.start()
    assert fault.wait_held(12)
    sandbox.world.faults.clear()
    for sender in senders:
        sender.join(10)
    assert len(kept(sandbox)) == 12


def test_over_the_control_face(sandbox):
    faults = f"{sandbox.url}/_sandbox/faults"
    made = httpx.post(faults, json={"match": {"mail": "max@*"}, "effect": {"kind": "temporary"}, "times": None, "skip": 1})
    assert made.status_code == 201
    assert send(sandbox) == {}
    assert send(sandbox, CLARA) == {}
    with pytest.raises(smtplib.SMTPDataError):
        send(sandbox, CLARA, MAX)
    assert httpx.get(f"{faults}/{made.json()['id']}").json()["hits"] == 1
    assert httpx.get(f"{sandbox.url}/calcom/v2/allowlists").status_code == 200  # mail's faults are no concern of requests
    httpx.delete(faults)
    assert send(sandbox) == {}


@pytest.mark.parametrize(
    ("match", "effect", "text"),
    [
        ({"mail": "*"}, {"kind": "status"}, "effect.kind must be one of hold, lost-answer, permanent, refuse-connection, slow, temporary"),
        (
            {"mail": MAX},
            {"kind": "refuse-connection"},
            "match.mail must be * here: a connection is refused before it names a recipient",
        ),
        ({"mail": 5}, {"kind": "temporary"}, "match.mail must be a recipient's address or a pattern"),
        ({"mail": "*"}, {"kind": "slow", "seconds": "x"}, "seconds must be a number"),
    ],
)
def test_faults_that_make_no_sense(sandbox, match, effect, text):
    answer = httpx.post(f"{sandbox.url}/_sandbox/faults", json={"match": match, "effect": effect})
    assert (answer.status_code, answer.json()) == (400, {"error": text})
    assert sandbox.world.faults.entries() == []
