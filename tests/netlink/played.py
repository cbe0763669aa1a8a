"""A kernel's IPVS that answers with recorded messages, in place of `genl.Socket`."""

import struct
from pathlib import Path

from dirtune.netlink import genl

RECORDED = Path(__file__).parent.parent / "lvs" / "recorded"


def recorded():
    """The recorded messages: services with their destinations, the configuration, the daemons."""
    services, config = [], b""
    for line in (RECORDED / "netlink.txt").read_text().splitlines():
        kind, data = line[0], bytes.fromhex(line[2:])
        if kind == "S":
            services.append((data, []))
        elif kind == "D":
            services[-1][1].append(data)
        else:
            config = data
    daemons = (RECORDED / "daemons.txt").read_text().splitlines()
    return services, config, [bytes.fromhex(line[2:]) for line in daemons]


class Played:
    """Answers IPVS_CMD_GET_*; each message goes through *change* first."""

    def __init__(self, messages=None, change=lambda data: data):
        self.services, self.config, self.daemons = messages or recorded()
        self.change = change

    def __call__(self, family, version):
        assert (family, version) == ("IPVS", 1)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def get(self, command, attributes=b""):
        assert (command, attributes) == (13, b"")
        return self.change(self.config)

    def dump(self, command, attributes=b""):
        if command == 8:
            return [self.change(each) for each in self._behind(attributes)]
        assert attributes == b""
        rows = {4: [data for data, _ in self.services], 11: self.daemons}[command]
        return [self.change(each) for each in rows]

    def _behind(self, attributes):
        # The kernel tells a service's key first, in the order in which it is asked for.
        length, kind = struct.unpack_from("=HH", attributes)
        assert (length, kind) == (len(attributes), 0x8001)
        for data, behind in self.services:
            if data[4:].startswith(attributes[4:]):
                return behind
        raise genl.Refused(0, 3)
