"""A healthy server that nobody uses says nothing, however often it is asked how it is."""

import time

import pytest

from lab import Lab, until

VARIANTS = {
    "alone": [],
    "deaf": ["--dns", "192.0.2.53"],
    # As the README says: without that name the probes' lines cannot be told from others.
    "sealed": ["--read-only", "--tmpfs", "/run", "--tmpfs", "/tmp", "--add-host", "healthcheck:127.0.0.9"],
}
# As many as an hour has, with the image's own interval, and as many as Kubernetes and Prometheus add.
ASK = "for n in $(seq 120); do /healthcheck >/dev/null || exit 1; sleep 0.1; done"
PROBE = "for n in $(seq 120); do curl -sf -m 8 http://{0}:8025/readyz && curl -sf -m 8 http://{0}:8025/metrics || exit 1; done >/dev/null"


@pytest.mark.long
def test_nothing_is_logged():
    lab = Lab()
    try:
        env = {"MAILROOM_HTTP_LISTEN": "0.0.0.0:8025", "MAILROOM_SIEVE": "on"}
        servers = {alias: lab.server(alias=alias, env=env, options=options) for alias, options in VARIANTS.items()}
        client = lab.client()
        for server in servers.values():
            # What a start says comes to its end: anvil(8) and the like begin with the first questions.
            server.sh("/healthcheck")
        before = {alias: server.logs() for alias, server in servers.items()}
        begun = time.monotonic()
        for alias, server in servers.items():
            server.exec("bash", "-c", ASK, timeout=300)
            client.exec("bash", "-c", PROBE.format(alias), timeout=300)
        # The watch of PID 1, every 30 s, and Postfix's own, have had their turn.
        time.sleep(max(0, 45 - (time.monotonic() - begun)))
        for alias, server in servers.items():
            assert server.logs().removeprefix(before[alias]) == "", alias
    finally:
        lab.close()


# Connects to every port, and leaves without a word.
KNOCK = """
import socket, ssl
context = ssl._create_unverified_context()
for _ in range(5):
    for port in (25, 587, 465, 143, 993, 110, 995, 4190):
        socket.create_connection(("knocked", port)).close()
"""


def test_who_knocks_and_says_nothing_leaves_a_line():
    lab = Lab()
    try:
        server = lab.server(alias="knocked", env={"MAILROOM_SIEVE": "on"})
        monitor, other = lab.client(), lab.client()
        before = server.logs()
        monitor.python(KNOCK)
        lines = lambda address: [line for line in server.logs().removeprefix(before).splitlines() if address in line]
        until(lambda: lines(monitor.address), "a line of the monitor")
        other.python(KNOCK)
        other.sh("swaks --server knocked --from a@example.org --to user@metabuilder.local --silent")
        until(lambda: len(lines(other.address)) >= 4, lambda: f"what a client does is shown: {server.logs()}")
        # Lines wait for three seconds at most.
        time.sleep(4)
        assert len(lines(monitor.address)) == 1, lines(monitor.address)
        worked = lines(other.address)
        assert len([line for line in worked if "connect from" in line and "disconnect" not in line]) == 1, worked
        assert any("client=" in line for line in worked) and any("mail=1" in line for line in worked)
    finally:
        lab.close()


def test_an_idle_client_is_shown_all_the_same(lab, server):
    with_silence = "import socket, time; s = socket.create_connection(('postfix', 25)); print(s.recv(10)); time.sleep(8)"
    client = lab.client()
    client.exec("python3", "-c", with_silence)
    until(lambda: client.address in server.logs(), "its connection is shown while it says nothing")
