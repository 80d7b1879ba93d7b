"""docker/up: a healthy server, or one report of what is wrong and a container that has stopped."""

import os
import shutil
import subprocess

import pytest

from lab import IMAGE, LABEL, WORK, docker, name

PORTS = "25 587 465 110 143 993 995".split()


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
    for script in directory.glob("docker/*"):
        script.chmod(0o755)

    def run(**variables):
        done = subprocess.run(["docker/up", "--no-install"], cwd=directory, env={**os.environ, **variables},
                              capture_output=True, text=True, timeout=120)
        state = docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", container).stdout.strip()
        return done, state

    yield run
    docker("compose", "--project-directory", str(directory), "down", "-v")


def test_a_wrong_setting_is_reported_once_and_is_no_restart_loop(up):
    done, state = up(MAILROOM_CATCH_ALL="off")
    # In between it may have been started once more, and stopped before it had read anything.
    assert done.returncode == 1 and state.startswith("exited"), (state, done.stderr)
    assert done.stderr.count("MAILROOM_CATCH_ALL=off") == 1
    *_, before, last = done.stderr.splitlines()
    assert before == "mailroom help-env lists every variable"
    assert last == ("docker/up: the container stopped with exit code 64: a setting is wrong (above). "
                    "Correct it and run docker/up again")


def test_once_it_is_corrected_the_server_is_up(up):
    done, state = up(MAILROOM_CATCH_ALL="user")
    assert done.returncode == 0 and state.startswith("running"), done.stderr
    assert "Mailroom is up" in done.stdout and "all of it is in the mailbox of user" in done.stdout
    assert "healthy: ports 25 587 465 110 143 993 995" in done.stderr
