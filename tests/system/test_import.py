"""Accounts from other servers: docker-mailserver's configuration directory, as the README says, and Mailroom's own export."""

import re
from pathlib import Path

import pytest

from lab import WORK, docker, name, until
from test_accounts import arrives, logins, send

README = Path(__file__).resolve().parents[2] / "README.md"
ALIASES = """# alias, targets
info@metabuilder.local u0@metabuilder.local,u1@b.test
@b.test\tu2@metabuilder.local
Sales@b.test u3@b.test
"""
ALL = 30
PEOPLE = [f"u{number}@{'b.test' if number % 2 else 'metabuilder.local'}" for number in range(ALL)]
PASSWORDS = [(person, f"secret-{person.split('@')[0]}") for person in PEOPLE]
YES = "OK +OK 235 235"


@pytest.fixture(scope="module")
def config(checker):
    """docker-mailserver's directory: hashes of two schemes, CRLF, a byte-order mark, capitals, and what is not taken over."""
    hashes = checker.sh(" ".join(
        f"echo '{{SHA512-CRYPT}}'$(openssl passwd -6 {password});" if number % 3 else f"doveadm -O pw -s BLF-CRYPT -r 5 -p {password};"
        for number, (_, password) in enumerate(PASSWORDS))).stdout.split()
    assert len(hashes) == ALL, hashes
    directory = WORK / name("dms")
    directory.mkdir()
    lines = [f"{person.capitalize()}|{hash}" for person, hash in zip(PEOPLE, hashes)]
    (directory / "postfix-accounts.cf").write_text("\ufeff# people\r\n\r\n" + "\r\n".join(lines))
    (directory / "postfix-virtual.cf").write_text(ALIASES)
    (directory / "dovecot-quotas.cf").write_text("u0@metabuilder.local:5G\nu1@b.test:0\n")
    (directory / "postfix-regexp.cf").write_text("/^x/ u0@metabuilder.local\n")
    return directory


def walk_through(config, server):
    """The README's commands."""
    block = re.search(r"### Coming from docker-mailserver.*?```sh\n(.*?)```", README.read_text(), re.S).group(1)
    commands = [line for line in block.splitlines() if line.startswith("docker ")]
    assert len(commands) == 4, block
    return [docker(*line.split("#")[0].replace("./docker-data/dms/config", str(config)).replace("metabuilder-postfix", server.id)
                   .split()[1:]).stdout for line in commands]


def test_a_directory_of_docker_mailserver(lab, client, config):
    server = lab.server(alias="imported")
    before = server.exec("mailroom", "account", "list").stdout
    _, dry, done, _ = walk_through(config, server)
    for said in ["postfix-regexp.cf is not taken over", "SHA512-CRYPT: 20 accounts", "BLF-CRYPT: 10 accounts", "add: 33", "b.test",
                 "nothing has changed"]:
        assert said in dry, (said, dry)
    assert "test account" in before and "30 accounts and 3 aliases are imported; new domains: b.test" in done, done
    assert logins(client, "imported", *PASSWORDS) == [YES] * ALL
    assert send(client, "imported", "a@example.com", "info@metabuilder.local", "anybody@b.test", "sales@b.test") == ["250"] * 4
    for home in ["u0", "b.test/u1", "u2", "b.test/u3"]:
        arrives(server, home, "x")
    assert '"quota": "5G"' in server.exec("mailroom", "account", "show", "--json", "u0").stdout
    # A second time it changes nothing; to another server it goes by an export.
    docker("cp", str(config), f"{server.id}:/opt/dms")
    again = server.exec("mailroom", "account", "import", "/opt/dms", "--dry-run").stdout
    assert "there already: 33" in again and "replace: 0" in again, again
    assert "QUOTA" in again and re.search(r"^u0@metabuilder.local .* 5G +there already$", again, re.M), again
    again = server.exec("mailroom", "account", "import", "/opt/dms").stdout
    assert "nothing changes: 30 accounts and 3 aliases are there already" in again, again
    other = lab.server(alias="exported")
    export = server.exec("mailroom", "account", "export").stdout
    other.exec("mailroom", "account", "import", "-", input=export)
    assert logins(client, "exported", *PASSWORDS[:4]) == [YES] * 4
    assert other.exec("mailroom", "account", "export").stdout == export


def test_a_dry_run_changes_nothing_and_wrong_lines_are_named(lab, client):
    server = lab.server(alias="wrong-lines")
    text = 'address,password,quota\nanna,"one, two",5G\nberta,,\nanna,other,\nclara,three,lots\n'
    run = lambda *options: server.exec("mailroom", "account", "import", "-", *options, input=text, check=False)
    listed = lambda: server.exec("mailroom", "account", "list").stdout
    before = listed()
    dry = run("--dry-run")
    assert dry.returncode == 0 and "BLF-CRYPT: 1 account\n" in dry.stdout and "$2y$" not in dry.stdout, dry
    refused = run()
    assert refused.returncode == 64, refused
    for said in ["-:3: the password must not be empty", "-:4: anna@metabuilder.local is there twice", "-:5: the quota", "--skip-wrong"]:
        assert said in refused.stderr, (said, refused.stderr)
    assert listed() == before
    assert run("--skip-wrong").returncode == 0
    assert logins(client, "wrong-lines", ("anna", "one, two"), ("berta", "x")) == [YES, "no no no no"]
    text = "address,password\nanna,another\n"
    assert "is there already: --replace" in run().stderr
    assert run("--replace").returncode == 0
    until(lambda: logins(client, "wrong-lines", ("anna", "another")) == [YES], lambda: server.logs())
