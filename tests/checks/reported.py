"""Recorded hosts rebuilt from the texts that people put into bug reports."""

import ipaddress
import json
from dataclasses import dataclass, field

from dirtune.host import RecordedHost

VS = {
    "conntrack": 0,
    "expire_nodest_conn": 0,
    "expire_quiescent_template": 0,
    "conn_reuse_mode": 1,
    "schedule_icmp": 0,
    "sloppy_tcp": 0,
    "pmtu_disc": 1,
    "drop_entry": 0,
    "drop_packet": 0,
    "secure_tcp": 0,
    "backup_only": 0,
}
"""Defaults of net.ipv4.vs (Documentation/networking/ipvs-sysctl.rst)."""
_TUNNEL = "tunnel"


@dataclass
class Host:
    """The parts of a host that a report tells; each text is as its program printed it."""

    release: str = "6.1.0-30-amd64"
    table: str = ""
    """Rows as `ipvsadm -Ln` prints them, without the three head rows."""
    netlink: dict[str, object] | None = None
    """Fields of every service that only netlink tells, or None without an answer."""
    timeouts: tuple[int, int, int] = (900, 120, 300)
    sysctls: dict[str, object] = field(default_factory=dict)
    """Settings below net/ipv4/vs if they have no slash."""
    programs: tuple[str, ...] = ()
    addresses: str = ""
    """Rows `INTERFACE ADDRESS/PREFIX`."""
    nics: dict[str, str] = field(default_factory=dict)
    """The driver by interface; `DRIVER@BUS` if the NIC is not on PCI, `tunnel` for a tunnel."""
    routes: str = ""
    """Rows `INTERFACE NETWORK/PREFIX [GATEWAY]`."""
    counters: dict[str, int] = field(default_factory=dict)
    """`NIC/COUNTER` of sysfs."""
    log: str = ""
    files: dict[str, str] = field(default_factory=dict)
    taken_s: float = 100_000.0

    def recorded(self) -> RecordedHost:
        files = {
            "/proc/sys/kernel/osrelease": f"{self.release}\n",
            "/proc/sys/kernel/version": "#1 SMP\n",
            "/proc/net/snmp": "Ip: Forwarding\nIp: 1\n",
        }
        links: dict[str, str] = {}
        if self.table:
            files["/proc/net/ip_vs"] = _table(self.table)
            for name, value in {**VS, **self.sysctls}.items():
                path = name if "/" in name else f"net/ipv4/vs/{name}"
                files[f"/proc/sys/{path}"] = f"{value}\n"
        else:
            files |= {f"/proc/sys/{n}": f"{v}\n" for n, v in self.sysctls.items()}
        if self.netlink is not None:
            files["/netlink/ipvs.json"] = json.dumps(self._netlink())
        for number, name in enumerate(("systemd", *self.programs), 700):
            files[f"/proc/{number}/stat"] = _process(number, name)
        if self.addresses:
            files |= _addresses(self.addresses)
        for name, driver in self.nics.items():
            _nic(files, links, name, driver)
        if self.routes:
            files["/proc/net/route"] = _routes(self.routes)
        for name, value in self.counters.items():
            nic, counter = name.split("/")
            files[f"/sys/class/net/{nic}/statistics/{counter}"] = f"{value}\n"
        if self.log:
            files["/cmd/dmesg"] = self.log
        return RecordedHost(files | self.files, links, taken_s=self.taken_s)

    def _netlink(self) -> dict[str, object]:
        names = ("tcp", "tcp_fin", "udp")
        services = []
        for service, servers in _services(self.table):
            protocol, where, scheduler, *_ = service
            address, _, port = where.rpartition(":")
            rows = [
                {
                    **dict(zip(("address", "port"), _where(server[1]), strict=True)),
                    "forward": server[2],
                    "weight": int(server[3]),
                    "active": int(server[4]),
                    "inactive": int(server[5]),
                }
                for server in servers
            ]
            which = {"fwmark": int(where)} if protocol == "FWM" else {}
            which = which or {"address": address.strip("[]"), "port": int(port)}
            services.append(
                {"protocol": protocol, "scheduler": scheduler, "destinations": rows}
                | {"netmask": "255.255.255.255", **which, **(self.netlink or {})}
            )
        return {"services": services, "timeouts_s": dict(zip(names, self.timeouts, strict=True))}


def _services(table):
    groups = []
    for row in table.strip().splitlines():
        cells = row.split()
        if cells[0] == "->":
            groups[-1][1].append(cells)
        else:
            groups.append((cells, []))
    return groups


def _where(text):
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def _hex(text):
    address, port = _where(text)
    return f"{int(ipaddress.IPv4Address(address)):08X}:{port:04X}"


def _table(text):
    """The table as /proc/net/ip_vs has it (ip_vs_ctl.c, ip_vs_info_seq_show())."""
    rows = [
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
    ]
    rows.append("  -> RemoteAddress:Port Forward Weight ActiveConn InActConn")
    for (protocol, where, scheduler, *flags), servers in _services(text):
        name = f"{int(where):08X}" if protocol == "FWM" else _hex(where)
        rows.append(" ".join((f"{protocol}  {name} {scheduler}", *flags)))
        rows += [f"  -> {_hex(server[1])}      {' '.join(server[2:])}" for server in servers]
    return "\n".join(rows) + "\n"


def _process(number, name):
    numbers = ["0"] * 50
    numbers[18] = "20"
    return f"{number} ({name}) S 1 {' '.join(numbers)}\n"


def _addresses(text):
    rows, trie = [], ["Main:", "  +-- 0.0.0.0/0 3 0 5", "Local:"]
    for number, row in enumerate(text.strip().splitlines(), 1):
        interface, address = row.split()
        scope = "host" if interface == "lo" else "global"
        rows.append(f"{number}: {interface}    inet {address} scope {scope} {interface}\\")
        trie += [f"     |-- {address.split('/')[0]}", "        /32 host LOCAL"]
    return {"/cmd/ip-addr": "\n".join(rows) + "\n", "/proc/net/fib_trie": "\n".join(trie) + "\n"}


def _routes(text):
    """The main table as /proc/net/route has it: addresses are little-endian."""
    rows = ["Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"]
    for row in text.strip().splitlines():
        interface, network, *gateway = row.split()
        known = ipaddress.IPv4Network(network)
        numbers = (known.network_address, (gateway or ["0.0.0.0"])[0], known.netmask)
        where, via, mask = (
            int.from_bytes(ipaddress.IPv4Address(str(n)).packed, "little") for n in numbers
        )
        flags = 3 if gateway else 1
        rows.append(f"{interface} {where:08X} {via:08X} {flags:04X} 0 0 0 {mask:08X} 0 0 0")
    return "\n".join(rows) + "\n"


def _nic(files, links, name, driver):
    folder, number = f"/sys/class/net/{name}", len(links)
    driver, _, bus = driver.partition("@")
    if driver == _TUNNEL:
        links[folder] = f"../../devices/virtual/net/{name}"
    else:
        device = bus or f"pci0000:00/0000:00:{number + 3:02x}.0"
        links[folder] = f"../../devices/{device}/net/{name}"
        links[f"{folder}/device/driver"] = f"../../../../bus/pci/drivers/{driver}"
    kind, flags = (768, "0x81") if driver == _TUNNEL else (1, "0x1003")
    facts = {"operstate": "up", "mtu": 1500, "type": kind, "flags": flags, "ifindex": number + 2}
    files |= {f"{folder}/{fact}": f"{value}\n" for fact, value in facts.items()}
    files |= {
        f"{folder}/statistics/{n}": "1000000\n"
        for n in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes")
    }
