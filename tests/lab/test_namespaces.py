"""IPVS in another network namespace, laid out as Docker Swarm does; ipvsadm(8) is the second tool.

Swarm's ingress_sbox is a namespace without a process, mounted in /run/docker/netns, whose services
are firewall marks from 256 on.
"""

import json

import pytest
from benches import SEPARATE, dirtune, in_lab, on

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(SEPARATE)]
SANDBOX = "/run/docker/netns/ingress_sbox"
THERE = f"nsenter --net={SANDBOX}"
BEGIN = f"""\
mkdir -p /run/docker/netns && touch {SANDBOX}
unshare --net mount --bind /proc/self/ns/net {SANDBOX} || exit
{THERE} ip link set lo up
for mark in 256 257; do
  {THERE} ipvsadm -A -f $mark -s rr
  {THERE} ipvsadm -a -f $mark -r 198.18.64.$((mark - 250)) -m
done
"""


@pytest.fixture(autouse=True)
def _swarm(booted):
    on("lb1", "modprobe ip_vs")
    on("lb1", BEGIN)
    yield
    on("lb1", f"umount {SANDBOX} && rm {SANDBOX} && rmdir /run/docker/netns /run/docker")


def test_services_of_swarm_are_named_and_read(booted):
    audit = "dirtune audit --interval 0 --select ipvs"
    said = on("lb1", f"{audit} 2>&1 >/dev/null", ok=(0, 1))
    inside = json.loads(on("lb1", f"{audit} --netns ingress_sbox --format json", ok=(0, 1)))
    table = dirtune("lvs", "export", "--host", "lb1", "--netns", "ingress_sbox")

    look = "Look there: dirtune audit --netns ingress_sbox"
    assert "2 IPVS services are in the network namespace ingress_sbox" in said
    assert look in said
    assert "director" in inside["roles"]
    assert sorted(table.splitlines()) == sorted(on("lb1", f"{THERE} ipvsadm -Sn").splitlines())
    assert "-f 256" in table
    # The host keeps its own table.
    assert "-f 256" not in on("lb1", "ipvsadm -Sn")
