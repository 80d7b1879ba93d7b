"""Accounts, domains and aliases that are declared: real logins and deliveries on all ports."""

import pytest

from lab import WORK, name, run_once, until

DOMAINS = {"MAILROOM_DOMAINS": "b.test c.test"}
ACCOUNTS = """
# people
Alice:secret-alice:admin          # the administrator
bob:secret-bob  bob@b.test:{SHA512-CRYPT}$6$sixteen.letters.$%s
o'neil@b.test:secret-oneil\r
007@c.test:secret-007:relay
a.b+c:secret-abc"""
ALIASES = "info:bob,alice sales@b.test:info everybody@b.test:bob@b.test,x@example.org @c.test:007@c.test"

LOGINS = """
import imaplib, poplib, smtplib, ssl
from concurrent.futures import ThreadPoolExecutor
context = ssl._create_unverified_context()
def tried(login, *arguments):
    try: return str(login(*arguments))
    except (imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPAuthenticationError): return "no"
def imap(user, password):
    return imaplib.IMAP4_SSL("{host}", ssl_context=context).login(user, password)[0]
def pop3(user, password):
    pop = poplib.POP3_SSL("{host}", context=context); pop.user(user); return pop.pass_(password)[:3].decode()
def submission(user, password):
    smtp = smtplib.SMTP("{host}", 587); smtp.starttls(context=context); return smtp.login(user, password)[0]
def submissions(user, password):
    return smtplib.SMTP_SSL("{host}", 465, context=context).login(user, password)[0]
# A refusal takes its time.
with ThreadPoolExecutor(16) as at_once:
    begun = [[at_once.submit(tried, login, *pair) for login in (imap, pop3, submission, submissions)] for pair in {logins}]
    for on_all_ports in begun: print(*[login.result() for login in on_all_ports])
"""

SEND = """
import smtplib, ssl
smtp = smtplib.SMTP("{host}", {port})
if {login}:
    smtp.starttls(context=ssl._create_unverified_context()); smtp.login(*{login})
smtp.ehlo(); smtp.docmd("MAIL", "FROM:<{sender}>")
for recipient in {recipients}: print(smtp.docmd("RCPT", f"TO:<{{recipient}}>")[0])
if {data}: print(smtp.data("Subject: {subject}\\r\\n\\r\\nx")[0])
"""


def logins(client, host, *pairs):
    return client.python(LOGINS.format(host=host, logins=list(pairs))).stdout.splitlines()


def send(client, host, sender, *recipients, login=(), data=True, subject="x"):
    script = SEND.format(host=host, port=587 if login else 25, login=login, sender=sender, recipients=list(recipients), data=data,
                         subject=subject)
    return client.python(script).stdout.split()


def subjects(server, home):
    return server.sh(f"cat /var/mail/{home}/Maildir/new/* 2>/dev/null | sed -n 's/^Subject: //p' | sort", check=False).stdout.split()


def arrives(server, home, *expected):
    until(lambda: subjects(server, home) == sorted(expected), lambda: f"{expected} for {home}: {subjects(server, home)}: {server.logs()}")


@pytest.fixture(scope="module")
def declared(lab, checker):
    """A server with accounts of a file, and aliases of a variable."""
    crypt = checker.exec("openssl", "passwd", "-6", "-salt", "sixteen.letters.", "secret-bob-b").stdout.strip().rsplit("$", 1)[1]
    directory = WORK / name("accounts")
    directory.mkdir()
    (directory / "accounts").write_text("\ufeff" + ACCOUNTS % crypt)
    return lab.server(alias="people", options=["-v", f"{directory}:/run/secrets:ro"], env=DOMAINS | {
        "MAILROOM_ACCOUNTS_FILE": "/run/secrets/accounts", "MAILROOM_ALIASES": ALIASES})


def test_logins_on_all_ports(declared, client):
    """A short name belongs to the primary domain; equal names of two domains are two accounts; the test accounts are gone."""
    yes, no = "OK +OK 235 235", "no no no no"
    assert logins(
        client, "people", ("alice", "secret-alice"), ("ALICE@MetaBuilder.local", "secret-alice"), ("bob", "secret-bob"),
        ("bob@b.test", "secret-bob-b"), ("o'neil@b.test", "secret-oneil"), ("007@c.test", "secret-007"), ("a.b+c", "secret-abc"),
    ) == [yes] * 7
    assert logins(
        client, "people", ("bob", "secret-bob-b"), ("bob@b.test", "secret-bob"), ("o'neil", "secret-oneil"),
        ("user", "userpass123"), ("admin", "adminpass123"), ("nobody", "x"),
    ) == [no] * 6
    assert "6 accounts in 3 domains, 4 aliases" in declared.logs()
    for secret in ["secret-alice", "secret-bob", "$6$"]:
        assert secret not in declared.logs() + declared.exec("mailroom", "render").stdout.replace("{SHA512-CRYPT}", "")


def test_mail_and_aliases(lab, declared, client):
    lab.sink(alias="nowhere")
    to = lambda subject, *recipients: send(client, "people", "a@example.com", *recipients, subject=subject)
    assert to("one", "bob@b.test", "o'neil+x@b.test", "a.b+c@metabuilder.local") == ["250"] * 4
    arrives(declared, "b.test/bob", "one")
    arrives(declared, "b.test/o\\'neil", "one")
    arrives(declared, "a.b+c", "one")
    # Both are led to, and each has one copy.
    assert to("two", "info@metabuilder.local", "sales@b.test", "bob@metabuilder.local") == ["250"] * 4
    arrives(declared, "bob", "two")
    arrives(declared, "alice", "two")
    # Roles of every domain, and what is nobody's in one domain alone.
    assert to("three", "postmaster@b.test", "abuse@c.test", "anybody@c.test") == ["250"] * 4
    arrives(declared, "alice", "three", "two")
    arrives(declared, "c.test/007", "three")
    assert send(client, "people", "a@example.com", "anybody@b.test", "anybody@metabuilder.local", data=False) == ["550", "550"]


def test_each_sends_as_itself(declared, client):
    def may(login, sender):
        return send(client, "people", sender, "alice@metabuilder.local", login=login, data=False) == ["250"]
    bob, bob_b, relay = ("bob", "secret-bob"), ("bob@b.test", "secret-bob-b"), ("007@c.test", "secret-007")
    for sender in ["bob@metabuilder.local", "bob+x@metabuilder.local", "info@metabuilder.local", "sales@b.test"]:
        assert may(bob, sender), sender
    for sender in ["bob@b.test", "alice@metabuilder.local", "everybody@b.test", "anybody@c.test", "a@example.com"]:
        assert not may(bob, sender), sender
    assert may(bob_b, "bob@b.test") and may(bob_b, "everybody@b.test") and not may(bob_b, "bob@metabuilder.local")
    assert may(relay, "a@example.com") and may(relay, "anybody@c.test")


def test_what_is_wrong_is_named_with_its_line():
    directory = WORK / name("accounts")
    directory.mkdir()
    (directory / "accounts").write_text("a:secret-a\n\nbob@elsewhere.test:secret-b\nc:{NOSUCH}x\na:secret-c")
    done = run_once("-v", f"{directory}:/t:ro", "-e", "MAILROOM_ACCOUNTS_FILE=/t/accounts", "-e", "MAILROOM_ALIASES=info:alicia",
                    command=["check"], check=False)
    assert done.returncode == 64 and "secret-" not in done.stderr, done.stderr
    for said in ["/t/accounts:3: bob@elsewhere.test", "name it in MAILROOM_DOMAINS", "/t/accounts:4: c", "NOSUCH", "/t/accounts:5: a",
                 "declared twice", "MAILROOM_ALIASES=info:alicia", "is neither an account nor an alias"]:
        assert said in done.stderr, (said, done.stderr)


def test_a_changed_file_acts_by_a_reload(lab, client):
    directory = WORK / name("accounts")
    directory.mkdir()
    (directory / "accounts").write_text("anna:first-1\n")
    server = lab.server(alias="changing-people", options=["-v", f"{directory}:/t:ro"], env={"MAILROOM_ACCOUNTS_FILE": "/t/accounts"})
    assert logins(client, "changing-people", ("anna", "first-1")) == ["OK +OK 235 235"]
    (directory / "accounts").write_text("anna:second-2\nberta:third-3\n")
    server.exec("mailroom", "reload")
    assert logins(client, "changing-people", ("anna", "first-1"), ("anna", "second-2"), ("berta", "third-3")) == [
        "no no no no", "OK +OK 235 235", "OK +OK 235 235"]
    assert send(client, "changing-people", "a@example.com", "berta@metabuilder.local") == ["250", "250"]
    (directory / "accounts").write_text("anna:second-2\nberta\n")
    done = server.exec("mailroom", "reload", check=False)
    assert done.returncode == 1 and "/t/accounts:2: berta: has no password" in done.stderr, done
    assert logins(client, "changing-people", ("berta", "third-3")) == ["OK +OK 235 235"]
    health = server.exec("/healthcheck").stdout
    assert health.startswith("degraded: /t/accounts:2: berta: has no password"), health


def test_no_account_at_all(lab, client):
    server = lab.server(alias="empty", env={"MAILROOM_TEST_ACCOUNTS": "off"})
    assert "No accounts: name:password in MAILROOM_ACCOUNTS" in server.logs()
    assert logins(client, "empty", ("user", "userpass123")) == ["no no no no"]
    assert send(client, "empty", "a@example.com", "user@metabuilder.local", data=False) == ["550"]
