"""What an operator does from day to day: the queue. One server, whose relay host refuses connections, so that mail waits."""

import json
import os
import re
import subprocess

import pytest

from lab import DEADLINE, Lab, until


@pytest.fixture(scope="module")
def operated():
    own = Lab()
    yield own.server(env={"POSTFIX_RELAYHOST": "[127.0.0.1]:9"}, alias="operated")
    own.close()


@pytest.fixture
def server(operated):
    """The same with an empty queue."""
    operated.sh("postsuper -d ALL 2>/dev/null")
    return operated


def queue(server, *arguments, code=0):
    done = server.exec("mailroom", "queue", *arguments, check=False)
    assert done.returncode == code, (arguments, done)
    return done


def listed(server, *filters):
    return json.loads(server.exec("mailroom", "queue", "list", "--json", *filters, check=False).stdout)


def send(server, sender, *recipients):
    """Hands a message over, and waits until it has been tried. Returns its id."""
    before = {each["id"] for each in listed(server)}
    server.exec("sendmail", "-f", sender, *recipients, input="Subject: waits\nX-Evil: \x1b[2J\n\nx\n")
    waiting = lambda: [each["id"] for each in listed(server, "--queue", "deferred") if each["id"] not in before]
    return until(waiting, "it waits")[0]


def test_list_and_show(server):
    assert queue(server, "list").stdout == "the queue is empty\n"
    assert queue(server, "list", "--json").stdout == "[]\n"
    first = send(server, "ann@example.org", "b@example.net", "c@other.test")
    second = send(server, "bob@example.com", "d@other.test")
    heading, *rows = queue(server, "list").stdout.splitlines()
    assert heading.split() == ["ID", "QUEUE", "AGE", "SIZE", "SENDER", "RECIPIENTS", "WHY", "IT", "WAITS"]
    assert [row.split()[0] for row in rows] == [first, second], "in the order of arrival"
    assert "ann@example.org" in rows[0] and " and 1 more " in rows[0] and "Connection refused" in rows[0], rows
    assert [each["id"] for each in listed(server, "--sender", "@example.com")] == [second]
    assert [each["id"] for each in listed(server, "--recipient", "C@other.test")] == [first]
    assert [each["id"] for each in listed(server, "--recipient", "@other.test", "--reason", "connection REFUSED")] == [first, second]
    assert listed(server, "--older", "1h") == []
    assert "of 2 messages none matches" in queue(server, "list", "--older", "1h", code=1).stdout
    shown = queue(server, "show", first).stdout
    assert "sender     ann@example.org\n" in shown and "Subject: waits\n" in shown, shown
    assert "\x1b" not in shown and "X-Evil: \\u{1b}[2J" in shown, "what a sender writes moves no cursor"
    assert "Connection refused" in json.loads(queue(server, "show", first, "--json").stdout)["recipients"][0]["reason"]
    assert "is not in the queue" in queue(server, "show", "4jf02W1TnLzCT9J", code=1).stderr


def test_hold_release_and_flush(server):
    ids = [send(server, "ann@example.org", f"{name}@example.net") for name in "bc"]
    assert "1 message is on hold" in queue(server, "hold", ids[0]).stdout
    assert [each["id"] for each in listed(server, "--queue", "hold")] == ids[:1]
    assert "of 1 message none is deferred" in queue(server, "flush", ids[0], code=1).stdout
    tried = lambda id: server.logs().count(f"{id}: to=")
    before = tried(ids[1])
    assert "1 message is tried now" in queue(server, "flush", "--recipient", "c@example.net").stdout
    until(lambda: tried(ids[1]) > before, "it is tried")
    before = tried(ids[0])
    assert "1 message is released, and tried now" in queue(server, "release", "--all").stdout
    until(lambda: tried(ids[0]) > before, "it is tried")
    assert queue(server, "release", "--all").stdout == "of 2 messages none is on hold\n"


def test_what_is_deleted_is_asked_for(server):
    ids = [send(server, "ann@example.org", f"{name}@example.net") for name in "bcde"]
    assert "or --all" in queue(server, "delete", code=64).stderr
    assert "neither ids nor filters" in queue(server, "delete", "--all", ids[0], code=64).stderr
    assert "delete 4 messages: there is no terminal" in queue(server, "delete", "--all", code=64).stderr
    assert "must be an address" in queue(server, "delete", "--sender", "ann", code=2).stderr
    at_a_terminal = "script -qec 'mailroom queue delete --all' /dev/null <<<'{}'"
    said = server.sh(at_a_terminal.format("n"), check=False).stdout
    assert "delete 4 messages? [y/N]" in said and "nothing was deleted" in said, said
    assert len(listed(server)) == 4
    done = queue(server, "delete", ids[0], "4jf02W1TnLzCT9J")
    assert done.stdout == "1 message is deleted\n" and "4jf02W1TnLzCT9J is not in the queue" in done.stderr
    assert queue(server, "delete", "--recipient", "c@example.net").stdout == "1 message is deleted\n", "one is not asked about"
    assert "2 messages are deleted" in server.sh(at_a_terminal.format("y")).stdout
    assert queue(server, "list").stdout == "the queue is empty\n"
    assert queue(server, "delete", "--all", "--yes").stdout == "the queue is empty\n"
    assert queue(server, "delete", "ALL", code=1).stdout == "the queue is empty\n"


def test_what_leaves_meanwhile_is_told(server):
    """The question comes when the queue has been read: one of the messages is deleted before the answer."""
    ids = [send(server, "ann@example.org", f"{name}@example.net") for name in "bc"]
    command = ["docker", "exec", "-i", server.id, "script", "-qec", "mailroom queue delete --all", "/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asked:
        said = b""
        while b"[y/N]" not in said:
            more = os.read(asked.stdout.fileno(), 4096)
            assert more, said
            said += more
        server.sh(f"postsuper -d {ids[0]}")
        said += asked.communicate(b"y\n", timeout=DEADLINE)[0]
    assert b"1 message is deleted" in said and b"1 message has left the queue meanwhile" in said, said


def test_while_postfix_does_not_run(server):
    """All but flushing works on the files."""
    ids = [send(server, "ann@example.org", f"{name}@example.net") for name in "bcd"]
    server.sh("postfix stop")
    server.wait_for("! pgrep -x master", "Postfix has stopped")
    done = queue(server, "list")
    assert all(id in done.stdout for id in ids) and "Postfix does not run, so nothing is sent" in done.stderr, done
    assert "nothing can be sent: Postfix does not run" in queue(server, "flush", "--all", code=1).stderr
    assert "1 message is on hold" in queue(server, "hold", ids[0]).stdout
    assert "released, and tried once Postfix runs" in queue(server, "release", ids[0]).stdout
    assert "1 message is deleted" in queue(server, "delete", ids[1]).stdout
    server.sh("postfix start")
    server.wait_until_healthy()
    assert {each["id"] for each in listed(server)} == {ids[0], ids[2]}


SEND = """
import smtplib, ssl
smtp = smtplib.SMTP("office"); smtp.starttls(context=ssl._create_unverified_context())
smtp.sendmail("ann@example.org", ["x@example.com"], "Message-Id: <story@example.org>\\r\\nSubject: x\\r\\n\\r\\nx")
"""


@pytest.fixture(scope="module")
def office():
    """A server whose relay host does not exist yet."""
    own = Lab()
    yield own, own.server(alias="office", env={"POSTFIX_RELAYHOST": "[nobody.test]:25", "POSTFIX_SMTP_HOST_LOOKUP": "native"}), own.client()
    own.close()


def test_the_story_of_a_message(office):
    lab, server, client = office
    client.python(SEND)
    id = until(lambda: [m["id"] for m in listed(server, "--queue", "deferred")], "it is deferred")[0]
    assert "\ntried next in " in queue(server, "show", id).stdout and json.loads(queue(server, "show", id, "--json").stdout)["next_attempt"]
    told = server.exec("mailroom", "logs", "--message-id", "<story@example.org>").stdout
    without_wait = lambda text: re.sub(r"tried next in .*;", "", text)
    assert without_wait(told) == without_wait(server.exec("mailroom", "logs", "--queue-id", id, "--since", "1h").stdout)
    for said in (f"message {id}", "connects to postfix/smtpd", "TLS 1.3 begins", "accepted from ", "its Message-ID is <story@example.org>",
                 "from ann@example.org, ", "not delivered yet to x@example.com, ", "nobody.test", "it is tried next in ", f"mailroom queue flush {id}"):
        assert said in told, (said, told)
    sink = lab.sink("nobody.test")
    queue(server, "flush", "--all")
    until(lambda: not listed(server), "it is delivered")
    told = server.exec("mailroom", "logs", "--address", "X@example.com").stdout
    assert "delivered to x@example.com by nobody.test[" in told and told.count("done: it has left the queue") >= 1
    lab.remove_all(sink)
    client.exec("swaks", "--server", "office", "--from", "ann@example.org", "--to", "nobody@metabuilder.local", "--silent", check=False)
    told = until(lambda: server.exec("mailroom", "logs", "--address", "nobody@metabuilder.local", check=False).stdout, "a refusal is told")
    assert told.startswith("refused\n") and "User unknown" in told
    done = server.exec("mailroom", "logs", "--queue-id", "4jdzF549l9zNONE", check=False)
    assert done.returncode == 1 and "no line speaks of that" in done.stderr


def test_lines_as_they_come(office):
    _, server, client = office
    process = subprocess.Popen(["timeout", "20", "docker", "exec", server.id, "mailroom", "logs", "--follow", "--since", "0s"],
                               stdout=subprocess.PIPE, text=True)
    client.exec("swaks", "--server", "office", "--from", "follow@example.org", "--to", "user@metabuilder.local", "--silent")
    assert any("from=<follow@example.org>" in line for line in process.stdout), "the line came"
    process.kill()
