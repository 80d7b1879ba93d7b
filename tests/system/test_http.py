"""Health, metrics and the status page by HTTP, and `mailroom status`: what is said is what a client meets."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import Lab, in_data, until

OPEN = {"MAILROOM_HTTP_LISTEN": "0.0.0.0:8025"}


@pytest.fixture(scope="module")
def observed():
    lab = Lab()
    try:
        yield lab, lab.server(alias="observed", env=OPEN), lab.client()
    finally:
        lab.close()


def get(client, path, server="observed"):
    """Status code and body."""
    done = client.exec("curl", "-s", "-m", "8", "-w", "\n%{http_code}", f"http://{server}:8025{path}", check=False)
    body, _, code = done.stdout.rpartition("\n")
    return int(code or 0), body


def status(server):
    return json.loads(server.exec("mailroom", "status", "--json", check=False).stdout)


def test_one_word_for_orchestrators(observed):
    _, server, client = observed
    assert get(client, "/livez") == (200, "alive\n")
    assert get(client, "/readyz") == (200, "healthy\n")
    code, body = get(client, "/readyz?verbose")
    said = json.loads(body)
    assert code == 200 and said["state"] == "healthy" and said["faults"] == [] and 993 in said["ports"]
    assert get(client, "/other")[0] == 404


def test_the_page_lets_nothing_else_run(observed):
    _, _, client = observed
    answer = client.exec("curl", "-si", "http://observed:8025/").stdout
    head, _, page = answer.partition("\r\n\r\n") if "\r\n\r\n" in answer else answer.partition("\n\n")
    policy = re.search(r"content-security-policy: (.*)", head, re.I)[1]
    assert "default-src 'none'" in policy and len(re.findall("'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2
    assert page.startswith("<!doctype html>")


def test_strangers_see_one_word_alone(observed):
    lab, _, client = observed
    lab.server(alias="stranger", env={**OPEN, "POSTFIX_MYNETWORKS": "127.0.0.0/8"})
    assert get(client, "/livez", "stranger") == (200, "alive\n")
    assert get(client, "/readyz?verbose", "stranger") == (200, "healthy\n")
    for path in ("/", "/status", "/metrics"):
        code, body = get(client, path, "stranger")
        assert code == 403 and "POSTFIX_MYNETWORKS" in body, path


def test_status_tells_what_there_is(observed):
    lab, server, client = observed
    client.exec("swaks", "--server", "observed", "--to", "user@metabuilder.local", "--from", "a@example.org", "--silent")
    server.wait_for_mail()
    said = until(lambda: (now := status(server)) and now["remembered"]["history"]["hour"] is not None and now, "a status")
    assert said["health"]["state"] == "healthy"
    assert {service["name"] for service in said["services"]} >= {"postfix", "dovecot", "httpd"}
    for service in said["services"]:
        assert service["state"] == "running" and service["restarts"] == 0
        assert server.sh(f"cat /proc/{service['pid']}/comm").stdout.strip() in ("master", "dovecot", service["name"])
    assert said["accounts"] == 3 and not said["has_directory"]
    assert said["certificate"]["is_ours"] and 360 <= (said["certificate"]["expires"] - time.time()) / 86400 <= 366
    text = server.exec("mailroom", "status").stdout
    for line in (r"^mailroom \d+\.\d+\.\d+ on \S+, up \d+", r"^healthy: ports 25 ", r"^postfix +running +\d+s? ",
                 r"^queue +empty", r"^accounts +3$", r"^certificate +until 20\d\d-\d\d-\d\d, 36\d days; for "):
        assert re.search(line, text, re.M), (line, text)
    code, body = get(client, "/status")
    assert code == 200 and json.loads(body)["accounts"] == 3


def test_the_queue_is_counted(observed):
    lab, server, client = observed
    held = lab.server(alias="holds", env={**OPEN, "POSTFIX_RELAYHOST": "[nobody.test]:25"})
    for _ in range(3):
        client.exec("swaks", "--server", "holds", "--to", "x@example.net", "--from", "a@example.org", "--silent")
    said = until(lambda: {queue["name"]: queue for queue in status(held)["queues"]}["deferred"]["messages"] == 3 and status(held),
                 "three deferred messages")
    deferred = next(queue for queue in said["queues"] if queue["name"] == "deferred")
    assert 0 <= said["time"] - deferred["oldest"] < 60
    assert re.search(r"^queue +3 deferred; the oldest waits for \d+s", held.exec("mailroom", "status").stdout, re.M)


def test_it_has_no_privileges_and_is_small(observed, figure):
    _, server, _ = observed
    lines = dict(re.findall(r"^(\w+):\t(.*)$", server.sh("cat /proc/$(pgrep -x httpd)/status").stdout, re.M))
    assert lines["Uid"].split() == lines["Gid"].split() == ["906"] * 4
    assert lines["Groups"].strip() == "" and lines["NoNewPrivs"] == "1"
    assert {lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    memory = {name: int(lines[name].split()[0]) for name in ("VmRSS", "RssAnon")}
    figure("httpd: memory (KiB)", memory)
    assert memory["RssAnon"] < 6 << 10 and lines["Threads"] == "1"


ASK = """
use IO::Socket::UNIX;
for (["httpd/questions", '"reload"'], ["httpd/questions", '{"observe":"live"}'], ["httpd/questions", "x" x 5000], ["control", '"reload"']) {
    my $s = IO::Socket::UNIX->new("/run/mailroom/$_->[0]") or do { print "$!\n"; next };
    $SIG{PIPE} = "IGNORE"; print $s "$_->[1]\n"; $s->flush; print substr(<$s> // "\n", 0, 60) =~ s/\n?$/\n/r;
}
"""


def test_who_may_ask_may_change_nothing(observed):
    _, server, _ = observed
    answers = server.exec("setpriv", "--reuid", "906", "--regid", "906", "--clear-groups", "perl", "-", input=ASK).stdout
    refused, alive, odd, control = answers.splitlines()
    assert refused == '{"refused":"this may not be asked here"}' and alive.startswith('{"done":')
    assert odd.startswith('{"refused":"this is no request') or not odd
    assert control == "Permission denied"


def test_mail_goes_on_without_it_and_figures_survive(observed):
    _, server, client = observed
    received = lambda: int(re.search(r"^mailroom_messages_received_total(?:\{.*\})? (\d+)", get(client, "/metrics")[1], re.M)[1])
    client.exec("swaks", "--server", "observed", "--to", "user@metabuilder.local", "--from", "a@example.org", "--silent")
    before = until(lambda: received() or None, "a message is counted")
    server.sh("pkill -9 -x httpd")
    client.exec("swaks", "--server", "observed", "--to", "user@metabuilder.local", "--from", "a@example.org", "--silent")
    until(lambda: get(client, "/livez")[0] == 200, "it is back")
    until(lambda: received() == before + 1, "nothing was forgotten")
    said = next(service for service in status(server)["services"] if service["name"] == "httpd")
    assert said["restarts"] >= 1 and said["state"] == "running"


def test_a_hang_makes_it_red_within_two_seconds(observed):
    _, server, client = observed
    server.sh("pkill -STOP -x qmgr")
    try:
        begun = time.monotonic()
        until(lambda: get(client, "/readyz") == (503, "unhealthy\n"), "red")
        took = time.monotonic() - begun
        assert "qmgr" in get(client, "/readyz?verbose")[1] and get(client, "/livez")[0] == 200
        assert re.search(r"^mailroom_healthy 0", get(client, "/metrics")[1], re.M)
    finally:
        server.sh("pkill -CONT -x qmgr")
    assert took < 5
    until(lambda: get(client, "/readyz") == (200, "healthy\n"), "green again")


def test_many_who_ask_make_one_round(observed):
    lab, server, client = observed
    companion = lab.companion(server)
    count = "for _ in $(seq 40); do pgrep -fc '[m]ailroom healthcheck --json'; sleep 0.05; done | sort -n | tail -1"
    with ThreadPoolExecutor(2) as at_once:
        most = at_once.submit(companion.sh, count)
        asks = "seq 200 | xargs -P 50 -I{} curl -s -o /dev/null -w '%{http_code}\\n' http://observed:8025/readyz | sort | uniq -c"
        codes = client.sh(asks).stdout.split()
    assert codes == ["200", "200"]
    assert int(most.result().stdout) <= 1


def test_readiness_ends_first(own_lab):
    server = own_lab.server(alias="stopping", env=OPEN)
    client = own_lab.client()
    with in_data(client, "stopping") as talk:
        server.sh("kill -TERM 1")
        until(lambda: get(client, "/readyz", "stopping") == (503, "stopping\n"), "not ready", 3)
        assert get(client, "/livez", "stopping")[0] == 200
        talk.stdin.write("\n")
        talk.stdin.flush()
        assert talk.stdout.readline() == "250\n", "who had begun is served"
    server.wait()


def test_off_and_wrong_values(lab, checker):
    off = lab.server(alias="nothing", env={"MAILROOM_HTTP_LISTEN": "off"})
    assert off.sh("pgrep -x httpd; netstat -tln | grep :8025", check=False).stdout == ""
    assert json.loads(off.exec("mailroom", "status", "--json").stdout)["health"]["state"] == "healthy"
    for value, said in (("0.0.0.0:25", "port 25 is for mail here"), ("everywhere", "must be an address and a port, such as 127.0.0.1:8025")):
        done = checker.exec("env", f"MAILROOM_HTTP_LISTEN={value}", "mailroom", "check", check=False)
        assert done.returncode == 64 and said in done.stderr, done.stderr
