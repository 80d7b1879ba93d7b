"""MAILROOM_QUOTA and quota= in MAILROOM_ACCOUNTS; MAILROOM_SIEVE. Accounts of which neither holds are delivered to as ever."""

import json

import pytest

from lab import WORK, name, run_once

PASSWORDS = ["small", "alone", "other", "big"]
ACCOUNTS = "small:pw-small:quota=1M alone:pw-alone:quota=1M other:pw-other:admin:quota=off big:pw-big"

# What the clients of the tests use.
TOOLS = """
import base64, imaplib, json, smtplib, socket, ssl, time
HOST = "{host}"
def smtp():
    talk = smtplib.SMTP(HOST, 25); talk.ehlo("client.example.org")
    return talk
def send(to, text="x", subject="s", sender="a@example.org", header="", size=0):
    'MAIL, RCPT for each, DATA where one is taken: the codes.'
    talk = smtp(); talk.docmd("MAIL", f"FROM:<{{sender}}>")
    answers = [talk.docmd("RCPT", f"TO:<{{each}}>") for each in to]
    if any(code == 250 for code, _ in answers):
        assert talk.docmd("DATA")[0] == 354
        lines = (text + "\\r\\n") + size // 72 * (70 * "x" + "\\r\\n")
        talk.send(f"From: <{{sender}}>\\r\\nTo: {{to[0]}}\\r\\nSubject: {{subject}}\\r\\n{{header}}\\r\\n{{lines}}.\\r\\n".encode())
        assert talk.getreply()[0] == 250
    talk.quit()
    return [f"{{code}} {{said.decode().split()[0]}}" for code, said in answers]
def imap(user):
    talk = imaplib.IMAP4_SSL(HOST, ssl_context=ssl._create_unverified_context())
    talk.login(user, f"pw-{{user}}")
    return talk
def until(condition):
    end = time.monotonic() + 20
    while True:
        found = condition()
        if found: return found
        assert time.monotonic() < end, found
        time.sleep(0.05)
def headers(user, folder="INBOX"):
    'The headers of all messages in a folder; none where there is no such folder.'
    with imap(user) as talk:
        if talk.select(folder, readonly=True)[0] != "OK": return []
        numbers = talk.search(None, "ALL")[1][0].split()
        return [talk.fetch(number, "(BODY.PEEK[HEADER])")[1][0][1].decode() for number in numbers]
def with_subject(user, subject, folder="INBOX"):
    return [each for each in headers(user, folder) if f"Subject: {{subject}}\\r\\n" in each]
class Sieve:
    'A ManageSieve client (RFC 5804).'
    def __init__(self, user, tls=True):
        plain = socket.create_connection((HOST, 4190), timeout=20)
        self.file = plain.makefile("rwb")
        self.greeting = self.answer()
        if tls:
            self.ask("STARTTLS")
            self.tls = ssl._create_unverified_context().wrap_socket(plain)
            self.file = self.tls.makefile("rwb"); self.answer()
        self.login = self.ask('AUTHENTICATE "PLAIN" "%s"' % base64.b64encode(f"\\0{{user}}\\0pw-{{user}}".encode()).decode())
    def answer(self):
        lines = []
        while True:
            line = self.file.readline().decode(); lines.append(line)
            assert line, lines
            if line.startswith(("OK", "NO", "BYE")): break
        if line.endswith("}}\\r\\n"):
            lines += [self.file.read(int(line[line.rindex("{{") + 1:-3])).decode(), self.file.readline().decode()]
        return "".join(lines)
    def ask(self, text):
        self.file.write(text.encode() + b"\\r\\n"); self.file.flush()
        return self.answer()
    def put(self, name, script):
        return self.ask('PUTSCRIPT "%s" {{%d+}}\\r\\n%s' % (name, len(script.encode()), script))
def activate(user, script):
    talk = Sieve(user); said = talk.put("main", script); assert said.startswith("OK"), said
    said = talk.ask('SETACTIVE "main"'); assert said.startswith("OK"), said
"""


def asked(client, host, script):
    """Runs a script with the tools; returns what it printed last, as JSON."""
    return json.loads(client.python(TOOLS.format(host=host) + script).stdout.splitlines()[-1])


DOMAIN = "@metabuilder.local"


@pytest.fixture(scope="module")
def limited(lab):
    return lab.server(alias="limited", env={"MAILROOM_ACCOUNTS": ACCOUNTS, "MAILROOM_ALIASES": "list:small"})


def test_a_full_mailbox_is_refused_at_rcpt_until_there_is_room(limited, client):
    codes, quota, refused, warnings, header = asked(client, "limited", f"""
codes = []
for number in range(5):
    codes += send(["small{DOMAIN}"], size=300_000, subject=f"m{{number}}")
    # Each is delivered before the next, so that room is what it is.
    if codes[-1].startswith("250"): until(lambda: with_subject("small", f"m{{number}}"))
codes += send(["small+tag{DOMAIN}", "other{DOMAIN}", "big{DOMAIN}"], subject="both")
until(lambda: with_subject("other", "both") and with_subject("big", "both"))
talk = imap("small"); quota = talk.getquotaroot("INBOX")[1][1][0].decode()
refused = [part.decode() for part in talk.append("INBOX", None, None, b"Subject: x\\r\\n\\r\\n" + 9000 * b"y")[1]]
warned = lambda: [each for each in headers("small") if "Auto-Submitted: auto-generated" in each]
until(lambda: len(warned()) == 2)
print(json.dumps([codes, quota, refused, warned(), with_subject("small", "m0")[0]]))
""")
    assert codes == ["250 2.1.5"] * 4 + ["452 4.2.2"] * 2 + ["250 2.1.5"] * 2, codes
    used, of = quota.split("STORAGE ")[1].rstrip(")").split()
    assert int(used) > 1024 and of == "1024", quota
    assert "OVERQUOTA" in refused[0], refused
    assert ["80%" in each for each in warnings] == [True, False] and "95%" in warnings[1], warnings
    assert "From: Postmaster <postmaster@metabuilder.local>" in warnings[0]
    assert header.startswith("Return-Path: <a@example.org>\r\nDelivered-To: small@metabuilder.local\r\n"), header
    # The others' mail went the other road.
    assert "relay=virtual" in limited.wait_for_log("to=<other@metabuilder.local>")[0]
    assert "private/dovecot-lmtp" in limited.wait_for_log("to=<small@metabuilder.local>")[0]
    modes = limited.sh("find /var/mail/small -type f ! -name 'dovecot*' -printf '%m %u\\n' | sort -u").stdout
    assert modes == "600 vmail\n", modes
    mail_that_comes_through_an_alias_waits(limited, client)
    mail_is_taken_again_when_there_is_room(limited, client)


def test_routes_are_the_same_with_a_quota(lab, sink, client):
    """The user's routes for whole domains, among them the usual exemption of the own one from `*`."""
    server = lab.server(alias="routed", env={
        "MAILROOM_ACCOUNTS": "small:pw-small:quota=1M big:pw-big small@moved.test:pw-small:quota=1M big@moved.test:pw-big",
        "MAILROOM_DOMAINS": "moved.test",
        "POSTFIX_TRANSPORT_MAPS": "inline:{ metabuilder.local=:, moved.test=smtp:[sink]:25, *=smtp:[sink]:25 }"})
    to = [f"small{DOMAIN}", f"big{DOMAIN}", "small@moved.test", "big@moved.test", "x@example.org"]
    assert asked(client, "routed", f"print(json.dumps([send([to]) for to in {to!r}]))") == [["250 2.1.5"]] * 5
    for address in to:
        road = "sink[" if address not in to[:2] else "[private/dovecot-lmtp]"
        assert road in server.wait_for_log(f"to=<{address}>")[0], server.logs()


def mail_that_comes_through_an_alias_waits(limited, client):
    codes, there = asked(client, "limited", f"""
print(json.dumps([send(["list{DOMAIN}"], subject="aliased"), len(headers("small"))]))
""")
    assert codes == ["250 2.1.5"] and there == 6
    deferred = limited.wait_for_log("orig_to=<list@metabuilder.local>")[0]
    assert "status=deferred" in deferred and "452 4.2.2" in deferred, deferred


def mail_is_taken_again_when_there_is_room(limited, client):
    codes, = asked(client, "limited", f"""
talk = imap("small"); talk.select("INBOX"); talk.store("1:3", "+FLAGS", "\\\\Deleted"); talk.expunge()
print(json.dumps([send(["small+tag{DOMAIN}"], subject="again")]))
""")
    assert codes == ["250 2.1.5"]
    header = asked(client, "limited", 'print(json.dumps(until(lambda: with_subject("small", "again"))))')[0]
    assert "Delivered-To: small+tag@metabuilder.local" in header, header
    limited.exec("postqueue", "-f")
    asked(client, "limited", 'print(json.dumps(until(lambda: with_subject("small", "aliased"))))')


def test_a_question_that_is_not_answered_lets_mail_in(limited, client):
    limited.exec("mv", "/var/spool/postfix/private/quota-status", "/tmp/away")
    try:
        assert asked(client, "limited", f'print(json.dumps(send(["alone{DOMAIN}"])))') == ["250 2.1.5"]
    finally:
        limited.exec("mv", "/tmp/away", "/var/spool/postfix/private/quota-status")


def test_a_quota_that_is_raised(lab, client):
    """The test accounts may have one, too."""
    volume = lab.volume()
    env = {"MAILROOM_ACCOUNTS": "user:pw-user", "MAILROOM_QUOTA": "64K"}
    options = ["-v", f"{volume}:/var/mail"]
    first = lab.server(alias="raised", env=env, options=options)
    codes = asked(client, "raised", f"""
first = send(["user{DOMAIN}"], size=100_000); until(lambda: with_subject("user", "s"))
print(json.dumps(first + send(["user{DOMAIN}"])))
""")
    assert codes == ["250 2.1.5", "452 4.2.2"]
    lab.remove_all(first)
    lab.server(alias="raised", env={**env, "MAILROOM_QUOTA": "1G"}, options=options)
    assert asked(client, "raised", f'print(json.dumps(send(["user{DOMAIN}"])))') == ["250 2.1.5"]


# --- filters

GLOBAL = 'require ["fileinto", "mailbox"];\nif header :contains "X-Spam" "yes" { fileinto :create "Junk"; stop; }\n'
OWN = """require ["fileinto", "vacation", "copy"];
if header :is "Subject" "file me" { fileinto "New/Folder"; stop; }
if header :is "Subject" "junk" { fileinto "Elsewhere"; stop; }
if header :is "Subject" "pass on" { redirect "other@metabuilder.local"; stop; }
if header :is "Subject" "round" { redirect "big@metabuilder.local"; stop; }
if header :is "Subject" "away" { vacation "I am away"; }
"""
ROUND = 'redirect "big@metabuilder.local";\n'


@pytest.fixture(scope="module")
def filtered(lab):
    directory = WORK / name("sieve")
    (directory / "sieve.d").mkdir(parents=True)
    (directory / "sieve.d/10-junk.sieve").write_text(GLOBAL)
    env = {"MAILROOM_ACCOUNTS": ACCOUNTS, "MAILROOM_SIEVE": "on", "MAILROOM_LOG_LEVEL": "info"}
    return lab.server(alias="filtered", env=env, options=["-v", f"{directory}:/etc/mailroom:ro", "--security-opt", "no-new-privileges"])


def test_filters_by_managesieve(filtered, client):
    assert " 4190 " in filtered.exec("/healthcheck").stdout
    greeting, wrong, listed, active = asked(client, "filtered", f"""
OWN = {OWN!r}
talk = Sieve("big"); said = [talk.greeting]
said.append(talk.put("wrong", "if foo {{"))
assert talk.put("main", OWN).startswith("OK"); assert talk.ask('SETACTIVE "main"').startswith("OK")
said += [talk.ask("LISTSCRIPTS"), talk.ask('GETSCRIPT "main"')]
print(json.dumps(said))
""")
    assert '"IMPLEMENTATION" "Dovecot Pigeonhole"' in greeting and '"STARTTLS"' in greeting, greeting
    assert wrong.startswith("NO"), wrong
    assert '"main" ACTIVE' in listed and "vacation" in active, listed
    assert filtered.exec("readlink", "/var/mail/big/.dovecot.sieve").stdout == "sieve/main.sieve\n"


def test_no_script_writes_to_anybody_as_anybody(filtered, client):
    said = asked(client, "filtered", """
script = 'require ["enotify"]; notify :from "ceo@example.net" :message "x" "mailto:u@example.test";'
print(json.dumps(Sieve("big").put("spam", script)))
""")
    assert said.startswith("NO") and "enotify" in said, said


def test_passwords_without_tls_are_taken_as_by_imap(lab, filtered, client):
    login = 'print(json.dumps(Sieve("big", tls=False).login))'
    assert asked(client, "filtered", login).startswith("OK")
    # Who has the server's own address may be anybody.
    itself = lab.companion(filtered)
    assert asked(itself, filtered.address, login).startswith("NO")
    assert asked(itself, filtered.address, login.replace("False", "True")).startswith("OK")


def test_filters_file_redirect_and_answer(filtered, client):
    junk, = asked(client, "filtered", f"""
activate("big", {OWN!r})
for subject in "file me", "pass on": send(["big{DOMAIN}"], subject=subject)
send(["big{DOMAIN}"], subject="junk", header="X-Spam: yes\\r\\n")
send(["big{DOMAIN}"], subject="away", sender="other{DOMAIN}")
send(["big{DOMAIN}"], subject="plain")
until(lambda: with_subject("big", "file me", '"New/Folder"'))
until(lambda: with_subject("other", "pass on"))
until(lambda: with_subject("big", "plain"))
until(lambda: [each for each in headers("other") if "Auto-Submitted: auto-replied" in each])
until(lambda: with_subject("big", "junk", "Junk"))
assert not with_subject("big", "junk", "Elsewhere") and not with_subject("big", "pass on")
print(json.dumps([True]))
""")
    assert junk
    nothing_goes_in_circles_and_bounces_get_no_answer(filtered, client)


def nothing_goes_in_circles_and_bounces_get_no_answer(filtered, client):
    asked(client, "filtered", f"""
activate("alone", {ROUND!r}); activate("big", {OWN.replace('"other@', '"alone@')!r})
send(["big{DOMAIN}"], subject="pass on")
send(["big{DOMAIN}"], subject="away", sender="")
until(lambda: with_subject("big", "away"))
print(json.dumps(True))
""")
    # The circle ends where the same message comes back.
    filtered.wait_for("postqueue -p | grep -q 'queue is empty'", "an empty queue")
    sent = [line for line in filtered.logs().splitlines() if "forwarded to" in line]
    assert 1 <= len(sent) <= 6, sent
    answers = [line for line in filtered.logs().splitlines() if "sent vacation response" in line]
    assert len(answers) == 1 and "other@metabuilder.local" in answers[0], answers


def test_a_script_that_does_not_compile_delivers_to_the_inbox(filtered, client):
    filtered.sh("cd /var/mail/small && mkdir -p sieve && echo 'if foo {' >sieve/x.sieve && ln -sf sieve/x.sieve .dovecot.sieve"
                " && chown -hR vmail:vmail sieve .dovecot.sieve")
    asked(client, "filtered", f"""
for number in range(3): send(["small{DOMAIN}"], subject=f"broken{{number}}")
print(json.dumps([until(lambda: with_subject("small", f"broken{{number}}")) for number in range(3)]))
""")
    told = [line for line in filtered.logs().splitlines() if "lmtp(small" in line and "compile" in line]
    assert told and "/var/mail/small/.dovecot.sieve.log" in told[0], told


def test_deliveries_begin_again_when_the_server_does(filtered, client):
    filtered.exec("mailroom", "reload")
    asked(client, "filtered", f"""
send(["other{DOMAIN}"], subject="after"); print(json.dumps(until(lambda: with_subject("other", "after"))))
""")
    assert " Error: " not in filtered.logs(), "the site's script is compiled once, and kept"
    assert filtered.exec("ls", "/run/mailroom/dovecot/sieve-compiled").stdout == "10-junk.svbin\n"


@pytest.mark.parametrize("env,files,said", [
    ({"MAILROOM_SIEVE": "on"}, {"sieve.d/1.sieve": "keep;\nif foo {\n"}, "/etc/mailroom/sieve.d/1.sieve:"),
    ({"MAILROOM_SIEVE": "on"}, {"sieve.d/a b.sieve": "keep;\n"}, "the name of a script ends with .sieve"),
    ({"MAILROOM_SIEVE": "on", "DOVECOT_PROTOCOLS": "imap"}, {}, "leave lmtp among the protocols"),
    ({"MAILROOM_SIEVE": "on", "MAILROOM_MAILBOXES": "off"}, {}, "MAILROOM_MAILBOXES=off leaves none"),
    ({"MAILROOM_QUOTA": "5G", "MAILROOM_MAILBOXES": "off"}, {}, "MAILROOM_MAILBOXES=off leaves none"),
    ({"MAILROOM_QUOTA": "5"}, {}, "500M or 5G"),
    ({"MAILROOM_ACCOUNTS": "a:pw:quota=1.5G"}, {}, "quota=1.5G: must be a whole number"),
])
def test_what_is_wrong_is_named(env, files, said):
    directory = WORK / name("wrong")
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    directory.mkdir(exist_ok=True)
    variables = [part for pair in env.items() for part in ("-e", "=".join(pair))]
    done = run_once(*variables, "-v", f"{directory}:/etc/mailroom:ro", command=["check"], check=False)
    assert done.returncode == 64 and said in done.stderr, done.stdout + done.stderr
