"""Log lines as JSON and masked; files in /var/log that are off, or cannot be written."""

import json
import re

import pytest

from lab import Lab, until

CLIENT = """
import imaplib, smtplib, ssl
context = ssl._create_unverified_context()
smtp = smtplib.SMTP("{host}", 587); smtp.starttls(context=context); smtp.login("user", "userpass123")
smtp.sendmail("user@metabuilder.local", ["admin@metabuilder.local", "far.away@example.net"], "Subject: x\\r\\nMessage-ID: <one@example.org>\\r\\n\\r\\nx")
smtp = smtplib.SMTP("{host}"); smtp.ehlo("odd; name\\x1b[2J")
try: smtp.sendmail("strange.er@example.org", ["no.body@metabuilder.local"], "x")
except smtplib.SMTPRecipientsRefused: pass
imaplib.IMAP4_SSL("{host}", ssl_context=context).login("user", "userpass123")
try: imaplib.IMAP4_SSL("{host}", ssl_context=context).login("user", "wrong")
except imaplib.IMAP4.error: pass
"""


@pytest.fixture(scope="module")
def desk():
    lab = Lab()
    lab.sink()
    yield lab
    lab.close()


def talked(lab, alias, **env):
    server = lab.server(alias=alias, env={"POSTFIX_RELAYHOST": "[sink]:25", **env})
    lab.client().python(CLIENT.format(host=alias))
    until(lambda: server.logs().count("status=sent") == 2 and "auth_failed" in server.logs(), lambda: f"all is logged: {server.logs()}")
    return server


def test_each_line_is_an_object(desk):
    server = talked(desk, "json", MAILROOM_LOG_FORMAT="json", TZ="Europe/Berlin")
    lines = [json.loads(line) for line in server.logs().splitlines()]
    for line in lines:
        assert list(line)[:3] == ["time", "host", "service"] and line["level"] in ("error", "warn", "info"), line
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0[12]:00", line["time"]) and line["host"] == "postfix"

    def one(**fields):
        found = [line for line in lines if all(line.get(name) == value for name, value in fields.items())]
        assert len(found) == 1, (fields, found)
        return found[0]

    sent = one(to="far.away@example.net", status="sent")
    assert sent["relay"].startswith("sink[") and sent["delay"] >= 0 and isinstance(sent["pid"], int) and sent["dsn"] == "2.0.0"
    assert {"delay_before_queue", "delay_in_queue", "delay_connection", "delay_transmission"} <= sent.keys()
    accepted = one(queue_id=sent["queue_id"], user="user@metabuilder.local", method="PLAIN")
    assert accepted["process"] == "postfix/submission/smtpd" and accepted["client_address"].count(".") == 3
    assert one(queue_id=sent["queue_id"], message_id="one@example.org")
    refused = one(action="reject")
    assert (refused["stage"], refused["code"], refused["to"]) == ("RCPT", 550, "no.body@metabuilder.local") and "User unknown" in refused["reason"]
    login = one(action="Logged in", protocol="imap")
    assert login["user"] == "user@metabuilder.local" and login["tls_version"] == "1.3" and login["session"]
    failed = one(action="Login aborted")
    assert "auth_failed" in failed["reason"] and failed["process"] == "imap-login"
    assert one(service="mailroom", about="postfix", message=next(line["message"] for line in lines if line["message"].startswith("postfix is ready")))
    # The files are for people, and for the README's tail.
    assert re.search(r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d postfix postfix/smtp\[", server.sh("cat /var/log/mail.log").stdout, re.M)


def test_no_local_part_is_logged(desk):
    server = talked(desk, "masked", MAILROOM_LOG_MASK="addresses")
    files = server.sh("cat /var/log/mail.log /var/log/dovecot.log").stdout
    said = server.logs()
    started = said.index("postfix is ready")
    for text in (said[started:], files):
        assert not re.search(r"far\.away|strange\.er|no\.body|\b(user|admin)@|user=<user>", text), text
    hashes = set(re.findall(r"u-[0-9a-f]{10}(?=@metabuilder\.local)", files))
    assert len(hashes) >= 3 and "@example.net" in files and "message-id=<one@example.org>" in files
    user = re.search(r"sasl_username=(u-[0-9a-f]{10})@", files)[1]
    assert f"user=<{user}@metabuilder.local>" in files, "the same in Postfix's lines and in Dovecot's"
    assert server.sh("stat -c %a:%U /var/lib/mailroom/log-mask.key").stdout.strip() == "600:root"
    key = server.sh("cat /var/lib/mailroom/log-mask.key").stdout.strip()
    assert key not in server.exec("mailroom", "render").stdout and key not in said


def test_files_may_be_off_or_impossible(desk):
    off = talked(desk, "off", MAILROOM_LOG_FILES="off")
    assert off.sh("ls /var/log").stdout == "" and "/var/log" not in off.logs()
    server = desk.server(alias="readonly", options=["--read-only", "--tmpfs", "/run", "--tmpfs", "/tmp"])
    assert len([line for line in server.logs().splitlines() if "/var/log/mail.log" in line]) == 1
    assert "log lines go to standard output only" in server.logs()


def test_a_full_disk_tears_no_line(desk):
    server = desk.server(alias="full", options=["--tmpfs", "/var/log:size=64k"])
    server.sh("for n in $(seq 120); do logger -t postfix/test $(printf 'line_%04d_%0900d' $n 0); done")
    until(lambda: "lines are missing there until it can be written again" in server.logs(), lambda: f"it is said: {server.logs()[-2000:]}")
    assert server.logs().count("lines are missing there") == 1
    content = server.sh("cat /var/log/mail.log").stdout
    assert content.endswith("\n") and all(re.match(r"[A-Z][a-z]{2} [ \d]\d ", line) for line in content.splitlines())
    assert server.exec("/healthcheck").stdout.startswith("healthy")


def test_wrong_values(checker):
    for name, value, said in (("FORMAT", "xml", 'must be one of "text" "json"'), ("MASK", "yes", 'must be one of "off" "addresses"'), ("FILES", "maybe", "must be on or off")):
        done = checker.exec("env", f"MAILROOM_LOG_{name}={value}", "mailroom", "check", check=False)
        assert done.returncode == 64 and said in done.stderr, done.stderr
