"""Clients as there are: too early, old, odd, many. What passed once in the collection of cases ("Clients", "TLS") stays so."""

import pytest

from test_trust import gateway  # noqa: F401

# An SMTP session by hand: `say(text)` sends bytes as they are and returns the last line of the answer.
TALK = r"""
import base64, imaplib, poplib, smtplib, socket, ssl, time
HOST = {host!r}
INSECURE = ssl._create_unverified_context()
def b64(text): return base64.b64encode(text.encode()).decode()
class Talk:
    def __init__(self, port=25):
        self.socket = socket.create_connection((HOST, port), timeout=20)
        self.file = self.socket.makefile("rb")
    def answer(self):
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line.strip()
    def say(self, text):
        self.socket.sendall(text.encode("latin-1"))
        return self.answer()
    def starttls(self):
        self.say("EHLO x\r\n"), self.say("STARTTLS\r\n")
        self.socket = INSECURE.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
"""


def talk(client, host, script):
    return client.python(TALK.replace("{host!r}", repr(host)) + script).stdout.splitlines()


def test_early_talkers(lab, client):
    """554, and one line."""
    server = lab.server(alias="early")
    said = talk(client, "early", """
early = Talk()
early.socket.sendall(b"EHLO x\\r\\nQUIT\\r\\n")
print(early.answer(), "/", early.answer())
""")
    assert said and "554" in said[0], said
    lines = [line for line in server.wait_for_log("pipelining") if "improper command pipelining" in line]
    assert len(lines) == 1, lines


def test_legal_pipelining(server, client):
    assert talk(client, "postfix", r"""
smtp = Talk(); smtp.answer(); smtp.say("EHLO x\r\n")
smtp.socket.sendall(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<user@metabuilder.local>\r\nDATA\r\n")
print(*(smtp.answer()[:3] for _ in range(3)))
smtp.socket.sendall(b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
print(*(smtp.answer()[:3] for _ in range(2)))
""") == ["250 250 354", "250 221"]


@pytest.mark.parametrize("login, answers", [
    (["AUTH LOGIN {user}\\r\\n", "{password}\\r\\n"], "334 235"),
    (["AUTH LOGIN\\r\\n", "{user}\\r\\n", "{password}\\r\\n"], "334 334 235"),
    (["AUTH PLAIN\\r\\n", "{plain}\\r\\n"], "334 235"),
    (["AUTH PLAIN {plain}\\r\\n"], "235"),
    (["AUTH PLAIN\\r\\n", "*\\r\\n", "AUTH PLAIN {plain}\\r\\n"], "334 501 235"),
    (["AUTH LOGIN\\r\\n", "*\\r\\n", "NOOP\\r\\n"], "334 501 250"),
])
def test_logins_in_all_their_forms(server, client, login, answers):
    said = talk(client, "postfix", f"""
words = dict(user=b64("user"), password=b64("userpass123"), plain=b64("\\0user\\0userpass123"))
smtp = Talk(587); smtp.answer(); smtp.starttls(); smtp.say("EHLO x\\r\\n")
print(*(smtp.say(line.format(**words))[:3] for line in {login!r}))
""".replace("\\\\r\\\\n", "\\r\\n"))
    assert said == [answers]


def test_old_devices(lab, client, gateway):
    """Logins without TLS, and on port 25, on request; the gateway gets them over TLS or not at all."""
    server = lab.server(alias="old", env={
        "POSTFIX_SMTPD_TLS_AUTH_ONLY": "no", "MAILROOM_MASTER_SMTP_INET_SMTPD_SASL_AUTH_ENABLE": "yes",
        "MAILROOM_MASTER_SUBMISSION_INET_SMTPD_TLS_SECURITY_LEVEL": "may"})
    script = """
for port in 25, 587:
    smtp = smtplib.SMTP(HOST, port)
    try: print(smtp.login("user", "userpass123")[0])
    except smtplib.SMTPException as error: print(getattr(error, "smtp_code", "none"))
"""
    assert talk(client, "old", script) == ["235", "235"]
    assert talk(gateway, server.address, script) == ["535", "535"]


def test_sixty_sessions_behind_the_gateway(lab, client, gateway):
    server = lab.server(alias="sixty")
    assert talk(gateway, server.address, """
sessions = [imaplib.IMAP4_SSL(HOST, ssl_context=INSECURE) for _ in range(60)]
print(all(session.noop()[0] == "OK" for session in sessions))
""") == ["True"]
    assert talk(client, "sixty", """
sessions = [imaplib.IMAP4(HOST) for _ in range(60)]
print(*{session.login("user", "userpass123")[0] for session in sessions})
""") == ["OK"]


def test_much_at_once(server, client):
    """A command of nearly 64 KB, which is Dovecot's limit, a message of 60 MB by APPEND, 1001 recipients."""
    assert talk(client, "postfix", """
imap = imaplib.IMAP4(HOST); imap.login("relay", "relaypass123")
print(imap.append("Sent", None, None, b"Subject: large\\r\\n\\r\\n" + (b"x" * 998 + b"\\r\\n") * 60_000)[0])
imap.select()
uids = ",".join(str(2 * number + 1) for number in range(10_000))
print(len(uids) > 50_000, imap.uid("FETCH", uids, "(FLAGS)")[0])
smtp = smtplib.SMTP(HOST, 25); smtp.ehlo("x")
to = [f"user+{number}@metabuilder.local" for number in range(1001)]
smtp.docmd("MAIL", "FROM:<a@example.org>")
codes = [smtp.docmd("RCPT", f"TO:<{one}>")[0] for one in to]
print(codes.count(250), codes.count(452))
""") == ["OK", "True OK", "1000 1"]


AWKWARD = {
    "nothing": b"", "no header": b"\r\nx\r\n", "no body": b"Subject: no body\r\n", "no end": b"Subject: x\r\n\r\nx",
    "eight bits": b"Subject: \xe4\xf6\r\n\r\n\xfc\xff\r\n", "long line": b"Subject: long\r\n\r\n" + b"y" * 5000 + b"\r\n",
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n", "a colon first": b": x\r\n\r\nx\r\n", "folded": b"Subject: a\r\n b\r\n\tc\r\n\r\nx\r\n",
    "many headers": b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(1000)) + b"\r\nx\r\n",
}


def test_awkward_messages(server, client):
    """Each is accepted, and comes out by IMAP and POP3 alike."""
    said = talk(client, "postfix", f"""
messages = {AWKWARD!r}
smtp = smtplib.SMTP(HOST, 25); smtp.ehlo("x")
for message in messages.values():
    smtp.docmd("MAIL", "FROM:<a@example.org>"), smtp.docmd("RCPT", "TO:<admin@metabuilder.local>")
    print(smtp.data(message)[0])
end = time.monotonic() + 20
while True:
    imap = imaplib.IMAP4(HOST); imap.login("admin", "adminpass123")
    if int(imap.select()[1][0]) == len(messages) or time.monotonic() > end: break
    time.sleep(0.1)
one = [imap.fetch(str(number + 1), "(BODY.PEEK[])")[1][0][1] for number in range(len(messages))]
poplib._MAXLINE = 10_000
pop3 = poplib.POP3(HOST); pop3.user("admin"), pop3.pass_("adminpass123")
other = [b"".join(line + b"\\r\\n" for line in pop3.retr(number + 1)[1]) for number in range(len(messages))]
print(len(one), [a == b for a, b in zip(one, other)].count(True))
""")
    assert said == ["250"] * len(AWKWARD) + [f"{len(AWKWARD)} {len(AWKWARD)}"]


def test_hops_and_long_lines(server, client, sink):
    """200 hops are too many, 40 are not; a line of 5000 bytes is broken at 998 when it is relayed."""
    received = lambda count: "Received: from x by y\\r\\n" * count
    said = talk(client, "postfix", f"""
smtp = smtplib.SMTP(HOST, 25)
for count, headers in ((200, "{received(200)}"), (40, "{received(40)}")):
    try: smtp.sendmail("", "hops@example.net", f"{{headers}}Subject: {{count}} hops\\r\\n\\r\\n" + "z" * 5000)
    except smtplib.SMTPDataError as error: print(count, error.smtp_code, error.smtp_error.decode())
""")
    assert said == ["200 554 5.4.0 Error: too many hops"]
    sink.wait_for("grep -l 'Subject: 40 hops' /mail/*", "mail at the sink")
    longest = sink.sh("awk '{ if (length($0) > most) most = length($0) } END { print most }' "
                      "$(grep -l 'Subject: 40 hops' /mail/*)").stdout
    assert 990 <= int(longest) <= 1000


VERSIONS = r"""
import warnings; warnings.simplefilter("ignore")
def version(port, starttls, version):
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    plain = socket.create_connection((HOST, port), timeout=20)
    if starttls:
        file = plain.makefile("rb"); file.readline()
        plain.sendall(starttls)
        while not file.readline().startswith((b"220 ", b"a OK", b"+OK")): pass
    try:
        return context.wrap_socket(plain).version()
    except OSError:
        return "refused"
for number in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
    print(*(version(port, how, number) for port, how in ((465, b""), (587, b"STARTTLS\r\n"), (993, b""), (995, b""),
                                                         (143, b"a STARTTLS\r\n"), (110, b"STLS\r\n"))))
"""


def test_old_versions_of_tls(lab, server, client):
    """1.0 and 1.1 are refused, and served on request."""
    said = talk(client, "postfix", VERSIONS)
    assert said[:2] == [" ".join(["refused"] * 6)] * 2 and "TLSv1.2 TLSv1.2 TLSv1.2" in said[2], said
    lab.server(alias="oldtls", env={
        "POSTFIX_SMTPD_TLS_PROTOCOLS": ">=TLSv1", "POSTFIX_SMTPD_TLS_MANDATORY_PROTOCOLS": ">=TLSv1",
        "POSTFIX_TLS_MEDIUM_CIPHERLIST": "ALL:@SECLEVEL=0", "DOVECOT_SSL_MIN_PROTOCOL": "TLSv1",
        "DOVECOT_SSL_CIPHER_LIST": "ALL:@SECLEVEL=0"})
    assert talk(client, "oldtls", VERSIONS) == [" ".join([version] * 6) for version in ("TLSv1", "TLSv1.1", "TLSv1.2")]


def test_starttls_off_on_25(lab, client):
    lab.server(alias="notls", env={"POSTFIX_SMTPD_TLS_SECURITY_LEVEL": "none"})
    assert talk(client, "notls", """
for port in 25, 587:
    smtp = smtplib.SMTP(HOST, port); smtp.ehlo("x"); print(smtp.has_extn("starttls"))
""") == ["False", "True"]


@pytest.mark.timed
def test_the_wrong_mode_and_half_hellos(lab, client):
    """TLS where a greeting is spoken, words where TLS is: each ends at once. 50 clients that stop in the middle of their hello
    on each port keep nobody waiting."""
    server = lab.server(alias="modes")
    said = talk(client, "modes", """
for port in 25, 587, 143, 110:
    begun = time.monotonic()
    try: INSECURE.wrap_socket(socket.create_connection((HOST, port), timeout=20)); print("TLS")
    except OSError: print(port, time.monotonic() - begun < 5)
for port in 465, 993, 995:
    begun = time.monotonic()
    with socket.create_connection((HOST, port), timeout=20) as plain:
        plain.sendall(b"EHLO example.org\\r\\nQUIT\\r\\n")
        try:
            while plain.recv(4096): pass
        except ConnectionError: pass
    print(port, time.monotonic() - begun < 5)
half = []
for port in 25, 587, 465, 110, 143, 993, 995:
    for _ in range(50):
        half.append(socket.create_connection((HOST, port), timeout=20))
        half[-1].sendall(bytes.fromhex("1603010200010001fc0303"))
for connect in (lambda: smtplib.SMTP(HOST, 25), lambda: smtplib.SMTP_SSL(HOST, 465, context=INSECURE),
                lambda: imaplib.IMAP4_SSL(HOST, ssl_context=INSECURE), lambda: poplib.POP3_SSL(HOST, context=INSECURE)):
    begun = time.monotonic()
    connect()
    print("served", time.monotonic() - begun < 5)
""")
    ports = [25, 587, 143, 110, 465, 993, 995]
    assert said == [f"{port} True" for port in ports] + ["served True"] * 4, said
    assert server.exec("/healthcheck", check=False).returncode == 0
