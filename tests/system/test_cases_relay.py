"""Files, tables, rules and relay hosts that settings name, as people have them: what cannot work is refused by name, and
what can works. Ids are rows of cases/settings.md (s), relay.md (r) and machine.md (m)."""

import re

import pytest

from lab import IMAGE, until

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
    ("r7", "POSTFIX_RELAYHOST=[127.0.0.1]:25", "this server itself"),
    ("r10", "POSTFIX_RELAYHOST=fd77::5", "did you mean [fd77::5]?"),
    ("r10", "POSTFIX_RELAYHOST=smtp://sink:25", "did you mean [sink]:25?"),
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
    ("r4", "POSTFIX_RELAYHOST=[sink]:465", "TLS begins at once"),
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
