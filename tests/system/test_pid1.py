"""PID 1, and what goes wrong with others in its place.

| # | Bug                                          | Test |
|---|----------------------------------------------|------|
| 1 | the reaper steals an exit status             | no_status_is_lost (unit) |
| 2 | SIGTERM while starting is ignored            | test_sigterm_at_any_moment_of_the_start |
| 3 | coalesced SIGCHLD leaves zombies             | test_orphans_are_reaped |
| 4 | inherited signal mask and ignored signals    | test_nothing_is_inherited |
| 5 | inherited file descriptors                   | test_nothing_is_inherited |
| 6 | grandchildren in another session stay        | test_a_shared_pid_namespace |
| 7 | a number that came to mean another           | test_state.py: test_stale_pid_files_and_sockets; a_pid_file_with_another_process_names_nobody (unit) |
| 8 | our standard output blocks                   | test_a_standard_output_that_nobody_reads, test_lost_lines_are_counted |
| 9 | long lines, NUL, not UTF-8, no newline       | any_datagram_becomes_one_line, what_daemons_print_becomes_lines (unit) |
| 10| SIGTERM twice, and the other signals         | test_signals_that_stop, test_other_signals, test_a_second_sigterm_hurries |
| 11| the process supervised exits, another serves | test_a_master_started_by_hand_at_the_same_time, test_a_master_started_by_hand_beside_an_old_session |
| 12| killed too early or too late                 | test_who_does_not_end_is_killed_in_time |
| 13| out of memory looks like any kill            | test_out_of_memory_is_told |
| 14| stale pid files across a restart             | test_state.py: test_stale_pid_files_and_sockets |
| 15| crash loops go on for ever                   | test_life.py: test_five_failures_end_the_container |
| 16| a start after a stop, from the back-off      | test_a_stop_in_the_back_off_starts_nothing; every_state_within_reach_keeps_the_promises (unit) |
"""

import json
import re
import subprocess
import time

import pytest

from lab import CLIENT_IMAGE, IMAGE, docker, in_data, name, slowest_greeting, until


def stop(server, seconds=10):
    begun = time.monotonic()
    docker("stop", "-t", str(seconds), server.id)
    return time.monotonic() - begun


@pytest.fixture(params=["as PID 1", "under --init", "in a shared PID namespace"])
def place(request, lab):
    """Options: each place that PID 1 may find itself in."""
    if request.param == "as PID 1":
        return []
    if request.param == "under --init":
        return ["--init"]
    holder = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init"])
    return ["--pid", f"container:{holder.id}"]


@pytest.fixture
def placed(lab, place):
    """A server in each of them."""
    return lab.server(alias=name("placed"), options=place)


@pytest.mark.timed
def test_sigterm_at_any_moment_of_the_start(lab):
    for delay in [0.05, 0.1, 0.15, 0.2, 0.3, 0.5]:
        server = lab.server(alias="early", healthy=False)
        time.sleep(delay)
        docker("kill", "-s", "TERM", server.id)
        begun = time.monotonic()
        assert server.wait() == 0, server.logs()
        assert time.monotonic() - begun < 1.5, server.logs()


# A child of ours that makes orphans when it is told to: fifty, half of them in sessions of their own, and meanwhile five
# hundred that are soon over.
ORPHANS = """
(until [ -e /tmp/go ]; do sleep 0.05; done
for i in $(seq 25); do (sleep 3.25 &); (setsid sleep 3.25 &); done
for i in $(seq 500); do (true &); done) &
exec mailroom
"""
# Looks until the fifty have come and gone: whose children they are, and for how long anybody was a zombie.
WATCH = r"""
import json, os, time
def of(pid, what): return open(f"/proc/{pid}/{what}").read()
parents, since, longest, alive, end = {}, {}, 0, set(), time.monotonic() + 40
while (len(parents) < 50 or alive or since) and time.monotonic() < end:
    now, alive, zombies = time.monotonic(), set(), set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = of(pid, "stat").rsplit(")", 1)[1].split()[:2]
            if state == "Z": zombies.add(pid)
            if of(pid, "cmdline") == "sleep\0003.25\0":
                alive.add(pid)
                parents[pid] = of(parent, "comm").strip()
        except OSError:
            pass  # it has just ended
    since = {pid: since.get(pid, now) for pid in zombies}
    longest = max([longest, *(now - begun for begun in since.values())])
    time.sleep(0.02)
print(json.dumps({"parents": list(parents.values()), "longest": longest}))
"""


def test_orphans_are_reaped(lab, place):
    server = lab.run(IMAGE, "-c", ORPHANS, options=["--entrypoint", "bash", *place]).wait_until_healthy()
    companion = lab.companion(server)
    docker("exec", "-d", server.id, "bash", "-c", "sleep 0.5; touch /tmp/go")
    seen = json.loads(companion.python(WATCH).stdout)
    assert seen["parents"] == ["mailroom"] * 50
    assert seen["longest"] < 1


STATE = "for p in $(pgrep -x {}); do grep -E '^Sig(Blk|Ign)' /proc/$p/status; ls -l /proc/$p/fd 2>/dev/null; done; true"
DAEMONS = ["master", "qmgr", "dovecot", "anvil", "auth"]


@pytest.mark.timed
def test_nothing_is_inherited(lab):
    """Whoever starts us ignores and blocks every signal and leaves files open."""
    hostile = """
use POSIX;
$SIG{$_} = 'IGNORE' for qw(HUP INT QUIT TERM USR1 USR2 CHLD PIPE ALRM);
sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM, SIGCHLD, SIGHUP, SIGUSR1, SIGALRM));
open my $file, '<', '/etc/issue'; fcntl($file, 2, 0); open my $log, '>', '/tmp/left-open'; fcntl($log, 2, 0);
exec '/usr/local/bin/mailroom';
"""
    plain = lab.server(alias="plain")
    inheritor = lab.run(IMAGE, "-e", hostile, options=["--entrypoint", "perl", "--network-alias", "inheritor"])
    inheritor.wait_until_healthy()
    for daemon in DAEMONS:
        states = [server.sh(STATE.format(daemon)).stdout for server in (plain, inheritor)]
        signals = [sorted(set(re.findall(r"^Sig\w+:\t\w+", state, re.MULTILINE))) for state in states]
        assert signals[0] == signals[1], daemon
        assert "/etc/issue" not in states[1] and "left-open" not in states[1], states[1]
    assert stop(inheritor) < 2
    assert inheritor.wait() == 0


@pytest.mark.timed
def test_a_shared_pid_namespace(lab):
    """Our stop ends ours, in whatever session they are, and no stranger."""
    holder = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init"])
    holder.exec("bash", "-c", "setsid sleep 7777 >/dev/null 2>&1 &")
    server = lab.run(IMAGE, "-c", "setsid sleep 8888 & exec mailroom",
                     options=["--entrypoint", "bash", "--pid", f"container:{holder.id}"])
    server.wait_until_healthy()
    assert holder.sh("pgrep -fx 'sleep 8888'").stdout != ""
    assert stop(server) < 2
    assert server.wait() == 0
    assert holder.sh("pgrep -fx 'sleep 8888'", check=False).stdout == ""
    assert holder.sh("pgrep -fx 'sleep 7777'").stdout != ""
    assert holder.sh("pgrep -x 'master|qmgr|dovecot|anvil|mailroom'", check=False).stdout == ""


def blocked(lab):
    """A server whose standard output is a pipe that is open, and not read."""
    script = "mkfifo /tmp/full; sleep infinity </tmp/full & exec mailroom >/tmp/full 2>&1"
    options = ["--entrypoint", "bash", "--network-alias", "blocked"]
    return lab.run(IMAGE, "-c", script, options=options).wait_until_healthy()


@pytest.mark.timed
def test_a_standard_output_that_nobody_reads(lab, client, figure):
    """Mail is accepted all the same, and a stop ends in its time."""
    server = blocked(lab)
    said = client.python("""
import smtplib, time
begun = time.monotonic()
for _ in range(30):
    with smtplib.SMTP("blocked", 25) as smtp:
        for _ in range(20):
            smtp.sendmail("a@example.org", ["user@metabuilder.local"], "Subject: " + "x" * 500 + "\\r\\n\\r\\nx")
print(time.monotonic() - begun)
""").stdout
    figure("600 messages with a blocked standard output", f"{float(said):.1f} s")
    server.wait_for("[ $(ls /var/mail/user/Maildir/new | wc -l) = 600 ]", "all are delivered")
    assert int(server.sh("wc -c </var/log/mail.log").stdout) > 65536, "more than a pipe takes"
    assert stop(server) < 3
    assert server.wait() == 0


def test_lost_lines_are_counted(lab, figure):
    """Standard output is read again after a while."""
    server = blocked(lab)
    server.sh("seq -f 'numbered %.0f. with words' 60000 | postlog -t flood 2>/dev/null")
    server.wait_for("tail -n 5 /var/log/mail.log | grep -F 'numbered 60000.'", "all lines are in the file")
    docker("exec", "-d", server.id, "bash", "-c", "cat /tmp/full >/tmp/seen")
    seen = lambda: server.sh("cat /tmp/seen", check=False).stdout
    until(lambda: "lines were lost" in seen(), "it is told, though no line comes any more")
    server.sh("postlog -t marker the end")
    until(lambda: "the end" in seen(), "all is read")
    told = sum(map(int, re.findall(r"(\d+) (?:log )?lines were lost", seen())))
    missing = 60000 - seen().count("flood")
    figure("60000 lines, blocked standard output", f"{missing} missing, {told} told as lost")
    assert missing > 0 and abs(told - missing) < 50


def test_of_a_flood_each_line_is_shown_or_told(lab, figure):
    """machine.md 20. The engine's own log must not be rotated meanwhile: what it drops it does not say."""
    options = ["--log-driver", "json-file", "--log-opt", "max-size=500m", "--log-opt", "max-file=1"]
    server = lab.server(alias="flood", options=options)
    sent = 100_000
    begun = time.monotonic()
    server.sh(f"seq -f 'numbered %.0f.' {sent} | postlog -t flood 2>/dev/null")
    seconds = time.monotonic() - begun

    def counted():
        logs = server.logs()
        return len(set(re.findall(r"numbered (\d+)\.", logs))), sum(map(int, re.findall(r"(\d+) log lines? w[a-z]+ lost", logs)))

    until(lambda: sum(counted()) >= sent, lambda: f"of {sent} lines are (shown, told as lost): {counted()}")
    shown, told = counted()
    figure(f"{sent / seconds:.0f} lines a second", f"{shown} of {sent} shown, {told} told as lost")
    assert shown + told == sent


@pytest.mark.parametrize("signal", ["TERM", "INT", "QUIT", "37"])
def test_signals_that_stop(lab, signal):
    server = lab.server(alias="signalled")
    docker("kill", "-s", signal, server.id)
    assert server.wait() == 0


def test_other_signals(lab):
    """One of these means a reload, one new log files, and the others nothing."""
    server = lab.server(alias="signalled")
    docker("kill", "-s", "HUP", server.id)
    server.wait_for_log("Reloaded: nothing has changed")
    server.wait_until_healthy()
    server.sh("mv /var/log/mail.log /var/log/moved")
    docker("kill", "-s", "USR1", server.id)
    server.wait_for("postlog -t marker x; grep . /var/log/mail.log", "the file is new")
    server.wait_until_healthy()
    for signal in ["USR2", "40", "ALRM", "WINCH"]:
        docker("kill", "-s", signal, server.id)
        server.wait_until_healthy()


def test_other_signals_under_another_init(lab):
    """Without handlers they would end any process but PID 1."""
    server = lab.server(alias="initialised", options=["--init"])
    for signal in ["USR2", "40", "PIPE", "HUP", "USR1"]:
        server.sh(f"kill -{signal} $(pgrep -x mailroom)")
    server.wait_for_log("Reloaded: nothing has changed")
    server.wait_until_healthy()


def test_a_changed_certificate_is_served_after_sighup_and_sessions_live(lab, client):
    server = lab.server(alias="renewed")
    session = """
import imaplib, sys
imap = imaplib.IMAP4("renewed", 143); imap.login("user", "userpass123"); imap.select()
print("selected", flush=True); sys.stdin.readline()
print(imap.noop()[0])
"""
    fingerprint = "openssl s_client -connect localhost:{} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint"
    live = subprocess.Popen(["docker", "exec", "-i", client.id, "python3", "-c", session], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    assert live.stdout.readline() == "selected\n"
    before = [server.sh(fingerprint.format(port)).stdout for port in (993, 465)]
    server.sh("rm /etc/dovecot/certs/*")
    docker("kill", "-s", "HUP", server.id)
    server.wait_for_log("Reloaded: dovecot, postfix")
    for port, old in zip((993, 465), before):
        until(lambda: server.sh(fingerprint.format(port)).stdout not in ("", old), f"{port} serves the new one")
    live.stdin.write("\n")
    live.stdin.flush()
    assert live.stdout.readline() == "OK\n"
    live.wait(timeout=10)


@pytest.mark.timed
def test_a_second_sigterm_hurries(lab, client):
    """A client holds a session in DATA open for ever: the stop waits for it, until it is told to hurry."""
    server = lab.server(alias="hurried")
    with in_data(client, "hurried"):
        docker("kill", "-s", "TERM", server.id)
        server.wait_for_log("takes no new clients and finishes its work")
        assert server.running
        begun = time.monotonic()
        docker("kill", "-s", "TERM", server.id)
        assert server.wait() == 0
        assert time.monotonic() - begun < 2


def test_a_master_started_by_hand_at_the_same_time(placed):
    placed.sh("pkill -9 -x master; postfix start", check=False)
    placed.wait_until_healthy()
    placed.wait_for("[ $(pgrep -xc master) = 1 ]", "there is one master")
    assert placed.exec("postfix", "status").returncode == 0


def test_a_master_started_by_hand_beside_an_old_session(lab, client):
    """The session keeps the old listener: whoever is first to start Postfix, nobody hangs there."""
    server = lab.server(alias="beside")
    with in_data(client, "beside"):
        server.sh("pkill -9 -x master; postfix start", check=False)
        until(lambda: "postfix was started by hand" in server.logs() or server.logs().count("postfix is ready") == 2, "up again")
        server.wait_until_healthy()
        assert slowest_greeting(client, "beside", 20) < 2


def test_a_death_by_a_realtime_signal_is_noticed(lab):
    server = lab.server(alias="realtime")
    server.sh("kill -40 $(pgrep -x master)")
    server.wait_for_log("postfix was ended by signal 40; it is started again in")
    until(lambda: server.logs().count("postfix is ready") == 2, "ready again")
    server.wait_until_healthy()


@pytest.mark.timed
@pytest.mark.parametrize("process", ["dovecot", "master"])
def test_who_does_not_end_is_killed_in_time(lab, process):
    server = lab.server(alias="deaf", env={"MAILROOM_STOP_TIMEOUT": "3s"})
    server.sh(f"pkill -STOP -x {process}")
    took = stop(server)
    # Postfix is killed after 1.6 s, Dovecot after 2 s: the rest is for what they leave behind, and for the logs.
    assert 1.5 < took < 3.4, took
    assert server.wait() == 0
    assert "did not end in time and is killed" in server.logs()


def test_out_of_memory_is_told(lab):
    """The kernel itself kills Dovecot, which it was told to prefer."""
    server = lab.server(alias="hungry", options=["--memory", "200m", "--memory-swap", "200m"])
    server.sh("echo 1000 >/proc/$(pgrep -x dovecot)/oom_score_adj; tail /dev/zero", check=False)
    server.wait_for_log("dovecot was killed, possibly because memory ran out")
    server.wait_until_healthy()


@pytest.mark.timed
def test_a_stop_in_the_back_off_starts_nothing(lab):
    server = lab.server(alias="backoff")
    for failures in range(1, 3):
        server.sh("pkill -9 -x dovecot")
        until(lambda: server.logs().count("dovecot is ready") == failures + 1, "ready again")
    # The third pause is 0.3 s at least.
    server.sh("pkill -9 -x dovecot; sleep 0.05; kill 1")
    assert server.wait() == 0
    assert server.logs().count("dovecot was ended by SIGKILL; it is started again in") == 3
    assert server.logs().count("dovecot is ready") == 3


@pytest.mark.timed
def test_by_hand(placed):
    """Stop, start and reload by hand, of both: told, held, adopted, never fought, healthy at the end."""
    placed.exec("postfix", "reload")
    placed.exec("doveadm", "reload")
    placed.exec("postfix", "stop")
    placed.wait_for_log("postfix was stopped by hand")
    assert "postfix: stopped by hand" in placed.exec("/healthcheck", check=False).stdout
    placed.exec("postfix", "start")
    placed.wait_for_log("postfix was started by hand")
    placed.exec("doveadm", "stop")
    placed.wait_for_log("dovecot was stopped by hand")
    docker("exec", "-d", placed.id, "dovecot")
    placed.wait_for_log("dovecot was started by hand")
    placed.wait_until_healthy()
    placed.exec("postfix", "reload")
    placed.exec("postfix", "status")
    assert placed.logs().count("is started again in") == placed.logs().count("was stopped by hand") == 2
    assert stop(placed) < 2


@pytest.mark.long
def test_whoever_stays_stopped_by_hand_is_started_again(lab):
    server = lab.server(alias="held")
    server.exec("doveadm", "stop")
    begun = time.monotonic()
    server.wait_until_healthy()
    assert 8 < time.monotonic() - begun < 15


def test_a_daemon_may_be_left_down(lab):
    server = lab.server(alias="left-down", env={"MAILROOM_ON_FAILURE": "keep"})
    for failures in range(1, 6):
        server.sh("pkill -9 -x dovecot")
        until(lambda: server.logs().count("dovecot was ended by SIGKILL") == failures, "a failure")
        if failures < 5:
            until(lambda: server.logs().count("dovecot is ready") == failures + 1, "ready again")
    server.wait_for_log("it is left down (MAILROOM_ON_FAILURE=keep); its last lines:")
    said = server.exec("/healthcheck", check=False)
    assert said.returncode == 1 and "dovecot: left down after too many failures" in said.stdout
    assert server.sh("netstat -tln | grep :25").stdout != ""
    assert re.search(r"^    \w{3} .*dovecot: ", server.logs(), re.MULTILINE), "its last lines"


def test_a_stop_finishes_what_clients_have_begun(lab, client):
    """A client in DATA gets its 250, new ones are told 421, IMAP clients get their BYE, with and without TLS."""
    volume = lab.volume()
    server = lab.server(alias="drained", options=["-v", f"{volume}:/var/mail"])
    script = """
import imaplib, smtplib, socket, ssl, time
context = ssl._create_unverified_context()
sessions = [imaplib.IMAP4("drained", 143), imaplib.IMAP4_SSL("drained", 993, ssl_context=context)]
for imap in sessions:
    imap.login("user", "userpass123"); imap.select()
smtp = smtplib.SMTP("drained", 25); smtp.helo(); smtp.docmd("MAIL", "FROM:<a@example.org>")
smtp.docmd("RCPT", "TO:<user@metabuilder.local>"); smtp.docmd("DATA"); smtp.send("Subject: in the middle\\r\\n\\r\\n")
print("in data", flush=True)
for port in (25, 587):
    end = time.monotonic() + 5
    while True:
        with socket.create_connection(("drained", port), timeout=5) as s:
            said = s.recv(200)
        if said.startswith(b"421 "): break
        assert time.monotonic() < end, said
print(said.decode().strip(), flush=True)
smtp.send("x\\r\\n.\\r\\n"); print(smtp.getreply()[0], flush=True); smtp.quit()
for imap in sessions:
    print(imap.readline().decode().strip(), flush=True)
"""
    talk = subprocess.Popen(["docker", "exec", client.id, "python3", "-c", script], stdout=subprocess.PIPE, text=True)
    assert talk.stdout.readline() == "in data\n"
    stopping = subprocess.Popen(["docker", "stop", server.id], stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    said = talk.communicate(timeout=30)[0].split("\n")
    assert stopping.wait(timeout=30) == 0
    assert re.fullmatch("421 4.3.2 .*Server is shutting down, try again later", said[0]) and said[1] == "250"
    assert said[2:4] == ["* BYE Server shutting down."] * 2
    assert server.wait() == 0
    assert time.monotonic() - begun < 5
    docker("start", server.id)
    assert "in the middle" in server.sh("cat /var/mail/user/Maildir/new/*").stdout


def test_a_stop_keeps_what_a_reload_has_changed(lab, client):
    """The configuration that turns new clients away is otherwise the one in force."""
    server = lab.server(alias="closing")
    server.sh("mkdir -p /etc/mailroom/main.cf.d; echo 'message_size_limit = 1234567' >/etc/mailroom/main.cf.d/size.cf")
    server.exec("mailroom", "reload")
    with in_data(client, "closing") as talk:
        docker("kill", "-s", "TERM", server.id)
        server.wait_for("grep '421 4.3.2' /etc/postfix/main.cf", "new clients are turned away")
        assert server.exec("postconf", "-h", "message_size_limit").stdout == "1234567\n"
        talk.stdin.write("\n")
        talk.stdin.flush()
        assert talk.stdout.readline() == "250\n"
    assert server.wait() == 0


# Makes one smtpd take a client while it is told to end: it is stopped while it waits, a client comes, then the reload.
OVERTAKE = """
import os, signal, socket, subprocess, sys, time
def smtpds(waiting):
    found = []
    for line in open("/proc/locks"):
        fields = [field for field in line.split() if field != "->"]
        pid = int(fields[4])
        try: comm = open(f"/proc/{pid}/comm").read().strip()
        except OSError: continue
        if comm == "smtpd" and ("->" in line) == waiting: found.append(pid)
    return found
def greeted(connection, patience):
    connection.settimeout(patience)
    try: return connection.recv(100).startswith(b"220 ")
    except TimeoutError: return False
held = [socket.create_connection(("127.0.0.1", 25)) for _ in range(4)]
assert all(greeted(each, 10) for each in held)
for each in held: each.close()
end = time.monotonic() + 10
while not (smtpds(False) and smtpds(True)): assert time.monotonic() < end; time.sleep(0.05)
next_one = [pid for pid in smtpds(False) if b"submission" not in open(f"/proc/{pid}/cmdline", "rb").read()][0]
os.kill(next_one, signal.SIGSTOP)
client = socket.create_connection(("127.0.0.1", 25))
print("reload", flush=True); sys.stdin.readline()
time.sleep(0.2); os.kill(next_one, signal.SIGCONT)
assert greeted(client, 5), "the client that overtook the reload"
begun = time.monotonic()
others = [socket.create_connection(("127.0.0.1", 25)) for _ in range(3)]
print([greeted(each, 20) for each in others], round(time.monotonic() - begun, 1), flush=True)
"""


CHANGE = "mkdir -p /etc/mailroom/main.cf.d; echo 'smtpd_banner = again' >/etc/mailroom/main.cf.d/x.cf; "


@pytest.mark.timed
@pytest.mark.parametrize("reload", [CHANGE + "mailroom reload", "postfix reload"], ids=["ours", "a user's"])
def test_a_client_that_overtakes_a_reload_keeps_nobody_out(lab, figure, reload):
    """Postfix takes the process that serves it for idle, and starts no other until it leaves."""
    server = lab.server(alias=name("overtaken"))
    companion = lab.companion(server)
    talk = subprocess.Popen(["docker", "exec", "-i", companion.id, "python3", "-c", OVERTAKE], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert talk.stdout.readline() == "reload\n"
    server.sh(reload)
    said = talk.communicate("\n", timeout=60)[0]
    assert said.startswith("[True, True, True] "), said
    figure("new clients are greeted after a reload that one overtook, within", f"{said.split()[-1]} s")
