"""Words of the environment as people have them: each is understood, or refused with what is wrong with it and what to do. The
numbers are the rows of the list of cases; a row without one is a brother."""

import pytest

from test_configuration import check, report

RIGHT = [
    ("10", "POSTFIX_mydestination="),
    ("10", "POSTFIX_VIRTUAL_TRANSPORT=virtual"),
    ("10", "DOVECOT_LISTEN=*"),
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
    ("28", "MAILROOM_MASTER_SUBMISSION_INET=off", "MAILROOM_MASTER_SUBMISSIONS_INET=off"),
]

WRONG = [
    ("6", "POSTFIX_VIRTUAL_ALIAS_MAPS='lmdb:/etc/postfix/x'", "quotes"),
    ("7", "POSTFIX_RELAYHOST=False", "leave it empty for none"),
    ("7", "POSTFIX_RELAYHOST=[False]:587", "leave it empty for none"),
    ("7", "POSTFIX_SMTP_FALLBACK_RELAY=null", "leave it empty for none"),
    ("7", "POSTFIX_CONTENT_FILTER=none", "leave it empty for none"),
    ("10", "POSTFIX_MYDESTINATION=example.org", "is decided by mailroom"),
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


LOGIN = ["MAILROOM_RELAYHOST_USERNAME=me", "POSTFIX_RELAYHOST=[sink]:25"]


@pytest.mark.parametrize("content", ["pw", "pw\n", "pw\r\n", "p w# $ : \\ \" ' & % \u00fc", "x" * 300])
def test_passwords_byte_for_byte(checker, content):
    """passes: with every end of a line, and with every sign; by value and by file."""
    checker.exec("tee", "/tmp/password", input=content)
    password = content.rstrip("\r\n")
    for given in ["MAILROOM_RELAYHOST_PASSWORD_FILE=/tmp/password", f"MAILROOM_RELAYHOST_PASSWORD={password}"]:
        done = check(checker, given, *LOGIN)
        assert done.returncode == 0 and password not in done.stdout + done.stderr, done.stderr


def test_secret_files_that_are_none(checker):
    """passes"""
    for path, said in [("/tmp", "is not a regular file"), ("/nonexistent", "No such file")]:
        done = check(checker, f"MAILROOM_RELAYHOST_PASSWORD_FILE={path}", *LOGIN)
        assert done.returncode == 64 and said in report(done.stderr)["MAILROOM_RELAYHOST_PASSWORD_FILE"], done.stderr
    done = check(checker, "MAILROOM_RELAYHOST_USERNAME=a:b", "MAILROOM_RELAYHOST_PASSWORD=c", "POSTFIX_RELAYHOST=[sink]:25")
    assert done.returncode == 64 and "must not hold a colon" in report(done.stderr)["MAILROOM_RELAYHOST_USERNAME"]


def test_row_19_masks_do_not_reveal(checker):
    done = checker.exec("env", "-i", "POSTFIX_RELAYHOST=[sink]:25", "MAILROOM_RELAYHOST_USERNAME=postfix",
                        "MAILROOM_RELAYHOST_PASSWORD=postfix", "/usr/local/bin/mailroom", "render")
    assert "myhostname = postfix.metabuilder.local\n" in done.stdout
    assert "postfix:<hidden>\n" in done.stdout and "postfix:postfix\n" not in done.stdout


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
