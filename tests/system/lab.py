"""Servers and clients for the system tests: containers on a docker network without a way out."""

import contextlib
import functools
import os
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine

IMAGE = "metabuilder-postfix"
CLIENT_IMAGE = "mailroom-test"
LABEL = "mailroom-test"
WORK = Path(os.environ["WORK"])
DEADLINE = 30
# docker/test --long: what is done to see whether it breaks is done more often.
LONG = os.environ.get("LONG") == "1"
TIMES = 10 if LONG else 3
# There is no buildx beside the client here.
os.environ["DOCKER_BUILDKIT"] = "0"


def docker(*arguments, check=True, input=None, timeout=120):
    """Runs docker as a user would; returns the finished process, output as text."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, errors="replace",
                          input=input, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def run_once(*options, image=IMAGE, command=(), check=True):
    """A container without a network that does one thing and is removed: `docker run --rm OPTIONS IMAGE COMMAND`."""
    return docker("run", "--rm", "--label", LABEL, "--network", "none", *options, image, *command, check=check)


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
        done = engine.execute(self.id, command, input=input, user=user, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def sh(self, script, check=True):
        return self.exec("bash", "-c", script, check=check)

    def python(self, script, check=True):
        return self.exec("python3", "-", input=script, check=check)

    def logs(self, since=0):
        return engine.logs(self.id, since)

    def inspect(self):
        return engine.ask("GET", f"/containers/{self.id}/json")

    @property
    def running(self):
        return self.inspect()["State"]["Running"]

    @property
    def address(self):
        return "".join(network["IPAddress"] for network in self.inspect()["NetworkSettings"]["Networks"].values())

    @property
    def exit_code(self):
        return self.inspect()["State"]["ExitCode"]

    def wait(self):
        """Waits for its end; returns its exit code."""
        return engine.ask("POST", f"/containers/{self.id}/wait")["StatusCode"]

    def wait_for(self, script, what, deadline=DEADLINE):
        """Waits until a script succeeds inside the container: one exec for all attempts. Returns what it printed then."""
        attempts = f"until said=$({script}); do sleep 0.05; done; printf %s \"$said\""
        done = self.exec("timeout", str(deadline), "bash", "-c", attempts, check=False, timeout=deadline + 30)
        assert done.returncode == 0, f"not within {deadline} s: {what} ({done.stderr}): {self.logs()}"
        return done.stdout

    def wait_until_healthy(self, deadline=DEADLINE):
        self.wait_for("/healthcheck", "healthy", deadline)
        return self

    def wait_for_mail(self, user="user"):
        self.wait_for(f"ls /var/mail/{user}/Maildir/new | grep .", f"mail for {user}")

    def wait_for_log(self, text):
        return until(lambda: [line for line in self.logs().splitlines() if text in line],
                     lambda: f"log line {text!r} in {self.logs()}")


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


# Begins a message, and finishes it when a line comes.
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


@functools.cache
def driver():
    return engine.ask("GET", "/info")["Driver"]


def scratch(options):
    """fuse-overlayfs at times takes a new file for a deleted one whose inode number it has got: open(2) of a file that was
    just made finds a socket, and a daemon fails for it. There, what is rewritten at every start lies on volumes, which
    live as long as the container's own layer."""
    if "--tmpfs" in options or driver() != "fuse-overlayfs":
        return []
    return ["-v", "/run", "-v", "/tmp"]


def create_network(network, internal=True, subnet=None):
    addresses = {"IPAM": {"Config": [{"Subnet": subnet}]}} if subnet else {}
    engine.ask("POST", "/networks/create", {"Name": network, "Internal": internal, "Labels": {LABEL: ""}, **addresses})


class Lab:
    """One network, and the containers and volumes that were made for it."""

    def __init__(self, internal=True, subnet=None):
        self.network = name("net")
        create_network(self.network, internal, subnet)
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
        sink.wait_for("netstat -tln | grep 0.0.0.0:25", "the sink listens")
        return sink

    def volume(self):
        volume = name("v")
        engine.ask("POST", "/volumes/create", {"Name": volume, "Labels": {LABEL: ""}})
        self.volumes.append(volume)
        return volume

    def remove(self, containers=0, volumes=0):
        """Removes what was made after the first so many."""
        with ThreadPoolExecutor(8) as at_once:
            for container in self.containers[containers:]:
                at_once.submit(engine.remove, "containers", container, force=1, v=1)
        for volume in self.volumes[volumes:]:
            engine.remove("volumes", volume, force=1)
        del self.containers[containers:], self.volumes[volumes:]

    def remove_all(self, *containers):
        """Removes these, before the test has ended."""
        with ThreadPoolExecutor(8) as at_once:
            for container in containers:
                at_once.submit(engine.remove, "containers", container.id, force=1, v=1)

    def close(self):
        self.remove()
        engine.remove("networks", self.network)
