"""MAILROOM_MAILBOXES=off: a relay alone. Mail for the own domain goes out like any other, and there are no mailboxes."""

import re

import pytest

from lab import CLIENT_IMAGE, WORK, name, until

OFF = {"MAILROOM_MAILBOXES": "off", "POSTFIX_MYDOMAIN": "corp.test"}

SEND = """
import smtplib, ssl
port, context = {port}, ssl._create_unverified_context()
smtp = smtplib.SMTP_SSL("{host}", port, context=context) if port == 465 else smtplib.SMTP("{host}", port)
if port == 587: smtp.starttls(context=context)
if port != 25: smtp.login("user", "userpass123")
refused = smtp.sendmail("{sender}", {to}, "Subject: {subject}\\r\\n\\r\\nx\\r\\n")
assert not refused, refused
"""


@pytest.fixture(scope="module")
def relay(lab, sink):
    return lab.server(alias="relayer", env={
        **OFF, "POSTFIX_RELAYHOST": "[sink]:25",
        "POSTFIX_TRANSPORT_MAPS": "inline:{ gone.test=error:closed }"})


def received(sink, text):
    """Waits for a message with a text in the sink; returns its sender and its recipients."""
    messages = lambda: sink.sh("cat /mail/*", check=False).stdout.split("X-Client-Addr: ")
    message = until(lambda: [message for message in messages() if text in message], f"{text!r} at the relay host")[0]
    sender, = re.findall("^X-Mail-Args: (<.*?>)", message, re.MULTILINE)
    return sender, re.findall("^X-Rcpt-Args: (<.*?>)", message, re.MULTILINE)


# Names of accounts and of roles are names like any other.
TO = [f"{user}@corp.test" for user in ["boss", "user", "admin", "postmaster", "abuse", "root", "mailer-daemon", "user+tag"]]


@pytest.mark.parametrize("port", [25, 587, 465])
def test_mail_for_the_own_domain_goes_out(relay, sink, client, port):
    client.python(SEND.format(host="relayer", port=port, sender="user@corp.test", to=[*TO, "b@example.org"], subject=f"own-{port}"))
    sender, to = received(sink, f"Subject: own-{port}\n")
    assert sender == "<user@corp.test>" and sorted(to) == sorted(f"<{to}>" for to in [*TO, "b@example.org"])


def test_sendmail_inside(relay, sink):
    relay.exec("sendmail", "root", "postmaster", input="Subject: inside\n\nx\n")
    sender, to = received(sink, "Subject: inside\n")
    assert sorted(to) == ["<postmaster@corp.test>", "<root@corp.test>"]


def test_a_bounce_goes_out(relay, sink):
    relay.exec("sendmail", "-f", "app@corp.test", "x@gone.test", input="Subject: to nobody\n\nx\n")
    assert received(sink, "\nTo: app@corp.test\n") == ("<>", ["<app@corp.test>"])


# A relay host that takes no bounces, and of the rest what it is made for.
REFUSES = """
import socketserver
class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 strict ESMTP\\r\\n")
        for line in self.rfile:
            line = line.decode().strip()
            verb = line[:4].upper()
            if line.upper().startswith("MAIL FROM:<>") or verb == "RCPT" and not "{takes}" in line:
                answer = "550 5.7.1 refused"
            elif verb == "DATA":
                self.wfile.write(b"354 go on\\r\\n")
                while self.rfile.readline() not in (b".\\r\\n", b""): pass
                answer = "250 taken"
            else:
                answer = "221 bye" if verb == "QUIT" else "250 strict"
            print(line, "->", answer, flush=True)
            self.wfile.write(answer.encode() + b"\\r\\n")
socketserver.ThreadingTCPServer(("", 25), Session).serve_forever()
"""


@pytest.mark.parametrize("takes, ends", [
    ("postmaster@corp.test", "to=<postmaster@corp.test>, "), ("nothing", "undeliverable postmaster notification discarded")])
def test_a_bounce_that_the_relay_host_refuses(lab, client, takes, ends):
    """It goes to the postmaster once; what is refused then ends with a line in the log, and nothing goes round."""
    strict = lab.run(CLIENT_IMAGE, "python3", "-c", REFUSES.format(takes=takes), options=["--init", "--network-alias", "strict"])
    strict.wait_for(": </dev/tcp/localhost/25", "the relay host listens")
    relay = lab.server(alias="strictly", env={**OFF, "POSTFIX_RELAYHOST": "[strict]:25"})
    client.python(SEND.format(host="strictly", port=25, sender="app@corp.test", to=["x@example.org"], subject="x"))
    relay.wait_for_log(ends)
    relay.wait_for("postqueue -p | grep 'queue is empty'", "an empty queue")
    said = strict.logs()
    assert said.count("RCPT TO:<postmaster@corp.test>") == 1 and said.count("MAIL FROM:<>") == 1, said
    assert "MAIL FROM:<double-bounce@postfix.metabuilder.local>" in said and said.count("RCPT TO:") == 2, said


def test_what_is_served(relay):
    said = relay.exec("/healthcheck").stdout
    assert said.startswith("healthy: ports 25 587 465 and logins answer ("), said
    listening = relay.exec("netstat", "-ltn").stdout.split()
    ports = {word.rsplit(":", 1)[1] for word in listening if word.startswith("0.0.0.0:")} - {"*"}
    assert ports == {"25", "587", "465"}, listening
    assert relay.exec("ls", "-A", "/var/mail").stdout == ""
    assert relay.exec("ls", "/var/spool/postfix/private/dovecot-lmtp", check=False).returncode != 0
    said = relay.logs()
    line = "MAILROOM_MAILBOXES=off: this server is a relay alone: IMAP, POP3 and LMTP are off, and mail for corp.test goes out like " \
           "any other, to [sink]:25"
    assert said.count(line) == 1 and "Warning: /var/mail" not in said, said


def test_strangers_may_not_send_to_the_own_domain(lab, client, sink):
    """As for any other domain. <postmaster> without a domain any server takes (RFC 5321, 4.5.1)."""
    lab.server(alias="closed", env={**OFF, "POSTFIX_RELAYHOST": "[sink]:25", "POSTFIX_MYNETWORKS": ""})
    said = client.python("""
import smtplib
smtp = smtplib.SMTP("closed", 25); smtp.helo(); smtp.docmd("MAIL", "FROM:<a@example.net>")
print(*[smtp.docmd("RCPT", f"TO:<{to}>")[0] for to in ["boss@corp.test", "b@example.com", "postmaster"]])
""").stdout
    assert said.split() == ["554", "554", "250"]


def test_a_reload(relay, sink, client):
    assert "nothing has changed" in relay.exec("mailroom", "reload").stdout
    relay.exec("doveadm", "reload")
    relay.exec("postfix", "reload")
    relay.wait_until_healthy()
    client.python(SEND.format(host="relayer", port=465, sender="user@corp.test", to=["boss@corp.test"], subject="reloaded"))
    assert received(sink, "Subject: reloaded\n") == ("<user@corp.test>", ["<boss@corp.test>"])


def test_a_reload_does_not_switch_it(lab):
    """Dovecot opens its ports at a start alone."""
    directory = WORK / name("mailboxes")
    directory.mkdir()
    switch = directory / "switch"
    switch.write_text("off\n")
    server = lab.server(alias="switched", env={"MAILROOM_MAILBOXES_FILE": "/switch/switch"}, options=["-v", f"{directory}:/switch:ro"])
    switch.write_text("on\n")
    done = server.exec("mailroom", "reload", check=False)
    assert done.returncode == 1 and "MAILROOM_MAILBOXES has changed: docker restart puts that into effect" in done.stderr, done
    server.wait_until_healthy()


def test_the_volume_of_the_mailboxes_is_not_touched(lab):
    """Another server's may be mounted all the same, with another domain's mail, read-only, and in use."""
    mail = lab.volume()
    lab.server(alias=name("mailboxes"), options=["-v", f"{mail}:/var/mail"])
    relay = lab.server(alias=name("relay"), env={**OFF, "MAILROOM_WAIT_FOR_VOLUMES": "0"}, options=["-v", f"{mail}:/var/mail:ro"])
    assert "in use" not in relay.logs() and "Warning: mail lies" not in relay.logs()
    begun = relay.exec("stat", "-c", "%u", "/var/mail/user/Maildir").stdout
    assert begun.strip() == "5000"


def check(checker, *variables):
    return checker.exec("env", "-i", "MAILROOM_MAILBOXES=off", *variables, "/usr/local/bin/mailroom", "check", check=False)


REFUSED = [
    ("MAILROOM_CATCH_ALL=user", "MAILROOM_MAILBOXES=off leaves none"),
    ("DOVECOT_PROTOCOLS=imap", "MAILROOM_MAILBOXES=off leaves nothing to serve"),
    ("DOVECOT_PROTOCOLS=lmtp", "MAILROOM_MAILBOXES=off leaves nothing to serve"),
    ("POSTFIX_DEFAULT_TRANSPORT=virtual", "leads into a mailbox"),
    ("POSTFIX_TRANSPORT_MAPS=inline:{a.test=lmtp:unix:private/dovecot-lmtp}", "leads into a mailbox"),
    ("POSTFIX_VIRTUAL_MAILBOX_DOMAINS=metabuilder.local", "is decided by mailroom"),
]


@pytest.mark.parametrize("setting, reason", REFUSED)
def test_what_contradicts_it_is_refused(checker, setting, reason):
    done = check(checker, setting)
    assert done.returncode == 64 and setting in done.stderr and reason in done.stderr, done.stderr


@pytest.mark.parametrize("file, text, reason", [
    ("dovecot.d/x.conf", "protocols {\n  imap = yes\n}\n", "dovecot.d/x.conf:2"), ("dovecot.d/x.conf", "protocols = pop3\n", "x.conf:1"),
    ("transport", "# x\na.test virtual:\n", "/etc/mailroom/transport:2")])
def test_files_that_contradict_it_are_refused(checker, file, text, reason):
    checker.sh(f"mkdir -p /etc/mailroom/dovecot.d && printf '{text}' >/etc/mailroom/{file}")
    try:
        done = check(checker, "POSTFIX_TRANSPORT_MAPS=texthash:/etc/mailroom/transport" if file == "transport" else "A=b")
        assert done.returncode == 64 and reason in done.stderr and "MAILROOM_MAILBOXES=off" in done.stderr, done.stderr
    finally:
        checker.exec("rm", f"/etc/mailroom/{file}")


ACCEPTED = [
    ("POSTFIX_RELAYHOST=[smtp.example.net]:587", "goes out like any other, to [smtp.example.net]:587"),
    ("A=b", "goes out like any other, to the MX of metabuilder.local"),
    ("MAILROOM_CATCH_ALL=", "relay alone"), ("DOVECOT_PROTOCOLS=", "relay alone"),
    ("POSTFIX_VIRTUAL_MAILBOX_DOMAINS=", "relay alone"),
    ("POSTFIX_VIRTUAL_ALIAS_MAPS=inline:{postmaster@metabuilder.local=me@example.net}", "relay alone"),
    ("POSTFIX_RELAY_DOMAINS=metabuilder.local", "relay alone"),
    ("DOVECOT_MAIL_MAX_USERIP_CONNECTIONS=2000", "MAILROOM_MAILBOXES=off: not used: DOVECOT_MAIL_MAX_USERIP_CONNECTIONS"),
    ("DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL=4", "not used: DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL"),
    ("MAILROOM_MAILBOXES=on", "all is well"), ("MAILROOM_MAILBOXES=No", "relay alone"),
]


@pytest.mark.parametrize("setting, note", ACCEPTED)
def test_what_goes_with_it(checker, setting, note):
    done = check(checker, setting)
    assert done.returncode == 0 and note in done.stdout, done.stdout + done.stderr
    assert "one client may have" not in done.stdout and (("relay alone" in done.stdout) != (setting.endswith("=on")))


def test_a_word_that_is_neither(checker):
    done = check(checker, "MAILROOM_MAILBOXES=none")
    assert done.returncode == 64 and "MAILROOM_MAILBOXES=none" in done.stderr and "must be on or off" in done.stderr, done.stderr


def test_render_says_why(checker):
    said = checker.exec("env", "-i", "MAILROOM_MAILBOXES=off", "/usr/local/bin/mailroom", "render").stdout
    assert "# MAILROOM_MAILBOXES\nvirtual_mailbox_domains =\n" in said
    assert "vmailbox" not in said and "/var/mail/.mailroom-domain" not in said
