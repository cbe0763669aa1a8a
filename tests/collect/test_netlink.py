from typing import NamedTuple

import pyroute2.ethtool

from dirtune.collect import netlink
from dirtune.collect.ethtool import parse_ethtool
from dirtune.collect.netlink import ETHTOOL, IPVS, answers
from dirtune.errors import SourceMissing


class Rings(NamedTuple):
    rx: int
    rx_max: int | None


class Host:
    def glob(self, pattern):
        return ["/sys/class/net/no-such-card"]

    def read(self, path):
        raise SourceMissing(path)


class Library:
    """Answers as pyroute2 does: coalescing is a dictionary, all else is a tuple with names.

    The library of Debian 12 (0.7.2) is no context manager.
    """

    closed = 0

    def close(self):
        Library.closed += 1

    def get_rings(self, name):
        return Rings(256, None)

    def get_coalesce(self, name):
        return {"cmd": 14, "rx_coalesce_usecs": 3}


def test_both_kinds_of_answers(monkeypatch):
    monkeypatch.setattr(pyroute2.ethtool, "Ethtool", Library)

    card = parse_ethtool(answers(Host())[ETHTOOL])["no-such-card"]

    assert card.rings == {"rx": 256}
    assert card.coalesce == {"cmd": 14, "rx_coalesce_usecs": 3}
    assert card.channels is None
    assert Library.closed == 1


def test_nothing_is_asked_that_is_not_wanted(monkeypatch):
    monkeypatch.setattr(netlink, "_ethtool", lambda host: {"eth0": {}})

    assert list(answers(Host(), (ETHTOOL,))) == [ETHTOOL]
    assert answers(Host(), (IPVS,)) == {}
