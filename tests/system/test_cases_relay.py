"""Files, tables, rules and relay hosts that settings name, as people have them: what cannot work is refused by name, and
what can works. Ids are rows of cases/settings.md (s), relay.md (r) and machine.md (m)."""

import ast
import re

import pytest

from lab import CLIENT_IMAGE, IMAGE, until

RULES = {
    "open": "/(a/ REJECT\n", "bare": "a REJECT\n", "action": "/^Subject: a/ NONSENSE x\n", "slash": "/a/ REJECT \\\n",
    "good": "/^Subject: never/ REJECT\n", "cidr": "10.0.0.1/8 OK\n", "all": "/./ user@metabuilder.local\n", "empty.pem": "",
}


@pytest.fixture(scope="module")
def rules(checker):
    checker.exec("mkdir", "-p", "/t")
    for name, text in RULES.items():
        checker.exec("tee", f"/t/{name}", input=text)
    return checker


def check(checker, *variables):
    return checker.exec("env", "-i", *variables, "/usr/local/bin/mailroom", "check", check=False, user="1234")


CA = "/etc/ssl/certs/ca-certificates.crt"
REFUSED = [
    ("s1", "POSTFIX_smtp_tls_CAfile=/nonexistent.pem", "does not exist"),
    ("s1", f'POSTFIX_smtp_tls_CAfile="{CA}"', "quotes"),
    ("s1", "POSTFIX_smtp_tls_CAfile=/t/empty.pem", "holds no certificate"),
    ("s1", "POSTFIX_lmtp_tls_CApath=/nonexistent", "does not exist"),
    ("s1", "POSTFIX_SMTP_TLS_KEY_FILE=/nonexistent", "does not exist"),
    ("s1", "MAILROOM_MASTER_SMTP_UNIX_SMTP_TLS_CAFILE=/nonexistent", "does not exist"),
    ("s1", "POSTFIX_RELAY_DOMAINS=/nonexistent", "does not exist"),
    ("s6", 'POSTFIX_VIRTUAL_ALIAS_MAPS="lmdb:/etc/postfix/x"', "quote"),
    ("s6", "POSTFIX_TRANSPORT_MAPS=/t/good", "has no type"),
    ("s23", "POSTFIX_HEADER_CHECKS=regexp:/t/open", "/t/open:1: "),
    ("s23", "POSTFIX_HEADER_CHECKS=pcre:/t/open", "/t/open:1: "),
    ("s23", "POSTFIX_BODY_CHECKS=regexp:/t/bare", "/t/bare:1: "),
    ("s23", "POSTFIX_HEADER_CHECKS=regexp:/t/action", "/t/action:1: NONSENSE is not an action"),
    ("s23", "POSTFIX_SMTP_HEADER_CHECKS=pcre:/t/slash", "/t/slash:1: ends in a backslash"),
    ("s23", "POSTFIX_TRANSPORT_MAPS=inline:{a}", "missing '='"),
    ("s23", "POSTFIX_SMTPD_CLIENT_RESTRICTIONS=check_client_access cidr:/t/cidr", "/t/cidr:1: "),
    ("s26", "POSTFIX_ALWAYS_BCC=a@example.org, b@example.org", "one address"),
    ("s26", "POSTFIX_ALWAYS_BCC=hash:/t/bcc", "POSTFIX_RECIPIENT_BCC_MAPS"),
    ("s30", "POSTFIX_SMTP_SASL_MECHANISM_FILTER=xoauth2", "PLAIN"),
    ("s30", 'POSTFIX_SMTP_SASL_MECHANISM_FILTER="plain, login"', "quotes"),
    *[("r3", f"POSTFIX_RELAYHOST={host}", reason) for host, reason in [
        ("[300.1.1.1]:25", "IPv4"), ("[12345]:25", "IPv4"), (".example.org", "dot"), ("[sink]:nosuch", "submissions"),
        ("[-a]:25", "hyphen"), ("[a..b]:25", "dot")]],
    ("r3", "POSTFIX_SMTP_FALLBACK_RELAY=[a..b]:25", "dot"),
    ("r3", "POSTFIX_DEFAULT_TRANSPORT=smtp:[300.1.1.1]:25", "IPv4"),
    ("r7", "POSTFIX_RELAYHOST=[127.0.0.1]:25", "this server itself"),
    ("r7", "POSTFIX_SMTP_FALLBACK_RELAY=[::1]:587", "this server itself"),
    ("r7", "POSTFIX_DEFAULT_TRANSPORT=smtp:[localhost]", "this server itself"),
    ("r10", "POSTFIX_RELAYHOST=fd77::5", "did you mean [fd77::5]?"),
    ("r10", "POSTFIX_RELAYHOST=smtp://sink:25", "did you mean [sink]:25?"),
    ("r7", "POSTFIX_DEFAULT_TRANSPORT=smpt:[sink]:25", "did you mean smtp?"),
    ("r7", "POSTFIX_CONTENT_FILTER=filter:[sink]:25", "filter is no service of master.cf"),
    ("r7", "POSTFIX_QUEUE_SERVICE_NAME=nope", "must be qmgr"),
    ("r7", "POSTFIX_CLEANUP_SERVICE_NAME=nope", "must be cleanup"),
    ("r7", "POSTFIX_ERROR_SERVICE_NAME=discard", "must be error or retry"),
    ("r7", "POSTFIX_BOUNCE_SERVICE_NAME=discard", "must be bounce"),
    ("r7", "POSTFIX_VIRTUAL_MINIMUM_UID=5001", "at most 5000"),
    ("m5", "POSTFIX_address_verify_map=btree:/etc/verify", "may not write in /etc"),
    ("m19", "POSTFIX_address_verify_map=foo:/x", "not a type of tables"),
]


@pytest.mark.parametrize("setting, reason", [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_cannot_work_is_refused(rules, setting, reason):
    done = check(rules, setting)
    assert done.returncode == 64, done.stdout
    assert setting.split("=")[0] in done.stderr and reason in done.stderr, done.stderr


ACCEPTED = [
    ("s1", f"POSTFIX_smtp_tls_CAfile={CA}", ""),
    ("s23", "POSTFIX_HEADER_CHECKS=regexp:/t/good, pcre:/t/good", ""),
    ("s24", "POSTFIX_VIRTUAL_ALIAS_MAPS=regexp:/t/all", ""),
    ("s30", "POSTFIX_SMTP_SASL_MECHANISM_FILTER=digestmd5,crammd5,plain", ""),
    ("s30", "POSTFIX_SMTP_SASL_MECHANISM_FILTER=!gssapi, !login, static:all", ""),
    ("r3", "POSTFIX_RELAYHOST=[smtp.example.org.]:587", ""),
    ("r3", "POSTFIX_RELAYHOST=[sink]:SMTP", ""),
    ("r3", "POSTFIX_DEFAULT_TRANSPORT=smtp:[sink.]:SMTP", ""),
    ("r4", "POSTFIX_RELAYHOST=[sink]:465", "TLS begins at once"),
    ("r7", "POSTFIX_DEFAULT_TRANSPORT=error:closed", ""),
    ("r7", "POSTFIX_QUEUE_SERVICE_NAME=qmgr", ""),
    ("r7", "POSTFIX_VIRTUAL_MINIMUM_UID=5000", ""),
    ("r7", "POSTFIX_DEFER_TRANSPORTS=smtp, virtual", "POSTFIX_DEFER_TRANSPORTS holds virtual"),
    ("r10", "POSTFIX_RELAYHOST=[a]:25, [b]:25", ""),
    *[("passes", f"POSTFIX_RELAYHOST={host}", "") for host in ["sink:1025", "[sink]:1025", "sink", "[sink]", "[SINK]", "[fd77::5]",
                                                               "[ipv6:fd77::5]", "[192.0.2.1]:25"]],
    ("r16", "POSTFIX_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT=200", "or POSTFIX_DEFAULT_PROCESS_LIMIT higher"),
    ("r16", "MAILROOM_MASTER_SUBMISSIONS_INET_PROCESS_LIMIT=20", "POSTFIX_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT=50: one client"),
    ("r16", "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS=2000", "or DOVECOT_SERVICE__IMAP__PROCESS_LIMIT higher"),
    ("r16", "DOVECOT_SERVICE__POP3__PROCESS_LIMIT=50", "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS=100: one client"),
    ("m5", "POSTFIX_address_verify_map=btree:/run/mailroom/postfix/verify", ""),
    ("m5", "POSTFIX_smtp_tls_session_cache_database=lmdb:$data_directory/sessions", ""),
]


@pytest.mark.parametrize("setting, note", [each[1:] for each in ACCEPTED], ids=[each[0] for each in ACCEPTED])
def test_what_works_is_accepted(rules, setting, note):
    done = check(rules, setting)
    assert done.returncode == 0 and note in done.stdout, done.stdout + done.stderr


def test_a_login_that_is_not_there_is_named(rules):
    """s4"""
    table = "POSTFIX_SMTP_SASL_PASSWORD_MAPS=inline:{{{}=me:secret}}"
    done = check(rules, "POSTFIX_RELAYHOST=[sink]:587", table.format("[sink]:25"))
    assert "neither as sink nor as [sink]:587" in done.stdout, done.stdout + done.stderr
    for key in ["sink", "[sink]:587"]:
        done = check(rules, "POSTFIX_RELAYHOST=[sink]:587", table.format(key))
        assert done.returncode == 0 and "neither" not in done.stdout, done.stdout


SEND = """
import smtplib
smtp = smtplib.SMTP("{host}", 25)
smtp.sendmail("a@example.org", {to}, "Subject: {subject}\\r\\n\\r\\nx")
"""


def send(client, host, *to, subject="x"):
    client.python(SEND.format(host=host, to=list(to), subject=subject))


@pytest.mark.parametrize("port", [25, 587])
def test_a_relay_host_that_is_the_servers_own_alias(lab, port):
    """r7: it is seen by its address, and with the address written out."""
    server = lab.server(alias="itself", env={"POSTFIX_RELAYHOST": f"[itself]:{port}"}, healthy=False)
    assert server.wait() == 64
    assert f"[itself]:{port} is this server itself (" in server.logs()


@pytest.mark.parametrize("setting", [
    {"POSTFIX_RELAYHOST": "[far]:465"},
    {"POSTFIX_RELAYHOST": "[far]:submissions", "POSTFIX_SMTP_TLS_WRAPPERMODE": "yes",
     "POSTFIX_SMTP_TLS_SECURITY_LEVEL": "may"},
], ids=["r4", "r5"])
def test_a_relay_host_on_port_465(lab, client, setting):
    """Its port is enough: TLS begins at once, and the login goes through it."""
    far = lab.server(alias="far")
    lab.server(alias="near", env={"POSTFIX_MYDOMAIN": "near.test", "MAILROOM_RELAYHOST_USERNAME": "relay",
                                  "MAILROOM_RELAYHOST_PASSWORD": "relaypass123", **setting})
    send(client, "near", "user@metabuilder.local")
    far.wait_for_mail()


# A relay host that wants a login, and offers these mechanisms.
WANTS_LOGIN = """
import socketserver
class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 far ESMTP\\r\\n")
        for line in self.rfile:
            verb = line[:4].upper()
            answer = {{b"EHLO": b"250-far\\r\\n250 {offer}", b"QUIT": b"221 bye"}}.get(verb, b"530 5.7.0 log in first")
            self.wfile.write(answer + b"\\r\\n")
socketserver.ThreadingTCPServer(("", 2525), Session).serve_forever()
"""


@pytest.mark.parametrize("offer, login, said", [
    ("AUTH XOAUTH2", True, "it offers XOAUTH2 and no TLS; installed here are"),
    ("AUTH PLAIN LOGIN", True, "so the password is held back"),
    ("8BITMIME", True, "it offers no login and no TLS on this port"),
    ("AUTH PLAIN", False, "wants a login, and there is none: set MAILROOM_RELAYHOST_USERNAME"),
])
def test_why_no_login_can_be_made_is_logged(lab, client, offer, login, said):
    """r8: smtp(8) says at most that no mechanism is available."""
    far = lab.run(CLIENT_IMAGE, "python3", "-c", WANTS_LOGIN.format(offer=offer), options=["--init", "--network-alias", "far"])
    far.wait_for(": </dev/tcp/localhost/2525", "the relay host listens")
    env = {"MAILROOM_RELAYHOST_USERNAME": "me", "MAILROOM_RELAYHOST_PASSWORD": "hunter-22"} if login else {}
    server = lab.server(alias="asking", env={"POSTFIX_RELAYHOST": "[far]:2525", **env})
    send(client, "asking", "x@example.org", "y@example.org")
    line, = server.wait_for_log(said)
    assert "relay host [far]:2525" in line and "hunter-22" not in server.logs()


def test_the_own_domain_hosted_elsewhere(lab, client):
    """r6"""
    lab.sink()
    server = lab.server(alias="app", env={"POSTFIX_MYHOSTNAME": "app.corp.test", "POSTFIX_MYDOMAIN": "corp.test",
                                          "POSTFIX_RELAYHOST": "[sink]"})
    with pytest.raises(AssertionError, match="User unknown"):
        send(client, "app", "boss@corp.test")
    server.wait_for_log("set MAILROOM_MAILBOXES=off, with which this one is a relay alone, or give it a domain of its own, such as "
                        "POSTFIX_MYDOMAIN=mailroom.corp.test")


SEND_LOGGED_IN = """
import smtplib, ssl
for sender in ["user@metabuilder.local", "user+lists@metabuilder.local", "admin@metabuilder.local"]:
    smtp = smtplib.SMTP("open", 25)
    smtp.starttls(context=ssl._create_unverified_context())
    smtp.login("user", "userpass123")
    smtp.docmd("MAIL", f"FROM:<{sender}>")
    print(smtp.docmd("RCPT", "TO:<user@metabuilder.local>")[0])
"""


def test_a_login_on_port_25_sends_as_itself(lab, client):
    """r13"""
    lab.server(alias="open", env={"MAILROOM_MASTER_SMTP_INET_SMTPD_SASL_AUTH_ENABLE": "yes"})
    assert client.python(SEND_LOGGED_IN).stdout.split() == ["250", "250", "553"]
    send(client, "open", "user@metabuilder.local")


def test_all_mail_to_one_account(lab, client):
    """s24: it arrives, that for outside addresses, too."""
    server = lab.server(alias="one", env={"POSTFIX_VIRTUAL_ALIAS_MAPS": "static:user@metabuilder.local"})
    send(client, "one", "x@example.net", "admin@metabuilder.local", "postmaster@metabuilder.local")
    server.wait_for_mail()
    assert "bounced" not in server.logs()


def test_the_users_tables_and_the_role_addresses_stay(lab, client):
    """s25, s27: a table at a name that was ours is read, not overwritten; postmaster is there all the same."""
    volume = lab.volume()
    source = "sales@metabuilder.local user@metabuilder.local\n"
    writer = lab.run(IMAGE, "-c", f"printf '{source}' >/v/virtual && sleep infinity",
                     options=["--entrypoint", "bash", "--init", "--no-healthcheck", "-v", f"{volume}:/v"])
    writer.wait_for("cat /v/virtual", "the table is written")
    server = lab.server(alias="own", env={"POSTFIX_VIRTUAL_ALIAS_MAPS": "lmdb:/etc/postfix/virtual"},
                        options=["-v", f"{volume}:/etc/postfix"])
    assert server.exec("cat", "/etc/postfix/virtual").stdout == source
    send(client, "own", "sales@metabuilder.local", "abuse@metabuilder.local")
    server.wait_for_mail("user")
    server.wait_for_mail("admin")


def test_names_of_the_hosts_file_and_no_search_domain(lab, client, sink):
    """r1, r2: without any DNS a name of /etc/hosts is found at once; a search list is not used."""
    server = lab.server(alias="corp", env={"POSTFIX_RELAYHOST": "[relay.corp]:25"}, options=[
        "--add-host", f"relay.corp:{sink.address}", "--dns", "192.0.2.1", "--dns-search", "wild.example", "--dns-opt", "ndots:5"])
    send(client, "corp", "x@example.net", subject="by the hosts file")
    sink.wait_for("grep -l 'by the hosts file' /mail/*", "mail at the relay host")
    smtp = server.sh("postconf -h import_environment smtp_host_lookup").stdout
    assert "LOCALDOMAIN=" in smtp and smtp.endswith("native\n")


def test_a_search_domain_gets_no_mail(lab, client):
    """r1: a host that answers to the relay host's name in the search domain is not asked."""
    wild = lab.sink(alias="gone.wild.example")
    server = lab.server(alias="wild", env={"POSTFIX_RELAYHOST": "[gone]:25"},
                        options=["--dns-search", "wild.example", "--dns-opt", "ndots:5"])
    assert wild.address in server.exec("getent", "ahosts", "gone").stdout, "others do find it"
    send(client, "wild", "x@example.net", subject="for gone")
    until(lambda: re.search(r"to=<x@example.net>.*status=(bounced|deferred)", server.logs()), "not delivered")
    assert wild.sh("ls /mail").stdout == ""


# What a client sends, and what IMAP and POP3 hand out of it: the README's table "What is changed in a message".
CHANGED = [
    (b"Subject: a\0b\r\n\r\nx", [b"Subject: a\r\n"]),
    (b"Subject: a\rb\r\n\r\nc\rd", [b"Subject: a b\r\n", b"\r\n\r\nc d\r\n"]),
    (b"Subject: a\r\n\r\nc\nd", [b"\r\n\r\nc\r\nd\r\n"]),
    (b"From a@b Mon\r\nSubject: a\r\n\r\nx", [b"X-Mailbox-Line: From a@b Mon\r\nSubject: a\r\n"]),
    (b"Subject: a\r\n\r\nFrom a\r\n>From b", [b"\r\n\r\nFrom a\r\n>From b\r\n"]),
]

SEND_AND_READ = """
import imaplib, poplib, socket
def say(file, line):
    file.write(line); file.flush()
    while (answer := file.readline())[3:4] == b"-": pass
    return answer
def send(text):
    file = socket.create_connection(("{host}", 25)).makefile("rwb")
    for line in [b"", b"EHLO x\\r\\n", b"MAIL FROM:<a@example.org>\\r\\n", b"RCPT TO:<user@metabuilder.local>\\r\\n", b"DATA\\r\\n"]:
        say(file, line)
    assert say(file, text + b"\\r\\n.\\r\\n").startswith(b"250 ")
for text in {texts}: send(text)
imap = imaplib.IMAP4("{host}"); imap.login("user", "userpass123")
while int(imap.select()[1][0]) < {count}: pass
def by_pop(number):
    pop = poplib.POP3("{host}"); pop.user("user"); pop.pass_("userpass123")
    return b"\\r\\n".join(pop.retr(number)[1]) + b"\\r\\n"
print([(imap.fetch(str(n), "BODY.PEEK[]")[1][0][1], by_pop(n)) for n in range(1, {count} + 1)])
"""


def test_what_is_changed_in_a_message(lab, client):
    """r14, r15"""
    lab.server(alias="changing")
    long_header = b"X-Long: " + b"\r\n ".join([b"a" * 900] * 170) + b"\r\n\r\nx"
    nul = b"Subject: nul\r\n\r\na\0b"
    texts = [*(text for text, _ in CHANGED), long_header, nul]
    read = ast.literal_eval(client.python(SEND_AND_READ.format(host="changing", texts=texts, count=len(texts))).stdout)
    for text, expected in CHANGED:
        assert any(all(part in imap for part in expected) and imap == pop for imap, pop in read), (text, read)
    (cut, _), = [pair for pair in read if b"X-Long" in pair[0]]
    header = cut.partition(b"X-Long")[2].partition(b"\r\nMessage-Id")[0]
    assert 101_000 < len(header.replace(b"\r\n", b"\n")) <= 102_400
    (imap, pop), = [pair for pair in read if b"Subject: nul" in pair[0]]
    assert b"a\x80b" in imap and b"a\0b" in pop


BARE = """
import smtplib, sys
smtp = smtplib.SMTP("{host}", 25, timeout=20); smtp.helo()
smtp.sock.sendall(b"MAIL FROM:<a@example.org>\\n"); print(smtp.getreply()[0])
smtp.sock.sendall(b"RCPT TO:<user@metabuilder.local>\\n"); print(smtp.getreply()[0])
smtp.sock.sendall(b"DATA\\n"); print(smtp.getreply()[0])
smtp.sock.sendall(b"Subject: bare\\n\\nx\\n.\\n"); print(smtp.getreply()[0])
"""


def test_lines_that_end_with_lf_alone(lab, client):
    """r11: such a message has no end; a line says so, and names the variable, which works."""
    server = lab.server(alias="bare", env={"POSTFIX_SMTPD_TIMEOUT": "2s"})
    assert client.python(BARE.format(host="bare")).stdout.split() == ["250", "250", "354", "421"]
    told = server.wait_for_log("a client whose lines end with LF alone")
    assert len(told) == 1, told
    variable, value = re.search(r"(POSTFIX_\w+)=(\S+)", told[0]).groups()
    assert value == client.address
    lab.server(alias="spared", env={"POSTFIX_SMTPD_TIMEOUT": "2s", variable: value})
    assert client.python(BARE.format(host="spared")).stdout.split() == ["250", "250", "354", "250"]


def bounced(server, host, why):
    until(lambda: re.search(rf"to=<x@{host}>.*status=bounced.*{why}", server.logs()), lambda: server.logs(), deadline=60)


def test_a_relay_host_that_greets_with_our_own_name(lab, client):
    """passes: one bounce, and no loop."""
    lab.server(alias="twin")
    server = lab.server(alias="single", env={"POSTFIX_RELAYHOST": "[twin]:25"})
    send(client, "single", "x@loop.example")
    bounced(server, "loop.example", "loops back to myself")


def test_two_servers_that_relay_to_each_other(lab, client):
    """passes: a message stops at the limit of hops."""
    one, _ = (lab.server(alias=alias, env={"POSTFIX_RELAYHOST": f"[{other}]:25", "POSTFIX_MYHOSTNAME": f"{alias}.example.org",
                                           "POSTFIX_HOPCOUNT_LIMIT": "8"}) for alias, other in [("ping", "pong"), ("pong", "ping")])
    send(client, "ping", "x@round.example")
    bounced(one, "round.example", "too many hops")


def test_senders_with_relay_hosts_and_logins_of_their_own(lab, client, sink):
    """passes: by the sender's address; one with an extension of it, and the empty sender, take the default's."""
    lab.sink(alias="other")
    server = lab.server(alias="senders", env={
        "POSTFIX_RELAYHOST": "[sink]:25", "POSTFIX_SENDER_DEPENDENT_RELAYHOST_MAPS": "inline:{{me@example.org=[other]:25}}"})
    client.python("""
import smtplib
for sender in ("me@example.org", "me+tag@example.org", ""):
    smtplib.SMTP("senders", 25).sendmail(sender, "x@example.net", f"Subject: of {sender}\\r\\n\\r\\nx")
""")
    relays = lambda: re.findall(r"relay=(\w+)[.\w-]*\[\S+, .*status=sent", server.logs())
    until(lambda: len(relays()) == 3, lambda: server.logs())
    assert sorted(relays()) in (["other", "sink", "sink"], ["other", "other", "sink"])


def test_tables_as_people_have_them(lab, client):
    """passes: no last line break, line ends of Windows, files of another user's that he alone may read, links as Kubernetes
    turns them, foreign files beside them; a reload sees what has changed."""
    volume = lab.volume()
    line = "{}@metabuilder.local user@metabuilder.local"
    writer = lab.run(IMAGE, "-c", "mkdir /v/..one /v/..two; "
                     f"printf '{line.format('nobreak')}' >/v/nobreak; printf '{line.format('crlf')}\\r\\n' >/v/crlf; "
                     f"printf '{line.format('one')}\\n' >/v/..one/linked; printf '{line.format('two')}\\n' >/v/..two/linked; "
                     f"ln -s ..one /v/..data; ln -s ..data/linked /v/linked; mkdir -m 0 /v/.snapshot; chmod g+s /v; "
                     f"printf '{line.format('private')}\\n' >/v/private; chown 1000:1000 /v/private; chmod 400 /v/private; "
                     "touch /v/done; sleep infinity",
                     options=["--entrypoint", "bash", "--init", "--no-healthcheck", "-v", f"{volume}:/v"])
    writer.wait_for("cat /v/done && echo done", "the tables are written")
    maps = " ".join(f"texthash:/t/{table}" for table in ["nobreak", "crlf", "linked"]) + " texthash:/t/private"
    server = lab.server(alias="tables", env={"POSTFIX_VIRTUAL_ALIAS_MAPS": maps}, options=["-v", f"{volume}:/t:ro"])
    send(client, "tables", *(f"{name}@metabuilder.local" for name in ["nobreak", "crlf", "one", "private"]))
    server.wait_for_mail()
    writer.sh("ln -sfn ..two /v/..data")
    server.exec("mailroom", "reload")
    send(client, "tables", "two@metabuilder.local")
    assert "User unknown" not in server.logs()
