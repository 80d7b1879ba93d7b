"""The house: a daemon is a folder and a line. A made-up one (`greeter/`) is added to a copy of the sources, built, and lives
with the others: rendered, checked, started in order, probed, logged, restarted, reloaded, drained and stopped."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import IMAGE, LABEL, WORK, docker, name, until

# It builds the crate: it is begun first, by one of the processes that run tests, so that no other waits for it.
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("house")]
SOURCES = Path("/mailroom")
# What the folder needs beside itself: its line in the list, and the line without which Rust does not compile a folder.
LINE = "    &crate::greeter::Greeter,\n"
MODULE = "mod greeter;\n"


@pytest.fixture(scope="module")
def image():
    """The image with the daemon in it."""
    copy = WORK / name("house")
    copy.mkdir()
    for each in ["Cargo.toml", "Cargo.lock", "src", "templates", "README.md"]:
        (shutil.copytree if (SOURCES / each).is_dir() else shutil.copy)(SOURCES / each, copy / each)
    shutil.copytree("greeter", copy / "src/greeter")
    for path, line, before in [("src/daemons.rs", LINE, "];"), ("src/lib.rs", MODULE, "mod health;")]:
        text = (copy / path).read_text()
        assert text.count(f"\n{before}\n") == 1
        (copy / path).write_text(text.replace(f"\n{before}\n", f"\n{line}{before}\n"))
    changed = subprocess.run(["diff", "-rq", SOURCES / "src", copy / "src"], capture_output=True, text=True).stdout
    assert sorted(changed.split("\n"))[1:] == [
        f"Files {SOURCES}/src/daemons.rs and {copy}/src/daemons.rs differ",
        f"Files {SOURCES}/src/lib.rs and {copy}/src/lib.rs differ",
        f"Only in {copy}/src: greeter"]
    # The build stage has the compiled dependencies.
    docker("run", "--rm", "--label", LABEL, "--network", "none", "-v", f"{copy}:/copy", "mailroom-build", "sh", "-ec",
           "rm -rf src templates && cp -r /copy/src /copy/templates . && find src -type f -exec touch {} + "
           "&& cargo build --release --locked --offline -q && cp target/release/mailroom /copy/mailroom", timeout=600)
    (copy / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY mailroom /usr/local/bin/mailroom\n")
    tag = name("image")
    docker("build", "-q", "--network", "none", "--label", LABEL, "-t", tag, str(copy))
    return tag


@pytest.fixture(scope="module")
def greeter(lab, image):
    return lab.server(alias="greeter", image=image, env={"GREETER_WORD": "welcome"})


ASK = """
import socket
s = socket.create_connection(("127.0.0.1", 7000)); s.settimeout(10); print(s.recv(100).decode().strip())
"""


def test_its_variables_are_checked_with_the_others(image):
    run = ["run", "--rm", "--label", LABEL, "--network", "none"]
    done = docker(*run, "-e", "GREETER_WORD=bye", "-e", "GREETER_PROT=1", "-e", "POSTFIX_MYHOSTNAM=x", image, check=False)
    assert done.returncode == 64
    for said in ["3 environment variables are wrong", "is no greeting", "did you mean GREETER_PORT?", "did you mean POSTFIX_MYHOSTNAME?"]:
        assert said in done.stderr, done.stderr
    done = docker(*run, "-e", "GREETER_WORD=rude", "-e", "DOVECOT_MAIL_DEBG=yes", image, "check", check=False)
    assert done.returncode == 64, done.stderr
    assert "GREETER_WORD=rude\n      is refused by the greeter" in done.stderr
    assert "did you mean DOVECOT_MAIL_DEBUG?" in done.stderr, "the checkers' objections are one report"
    assert "| `GREETER_WORD` | `hello` | text | What it says. |" in docker(*run, image, "help-env", "--markdown").stdout
    rendered = docker(*run, "-e", "GREETER_WORD=welcome", image, "render", "/run/mailroom/greeter/greeter.conf").stdout
    assert "word = welcome\nport = 7000\n" in rendered


def test_it_is_started_probed_and_logged_with_the_others(lab, greeter):
    logs = greeter.logs()
    assert "Configuring: word = welcome" in logs
    ready = [re.search(f"{each} is ready", logs).start() for each in ("dovecot", "greeter", "postfix")]
    assert min(ready) == ready[0], "it needs Dovecot's socket"
    said = greeter.exec("/healthcheck").stdout
    assert re.match("healthy: ports 25 587 465 110 143 993 995 7000 and logins answer", said), said
    assert "220 welcome" in lab.companion(greeter).python(ASK).stdout
    until(lambda: "greeter: greeted 127.0.0.1" in greeter.sh("cat /var/log/greeter.log").stdout, "its line in its file")
    assert "127.0.0.9" not in greeter.logs(), "the probe's lines are dropped"
    assert "greeter" not in greeter.sh("cat /var/log/mail.log").stdout
    assert re.search(r"postfix greeter: starting", greeter.logs()), "what it prints"


def test_it_is_reloaded_alone(lab, greeter):
    greeter.sh("mkdir -p /etc/mailroom/main.cf.d; echo 'smtpd_banner = other' >/etc/mailroom/main.cf.d/x.cf")
    assert greeter.exec("mailroom", "reload").stdout == "Reloaded: postfix\n"
    assert "reads its configuration again" not in greeter.sh("cat /var/log/greeter.log").stdout
    greeter.sh("sed -i 's/welcome/edited/' /run/mailroom/greeter/greeter.conf")
    greeter.exec("mailroom", "reload")
    assert "welcome" in greeter.sh("cat /run/mailroom/greeter/greeter.conf").stdout, "put back"
    greeter.sh("rm /etc/mailroom/main.cf.d/x.cf; kill -HUP $(pgrep -x greeter)")
    until(lambda: "reads its configuration again" in greeter.sh("cat /var/log/greeter.log").stdout, "it has read it")


def test_it_is_restarted(lab, greeter):
    greeter.sh("pkill -9 -x greeter")
    greeter.wait_for_log("greeter was ended by SIGKILL; it is started again in")
    greeter.wait_until_healthy()
    greeter.sh("pkill -TERM -x greeter")
    greeter.wait_for_log("greeter was stopped by hand")
    until(lambda: "greeter: stopped by hand" in greeter.exec("/healthcheck", check=False).stdout, "the health check says so")


def test_it_finishes_its_work_and_stops_before_what_it_needs(lab, image):
    server = lab.server(alias="leaving", image=image)
    companion = lab.companion(server)
    # It is there before the end begins: on a busy machine a new process takes longer than that.
    turned_away = subprocess.Popen(["docker", "exec", companion.id, "timeout", "60", "python3", "-c", """
import socket, time
said = b""
while b"421 later" not in said:
    try:
        with socket.create_connection(("127.0.0.1", 7000), timeout=5) as s: said = s.recv(100)
    except OSError:
        said = b""
    print(said.decode().strip(), flush=True)
    time.sleep(0.05)
"""], stdout=subprocess.PIPE, text=True)
    assert turned_away.stdout.readline() == "220 hello\n"
    talk = subprocess.Popen(["docker", "exec", "-i", companion.id, "python3", "-c", """
import socket, sys
s = socket.create_connection(("127.0.0.1", 7000)); s.settimeout(10); print(s.recv(100).decode().strip(), flush=True)
sys.stdin.readline(); s.sendall(b"QUIT\\r\\n"); print(s.recv(100).decode().strip(), flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert talk.stdout.readline() == "220 hello\n"
    docker("kill", "-s", "TERM", server.id)
    server.wait_for_log("greeter takes no new clients and finishes its work")
    assert turned_away.communicate(timeout=90)[0].endswith("421 later\n"), "new clients are turned away"
    talk.stdin.write("\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == "250 done\n"
    assert docker("wait", server.id).stdout == "0\n"
    logs = server.logs()
    assert "greeter: ends" in logs and "did not end in time" not in logs
    assert logs.index("greeter: ends") < logs.index("dovecot: master: Warning: Killed with signal 15")
