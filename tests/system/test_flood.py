"""More log lines than anybody reads: none is lost while standard output keeps up, and where it does not each loss is counted, and mail
does not wait."""

import re
import time

import pytest

from lab import Lab, docker, engine, until

# Pours lines into a socket: path, writers, lines of each. Says how long it took.
POUR = """
import os, socket, sys, time
path, writers, lines = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begun = time.monotonic()
for writer in range(writers):
    if os.fork() == 0:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(path)
        line = f"<22>Jan  1 00:00:00 flood[{writer}]: line of {writer} with some words as they are in a log: to=<user@example.org>, relay=none ".encode()
        for number in range(lines): s.send(line + str(number).encode())
        os._exit(0)
for _ in range(writers): os.wait()
print(time.monotonic() - begun)
"""

# Takes them, and does nothing else.
BARE = """
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("/tmp/bare")
buffer = bytearray(16384)
print("bound", flush=True)
while True: s.recv_into(buffer)
"""
WRITERS, LINES = 20, 50_000


def flooded(lab, stdout):
    """A server whose standard output is a file, or a pipe, in /out; and a client that shares its processes."""
    volume = lab.volume()
    server = lab.run(lab_image(), "-c", f"mkfifo /out/pipe; exec {stdout}", options=[
        "--entrypoint", "bash", "-v", f"{volume}:/out", "--network-alias", "flood", "--sysctl", "net.unix.max_dgram_qlen=512"])
    server.wait_until_healthy()
    return server, lab.companion(server)


def lab_image():
    from lab import IMAGE
    return IMAGE


def pour(companion, path, writers=WRITERS, lines=LINES):
    return float(companion.exec("python3", "-c", POUR, path, str(writers), str(lines), timeout=300).stdout)


@pytest.fixture
def quiet_lab():
    lab = Lab()
    yield lab
    lab.close()


@pytest.mark.timed
def test_a_million_lines(quiet_lab, figure):
    server, companion = flooded(quiet_lab, "mailroom >/out/log")
    log = "/proc/1/root/dev/log"
    docker("exec", "-d", companion.id, "python3", "-c", BARE)
    companion.wait_for("test -S /tmp/bare && echo yes", "the bare loop listens")
    rates = {"bare": [], "mailroom": []}
    for _ in range(2):
        rates["bare"].append(WRITERS * LINES / pour(companion, "/tmp/bare"))
        rates["mailroom"].append(WRITERS * LINES / pour(companion, log))
    count = "grep -c ' flood\\[' /out/log"
    until(lambda: int(server.sh(count).stdout) == 2 * WRITERS * LINES, lambda: f"all lines: {server.sh(count).stdout}")
    assert server.sh("grep -c 'log lines were lost' /out/log", check=False).stdout.strip() == "0"
    best = {who: max(found) for who, found in rates.items()}
    figure("log lines a second: bare loop, mailroom, ratio", f"{best['bare']:.0f} {best['mailroom']:.0f} {best['mailroom'] / best['bare']:.2f}")
    assert best["mailroom"] > 0.4 * best["bare"]
