"""docker/up: a healthy server, or one report of what is wrong and a container that has stopped."""

import os
import re
import shutil
import subprocess

import pytest

from lab import IMAGE, LABEL, WORK, docker, name

PORTS = "25 587 465 110 143 993 995 8025".split()


@pytest.fixture(scope="module")
def up():
    """The project's docker/up and compose.yaml with an image, a name, labels and host ports of the test's own. Runs it
    with these variables; returns what it said, its exit code and the state of the container."""
    container, directory = name("up"), WORK / name("up")
    (directory / "docker").mkdir(parents=True)
    shutil.copy("/mailroom/docker/lib.sh", directory / "docker")
    script = open("/mailroom/docker/up").read()
    assert "container=metabuilder-postfix\n" in script
    (directory / "docker/up").write_text(script.replace("container=metabuilder-postfix\n", f"container={container}\n"))
    (directory / "docker/build").write_text("#!/bin/sh\n")
    compose = open("/mailroom/compose.yaml").read()
    compose = compose.replace("container_name: metabuilder-postfix", f"container_name: {container}\n    labels: [{LABEL}]")
    compose = compose.replace("image: metabuilder-postfix", f"image: {IMAGE}")
    for port in PORTS:
        compose = compose.replace(f'"{port}:{port}"', f'"{port}"')
    (directory / "compose.yaml").write_text(compose)
    (directory / ".env").write_text("POSTFIX_BIFF='no'\nMAILROOM_CATCH_ALL=admin  # the shell's comes first\n")
    for script in directory.glob("docker/*"):
        script.chmod(0o755)

    def run(override=None, **variables):
        (directory / "compose.override.yaml").write_text(override or "services: {}\n")
        done = subprocess.run(["docker/up", "--no-install"], cwd=directory, env={**os.environ, **variables},
                              capture_output=True, text=True, timeout=120)
        state = docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", container).stdout.strip()
        return done, state

    run.container = container
    yield run
    docker("compose", "--project-directory", str(directory), "down", "-v")


def test_a_wrong_setting_is_reported_once_and_is_no_restart_loop(up):
    done, state = up(MAILROOM_CATCH_ALL="off")
    # In between it may have been started once more, and stopped before it had read anything.
    assert done.returncode == 1 and state.startswith("exited"), (state, done.stderr)
    assert done.stderr.count("MAILROOM_CATCH_ALL=off") == 1
    *_, before, last = done.stderr.splitlines()
    assert before == "docker run --rm metabuilder-postfix help-env lists every variable"
    assert last == ("docker/up: the container stopped with exit code 64: a setting is wrong (above). "
                    "Correct it and run docker/up again")


def test_once_it_is_corrected_the_server_is_up(up):
    done, state = up(MAILROOM_CATCH_ALL="user", MAILROOM_CATCHALL="user", POSTFIX_MYDOMAIN="example.net",
                     POSTFIX_MYHOSTNAME="postfix.metabuilder.local")
    assert done.returncode == 0 and state.startswith("running"), done.stderr
    warned = [line.split()[2] for line in done.stderr.splitlines() if "WARNING: " in line]
    assert warned == ["MAILROOM_CATCHALL", "POSTFIX_BIFF", "POSTFIX_MYDOMAIN"], "what the server does not get"
    assert "Mailroom is up" in done.stdout and "all of it is in the mailbox of user" in done.stdout
    assert "healthy: ports 25 587 465 110 143 993 995" in done.stderr
    assert re.search(r"how it is +http://127\.0\.0\.1:\d+/ or docker exec \S+ mailroom status", done.stdout), done.stdout


def test_env_keeps_all_mail_and_the_banner_says_what_is_reached_where(up):
    done, _ = up()
    assert "all of it is in the mailbox of admin" in done.stdout and "fetch -u admin text" in done.stdout, done.stdout
    assert re.search(r"^ +25 .* 127\.0\.0\.1:\d+$", done.stdout, re.M) and "this machine, and containers" in done.stdout
    done, _ = up("services: {postfix: {environment: {MAILROOM_TRUST_GATEWAY: 'no', MAILROOM_CATCH_ALL: ''}}}")
    assert "trusted              containers on the same network\n" in done.stdout and "how it is              docker exec " in done.stdout
    assert "their mail is really sent\n" in done.stdout
    assert "WARNING: MAILROOM_CATCH_ALL is set" in done.stderr
    assert "user / userpass123" in done.stdout and "log in to the test accounts" in done.stdout


def test_an_address_of_another_machine(up):
    done, state = up("services: {postfix: {ports: ['192.0.2.10::25']}}")
    assert done.returncode == 1 and not state.startswith("running")
    last = done.stderr.splitlines()[-1]
    assert "an address under ports: is not one of this machine's" in last and "Until then no server runs" in last
    done, state = up()
    assert done.returncode == 0 and state.startswith("running"), done.stderr


def test_accounts_that_commands_added_are_told(up):
    without = "services: {postfix: {environment: {MAILROOM_CATCH_ALL: ''}}}"
    assert up(without)[0].returncode == 0
    docker("exec", up.container, "mailroom", "account", "add", "ann", "--generate")
    done, _ = up(without)
    assert "mailroom account list shows them; the test accounts are gone" in done.stdout, done.stdout
    assert "userpass123" not in done.stdout and "a first mail" not in done.stdout and "CATCH_ALL=NAME" in done.stdout
    docker("exec", up.container, "mailroom", "account", "remove", "ann")
    done, _ = up(without)
    assert "mailroom account add NAME adds one" in done.stdout, done.stdout
