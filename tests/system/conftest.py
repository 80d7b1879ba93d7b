"""What the system tests share. What a test starts is removed when it ends; a server, a client, a sink and a checker are
made once for each worker."""

import pytest

from lab import IMAGE, Lab


def pytest_configure(config):
    config.addinivalue_line("markers", "timed: measures times, or needs the machine for itself: runs one by one")
    config.addinivalue_line("markers", "long: takes long, so that it begins first")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def lab():
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(autouse=True)
def tidy(request):
    """What a test has made on the session's network ends with it; what the session's fixtures have made stays."""
    if "lab" not in request.fixturenames:
        yield
        return
    lab = request.getfixturevalue("lab")
    kept = len(lab.containers), len(lab.volumes)
    yield
    lab.remove(*kept)


@pytest.fixture
def own_lab():
    """A network of the test's own: nobody else is called postfix there."""
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def sink(lab):
    """Where the server's mail for outside goes."""
    return lab.sink()


@pytest.fixture(scope="session")
def server(lab, sink):
    """A server with nothing set but a sink for outside mail."""
    return lab.server(env={"POSTFIX_RELAYHOST": "[sink]:25"})


@pytest.fixture(scope="session")
def client(lab):
    return lab.client()


@pytest.fixture(scope="session")
def checker(lab):
    """A container to run `mailroom check` and `render` in."""
    return lab.run(IMAGE, "-c", "mkdir -p /etc/mailroom /run/secrets && echo secret >/run/secrets/relay && sleep infinity",
                   options=["--entrypoint", "bash", "--init", "--no-healthcheck",
                            "--sysctl", "net.ipv6.conf.all.disable_ipv6=0"], network="none")


@pytest.fixture
def figure(record_property):
    """Prints a figure that was measured, at the end of the run."""
    return lambda what, figures: record_property("figure", f"{what}: {figures}")


@pytest.fixture
def fault(record_property):
    """Adds a row to the table of the faults, which is printed at the end of the run."""
    return lambda *row: record_property("fault", row)


def pytest_terminal_summary(terminalreporter):
    """The figures, and the table of the fault tests."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [each for report in reports if getattr(report, "when", "") == "teardown" for each in report.user_properties]
    figures = [value for name, value in properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
    faults = [value for name, value in properties if name == "fault"]
    if not faults:
        return
    terminalreporter.section("faults")
    line = "{:<47} {:>7} {:>5} {:>11} {:>8}  {}".format
    terminalreporter.write_line(line("fault", "acked", "lost", "duplicated", "healthy", ""))
    for fault, acked, lost, duplicated, seconds, note in faults:
        shown = f"{seconds:.2f} s" if seconds != "" else ""
        terminalreporter.write_line(line(fault, acked, lost, duplicated, shown, note))
