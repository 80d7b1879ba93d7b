"""Who is trusted: neighbours are, strangers are not, and neither is the docker gateway unless the user says so."""

import pytest

from lab import CLIENT_IMAGE, WORK, Lab, name, run_once, telnet

# What a client is granted: relaying on 25, a login without TLS on 143, a test account on 587.
ASK = """
import imaplib, smtplib, ssl
smtp = smtplib.SMTP("{host}", 25); smtp.helo()
smtp.docmd("MAIL", "FROM:<a@example.org>")
print("relay", smtp.docmd("RCPT", "TO:<b@example.net>")[0])
print("local", smtp.docmd("RCPT", "TO:<user@metabuilder.local>")[0])
imap = imaplib.IMAP4("{host}", 143)
print("clear", "LOGINDISABLED" not in imap.capabilities)
smtp = smtplib.SMTP("{host}", 587)
smtp.starttls(context=ssl._create_unverified_context())
try: print("login", smtp.login("user", "userpass123")[0])
except smtplib.SMTPAuthenticationError as error: print("login", error.smtp_code)
"""

TRUSTED = {"relay": "250", "local": "250", "clear": "True", "login": "235"}
STRANGER = {"relay": "554", "local": "250", "clear": "False", "login": "535"}


def granted(client, host):
    said = client.python(ASK.format(host=host)).stdout
    return dict(line.split() for line in said.splitlines())


@pytest.fixture(scope="session")
def gateway(lab):
    """A client that arrives with the gateway's address, as strangers do behind docker's userland proxy."""
    return lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init"], network="host")


def test_a_neighbour_is_trusted(server, client):
    assert granted(client, "postfix") == TRUSTED


def test_a_stranger_is_not(lab, client):
    lab.server(alias="strange", env={"POSTFIX_MYNETWORKS": "192.0.2.0/24"})
    assert granted(client, "strange") == STRANGER


@pytest.mark.parametrize("networks", [None, "127.0.0.1/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"])
def test_the_gateway_is_not_trusted_and_is_told_why(lab, client, gateway, networks):
    server = lab.server(alias="behind-gateway", env={"POSTFIX_MYNETWORKS": networks} if networks else {})
    assert "the docker gateway, from which strangers may arrive" in server.logs()
    assert granted(client, "behind-gateway") == TRUSTED
    assert granted(gateway, server.address) == STRANGER
    server.wait_for_log("is the docker gateway, which is not trusted")


LOGINS = """
import imaplib, poplib, smtplib, ssl
host, context = "{host}", ssl._create_unverified_context()
def imap(): imaplib.IMAP4(host).login("user", "userpass123")
def pop3():
    pop3 = poplib.POP3(host)
    pop3.user("user"), pop3.pass_("userpass123")
def imaps(): imaplib.IMAP4_SSL(host, ssl_context=context).login("user", "userpass123")
def smtps(): smtplib.SMTP_SSL(host, context=context).login("user@metabuilder.local", "userpass123")
try: {protocol}()
except (imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPAuthenticationError): print("refused")
"""


@pytest.mark.parametrize("protocol, why", [
    ("imap", "a login without TLS is for trusted networks only"), ("pop3", "a login without TLS is for trusted networks only"),
    ("imaps", "user@metabuilder.local is a test account"), ("smtps", "user@metabuilder.local is a test account")])
def test_refused_logins_are_explained(lab, client, gateway, protocol, why):
    """In one line beside the refusal, whose own words do not say why; to a neighbour, with a wrong password, nothing is."""
    script = LOGINS.format(protocol=protocol, host="{host}")
    server, strange = lab.server(alias="explains"), lab.server(alias="stranger", env={"POSTFIX_MYNETWORKS": "192.0.2.0/24"})
    assert client.python(script.format(host="explains")).stdout == ""
    assert client.python(script.replace("userpass123", "wrong").format(host="explains")).stdout == "refused\n"
    for _ in range(2):
        assert gateway.python(script.format(host=server.address)).stdout == "refused\n"
        assert client.python(script.format(host="stranger")).stdout == "refused\n"
    told = server.wait_for_log("Refused because ")
    assert len(told) == 1 and "is the docker gateway, which is not trusted: " + why in told[0], told
    told = strange.wait_for_log("Refused because ")
    assert len(told) == 1 and f"Refused because {client.address} is in no trusted network: {why}" in told[0], told


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_curl_leaves_without_a_login_and_that_is_explained(lab, client, protocol):
    server = lab.server(alias="left", env={"POSTFIX_MYNETWORKS": "192.0.2.0/24"})
    assert client.exec("curl", "-s", "-u", "user:userpass123", f"{protocol}://left/", check=False).returncode != 0
    said = server.wait_for_log("Left without a login")[0]
    assert f"{client.address} is in no trusted network" in said, said


def test_a_table_does_not_trust_the_gateway(lab, client, gateway):
    """Whatever stands in it: what it trusts, only Postfix knows."""
    directory = WORK / name("networks")
    directory.mkdir()
    (directory / "cidr").write_text("10.0.0.0/8 OK\n172.16.0.0/12 OK\n192.168.0.0/16 OK\n")
    server = lab.server(alias="tabled", env={"POSTFIX_MYNETWORKS": "cidr:/networks/cidr"},
                        options=["-v", f"{directory}:/networks:ro"])
    assert granted(client, "tabled") == {**STRANGER, "relay": "250"}
    assert granted(gateway, server.address) == STRANGER
    assert granted(client, server.address)["relay"] == "250"


def test_the_gateway_is_trusted_on_request(lab, gateway):
    server = lab.server(env={"MAILROOM_TRUST_GATEWAY": "yes"}, alias="open")
    assert granted(gateway, server.address) == TRUSTED


def test_the_containers_own_address_is_not_trusted(server):
    said = telnet(server, 25, ("220 ", "HELO x"), ("250 ", "MAIL FROM:<a@example.org>"), ("2.1.0 Ok", "RCPT TO:<b@example.net>"),
                  ("Relay access denied", "QUIT"), host=server.address)
    assert "554 5.7.1" in said


def test_the_containers_own_address_needs_tls(lab):
    """Dovecot takes it for a secure one. The account is one that may log in from anywhere."""
    directory = WORK / name("accounts")
    (directory / "dovecot.d").mkdir(parents=True)
    (directory / "dovecot.d/x.conf").write_text("""
passdb anywhere {
  driver = static
  passdb_static_password = secret
}
userdb anywhere {
  driver = static
  fields {
    uid = vmail
    gid = vmail
    home = /var/mail/anywhere
  }
}
""")
    server = lab.server(alias="itself", options=["-v", f"{directory}:/etc/mailroom:ro"])
    companion = lab.companion(server)
    said = companion.python(f"""
import imaplib, poplib, ssl
context = ssl._create_unverified_context()
def imap(connection): return connection.login("anywhere", "secret")[0]
def pop3(connection): connection.user("anywhere"); return connection.pass_("secret")[:3].decode()
def tried(login, *connection):
    try: return login(connection[0](*connection[1:]))
    except (imaplib.IMAP4.error, poplib.error_proto): return "refused"
for host in ["{server.address}", "127.0.0.1"]:
    print(tried(imap, imaplib.IMAP4, host), tried(pop3, poplib.POP3, host),
          tried(imap, lambda: imaplib.IMAP4_SSL(host, ssl_context=context)))
""").stdout
    assert said.splitlines() == ["refused refused OK", "OK +OK OK"]


def test_under_kubernetes_a_neighbour_is_a_stranger(lab, client):
    lab.server(alias="pod", env={"KUBERNETES_SERVICE_HOST": "10.96.0.1"})
    assert granted(client, "pod") == STRANGER


def test_an_open_relay_opens_nothing_else(lab, client):
    lab.server(alias="wide", env={"POSTFIX_MYNETWORKS": "0.0.0.0/0", "MAILROOM_ALLOW_OPEN_RELAY": "yes"})
    assert granted(client, "wide") == {**STRANGER, "relay": "250"}


def test_a_public_network_of_ones_own(request):
    """A docker network with a subnet of public addresses, in private use (case 9 of the settings)."""
    subnet = "172.80.3.0/24"
    lab = Lab(subnet=subnet)
    request.addfinalizer(lab.close)
    client = lab.client()
    stranger = lab.server(alias="stranger")
    stranger.wait_for_log(f"organisation alone, set MAILROOM_OWN_NETWORKS={subnet}")
    assert granted(client, "stranger") == STRANGER
    lab.server(alias="own", env={"MAILROOM_OWN_NETWORKS": subnet})
    named = {"MAILROOM_OWN_NETWORKS": "172.80.0.0/16", "POSTFIX_MYNETWORKS": subnet}
    lab.server(alias="named", env=named)
    assert granted(client, "own") == granted(client, "named") == TRUSTED


def test_ipv6_networks_reach_both_lists(lab):
    """No IPv6 network is needed beside loopback: Dovecot is told the client's address."""
    server = lab.server(alias="six", env={"POSTFIX_INET_PROTOCOLS": "all", "POSTFIX_MYNETWORKS": "2001:db8::/32"},
                        options=["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"])
    test = lambda address: server.exec("doveadm", "auth", "test", "-x", f"rip={address}", "user", "userpass123",
                                       check=False).returncode
    assert [test(address) for address in ["2001:db8::7", "2001:db9::7", "127.0.0.1", "::1", "192.0.2.1"]] == [0, 77, 0, 0, 77]
    assert "[2001:db8::]/32" in server.exec("postconf", "-h", "mynetworks").stdout
    assert ":::993" in server.sh("netstat -tln").stdout


def test_networks_in_files_and_tables(lab, client):
    directory = WORK / name("networks")
    directory.mkdir()
    (directory / "plain").write_text("192.0.2.0/24\n")
    (directory / "cidr").write_text(f"{client.address}/32 OK\n")
    server = lab.server(alias="listed", env={"POSTFIX_MYNETWORKS": "/networks/plain cidr:/networks/cidr"},
                        options=["-v", f"{directory}:/networks:ro"])
    # Postfix looks it up, Dovecot cannot.
    assert granted(client, "listed") == {**STRANGER, "relay": "250"}
    assert "cidr:/networks/cidr is looked up by Postfix alone" in server.logs()
    done = run_once("-e", "POSTFIX_MYNETWORKS=/nope", check=False)
    assert done.returncode == 64 and "/nope is not a file" in done.stderr


def test_public_networks_in_files_are_refused():
    directory = WORK / name("networks")
    directory.mkdir()
    (directory / "plain").write_text("10.0.0.0/8\n0.0.0.0/0\n")
    (directory / "cidr").write_text("8.8.8.0/24 OK\n")
    options = ["-v", f"{directory}:/networks:ro", "-e", "POSTFIX_MYNETWORKS=/networks/plain cidr:/networks/cidr"]
    done = run_once(*options, command=["check"], check=False)
    assert done.returncode == 64, done.stderr
    for public in ["0.0.0.0/0 in /networks/plain", "8.8.8.0/24 in /networks/cidr"]:
        assert f"{public} holds public addresses" in done.stderr
    assert run_once(*options, "-e", "MAILROOM_ALLOW_OPEN_RELAY=yes", command=["check"]).returncode == 0


def test_another_primary_domain_on_the_same_volume_is_refused(lab):
    volume = lab.volume()
    lab.server(alias="first", options=["-v", f"{volume}:/var/mail"])
    done = run_once("-v", f"{volume}:/var/mail", "-e", "POSTFIX_MYDOMAIN=example.org", check=False)
    assert done.returncode == 64
    assert "belong to metabuilder.local: set POSTFIX_MYDOMAIN=metabuilder.local, or start with another volume; mailroom domain rename metabuilder.local example.org" in done.stderr


def check(checker, *variables):
    return checker.exec("env", "-i", *variables, "/usr/local/bin/mailroom", "check", check=False)


RELAY = "POSTFIX_SMTPD_RELAY_RESTRICTIONS"
OPEN = [
    "POSTFIX_RELAY_DOMAINS=static:all", "POSTFIX_RELAY_DOMAINS=com org", "POSTFIX_RELAY_DOMAINS=regexp:{{/./ x}}",
    "POSTFIX_SMTPD_AUTHORIZED_XCLIENT_HOSTS=0.0.0.0/0", "POSTFIX_SMTPD_AUTHORIZED_XFORWARD_HOSTS=8.0.0.0/8",
    "MAILROOM_MASTER_SMTP_INET_SMTPD_AUTHORIZED_XCLIENT_HOSTS=static:all", "POSTFIX_PERMIT_MX_BACKUP_NETWORKS=0.0.0.0/0",
    *[f"{RELAY}={first}, reject_unauth_destination" for first in [
        "check_client_access static:OK", "check_sender_access static:permit", "check_client_access cidr:{{0.0.0.0/0 OK}}",
        "check_recipient_access pcre:{{/./ OK}}", "check_client_access regexp:{{/^/ OK}}", "static:1"]],
]


@pytest.mark.parametrize("setting", OPEN)
def test_what_opens_the_relay_is_refused_unless_it_is_wanted(checker, setting):
    done = check(checker, setting)
    assert done.returncode == 64 and setting.split("=")[0] in done.stderr, done.stderr
    assert "MAILROOM_ALLOW_OPEN_RELAY=yes" in done.stderr
    done = check(checker, setting, "MAILROOM_ALLOW_OPEN_RELAY=yes")
    assert done.returncode == 0, done.stderr


LETS_IN = [
    ("POSTFIX_SMTPD_UPSTREAM_PROXY_PROTOCOL=haproxy", "trusted address"),
    ("MAILROOM_MASTER_SMTP_INET_SMTPD_UPSTREAM_PROXY_PROTOCOL=haproxy", "trusted address"),
    ("DOVECOT_HAPROXY_TRUSTED_NETWORKS=10.0.0.0/8", "trusted address"),
    ("DOVECOT_SERVICE__IMAP_LOGIN__INET_LISTENER__IMAP__HAPROXY=yes", "trusted address"),
    ("DOVECOT_AUTH_MECHANISMS=plain anonymous", "without a password"), ("DOVECOT_AUTH_ANONYMOUS_USERNAME=user", "without a password"),
]


@pytest.mark.parametrize("setting, reason", LETS_IN)
def test_what_lets_strangers_in_is_refused(checker, setting, reason):
    for more in [[], ["MAILROOM_ALLOW_OPEN_RELAY=yes"]]:
        done = check(checker, setting, *more)
        assert done.returncode == 64 and setting.split("=")[0] in done.stderr and reason in done.stderr, done.stderr


CLOSED = [
    ("POSTFIX_RELAY_DOMAINS=example.org lan", ""), ("POSTFIX_SMTPD_AUTHORIZED_XCLIENT_HOSTS=10.0.0.0/8 8.8.8.8", ""),
    (f"{RELAY}=check_client_access static:DUNNO, reject_unauth_destination", ""),
    (f"{RELAY}=check_client_access cidr:{{{{10.0.0.0/8 OK}}}}, reject_unauth_destination", ""),
    (f"{RELAY}=reject_unauth_destination, check_client_access static:OK", ""), ("DOVECOT_AUTH_MECHANISMS=plain login", ""),
    ("POSTFIX_SMTPD_UPSTREAM_PROXY_PROTOCOL=", ""), ("DOVECOT_SSL=no", "closes ports 993 and 995"),
]


@pytest.mark.parametrize("setting, note", CLOSED)
def test_what_opens_nothing_is_accepted(checker, setting, note):
    done = check(checker, setting)
    assert done.returncode == 0 and note in done.stdout, done.stdout + done.stderr
