"""What accounts below root make of the volumes leads root nowhere."""

import pytest

from lab import IMAGE, TIMES, docker, name, run_once, until

# Owner, mode and content of all that is not on a volume and that no daemon writes.
LISTING = r"""
find /usr/local /usr/sbin /usr/bin /usr/lib/postfix /opt /srv /root /home /etc -xdev \
    \( -path /etc/hosts -o -path /etc/mtab \) -prune -o -printf '%p %U %G %m %y %l\n' | sort
find /usr/local/bin /opt /srv /etc -xdev -type f ! -path /etc/hosts -exec sha256sum {} + | sort
"""

# Swaps a directory for a link and back, as fast as it can.
SWAP = r"""
cd "$1" || exit
while :; do
    mv -T "$2" "$2.old" 2>/dev/null; ln -sT "$3" "$2" 2>/dev/null; rm -f "$2.link"
    mv -T "$2" "$2.link" 2>/dev/null; mv -T "$2.old" "$2" 2>/dev/null
done
"""

SWAPS = [
    ("vmail", "/var/mail", "user", "/usr/local/bin"),
    ("vmail", "/var/mail/relay", "Maildir", "/opt/x"),
    ("vmail", "/var/mail/admin/Maildir", "cur", "/etc"),
    ("postfix", "/var/spool/postfix", "hold", "/srv/x"),
    ("postfix", "/var/spool/postfix/deferred", "A", "/srv/x"),
]


def fill(volume, script):
    run_once("-v", f"{volume}:/v", "--entrypoint", "bash", "--no-healthcheck", command=["-ec", script])


def begin_to_swap(server):
    for user, *arguments in SWAPS:
        docker("exec", "-d", "-u", user, server.id, "bash", "-c", SWAP, "swap", *arguments)


@pytest.mark.long
def test_links_that_are_swapped_while_root_works(lab):
    """machine.md 1: reloads and restarts, while processes of vmail's and of postfix's put links in the way."""
    server = lab.server(alias=name("hostile"))
    server.sh("mkdir -p /opt/x/y /srv/x/y; echo precious | tee /opt/x/y/file >/srv/x/y/file; chmod 751 /opt/x /srv/x/y; "
              "mkdir -p /etc/mailroom/main.cf.d /var/spool/postfix/deferred/A; chown postfix /var/spool/postfix "
              "/var/spool/postfix/deferred/A")
    before = server.sh(LISTING).stdout.replace("/etc/mailroom", "")
    for _ in range(TIMES):
        # The queue's directory is root's again after each reload; another image could have left it so.
        begin_to_swap(server)
        server.sh("""
for number in $(seq 40); do
    chown postfix /var/spool/postfix
    [ $((number % 10)) != 0 ] || echo "mail_name = m$number" >/etc/mailroom/main.cf.d/a.cf
    mailroom reload >/dev/null 2>&1
done""", check=False)
        docker("restart", "-t", "3", server.id, timeout=60)
        until(lambda: server.running, "it runs")
    server.sh("rm -f /etc/mailroom/main.cf.d/a.cf")
    after = server.sh(LISTING).stdout.replace("/etc/mailroom", "")
    assert after == before


def test_a_link_in_place_of_a_mailbox_is_told_and_left_alone(lab):
    """machine.md 1 and 13: one line for each, and the server starts."""
    mail, spool = lab.volume(), lab.volume()
    fill(mail, """
mkdir -p /v/relay /v/admin/Maildir; ln -s /usr/local/bin /v/user; ln -s /opt/x /v/relay/Maildir
ln -s ../nowhere /v/admin/Maildir/cur; chown -Rh 5000:5000 /v""")
    fill(spool, "ln -s /opt /v/hold")
    server = lab.server(alias=name("links"), options=["-v", f"{mail}:/var/mail", "-v", f"{spool}:/var/spool/postfix"])
    logs = server.logs()
    for path, target in [("/var/mail/user", "/usr/local/bin: "), ("/var/mail/relay/Maildir", "/opt/x, which is not there: "),
                         ("/var/mail/admin/Maildir/cur", "../nowhere, which is not there: "),
                         ("/var/spool/postfix/hold", "/opt: ")]:
        assert logs.count(f"Left alone: {path} is a link to {target}") == 1, logs
    assert server.sh("stat -c %U:%a /usr/local/bin /usr/local/bin/mailroom; stat -c %U /opt; ls -d /opt/x", check=False).stdout == (
        "root:755\nroot:755\nroot\n")


QUEUE = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "pid", "private",
         "public", "trace"]


def test_a_link_to_nowhere_in_place_of_a_queue(lab):
    """A daemon would fail at each start: refused before anything changes, by check as by a start, which names it."""
    container = lab.run(IMAGE, "infinity", options=["--entrypoint", "sleep", "--init", "--no-healthcheck",
                                                    "-v", f"{lab.volume()}:/var/spool/postfix", "-v", "/var/mail"])
    for directory in QUEUE:
        for target, what in [("/nowhere", "which is not there"), ("/etc/hosts", "which is no directory")]:
            path = f"/var/spool/postfix/{directory}"
            container.sh(f"rm -rf {path}; ln -s {target} {path}")
            for command in ["check", "run"] if directory in ("active", "pid") else ["check"]:
                done = container.exec("mailroom", command, check=False)
                said = done.stderr if command == "check" else done.stdout
                assert done.returncode == 78 and f"{path} is a link to {target}, {what}: " in said, done
                assert said.count(path) == 1 and "ready" not in said, said
        container.sh(f"rm {path}")
    for path in ["/var/spool/postfix/dev", "/var/spool/postfix/saved", "/var/mail/user"]:
        container.sh(f"rm -rf {path}; ln -s /nowhere {path}")
        done = container.exec("mailroom", "check", check=False)
        assert done.returncode == 0, done


def test_a_reload_sees_a_link_to_nowhere(lab):
    """The running server goes on; the command says why."""
    server = lab.server(alias=name("relink"), options=["-v", f"{lab.volume()}:/var/spool/postfix"])
    server.sh("cd /var/spool/postfix && rmdir trace && ln -s /nowhere trace")
    done = server.exec("mailroom", "reload", check=False)
    assert done.returncode == 1 and "/var/spool/postfix/trace is a link to /nowhere" in done.stderr, done
    server.wait_until_healthy()


@pytest.mark.parametrize("make, what", [("printf 'From a Thu Jan  1\\n\\nx\\n' >/v/user", "an mbox file"),
                                        ("touch /v/user", "an empty file, perhaps an mbox,")], ids=["mbox", "empty"])
def test_an_mbox_in_place_of_a_mailbox(lab, make, what):
    """machine.md 13"""
    mail = lab.volume()
    fill(mail, make)
    server = lab.server(alias=name("mbox"), options=["-v", f"{mail}:/var/mail"], healthy=False)
    assert server.wait() == 78
    assert f"Cannot start: /var/mail/user is {what} where a directory belongs: move it" in server.logs()


@pytest.mark.parametrize("place", ["metabuilder.local/user", "vhosts/example.org/user", "user", "other/Maildir"])
def test_mail_in_the_layout_of_another_image(lab, place):
    """machine.md 12: a start and check say where it lies, and it stays there."""
    mail = lab.volume()
    fill(mail, f"mkdir -p /v/{place}/{{cur,new,tmp}}; echo x >/v/{place}/new/mail; chown -R 5000:5000 /v")
    done = run_once("-v", f"{mail}:/var/mail", command=["check"])
    assert f"Warning: mail lies in /var/mail/{place} that no account reads" in done.stdout, done.stdout
    server = lab.server(alias=name("layout"), options=["-v", f"{mail}:/var/mail"])
    assert server.logs().count(f"mail lies in /var/mail/{place} that no account reads") == 1, server.logs()
    server.exec("test", "-e", f"/var/mail/{place}/new/mail")
    server.exec("mailroom", "reload")
    assert "no account reads" not in run_once(command=["check"]).stdout


def test_folders_that_others_could_read(lab):
    """machine.md 14: folders and the mailbox get the same mode."""
    mail = lab.volume()
    fill(mail, "mkdir -p /v/user/Maildir/.Old/{cur,new,tmp}; chown -R 5000:5000 /v; chmod -R 755 /v")
    server = lab.server(alias=name("folders"), options=["-v", f"{mail}:/var/mail"])
    server.wait_for_log("below /var/mail/user closed to other accounts again")
    assert server.sh("find /var/mail/user -type d ! -perm 700").stdout == ""


def test_a_configuration_that_anybody_can_write(lab):
    """machine.md 15"""
    config = lab.volume()
    fill(config, "echo x >/v/own; mkdir /v/d; chmod -R 777 /v; chown -R 1000:1000 /v")
    server = lab.server(alias=name("open"), options=["-v", f"{config}:/etc/postfix"])
    done = server.sh("postfix check; find /etc/postfix -perm /022 -o ! -user root")
    assert done.stdout + done.stderr == ""
