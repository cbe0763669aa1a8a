import dataclasses

import pytest

from dirtune.checks.difference import compare
from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.kernel import Kernel
from dirtune.collect.net import Interface, Queue
from dirtune.collect.proc_irq import IrqState
from dirtune.collect.processes import Process
from dirtune.collect.sysctls import Sysctls
from tests.checks.machines import host

BALANCER = Process(700, "irqbalance", kernel=False, ticks=9, cpu=0, policy="other", priority=0)
CARD = Interface("eth0", None, None, True, 5, 7, driver="igb", mtu=1500)
BEFORE = host(
    "IO-APIC  20-fasteoi   enp0s16",
    sysctls=Sysctls({"net/core/netdev_budget": "300", "net/netfilter/nf_conntrack_count": "5"}),
    interfaces=(CARD,),
    services=(
        Service("TCP", "198.18.0.100", 80, None, "rr", destinations=()),
        Service("TCP", "198.18.0.101", 80, None, "wlc", destinations=()),
    ),
    ip_vs_table_size=4096,
    ethtool={"eth0": Card(rings={"rx": 256}, features={"rx-lro": Feature(on=False)})},
    processes=(),
    proc_irq={"10": IrqState((0, 1, 2, 5), None, None, None)},
)


def change(**fields):
    return compare(BEFORE, dataclasses.replace(BEFORE, **fields))


def rows(found):
    return {(d.section, d.name): (d.a, d.b) for d in found.differences}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"sysctls": Sysctls({"net/core/netdev_budget": "600"})},
            {("sysctl", "net/core/netdev_budget"): ("300", "600")},
        ),
        (
            {"kernel": Kernel("lb2", "6.1.0-56-amd64", "#1 SMP PREEMPT_RT Debian")},
            {("kernel", "preemption"): ("PREEMPT_DYNAMIC", "PREEMPT_RT")},
        ),
        (
            {"cmdline": ("quiet", "mitigations=off", "root=/dev/sdb1")},
            {("boot option", "mitigations"): (None, "off")},
        ),
        (
            {"proc_irq": {"10": IrqState((3,), None, None, None)}},
            {("interrupt", "enp0s16"): ("IO-APIC, CPUs 0-2,5", "IO-APIC, CPUs 3")},
        ),
        (
            {"interfaces": (dataclasses.replace(CARD, mtu=9000, rx_packets=99),)},
            {("card", "eth0 mtu"): ("1500", "9000")},
        ),
        (
            {"interfaces": (dataclasses.replace(CARD, rx_queues=(Queue("rx-0", (0, 1)),)),)},
            {("card", "eth0 rps"): ("", "0-1"), ("card", "eth0 rx queues"): ("0", "1")},
        ),
        (
            {"ethtool": {"eth0": Card(rings={"rx": 256}, features={"rx-lro": Feature(on=True)})}},
            {("ethtool", "eth0 rx-lro"): ("off", "on")},
        ),
        (
            {"ip_vs_table_size": 1 << 20},
            {("ipvs", "connection table, buckets"): ("4096", "1048576")},
        ),
        (
            {
                "services": (
                    Service(
                        "TCP",
                        "192.0.2.1",
                        80,
                        None,
                        "rr",
                        destinations=(Destination("192.0.2.2", 80, "Masq", 1, 5, 5),),
                    ),
                    Service("TCP", "192.0.2.3", 80, None, "wlc"),
                )
            },
            {("ipvs", "TCP port 80"): ("rr; wlc", "rr, 1 by Masq; wlc")},
        ),
        (
            {"processes": (BALANCER,)},
            {("program", "irqbalance"): (None, "running")},
        ),
    ],
)
def test_what_can_change_performance(fields, expected):
    assert rows(change(**fields)) == expected


def test_names_counters_and_addresses_are_left_out():
    other = dataclasses.replace(BEFORE.kernel, hostname="lb2")
    settings = Sysctls({"net/core/netdev_budget": "300"})
    services = tuple(dataclasses.replace(s, address="192.0.2.9") for s in BEFORE.services)

    assert change(kernel=other, sysctls=settings, services=services).differences == ()


def test_what_one_of_them_does_not_tell_is_no_difference():
    found = change(ethtool=None, sysctls=None)

    assert (found.differences, found.unknown) == ((), ("sysctl", "ethtool"))


OF_THE_START = (
    "BOOT_IMAGE=/vmlinuz root=UUID=1 ro rw quiet splash rhgb vga=791 locale=de_DE LANG=C panic=10 "
    "rd.lvm.lv=vg/root rd.luks.uuid=1 systemd.unit=multi-user.target net.ifnames=0 biosdevname=0 "
    "crashkernel=256M BOOTIF=01-52-54-00-12-34-56 resume=/dev/sda2 noresume S panic_on_oops=1 "
    "init=/bin/sh rootfstype=ext4 vconsole.keymap=us plymouth.enable=0 nomodeset ip=dhcp"
)
OF_THE_WORK = (
    "mitigations isolcpus nohz_full rcu_nocbs threadirqs noapic pci nosmp maxcpus idle intel_idle"
    ".max_cstate processor.max_cstate nosmt transparent_hugepage irqaffinity skew_tick preempt "
    "default_hugepagesz audit ip_vs.conn_tab_bits systemd.cpu_affinity iommu spectre_v2 rdt "
    "initcall_debug"
)


def test_boot_options_that_change_nothing_of_the_work_are_no_difference():
    a, b = (dataclasses.replace(BEFORE, cmdline=tuple(c)) for c in ((), OF_THE_START.split()))

    assert compare(a, b).differences == ()


@pytest.mark.parametrize("name", OF_THE_WORK.split())
def test_boot_options_that_may_are(name):
    found = compare(
        dataclasses.replace(BEFORE, cmdline=()),
        dataclasses.replace(BEFORE, cmdline=(f"{name}=1",)),
    )

    assert rows(found) == {("boot option", name): (None, "1")}
