"""Tables of tens of thousands of services: the audit's work grows with the table, not faster.

Calls of functions are counted, because times depend on the machine.
"""

import json

import pytest

from dirtune.checks import audits, discovery
from dirtune.host import RecordedHost
from dirtune.render import audit as render
from dirtune.snapshot import take_all
from tests.counting import calls

FEW, MANY = 150, 600
PER_CPU = "              CPU0       CPU1\n"
FILES = {
    "/proc/net/snmp": "Ip: Forwarding\nIp: 1\n",
    "/proc/sys/kernel/osrelease": "6.1.0\n",
    "/proc/sys/net/ipv4/ip_forward": "1\n",
    "/proc/sys/net/ipv4/vs/conntrack": "0\n",
    "/proc/sys/net/ipv4/vs/conn_reuse_mode": "1\n",
    "/proc/sys/net/ipv4/vs/expire_nodest_conn": "0\n",
    "/proc/net/route": "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    "eth0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n",
    "/sys/class/net/eth0/statistics/rx_packets": "0\n",
    "/sys/class/net/eth0/operstate": "up\n",
    "/sys/class/net/eth0/mtu": "1500\n",
    "/sys/devices/system/cpu/online": "0-1\n",
    "/proc/interrupts": f"{PER_CPU} 24:          1          1   PCI-MSI 1-edge      eth0-rx-0\n",
    "/proc/1/stat": "1 (keepalived) S 0 " + "0 " * 48,
    "/cmd/ip-addr": "2: eth0    inet 10.0.0.1/8 scope global eth0\n",
    "/cmd/nft": "table ip f {\n chain forward {\n type filter hook forward priority 0; policy "
    "drop;\n ct state invalid drop\n }\n}\n",
    "/cmd/iptables": "",
    "/netlink/ethtool.json": '{"eth0": {"features": {"rx-lro": {"on": false}}}}',
}
LINKS = {"/sys/class/net/eth0": "../../devices/pci0000:00/0000:00:03.0/net/eth0"}
KINDS = (
    *(("TCP", "Masq", "wlc"), ("TCP", "Route", "wrr"), ("TCP", "Tunnel", "mh")),
    *(
        ("UDP", "Masq", "rr"),
        ("TCP", "Masq", "sh"),
        ("FWM", "Masq", "wlc"),
        ("TCP", "Local", "rr"),
    ),
)


def service(number, second, faulty):
    """Return a service with two destinations as netlink reports it; every third has a fault."""
    protocol, forward, scheduler = KINDS[number % len(KINDS)]
    marked = protocol == "FWM"
    fault = number % 3 if faulty else 1
    grown = 900 * second
    behind = [
        {
            "address": f"10.{number >> 15}.{number >> 7 & 255}.{number % 128 * 2 + last}",
            "port": 80 + (fault == 2),
            "forward": forward,
            "weight": 0 if fault == 0 else 1 + last,
            "active": 10 + number % 50,
            "inactive": number % 9,
            "connections": number + grown * (1 + 9 * last),
        }
        for last in range(2 * (not faulty or number % 5 != 0))
    ]
    return {
        "protocol": protocol,
        "scheduler": scheduler,
        "fwmark": number + 1 if marked else None,
        "address": None
        if marked
        else f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}",
        "port": None if marked else 80,
        "netmask": "255.255.255.255",
        "connections": number + grown,
        "packets_in": number * 9 + grown,
        "packets_out": 0 if faulty else number * 9 + grown,
        "destinations": behind,
    }


def place(address, port):
    return "".join(f"{int(part):02X}" for part in address.split(".")) + f":{port:04X}"


def listed(services):
    """Yield the rows of /proc/net/ip_vs for the *services*."""
    yield "IP Virtual Server version 1.2.1 (size=4096)\n\n\n"
    for each in services:
        mark = each["fwmark"]
        where = f"{mark:08X}" if mark else place(each["address"], each["port"])
        yield f"{each['protocol']}  {where} {each['scheduler']}\n"
        for real in each["destinations"]:
            counts = f"{real['weight']} {real['active']} {real['inactive']}"
            yield f"  -> {place(real['address'], real['port'])} {real['forward']} {counts}\n"


def samples(number, *, faulty):
    for second in (0, 1):
        services = [service(each, second, faulty) for each in range(number)]
        files = FILES | {
            "/proc/net/ip_vs": "".join(listed(services)),
            "/netlink/ipvs.json": json.dumps({"services": services}),
            "/sys/class/net/eth0/statistics/rx_packets": str(10**6 * second),
            "/proc/net/fib_trie": "".join(
                f"  |-- {each['address']}\n     /32 host LOCAL\n"
                for each in services
                if each["address"]
            ),
        }
        yield RecordedHost(files, LINKS, taken_s=1.0 + 2 * second)


def audit(snapshot):
    return audits.of_snapshot(None, snapshot, discovery.all_checks())


@pytest.mark.parametrize("faulty", [False, True])
def test_the_work_of_an_audit_grows_with_the_table(faulty):
    work = {}
    for number in (FEW, MANY):
        snapshot = take_all(tuple(samples(number, faulty=faulty)))
        assert len(snapshot.services) == len(snapshot.ipvs.services) == number
        audit(snapshot)  # caches of what does not depend on the table
        work[number] = calls(audit, snapshot)[0]

    assert work[MANY] < work[FEW] * MANY / FEW * 1.1


def test_every_check_of_services_looks_at_the_table():
    """The test above would prove nothing of a check that is skipped."""
    snapshot = take_all(tuple(samples(FEW, faulty=True)))
    skipped = {
        outcome.check.id: outcome.reason
        for outcome in audit(snapshot).outcomes
        if outcome.check.id.startswith("ipvs/") and outcome.status in {"skipped", "error"}
    }

    assert skipped.keys() <= {"ipvs/backup-loop", "ipvs/sysctl-lost"}


def test_the_text_of_an_audit_is_short():
    text = render.text(audit(take_all(tuple(samples(MANY, faulty=True)))))

    assert "no-destination" in text
    assert len(text.splitlines()) < 200
