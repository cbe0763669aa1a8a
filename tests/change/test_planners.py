"""What each kind of fix plans: tables of what is, what is asked, and what is to be done."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from dirtune import checks
from dirtune.change import fixes
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.unbind import Unbind
from dirtune.change.fixes import Question, Request, Surroundings
from dirtune.change.guards import guarded, own_interfaces, vrrp
from dirtune.change.plan import Change, Plan
from dirtune.checks import Risk
from dirtune.collect.cpus import Cpus
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.ip_vs import Service
from dirtune.collect.net import Interface
from dirtune.collect.pci import PciDevice
from dirtune.collect.proc_irq import IrqState
from dirtune.collect.processes import Process
from dirtune.collect.routes import Route
from dirtune.settings import (
    BootOption,
    CardValues,
    IrqbalanceVariable,
    IrqCpus,
    KernelFile,
    ModuleOptions,
)
from dirtune.snapshot import Snapshot

BACKLOG = "/proc/sys/net/core/netdev_max_backlog"
RPS = "/sys/class/net/eth0/queues/rx-0/rps_cpus"
XPS = "/sys/class/net/eth0/queues/tx-0/xps_cpus"
CPUS = Cpus((0, 1, 2, 3), isolated=(3,))
CARD = Card(
    rings={"rx": 256, "tx": 0, "rx_max": 4096},
    channels={"combined_count": 1, "max_combined": 8},
    features={"rx-gro": Feature(on=True), "rx-lro": Feature(on=True, fixed=True)},
)

OUT = frozenset({"unusable-cpu"})


def planned(*settings, risk=Risk.SAFE, texts=None, force=(), commands=(), paths=(), **facts):
    fix = checks.Fix("f", "t", risk, (), ("tuned",), settings)
    around = Surroundings(texts or {}, frozenset(paths), frozenset(commands))
    question = Question(Snapshot(**facts), around, (Request("nic/x", "eth0", fix),), force)
    plan = fixes.plan(question, ())
    return [change.action for change in plan.changes], [refusal.why for refusal in plan.refusals]


@pytest.mark.parametrize(
    ("path", "now", "wanted", "after"),
    [
        (BACKLOG, "1000\n", "4000", "4000"),
        (BACKLOG, "0\n", "4000", "4000"),
        (BACKLOG, "1000\n", "0", "0"),
        (BACKLOG, "4000\n", "4000", None),
        (BACKLOG, "0\n", "0", None),
        ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n", "1024 65000", "1024\t65000"),
        ("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65000\n", "1024 65000", None),
        # Documentation/core-api/irq/irq-affinity.rst: 0f is CPUs 0 to 3.
        (RPS, "00\n", "7", "07"),
        (RPS, "0\n", "7", "7"),
        (RPS, "00000000,00000000\n", "7", "00000000,00000007"),
        (RPS, "07\n", "0", "00"),
        (RPS, "00000000,00000007\n", "7", None),
        (XPS, "0\n", "f", "f"),
    ],
)
def test_a_kernel_file_is_set_as_the_kernel_prints_it(path, now, wanted, after):
    actions, refused = planned(KernelFile(path, wanted), texts={path: now}, cpus=CPUS)

    assert refused == []
    assert actions == ([] if after is None else [SetValue(path, now.strip(), after)])


def test_a_setting_that_is_not_there_is_not_guessed():
    for force in ((), OUT):
        actions, (why,) = planned(KernelFile(BACKLOG, "4000"), force=force)
        assert actions == []
        assert "cannot be read on this host" in why


def test_two_findings_do_not_set_one_file_to_two_values():
    settings = (KernelFile(BACKLOG, "4000"), KernelFile(BACKLOG, "8000"))

    actions, (why,) = planned(*settings, texts={BACKLOG: "1000\n"})

    assert actions == [SetValue(BACKLOG, "1000", "4000")]
    assert "is set to 4000 for another finding, not to 8000" in why


@pytest.mark.parametrize(("mask", "cpu"), [("8", "3"), ("11", "4"), ("18", "3-4")])
def test_packets_are_not_steered_to_isolated_or_absent_cpus(mask, cpu):
    actions, (why,) = planned(KernelFile(RPS, mask), texts={RPS: "00\n"}, cpus=CPUS)

    assert actions == []
    assert f"CPU {cpu}, which is offline or isolated" in why
    assert planned(KernelFile(RPS, mask), texts={RPS: "00\n"}, cpus=CPUS, force=OUT)[0]


def irqs(managed=False, affinity=(0, 1, 2, 3)):
    return {"24": IrqState(affinity, (0,), 0, managed)}


@pytest.mark.parametrize(
    ("affinity", "cpus", "action"),
    [
        ((0, 1, 2, 3), (2,), SetAffinity("24", "0-3", "2", "eth0-rx-0")),
        ((0, 2), (0,), SetAffinity("24", "0,2", "0", "eth0-rx-0")),
        ((0,), (0,), None),
        ((1, 2), (1, 2), None),
    ],
)
def test_an_interrupt_is_moved_where_it_is_not_yet(affinity, cpus, action):
    setting = IrqCpus("24", cpus, "eth0-rx-0")

    assert planned(setting, cpus=CPUS, proc_irq=irqs(affinity=affinity)) == (
        [action] if action else [],
        [],
    )


def test_a_managed_interrupt_is_refused_even_by_force():
    for force in ((), OUT):
        setting = IrqCpus("24", (2,), "eth0-rx-0")
        actions, (why,) = planned(setting, cpus=CPUS, proc_irq=irqs(managed=True), force=force)
        assert actions == []
        assert "managed by the kernel" in why


@pytest.mark.parametrize("cpu", [3, 4])
def test_an_interrupt_is_not_moved_to_isolated_or_absent_cpus(cpu):
    setting = IrqCpus("24", (cpu,), "eth0-rx-0")

    actions, (why,) = planned(setting, cpus=CPUS, proc_irq=irqs())

    assert (actions, why) == ([], f"would go to CPU {cpu}, which is offline or isolated")
    assert planned(setting, cpus=CPUS, proc_irq=irqs(), force=OUT)[0]


def test_an_interrupt_that_says_nothing_is_left_alone():
    assert planned(IrqCpus("9", (0,), "x"), cpus=CPUS, proc_irq=irqs())[0] == []
    assert planned(IrqCpus("24", (0,), "x"), cpus=CPUS)[0] == []


@pytest.mark.parametrize(
    ("group", "values", "before"),
    [
        ("rings", {"rx": 1024}, {"rx": 256}),
        ("rings", {"tx": 64}, {"tx": 0}),
        ("rings", {"rx": 256}, None),
        ("rings", {"tx": 0}, None),
        ("channels", {"combined_count": 4}, {"combined_count": 1}),
        ("features", {"rx-gro": 0}, {"rx-gro": 1}),
        ("features", {"rx-gro": 1}, None),
    ],
)
def test_a_card_is_set_where_it_is_otherwise(group, values, before):
    actions, refused = planned(CardValues("eth0", group, values), ethtool={"eth0": CARD})

    assert refused == []
    assert actions == ([SetNic("eth0", group, before, values)] if before else [])


@pytest.mark.parametrize(
    ("interface", "group", "values"),
    [
        ("eth0", "features", {"rx-lro": 0}),
        ("eth0", "coalesce", {"rx_coalesce_usecs": 50}),
        ("eth1", "rings", {"rx": 512}),
    ],
)
def test_what_a_driver_does_not_let_be_set_is_refused(interface, group, values):
    actions, (why,) = planned(CardValues(interface, group, values), ethtool={"eth0": CARD})

    assert actions == []
    assert "has a driver that cannot set" in why


MODPROBE = "/etc/modprobe.d/dirtune.conf"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "options ip_vs conn_tab_bits=16\n"),
        ("options bonding x=1\n", "options bonding x=1\noptions ip_vs conn_tab_bits=16\n"),
        ("options ip_vs conn_tab_bits=8\n", "options ip_vs conn_tab_bits=16\n"),
        ("options ip_vs a=0 conn_tab_bits=8\n",
         "options ip_vs a=0\noptions ip_vs conn_tab_bits=16\n"),
        ("options ip_vs conn_tab_bits=16\n", None),
    ],
)  # fmt: skip
def test_a_modules_options_replace_their_own_and_keep_others(before, after):
    texts = {MODPROBE: before} if before else {}

    actions, _ = planned(ModuleOptions("ip_vs", {"conn_tab_bits": "16"}), texts=texts)

    assert actions == ([PutFile(MODPROBE, before, after)] if after else [])


@pytest.mark.parametrize(
    ("commands", "update"),
    [
        (("update-initramfs",), ("update-initramfs", "-u")),  # Debian, Ubuntu
        (("update-initramfs", "dracut"), ("update-initramfs", "-u")),
        (("dracut",), ("dracut", "--force", "--regenerate-all")),  # RHEL, SUSE
        (("mkinitcpio",), ("mkinitcpio", "-P")),  # Arch
        (("mkinitfs",), ("mkinitfs",)),  # Alpine
    ],
)
def test_the_initramfs_is_made_after_the_file_in_both_directions(commands, update):
    actions, _ = planned(ModuleOptions("e1000e", {"IntMode": "2"}), commands=commands)

    assert (actions[0], actions[2]) == (Run(undo_argv=update), Run(argv=update))


BALANCE = "/etc/default/irqbalance"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'IRQBALANCE_BANNED_CPULIST="2-3"\n'),
        ("A=1\n", 'A=1\nIRQBALANCE_BANNED_CPULIST="2-3"\n'),
        ("export IRQBALANCE_BANNED_CPULIST=1\n#x\n", '#x\nIRQBALANCE_BANNED_CPULIST="2-3"\n'),
        ('IRQBALANCE_BANNED_CPULIST="2-3"\n', None),
    ],
)
def test_irqbalance_is_restarted_after_its_file_in_both_directions(before, after):
    setting = IrqbalanceVariable("IRQBALANCE_BANNED_CPULIST", "2-3")

    here = {"commands": ("systemctl",), "paths": ("/run/systemd/system",)}
    actions, _ = planned(setting, texts={BALANCE: before}, **here)

    restart = ("systemctl", "try-restart", "irqbalance")
    file = PutFile(BALANCE, before, after or "")
    assert actions == ([Run(undo_argv=restart), file, Run(argv=restart)] if after else [])


def test_where_systemd_does_not_run_nothing_is_asked_of_it():
    actions, _ = planned(
        IrqbalanceVariable("A", "b"), texts={BALANCE: ""}, commands=("systemctl",)
    )

    assert actions == [Run(), PutFile(BALANCE, "", 'A="b"\n'), Run()]


def test_irqbalance_without_a_file_is_refused():
    actions, (why,) = planned(IrqbalanceVariable("A", "b"))

    assert actions == []
    assert "is missing" in why


def test_what_outlives_a_reboot_comes_last_and_says_so():
    variable = IrqbalanceVariable("A", "b")
    settings = (variable, ModuleOptions("ip_vs", {"a": "1"}), KernelFile(BACKLOG, "0"))
    fix = checks.Fix("f", "t", Risk.SAFE, (), ("tuned",), settings)
    asked = (Request("nic/x", "eth0", fix),)

    around = Surroundings({BACKLOG: "1\n", BALANCE: ""})

    plan = fixes.plan(Question(Snapshot(), around, asked), ())

    # irqbalance's file is between two restarts.
    assert [change.lasting for change in plan.changes] == [False, True, True, True, True]
    assert [change.risk for change in plan.changes] == [*[Risk.SAFE] * 4, Risk.REBOOT]
    assert {change.competes for change in plan.changes} == {("tuned",)}


def test_nothing_asked_is_nothing_to_do():
    assert planned() == ([], [])
    assert planned(BootOption("noapic"))[0] == []


# --- guards ---

ROUTES = (
    Route("bond0", IPv4Network("10.0.0.0/8"), None, 0),
    Route("eth2", IPv4Network("0.0.0.0/0"), "192.0.2.1", 0),
)
LINKS = tuple(
    Interface(n, None, None, physical=True, rx_packets=0, tx_packets=0, master=m)
    for n, m in (("eth0", "bond0"), ("eth1", "bond0"), ("eth2", None))
)
SSH = "10.9.9.9 50000 10.0.0.1 22"
NETWORK = Snapshot(routes=ROUTES, interfaces=LINKS)


@pytest.mark.parametrize(
    ("ssh", "found"),
    [
        (SSH, {"bond0", "eth0", "eth1"}),
        ("203.0.113.5 50000 192.0.2.7 22", {"eth2"}),
        ("127.0.0.1 50000 127.0.0.1 22", set()),
        (None, set()),
        ("", set()),
    ],
)
def test_the_interfaces_of_ones_own_connection(ssh, found):
    assert own_interfaces(NETWORK, ssh) == found


def ring(interface, risk=Risk.DISRUPTIVE):
    return Change(SetNic(interface, "rings", {"rx": 1}, {"rx": 2}), risk, "nic/x", "f", "t")


def kept(*changes, snapshot=NETWORK, force=()):
    plan = guarded(Plan(changes), snapshot, Surroundings(ssh=SSH), force=force)
    return list(plan.changes), [refusal.why for refusal in plan.refusals]


def test_ones_own_connection_is_not_cut_but_by_force():
    changes, (why,) = kept(ring("eth0"), ring("eth2"))

    assert changes == [ring("eth2")]
    assert why == "would cut off your own SSH connection, which eth0 carries"
    assert kept(ring("eth0"), force={"ssh"}) == ([ring("eth0")], [])
    assert kept(ring("eth0", Risk.SAFE)) == ([ring("eth0", Risk.SAFE)], [])


def test_a_device_that_carries_it_is_not_unbound():
    device = PciDevice("0000:00:10.0", 0x020000, "e1000", nets=("eth1",))
    change = Change(Unbind(device.address, "e1000"), Risk.DISRUPTIVE, "irq/x", "f", "t")

    changes, (why,) = kept(change, snapshot=replace(NETWORK, pci=(device,)))

    assert changes == []
    assert "eth1 carries" in why


def process(name, kernel=False):
    return Process(7, name, kernel, 0, 0, "other", 0)


VIP = Service("TCP", "198.18.0.100", 80, None, "rr")


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"processes": (process("keepalived"),), "services": (VIP,),
          "addresses": frozenset({"198.18.0.100"})}, "keepalived runs, and this host has"),
        ({"processes": (process("keepalived"),), "services": (VIP,),
          "addresses": frozenset({"198.18.0.1"})}, None),
        ({"processes": (process("keepalived"),)}, "its VRRP state is unknown"),
        ({"processes": (process("keepalived", kernel=True),)}, None),
        ({"processes": ()}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_vrrp_master_is_one_that_holds_the_addresses(facts, why):
    found = vrrp(Snapshot(**facts))

    assert (found is None) if why is None else (why in found)


def test_a_vrrp_master_is_not_disrupted():
    master = replace(NETWORK, processes=(process("keepalived"),))

    changes, (why,) = kept(ring("eth2"), ring("eth0", Risk.SAFE), snapshot=master)

    assert "change the backup first" in why
    assert changes == [ring("eth0", Risk.SAFE)]
