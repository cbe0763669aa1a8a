"""Undo, its order and `fix verify` find an interface, whatever it has been called since."""

import msgspec
import pytest

from dirtune.change import nic
from dirtune.change.action import Saved
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.change.in_effect import verify
from dirtune.change.interfaces import Interface
from dirtune.change.plan import Change, Plan
from dirtune.change.transaction import Place, carry_out, take_back
from dirtune.errors import NotPossible
from dirtune.settings import Risk
from tests.change.test_ip import Linux

RPS, FILTER = "queues/rx-0/rps_cpus", "rp_filter"
BOOT = "/proc/sys/kernel/random/boot_id"
BEFORE = {"rx": 256, RPS: "0", FILTER: "0", "up": False, "on": ()}
ADDRESS = "198.18.0.100/32"
ACTIONS = (
    SetNic("d0", "rings", {"rx": 256}, {"rx": 512}),
    SetValue(f"/sys/class/net/d0/{RPS}", "0", "3"),
    SetValue(f"/proc/sys/net/ipv4/conf/d0/{FILTER}", "0", "2"),
    SwitchOn("d0"),
    AddAddress("d0", ADDRESS),
)
OTHER = {"rx": 1024, RPS: "f", FILTER: "1", "up": True, "on": (ADDRESS,)}


class Renaming(Linux):
    """Interfaces have rings, files and an index, and keep them under another name."""

    def __init__(self, root):
        super().__init__(root)
        self.rings = {}
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        self.boot("first")
        self.add("d0", 2, BEFORE)

    def boot(self, name):
        (self.root / BOOT[1:]).write_text(f"{name}\n")

    def add(self, name, index, state):
        for folder, file in (("sys/class/net", RPS), ("proc/sys/net/ipv4/conf", FILTER)):
            at = self.root / folder / name / file
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(f"{state[file]}\n")
        (self.root / f"sys/class/net/{name}/ifindex").write_text(f"{index}\n")
        self.rings[name], self.on[name] = {"rx": state["rx"]}, [*state["on"]]
        if state["up"]:
            self.up.add(name)

    def rename(self, old, new):
        for folder in ("sys/class/net", "proc/sys/net/ipv4/conf"):
            (self.root / folder / old).rename(self.root / folder / new)
        self.rings[new], self.on[new] = self.rings.pop(old), self.on.pop(old)
        if old in self.up:
            self.up.remove(old)
            self.up.add(new)

    def state(self, name):
        return {
            "rx": self.rings[name]["rx"],
            RPS: self.read(f"/sys/class/net/{name}/{RPS}").strip(),
            FILTER: self.read(f"/proc/sys/net/ipv4/conf/{name}/{FILTER}").strip(),
            "up": name in self.up,
            "on": tuple(self.on[name]),
        }


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Renaming(tmp_path)
    monkeypatch.setattr(nic, "read", lambda host, interface, group: dict(host.rings[interface]))
    monkeypatch.setattr(
        nic, "write", lambda host, interface, group, values: host.rings[interface].update(values)
    )
    monkeypatch.setattr(nic, "rss_table", lambda host, interface: None)
    return host


@pytest.fixture
def made(host):
    """Make every change, and return them as a journal would hold them."""
    done = []
    for action in ACTIONS:
        saved = action.save(host)
        action.make(host)
        action.require_made(saved, host)
        done.append((action, msgspec.json.decode(msgspec.json.encode(saved), type=Saved)))
    changed = {"rx": 512, RPS: "3", FILTER: "2", "up": True, "on": (ADDRESS,)}
    assert host.state("d0") == changed
    return done


def undo(host, made):
    for action, saved in reversed(made):
        action.undo(saved, host)
        action.undo(saved, host)


@pytest.mark.parametrize("name", ["d0", "lan", "a*[x]"])
def test_a_renamed_interface_is_as_it_was(host, made, name):
    host.rename("d0", name)

    undo(host, made)

    assert host.state(name) == BEFORE


def test_another_that_has_the_name_now_is_left_alone(host, made):
    host.rename("d0", "lan")
    host.add("d0", 3, OTHER)

    undo(host, made)

    assert (host.state("lan"), host.state("d0")) == (BEFORE, OTHER)


def test_one_that_came_back_with_another_index_is_known_by_its_name(host, made):
    (host.root / "sys/class/net/d0/ifindex").write_text("7\n")

    undo(host, made)

    assert host.state("d0") == BEFORE


def test_an_index_means_nothing_after_a_boot(host, made):
    host.boot("second")
    (host.root / "sys/class/net/d0/ifindex").write_text("3\n")
    host.add("d1", 2, OTHER)

    undo(host, made)

    assert (host.state("d0"), host.state("d1")) == (BEFORE, OTHER)


def test_one_that_is_gone_leaves_nothing_to_undo(host, made):
    host.rename("d0", "lan")
    (host.root / "sys/class/net/lan/ifindex").write_text("7\n")
    before = host.state("lan")

    undo(host, made)

    assert host.state("lan") == before


def test_what_is_of_no_interface_has_none(host):
    (host.root / "proc/sys/net/ipv4/conf/all").mkdir()
    (host.root / "proc/sys/net/ipv4/conf/all/arp_ignore").write_text("0\n")

    saved = SetValue("/proc/sys/net/ipv4/conf/all/arp_ignore", "0", "1").save(host)

    assert saved == Saved(text="0\n")
    assert ACTIONS[0].save(host).interfaces == {"d0": Interface(2, "first")}


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "state", tmp_path / "run")


def plan(*actions):
    return Plan(tuple(Change(action, Risk.SAFE, "net/x", "set", "set it") for action in actions))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ACTIONS[0], SetNic("lan", "rings", {"rx": 512}, {"rx": 1024})),
        (ACTIONS[1], SetValue(f"/sys/class/net/lan/{RPS}", "3", "f")),
        (ACTIONS[2], SetValue(f"/proc/sys/net/ipv4/conf/lan/{FILTER}", "2", "1")),
    ],
    ids=["rings", "rps", "rp_filter"],
)
def test_a_later_change_under_another_name_is_undone_first(host, at, first, second):
    earlier = carry_out(plan(first), host, at)
    host.rename("d0", "lan")
    later = carry_out(plan(second), host, at)

    assert [(held.journal, held.holds) for held in verify(at, host)] == [(later, True)]
    with pytest.raises(NotPossible, match=f"^{earlier} cannot be rolled back yet, .* {later} "):
        take_back(at, host, earlier)

    take_back(at, host, later)
    take_back(at, host, earlier)
    assert host.state("lan") == BEFORE


def test_a_later_change_of_another_that_has_the_name_now_does_not_hold_up(host, at):
    earlier = carry_out(plan(ACTIONS[1]), host, at)
    host.rename("d0", "lan")
    host.add("d0", 3, OTHER)
    carry_out(plan(SetValue(f"/sys/class/net/d0/{RPS}", "f", "1")), host, at)

    take_back(at, host, earlier)

    assert host.state("lan") == BEFORE
    assert host.state("d0")[RPS] == "1"


def test_what_holds_is_read_under_the_present_name(host, at):
    carry_out(plan(*ACTIONS), host, at)
    host.rename("d0", "lan")
    host.add("d0", 3, BEFORE)
    assert [held.holds for held in verify(at, host)] == [True] * len(ACTIONS)

    host.write(f"/sys/class/net/lan/{RPS}", "0")
    host.rings["lan"]["rx"] = 256

    assert [held.holds for held in verify(at, host)] == [False, False, True, True, True]
