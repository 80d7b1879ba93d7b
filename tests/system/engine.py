"""The engine's API over its socket, for what tests ask again and again: starting a docker client for each question would
take most of the time. Only what is not typed as a user would type it goes this way."""

import functools
import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.parse

SOCKET = "/var/run/docker.sock"


class Refused(AssertionError):
    """The engine has answered with an error."""

    def __init__(self, status, text):
        super().__init__(f"the engine answers {status}: {text}")
        self.status, self.text = status, text


def send(method, path, body, timeout):
    """Sends one request on a connection of its own; returns the connection, and the answer with its headers read."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(SOCKET)
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    if answer.status >= 400:
        text = answer.read().decode(errors="replace")
        connection.close()
        try:
            text = json.loads(text)["message"]
        except (ValueError, KeyError):
            pass
        raise Refused(answer.status, text)
    return connection, answer


@functools.cache
def version():
    """The newest version of the API that the engine speaks; it speaks that one in full."""
    connection, answer = send("GET", "/version", None, 30)
    with connection, answer:
        return json.load(answer)["ApiVersion"]


def ask(method, path, body=None, timeout=120, **query):
    """One request; returns the body of the answer, read from JSON where it is JSON."""
    connection, answer = send(method, address(path, query), body, timeout)
    with connection, answer:
        text = answer.read()
        return json.loads(text) if answer.headers.get_content_type() == "application/json" and text else text


def address(path, query):
    return f"/v{version()}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")


def frames(stream):
    """A container's output comes in frames: the stream's number, and a piece of what was written there."""
    while True:
        head = stream.read(8)
        if len(head) < 8:
            return
        yield head[0], stream.read(int.from_bytes(head[4:8], "big"))


def text(pieces):
    return b"".join(pieces).decode(errors="replace").replace("\r\n", "\n")


def logs(container, since=0):
    """What a container has written to both streams, in the order in which it was written."""
    query = {"stdout": 1, "stderr": 1, "since": f"{since:.9f}"}
    connection, answer = send("GET", address(f"/containers/{container}/logs", query), None, 60)
    with connection, answer:
        return text(piece for _, piece in frames(answer))


def execute(container, command, input=None, user=None, timeout=60):
    """`docker exec`: returns the finished process, output as text. Where the engine cannot start it, it has failed."""
    end = time.monotonic() + timeout
    what = {"Cmd": list(command), "AttachStdin": input is not None, "AttachStdout": True, "AttachStderr": True,
            "User": user or ""}
    try:
        id = ask("POST", f"/containers/{container}/exec", what)["Id"]
        connection, answer = send("POST", address(f"/exec/{id}/start", {}), {"Detach": False, "Tty": False}, timeout)
    except Refused as refused:
        return subprocess.CompletedProcess(command, 126, "", refused.text)
    pieces = {1: [], 2: []}
    with connection, answer:
        if input is not None:
            threading.Thread(target=write, args=(connection.dup(), input.encode()), daemon=True).start()
        try:
            for stream, piece in frames(answer):
                pieces[stream].append(piece)
                connection.settimeout(max(0.001, end - time.monotonic()))
        except TimeoutError:
            raise subprocess.TimeoutExpired(command, timeout, text(pieces[1]), text(pieces[2])) from None
    # The streams may end a little before the process does.
    while (state := ask("GET", f"/exec/{id}/json"))["Running"] or state["ExitCode"] is None:
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired(command, timeout, text(pieces[1]), text(pieces[2]))
        time.sleep(0.005)
    return subprocess.CompletedProcess(command, state["ExitCode"], text(pieces[1]), text(pieces[2]))


def write(connection, data):
    """Standard input, up to its end. A process may end without having read it."""
    with connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def remove(kind, name, **query):
    """Removes a container, a volume or a network. One that is not there, or is in use, is nobody's mistake."""
    try:
        ask("DELETE", f"/{kind}/{name}", **query)
    except Refused:
        pass
