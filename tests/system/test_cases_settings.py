"""Words of the environment as people have them: each is understood, or refused with what is wrong with it and what to do. The
numbers are the rows of the list of cases; a row without one is a brother."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from lab import WORK, name, run_once
from test_configuration import check, report

RIGHT = [
    ("9", "MAILROOM_OWN_NETWORKS=172.80.3.0/24", "POSTFIX_MYNETWORKS=172.80.3.0/24"),
    ("10", "POSTFIX_mydestination="),
    ("10", "POSTFIX_VIRTUAL_TRANSPORT=virtual"),
    ("10", "DOVECOT_LISTEN=*"),
    ("10", "DOVECOT_MAIL_HOME=/var/mail/%{user | username}"),
    ("10", "DOVECOT_SSL_SERVER_KEY_FILE=/etc/dovecot/certs/dovecot.key"),
    ("10", "DOVECOT_FIRST_VALID_UID=5000"),
    ("10", "DOVECOT_AUTH_ALLOW_CLEARTEXT=no"),
    ("10", "DOVECOT_LOGIN_TRUSTED_NETWORKS="),
    ("10", "DOVECOT_LISTEN=*,\n::\n", "POSTFIX_INET_PROTOCOLS=all"),
    ("10", "DOVECOT_RECIPIENT_DELIMITER=-", "POSTFIX_RECIPIENT_DELIMITER=-"),
    ("10", "MAILROOM_MASTER_SMTP_INET_MYDESTINATION="),
    ("10", "MAILROOM_MASTER_SUBMISSION_INET_SMTPD_SASL_TYPE=dovecot"),
    ("10", "MAILROOM_MASTER_SMTP_INET_SMTPD_TLS_CERT_FILE=/etc/dovecot/certs/dovecot.crt"),
    ("11", "POSTFIX_MAILBOX_SIZE_LIMIT="),
    ("11", "POSTFIX_BIFF="),
    ("11", "POSTFIX_MAX_IDLE="),
    ("11", "POSTFIX_MYORIGIN="),
    ("11", "POSTFIX_SMTPD_BANNER="),
    ("11", "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS="),
    ("11", "MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT="),
    ("14", "POSTFIX_MYHOSTNAME=mail.example.org\t"),
    ("14", "POSTFIX_SMTPD_BANNER=hello\r"),
    ("14", "DOVECOT_MAIL_MAX_USERIP_CONNECTIONS=5\r"),
    ("20", "POSTFIX_MYHOSTNAME=mail.example.org."),
    ("22", "POSTFIX_MYNETWORKS=10.0.0.0/8\n192.168.0.0/16\n"),
    ("22", "POSTFIX_SMTPD_RECIPIENT_RESTRICTIONS=permit_mynetworks,\n  reject_unauth_destination\n"),
    ("22", "DOVECOT_MAIL_PLUGINS=acl\nquota\n"),
    ("22", "DOVECOT_PROTOCOLS=imap\n  lmtp\n"),
    ("22", "DOVECOT_PROTOCOL__IMAP__MAIL_PLUGINS=\n  acl\n  quota\n"),
    ("22", "DOVECOT_AUTH_MECHANISMS=plain\nlogin"),
    ("28", "MAILROOM_MASTER_SUBMISSION_INET=off", "MAILROOM_MASTER_SUBMISSIONS_INET=off"),
]

WRONG = [
    ("6", "POSTFIX_VIRTUAL_ALIAS_MAPS='lmdb:/etc/postfix/x'", "quotes"),
    ("7", "POSTFIX_RELAYHOST=False", "leave it empty for none"),
    ("7", "POSTFIX_RELAYHOST=[False]:587", "leave it empty for none"),
    ("7", "POSTFIX_SMTP_FALLBACK_RELAY=null", "leave it empty for none"),
    ("7", "POSTFIX_CONTENT_FILTER=none", "leave it empty for none"),
    ("9", "POSTFIX_MYNETWORKS=172.80.3.0/24", "MAILROOM_OWN_NETWORKS"),
    ("9", "MAILROOM_OWN_NETWORKS=0.0.0.0/0", "more than one organisation"),
    ("7", "MAILROOM_CERTIFICATE_NAMES=null", "leave it empty for none"),
    ("7", "POSTFIX_MYNETWORKS=none", "leave it empty for none"),
    ("7", "POSTFIX_SMTP_SASL_PASSWORD_MAPS=none", "leave it empty for none"),
    ("7", "POSTFIX_RELAY_DOMAINS=false", "leave it empty for none"),
    ("7", "POSTFIX_SMTPD_PROXY_FILTER=off", "leave it empty for none"),
    ("7", "POSTFIX_SMTP_BIND_ADDRESS=none", "leave it empty for none"),
    ("7", "MAILROOM_MASTER_SMTP_INET_CONTENT_FILTER=none", "leave it empty for none"),
    ("10", "POSTFIX_MYDESTINATION=example.org", "is decided by mailroom"),
    ("-", "POSTFIX_INET_PROTOCOLS=ipv5", 'must be one of "ipv4" "ipv6" "all" "ipv4, ipv6"'),
    ("14", "MAILROOM_RELAYHOST_USERNAME=me # dev", "has a # behind a blank"),
    ("10", "MAILROOM_MASTER_SMTP_INET_MYDESTINATION=example.org", "is decided by mailroom"),
    ("10", "DOVECOT_PROTOCOL__IMAP__AUTH_ALLOW_CLEARTEXT=no", "is decided by mailroom"),
    ("22", "DOVECOT_SSL_CIPHER_LIST=HIGH\nLOW", "must be one line"),
    ("13", 'POSTFIX_SMTPD_BANNER="$myhostname ESMTP"', "quotes"),
    ("13", 'POSTFIX_MYORIGIN="example.org"', "quotes"),
    ("13", 'POSTFIX_SMTPD_RELAY_RESTRICTIONS="permit_mynetworks, reject"', "quotes"),
    ("13", "DOVECOT_LOGIN_GREETING='Hello'", "quotes"),
    ("13", 'MAILROOM_MASTER_SMTP_INET_SMTPD_BANNER="hello"', "quotes"),
    ("13", 'DOVECOT_MAIL_MAX_USERIP_CONNECTIONS="5"', "quotes"),
    ("14", "POSTFIX_RELAYHOST=[sink]:1025 # dev", "comment"),
    ("14", "POSTFIX_MYHOSTNAME=   # later", "comment"),
    ("14", "POSTFIX_SMTPD_BANNER=a\rb", "Windows line ends"),
    ("14", "POSTFIX_SMTPD_BANNER=\ufeffa", "byte-order mark"),
    ("15", "DOVECOT_DISABLE_PLAINTEXT_AUTH=no", "POSTFIX_MYNETWORKS"),
    ("15", "DOVECOT_MAIL_LOCATION=maildir:~/Maildir", "mail_path"),
    ("15", "DOVECOT_SSL_CERT=</certs/tls.crt", "/etc/dovecot/certs"),
    ("15", "DOVECOT_SSL_PROTOCOLS=!SSLv3", "ssl_min_protocol"),
    ("15", "DOVECOT_INET_PROTOCOLS=ipv4", "POSTFIX_INET_PROTOCOLS"),
    ("15", "DOVECOT_IMAP_ID_LOG=*", "Dovecot 2.3"),
    ("15", "DOVECOT_SSL_SERVER_CA_FILE=</ca.pem", "takes the path itself: /ca.pem"),
    ("16", "POSTFIX_RELAYHOST_AUTH_ENABLE=yes", "MAILROOM_RELAYHOST_USERNAME"),
    ("16", "POSTFIX_REJECT_UNKNOWN_CLIENT_HOSTNAME=1", "reject_unknown_client_hostname in POSTFIX_SMTPD_CLIENT_RESTRICTIONS"),
    ("16", "POSTFIX_DAGENT=lmtp:unix:private/x", "virtual_transport, which mailroom decides"),
    ("16", "POSTFIX_MAILNAME=mail.example.org", "POSTFIX_MYHOSTNAME"),
    ("16", "POSTFIX_TLS_LEVEL=modern", "POSTFIX_SMTPD_TLS_PROTOCOLS"),
    ("16", "POSTFIX_RELAYUSER=me", "MAILROOM_RELAYHOST_USERNAME"),
    ("16", "POSTFIX_DESTINATION=example.org", "POSTFIX_RELAY_DOMAINS"),
    ("16", "POSTFIX_SMTPD_TLS=yes", "POSTFIX_SMTPD_TLS_SECURITY_LEVEL"),
    ("16", "POSTFIX_HOSTNAME=mail.example.org", "POSTFIX_MYHOSTNAME"),
    ("20", "POSTFIX_MYHOSTNAME=smtp_relay.example.org", "did you mean smtp-relay?"),
    ("20", "POSTFIX_MYHOSTNAME=mail.example.org:25", "did you mean mail.example.org?"),
    ("20", "POSTFIX_MYHOSTNAME=https://mail.example.org", "did you mean mail.example.org?"),
    ("20", "POSTFIX_MYHOSTNAME=b\u00fccher.example", "write xn--bcher-kva.example"),
    ("20", "POSTFIX_MYDOMAIN=" + "a" * 64 + ".org", "at most 63"),
    # What passed before ("passes").
    ("passes", 'POSTFIX_MESSAGE_SIZE_LIMIT="1000"', "quotes"),
    ("passes", 'POSTFIX_SMTP_TLS_SECURITY_LEVEL="may"', "quotes"),
    ("passes", 'MAILROOM_TRUST_GATEWAY="yes"', "quotes"),
    ("passes", "POSTFIX_MYHOSTNAME='mail.example.org'", "quotes"),
    ("passes", 'POSTFIX_BIFF="no"', "quotes"),
    ("passes", 'TZ="Europe/Berlin"', "did you mean Europe/Berlin?"),
    ("passes", "TZ=CET-1CEST", "not a rule of its own"),
    ("passes", "TZ=:/etc/localtime", "not a file"),
    ("passes", "POSTFIX_RELAYHOST_USERNAME=me", "MAILROOM_RELAYHOST_USERNAME"),
    ("passes", "POSTFIX_RELAYHOST_PASSWORD=hunter22", "MAILROOM_RELAYHOST_PASSWORD"),
]


@pytest.mark.parametrize("row,variables", [(row, each) for row, *each in RIGHT], ids=lambda each: str(each)[:60])
def test_understood(checker, row, variables):
    done = check(checker, *variables)
    assert done.returncode == 0, (row, done.stderr)


@pytest.mark.parametrize("row,variable,said", WRONG, ids=lambda each: str(each)[:60])
def test_refused_by_name(checker, row, variable, said):
    done = check(checker, variable)
    assert done.returncode == 64, (row, done.stdout, done.stderr)
    assert said in report(done.stderr)[variable.split("=")[0]], done.stderr
    assert "hunter" not in done.stderr


def test_names_of_other_images_are_silent(checker):
    """passes: without our prefixes they are nobody's."""
    theirs = ["RELAYHOST=x", "RELAYHOST_USERNAME=me", "RELAYHOST_PASSWORD=hunter22", "SMTP_HOST=x", "MYNETWORKS=x", "DKIM_AUTOGENERATE=1",
              "OVERRIDE_HOSTNAME=x", "ENABLE_SPAMASSASSIN=1", "SSL_TYPE=letsencrypt", "PERMIT_DOCKER=none", "ALLOWED_SENDER_DOMAINS=x"]
    assert check(checker, *theirs).stdout == check(checker).stdout


def test_row_12_all_mistakes_in_one_report(checker):
    done = check(checker, "POSTFIX_MESSAGE_SIZE_LIMIT=ten", "POSTFIX_MYNETWORKS=1.2.3.0/24", "DOVECOT_MAIL_LOCATION=x",
                 "POSTFIX_SMTPD_BANNER=$nonsense", "DOVECOT_MAIL_DEBG=yes", "MAILROOM_RELAYHOST_USERNAME=me",
                 "POSTFIX_RELAYHOST=False", "MAILROOM_RELAYHOST_PASSWORD=secret-1")
    said = report(done.stderr)
    assert done.returncode == 64
    assert set(said) == {"POSTFIX_MESSAGE_SIZE_LIMIT", "POSTFIX_MYNETWORKS", "DOVECOT_MAIL_LOCATION", "POSTFIX_SMTPD_BANNER",
                         "DOVECOT_MAIL_DEBG", "POSTFIX_RELAYHOST"}, done.stderr
    assert "MAILROOM_RELAYHOST_USERNAME is judged when this is right" in said["POSTFIX_RELAYHOST"]


@pytest.mark.parametrize("row,content,said", [
    ("17", "a pw \n", "begins or ends with a blank"),
    ("18", "", "names a file that is empty"),
    ("18", "\n", "names a file that is empty"),
    ("5", "\ufeffhunter22\n", "byte-order mark"),
    ("passes-1", "hunter22\n\n", "must be one line"),
    ("passes-2", "hunter\t22\n", "control characters"),
    ("passes-3", "hunter\0", "control characters"),
])
def test_secret_files(checker, row, content, said):
    checker.exec("tee", f"/tmp/secret-{row}", input=content)
    done = check(checker, f"MAILROOM_RELAYHOST_PASSWORD_FILE=/tmp/secret-{row}", "MAILROOM_RELAYHOST_USERNAME=me",
                 "POSTFIX_RELAYHOST=[sink]:25")
    assert done.returncode == 64 and "hunter" not in done.stderr, done.stderr
    assert said in report(done.stderr)["MAILROOM_RELAYHOST_PASSWORD_FILE"], done.stderr


@pytest.mark.parametrize("word", ["False", "null", "none", "no", "off", "-"])
def test_row_7_words_in_place_of_a_login(checker, word):
    """A password of a file is taken as it is; nobody has such a user's name."""
    relay = "POSTFIX_RELAYHOST=[sink]:25"
    done = check(checker, relay, f"MAILROOM_RELAYHOST_USERNAME={word}", "MAILROOM_RELAYHOST_PASSWORD=hunter22")
    said = report(done.stderr)
    assert done.returncode == 64 and "leave it empty for none" in said["MAILROOM_RELAYHOST_USERNAME"], done.stderr
    done = check(checker, relay, f"MAILROOM_RELAYHOST_USERNAME={word}", f"MAILROOM_RELAYHOST_PASSWORD={word}")
    said = report(done.stderr)
    assert done.returncode == 64 and "leave it empty for none" in said["MAILROOM_RELAYHOST_USERNAME"], done.stderr
    assert "leave it empty, or name a file by MAILROOM_RELAYHOST_PASSWORD_FILE" in said["MAILROOM_RELAYHOST_PASSWORD"], done.stderr
    checker.exec("tee", "/tmp/word", input=f"{word}\n")
    done = check(checker, relay, "MAILROOM_RELAYHOST_USERNAME_FILE=/tmp/word", "MAILROOM_RELAYHOST_PASSWORD_FILE=/tmp/word")
    assert done.returncode == 64 and list(report(done.stderr)) == ["MAILROOM_RELAYHOST_USERNAME"], done.stderr
    done = check(checker, relay, "MAILROOM_RELAYHOST_USERNAME=me", "MAILROOM_RELAYHOST_PASSWORD_FILE=/tmp/word")
    assert done.returncode == 0, done.stderr


LOGIN = ["MAILROOM_RELAYHOST_USERNAME=me", "POSTFIX_RELAYHOST=[sink]:25"]


@pytest.mark.parametrize("content", ["pw", "pw\n", "pw\r\n", "p w # $ : \\ \" ' & % \u00fc", "x" * 300])
def test_passwords_byte_for_byte(checker, content):
    """passes: with every end of a line, and with every sign; by value and by file."""
    checker.exec("tee", "/tmp/password", input=content)
    password = content.rstrip("\r\n")
    for given in ["MAILROOM_RELAYHOST_PASSWORD_FILE=/tmp/password", f"MAILROOM_RELAYHOST_PASSWORD={password}"]:
        done = check(checker, given, *LOGIN)
        assert done.returncode == 0 and password not in done.stdout + done.stderr, done.stderr
        is_noted = "MAILROOM_RELAYHOST_PASSWORD: # and what stands behind it are a part of the value" in done.stdout
        assert is_noted == (" #" in password and given.endswith(password)), done.stdout


def test_secret_files_that_are_none(checker):
    """passes"""
    for path, said in [("/tmp", "is not a regular file"), ("/nonexistent", "No such file")]:
        done = check(checker, f"MAILROOM_RELAYHOST_PASSWORD_FILE={path}", *LOGIN)
        assert done.returncode == 64 and said in report(done.stderr)["MAILROOM_RELAYHOST_PASSWORD_FILE"], done.stderr
    done = check(checker, "MAILROOM_RELAYHOST_USERNAME=a:b", "MAILROOM_RELAYHOST_PASSWORD=c", "POSTFIX_RELAYHOST=[sink]:25")
    assert done.returncode == 64 and "must not hold a colon" in report(done.stderr)["MAILROOM_RELAYHOST_USERNAME"]


@pytest.mark.parametrize("variable", [
    "POSTFIX_SMTP_SASL_PASSWORD_MAPS=statc:me:hunter2",
    "POSTFIX_LMTP_SASL_PASSWORD_MAPS=texthash:me:hunter2",
    "POSTFIX_SMTP_SASL_PASSWORD_MAPS=[sink]:587 me:hunter2",
    "MAILROOM_MASTER_SMTP_UNIX_SMTP_SASL_PASSWORD_MAPS=statc:me:hunter2",
    "POSTFIX_RELAYHOST=smtp://me:hunter2@sink:587",
    "POSTFIX_RELAYHOST=me:hunter2@sink:587",
    "DOVECOT_DOVEADM_PASSWRD=hunter2",
])
def test_a_login_that_slipped_is_not_shown(checker, variable):
    done = check(checker, variable)
    assert done.returncode == 64 and "hunter2" not in done.stdout + done.stderr, done.stderr


def test_row_19_masks_do_not_reveal(checker):
    done = checker.exec("env", "-i", "POSTFIX_RELAYHOST=[sink]:25", "MAILROOM_RELAYHOST_USERNAME=postfix",
                        "MAILROOM_RELAYHOST_PASSWORD=postfix", "/usr/local/bin/mailroom", "render")
    assert "myhostname = postfix.metabuilder.local\n" in done.stdout
    assert "postfix:<hidden>\n" in done.stdout and "postfix:postfix\n" not in done.stdout
    modes = dict(re.findall(r"==> (\S+) \(\S+ (\d+)\)", done.stdout))
    assert modes["/etc/postfix/main.cf"] == "0644" and modes["/run/mailroom/postfix-tables/relay_login"] == "0600", modes


@pytest.mark.parametrize("command, code", [("help-env", 141), ("help-env --json", 141), ("check", 141), ("render", 141),
                                           ("healthcheck", 141), ("--help", 0), ("--version", 0)])
def test_a_reader_that_has_gone(checker, command, code):
    """The command ends without a word, with the code that other Unix programs have then."""
    # Only when echo fails, nothing is at the other end any more.
    script = "trap '' PIPE; { while echo x; do :; done 2>/dev/null; mailroom %s; echo \"code $?\" >&2; } | :"
    assert checker.sh(script % command).stderr == f"code {code}\n"
    # On standard error alone, the exit code is the command's own.
    script = "trap '' PIPE; { while echo x; do :; done 2>/dev/null; POSTFIX_X=y mailroom check 2>&1; echo $? >/tmp/code; } | :"
    assert checker.sh(f"{script}; cat /tmp/code").stdout == "64\n"


def test_a_standard_output_that_is_full(checker):
    done = checker.sh("mailroom help-env >/dev/full", check=False)
    assert done.returncode == 74 and done.stderr == "mailroom: standard output: No space left on device (os error 28)\n"


@pytest.fixture
def drop_in(checker):
    """Writes a drop-in file, which ends with the test."""
    written = []

    def write(directory, text):
        path = f"/etc/mailroom/{directory}/10.cf"
        checker.sh(f"mkdir -p /etc/mailroom/{directory}")
        checker.exec("tee", path, input=text)
        written.append(path)
        return path

    yield write
    checker.exec("rm", *set(written))


INTERNAL_DATE = """
import imaplib, smtplib, sys
smtplib.SMTP(sys.argv[1], 25).sendmail("a@example.org", ["user@metabuilder.local"], "Subject: x\\r\\n\\r\\nx")
imap = imaplib.IMAP4(sys.argv[1])
imap.login("user", "userpass123")
imap.select("INBOX")
while imap.noop() and imap.search(None, "ALL")[1] == [b""]:
    pass
print(imap.fetch("1", "(INTERNALDATE BODY[HEADER])")[1])
"""


@pytest.mark.parametrize("env", [{}, {"TZ": "Etc/UTC"}, {"TZ": "UTC"}], ids=str)
def test_row_21_a_zone_file_mounted_at_localtime(lab, client, env):
    """docker follows the link at /etc/localtime and puts the file in place of Etc/UTC: one offset everywhere all the same."""
    zone = WORK / name("kolkata")
    run_once("--entrypoint", "cp", "-v", f"{WORK}:{WORK}", command=["/usr/share/zoneinfo/Asia/Kolkata", str(zone)])
    server = lab.server(alias="kolkata", env=env, options=["-v", f"{zone}:/etc/localtime:ro"])
    assert "+0530" in server.sh("TZ=Etc/UTC date +%z").stdout, "the mount lies where the link leads"
    mail = client.exec("python3", "-c", INTERNAL_DATE, "kolkata").stdout
    assert "+0530" not in mail and mail.count("+0000") >= 2, mail
    now, stamps = datetime.now(UTC).replace(tzinfo=None), []
    for line in server.logs().splitlines():
        is_own = line.startswith("[POSTFIX] ")
        stamp, form = (line[10:29], "%Y-%m-%d %H:%M:%S") if is_own else (f"{now.year} {line[:15]}", "%Y %b %d %H:%M:%S")
        stamps.append(datetime.strptime(stamp, form))
    wrong = [stamp for stamp in stamps if abs(stamp - now) > timedelta(minutes=10)]
    assert len(stamps) > 5 and wrong == [], server.logs()
    assert all(f" {each}" in server.logs() for each in ["postfix/smtpd[", "dovecot: imap"]), server.logs()


def test_row_10_a_drop_in_that_sets_what_is_set_anyway(checker, drop_in):
    """Behind the filters Dovecot would warn of such a line."""
    path = drop_in("dovecot.d", "auth_allow_cleartext = no\nmail_driver = maildir\nlisten = *\nmail_debug = yes\n")
    done = check(checker)
    assert done.returncode == 0, done.stderr
    copy = checker.exec("env", "-i", "/usr/local/bin/mailroom", "render", "/run/mailroom/dovecot/conf.d/10.cf").stdout
    assert copy == "\n\n\nmail_debug = yes\n\n", copy
    drop_in("dovecot.d", "mail_driver = mbox\n")
    done = check(checker)
    assert done.returncode == 64 and f"{path}:1: mail_driver = mbox" in done.stderr, done.stderr


UNSEEN = [("\ufeffa b\n", 1, "byte-order mark"), ("a b\nc\0d e\n", 2, "NUL byte")]


@pytest.mark.parametrize("text,line,said", UNSEEN)
@pytest.mark.parametrize("variable", [
    "POSTFIX_SMTP_SASL_PASSWORD_MAPS=lmdb:", "POSTFIX_VIRTUAL_ALIAS_MAPS=hash:", "POSTFIX_TRANSPORT_MAPS=texthash:",
    "POSTFIX_RELAY_RECIPIENT_MAPS=btree:", "POSTFIX_HEADER_CHECKS=regexp:", "POSTFIX_BODY_CHECKS=pcre:",
    "POSTFIX_SMTPD_CLIENT_RESTRICTIONS=check_client_access cidr:", "POSTFIX_RELAY_DOMAINS=", "POSTFIX_MYNETWORKS=",
    "MAILROOM_MASTER_SMTP_INET_SMTPD_CLIENT_RESTRICTIONS=check_client_access cidr:", "POSTFIX_smtp_tls_CAfile="])
def test_row_4_letters_that_no_editor_shows(checker, variable, text, line, said):
    checker.exec("tee", "/tmp/unseen", input=text)
    done = check(checker, f"{variable}/tmp/unseen")
    assert done.returncode == 64, done.stdout
    reason = report(done.stderr)[variable.split("=")[0]]
    assert f"/tmp/unseen:{line}: " in reason and said in reason, done.stderr


@pytest.mark.parametrize("text,line,said", UNSEEN)
@pytest.mark.parametrize("directory", ["main.cf.d", "master.cf.d", "dovecot.d"])
def test_row_4_drop_ins(checker, drop_in, directory, text, line, said):
    path = drop_in(directory, text)
    done = check(checker)
    assert done.returncode == 64 and re.search(rf"{path}:{line}:\n      .*{said}", done.stderr), done.stderr


def test_row_4_an_empty_table_has_no_login(checker):
    checker.exec("tee", "/tmp/empty-logins", input="")
    done = check(checker, "POSTFIX_SMTP_SASL_PASSWORD_MAPS=lmdb:/tmp/empty-logins", "POSTFIX_RELAYHOST=[sink]:587")
    assert done.returncode == 0 and "holds no login for the relay host" in done.stdout, done.stdout + done.stderr


def test_row_28_mail_without_the_ports_of_mail_clients(lab, client):
    """It starts, is healthy, and takes mail on port 25."""
    off = {f"MAILROOM_MASTER_{each}_INET": "off" for each in ["SUBMISSION", "SUBMISSIONS"]}
    server = lab.server(alias="port25", env=off)
    client.python("""
import smtplib
smtplib.SMTP("port25", 25).sendmail("a@example.org", ["user@metabuilder.local"], "Subject: x\\r\\n\\r\\nx")
""")
    server.wait_for_mail()
    ports = server.sh("netstat -tln").stdout
    assert ":25 " in ports and ":587 " not in ports and ":465 " not in ports, ports
    assert "degraded" not in server.exec("/healthcheck").stdout


def test_what_is_a_part_of_the_value_is_noted(checker):
    done = check(checker, "DOVECOT_LOGIN_GREETING=hello # dev")
    assert done.returncode == 0 and "DOVECOT_LOGIN_GREETING: # and what stands behind it are a part of the value" in done.stdout
    assert "a part of the value" not in check(checker, "DOVECOT_LOGIN_GREETING=hello#dev").stdout


def test_check_counts_what_is_set(checker, drop_in):
    """Not what follows from it, and not what is unset."""
    assert " nothing set, " in check(checker).stdout
    assert " nothing set, " in check(checker, "POSTFIX_BIFF=", "POSTFIX_SERVICE_HOST=10.0.0.1").stdout
    relay = ["POSTFIX_RELAYHOST=[sink]:465", "MAILROOM_RELAYHOST_USERNAME=me", "MAILROOM_RELAYHOST_PASSWORD=hunter22"]
    assert " 5 settings set, " in check(checker, *relay, "TZ=Europe/Berlin", "POSTFIX_BIFF=yes").stdout
    drop_in("main.cf.d", "biff = yes\nmyhostname = mx.example.org\n")
    drop_in("dovecot.d", "mail_debug = yes\nprotocol imap {\n  mail_max_userip_connections = 5\n}\n")
    drop_in("master.cf.d", "10025 inet n - n - - smtpd\n")
    assert " 5 settings set, " in check(checker).stdout


def test_what_is_long_is_cut(checker, drop_in):
    for directory in ["main.cf.d", "dovecot.d", "master.cf.d"]:
        drop_in(directory, "nonsense = " + 900_000 * "x" + "\n")
        done = check(checker)
        assert done.returncode == 64 and len(done.stderr) < 3000, done.stderr[:5000]
        checker.exec("tee", f"/etc/mailroom/{directory}/10.cf", input="")
    done = check(checker, "POSTFIX_MESSAGE_SIZE_LIMIT=" + 100_000 * "x")
    assert "… (100000 characters)" in done.stderr and len(done.stderr) < 3000


def test_a_refused_reload_does_not_speak_of_a_start(lab):
    server = lab.server(alias="reloaded")
    server.sh("mkdir -p /etc/mailroom/main.cf.d && echo 'biff = maybe' >/etc/mailroom/main.cf.d/1.cf")
    done = server.exec("mailroom", "reload", check=False)
    said = "the running configuration stays in use: 1 setting is wrong; nothing has changed"
    assert done.returncode == 1 and said in done.stderr and "started" not in done.stderr, done.stderr
    assert "/etc/mailroom/main.cf.d/1.cf:1: biff = maybe" in done.stderr


MASTER = "master.cf.d"
DROP_INS = [
    (MASTER, "foo inet n - n - - smtpd\n", 1, "foo is no port"),
    (MASTER, "# a\n99999 inet n - n - - smtpd\n", 2, "99999 is no port"),
    (MASTER, "10025 inet n - n - - smptd\n", 1, "did you mean smtpd?"),
    (MASTER, "10025 inet n - n x - smtpd\n", 1, "wakeup must be"),
    (MASTER, "10025 inet n - n - x smtpd\n", 1, "maxproc must be"),
    (MASTER, "10025 inet q - n - - smtpd\n", 1, "private must be"),
    (MASTER, "10025 inet n - n - - smtpd -o smtpd_tls_security_level=maybe\n", 1, "must be one of"),
    (MASTER, "10025 inet n - n - - smtpd\n  -o smtpd_client_restrictions=check_client_access,foo:/x\n", 1, "foo: is not a type"),
    (MASTER, "10025 inet n - n - - smtpd\n  -o { smtpd_client_restrictions = permit, rejct }\n", 1, "did you mean reject?"),
    (MASTER, "foo unix - n n - - pipe user=nosuch argv=/bin/sh\n", 1, "no such user"),
    (MASTER, "foo unix - n n - - pipe user=nobody argv=/nope\n", 1, "no such program"),
    (MASTER, "foo unix - n n - - spawn\n", 1, "needs user= and argv="),
    ("main.cf.d", "\nsmtpd_sender_restrictions = check_sender_access\n", 2, "needs a table"),
    ("main.cf.d", "inet_protocols = ipv5\n", 1, "must be one of"),
    ("dovecot.d", "mail_debug = yes\nservice imap-login {\n process_min_avail = 4\n", 2, "has no }"),
    ("dovecot.d", "mail_debug = yes\n}\n", 2, "Unexpected '}'"),
    ("dovecot.d", "mail_debug yes\n", 1, "Expecting '{'"),
    ("dovecot.d", "\n!include /nope\n", 2, "No matches"),
]


@pytest.mark.parametrize("directory,text,line,said", DROP_INS, ids=[each[1][:40] for each in DROP_INS])
def test_mistakes_in_drop_ins_by_file_and_line(checker, drop_in, directory, text, line, said):
    path = drop_in(directory, text)
    done = check(checker)
    assert done.returncode == 64 and f"{path}:{line}:" in done.stderr and said in done.stderr, done.stderr
    assert "/run/mailroom" not in done.stderr, done.stderr


def test_services_of_drop_ins_that_work(checker, drop_in):
    drop_in(MASTER, "127.0.0.1:10025 inet n - n - - smtpd\n  -o smtpd_client_restrictions=permit_mynetworks,reject\n"
                    "smtps inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
                    "filter unix - n n - 10 pipe\n  flags=Rq user=nobody argv=/bin/sh -c cat\n")
    assert check(checker).returncode == 0, check(checker).stderr


RESTRICTIONS = [
    ("CLIENT", "check_client_access foo:/x", "foo: is not a type of tables"), ("SENDER", "check_sender_access /x", "has no type"),
    ("SENDER", "check_sender_access hash:/nope", "neither /nope nor"), ("HELO", "check_helo_access cidr:/nope", "does not exist"),
    ("SENDER", "check_sender_acces inline:{a=OK}", "did you mean check_sender_access?"), ("ETRN", "nosuch", "not a restriction"),
    ("RECIPIENT", "permit_mynetworks, check_policy_service foo, reject", "inet:host:port"), ("DATA", "reject_rbl_client", "a domain"),
    ("END_OF_DATA", "foo:/x", "foo: is not a type of tables"), ("RELAY", "permit_mynetwork, reject", "did you mean permit_mynetworks?"),
]


@pytest.mark.parametrize("stage,value,said", RESTRICTIONS)
def test_words_of_restrictions(checker, stage, value, said):
    """Each would be answered with 451 for all mail."""
    for name in [f"POSTFIX_SMTPD_{stage}_RESTRICTIONS", f"MAILROOM_MASTER_SUBMISSION_INET_SMTPD_{stage}_RESTRICTIONS"]:
        done = check(checker, f"{name}={value}")
        assert done.returncode == 64 and said in report(done.stderr)[name], done.stderr


def test_words_of_classes(checker):
    classes = ["POSTFIX_SMTPD_RESTRICTION_CLASSES=ours", "POSTFIX_SMTPD_CLIENT_RESTRICTIONS=ours, permit"]
    assert check(checker, *classes, "POSTFIX_OURS=permit_mynetworks check_client_access inline:{a=OK}").returncode == 0
    done = check(checker, *classes, "POSTFIX_OURS=permit_mynetworkz")
    assert done.returncode == 64 and "permit_mynetworkz" in report(done.stderr)["POSTFIX_OURS"], done.stderr
    done = check(checker, "POSTFIX_MUA_CLIENT_RESTRICTIONS=check_client_access foo:/x, reject")
    assert done.returncode == 64 and "foo:" in report(done.stderr)["POSTFIX_MUA_CLIENT_RESTRICTIONS"], done.stderr


PAIR = "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN={0} -keyout /tmp/{0}.key -out /tmp/{0}.crt 2>/dev/null"


def test_certificates_for_other_servers(checker):
    for each in ["one", "two"]:
        checker.sh(PAIR.format(each) + f" && chmod 644 /tmp/{each}.key && cat /tmp/{each}.key /tmp/{each}.crt >/tmp/{each}.pem")
    checker.sh("cat /tmp/one.key /tmp/two.crt >/tmp/mixed.pem")
    one = "POSTFIX_SMTP_TLS_CERT_FILE=/tmp/one.crt"
    for right in [[one, "POSTFIX_SMTP_TLS_KEY_FILE=/tmp/one.key"], ["POSTFIX_SMTP_TLS_CERT_FILE=/tmp/one.pem"],
                  ["POSTFIX_SMTP_TLS_CHAIN_FILES=/tmp/one.pem, /tmp/two.key, /tmp/two.crt"]]:
        done = check(checker, *right)
        assert done.returncode == 0, done.stderr
    for said, *wrong in [
        ("do not belong together", one, "POSTFIX_SMTP_TLS_KEY_FILE=/tmp/two.key"),
        ("holds no private key", one),
        ("do not belong together", "POSTFIX_SMTP_TLS_CHAIN_FILES=/tmp/mixed.pem"),
        ("must begin with the key", "POSTFIX_LMTP_TLS_CHAIN_FILES=/tmp/one.crt,/tmp/one.key"),
        ("do not belong together", "POSTFIX_LMTP_TLS_ECCERT_FILE=/tmp/one.crt", "POSTFIX_LMTP_TLS_ECKEY_FILE=/tmp/two.key"),
        ("do not belong together", one, "POSTFIX_SMTP_TLS_KEY_FILE=/tmp/one.key",
         "MAILROOM_MASTER_RELAY_UNIX_SMTP_TLS_KEY_FILE=/tmp/two.key"),
    ]:
        done = check(checker, *wrong)
        assert done.returncode == 64 and said in report(done.stderr)[wrong[-1].split("=")[0]], (wrong, done.stdout, done.stderr)


def test_row_16_no_name_leads_to_what_is_refused(checker):
    """Names of other images lead to parameters and variables that are there and may be set."""
    source = open("/mailroom/src/postfix/peers.rs").read()
    targets = sorted(set(re.findall(r"\b(?:POSTFIX|MAILROOM)_[A-Z_]*[A-Z]\b", source)))
    assert len(targets) > 20
    done = check(checker, *(f"{each}=" for each in targets))
    wrong = {name: said for name, said in report(done.stderr).items() if "not a" in said or "decided" in said}
    assert wrong == {}
