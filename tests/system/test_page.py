"""The status page, in a real browser: light, dark and on a phone."""

import json
import struct

import pytest

from lab import Lab, until

BROWSER = ["timeout", "60", "chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000"]


@pytest.fixture(scope="module")
def page():
    """A server with something to show, and a browser."""
    lab = Lab()
    try:
        server = lab.server(alias="mail", env={"MAILROOM_HTTP_LISTEN": "*:8025", "POSTFIX_RELAYHOST": "[nobody.test]:25"})
        client = lab.client()
        client.sh("for to in user@metabuilder.local user@metabuilder.local x@example.net secret.person@metabuilder.local; do "
                  "swaks --server mail --from a@example.org --to $to --silent; done; true")
        until(lambda: '"deferred","messages":1' in client.exec("curl", "-s", "http://mail:8025/status").stdout, "one is deferred")
        yield server, client
    finally:
        lab.close()


def dom(client, *options):
    return client.exec(*BROWSER, *options, "--dump-dom", "http://mail:8025/").stdout


def shot(client, width, height, *options):
    """A picture; returns its size and how many of its bytes differ from one another, at least."""
    client.exec(*BROWSER, *options, f"--window-size={width},{height}", "--screenshot=/tmp/page.png", "http://mail:8025/")
    picture = client.sh("base64 -w0 /tmp/page.png").stdout
    import base64
    return base64.b64decode(picture)


def test_it_shows_what_status_says(page):
    server, client = page
    shown = dom(client)
    said = json.loads(server.exec("mailroom", "status", "--json").stdout)
    assert 'class="state healthy"' in shown and said["host"] in shown
    for id, text in (("received", "3"), ("delivered", "2"), ("rejected", "1"), ("queued", "1"), ("accounts", "3")):
        assert f'id="{id}">{text}<' in shown, (id, text)
    for service in said["services"]:
        assert f"<td>{service['name']}</td>" in shown and f">{service['pid']}<" in shown
    assert shown.count("<svg") == 3 and shown.count("<path") == 7
    assert "secret.person" not in shown, "no full address"


def test_a_fault_is_named_and_a_dead_server_is_no_healthy_one(page):
    server, client = page
    server.sh("pkill -STOP -x qmgr")
    try:
        until(lambda: "unhealthy" in client.exec("curl", "-s", "http://mail:8025/readyz").stdout, "red")
        shown = dom(client)
        assert 'class="state unhealthy"' in shown and "qmgr" in shown
    finally:
        server.sh("pkill -CONT -x qmgr")
    until(lambda: "healthy" == client.exec("curl", "-s", "http://mail:8025/readyz").stdout.strip(), "green again")


def test_nothing_is_blocked_by_its_own_policy(page):
    _, client = page
    done = client.exec(*BROWSER, "--enable-logging=stderr", "--v=0", "--dump-dom", "http://mail:8025/")
    assert 'data-shown="yes"' in done.stdout
    assert "Content Security Policy" not in done.stderr and "Uncaught" not in done.stderr, done.stderr


WIDTH = """
<script>document.title = ""</script>
"""


@pytest.mark.parametrize("width", [380, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(page, width, scheme):
    _, client = page
    dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else ["--blink-settings=preferredColorScheme=1"]
    picture = shot(client, width, 1400, *dark)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", picture[16:24]) == (width, 1400)
    assert len(picture) > 20_000, "something is drawn"
