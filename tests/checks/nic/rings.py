"""Hosts whose NICs have rings, and lose packets."""

import dataclasses

from dirtune.collect.ethtool import Card
from tests.checks.samples import interface, two

NONE_LOST = {"rx_missed_errors": 0, "rx_fifo_errors": 0, "rx_over_errors": 0}


def taken(rise=None, *, driver="igb", card=None, counters=None, pps=100_000, **fields):
    """10 s; *rise* of sysfs' counters from 7 each, *counters* of the driver's from 3."""
    risen = {name: 7 + n for name, n in (NONE_LOST | (rise or {})).items()}
    port = fields.pop("port", {})
    now = interface(driver=driver, packets=2_000_000, statistics=risen, **port)
    then = dataclasses.replace(
        now, rx_packets=2_000_000 - 10 * pps, statistics=dict.fromkeys(risen, 7)
    )
    card = card or {}
    own = {name: 3 + n for name, n in (counters or {}).items()}
    return two(
        {
            "interfaces": (then,),
            "ethtool": {"eth0": Card(statistics=dict.fromkeys(own, 3), **card)},
        },
        interfaces=(now,),
        ethtool={"eth0": Card(statistics=own, **card)},
        **fields,
    )
