"""NAT: the director stands between two networks, and real servers answer through it.

What came of a sweep is held to what the director's kernel and each real server's nginx counted.
"""

import json
import re

import pytest
from benches import dirtune, in_lab, on, plan, sweep

NAT = (
    "separate",
    "--clock",
    "host",
    "--forwarding",
    "nat",
    "--real-servers",
    "2",
    "--clients",
    "2",
)
pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(NAT)]

SERVERS = ("rs1", "rs2")


def counted():
    """Connections and packets in and out since boot: hexadecimal, copied every two seconds."""
    rows = on("lb1", "sleep 2.5; cat /proc/net/ip_vs_stats").splitlines()
    return [int(cell, 16) for cell in rows[2].split()[:3]]


def served(server):
    """Requests that a real server's nginx had, this one among them."""
    return int(on(server, "curl -s http://127.0.0.1/.status").splitlines()[2].split()[2])


def test_a_sweep_over_nat_agrees_with_the_director_and_the_real_servers(tmp_path):
    before, had = counted(), {server: served(server) for server in SERVERS}
    asked = plan(tmp_path, clients=2, rates=[40, 80], warmup=1, window=3)

    dirtune("bench", "run", asked, "--out", str(tmp_path))

    (run,) = tmp_path.glob("*/run.json")
    trials = sweep(run)
    texts = [path.read_text() for path in run.parent.glob("raw/*/c?.txt")]
    made = sum(int(re.search(r", (\d+) succeeded", text)[1]) for text in texts)
    # The sweep's trials and the look at all nodes; a request of each client goes before each.
    assert len(texts) == 2 * 3
    connections, came, went = (now - then for now, then in zip(counted(), before, strict=True))
    assert connections == pytest.approx(made + len(texts), rel=0.005)
    assert sum(served(server) - had[server] - 1 for server in SERVERS) == connections
    # Under DR none goes back through the director; a connection takes four packets at least.
    assert came > went > 4 * connections

    assert [round(trial["offered_rate"]) for trial in trials] == [40, 80]
    for trial in trials:
        assert trial["validity"] != "setup_error", trial["reason"]
        assert trial["replied"] == trial["attempted"] > 0
        one, other = (trial["shares"][server] for server in SERVERS)
        assert abs(one - other) <= 2
    assert json.loads(run.read_text())["plan"]["services"][0]["destinations"][0]["forwarding"] == (
        "nat"
    )


def network(node):
    """Whatever of a node's network a preparation could change, to the byte."""
    shown = "sysctl -a 2>/dev/null | grep '^net.ipv4.conf'; ip -o addr; ip route show table all"
    return on(node, shown)


def test_what_nat_asks_of_its_nodes_is_planned_made_proved_and_taken_back():
    """A gateway that is gone on rs1, and a director that sends redirects."""
    on("rs1", "ip route del default")
    on("lb1", "sysctl -qw net.ipv4.conf.all.send_redirects=1")
    before = network("rs1"), network("lb1")

    assert dirtune("lvs", "plan", ok=(1,)).splitlines() == [
        "~ net.ipv4.conf.all.send_redirects 1 -> 0  [realserver/nat-redirects]",
        "",
        "rs1:",
        "~ default route none -> via 198.18.0.1  [realserver/nat-gateway]",
    ]
    asked = dirtune("lvs", "check", "--format", "json", ok=(1,))
    assert json.loads(asked)["servers"] == {"rs1": "did not answer in 2 s", "rs2": None}
    # What the director refuses is no reason to leave a real server changed.
    dirtune("lvs", "apply", "--expect", "another", ok=(2,))
    assert (network("rs1"), network("lb1")) == before

    told = dirtune("lvs", "apply")

    assert "rs1: done: default route none -> via 198.18.0.1" in told
    assert "done: net.ipv4.conf.all.send_redirects 1 -> 0" in told
    assert "  rs1  answered\n  rs2  answered\n" in told
    assert "default via 198.18.0.1 dev load" in network("rs1")
    for node in ("rs1", "lb1"):
        on(node, "dirtune rollback")
    assert (network("rs1"), network("lb1")) == before
