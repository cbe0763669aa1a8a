"""Addresses, links and the default route through the journal, on an ip(8) that is simulated.

Its rows are those that iproute2 6.1 printed for the same commands.
"""

import pytest

from dirtune.change import ip
from dirtune.change.action import Saved
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.set_default_route import SetDefaultRoute
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.errors import ApplyError, NotPossible
from tests.change.machine import Machine

DHCP = "via 10.0.0.1 dev d0 proto dhcp src 10.0.0.2 metric 100"
NEW = SetDefaultRoute((DHCP,), "via 10.0.0.9")


class Linux(Machine):
    """Has two interfaces: lo with its own address, and d0, which is down."""

    def __init__(self, root, *routes):
        super().__init__(root)
        self.routes, self.on, self.up = list(routes), {"lo": ["127.0.0.1/8"], "d0": []}, {"lo"}
        for name in self.on:
            (root / f"sys/class/net/{name}").mkdir(parents=True)

    def run(self, argv, *, timeout_s=300):
        words = [word for word in argv[1:] if word not in {"-o", "-4"}]
        match words:
            case ["addr", "show", "dev", name]:
                rows = (
                    f"1: {name}    inet {a} scope global {name}\\\\ valid" for a in self.on[name]
                )
                return "\n".join(rows)
            case ["addr", "add", address, "dev", name]:
                self.on[name].append(address)
            case ["addr", "del", address, "dev", name]:
                self.on[name].remove(address)
            case ["link", "show", "dev", name]:
                return f"2: {name}: <BROADCAST{',UP' * (name in self.up)},LOWER_UP> mtu 1500"
            case ["link", "set", "dev", name, state]:
                (self.up.add if state == "up" else self.up.remove)(name)
            case ["route", "show", *_]:
                return "".join(f"default {row} \n" for row in self.routes)
            case ["route", "replace", "default", *row]:
                self.put(" ".join(row))
            case ["route", "del", "default", *row]:
                gone = [each for each in self.routes if each.startswith(" ".join(row))]
                if not gone:
                    raise NotPossible("ip: RTNETLINK answers: No such process")
                self.routes.remove(gone[0])
        return ""

    def put(self, row):
        row = row if "dev" in row else f"{row} dev d0"
        mine = "metric" in row
        self.routes = [each for each in self.routes if ("metric" in each) != mine]
        self.routes.insert(len(self.routes) if mine else 0, row)


@pytest.mark.parametrize(
    "action", [AddAddress("lo", "198.18.0.100/32"), SwitchOn("d0"), NEW], ids=lambda a: a.what
)
def test_made_read_back_held_and_undone(tmp_path, action):
    host = Linux(tmp_path, DHCP)
    before = (host.routes, host.on, host.up) = [DHCP], {"lo": ["127.0.0.1/8"], "d0": []}, {"lo"}

    saved = action.save(host)
    assert not action.holds(host)
    action.make(host)
    action.require_made(saved, host)
    assert action.holds(host)
    action.undo(saved, host)
    action.undo(saved, host)

    assert (host.routes, host.on, host.up) == before
    assert not action.holds(host)


def test_a_route_of_the_same_metric_is_replaced_and_put_back(tmp_path):
    host = Linux(tmp_path, "via 10.0.0.7 dev d0", DHCP)
    action = SetDefaultRoute(ip.default_routes(host), "via 10.0.0.9")

    action.make(host)
    assert ip.default_routes(host) == ("via 10.0.0.9 dev d0", DHCP)
    action.undo(Saved(), host)

    assert ip.default_routes(host) == ("via 10.0.0.7 dev d0", DHCP)


@pytest.mark.parametrize("state", ["linkdown", "dead", "rt_offload", "offload rt_offload", "trap"])
def test_words_that_tell_how_a_route_is_are_not_given_back(tmp_path, state):
    host = Linux(
        tmp_path, f"via 10.0.0.7 dev d0 metric 3 {state}", f"via 10.0.0.8 dev trap {state}"
    )

    assert ip.default_routes(host) == ("via 10.0.0.7 dev d0 metric 3", "via 10.0.0.8 dev trap")


@pytest.mark.parametrize("after", ["via 10.0.0.9", "via 10.0.0.9 dev d0 metric 7"])
def test_a_route_is_restored_whose_interface_was_renamed(tmp_path, after):
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("first\n")
    old = "via 10.0.0.1 dev d0 onlink", "via 10.0.0.8 dev d1 metric 200"
    host = Linux(tmp_path, *old)
    (tmp_path / "sys/class/net/d0/ifindex").write_text("2\n")
    action = SetDefaultRoute(old, after)
    saved = action.save(host)
    host.routes = [f"{after} dev d0" if "dev" not in after else old[0], old[1]]
    if "metric" in after:
        host.routes.append(after)
    host.routes = [row.replace("dev d0", "dev lan") for row in host.routes]
    (tmp_path / "sys/class/net/d0").rename(tmp_path / "sys/class/net/lan")
    host.put = lambda row: host.routes.__setitem__(0, row)

    action.undo(saved, host)
    action.undo(saved, host)

    assert host.routes == [old[0].replace("d0", "lan"), old[1]]


def test_rows_that_are_no_plain_default_route_are_told_whole(tmp_path, monkeypatch):
    text = (
        "default via 10.0.0.7 dev d0 \n"
        "default proto static metric 20 \n"
        "\tnexthop via 10.0.0.1 dev d0 weight 1 \n"
        "\tnexthop via 10.0.1.1 dev d1 weight 1 dead linkdown \n"
        "unreachable default metric 100 \n"
    )
    host = Linux(tmp_path)
    monkeypatch.setattr(host, "run", lambda argv, **_: text)

    assert ip.default_routes(host) == (
        "via 10.0.0.7 dev d0",
        "proto static metric 20",
        "nexthop via 10.0.0.1 dev d0 weight 1",
        "nexthop via 10.0.1.1 dev d1 weight 1",
        "unreachable default metric 100",
    )


@pytest.mark.parametrize("name", ["a\x1cdev", "a\x85b", "a\u2028dev", "dead", "linkdown", "dev"])
def test_a_route_is_put_back_whatever_its_interface_is_called(tmp_path, name):
    row = f"via 10.0.0.7 dev {name}"
    host = Linux(tmp_path, row, f"{DHCP} dead linkdown")

    assert ip.default_routes(host) == (row, DHCP)

    action = SetDefaultRoute((row, DHCP), "via 10.0.0.9")
    action.make(host)
    action.undo(Saved(), host)
    assert host.routes[0] == row


def test_what_is_so_already_or_is_otherwise_now_is_not_touched(tmp_path):
    host = Linux(tmp_path, "via 10.0.0.7 dev d0")

    with pytest.raises(ApplyError, match=r"127.0.0.1/8 on lo: this was set"):
        AddAddress("lo", "127.0.0.1/8").save(host)
    with pytest.raises(ApplyError, match=r"default route is via 10\.0\.0\.7 dev d0, expected"):
        NEW.save(host)


def test_an_interface_that_went_leaves_nothing_to_undo(tmp_path):
    host = Linux(tmp_path)
    AddAddress("tunl0", "198.18.0.100/32").undo(Saved(), host)

    with pytest.raises(ApplyError, match="No such process"):
        ip.change(host, "route", "del", "default", "via", "10.0.0.1")
