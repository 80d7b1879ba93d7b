"""MAILROOM_CATCH_ALL: mail for anybody is kept in one mailbox, and none leaves."""

import pytest

from lab import WORK, name, run_once

SEND = """
import smtplib, ssl
port = {port}
smtp = smtplib.SMTP_SSL("kept", port, context=ssl._create_unverified_context()) if port == 465 else smtplib.SMTP("kept", port)
if port == 587: smtp.starttls(context=ssl._create_unverified_context())
if port != 25: smtp.login("relay", "relaypass123")
refused = smtp.sendmail("{sender}", {to}, "Subject: {subject}\\r\\n\\r\\nx\\r\\n")
assert not refused, refused
"""

# Ways out that a copy of a production environment may hold, and what a drop-in file may add.
WAYS_OUT = {
    "POSTFIX_RELAYHOST": "[silent]:25",
    "POSTFIX_TRANSPORT_MAPS": "inline:{ mapped.test=smtp:[silent]:25, refused.test=error:closed }",
    "POSTFIX_SENDER_DEPENDENT_RELAYHOST_MAPS": "inline:{ a@example.org=[silent]:25 }",
    "POSTFIX_SENDER_DEPENDENT_DEFAULT_TRANSPORT_MAPS": "inline:{ b@example.org=out:[silent]:25 }",
    "POSTFIX_VIRTUAL_ALIAS_MAPS": "inline:{ list@alias.test=one@example.net, sales@metabuilder.local=two@example.net }",
    "POSTFIX_VIRTUAL_ALIAS_DOMAINS": "alias.test",
    "POSTFIX_RELAY_DOMAINS": "relayed.test",
    "POSTFIX_RELAY_RECIPIENT_MAPS": "inline:{ known@relayed.test=x }",
    "POSTFIX_ALWAYS_BCC": "archive@example.com",
    "POSTFIX_HEADER_CHECKS": "regexp:/etc/mailroom/filters",
    "MAILROOM_MASTER_SMTP_INET_CONTENT_FILTER": "smtp:[silent]:25",
}
FILTERS = "/^Subject: filtered$/ FILTER smtp:[silent]:25\n/^Subject: own$/ FILTER out:[silent]:25\n/^Subject: rejected$/ REJECT\n" \
    "/^Subject: discarded$/ FILTER discard:\n/^Subject: closed$/ FILTER closed:x\n"
SERVICES = "out unix n - y - - smtp -vo syslog_name=postfix/out\nclosed unix - - n - - error\n" \
    "piped unix - n n - - pipe flags=R user=nobody argv=/bin/false\n" \
    "virtual unix - - n - 2 virtual -o virtual_mailbox_maps=static:elsewhere/\n"


@pytest.fixture(scope="module")
def silent(lab):
    return lab.sink(alias="silent")


@pytest.fixture(scope="module")
def kept(lab, silent):
    directory = WORK / name("kept")
    (directory / "master.cf.d").mkdir(parents=True)
    (directory / "master.cf.d/out.cf").write_text(SERVICES)
    (directory / "filters").write_text(FILTERS)
    return lab.server(alias="kept", env={"MAILROOM_CATCH_ALL": "user", **WAYS_OUT},
                      options=["-v", f"{directory}:/etc/mailroom:ro"])


def recipients(kept, subject, count):
    """Waits for so many messages with a subject in the user's mailbox; returns for whom they were."""
    there = f"grep -lr '^Subject: {subject}$' /var/mail/user/Maildir/new"
    kept.wait_for(f"test $({there} | wc -l) -ge {count} && sed -n 's/^X-Original-To: //p' $({there})", f"{subject} in the mailbox")
    found = kept.sh(f"sed -n 's/^X-Original-To: //p' $({there})").stdout.split()
    return sorted(address for address in found if address != "archive@example.com")


def let_nothing_out(kept, silent):
    kept.wait_for("postqueue -p | grep -q 'queue is empty'", "an empty queue")
    assert silent.exec("ls", "/mail").stdout == "", "the sink has got mail"
    programs = {line.split("[")[0].split()[-1] for line in kept.logs().splitlines() if " status=" in line}
    # cleanup(8) returns what a header check rejects.
    assert programs <= {"postfix/virtual", "postfix/cleanup"}, programs
    kept.exec("/healthcheck")


TO = [
    ["b@example.net"], ["admin@metabuilder.local"], ["nobody@metabuilder.local"], ["user+tag@metabuilder.local"],
    ["postmaster@metabuilder.local"], ["a@mapped.test", "b@refused.test"], ["unknown@alias.test"], ["unknown@relayed.test"],
    ["c@example.net", "d@example.net", "d@example.org", "relay@metabuilder.local"],
]


@pytest.mark.parametrize("port", [25, 587, 465])
def test_mail_for_anybody_by_every_port(kept, silent, client, port):
    for number, to in enumerate(TO):
        subject = f"to-{port}-{number}"
        client.python(SEND.format(port=port, sender="a@example.org", to=to, subject=subject))
        # archive@example.com gets a copy of each.
        assert recipients(kept, subject, len(to) + 1) == sorted(to)
    let_nothing_out(kept, silent)


@pytest.mark.parametrize("sender, subject", [
    ("", "null-sender"), ("b@example.org", "by-sender"), ("a@example.org", "filtered"), ("a@example.org", "own"),
    ("a@example.org", "discarded"), ("a@example.org", "closed")])
def test_mail_from_anybody_and_filtered(kept, silent, client, sender, subject):
    client.python(SEND.format(port=25, sender=sender, to=["b@example.net"], subject=subject))
    assert recipients(kept, subject, 2) == ["b@example.net"]
    let_nothing_out(kept, silent)


def test_sendmail_inside(kept, silent):
    kept.exec("sendmail", "-f", "c@example.org", "b@example.net", "root", "nobody@metabuilder.local",
              input="Subject: sendmail\n\nx\n")
    assert recipients(kept, "sendmail", 4) == ["b@example.net", "nobody@metabuilder.local", "root"]
    let_nothing_out(kept, silent)


def test_aliases_lead_to_the_mailbox(kept, silent, client):
    to = ["list@alias.test", "sales@metabuilder.local"]
    client.python(SEND.format(port=25, sender="a@example.org", to=to, subject="aliased"))
    assert recipients(kept, "aliased", 3) == to
    delivered = kept.sh("sed -n 's/^Delivered-To: //p' $(grep -lr '^Subject: aliased$' /var/mail/user/Maildir/new)").stdout
    assert {"one@example.net", "two@example.net"} < set(delivered.split())
    let_nothing_out(kept, silent)


def test_an_address_of_the_server_itself(kept, silent):
    """qmgr(8) throws mail away that is for its own sender of last resort there."""
    kept.exec("sendmail", "-f", "c@example.org", "double-bounce@[127.0.0.1]", input="Subject: literal\n\nx\n")
    assert recipients(kept, "literal", 2) == ["double-bounce@[127.0.0.1]"]
    let_nothing_out(kept, silent)


def test_a_bounce_for_an_outside_sender(kept, silent):
    kept.exec("sendmail", "-f", "outsider@example.org", "b@example.net", input="Subject: rejected\n\nx\n")
    kept.wait_for("grep -lr '^X-Original-To: outsider@example.org' /var/mail/user/Maildir/new", "the bounce")
    let_nothing_out(kept, silent)


def test_the_log_says_so_at_every_start_and_names_what_is_not_used(kept):
    said = "MAILROOM_CATCH_ALL is on: mail for anybody is kept in the mailbox of user@metabuilder.local, and none leaves"
    line = kept.wait_for_log(said)[0]
    for unused in ["POSTFIX_RELAYHOST", "POSTFIX_TRANSPORT_MAPS", "MAILROOM_MASTER_SMTP_INET_CONTENT_FILTER"]:
        assert unused in line, line


WAITING = {
    "waiting": {"POSTFIX_RELAYHOST": "[nowhere.invalid]:25"},
    "transport": {"POSTFIX_DEFAULT_TRANSPORT": "gone:[nowhere.invalid]:25"},
    "filtered": {"POSTFIX_CONTENT_FILTER": "gone:[nowhere.invalid]:25"},
}


@pytest.mark.parametrize("subject", WAITING)
def test_mail_that_waits_for_another_server_is_kept_too(lab, subject):
    """What is in the queue when it is switched on does not leave either, nor wait for a service that is gone."""
    queue = ["-v", f"{lab.volume()}:/var/spool/postfix", "-v", f"{lab.volume()}:/var/mail"]
    directory = WORK / name("before")
    (directory / "master.cf.d").mkdir(parents=True)
    (directory / "master.cf.d/gone.cf").write_text("gone unix - - n - - smtp\n")
    before = lab.server(alias="before", env=WAITING[subject], options=[*queue, "-v", f"{directory}:/etc/mailroom:ro"])
    before.exec("sendmail", "-f", "a@example.org", "b@example.net", input=f"Subject: {subject}\n\nx\n")
    before.wait_for_log("status=deferred")
    before.exec("sendmail", "-f", "a@example.org", "held@example.net", input="Subject: held\n\nx\n")
    before.wait_for("postqueue -j | grep held@example.net | cut -d'\"' -f8 | grep . | postsuper -h - && mailq | grep -q '!'", "held")
    lab.remove_all(before)
    after = lab.server(alias="after", env={"MAILROOM_CATCH_ALL": "user@metabuilder.local"}, options=queue)
    assert recipients(after, subject, 1) == ["b@example.net"]
    assert "held@example.net" in after.exec("postqueue", "-p").stdout


REFUSED = [
    ("bob", "admin@metabuilder.local, relay@metabuilder.local, user@metabuilder.local"), ("usr", "did you mean user@metabuilder.local?"), ("user@example.org", "user@metabuilder.local"),
    ("none", "leave it empty"), ("off", "leave it empty"), ("yes", "such as user"), ("user, admin", "one account"),
]


@pytest.mark.parametrize("value, reason", REFUSED)
def test_an_account_that_is_none(checker, value, reason):
    done = checker.exec("env", f"MAILROOM_CATCH_ALL={value}", "mailroom", "check", check=False)
    assert done.returncode == 64 and f"MAILROOM_CATCH_ALL={value}" in done.stderr and reason in done.stderr, done.stderr


@pytest.mark.parametrize("value, address", [
    ("admin", "admin@metabuilder.local"), ("User@MetaBuilder.local", "user@metabuilder.local"), ("", None)])
def test_an_account_that_is_one(checker, value, address):
    said = checker.exec("env", f"MAILROOM_CATCH_ALL={value}", "mailroom", "check").stdout
    assert ("is kept in the mailbox of" in said) == bool(address) and (address or "") in said


@pytest.mark.parametrize("name_of_it", ["mailroom_catch_all", "Mailroom_Catch_All", "MAILROOM_catch_all"])
def test_its_name_in_another_case_is_refused(checker, name_of_it):
    done = checker.exec("env", f"{name_of_it}=user", "mailroom", "check", check=False)
    assert done.returncode == 64 and f"{name_of_it}=user" in done.stderr, done.stderr
    assert "did you mean MAILROOM_CATCH_ALL?" in done.stderr


SERVICES_REFUSED = [
    ("out unix - - n - - ./smtp", "without a path"), ("out unix - - n - - ../sbin/smtp", "without a path"),
    ("virtual unix - - n - - ./virtual", "without a path"), ("virtual unix - - n - - discard", "virtual has to be virtual"),
    ("retry unix - - n - - smtp", "retry has to be error"), ("cleanup unix n - n - 0 smtp", "cleanup has to be cleanup"),
]


@pytest.mark.parametrize("kept_all", [True, False])
@pytest.mark.parametrize("service, reason", SERVICES_REFUSED)
def test_a_service_that_is_none(service, reason, kept_all):
    directory = WORK / name("service")
    (directory / "master.cf.d").mkdir(parents=True)
    (directory / "master.cf.d/x.cf").write_text(service + "\n")
    variables = ["-e", "MAILROOM_CATCH_ALL=user"] if kept_all else []
    done = run_once(*variables, "-v", f"{directory}:/etc/mailroom:ro", command=["check"], check=False)
    assert done.returncode == 64 and "/etc/mailroom/master.cf.d/x.cf:1" in done.stderr and reason in done.stderr, done.stderr
