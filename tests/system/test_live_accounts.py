"""Accounts that come and go while the server runs: by mailroom account, alias and domain, and by changed files of declarations.
Nothing is waited for behind a command: when it returns, logins and mail follow it."""

import json
import shlex
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from lab import LABEL, WORK, docker, name, run_once, until
from test_accounts import arrives, logins, send

YES, NO = "OK +OK 235 235", "no no no no"


def account(server, *words, password=None, check=True):
    return server.exec("mailroom", "account", *words, input=password, check=check)


@pytest.fixture(scope="module")
def live(lab):
    return lab.server(alias="live", env={"MAILROOM_DOMAINS": "b.test"})


def test_a_life_of_an_account(live, client):
    said = account(live, "add", "Dora", "--stdin", password="first-1\n").stdout
    assert said == "dora@metabuilder.local is added (user); the test accounts are gone\n"
    assert logins(client, "live", ("dora", "first-1"), ("user", "userpass123")) == [YES, NO]
    assert send(client, "live", "a@example.com", "dora@metabuilder.local", "user@metabuilder.local", data=False) == ["250", "550"]
    # The same name in another domain is another account.
    generated = account(live, "add", "dora@b.test", "--generate", "--role", "relay").stdout.split("password: ")[1].strip()
    assert len(generated) >= 24
    assert logins(client, "live", ("dora@b.test", generated), ("dora", generated), ("dora@b.test", "first-1")) == [YES, NO, NO]
    account(live, "passwd", "dora", "--stdin", password="second-2\n")
    assert logins(client, "live", ("dora", "first-1"), ("dora", "second-2")) == [NO, YES]
    account(live, "disable", "dora")
    assert logins(client, "live", ("dora", "second-2")) == [NO]
    assert send(client, "live", "a@example.com", "dora@metabuilder.local", data=False) == ["550"]
    account(live, "enable", "dora")
    assert logins(client, "live", ("dora", "second-2")) == [YES]
    assert send(client, "live", "a@example.com", "dora@metabuilder.local", subject="kept") == ["250", "250"]
    arrives(live, "dora", "kept")
    shown = json.loads(account(live, "show", "dora", "--json").stdout)
    assert shown["mail"]["messages"] == 1 and shown["origin"] == "live" and shown["home"] == "/var/mail/dora", shown
    last = datetime.fromisoformat(shown["last_login"])
    assert timedelta(0) <= datetime.now(UTC) - last < timedelta(minutes=5), shown
    # Roles: relay sends as anybody, a user as itself.
    assert send(client, "live", "x@example.com", "dora@metabuilder.local", login=("dora@b.test", generated), data=False) == ["250"]
    assert send(client, "live", "x@example.com", "dora@b.test", login=("dora", "second-2"), data=False) == ["553"]
    account(live, "set", "dora", "--role", "relay")
    assert send(client, "live", "x@example.com", "dora@b.test", login=("dora", "second-2"), data=False) == ["250"]
    account(live, "remove", "dora")
    assert logins(client, "live", ("dora", "second-2"), ("dora@b.test", generated)) == [NO, YES]
    assert live.sh("ls /var/mail/dora/Maildir/new | wc -l").stdout.strip() == "1", "its mail is kept"
    account(live, "add", "dora", "--stdin", password="third-3\n")
    assert account(live, "remove", "dora", "--delete-mail").stdout.endswith("its mail in /var/mail/dora is deleted\n")
    assert live.sh("ls -d /var/mail/dora", check=False).returncode != 0
    listed = account(live, "list").stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["ADDRESS", "ROLE", "QUOTA", "STATE", "ORIGIN"], ["dora@b.test", "relay", "-", "enabled", "live"]], listed


def test_what_cannot_be_is_refused_with_64(live):
    for words, said in [
        (["add", "eve@c.test", "--generate"], "mailroom domain add c.test adds it"),
        (["add", "../eve", "--generate"], "a name has letters"),
        (["passwd", "nobody", "--generate"], "nobody@metabuilder.local is no account"),
        (["add", "eve", "--hash", "{PLAIN}x"], "is the password in clear"),
        (["add", "eve", "--stdin"], "must not be empty"),
        (["show", "nobody"], "is no account"),
    ]:
        done = account(live, *words, password="\n", check=False)
        assert done.returncode == 64 and said in done.stderr and not done.stdout, (words, done)
    done = account(live, "add", "eve", check=False)
    assert done.returncode == 64 and "there is no terminal" in done.stderr, done
    done = account(live, "add", "eve", "--stdin", check=False)
    assert done.returncode == 64 and "docker exec passes it on with -i alone" in done.stderr, done


def at_a_terminal(server, *words):
    """What a person sees who types nothing; the exit code is docker's."""
    command = shlex.join(["docker", "exec", "-it", server.id, "mailroom", "account", *words])
    return subprocess.run(["timeout", "5", "script", "-qec", command, "/dev/null"], stdin=subprocess.PIPE,
                          capture_output=True, text=True, timeout=30)


def test_a_password_is_asked_for_where_it_can_be_used(live):
    account(live, "add", "ed", "--generate")
    for words, said in [
        (["add", "eve@c.test"], "mailroom domain add c.test adds it"),
        (["add", "ed"], "ed@metabuilder.local is there already"),
        (["passwd", "nobody"], "nobody@metabuilder.local is no account"),
    ]:
        done = at_a_terminal(live, *words)
        assert done.returncode == 64 and said in done.stdout and "Password:" not in done.stdout, (words, done)
    assert "Password:" in at_a_terminal(live, "add", "eve").stdout


def test_aliases_and_domains(live, client):
    live.exec("mailroom", "domain", "add", "d.test")
    account(live, "add", "fay@d.test", "--stdin", password="fay-1\n")
    assert logins(client, "live", ("fay@d.test", "fay-1")) == [YES]
    live.exec("mailroom", "alias", "add", "info@d.test", "fay@d.test")
    live.exec("mailroom", "alias", "add", "@d.test", "fay@d.test")
    assert send(client, "live", "a@example.com", "info@d.test", "any@d.test", subject="by-alias") == ["250", "250", "250"]
    arrives(live, "d.test/fay", "by-alias")
    assert send(client, "live", "info@d.test", "fay@d.test", login=("fay@d.test", "fay-1"), data=False) == ["250"]
    for command, said in [
        (["alias", "add", "loop@d.test", "loop2@d.test"], None),
        (["alias", "add", "loop2@metabuilder.local", "nobody"], "is neither an account nor an alias"),
        (["account", "remove", "fay@d.test"], "gets the mail of"),
        (["domain", "remove", "d.test"], "remove its accounts and aliases first"),
        (["domain", "remove", "b.test"], "is set by POSTFIX_MYDOMAIN or MAILROOM_DOMAINS"),
    ]:
        done = live.exec("mailroom", *command, check=False)
        assert (done.returncode == 64 and said in done.stderr) if said else done.returncode == 0, (command, done)
    for alias in ["info@d.test", "loop@d.test", "@d.test"]:
        live.exec("mailroom", "alias", "remove", alias)
    assert send(client, "live", "a@example.com", "any@d.test", "info@d.test", data=False) == ["550", "550"]
    account(live, "remove", "fay@d.test")
    live.exec("mailroom", "domain", "remove", "d.test")
    assert "d.test" not in live.exec("mailroom", "domain", "list").stdout


# Another client that waits keeps a process of Postfix's that knows the old domains.
RCPT = """
import smtplib, sys
with smtplib.SMTP("domained", 25) as idle:
    for line in sys.stdin:
        with smtplib.SMTP("domained", 25) as smtp:
            smtp.helo(); smtp.mail("a@example.org"); print(*smtp.rcpt(line.strip()), flush=True)
"""


def test_a_domain_is_in_force_when_the_command_returns(lab, client):
    """Postfix reads its domains at a reload: 250 is for a relay's recipient, 550 for a name without account."""
    server = lab.server(alias="domained")
    asked = subprocess.Popen(["docker", "exec", "-i", client.id, "python3", "-c", RCPT], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def answer(domain):
        asked.stdin.write(f"nobody@{domain}\n")
        asked.stdin.flush()
        return asked.stdout.readline()

    for number in range(10):
        domain = f"domain{number}.test"
        server.exec("mailroom", "domain", "add", domain)
        assert answer(domain).startswith("550 b'5.1.1"), number
        server.exec("mailroom", "domain", "remove", domain)
        assert answer(domain).startswith("250 "), number
    asked.communicate(timeout=10)


IDLE = """
import imaplib, ssl, sys
imap = imaplib.IMAP4_SSL("live", ssl_context=ssl._create_unverified_context())
imap.login(*sys.argv[1:]); imap.select()
print("in", flush=True)
for _ in sys.stdin:
    try: print(imap.noop()[0], flush=True)
    except (imaplib.IMAP4.error, OSError): print("out", flush=True)
"""


def test_only_the_sessions_of_those_who_are_out_end(live, client):
    account(live, "add", "gil", "--stdin", password="gil-1\n")
    account(live, "add", "hal", "--stdin", password="hal-1\n")
    talks = [subprocess.Popen(["docker", "exec", "-i", client.id, "python3", "-c", IDLE, *login], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) for login in [("gil", "gil-1"), ("hal", "hal-1")]]
    try:
        assert [talk.stdout.readline() for talk in talks] == ["in\n", "in\n"]
        account(live, "disable", "gil")
        for talk in talks:
            talk.stdin.write("\n")
            talk.stdin.flush()
        assert [talk.stdout.readline() for talk in talks] == ["out\n", "OK\n"]
    finally:
        for talk in talks:
            talk.kill()
    account(live, "remove", "gil")
    account(live, "remove", "hal")


def test_declared_accounts_are_changed_where_they_are(lab, client):
    server = lab.server(alias="both", env={"MAILROOM_ACCOUNTS": "ida:ida-1"})
    done = account(server, "passwd", "ida", "--generate", check=False)
    assert done.returncode == 64 and "ida@metabuilder.local is declared in MAILROOM_ACCOUNTS (entry 1)" in done.stderr, done
    account(server, "add", "jon", "--stdin", password="jon-1\n")
    assert logins(client, "both", ("ida", "ida-1"), ("jon", "jon-1")) == [YES, YES]
    assert [line.split()[-1] for line in account(server, "list").stdout.splitlines()[1:]] == ["1)", "live"]


def test_an_account_before_the_first_start(lab, client):
    """Where no server runs, the files are changed that the next one reads; a live account is shadowed by a declared one."""
    volume = name("state")
    docker("volume", "create", "--label", LABEL, volume)
    mount = ["-v", f"{volume}:/var/lib/mailroom"]
    done = run_once(*mount, "-i", command=["account", "add", "kim", "--generate"])
    password = done.stdout.split("password: ")[1].strip()
    assert "no server is running here" in done.stdout, done
    run_once(*mount, command=["account", "add", "lea", "--generate"])
    server = lab.server(alias="later", options=mount, env={"MAILROOM_ACCOUNTS": "lea:lea-1"})
    assert logins(client, "later", ("kim", password), ("lea", "lea-1")) == [YES, YES]
    assert "lea@metabuilder.local was added live, and is declared in MAILROOM_ACCOUNTS (entry 1), too" in server.logs()
    done = run_once(*mount, command=["account", "add", "max", "--generate"], check=False)
    assert done.returncode == 78 and "is in use by" in done.stderr, done


def acts(client, host, pair, expected, deadline=6.0):
    """Whether a login comes out so: within two seconds on a machine without other work. Refusals are meant to be slow."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if logins(client, host, pair) == [expected]:
            return
    assert logins(client, host, pair) == [expected]


def test_changed_files_act_by_themselves(lab, client):
    """In place, renamed over, and as Kubernetes does it: by a link from ..data to another directory."""
    directory = WORK / name("watched")
    first = directory / "..first"
    first.mkdir(parents=True)
    (first / "accounts").write_text("nan:nan-1\n")
    (directory / "..data").symlink_to("..first")
    (directory / "accounts").symlink_to("..data/accounts")
    server = lab.server(alias="watched", options=["-v", f"{directory}:/t:ro"], env={"MAILROOM_ACCOUNTS_FILE": "/t/accounts"})
    assert logins(client, "watched", ("nan", "nan-1")) == [YES]
    (first / "accounts").write_text("nan:nan-1\noli:oli-1\n")
    acts(client, "watched", ("oli", "oli-1"), YES)
    (first / "new").write_text("nan:nan-2\noli:oli-1\n")
    (first / "new").rename(first / "accounts")
    acts(client, "watched", ("nan", "nan-2"), YES)
    second = directory / "..second"
    second.mkdir()
    (second / "accounts").write_text("nan:nan-2\npat:pat-1\nuli:uli-1\n")
    (directory / "..new").symlink_to("..second")
    (directory / "..new").rename(directory / "..data")
    acts(client, "watched", ("pat", "pat-1"), YES)
    assert logins(client, "watched", ("oli", "oli-1")) == [NO]
    assert "no longer declared" in account(server, "list").stdout

    # A wrong line keeps its account as it was; all others follow, and health says so, also after a restart.
    (second / "accounts").write_text("nan:nan-3\npat:\nquy:quy-1\n")
    acts(client, "watched", ("quy", "quy-1"), YES)
    assert logins(client, "watched", ("nan", "nan-3"), ("pat", "pat-1"), ("uli", "uli-1")) == [YES, YES, NO]
    assert server.exec("/healthcheck").stdout.startswith("degraded: /t/accounts:2: pat: has no password")
    docker("restart", server.name)
    server.wait_until_healthy()
    assert server.exec("/healthcheck").stdout.startswith("degraded: /t/accounts:2: pat: has no password")
    assert logins(client, "watched", ("nan", "nan-3"), ("pat", "pat-1"), ("quy", "quy-1")) == [YES, YES, YES]
    (second / "accounts").write_text("nan:nan-3\npat:pat-2\nquy:quy-1\n")
    acts(client, "watched", ("pat", "pat-2"), YES)
    until(lambda: server.exec("/healthcheck").stdout.startswith("healthy"), lambda: server.exec("/healthcheck").stdout)
    # A file that is being written is not read before it is there as a whole, and an empty one disables nobody.
    with open(second / "accounts", "w") as slow:
        slow.write("nan:nan-3\n")
        slow.flush()
        assert send(client, "watched", "a@example.com", "pat@metabuilder.local", data=False) == ["250"]
        until(lambda: time.time() - (second / "accounts").stat().st_mtime > 1.5, "the file is half there for a while")
        assert logins(client, "watched", ("pat", "pat-2")) == [YES]
        slow.write("pat:pat-2\nquy:quy-2\n")
    acts(client, "watched", ("quy", "quy-2"), YES)
    (second / "accounts").write_text("")
    server.wait_for("/healthcheck | grep -q '^degraded: /t/accounts: holds no entry any more' && echo yes", "it says so")
    assert logins(client, "watched", ("nan", "nan-3"), ("pat", "pat-2")) == [YES, YES]
    # A first start has nothing to fall back on.
    (second / "accounts").write_text("nan:nan-3\npat:\n")
    done = run_once("-v", f"{directory}:/t:ro", "-e", "MAILROOM_ACCOUNTS_FILE=/t/accounts", check=False)
    assert done.returncode == 64 and "/t/accounts:2" in done.stderr, done.stderr


def test_nobody_gets_what_was_another_accounts(lab, client):
    """A disabled account's mail is not the catch-all's, and the test accounts do not come back to what an account has left."""
    server = lab.server(alias="disabled", env={"MAILROOM_DOMAINS": "b.test"})
    for name in ("ada", "user", "erin@b.test"):
        account(server, "add", name, "--stdin", password=f"{name}-1\n")
    server.exec("mailroom", "alias", "add", "@b.test", "ada")
    to = ("erin@b.test", "any@b.test")
    assert send(client, "disabled", "a@example.com", *to, data=False) == ["250", "250"]
    account(server, "disable", "erin@b.test")
    assert send(client, "disabled", "a@example.com", *to, data=False) == ["550", "250"]
    server.exec("sendmail", "-f", "ada@metabuilder.local", "erin@b.test", input="Subject: private\n\nx\n")
    server.wait_for_log("unknown user: \"erin@b.test\"")
    account(server, "enable", "erin@b.test")
    assert send(client, "disabled", "a@example.com", *to, subject="open") == ["250", "250", "250"]
    arrives(server, "b.test/erin", "open")
    server.exec("mailroom", "alias", "remove", "@b.test")
    for name in ("erin@b.test", "user"):
        account(server, "remove", name)
    assert account(server, "remove", "ada").stdout == "ada@metabuilder.local is removed; no account is left\n"
    assert logins(client, "disabled", ("user", "userpass123")) == [NO]
    docker("restart", server.name)
    server.wait_until_healthy()
    assert logins(client, "disabled", ("user", "userpass123")) == [NO]
    assert "there is no account" in account(server, "list").stdout


def test_who_leaves_is_locked_out_though_an_alias_names_them(lab, client):
    """And a line with a wrong entry changes nothing else: what stands behind a blank may be the rest of a password."""
    directory = WORK / name("leaving")
    directory.mkdir()
    accounts = directory / "accounts"
    accounts.write_text("amy:amy-1\nben:ben-1\n")
    server = lab.server(alias="leaving", options=["-v", f"{directory}:/t:ro"], env={
        "MAILROOM_ACCOUNTS_FILE": "/t/accounts", "MAILROOM_ALIASES": "info:amy,ben"})
    accounts.write_text("amy:amy-1\ndot:dot-1\n")
    acts(client, "leaving", ("dot", "dot-1"), YES)
    assert logins(client, "leaving", ("ben", "ben-1")) == [NO]
    assert server.exec("/healthcheck").stdout.startswith("degraded: MAILROOM_ALIASES: ")
    assert send(client, "leaving", "a@example.com", "info@metabuilder.local", subject="both") == ["250", "250"]
    arrives(server, "amy", "both")
    docker("restart", server.name)
    server.wait_until_healthy()
    accounts.write_text("amy:good horse battery:staple\ndot:dot-1\nben:ben-1\neli:eli-1\n")
    acts(client, "leaving", ("eli", "eli-1"), YES)
    assert logins(client, "leaving", ("amy", "amy-1"), ("amy", "good"), ("battery", "staple")) == [YES, NO, NO]


def test_a_domain_with_the_name_of_an_account(lab):
    """Mail of both would lie in one directory."""
    volumes = ["-v", f"{lab.volume()}:/var/lib/mailroom", "-v", f"{lab.volume()}:/var/mail"]
    run_once(*volumes, command=("account", "add", "foo.test", "--generate"))
    done = run_once(*volumes, "-e", "MAILROOM_DOMAINS=foo.test", check=False)
    assert done.returncode == 64 and "foo.test is the name of the account foo.test@metabuilder.local" in done.stderr, done
    done = run_once(*volumes, "-e", "MAILROOM_DOMAINS=foo.test", "-e", "MAILROOM_ACCOUNTS=vic@foo.test:vic-1", check=False)
    assert done.returncode == 64 and "MAILROOM_DOMAINS" in done.stderr, done
    server = lab.server(options=volumes)
    server.sh("mkdir -p /var/mail/foo.test/vic/Maildir && chown -R vmail: /var/mail/foo.test/vic")
    done = account(server, "remove", "foo.test", "--delete-mail", check=False)
    assert done.returncode == 1 and "is not deleted: other mailboxes lie there, such as /var/mail/foo.test/vic" in done.stderr, done
    assert server.sh("ls -d /var/mail/foo.test/vic/Maildir").returncode == 0


def test_a_change_that_fails_is_not_made(lab):
    server = lab.server(env={"MAILROOM_TEST_ACCOUNTS": "off"})
    account(server, "add", "vic", "--generate")
    tables = "cd /run/mailroom/postfix-tables"
    server.sh(f"{tables} && mv vmailbox.lmdb /tmp && mkdir vmailbox.lmdb")
    done = account(server, "remove", "vic", check=False)
    assert done.returncode == 1 and "nothing has changed: " in done.stderr and "postmap" in done.stderr, done
    assert "vic@" in account(server, "list").stdout and "vic@" in server.exec("cat", "/run/mailroom/dovecot/users").stdout
    server.sh(f"{tables} && rmdir vmailbox.lmdb && mv /tmp/vmailbox.lmdb .")
    account(server, "remove", "vic")
    assert "vic@" not in server.exec("cat", "/run/mailroom/dovecot/users").stdout
    assert server.sh(f"{tables} && postmap -q vic@metabuilder.local lmdb:vmailbox", check=False).returncode == 1


def test_no_account_is_lost(lab, client):
    """Two writers at a time, each of their commands killed now and then, and PID 1 killed in the middle: the file is whole, and
    every account whose command returned 0 is in it."""
    volume = name("state")
    docker("volume", "create", "--label", LABEL, volume)
    server = lab.server(alias="busy", options=["-v", f"{volume}:/var/lib/mailroom"])
    hash = server.exec("doveadm", "pw", "-s", "BLF-CRYPT", "-r", "4", "-p", "x-1").stdout.strip()
    added, stop = [], threading.Event()

    def add(writer):
        for number in range(200):
            if stop.is_set():
                return
            who = f"w{writer}-{number}"
            command = ["docker", "exec", server.name, "mailroom", "account", "add", who, "--hash", hash]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if number % 7 == 3:
                time.sleep(0.02 * writer)
                process.kill()
            if process.wait() == 0:
                added.append(f"{who}@metabuilder.local")

    writers = [threading.Thread(target=add, args=[writer]) for writer in (1, 2)]
    for writer in writers:
        writer.start()
    until(lambda: len(added) >= 12, lambda: f"{added}", 120)
    docker("kill", "-s", "KILL", server.name)
    stop.set()
    for writer in writers:
        writer.join()
    docker("start", server.name)
    server.wait_until_healthy()
    kept = {line["account"]["address"] for line in
            map(json.loads, server.exec("cat", "/var/lib/mailroom/accounts.jsonl").stdout.splitlines()) if "account" in line}
    assert kept >= set(added), set(added) - kept
    last = added[-1].split("@")[0]
    assert logins(client, "busy", (last, "x-1")) == [YES]
    # The version before is there, too, and a file that is not whole is refused with the line.
    server.exec("cat", "/var/lib/mailroom/accounts.previous.jsonl")
    docker("stop", server.name)
    done = run_once("-v", f"{volume}:/var/lib/mailroom", "--entrypoint", "sh", command=[
        "-c", "echo '{\"account\"' >>/var/lib/mailroom/accounts.jsonl; exec mailroom run"], check=False)
    assert done.returncode == 78 and "/var/lib/mailroom/accounts.jsonl:" in done.stderr and "accounts.previous.jsonl" in done.stderr, done
