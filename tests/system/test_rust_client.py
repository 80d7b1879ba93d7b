"""A mail client in Rust (examples/client.rs), whose TLS and protocols are not Python's."""

import pytest

from lab import LABEL, WORK, docker


@pytest.fixture(scope="module")
def binary():
    """Built beside the unit tests; here where these did not run."""
    built = WORK / "client"
    if not built.exists():
        docker("run", "--rm", "--label", LABEL, "--network", "none", "-v", f"{WORK}:/built", "-v", "/mailroom/examples:/src/examples:ro",
               "mailroom-build", "sh", "-ec",
               "cargo build --release --locked --offline -q --example client && cp target/release/examples/client /built/", timeout=600)
    return built


def test_mail_on_all_ports_and_read_again(lab, client, binary):
    server = lab.server(alias="rustic", env={
        "MAILROOM_ACCOUNTS": "ferris@b.test:crab-and-claw", "MAILROOM_DOMAINS": "b.test", "MAILROOM_CERTIFICATE_NAMES": "rustic"})
    docker("cp", str(binary), f"{client.id}:/usr/local/bin/rust-client")
    certificate = server.sh("cat /etc/dovecot/certs/dovecot.crt").stdout
    client.exec("tee", "/tmp/rustic.crt", input=certificate)
    said = client.exec("rust-client", "rustic", "/tmp/rustic.crt", "ferris@b.test", "crab-and-claw").stdout.splitlines()
    assert said == ["465: a wrong password is refused", "587: a wrong password is refused", "port-25 port-465 port-587"]
