"""Password hashes: which schemes there are, that Dovecot checks them, and that it takes a new one at once."""

import json
import re
from pathlib import Path

import pytest

SOURCE = Path("/mailroom/src/accounts/password.rs")


def schemes():
    """The table of schemes in the sources: each with what is said of it."""
    table = re.search(r"const SCHEMES: .*?\[\n(.*?)\n\];", SOURCE.read_text(), re.S)[1]
    return dict(re.findall(r'\("([A-Z0-9-]+)", (\w+)', table))


def test_the_schemes_are_those_of_dovecot(checker):
    known = checker.exec("doveadm", "-O", "pw", "-l").stdout.split()
    assert sorted(known) == sorted(schemes())


MAKE = """
for scheme in $(doveadm -O pw -l); do
    user=$(echo $scheme | tr A-Z a-z)@metabuilder.local
    echo "$user:$(doveadm -O pw -s $scheme -p right -u $user):5000:5000::/var/mail/x::"
done
hash() { perl -e 'print crypt("right", $ARGV[0])' -- "$1"; }
echo "yescrypt@metabuilder.local:{CRYPT}$(hash '$y$j9T$saltsaltsaltsaltsalt0.'):5000:5000::/var/mail/x::"
echo 'lanes@metabuilder.local:{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=4$ptZhSdzgCWkq2xqBtCbugg$2YPvQKYdSoBnZpln16LniQaiFMoRcFeNUuXd042PcW4:5000:5000::/var/mail/x::'
echo 'largest@metabuilder.local:{ARGON2ID}$argon2id$v=19$m=262144,t=2,p=1$d260XI0NFgKL2/PnkVo4Cw$NVUjGfgu7zxQ01PkqH9f4dyFhFOxfZg73o8NSwA3K90:5000:5000::/var/mail/x::'
"""


def test_dovecot_logs_in_with_what_is_taken(lab):
    """And refuses what is called weak because it would."""
    server = lab.server()
    server.sh(f"({MAKE}) >/tmp/more && cat /tmp/more >>/run/mailroom/dovecot/users && doveadm reload")
    server.wait_for("doveadm auth test plain right", "the accounts are there")
    done = server.sh("""cut -d: -f1 /tmp/more | xargs -P 8 -I{} sh -c 'doveadm auth test {} right >/dev/null 2>&1 && echo {}'""",
                     check=False).stdout
    logged_in = {line.split("@")[0].upper() for line in done.split()}
    said = schemes()
    taken = {scheme for scheme, what in said.items() if what in ("Crypt", "Salted", "Scram")}
    taken |= {"YESCRYPT", "LANES", "LARGEST"}
    assert taken <= logged_in, taken - logged_in
    refused = {scheme for scheme, what in said.items() if what == "REFUSED"}
    assert refused and not refused & logged_in, refused & logged_in


# One account, and what is computed for names that no account has, as Mailroom writes both. The file's time is another at each
# change: Dovecot compares its seconds and its size.
ACCOUNT = r"""
set -e
cd /run/mailroom/dovecot
mine() { grep -v ^someone@ users; echo "someone@metabuilder.local:$1:5000:5000::/var/mail/user::"; }
change() {
    cp -p users users.new && mine "$1" >users.new
    touch -d @$(($(stat -c %Y users) + 1)) users.new && mv users.new users
}
"""


@pytest.fixture
def server(lab):
    """One that answers a wrong password as soon as it is checked."""
    return lab.server(env={"DOVECOT_AUTH_FAILURE_DELAY": "0"}, alias="prompt")


# Tries a login, and returns whether it succeeded.
CLIENTS = r"""
import base64, imaplib, json, poplib, smtplib, ssl, statistics, time
from concurrent.futures import ThreadPoolExecutor
context = ssl._create_unverified_context()
SERVER = "prompt"

def imap(user, password):
    with imaplib.IMAP4_SSL(SERVER, ssl_context=context) as imap:
        try:
            return imap.login(user, password)[0] == "OK"
        except imaplib.IMAP4.error:
            return False

def pop3(user, password):
    pop3 = poplib.POP3_SSL(SERVER, context=context)
    pop3.user(user)
    try:
        return pop3.pass_(password).startswith(b"+OK")
    except poplib.error_proto:
        return False
    finally:
        pop3.close()

def submission(user, password):
    with smtplib.SMTP(SERVER, 587) as smtp:
        smtp.starttls(context=context)
        smtp.ehlo()
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return smtp.docmd("AUTH", f"PLAIN {plain}")[0] == 235
"""


def test_a_changed_password_is_refused_at_once(server, client):
    """Also where it changes twice within a second, and every auth worker has just read the first one."""
    server.sh(ACCOUNT + 'change "$(doveadm pw -s SHA512-CRYPT -p first-)"')
    client.python(f"""{CLIENTS}
end = time.monotonic() + 30
while not imap("someone", "first-"):
    assert time.monotonic() < end
with ThreadPoolExecutor(12) as at_once:
    assert all(at_once.map(lambda _: imap("someone", "first-"), range(36)))
""")
    server.sh(ACCOUNT + """
second=$(doveadm pw -s SHA512-CRYPT -p second) third=$(doveadm pw -s SHA512-CRYPT -p third-)
change "$second"
change "$third"
now=$(date +%s); until [ $(date +%s) -gt $now ]; do :; done""")
    said = client.python(f"""{CLIENTS}
for client in imap, pop3, submission:
    with ThreadPoolExecutor(12) as at_once:
        print([set(at_once.map(lambda _: client("someone", password), range(12))) for password in ("first-", "second", "third-")])
""").stdout
    assert said.splitlines() == ["[{False}, {False}, {True}]"] * 3


@pytest.mark.timed
def test_time_does_not_tell_which_accounts_there_are(server, client, figure):
    """A login takes as long with a wrong password as with a name that no account has."""
    server.sh(ACCOUNT + """
hash=$(doveadm pw -s BLF-CRYPT -r 11 -p right)
change "$hash"
for number in $(seq 0 15); do echo "$number:${hash%????????????????}AAAAAAAAAAAAAAAA::::::"; done >unknown""")
    server.wait_for("doveadm auth test someone right", "the account is there")
    medians = json.loads(client.python(f"""{CLIENTS}
def seconds(client, user):
    begun = time.monotonic()
    assert not client(user, "wrong")
    return time.monotonic() - begun

medians = {{}}
for client in imap, submission:
    rounds = [(seconds(client, "someone"), seconds(client, f"nobody{{n}}")) for n in range(15)]
    medians[client.__name__] = [statistics.median(times) for times in zip(*rounds)]
print(json.dumps(medians))
""").stdout)
    figure("a wrong password, a name without account (s)", medians)
    for known, unknown in medians.values():
        assert known > 0.08, "a hash was computed"
        assert 0.75 < known / unknown < 1.33, medians
