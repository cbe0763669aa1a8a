"""The first signal at any moment: all is made and recorded as made, or all is undone.

Where no watchdog runs (--confirm 0), nobody else would undo what the failure of a step left.
"""

import contextlib
import dataclasses

import pytest

from dirtune import signals
from dirtune.change import apply as applying
from dirtune.change import journal, transaction
from dirtune.change.actions.set_value import SetValue
from dirtune.change.documents import AppliedDocument
from dirtune.change.plan import Change, Plan
from dirtune.change.record import State
from dirtune.change.transaction import Place, carry_out
from dirtune.errors import ApplyError, LabError
from dirtune.host import WritableHost
from dirtune.jobs import directors, real_servers
from dirtune.lab import lifecycle, preparing, state
from dirtune.lab.spec import Spec
from dirtune.settings import Risk
from dirtune.signals import Ended, interruptible
from tests.moments import at_every_moment

FILES = ("/a", "/b")
GONE = "/gone"


@dataclasses.dataclass
class Memory:
    """A journal that remembers."""

    said: list[str] = dataclasses.field(default_factory=list)

    def begun(self, index, saved):
        self.said.append("begun")

    def applied(self):
        self.said.append("applied")

    def undone(self, stuck, left=None):
        self.said.append(f"undone {stuck}")


class Wrong(WritableHost):
    """Takes no value but 0 in /b: the second step is made, and does not read back."""

    def write(self, path, value):
        super().write(path, value if path == "/a" else "0")


@pytest.fixture
def host(tmp_path):
    for path in FILES:
        (tmp_path / path[1:]).write_text("0\n")
    return tmp_path


def values(root):
    return [(root / path[1:]).read_text().strip() for path in FILES]


@pytest.mark.parametrize("kind", [WritableHost, Wrong])
def test_half_a_plan_is_never_left(kind, host):
    steps = tuple(SetValue(path, "0", "1") for path in FILES)
    outcomes = set()

    def run(trace):
        kept = Memory()
        for path in FILES:
            (host / path[1:]).write_text("0\n")
        error = None
        try:
            with interruptible(), trace:
                applying.apply(steps, kind(host), kept)
        except (Ended, ApplyError) as raised:
            error = raised
        if error is None or kept.said[-1:] == ["applied"]:
            assert kind is WritableHost
            assert values(host) == ["1", "1"]
            assert kept.said == ["begun", "begun", "applied"]
        elif kept.said:
            assert values(host) == ["0", "0"]
            assert kept.said[-1] == "undone ()"
            assert kept.said.count("undone ()") == 1
        else:
            assert values(host) == ["0", "0"]
        assert signals._Handled.held is None
        assert signals._Handled.depth == 0
        outcomes.add((type(error), values(host)[0]))

    assert at_every_moment(run, applying, signals) > 200
    made = {(Ended, "1"), (type(None), "1")} if kind is WritableHost else {(ApplyError, "0")}
    assert outcomes == {(Ended, "0"), *made}


def change(path, *, lasting=False):
    return Change(SetValue(path, "0", "1"), Risk.SAFE, "c/d", "f", "t", lasting=lasting)


def test_a_confirmation_that_fails_leaves_nothing(host, tmp_path, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    boot = host / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("boot\n")
    (tmp_path / "run").mkdir(0o700)
    plan = Plan((change("/a"), change("/b", lasting=True)))
    at = Place(tmp_path / "state", tmp_path / "run")
    path = journal.path_of(at.state, carry_out(plan, Wrong(host), at, confirm_s=60))
    applied, outcomes = path.read_bytes(), set()

    def run(trace):
        path.write_bytes(applied)
        (host / "a").write_text("1\n")
        with interruptible(), pytest.raises((ApplyError, Ended)) as raised, trace:
            transaction._make_lasting(path, journal.load(path), Wrong(host))
        state = journal.load(path).state
        # Before the confirmation is begun the watchdog waits on.
        undone = state is State.ROLLED_BACK
        assert undone or (raised.type is Ended and state is State.APPLIED)
        assert values(host) == ["0" if undone else "1", "0"]
        outcomes.add((raised.type, state))

    assert at_every_moment(run, transaction._make_lasting, signals) > 100
    assert outcomes >= {(ApplyError, State.ROLLED_BACK), (Ended, State.APPLIED)}


def test_a_lab_that_fails_to_come_up_is_taken_down(tmp_path, monkeypatch):
    calls = []

    def refused(*_):
        calls.append("start")
        raise LabError("no")

    monkeypatch.setattr(lifecycle, "folder", lambda: state.Folder(tmp_path))
    monkeypatch.setattr(lifecycle, "_require", lambda spec: None)
    monkeypatch.setattr(lifecycle, "_lock", lambda place: contextlib.nullcontext())
    monkeypatch.setattr(lifecycle, "_make", lambda place: None)
    monkeypatch.setattr(preparing, "prepare", lambda place, spec, say: calls.append("prepare"))
    monkeypatch.setattr(lifecycle, "_start", refused)
    monkeypatch.setattr(lifecycle.clearing, "clear", lambda place: None)
    monkeypatch.setattr(lifecycle.clearing, "keep_logs", lambda place: tmp_path)
    monkeypatch.setattr(lifecycle.clearing, "end", lambda place: calls.append("end"))
    spec = Spec(scenario=state.scenario("shared"))
    outcomes = set()

    def run(trace):
        calls.clear()
        with interruptible(), pytest.raises((LabError, Ended)) as raised, trace:
            lifecycle.up(spec, print)
        assert calls in ([], ["end"], ["prepare", "end"], ["prepare", "start", "end"])
        outcomes.add((raised.type, len(calls)))

    assert at_every_moment(run, lifecycle.up, signals) > 100
    assert outcomes == {(Ended, 0), (Ended, 1), (Ended, 2), (Ended, 3), (LabError, 3)}


def test_real_servers_are_rolled_back_where_the_director_fails(monkeypatch):
    calls = []
    done = AppliedDocument(
        journal="000001-x",
        state="applied",
        confirm_s=60,
        risk=None,
        changes=(),
        refusals=(),
        left_out=(),
    )
    given = directors.ApplyOptions(confirm_s=60)

    def settled(configuration, servers, command, journals):
        calls.append((command, journals))
        return {}

    def refused():
        calls.append("director")
        raise ApplyError("no")

    monkeypatch.setattr(real_servers, "_each", lambda *_: {"rs1": done})
    monkeypatch.setattr(real_servers, "_settle", settled)
    outcomes = set()

    def run(trace):
        calls.clear()
        with interruptible(), pytest.raises((ApplyError, Ended)) as raised, trace:
            real_servers.prepared(None, (), given, refused)
        assert "director" not in calls or calls[1:] == [("rollback", {"rs1": "000001-x"})]
        outcomes.add((raised.type, len(calls)))

    assert at_every_moment(run, real_servers.prepared, signals) > 100
    # A server that was asked, and nobody settled it, rolls back by itself.
    assert outcomes == {(Ended, 0), (Ended, 1), (Ended, 2), (ApplyError, 2)}
