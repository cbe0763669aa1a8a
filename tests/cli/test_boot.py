"""Cells that need the director booted, with the lab's commands recorded instead of carried out."""

from types import SimpleNamespace

import pytest

from dirtune import plan as plans
from dirtune.bench import matrix
from dirtune.errors import LabError
from dirtune.jobs import booting
from dirtune.lab import lifecycle
from dirtune.lab.spec import Scenario, Spec
from tests.plans import plan_text

SPEC = Spec(Scenario("separate", "", "", ""), cpus=1)


def planned(*cpus, more="[matrix]\ncpus = [1, 2]\n"):
    return plan_text(more, director={"host": "lb1", "host_cpus": cpus})


class Lab:
    """What was asked of the lab; the plan it writes names the CPUs its director is pinned to."""

    def __init__(self, monkeypatch, tmp_path):
        self.asked, self.fails = [], None
        self.plan = tmp_path / "plan.toml"
        self.plan.write_text(planned(1))
        lab = SimpleNamespace(spec=lambda: SPEC, plan=self.plan)
        monkeypatch.setattr(lifecycle, "running", lambda: lab)
        monkeypatch.setattr(lifecycle, "reboot", lambda say: self.asked.append("reboot"))
        monkeypatch.setattr(lifecycle, "down", lambda: self.asked.append("down"))
        monkeypatch.setattr(lifecycle, "up", self.up)

    def up(self, spec, say):
        self.asked.append(f"up {spec.cpus}")
        if spec.cpus == self.fails:
            raise LabError("not ready")
        self.plan.write_text(planned(*range(1, spec.cpus + 1)))


@pytest.fixture
def lab(monkeypatch, tmp_path):
    return Lab(monkeypatch, tmp_path)


def cells(lab):
    one, two = matrix.cells(plans.read(lab.plan), boots=True)
    return one, two


def test_each_visit_is_a_boot_and_the_lab_is_left_as_it_was(lab):
    one, two = cells(lab)
    with booting.booting((one, two)) as boot:
        assert boot(one).director.host_cpus == (1,)
        assert boot(two).director.host_cpus == (1, 2)
        boot(two)

    assert lab.asked == ["reboot", "down", "up 2", "reboot", "down", "up 1"]


def test_a_lab_that_did_not_come_up_is_made_anew(lab):
    one, two = cells(lab)
    lab.fails = 2
    with booting.booting((one, two)) as boot:
        with pytest.raises(LabError):
            boot(two)
        boot(one)

    assert lab.asked == ["down", "up 2", "down", "up 1"]


def test_one_that_failed_last_is_brought_back(lab):
    one, two = cells(lab)
    lab.fails = 2
    with booting.booting((one, two)) as boot, pytest.raises(LabError):
        boot(two)

    assert lab.asked == ["down", "up 2", "down", "up 1"]


def test_nothing_is_booted_where_no_cell_asks_for_it(lab):
    (cell,) = matrix.cells(plans.parse(planned(1, more="")))
    with booting.booting((cell,)) as boot:
        assert boot(cell) is cell.plan

    assert lab.asked == []
