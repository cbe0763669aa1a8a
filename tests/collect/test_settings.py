"""sysctls, /proc/irq, CPUs, power, modules, processes, files in /etc, commands, netlink."""

import pytest

from dirtune.collect import commands, files, pci
from dirtune.collect.addresses import parse_ip_addr, parse_local_networks
from dirtune.collect.cpu_power import IdleState, read_cpu_power
from dirtune.collect.cpus import read_cpus
from dirtune.collect.interrupts import read_interrupts
from dirtune.collect.ipvs_netlink import parse_ipvs
from dirtune.collect.kernel_log import parse_kernel_log
from dirtune.collect.log_messages import LogLine
from dirtune.collect.modules import read_modules
from dirtune.collect.net import read_interfaces
from dirtune.collect.packet import PacketSocket, parse_packet
from dirtune.collect.pci import Link, read_pci
from dirtune.collect.proc_irq import IrqState, read_proc_irq
from dirtune.collect.processes import parse_process
from dirtune.collect.routes import parse_routes, route_to
from dirtune.collect.rulesets import read_rulesets
from dirtune.collect.settings_files import parse_sysctl_conf, read_settings_files
from dirtune.collect.sysctls import Sysctls, dotted, read_sysctls
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import RecordedHost


def host(files, links=(), modes=()):
    return RecordedHost(dict(files), dict(links), modes=dict(modes))


CONF = "/proc/sys/net/ipv4/conf"


def test_sysctls_are_known_by_their_paths():
    found = read_sysctls(
        host(
            {
                f"{CONF}/all/rp_filter": "0\n",
                f"{CONF}/eth0.100/rp_filter": "2\n",
                "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
                "/proc/sys/net/ipv4/vs/sync_threshold": "3\t50\n",
                "/proc/sys/net/core/default_qdisc": "fq_codel\n",
            }
        )
    )

    assert found.effective("eth0.100", "rp_filter") == 2
    assert found.effective("eth1", "rp_filter") is None
    assert found.numbers("net/ipv4/ip_local_port_range") == (32768, 60999)
    assert found.number("net/core/default_qdisc") is None
    assert found.text("net/core/default_qdisc") == "fq_codel"
    assert found.number("net/ipv4/vs/sync_threshold") is None


@pytest.mark.parametrize(("everyone", "own"), [("1", "0"), ("0", "1"), ("1", "1")])
def test_the_greater_of_all_and_its_own_holds_for_an_interface(everyone, own):
    values = {f"{CONF}/all/arp_ignore": everyone, f"{CONF}/eth0/arp_ignore": own}

    assert read_sysctls(host(values)).effective("eth0", "arp_ignore") == 1


def test_a_record_without_settings_is_missing():
    with pytest.raises(SourceMissing):
        read_sysctls(host({}))


def test_a_dot_in_an_interface_is_a_slash_for_sysctl():
    assert dotted("net/ipv4/conf/eth0.100/rp_filter") == "net.ipv4.conf.eth0/100.rp_filter"


def test_an_interrupts_state():
    at = "/proc/irq/36"
    found = read_proc_irq(
        host(
            {
                f"{at}/smp_affinity_list": "0-2\n",
                f"{at}/effective_affinity_list": "\n",
                f"{at}/spurious": "count 47\nunhandled 3\nlast_unhandled 4294699400 ms\n",
            },
            modes={f"{at}/smp_affinity": 0o444},
        )
    )

    assert found == {"36": IrqState((0, 1, 2), (), 3, managed=True)}


def test_whether_an_interrupt_is_managed_may_be_unknown():
    found = read_proc_irq(host({"/proc/irq/9/smp_affinity_list": "0\n"}))

    assert found["9"] == IrqState((0,), None, None, None)


IRQ_11 = {
    "actions": "am53c974,uhci_hcd:usb1,eth1\n",
    "chip_name": "IO-APIC\n",
    "hwirq": "11\n",
    "per_cpu_count": "0,19,0,0\n",
    "type": "level\n",
}


def sysfs_irqs(**changes):
    files = {f"/sys/kernel/irq/11/{name}": t for name, t in (IRQ_11 | changes).items()}
    files["/sys/kernel/irq/2/actions"] = "\n"
    return host(files | {"/sys/devices/system/cpu/possible": "0-3\n"})


def test_a_tree_without_proc_has_the_table_in_sysfs():
    found = read_interrupts(sysfs_irqs())

    (line,) = found.lines
    assert (line.irq, line.counts, line.chip, line.hwirq) == ("11", (0, 19, 0, 0), "IO-APIC", 11)
    assert line.actions == ("am53c974", "uhci_hcd:usb1", "eth1")
    assert found.cpus == (0, 1, 2, 3)


def test_counts_that_were_cut_off_are_refused():
    with pytest.raises(ParseError, match="per_cpu_count"):
        read_interrupts(sysfs_irqs(per_cpu_count="0,19,0\n"))


def test_without_either_the_missing_one_is_proc():
    with pytest.raises(SourceMissing, match="/proc/interrupts"):
        read_interrupts(host({}))


def test_isolated_cpus_and_threads_of_one_core_do_not_count_as_cores():
    cpu = "/sys/devices/system/cpu"
    files = {f"{cpu}/online": "0-3\n", f"{cpu}/isolated": "3\n", f"{cpu}/nohz_full": "(null)\n"}
    files |= {
        f"{cpu}/cpu{n}/topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}\n" for n in range(4)
    }
    node = "/sys/devices/system/node/node0"
    files |= {f"{node}/cpulist": "0-3\n", f"{node}/distance": "10 21\n"}

    found = read_cpus(host(files))

    assert found.usable == (0, 1, 2)
    assert found.cores() == 2
    assert (found.nodes, found.distances) == ({0: (0, 1, 2, 3)}, {0: (10, 21)})


def test_power_of_a_server():
    at, clock = "/sys/devices/system/cpu/cpu1", "/sys/devices/system/clocksource/clocksource0"
    found = read_cpu_power(
        host(
            {
                f"{at}/cpufreq/scaling_governor": "powersave\n",
                f"{at}/cpufreq/scaling_driver": "intel_pstate\n",
                f"{at}/thermal_throttle/core_throttle_count": "3\n",
                f"{at}/thermal_throttle/package_throttle_count": "4\n",
                f"{at}/cpuidle/state3/name": "C6\n",
                f"{at}/cpuidle/state3/latency": "133\n",
                f"{at}/cpuidle/state3/disable": "0\n",
                f"{at}/cpuidle/state3/time": "12345\n",
                f"{clock}/current_clocksource": "tsc\n",
                f"{clock}/available_clocksource": "tsc hpet \n",
            }
        )
    )

    assert found.governors == {1: "powersave"}
    assert found.driver == "intel_pstate"
    assert found.throttled == {1: 7}
    assert found.idle == {1: (IdleState("C6", 133, disabled=False, time_us=12345),)}
    assert (found.clocksource, found.clocksources) == ("tsc", ("tsc", "hpet"))
    assert found.idle_driver is None


def test_modules_and_the_parameters_that_may_be_read():
    text = "ip_vs_rr 16384 1 - Live 0x0\nip_vs 200704 3 ip_vs_rr, Live 0x0\n"
    found = read_modules(
        host({"/proc/modules": text, "/sys/module/ip_vs/parameters/conn_tab_bits": "12\n"})
    )

    assert found.loaded == {"ip_vs_rr", "ip_vs"}
    assert found.parameters == {"ip_vs.conn_tab_bits": "12"}


def test_a_process_whose_name_has_parentheses():
    # Fields 14 and 15 are user and system time, 39 the CPU, 40 the priority, 41 the policy.
    head = "125 (irq/10-(x) y) S 2 0 0 0 -1 69238848 0 0 0 0 5 97 0 0 -51 0 1 0 20"
    text = f"{head} 0 0 18446744073709551615 {'0 ' * 13}3 50 1 0 0 0 0\n"

    found = parse_process(text)

    assert (found.pid, found.name, found.kernel) == (125, "irq/10-(x) y", True)
    assert (found.ticks, found.cpu, found.policy, found.priority) == (102, 3, "fifo", 50)


def test_no_process():
    with pytest.raises(ParseError):
        parse_process("hello")


def test_later_files_and_nearer_folders_win():
    found = read_settings_files(
        host(
            {
                "/usr/lib/sysctl.d/50-default.conf": "net.ipv4.vs.conntrack = 1\n-kernel.x=1\n",
                "/etc/sysctl.d/50-default.conf": "net.ipv4.vs.conntrack = 0\n",
                "/etc/sysctl.d/90-z.conf": "# no\nnet/ipv4/conf/eth0.100/rp_filter=2\n",
                "/etc/sysctl.conf": "net.ipv4.conf.eth0/5.rp_filter = 1\nnet.ipv4.conf.*.x = 1\n",
                "/etc/modules-load.d/a.conf": "ip_vs\n; no\n",
                "/etc/default/irqbalance": 'IRQBALANCE_BANNED_CPULIST="0-1"\n#IRQBALANCE_ARGS=x\n',
                "/etc/tuned/active_profile": "throughput-performance\n",
            }
        )
    )

    assert found.sysctls == {
        "net/ipv4/vs/conntrack": ("0", "/etc/sysctl.d/50-default.conf"),
        "net/ipv4/conf/eth0.100/rp_filter": ("2", "/etc/sysctl.d/90-z.conf"),
        "net/ipv4/conf/eth0.5/rp_filter": ("1", "/etc/sysctl.conf"),
    }
    assert found.modules == {"ip_vs"}
    assert found.irqbalance == {"IRQBALANCE_BANNED_CPULIST": "0-1"}
    assert found.tuned == "throughput-performance"


def test_files_are_read_by_their_names_and_not_by_their_folders():
    found = read_settings_files(
        host(
            {
                "/etc/sysctl.d/90-z.conf": "net.core.somaxconn = 2\n",
                "/usr/lib/sysctl.d/50-a.conf": "net.core.somaxconn = 1\n",
            }
        )
    )

    assert found.sysctls["net/core/somaxconn"] == ("2", "/etc/sysctl.d/90-z.conf")


def test_a_setting_that_may_fail_is_a_setting():
    assert parse_sysctl_conf("-net.core.somaxconn = 9\n") == {"net/core/somaxconn": "9"}


def test_an_interface_with_its_queues():
    at = "/sys/class/net/eth0"
    target = "../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0"
    found = read_interfaces(
        host(
            {
                f"{at}/operstate": "up\n",
                f"{at}/speed": "-1\n",
                f"{at}/flags": "0x1103\n",
                f"{at}/mtu": "1500\n",
                f"{at}/statistics/rx_missed_errors": "7\n",
                f"{at}/queues/rx-10/rps_cpus": "0\n",
                f"{at}/queues/rx-2/rps_cpus": "6\n",
                f"{at}/queues/rx-2/rps_flow_cnt": "0\n",
                f"{at}/queues/tx-0/xps_cpus": "\n",
            },
            {
                at: target,
                f"{at}/master": "../bond0",
                f"{at}/device/driver": "../../../bus/virtio/drivers/virtio_net",
            },
        )
    )[0]

    assert (found.driver, found.master, found.speed_mbps) == ("virtio_net", "bond0", None)
    assert (found.up, found.promiscuous, found.mtu) == (True, True, 1500)
    assert [(q.name, q.cpus, q.flows) for q in found.rx_queues] == [
        ("rx-2", (1, 2), 0),
        ("rx-10", (), None),
    ]
    assert found.tx_queues[0].cpus is None
    assert found.statistics == {"rx_missed_errors": 7}


@pytest.mark.parametrize("speed", ["8..0 GT/s PCIe", "... GT/s", f"{'9' * 400} GT/s"])
def test_a_link_speed_that_no_kernel_shows_is_none(speed):
    assert pci._SPEED.match(speed) is None


def test_a_number_that_no_kernel_has_is_left_out():
    assert files.whole_numbers(f"10 {'9' * 5000} x 21\n") == (10, 21)
    assert Sysctls({"a": "9" * 5000}).number("a") is None


def test_a_pcie_link_and_a_function_without_one():
    at = "/sys/bus/pci/devices"
    found = read_pci(
        host(
            {
                f"{at}/0000:01:00.0/class": "0x020000\n",
                f"{at}/0000:01:00.0/current_link_speed": "2.5 GT/s PCIe\n",
                f"{at}/0000:01:00.0/current_link_width": "4\n",
                f"{at}/0000:01:00.0/max_link_speed": "8.0 GT/s PCIe\n",
                f"{at}/0000:01:00.0/max_link_width": "8\n",
                f"{at}/0000:01:00.0/numa_node": "-1\n",
                f"{at}/0000:01:00.0/local_cpulist": "0-1\n",
                f"{at}/0000:02:00.0/class": "0x020000\n",
                f"{at}/0000:02:00.0/current_link_speed": "Unknown\n",
                f"{at}/0000:02:00.0/msi_bus": "0\n",
            }
        )
    )

    assert (found[0].link, found[0].link_max) == (Link(2.5, 4), Link(8.0, 8))
    assert (found[0].numa_node, found[0].local_cpus) == (None, (0, 1))
    assert (found[1].link, found[1].msi_allowed) == (None, False)


def test_sockets_that_take_every_packet():
    text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
    text += "ffff9a1c 3      3    0003   2     1 0      0      27392\n"

    assert parse_packet(text) == (PacketSocket(3, 2, running=True, inode=27392),)


@pytest.mark.parametrize("text", ["", "sk Proto\n1 2\n"])
def test_no_table_of_sockets(text):
    with pytest.raises(ParseError, match="/proc/net/packet"):
        parse_packet(text)


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010012C6\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000012C6\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
*\t000013C6\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def test_the_longest_prefix_is_taken():
    routes = parse_routes(ROUTES)

    assert route_to(routes, "198.18.0.11").gateway is None
    assert route_to(routes, "192.0.2.1").gateway == "198.18.0.1"
    assert route_to(routes, "fd00::1") is None
    assert len(routes) == 2


def test_a_routes_segment_size_is_forty_less_than_its_column():
    (route,) = parse_routes(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 010012C6 0003 0 0 100 00000000 1480 0 0\n"
    )

    assert route.advmss == 1440
    assert [r.advmss for r in parse_routes(ROUTES)] == [None, None]


def test_a_longer_prefix_goes_before_a_smaller_metric_and_that_before_a_greater():
    row = "{}\t{}\t{}\t{}\t0\t0\t{}\t{}\t0\t0\t0\n"
    text = ROUTES.splitlines()[0] + "\n"
    text += row.format("eth0", "00000000", "010012C6", "0003", 200, "00000000")
    text += row.format("eth1", "00000000", "020012C6", "0003", 100, "00000000")
    text += row.format("eth2", "000012C6", "00000000", "0001", 900, "0000FFFF")
    routes = parse_routes(text)

    assert route_to(routes, "192.0.2.1").interface == "eth1"
    assert route_to(routes, "198.18.0.11").interface == "eth2"


def test_no_table_of_routes():
    with pytest.raises(ParseError):
        parse_routes("nothing\n")


TRIE = """\
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 198.18.0.0
        /24 link UNICAST
        /24 host LOCAL
     |-- 198.18.0.100
        /32 host LOCAL
"""


def test_networks_that_loopback_holds():
    assert {str(n) for n in parse_local_networks(TRIE)} == {"127.0.0.0/8", "198.18.0.0/24"}


def test_addresses_on_their_interfaces():
    text = (
        "1: lo    inet 198.18.0.100/32 scope global lo:vip\\       valid_lft forever\n"
        "2: eth0@if3    inet6 fe80::1/64 scope link \\       valid_lft forever\n"
        "5: tunl0    inet 198.18.0.7 peer 198.18.0.8/30 scope global tunl0\n"
    )

    found = [(a.interface, a.address, a.prefix, a.scope) for a in parse_ip_addr(text)]

    assert found == [
        ("lo", "198.18.0.100", 32, "global"),
        ("eth0", "fe80::1", 64, "link"),
        ("tunl0", "198.18.0.7", 30, "global"),
    ]


def test_an_address_with_a_zone_is_none_of_the_kernels():
    """Any text would do for the zone."""
    with pytest.raises(ParseError, match="zone"):
        parse_ip_addr("2: eth0    inet6 fe80::1%a;flush/64 scope link\n")


def test_the_log_with_times():
    """A row without a time among others with one is the rest of a message with a line break."""
    text = "[    1.234567] irq 19: nobody cared\n<3>[ 12.5] [ T77] Disabling IRQ #19\nplain\n"

    assert parse_kernel_log(text) == (
        LogLine(1.234567, "irq 19: nobody cared"),
        LogLine(12.5, "Disabling IRQ #19"),
    )


@pytest.mark.parametrize(
    "before",
    [
        "",
        "[Tue Dec  1 04:00:00 2026] ",
        "Dec  1 04:00:00 lb1 kernel: ",
        "2026-12-01T04:00:00.123456+00:00 lb1 kernel: ",
        "<4>",
        "[  +0.000004] ",
        "[Feb 9 08:09] ",
        "2026-12-01T04:00:00,123456+00:00 ",
    ],
)
def test_the_log_without_seconds_since_boot(before):
    assert parse_kernel_log(f"{before}Disabling IRQ #19\n") == (
        LogLine(None, "Disabling IRQ #19"),
    )


@pytest.mark.parametrize("before", ["Dec  1 04:00:00 lb1 kernel: [ 12.5]", "[   12.5 <    0.1>]"])
def test_the_log_of_syslog_has_times_too(before):
    (line,) = parse_kernel_log(f"{before} Disabling IRQ #19\n")

    assert line == LogLine(12.5, "Disabling IRQ #19")


def test_rules_that_were_not_to_be_asked_are_none():
    found = read_rulesets(host({"/cmd/ip-rule": "0:\tfrom all lookup local\n\n"}))

    assert found.routing == ("0:\tfrom all lookup local",)
    assert found.nft is None
    with pytest.raises(SourceMissing):
        read_rulesets(host({}))


def test_outputs_are_told_apart_by_their_marks_and_not_by_their_lines():
    mark = "DIRTUNE=01234567-89ab-4def-8123-456789abcdef\0"
    outputs = {
        "/cmd/ip-addr": "1: lo\n",
        "/cmd/ethtool/g/a|;id>o;#": "RX: 1\n",
        "/cmd/dmesg": "a:b\n/cmd/nft:forged\n/cmd/nft\0forged\nDIRTUNE=\0/cmd/nft\0forged\n",
    }
    frames = "".join(f"{mark}{path}\0{text}" for path, text in outputs.items())

    assert commands.parse_outputs(f"{mark}start\0{frames}{mark}/etc/passwd\0x") == outputs


def test_the_script_prints_what_a_command_says_and_nothing_of_one_that_fails(monkeypatch):
    commands_here = {"/cmd/dmesg": "printf 'a\\n\\nb|c\\n'", "/cmd/nft": "echo x; false"}
    monkeypatch.setattr(commands, "COMMANDS", commands_here)

    assert commands.outputs(commands_here) == {"/cmd/dmesg": "a\n\nb|c\n"}
    assert commands.outputs({"/cmd/nft"}) == {}


IPVS = """{"services": [{"protocol": "UDP", "address": "fd00::9", "port": 53, "scheduler": "sh",
 "flags": 19, "persistent_s": 75, "destinations": [{"address": "fd00::2", "port": 53,
 "forward": "Masq", "weight": 3, "upper": 100, "active": 60, "inactive": 40}]}],
 "timeouts_s": {"tcp": 900, "tcp_fin": 120, "udp": 300},
 "daemons": [{"state": "master", "interface": "eth0", "sync_id": 7, "maxlen": 1472}]}"""


def test_ipvs_as_netlink_tells_it():
    found = parse_ipvs(IPVS)

    assert found.services[0].name == "UDP [fd00::9]:53"
    assert found.services[0].destinations[0].overloaded
    assert found.timeouts_s["tcp_fin"] == 120
    assert found.daemons[0].state == "master"


def test_a_broken_answer_of_ipvs_is_a_parse_error():
    with pytest.raises(ParseError, match="IPVS"):
        parse_ipvs('{"services": 3}')
