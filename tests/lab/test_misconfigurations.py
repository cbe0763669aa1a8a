"""Faults set on purpose on the lab's nodes: each is found, and gone when it is undone.

One boot and two audits of the whole cluster: before, and with every fault set at once. A third,
after all are undone, is for test-long. The faults are set and undone with the tools an operator
would use, never with dirtune.
"""

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass

import pytest
from benches import DIRTUNE, dirtune, in_lab, on

from dirtune.lab import state
from dirtune.lab.spec import mac

MISCONFIGURED = ("misconfigured", "--cpus", "2", "--clients", "3")
pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(MISCONFIGURED)]

VIP = "198.18.0.100"
VS = "net.ipv4.vs"
CLIENTS = ("c1", "c2", "c3")
# What the load does to the table in the 12 s before an audit fills 256 buckets eight times over.
RATE = 200


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and the check that is to say so."""

    name: str
    node: str
    check: str
    subject: str
    """Part of the finding's subject or message."""
    do: str
    undo: str


RELOAD = (
    "ipvsadm-save -n > /tmp/services; ipvsadm -C; modprobe -r ip_vs_rr ip_vs_wlc ip_vs; "
    "modprobe ip_vs conn_tab_bits={bits}; ipvsadm-restore < /tmp/services; "
    f"sysctl -qw {VS}.conn_reuse_mode=1"
)
RULE = (
    "nft add table ip guard; "
    "nft add chain ip guard in '{ type filter hook input priority 0; }'; "
    "nft add rule ip guard in ip daddr 198.18.0.1 ct state established accept"
)
# A service whose server is reached over the second card.
SECOND = f"ipvsadm -A -t {VIP}:84 -s wlc; ipvsadm -a -t {VIP}:84 -r 198.18.128.11:80 -g"
NO_RULE = "nft delete table ip guard"
LRO = "ethtool -K enp0s24 lro {state}"
RPS = "echo {mask} > /sys/class/net/enp0s16/queues/rx-0/rps_cpus"
LISTENER = (
    'python3 -c \'import socket, time; s = socket.socket(); s.bind(("198.18.0.12", 8081)); '
    "s.listen(0); time.sleep(300)' >/dev/null 2>&1 & echo $! > /tmp/rs2-listener; sleep 1"
)
FAULTS = (
    Fault("hash table", "lb1", "ipvs/conn-table-small", "256",
          RELOAD.format(bits=8), RELOAD.format(bits=12)),
    Fault("packets dropped", "lb1", "ipvs/defence-active", "drop_packet",
          f"sysctl -qw {VS}.drop_packet=3", f"sysctl -qw {VS}.drop_packet=0"),
    Fault("nobody to serve", "lb1", "ipvs/no-destination", f"{VIP}:81",
          f"ipvsadm -A -t {VIP}:81 -s rr", f"ipvsadm -D -t {VIP}:81"),
    Fault("conntrack for nothing", "lb1", "conntrack/needless", "conntrack",
          f"{RULE}; sysctl -qw {VS}.conntrack=1", f"sysctl -qw {VS}.conntrack=0; {NO_RULE}"),
    Fault("templates of a server taken out", "lb1", "ipvs/stale-conn-policy", f"{VIP}:83",
          f"ipvsadm -A -t {VIP}:83 -s wlc -p 300; ipvsadm -a -t {VIP}:83 -r 198.18.0.11:80 -g",
          f"ipvsadm -D -t {VIP}:83"),
    Fault("weights that rr ignores", "lb1", "ipvs/weight-ignored", f"{VIP}:80",
          f"ipvsadm -e -t {VIP}:80 -r 198.18.0.13 -g -w 3",
          f"ipvsadm -e -t {VIP}:80 -r 198.18.0.13 -g -w 1"),
    Fault("a setting that was lost", "lb1", "ipvs/sysctl-lost", "expire_nodest_conn",
          f"echo {VS}.expire_nodest_conn=1 > /etc/sysctl.d/50-lvs.conf",
          "rm /etc/sysctl.d/50-lvs.conf"),
    Fault("NAT without forwarding", "lb1", "ipvs/nat-forward-off", "forward",
          f"ipvsadm -A -t {VIP}:82 -s wlc; ipvsadm -a -t {VIP}:82 -r 198.18.0.11:80 -m",
          f"ipvsadm -D -t {VIP}:82"),
    Fault("the way back from NAT", "rs1", "realserver/nat-gateway", "through the director",
          "ip route add default via 198.18.0.254", "ip route del default via 198.18.0.254"),
    Fault("one queue, RPS off", "lb1", "nic/single-queue", "enp0s16",
          RPS.format(mask=0), RPS.format(mask=3)),
    Fault("merged packets", "lb1", "nic/lro-forwarding", "enp0s24",
          f"{LRO.format(state='on')}; {SECOND}",
          f"{LRO.format(state='off')}; ipvsadm -D -t {VIP}:84"),
    Fault("somebody listens to everything", "lb1", "net/packet-taps", "enp0s16",
          "ip link set enp0s16 promisc on", "ip link set enp0s16 promisc off"),
    Fault("no room for neighbours", "lb1", "net/neigh-overflow", "gc_thresh3",
          "sysctl -qw net.ipv4.neigh.default.gc_thresh3=6",
          "sysctl -qw net.ipv4.neigh.default.gc_thresh3=1024"),
    Fault("a small backlog", "rs1", "realserver/listen-overflow", "somaxconn",
          "sysctl -qw net.core.somaxconn=16", "sysctl -qw net.core.somaxconn=4096"),
    Fault("an answer to ARP", "rs2", "realserver/arp-leak", "arp_ignore",
          "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
          "sysctl -qw net.ipv4.conf.all.arp_ignore=1"),
    Fault("a full accept queue", "rs2", "realserver/listen-overflow", "ListenOverflows",
          LISTENER, "kill $(cat /tmp/rs2-listener)"),
    Fault("a mask that is too wide", "rs3", "realserver/vip-mask", "/24",
          f"ip addr add {VIP}/24 dev lo; ip addr del {VIP}/32 dev lo",
          f"ip addr add {VIP}/32 dev lo; ip addr del {VIP}/24 dev lo"),
    Fault("nobody answers for the VIP", "rs4", "realserver/vip-missing", VIP,
          f"ip addr del {VIP}/32 dev lo", f"ip addr add {VIP}/32 dev lo"),
    Fault("few client ports", "c1", "client/ephemeral-ports", "100",
          "sysctl -qw net.ipv4.ip_local_port_range='60000 60099'",
          "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'"),
)  # fmt: skip


def everywhere(how):
    """Set or undo every fault, a node's in one go and the nodes at once."""
    running = []
    for node in dict.fromkeys(fault.node for fault in FAULTS):
        script = "; ".join(getattr(fault, how) for fault in FAULTS if fault.node == node)
        argv = [*DIRTUNE, "lab", "exec", node, "--", script]
        running.append((node, subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)))
    for node, process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, f"{node}: {said}"


@contextlib.contextmanager
def load(seconds=60):
    """Connections through the VIP, and some to the full accept queue, until the end."""
    tick = f"h2load --h1 -c {RATE * seconds} -n {RATE * seconds} -r {RATE // 50} "
    tick += f"--rate-period=20ms -T 1s -N 1s http://{VIP}/ >/dev/null 2>&1"
    knock = "for i in $(seq 200); do nc -w 1 -z 198.18.0.12 8081 & sleep 0.2; done"
    scripts = {"c2": f"({knock}) >/dev/null 2>&1 & {tick}", "c3": tick}  # c1 is short of ports
    running = [
        subprocess.Popen([*DIRTUNE, "lab", "exec", node, "--", f"timeout {seconds} sh -c '{s}'"])
        for node, s in scripts.items()
    ]
    try:
        time.sleep(12)
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def audits(booted):
    """The cluster's findings before and during the faults, as (node, check) -> outcome."""
    on(
        "lb1",
        "ip addr add 198.18.128.1/17 dev enp0s24; ip link set enp0s24 up; "
        f"{LRO.format(state='off')}; {RPS.format(mask=3)}; sysctl -qw {VS}.conn_reuse_mode=1",
    )
    card = mac(state.folder().spec().nodes()[0], "load")
    for client in CLIENTS:  # or the server that answers ARP for the VIP takes all of the load
        on(client, f"ip neigh replace {VIP} lladdr {card} nud permanent dev load")
    audits = {"before": audited()}
    everywhere("do")
    with load():
        audits["during"] = audited()
    return audits


@pytest.fixture(scope="module")
def after(audits):
    """The cluster's findings when every fault is undone."""
    everywhere("undo")
    return audited()


def audited():
    plan = state.folder().plan
    said = json.loads(dirtune("audit", "--cluster", str(plan), "--format", "json", ok=(0, 1)))
    assert said["unreachable"] == []
    outcomes = [(a["host"]["name"], o) for a in said["audits"] for o in a["outcomes"]]
    outcomes += [(None, o) for o in said["cross"]]
    assert [o for _, o in outcomes if o["status"] == "error"] == []
    return {(node, o["check"]): o for node, o in outcomes}


def told(outcomes, fault):
    """The findings about a fault; a check of several nodes names the node in its subject."""
    found = [*outcomes[fault.node, fault.check]["findings"]]
    across = outcomes.get((None, fault.check), {"findings": ()})
    found += [f for f in across["findings"] if fault.node in f["subject"]]
    return [
        f
        for f in found
        if fault.subject in json.dumps([f["subject"], f["message"], f["evidence"]])
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(audits, fault):
    assert told(audits["before"], fault) == []
    assert told(audits["during"], fault), audits["during"][fault.node, fault.check]


def test_a_lab_without_faults_has_nothing_above_info(audits):
    grave = [
        (node, check, finding["message"])
        for (node, check), outcome in audits["before"].items()
        for finding in outcome["findings"]
        if finding["severity"] not in {"info", "low"}
    ]

    assert grave == []


@pytest.mark.long  # one more audit of the cluster; `before` has none of them either
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_gone_when_it_is_undone(after, fault):
    assert told(after, fault) == []
