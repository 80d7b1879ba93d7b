"""Accounts in a database and in LDAP: real PostgreSQL, SQLite and slapd, asked by real Postfix and Dovecot."""

from pathlib import Path

import pytest

from lab import CLIENT_IMAGE, until

SCHEMA = (Path(__file__).parents[2] / "docs/accounts.sql").read_text()
ROWS = """
INSERT INTO domains VALUES ('b.test');
INSERT INTO accounts (address, password, role, enabled) VALUES
 ('ann@metabuilder.local', '{PLAIN}ann-secret', 'admin', 1), ('bob@b.test', '{PLAIN}bob-secret', 'user', 1),
 ('rel@metabuilder.local', '{PLAIN}rel-secret', 'relay', 1), ('off@metabuilder.local', '{PLAIN}off-secret', 'user', 0),
 ('..@metabuilder.local', '{PLAIN}x-secret', 'user', 1), ('../x@metabuilder.local', '{PLAIN}x-secret', 'user', 1),
 ('a/b@metabuilder.local', '{PLAIN}x-secret', 'user', 1), ('o''neil@metabuilder.local', '{PLAIN}neil-secret', 'user', 1);
INSERT INTO aliases VALUES ('info@b.test', 'bob@b.test'), ('@b.test', 'ann@metabuilder.local');
"""

CLIENT = """
import imaplib, poplib, smtplib, ssl, sys
from concurrent.futures import ThreadPoolExecutor
context = ssl._create_unverified_context()
def imap(user, password):
    try:
        with imaplib.IMAP4_SSL("HOST", ssl_context=context, timeout=40) as i:
            i.login(user, password); i.select(); return i.search(None, "ALL")[1][0].decode()
    except imaplib.IMAP4.error as error:
        return str(error)
def pop(user, password):
    p = poplib.POP3_SSL("HOST", context=context, timeout=40); p.user(user); p.pass_(password); return len(p.list()[1])
def send(user, password, sender, to):
    try:
        with smtplib.SMTP_SSL("HOST", 465, context=context, timeout=40) as s:
            s.login(user, password); s.sendmail(sender, [to], "Subject: x\\r\\n\\r\\nx\\r\\n"); return 250
    except smtplib.SMTPRecipientsRefused as error:
        return list(error.recipients.values())[0][0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
def deliver(to, size=1):
    with smtplib.SMTP("HOST", 25, timeout=40) as s:
        s.helo("c.test"); s.mail("x@c.test"); code = s.rcpt(to)[0]
        return code if code != 250 else s.data("Subject: x\\r\\n\\r\\n" + size * (70 * "x" + "\\r\\n"))[0]
"""


def ask(client, host, *expressions):
    """What these give, each asked at the same time as the others: a login that fails takes two seconds."""
    questions = "".join(f"\n    answers.append(threads.submit(lambda: {each}))" for each in expressions)
    script = f"answers = []\nwith ThreadPoolExecutor(20) as threads:{questions}\nfor each in answers: print(each.result())"
    return client.python(CLIENT.replace("HOST", host) + script).stdout.splitlines()


def postgres(lab):
    """A server that runs, with our tables and rows."""
    database = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--network-alias", "database", "--init"])
    database.sh("""
        cd /etc/postgresql/*/main && printf "listen_addresses = '*'\nfsync = off\n" >>postgresql.conf
        echo 'host all all all scram-sha-256' >>pg_hba.conf""")
    postgres_is(database, "start")
    database.exec("su", "postgres", "-c", "psql -q -c \"CREATE USER mail PASSWORD 's@cret-7'\" -c 'CREATE DATABASE mail'")
    psql(database, SCHEMA + ROWS + "GRANT SELECT ON ALL TABLES IN SCHEMA public TO mail;")
    return database


def postgres_is(database, what):
    """Starts or stops it. (pg_ctlcluster looks every half second; pg_ctl ten times as often.)"""
    database.sh(f"""
        su postgres -c "$(echo /usr/lib/postgresql/*/bin/pg_ctl) -D $(echo /etc/postgresql/*/main) -w -s -m immediate \
            -l /tmp/postgres.log {what}" """)


def psql(database, sql):
    return database.exec("su", "postgres", "-c", "psql -q -v ON_ERROR_STOP=1 mail", input=sql).stdout


URL = "postgres://mail:s%40cret-7@database/mail"
HEALTHY = "/healthcheck | grep -q healthy: && echo yes"


def test_a_postgresql_database(lab, client, sink):
    database = postgres(lab)
    server = lab.server(env={"MAILROOM_ACCOUNTS_SQL": URL, "POSTFIX_RELAYHOST": "[sink]:25"}, alias="sql")
    server.wait_for(HEALTHY, "healthy")
    found = ask(client, "sql", *[f'deliver("{to}")' for to in (
        "ann@metabuilder.local", "bob@b.test", "info@b.test", "info+x@b.test", "nobody@b.test", "postmaster@metabuilder.local",
        "off@metabuilder.local", "none@metabuilder.local", "user@metabuilder.local", "o'neil@metabuilder.local")])
    assert found == ["250"] * 6 + ["550"] * 3 + ["250"]
    until(lambda: ask(client, "sql", "imap('bob@b.test', 'bob-secret')", "imap('ann', 'ann-secret')")
          == ["1 2 3", "1 2 3"], "deliveries")
    assert ask(client, "sql", "pop('bob@b.test', 'bob-secret')") == ["3"]
    server.wait_for("cd /var/mail && [ \"$(echo */Maildir */*/Maildir)\" = \"ann/Maildir o'neil/Maildir b.test/bob/Maildir\" ]",
                    "these homes and no others")
    refused = ask(client, "sql", "imap('off', 'off-secret')", "imap('..', 'x-secret')", "imap('user', 'userpass123')",
                  "imap('ann', 'wrong')", "imap('a/b', 'x-secret')")
    assert all("AUTHENTICATIONFAILED" in each for each in refused), refused

    sent = ask(client, "sql", *[f"send({login}, '{sender}', 'x@example.org')" for login, sender in (
        ("'ann', 'ann-secret'", "ann@metabuilder.local"), ("'ann', 'ann-secret'", "ann+x@metabuilder.local"),
        ("'ann', 'ann-secret'", "bob@b.test"), ("'bob@b.test', 'bob-secret'", "info@b.test"),
        ("'rel', 'rel-secret'", "anybody@example.org"))])
    assert sent == ["250", "250", "553", "250", "250"]

    hostile(server, client)
    psql(database, "UPDATE accounts SET password = '{PLAIN}new-secret' WHERE address = 'bob@b.test';")
    old, new = ask(client, "sql", "imap('bob@b.test', 'bob-secret')", "imap('bob@b.test', 'new-secret')")
    assert "AUTHENTICATIONFAILED" in old and new == "1 2 3"
    assert "s@cret-7" not in server.logs() and "s%40cret-7" not in server.logs()
    assert "cret-7" not in server.exec("mailroom", "render", check=False).stdout
    modes = server.sh("cd /run/mailroom && stat -c %a:%G dovecot/dovecot.conf dovecot/directory.conf postfix-directory/aliases.cf")
    assert modes.stdout.split() == ["644:root", "600:root", "640:postfix"]


@pytest.mark.long
def test_a_database_that_goes_and_comes_back(lab, client, sink):
    database = postgres(lab)
    postgres_is(database, "stop")
    # The server starts while the database is down; then its own part is up, and the directory degraded.
    server = lab.server(env={"MAILROOM_ACCOUNTS_SQL": URL, "POSTFIX_RELAYHOST": "[sink]:25"}, alias="away", healthy=False)
    server.wait_for("/healthcheck | grep -q degraded && echo yes", "degraded")
    assert ask(client, "away", "deliver('bob@b.test')") == ["451"]
    postgres_is(database, "start")
    # Dovecot waits up to 15 s before it asks again, each of its processes by itself, the longer the database has been down.
    server.wait_for(HEALTHY, "healthy")
    until(lambda: ask(client, "away", "imap('bob@b.test', 'bob-secret')") == [""], "a login")

    postgres_is(database, "stop")
    # Postfix does not read Dovecot's `code=temp_fail`: it says 535, or 454 where Dovecot takes longer than 10 s.
    down = ask(client, "away", "imap('bob@b.test', 'bob-secret')", "send('ann', 'ann-secret', 'ann@metabuilder.local', 'x@y.test')",
               "deliver('bob@b.test')")
    assert "UNAVAILABLE" in down[0] and down[1] in ("454", "535") and down[2] == "451", down
    server.exec("sendmail", "-f", "x@c.test", "bob@b.test", input="Subject: waits\n\nx\n")
    server.wait_for("postqueue -j | grep -q bob@b.test || ls /var/spool/postfix/maildrop | grep .", "the mail waits")
    assert "degraded" in server.exec("/healthcheck").stdout
    postgres_is(database, "start")
    server.wait_for(HEALTHY, "healthy again")
    until(lambda: ask(client, "away", "deliver('ann@metabuilder.local')") == ["250"], "mail is taken")
    # pickup(8) looks once a minute, and when there is something new.
    server.exec("sendmail", "-f", "x@c.test", "ann@metabuilder.local", input="Subject: next\n\nx\n")
    server.wait_for("ls /var/mail/b.test/bob/Maildir/new | grep .", "the mail that waited")
    until(lambda: ask(client, "away", "imap('bob@b.test', 'bob-secret')") == ["1"], "a login")
    assert "status=bounced" not in server.logs()


def hostile(server, client):
    """Names that lead elsewhere: by SMTP, by sendmail past smtpd(8), and by LMTP itself."""
    for name in ("..", "../x", "a/b"):
        server.exec("sendmail", "-f", "x@c.test", f"{name}@metabuilder.local", input="Subject: hostile\n\nx\n")
    server.wait_for("postqueue -j | wc -l | grep -qx 0 && ! ls /var/spool/postfix/maildrop | grep -q .", "an empty queue")
    assert server.sh("ls -d /var/Maildir /var/x /var/mail/Maildir /var/mail/a", check=False).stdout == ""


def test_an_sqlite_file_and_a_relay_alone(lab, client, sink):
    volume = lab.volume()
    maker = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["-v", f"{volume}:/db", "--init"])
    maker.python(f"import sqlite3\nsqlite3.connect('/db/accounts.db').executescript({SCHEMA + ROWS!r})")
    options = ["-v", f"{volume}:/db"]
    env = {"MAILROOM_ACCOUNTS_SQL": "sqlite:///db/accounts.db", "POSTFIX_RELAYHOST": "[sink]:25"}
    lab.server(env=env, options=options, alias="sqlite")
    assert ask(client, "sqlite", "deliver('bob@b.test')", "deliver('off@metabuilder.local')") == ["250", "550"]
    until(lambda: ask(client, "sqlite", "imap('bob@b.test', 'bob-secret')") == ["1"], "a delivery")
    lab.server(env={**env, "MAILROOM_MAILBOXES": "off"}, options=options, alias="alone")
    assert ask(client, "alone", "send('ann', 'ann-secret', 'ann@metabuilder.local', 'x@example.org')",
               "send('ann', 'ann-secret', 'bob@b.test', 'x@example.org')") == ["250", "553"]


LDIF = """
dn: uid=ann,dc=nodomain
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Ann
mail: ann@metabuilder.local
employeeType: admin
userPassword: ann-secret

dn: uid=bob,dc=nodomain
objectClass: inetOrgPerson
objectClass: inetLocalMailRecipient
uid: bob
cn: Bob
sn: Bob
mail: bob@metabuilder.local
mailLocalAddress: info@metabuilder.local
userPassword: bob-secret

dn: uid=star,dc=nodomain
objectClass: inetOrgPerson
uid: star
cn: Star
sn: Star
mail: ..@metabuilder.local
userPassword: star-secret
"""


def test_an_ldap_directory(lab, client, sink):
    directory = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--network-alias", "directory", "--init"])
    directory.sh("""ulimit -n 1024
        mkdir -p /tmp/l && cat >/tmp/slapd.conf <<'EOF'
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/misc.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=nodomain"
rootdn "cn=admin,dc=nodomain"
rootpw admin-secret
directory /tmp/l
EOF
        slapd -f /tmp/slapd.conf -h ldap://0.0.0.0/""")
    begin = "dn: dc=nodomain\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: nodomain\n\n"
    directory.exec("ldapadd", "-x", "-H", "ldap://127.0.0.1/", "-D", "cn=admin,dc=nodomain", "-w", "admin-secret", input=begin + LDIF.strip() + "\n")
    lab.server(alias="ldap", env={
        "MAILROOM_ACCOUNTS_LDAP": "ldap://directory/dc=nodomain", "MAILROOM_ACCOUNTS_LDAP_BIND_DN": "cn=admin,dc=nodomain",
        "MAILROOM_ACCOUNTS_LDAP_BIND_PASSWORD": "admin-secret", "POSTFIX_RELAYHOST": "[sink]:25",
        "MAILROOM_ACCOUNTS_LDAP_ALIAS_FILTER": "(mailLocalAddress=%s)",
        "MAILROOM_ACCOUNTS_LDAP_ROLE_FILTER": "(employeeType=%s)"})
    assert ask(client, "ldap", *[f"deliver('{name}@metabuilder.local')" for name in ("bob", "info", "abuse", "*", "none")]) == [
        "250", "250", "250", "550", "550"]
    until(lambda: ask(client, "ldap", "imap('bob', 'bob-secret')", "imap('ann', 'ann-secret')") == ["1 2", "1"], "deliveries")
    refused = ask(client, "ldap", "imap('bob', 'x')", "imap('none', 'x')", "imap('..', 'star-secret')")
    assert all("AUTHENTICATIONFAILED" in each for each in refused), refused
    assert ask(client, "ldap", "send('bob', 'bob-secret', 'info@metabuilder.local', 'x@example.org')",
               "send('bob', 'bob-secret', 'ann@metabuilder.local', 'x@example.org')") == ["250", "553"]
