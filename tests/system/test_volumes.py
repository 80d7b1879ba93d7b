"""One container for one set of volumes, and volumes that cannot be written."""

import pytest

from lab import IMAGE, LABEL, docker, name, run_once, until
from test_faults import LMTP, Load, account, on_volumes


@pytest.mark.timed
def test_a_second_container_leaves_the_first_alone(lab, client, fault):
    """machine.md 2: it waits, then says who holds the volume."""
    alias, options = name("first"), on_volumes(lab)
    first = lab.server(alias=alias, env=LMTP, options=options)
    load = Load(lab, alias)
    second = lab.server(alias=name("second"), env={"MAILROOM_WAIT_FOR_VOLUMES": "2s"}, options=options, healthy=False)
    assert second.wait() == 78
    holder = first.inspect()["Config"]["Hostname"]
    assert f"Cannot start: /var/mail is in use by container {holder} since 20" in second.logs(), second.logs()
    assert "MAILROOM_WAIT_FOR_VOLUMES=60s" in second.logs()
    assert first.exec("/healthcheck", check=False).returncode == 0
    account(fault, "a second container on the same volumes", first, load, True, "")
    inherited = "for p in /proc/[0-9]*; do [ $p = /proc/1 ] || ls -l $p/fd; done 2>/dev/null | grep -c mailroom-lock"
    assert first.sh(inherited, check=False).stdout == "0\n"


@pytest.mark.timed
def test_an_update_that_starts_the_new_one_first(lab, fault):
    """machine.md 2: the new one takes over when the old one has gone, and no accepted message is lost."""
    alias, options = name("rolling"), on_volumes(lab)
    old = lab.server(alias=alias, env=LMTP, options=options)
    load = Load(lab, alias)
    new = lab.server(alias=alias, env=LMTP | {"MAILROOM_WAIT_FOR_VOLUMES": "60s"}, options=options, healthy=False)
    new.wait_for_log("Waiting up to 60 s: /var/mail is in use by container ")
    standby = new.exec("/healthcheck").stdout
    assert standby.startswith("standby: /var/mail is in use by container "), "an orchestrator ends the old one when the new one is healthy"
    docker("stop", old.id)
    assert old.exit_code == 0
    new.wait_for('/healthcheck | grep ^healthy', 'it serves')
    load.wait_for(20)
    account(fault, "an update that starts the new one first", new, load, True, "")


def test_a_stop_while_it_waits(lab):
    options = on_volumes(lab)
    lab.server(alias=name("first"), options=options)
    second = lab.server(alias=name("second"), env={"MAILROOM_WAIT_FOR_VOLUMES": "60s"}, options=options, healthy=False)
    second.wait_for_log("Waiting up to 60 s")
    assert "in standby: /var/mail is in use" in second.exec("mailroom", "reload", check=False).stderr
    assert "in standby: /var/mail is in use" in second.exec("mailroom", "run", check=False).stderr
    docker("stop", "-t", "3", second.id)
    assert second.exit_code == 0


def test_a_backup_by_hard_links_takes_no_lock_away(lab):
    options = on_volumes(lab)
    first = lab.server(alias=name("first"), options=options)
    first.sh("for v in /var/mail /var/spool/postfix; do mkdir $v/snapshot; ln $v/.mailroom-lock $v/snapshot; done")
    env = {"MAILROOM_WAIT_FOR_VOLUMES": "0s"}
    second = lab.server(alias=name("second"), env=env, options=options, healthy=False)
    assert second.wait() == 78 and "/var/mail is in use by container" in second.logs()
    assert first.exec("/healthcheck", check=False).returncode == 0


def test_one_volume_for_several_paths(lab):
    volume = lab.volume()
    lab.server(alias=name("several"), options=["-v", f"{volume}:/var/lib/mailroom", "-v", f"{volume}:/etc/dovecot/certs"])


def test_a_read_only_mail_volume(lab):
    """machine.md 6"""
    volume = lab.volume()
    options = ["-v", f"{volume}:/var/mail:ro"]
    server = lab.server(alias=name("read-only"), options=options, healthy=False)
    assert server.wait() == 78
    assert "Cannot start: /var/mail is read-only" in server.logs()
    done = run_once(*options, command=["check"], check=False)
    assert (done.returncode, "/var/mail is read-only" in done.stderr) == (78, True), done.stderr


@pytest.mark.parametrize("file, directory", [("postfix/main.cf", "main.cf.d"), ("postfix/master.cf", "master.cf.d"),
                                             ("dovecot/dovecot.conf", "dovecot.d")])
def test_a_file_of_the_users_own_in_place_of_ours(lab, file, directory):
    """machine.md 16: at check too, and it points to the directory for drop-in files."""
    options = ["-v", f"/etc/hostname:/etc/{file}:ro"]
    done = run_once(*options, command=["check"], check=False)
    assert done.returncode == 78 and f"/etc/mailroom/{directory}" in done.stderr, done.stderr
    server = lab.server(alias=name("own"), options=options, healthy=False)
    assert server.wait() == 78
    assert f"/etc/mailroom/{directory} instead" in server.logs(), server.logs()


def test_no_inodes_left(lab):
    """machine.md 21"""
    options = ["--tmpfs", "/run", "--tmpfs", "/etc/postfix:nr_inodes=3"]
    server = lab.server(alias=name("inodes"), options=options, healthy=False)
    assert server.wait() == 78
    assert "no inodes are left" in server.logs(), server.logs()


@pytest.mark.parametrize("path", ["/var/spool/postfix", "/var/mail"])
def test_a_restart_on_a_full_file_system(lab, path):
    """passes.md, "Machine": a start needs next to no space; where there is none it says so."""
    volume = name("small")
    docker("volume", "create", "--label", LABEL, "-d", "local", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=2m", volume)
    lab.volumes.append(volume)
    keeper = lab.run(IMAGE, "infinity", options=["--entrypoint", "sleep", "--init", "--no-healthcheck", "-v", f"{volume}:/v"])
    server = lab.server(alias=name("full"), options=["-v", f"{volume}:{path}"], healthy=False)
    server.wait_for_log("postfix is ready after")
    keeper.sh("dd if=/dev/zero of=/v/ballast bs=4k 2>/dev/null", check=False)
    docker("restart", server.id)
    until(lambda: server.logs().count("postfix is ready after") == 2, "it starts all the same")
    until(lambda: server.exec("/healthcheck", check=False).stdout.count("is full: ") == 1, "and says what is wrong")
    assert server.exec("mailroom", "reload").returncode == 0
