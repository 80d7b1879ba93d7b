"""Servers and clients for the system tests: containers on a docker network without a way out. What a test starts is
removed when it ends."""

import contextlib
import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest

IMAGE = "metabuilder-postfix"
CLIENT_IMAGE = "mailroom-test"
LABEL = "mailroom-test"
WORK = Path(os.environ["WORK"])
DEADLINE = 30
# There is no buildx beside the client here.
os.environ["DOCKER_BUILDKIT"] = "0"


def docker(*arguments, check=True, input=None, timeout=120):
    """Runs docker; returns the finished process, output as text."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, errors="replace",
                          input=input, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def until(condition, what, deadline=DEADLINE):
    """Waits until condition() returns something true, and returns it. What is waited for is a text, or gives one."""
    end = time.monotonic() + deadline
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {deadline} s: {what() if callable(what) else what}"
        time.sleep(0.05)


def name(what):
    return f"mailroom-{what}-{uuid.uuid4().hex[:8]}"


class Container:
    def __init__(self, id, name):
        self.id, self.name = id, name

    def exec(self, *command, check=True, input=None, user=None, timeout=60):
        options = ["-i"] if input is not None else []
        options += ["-u", user] if user else []
        return docker("exec", *options, self.id, *command, check=check, input=input, timeout=timeout)

    def sh(self, script, check=True):
        return self.exec("bash", "-c", script, check=check)

    def logs(self):
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def inspect(self, template):
        return docker("inspect", "-f", template, self.id).stdout.strip()

    @property
    def address(self):
        return self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def wait_until_healthy(self):
        def healthy():
            assert self.inspect("{{.State.Running}}") == "true", self.logs()
            return self.exec("/healthcheck", check=False).returncode == 0

        until(healthy, lambda: f"healthy: {self.logs()}")
        return self

    def wait_for_log(self, text):
        return until(lambda: [line for line in self.logs().splitlines() if text in line], f"log line {text!r}")

    def python(self, script, check=True):
        return self.exec("python3", "-", input=script, check=check)


def telnet(server, port, *exchanges, host="localhost"):
    """Types into telnet inside the server's container, each line once the answer before it has come: pairs of an
    expected text and the line to type then. Returns all that appeared."""
    command = ["timeout", "20", "docker", "exec", "-i", server.id, "telnet", host, str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = b""
    for expected, line in exchanges:
        while expected.encode() not in seen:
            more = os.read(process.stdout.fileno(), 4096)
            assert more, f"{expected!r} did not appear in {seen.decode()!r}"
            seen += more
        process.stdin.write(line.encode() + b"\r\n")
        process.stdin.flush()
    return (seen + process.communicate(timeout=30)[0]).decode()


# Begins a message and goes no further, until it is told to.
BEGIN = """
import smtplib, sys
smtp = smtplib.SMTP(sys.argv[1], 25); smtp.helo(); smtp.docmd("MAIL", "FROM:<a@example.org>")
smtp.docmd("RCPT", "TO:<user@metabuilder.local>"); print(smtp.docmd("DATA")[0], flush=True)
if sys.stdin.readline():
    smtp.send("Subject: begun\\r\\n\\r\\nx\\r\\n.\\r\\n"); print(smtp.getreply()[0], flush=True)
"""


@contextlib.contextmanager
def in_data(client, host):
    """A session in the middle of DATA. A line typed into it ends the message; its answer is printed."""
    talk = subprocess.Popen(["docker", "exec", "-i", client.id, "python3", "-c", BEGIN, host], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert talk.stdout.readline() == "354\n"
        yield talk
    finally:
        talk.kill()


def slowest_greeting(client, host, connections):
    """Connects that many times to port 25, each time to be greeted; returns the longest time in seconds."""
    return float(client.python(f"""
import socket, time
slowest = 0
for _ in range({connections}):
    begun = time.monotonic()
    with socket.create_connection(("{host}", 25), timeout=5) as s:
        assert s.recv(100).startswith(b"220 ")
    slowest = max(slowest, time.monotonic() - begun)
print(slowest)
""").stdout)


def scratch(options):
    """fuse-overlayfs at times takes a new file for a deleted one whose inode number it has got: open(2) of a file that was
    just made finds a socket, and a daemon fails for it. There, what is rewritten at every start lies on volumes, which
    live as long as the container's own layer."""
    if "--tmpfs" in options or docker("info", "-f", "{{.Driver}}").stdout.strip() != "fuse-overlayfs":
        return []
    return ["-v", "/run", "-v", "/tmp"]


class Lab:
    """One network, and the containers and volumes that were made for it."""

    def __init__(self, internal=True):
        self.network = name("net")
        docker("network", "create", "--label", LABEL, *(["--internal"] if internal else []), self.network)
        self.containers, self.volumes = [], []

    def run(self, image, *arguments, options=(), network=None):
        container = name("c")
        # Before it is there: one that cannot be started is there all the same.
        self.containers.append(container)
        id = docker(
            "run", "-d", "--label", LABEL, "--name", container, "--network", network or self.network,
            *options, image, *arguments,
        ).stdout.strip()
        return Container(id, container)

    def server(self, *, env=None, options=(), alias="postfix", network=None, healthy=True, image=IMAGE):
        env = {} if env is None else env
        variables = [part for pair in env.items() for part in ("-e", "=".join(pair))]
        aliases = ["--network-alias", alias, "--label", f"alias={alias}"] if network is None else []
        server = self.run(image, options=[*variables, *aliases, *scratch(options), *options], network=network)
        return server.wait_until_healthy() if healthy else server

    def client(self):
        return self.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init"])

    def companion(self, server):
        """A client that shares the server's processes and its network: it can kill and connect within milliseconds."""
        options = ["--init", "--pid", f"container:{server.id}"]
        return self.run(CLIENT_IMAGE, "sleep", "infinity", options=options, network=f"container:{server.id}")

    def sink(self, alias="sink"):
        """Takes mail for anybody and keeps it in /mail, one file per message."""
        sink = self.run(
            IMAGE, "-c", "mkdir -m 777 /mail && exec smtp-sink -u nobody -D /mail/%M. 0.0.0.0:25 100",
            options=["--network-alias", alias, "--entrypoint", "bash", "--no-healthcheck"],
        )
        until(lambda: "0.0.0.0:25" in sink.sh("netstat -tln").stdout, "the sink listens")
        return sink

    def volume(self):
        volume = name("v")
        docker("volume", "create", "--label", LABEL, volume)
        self.volumes.append(volume)
        return volume

    def remove(self, containers=0, volumes=0):
        """Removes what was made after the first so many."""
        for command, made, kept in [("rm", self.containers, containers), ("volume rm", self.volumes, volumes)]:
            if made[kept:]:
                docker(*command.split(), "-fv" if command == "rm" else "-f", *made[kept:], check=False)
            del made[kept:]

    def close(self):
        self.remove()
        docker("network", "rm", self.network, check=False)


@pytest.fixture(scope="module")
def lab():
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(autouse=True)
def tidy(request):
    """What a test has made on the module's network ends with it; what the module's fixtures have made stays."""
    if "lab" not in request.fixturenames:
        yield
        return
    lab = request.getfixturevalue("lab")
    kept = len(lab.containers), len(lab.volumes)
    yield
    lab.remove(*kept)


@pytest.fixture
def own_lab():
    """A network of the test's own: nobody else is called postfix there."""
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def sink(lab):
    """Where the server's mail for outside goes."""
    return lab.sink()


@pytest.fixture(scope="module")
def server(lab, sink):
    """A server with nothing set but a sink for outside mail."""
    return lab.server(env={"POSTFIX_RELAYHOST": "[sink]:25"})


@pytest.fixture(scope="module")
def client(lab):
    return lab.client()


@pytest.fixture
def figure(record_property):
    """Tells a figure that was measured, at the end of the run."""
    return lambda what, figures: record_property("figure", f"{what}: {figures}")


def pytest_terminal_summary(terminalreporter):
    """The figures, and the table of the fault tests."""
    import test_faults

    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [each for report in reports if getattr(report, "when", "") == "call" for each in report.user_properties]
    figures = [value for name, value in properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
    if not test_faults.ROWS:
        return
    terminalreporter.section("faults")
    line = "{:<47} {:>7} {:>5} {:>11} {:>8}  {}".format
    terminalreporter.write_line(line("fault", "acked", "lost", "duplicated", "healthy", ""))
    for fault, acked, lost, duplicated, seconds, note in test_faults.ROWS:
        shown = f"{seconds:.2f} s" if seconds != "" else ""
        terminalreporter.write_line(line(fault, acked, lost, duplicated, shown, note))
