"""What a crash leaves, what a user reloads without Mailroom, and what is shown of it."""

import subprocess

import pytest

from lab import WORK, docker, name, until


def test_unfinished_queue_files_hold_up_no_stop_and_are_removed(lab):
    """After a crash: files that cleanup(8) had begun, one without a queue id, one with."""
    server = lab.server(alias="crashed")
    server.sh("cd /var/spool/postfix/incoming && touch -d '2 hours ago' 543218.1234 4bXyZ12abcz1 && chmod 600 * && chown postfix *")
    docker("stop", server.id)
    assert "takes no new clients and finishes its work" not in server.logs(), "they are no work in hand"
    said = "Removed: 1 file in /var/spool/postfix/incoming that a crash had left unfinished"
    for starts in (1, 2):
        docker("start", server.id)
        server.wait_until_healthy()
        assert server.logs().count(said) == 1, f"said once, after {starts} starts"
        assert "bogus file name" not in server.logs()
        docker("stop", server.id)


LOGINS = """
import smtplib, ssl, sys, threading
context, stop, failed, done = ssl._create_unverified_context(), threading.Event(), [], [0]
def work():
    while not stop.is_set():
        try:
            with smtplib.SMTP(sys.argv[1], 587, timeout=20) as smtp:
                smtp.starttls(context=context); smtp.login("relay", "relaypass123")
            done[0] += 1
        except Exception as error:
            failed.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
print("started", flush=True); sys.stdin.readline(); stop.set()
for thread in threads: thread.join()
print(done[0], len(failed), failed[:3], flush=True)
"""


@pytest.mark.timed
def test_a_users_reload_of_dovecot_costs_no_login(lab, client, figure):
    """Dovecot makes the socket at which Postfix asks about logins anew at each reload."""
    server = lab.server(alias="relogged")
    talk = subprocess.Popen(["docker", "exec", "-i", client.id, "python3", "-c", LOGINS, "relogged"], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert talk.stdout.readline() == "started\n"
    for _ in range(40):
        # Two within a moment, too.
        server.sh("doveadm reload; doveadm reload")
        server.exec("/healthcheck")
    done, failed, errors = talk.communicate("\n", timeout=60)[0].strip().split(" ", 2)
    figure("logins during 80 `doveadm reload`", f"{done} done, {failed} failed")
    # A worker that ends at a reload may take a login with it: once in thousands.
    assert int(done) > 40 and int(failed) * 500 <= int(done), errors


def drop_in(path, text):
    directory = WORK / name("repairs")
    (directory / path).parent.mkdir(parents=True)
    (directory / path).write_text(text)
    return ["-v", f"{directory}:/etc/mailroom:ro"]


def test_who_sets_mynetworks_is_shown(lab, checker):
    shown = checker.exec("env", "-i", "POSTFIX_MYNETWORKS=10.0.0.0/8", "/usr/local/bin/mailroom", "render", "/etc/postfix/main.cf").stdout
    assert "\n# POSTFIX_MYNETWORKS\nmynetworks = " in shown
    server = lab.server(alias="dropped", options=drop_in("main.cf.d/10.cf", "# mine\nmynetworks = 10.0.0.0/8\n"))
    assert "\n# /etc/mailroom/main.cf.d/10.cf:2\nmynetworks = " in server.sh("cat /etc/postfix/main.cf").stdout


def test_render_shows_no_port_that_dovecot_closes(checker):
    shown = checker.exec("env", "-i", "DOVECOT_PROTOCOLS=imap lmtp", "/usr/local/bin/mailroom", "render", "/run/mailroom/health.json").stdout
    assert ":143" in shown and ":993" in shown and ":110" not in shown and ":995" not in shown


def test_dovecots_drop_in_files_do_not_set_what_mailroom_decides(lab):
    options = drop_in("dovecot.d/10.conf", "mail_debug = yes\nauth_allow_cleartext = yes\n")
    done = docker("run", "--rm", "--label", "mailroom-test", "--network", "none", *options, "metabuilder-postfix", "check", check=False)
    assert done.returncode == 64
    assert "/etc/mailroom/dovecot.d/10.conf:2: auth_allow_cleartext = yes\n      is decided by mailroom" in done.stderr


def test_a_reload_says_which_edited_files_it_wrote_anew(lab):
    server = lab.server(alias="edited")
    server.sh("sed -i 's/^smtpd_banner = .*/smtpd_banner = edited/' /etc/postfix/main.cf && postfix reload")
    done = server.exec("mailroom", "reload")
    assert done.stdout.startswith("Reloaded: postfix (nothing has changed, but") and "/etc/postfix/main.cf)" in done.stdout, done.stdout
    assert "edited" not in server.exec("postconf", "-h", "smtpd_banner").stdout
    assert server.exec("mailroom", "reload").stdout == "Reloaded: nothing has changed\n"


def test_a_table_that_differs_at_each_build_is_no_change(lab):
    server = lab.server(alias="hashed", healthy=False, env={"POSTFIX_SENDER_BCC_MAPS": "hash:/etc/postfix/mine"},
                        options=["-v", f"{table()}:/etc/postfix/mine:ro"])
    server.wait_until_healthy()
    first = server.sh("stat -c %i.%Y /etc/postfix/mine.db").stdout
    for _ in range(2):
        assert server.exec("mailroom", "reload").stdout == "Reloaded: nothing has changed\n"
    assert server.sh("stat -c %i.%Y /etc/postfix/mine.db").stdout == first


def table():
    path = WORK / name("mine")
    path.write_text("a@example.org b@example.org\n")
    return path


def test_two_reloads_at_once(lab, client):
    """Of Dovecot: services that need its socket are held over both."""
    server = lab.server(alias="twice")
    server.sh("""mkdir -p /etc/mailroom/dovecot.d
for greeting in one two three; do
    echo "login_greeting = $greeting" >/etc/mailroom/dovecot.d/x.conf
    mailroom reload & sleep 0.02
done; wait""")
    until(lambda: "three" in server.sh("exec 3<>/dev/tcp/127.0.0.1/143; read -r line <&3; echo $line", check=False).stdout, "the last one counts")
    server.wait_until_healthy()
    assert "T" not in server.sh("ps -o stat= -C master,qmgr,smtpd").stdout, "no process is left standing still"
