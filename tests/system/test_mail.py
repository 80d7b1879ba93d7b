"""Mail goes in by SMTP and comes out by IMAP and POP3."""

import os

import pytest

from lab import WORK, docker, name, run_once

SEND_25 = """
import smtplib
from email.mime.text import MIMEText
msg = MIMEText("Test message from relay")
msg["Subject"] = "{subject}"
msg["From"] = "test@metabuilder.local"
msg["To"] = "{to}"
with smtplib.SMTP("postfix", 25) as smtp:
    smtp.send_message(msg)
    print("Email relayed successfully")
"""

SUBMIT = """
import smtplib, ssl
context = ssl._create_unverified_context()
smtp = smtplib.SMTP("postfix", 587)
smtp.ehlo()
assert "auth" not in smtp.esmtp_features, smtp.esmtp_features
assert "starttls" in smtp.esmtp_features
smtp.starttls(context=context)
smtp.ehlo()
assert "auth" in smtp.esmtp_features
smtp.login("{login}", "{password}")
smtp.sendmail("{sender}", ["{to}"], "Subject: {subject}\\r\\n\\r\\nhello\\r\\n")
print("sent")
"""

IMAP = """
import imaplib, ssl, time
context = ssl._create_unverified_context()
def box():
    imap = {connect}
    imap.login("{login}", "userpass123")
    imap.select("INBOX")
    return imap
end = time.monotonic() + 20
while True:
    imap = box()
    _, found = imap.search(None, "SUBJECT", "{subject}")
    if found[0]: break
    assert time.monotonic() < end
    imap.logout(); time.sleep(0.1)
_, data = imap.fetch(found[0].split()[0], "(RFC822)")
print(data[0][1].decode())
"""

POP3 = """
import poplib, ssl
context = ssl._create_unverified_context()
pop = {connect}
pop.user("user"); pop.pass_("userpass123")
for number in range(1, pop.stat()[0] + 1):
    text = b"\\n".join(pop.retr(number)[1]).decode()
    if "Subject: {subject}" in text: print("found")
"""


def arrived(sink, subject):
    """Waits until a message is in the sink."""
    sink.wait_for(f"grep -rl '^Subject: {subject}' /mail", f"{subject} in the sink")


def test_port_25_relays_to_the_sink_without_login(server, client, sink):
    done = client.python(SEND_25.format(subject="outside", to="user@example.com"))
    assert "Email relayed successfully" in done.stdout
    arrived(sink, "outside")


def test_port_25_reaches_a_mailbox_read_by_imap_and_pop3(server, client):
    client.python(SEND_25.format(subject="inside", to="user@metabuilder.local"))
    for connect in [
        'imaplib.IMAP4_SSL("postfix", 993, ssl_context=context)',
        'imaplib.IMAP4("postfix", 143)',
    ]:
        done = client.python(IMAP.format(connect=connect, login="user", subject="inside"))
        assert "Test message from relay" in done.stdout
    for connect in ['poplib.POP3_SSL("postfix", 995, context=context)', 'poplib.POP3("postfix", 110)']:
        assert "found" in client.python(POP3.format(connect=connect, subject="inside")).stdout


def test_submission_with_starttls_and_login(server, client):
    message = dict(login="relay", password="relaypass123", sender="app@example.org", to="user@metabuilder.local")
    assert "sent" in client.python(SUBMIT.format(subject="submitted", **message)).stdout
    imap = 'imaplib.IMAP4_SSL("postfix", 993, ssl_context=context)'
    text = client.python(IMAP.format(connect=imap, login="user@metabuilder.local", subject="submitted")).stdout
    assert client.address not in text, "587 hides the client's address"


def test_submission_refuses_without_tls_and_without_login(server, client):
    script = """
import smtplib, ssl
smtp = smtplib.SMTP("postfix", 587)
print(smtp.docmd("EHLO", "x")); print(smtp.docmd("MAIL", "FROM:<a@b.test>"))
smtp = smtplib.SMTP("postfix", 587)
smtp.starttls(context=ssl._create_unverified_context()); smtp.ehlo()
smtp.docmd("MAIL", "FROM:<user@metabuilder.local>")
print(smtp.docmd("RCPT", "TO:<user@metabuilder.local>"))
"""
    said = client.python(script).stdout
    assert "530, b'5.7.0 Must issue a STARTTLS command first'" in said
    assert "(554," in said.splitlines()[-1]


@pytest.mark.parametrize("sender, accepted", [
    ("user@metabuilder.local", True),
    ("user+tag@metabuilder.local", True),
    ("admin@metabuilder.local", False),
    ("user@example.org", False),
])
def test_a_user_sends_as_itself_only(server, client, sender, accepted):
    message = dict(login="user", password="userpass123", sender=sender, to="admin@metabuilder.local", subject="own")
    done = client.python(SUBMIT.format(**message), check=False)
    assert ("sent" in done.stdout) == accepted, done.stderr
    assert accepted or "553" in done.stderr


@pytest.mark.parametrize("role", ["postmaster", "abuse", "hostmaster", "root", "mailer-daemon", "MAILER-DAEMON", "postmaster+x"])
def test_the_administrator_gets_the_mail_of_the_roles(server, client, role):
    subject = f"for {role}"
    client.python(SEND_25.format(subject=subject, to=f"{role}@metabuilder.local"))
    server.wait_for(f"grep -l '^Subject: {subject}$' /var/mail/admin/Maildir/new/*", subject)


def test_implicit_tls_on_465(server, client):
    done = client.python("""
import smtplib, ssl
smtp = smtplib.SMTP_SSL("postfix", 465, context=ssl._create_unverified_context())
smtp.login("admin@metabuilder.local", "adminpass123")
smtp.sendmail("postmaster@metabuilder.local", ["user@metabuilder.local"], "Subject: 465\\r\\n\\r\\nx")
print("sent")
""")
    assert "sent" in done.stdout


def test_unknown_recipients_and_roles(server, client):
    done = client.python("""
import smtplib
smtp = smtplib.SMTP("postfix", 25); smtp.helo()
smtp.docmd("MAIL", "FROM:<a@example.org>")
for to in ["nobody@metabuilder.local", "postmaster@metabuilder.local", "USER+x@metabuilder.local", "postmaster"]:
    print(smtp.docmd("RCPT", f"TO:<{to}>")[0])
""")
    assert done.stdout.split() == ["550", "250", "250", "250"]


def test_mail_for_postmaster_reaches_the_administrator(server, client):
    client.python(SEND_25.format(subject="for-postmaster", to="postmaster@metabuilder.local"))
    server.wait_for("grep -r for-postmaster /var/mail/admin/Maildir/new", "mail in admin's Maildir")


def test_a_relay_host_that_demands_login_and_tls(lab, server, sink, client):
    """Another Mailroom is the relay host: its port 587 takes nothing without STARTTLS and a login."""
    outbound = lab.server(alias="outbound", env={
        "POSTFIX_RELAYHOST": "[postfix]:587", "POSTFIX_SMTP_TLS_SECURITY_LEVEL": "require",
        "POSTFIX_SMTP_SASL_PASSWORD_MAPS": "static:relay:relaypass123"})
    client.python("""
import smtplib
smtplib.SMTP("outbound", 25).sendmail("a@example.org", ["b@example.net"], "Subject: through\\r\\n\\r\\nx")
""")
    arrived(sink, "through")
    from_outbound = [line for line in server.logs().splitlines() if f"[{outbound.address}]" in line]
    assert any("sasl_username=relay@metabuilder.local" in line for line in from_outbound)


def test_no_password_in_clear_to_a_relay_host(lab, client):
    """One that offers a login without TLS, as everybody's does once STARTTLS is cut out of its answers."""
    clear = lab.server(alias="clear", env={
        "POSTFIX_SMTPD_TLS_AUTH_ONLY": "no", "MAILROOM_MASTER_SUBMISSION_INET_SMTPD_TLS_SECURITY_LEVEL": "none"})
    sender = lab.server(alias="careful", env={
        "POSTFIX_RELAYHOST": "[clear]:587", "MAILROOM_RELAYHOST_USERNAME": "relay",
        "MAILROOM_RELAYHOST_PASSWORD": "relaypass123"})
    client.python("""
import smtplib
smtp = smtplib.SMTP("clear", 587); smtp.ehlo()
assert "auth" in smtp.esmtp_features and "starttls" not in smtp.esmtp_features, smtp.esmtp_features
smtplib.SMTP("careful", 25).sendmail("a@example.org", ["b@example.net"], "Subject: x\\r\\n\\r\\nx")
""")
    sender.wait_for_log("cannot authenticate to server clear")
    assert "b@example.net" in sender.exec("postqueue", "-p").stdout, "the mail waits"
    clear.wait_for_log("ehlo=1 quit=1 commands=2")
    assert "sasl_method" not in clear.logs() and "auth=" not in clear.logs()


def test_encrypt_means_encrypt(lab, client):
    """A relay host without TLS gets nothing; the mail waits."""
    lab.sink(alias="plain")
    server = lab.server(alias="strict", env={
        "POSTFIX_RELAYHOST": "[plain]:25", "POSTFIX_SMTP_TLS_SECURITY_LEVEL": "encrypt"})
    client.python("""
import smtplib
smtplib.SMTP("strict", 25).sendmail("a@example.org", ["b@example.net"], "Subject: x\\r\\n\\r\\nx")
""")
    server.wait_for_log("TLS is required, but was not offered by host plain")
    assert "b@example.net" in server.exec("postqueue", "-p").stdout


def test_a_source_of_whatever_age_is_mapped(lab):
    """Another file mounted in the place of the first may well be older than the table that was built then."""
    directory = WORK / name("tables")
    directory.mkdir()
    (directory / "transport").write_text("a.test error:first\n")
    server = lab.server(alias="aged", env={"POSTFIX_TRANSPORT_MAPS": "lmdb:/etc/postfix/transport"},
                        options=["-v", f"{directory}/transport:/etc/postfix/transport:ro"])
    look_up = lambda: server.exec("postmap", "-q", "a.test", "lmdb:/etc/postfix/transport").stdout
    assert look_up() == "error:first\n"
    (directory / "transport").write_text("a.test error:second\n")
    os.utime(directory / "transport", (0, 0))
    docker("restart", server.id)
    server.wait_until_healthy()
    assert look_up() == "error:second\n"


def test_files_are_looked_at_wherever_they_are_named():
    """Beside whom nothing can be written, and which are missing."""
    directory = WORK / name("tables")
    (directory / "master.cf.d").mkdir(parents=True)
    (directory / "table").write_text("a b\n")
    (directory / "master.cf.d/x.cf").write_text("# x\n2525 inet n - n - - smtpd -o header_checks=regexp:/missing\n")
    done = run_once("-v", f"{directory}:/etc/mailroom:ro", "-e", "POSTFIX_TRANSPORT_MAPS=lmdb:/etc/mailroom/table",
                    "-e", "MAILROOM_MASTER_SMTP_INET_HEADER_CHECKS=pcre:/none", command=["check"], check=False)
    assert done.returncode == 64, done.stderr
    for told in ["/etc/mailroom is read-only", "/etc/mailroom/master.cf.d/x.cf:2: header_checks = regexp:/missing", "/none"]:
        assert told in done.stderr, done.stderr


def test_all_that_the_checkers_say_comes_in_one_report():
    directory = WORK / name("dropins")
    (directory / "master.cf.d").mkdir(parents=True)
    (directory / "master.cf.d/x.cf").write_text("2525 inet n - n - - smtpd\n  -o smtpd_baner=x\n")
    done = run_once("-v", f"{directory}:/etc/mailroom:ro", "-e", "POSTFIX_SMTPD_USE_TLS=yes", "-e", "DOVECOT_MAIL_DEBUG=maybe",
                    "-e", "DOVECOT_NONSENSE=1", command=["check"], check=False)
    assert done.returncode == 64, done.stderr
    for told in ["x.cf:1: -o smtpd_baner=x", "POSTFIX_SMTPD_USE_TLS=yes", "DOVECOT_MAIL_DEBUG=maybe", "DOVECOT_NONSENSE=1"]:
        assert told in done.stderr, done.stderr


@pytest.mark.parametrize("greeting", ["a #b", 'say "x"', '"a" b', "a \\", "'a' b", "#", "\\", "a\\b #", "{ x"])
def test_a_value_reaches_dovecot_as_it_is(checker, greeting):
    done = checker.exec("env", f"DOVECOT_LOGIN_GREETING={greeting}", "DOVECOT_MAIL_DEBUG=yes", "bash", "-c",
                        "mailroom check >&2 && mailroom render /run/mailroom/dovecot/dovecot.conf >/tmp/x.conf "
                        "&& sed -i /!include/d /tmp/x.conf && doveconf -c /tmp/x.conf -h mail_debug && doveconf -c /tmp/x.conf -h login_greeting")
    debug, shown = done.stdout.splitlines()
    if shown.startswith('"') and shown.endswith('"') and len(shown) > 1:
        shown = shown[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    assert (debug, shown) == ("yes", greeting)


@pytest.mark.parametrize("env, drop_in, ports", [
    ({"DOVECOT_PROTOCOLS": "imap lmtp"}, "", "25 587 465 143 993"),
    ({"DOVECOT_SSL": "no"}, "", "25 587 465 110 143"),
    ({}, "protocols {\n  pop3 = no\n}\nservice imap-login {\n  inet_listener imap {\n    port = 0\n  }\n}\n", "25 587 465 993"),
])
def test_what_dovecot_does_not_serve_is_not_probed(lab, env, drop_in, ports):
    directory = WORK / name("dropins")
    (directory / "dovecot.d").mkdir(parents=True)
    (directory / "dovecot.d/x.conf").write_text(drop_in)
    server = lab.server(alias="fewer", env=env, options=["-v", f"{directory}:/etc/mailroom:ro"])
    assert f"healthy: ports {ports} and logins" in server.exec("/healthcheck").stdout
