"""Changes that were rolled back are made again as their journal records them."""

import os
import subprocess
import sys

import msgspec
import pytest

from dirtune.change import again, journal
from dirtune.change.actions.set_value import SetValue
from dirtune.change.plan import Change, Plan
from dirtune.change.record import RolledBack
from dirtune.change.transaction import Place, carry_out, take_back
from dirtune.checks import Risk
from dirtune.errors import NotPossible
from dirtune.host import WritableHost


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def value(tmp_path):
    path = tmp_path / "value"
    path.write_text("old\n")
    return path


def applied(value, at):
    change = Change(SetValue(str(value), "old", "new"), Risk.SAFE, "x/y", "f", "t")
    return carry_out(Plan((change,)), WritableHost(), at)


def test_the_same_changes_are_made(value, at):
    name, host = applied(value, at), WritableHost()
    take_back(at, host, name)
    assert value.read_text().strip() == "old"

    planned = again.rolled_back(at, host, name)
    second = carry_out(Plan(planned.changes), host, at)

    assert value.read_text().strip() == "new"
    assert second != name
    take_back(at, host, second)
    assert value.read_text().strip() == "old"


def test_changes_that_may_be_in_effect_are_refused(value, at):
    name = applied(value, at)

    with pytest.raises(NotPossible, match="was not rolled back"):
        again.rolled_back(at, WritableHost(), name)


def test_changes_of_an_earlier_boot_are_refused(value, at):
    name, host = applied(value, at), WritableHost()
    entry = journal.load(journal.find(at.state, name))
    earlier = msgspec.structs.replace(entry.planned, journal="000007-x", boot="another")
    path = journal.path_of(at.state, earlier.journal)
    journal.create(path, earlier)
    journal.append(path, RolledBack("asked"))

    with pytest.raises(NotPossible, match="before the last reboot"):
        again.rolled_back(at, host, earlier.journal)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
def test_changes_of_another_network_namespace_are_refused_in_one_line(value, at):
    name = applied(value, at)
    take_back(at, WritableHost(), name)

    done = subprocess.run(
        ("unshare", "-n", sys.executable, "-m", "dirtune", "fix", "reapply", name),
        env=os.environ | {"DIRTUNE_STATE": str(at.state), "DIRTUNE_RUN": str(at.run)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "another network namespace" in done.stderr
    assert value.read_text().strip() == "old"


def test_the_command_waits_for_as_long_as_the_journal_says_or_the_user_asks(value, at):
    name = applied(value, at)
    take_back(at, WritableHost(), name)
    argv = (sys.executable, "-m", "dirtune", "fix", "reapply", name, "--format", "json")
    env = os.environ | {"DIRTUNE_STATE": str(at.state), "DIRTUNE_RUN": str(at.run)}

    done = subprocess.run(argv, env=env, capture_output=True, check=True)

    made = msgspec.json.decode(done.stdout)
    assert (made["state"], made["confirm_s"]) == ("confirmed", 0)
    assert value.read_text().strip() == "new"
