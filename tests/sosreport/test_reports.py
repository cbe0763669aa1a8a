"""Reports in the layouts of sos 3 and 4, insights-client and must-gather, read as hosts.

The names of outputs are those of sos/report/plugins at 3.9 and 4.10, and of insights/specs.
"""

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from dirtune.collect.pci import Link
from dirtune.errors import NotPossible
from dirtune.jobs.snapshots import Source, snapshot_of
from dirtune.snapshot import FIELDS
from dirtune.sosreport.plugins import NOWHERE, PLUGINS

LINK = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 numtxqueues 1
    RX: bytes  packets  errors  dropped overrun mcast
    870415     7432     0       0       0       0
    TX: bytes  packets  errors  dropped carrier collsns
    870415     7432     0       0       0       0
2: ens1f0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9000 qdisc mq master bond0 state UP mode DEFAULT
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 1 numtxqueues 64
    RX:  bytes packets errors dropped  missed   mcast
    1000000000 2000000      3      17      42       9
    TX:  bytes packets errors dropped carrier collsns
     900000000 1900000      0       0       0       0
7: ens1f0.100@ens1f0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
"""
ETHTOOL = """\
Settings for ens1f0:
\tSpeed: 25000Mb/s
\tDuplex: Full
"""
DRIVER = "driver: ice\nversion: 4.18.0\nbus-info: 0000:3b:00.0\n"
CHANNELS = """\
Channel parameters for ens1f0:
Pre-set maximums:
RX:		64
TX:		64
Other:		1
Combined:	64
Current hardware settings:
RX:		0
TX:		0
Other:		1
Combined:	16
"""
COUNTERS = "NIC statistics:\n     rx_dropped: 17\n     rx_missed_errors.nic: 42\n"
LSPCI = """\
00:00.0 Host bridge [0600]: Intel Corporation Device [8086:2020] (rev 07)
\tNUMA node: 0

3b:00.0 Ethernet controller [0200]: Intel Corporation Ethernet Controller [8086:159b] (rev 02)
\tInterrupt: pin A routed to IRQ 32
\tNUMA node: 1
\tCapabilities: [70] MSI-X: Enable+ Count=512 Masked-
\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x8, ASPM L1, Exit Latency L1 <64us
\t\tLnkSta:\tSpeed 8GT/s (downgraded), Width x4 (downgraded)
\tKernel driver in use: ice
"""
LSCPU = "On-line CPU(s) list: 0-3\nNUMA node0 CPU(s): 0,2\nNUMA node1 CPU(s): 1,3\n"
ADDRESSES = """\
2: ens1f0    inet 198.18.0.10/24 brd 198.18.0.255 scope global ens1f0\\       valid_lft forever
2: ens1f0    inet6 fd00::10/64 scope global \\       valid_lft forever preferred_lft forever
"""
BLOCKS = """\
2: ens1f0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9000 qdisc mq state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 198.18.0.10/24 brd 198.18.0.255 scope global ens1f0
       valid_lft forever preferred_lft forever
    inet6 fd00::10/64 scope global
       valid_lft forever preferred_lft forever
"""
SYSCTL = """\
sysctl: reading key "net.ipv6.conf.all.stable_secret"
net.ipv4.conf.ens1f0/100.rp_filter = 2
net.ipv4.ip_forward = 1
net.ipv4.ip_local_port_range = 32768\t60999
"""
DMESG = "[   12.500000] ice 0000:3b:00.0 ens1f0: NIC Link is up 25 Gbps\n"
NFT = "table inet filter { # handle 5\n\tchain forward { # handle 1\n\t}\n}\n"

SOS4 = {
    "networking/ip_-s_-d_link": LINK,
    "networking/ip_-o_addr": ADDRESSES,
    "networking/ethtool_ens1f0": ETHTOOL,
    "networking/ethtool_-i_ens1f0": DRIVER,
    "networking/ethtool_-l_ens1f0": CHANNELS,
    "networking/ethtool_-S_ens1f0": COUNTERS,
    "networking/ethtool_-l_lo": "netlink error: Operation not supported\n",
    "networking/ethtool_-g_ens1f0.100": "Ring parameters for x:\nOperation not supported\n",
    "networking/ip_-4_rule_list": "0:\tfrom all lookup local\n",
    "networking/tc_-s_qdisc_show": "qdisc mq 0: dev ens1f0 root\n",
    "firewall_tables/nft_-a_list_ruleset": NFT,
    "pci/lspci_-nnvv": LSPCI,
    "processor/lscpu": LSCPU,
    "kernel/sysctl_-a": SYSCTL,
    "kernel/dmesg": DMESG,
    "kernel/lsmod": "Module Size Used by\nice 1 0\n",
    "kernel/uname_-a": "Linux lb1 4.18.0-553.el8.x86_64 #1 SMP Fri May 10 15:19:13 EDT 2024 "
    "x86_64 x86_64 x86_64 GNU/Linux\n",
}
# sos 3.9 had other names and plugins.
RENAMED = {
    "networking/ip_-4_rule_list": "networking/ip_-4_rule",
    "firewall_tables/nft_-a_list_ruleset": "networking/nft_list_ruleset",
}
SOS3 = {RENAMED.get(name, name): text for name, text in SOS4.items()}
INSIGHTS = {name.rpartition("/")[2]: text for name, text in SOS4.items()} | {"ip_addr": BLOCKS}
del INSIGHTS["ip_-o_addr"]


def written(folder, outputs, at="sos_commands"):
    for name, text in outputs.items():
        path = folder / at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc/interrupts").write_text("           CPU0\n 10:         40    XT-PIC      x\n")
    return folder


LAYOUTS = {
    "sos 4": (SOS4, "sos_commands"),
    "sos 3": (SOS3, "sos_commands"),
    "insights": (INSIGHTS, "insights_commands"),
}


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    return written(tmp_path / "report", *LAYOUTS[request.param])


def archive(folder, path, mode="w:xz"):
    with tarfile.open(path, mode) as packed:
        packed.add(folder, "sosreport-lb1-2024-05-10-abcdefg")
    return path


@pytest.fixture(params=["folder", "--from", "tar.xz"])
def snapshot(request, layout, tmp_path):
    match request.param:
        case "folder":
            return snapshot_of(Source(root=layout))
        case "--from":
            return snapshot_of(Source(archive=layout))
    return snapshot_of(Source(archive=archive(layout, tmp_path / "report.tar.xz")))


def test_a_report_is_read_as_a_host(snapshot):
    port = next(i for i in snapshot.interfaces if i.name == "ens1f0")
    card = snapshot.ethtool["ens1f0"]
    nic = next(device for device in snapshot.pci if device.address == "0000:3b:00.0")

    assert snapshot.kernel.hostname == "lb1"
    assert snapshot.kernel.osrelease == "4.18.0-553.el8.x86_64"
    assert snapshot.kernel.version == "#1 SMP Fri May 10 15:19:13 EDT 2024"
    assert (port.mtu, port.speed_mbps, port.duplex) == (9000, 25_000, "full")
    assert (port.driver, port.pci, port.physical) == ("ice", "0000:3b:00.0", True)
    assert (port.master, port.promiscuous, port.operstate) == ("bond0", True, "up")
    assert port.statistics["rx_missed_errors"] == 42
    assert (card.channels["combined_count"], card.channels["max_combined"]) == (16, 64)
    assert card.statistics == {"rx_dropped": 17, "rx_missed_errors.nic": 42}
    assert set(snapshot.ethtool) <= {"ens1f0", "ens1f0.100"}
    assert (nic.driver, nic.numa_node, nic.intx) == ("ice", 1, None)
    assert (nic.link, nic.link_max) == (Link(8.0, 4), Link(16.0, 8))
    assert snapshot.cpus.online == (0, 1, 2, 3)
    assert snapshot.cpus.nodes == {0: (0, 2), 1: (1, 3)}
    assert snapshot.addresses == {"198.18.0.10", "fd00::10"}
    assert snapshot.interface_addresses[0].prefix == 24
    assert snapshot.sysctls.conf("ens1f0.100", "rp_filter") == 2
    assert snapshot.sysctls.numbers("net/ipv4/ip_local_port_range") == (32768, 60999)
    assert snapshot.kernel_log[0].seconds == 12.5
    assert snapshot.rulesets.nft[0] == "table inet filter {"
    assert snapshot.rulesets.routing == ("0:\tfrom all lookup local",)
    assert snapshot.modules.loaded == {"ice"}
    assert snapshot.irq_threads is None


def test_an_interface_that_is_down_and_one_that_is_a_vlan(layout):
    vlan = snapshot_of(Source(root=layout)).interfaces[1]

    assert (vlan.name, vlan.operstate, vlan.up) == ("ens1f0.100", "down", False)
    assert vlan.driver is None


def test_what_is_missing_names_the_plugin_of_sos(tmp_path):
    written(tmp_path, SOS4)
    errors = snapshot_of(Source(root=tmp_path)).errors

    assert errors["ipvs"].endswith("The plugin ipvs of sos collects it")
    assert errors["processes"].endswith("The plugin process of sos collects it")
    assert errors["limits"].endswith("sos does not collect it")
    assert set(PLUGINS) | NOWHERE == set(FIELDS)


def test_what_an_insights_archive_lacks_names_no_plugin(tmp_path):
    written(tmp_path, INSIGHTS, "insights_commands")

    assert "sos" not in snapshot_of(Source(root=tmp_path)).errors["ipvs"]


def test_files_of_the_kernel_come_before_outputs(tmp_path):
    written(tmp_path, SOS4)
    (tmp_path / "proc/sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "proc/sys/net/ipv4/ip_forward").write_text("0\n")

    assert snapshot_of(Source(root=tmp_path)).sysctl("net/ipv4/ip_forward") == 0


def test_the_log_of_a_dmesg_that_was_refused_is_missing(tmp_path):
    refused = "dmesg: read kernel buffer failed: Operation not permitted\n"
    written(tmp_path, SOS4 | {"kernel/dmesg": refused})

    assert snapshot_of(Source(root=tmp_path)).kernel_log is None


def test_the_journal_takes_the_place_of_dmesg(tmp_path):
    journal = "May 10 15:19:13 lb1 kernel: TCP: out of memory\nMay 10 15:19:14 lb1 sshd[1]: x\n"
    outputs = SOS4 | {"logs/journalctl_--no-pager_--boot": journal}
    del outputs["kernel/dmesg"]
    written(tmp_path, outputs)

    assert [row.text for row in snapshot_of(Source(root=tmp_path)).kernel_log] == [
        "TCP: out of memory"
    ]


def test_tables_that_the_kernel_does_not_have_have_no_rules(tmp_path):
    outputs = dict(SOS4)
    del outputs["firewall_tables/nft_-a_list_ruleset"]
    written(tmp_path, outputs)
    (tmp_path / "proc/net").mkdir()
    (tmp_path / "proc/net/dev").write_text("Inter-|\n face |\n")

    rules = snapshot_of(Source(root=tmp_path)).rulesets
    assert (rules.nft, rules.iptables, rules.arptables) == ((), (), ())
    (tmp_path / "proc/net/ip_tables_names").write_text("filter\n")
    assert snapshot_of(Source(root=tmp_path)).rulesets.iptables is None


def test_the_node_of_a_must_gather(tmp_path):
    with tarfile.open(tmp_path / "sysinfo.tgz", "w:gz") as packed:
        member = tarfile.TarInfo("proc/cmdline")
        member.size = 4
        packed.addfile(member, io.BytesIO(b"quie"))
    (tmp_path / "lscpu").write_text(LSCPU)
    (tmp_path / "dmesg").write_text(DMESG)
    (tmp_path / "ethtool_channels").write_text(CHANNELS + CHANNELS.replace("ens1f0", "ens1f1"))
    snapshot = snapshot_of(Source(root=tmp_path))

    assert snapshot.cmdline == ("quie",)
    assert snapshot.cpus.online == (0, 1, 2, 3)
    assert snapshot.kernel_log[0].seconds == 12.5
    assert set(snapshot.ethtool) == {"ens1f0", "ens1f1"}
    assert snapshot.ethtool["ens1f1"].channels["combined_count"] == 16


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(NotPossible, match="does not exist"):
        snapshot_of(Source(archive=tmp_path / "none.tar.xz"))


CASE = Path(__file__).parents[2] / "../shared/cases/41"


@pytest.mark.skipif(not CASE.exists(), reason="the collection of cases is not here")
@pytest.mark.parametrize("way", ["sos.tar.gz", "root.tar.gz", "unpacked"])
def test_case_41(tmp_path, way):
    source = Source(archive=CASE / way)
    if way == "unpacked":
        shutil.unpack_archive(CASE / "sos.tar.gz", tmp_path)
        source = Source(root=tmp_path / "root")
    snapshot = snapshot_of(source)

    assert snapshot.services[0].name == "TCP 192.168.72.200:6443"
    assert snapshot.ethtool["ens3"].statistics["rx_queue_0_packets"] == 25_933_187
    assert snapshot.kernel.osrelease == "5.4.0-97-generic"
    assert len(snapshot.interface_addresses) > 5
    assert snapshot.sysctls is not None
    assert snapshot.kernel_log is not None
    assert snapshot.cpus.online == (0, 1)
    assert "br-ens3" in {interface.name for interface in snapshot.interfaces}
