"""Directors and their real servers, written by hand."""

from dirtune.collect.ip_vs import Destination, Service
from dirtune.collect.rulesets import Rulesets
from dirtune.snapshot import Snapshot
from tests.checks.nodes import LINK, RULES, VIP, default

NEAR, FAR = "198.18.0.11", "192.0.2.11"


def director(forward, *servers, vip=VIP, **fields):
    rows = tuple(Destination(each, 80, forward, 1, 0, 0) for each in servers)
    services = (Service("TCP", vip, 80, None, "rr", destinations=rows),)
    defaults = {
        "services": services,
        "routes": (LINK, default("198.18.0.254")),
        "addresses": frozenset({vip, "198.18.0.1"}),
        "rulesets": Rulesets(None, None, RULES, None),
    }
    return Snapshot(**(defaults | fields))
