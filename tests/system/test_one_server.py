"""One server for one /run: a second one is refused before it has touched anything."""

import pytest

from lab import IMAGE, name, until


def is_untouched(server, work):
    """Does something; the server's processes, files and log are as before, and it is healthy."""
    look = "cat /var/spool/postfix/pid/master.pid /run/dovecot/master.pid; cd /run/mailroom; find . -type f -o -type s | " \
           "grep -v health.json | sort | xargs stat -c '%n %i %y'"
    before = server.sh(look).stdout, server.logs()
    done = work()
    assert (server.sh(look).stdout, server.logs()) == before
    assert server.exec("mailroom", "reload").returncode == 0
    server.wait_until_healthy()
    return done


@pytest.mark.parametrize("command", [["mailroom", "run"], ["mailroom"]], ids=lambda command: " ".join(command))
def test_a_second_server_in_the_container(lab, command):
    server = lab.server(alias=name("only"))
    done = is_untouched(server, lambda: server.exec(*command, check=False))
    assert done.returncode == 78 and done.stdout == ""
    host = server.inspect()["Config"]["Hostname"]
    assert done.stderr.count("\n") == 1
    assert f"a server is already running here (process 1 of {host} since 20" in done.stderr, done.stderr
    assert "mailroom reload" in done.stderr


def test_a_second_server_on_the_same_run(lab):
    """As with -v /run:/run, and with volumes of its own."""
    run = ["-v", f"{lab.volume()}:/run"]
    first = lab.server(alias=name("first"), options=run)
    second = is_untouched(first, lambda: lab.server(alias=name("second"), options=run, healthy=False))
    assert second.wait() == 78
    assert f"(process 1 of {first.inspect()['Config']['Hostname']} since" in second.logs()


def test_two_at_the_same_moment(lab):
    container = lab.run(IMAGE, "infinity", options=["--entrypoint", "sleep", "--init", "--no-healthcheck"])
    start = "for each in 1 2 3; do { mailroom >/tmp/$each 2>&1; echo $? >/tmp/code.$each; } & done; sleep infinity"
    container.exec("bash", "-c", f"setsid bash -c '{start}' >/dev/null 2>&1 </dev/null &")
    container.wait_for("cat /tmp/code.* | grep -c 78 | grep 2", "two are refused")
    container.wait_until_healthy()
    assert container.sh("cat /tmp/[123] | grep -c 'already running here'").stdout == "2\n"


def test_what_a_dead_server_has_left_keeps_nobody_out(lab):
    container = lab.run(IMAGE, "infinity", options=["--entrypoint", "sleep", "--init", "--no-healthcheck"])
    start = "setsid mailroom >/tmp/log 2>&1 </dev/null & echo $!"
    for _ in range(2):
        container.sh(start)
        container.wait_until_healthy()
        assert container.sh("ls /run/mailroom/control /run/mailroom/.mailroom-lock").returncode == 0
        container.sh("pkill -KILL -x mailroom")
        until(lambda: container.sh("pgrep -x mailroom", check=False).returncode == 1, "it is gone")
