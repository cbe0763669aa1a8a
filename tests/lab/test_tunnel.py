"""A tunnel: the real server is a second guest, for this machine's kernel may end none."""

import json
from pathlib import Path

import pytest
from benches import dirtune, in_lab, on, plan, sweep

TUNNEL = ("separate", "--forwarding", "tun", "--clients", "2")
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("booted"), in_lab(TUNNEL)]


def out_of_the_tunnel():
    return int(on("rs1", "cat /sys/class/net/tunl0/statistics/rx_packets"))


def test_a_trial_goes_through_the_tunnel_and_comes_back_past_the_director(tmp_path):
    before = out_of_the_tunnel()

    asked = Path(plan(tmp_path, clients=2, rates=[30]))
    # Two guests and the clients share this machine: the load may well be late by a tenth.
    asked.write_text(asked.read_text().replace("[validity]\n", "[validity]\nlate = 20\n"))

    dirtune("bench", "run", str(asked), "--out", str(tmp_path))

    (trial,) = sweep(next(tmp_path.glob("*/run.json")))
    assert (trial["validity"], trial["reason"]) == ("valid", None)
    assert trial["replied"] == trial["attempted"] > 150
    assert trial["shares"] == {"rs1": trial["attempted"]}
    # A client sends four packets of a connection at the least.
    assert out_of_the_tunnel() - before > 4 * trial["attempted"]
    rows = on("lb1", "sleep 2.5; cat /proc/net/ip_vs_stats").splitlines()
    came, went = (int(cell, 16) for cell in rows[2].split()[1:3])
    assert came > 4 * trial["attempted"]
    assert went == 0


def network():
    """Whatever of the real server a preparation could change, to the byte."""
    return on(
        "rs1",
        "sysctl -a 2>/dev/null | grep '^net.ipv4.conf'; ip -o addr | sed 's/^[0-9]*//'; "
        "ip route show table all; sort /proc/modules | sed 's/0x.*//'",
    )


def test_the_end_of_the_tunnel_is_planned_made_proved_and_taken_back():
    on(
        "rs1",
        "rmmod ipip tunnel4 ip_tunnel; ip route add default via 198.18.0.1; "
        "sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.default.rp_filter=1",
    )
    before = network()

    assert dirtune("lvs", "plan", ok=(1,)).splitlines() == [
        "rs1:",
        "~ net.ipv4.conf.all.arp_ignore 0 -> 1  [realserver/arp-leak]",
        "+ load ipip  [realserver/tun-endpoint]",
        "~ net.ipv4.conf.tunl0.rp_filter 1 -> 2  [realserver/tun-rp-filter]",
        "~ tunl0 off -> on  [realserver/tun-endpoint]",
        "~ default route + advmss 1440  [realserver/tun-mss]",
        "+ 198.18.0.100/32 on tunl0  [realserver/vip-missing]",
    ]
    asked = dirtune("lvs", "check", "--format", "json", ok=(1,))
    assert json.loads(asked)["servers"] == {"rs1": "did not answer in 2 s"}

    assert "  rs1  answered\n" in dirtune("lvs", "apply")
    assert "default via 198.18.0.1 dev" in network()
    assert "advmss 1440" in network()

    on("rs1", "dirtune rollback")
    assert network() == before
