"""The recipes in docker/recipes do what they say, with images, names and labels of the test's in place of theirs."""

import os
import random
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import engine
from lab import CLIENT_IMAGE, IMAGE, LABEL, WORK, Container, Lab, docker, name, until

RECIPES = Path("/mailroom/docker/recipes")

SEND = """
import smtplib
smtplib.SMTP("{host}", 25).sendmail("app@example.org", ["{to}"], "Subject: {subject}\\r\\n\\r\\nx")
"""


class Project:
    """A copy of a recipe, a compose project of its own, and what the test changes in it."""

    def __init__(self, recipe, changes=None):
        self.directory = WORK / name(recipe)
        shutil.copytree(RECIPES / recipe, self.directory)
        parts = yaml.safe_load((self.directory / "compose.yaml").read_text())
        labelled = {kind: {each: {"labels": [LABEL]} for each in parts.get(kind, {})} for kind in ["services", "networks", "volumes"]}
        for service, changed in (changes or {}).items():
            labelled["services"].setdefault(service, {}).update(changed)
        (self.directory / "compose.override.yaml").write_text(yaml.safe_dump(labelled))

    def compose(self, *arguments, **options):
        return docker("compose", "--project-directory", str(self.directory), *arguments, **options)

    def container(self, service):
        id = self.compose("ps", "-q", service).stdout.strip()
        return Container(id, id)

    def down(self):
        self.compose("down", "-v", "--remove-orphans", check=False)


def typed(file, word):
    """The command lines in a recipe's comments that begin with a word, without the words behind them."""
    lines = [line.removeprefix("#").strip() for line in (RECIPES / file).read_text().splitlines() if line.startswith("#")]
    lines = [line[3:] if line[:1].isdigit() else line for line in lines]
    return [line.strip().split("   ")[0] for line in lines if line.strip().startswith(word)]


@pytest.fixture
def development():
    # Any port of the host: 1143 may be taken.
    changes = {"mail": {"image": IMAGE}, "app": {"image": CLIENT_IMAGE}}
    project = Project("development", changes)
    compose = project.directory / "compose.yaml"
    compose.write_text(compose.read_text().replace("IMAP_PORT-1143", "IMAP_PORT-"))
    yield project
    project.down()


def test_development(development):
    """What its comments tell to type."""
    run, show, empty, down = typed("development/compose.yaml", "docker compose")
    development.compose(*shlex.split(run)[2:])
    mail = development.container("mail")
    mail.wait_for_mail()
    shown = development.compose(*shlex.split(show)[2:]).stdout
    assert "X-Original-To: new.customer@example.org" in shown and "Subject: Welcome" in shown
    development.compose(*shlex.split(empty)[2:])
    assert mail.exec("doveadm", "search", "-u", "user", "all").stdout == ""
    bindings = [binding for bound in mail.inspect()["NetworkSettings"]["Ports"].values() for binding in bound or []]
    assert bindings and all(binding["HostIp"] == "127.0.0.1" for binding in bindings)
    development.compose(*shlex.split(down)[2:])
    assert development.compose("ps", "-aq").stdout == ""


@pytest.mark.parametrize("version", [2, 1])
def test_ci(development, version):
    """With a `docker` that knows no `compose`, Compose v1's wait loop is gone through."""
    environment = dict(os.environ)
    if version == 1:
        programs = development.directory / "programs"
        programs.mkdir()
        real = shutil.which("docker")
        (programs / "docker").write_text(f'#!/bin/sh\n[ "$1" != compose ] || exit 1\nexec {real} "$@"\n')
        (programs / "docker-compose").write_text(f'#!/bin/sh\nexec {real} compose "$@"\n')
        for program in programs.iterdir():
            program.chmod(0o755)
        environment["PATH"] = f"{programs}:{environment['PATH']}"
    development.compose("up", "-d", "mail")
    in_use = development.container("mail").id
    script = development.directory / "ci"
    run = lambda: subprocess.run([script], env=environment, capture_output=True, text=True, timeout=120)
    done = run()
    assert done.returncode == 0 and "passed: the customer got the link" in done.stdout, done.stdout + done.stderr
    script.write_text(script.read_text().replace("'Subject: Welcome'", "'Subject: Farewell'"))
    done = run()
    assert done.returncode == 1
    assert "failed: the mail to new.customer@example.org does not contain: Subject: Farewell" in done.stderr
    of_directory = f"label=com.docker.compose.project.working_dir={development.directory}"
    left = docker("ps", "-aq", "--no-trunc", "--filter", of_directory).stdout.split()
    assert left == [in_use], "everything is removed, but for the server that was in use"


@pytest.fixture(scope="module")
def provider(own_network):
    """A relay host that demands TLS and a login: another Mailroom."""
    return own_network.server(alias="smtp.example.net", env={
        "POSTFIX_MYHOSTNAME": "smtp.example.net", "MAILROOM_CATCH_ALL": "user"})


@pytest.fixture(scope="module")
def own_network():
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture
def smarthost(own_network, provider, request):
    """The recipe on that network, which trusts the certificate that the parameter names."""
    certificates = WORK / name("issuer")
    certificates.mkdir()
    trusted = provider.exec("cat", "/etc/dovecot/certs/dovecot.crt").stdout
    if not request.param:
        script = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=smtp.example.net -keyout /dev/null -out /dev/stdout 2>/dev/null"
        trusted = provider.sh(script).stdout
    (certificates / "issuer.pem").write_text(trusted)
    project = Project("smarthost", {"mail": {
        "image": IMAGE, "volumes": [f"{certificates}:/issuer:ro"],
        "environment": {"POSTFIX_SMTP_TLS_CAFILE": "/issuer/issuer.pem", "MAILROOM_RELAYHOST_USERNAME": "relay"}}})
    compose = project.directory / "compose.yaml"
    # Its network is that of the provider.
    compose.write_text(compose.read_text().replace("name: mail\n", f"name: {own_network.network}\n    external: true\n"))
    override = yaml.safe_load((project.directory / "compose.override.yaml").read_text())
    del override["networks"]
    (project.directory / "compose.override.yaml").write_text(yaml.safe_dump(override))
    (project.directory / "relay-password").write_text("relaypass123")
    project.compose("up", "-d", "--wait")
    yield project
    project.down()


@pytest.mark.parametrize("smarthost", [True], indirect=True)
def test_smarthost(smarthost, own_network, provider):
    check = smarthost.compose("run", "--rm", "mail", "check").stdout
    assert check.startswith("all is well: mail.example.org for example.org"), check
    own_network.client().python(SEND.format(host="mail", to="you@example.com", subject="through"))
    provider.wait_for("grep -lr '^Subject: through' /var/mail/user/Maildir/new", "the mail at the provider")
    log = smarthost.container("mail").wait_for_log("status=sent")[0]
    assert "smtp.example.net" in log
    # The own domain's mailboxes are the provider's.
    own_network.client().python(SEND.format(host="mail", to="boss@example.org", subject="own"))
    smarthost.container("mail").wait_for_log("to=<boss@example.org>, relay=smtp.example.net")
    said = smarthost.compose("logs", "mail").stdout
    assert "Verified TLS connection established to smtp.example.net" in said and "relaypass123" not in said
    assert "sasl_username=relay@metabuilder.local" in provider.logs()


@pytest.mark.parametrize("smarthost", [False], indirect=True)
def test_smarthost_gives_no_password_to_a_certificate_of_another_issuer(smarthost, own_network, provider):
    before = provider.logs().count("sasl_username")
    own_network.client().python(SEND.format(host="mail", to="you@example.com", subject="kept back"))
    mail = smarthost.container("mail")
    mail.wait_for_log("(Server certificate not verified)")
    assert "you@example.com" in mail.exec("postqueue", "-p").stdout, "the mail waits"
    assert provider.logs().count("sasl_username") == before


def test_own_server():
    """The override beside the tracked file, at an address of this machine that only the test uses."""
    container, address = name("own"), f"127.0.0.{random.randrange(20, 250)}"
    directory = WORK / container
    directory.mkdir()
    compose = Path("/mailroom/compose.yaml").read_text()
    compose = compose.replace("image: metabuilder-postfix", f"image: {IMAGE}")
    compose = compose.replace("container_name: metabuilder-postfix", f"container_name: {container}")
    for port in [25, 587, 465, 110, 143, 993, 995, 8025]:
        compose = compose.replace(f'"{port}:{port}"', f'"{port}"')
    (directory / "compose.yaml").write_text(compose)
    override = (RECIPES / "own-server/compose.override.yaml").read_text()
    assert "192.0.2.10:25:25" in override
    (directory / "compose.override.yaml").write_text(override.replace("192.0.2.10:25:25", f"{address}::25"))
    labels = {kind: {each: {"labels": [LABEL]} for each in yaml.safe_load(compose)[kind]} for kind in ["services", "networks", "volumes"]}
    (directory / "labels.yaml").write_text(yaml.safe_dump(labels))
    files = [f"-f{directory / file}" for file in ["compose.yaml", "compose.override.yaml", "labels.yaml"]]
    project = ["compose", "--project-directory", str(directory), *files]
    try:
        docker(*project, "up", "-d", "--wait", "--no-build")
        server = Container(container, container)
        ports = server.inspect()["NetworkSettings"]["Ports"]
        published = {port: {binding["HostIp"] for binding in bound} for port, bound in ports.items() if bound}
        assert published.pop("25/tcp") == {"127.0.0.1", address}
        assert published and all(addresses == {"127.0.0.1"} for addresses in published.values())
        assert server.exec("postconf", "-h", "mydomain", "myhostname").stdout.split() == ["example.org", "mail.example.org"]
        server.exec("mailroom", "account", "add", "alice", "--role", "admin", "--generate")
        gateway = until(lambda: server.inspect()["NetworkSettings"]["Networks"].popitem()[1]["Gateway"], "a gateway")
        assert f"!{gateway}" in server.exec("postconf", "-h", "mynetworks").stdout
        stranger = docker("run", "--rm", "-i", "--label", LABEL, "--network", "host", CLIENT_IMAGE, "python3", "-", input=f"""
import smtplib
smtp = smtplib.SMTP("{server.address}", 25); smtp.helo(); smtp.docmd("MAIL", "FROM:<a@example.net>")
print(*[smtp.docmd("RCPT", f"TO:<{{to}}>")[0] for to in ["alice@example.org", "b@example.com", "user@example.org"]])
""").stdout
        assert stranger.split() == ["250", "554", "550"]
    finally:
        docker(*project, "down", "-v", check=False)


@pytest.fixture
def pods():
    """A network with addresses of kind's and flannel's default."""
    lab = Lab()
    engine.remove("networks", lab.network)
    subnet = f"10.244.{random.randrange(256)}.0/24"
    engine.ask("POST", "/networks/create", {"Name": lab.network, "Internal": True, "Labels": {LABEL: ""},
                                            "IPAM": {"Config": [{"Subnet": subnet}]}})
    yield lab
    lab.close()


def kubernetes():
    return {each["kind"]: each for each in yaml.safe_load_all((RECIPES / "kubernetes/mailroom.yaml").read_text())}


def as_docker(lab, spec, claims):
    """The pod's settings as options of docker run."""
    container, = spec["containers"]
    security = container["securityContext"]
    options = ["--user", str(security["runAsUser"]), "-e", "KUBERNETES_SERVICE_HOST=10.96.0.1", "-e", "MAILROOM_PORT_25_TCP=tcp://10.96.0.7:25"]
    options += [f"--cap-drop={each}" for each in security["capabilities"]["drop"]]
    options += [f"--cap-add={each}" for each in security["capabilities"]["add"]]
    options += [] if security["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    options += ["--read-only"] if security["readOnlyRootFilesystem"] else []
    options += [f"--add-host={host}:{alias['ip']}" for alias in spec["hostAliases"] for host in alias["hostnames"]]
    volumes = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    for mount in container["volumeMounts"]:
        if mount["name"] in claims:
            options += ["-v", f"{lab.volume()}:{mount['mountPath']}"]
        else:
            assert mount["name"] in volumes
            # On a volume as emptyDir is, not in memory: that is how the kubelet makes it, with what is executable.
            options += ["-v", f"{lab.volume()}:{mount['mountPath']}"] if mount["name"] != "run" else ["--tmpfs", mount["mountPath"]]
    return options, {each["name"]: each["value"] for each in container["env"]}


def test_kubernetes(pods):
    manifest = kubernetes()
    pod = manifest["StatefulSet"]["spec"]["template"]
    container, = pod["spec"]["containers"]
    assert manifest["Service"]["spec"]["selector"] == pod["metadata"]["labels"] == manifest["StatefulSet"]["spec"]["selector"]["matchLabels"]
    assert {port["targetPort"] for port in manifest["Service"]["spec"]["ports"]} <= {port["name"] for port in container["ports"]}
    claims = {claim["metadata"]["name"] for claim in manifest["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    options, env = as_docker(pods, pod["spec"], claims)
    assert pod["spec"]["terminationGracePeriodSeconds"] > int(env["MAILROOM_STOP_TIMEOUT"].removesuffix("s"))
    server = pods.server(alias="mailroom", env=env, options=options, healthy=False)
    server.wait_for(shlex.join(container["startupProbe"]["exec"]["command"]), "startupProbe")
    client = pods.client()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ["readinessProbe", "livenessProbe"]:
        asked = container[probe]["httpGet"]
        client.wait_for(f"curl -sf http://mailroom:{ports[asked['port']]}{asked['path']}", probe)
    client.python(SEND.format(host="mailroom", to="user@example.org", subject="pod"))
    server.wait_for_mail()
    docker("restart", server.id)
    server.wait_until_healthy()
    said = server.logs()
    assert "Not trusted: the network of the pods" not in said and "lacks the capabilities" not in said
    assert "health probes will show in the log" not in said


def test_kubernetes_says_why_nobody_may_relay(pods):
    pod = kubernetes()["StatefulSet"]["spec"]["template"]
    options, env = as_docker(pods, pod["spec"], {"mail", "spool", "certificates", "state"})
    del env["POSTFIX_MYNETWORKS"]
    server = pods.server(alias="mailroom", env=env, options=options)
    assert "Not trusted: the network of the pods (this is Kubernetes)" in server.logs()
    done = pods.client().python(SEND.format(host="mailroom", to="a@example.com", subject="x"), check=False)
    assert "Relay access denied" in done.stderr
    server.wait_for_log("under Kubernetes no other pod is trusted unless POSTFIX_MYNETWORKS names its network")
