"""MAILROOM_SENDER_CHECK=off: a login sends under any sender address, on each port that takes logins."""

import pytest

from test_accounts import arrives, send

SUBMIT = """
import smtplib, ssl
port, context = {port}, ssl._create_unverified_context()
smtp = smtplib.SMTP_SSL("unchecked", port, context=context) if port == 465 else smtplib.SMTP("unchecked", port)
if port != 465: smtp.starttls(context=context)
smtp.login("user", "userpass123")
refused = smtp.sendmail("{sender}", ["admin@metabuilder.local"], "Subject: {subject}\\r\\n\\r\\nx\\r\\n")
assert not refused, refused
"""


@pytest.fixture(scope="module")
def unchecked(lab):
    return lab.server(alias="unchecked", env={"MAILROOM_SENDER_CHECK": "off",
                                              "MAILROOM_MASTER_SMTP_INET_SMTPD_SASL_AUTH_ENABLE": "yes"})


@pytest.mark.parametrize("sender", ["admin@metabuilder.local", "nobody@metabuilder.local", "app@example.org", ""])
@pytest.mark.parametrize("port", [587, 465, 25])
def test_any_sender_is_taken(unchecked, client, port, sender):
    subject = f"by-{port}-{sender}"
    client.python(SUBMIT.format(port=port, sender=sender, subject=subject))
    there = f"grep -l '^Subject: {subject}$' /var/mail/admin/Maildir/new/*"
    unchecked.wait_for(there, "the mail")
    assert f"Return-Path: <{sender}>" in unchecked.sh(f"cat $({there})").stdout


def test_a_login_is_needed_all_the_same(unchecked, client):
    said = client.python("""
import smtplib, ssl
smtp = smtplib.SMTP("unchecked", 587); smtp.starttls(context=ssl._create_unverified_context()); smtp.ehlo()
smtp.docmd("MAIL", "FROM:<user@metabuilder.local>"); print(smtp.docmd("RCPT", "TO:<admin@metabuilder.local>")[0])
""").stdout
    assert said.split() == ["554"]


def test_the_log_says_so(unchecked):
    unchecked.wait_for_log("MAILROOM_SENDER_CHECK=off: each account may send under any sender address")


@pytest.mark.parametrize("setting", ["POSTFIX_MUA_SENDER_RESTRICTIONS", "MAILROOM_MASTER_SMTP_INET_SMTPD_SENDER_RESTRICTIONS"])
def test_a_list_with_the_check_contradicts_it(checker, setting):
    given = f"{setting}=reject_sender_login_mismatch"
    done = checker.exec("env", "MAILROOM_SENDER_CHECK=off", given, "mailroom", "check", check=False)
    assert done.returncode == 64 and given in done.stderr and "MAILROOM_SENDER_CHECK=off" in done.stderr, done.stderr


def test_owners_of_whole_domains_beside_those_who_send_as_anybody(lab, client):
    server = lab.server(alias="senders", env={
        "MAILROOM_ACCOUNTS": "alice:pw-alice news:pw-news:relay bob@b.test:pw-bob", "MAILROOM_DOMAINS": "b.test",
        "MAILROOM_ALIASES": "@b.test:alice info:bob@b.test"})
    for login, taken, refused in [
        (("alice", "pw-alice"), ["alice@metabuilder.local", "alice+x@metabuilder.local", "any@b.test", "any+x@b.test"],
         ["bob@b.test", "bob+x@b.test", "news@metabuilder.local", "x@example.org", "info@metabuilder.local"]),
        (("bob@b.test", "pw-bob"), ["bob@b.test", "bob+x@b.test", "info@metabuilder.local"], ["any@b.test", "alice@metabuilder.local"]),
        (("news", "pw-news"), ["alice@metabuilder.local", "bob+x@b.test", "any@b.test", "x@example.org", "info@metabuilder.local"], []),
    ]:
        said = {sender: send(client, "senders", sender, "bob@b.test", login=login, data=False) for sender in taken + refused}
        assert said == {sender: ["250"] for sender in taken} | {sender: ["553"] for sender in refused}, login
    # A login's message gets the headers that it lacks, a stranger's stays as it is.
    send(client, "senders", "news@metabuilder.local", "bob@b.test", login=("news", "pw-news"), subject="complete")
    send(client, "senders", "x@example.org", "bob@b.test", subject="bare")
    arrives(server, "b.test/bob", "complete", "bare")
    lines = server.sh("cd /var/mail/b.test/bob/Maildir/new && grep -hcE '^(Date|Message-Id|From): ' $(grep -l 'Subject: complete' *) "
                      "$(grep -l 'Subject: bare' *)", check=False).stdout
    assert lines.split() == ["3", "0"], lines
