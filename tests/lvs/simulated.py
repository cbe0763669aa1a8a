"""A kernel's IPVS that takes the messages of the wire, as ip_vs_ctl.c does, by pyroute2's decoder.

Requests are read with pyroute2, not with dirtune's own code: what is wrong on the wire is wrong
here too. Answers to questions are the tables that the messages made.
"""

import errno
from contextlib import contextmanager
from socket import AF_INET6, inet_aton
from struct import pack

from msgspec.structs import replace
from pyroute2.netlink.generic.ipvs import ipvsmsg

from dirtune.lvs import kernel
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table, Timeouts
from dirtune.netlink import genl

PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
METHODS = {0: "nat", 2: "tun", 3: "dr"}
TUNNELS = {0: "ipip", 1: "gue", 2: "gre"}


def named(nla):
    return {name.split("_ATTR_")[1]: value for name, value in nla["attrs"]}


FRESH = Table((), Timeouts(900, 120, 300), ())


class Simulated(kernel.Kernel):
    """Holds a table; `carry_out` goes through the wire, reading does not."""

    def __init__(self, table=FRESH):
        super().__init__(Wire(self))
        self.services = {service.key: service for service in table.services}
        self.timeouts = table.timeouts
        self.daemons = list(table.daemons or ())
        self.busy = {}
        self.schedulers = {"rr", "wrr", "wlc", "lc", "sh", "mh"}
        self.requests = []
        self.fail_at = None

    # kernel.Kernel, for those who read

    def read(self):
        return Table(tuple(self.services.values()), self.timeouts, tuple(self.daemons))

    def active(self, service):
        return {
            d.key: self.busy.get((service.key, d.key), 0)
            for d in self.services[service.key].destinations
        }

    # genl.Socket, for those who write

    def get_errno(self, command, attributes):
        message = ipvsmsg(
            pack("=IHHIIBBxx", 20 + len(attributes), 0, 0, 0, 0, command, 1) + attributes
        )
        message.decode()
        get = named(message)
        if command in (9, 10, 12):
            return self._other(command, attributes)
        service = named(get["SERVICE"])
        key = self._key(service)
        known = self.services.get(key)
        if (known is None) != (command == 1):
            return errno.EEXIST if command == 1 else errno.ESRCH
        if command <= 3:
            return self._service(command, key, service)
        return self._destination(command, known, named(get["DEST"]))

    def _key(self, service):
        family = 6 if service["AF"] == AF_INET6 else 4
        if "FWMARK" in service:
            return (family, "fwmark", "", service["FWMARK"])
        return (family, PROTOCOLS[service["PROTOCOL"]], service["ADDR"], service["PORT"])

    def _service(self, command, key, get):
        if command == 3:
            del self.services[key]
            return 0
        if get["SCHED_NAME"] not in self.schedulers:
            return errno.ENOENT
        flags = get["FLAGS"]["flags"]
        mask = str(get["NETMASK"])
        if key[0] == 6:
            mask = str(int.from_bytes(inet_aton(mask), "little"))
        persistent = bool(flags & 1)
        self.services[key] = Service(
            protocol=key[1],
            address=key[2],
            port=key[3],
            scheduler=get["SCHED_NAME"],
            family=key[0],
            flags=flags & 0x3C,
            persistent_s=get["TIMEOUT"] if persistent else None,
            netmask=mask if persistent and mask not in ("255.255.255.255", "128") else "",
            engine=get.get("PE_NAME", ""),
            destinations=self.services[key].destinations if key in self.services else (),
        )
        return 0

    def _destination(self, command, service, get):
        key = (get["ADDR"], get["PORT"])
        others = tuple(each for each in service.destinations if each.key != key)
        if (len(others) == len(service.destinations)) != (command == 5):
            return errno.EEXIST if command == 5 else errno.ENOENT
        if command == 7:
            self.services[service.key] = replace(service, destinations=others)
            return 0
        if get["L_THRESH"] > get["U_THRESH"]:
            return errno.ERANGE
        six = get["ADDR_FAMILY"] == AF_INET6
        mixed = six != (service.family == 6)
        if mixed and (get["FWD_METHOD"] != 2 or self.daemons):
            return errno.EINVAL
        tun_port = get.get("TUN_PORT", 0)
        made = Destination(
            get["ADDR"],
            get["PORT"],
            METHODS[get["FWD_METHOD"]],
            get["WEIGHT"],
            get["U_THRESH"],
            get["L_THRESH"],
            TUNNELS[get.get("TUN_TYPE", 0)],
            # pyroute2 reads it in the machine's order; the kernel's is the network's.
            int.from_bytes(tun_port.to_bytes(2, "little"), "big"),
            get.get("TUN_FLAGS", 0),
        )
        self.services[service.key] = replace(service, destinations=(made, *others))
        return 0

    def _other(self, command, attributes):
        if command == 12:
            numbers = [int.from_bytes(attributes[at + 4 : at + 8], "little") for at in (0, 8, 16)]
            self.timeouts = Timeouts(*numbers)
            return 0
        state = {1: "master", 2: "backup"}[attributes[8]]
        running = {daemon.state for daemon in self.daemons}
        if (state in running) != (command == 10):
            return errno.EEXIST if command == 9 else errno.ESRCH
        if command == 10:
            self.daemons = [each for each in self.daemons if each.state != state]
        else:
            name = attributes[16:32].split(b"\0")[0].decode()
            self.daemons.append(SyncDaemon(state, name, maxlen=1472))
        return 0


class Wire:
    """What a `genl.Socket` does with a batch."""

    def __init__(self, simulated):
        self.simulated = simulated

    def carry_out(self, requests):
        refused = None
        for index, (command, attributes) in enumerate(requests):
            self.simulated.requests.append(command)
            if self.simulated.fail_at == len(self.simulated.requests):
                number = errno.ENOMEM
            else:
                number = self.simulated.get_errno(command, attributes)
            if number and refused is None:
                refused = genl.Refused(index, number)
        if refused:
            raise refused


def install(monkeypatch, simulated):
    """Make *simulated* the kernel of every host."""

    @contextmanager
    def opened(host):
        yield simulated

    monkeypatch.setattr(kernel, "opened", opened)
    monkeypatch.setattr(kernel, "loaded", lambda host: True)
    return simulated
