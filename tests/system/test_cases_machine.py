"""Cases from the field: rights, IPv6, health. The numbers are those of the rows of the collection (machine.md, settings.md)."""

import json
import re
import time

import pytest

from lab import CLIENT_IMAGE, IMAGE, LABEL, WORK, docker, name, run_once, until

DROP_ALL = ["--cap-drop", "ALL"]
# The list of the README.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SYS_CHROOT"]


def only(*capabilities):
    return [*DROP_ALL, *(part for one in capabilities for part in ("--cap-add", one))]


def refused(lab, *, env=None, options=()):
    """A start that ends with 78; returns its last line."""
    server = lab.server(env=env, options=options, healthy=False)
    assert server.wait() == 78, server.logs()
    return server.logs().strip().splitlines()[-1]


def health(server):
    done = server.exec("/healthcheck", check=False)
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("process", ["cleanup", "trivial-rewrite", "qmgr", "proxymap", "tlsmgr", "dovecot", "auth", "imap-login"],
                         ids=lambda process: f"machine4-{process}")
def test_a_stopped_process_is_red_within_ten_seconds(lab, client, process):
    server = lab.server(alias="stopped")
    socket = {"cleanup": "public/cleanup", "proxymap": "private/proxymap", "trivial-rewrite": "private/rewrite",
              "tlsmgr": "private/tlsmgr"}
    if process in socket:
        # It is there from its first client on.
        server.sh(f"perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => \"/var/spool/postfix/{socket[process]}\")'")
        server.wait_for(f"pgrep -x {process}", process)
    server.sh(f"pkill -STOP -o -x {process}")
    begun = time.monotonic()
    code, said = health(server)
    assert code == 1 and time.monotonic() - begun < 10
    assert f"{process} is stopped (SIGSTOP): send SIGCONT" in said, said
    server.sh(f"pkill -CONT -x {process}")
    server.wait_until_healthy()


def test_all_processes_of_a_port_busy_is_degraded(lab, client):
    """machine4: clients wait, and are served."""
    server = lab.server(alias="busy", env={"POSTFIX_DEFAULT_PROCESS_LIMIT": "2"})
    script = """
import smtplib, time
sessions = [smtplib.SMTP("busy", 25) for _ in range(2)]
print("both", flush=True)
time.sleep(60)
"""
    client.sh(f"python3 -c '{script}' >/tmp/busy & until grep -q both /tmp/busy; do sleep 0.05; done")
    code, said = health(server)
    assert (code, said) == (0, "degraded: port 25: all 2 processes have a client, others wait: raise "
                               "POSTFIX_DEFAULT_PROCESS_LIMIT")
    client.sh("pkill -f smtplib")
    server.wait_until_healthy()
    until(lambda: health(server)[1].startswith("healthy"), "healthy again")


@pytest.mark.parametrize("missing", ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SYS_CHROOT"],
                         ids=lambda missing: f"machine{7 if missing == 'SYS_CHROOT' else 8}-{missing}")
def test_a_missing_capability_is_named(lab, missing):
    line = refused(lab, options=only(*(one for one in CAPABILITIES if one != missing)))
    assert re.fullmatch(rf"mailroom: the container lacks the capability {missing} \([^)]+\): give docker run "
                        rf"--cap-add {missing} \(Kubernetes: .*\)", line), line


def test_the_documented_capabilities_are_enough(lab, client):
    """machine8"""
    server = lab.server(alias="few", options=only(*CAPABILITIES))
    client.python("""
import smtplib, imaplib
smtplib.SMTP("few", 25).sendmail("a@example.org", "user@metabuilder.local", "Subject: few\\r\\n\\r\\nx")
imap = imaplib.IMAP4("few", 143)
imap.login("user", "userpass123")
""")
    server.wait_for_mail()
    assert "lacks the capability" not in server.logs()


def test_without_kill_there_is_a_warning(lab):
    """machine8"""
    server = lab.server(alias="nokill", options=only(*(one for one in CAPABILITIES if one != "KILL")))
    server.wait_for_log("lacks the capability KILL")


def test_not_root_is_one_sentence(lab):
    """machine8"""
    server = lab.server(options=["--user", "1001:0"], healthy=False)
    assert server.wait() == 78
    assert re.fullmatch(r"mailroom: runs as uid 1001, and must begin as root: .*\n", server.logs()), server.logs()


def without_ipv6():
    """A kernel without IPv6: socket(AF_INET6) gives EAFNOSUPPORT."""
    profile = WORK / "no-ipv6.json"
    profile.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97,
                      "args": [{"index": 0, "value": 10, "op": "SCMP_CMP_EQ"}]}],
    }))
    return ["--security-opt", f"seccomp={profile}"]


DISABLED = ["--sysctl", "net.ipv6.conf.all.disable_ipv6=1", "--sysctl", "net.ipv6.conf.lo.disable_ipv6=1"]


@pytest.mark.parametrize("options", [without_ipv6, lambda: DISABLED], ids=["machine9-no-sockets", "machine9-disabled"])
def test_all_protocols_without_ipv6_is_ipv4(lab, client, options):
    server = lab.server(alias="noipv6", env={"POSTFIX_INET_PROTOCOLS": "all"}, options=options())
    assert client.python("import smtplib; print(smtplib.SMTP('noipv6', 25).noop()[0])").stdout.strip() == "250"
    told = [line for line in server.logs().splitlines() if "there is no IPv6 here" in line]
    assert len(told) == 1, server.logs()
    assert "warning" not in server.logs().lower().replace("warning: /var", ""), server.logs()


@pytest.mark.parametrize("options", [without_ipv6, lambda: DISABLED], ids=["machine10-no-sockets", "machine10-disabled"])
def test_ipv6_without_ipv6_says_so(lab, options):
    line = refused(lab, env={"POSTFIX_INET_PROTOCOLS": "ipv6"}, options=options())
    assert re.fullmatch(r"mailroom: POSTFIX_INET_PROTOCOLS=ipv6: there is no IPv6 here \(.*\): use ipv4, .*", line), line


def test_probes_over_ipv6_leave_no_lines(lab):
    """machine11"""
    options = ["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"]
    server = lab.server(alias="six", env={"POSTFIX_INET_PROTOCOLS": "ipv6"}, options=options)
    before = server.logs()
    for _ in range(2):
        server.exec("/healthcheck")
    time.sleep(0.5)
    assert server.logs() == before


def test_no_new_privileges_is_told(lab):
    """machine17"""
    server = lab.server(alias="nonew", options=["--security-opt", "no-new-privileges"])
    told = server.wait_for_log("no-new-privileges is set")
    assert len(told) == 1 and "sendmail works for root alone" in told[0]


@pytest.mark.parametrize("delimiters", ["-", "+-", "=", "/"], ids=lambda signs: f"settings2{signs}")
def test_dovecot_knows_postfixs_delimiters(lab, client, delimiters):
    sign = delimiters[-1]
    env = {"POSTFIX_RECIPIENT_DELIMITER": delimiters, "POSTFIX_TRANSPORT_MAPS":
           "inline:{user@metabuilder.local=lmtp:unix:private/dovecot-lmtp}"}
    server = lab.server(alias="signs", env=env)
    client.python(f"""
import smtplib, ssl
smtplib.SMTP("signs", 25).sendmail("a@example.org", "user{sign}x@metabuilder.local", "Subject: x\\r\\n\\r\\nx")
context = ssl._create_unverified_context()
smtp = smtplib.SMTP("signs", 587); smtp.starttls(context=context); smtp.login("user", "userpass123")
smtp.sendmail("user{sign}y@metabuilder.local", "admin@metabuilder.local", "Subject: y\\r\\n\\r\\ny")
""")
    server.wait_for_mail()
    server.wait_for_mail("admin")
    assert "bounced" not in server.logs()


def test_two_opinions_about_delimiters_are_refused(lab):
    """settings2"""
    server = lab.server(env={"DOVECOT_RECIPIENT_DELIMITER": "-"}, healthy=False)
    assert server.wait() == 64 and "it follows POSTFIX_RECIPIENT_DELIMITER" in server.logs()


def test_ipv4_mapped_networks_are_ipv4(lab):
    """settings8"""
    networks = "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128 [::ffff:10.0.0.0]/104 ::ffff:172.20.0.0/112"
    server = lab.server(alias="mapped", env={"POSTFIX_MYNETWORKS": networks})
    assert "10.0.0.0/8" in server.sh("postconf -h mynetworks").stdout


def test_no_table_is_older_than_its_source(lab):
    """machine18: ours, and those of the user's own sources, which may be younger than what is written at a start, or touched
    without another content. Postfix would warn of each at each new process, from 100 s on."""
    volume = lab.volume()
    options = ["-v", f"{volume}:/etc/postfix"]
    writer = lab.run(IMAGE, "-c", "echo 'sales@metabuilder.local user@metabuilder.local' >/v/one; cp /v/one /v/two; sleep infinity",
                     options=["--entrypoint", "bash", "--init", "--no-healthcheck", "-v", f"{volume}:/v"])
    writer.wait_for("cat /v/two", "the tables are written")
    server = lab.server(alias="dated", options=options,
                        env={"POSTFIX_VIRTUAL_ALIAS_MAPS": "lmdb:/etc/postfix/one, hash:/etc/postfix/two"})
    older = "for table in /run/mailroom/postfix-tables/*.lmdb /etc/postfix/*.{lmdb,db}; do " \
            "[ ! ${table%.*} -nt $table ] || echo $table; done; ls /etc/postfix/*.{lmdb,db} | wc -l"
    assert server.sh(older).stdout == "2\n"
    for change in ["touch", "echo '# a comment' >>"]:
        server.sh(f"{change} /etc/postfix/one; {change} /etc/postfix/two")
        server.exec("mailroom", "reload")
        assert server.sh(older).stdout == "2\n"


DELIVER = """
import smtplib, imaplib
smtplib.SMTP("{host}", 25).sendmail("a@example.org", "user@metabuilder.local", "Subject: x\\r\\n\\r\\nx")
imap = imaplib.IMAP4("{host}", 143)
imap.login("user", "userpass123")
"""


@pytest.mark.parametrize("options", [
    ["--tmpfs", "/var/spool/postfix:noexec,nosuid,nodev"], ["--tmpfs", "/var/spool/postfix:sync,noexec"], ["-t"], ["-i"],
    ["--log-driver", "none"], ["--log-opt", "mode=non-blocking"],
    ["--cap-drop", "KILL", "--security-opt", "no-new-privileges"]], ids=lambda options: "-".join(options).replace("--", ""))
def test_ways_to_run_it(lab, client, options):
    """passes.md, "Machine": mail is accepted and delivered, and a stop is clean."""
    alias = name("way")
    server = lab.server(alias=alias, options=options)
    client.python(DELIVER.format(host=alias))
    server.wait_for_mail()
    docker("stop", server.id)
    assert server.exit_code == 0


def test_both_protocols_and_the_gateway_of_ipv6(own_lab):
    """passes.md, "Machine": neighbours by IPv6 are trusted, the gateway is not."""
    network = name("six")
    docker("network", "create", "--internal", "--ipv6", "--subnet", "fd77:5::/64", "--label", LABEL, network)
    try:
        server = own_lab.server(env={"POSTFIX_INET_PROTOCOLS": "all"}, network=network)
        trusted = server.exec("postconf", "-h", "mynetworks").stdout
        assert "!fd77:5::1" in trusted.replace("[", "").replace("]", "") and "[fd77:5::]/64" in trusted, trusted
        client = own_lab.run(CLIENT_IMAGE, "sleep", "infinity", options=["--init"], network=network)
        address = server.inspect()["NetworkSettings"]["Networks"][network]["GlobalIPv6Address"]
        client.python(DELIVER.format(host=address))
        server.wait_for_mail()
        own_lab.remove()
    finally:
        docker("network", "rm", network, check=False)


def test_the_maildir_of_another_image_keeps_its_uids_and_folders(lab, client):
    """passes.md, "Machine"."""
    volume = lab.volume()
    run_once("-v", f"{volume}:/v", "--entrypoint", "bash", "--no-healthcheck", command=["-ec", """
mkdir -p /v/user/Maildir/{cur,new,tmp} /v/user/Maildir/.Old.2020/{cur,new,tmp}
printf 'Subject: kept\\n\\nx\\n' >/v/user/Maildir/cur/1700000000.a.b:2,S
printf '3 V1500000000 N78 G0123456789abcdef0123456789abcdef\\n77 :1700000000.a.b\\n' >/v/user/Maildir/dovecot-uidlist
printf 'Old.2020\\n' >/v/user/Maildir/subscriptions; chown -R 1000:8 /v/user"""])
    server = lab.server(alias="carried-over", options=["-v", f"{volume}:/var/mail"])
    server.wait_for_log("below /var/mail/user again")
    assert client.python("""
import imaplib
imap = imaplib.IMAP4("carried-over", 143); imap.login("user", "userpass123")
imap.select(); print(imap.response("UIDVALIDITY")[1][0].decode(), imap.uid("SEARCH", "ALL")[1][0].decode())
print("Old/2020" in str(imap.list()))
""").stdout.split() == ["1500000000", "77", "True"]
