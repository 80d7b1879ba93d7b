"""The contract: every snippet and command of the README that Mailroom was born from, and what it must give.

| Section                | Snippet                                   | What must appear                     | Test |
|------------------------|-------------------------------------------|--------------------------------------|------|
| Quick start            | docker build, compose up, docker logs -f  | a healthy server                     | docker/up; test_logs_have_the_seeds_shape |
| Compose integration    | the compose file, byte for byte           | starts, relays                       | test_the_seeds_compose_file |
| main.cf                | the block                                 | the same lines from postconf -n      | test_main_cf_block |
| Certificates           | generated pair, mounted pair              | subject, kept; used as it is         | test_certificate_subject, test_a_mounted_pair_is_used |
| Connect to container   | docker exec bash, postfix status, reload  | work                                 | test_command |
| SMTP relay testing     | smtplib on 25                             | "Email relayed successfully"         | test_mail.py |
| SMTP submission        | telnet localhost 587                      | greeting; STARTTLS first, then AUTH  | test_telnet_submission, test_mail.py |
| Accounts               | admin, relay, user; /var/mail/{user}      | log in; Maildirs                     | test_accounts_and_maildirs |
| IMAP, POP3 testing     | telnet localhost 143 and 110              | greetings; login without TLS         | test_telnet_greetings, test_mail.py |
| Auth socket            | /var/spool/postfix/private/auth           | a socket                             | test_command |
| Health                 | /healthcheck.sh                           | exit 0                               | test_life.py |
| Logs                   | docker logs, tail -f mail.log             | the lines' shapes                    | test_logs_have_the_seeds_shape, test_tail_f |
| Not starting           | postfix check                             | silent, exit 0                       | test_command |
| Connection refused     | netstat, postfix stop, postfix start      | listens; back again                  | test_command, test_life.py |
| Dovecot auth issues    | ls, tail -f dovecot.log, doveadm -D       | exit 0                               | test_command, test_auth_test, test_tail_f |
| TLS certificate issues | openssl x509, both md5sum                 | equal, and of something              | test_certificate_subject, test_modulus |
| Variables              | SMTPD_TLS_SECURITY_LEVEL=require          | MAIL only after STARTTLS             | test_tls_is_required_on_25 |
| Performance tuning     | the four variables                        | really effective                     | test_tuning |
"""

import re
import subprocess
import threading
from datetime import datetime, timedelta

import pytest

from lab import WORK, Container, docker, name, telnet, until

COMMANDS = [
    ("bash -c 'echo $BASH_VERSION'", r"5\."),
    ("postfix status", r"^$"),
    ("postfix check", r"^$"),
    ("postfix reload", r"^$"),
    ("postconf -n >/dev/null", r"^$"),
    ("postconf -M >/dev/null", r"^$"),
    ("doveconf -n >/dev/null", r"^$"),
    ("netstat -tlnp | grep :25", r"0\.0\.0\.0:25 "),
    ("ls -la /var/spool/postfix/private/auth", r"^srw-rw---- 1 postfix postfix "),
    ("openssl x509 -in /etc/dovecot/certs/dovecot.crt -text -noout", r"Public-Key: \(2048 bit\)"),
    ("/healthcheck.sh", r"^healthy: "),
]


@pytest.mark.parametrize("command, expected", COMMANDS, ids=[command for command, _ in COMMANDS])
def test_command(server, command, expected):
    done = server.sh(command)
    silent = expected == "^$"
    said = done.stdout + ("" if "doveadm" in command or "reload" in command or "status" in command else done.stderr)
    assert re.search(expected, said, re.MULTILINE), (done.stdout, done.stderr)
    assert not silent or said == "", said
    server.wait_until_healthy()


def test_auth_test(server):
    """As written, without a password: it asks for one, on standard input too."""
    done = server.exec("doveadm", "-D", "auth", "test", "admin", input="adminpass123\n")
    assert "passdb: admin auth succeeded" in done.stdout
    done = server.exec("doveadm", "-D", "auth", "test", "admin", check=False)
    assert done.returncode == 77 and "auth failed" in done.stdout, done.stdout + done.stderr


def test_tls_is_required_on_25(lab, client):
    lab.server(alias="strict", env={"POSTFIX_SMTPD_TLS_SECURITY_LEVEL": "require"})
    said = client.python("""
import smtplib, ssl
smtp = smtplib.SMTP("strict", 25); smtp.ehlo()
print(*smtp.docmd("MAIL", "FROM:<a@example.org>"))
smtp.starttls(context=ssl._create_unverified_context()); smtp.ehlo()
print(*smtp.docmd("MAIL", "FROM:<a@example.org>"))
""").stdout.splitlines()
    assert said[0].startswith("530 b'5.7.0 Must issue a STARTTLS command first") and said[1].startswith("250 "), said


MAIN_CF = """
myhostname = postfix.metabuilder.local
mydomain = metabuilder.local
myorigin = $mydomain
inet_interfaces = all
inet_protocols = ipv4
mynetworks = 127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/dovecot/certs/dovecot.crt
smtpd_tls_key_file = /etc/dovecot/certs/dovecot.key
message_size_limit = 52428800
mailbox_size_limit = 0
"""


def test_main_cf_block(lab):
    networks = "127.0.0.1/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
    server = lab.server(alias="block", env={"POSTFIX_MYNETWORKS": networks, "MAILROOM_TRUST_GATEWAY": "yes"})
    lines = server.exec("postconf", "-n").stdout.splitlines()
    assert [line for line in MAIN_CF.split("\n") if line and line not in lines] == []


def test_telnet_submission(server):
    said = telnet(server, 587, ("220 postfix.metabuilder.local ESMTP Postfix", "EHLO client.example.com"),
                  ("250 CHUNKING", "QUIT"))
    assert "Connected to localhost." in said and "Escape character is '^]'." in said
    assert "250-STARTTLS" in said and "AUTH" not in said


@pytest.mark.parametrize("port, greeting", [(143, "* OK"), (110, "+OK")])
def test_telnet_greetings(server, port, greeting):
    telnet(server, port, (greeting, "a LOGOUT" if port == 143 else "QUIT"))


def test_accounts_and_maildirs(server):
    for user in ["admin", "relay", "user"]:
        assert server.exec("test", "-d", f"/var/mail/{user}/Maildir/cur").returncode == 0
        for login in [user, f"{user}@metabuilder.local", user.upper()]:
            assert server.exec("doveadm", "auth", "test", login, f"{user}pass123").returncode == 0
        assert server.exec("doveadm", "auth", "test", user, "wrong", check=False).returncode == 77


def test_modulus(server):
    crt, key = "/etc/dovecot/certs/dovecot.crt", "/etc/dovecot/certs/dovecot.key"
    sums = server.sh(f"openssl x509 -noout -modulus -in {crt} | md5sum; openssl rsa -noout -modulus -in {key} | md5sum")
    first, second = sums.stdout.split("\n")[:2]
    nothing = server.sh("md5sum </dev/null").stdout.strip()
    assert first == second != nothing


def test_certificate_subject(server):
    text = server.sh("openssl x509 -in /etc/dovecot/certs/dovecot.crt -noout -subject -ext subjectAltName -dates").stdout
    assert "subject=C=US, ST=State, L=City, O=MetaBuilder, CN=postfix.metabuilder.local" in text
    assert "DNS:postfix.metabuilder.local, DNS:postfix, DNS:localhost" in text
    begins, ends = (datetime.strptime(date, "%b %d %H:%M:%S %Y %Z") for date in re.findall(r"^not\w+=(.*)$", text, re.MULTILINE))
    assert ends - begins == timedelta(days=365)


def test_clients_can_verify_the_certificate(server, client):
    pem = server.exec("cat", "/etc/dovecot/certs/dovecot.crt").stdout
    client.exec("tee", "/ca.pem", input=pem)
    client.python("""
import imaplib, smtplib, ssl
context = ssl.create_default_context(cafile="/ca.pem")
imaplib.IMAP4_SSL("postfix", 993, ssl_context=context)
smtplib.SMTP_SSL("postfix", 465, context=context)
""")


def test_a_mounted_pair_is_used(lab, client):
    directory = WORK / name("certs")
    directory.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048", "-subj", "/CN=mine.test",
                    "-keyout", directory / "server.key", "-out", directory / "server.crt"], check=True,
                   capture_output=True)
    mounts = [f"{directory}/server.{end}:/etc/dovecot/certs/dovecot.{end}:ro" for end in ("crt", "key")]
    server = lab.server(alias="mounted", options=["-v", mounts[0], "-v", mounts[1]])
    for arguments in ["-connect mounted:993", "-connect mounted:465", "-starttls smtp -connect mounted:25"]:
        said = client.sh(f"openssl s_client {arguments} </dev/null 2>&1", check=False).stdout
        assert "CN=mine.test" in said or "CN = mine.test" in said
    assert server.exec("cat", "/etc/dovecot/certs/dovecot.crt").stdout == (directory / "server.crt").read_text()


def test_half_a_pair_is_told(lab):
    directory = WORK / name("half")
    directory.mkdir()
    (directory / "server.crt").write_text("nonsense")
    server = lab.server(alias="half", healthy=False,
                        options=["-v", f"{directory}/server.crt:/etc/dovecot/certs/dovecot.crt:ro"])
    assert server.wait() == 78
    assert "its key /etc/dovecot/certs/dovecot.key is missing; mount both or neither" in server.logs()


def test_logs_have_the_seeds_shape(server, client):
    logs = server.logs()
    ours = r"^\[POSTFIX\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    for line in ["Starting Postfix SMTP server configuration...", "Configuring: myhostname = postfix.metabuilder.local",
                 "Mail server configuration complete"]:
        assert re.search(ours + re.escape(line) + "$", logs, re.MULTILINE), line
    client.python("import smtplib; smtplib.SMTP('postfix', 25).sendmail('a@example.org', ['user@metabuilder.local'], 'x')")
    shape = r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d postfix postfix/smtpd\[\d+\]: connect from "
    server.wait_for_log("postfix/smtpd[")
    until(lambda: re.search(shape, server.logs(), re.MULTILINE), "an smtpd line on stdout")
    assert re.search(shape, server.sh("cat /var/log/mail.log").stdout, re.MULTILINE)
    assert re.search(r"^\w{3} .{11} postfix dovecot: ", server.sh("cat /var/log/dovecot.log").stdout, re.MULTILINE)


@pytest.mark.parametrize("log, stir", [
    ("mail.log", "postqueue -f; postlog -t stirred x"),
    ("dovecot.log", "doveadm auth test user wrong; doveadm reload"),
])
def test_tail_f(server, log, stir):
    tail = subprocess.Popen(["docker", "exec", server.id, "timeout", "20", "tail", "-n", "0", "-f", f"/var/log/{log}"],
                            stdout=subprocess.PIPE, text=True)
    try:
        appeared = threading.Event()
        threading.Thread(target=lambda: tail.stdout.readline() and appeared.set(), daemon=True).start()
        # The tail may not be at the file's end yet: stirred until it shows something.
        until(lambda: server.sh(stir, check=False) and appeared.wait(0.2), "a line appears")
    finally:
        tail.kill()
    server.wait_until_healthy()


def test_tuning(lab):
    server = lab.server(alias="tuned", env={
        "POSTFIX_DEFAULT_PROCESS_LIMIT": "3", "POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT": "7",
        "POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT": "100", "POSTFIX_MESSAGE_SIZE_LIMIT": "104857600"})
    assert server.exec("postconf", "-h", "default_destination_concurrency_limit").stdout == "100\n"
    assert "250-SIZE 104857600" in telnet(server, 25, ("220 ", "EHLO x"), ("250 CHUNKING", "QUIT"))
    for transport in ["smtp", "relay", "lmtp", "virtual"]:
        assert server.exec("postconf", "-F", f"{transport}/unix/process_limit").stdout.endswith("= 7\n")
    script = """
import socket
held = [socket.create_connection(("127.0.0.1", 25)) for _ in range(5)]
greeted = 0
for each in held:
    each.settimeout(1)
    try: greeted += each.recv(100).startswith(b"220")
    except TimeoutError: pass
print(greeted)
"""
    client = lab.client()
    assert client.python(script.replace("127.0.0.1", "tuned")).stdout.strip() == "3"


def test_the_seeds_compose_file(own_lab):
    directory = WORK / name("compose")
    context = directory / "deployment/docker/postfix"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM metabuilder-postfix\n")
    compose = directory / "docker-compose.yml"
    compose.write_bytes(open("seed-compose.yml", "rb").read())
    container = name("seed")
    # Only what the fragment leaves to its surroundings: the network, here without a way out, hence without ports on
    # the host; and a name and labels of the test's own.
    (directory / "override.yml").write_text(f"""
services:
  postfix:
    container_name: {container}
    image: mailroom-seed-test
    labels: [mailroom-test]
    environment: {{POSTFIX_RELAYHOST: "[sink]:25"}}
networks:
  metabuilder-network: {{name: {own_lab.network}, external: true}}
volumes:
  postfix_data: {{labels: [mailroom-test]}}
  postfix_config: {{labels: [mailroom-test]}}
  postfix_dovecot: {{labels: [mailroom-test]}}
""")
    arguments = ["compose", "--project-directory", str(directory), "-f", str(compose), "-f",
                 str(directory / "override.yml")]
    try:
        docker(*arguments, "up", "-d", "--build", timeout=300)
        own_lab.sink()
        server = Container(container, container).wait_until_healthy()
        assert "127.0.0.1/8 has host bits, using 127.0.0.0/8" in server.logs()
        done = own_lab.client().python("""
import smtplib
with smtplib.SMTP("postfix", 25) as smtp:
    smtp.sendmail("test@metabuilder.local", ["user@example.com"], "Subject: x\\r\\n\\r\\nx")
    print("Email relayed successfully")
""")
        assert "Email relayed successfully" in done.stdout
        server.wait_for_log("status=sent")
    finally:
        docker(*arguments, "down", "-v", check=False)
        docker("rmi", "mailroom-seed-test", check=False)
