"""What is broken turns the health check, readiness and the metric red, by its name, and soon; what is mended turns them green."""

import json
import re
import statistics

import pytest

from lab import CLIENT_IMAGE, Lab, until

STOPPED = [("master", "postfix"), ("qmgr", "qmgr"), ("cleanup", "cleanup"), ("trivial-rewrite", "trivial-rewrite"), ("pickup", "pickup"),
           ("smtpd", "smtpd"), ("dovecot", "dovecot"), ("auth", "auth"), ("imap-login", "imap-login"), ("pop3-login", "pop3-login"),
           ("managesieve-log", "managesieve"), ("log", "log"), ("anvil", "anvil")]
SPOOL = "/var/spool/postfix"

# What is broken, how, what the line says, and how it is mended. MASTER and DOVECOT are started again by PID 1.
FAULTS = {
    **{f"{process} is stopped": (f"pkill -STOP -x {process}", named, f"pkill -CONT -x {process}") for process, named in STOPPED},
    "the login socket is gone": (f"rm {SPOOL}/private/auth", r"logins: \S+/auth: does not exist", "pkill -9 -x dovecot"),
    "the delivery socket is gone": (f"rm {SPOOL}/private/dovecot-lmtp", "deliveries: .*does not exist", "pkill -9 -x dovecot"),
    "Dovecot's master socket is gone": ("rm /run/dovecot/master", "dovecot: /run/dovecot/master: does not exist", "pkill -9 -x dovecot"),
    "qmgr's socket is gone": (f"rm {SPOOL}/public/qmgr", "qmgr: .*does not exist", "pkill -9 -x master"),
    "cleanup's socket is gone": (f"rm {SPOOL}/public/cleanup", "cleanup: .*does not exist", "pkill -9 -x master"),
    "cleanup cannot be started": ("chmod 0 /usr/lib/postfix/sbin/cleanup; pkill -9 -x cleanup", "cleanup", "chmod 755 /usr/lib/postfix/sbin/cleanup"),
    "trivial-rewrite cannot be started": ("chmod 0 /usr/lib/postfix/sbin/trivial-rewrite; pkill -9 -x trivial-rewrite", "trivial-rewrite",
                                          "chmod 755 /usr/lib/postfix/sbin/trivial-rewrite"),
    "smtpd cannot be started": ("chmod 0 /usr/lib/postfix/sbin/smtpd; pkill -9 -x smtpd", "port 25", "chmod 755 /usr/lib/postfix/sbin/smtpd"),
    "the mail store is full": ("fallocate -l 59M /var/mail/filler || dd if=/dev/zero of=/var/mail/filler bs=1M count=59 2>/dev/null; dd if=/dev/zero of=/var/mail/rest bs=64k 2>/dev/null",
                               "the mail store: /?.*is full: ", "rm -f /var/mail/filler /var/mail/rest"),
    "the queue is full": (f"fallocate -l 200M {SPOOL}/filler || dd if=/dev/zero of={SPOOL}/filler bs=1M count=200 2>/dev/null", "the queue: .*is full: ", f"rm -f {SPOOL}/filler"),
}


@pytest.fixture(scope="module")
def sick():
    """A server whose stores are small file systems, and which delivers by LMTP."""
    lab = Lab()
    try:
        server = lab.server(alias="sick", env={"MAILROOM_SIEVE": "on", "MAILROOM_HTTP_LISTEN": "0.0.0.0:8025", "POSTFIX_INET_PROTOCOLS": "ipv4"},
                            options=["--tmpfs", "/var/mail:size=160m", "--tmpfs", f"{SPOOL}:size=260m", "-v", "/run"])
        yield lab, server, lab.client()
    finally:
        lab.close()


RED = """
begun=$(date +%s%3N)
{inject}
while said=$(/healthcheck --strict); do [ $(($(date +%s%3N) - begun)) -lt 8000 ] || break; done
echo "$(($(date +%s%3N) - begun)) ms"; echo "$said"
"""


def broken(server, inject):
    """Breaks something; returns after how many seconds the check, which begins at once and again and again, was red, and what it said."""
    took, said = server.sh(RED.format(inject=inject)).stdout.split(" ms\n", 1)
    return int(took) / 1000, said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_and_named(sick, fault, figure):
    _, server, client = sick
    inject, named, mend = FAULTS[fault]
    try:
        took, said = broken(server, inject)
        assert re.search(named, said) and said.startswith("unhealthy: "), (fault, took, said)
        assert server.exec("/healthcheck", check=False).returncode == 1
        code = client.exec("curl", "-s", "-m", "8", "-o", "/dev/null", "-w", "%{http_code}", "http://sick:8025/readyz", check=False).stdout
        assert code == "503", fault
        if "stopped" not in fault:
            assert re.search("^mailroom_healthy 0$", client.exec("curl", "-s", "-m", "8", "http://sick:8025/metrics").stdout, re.M), fault
    finally:
        server.sh(mend, check=False)
    server.wait_for("/healthcheck --strict", f"green again after: {fault}")
    figure(f"seconds until red: {fault}", f"{took:.2f}")
    assert took < 5, fault


@pytest.mark.parametrize("process", ["policyd", "httpd"])
def test_what_serves_no_client_is_degraded(sick, process):
    _, server, _ = sick
    server.sh(f"pkill -STOP -x {process}")
    try:
        done = server.exec("/healthcheck")
        assert done.stdout == f"degraded: {process}: no answer within 1.5 s\n"
        assert server.exec("/healthcheck", "--strict", check=False).returncode == 1
        assert server.exec("/healthcheck", "--ready").returncode == 0
    finally:
        server.sh(f"pkill -CONT -x {process}")
    server.wait_for("/healthcheck --strict", "green again")


def test_options(sick):
    _, server, _ = sick
    said = json.loads(server.exec("/healthcheck", "--json").stdout)
    assert (said["state"], said["faults"], said["others"]) == ("healthy", [], ["logins", "deliveries"]) and said["ports"][0] == 25
    server.sh("pkill -STOP -x qmgr")
    try:
        done = server.exec("/healthcheck", "--json", check=False)
        fault, = [fault for fault in json.loads(done.stdout)["faults"] if fault["check"].startswith("qmgr")]
        assert done.returncode == 1 and fault["severity"] == "unhealthy" and fault["message"] == "no answer within 1.5 s"
        assert server.exec("/healthcheck", "--live").stdout == "healthy: the daemons live\n"
        several = server.exec("/healthcheck", check=False).stdout.splitlines()
        assert len(several) >= 2 and all(line.startswith("unhealthy: ") for line in several), "a line for each fault"
    finally:
        server.sh("pkill -CONT -x qmgr")
    server.wait_for("/healthcheck", "green again")
    assert server.exec("/healthcheck", "--live", "--ready", check=False).returncode == 2


CERTIFICATE = """
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=postfix.metabuilder.local -addext subjectAltName=DNS:postfix.metabuilder.local \
    -not_before {begins} -not_after {ends} -keyout /c/tls.key -out /c/tls.crt 2>/dev/null
"""


def test_a_certificate_that_ends(sick):
    lab, _, client = sick
    volume = lab.volume()
    maker = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init", "-v", f"{volume}:/c"])
    times = "date -u +%Y%m%d%H%M%SZ -d"
    begins, soon, over = (client.sh(f"{times} '{when}'").stdout.strip() for when in ("300 days ago", "5 days 1 hour", "3 days ago"))
    maker.sh(CERTIFICATE.format(begins=begins, ends=soon))
    server = lab.server(alias="ending", options=["-v", f"{volume}:/etc/dovecot/certs"])
    assert server.exec("/healthcheck").stdout == "degraded: port 465, port 993, port 995: the certificate expires in 5 days: renew it\n"
    maker.sh(CERTIFICATE.format(begins=begins, ends=over))
    server = lab.server(alias="ended", options=["-v", f"{volume}:/etc/dovecot/certs:ro"], healthy=False)
    said = "unhealthy: port 465, port 993, port 995: the certificate has expired 3 days ago: clients refuse it"
    until(lambda: server.exec("/healthcheck", check=False).stdout.strip() == said, lambda: server.exec("/healthcheck", check=False).stdout)


# The founding README's way, without its pauses: bash's own /dev/tcp stands for nc.
SHELL = """
pgrep -x master >/dev/null || exit 1
pgrep -x dovecot >/dev/null || exit 1
for port in 25 587 465 110 143 993 995; do (exec 3<>/dev/tcp/127.0.0.1/$port) || exit 1; done
"""
TIMES = """
for n in $(seq 15); do
    before=$(awk '{print $16 + $17}' /proc/$$/stat); begun=$(date +%s%N)
    for m in 1 2 3 4 5 6 7 8; do COMMAND >/dev/null || exit 1; done
    ended=$(date +%s%N); after=$(awk '{print $16 + $17}' /proc/$$/stat)
    echo $(((ended - begun) / 8000)) $(((after - before) * 10000 / 8))
done
"""


@pytest.mark.timed
def test_it_is_cheap(own_lab, figure):
    server = own_lab.server(alias="quick")
    server.exec("tee", "/tmp/shell", input=SHELL)

    def median(command):
        runs = [line.split() for line in server.sh(TIMES.replace("COMMAND", command)).stdout.splitlines()]
        return [statistics.median(int(run[which]) / 1000 for run in runs) for which in (0, 1)]

    ours, shell = median("/healthcheck"), median("bash /tmp/shell")
    figure("health check, ms of time and of processor: mailroom, a shell with pgrep", f"{ours[0]:.1f} {ours[1]:.1f}, {shell[0]:.1f} {shell[1]:.1f}")
    assert ours[0] < 100
