"""What is set reaches Postfix and Dovecot, or is refused with the name of what is wrong; and changes are applied live."""

import os
import random
import re
import shlex
import subprocess
import time

import pytest

import engine
from lab import CLIENT_IMAGE, LONG, WORK, create_network, docker, name, run_once, telnet, until

DEFAULTS = """
while IFS= read -r line; do
    name=${line%% =*} value=${line#* =}
    all+=("POSTFIX_${name^^}=${value# }")
done < <(postconf -c /usr/share/mailroom/postfix -d)
"""


def check(checker, *variables, user="1234"):
    """As somebody who is not root."""
    return checker.exec("env", "-i", *variables, "/usr/local/bin/mailroom", "check", check=False, user=user)


def report(said):
    """What is said of each variable."""
    return dict(re.findall(r"^  ([\w/.:-]+?)[=:] ?.*\n      (.*)$", said, re.MULTILINE))


# Refused with a reason: what Mailroom decides, what is read-only in Postfix or on its way out, a default that is no domain.
REASONS = ["is decided by mailroom: ", "is read-only in Postfix", "is on its way out of Postfix: set ", "must have at least two parts"]


def test_every_parameter_takes_its_own_default(checker, figure):
    """But for a short list, each with its reason."""
    refused = {}
    for _ in range(3):
        # What is wrong with values is told first, then what is wrong in the whole, then what postconf has to say.
        skipped = "|".join([*refused, "nothing"])
        done = checker.sh(DEFAULTS + f"""
for setting in "${{all[@]}}"; do
    [[ ${{setting%%=*}} =~ ^({skipped})$ ]] || kept+=("$setting")
done
echo ${{#kept[@]}}
env -i "${{kept[@]}}" /usr/local/bin/mailroom check""", check=False)
        if done.returncode == 0:
            break
        refused.update(report(done.stderr))
    assert done.stderr == "" and "all is well" in done.stdout
    assert int(done.stdout.split()[0]) > 900
    assert {each: reason for each, reason in refused.items() if not reason.startswith(tuple(REASONS))} == {}
    documented = checker.exec("mailroom", "help-env", "--markdown").stdout.split("| Parameters |")[1]
    documented = {f"POSTFIX_{each.upper()}" for each in re.findall(r"`(\w+)`", documented)}
    decided = {each for each, reason in refused.items() if reason.startswith(REASONS[0])}
    assert decided and decided <= documented, decided - documented
    figure("every parameter set to its default", f"{len(refused)} are refused, each with its reason")


def test_a_hundred_typos_get_the_right_name(checker):
    typos = dict(line.split() for line in open("typos.txt"))
    assert len(typos) >= 100
    refused = report(check(checker, *(f"{typo}=1" for typo in typos)).stderr)
    suggested = {typo: re.search(r"did you mean (\w+)\?", refused.get(typo, "did you mean _?")) for typo in typos}
    wrong = {typo: right for typo, right in typos.items() if not suggested[typo] or suggested[typo][1] != right}
    assert wrong == {}


NAMES = ["MYHOSTNAME", "MYDOMAIN", "MYNETWORKS", "RELAYHOST", "MESSAGE_SIZE_LIMIT", "SMTPD_BANNER", "INET_PROTOCOLS", "BIFF",
         "SMTPD_RECIPIENT_RESTRICTIONS", "HEADER_CHECKS", "MAXIMAL_QUEUE_LIFETIME", "SMTP_TLS_SECURITY_LEVEL", "MAX_IDLE",
         "smtp_tls_CAfile", "VIRTUAL_ALIAS_MAPS", "DEFAULT_PROCESS_LIMIT", "SMTPD_TLS_CIPHERS", "QUEUE_DIRECTORY", "NONSENSE"]
OTHERS = ["MAILROOM_TRUST_GATEWAY", "MAILROOM_STOP_TIMEOUT", "MAILROOM_MASTER_SMTP_INET_MAX_IDLE", "MAILROOM_MASTER_SUBMISSION_INET",
          "MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT", "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS", "DOVECOT_MAIL_DEBUG", "DOVECOT_NONSENSE",
          "DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL", "DOVECOT_PROTOCOL__IMAP__MAIL_MAX_USERIP_CONNECTIONS", "TZ",
          "MAILROOM_RELAYHOST_USERNAME", "MAILROOM_RELAYHOST_PASSWORD", "MAILROOM_NONSENSE", "POSTFIX_PORT_25_TCP"]
VALUES = ["", "yes", "no", "0", "1", "5", "100", "4h", "25M", "x", "mail.example.org", "10.0.0.0/8", "127.0.0.1/8, ::1", "ipv4", "all",
          "may", "encrypt", "off", "[smtp.example.org]:587", "reject", "permit_mynetworks, reject", "lmdb:/nope", "inline:{a=b}",
          "regexp:/nope", "$myhostname ESMTP", "${x", "a\nb = c", "\x07", "Europe/Berlin", "tcp://10.0.0.1:25", "a = b", "{", "}", "#"]


# What a user would write: half of all values, so that many environments are right.
RIGHT = {
    "POSTFIX_MYHOSTNAME": ["mx.example.org"], "POSTFIX_MYDOMAIN": ["example.org"], "POSTFIX_MYNETWORKS": ["10.0.0.0/8 ::1"],
    "POSTFIX_RELAYHOST": ["[smtp.example.org]:587", ""], "POSTFIX_MESSAGE_SIZE_LIMIT": ["0", "104857600"], "TZ": ["Europe/Berlin"],
    "POSTFIX_SMTPD_BANNER": ["$myhostname ESMTP"], "POSTFIX_INET_PROTOCOLS": ["all", "ipv4"], "POSTFIX_BIFF": ["no"],
    "POSTFIX_SMTPD_RECIPIENT_RESTRICTIONS": ["permit_mynetworks, reject"], "POSTFIX_HEADER_CHECKS": ["inline:{a=b}", ""],
    "POSTFIX_MAXIMAL_QUEUE_LIFETIME": ["1d", "4h"], "POSTFIX_SMTP_TLS_SECURITY_LEVEL": ["require", "may"],
    "POSTFIX_MAX_IDLE": ["5s"], "POSTFIX_smtp_tls_CAfile": ["/etc/ssl/certs/ca-certificates.crt"], "POSTFIX_VIRTUAL_ALIAS_MAPS": ["inline:{a=b}"],
    "POSTFIX_DEFAULT_PROCESS_LIMIT": ["50"], "POSTFIX_SMTPD_TLS_CIPHERS": ["high"], "MAILROOM_TRUST_GATEWAY": ["yes", "no"],
    "MAILROOM_STOP_TIMEOUT": ["30s", "2m"], "MAILROOM_MASTER_SMTP_INET_MAX_IDLE": ["5s"],
    "MAILROOM_MASTER_SUBMISSION_INET": ["off"], "MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT": ["20", "-"],
    "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS": ["5"], "DOVECOT_MAIL_DEBUG": ["yes", "no"],
    "DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL": ["4"], "DOVECOT_PROTOCOL__IMAP__MAIL_MAX_USERIP_CONNECTIONS": ["5"],
    "POSTFIX_PORT_25_TCP": ["tcp://10.0.0.1:25"],
}


@pytest.mark.long
def test_random_environments_are_accepted_whole_or_refused_by_name(checker, figure):
    """By the real postconf and doveconf: `mailroom check` stages everything and runs both."""
    random.seed(20261124)
    names = [f"POSTFIX_{each}" for each in NAMES] + OTHERS
    value = lambda each: random.choice(random.choice([VALUES, RIGHT.get(each, VALUES)]))
    environments = [{each: value(each) for each in random.sample(names, random.randint(1, 4))}
                    for _ in range(2000 if LONG else 150)]
    script = "".join(
        "env -i " + " ".join(shlex.quote(f"{key}={value}") for key, value in environment.items())
        + " /usr/local/bin/mailroom check >/tmp/out 2>/tmp/err; echo \"== $?\"; cat /tmp/out /tmp/err\n"
        for environment in environments)
    said = checker.exec("bash", "-s", input=script, timeout=900).stdout
    outcomes = re.findall(r"^== (\d+)\n(.*?)(?=^== |\Z)", said, re.MULTILINE | re.DOTALL)
    assert len(outcomes) == len(environments)
    codes = [code for code, _ in outcomes]
    figure(f"{len(environments)} random environments", f"{codes.count('0')} accepted, {codes.count('64')} refused")
    for environment, (code, text) in zip(environments, outcomes):
        assert code in ("0", "64") and "panic" not in text, (environment, text)
        if code == "0":
            assert text.startswith("all is well"), (environment, text)
        else:
            assert any(each in environment for each in report(text)), (environment, text)
    assert min(codes.count("0"), codes.count("64")) > len(codes) / 6


def test_nothing_is_written_when_something_is_wrong(lab):
    volume = lab.volume()
    watcher = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init", "-v", f"{volume}:/v"], network="none")
    for wrong in ["POSTFIX_BIFF=maybe", "DOVECOT_MAIL_DEBG=yes"]:
        done = run_once("-v", f"{volume}:/etc/postfix", "-e", wrong, check=False)
        assert done.returncode == 64, done.stderr
        listed = watcher.exec("ls", "-A", "/v").stdout
        assert listed == "", listed


def test_master_cf_and_dovecot_from_the_environment(lab):
    server = lab.server(alias="mastered", env={
        "MAILROOM_MASTER_SUBMISSIONS_INET": "off", "MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT": "20",
        "MAILROOM_MASTER_SMTP_INET_SMTPD_BANNER": "$myhostname ESMTP two words",
        "DOVECOT_LOGIN_GREETING": "Welcome here", "DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL": "3"})
    assert ":465 " not in server.sh("netstat -tln").stdout
    assert "465" not in server.exec("/healthcheck").stdout, "what is switched off is not probed"
    assert server.exec("postconf", "-F", "smtp/unix/process_limit").stdout.endswith("= 20\n")
    telnet(server, 25, ("ESMTP two words", "QUIT"))
    telnet(server, 143, ("Welcome here", "a LOGOUT"))
    assert server.sh("pgrep -fc dovecot/imap-login").stdout == "3\n"


def test_what_does_not_reach_a_service_is_told(lab):
    server = lab.server(alias="shadowed", env={"POSTFIX_SMTPD_TLS_SECURITY_LEVEL": "none"})
    server.wait_for_log("does not reach submission/inet, where master.cf says smtpd_tls_security_level=encrypt: "
                        "set MAILROOM_MASTER_SUBMISSION_INET_SMTPD_TLS_SECURITY_LEVEL for that")


def drop_ins(files):
    """A directory for /etc/mailroom."""
    directory = WORK / name("dropins")
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory


def test_drop_in_files_come_last(lab):
    directory = drop_ins({
        "main.cf.d/10.cf": "# banner\nsmtpd_banner = $myhostname\n  from a file\nmyhostname = mx.example.org\n",
        "master.cf.d/10.cf": "2525 inet n - n - - smtpd\n  -o smtpd_banner=extra\n",
        "dovecot.d/10.conf": "login_greeting = From a file\nservice pop3-login {\n  process_min_avail = 2\n}\n"})
    server = lab.server(alias="dropped", env={"POSTFIX_MYHOSTNAME": "other.example.org", "DOVECOT_LOGIN_GREETING": "env"},
                        options=["-v", f"{directory}:/etc/mailroom:ro"])
    telnet(server, 25, ("220 mx.example.org from a file", "QUIT"))
    telnet(server, 2525, ("220 extra", "QUIT"))
    telnet(server, 143, ("From a file", "a LOGOUT"))
    assert "# /etc/mailroom/main.cf.d/10.cf:2" in server.sh("cat /etc/postfix/main.cf").stdout


@pytest.mark.parametrize("path, text, where, what", [
    ("main.cf.d/x.cf", "\nsmtpd_baner = x\n", "main.cf.d/x.cf:2", "did you mean smtpd_banner?"),
    ("master.cf.d/x.cf", "smtp inet n\n", "master.cf.d/x.cf:1", "service type private unpriv chroot"),
    ("dovecot.d/x.conf", "mail_debug = yes\nmail_debg = yes\n", "dovecot.d/x.conf:2", "did you mean mail_debug?"),
])
def test_a_wrong_drop_in_file_is_named(lab, path, text, where, what):
    directory = drop_ins({path: text})
    done = run_once("-v", f"{directory}:/etc/mailroom:ro", check=False)
    assert done.returncode == 64 and f"/etc/mailroom/{where}" in done.stderr and what in done.stderr, done.stderr


def test_secrets_stay_secret(lab, server, client):
    """From files, to a relay host that demands a login and TLS; then looked for everywhere."""
    secrets = drop_ins({"password": "relaypass123\n", "banner": "s3cr3t-banner-text\n", "greeting": "s3cr3t-greeting"})
    log = lab.server(alias="secretive", env={
        "POSTFIX_RELAYHOST": "[postfix]:587", "POSTFIX_SMTP_TLS_SECURITY_LEVEL": "encrypt",
        "MAILROOM_RELAYHOST_USERNAME": "relay", "MAILROOM_RELAYHOST_PASSWORD_FILE": "/secrets/password",
        "POSTFIX_SMTPD_BANNER_FILE": "/secrets/banner", "DOVECOT_LOGIN_GREETING_FILE": "/secrets/greeting"},
        options=["-v", f"{secrets}:/secrets:ro"])
    client.python("""
import smtplib
smtplib.SMTP("secretive", 25).sendmail("a@example.org", ["b@example.net"], "Subject: x\\r\\n\\r\\nx")
""")
    server.wait_for_log("sasl_username=relay@metabuilder.local")
    telnet(log, 25, ("220 s3cr3t-banner-text", "QUIT"))
    shown = log.logs() + log.sh("mailroom render; mailroom render --diff; mailroom check; mailroom reload; cat /var/log/*.log").stdout
    shown += log.sh("for p in /proc/[0-9]*; do [ $p = /proc/$$ ] || tr '\\0' '\\n' <$p/environ; done 2>/dev/null", check=False).stdout
    shown += log.exec("bash", "-c", "find / -xdev \\( -path /proc -o -path /sys -o -path /usr \\) -prune -o -type f -print0 "
                      "2>/dev/null | xargs -0 cat 2>/dev/null", user="1234", check=False).stdout
    for volume in ["/etc/postfix", "/var/spool/postfix", "/var/lib/mailroom"]:
        shown += log.exec("bash", "-c", f"find {volume} -type f -print0 2>/dev/null | xargs -0 cat 2>/dev/null", user="1234",
                          check=False).stdout
    for secret in ["relaypass123", "s3cr3t-banner-text", "s3cr3t-greeting"]:
        assert secret not in shown, re.findall(f".*{secret}.*", shown)[:3]
    assert "<hidden>" in shown


def test_check_and_render_are_commands_of_the_image():
    """As the README writes them: in the place of the server."""
    run = lambda *command: run_once("-e", "POSTFIX_MYHOSTNAME=mx.example.org", command=command).stdout
    assert run("check").startswith("all is well: mx.example.org for metabuilder.local")
    assert "myhostname = mx.example.org" in run("render", "/etc/postfix/main.cf")


def test_both_a_value_and_its_file_are_refused(checker):
    done = check(checker, "POSTFIX_RELAYHOST=x.test", "POSTFIX_RELAYHOST_FILE=/etc/hostname", "MAILROOM_RELAYHOST_PASSWORD_FILE=/none")
    refused = report(done.stderr)
    assert "keep one of them" in refused["POSTFIX_RELAYHOST_FILE"]
    assert "cannot be read" in refused["MAILROOM_RELAYHOST_PASSWORD_FILE"]


def test_the_source_of_a_password_table_is_mapped(lab, server, client):
    """The seed's variable, with a file that nobody ran postmap on."""
    directory = drop_ins({"sasl_passwd": "[postfix]:587 relay:relaypass123\n"})
    os.chmod(directory / "sasl_passwd", 0o600)
    outbound = lab.server(alias="mapped", env={
        "POSTFIX_RELAYHOST": "[postfix]:587", "POSTFIX_SMTP_SASL_PASSWORD_MAPS": "lmdb:/etc/postfix/sasl_passwd"},
        options=["-v", f"{directory}/sasl_passwd:/etc/postfix/sasl_passwd:ro"])
    before = server.logs().count("sasl_username=relay@")
    client.python("""
import smtplib
smtplib.SMTP("mapped", 25).sendmail("a@example.org", ["b@example.net"], "Subject: x\\r\\n\\r\\nx")
""")
    until(lambda: server.logs().count("sasl_username=relay@") > before, "the relay host saw a login")
    assert outbound.sh("stat -c %a /etc/postfix/sasl_passwd.lmdb").stdout == "600\n"


def test_networks_that_come_and_go_are_followed(lab):
    server = lab.server(alias="moving")
    other = name("net")
    create_network(other)
    try:
        stranger = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init"], network=other)
        docker("network", "connect", "--alias", "moving", other, server.id)
        ask = """
import smtplib
smtp = smtplib.SMTP("moving", 25, timeout=20); smtp.helo(); smtp.docmd("MAIL", "FROM:<a@example.org>")
print(smtp.docmd("RCPT", "TO:<b@example.net>")[0])
"""
        until(lambda: stranger.python(ask, check=False).stdout == "250\n", "the new neighbour may relay")
        networks = server.exec("postconf", "-h", "mynetworks").stdout
        assert networks.count("!") == 4, "both gateways and both own addresses are taken out"
        docker("network", "disconnect", other, server.id)
        until(lambda: server.exec("postconf", "-h", "mynetworks").stdout.count("!") == 2, "the network is gone")
        server.wait_until_healthy()
    finally:
        lab.remove_all(stranger, server)
        engine.remove("networks", other)


def test_kubernetes(lab):
    """Loopback alone is trusted, and the services' variables are no settings; at debug level they are listed."""
    server = lab.server(alias="pod", env={
        "KUBERNETES_SERVICE_HOST": "10.96.0.1", "POSTFIX_PORT_25_TCP": "tcp://10.96.0.7:25", "DOVECOT_SERVICE_HOST": "10.96.0.8",
        "MAILROOM_PORT": "tcp://10.96.0.9:25", "MAILROOM_LOG_LEVEL": "debug"})
    assert server.exec("postconf", "-h", "mynetworks").stdout == "127.0.0.0/8\n"
    for variable in ["POSTFIX_PORT_25_TCP", "DOVECOT_SERVICE_HOST", "MAILROOM_PORT"]:
        assert f"Ignored: {variable}" in server.logs()


def test_public_networks_are_refused(checker):
    for networks in ["0.0.0.0/0", "10.0.0.0/8 8.8.8.0/24", "::/0"]:
        done = check(checker, f"POSTFIX_MYNETWORKS={networks}")
        assert done.returncode == 64 and "MAILROOM_ALLOW_OPEN_RELAY=yes" in done.stderr
    assert check(checker, "POSTFIX_MYNETWORKS=0.0.0.0/0", "MAILROOM_ALLOW_OPEN_RELAY=yes").returncode == 0
    assert check(checker, "POSTFIX_MYNETWORKS=203.0.113.7 8.8.8.8").returncode == 0


def test_time_zone_and_names(lab, client):
    server = lab.server(alias="berlin", env={"TZ": "Asia/Kolkata"})
    client.python("""
import smtplib
smtplib.SMTP("berlin", 25).sendmail("a@example.org", ["user@metabuilder.local"], "Subject: x\\r\\n\\r\\nx")
""")
    server.wait_for_mail()
    received = server.sh("cat /var/mail/user/Maildir/new/*").stdout
    assert "+0530 (IST)" in received
    assert "by postfix.metabuilder.local (Postfix)" in received and server.id[:12] not in received
    hour = server.sh("date '+%b %e %H:'").stdout.strip()
    assert hour in server.sh("tail -n 3 /var/log/mail.log").stdout and hour in server.sh("tail -n 3 /var/log/dovecot.log").stdout


def test_render_shows_what_would_change(lab):
    server = lab.server(alias="rendered")
    done = server.sh("mailroom render --diff; POSTFIX_MESSAGE_SIZE_LIMIT=1000 mailroom render --diff /etc/postfix")
    assert "-message_size_limit = 52428800\n+# POSTFIX_MESSAGE_SIZE_LIMIT\n+message_size_limit = 1000\n" in done.stdout
    assert "users" not in server.sh("mailroom render --diff").stdout
    assert server.sh("mailroom render /etc/postfix/main.cf").stdout.rstrip() == server.sh("cat /etc/postfix/main.cf").stdout.rstrip()
    assert "no such file is written" in server.exec("mailroom", "render", "/nope", check=False).stderr
    json = server.sh("mailroom help-env --json").stdout
    assert '"POSTFIX_MYHOSTNAME"' in json and '"$schema"' in json


RELOADS_UNDER_LOAD = """
import imaplib, smtplib, ssl, sys, threading, time
context = ssl._create_unverified_context()
sessions = []
for number in range(20):
    imap = imaplib.IMAP4("reloaded", 143) if number % 2 else imaplib.IMAP4_SSL("reloaded", 993, ssl_context=context)
    imap.login("admin", "adminpass123"); imap.select()
    imap.send(b"x IDLE\\r\\n"); assert imap.readline().startswith(b"+")
    sessions.append(imap)
stop, sent, failed = threading.Event(), [0], []

def connect(number):
    smtp = smtplib.SMTP("reloaded", 587 if number % 2 else 25, timeout=20)
    if number % 2:
        smtp.starttls(context=context); smtp.login("relay", "relaypass123")
    smtp.ehlo_or_helo_if_needed()
    return smtp

def send(number, lasting):
    # Two keep their session over all reloads, and each transaction open for a while.
    smtp = connect(number) if lasting else None
    while not stop.is_set():
        begun = time.monotonic()
        try:
            session = smtp or connect(number)
            for command in ["MAIL FROM:<a@example.org>", "RCPT TO:<user@metabuilder.local>"]:
                code, said = session.docmd(command); assert code == 250, said
            code, said = session.docmd("DATA"); assert code == 354, said
            if lasting: time.sleep(0.3)
            session.send("Subject: x\\r\\n\\r\\nx\\r\\n.\\r\\n"); code, said = session.getreply(); assert code == 250, said
            if not lasting: session.quit()
            sent[0] += 1
        except Exception as error:
            failed.append(repr(error))
            smtp = connect(number) if lasting else None
        time.sleep(max(0, 0.2 - (time.monotonic() - begun)))

threads = [threading.Thread(target=send, args=(number, number >= 4)) for number in range(6)]
for thread in threads: thread.start()
print("started", flush=True); sys.stdin.readline()
before, end = sent[0], time.monotonic() + 20
while sent[0] - before <= 5 and time.monotonic() < end: time.sleep(0.02)
stop.set()
for thread in threads: thread.join()
alive = 0
for imap in sessions:
    imap.send(b"DONE\\r\\n")
    line = imap.readline()
    while line.startswith(b"*"): line = imap.readline()
    alive += line.startswith(b"x OK")
print(sent[0], sent[0] - before, len(failed), alive, failed[:3], flush=True)
"""

# From the command to the first client that is served by the new configuration, in milliseconds.
VISIBLE_AFTER = """
begun=$(date +%s%N); told=$(mailroom reload) || exit 1
until (exec 3<>/dev/tcp/127.0.0.1/$1 && read -r line <&3 && [[ $line == *$2* ]]) 2>/dev/null; do
    (( $(date +%s%N) - begun < 5000000000 )) || exit 2
    sleep 0.01
done
echo $(( ($(date +%s%N) - begun) / 1000000 )) $told
"""


@pytest.mark.timed
def test_a_hundred_reloads_under_load(lab, client, figure):
    """Of Postfix and Dovecot in turn, while more than twenty messages a second come on 25 and 587 and twenty sessions are in
    IDLE."""
    directory = drop_ins({"main.cf.d/10.cf": "smtpd_banner = first\n", "dovecot.d/10.conf": "login_greeting = first\n"})
    server = lab.server(alias="reloaded", options=["-v", f"{directory}:/etc/mailroom:ro"])
    load = subprocess.Popen(["docker", "exec", "-i", client.id, "python3", "-c", RELOADS_UNDER_LOAD], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    assert load.stdout.readline() == "started\n"
    took, begun = [], time.monotonic()
    for number in range(100):
        path, setting, port, daemon = [("main.cf.d/10.cf", "smtpd_banner", "25", "postfix"),
                                       ("dovecot.d/10.conf", "login_greeting", "143", "dovecot")][number % 2]
        (directory / path).write_text(f"{setting} = number-{number}-\n")
        said = server.exec("bash", "-c", VISIBLE_AFTER, "visible", port, f"number-{number}-").stdout
        milliseconds, told = said.strip().split(" ", 1)
        assert told == f"Reloaded: {daemon}"
        took.append(int(milliseconds))
    seconds = time.monotonic() - begun
    (directory / "main.cf.d/10.cf").write_text("smtpd_banner = broken\nsmtpd_baner = x\n")
    refused = server.exec("mailroom", "reload", check=False)
    assert refused.returncode == 1 and "/etc/mailroom/main.cf.d/10.cf:2" in refused.stderr
    telnet(server, 25, ("number-98-", "QUIT"))
    sent, after, failed, alive, errors = load.communicate("refused\n", timeout=60)[0].strip().split(" ", 4)
    note = (f"{sent} messages sent, {failed} failed, {alive} of 20 sessions alive; a change is visible after "
            f"{sorted(took)[50]} ms (median), {max(took)} ms at most")
    figure(f"100 reloads in {seconds:.0f} s", note)
    assert (failed, alive) == ("0", "20"), errors
    assert int(sent) / seconds > 15 and int(after) > 5, note
    assert sorted(took)[50] < 1000 and max(took) < 3000, took


def test_another_spelling_is_the_same_variable(checker):
    """What is wrong with POSTFIX_MYNETWORKS is wrong with POSTFIX_mynetworks, and what is right reaches both daemons."""
    refused = report(check(checker, "POSTFIX_mynetworks=0.0.0.0/0").stderr)
    assert "holds public addresses" in refused["POSTFIX_mynetworks"]
    refused = report(check(checker, "POSTFIX_RELAYHOST=a.test", "POSTFIX_relayhost=b.test").stderr)
    assert "so is POSTFIX_RELAYHOST: keep one of them" in refused["POSTFIX_relayhost"]
    rendered = checker.exec("env", "-i", "POSTFIX_smtpd_tls_security_level=require", "POSTFIX_inet_protocols=all",
                            "POSTFIX_mydomain=example.org", "/usr/local/bin/mailroom", "render").stdout
    for line in ["smtpd_tls_security_level = encrypt", "listen = *, ::", "auth_default_domain = example.org"]:
        assert f"\n{line}\n" in rendered, line


@pytest.mark.parametrize("setting, reason", [
    ("MAILROOM_MASTER_SMTP_INET_MYNETWORKS=0.0.0.0/0", "set POSTFIX_MYNETWORKS"),
    ("MAILROOM_MASTER_SMTP_INET_SMTPD_RELAY_RESTRICTIONS=permit, reject", "lets everybody relay"),
    ("POSTFIX_SMTPD_RELAY_RESTRICTIONS=permit, check_client_access static:x, reject", "lets everybody relay"),
    ("POSTFIX_MUA_RELAY_RESTRICTIONS=permit_sasl_authenticated", "lets nobody in"),
    ("POSTFIX_SMTPD_RELAY_RESTRICTIONS=warn_if_reject reject_unauth_destination", "lets nobody in"),
    ("MAILROOM_MASTER_QMGR_UNIX_PROCESS_LIMIT=5", "needs a process limit of 1"),
    ("MAILROOM_MASTER_VIRTUAL_UNIX_VIRTUAL_MAILBOX_LIMIT=5", "at least 52428800"),
    ("POSTFIX_SMTPD_HARD_ERROR_LIMIT=0", "must be at least 1"),
    ("POSTFIX_SMTP_SASL_PASSWORD_MAPS=lmbd:/x", "did you mean lmdb:?"),
    ("POSTFIX_MYNETWORKS=cird:/n", "did you mean cidr:?"),
    ("DOVECOT_AUTH_ALLOW_CLEARTEXT=yes", "POSTFIX_MYNETWORKS"),
])
def test_what_opens_the_relay_or_stops_the_mail_is_refused(checker, setting, reason):
    refused = report(check(checker, setting).stderr)
    assert reason in refused[setting.split("=")[0]]


def test_secrets_by_their_names_are_not_shown(checker):
    """Given by value, and with a name that is nearly right."""
    given = ["POSTFIX_SMTP_SASL_PASSWORD_MAPS=static:me:s3cr3t", "DOVECOT_DOVEADM_PASSWORD=s3cr3t", "DOVECOT_LOGIN_GREETING=shown"]
    rendered = checker.exec("env", "-i", *given, "/usr/local/bin/mailroom", "render").stdout
    assert "s3cr3t" not in rendered and "login_greeting = shown" in rendered
    assert re.search(r"==> /etc/postfix/main.cf \(root:root 0600\)", rendered)
    for wrong in ["MAILROOM_RELAYHOST_PASSWROD=s3cr3t", "MAILROOM_RELAYHOST_PASS=s3cr3t", "MAILROOM_RELAYHOST_PASSWORD=s3cr3t "]:
        said = check(checker, wrong).stderr
        assert "s3cr3t" not in said and f"{wrong.split('=')[0]}=<hidden>" in said


def test_settings_whose_own_names_end_in_file(checker):
    """They are no secret files."""
    rendered = checker.exec("env", "-i", "DOVECOT_SSL_CLIENT_CA_FILE=/etc/ssl/certs/ca-certificates.crt",
                            "MAILROOM_MASTER_SMTP_UNIX_SMTP_TLS_TRUST_ANCHOR_FILE=/etc/ssl/certs/ca-certificates.crt", "/usr/local/bin/mailroom", "render").stdout
    assert "\nssl_client_ca_file = /etc/ssl/certs/ca-certificates.crt\n" in rendered
    assert "-o smtp_tls_trust_anchor_file=/etc/ssl/certs/ca-certificates.crt\n" in rendered


def test_drop_in_files_are_known_by_the_ends_of_their_names(lab):
    directory = drop_ins({"main.cf.d/10.cf": "smtpd_banner\t=\tright\n", "main.cf.d/10.cf~": "smtpd_banner = old\n"})
    run = lambda *command: run_once("-v", f"{directory}:/etc/mailroom:ro", command=command)
    done = run("check")
    assert "Not read: /etc/mailroom/main.cf.d/10.cf~" in done.stdout
    done = run("render", "/etc/postfix/main.cf")
    assert "\nsmtpd_banner = right\n" in done.stdout


def test_names_of_the_users_own(checker):
    """A restriction class is one, without a $ before it."""
    assert check(checker, "POSTFIX_SMTPD_RESTRICTION_CLASSES=greylist", "POSTFIX_GREYLIST=reject_unauth_pipelining").returncode == 0
    assert "not a parameter" in check(checker, "POSTFIX_GREYLIST=reject").stderr
