"""The queue by commands: what waits is shown, found, held, released, tried and deleted; and nothing else is."""

import json
import re
import subprocess

import pytest

from lab import Lab, until


@pytest.fixture(scope="module")
def office():
    """A server whose relay host does not exist."""
    lab = Lab()
    try:
        server = lab.server(alias="office", env={"POSTFIX_RELAYHOST": "[nobody.test]:25", "POSTFIX_SMTP_HOST_LOOKUP": "native"})
        yield lab, server, lab.client()
    finally:
        lab.close()


def send(client, sender, *to):
    client.exec("swaks", "--server", "office", "--from", sender, "--to", ",".join(to), "--silent")


def queue(server, *command, check=False, input=None):
    done = server.exec("mailroom", "queue", *command, check=check, input=input)
    return done.returncode, done.stdout, done.stderr


def listed(server, *filters):
    return json.loads(queue(server, "list", "--json", *filters)[1])


@pytest.fixture
def filled(office):
    _, server, client = office
    send(client, "ann@example.org", "x@example.com")
    send(client, "ann@example.org", "y@example.net", "z@example.com")
    send(client, "bob@example.org", "x@example.com")
    until(lambda: len([m for m in listed(server) if m["queue_name"] == "deferred"]) == 3, "three are deferred")
    yield server
    queue(server, "delete", "--all", "--yes")
    assert queue(server, "list")[:2] == (0, "the queue is empty\n")


def test_list_and_filters(filled):
    code, text, _ = queue(filled, "list")
    head, *rows = text.splitlines()
    assert code == 0 and head.split() == ["ID", "QUEUE", "AGE", "SIZE", "FROM", "TO", "WAITS", "BECAUSE"] and len(rows) == 3
    assert re.search(r"deferred +\d+s +\d+ B +ann@example\.org +[yz]@example\.\w+ and 1 more +\S", rows[1]), rows
    ids = [message["queue_id"] for message in listed(filled)]
    assert [row.split()[0] for row in rows] == ids, "in the order of arrival"
    for filters, expected in ((["--sender", "ANN@example.org"], ids[:2]), (["--sender", "@example.org"], ids), (["--recipient", "@example.net"], ids[1:2]),
                              (["--recipient", "x@example.com", "--sender", "bob@example.org"], ids[2:]), (["--queue", "hold"], []),
                              (["--older", "1h"], []), (["--older", "0s"], ids), (["--reason", "NOBODY.TEST"], ids), (ids[:1], ids[:1])):
        assert [message["queue_id"] for message in listed(filled, *filters)] == expected, filters


def test_show_says_why_and_when(filled):
    id = listed(filled)[1]["queue_id"]
    code, text, _ = queue(filled, "show", id)
    assert code == 0 and text.startswith(f"{id} in deferred, ") and "to    y@example.net\n" in text and "nobody.test" in text
    assert re.search(r"^next  in \d+m$", text, re.M) and "\nSubject: test" in text, text
    shown = json.loads(queue(filled, "show", id, "--json")[1])
    assert shown["next_attempt"] > shown["arrival_time"] and "Subject: test" in shown["headers"]
    code, _, said = queue(filled, "show", "4jdzF51WnCz78Kn")
    assert code == 1 and "4jdzF51WnCz78Kn is not in the queue" in said


def test_hold_and_release(filled):
    ids = [message["queue_id"] for message in listed(filled)]
    assert queue(filled, "hold", "--sender", "ann@example.org")[:2] == (0, "2 messages are held\n")
    assert {m["queue_id"] for m in listed(filled, "--queue", "hold")} == set(ids[:2])
    assert "mailroom queue release" in queue(filled, "show", ids[0])[1]
    assert queue(filled, "release", ids[0])[:2] == (0, "1 message is released\n")
    assert queue(filled, "release")[:2] == (0, "1 message is released\n")
    assert queue(filled, "release")[0] == 1 and not listed(filled, "--queue", "hold")


def test_nothing_is_deleted_by_mistake(filled):
    code, _, said = queue(filled, "delete")
    assert code == 64 and "say which messages" in said
    code, _, said = queue(filled, "delete", "--sender", "ann@example.org")
    assert code == 64 and "2 messages would be deleted: say --yes" in said and len(listed(filled)) == 3
    typed = subprocess.run(["script", "-qec", f"docker exec -it {filled.id} mailroom queue delete --all", "/dev/null"],
                           input="n\n", capture_output=True, text=True, timeout=30)
    assert "delete 3 messages?" in typed.stdout and "nothing was deleted" in typed.stdout and len(listed(filled)) == 3
    assert queue(filled, "delete", listed(filled)[0]["queue_id"])[:2] == (0, "1 message is deleted\n"), "one is not asked about"
    assert queue(filled, "delete", "--all", "--yes")[:2] == (0, "2 messages are deleted\n")
    assert queue(filled, "delete", "--all", "--yes")[0] == 1
    code, _, said = queue(filled, "list", "--older", "yesterday")
    assert code != 0 and "such as 30m, 2h or 3d" in said


def test_flush_delivers_what_can_be(office, filled):
    lab, server, _ = office
    sink = lab.sink("nobody.test")
    assert queue(server, "flush", listed(server)[2]["queue_id"])[:2] == (0, "1 message is tried now\n")
    until(lambda: len(listed(server)) == 2, "the one is delivered")
    assert queue(server, "flush")[:2] == (0, "all messages are tried now\n")
    until(lambda: not listed(server), lambda: f"the others, too: {listed(server)}")
    assert sink.sh("cat /mail/* | grep -c ^Subject:").stdout.strip() == "3"
    lab.remove_all(sink)
