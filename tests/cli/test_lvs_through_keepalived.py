"""`lvs apply --through keepalived`: keepalived is simulated, `keepalived -t` is the real one.

The simulated one makes of its files what dirtune derives; tests/lab/test_lvs.py has the real one.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner

from dirtune.change import journal, transaction
from dirtune.cli import main
from dirtune.collect import keepalived_daemon
from dirtune.collect.keepalived_daemon import Daemon
from dirtune.errors import NotPossible
from dirtune.host import LiveHost, WritableHost
from dirtune.jobs import keepalived_directors
from dirtune.keepalived import reading
from dirtune.lvs import guard, keepalived_conf, keepalived_reload
from dirtune.lvs.guard import Surroundings
from dirtune.lvs.model import Destination, Service, Table, Timeouts
from tests.lvs.simulated import Simulated, install

PROGRAM = shutil.which("keepalived", path="/usr/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="keepalived is not installed")
# As a person wrote it: a comment, a password, no end of the last line.
MAIN = """! mine
global_defs {
    router_id lb1
    dynamic_interfaces
}
vrrp_instance A {
    interface dirtune9
    virtual_router_id 7
    authentication {
        auth_type PASS
        auth_pass sesame11
    }
    virtual_ipaddress {
        198.18.0.100
    }
}
virtual_server 198.18.0.100 443 {
    protocol TCP
    lvs_sched rr
    lvs_method DR
    real_server 198.18.0.11 443 {
        weight 2
    }
}"""
LINE = "include dirtune.d/*.conf"
HTTPS = Service(
    *("tcp", "198.18.0.100", 443, "rr"), destinations=(Destination("198.18.0.11", 443, "dr", 2),)
)
A, B = (Destination(f"198.18.0.{n}", 80, "dr") for n in (11, 12))
WEB = Service("tcp", "198.18.0.100", 80, "wlc", destinations=(A, B))
KEPT = """
[[services]]
vip = "198.18.0.100"
port = 443
  [[services.destinations]]
  address = "198.18.0.11"
  weight = 2
"""
PLAN = f"""
[director]
host = "local"
{KEPT}
[[services]]
vip = "198.18.0.100"
port = 80
scheduler = "wlc"
  [[services.destinations]]
  address = "198.18.0.11"
  [[services.destinations]]
  address = "198.18.0.12"
"""
SEEN = Surroundings((("keepalived", 7),), frozenset(), frozenset(), True, frozenset(), frozenset())


class Kept(Simulated):
    """Its services are in a file, so that they outlive a process that is killed."""

    def __init__(self, path, table):
        super().__init__(table)
        self._path = path
        self.keep(table.services)

    def keep(self, services):
        self._path.write_bytes(msgspec.json.encode(services))

    def read(self):
        services = msgspec.json.decode(self._path.read_bytes(), type=tuple[Service, ...])
        return Table(services, self.timeouts, tuple(self.daemons))

    def active(self, service):
        return {}


class Keepalived:
    """Reads its files on SIGHUP, unless it is broken."""

    def __init__(self, folder, ipvs):
        self.main = folder / "keepalived.conf"
        self.own = folder / "dirtune.d/services.conf"
        self.ipvs = ipvs
        self.pid, self.broken, self.unit, self.hangups = os.getpid(), "", "", 0

    def running(self, _host):
        if self.pid is None:
            return None
        if self.broken == "twice":
            raise NotPossible("More than one keepalived runs here: processes 7 and 8. End one")
        return Daemon(self.pid, "1", PROGRAM, self.unit, str(self.main), "lb1")

    def hang_up(self, pid, still):
        assert (pid, still()) == (self.pid, True)
        self.hangups += 1
        if self.broken == "ends":
            self.pid, self.broken = None, ""
        elif self.broken != "deaf":
            self.read()

    def read(self):
        table = keepalived_conf.derive(reading.read(LiveHost(), str(self.main), "lb1")).table
        self.ipvs.keep(table.services)

    def files(self):
        paths = (path for path in self.main.parent.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mode) for path in paths}


@pytest.fixture
def keepalived(monkeypatch, tmp_path):
    monkeypatch.setenv("DIRTUNE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DIRTUNE_RUN", str(tmp_path / "run"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(guard, "look_around", lambda host, table: SEEN)
    monkeypatch.setattr(keepalived_reload, "_POLL_S", 0.01)
    monkeypatch.setattr(keepalived_reload, "_GRACE_S", 0.1)
    monkeypatch.setattr("dirtune.change.through_keepalived._WAIT_S", 0.3)
    folder = tmp_path / "keepalived"
    folder.mkdir()
    table = Table((HTTPS,), Timeouts(900, 120, 300), ())
    ipvs = install(monkeypatch, Kept(tmp_path / "table", table))
    made = Keepalived(folder, ipvs)
    monkeypatch.setattr(keepalived_daemon, "running", made.running)
    monkeypatch.setattr(
        keepalived_daemon, "started", lambda host, pid: "1" if pid == made.pid else None
    )
    monkeypatch.setattr(WritableHost, "hang_up", made.hang_up)
    made.main.write_text(MAIN)
    made.main.chmod(0o600)
    return made


def lvs(command, tmp_path, *words, text=PLAN, checker="none"):
    (tmp_path / "plan.toml").write_text(text)
    through = ("--here", "--through", "keepalived", "--checker", checker)
    words = ["lvs", command, str(tmp_path / "plan.toml"), *through, *words]
    done = CliRunner().invoke(main, words)
    assert "Traceback" not in done.output
    assert "sesame" not in done.output
    return done


def rollback():
    done = CliRunner().invoke(main, ["rollback"])
    assert done.exit_code == 0, done.output


def tables(keepalived):
    return {
        service.name: {(d.name, d.weight) for d in service.destinations}
        for service in keepalived.ipvs.read().services
    }


BEFORE = {"TCP 198.18.0.100:443": {("198.18.0.11:443", 2)}}
AFTER = BEFORE | {"TCP 198.18.0.100:80": {("198.18.0.11:80", 1), ("198.18.0.12:80", 1)}}


def test_the_line_is_shown_and_asked_for_and_all_is_taken_back_to_the_byte(keepalived, tmp_path):
    before = keepalived.files()

    done = lvs("plan", tmp_path)
    assert done.exit_code == 1
    assert f"append the line '{LINE}' to {keepalived.main}" in done.stdout
    assert "+ TCP 198.18.0.100:80" in done.stdout
    assert f"dirtune would append: {LINE}; --force include" in done.stderr
    assert lvs("apply", tmp_path).exit_code == 2
    assert (keepalived.files(), keepalived.hangups) == (before, 0)

    done = lvs("apply", tmp_path, "--force", "include")

    assert (done.stderr, done.exit_code) == ("", 0)
    assert tables(keepalived) == AFTER
    assert keepalived.main.read_text() == f"{MAIN}\n{LINE}\n"
    own = keepalived.own.read_text()
    assert "virtual_server 198.18.0.100 80 {" in own
    assert "443" not in own, "what the person's file has already stays there"
    assert lvs("plan", tmp_path).stdout == "nothing to do\n"
    (journal,) = (tmp_path / "state").glob("*.journal")
    assert "sesame" not in journal.read_text()
    rollback()
    assert keepalived.files() == before
    assert tables(keepalived) == BEFORE


def test_the_result_is_accepted_by_keepalived_itself(keepalived, tmp_path):
    lvs("apply", tmp_path, "--force", "include", checker="tcp")

    done = subprocess.run([PROGRAM, "-t", "-f", keepalived.main], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert keepalived.own.read_text().count("TCP_CHECK") == 2


def test_later_plans_need_no_question_and_drain_what_they_remove(keepalived, tmp_path):
    lvs("apply", tmp_path, "--force", "include")
    less = PLAN[: PLAN.rindex("  [[services.dest")].replace("wlc", "sh") + "  weight = 3\n"

    done = lvs("apply", tmp_path, "--drain-wait", "1", text=less)

    assert (done.stderr, done.exit_code) == ("", 0)
    assert "wait up to 1 s for the connections of 1 real server to end" in done.stdout
    assert tables(keepalived)["TCP 198.18.0.100:80"] == {("198.18.0.11:80", 3)}
    rollback()
    assert tables(keepalived) == AFTER


BAD = "virtual_server 198.18.0.100 99 {\n    delay_lop 3\n}\n"


@pytest.mark.parametrize(
    ("conf", "text", "why", "name"),
    [
        (MAIN + "\n" + BAD, PLAN, "keepalived -t: (", "keepalived-t"),
        (MAIN, PLAN.replace("weight = 2", "weight = 3"), "keepalived.conf: line 17, with", ""),
        (MAIN, PLAN.replace(KEPT, ""), "line 17 has a virtual_server that the plan lacks", "keep"),
        (MAIN, f"{PLAN}[[services]]\nfwmark = 7\n", "FWM 7 has no real server", ""),
        (MAIN, f'{PLAN}[ipvs]\nsync = [{{ state = "backup", interface = "lo" }}]\n', "sync", ""),
        (
            f"{MAIN}\nglobal_defs {{\nlvs_timeouts tcp 9 tcpfin 8 udp 7\n}}\n",
            f"{PLAN}[ipvs]\ntimeouts = {{ tcp = 90, tcp_fin = 80, udp = 70 }}\n",
            "Write: lvs_timeouts tcp 90 tcpfin 80 udp 70",
            "",
        ),
        (MAIN.replace("weight 2", "weight 4"), PLAN.replace("= 2", "= 4"), "differs", "drift"),
        (f"{MAIN}\n@other {LINE}\n", PLAN, "lacks the line", "include"),
        (f"{MAIN}\ninclude dirtune.d/s*.conf\n", PLAN, "by another line than", ""),
        (f"{MAIN}\nnet_namespace x\n", PLAN, "net_namespace", ""),
    ],
)
def test_what_is_refused_is_one_line_and_nothing_changes(
    keepalived, tmp_path, conf, text, why, name
):
    keepalived.main.write_text(conf)
    keepalived.own.parent.mkdir()
    keepalived.own.write_text("# mine\n")
    before = keepalived.files()

    force = () if name == "include" else ("--force", "include")
    done = lvs("apply", tmp_path, *force, text=text)

    assert done.exit_code == 2
    assert why in done.stderr
    assert (f"--force {name}" in done.stderr) is bool(name)
    assert done.stderr.count("\n") == 1
    assert (keepalived.files(), keepalived.hangups) == (before, 0)
    assert not list((tmp_path / "state").glob("*.journal"))


def test_what_may_stay_stays(keepalived, tmp_path):
    text = PLAN.replace(KEPT, "")
    done = lvs("apply", tmp_path, "--force", "include", "--force", "keep", text=text)

    assert (done.exit_code, tables(keepalived)) == (0, AFTER)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("deaf", "keepalived did not set TCP 198.18.0.100:80 as its configuration has it within"),
        ("ends", "ended when it read its configuration again. keepalived's log says why"),
    ],
)
def test_a_keepalived_that_does_not_follow_is_rolled_back(keepalived, tmp_path, broken, why):
    before, keepalived.broken = keepalived.files(), broken

    done = lvs("apply", tmp_path, "--force", "include")

    assert done.exit_code == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert keepalived.files() == before
    assert tables(keepalived) == BEFORE


@pytest.mark.parametrize(("state", "restarted"), [("failed", True), ("inactive", False)])
def test_a_service_that_crashed_is_started_again_and_a_stopped_one_is_not(
    keepalived, tmp_path, monkeypatch, state, restarted
):
    before, keepalived.broken, keepalived.unit = keepalived.files(), "ends", "k.service"
    ran = []

    def run(_host, argv, *, timeout_s=300):
        ran.append(argv)
        if argv[1] == "restart":
            keepalived.pid = os.getpid()
            keepalived.read()
        return f"{state}\n"

    monkeypatch.setattr(WritableHost, "run", run)

    assert lvs("apply", tmp_path, "--force", "include").exit_code == 2

    assert (("systemctl", "restart", "k.service") in ran) is restarted
    assert (keepalived.files(), tables(keepalived)) == (before, BEFORE)


def test_an_undo_that_cannot_tell_which_keepalived_to_reload_is_tried_again(keepalived, tmp_path):
    assert lvs("apply", tmp_path, "--force", "include").exit_code == 0
    hangups, keepalived.broken = keepalived.hangups, "twice"

    stuck = CliRunner().invoke(main, ["rollback"])

    assert stuck.exit_code == 2
    assert "More than one keepalived runs" in stuck.stderr
    keepalived.broken = ""
    assert CliRunner().invoke(main, ["rollback"]).exit_code == 0
    assert keepalived.hangups > hangups
    assert tables(keepalived) == BEFORE


def test_a_program_that_others_could_exchange_is_not_run(keepalived, tmp_path, monkeypatch):
    program = tmp_path / "sbin"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o777)
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", str(program))
    before = keepalived.files()

    done = lvs("apply", tmp_path, "--force", "include")

    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"Users other than root can change {program}" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert keepalived.files() == before


def test_timeouts_go_into_the_own_file_and_back(keepalived, tmp_path):
    text = f"{PLAN}[ipvs]\ntimeouts = {{ tcp = 90, tcp_fin = 80, udp = 70 }}\n"

    lvs("apply", tmp_path, "--force", "include", text=text)

    assert keepalived.ipvs.read().timeouts == Timeouts(90, 80, 70)
    assert "lvs_timeouts tcp 90 tcpfin 80 udp 70" in keepalived.own.read_text()
    rollback()
    assert keepalived.ipvs.read().timeouts == Timeouts(900, 120, 300)


def test_without_keepalived_and_with_another_one_nothing_is_written(keepalived, tmp_path):
    keepalived.pid = None
    done = lvs("apply", tmp_path)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "keepalived is not running" in done.stderr

    keepalived.pid = os.getpid()
    done = CliRunner().invoke(main, ["lvs", "apply", "x.toml", "--through", "keepalived"])
    assert "--checker none" in done.stderr


def test_the_plan_in_json_has_the_line_as_a_command(keepalived, tmp_path):
    document = json.loads(lvs("plan", tmp_path, "--format", "json").stdout)

    commands = [row for setting in document["settings"] for row in setting["commands"]]
    assert f"printf '%s\\n' '{LINE}' >> {keepalived.main}" in commands
    assert "sesame" not in json.dumps(document)


def killed(words, fatal):
    """Run dirtune in a child that kills itself at its moment *fatal*; return whether it did."""
    child = os.fork()
    if child == 0:
        count = [0]

        def ticking(function):
            def call(*args, **options):
                tick()
                result = function(*args, **options)
                tick()
                return result

            return call

        def tick():
            count[0] += 1
            if count[0] == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            journal.os.fsync = ticking(lambda descriptor: None)
            for name in ("replace", "remove", "make_folder", "hang_up"):
                setattr(WritableHost, name, ticking(getattr(WritableHost, name)))
            CliRunner().invoke(main, words)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_anywhere_all_is_as_before_or_all_as_planned(keepalived, tmp_path, monkeypatch):
    monkeypatch.setattr(keepalived_directors, "_refused", lambda *_: ())  # which changes nothing
    (tmp_path / "plan.toml").write_text(PLAN)
    words = ["lvs", "apply", str(tmp_path / "plan.toml"), "--here", "--force", "include"]
    words += ["--through", "keepalived", "--checker", "none"]
    before = (keepalived.files(), BEFORE)
    CliRunner().invoke(main, words)
    planned = (keepalived.files(), AFTER)
    rollback()
    assert (keepalived.files(), tables(keepalived)) == before
    ends = []

    for fatal in range(1, 100):
        shutil.rmtree(tmp_path / "state")
        died = killed(words, fatal)
        at = transaction.place()
        for path in journal.unfinished(at.state):
            transaction.take_back(at, WritableHost(), path.stem)
        now = (keepalived.files(), tables(keepalived))
        assert now in (before, planned), fatal
        ends.append(now == planned)
        if not died:
            break
        if ends[-1]:
            rollback()

    assert ends == sorted(ends)
    assert len(ends) > 20
    assert ends.count(True) <= 4
