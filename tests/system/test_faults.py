"""Whatever dies, every message that got its 250 is in a mailbox or in the queue afterwards: exactly once after a clean
stop, at least once otherwise. Each test adds a row to the table that is printed at the end."""

import re
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from lab import CLIENT_IMAGE, IMAGE, LABEL, TIMES, WORK, docker, in_data, name, slowest_greeting, until

VOLUMES = ["/var/mail", "/etc/postfix", "/etc/dovecot/certs", "/var/spool/postfix", "/var/lib/mailroom"]
# One account is on LMTP.
LMTP = {"POSTFIX_TRANSPORT_MAPS": "inline:{relay@metabuilder.local=lmtp:unix:private/dovecot-lmtp}",
        "POSTFIX_MINIMAL_BACKOFF_TIME": "2s", "POSTFIX_QUEUE_RUN_DELAY": "2s", "POSTFIX_MAXIMAL_BACKOFF_TIME": "4s"}


class Load:
    """Clients that hand over messages while the test breaks something."""

    def __init__(self, lab, alias, threads=12, port=None):
        self.directory = WORK / name("load")
        self.directory.mkdir()
        shutil.copy("load.py", self.directory)
        self.container = lab.run(CLIENT_IMAGE, "python3", "/load/load.py", alias, str(threads), "/load",
                                 *([str(port)] if port else []), options=["--init", "-v", f"{self.directory}:/load"])
        self.container.wait_for_log("started")
        self.wait_for(20)

    def lines(self, what):
        return (self.directory / what).read_text().splitlines()

    def wait_for(self, more):
        """Until that many more messages are accepted."""
        target = len(self.lines("acked")) + more
        until(lambda: len(self.lines("acked")) >= target, f"{more} more messages are accepted")

    def stop(self):
        (self.directory / "stop").touch()
        assert self.container.wait() == 0, self.container.logs()


def busiest(server, process):
    """The process with that name that is switched to most often: it works. Returns its id."""
    script = """
count() { for p in $(pgrep -f -- "$1"); do awk -v p=$p '/^voluntary_ctxt/ { print p, $2 }' /proc/$p/status 2>/dev/null; done; }
before=$(count "$1"); sleep 0.05; after=$(count "$1")
printf '%s\\n--\\n%s\\n' "$before" "$after" | awk '
    /^--/ { second = 1; next }
    !second { seen[$1] = $2; next }
    ($1 in seen) && $2 - seen[$1] > most { most = $2 - seen[$1]; pid = $1 }
    END { if (pid) print pid }'
"""
    return until(lambda: server.exec("bash", "-c", script, "busiest", process, check=False).stdout.strip(),
                 f"{process} is busy")


def ids(server):
    """Where each message is: its id, once for the queue and once for each copy in a mailbox. In this order, which is a
    message's way; in the queue it may come back from deferred to active. Queue files have mode 700 when they are whole."""
    found = server.sh("""
cd /var/spool/postfix && find incoming active deferred active -perm 700 -type f \\
    -exec grep -haoE 'X-Load-Id: [0-9a-f]{32}' {} + 2>/dev/null | sort -u
grep -rhoE '^X-Load-Id: [0-9a-f]{32}' /var/mail/*/Maildir/new /var/mail/*/Maildir/cur""", check=False).stdout
    return [line.split()[1] for line in found.split("\n") if line]


def settle(server, deadline, all):
    """Waits until the queue is empty, or, where not all need to be delivered, until nothing in it has moved for three
    seconds. What a killed process has left half written stays in the queue and is nobody's mail. qmgr is asked to look at
    everything at once: what it found locked in incoming, it would otherwise leave alone for a minute."""
    end = time.monotonic() + deadline
    last, since = None, 0
    while time.monotonic() < end:
        # Active twice, as in ids: a message comes back from deferred to active.
        waiting = server.sh("cd /var/spool/postfix && find maildrop incoming active deferred active -perm 700 -type f "
                            "-printf '%f\\n' | sort -u; postkick public qmgr FAID", check=False).stdout
        if waiting != last:
            last, since = waiting, time.monotonic()
        if waiting == "" or not all and time.monotonic() - since > 3:
            return
        time.sleep(0.2)


def account(fault, what, server, load, once, seconds, note=""):
    """Counts, and adds a row to the table."""
    load.stop()
    server.wait_until_healthy()
    # What moves while it is counted is found twice.
    settle(server, 60 if once else 20, all=once)
    acked, there = load.lines("acked"), ids(server)
    # Messages whose connection was cut while their answer was awaited may be there too.
    lost = set(acked) - set(there)
    duplicated = [id for id, copies in Counter(there).items() if copies > 1]
    fault(what, len(acked), len(lost), len(duplicated), seconds, note)
    assert not lost, sorted(lost)[:5]
    assert not once or not duplicated, duplicated[:5]


def time_to_healthy(server):
    begun = time.monotonic()
    server.wait_until_healthy(deadline=60)
    return time.monotonic() - begun


def on_volumes(lab):
    """Options: everything that lasts on named volumes."""
    return [part for path in VOLUMES for part in ("-v", f"{lab.volume()}:{path}")]


@pytest.fixture
def loaded(lab):
    """A fresh server with load on it, on named volumes."""
    alias = name("loaded")
    server = lab.server(alias=alias, env=LMTP, options=[*on_volumes(lab), "--sysctl", "net.unix.max_dgram_qlen=512"])
    return server, Load(lab, alias)


VICTIMS = {
    "master": "^/usr/lib/postfix/sbin/master", "qmgr": "^qmgr ", "smtpd": "^smtpd ", "cleanup": "^cleanup ",
    "virtual": "^virtual ", "dovecot": "^/usr/sbin/dovecot", "auth": "^dovecot/auth", "lmtp": "^dovecot/lmtp",
    "imap-login": "^dovecot/imap-login",
}
# These do nothing but wait while all is well.
IDLE = {"master", "dovecot"}


@pytest.mark.timed
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill(loaded, victim, fault):
    server, load = loaded
    worst = 0
    # Five deaths of a main process within two minutes are too many.
    for _ in range(3 if victim in ("master", "dovecot") else TIMES):
        if victim in IDLE:
            load.wait_for(10)
            server.sh(f"pkill -9 -o -f -- '{VICTIMS[victim]}'")
        else:
            # It may end by itself just then.
            until(lambda: server.sh(f"kill -9 {busiest(server, VICTIMS[victim])}", check=False).returncode == 0, "killed")
        worst = max(worst, time_to_healthy(server))
        load.wait_for(20)
    account(fault, f"kill -9 of {victim}", server, load, once=False, seconds=worst)


@pytest.mark.long
@pytest.mark.parametrize("victim", ["master", "qmgr", "auth", "PID 1"])
def test_stop_for_five_seconds(lab, loaded, victim, fault):
    server, load = loaded
    killer, worst = server, 0
    if victim == "PID 1":
        # A process cannot stop PID 1 of its own namespace.
        killer = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init", "--pid", "host"], network="none")
    for _ in range(TIMES):
        pid = (str(server.inspect()["State"]["Pid"]) if victim == "PID 1" else
               server.sh(f"pgrep -f -o -- '{VICTIMS[victim]}'").stdout.strip())
        killer.exec("bash", "-c", f"kill -STOP {pid}")
        time.sleep(5)
        killer.exec("bash", "-c", f"kill -CONT {pid}")
        worst = max(worst, time_to_healthy(server))
        load.wait_for(20)
    account(fault, f"SIGSTOP of {victim} for 5 s", server, load, once=False, seconds=worst)


@pytest.mark.timed
@pytest.mark.parametrize("how", ["docker kill", "docker stop"])
def test_end_of_the_container(lab, loaded, how, fault):
    server, load = loaded
    crowd = Load(lab, server.inspect()["Config"]["Labels"]["alias"], threads=200, port=25)
    longest, worst = 0, 0
    for _ in range(TIMES):
        crowd.wait_for(200)
        begun = time.monotonic()
        docker(*how.split()[1:], server.id)
        longest = max(longest, time.monotonic() - begun)
        if how == "docker stop":
            assert server.exit_code == 0, server.logs()
        docker("start", server.id)
        worst = max(worst, time_to_healthy(server))
    crowd.stop()
    load.stop()
    clean = how == "docker stop"
    cut, refused = ([*crowd.lines(fate), *load.lines(fate)] for fate in ("cut", "refused"))
    note = f"stop took {longest:.1f} s, {len(cut)} cut and {len(refused)} refused in DATA" if clean else ""
    with open(load.directory / "acked", "a") as acked:
        acked.writelines(f"{id}\n" for id in crowd.lines("acked"))
    account(fault, f"{how} with 200 clients", server, load, once=clean, seconds=worst, note=note)
    if clean:
        assert cut == [] and refused == []
        assert longest < 10


@pytest.mark.long
def test_restarts(loaded, fault):
    server, load = loaded
    worst = 0
    for _ in range(TIMES):
        docker("restart", server.id)
        worst = max(worst, time_to_healthy(server))
        load.wait_for(5)
    account(fault, f"docker restart, {TIMES} times", server, load, once=True, seconds=worst)


@pytest.fixture(scope="module")
def another_image():
    """An image in which everybody has another uid and gid."""
    image = name("image")
    docker("build", "-q", "--network", "none", "--label", LABEL, "-t", image, "-", input=f"""
FROM {IMAGE}
RUN gid() {{ getent group $1 | cut -d: -f3; }} \\
 && for each in vmail postfix postdrop dovecot dovenull; do groupmod -g $(($(gid $each) + 50)) $each; done \\
 && for each in vmail postfix dovecot dovenull; do usermod -u $(($(id -u $each) + 60)) -g $each $each; done \\
 && chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue && chmod g+s /usr/sbin/postdrop /usr/sbin/postqueue
""")
    yield image
    docker("rmi", "-f", image, check=False)


@pytest.mark.long
def test_another_image(lab, another_image, fault):
    """The same volumes in another image under another name, and back again, while mail flows."""
    volumes, alias, worst = on_volumes(lab), name("moved"), 0
    server = lab.server(alias=alias, env=LMTP, options=volumes)
    load = Load(lab, alias)
    first = server.sh("id -u vmail; id -u postfix").stdout
    for image, hostname in [(another_image, "mx.metabuilder.local"), (IMAGE, "postfix.metabuilder.local")]:
        docker("stop", server.id)
        assert server.exit_code == 0, server.logs()
        lab.remove_all(server)
        env = {**LMTP, "POSTFIX_MYHOSTNAME": hostname}
        server = lab.server(alias=alias, env=env, options=volumes, image=image, healthy=False)
        worst = max(worst, time_to_healthy(server))
        assert (server.sh("id -u vmail; id -u postfix").stdout == first) == (image == IMAGE)
        server.wait_for_log("below /var/mail/user again")
        load.wait_for(100)
    account(fault, "another image and hostname, and back", server, load, once=True, seconds=worst)


FULL = "No space left|overdrawn|Insufficient system storage|queue file write error|not enough free space"


@pytest.mark.parametrize("what, path", [("mail volume", "/var/mail"), ("spool", "/var/spool/postfix")])
def test_full(lab, what, path, fault):
    """Something else takes the space while mail flows, and gives it back."""
    alias, worst = name("full"), 0
    server = lab.server(alias=alias, env={**LMTP, "POSTFIX_MESSAGE_SIZE_LIMIT": "1048576"},
                        options=["--tmpfs", f"{path}:size=256m"])
    load = Load(lab, alias)
    for _ in range(TIMES):
        before = time.time()
        server.sh(f"dd if=/dev/zero of={path}/ballast bs=64k", check=False)
        until(lambda: re.search(FULL, server.logs(since=before)), "refusals or failed deliveries")
        time.sleep(1)
        server.sh(f"rm {path}/ballast")
        worst = max(worst, time_to_healthy(server))
        load.wait_for(20)
    account(fault, f"{what} full", server, load, once=False, seconds=worst)


@pytest.mark.long
def test_clock_jump(lab, fault):
    """Three hours ahead, then one hour behind, for every process of the server at once."""
    directory = WORK / name("clock")
    directory.mkdir()
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    shutil.copy(library, directory)
    (directory / "preload").write_text("/clock/libfaketimeMT.so.1\n")
    clock = directory / "faketimerc"
    clock.write_text("+0\n")
    alias = name("clock")
    server = lab.server(alias=alias, env=LMTP, options=[
        "-v", f"{directory}:/clock:ro", "-v", f"{directory}/preload:/etc/ld.so.preload:ro",
        "-v", f"{clock}:/etc/faketimerc:ro"])
    load = Load(lab, alias)
    for jump in ("+3h", "-1h"):
        clock.write_text(f"{jump}\n")
        stamp = "%b %e %H:" + ("" if jump == "+3h" else "%M")
        # The library looks at the file every ten seconds.
        until(lambda: server.sh(f"date '+{stamp}'").stdout.strip() in server.sh("tail -n 3 /var/log/mail.log").stdout,
              f"the log shows {jump}")
        load.wait_for(100)
    # No clean stop: at least once is what is promised here.
    account(fault, "clock 3 h ahead, then 1 h behind", server, load, once=False, seconds=time_to_healthy(server))


@pytest.mark.timed
def test_restart_times(lab, fault):
    """From kill -9 to a new main process and greetings on all its ports, in five fresh containers."""
    script = """
import os, select, socket, ssl, sys, time
victim, ports = sys.argv[1], [int(port) for port in sys.argv[2].split(",")]
context = ssl._create_unverified_context()
def named():
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read() == f"{victim}\\n": found.add(int(pid))
        except OSError:
            pass  # it has just ended
    return found
def greets(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as raw:
            if port in (465, 993, 995):
                raw = context.wrap_socket(raw)
            return raw.recv(100)[:1] in (b"2", b"*", b"+")
    except OSError:
        return False
(pid,) = named()
process = os.pidfd_open(pid)
begun = time.monotonic()
os.kill(pid, 9)
select.select([process], [], [])
while not named() - {pid}:
    time.sleep(0.002)
for port in ports:
    while not greets(port):
        time.sleep(0.002)
print(round((time.monotonic() - begun) * 1000))
"""
    served = {"master": "25,587,465", "dovecot": "110,143,993,995"}
    took = {victim: [] for victim in served}
    for _ in range(5):
        server = lab.server(alias=name("timed"))
        companion = lab.companion(server)
        for victim, ports in served.items():
            took[victim].append(int(companion.exec("python3", "-", victim, ports, input=script).stdout))
            server.wait_until_healthy()
        lab.remove_all(companion, server)
    for victim, each in took.items():
        median = sorted(each)[2]
        fault(f"kill -9 of {victim}: greetings again", "", "", "", median / 1000, f"median of {each} ms")
        assert median < 500, each


def test_no_connection_hangs_after_a_restart(lab, client):
    """A client in DATA keeps its smtpd, and with it the old listener, alive over the death of master."""
    server = lab.server(alias="listener")
    for killed in range(1, 4):
        with in_data(client, "listener"):
            server.sh("pkill -9 -x master")
            until(lambda: server.logs().count("postfix is ready") == killed + 1, "ready again")
            assert slowest_greeting(client, "listener", 50) < 2


@pytest.mark.timed
def test_idle_stop_times(lab, fault):
    server, took = lab.server(alias=name("idle")), []
    for _ in range(5):
        begun = time.monotonic()
        docker("stop", server.id)
        took.append(round((time.monotonic() - begun) * 1000))
        assert server.exit_code == 0
        docker("start", server.id)
        server.wait_until_healthy()
    fault("docker stop, idle", "", "", "", sorted(took)[2] / 1000, f"median of {took} ms")
    assert sorted(took)[2] < 500, took


@pytest.mark.timed
def test_idle_footprint(lab, fault):
    """PID 1 when nobody asks anything of it: memory as its share (PSS), and how often it wakes up. It runs from a copy of
    the program, whose pages no other server on this machine shares."""
    server = lab.run(IMAGE, "-c", "cp /usr/local/bin/mailroom /tmp && exec /tmp/mailroom",
                     options=["--entrypoint", "bash", "--no-healthcheck"]).wait_until_healthy()
    # The runtime's threads for what blocks end when nothing has for a second.
    server.wait_for("[ $(ls /proc/1/task | wc -l) = 4 ]", "four threads are left")
    wakes = "cat /proc/1/task/*/status | awk '/^(non)?voluntary_ctxt/ { n += $2 } END { print n }'"
    before = int(server.sh(wakes).stdout)
    time.sleep(10)
    wakeups = (int(server.sh(wakes).stdout) - before) / 10
    pss = int(server.sh("awk '/^Pss:/ { print $2 }' /proc/1/smaps_rollup").stdout)
    fault("PID 1, idle", "", "", "", "", f"PSS {pss / 1024:.1f} MiB, {wakeups:.1f} wake-ups a second")
    assert pss < 8 * 1024
    assert wakeups <= 1
