"""More log lines than anybody reads: none is lost while standard output keeps up, and where it does not each loss is counted, and mail
does not wait."""

import re
import statistics
import time

import pytest

from lab import IMAGE, Lab, docker, until

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


def flooded(lab, stdout, before=""):
    """A server whose standard output is a file, or a pipe, in /out; and a client that shares its processes."""
    volume = lab.volume()
    server = lab.run(IMAGE, "-c", f"mkfifo /out/pipe; {before}exec {stdout}", options=[
        "--entrypoint", "bash", "-v", f"{volume}:/out", "--network-alias", "flood", "--sysctl", "net.unix.max_dgram_qlen=512"])
    server.wait_until_healthy()
    return server, lab.companion(server)


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


# Sends messages, and says how many a second.
SEND = """
import smtplib, sys, threading, time
def some():
    smtp = smtplib.SMTP("flood")
    for _ in range(50): smtp.sendmail("a@example.org", ["user@metabuilder.local"], "Subject: x\\r\\n\\r\\nx")
threads = [threading.Thread(target=some) for _ in range(6)]
begun = time.monotonic()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(300 / (time.monotonic() - begun))
"""


@pytest.mark.timed
def test_nobody_reads(quiet_lab, figure):
    """Standard output is a pipe that nobody reads: lines are lost and counted, each of them, and mail does not wait."""
    server, companion = flooded(quiet_lab, "mailroom >/out/pipe", before="sleep 3600 <>/out/pipe & ")
    client = quiet_lab.client()
    log, sent = "/proc/1/root/dev/log", 200_000
    rates = {"read": [], "blocked": []}
    for _ in range(3):
        docker("exec", "-d", companion.id, "bash", "-c", "echo $$ >/tmp/reader; exec cat /proc/1/root/out/pipe >>/tmp/seen")
        companion.wait_for("kill -0 $(cat /tmp/reader) && echo reads", "somebody reads")
        rates["read"].append(float(client.python(SEND).stdout))
        companion.sh("kill $(cat /tmp/reader)")
        pour(companion, log, 4, 50_000)
        rates["blocked"].append(float(client.python(SEND).stdout))
    ratio = statistics.median(rates["blocked"]) / statistics.median(rates["read"])
    figure("messages a second, standard output read, blocked, ratio", f"{rates['read']} {rates['blocked']} {ratio:.2f}")
    assert ratio > 0.5
    # All that is there, and all that will be: then one flood more, of which each line is shown or counted.
    docker("exec", "-d", companion.id, "bash", "-c", "exec cat /proc/1/root/out/pipe >>/tmp/seen")
    def counts():
        seen = companion.sh("cat /tmp/seen").stdout
        lost = sum(int(number) for number in re.findall(r"(\d+) log lines? (?:was|were) lost", seen))
        return seen.count(" flood["), lost

    poured = 3 * sent
    until(lambda: counts()[1] > 0, "a loss is told")
    settled = until(lambda: (first := counts()) == (time.sleep(1.2), counts())[1] and first, "all is read")
    lines = int(re.search(r"^mailroom_log_lines_lost_total (\d+)", companion.exec("curl", "-s", "http://127.0.0.1:8025/metrics").stdout, re.M)[1])
    figure("lines poured, shown, told as lost", f"{poured} {settled[0]} {settled[1]}")
    assert settled[1] == lines
    # Lines of the messages are among the lost; of the poured ones none is missing without a word.
    assert settled[0] + settled[1] >= poured
