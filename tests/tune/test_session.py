"""Whole sessions over a director that is arithmetic: each fix costs or saves a known part."""

import asyncio
import contextlib
import dataclasses
import gc
import json
import os
import re
import shlex
import subprocess
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
import simulated

from dirtune import __version__
from dirtune.errors import NodeUnreachable, NotPossible, PlanError, TrialError
from dirtune.host import RecordedHost
from dirtune.jobs import tuning
from dirtune.plan.tables import Traffic
from dirtune.remote import Finished
from dirtune.snapshot import take
from dirtune.tune import decide, director, live, session, turn
from dirtune.tune.decide import Wishes
from dirtune.tune.session import Request, Tune
from tests.hostile import CANARY, calls, stub

PLAN = msgspec.structs.replace(
    simulated.planned(settle_s=1, director="lb1", warmup=0.1, window=2, pairs=6), title="A test"
)
SYSCTL, RING, SMBUS, PIC = (
    "ipvs/sysctl-lost",
    "nic/ring-below-max",
    "irq/shared-with-nic",
    "irq/xtpic-mode",
)
RISKS = {SYSCTL: "safe", RING: "disruptive", SMBUS: "disruptive", PIC: "reboot"}


class Host(simulated.Director):
    """The director with a dirtune on it, whose fixes cost or save a part of each connection."""

    name = "lb1"

    def __init__(self, effects):
        super().__init__(PLAN, noise=0.005)
        self.effects = effects  # by check: times what a connection cost
        self.journals = {}  # by name: checks, as they stand
        self.leased = set()  # of them, what comes back unless it is confirmed
        self.undone = {}  # by name: the checks of those that were rolled back
        self.trials = {}  # of them, the run that each says it is on trial in
        self.booted = set()  # what is in force, of those that need a boot: since the boot
        self.boot = 1
        self.fails = set()
        self.partly = set()  # done by somebody before, but not all of it
        self.asked = []
        self.away = False
        self.stays = 0  # dirtunes that stay there now
        self.blips = 0  # connections that were there before the last are dead

    def of(self, check):
        return "/".join(check.split("/")[:2])

    def standing(self):
        return {self.of(check) for checks in self.journals.values() for check in checks}

    def reboot(self):
        self.boot += 1
        self.booted = {check for check in self.standing() if RISKS[check] == "reboot"}

    def forces(self):
        return self.booted | {c for c in self.standing() if RISKS[c] != "reboot"}

    async def load(self, ticks):
        self.cost_us = 2000.0
        for check in self.forces():
            self.cost_us *= self.effects[check]
        return await super().load(ticks)

    def answers(self, *words):
        self.asked.append(" ".join(words))
        if self.away:
            raise NodeUnreachable("lb1: the connection was lost")
        return json.dumps(self.dirtune(*words))

    async def obey(self, *words):
        return self.answers(*words)

    def of_plan(self, plan):
        return OtherPlan(self, plan)

    async def run(self, command, *, timeout_s=60, ok=(0,), **_):
        if isinstance(command, str):
            return f"boot-{self.boot}\nnoapic quiet\n" if "boot_id" in command else "6.1\n"
        raise AssertionError(command)

    async def completed(self, script, **_):
        *call, form, json_ = shlex.split(script)
        assert (call[:4], form, json_) == (
            ["exec", "dirtune", "--require-version", __version__],
            "--format",
            "json",
        )
        return Finished(0, self.answers(*call[4:]), "")

    def dirtune(self, *words):
        match words:
            case ("fix", "plan", *checks):
                open_ = [
                    c for c in checks or RISKS if self.of(c) not in self.standing() - self.partly
                ]
                known = [c for c in open_ if self.of(c) in self.effects]
                rows = [change(reason=self.of(c), risk=RISKS[self.of(c)], title=c) for c in known]
                plan = {"schema": "dirtune/plan/1", "changes": rows, "refusals": []}
                return plan | {"risk": None}
            case ("fix", "verify", *checks):
                wanted = {self.of(check) for check in checks} or set(RISKS)
                rows = [j for j, of in self.journals.items() if wanted & set(map(self.of, of))]
                found = [
                    change(journal=j, holds=True, by=[], on_trial=self.trials.get(j, ""))
                    for j in rows
                ]
                return {"schema": "dirtune/verify/1", "changes": found}
            case ("fix", "apply", *checks, "--confirm", seconds, "--on-trial", run):
                if self.fails & set(checks):
                    raise NotPossible("lb1: dirtune: irq 10: goes to CPU 1")
                return self.applied(tuple(checks), seconds, run)
            case ("fix", "reapply", old, "--confirm", seconds, "--on-trial", run):
                return self.applied(self.undone[old], seconds, run)
            case ("confirm", *renew, journal):
                if journal not in self.journals:
                    raise NotPossible(f"lb1: {journal}: was taken back; apply it again")
                if not renew:
                    self.leased.discard(journal)
                return settled(journal)
            case ("rollback", journal):
                already = journal not in self.journals
                self.undone[journal] = self.journals.pop(journal, ())
                self.leased.discard(journal)
                return settled(journal) | {"already": already}
        raise AssertionError(words)

    def applied(self, checks, seconds, run):
        assert float(seconds) > self.plan.load.load_s
        if set(map(self.of, checks)) <= self.standing() - self.partly:
            return APPLIED | {"journal": None, "state": None}
        name = f"j{len(self.asked):04}"
        self.journals[name] = checks
        self.leased.add(name)
        self.trials[name] = run
        return APPLIED | {"journal": name}


class OtherPlan:
    """The same nodes with another plan."""

    def __init__(self, host, plan):
        self.host, self.plan = host, plan

    def __getattr__(self, name):
        return getattr(self.host, name)

    async def load(self, ticks):
        self.host.plan, outer = self.plan, self.host.plan
        try:
            return await self.host.load(ticks)
        finally:
            self.host.plan = outer


def settled(journal):
    return {"schema": "dirtune/settled/1", "journal": journal, "state": "", "already": False}


def change(**fields):
    action = {"type": "set", "path": "/proc/sys/x", "before": "0", "after": "1"}
    kept_by = {"commands": [], "persisted_by": None}
    return (
        {"action": action, "risk": "safe", "reason": "x", "fix": "x", "title": "x"}
        | kept_by
        | fields
    )


APPLIED = {
    "schema": "dirtune/applied/1",
    "state": "applied",
    "confirm_s": 60,
    "risk": "safe",
    "changes": [],
    "refusals": [],
    "left_out": [],
}


class Connection:
    """What a Node gives: gone for good after a blip."""

    sent = ""  # a dirtune is installed there

    def __init__(self, host):
        self.host, self.name, self.blips = host, host.name, host.blips

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def run(self, *args, **options):
        self.check()
        return await self.host.run(*args, **options)

    async def completed(self, *args, **options):
        self.check()
        return await self.host.completed(*args, **options)

    async def start(self, script, *, guarded):
        self.check()
        assert script == f"exec dirtune --require-version {__version__} stay"
        assert not guarded, "it reads its input"
        return Stay(self)

    async def close(self):
        pass

    @property
    def alive(self):
        return self.blips == self.host.blips

    def check(self):
        if not self.alive:
            raise NodeUnreachable("lb1: the connection was lost")


class Stay:
    """The dirtune that stays on the director, as a process over a connection."""

    def __init__(self, connection):
        self.connection, self.words = connection, None
        connection.host.stays += 1

    @property
    def running(self):
        return self.connection.alive

    async def send(self, text):
        self.connection.check()
        assert text.endswith("\n")
        self.words = json.loads(text)

    async def line(self, *, timeout_s, **_):
        self.connection.check()
        if self.words is None:
            return json.dumps({"schema": "dirtune/stay/1", "version": __version__})
        begin, end = self.words[:2], self.words[-2:]
        assert (begin, end) == (["--require-version", __version__], ["--format", "json"])
        text = await self.connection.host.obey(*self.words[2:-2])
        return json.dumps(
            {"schema": "dirtune/stay-result/1", "status": 0, "stdout": text, "stderr": ""}
        )

    async def end(self, *, within_s):
        self.connection.host.stays -= 1


@pytest.fixture
def make(monkeypatch):
    """Return a function that puts a director with such fixes behind every connection."""

    def made(effects):
        host = Host(effects)

        @contextlib.asynccontextmanager
        async def opened_rig(plan, *, alone=False):
            host.plan, outer = plan, host.plan
            yield host
            host.plan = outer

        async def connect(plan):
            return Connection(host)

        async def snapshot(node):
            return take(RecordedHost({"/proc/interrupts": "           CPU0\n"}, {}))

        monkeypatch.setattr("dirtune.bench.rig.opened", opened_rig)
        monkeypatch.setattr(director, "connect", connect)
        monkeypatch.setattr(turn, "snapshot_of", snapshot)
        return host

    return made


def tune(tmp_path, host=None, plan=PLAN):
    said = []
    boot = host.reboot if host else None
    return Tune(plan, tmp_path, said.append, lambda run, folder: None, boot, boots=5)


def begun(tune, *words, **wishes):
    return asyncio.run(session.begin(tune, Request(Wishes(words, **wishes), "dirtune tune")))


def gone_on(tune, kept):
    return asyncio.run(session.go_on(tune, kept))


def outcomes(kept):
    found = session.load(kept.folder / "tune.json")
    return {each.name: (each.outcome, verdict(each)) for each in found.attempts}


def verdict(attempt):
    return attempt.comparison and attempt.comparison.verdict


def test_each_fix_is_judged_by_itself_and_only_what_helps_is_kept(tmp_path, make):
    host = make({SYSCTL: 1.0, RING: 1.2, SMBUS: 0.8, PIC: 0.5})
    asked = tune(tmp_path)
    kept = begun(asked, SYSCTL, RING, SMBUS)

    assert gone_on(asked, kept)

    assert outcomes(kept) == {
        SYSCTL: ("kept", "equivalent"),  # it mends what goes wrong
        SMBUS: ("kept", "improved"),
        RING: ("taken back", "regressed"),
    }
    assert host.forces() == {SYSCTL, SMBUS}
    assert host.leased == set(), "what is kept is confirmed"
    found = [each for each in kept.session.attempts if each.journal]
    assert {each.journal: each.checks for each in found} == host.journals
    assert kept.session.finished is not None
    ring = next(each for each in kept.session.attempts if each.name == RING)
    assert ring.comparison.ratio == pytest.approx(1.2, rel=0.03)


def test_unnamed_only_what_is_safe_is_tried(tmp_path, make):
    host = make({SYSCTL: 1.0, RING: 0.8, PIC: 0.5})
    asked = tune(tmp_path)
    kept = begun(asked)

    gone_on(asked, kept)

    assert outcomes(kept) == {
        PIC: ("left out", None),
        SYSCTL: ("kept", "equivalent"),
        RING: ("left out", None),
    }
    assert host.forces() == {SYSCTL}


def test_a_fix_that_changes_nothing_is_kept_only_when_asked(tmp_path, make):
    host = make({RING: 1.0})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    gone_on(asked, kept)
    assert outcomes(kept) == {RING: ("taken back", "equivalent")}
    assert host.forces() == set()

    kept = asyncio.run(session.begin(asked, Request(Wishes((RING,)), "", keep_equivalent=True)))
    gone_on(asked, kept)
    assert outcomes(kept) == {RING: ("kept", "equivalent")}
    assert host.forces() == {RING}


def test_all_together_is_one_comparison(tmp_path, make):
    host = make({RING: 1.1, SMBUS: 0.7})
    asked = tune(tmp_path)
    kept = begun(asked, RING, SMBUS, together=True)

    gone_on(asked, kept)

    assert outcomes(kept) == {f"{SMBUS}, {RING}": ("kept", "improved")}
    (attempt,) = kept.session.attempts
    assert attempt.comparison.ratio == pytest.approx(0.77, rel=0.03)
    assert len(host.journals) == 1


def test_what_the_director_cannot_do_is_told_and_the_rest_is_tried(tmp_path, make):
    host = make({SMBUS: 0.8, RING: 0.8})
    host.fails = {SMBUS}
    asked = tune(tmp_path)
    kept = begun(asked, SMBUS, RING)

    assert gone_on(asked, kept)

    assert outcomes(kept) == {SMBUS: ("failed", None), RING: ("kept", "improved")}
    assert "goes to CPU 1" in kept.session.attempts[0].why


@pytest.mark.parametrize("error", [NotPossible("no jinja2"), OSError(28, "No space left")])
def test_a_report_that_cannot_be_written_does_not_fail_the_fix(tmp_path, make, error):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)

    def finished(run, folder):
        assert outcomes(kept) == {RING: ("kept", "improved")}, "it is on disk already"
        raise error

    assert gone_on(dataclasses.replace(asked, finished=finished), kept)

    assert outcomes(kept) == {RING: ("kept", "improved")}
    assert host.forces() == {RING}
    assert kept.session.finished is not None


def test_what_an_earlier_fix_took_away_is_gone(tmp_path, make):
    host = make({SMBUS: 0.8, RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, SMBUS, RING)
    host.effects = {SMBUS: 0.8}

    gone_on(asked, kept)

    assert outcomes(kept)[RING] == ("gone", None)


def test_nothing_to_fix_is_a_session_without_attempts(tmp_path, make):
    make({})
    asked = tune(tmp_path)
    kept = begun(asked)

    assert gone_on(asked, kept)
    assert kept.session.attempts == ()


class Cut(BaseException):
    """As Ctrl-C."""


def cut_off(tune, kept, error=Cut):
    with contextlib.suppress(error):
        gone_on(tune, kept)
        pytest.fail("it was not cut off")
    gc.collect()  # the process would be gone, and its hold of the run with it


def test_a_session_that_was_cut_off_goes_on_with_the_next_pair(tmp_path, make):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    loads = host.load

    async def load(ticks):
        run = next(iter(tmp_path.glob("*/run.json")))
        if len(json.loads(run.read_text())["trials"]) == 7:
            raise Cut
        return await loads(ticks)

    host.load = load
    cut_off(asked, kept)
    assert host.forces() == set(), "it is not left between two arms"
    assert outcomes(kept) == {RING: (None, None)}

    host.load = loads
    again = session.resume(tmp_path, PLAN, print)
    assert gone_on(asked, again)

    assert outcomes(again) == {RING: ("kept", "improved")}
    (run,) = tmp_path.glob("*/run.json")
    trials = json.loads(run.read_text())["trials"]
    pairs = {t["pair"] for t in trials if t["kind"] == "judged" and t["validity"] == "valid"}
    assert len(pairs) in {6, 7}  # one more where a pair was cut in two
    with pytest.raises(NotPossible, match="unfinished"):
        session.resume(tmp_path, PLAN, print)


def test_a_connection_that_is_lost_in_an_arm_does_not_leave_the_fix_in_force(tmp_path, make):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    loads = host.load

    async def load(ticks):
        if RING in host.forces():
            host.blips += 1
            raise Cut
        return await loads(ticks)

    host.load = load
    cut_off(asked, kept)

    assert host.forces() == set()


def test_a_fix_that_cannot_be_taken_back_is_named_with_the_way_out(tmp_path, make):
    host = make({RING: 0.8, SMBUS: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING, SMBUS)
    loads = host.load

    async def load(ticks):
        host.away = SMBUS in host.forces()
        if host.away:
            raise NotPossible("c1: h2load: no such file")
        return await loads(ticks)

    host.load = load
    with pytest.raises(TrialError) as told:
        gone_on(asked, kept)

    (journal,) = host.journals
    assert "lb1" in str(told.value)
    assert f"dirtune rollback {journal}" in str(told.value)
    assert host.leased == {journal}, "the director takes it back by itself"
    assert outcomes(kept) == {SMBUS: (None, None), RING: (None, None)}, "no other is tried"


def test_no_trial_outlasts_the_lease_which_is_renewed_only_before_it_might(
    tmp_path, make, monkeypatch
):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    # After two such trials in a row, a third one might outlast the lease.
    trial_s, now_s = 1 + (decide.lease_s(PLAN) - decide.trial_s(PLAN)) / 2, [1000.0]
    monkeypatch.setattr(director.time, "monotonic", lambda: now_s[0])
    loads, begins_s, trials, renewals = host.load, [], [], []
    answers = host.answers

    async def load(ticks):
        now_s[0] += trial_s
        if RING in host.forces():
            trials.append(now_s[0] < begins_s[-1] + decide.lease_s(PLAN))
        return await loads(ticks)

    def answered(*words):
        if words[:2] in {("fix", "apply"), ("fix", "reapply"), ("confirm", "--renew")}:
            begins_s.append(now_s[0])
        renewals.append(words[:2] == ("confirm", "--renew"))
        return answers(*words)

    host.load, host.answers = load, answered
    gone_on(asked, kept)

    assert len(trials) >= 7
    assert all(trials)
    assert 0 < sum(renewals) < len(trials)


def test_the_same_changes_are_made_again_without_another_audit(tmp_path, make):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    gone_on(asked, begun(asked, RING))

    switches = [words.split() for words in host.asked if words.split()[0] in {"fix", "rollback"}]
    applied = [words for words in switches if words[1] == "apply"]
    again = [(before, now) for before, now in pairwise(switches) if now[1] == "reapply"]

    assert len(applied) == 1
    assert len(again) > 1
    assert all(before[0] == "rollback" and before[1] == now[2] for before, now in again)


def void_after(host, trials):
    """Let the director lose the fix during the last of that many trials with it."""
    loads, seen = host.load, []

    async def load(ticks):
        done = await loads(ticks)
        if RING in host.forces():
            seen.append(1)
            if len(seen) == trials:
                host.undone |= host.journals
                host.journals.clear()
                host.leased.clear()
        return done

    host.load = load
    return loads


# The first trial with the fix is followed by another one, and only then by a rollback.
@pytest.mark.parametrize("trials", [1, 2, 3])
def test_a_trial_whose_fix_was_lost_before_its_end_does_not_count(tmp_path, make, trials):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    loads = void_after(host, trials)

    with pytest.raises(TrialError, match=r"rolled back already.*--resume"):
        gone_on(asked, kept)

    (run,) = tmp_path.glob("*/run.json")
    known = [trial for trial in json.loads(run.read_text())["trials"] if trial["arm"] == "B"]
    whole = 2 * ((trials - 1) // 2)
    assert [trial["validity"] for trial in known] == ["valid"] * whole + ["setup_error"] * 2
    assert {trial["reason"] for trial in known[whole:]} == {"the fix was not in force"}

    host.load = loads
    gc.collect()
    assert gone_on(asked, session.resume(tmp_path, PLAN, print))
    assert outcomes(kept) == {RING: ("kept", "improved")}


def test_a_peak_whose_lease_was_over_before_its_end_does_not_count(tmp_path, make):
    host = make({RING: 0.8})
    compare = msgspec.structs.replace(PLAN.compare, peak_trials=1)
    asked = tune(tmp_path, plan=msgspec.structs.replace(PLAN, compare=compare))
    kept = begun(asked, RING)
    loads = host.load

    async def load(ticks):
        found = await loads(ticks)
        if host.plan.load.generator == "wrk" and RING in host.forces():
            host.journals.clear()  # the director took it back
            host.leased.clear()
        return found

    host.load = load
    with pytest.raises(TrialError, match=r"do not count.*--resume"):
        gone_on(asked, kept)

    (run,) = tmp_path.glob("*/run.json")
    peaks = [t for t in json.loads(run.read_text())["trials"] if "peak" in t["id"]]
    reasons = {t["arm"]: t["reason"] for t in peaks}
    assert reasons == {"A": None, "B": "the fix was not in force"}


def test_an_answer_that_is_lost_hides_no_fix(tmp_path, make):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    answers = host.answers

    def lost(*words):
        answer = answers(*words)
        if words[1] == "apply":
            host.away = lasts
            raise NodeUnreachable("lb1: no answer in time")
        return answer

    host.answers, lasts = lost, False
    with pytest.raises(NodeUnreachable):
        gone_on(asked, kept)
    assert host.forces() == set()

    lasts = True
    with pytest.raises(TrialError, match=r"nic/ring-.*lb1.*`dirtune fix verify`"):
        gone_on(asked, begun(asked, RING))


def test_where_the_director_cannot_say_what_is_in_force_no_other_fix_is_tried(tmp_path, make):
    host = make({RING: 0.8, SMBUS: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING, SMBUS)
    answers, loads = host.answers, host.load

    async def load(ticks):
        raise Cut

    def broken(*words):
        if words[1] == "verify":
            raise NotPossible("lb1: dirtune: a journal cannot be read")
        return answers(*words)

    host.load = load
    cut_off(asked, kept)  # what a run begins itself needs no such question
    host.load, host.answers = loads, broken
    with pytest.raises(TrialError, match=r"lb1.*`dirtune fix verify`"):
        gone_on(asked, session.resume(tmp_path, PLAN, print))
    assert outcomes(kept) == {SMBUS: (None, None), RING: (None, None)}


def test_a_fix_left_by_a_dead_controller_is_found_and_somebody_elses_is_left(tmp_path, make):
    host = make({RING: 1.2, SMBUS: 0.8})
    host.journals["j0"] = (SMBUS,)  # of an operator, before, as is the next
    host.journals["j1"] = (RING,)
    host.partly = {RING}
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    loads = host.load

    async def load(ticks):
        raise Cut

    host.load = load
    cut_off(asked, kept)
    host.journals["dead"] = (RING,)  # applied, and nobody wrote down that it was
    host.trials["dead"] = next(tmp_path.glob("*/run.json")).parent.name
    host.load = loads

    gone_on(asked, session.resume(tmp_path, PLAN, print))

    # The operator's part had all of the effect.
    assert outcomes(kept) == {RING: ("taken back", "equivalent")}
    assert "rollback dead" in host.asked
    assert host.journals == {"j0": (SMBUS,), "j1": (RING,)}


def test_what_a_person_fixes_during_the_run_is_left_alone_and_not_counted(tmp_path, make):
    host = make({RING: 1.2, SMBUS: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING, SMBUS)
    loads = host.load

    async def load(ticks):
        if kept.session.attempts[0].outcome and RING not in host.forces():
            host.journals["by-hand"] = (RING,)
        return await loads(ticks)

    host.load = load
    assert gone_on(asked, kept)

    (smbus, ring) = kept.session.attempts
    assert (smbus.outcome, smbus.name) == ("kept", SMBUS)
    assert (ring.outcome, ring.journal) == ("failed", None)
    assert "somebody else has fixed the finding" in ring.why
    assert "rollback by-hand" not in host.asked
    assert "by-hand" in host.journals


def test_a_run_that_is_cut_off_leaves_a_persons_part_of_the_fix(tmp_path, make):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)
    loads = host.load

    async def load(ticks):
        if set(host.journals) == {"by-hand"}:
            raise Cut
        if not host.forces():
            host.journals["by-hand"], host.partly = (RING,), {RING}
        return await loads(ticks)

    host.load = load
    cut_off(asked, kept)

    assert host.journals == {"by-hand": (RING,)}


def test_what_a_person_fixed_before_its_turn_is_no_fix_of_the_session(tmp_path, make):
    host = make({RING: 0.8, SMBUS: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING, SMBUS)
    host.journals["by-hand"] = (RING,)

    assert gone_on(asked, kept)

    ring = next(each for each in kept.session.attempts if each.name == RING)
    assert (ring.outcome, ring.journal) == ("gone", None)
    assert "by-hand" in host.journals


def test_a_session_whose_plan_lacks_a_newer_key_is_gone_on_with(tmp_path, make):
    make({RING: 0.8})
    kept = begun(tune(tmp_path))
    load = {key: value for key, value in kept.session.plan["load"].items() if key != "at_most"}
    assert load != kept.session.plan["load"]
    kept.save(msgspec.structs.replace(kept.session, plan=kept.session.plan | {"load": load}))

    again = session.resume(tmp_path, PLAN, print)

    assert again.folder == kept.folder


def test_another_plan_is_not_gone_on_with(tmp_path, make):
    make({RING: 0.8})
    begun(tune(tmp_path))

    other = msgspec.structs.replace(PLAN, title="Another")
    with pytest.raises(PlanError, match="another plan"):
        session.resume(tmp_path, other, print)


def test_a_clock_that_was_set_back_does_not_change_which_session_is_the_last(
    tmp_path, make, monkeypatch
):
    make({RING: 0.8})
    ahead = begun(tune(tmp_path))
    monkeypatch.setattr(session.store, "new_id", lambda out, now, ending="": f"19700101-0{ending}")
    behind = begun(tune(tmp_path))

    assert session.resume(tmp_path, PLAN, print).folder == behind.folder
    assert behind.folder.name < ahead.folder.name


@pytest.mark.parametrize("ending", ["", "-tune"])
def test_what_begins_in_one_second_has_a_folder_each(tmp_path, ending):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for name in (f"20260102-030405{ending}", f"20260102-030405-3{ending}"):
        (tmp_path / name).mkdir()

    assert session.store.new_id(tmp_path, now, ending) == f"20260102-030405-2{ending}"


def test_a_session_that_cannot_be_read_is_named_and_hinders_no_other(tmp_path, make):
    make({RING: 0.8})
    kept = begun(tune(tmp_path))
    broken = tmp_path / "99991231-000000-tune/tune.json"
    broken.parent.mkdir()
    broken.write_text("{")
    said = []

    assert session.resume(tmp_path, PLAN, said.append).folder == kept.folder
    (line,) = said
    assert line.startswith(f"{broken}: ")
    assert f"move {broken.parent} away" in line

    asked = tune(tmp_path)
    begun(asked)
    kept.save(msgspec.structs.replace(kept.session, finished="now"))
    assert session.resume(tmp_path, PLAN, said.append).folder != kept.folder


def test_boots_are_replicates_and_what_helps_is_in_force_at_the_end(tmp_path, make):
    host = make({PIC: 0.8})
    asked = tune(tmp_path, host)
    kept = begun(asked, PIC)

    assert gone_on(asked, kept)

    assert outcomes(kept) == {PIC: ("kept", "improved")}
    assert (host.boot, host.forces()) == (11, {PIC})
    found = kept.session.attempts[0].comparison
    assert (len(found.before), len(found.after), found.test) == (5, 5, "mann-whitney")


def test_what_did_not_help_is_gone_after_one_more_boot(tmp_path, make):
    host = make({PIC: 1.2})
    asked = tune(tmp_path, host)
    kept = begun(asked, PIC)

    gone_on(asked, kept)

    assert outcomes(kept) == {PIC: ("taken back", "regressed")}
    assert (host.boot, host.forces()) == (12, set())


def test_where_a_person_boots_the_session_waits_on_disk(tmp_path, make):
    host = make({PIC: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, PIC)

    for boot in range(10):
        assert not gone_on(asked, kept), boot
        # Not booted yet: it goes on waiting, and changes nothing.
        before = dict(host.journals)
        kept = session.resume(tmp_path, PLAN, print)
        assert not gone_on(asked, kept)
        assert host.journals == before
        host.reboot()
        kept = session.resume(tmp_path, PLAN, print)
    assert gone_on(asked, kept)

    assert outcomes(kept) == {PIC: ("kept", "improved")}


def test_what_a_person_has_to_boot_away_is_gone_before_the_next_fix(tmp_path, make):
    host = make({PIC: 1.2, RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, PIC, RING)
    for _ in range(10):
        assert not gone_on(asked, kept)
        host.reboot()
        kept = session.resume(tmp_path, PLAN, print)

    for _ in range(2):  # taken back, and in force until somebody has booted
        assert not gone_on(asked, kept)
        assert (host.journals, host.forces()) == ({}, {PIC})
        assert outcomes(kept) == {PIC: (None, None), RING: (None, None)}
        kept = session.resume(tmp_path, PLAN, print)
    host.reboot()
    assert gone_on(asked, kept)

    assert outcomes(kept) == {PIC: ("taken back", "regressed"), RING: ("kept", "improved")}
    assert (host.boot, host.forces()) == (12, {RING})


@pytest.mark.parametrize("error", [NotPossible, Cut])
def test_boots_that_are_cut_off_go_on_and_say_how_to_get_out(tmp_path, make, error):
    host = make({PIC: 0.8})
    said, asked = [], tune(tmp_path, host)
    kept = begun(asked, PIC)

    def boot():
        if host.standing():
            raise error("lb1 does not come back")
        host.reboot()

    cut_off(dataclasses.replace(asked, say=said.append, boot=boot), kept, error)

    (journal,) = host.journals
    assert f"lb1 has the fix for {PIC}." in said[-1]
    assert f"`dirtune rollback {journal}`" in said[-1]
    assert outcomes(kept) == {PIC: (None, None)}
    assert gone_on(asked, session.resume(tmp_path, PLAN, print))
    assert outcomes(kept) == {PIC: ("kept", "improved")}
    assert host.boot == 11, "no boot is made twice"


def test_ctrl_c_in_a_switch_for_a_boot_waits_until_the_arm_is_whole(tmp_path, make):
    host = make({PIC: 0.8})
    asked, said = tune(tmp_path, host), []
    kept = begun(asked, PIC)
    obeys = host.obey

    async def interrupted():
        session_ = asyncio.create_task(
            session.go_on(dataclasses.replace(asked, say=said.append), kept)
        )

        async def obey(*words):
            if "apply" in words:
                session_.cancel()
                for _ in range(100):
                    await asyncio.sleep(0)
            return await obeys(*words)

        host.obey = obey
        await session_

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())

    (journal,) = host.journals
    assert f"dirtune rollback {journal}" in said[-1]


TRAFFIC = Traffic(services=PLAN.services, director=PLAN.director, title="live")


@pytest.fixture
def traffic(make):
    """A director that serves connections nobody here makes."""
    host = make({RING: 0.8})
    host.rate = 100.0

    async def sample():
        host.cost_now_us = 2000.0 * (0.8 if RING in host.forces() else 1.0)
        return host.counters()

    host.sample = sample
    return host


def test_live_traffic_is_compared_in_windows_that_take_turns(tmp_path, traffic):
    asked = tune(tmp_path, plan=live.plan(TRAFFIC, 30, 8))
    kept = begun(asked, RING, live=True)

    gone_on(asked, kept)

    assert outcomes(kept) == {RING: ("kept", "improved")}
    assert kept.session.notes == live.NOTES
    assert not [what for what in traffic.log if what in {"load", "preflight"}]
    (run,) = tmp_path.glob("*/run.json")
    arms = "".join(trial["arm"] for trial in json.loads(run.read_text())["trials"])
    assert arms == "ABBA" * 4


TWO_LOOKS = msgspec.structs.replace(
    PLAN, load=msgspec.structs.replace(PLAN.load, pairs=8, at_most=16)
)


@pytest.mark.parametrize(
    ("effect", "noise", "results"),
    [
        (0.8, 0.005, ["decided"]),
        (0.96, 0.05, ["go on", "decided"]),
        (1.0, 0.05, ["go on", "undecided"]),
    ],
)
def test_a_fix_is_judged_at_the_planned_looks(tmp_path, make, effect, noise, results):
    host = make({RING: effect})
    host.noise = noise
    asked = tune(tmp_path, plan=TWO_LOOKS)
    kept = begun(asked, RING)
    gone_on(asked, kept)

    (path,) = tmp_path.glob("*/run.json")
    run = json.loads(path.read_text())
    assert [look["result"] for look in run["looks"]["taken"]] == results
    assert sum(trial["kind"] == "judged" for trial in run["trials"]) == 16 * len(results)
    rule = (
        "Two looks at the results were planned before the first trial: after 8 pairs, and after 16"
    )
    stop = f"Stopped after {8 * len(results)} pairs: "
    (attempt,) = kept.session.attempts
    for text in (run["verdict"], run["comparisons"][0]["design"], attempt.sentence):
        assert text.count(rule) == text.count(stop) == 1


def test_live_windows_stop_at_a_look_too(tmp_path, traffic):
    asked = tune(tmp_path, plan=live.plan(TRAFFIC, 30, 8, 16))
    kept = begun(asked, RING, live=True)
    gone_on(asked, kept)

    (path,) = tmp_path.glob("*/run.json")
    run = json.loads(path.read_text())
    assert (len(run["trials"]), run["looks"]["taken"][0]["result"]) == (16, "decided")


def test_boots_have_no_looks(tmp_path, make):
    host = make({PIC: 0.8})
    asked = tune(tmp_path, host, plan=TWO_LOOKS)
    kept = begun(asked, PIC)
    gone_on(asked, kept)

    (path,) = tmp_path.glob("*/run.json")
    run = json.loads(path.read_text())
    assert run["looks"] is None
    assert "looks" not in run["verdict"]


def test_windows_of_unlike_traffic_do_not_count(tmp_path, traffic):
    plain = traffic.sleep_until

    async def sleep_until(moment_s):
        await plain(moment_s)
        traffic.rate = 100.0 if traffic.clock_s % 200 < 100 else 170.0

    traffic.sleep_until = sleep_until
    asked = tune(tmp_path, plan=live.plan(TRAFFIC, 30, 6))
    kept = begun(asked, RING, live=True)
    gone_on(asked, kept)

    (run,) = tmp_path.glob("*/run.json")
    reasons = {trial["reason"] for trial in json.loads(run.read_text())["trials"]}
    assert any(reason and "connections/s" in reason for reason in reasons)


def test_too_few_connections_are_no_window(tmp_path, traffic):
    asked = tune(tmp_path, plan=live.plan(TRAFFIC, 30, 6))
    kept = begun(asked, RING, live=True)
    traffic.rate = 1.0

    gone_on(asked, kept)

    assert outcomes(kept) == {RING: ("taken back", "inconclusive")}
    (run,) = tmp_path.glob("*/run.json")
    reasons = {trial["reason"] for trial in json.loads(run.read_text())["trials"]}
    (reason,) = reasons
    assert {"30", "200"} <= set(re.findall(r"\d+", reason))
    assert traffic.forces() == set()


@pytest.mark.parametrize(("rate", "count"), [(0.0, "0"), (6.0, "180")])
def test_live_traffic_that_is_too_little_is_refused_before_anything_is_switched(
    tmp_path, traffic, rate, count
):
    """A window of 30 s needs 200 connections, 6.7 a second."""
    traffic.rate = rate
    began_s = traffic.clock_s

    with pytest.raises(TrialError) as refused:
        begun(tune(tmp_path, plan=live.plan(TRAFFIC, 30, 8)), RING, live=True)

    told = str(refused.value)
    assert f"lb1: IPVS counted only {count} connections in 30 s" in told
    assert "Use a longer window, or leave out --live" in told
    assert "\n" not in told
    assert traffic.clock_s == began_s + 30
    assert not [words for words in traffic.asked if words.startswith("fix apply")]
    assert list(tmp_path.iterdir()) == []


def test_a_session_on_live_traffic_begins_once_a_window_would_be_full(tmp_path, traffic):
    began_s = traffic.clock_s

    begun(tune(tmp_path, plan=live.plan(TRAFFIC, 30, 8)), RING, live=True)

    assert traffic.clock_s == began_s + 2, "100/s make the 200 connections in 2 s"


@pytest.mark.parametrize("of_live", [False, True])
@pytest.mark.parametrize(("count", "refused"), [(1, True), (5, True), (6, False)])
def test_too_few_pairs_for_a_verdict_are_refused_before_anything_is_switched(
    tmp_path, traffic, count, refused, of_live
):
    load = msgspec.structs.replace(PLAN.load, pairs=count)
    own = msgspec.structs.replace(PLAN, load=load)
    asked = tune(tmp_path, plan=live.plan(TRAFFIC, 30, count) if of_live else own)

    if refused:
        with pytest.raises(PlanError, match=r"needs 6 valid pairs .* Use --pairs 6 or more"):
            begun(asked, RING, live=of_live)
        assert list(tmp_path.iterdir()) == []
    else:
        begun(asked, RING, live=of_live)
    assert not [words for words in traffic.asked if words.startswith("fix apply")]


def test_boots_are_no_pairs_and_need_none(tmp_path, make):
    make({PIC: 0.5})
    load = msgspec.structs.replace(PLAN.load, pairs=1)

    kept = begun(tune(tmp_path, plan=msgspec.structs.replace(PLAN, load=load)), PIC)

    assert outcomes(kept) == {PIC: (None, None)}


def test_a_run_without_a_measurement_is_over_and_does_not_stop_the_session(tmp_path, traffic):
    async def sample():
        raise NodeUnreachable("lb1: the connection was lost")

    asked = tune(tmp_path, plan=live.plan(TRAFFIC, 30, 6))
    kept = begun(asked, RING, live=True)
    traffic.sample = sample

    assert gone_on(asked, kept)

    assert outcomes(kept) == {RING: ("failed", None)}
    assert "No trial measured cpu_us_per_connection" in kept.session.attempts[0].why
    assert traffic.forces() == set()


def test_a_fix_that_was_kept_before_the_signal_came_is_said_to_be(tmp_path, make, monkeypatch):
    host = make({RING: 0.8})
    asked = tune(tmp_path)
    kept = begun(asked, RING)

    @contextlib.asynccontextmanager
    async def opened(plan, *, alone=False):
        host.plan = plan
        yield host
        raise Cut  # while the connections are closed

    monkeypatch.setattr("dirtune.bench.rig.opened", opened)
    cut_off(asked, kept)

    (journal,) = host.journals
    assert f"{RING} is kept on lb1, journal {journal}" in tuning._left_as(kept, "lb1")


@pytest.mark.parametrize(
    "journal", ["x;id>OWNED", "$(id>OWNED)", "`id>OWNED`", "a b", "'", "j\n1"]
)
def test_a_step_can_be_pasted_whatever_a_far_journal_is_called(tmp_path, monkeypatch, journal):
    """ssh(1) hands its words to a shell there, which reads them once more."""
    log, steps = stub(tmp_path, "dirtune"), []
    (tmp_path / "ssh").write_text('#!/bin/sh\nshift; exec sh -c "$*"\n')
    (tmp_path / "ssh").chmod(0o755)

    async def ask(words, kind):
        answer = settled(journal) if words[0] == "rollback" else APPLIED | {"journal": journal}
        return msgspec.convert(answer, kind)

    monkeypatch.setattr(director, "step", lambda _, command, __: steps.append(command))
    trying = SimpleNamespace(plan=PLAN, checks=(SMBUS,))
    run = SimpleNamespace(id="20260102-030405", trials=())
    far = SimpleNamespace(ask=ask)
    switch = director.Switch(trying, SimpleNamespace(run=run), lambda _: None, far)

    asyncio.run(switch("B"))
    asyncio.run(switch("A"))

    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", steps[1]], cwd=tmp_path, env=env, check=True)
    assert calls(log) == [(b"rollback", journal.encode())]
    assert not (tmp_path / CANARY).exists()
