"""No log shows a password, whatever daemon quotes the client. Rows of relay.md."""

import base64

from lab import WORK, name

USER, PASSWORDS = "user", [f"Secret{number}pass" for number in range(1, 8)]

TALK = r"""
import base64, socket, ssl, sys, time
def b64(text): return base64.b64encode(text.encode()).decode()
def plain(password): return b64("\0user\0" + password)
def talk(port, *says, tls=False):
    with socket.create_connection((sys.argv[1] if len(sys.argv) > 1 else HOST, port), timeout=10) as s:
        if tls:
            context = ssl._create_unverified_context()
            s = context.wrap_socket(s)
        s.recv(4096)
        for text in says:
            s.sendall(text.encode())
            s.settimeout(10)
            try:
                s.recv(4096)
            except OSError:
                pass
one, two, three, four, five, six, seven = PASSWORDS
talk(25, f"EHLO x\r\nAUTH PLAIN {plain(one)}\r\n")
talk(587, f"EHLO x\r\nauth LOGIN\r\n{b64('user')}\r\n{b64(two)}\r\n")
talk(465, f"EHLO x\r\nAUTH LOGIN {b64('user')}\r\n{b64(three)}\r\n", tls=True)
talk(25, "EHLO x\r\n", "AUTH LOGIN\r\n", f"{b64('x' + four)}\r\n", f"{b64(four)}\r\n")
talk(143, "a AUTHENTICATE PLAIN\r\n", f"{plain(five)}\r\n")
talk(110, "AUTH LOGIN\r\n", f"{b64('user')}\r\n", f"{b64(six)}\r\n")
talk(143, f"a LOGIN user {seven}\r\n")
"""


def encoded(password):
    """As it may stand in a line: at each of the three places that base64 can begin it, and without regard to case."""
    forms = [password]
    for before in ["", "\0user\0", "x"]:
        text = base64.b64encode((before + password).encode()).decode()
        forms.append(text.rstrip("=")[-9:-1])
    return [form.lower() for form in forms]


def test_a_client_that_does_not_wait(lab, client):
    """relay12"""
    env = {"DOVECOT_AUTH_DEBUG_PASSWORDS": "yes", "DOVECOT_AUTH_VERBOSE_PASSWORDS": "plain", "DOVECOT_AUTH_VERBOSE": "yes",
           "DOVECOT_LOG_DEBUG": "category=auth", "POSTFIX_DEBUG_PEER_LIST": "static:all"}
    for given in [{}, env]:
        alias = name("talk")
        server = lab.server(alias=alias, env=given)
        client.python(f"HOST, PASSWORDS = {alias!r}, {PASSWORDS!r}\n{TALK}")
        server.wait_for_log("disconnect from")
        server.wait_for("grep -q 'Login aborted' /var/log/dovecot.log", "Dovecot has logged")
        logs = server.logs() + server.sh("cat /var/log/mail.log /var/log/dovecot.log").stdout
        assert logs.count("AUTH PLAIN <hidden>") >= 2 and "auth LOGIN\\r\\n<hidden>" in logs, logs
        if given:
            assert "(given password: <hidden>)" in logs and "resp=<hidden>" in logs
        leaks = [line for line in logs.splitlines() for password in PASSWORDS for form in encoded(password)
                 if form in line.lower()]
        assert not leaks, leaks


def test_a_login_at_a_relay_host(lab, client):
    """debug_peer_list logs everything, on both sides."""
    everything = {"POSTFIX_DEBUG_PEER_LIST": "static:all"}
    far_alias, alias = name("far"), name("near")
    far = lab.server(alias=far_alias, env={**everything, "POSTFIX_MYHOSTNAME": "far.example.org"})
    near = lab.server(alias=alias, env={
        **everything, "POSTFIX_RELAYHOST": f"[{far_alias}]:587", "POSTFIX_SMTP_TLS_SECURITY_LEVEL": "encrypt",
        "MAILROOM_RELAYHOST_USERNAME": "relay", "MAILROOM_RELAYHOST_PASSWORD": "relaypass123"})
    client.python(f"import smtplib; smtplib.SMTP({alias!r}, 25).sendmail('relay@metabuilder.local', 'x@example.net', 'Subject: x')")
    near.wait_for_log("status=sent")
    logs = near.logs() + far.logs() + near.sh("cat /var/log/mail.log").stdout + far.sh("cat /var/log/mail.log").stdout
    assert "AUTH PLAIN <hidden>" in logs and "250-AUTH PLAIN LOGIN" in logs
    leaks = [line for line in logs.splitlines() for form in encoded("relaypass123") if form in line.lower()]
    assert not leaks, leaks


def test_a_new_password_by_reload(lab):
    """passes.md, "People": the file has another one, and a reload takes it."""
    directory = WORK / name("secret")
    directory.mkdir()
    (directory / "password").write_text("first-password\n")
    server = lab.server(alias=name("rotated"), options=["-v", f"{directory}:/secrets:ro"], env={
        "POSTFIX_RELAYHOST": "[far]:587", "MAILROOM_RELAYHOST_USERNAME": "me",
        "MAILROOM_RELAYHOST_PASSWORD_FILE": "/secrets/password"})
    look_up = ["postmap", "-q", "[far]:587", "lmdb:/run/mailroom/postfix-tables/relay_login"]
    assert server.exec(*look_up).stdout == "me:first-password\n"
    (directory / "password").write_text("second-password\n")
    server.exec("mailroom", "reload")
    assert server.exec(*look_up).stdout == "me:second-password\n"
    assert "-password" not in server.logs()
