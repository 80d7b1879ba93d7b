"""Start, stop, restart, mistakes, health."""

import time

from conftest import IMAGE, docker, until


def test_stop_is_quick_and_clean_and_start_brings_everything_back(lab):
    server = lab.server(alias="life")
    fingerprint = server.sh("md5sum /etc/dovecot/certs/*").stdout
    server.sh("printf 'Subject: kept\n\nx\n' | sendmail user@metabuilder.local")
    until(lambda: server.sh("ls /var/mail/user/Maildir/new").stdout, "mail")
    begun = time.monotonic()
    docker("stop", server.id)
    assert time.monotonic() - begun < 2
    assert server.inspect("{{.State.ExitCode}}") == "0"
    docker("start", server.id)
    server.wait_until_healthy()
    assert server.sh("md5sum /etc/dovecot/certs/*").stdout == fingerprint
    assert "Subject: kept" in server.sh("cat /var/mail/user/Maildir/new/*").stdout


def test_wrong_variables_are_told_in_one_report():
    begun = time.monotonic()
    done = docker("run", "--rm", "--label", "mailroom-test", "--network", "none", "-e", "POSTFIX_MYHOSTNAM=x",
                  "-e", "POSTFIX_MESSAGE_SIZE_LIMIT=ten", "-e", "POSTFIX_MYNETWORKS=10.0.0.0/99", IMAGE, check=False)
    assert done.returncode == 64
    assert "3 environment variables are wrong" in done.stderr
    assert "did you mean POSTFIX_MYHOSTNAME?" in done.stderr
    assert "did you mean 10.0.0.0/8?" in done.stderr
    assert "such as 52428800" in done.stderr
    assert done.stdout == "" and time.monotonic() - begun < 10


def test_probes_leave_no_log_lines(server):
    before = server.logs()
    for _ in range(3):
        assert server.exec("/healthcheck").stdout.startswith("healthy: ports 25 587 465 110 143 993 995")
        assert server.exec("/healthcheck.sh").returncode == 0
    server.sh("logger -t marker done 2>/dev/null || postlog -t marker done")
    server.wait_for_log("marker")
    new = server.logs()[len(before):]
    assert "127.0.0.9" not in new and "healthcheck" not in new, new


def test_dead_daemons_come_back(lab):
    server = lab.server(alias="killed")
    for process in ["master", "dovecot"]:
        server.sh(f"pkill -9 -x {process}")
        server.wait_for_log("it is started again in")
        server.wait_until_healthy()


def test_stopped_by_hand_and_started_by_hand(lab):
    server = lab.server(alias="hand")
    server.exec("postfix", "stop")
    server.wait_for_log("postfix was stopped by hand")
    server.exec("postfix", "start")
    server.wait_for_log("postfix was started by hand")
    server.wait_until_healthy()
    assert server.exec("postfix", "status").returncode == 0


def test_read_only_root(lab):
    volumes = [part for path in ["/var/mail", "/etc/postfix", "/etc/dovecot/certs", "/var/spool/postfix",
               "/var/lib/mailroom"] for part in ("-v", f"{lab.volume()}:{path}")]
    server = lab.server(alias="readonly", options=[
        "--read-only", "--tmpfs", "/run", "--tmpfs", "/tmp", "--tmpfs", "/var/log",
        "--add-host", "healthcheck:127.0.0.9", *volumes])
    assert server.exec("touch", "/x", check=False).returncode != 0


def test_no_network(lab):
    lab.server(network="none")
