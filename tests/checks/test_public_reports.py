"""Further public bug reports, each rebuilt as a small recorded host: the audit says their cause.

The truth of a report is what its readers found out, or what the kernel's source says of it; the
address is in the row.
"""

import json
from dataclasses import dataclass

import pytest

from dirtune.checks import Status, discovery
from dirtune.checks.audits import of_snapshot
from dirtune.snapshot import take_all
from tests.checks.reported import Host
from tests.checks.test_public_cases import CRITICAL, HIGH, INFO, LOW, MEDIUM, Must, require

_GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Report:
    """One report: where it is, what was true, and what the audit must say."""

    address: str
    truth: str
    hosts: tuple[Host, ...]
    must: tuple[Must, ...] = ()
    quiet: tuple[str, ...] = ()
    """Ids of checks that must have no finding."""


def one(address, truth, host, *must, quiet=()):
    return Report(_GITHUB + address, truth, (host,), must, quiet)


def two(address, truth, before, after, *must, quiet=()):
    return Report(_GITHUB + address, truth, (before, after), must, quiet)


SWARM = """
FWM  256 rr
  -> 10.0.1.5:0    Masq 1 3 0
  -> 10.0.1.6:0    Masq 1 2 0
"""
DNS = """
UDP  10.96.0.10:53 rr
  -> 10.244.1.7:53    Masq 1 0 400
  -> 10.244.2.9:53    Masq 1 0 390
"""
KUBE = {"programs": ("kube-proxy",), "addresses": "eth0 10.0.0.7/24\nkube-ipvs0 10.96.0.10/32"}


def stats(connections, out=None):
    """The text of /proc/net/ip_vs_stats (ip_vs_ctl.c, ip_vs_stats_show())."""
    back = connections if out is None else out
    numbers = f"{connections:8X} {connections:8X} {back:8X} {0:16X} {0:16X}"
    head = "Total Incoming Outgoing Incoming Outgoing\nConns Packets Packets Bytes Bytes"
    return f"{head}\n{numbers}\n"


def on_cpu_0(cpus, *names):
    """/proc/interrupts of a host whose vectors all are on CPU 0."""
    head = "".join(f"       CPU{cpu}" for cpu in range(cpus))
    rows = (
        f"{30 + n:3}: {900_000 + n} {'0 ' * (cpus - 1)}  PCI-MSI {524_288 + n}-edge      {name}\n"
        for n, name in enumerate(names)
    )
    return f"    {head}\n{''.join(rows)}"


RINGS = json.dumps({"ens16f0": {"rings": {"rx": 512, "rx_max": 4096, "tx": 512, "tx_max": 4096}}})


REPORTS = (
    one(
        "moby/moby/issues/31208",
        "IPVS forgets connections that are idle for 900 s; the peers' keepalive comes after 7,200",
        Host(
            "4.4.0-62-generic",
            SWARM,
            {},
            programs=("dockerd",),
        ),
        Must("ipvs/idle-timeout", (LOW,), ("900 s", "7,200 s")),
    ),
    two(
        "moby/moby/issues/35082",
        "the namespace of a Swarm service has conn_reuse_mode=1 and conntrack=1: a SYN in 1 s",
        *(
            Host(
                "4.4.0-97-generic",
                SWARM,
                {},
                sysctls={"conntrack": 1},
                programs=("dockerd",),
                files={"/proc/net/ip_vs_stats": stats(connections)},
                taken_s=taken_s,
            )
            for connections, taken_s in ((0x10000, 100.0), (0x12000, 110.0))
        ),
        # Docker's rules for overlay networks need conntrack=1 (libnetwork, fwMarker()).
        Must("ipvs/conn-reuse-delay", (HIGH, MEDIUM), ("conn_reuse_mode=0", "kernel 5.9")),
    ),
    one(
        "kubernetes/kubernetes/issues/71514",
        "UDP flows to a deleted pod are dropped until their entry expires: expire_nodest_conn=0",
        Host("4.15.0-1027-aws", DNS, {}, sysctls={"conn_reuse_mode": 0}, **KUBE),
        Must("ipvs/stale-conn-policy", (HIGH, MEDIUM), ("expire_nodest_conn",)),
    ),
    one(
        "kubernetes/kubernetes/issues/76664",
        "a weight of 0 does not end UDP flows, which never expire while packets come",
        Host(
            "4.15.0-46-generic",
            """
            UDP  192.168.127.89:514 lc
              -> 192.168.128.193:514 Masq 1 0 1
              -> 192.168.129.116:514 Masq 0 0 1
            """,
            {},
            sysctls={"conn_reuse_mode": 0, "expire_nodest_conn": 1},
            **KUBE,
        ),
        Must("ipvs/quiesced", (LOW, MEDIUM), ("192.168.129.116:514", "UDP")),
    ),
    one(
        "cloudnativelabs/kube-router/issues/899",
        "with graceful termination a deleted DNS pod has weight 0, and its UDP flows go on",
        Host(
            "4.19.0-9-amd64",
            """
            UDP  100.64.0.10:53 rr
              -> 100.96.1.7:53 Masq 0 0 812
              -> 100.96.2.9:53 Masq 1 0 3
            """,
            {},
            sysctls={"expire_nodest_conn": 1, "conntrack": 1},
            programs=("kube-router",),
        ),
        Must("ipvs/quiesced", (LOW, MEDIUM), ("100.96.1.7:53", "UDP")),
    ),
    one(
        "acassen/keepalived/issues/2163",
        "keepalived removes the failed server, and expire_nodest_conn=0 keeps its UDP flows",
        Host(
            "5.10.0-15-amd64",
            """
            UDP  10.20.6.7:4729 rr
              -> 10.20.0.69:4729 Masq 1 0 2
            """,
            {},
            programs=("keepalived",),
        ),
        Must("ipvs/stale-conn-policy", (LOW,), ("keepalived", "expire_nodest_conn")),
    ),
    one(
        "acassen/keepalived/issues/831",
        "the health check removed the only real server, so the service has none",
        Host(
            "4.9.0-6-amd64",
            "TCP  172.31.50.8:80 rr",
            {},
            programs=("keepalived",),
            addresses="eth0 172.31.50.7/24\neth0 172.31.50.8/32",
        ),
        Must("ipvs/no-destination", (CRITICAL,), ("virtual_server", "keepalived logs")),
    ),
    one(
        "acassen/keepalived/issues/2213",
        "IPVS does not balance what the director itself sends; the configuration has no fault",
        Host(
            "5.4.0-128-generic",
            """
            TCP  10.11.12.100:80 rr
              -> 10.11.12.11:80 Route 1 2 5
              -> 10.11.12.12:80 Route 1 2 4
            """,
            {},
            sysctls={"expire_nodest_conn": 1},
            programs=("keepalived",),
            addresses="eth0 10.11.12.1/24\neth0 10.11.12.100/32",
        ),
        quiet=("ipvs/no-destination", "ipvs/nat-forward-off", "net/vip-not-local"),
    ),
    one(
        "kube-vip/kube-vip/issues/745",
        "kube-proxy in IPVS mode deletes the services of kube-vip: two programs own one table",
        Host(
            "4.18.0-348.el8.x86_64",
            """
            TCP  10.1.0.0:6443 rr
              -> 10.0.2.47:6443 Local 1 0 0
              -> 10.0.3.31:6443 Route 1 22 0
            TCP  10.96.0.1:443 rr
              -> 10.0.2.47:6443 Masq 1 3 0
            """,
            {},
            programs=("kube-proxy", "kube-vip"),
            addresses="ens5 10.0.2.47/24\nens5 10.1.0.0/32\nkube-ipvs0 10.96.0.1/32",
        ),
        Must("ipvs/two-owners", (HIGH,), ("kube-proxy", "kube-vip")),
    ),
    one(
        "kubernetes/kubernetes/issues/79213",
        "each node counts only its own connections, so with lc each one begins with the first pod",
        Host(
            "3.10.0-957.el7.x86_64",
            """
            TCP  10.104.56.238:80 lc
              -> 10.244.3.137:8080 Masq 1 1 0
              -> 10.244.8.103:8080 Masq 1 0 0
            """,
            {},
            **KUBE,
        ),
        Must("ipvs/uneven-load", (INFO, LOW), ("lc", "node")),
    ),
    one(
        "kubernetes/kubernetes/issues/71261",
        "the connection tracking table is too small for the node",
        Host(
            "3.10.0-862.el7.x86_64",
            DNS,
            None,
            sysctls={
                "net/netfilter/nf_conntrack_count": 786_000,
                "net/netfilter/nf_conntrack_max": 786_432,
            },
            log="[99000.1] nf_conntrack: table full, dropping packet\n",
            **KUBE,
        ),
        Must("conntrack/table-full", (CRITICAL,), ("table full", "nf_conntrack_max")),
    ),
    one(
        "session-replay-tools/tcpcopy/issues/42",
        "old kernels call the table ip_conntrack",
        Host(
            "2.6.18-308.el5",
            sysctls={"net/core/somaxconn": 128},
            log="[99990.2] ip_conntrack: table full, dropping packet.\n",
        ),
        Must("conntrack/table-full", (CRITICAL,), ("table full",)),
    ),
    one(
        "kubernetes/kops/issues/4533",
        "60 nodes and 3,000 pods need more than 1,024 neighbours",
        Host(
            "4.4.115-k8s",
            sysctls={"net/ipv4/neigh/default/gc_thresh3": 1024},
            log="[99990.2] arp_cache: neighbor table overflow!\n",
        ),
        Must("net/neigh-overflow", (HIGH,), ("gc_thresh3",)),
    ),
    one(
        "freifunk-gluon/gluon/issues/83",
        "an old kernel names no table in the message: ipv4 means ARP",
        Host(
            "3.3.8",
            sysctls={"net/ipv4/neigh/default/gc_thresh3": 1024},
            log="[99990.2] ipv4: Neighbour table overflow.\n",
        ),
        Must("net/neigh-overflow", (HIGH,), ("gc_thresh3", "ARP")),
    ),
    one(
        "e2b-dev/infra/pull/3508",
        "200 sandboxes with an ARP and an IPv6 entry each: both tables are at their limit",
        Host(
            "6.8.0-1024-gcp",
            sysctls={
                "net/ipv4/neigh/default/gc_thresh3": 1024,
                "net/ipv6/neigh/default/gc_thresh3": 1024,
            },
            log="[99990.2] neighbour: arp_cache: neighbor table overflow!\n"
            "[99991.2] neighbour: ndisc_cache: neighbor table overflow!\n",
        ),
        Must("net/neigh-overflow", (HIGH,), ("ARP",), findings=2),
    ),
    one(
        "csrutil/OpenWrt-NIC-Drivers/issues/11",
        "the transmit queue of an r8125 hangs several times a day",
        Host(
            "6.6.73",
            nics={"eth1": "r8125", "eth4": "r8125"},
            log="[99356.29] r8125 0000:22:04.0 eth4: NETDEV WATCHDOG: CPU: 3: transmit queue 0 "
            "timed out 5010 ms\n",
        ),
        Must("link/errors-flaps", (HIGH, MEDIUM), ("eth4", "timed out")),
    ),
    one(
        "Ysurac/openmptcprouter/issues/3114",
        "an I219 of e1000e hangs: transmit queue 0 timed out",
        Host(
            "5.4.215",
            nics={"eth0": "e1000e"},
            log="[99210.59] e1000e 0000:00:1f.6 eth0: Detected Hardware Unit Hang:\n"
            "[99212.593121] NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out\n",
        ),
        Must("link/errors-flaps", (HIGH, MEDIUM), ("eth0", "timed out")),
    ),
    one(
        "QubesOS/qubes-issues/issues/5649",
        "r8169 in a guest with a passed-through NIC: transmit queue 0 timed out",
        Host(
            "4.19.94-1.pvops.qubes.x86_64",
            nics={"ens6": "r8169"},
            log="[99022.1] NETDEV WATCHDOG: ens6 (r8169): transmit queue 0 timed out\n",
        ),
        Must("link/errors-flaps", (HIGH, MEDIUM), ("ens6",)),
    ),
    one(
        "openwrt/openwrt/issues/13122",
        "mtk_soc_eth is no PCI device, and its transmit queue 1 hangs",
        Host(
            "5.15.117",
            nics={"eth1": "mtk_soc_eth@platform/soc/15100000.ethernet"},
            log="[99426.4] NETDEV WATCHDOG: eth1 (mtk_soc_eth): transmit queue 1 timed out\n",
        ),
        Must("link/errors-flaps", (HIGH, MEDIUM), ("eth1",)),
    ),
    one(
        "openmptcprouter/1962".replace("openmptcprouter", "Ysurac/openmptcprouter/issues"),
        "a USB adapter of r8152 hangs",
        Host(
            "5.4.132",
            nics={"eth1": "r8152@pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0"},
            log="[99082.68] NETDEV WATCHDOG: eth1 (r8152): transmit queue 0 timed out\n",
        ),
        Must("link/errors-flaps", (HIGH, MEDIUM), ("eth1",)),
    ),
    one(
        "moby/moby/issues/32023",
        "LRO of ixgbe merges packets that the host forwards to containers",
        Host(
            "3.10.0-514.el7.x86_64",
            SWARM,
            {},
            sysctls={"net/ipv4/ip_forward": 1},
            programs=("dockerd",),
            nics={"eth0": "ixgbe"},
            files={"/netlink/ethtool.json": '{"eth0": {"features": {"rx-lro": {"on": true}}}}'},
        ),
        Must("nic/lro-forwarding", (HIGH, CRITICAL), ("eth0", "LRO")),
    ),
    one(
        "kubernetes/kubernetes/issues/88212",
        "2,000 services: a timer reads the counters of all of them every 2 s",
        Host(
            "5.10.0-9-amd64",
            "\n".join(
                f"TCP  10.96.{n // 250}.{n % 250}:80 rr\n  -> 10.244.1.{n % 250}:80 Masq 1 0 0"
                for n in range(1, 2000)
            ),
            {},
            files={"/sys/devices/system/cpu/online": "0-15\n"},
            **KUBE,
        ),
        Must("ipvs/estimation-cost", (HIGH,), ("3,998",), findings=1),
    ),
    two(
        "cloudnativelabs/kube-router/issues/138",
        "replies from pods behind ipip tunnels come on another interface: rp_filter drops them",
        *(
            Host(
                "4.4.78-k8s",
                DNS,
                {},
                sysctls={
                    "net/ipv4/conf/all/rp_filter": 1,
                    "net/ipv4/conf/eth0/rp_filter": 1,
                    "net/ipv4/conf/tun-1921681/rp_filter": 1,
                },
                programs=("kube-router",),
                addresses="eth0 10.0.0.7/24\nkube-dummy-if 10.96.0.10/32",
                nics={"eth0": "ena", "tun-1921681": "tunnel"},
                routes="eth0 10.0.0.0/24\neth0 0.0.0.0/0 10.0.0.1\ntun-1921681 10.244.1.0/24",
                files={"/proc/net/netstat": f"TcpExt: IPReversePathFilter\nTcpExt: {dropped}\n"},
                taken_s=taken_s,
            )
            for dropped, taken_s in ((500, 100.0), (740, 110.0))
        ),
        Must("net/rp-filter-director", (HIGH,), ("rp_filter", "240")),
    ),
    one(
        "facebookincubator/katran/issues/24",
        "rp_filter of a real server drops what comes out of the tunnel",
        Host(
            "4.19.0",
            sysctls={
                "net/ipv4/conf/all/rp_filter": 1,
                "net/ipv4/conf/ipip0/rp_filter": 0,
                "net/ipv4/conf/bond0/rp_filter": 0,
            },
            addresses="bond0 10.80.96.1/24\nlo 10.80.96.100/32\nipip0 127.0.0.42/32",
            nics={"bond0": "igb", "ipip0": "tunnel"},
            routes="bond0 10.80.96.0/24\nbond0 0.0.0.0/0 10.80.96.254",
        ),
        Must("realserver/tun-rp-filter", (CRITICAL,), ("rp_filter",)),
    ),
    one(
        "kubernetes/kubernetes/issues/73382",
        "4,000 endpoints on a node with 48 CPUs",
        Host(
            "4.4.0-141-generic",
            "\n".join(
                f"TCP  10.3.{n // 250}.{n % 250}:80 rr\n"
                f"  -> 10.2.1.{n % 250}:80 Masq 1 0 0\n  -> 10.2.2.{n % 250}:80 Masq 1 0 0"
                for n in range(1, 1335)
            ),
            None,
            files={
                "/sys/devices/system/cpu/online": "0-47\n",
                "/sys/devices/system/cpu/possible": "0-47\n",
            },
            **KUBE,
        ),
        Must("ipvs/estimation-cost", (HIGH,), ("4,002", "48 possible CPUs")),
    ),
    one(
        "coolsnowwolf/lede/issues/6089",
        "CPU 0 takes the interrupts of five ports, and eth0 and eth4 overrun",
        Host(
            "5.4.84",
            nics={f"eth{n}": "igb" for n in range(5)},
            counters={"eth0/rx_fifo_errors": 52_113, "eth4/rx_fifo_errors": 801},
            files={
                "/sys/devices/system/cpu/online": "0-3\n",
                "/proc/interrupts": "".join(
                    (
                        "            CPU0       CPU1       CPU2       CPU3\n",
                        *(
                            f" {30 + 2 * n + q}: {9_000_000 * (5 - n)} 11 12 9  IR-PCI-MSI "
                            f"{52_4288 + 2 * n + q}-edge      eth{n}-TxRx-{q}\n"
                            for n in range(5)
                            for q in range(2)
                        ),
                    )
                ),
            },
        ),
        Must("irq/single-cpu", (LOW,), ("Since boot, CPU 0", "eth0"), findings=1),
        Must("nic/rx-ring-overflow", (LOW,), ("eth0", "52,113")),
    ),
    one(
        "adobe-platform/porter/issues/124",
        "a load test fills the connection tracking table",
        Host(
            "4.4.19-29.55.amzn1.x86_64",
            sysctls={
                "net/netfilter/nf_conntrack_count": 65_530,
                "net/netfilter/nf_conntrack_max": 65_536,
            },
            log="[99990.8] nf_conntrack: nf_conntrack: table full, dropping packet\n",
        ),
        Must("conntrack/table-full", (CRITICAL,), ("100 %", "262144")),
    ),
    one(
        "openwrt/openwrt/issues/21827",
        "the transmit queues of ipqess, a NIC of a SoC, hang",
        Host(
            "6.12.66",
            nics={"eth0": "ipqess-edma@platform/soc/c080000.ethernet"},
            log="[99628.0] ipqess-edma c080000.ethernet eth0: NETDEV WATCHDOG: CPU: 1: transmit "
            "queue 3 timed out 5150 ms\n",
        ),
        Must("link/errors-flaps", (HIGH,), ("eth0", "1 time in")),
    ),
    two(
        "vieyahn2017/iBlog/issues/316",
        "the servers' replies do not come back through the director: only SYN_RECV",
        *(
            Host(
                "3.10.0-957.el7.x86_64",
                """
                TCP  192.168.10.152:8000 rr
                  -> 100.10.8.101:8000 Masq 1 0 41
                  -> 100.10.8.102:8000 Masq 1 0 40
                """,
                None,
                sysctls={"net/ipv4/ip_forward": 1},
                addresses="eth0 192.168.10.152/24\neth1 100.10.8.152/24",
                programs=("keepalived",),
                nics={"eth0": "e1000", "eth1": "e1000"},
                files={"/proc/net/ip_vs_stats": stats(packets, out=0)},
                taken_s=taken_s,
            )
            for packets, taken_s in ((1000, 100.0), (9000, 110.0))
        ),
        Must("ipvs/nat-forward-off", (CRITICAL,), ("no reply",)),
    ),
    one(
        "testground/infra/pull/14",
        "420 instances: a table of 32,768 neighbours is too small as well",
        Host(
            "4.14.165-133.209.amzn2.x86_64",
            sysctls={"net/ipv4/neigh/default/gc_thresh3": 32_768},
            log="[99990.2] arp_cache: neighbor table overflow!\n",
        ),
        Must("net/neigh-overflow", (HIGH,), ("65536",)),
    ),
    one(
        "moby/moby/issues/38723",
        "the namespace of the load balancer inherits ip_forward=0, so NAT replies are dropped",
        Host(
            "4.19.0-1-amd64",
            SWARM,
            {},
            sysctls={"net/ipv4/ip_forward": 0},
            programs=("dockerd",),
            addresses="eth0 10.0.1.2/24",
        ),
        Must("ipvs/nat-forward-off", (CRITICAL,), ("ip_forward is 0",)),
    ),
    one(
        "cloudnativelabs/kube-router/issues/561",
        "NOARP on kube-dummy-if is not enough: eth0 answers ARP for its addresses",
        Host(
            "4.14.0",
            """
            TCP  10.3.0.10:80 rr
              -> 10.2.0.7:8080 Masq 1 0 0
            """,
            {},
            addresses="eth0 10.3.0.2/16\nkube-dummy-if 10.3.0.10/32",
            nics={"eth0": "virtio_net"},
            sysctls={
                f"net/ipv4/conf/{interface}/{name}": 0
                for interface in ("all", "eth0", "kube-dummy-if")
                for name in ("arp_ignore", "arp_announce")
            },
            files={"/cmd/nft": "", "/cmd/arptables": ""},
        ),
        Must("realserver/arp-leak", (CRITICAL,), ("eth0 answers ARP", "10.3.0.10")),
    ),
    one(
        "Irqbalance/irqbalance/issues/122",
        "all interrupts of eth0's queues go to CPU 0",
        Host(
            "4.9.0-9-amd64",
            nics={"eth0": "ixgbe"},
            files={"/proc/interrupts": on_cpu_0(4, *(f"eth0-TxRx-{n}" for n in range(4)))},
        ),
        Must("irq/single-cpu", (LOW, INFO), ("Since boot, CPU 0", "eth0")),
    ),
    one(
        "VrayoSystems/vtrunkd/issues/159",
        "the queue of half-open connections of port 5400 is too short",
        Host(
            "4.1.0",
            addresses="eth0 10.0.0.5/24\nlo 10.0.0.77/32",
            sysctls={"net/core/somaxconn": 128},
            log="[99990.6] TCP: request_sock_TCP: Possible SYN flooding on port 5400. Sending "
            "cookies.  Check SNMP counters.\n",
        ),
        Must("realserver/listen-overflow", (LOW, MEDIUM), ("half-open", "5400"), findings=2),
    ),
    two(
        "LibreQoE/LibreQoS/issues/417",
        "a ring of 512 of 4,096 is too short for bursts: the NIC loses packets and sends pauses",
        *(
            Host(
                "5.15.0-88-generic",
                nics={"ens16f0": "ixgbe"},
                counters={"ens16f0/rx_packets": packets, "ens16f0/rx_missed_errors": missed},
                files={"/netlink/ethtool.json": RINGS},
                taken_s=taken_s,
            )
            for packets, missed, taken_s in ((10**6, 0, 100.0), (5 * 10**6, 9_000, 110.0))
        ),
        Must("nic/ring-below-max", (MEDIUM, HIGH), ("ens16f0", "512 of 4096")),
    ),
    one(
        "Seagate/cortx-prvsnr/issues/5465",
        "the NIC's driver gets no page: order 0 fails in the softirq of an idle CPU",
        Host(
            "3.10.0-1062.el7.x86_64",
            sysctls={"vm/min_free_kbytes": 90_112},
            files={"/proc/meminfo": "MemTotal: 196608000 kB\n"},
            log="Apr 01 16:27:01 sm21 kernel: swapper/21: page allocation failure: order:0, "
            "mode:0x20\n",
        ),
        Must("memory/atomic-reserve", (HIGH,), ("1 failure",)),
    ),
    one(
        "raspberrypi/linux/issues/153",
        "order 3 fails, for which the USB adapter's driver asks; smaller orders do not",
        Host(
            "3.6.11+",
            sysctls={"vm/min_free_kbytes": 8_192},
            log="Nov  7 01:06:18 raspberrypi kernel: [ 99609.763694] kswapd0: page allocation "
            "failure: order:3, mode:0x20\n",
        ),
        quiet=("memory/atomic-reserve",),
    ),
    one(
        "jcmvbkbc/linux-xtensa/issues/17",
        "the name of the task that failed is that of an interrupt thread, with a dot at its end",
        Host(
            "6.8.0",
            sysctls={"vm/min_free_kbytes": 512},
            log="[99554.227453] irq/5-600c0004.: page allocation failure: order:0, "
            "mode:0x820(GFP_ATOMIC), nodemask=(null)\n",
        ),
        Must("memory/atomic-reserve", (HIGH,), ("1 failure",)),
    ),
    one(
        "1000001101000/Debian_on_Buffalo/issues/35",
        "the reserve of about 2 MB is too small; 8,192 kB mends it",
        Host(
            "4.19.0-8-armmp",
            sysctls={"vm/min_free_kbytes": 2_000},
            files={"/proc/meminfo": "MemTotal: 512000 kB\n"},
            log="[  +0.000004] ksoftirqd/0: page allocation failure: order:0, "
            "mode:0x480020(GFP_ATOMIC)\n",
        ),
        Must("memory/atomic-reserve", (HIGH,), ("1 failure", "MiB free instead of 1 MiB")),
    ),
    one(
        "ntop/PF_RING/issues/293",
        "the link of a bypass adapter goes down and up every second",
        Host(
            "3.19.0-25-generic",
            nics={"eth11": "ixgbe"},
            log="".join(
                f"Nov 17 13:16:56 superserver kernel: [{99_314 + n}.{part}] ixgbe 0000:08:00.0 "
                f"eth11: NIC Link is {state}\n"
                for n in range(3)
                for part, state in (("654", "Up 10 Gbps, Flow Control: RX"), ("655", "Down"))
            ),
        ),
        Must("link/errors-flaps", (HIGH,), ("eth11", "3.0 times a day in the kernel log")),
    ),
)


def audited(report):
    snapshot = take_all([host.recorded() for host in report.hosts])
    outcomes = of_snapshot(None, snapshot, discovery.all_checks()).outcomes
    return {outcome.check.id: outcome for outcome in outcomes}


@pytest.mark.parametrize(
    "report", REPORTS, ids=lambda report: report.address.removeprefix(_GITHUB)
)
def test_the_audit_says_the_cause(report):
    outcomes = audited(report)

    errors = {o.check.id: o.reason for o in outcomes.values() if o.status is Status.ERROR}
    assert not errors
    for must in report.must:
        require(must, outcomes[must.check])
    noise = {check: [f.message for f in outcomes[check].findings] for check in report.quiet}
    assert not any(noise.values()), noise
