"""What a hundred thousand accounts cost, given as hashes, beside three: a start, an added account, a login, the memory of PID 1.
And what logins at the price of the default scheme leave to mail and sessions beside them."""

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import WORK, name

pytestmark = pytest.mark.timed
MANY = 100_000
SERVERS = ("few", "many")


@pytest.fixture(scope="module")
def accounts(checker):
    """A directory of two files, one with three accounts and one with many. All have one password."""
    directory = WORK / name("accounts")
    directory.mkdir()
    hash = checker.sh("doveadm -O pw -s BLF-CRYPT -r 10 -p right").stdout.strip()
    lines = [f"user{number}:{hash}\n" for number in range(MANY)]
    (directory / "few").write_text("".join(lines[:3]))
    (directory / "many").write_text("".join(lines))
    return directory


def start(lab, accounts, which):
    # A probe every 30 s would be in the figures at times.
    options = ["-v", f"{accounts}:/accounts:ro", "--no-healthcheck"]
    return lab.server(alias=which, env={"MAILROOM_ACCOUNTS_FILE": f"/accounts/{which}"}, options=options)


def medians(figures):
    return {which: statistics.median(of) for which, of in figures.items()}


def cpu_of_pid_1(server):
    """Seconds, of /proc/pid/stat's hundredths."""
    return sum(map(int, server.sh("cut -d' ' -f14,15 /proc/1/stat").stdout.split())) / 100


# The two take turns. The first logins of each have its auth processes read the accounts.
LOGINS = """
import imaplib, json, ssl, time
context = ssl._create_unverified_context()
def seconds(host):
    with imaplib.IMAP4_SSL(host, ssl_context=context) as imap:
        begun = time.monotonic()
        imap.login("user1", "right")
        return time.monotonic() - begun
took = {"few": [], "many": []}
for turn in range(50):
    for host, times in took.items():
        times.append(seconds(host))
print(json.dumps({host: sorted(times[10:])[20] for host, times in took.items()}))
"""


def test_a_hundred_thousand_beside_three(lab, accounts, client, figure):
    starts = {which: [] for which in SERVERS}
    for _ in range(3):
        servers = {}
        for which in SERVERS:
            begun = time.monotonic()
            servers[which] = start(lab, accounts, which)
            starts[which].append(time.monotonic() - begun)
        if len(starts["few"]) < 3:
            lab.remove_all(*servers.values())
    starts = medians(starts)
    figure("seconds to a healthy server with 3 and with 100,000 accounts", f"{starts['few']:.2f} {starts['many']:.2f}")

    logins = json.loads(client.python(LOGINS).stdout)
    ratio = logins["many"] / logins["few"]
    figure("a login, ms, with 3 and with 100,000 accounts", f"{logins['few'] * 1000:.0f} {logins['many'] * 1000:.0f}, ratio {ratio:.2f}")

    own = {which: [] for which in SERVERS}
    waited = {which: [] for which in SERVERS}
    for number in range(3):
        for which, server in servers.items():
            before, begun = cpu_of_pid_1(server), time.monotonic()
            server.exec("mailroom", "account", "add", f"new{number}", "--hash", "{BLF-CRYPT}$2y$10$" + "a" * 53)
            waited[which].append(time.monotonic() - begun)
            own[which].append(cpu_of_pid_1(server) - before)
    own, waited = medians(own), medians(waited)
    for which in SERVERS:
        figure(f"mailroom account add, {which} accounts", f"{own[which] * 1000:.0f} ms of PID 1, {waited[which]:.2f} s until it has returned")

    memory = "awk '/^Pss:/ {print $2}' /proc/1/smaps_rollup"
    memory = {which: int(server.sh(memory).stdout) / 1024 for which, server in servers.items()}
    figure("PSS of PID 1, MiB, with 3 and with 100,000 accounts", f"{memory['few']:.1f} {memory['many']:.1f}")
    # Gross regressions alone: the figures are above.
    assert starts["many"] - starts["few"] < 5 and ratio < 1.5 and own["many"] < 3
    assert memory["few"] < 12 and memory["many"] < 64


# Messages, and looks at the inbox, one after the other.
BESIDE = """
import imaplib, json, smtplib, ssl, statistics, time
context = ssl._create_unverified_context()
def message():
    with smtplib.SMTP("few", 25) as smtp:
        smtp.sendmail("a@example.org", ["user2@metabuilder.local"], "Subject: x\\r\\n\\r\\nx\\r\\n")
session = imaplib.IMAP4_SSL("few", ssl_context=context)
session.login("user0", "right")
def look():
    session.select()
    session.search(None, "ALL")
def seconds(act):
    begun = time.monotonic()
    act()
    return time.monotonic() - begun
took = [[], []]
for _ in range(60):
    for act, times in zip((message, look), took): times.append(seconds(act))
    time.sleep(0.05)
print(json.dumps([statistics.median(times) for times in took]))
"""

# Eight clients ask for more hashes than two processors can compute, until a file says stop.
STORM = """
import imaplib, os, ssl, threading, time
context = ssl._create_unverified_context()
done = []
def log_in():
    while not os.path.exists("/tmp/stop"):
        with imaplib.IMAP4_SSL("few", ssl_context=context) as imap: imap.login("user1", "right")
        done.append(time.monotonic())
        if len(done) == 16: open("/tmp/begun", "w").close()
threads = [threading.Thread(target=log_in) for _ in range(8)]
begun = time.monotonic()
for thread in threads: thread.start()
for thread in threads: thread.join()
half = begun + (done[-1] - begun) / 2
first = sum(at < half for at in done)
print(first / (half - begun), (len(done) - first) / (done[-1] - half))
"""


def test_logins_beside_mail_and_sessions(lab, accounts, client, figure):
    """What computes hashes has the lowest priority."""
    start(lab, accounts, "few")
    alone = json.loads(client.python(BESIDE).stdout)
    clients = lab.client()
    with ThreadPoolExecutor() as beside:
        storm = beside.submit(clients.python, STORM)
        clients.wait_for("ls /tmp/begun", "logins")
        among_logins = json.loads(client.python(BESIDE).stdout)
        clients.sh("touch /tmp/stop")
        first, repeated = map(float, storm.result().stdout.split())
    figure("logins a second, 8 clients, BLF-CRYPT of cost 10: first, repeated", f"{first:.0f} {repeated:.0f}")
    for what, before, after in zip(("a message", "a look at the inbox"), alone, among_logins):
        figure(f"{what}, ms, alone and beside them", f"{before * 1000:.1f} {after * 1000:.1f}, ratio {after / before:.1f}")
    assert repeated > 5
