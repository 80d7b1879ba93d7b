"""Keys and certificates as people have them: each row of the field's table, by its number."""

import shutil
import subprocess

import pytest

from lab import IMAGE, WORK, docker, name, run_once, until

D = "/etc/dovecot/certs"
HOST = "mx.example.org"

# A root, an intermediate, and what they have signed for one key; `leaf FILE OPTIONS` signs one more.
PKI = r"""
set -euo pipefail
new() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
leaf() {
    local out=$1 san=$2; shift 2
    openssl req -new -key "${key:-key.pem}" -subj /CN=mx.example.org |
        openssl x509 -req -CA inter.pem -CAkey inter.key -out "$out" "$@" ${san:+-extfile <(echo "subjectAltName=$san")}
}
new root.key; new inter.key; new key.pem
ca=$(printf 'basicConstraints=critical,CA:true\nkeyUsage=keyCertSign,cRLSign')
openssl req -x509 -key root.key -subj /CN=Root -days 999 -out root.pem
openssl req -new -key inter.key -subj /CN=Intermediate |
    openssl x509 -req -CA root.pem -CAkey root.key -extfile <(echo "$ca") -days 999 -out inter.pem
leaf leaf.pem DNS:mx.example.org -days 90
cat leaf.pem inter.pem >chain.pem
cat inter.pem leaf.pem >turned.pem
cat key.pem chain.pem >key-first.pem
cat chain.pem key.pem >key-last.pem
cat chain.pem root.pem >with-root.pem
cat <(openssl ecparam -name prime256v1) key.pem >parameters.key
printf '\xef\xbb\xbf' | cat - chain.pem >bom.pem
openssl x509 -in leaf.pem -trustout -addtrust serverAuth -out trusted.pem
openssl x509 -in leaf.pem -outform DER -out der.crt
openssl pkey -in key.pem -outform DER -out der.key
openssl pkcs12 -export -inkey key.pem -in chain.pem -passout pass:x -out both.p12
openssl pkey -in key.pem -aes256 -passout pass:x -out encrypted.key
openssl ec -in key.pem -aes256 -passout pass:x -out encrypted-old.key
: >empty
openssl req -x509 -newkey rsa:1024 -noenc -subj /CN=mx.example.org -keyout small.key -out small.pem
# Not yet valid, no names, another host's, without its intermediate, 3 days left, expired.
leaf future.pem DNS:mx.example.org -not_before 20900101000000Z -not_after 20910101000000Z
leaf nameless.pem "" -days 90
leaf other.pem DNS:other.example.org -days 90
leaf soon.pem DNS:mx.example.org -not_before 20200101000000Z -not_after "$(date -ud '+84 hours' +%Y%m%d%H%M%SZ)"
leaf expired.pem DNS:mx.example.org -not_before 20200101000000Z -not_after 20210101000000Z
for one in future nameless other soon expired; do cat inter.pem >>$one.pem; done
leaf weak.pem DNS:mx.example.org -days 90 -sha1
mkdir forms
for kind in rsa:2048 rsa:4096 ec:P-384 ec:P-521 ED25519; do
    key=forms/${kind#*:}.key
    case $kind in
        rsa:*) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:${kind#*:} -out $key ;;
        ec:*) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:${kind#*:} -out $key ;;
        *) openssl genpkey -algorithm $kind -out $key ;;
    esac
    leaf forms/${kind#*:}.crt DNS:mx.example.org -days 90; cat inter.pem >>forms/${kind#*:}.crt
done
cp forms/2048.crt forms/pkcs1.crt; openssl rsa -in forms/2048.key -traditional -out forms/pkcs1.key
cp chain.pem forms/sec1.crt; cp key.pem forms/sec1.key
openssl pkcs12 -in both.p12 -passin pass:x -nokeys -out forms/bag.crt
openssl pkcs12 -in both.p12 -passin pass:x -nocerts -noenc -out forms/bag.key
(openssl x509 -in leaf.pem -text; cat inter.pem) >forms/text.crt; cp key.pem forms/text.key
sed 's/$/\r/' chain.pem >forms/crlf.crt; sed 's/$/\r/' key.pem >forms/crlf.key
printf %s "$(cat chain.pem)" >forms/no-end.crt; printf %s "$(cat key.pem)" >forms/no-end.key
chmod -R a+rX .
"""

# Kinds of keys, and forms in which files come: what a forms directory holds.
FORMS = ["2048", "4096", "P-384", "P-521", "ED25519", "pkcs1", "sec1", "bag", "text", "crlf", "no-end"]

# Every port answers with a chain that leads to the root, for the right name.
VERIFIED = """
for port in "25 -starttls smtp" 465 "587 -starttls smtp" "143 -starttls imap" "110 -starttls pop3" 993 995; do
    openssl s_client -connect localhost:$port -CAfile /pki/root.pem -verify_hostname mx.example.org -verify_return_error \
        </dev/null 2>&1 | grep -q 'Verify return code: 0 (ok)' || { echo "$port does not"; exit 1; }
done
"""

# The serial numbers that a mail port and a mailbox port show.
SERIALS = """
for port in 465 993; do openssl s_client -connect localhost:$port </dev/null 2>/dev/null | openssl x509 -noout -serial; done | sort -u
"""


@pytest.fixture(scope="module")
def pki():
    directory = WORK / name("pki")
    directory.mkdir()
    done = subprocess.run(["bash", "-c", PKI], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def house(lab, pki):
    """A container in which files are laid into D, and `mailroom check` is asked."""
    return lab.run(IMAGE, "-c", "sleep infinity", network="none",
                   options=["--entrypoint", "bash", "--init", "--no-healthcheck", "-v", f"{pki}:/pki:ro"])


def check(house, script):
    """The exit code and all that check says of what a script has laid into D."""
    house.sh(f"rm -rf {D}/* && cd {D} && {script}")
    done = house.exec("env", "-i", f"POSTFIX_MYHOSTNAME={HOST}", "/usr/local/bin/mailroom", "check", check=False)
    return done.returncode, done.stdout + done.stderr


def pair(certificate, key="key.pem"):
    return f"cp /pki/{certificate} dovecot.crt && cp /pki/{key} dovecot.key"


@pytest.fixture(scope="module")
def served(lab, pki):
    return lab.server(alias="served", env={"POSTFIX_MYHOSTNAME": HOST}, options=["-v", f"{pki}:/pki:ro"])


@pytest.mark.parametrize("script", [
    pytest.param(pair("key-first.pem", "key-first.pem"), id="3 key first"),
    pytest.param(pair("key-last.pem", "key-last.pem"), id="3 key last"),
    pytest.param("cp /pki/key-last.pem dovecot.crt", id="3 one file"),
    pytest.param(pair("chain.pem", "parameters.key"), id="4"),
    pytest.param(pair("bom.pem"), id="5"),
    pytest.param(pair("turned.pem"), id="7"),
    pytest.param("cp /pki/chain.pem fullchain.pem && cp /pki/key.pem privkey.pem", id="13"),
    *(pytest.param(pair(f"forms/{form}.crt", f"forms/{form}.key"), id=f"passes: {form}") for form in FORMS),
])
def test_it_is_served_with_its_chain(served, script):
    served.sh(f"rm -rf {D}/* && cd {D} && {script}")
    said = served.exec("mailroom", "reload", check=False)
    assert said.returncode == 0, said.stderr
    served.wait_for(VERIFIED, "verified on seven ports")


@pytest.mark.parametrize("script, reason", [
    pytest.param("ln -s ../../archive/mx/fullchain1.pem dovecot.crt && ln -s ../../archive/mx/privkey1.pem dovecot.key",
                 "is a link to ../../archive/mx/fullchain1.pem", id="2 both"),
    pytest.param("ln -s ../../archive/mx/fullchain1.pem dovecot.crt && cp /pki/key.pem dovecot.key",
                 "is a link to ../../archive/mx/fullchain1.pem", id="2 the certificate"),
    pytest.param("cp /pki/chain.pem dovecot.crt && ln -s nowhere dovecot.key", "is a link to nowhere", id="2 the key"),
    pytest.param("cp /pki/chain.pem dovecot.crt", "its key /etc/dovecot/certs/dovecot.key is missing", id="2 no key"),
    pytest.param("ln -s b dovecot.crt && ln -s dovecot.crt b && cp /pki/key.pem dovecot.key",
                 "Too many levels of symbolic links", id="2 a loop"),
    pytest.param(pair("trusted.pem"), f"openssl x509 -in {D}/dovecot.crt -out new.crt", id="6"),
    pytest.param(pair("der.crt"), f"openssl x509 -inform DER -in {D}/dovecot.crt", id="8 DER"),
    pytest.param(pair("chain.pem", "der.key"), f"openssl pkey -inform DER -in {D}/dovecot.key", id="8 DER key"),
    pytest.param(pair("both.p12"), f"openssl pkcs12 -in {D}/dovecot.crt -nokeys", id="8 PKCS#12"),
    pytest.param(pair("chain.pem", "both.p12"), f"openssl pkcs12 -in {D}/dovecot.key -nocerts -noenc", id="8 PKCS#12 key"),
    pytest.param(pair("small.pem", "small.key"), "an RSA key of 1024 bits", id="8 RSA 1024"),
    pytest.param(pair("weak.pem"), "is signed with SHA-1", id="8 SHA-1"),
    pytest.param(pair("chain.pem", "encrypted.key"), f"openssl pkey -in {D}/dovecot.key", id="8 encrypted"),
    pytest.param(pair("chain.pem", "encrypted-old.key"), f"openssl pkey -in {D}/dovecot.key", id="8 encrypted, old style"),
    pytest.param(pair("chain.pem", "empty"), "\n  /etc/dovecot/certs/dovecot.key:\n      is empty", id="8 empty key"),
    pytest.param(pair("empty"), "\n  /etc/dovecot/certs/dovecot.crt:\n      is empty", id="8 empty certificate"),
    pytest.param(pair("expired.pem"), "the certificate has expired on 2021-01-01", id="9 expired"),
    pytest.param(pair("chain.pem", "root.key"), "do not belong together", id="another key"),
])
def test_it_is_refused_with_the_reason(house, script, reason):
    code, said = check(house, script)
    assert code == 78 and reason in said, said


@pytest.mark.parametrize("script, warning", [
    pytest.param(pair("future.pem"), "is not valid before 2090-01-01", id="9 not yet valid"),
    pytest.param(pair("nameless.pem"), "has no subjectAltName", id="9 no SAN"),
    pytest.param(pair("other.pem"), "is for other.example.org, and not for mx.example.org", id="9 another host"),
    pytest.param(pair("leaf.pem"), "its issuer (CN=Intermediate) is not in the file", id="9 no intermediate"),
    pytest.param(pair("soon.pem"), "in 3 days: renew it", id="9 3 days left"),
    pytest.param("cp /pki/soon.pem fullchain.pem && cp /pki/key.pem privkey.pem", f"{D}/fullchain.pem: the certificate expires on",
                 id="the file's own name"),
    pytest.param("cp /pki/chain.pem fullchain.pem", f"served; {D}/privkey.pem is missing", id="half a pair"),
    pytest.param("cp /pki/chain.pem mx.pem && cp /pki/key.pem mx.key", "holds mx.key, mx.pem, which is not used", id="13"),
])
def test_it_is_warned_of_once(house, script, warning):
    code, said = check(house, script)
    warnings = [line for line in said.splitlines() if line.startswith("Warning")]
    assert code == 0 and len(warnings) == 1 and warning in warnings[0], said


def test_half_a_pair_on_a_read_only_mount(pki):
    directory = WORK / name("half")
    directory.mkdir()
    shutil.copy(pki / "chain.pem", directory / "fullchain.pem")
    done = run_once("-v", f"{directory}:{D}:ro", command=["check"], check=False)
    assert done.returncode == 78 and f"{D}/privkey.pem is missing, which belongs to it" in done.stderr, done.stderr


def test_what_passed_before_passes_in_silence(house):
    for form in FORMS:
        code, said = check(house, pair(f"forms/{form}.crt", f"forms/{form}.key"))
        assert code == 0 and "Warning" not in said, (form, said)
    for mode in ["chmod 600 dovecot.key && chown 1234 dovecot.key", "chmod 444 dovecot.key",
                 "chmod 640 dovecot.key && chgrp 1234 dovecot.key"]:
        assert check(house, f"{pair('with-root.pem')} && {mode}")[0] == 0, mode


def test_row_1_and_9_a_pair_that_is_refused_leaves_the_running_one_in_use(lab, pki):
    """Links whose targets vanish, then all of D, then a pair that cannot be served: nothing is written there."""
    directory = WORK / name("links")
    (directory / "archive").mkdir(parents=True)
    shutil.copy(pki / "chain.pem", directory / "archive")
    shutil.copy(pki / "key.pem", directory / "archive")
    (directory / "dovecot.crt").symlink_to("archive/chain.pem")
    (directory / "dovecot.key").symlink_to("archive/key.pem")
    server = lab.server(alias="linked", env={"POSTFIX_MYHOSTNAME": HOST},
                        options=["-v", f"{pki}:/pki:ro", "-v", f"{directory}:{D}"])
    server.wait_for(VERIFIED, "verified on seven ports")
    before = server.sh(f"{SERIALS}").stdout
    for break_it, reason, mend in [
        ("mv archive gone", "is a link to archive/chain.pem", "mv gone archive"),
        ("mkdir .away && mv dovecot.* archive .away", "your certificate is no longer in /etc/dovecot/certs",
         "mv .away/* . && rmdir .away"),
        ("mv archive/key.pem k && cp /pki/root.key archive/key.pem", "do not belong together", "mv k archive/key.pem"),
    ]:
        server.sh(f"cd {D} && {break_it}")
        refused = server.exec("mailroom", "reload", check=False)
        assert refused.returncode == 1 and reason in refused.stderr, refused
        server.sh(VERIFIED)
        server.sh(f"cd {D} && {mend}")
        assert "nothing has changed" in server.exec("mailroom", "reload").stdout
    assert server.sh(f"readlink {D}/dovecot.*").stdout == "archive/chain.pem\narchive/key.pem\n"
    assert "Generated a self-signed" not in server.logs()
    server.sh(f"cat /pki/soon.pem >{D}/archive/chain.pem")
    assert "Reloaded: dovecot, postfix" in server.exec("mailroom", "reload").stdout
    until(lambda: server.sh(SERIALS).stdout not in ("", before), "the new one is served")
    server.wait_for(VERIFIED, "verified on seven ports")
    server.wait_for_log("in 3 days: renew it")


def test_row_2_a_start_with_dangling_links_is_refused(lab, pki):
    directory = WORK / name("live")
    directory.mkdir()
    (directory / "dovecot.crt").symlink_to("../../archive/mx/fullchain1.pem")
    (directory / "dovecot.key").symlink_to("../../archive/mx/privkey1.pem")
    for mode in ["rw", "ro"]:
        done = run_once("-v", f"{directory}:{D}:{mode}", check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 78 and "is a link to ../../archive/mx/fullchain1.pem" in said, said
    empty = WORK / name("empty")
    empty.mkdir()
    done = run_once("-v", f"{empty}:{D}:ro", check=False)
    assert done.returncode == 78 and "the directory is mounted read-only" in done.stdout + done.stderr


def test_row_10_a_directory_that_docker_made(pki):
    for end in ["crt", "key"]:
        mounts = ["-v", f"{WORK}/{name('missing')}.pem:{D}/dovecot.{end}"]
        done = run_once(*mounts, command=["check"], check=False)
        assert done.returncode == 78 and "docker made it because the file is missing on the host" in done.stderr, done


def test_row_11_single_files_that_were_replaced_are_told(lab, pki):
    directory = WORK / name("single")
    directory.mkdir()
    files = {"crt": "chain.pem", "key": "key.pem"}
    for end, file in files.items():
        shutil.copy(pki / file, directory / f"server.{end}")
    mounts = [part for end in files for part in ("-v", f"{directory}/server.{end}:{D}/dovecot.{end}:ro")]
    server = lab.server(alias="single", env={"POSTFIX_MYHOSTNAME": HOST}, options=mounts)
    said = server.exec("mailroom", "reload").stdout
    assert "nothing has changed" in said and "is mounted as a single file" in said, said
    shutil.copy(pki / "soon.pem", directory / "new")
    (directory / "new").rename(directory / "server.crt")
    said = server.exec("mailroom", "reload").stdout
    assert f"{D}/dovecot.crt was replaced on the host" in said and "docker restart" in said, said
    docker("restart", server.id)
    server.wait_until_healthy()
    assert "was replaced" not in server.exec("mailroom", "reload").stdout


def test_row_12_more_names(lab, client):
    server = lab.server(alias="smtp", env={"POSTFIX_MYHOSTNAME": HOST, "MAILROOM_CERTIFICATE_NAMES": "smtp, mail.example.net"})
    client.exec("tee", "/smtp.pem", input=server.sh(f"cat {D}/dovecot.crt").stdout)
    client.python("""
import imaplib, smtplib, ssl
context = ssl.create_default_context(cafile="/smtp.pem")
imaplib.IMAP4_SSL("smtp", 993, ssl_context=context)
smtplib.SMTP_SSL("smtp", 465, context=context)
""")


def test_row_13_a_mounted_directory_as_certbot_names_it(lab, pki):
    directory = WORK / name("certbot")
    directory.mkdir()
    shutil.copy(pki / "chain.pem", directory / "fullchain.pem")
    shutil.copy(pki / "key.pem", directory / "privkey.pem")
    server = lab.server(alias="certbot", env={"POSTFIX_MYHOSTNAME": HOST},
                        options=["-v", f"{pki}:/pki:ro", "-v", f"{directory}:{D}:ro"])
    server.wait_for(VERIFIED, "verified on seven ports")
    server.wait_for_log(f"{D}/fullchain.pem and {D}/privkey.pem are served")
    assert server.sh("stat -c '%a %U' /run/mailroom/certificate.pem").stdout == "600 root\n"
    assert "PRIVATE KEY" not in server.sh("mailroom render").stdout
