"""What is found on the volumes at a start: stale, foreign, copied, missing, too small. It is put right, or told."""

import re

import pytest

from lab import docker, name, run_once

IMAP = """
import imaplib
imap = imaplib.IMAP4("{host}", 143)
imap.login("user", "userpass123")
imap.select("INBOX")
_, found = imap.search(None, "ALL")
for number in found[0].split():
    print(imap.fetch(number, "(BODY[HEADER.FIELDS (SUBJECT)])")[1][0][1].decode().strip())
"""


def fill(volume, script):
    """Runs a script with the volume at /v, as root."""
    run_once("-v", f"{volume}:/v", "--entrypoint", "bash", "--no-healthcheck", command=["-ec", script])


def test_mail_of_another_uid_is_readable_again(lab, client):
    """The volume of an image in which vmail, or the account itself, had another uid."""
    volume = lab.volume()
    fill(volume, """
mkdir -p /v/user/Maildir/{cur,new,tmp} /v/user/Maildir/.Old/{cur,new,tmp}
printf 'Subject: from before\\n\\nx\\n' >/v/user/Maildir/cur/1.a.b:2,S
ln -s /etc/passwd /v/user/link
chown -R 1003:1003 /v/user && chmod -R go= /v/user
""")
    server = lab.server(alias="drift", options=["-v", f"{volume}:/var/mail"])
    server.wait_for_log("below /var/mail/user again")
    assert client.python(IMAP.format(host="drift")).stdout.strip() == "Subject: from before"
    assert server.sh("find /var/mail/user ! -user vmail").stdout == ""
    assert server.sh("stat -c %U /etc/passwd").stdout == "root\n"


def test_an_old_configuration_volume(lab):
    """/etc/postfix of an image with another Postfix: its files neither count nor disturb."""
    volume = lab.volume()
    fill(volume, """
printf 'compatibility_level = 2\\nqueue_directory = /nowhere\\nnonsense = yes\\n' >/v/main.cf
printf 'smtp inet n - y - - nosuchprogram\\n' >/v/master.cf
mkdir /v/dynamicmaps.cf.d; echo 'broken' >/v/dynamicmaps.cf.d/pcre.cf; echo 'x: y' >/v/aliases; echo junk >/v/aliases.db
chown -R 100:101 /v/*
""")
    server = lab.server(alias="old", options=["-v", f"{volume}:/etc/postfix"])
    done = server.sh("postfix check; postconf -n >/dev/null; postconf -M >/dev/null")
    assert done.stdout + done.stderr == ""
    assert "nonsense" not in server.sh("cat /etc/postfix/main.cf").stdout


@pytest.mark.parametrize("owners", ["true", "chown -R 105:113 /new"], ids=["root's", "another image's"])
def test_a_copied_queue_is_delivered_once(lab, client, owners):
    """`cp -r`: other owners, and queue files whose names hold the numbers of other inodes."""
    spool, copy, mail = lab.volume(), lab.volume(), lab.volume()
    server = lab.server(alias=name("source"), env={"POSTFIX_DEFER_TRANSPORTS": "virtual"},
                        options=["-v", f"{spool}:/var/spool/postfix"])
    client.python(f"smtp = __import__('smtplib').SMTP('{server.name}', 25)" + """
for number in range(20):
    smtp.sendmail("a@example.org", ["user@metabuilder.local"], f"Subject: m{number}\\r\\n\\r\\nx")
""")
    server.wait_for("[ $(postqueue -j | wc -l) = 20 ]", "20 in the queue")
    docker("stop", server.id)
    run_once("-v", f"{spool}:/old", "-v", f"{copy}:/new", "--entrypoint", "bash", "--no-healthcheck",
             command=["-c", f"cp -r /old/. /new && {owners}"])
    server = lab.server(alias=name("target"), options=["-v", f"{copy}:/var/spool/postfix", "-v", f"{mail}:/var/mail"])
    server.sh("postqueue -f")
    server.wait_for("queue=$(postqueue -j) && [ -z $queue ]", "the queue is empty")
    subjects = server.sh("cat /var/mail/user/Maildir/new/* | grep ^Subject").stdout.split("\n")[:-1]
    assert sorted(subjects) == sorted(f"Subject: m{number}" for number in range(20))


def test_stale_pid_files_and_sockets(lab):
    """After a kill everything is left as it was; the numbers in the pid files come to mean others."""
    server = lab.server(alias="stale")
    docker("kill", server.id)
    docker("start", server.id)
    server.wait_until_healthy()
    server.sh("sleep 1000 & echo $! >/run/dovecot/master.pid; printf '%32d\\n' $! >/var/spool/postfix/pid/master.pid; "
              "pkill -9 -x dovecot; pkill -9 -x master")
    server.wait_for_log("it is started again")
    server.wait_until_healthy()
    assert server.sh("pgrep -x sleep").stdout != "", "the innocent bearer of the number lives"


def test_missing_directories_are_made(lab):
    volume = lab.volume()
    fill(volume, "mkdir /v/active; chown 77 /v/active; touch /v/maildrop")
    server = lab.server(alias="missing", healthy=False, options=["-v", f"{volume}:/var/spool/postfix"])
    assert server.wait() == 78
    assert "/var/spool/postfix/maildrop" in server.logs()
    fill(volume, "rm /v/maildrop")
    docker("start", server.id)
    server.wait_until_healthy()
    assert server.sh("stat -c %U:%a /var/spool/postfix/active").stdout == "postfix:700\n"


def test_a_small_spool_is_told(lab, client):
    server = lab.server(alias="small", options=["--tmpfs", "/var/spool/postfix:size=40m"], healthy=False)
    server.wait_for_log("postfix is ready after")
    assert "unhealthy: the queue: is full: " in server.exec("/healthcheck", check=False).stdout
    assert "bytes free; Postfix takes no mail with fewer than 78643200" in server.logs()
    said = client.python("""
import smtplib
smtp = smtplib.SMTP("small", 25); smtp.helo()
print(smtp.docmd("MAIL", "FROM:<a@example.org>"))
""").stdout
    assert "(452" in said


def test_a_huge_limit_of_open_files_is_lowered(lab):
    huge = ["--ulimit", "nofile=1000000:1000000"]
    tried = run_once(*huge, command=["--version"], check=False)
    if "rlimit" in tried.stderr:
        pytest.skip("this engine has itself no right to raise limits")
    server = lab.server(alias="files", options=huge)
    limits = server.sh("cat /proc/$(pgrep -x master)/limits /proc/$(pgrep -x dovecot)/limits | grep 'open files'").stdout
    assert re.findall(r"\d+", limits) == ["65536"] * 4


def test_a_plain_restart_repairs_nothing(lab):
    """With mail in the queue and in a mailbox."""
    server = lab.server(alias="plain", env={"POSTFIX_DEFER_TRANSPORTS": "lmtp",
                        "POSTFIX_TRANSPORT_MAPS": "inline:{admin@metabuilder.local=lmtp:unix:private/dovecot-lmtp}"})
    server.sh("for to in admin user; do printf 'Subject: x\\n\\nx\\n' | sendmail $to@metabuilder.local; done")
    server.wait_for_mail()
    server.wait_for("postqueue -j | grep deferred", "mail in the queue")
    before = len(server.logs())
    docker("restart", server.id)
    server.wait_until_healthy()
    assert "Repaired" not in server.logs()[before:]


def test_the_same_volumes_under_another_hostname(lab, client):
    volumes = [part for path in ["/var/mail", "/etc/postfix", "/etc/dovecot/certs", "/var/spool/postfix"]
               for part in ("-v", f"{lab.volume()}:{path}")]
    first = lab.server(alias="before", options=volumes)
    first.sh("printf 'Subject: kept\\n\\nx\\n' | sendmail user@metabuilder.local")
    first.wait_for_mail()
    lab.remove_all(first)
    second = lab.server(alias="after", env={"POSTFIX_MYHOSTNAME": "mx.metabuilder.local"}, options=volumes)
    assert client.python(IMAP.format(host="after")).stdout.strip() == "Subject: kept"
    subject = second.sh("openssl x509 -in /etc/dovecot/certs/dovecot.crt -noout -subject").stdout
    assert "CN=mx.metabuilder.local" in subject


def test_volumes_without_a_name_are_told(lab):
    """Every path is at least a volume of the image's own; what it holds is lost with the container all the same."""
    told = [f"Warning: {path} is on a volume without a name" for path in ["/var/mail", "/var/spool/postfix"]]
    named = [part for path in ["/var/mail", "/var/spool/postfix"] for part in ("-v", f"{lab.volume()}:{path}")]
    logs = [lab.server(alias=name("volumes"), options=options).logs() for options in ([], named)]
    assert [[line in log for line in told] for log in logs] == [[True, True], [False, False]]
