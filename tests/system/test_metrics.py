"""The metrics: what a strict parser and a real Prometheus make of them, and the dashboard and the alerts over them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lab import Lab, docker, until

MONITORING = Path("/mailroom/docker/monitoring")
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

# Mail of every fate, and logins of every kind.
LOAD = """
import imaplib, poplib, smtplib, ssl, time
context = ssl._create_unverified_context()

def send(to, port=25, login=None, sender="a@example.org", size=10):
    smtp = smtplib.SMTP_SSL("watched", port, context=context) if port == 465 else smtplib.SMTP("watched", port)
    with smtp:
        if login: smtp.starttls(context=context); smtp.login(*login)
        try: smtp.sendmail(sender, [to], "Subject: x\\r\\n\\r\\n" + "x" * size)
        except smtplib.SMTPException: pass

for _ in range(3):
    send("user@metabuilder.local"); send("x@example.net"); send("nobody@metabuilder.local")
send("user@metabuilder.local", 587, ("user", "userpass123"), "user@metabuilder.local")
send("user@metabuilder.local", 587, ("user", "userpass123"), "admin@metabuilder.local")
imaplib.IMAP4_SSL("watched", ssl_context=context).login("user", "userpass123")
pop3 = poplib.POP3_SSL("watched", context=context); pop3.user("user"); pop3.pass_("userpass123"); pop3.quit()
for password in ("a", "b"):
    try: imaplib.IMAP4_SSL("watched", ssl_context=context).login("user", password)
    except imaplib.IMAP4.error: pass
"""


@pytest.fixture(scope="module")
def watched():
    lab = Lab()
    try:
        server = lab.server(alias="watched", env={"MAILROOM_HTTP_LISTEN": "0.0.0.0:8025", "POSTFIX_RELAYHOST": "[nobody.test]:25"})
        client = lab.client()
        yield lab, server, client
    finally:
        lab.close()


def scrape(client):
    text = client.exec("curl", "-s", "http://watched:8025/metrics").stdout
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def test_what_happened_is_counted(watched):
    _, server, client = watched
    before = scrape(client)
    assert before["mailroom_messages_received_total", ()] == 0 and ("mailroom_rejects_total", (("reason", "size"),)) in before
    client.python(LOAD)

    def more():
        now = scrape(client)
        return {key: now[key] - before[key] for key in now if now[key] != before.get(key)}

    def counted():
        found = more()
        get = lambda name, **labels: found.get((f"mailroom_{name}_total", tuple(sorted(labels.items()))), 0)
        return (get("messages_received"), get("deliveries", to="mailbox", outcome="sent"), get("deliveries", to="relay", outcome="deferred"),
                get("rejects", reason="unknown_recipient"), get("rejects", reason="sender_not_allowed"), get("logins", protocol="submission"),
                get("logins", protocol="imap"), get("logins", protocol="pop3"), get("login_failures", protocol="imap"),
                get("tls_sessions", protocol="imap", version="1.3"), get("tls_sessions", protocol="submission", version="1.3"))

    expected = (7, 4, 3, 3, 1, 2, 1, 1, 2, 3, 2)
    until(lambda: counted() == expected, lambda: f"{counted()} is {expected}: {server.logs()}")
    assert more()["mailroom_delivery_delay_seconds_count", ()] == 4
    until(lambda: more().get(("mailroom_queue_messages", (("queue", "deferred"),))) == 3, "three wait")


def test_the_content_type_is_that_of_openmetrics(watched):
    _, _, client = watched
    head = client.exec("curl", "-sI", "-X", "GET", "http://watched:8025/metrics").stdout
    assert re.search(r"^content-type: application/openmetrics-text; version=1\.0\.0; charset=utf-8\r?$", head, re.M | re.I), head


def test_promtool_takes_the_alerts(watched):
    _, _, client = watched
    client.sh("mkdir -p /m")
    for name in ("alerts.yml", "alerts.test.yml", "prometheus.yml"):
        client.exec("tee", f"/m/{name}", input=(MONITORING / name).read_text())
    assert "SUCCESS: 11 rules found" in client.sh("promtool check rules /m/alerts.yml").stdout
    client.sh("promtool test rules /m/alerts.test.yml")
    client.sh("promtool check config /m/prometheus.yml")


def concrete(expression):
    """As Grafana would send it."""
    return re.sub(r"\$(job|instance)\b", ".*", expression).replace("$__rate_interval", "1m")


def test_a_real_prometheus_has_a_value_for_every_expression(watched):
    _, _, client = watched
    client.sh("mkdir -p /m/data")
    client.exec("tee", "/m/alerts.yml", input=(MONITORING / "alerts.yml").read_text())
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = ["watched:8025"]
    client.exec("tee", "/m/live.yml", input=yaml.safe_dump(config))
    docker("exec", "-d", client.id, "prometheus", "--config.file=/m/live.yml", "--storage.tsdb.path=/m/data",
           "--web.listen-address=127.0.0.1:9090")

    def ask(query):
        done = client.exec("curl", "-sG", "http://127.0.0.1:9090/api/v1/query", "--data-urlencode", f"query={query}", check=False)
        return json.loads(done.stdout)["data"]["result"] if done.stdout.startswith("{") else None

    until(lambda: ask('up{job="mailroom"} == 1'), "Prometheus has scraped")
    client.python(LOAD)
    missing = lambda: [expression for expression in map(concrete, EXPRESSIONS)
                       if not any(value["value"][1] != "NaN" for value in ask(expression) or [])]
    until(lambda: not missing(), lambda: f"no value: {missing()}", 60)
    for expression in EXPRESSIONS:
        client.exec("promtool", "--experimental", "promql", "format", concrete(expression))
    firing = json.loads(client.exec("curl", "-s", "http://127.0.0.1:9090/api/v1/alerts").stdout)["data"]["alerts"]
    assert not [alert for alert in firing if alert["state"] == "firing"], "a healthy server rings no bell"


def test_the_dashboard_shows_what_there_is(watched):
    _, _, client = watched
    told = {name for name, _ in scrape(client)}
    used = {name for expression in EXPRESSIONS for name in re.findall(r"mailroom_\w+", expression)}
    assert used <= told, used - told
    alerts = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    for rule in alerts["groups"][0]["rules"]:
        assert set(re.findall(r"mailroom_\w+", rule["expr"])) <= told, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"].keys() == {"summary", "description"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) and all(panel["title"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])
