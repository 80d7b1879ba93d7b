"""Accounts in a database and in LDAP: real PostgreSQL, MariaDB, SQLite and slapd, asked by real Postfix and Dovecot."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from lab import CLIENT_IMAGE, docker, until

SCHEMA = (Path(__file__).parents[2] / "docs/accounts.sql").read_text()


def hashed(password):
    return "{SHA256}" + base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()


ROWS = f"""
INSERT INTO domains VALUES ('b.test');
INSERT INTO accounts (address, password, role, enabled) VALUES
 ('ann@metabuilder.local', '{hashed('ann-secret')}', 'admin', 1), ('bob@b.test', '{hashed('bob-secret')}', 'user', 1),
 ('rel@metabuilder.local', '{hashed('rel-secret')}', 'relay', 1), ('off@metabuilder.local', '{hashed('off-secret')}', 'user', 0),
 ('..@metabuilder.local', '{hashed('x-secret')}', 'user', 1), ('../x@metabuilder.local', '{hashed('x-secret')}', 'user', 1),
 ('a/b@metabuilder.local', '{hashed('x-secret')}', 'user', 1), ('o''neil@metabuilder.local', '{hashed('neil-secret')}', 'user', 1);
INSERT INTO aliases VALUES ('info@b.test', 'bob@b.test'), ('@b.test', 'ann@metabuilder.local');
"""
# Each with the check that refuses it.
REFUSED = {
    "INSERT INTO accounts (address, password) VALUES ('Ann@b.test', '{X}hash');": "address_in_small_letters",
    "INSERT INTO accounts (address, password) VALUES ('ann', '{X}hash');": "address_with_domain",
    "INSERT INTO accounts (address, password) VALUES ('ann@b.test', 'in-clear');": "password_is_hash",
    "INSERT INTO accounts (address, password) VALUES ('ann@b.test', '{plain}in-clear');": "password_is_hash",
    "INSERT INTO accounts (address, password, quota) VALUES ('ann@b.test', '{X}hash', -1);": "quota_from_zero",
    "INSERT INTO accounts (address, password, enabled) VALUES ('ann@b.test', '{X}hash', 2);": "enabled_or_not",
    "INSERT INTO aliases VALUES ('Sales@b.test', 'bob@b.test');": "alias_in_small_letters",
    "INSERT INTO aliases VALUES ('sales@b.test', 'Bob@b.test');": "target_in_small_letters",
    "INSERT INTO aliases VALUES ('sales@b.test', 'bob');": "target_with_domain",
    "INSERT INTO domains VALUES ('C.test');": "domain_in_small_letters",
}


def refuses(said):
    """said(sql) gives what the database says of it."""
    for sql, check in REFUSED.items():
        assert check in said(sql), sql


CLIENT = """
import imaplib, poplib, smtplib, ssl, sys, time
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
def seconds(user, password):
    begun = time.monotonic(); said = imap(user, password); return round(time.monotonic() - begun, 1) if said == "" else said
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


def postgres(lab, alias="database"):
    """A server that runs, with our tables and rows."""
    database = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--network-alias", alias, "--init"])
    database.sh("""
        cd /etc/postgresql/*/main && printf "listen_addresses = '*'\nfsync = off\n" >>postgresql.conf
        echo 'host all all all scram-sha-256' >>pg_hba.conf""")
    postgres_is(database, "start")
    database.exec("su", "postgres", "-c", "psql -q -c \"CREATE USER mail PASSWORD 's@cret-7'\" -c 'CREATE DATABASE mail'")
    psql(database, SCHEMA + ROWS + "GRANT SELECT ON ALL TABLES IN SCHEMA public TO mail;")
    refuses(lambda sql: psql(database, sql, check=False).stderr)
    return database


def postgres_is(database, what):
    """Starts or stops it. (pg_ctlcluster looks every half second; pg_ctl ten times as often.)"""
    database.sh(f"""
        su postgres -c "$(echo /usr/lib/postgresql/*/bin/pg_ctl) -D $(echo /etc/postgresql/*/main) -w -s -m immediate \
            -l /tmp/postgres.log {what}" """)


def psql(database, sql, check=True):
    return database.exec("su", "postgres", "-c", "psql -q -v ON_ERROR_STOP=1 mail", input=sql, check=check)


URL = "postgres://mail:s%40cret-7@database/mail"
# For Dovecot's own delays.
SLOW = 60
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
    full(client, server, database)
    commands(client, server, database)
    psql(database, f"UPDATE accounts SET password = '{hashed('new-secret')}' WHERE address = 'bob@b.test';")
    old, new = ask(client, "sql", "imap('bob@b.test', 'bob-secret')", "imap('bob@b.test', 'new-secret')")
    assert "AUTHENTICATIONFAILED" in old and new == "1 2 3"
    assert "s@cret-7" not in server.logs() and "s%40cret-7" not in server.logs()
    assert "cret-7" not in server.exec("mailroom", "render", check=False).stdout
    modes = server.sh("cd /run/mailroom && stat -c %a:%G dovecot/dovecot.conf dovecot/directory.conf postfix-directory/aliases.cf")
    assert modes.stdout.split() == ["644:root", "600:root", "640:postfix"]


def full(client, server, database):
    """A limit of 20 KiB: warnings by mail, which dovecot-lda delivers as vmail, and no more mail then."""
    psql(database, "UPDATE accounts SET quota = 20480 WHERE address = 'o''neil@metabuilder.local';")
    for size, percent in ((230, 80), (50, 95)):
        assert ask(client, "sql", f"""deliver("o'neil@metabuilder.local", {size})""") == ["250"]
        server.wait_for(f"grep -l 'Subject: Your mailbox is {percent}% full' /var/mail/o*neil/Maildir/new/*", f"{percent}%")
    assert ask(client, "sql", """deliver("o'neil@metabuilder.local")""", "deliver('ann@metabuilder.local')") == ["452", "250"]
    psql(database, "UPDATE accounts SET quota = 0 WHERE address = 'o''neil@metabuilder.local';")
    assert ask(client, "sql", """deliver("o'neil@metabuilder.local")""") == ["250"]


def commands(client, server, database):
    """`mailroom … | psql`: statements on standard output, all else on standard error."""
    def change(*command, input=None):
        done = server.exec("mailroom", *command, input=input)
        assert done.stderr.startswith("mailroom: nothing has changed yet: pipe this statement into psql mail"), done
        assert done.stdout.endswith(";\n") and done.stdout.count("\n") == 1, done
        psql(database, done.stdout)
        return done.stderr
    name = "o'hara@c.test"
    change("domain", "add", "c.test")
    change("account", "add", name, "--stdin", "--role", "admin", "--quota", "1G", input="hara-secret\n")
    change("alias", "add", "@c.test", name, "ann")
    assert ask(client, "sql", f'imap("{name}", "hara-secret")') == [""]
    assert ask(client, "sql", "deliver('any@c.test')") == ["250"]
    until(lambda: ask(client, "sql", f'imap("{name}", "hara-secret")') == ["1"], "a delivery")
    password = change("account", "passwd", name, "--generate").splitlines()[1].removeprefix("mailroom: password: ")
    old, new = ask(client, "sql", f'imap("{name}", "hara-secret")', f'imap("{name}", "{password}")')
    assert "AUTHENTICATIONFAILED" in old and new == "1", (old, new)
    listed = {each["address"]: each for each in json.loads(server.exec("mailroom", "account", "list", "--json").stdout)}
    assert listed[name] == {"address": name, "enabled": True, "origin": "sql"}
    assert sorted(listed) == ["ann@metabuilder.local", "bob@b.test", name, "o'neil@metabuilder.local", "rel@metabuilder.local"]
    shown = server.exec("mailroom", "account", "show", name).stdout
    assert "quota       1G\norigin      sql\nmail        1 message, " in shown, shown
    assert server.exec("mailroom", "account", "show", "none", check=False).returncode == 64

    change("account", "set", name, "--role", "user", "--quota", "off")
    change("account", "disable", name)
    change("account", "remove", name)
    change("domain", "remove", "c.test")
    rows = "SELECT address, role, quota, enabled FROM accounts WHERE address LIKE '%c.test'; SELECT * FROM domains ORDER BY domain"
    assert [line.split() for line in psql(database, f"COPY ({rows.split(';')[0]}) TO STDOUT; COPY ({rows.split(';')[1]}) TO STDOUT").stdout.splitlines()] == [
        [name, "user", "0", "0"], ["b.test"], ["c.test"]], "an alias leads to it"
    assert "AUTHENTICATIONFAILED" in ask(client, "sql", f'imap("{name}", "{password}")')[0]
    change("account", "enable", name)
    change("alias", "remove", "@c.test", "ann")
    change("alias", "remove", "@c.test")
    change("account", "remove", name)
    change("domain", "remove", "c.test")
    assert psql(database, "COPY (SELECT domain FROM domains) TO STDOUT").stdout == "b.test\n"
    assert psql(database, "COPY (SELECT address FROM accounts WHERE address LIKE '%c.test') TO STDOUT").stdout == ""

    # Mailroom's own beside them.
    server.exec("mailroom", "account", "add", "own", "--local", "--stdin", input="own-secret\n")
    assert ask(client, "sql", "imap('own', 'own-secret')") == [""]
    refused = server.exec("mailroom", "account", "disable", "own", check=False)
    assert refused.returncode == 64 and refused.stdout == "" and "--local changes it" in refused.stderr
    refused = server.exec("mailroom", "account", "remove", "ann", "--delete-mail", check=False)
    assert refused.returncode == 64 and refused.stdout == "" and "--delete-mail" in refused.stderr


def limit(server, account):
    """What Dovecot says that it may store, in KiB; `-` for no limit."""
    lines = server.exec("doveadm", "-f", "tab", "quota", "get", "-u", account).stdout.splitlines()
    return [line.split("\t")[3] for line in lines if "\tSTORAGE\t" in line][0]


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
    server.wait_for(HEALTHY, "healthy", SLOW)
    until(lambda: ask(client, "away", "imap('bob@b.test', 'bob-secret')") == [""], "a login", SLOW)

    postgres_is(database, "stop")
    # Postfix does not read Dovecot's `code=temp_fail`: it says 535, or 454 where Dovecot takes longer than 10 s.
    down = ask(client, "away", "imap('bob@b.test', 'bob-secret')", "send('ann', 'ann-secret', 'ann@metabuilder.local', 'x@y.test')",
               "deliver('bob@b.test')")
    assert "UNAVAILABLE" in down[0] and down[1] in ("454", "535") and down[2] == "451", down
    server.exec("sendmail", "-f", "x@c.test", "bob@b.test", input="Subject: waits\n\nx\n")
    server.wait_for("postqueue -j | grep -q bob@b.test || ls /var/spool/postfix/maildrop | grep .", "the mail waits")
    assert "degraded" in server.exec("/healthcheck").stdout
    postgres_is(database, "start")
    server.wait_for(HEALTHY, "healthy again", SLOW)
    until(lambda: ask(client, "away", "deliver('ann@metabuilder.local')") == ["250"], "mail is taken", SLOW)
    # pickup(8) looks once a minute, and when there is something new.
    server.exec("sendmail", "-f", "x@c.test", "ann@metabuilder.local", input="Subject: next\n\nx\n")
    server.wait_for("ls /var/mail/b.test/bob/Maildir/new | grep .", "the mail that waited")
    until(lambda: ask(client, "away", "imap('bob@b.test', 'bob-secret')") == ["1"], "a login", SLOW)
    assert "status=bounced" not in server.logs()


def hostile(server, client):
    """Names that lead elsewhere: by SMTP, by sendmail past smtpd(8), and by LMTP itself."""
    for name in ("..", "../x", "a/b"):
        server.exec("sendmail", "-f", "x@c.test", f"{name}@metabuilder.local", input="Subject: hostile\n\nx\n")
    server.wait_for("postqueue -j | wc -l | grep -qx 0 && ! ls /var/spool/postfix/maildrop | grep -q .", "an empty queue")
    assert server.sh("ls -d /var/Maildir /var/x /var/mail/Maildir /var/mail/a", check=False).stdout == ""


def mariadb(lab, alias="mariadb"):
    """The same with MariaDB."""
    database = lab.run(CLIENT_IMAGE, "-c", """
        install -d -o mysql /run/mysqld && exec mariadbd --user=mysql --bind-address=0.0.0.0""",
        options=["--network-alias", alias, "--entrypoint", "bash", "--init"])
    database.wait_for("mariadb-admin ping", "the database answers")
    database.sh("mariadb -e \"CREATE DATABASE mail; CREATE USER mail IDENTIFIED BY 's@cret-7'; GRANT SELECT ON mail.* TO mail\"")
    database.exec("mariadb", "mail", input=SCHEMA + ROWS)
    return database


def test_a_mariadb_database(lab, client, sink):
    database = mariadb(lab)
    refuses(lambda sql: database.exec("mariadb", "mail", input=sql, check=False).stderr)
    server = lab.server(alias="maria", env={
        "MAILROOM_ACCOUNTS_SQL": "mysql://mail:s%40cret-7@mariadb/mail", "POSTFIX_RELAYHOST": "[sink]:25"})
    done = server.exec("mailroom", "account", "add", "o'hara@b.test", "--stdin", "--quota", "1M", input="hara-secret\n")
    assert "pipe this statement into mysql mail" in done.stderr
    database.exec("mariadb", "mail", input=done.stdout)
    assert (limit(server, "o'hara@b.test"), limit(server, "bob@b.test")) == ("1024", "-")
    assert ask(client, "maria", *[f'deliver("{to}")' for to in (
        "bob@b.test", "info@b.test", "o'hara@b.test", "abuse@b.test", "off@metabuilder.local", "none@metabuilder.local")]) == [
        "250", "250", "250", "250", "550", "550"]
    until(lambda: ask(client, "maria", "imap('bob@b.test', 'bob-secret')", "imap('ann', 'ann-secret')",
                      """imap("o'hara@b.test", "hara-secret")""") == ["1 2", "1", "1"], "deliveries")
    refused = ask(client, "maria", "imap('bob@b.test', 'x')", "imap('off', 'off-secret')", "imap('..', 'x-secret')")
    assert all("AUTHENTICATIONFAILED" in each for each in refused), refused
    assert ask(client, "maria", "send('bob@b.test', 'bob-secret', 'info@b.test', 'x@example.org')",
               "send('bob@b.test', 'bob-secret', 'ann@metabuilder.local', 'x@example.org')",
               "send('rel', 'rel-secret', 'anybody@example.org', 'x@example.org')") == ["250", "553", "250"]


def test_an_sqlite_file_and_a_relay_alone(lab, client, sink):
    volume = lab.volume()
    maker = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["-v", f"{volume}:/db", "--init"])
    maker.python(f"import sqlite3\nsqlite3.connect('/db/accounts.db').executescript({SCHEMA + ROWS!r})")
    refuses(lambda sql: maker.python(f"import sqlite3\nsqlite3.connect('/db/accounts.db').execute({sql!r})", check=False).stderr)
    options = ["-v", f"{volume}:/db"]
    env = {"MAILROOM_ACCOUNTS_SQL": "sqlite:///db/accounts.db", "POSTFIX_RELAYHOST": "[sink]:25"}
    # Without a column of quotas.
    query = "SELECT 1 FROM accounts WHERE address = '%s' AND enabled = 1"
    server = lab.server(env={**env, "MAILROOM_QUOTA": "2M", "MAILROOM_ACCOUNTS_SQL_MAILBOX_QUERY": query}, options=options, alias="sqlite")
    assert limit(server, "bob@b.test") == "2048"
    refused = server.exec("mailroom", "account", "passwd", "bob@b.test", check=False)
    assert refused.returncode == 64 and "tables of your own (MAILROOM_ACCOUNTS_SQL_MAILBOX_QUERY is set)" in refused.stderr
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
roomNumber: 3M
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


def slapd(lab, alias="directory"):
    """A server that runs, with these entries."""
    directory = lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--network-alias", alias, "--init"])
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
    return directory


def test_an_ldap_directory(lab, client, sink):
    slapd(lab)
    server = lab.server(alias="ldap", env={
        "MAILROOM_ACCOUNTS_LDAP": "ldap://directory/dc=nodomain", "MAILROOM_ACCOUNTS_LDAP_BIND_DN": "cn=admin,dc=nodomain",
        "MAILROOM_ACCOUNTS_LDAP_BIND_PASSWORD": "admin-secret", "POSTFIX_RELAYHOST": "[sink]:25",
        "MAILROOM_ACCOUNTS_LDAP_ALIAS_FILTER": "(mailLocalAddress=%s)",
        "MAILROOM_ACCOUNTS_LDAP_ROLE_FILTER": "(employeeType=%s)", "MAILROOM_ACCOUNTS_LDAP_QUOTA_ATTRIBUTE": "roomNumber"})
    assert [limit(server, f"{name}@metabuilder.local") for name in ("ann", "bob")] == ["3072", "-"]
    refused = server.exec("mailroom", "account", "add", "eve", check=False)
    assert refused.returncode == 64 and "in the LDAP directory dc=nodomain on directory: change them there" in refused.stderr
    listed = json.loads(server.exec("mailroom", "account", "list", "--json").stdout)
    assert [(each["address"], each["origin"]) for each in listed] == [(f"{name}@metabuilder.local", "ldap") for name in ("ann", "bob")]
    assert "quota       3M\norigin      ldap" in server.exec("mailroom", "account", "show", "ann").stdout
    assert ask(client, "ldap", *[f"deliver('{name}@metabuilder.local')" for name in ("bob", "info", "abuse", "*", "none")]) == [
        "250", "250", "250", "550", "550"]
    until(lambda: ask(client, "ldap", "imap('bob', 'bob-secret')", "imap('ann', 'ann-secret')") == ["1 2", "1"], "deliveries")
    refused = ask(client, "ldap", "imap('bob', 'x')", "imap('none', 'x')", "imap('..', 'star-secret')")
    assert all("AUTHENTICATIONFAILED" in each for each in refused), refused
    assert ask(client, "ldap", "send('bob', 'bob-secret', 'info@metabuilder.local', 'x@example.org')",
               "send('bob', 'bob-secret', 'ann@metabuilder.local', 'x@example.org')") == ["250", "553"]


LDAP = {"MAILROOM_ACCOUNTS_LDAP_BIND_DN": "cn=admin,dc=nodomain", "MAILROOM_ACCOUNTS_LDAP_BIND_PASSWORD": "admin-secret"}


def environment(kind, host):
    """A directory on that host, and one declared account."""
    directory = {
        "ldap": {"MAILROOM_ACCOUNTS_LDAP": f"ldap://{host}/dc=nodomain", **LDAP},
        "pgsql": {"MAILROOM_ACCOUNTS_SQL": f"postgres://mail:s%40cret-7@{host}/mail"},
        "mysql": {"MAILROOM_ACCOUNTS_SQL": f"mysql://mail:s%40cret-7@{host}/mail"}}[kind]
    return {**directory, "MAILROOM_ACCOUNTS": "own:own-secret"}


def served_without(server, client, alias):
    """Whom a server serves whose directory does not answer."""
    server.wait_for("/healthcheck | grep -q degraded && echo yes", "degraded")
    for _ in range(3):
        assert "degraded: the directory of accounts" in server.exec("timeout", "5", "/healthcheck").stdout
    # Others log in meanwhile, at the same time: they wait for the directory.
    found = ask(client, alias, "imap('bob', 'bob-secret')", "deliver('ann@metabuilder.local')",
                *4 * ["seconds('own', 'own-secret')"])
    assert "UNAVAILABLE" in found[0] and found[1] == "451" and all(float(each) < 3 for each in found[2:]), found
    assert "degraded: the directory of accounts" in server.exec("timeout", "5", "/healthcheck").stdout


@pytest.mark.long
@pytest.mark.parametrize("kind", ["ldap", "pgsql", "mysql"])
def test_a_directory_whose_name_does_not_resolve_yet(lab, client, sink, kind):
    host, alias = f"late-{kind}", f"early-{kind}"
    server = lab.server(env=environment(kind, host), alias=alias, healthy=False)
    served_without(server, client, alias)
    server.exec("sendmail", "-f", "x@c.test", "ann@metabuilder.local", input="Subject: waits\n\nx\n")
    assert ask(client, alias, "imap('ann', 'ann-secret')")[0].count("UNAVAILABLE") == 1
    {"ldap": slapd, "pgsql": postgres, "mysql": mariadb}[kind](lab, host)
    server.wait_for(HEALTHY, "healthy", SLOW)
    until(lambda: ask(client, alias, "imap('ann', 'ann-secret')") in (["1"], [""]), "a login", SLOW)
    until(lambda: ask(client, alias, "deliver('ann@metabuilder.local')") == ["250"], "mail is taken", SLOW)
    # pickup(8) looks once a minute, and when there is something new.
    server.exec("sendmail", "-f", "x@c.test", "own@metabuilder.local", input="Subject: next\n\nx\n")
    server.wait_for("grep -l 'Subject: waits' /var/mail/ann/Maildir/new/*", "the mail that waited", SLOW)
    logs = server.logs()
    assert "killed with signal" not in logs and "status=bounced" not in logs, logs


# Connections are made and nothing is said; or none is made, for no more of them are taken.
SILENT = """
import socket, sys, time
kept = []
for port in (389, 5432, 3306):
    listener = socket.socket(); listener.bind(("0.0.0.0", port)); kept.append(listener)
    listener.listen(0 if sys.argv[1] == "deaf" else 100)
    for _ in range(2):
        one = socket.socket(); one.setblocking(False); one.connect_ex(("127.0.0.1", port)); kept.append(one)
time.sleep(1e6)
"""


@pytest.mark.long
@pytest.mark.parametrize("kind, how", [("ldap", "deaf"), ("pgsql", "deaf"), ("mysql", "deaf"), ("pgsql", "mute"), ("mysql", "mute")])
def test_a_directory_whose_host_is_silent(lab, client, kind, how):
    host, alias = f"{how}-{kind}", f"beside-{how}-{kind}"
    silent = lab.run(CLIENT_IMAGE, "-c", SILENT, how, options=["--network-alias", host, "--entrypoint", "python3", "--init"])
    silent.wait_for("grep -i :0CEA /proc/net/tcp", "it listens")
    server = lab.server(env=environment(kind, host), alias=alias, healthy=False)
    served_without(server, client, alias)
    assert "killed with signal" not in server.logs()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["pgsql", "mysql"])
def test_a_database_that_falls_silent(lab, client, kind):
    host, alias = f"frozen-{kind}", f"beside-frozen-{kind}"
    database = {"pgsql": postgres, "mysql": mariadb}[kind](lab, host)
    server = lab.server(env=environment(kind, host), alias=alias)
    server.wait_for(HEALTHY, "healthy")
    assert ask(client, alias, "imap('ann', 'ann-secret')") == [""]
    docker("pause", database.id)
    try:
        served_without(server, client, alias)
    finally:
        docker("unpause", database.id)
    server.wait_for(HEALTHY, "healthy again", SLOW)
    until(lambda: ask(client, alias, "imap('ann', 'ann-secret')") == [""], "a login", SLOW)
    until(lambda: ask(client, alias, "deliver('ann@metabuilder.local')") == ["250"], "mail is taken", SLOW)
    assert "auth: Fatal" not in server.logs()
