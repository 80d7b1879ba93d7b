"""mailroom domain rename: mailboxes, accounts and aliases get another domain while no server runs; and what other commands change
there. Most of it runs in one container without a server, whose /var/mail and /var/lib/mailroom are made anew for each case."""

import shlex

import pytest

from lab import IMAGE, docker
from test_accounts import arrives, logins, send

YES = "OK +OK 235 235"
HASH = "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"


class Bench:
    """A container in which no server runs."""

    def __init__(self, container):
        self.container = container

    def sh(self, script, check=True):
        return self.container.sh(f"set -e\n{script}", check)

    def mailroom(self, *words, input=None, **env):
        variables = [f"{name}={value}" for name, value in env.items()]
        return self.container.exec("env", *variables, "mailroom", *words, check=False, input=input)

    def begin(self, more=""):
        """The further domain old.test beside a.test, with mail, accounts and aliases of both origins."""
        account = lambda address, more="": f'{{"account":{{"address":"{address}","password":"{HASH}"{more}}}}}'
        alias = lambda address, *targets: f'{{"alias":{{"address":"{address}","targets":[{",".join(map(repr, targets))}]}}}}'.replace("'", '"')
        live = ['{"mailroom":"live","version":1}', '{"domain":"old.test"}', account("ann@old.test"), account("bea@a.test"),
                alias("@old.test", "ann@old.test"), alias("info@a.test", "bea@a.test", "ann@old.test")]
        declared = ['{"mailroom":"declared","version":1}', account("dan@old.test", ',"disabled":true')]
        self.sh(f"""
find /var/mail /var/lib/mailroom -mindepth 1 -delete
mkdir -p /var/mail/{{bea,old.test/ann,old.test/gone}}/Maildir/{{cur,new,tmp}}
echo 'Subject: kept' >/var/mail/old.test/ann/Maildir/new/1
ln -s /etc /var/mail/old.test/ann/link
chown -R 5000:5000 /var/mail
echo a.test >/var/mail/.mailroom-domain
printf '%s\\n' {" ".join(map(shlex.quote, live))} >/var/lib/mailroom/accounts.jsonl
printf '%s\\n' {" ".join(map(shlex.quote, declared))} >/var/lib/mailroom/declared.jsonl
chmod 600 /var/lib/mailroom/*.jsonl
{more}""")

    def state(self):
        """Every name on both volumes, whose it is, and what it holds; without locks, which a kill leaves there."""
        return self.sh("""
find /var/mail /var/lib/mailroom ! -name .mailroom-lock -printf '%p %y %U:%G %m %l\\n' | sort
find /var/mail /var/lib/mailroom -type f ! -name .mailroom-lock ! -name accounts.previous.jsonl | sort | xargs tail -n +1""").stdout


def bench_of(lab, *options):
    options = [*options, "--entrypoint", "bash", "--init", "--no-healthcheck"]
    return Bench(lab.run(IMAGE, "-c", "sleep infinity", options=options, network="none"))


def test_renamed_domains_have_all_their_mail_and_accounts(lab, client):
    volumes = [part for path in ["/var/mail", "/var/lib/mailroom"] for part in ("-v", f"{lab.volume()}:{path}")]
    beside = bench_of(lab, *volumes)
    for words in ["account add bea --stdin", "domain add more.test", "account add bea@more.test --stdin", "alias add info bea",
                  "alias add @more.test bea@more.test bea"]:
        done = beside.mailroom(*words.split(), input=f"{'more' if 'more' in words else 'bea'}-1\n", POSTFIX_MYDOMAIN="old.test")
        assert done.returncode == 0, done
    declared = {"POSTFIX_MYDOMAIN": "old.test", "MAILROOM_ACCOUNTS": "ann:ann-1 dan:dan-1"}
    before = lab.server(alias="before-rename", options=volumes, env=declared)
    assert send(client, "before-rename", "a@example.com", "ann@old.test", "bea@old.test", "bea@more.test", subject="early") == ["250"] * 4
    for home in ["ann", "bea", "more.test/bea"]:
        arrives(before, home, "early")

    # Where a server runs nothing is done, whoever asks.
    done = before.exec("mailroom", "domain", "rename", "old.test", "new.test", check=False)
    assert done.returncode == 78 and "a server is running here: stop it" in done.stderr, done
    rename = lambda *words: beside.mailroom("domain", "rename", *words, POSTFIX_MYDOMAIN="new.test")
    done = rename("old.test", "new.test")
    assert done.returncode == 78 and "/var/mail is in use by container" in done.stderr and "stop it" in done.stderr, done
    docker("stop", before.id)

    done = beside.mailroom("run", POSTFIX_MYDOMAIN="new.test")
    assert done.returncode == 64 and "mailroom domain rename old.test new.test --dry-run" in done.stderr, done
    shown = rename("old.test", "new.test", "--dry-run").stdout
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    for row in ["primary domain old.test new.test", "account bea@old.test bea@new.test", "account ann@old.test ann@new.test",
                "alias info@old.test info@new.test", "target @more.test to bea@old.test @more.test to bea@new.test"]:
        assert row in rows, (row, shown)
    assert "this is a dry run, nothing has changed" in rows[-1], shown
    done = rename("old.test", "new.test")
    assert done.stdout.startswith("old.test is new.test from now on: 1 primary domain, 3 accounts, 1 alias, 2 targets; all mail stays where it is; "), done
    done = rename("more.test", "plus.test")
    assert "1 directory of mail" in done.stdout, done

    declared = {"POSTFIX_MYDOMAIN": "new.test", "MAILROOM_ACCOUNTS": "ann:ann-1", "MAILROOM_ALIASES": "both:ann,bea"}
    after = lab.server(alias="after-rename", options=volumes, env=declared)
    assert logins(client, "after-rename", ("ann", "ann-1"), ("bea@new.test", "bea-1"), ("bea@plus.test", "more-1")) == [YES] * 3
    assert after.exec("doveadm", "auth", "test", "bea", "more-1", check=False).returncode == 77, "it is another's password"
    known = lambda name: after.exec("doveadm", "user", name, check=False).returncode == 0
    assert [known(name) for name in ["bea@new.test", "bea@plus.test", "bea@old.test", "bea@more.test"]] == [True, True, False, False]
    assert send(client, "after-rename", "a@example.com", "both@new.test", "info@new.test", "any@plus.test", subject="late") == ["250"] * 4
    for home in ["ann", "bea", "plus.test/bea"]:
        arrives(after, home, "late")
        # The login has moved it there.
        assert "Subject: early" in after.sh(f"cat /var/mail/{home}/Maildir/cur/*").stdout
    assert after.sh("ls /var/mail").stdout.split() == ["ann", "bea", "dan", "plus.test"]
    assert "Repaired" not in after.logs()

    # What is no longer declared goes with the domain, and goes for good.
    assert "dan@new.test" in after.exec("mailroom", "account", "list").stdout
    after.exec("mailroom", "account", "remove", "dan")
    after.exec("mailroom", "reload")
    assert "dan" not in after.exec("mailroom", "account", "list").stdout


@pytest.fixture(scope="module")
def bench(lab):
    return bench_of(lab)


FURTHER = {"POSTFIX_MYDOMAIN": "a.test"}
PRIMARY = {"POSTFIX_MYDOMAIN": "new.test"}
OLD, NEW = "old.test", "new.test"


def test_a_dry_run_changes_nothing_and_a_run_everything(bench):
    # The directory of a domain that has no mail yet is in nobody's way.
    bench.begin("mkdir /var/mail/new.test")
    before = bench.state()
    assert bench.mailroom("domain", "rename", OLD, NEW, "--dry-run", **FURTHER).returncode == 0
    assert bench.state() == before
    done = bench.mailroom("domain", "rename", "Old.Test", NEW, **FURTHER)
    assert done.returncode == 0 and done.stdout.startswith("old.test is new.test from now on: 1 directory of mail, 2 accounts, "), done
    assert "old.test" not in bench.state()
    assert bench.sh("cat /var/mail/new.test/ann/Maildir/new/1; readlink /var/mail/new.test/ann/link; stat -c %U /etc").stdout == (
        "Subject: kept\n/etc\nroot\n")
    assert bench.sh("ls -d /var/mail/new.test/gone /var/mail/bea").returncode == 0, "mail of who is no account goes with the domain"
    done = bench.mailroom("domain", "rename", OLD, NEW, **FURTHER)
    assert done.returncode == 64 and "has neither accounts, aliases nor mail" in done.stderr, done


def test_links_that_vmail_made_are_not_followed(bench):
    """In place of the record, of the lock, and of what a kill would leave."""
    bench.begin("""
echo precious >/precious; chmod 600 /precious
for name in .mailroom-domain .mailroom-lock .mailroom-0123456789abcdef; do ln -sf /precious /var/mail/$name; done
mkdir /elsewhere; ln -s /elsewhere /var/mail/old.test/bob; ln -s /elsewhere /var/mail/old.test/ann/Maildir/.Old
chown -Rh 5000:5000 /var/mail""")
    done = bench.mailroom("domain", "rename", OLD, NEW, **FURTHER)
    assert done.returncode == 0, done
    assert bench.sh("cat /precious; stat -c %U:%a /precious; ls /elsewhere; readlink /var/mail/new.test/bob").stdout == (
        "precious\nroot:600\n/elsewhere\n")
    bench.sh("rm -r /elsewhere")


STEPS = {
    "nothing": "true",
    "mail": "if [ -d /final/mail/new.test ]; then mv /var/mail/old.test /var/mail/new.test; fi",
    "previous": "cp -p /var/lib/mailroom/accounts.jsonl /var/lib/mailroom/accounts.previous.jsonl",
    "live": "cp -p /final/mailroom/accounts.jsonl /var/lib/mailroom",
    "declared": "cp -p /final/mailroom/declared.jsonl /var/lib/mailroom",
    "record": "cp -p /final/mail/.mailroom-domain /var/mail",
}


@pytest.mark.parametrize("more, env", [("true", FURTHER), ("mv /var/mail/old.test/* /var/mail; rmdir /var/mail/old.test; "
                                       "echo old.test >/var/mail/.mailroom-domain", PRIMARY)], ids=["further", "primary"])
def test_what_a_kill_leaves_is_finished_by_the_same_command(bench, more, env):
    rename = ["domain", "rename", OLD, NEW]
    bench.begin(more)
    # The account of a.test is in no domain of the primary case.
    env = env | ({"MAILROOM_DOMAINS": "a.test"} if env is PRIMARY else {})
    bench.sh("rm -rf /initial /final; mkdir /initial /final; cp -a /var/mail /var/lib/mailroom /initial")
    assert bench.mailroom(*rename, **env).returncode == 0
    bench.sh("cp -a /var/mail /var/lib/mailroom /final")
    final = bench.state()
    assert "old.test" not in final
    restore = "find /var/mail /var/lib/mailroom -mindepth 1 -delete; cp -a /initial/mail/. /var/mail; cp -a /initial/mailroom/. /var/lib/mailroom"
    for last in range(1, len(STEPS) + 1):
        steps = list(STEPS)[:last]
        bench.sh("\n".join([restore, f"""echo '{{"from":"{OLD}","to":"{NEW}"}}' >/var/lib/mailroom/rename.json""",
                            *(STEPS[step] for step in steps)]))
        if last == len(STEPS) // 2:
            state = bench.state()
            for other in [["check"], ["account", "add", "x", "--generate"], ["account", "list"], ["domain", "rename", NEW, OLD], ["run"]]:
                done = bench.mailroom(*other, **env)
                assert done.returncode in (1, 78), (other, done)
                assert "finish it with mailroom domain rename old.test new.test" in done.stderr, (other, done)
            assert bench.state() == state
        done = bench.mailroom(*rename, **env)
        assert done.returncode == 0, (steps, done)
        assert bench.state().replace("accounts.previous.jsonl", "") == final.replace("accounts.previous.jsonl", ""), steps

    # At any moment.
    bench.sh(f"{restore}\nexport {' '.join(f'{name}={value}' for name, value in env.items())}\n"
             f"begin=$(date +%s%N); mailroom {shlex.join(rename)} >/dev/null; took=$(($(date +%s%N) - begin))\n{restore}\n"
             f"for part in 70 80 85 90 94 97; do timeout -s KILL $((took * part / 100 / 1000))e-6 mailroom {shlex.join(rename)} || true; done")
    done = bench.mailroom(*rename, **env)
    assert done.returncode == 0 or "has neither accounts, aliases nor mail" in done.stderr, done
    assert bench.state() == final


LIVE = "/var/lib/mailroom/accounts.jsonl"
ACCOUNT = f"""echo '{{"account":{{"address":"%s","password":"{HASH}"}}}}' >>{LIVE}"""


@pytest.mark.parametrize("more, env, code, said", [
    (ACCOUNT % "eve@new.test", FURTHER, 64, "there is an account eve@new.test already"),
    (f"""echo '{{"alias":{{"address":"ann@new.test","targets":["bea@a.test"]}}}}' >>{LIVE}""", FURTHER, 64, "an alias ann@new.test already"),
    (ACCOUNT % "new.test@a.test", FURTHER, 64, "new.test is the name of the account new.test@a.test"),
    ("mkdir -p /var/mail/new.test/ann", FURTHER, 78, "/var/mail/new.test is there already, and not empty"),
    ("ln -s /elsewhere /var/mail/new.test; mkdir /elsewhere", FURTHER, 78, "/var/mail/new.test is a link: links on a volume are not"),
    ("mv /var/mail/old.test /elsewhere; ln -s /elsewhere /var/mail/old.test", FURTHER, 78, "/var/mail/old.test is a link: links on"),
    ("touch /var/mail/new.test", FURTHER, 78, "/var/mail/new.test is no directory"),
    ("mkdir /var/mail/old.test/Maildir", FURTHER, 78, "/var/mail/old.test is the mailbox of an account of that name"),
    ("true", FURTHER | {"MAILROOM_DOMAINS": "b.test, Old.Test"}, 64, "MAILROOM_DOMAINS names old.test: put new.test in its place"),
    (f"sed -i /domain.:.old.test/d {LIVE}", FURTHER, 64, "new.test is no domain of these settings: name it in MAILROOM_DOMAINS"),
    ("true", FURTHER | {"MAILROOM_ALIASES": "x:nobody"}, 64, "is neither an account nor an alias"),
    ("true", {"POSTFIX_MYDOMAIN": "old.test"}, 64, "old.test is the primary domain: set POSTFIX_MYDOMAIN=new.test"),
    ("true", {"POSTFIX_MYDOMAIN": "b.test"}, 64, "the mailboxes in /var/mail belong to a.test"),
    ("echo old.test >/var/mail/.mailroom-domain", {"POSTFIX_MYDOMAIN": "b.test"}, 64, "set POSTFIX_MYDOMAIN=new.test (it is b.test)"),
    ("echo old.test >/var/mail/.mailroom-domain; mkdir -p /var/mail/new.test/x", PRIMARY, 78, "/var/mail/new.test is there already"),
    ("echo old.test >/var/mail/.mailroom-domain", PRIMARY | {"MAILROOM_DOMAINS": "old.test"}, 64, "MAILROOM_DOMAINS names old.test: take it out"),
    ("rm -r /var/mail/old.test /var/lib/mailroom/*", FURTHER, 64, "are these the volumes of the server?"),
])
def test_what_is_in_the_way_is_found_before_anything_changes(bench, more, env, code, said):
    bench.begin(f"rm -rf /elsewhere; {more}")
    before = bench.state()
    for words in [["--dry-run"], []]:
        done = bench.mailroom("domain", "rename", OLD, NEW, *words, **env)
        assert done.returncode == code and said in done.stderr and done.stdout == "", done
    assert bench.state() == before


def test_names_that_are_none(bench):
    for old, new, said in [("old", "new.test", "at least two parts"), ("old.test", "new_.test", "underscore"), ("a.test", "A.test", "has that name")]:
        done = bench.mailroom("domain", "rename", old, new)
        assert done.returncode == 64 and said in done.stderr, done


def test_commands_without_a_server_refuse_what_a_server_would(bench):
    bench.begin()
    # What is no longer declared goes for good, also the last of it.
    done = bench.mailroom("account", "remove", "dan@old.test", **FURTHER)
    assert done.returncode == 0 and "no server is running here" in done.stdout, done
    assert "dan@" not in bench.mailroom("account", "list", **FURTHER).stdout + bench.sh("cat /var/lib/mailroom/declared.jsonl").stdout
    before = bench.state()
    declared = FURTHER | {"MAILROOM_ACCOUNTS": "ida:ida-1 kim@old.test:kim-1"}
    for words, env, said in [
        (["account", "add", "ida", "--generate"], declared, "ida@a.test is declared in MAILROOM_ACCOUNTS (entry 1): change it there"),
        (["account", "remove", "kim@old.test"], declared, "kim@old.test is declared in MAILROOM_ACCOUNTS (entry 2): change it there"),
        (["alias", "add", "ida+x", "nobody"], declared, "nobody@a.test is neither an account nor an alias"),
        (["domain", "remove", "old.test"], declared, "remove its accounts and aliases first"),
        (["alias", "remove", "info", "ann@old.test"], FURTHER | {"MAILROOM_ALIASES": "info:bea"}, "is declared in MAILROOM_ALIASES"),
        (["account", "remove", "bea"], FURTHER | {"MAILROOM_ALIASES": "team:bea"}, "bea@a.test gets the mail of"),
    ]:
        done = bench.mailroom(*words, **env)
        assert done.returncode == 64 and said in done.stderr and not done.stdout, (words, done)
    # No server would start with these settings then.
    bench.sh(ACCOUNT % "lea@a.test")
    done = bench.mailroom("account", "remove", "lea", **FURTHER, MAILROOM_CATCH_ALL="lea")
    assert done.returncode == 64 and "MAILROOM_CATCH_ALL" in done.stderr and "is no account of this server" in done.stderr, done
    assert bench.mailroom("account", "remove", "lea", **FURTHER).returncode == 0
    assert bench.state() == before


def test_mail_is_deleted_where_the_volume_has_it(bench):
    """The short homes belong to the domain of the volume, wherever the settings name it."""
    bench.begin("mkdir -p /var/mail/x /var/mail/metabuilder.local/x; chown -R 5000:5000 /var/mail; echo a.test >/domain; "
                + ACCOUNT % "x@metabuilder.local")
    env = {"POSTFIX_MYDOMAIN_FILE": "/domain", "MAILROOM_DOMAINS": "metabuilder.local"}
    assert "in /var/mail/metabuilder.local/x;" in bench.mailroom("account", "show", "x@metabuilder.local", **env).stdout
    done = bench.mailroom("account", "remove", "x@metabuilder.local", "--delete-mail", **env)
    assert done.returncode == 0, done
    assert bench.sh("ls /var/mail /var/mail/metabuilder.local").stdout.split() == [
        "/var/mail:", "bea", "metabuilder.local", "old.test", "x", "/var/mail/metabuilder.local:"]
    listed = bench.mailroom("domain", "list", **env).stdout
    assert "a.test" in listed and "POSTFIX_MYDOMAIN, the primary one" in listed, listed
