"""Applying a table through the journal, on a kernel that is simulated behind the wire."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from dirtune.change import journal
from dirtune.change import table as tables
from dirtune.change.actions.run import Run
from dirtune.change.in_effect import verify
from dirtune.change.plan import Plan
from dirtune.change.record import State
from dirtune.change.table import FRESH, Changes, edits
from dirtune.change.transaction import Place, carry_out, confirm, take_back
from dirtune.change.watchdog import watch
from dirtune.errors import ApplyError, NotPossible
from dirtune.lvs import draining, kernel
from dirtune.lvs.diff import diff
from dirtune.lvs.guard import Surroundings
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table, Timeouts
from tests.change.machine import Machine
from tests.lvs.simulated import Simulated, install

REPOSITORY = Path(__file__).parents[2]
A, B, C = (Destination(f"10.1.1.{n}", 80, "dr") for n in (1, 2, 3))
WEB = Service("tcp", "10.9.9.9", 80, "rr", destinations=(A, B))
DNS = Service(
    "udp", "10.9.9.9", 53, "rr", flags=4, destinations=(Destination("10.1.1.1", 53, "nat"),)
)
BEFORE = Table((WEB, DNS), Timeouts(900, 120, 300), ())
AFTER = Table(
    (
        replace(WEB, scheduler="wlc", destinations=(replace(A, weight=7), C)),
        Service("fwmark", "", 7, "sh", destinations=(Destination("10.1.1.1", 0, "tun"),)),
    ),
    Timeouts(900, 60, 300),
    (SyncDaemon("master", "lo", maxlen=1472),),
)
SEEN = Surroundings((), frozenset(), frozenset(), True, frozenset(), frozenset())


@pytest.fixture
def ipvs(monkeypatch):
    monkeypatch.setattr(draining, "_POLL_S", 0.01)
    return install(monkeypatch, Simulated(BEFORE))


@pytest.fixture
def host(tmp_path):
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
    return Machine(tmp_path)


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "state", tmp_path / "run")


def made(drain_s=5.0, around=SEEN, before=BEFORE, after=AFTER):
    return tables.plan(Changes(around.modules, edits(before, after, drain_s=drain_s)))


def state(at):
    return journal.load(journal.find(at.state, None)).state


def test_applied_verified_by_a_plan_of_nothing_and_taken_back(ipvs, host, at):
    carry_out(made(), host, at)

    assert diff(ipvs.read(), AFTER) == ()
    assert made(before=ipvs.read()) == Plan()
    assert verify(at, host) == (), "what a later plan may replace is not called undone"

    take_back(at, host)
    assert diff(ipvs.read(), BEFORE) == ()
    assert take_back(at, host).already


def test_the_titles_count_what_is_done(ipvs):
    assert [change.title for change in made().changes] == [
        (
            "IPVS: 1 service added, 2 real servers added, 1 service edited, "
            "3 real servers edited, 1 timeout edited"
        ),
        "wait up to 5 s for the connections of 2 real servers to end",
        "IPVS: 1 sync daemon added, 1 service removed, 1 real server removed",
    ]


@pytest.mark.parametrize("number", range(1, 12))
def test_a_request_that_is_refused_undoes_all(ipvs, host, at, number):
    ipvs.fail_at = number

    with pytest.raises(ApplyError, match="the kernel has no memory"):
        carry_out(made(), host, at)

    assert diff(ipvs.read(), BEFORE) == ()
    assert state(at) is State.ROLLED_BACK


def test_the_rows_above_are_every_request(ipvs, host, at):
    carry_out(made(), host, at)

    assert len(ipvs.requests) == 11


def test_what_somebody_changed_since_the_plan_is_named_and_left(ipvs, host, at):
    plan = made()
    ipvs.services[WEB.key] = replace(WEB, destinations=(replace(A, weight=9), B))
    found = ipvs.read()

    with pytest.raises(ApplyError, match=r"TCP 10.9.9.9:80 -> 10.1.1.1:80 changed after the plan"):
        carry_out(plan, host, at)

    assert diff(ipvs.read(), found) == ()
    assert ipvs.requests == []


def test_what_somebody_changes_elsewhere_does_not_matter(ipvs, host, at):
    other = Service("tcp", "10.9.9.10", 80, "rr")
    plan = made()
    ipvs.services[other.key] = other

    carry_out(plan, host, at)
    take_back(at, host)

    assert diff(ipvs.read(), replace(BEFORE, services=(*BEFORE.services, other))) == ()


def test_what_does_not_read_back_is_taken_back(ipvs, host, at, monkeypatch):
    plan = made(drain_s=None)
    service = ipvs._service
    # A kernel that keeps its own scheduler when it is told another.
    monkeypatch.setattr(
        ipvs,
        "_service",
        lambda c, k, g: service(c, k, g | ({"SCHED_NAME": "rr"} if c == 2 else {})),
    )

    with pytest.raises(ApplyError, match=r"TCP 10\.9\.9\.9:80 did not take effect"):
        carry_out(plan, host, at)

    assert diff(ipvs.read(), BEFORE) == ()


def test_draining_waits_for_the_last_connection(ipvs, host, at, monkeypatch):
    ipvs.busy[WEB.key, B.key] = 3
    weights = []

    def pause(seconds):
        weights.append({d.key: d.weight for d in ipvs.services[WEB.key].destinations}[B.key])
        ipvs.busy[WEB.key, B.key] -= 1

    monkeypatch.setattr(draining.time, "sleep", pause)
    carry_out(made(), host, at)

    assert weights == [0, 0, 0]
    assert diff(ipvs.read(), AFTER) == ()


def test_connections_that_do_not_end_put_everything_back(ipvs, host, at):
    ipvs.busy[WEB.key, B.key] = 3

    with pytest.raises(ApplyError, match=r"10.1.1.2:80 .*\b3 active .*--no-drain"):
        carry_out(made(drain_s=0.05), host, at)

    assert diff(ipvs.read(), BEFORE) == ()
    assert state(at) is State.ROLLED_BACK


def test_without_draining_nobody_waits(ipvs, host, at):
    ipvs.busy[WEB.key, B.key] = 3

    carry_out(made(drain_s=None), host, at)

    assert diff(ipvs.read(), AFTER) == ()


def test_ctrl_c_while_draining_puts_everything_back(ipvs, host, at, monkeypatch):
    ipvs.busy[WEB.key, B.key] = 3

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(draining.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_out(made(), host, at)

    assert diff(ipvs.read(), BEFORE) == ()


def test_confirmed_it_stays_and_unconfirmed_it_goes(ipvs, host, at, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    carry_out(made(), host, at, confirm_s=60)
    assert not confirm(at, host).already
    watch(journal.find(at.state, None), at, host)
    assert diff(ipvs.read(), AFTER) == ()

    back = made(None, before=ipvs.read(), after=BEFORE)
    carry_out(back, host, at, confirm_s=0.05)
    time.sleep(0.1)
    watch(journal.find(at.state, None), at, host)
    assert diff(ipvs.read(), AFTER) == ()
    assert state(at) is State.ROLLED_BACK


def test_modules_are_loaded_first_and_only_they_are_unloaded(host):
    around = Surroundings(
        (), frozenset(), frozenset(), False, frozenset(), frozenset({"sh", "wlc"})
    )

    load, edit = made(around=around, before=FRESH).changes

    assert load.action.argv == ("modprobe", "-a", "ip_vs", "ip_vs_sh", "ip_vs_wlc")
    assert load.action.undo_argv == (
        *("sh", "-c", 'rmmod "$@" 2>/dev/null || :', "sh"),
        *("ip_vs_wlc", "ip_vs_sh", "ip_vs"),
    )
    assert not isinstance(edit.action, Run)


def test_taken_back_where_ip_vs_is_gone_there_is_nothing_left(ipvs, host, at, monkeypatch):
    carry_out(made(), host, at)
    requests = len(ipvs.requests)
    monkeypatch.setattr(kernel, "loaded", lambda host: False)

    assert take_back(at, host).state is State.ROLLED_BACK
    assert len(ipvs.requests) == requests


def test_nothing_is_looked_up_where_ip_vs_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "dirtune.netlink.genl.Socket", lambda *_: pytest.fail("looking the family up loads ip_vs")
    )

    with (
        pytest.raises(NotPossible, match=r"ip_vs is not loaded.*--load"),
        kernel.opened(Machine(tmp_path)),
    ):
        pass


# The process dies at one request; the kernel's table is kept in a file, as a kernel keeps its own.
KILLED = """
import os, signal, sys
from pathlib import Path
import msgspec
from dirtune.lvs.model import Table
from dirtune.change.transaction import Place, carry_out, take_back
from tests.lvs.simulated import Simulated, install
from tests.change.machine import Machine
from tests.change.test_table import made

root, fatal = Path(sys.argv[1]), int(sys.argv[2])
kept = root / "table"
before = msgspec.json.decode(kept.read_bytes(), type=Table)

class Dying(Simulated):
    def get_errno(self, command, attributes):
        if len(self.requests) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        number = super().get_errno(command, attributes)
        kept.write_bytes(msgspec.json.encode(self.read()))
        return number

class Patch:
    def setattr(self, target, name, value):
        setattr(target, name, value)

ipvs = install(Patch(), Dying(before))
at = Place(root / "state", root / "run")
if fatal:
    carry_out(made(1, before=before), Machine(root), at)
else:
    take_back(at, Machine(root))
"""


@pytest.mark.parametrize("number", [1, 2, 3, 5, 9, 11])
def test_after_kill_9_at_a_request_rollback_restores_the_table(host, at, number):
    import msgspec

    kept = host.root / "table"
    kept.write_bytes(msgspec.json.encode(BEFORE))

    def run(fatal):
        argv = (sys.executable, "-c", KILLED, host.root, str(fatal))
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPOSITORY)

    assert run(number).returncode == -signal.SIGKILL
    assert state(at) is State.PLANNED

    done = run(0)
    assert done.returncode == 0, done.stderr
    assert diff(msgspec.json.decode(kept.read_bytes(), type=Table), BEFORE) == ()
    assert state(at) is State.ROLLED_BACK
