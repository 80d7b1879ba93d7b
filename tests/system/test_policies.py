"""Failed logins are slowed and refused, and accounts send so much an hour and no more: with real clients on every port."""

import re
import time
from pathlib import Path

import pytest

from lab import until

README = Path("/mailroom/README.md").read_text()

# Tries logins; the first argument is the server. `on(port, user, password)` says whether one succeeded.
CLIENT = """
import imaplib, poplib, smtplib, ssl, sys
context = ssl._create_unverified_context()

def on(port, user, password, server="{server}"):
    try:
        if port == 993: imaplib.IMAP4_SSL(server, ssl_context=context).login(user, password)
        elif port == 143:
            imap = imaplib.IMAP4(server); imap.starttls(context); imap.login(user, password)
        elif port in (995, 110):
            pop3 = poplib.POP3_SSL(server, context=context) if port == 995 else poplib.POP3(server)
            if port == 110: pop3.stls(context)
            pop3.user(user); pop3.pass_(password)
        else:
            smtp = smtplib.SMTP_SSL(server, port, context=context) if port == 465 else smtplib.SMTP(server, port)
            if port == 587: smtp.starttls(context=context)
            smtp.ehlo(); smtp.user, smtp.password = user, password
            smtp.auth("PLAIN", smtp.auth_plain)
    except (imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPAuthenticationError):
        return False
    return True

PORTS = 587, 465, 143, 993, 110, 995
"""

ACCOUNTS = " ".join(f"{name}:right" for name in ["alice", "bob", "carol", "dave", "erin", "frank"])
GUARDED = {"MAILROOM_ACCOUNTS": ACCOUNTS, "DOVECOT_AUTH_FAILURE_DELAY": "0", "POSTFIX_MYNETWORKS": "127.0.0.0/8",
           "MAILROOM_LOGIN_FAILURES_PER_ADDRESS": "6", "MAILROOM_LOGIN_FAILURES_PER_ACCOUNT": "8",
           "MAILROOM_SUBMISSION_RATE": "3"}


def said(client, script, server="guarded"):
    return client.python(CLIENT.format(server=server) + script).stdout.split("\n")[0]


@pytest.fixture(scope="module")
def guarded():
    """On a network of its own: no client of other tests, each of which has an address, is met here."""
    from lab import Lab
    lab = Lab()
    try:
        yield lab, lab.server(alias="guarded", env=GUARDED)
    finally:
        lab.close()


def test_a_strangers_address_is_refused_on_every_port(guarded):
    lab, server = guarded
    attacker, other = lab.client(), lab.client()
    assert said(attacker, "print([on(port, 'alice', f'guess {port}') for port in PORTS])") == str([False] * 6)
    assert said(attacker, "print([on(port, 'bob', 'right') for port in PORTS])") == str([False] * 6)
    assert said(other, "print([on(port, 'bob', 'right') for port in PORTS])") == str([True] * 6)
    refused = f"login refused: address={attacker.address} "
    line = server.wait_for_log(refused)[0]
    assert line.endswith(f"policyd: login refused: address={attacker.address} reason=address protocol=smtp user=<bob@metabuilder.local>")
    assert line in server.sh("cat /var/log/mail.log").stdout
    assert server.logs().count(refused) == 1, "one line a minute"
    the_readmes_filter_for_fail2ban_finds_the_address(line)


def the_readmes_filter_for_fail2ban_finds_the_address(line):
    failregex = re.search(r"^failregex = (.*)$", README, re.M)[1]
    # As fail2ban does: the stamp is cut out, and <ADDR> stands for an address.
    without_stamp = re.sub(r"^\w{3} [ \d]\d \d\d:\d\d:\d\d", "", line)
    found = re.search(failregex.replace("<ADDR>", r"(?P<address>[0-9a-fA-F:.]+)"), without_stamp)
    assert found and found["address"] == re.search("address=([0-9.]+)", line)[1]
    for forged in ("postfix policyd: login refused: address=192.0.2.1 reason=account protocol=imap user=<x reason=address>",
                   " postfix dovecot: imap-login: Login aborted: user=<policyd: login refused: address=192.0.2.1 reason=address>"):
        assert not re.search(failregex.replace("<ADDR>", r"(?P<address>[0-9a-fA-F:.]+)"), forged), forged


def test_the_same_wrong_password_counts_once(guarded):
    phone = guarded[0].client()
    assert said(phone, "print({on(993, 'alice', 'old') for _ in range(12)}, on(993, 'alice', 'right'))") == "{False} True"


def test_an_account_is_guarded_from_many_addresses_and_its_own_people_get_in(guarded):
    lab, server = guarded
    home, stranger = lab.client(), lab.client()
    assert said(home, "print(on(993, 'carol', 'right'))") == "True"
    for number in range(2):
        guesses = f"print([on(port, 'carol', f'guess {number} {{port}}') for port in PORTS[:4]])"
        assert said(lab.client(), guesses) == str([False] * 4)
    assert said(stranger, "print([on(port, 'carol', 'right') for port in PORTS], on(993, 'dave', 'right'))") == f"{[False] * 6} True"
    assert said(home, "print([on(port, 'carol', 'right') for port in PORTS])") == str([True] * 6)
    server.wait_for_log(f"login refused: address={stranger.address} reason=account protocol=smtp user=<carol@metabuilder.local>")


@pytest.mark.parametrize("place", ["trusted", "own"])
def test_a_shared_address_is_refused_for_the_account_alone(lab, place):
    """The gateway is a third of these (policyd's unit tests): none is on this network."""
    env = {**GUARDED, "MAILROOM_LOGIN_FAILURES_PER_ADDRESS": "2"}
    if place == "trusted":
        del env["POSTFIX_MYNETWORKS"]
    server = lab.server(alias=f"shared-{place}", env=env)
    client = lab.client() if place == "trusted" else lab.companion(server)
    address = server.address
    tries = f"""
others = [on(993, f"nobody{{n}}", "wrong", "{address}") for n in range(5)]
victim = [on(993, "alice", f"guess {{n}}", "{address}") for n in range(9)]
print(others, victim, on(587, "alice", "right", "{address}"), on(587, "bob", "right", "{address}"))
"""
    assert said(client, tries) == f"{[False] * 5} {[False] * 9} False True"
    assert "reason=address" not in server.logs()


SEND = """
def send(user, recipients, port=587, sender=None):
    smtp = smtplib.SMTP_SSL("{server}", port, context=context) if port == 465 else smtplib.SMTP("{server}", port)
    if port == 587: smtp.starttls(context=context)
    smtp.login(user, "right")
    try:
        smtp.sendmail(f"{{user}}@metabuilder.local", recipients, "Subject: x\\r\\n\\r\\nx\\r\\n")
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    return 250

FRANK = "frank@metabuilder.local"
"""


def test_an_account_sends_so_much_an_hour(guarded):
    lab, server = guarded
    client = lab.client()
    script = SEND.format(server="guarded") + """
one = [FRANK]
print(send("dave", one), send("dave", one + ["erin@metabuilder.local"], 465), send("dave", one), send("dave", one, 465),
      send("erin", one), send("erin", one * 1 + [f"x{n}@metabuilder.local" for n in ()]),
      send("bob", one + ["alice@metabuilder.local", "bob@metabuilder.local", "dave@metabuilder.local"]))
"""
    assert said(client, script) == "250 250 450 450 250 250 550"
    assert len(server.wait_for_log("submission refused: account=dave@metabuilder.local has sent to 3 recipients")) == 1
    # Mail without a login is not counted.
    assert said(client, """
with smtplib.SMTP("guarded") as smtp:
    print([smtp.sendmail("a@example.org", ["frank@metabuilder.local"], "Subject: x\\r\\n\\r\\nx\\r\\n") for _ in range(5)])
""") == str([{}] * 5)
    assert "smtpd_data_restrictions" not in server.sh("sed -n '/^smtp .*inet/,/^submission/p' /etc/postfix/master.cf").stdout


def test_it_has_no_privileges_and_is_small(guarded, figure):
    _, server = guarded
    status = dict(re.findall(r"^(\w+):\t(.*)$", server.sh("cat /proc/$(pgrep -x policyd)/status").stdout, re.M))
    assert status["Uid"].split() == status["Gid"].split() == ["905"] * 4
    assert status["Groups"].strip() == "" and status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    memory = {name: int(status[name].split()[0]) for name in ("VmRSS", "RssAnon")}
    figure("policyd: memory (KiB)", memory)
    assert memory["RssAnon"] < 6 << 10 and status["Threads"] == "1"
    stolen = server.exec("curl", "-s", "http://127.0.0.1:9905/?command=allow", check=False)
    assert stolen.returncode != 0 or "status" not in stolen.stdout


def test_mail_and_logins_go_on_without_it_and_it_comes_back(lab):
    server = lab.server(alias="alone", env={**GUARDED, "MAILROOM_SUBMISSION_RATE": "1000"})
    client = lab.client()
    for _ in range(6):
        server.wait_for("pkill -9 -x policyd && echo killed", "it is killed")
    script = SEND.format(server="alone") + "print(send('alice', [FRANK]), [on(port, 'bob', 'right') for port in PORTS])"
    assert said(client, script, "alone") == f"250 {[True] * 6}"
    found = server.exec("/healthcheck")
    server.wait_for_log("policyd was ended by SIGKILL; it is started again")
    assert "unhealthy" not in found.stdout and server.running
    server.wait_for("pgrep -x policyd", "it is back")
    until(lambda: server.exec("/healthcheck").stdout.startswith("healthy"), "healthy again")
    server.wait_for("ls /var/mail/frank/Maildir/new | grep .", "the mail is there")
    assert said(client, "print([on(993, 'alice', f'guess {n}') for n in range(6)], on(993, 'bob', 'right'))", "alone") == f"{[False] * 6} False"


def test_a_relay_alone_is_guarded_too(lab):
    server = lab.server(alias="relayonly", env={**GUARDED, "MAILROOM_MAILBOXES": "off"})
    tries = "print([on(587, 'alice', f'guess {n}') for n in range(6)], on(465, 'bob', 'right'))"
    assert said(lab.client(), tries, "relayonly") == f"{[False] * 6} False"
    # Stopped, it makes each login wait.
    server.sh("pkill -STOP -x policyd")
    found = server.exec("/healthcheck")
    server.sh("pkill -CONT -x policyd")
    assert found.stdout.rstrip() == "degraded: policyd: no answer within 1.5 s"
    assert server.exec("/healthcheck").stdout.startswith("healthy: ports 25 587 465 and logins answer (")


def test_a_reload_keeps_what_was_counted(lab):
    server = lab.server(alias="reloaded", env=GUARDED)
    client = lab.client()
    assert said(client, "print([on(993, 'alice', f'guess {n}') for n in range(6)])", "reloaded") == str([False] * 6)
    server.sh("kill -HUP $(pgrep -x policyd) && mailroom reload")
    assert said(client, "print(on(993, 'bob', 'right'))", "reloaded") == "False"


def test_off(checker):
    off = [f"MAILROOM_{name}=off" for name in ("LOGIN_FAILURES_PER_ADDRESS", "LOGIN_FAILURES_PER_ACCOUNT", "SUBMISSION_RATE")]
    rendered = checker.exec("env", *off, "mailroom", "render").stdout
    assert not re.search("auth_policy|policyd|mua_data_restrictions|login_policy", rendered)
    rendered = checker.exec("env", *off[:2], "MAILROOM_SUBMISSION_RATE=5", "mailroom", "render").stdout
    assert "auth_policy" not in rendered and rendered.count("-o smtpd_data_restrictions=$mua_data_restrictions\n") == 2
    own = "POSTFIX_SMTPD_DATA_RESTRICTIONS=reject_unauth_pipelining"
    rendered = checker.exec("env", "MAILROOM_SUBMISSION_RATE=5", own, "mailroom", "render").stdout
    assert "-o { smtpd_data_restrictions = $mua_data_restrictions, reject_unauth_pipelining }" in rendered
    done = checker.exec("env", "MAILROOM_SUBMISSION_RATE=many", "mailroom", "check", check=False)
    assert done.returncode == 64 and "must be a whole number of 1 to 100000, or off" in done.stderr


def test_the_key_is_shown_to_nobody(guarded, checker):
    _, server = guarded
    secret = server.sh("cat /run/mailroom/policyd/secret").stdout
    assert re.fullmatch("[0-9a-f]{32}", secret)
    assert secret not in server.exec("mailroom", "render").stdout
    assert server.exec("mailroom", "render", "--diff").stdout == ""
    assert set(server.sh("stat -c %a:%U /run/mailroom/policyd/secret /run/mailroom/dovecot/login_policy.conf").stdout.split()) == {"600:root"}
