"""Write the keepalived.conf of each of a lab's two directors. Pure.

keepalived moves the VIP between the directors with VRRP, creates the service on both, and runs the
sync daemons of IPVS: the master's sends its connections, the backup's receives them. Adverts and
the VIP use the NIC of the load, as at most sites. Synchronisation uses the control network.
"""

import re

from dirtune.analyse.run import Role
from dirtune.errors import NotPossible
from dirtune.lab.spec import VIP, Node, Spec
from dirtune.lvs.keepalived_text import blocks
from dirtune.lvs.model import Destination, Service, Table

CONFIGURATION = "/etc/keepalived/keepalived.conf"
LOAD_NIC, CONTROL_NIC = "@load@", "@ctl@"
_READY = {
    True: f"ip -4 addr show dev $load | grep -qF {VIP}/32",
    False: f"ipvsadm -Ln | grep -qF {VIP}:80",
}
_OPTIONS = "--dont-fork --log-console --log-detail --no-syslog"
"""Placeholders in the text; a director's boot script replaces them with the names of its NICs."""
SYNC_ID = 51
"""Number of the VRRP instance, and the sync id of its connections."""
_WORD = re.compile(r"[a-z0-9.-]+")
# The first director takes the VIP back when it returns.
_PRIORITY = (("MASTER", 150), ("BACKUP", 100))


def table(spec: Spec) -> Table:
    """Return the IPVS table of both directors, which is that of the lab's plan."""
    servers = spec.with_role(Role.REAL_SERVER)
    ends = tuple(Destination(server.load_address, 80, spec.forwarding) for server in servers)
    return Table((Service("tcp", VIP, 80, "rr", destinations=ends),))


def keepalived(spec: Spec, node: Node) -> str:
    """Return the keepalived.conf(5) of the director *node*.

    Raises `NotPossible` if a name is not a plain word, because the format has no quotes.
    """
    if not _WORD.fullmatch(node.name):
        raise NotPossible(f"{node.name!r} is not a plain word, which keepalived.conf requires.")
    state, priority = _PRIORITY[spec.with_role(Role.DIRECTOR).index(node)]
    return f"""\
# Written by `dirtune lab up --backup`.
global_defs {{
    router_id {node.name}
    lvs_sync_daemon {CONTROL_NIC} VI_1 id {SYNC_ID}
}}

vrrp_instance VI_1 {{
    state {state}
    interface {LOAD_NIC}
    virtual_router_id {SYNC_ID}
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {VIP}/32 dev {LOAD_NIC}
    }}
}}

{blocks(table(spec))}"""


def start(spec: Spec, node: Node) -> str:
    """Return the script lines that start keepalived on the director *node*.

    The lines wait until the first director holds the VIP, or until the second one has the service.
    """
    first = node == spec.with_role(Role.DIRECTOR)[0]
    return "\n".join(
        (
            f'sed -i "s/{LOAD_NIC}/$load/; s/{CONTROL_NIC}/$ctl/" {CONFIGURATION}',
            f"keepalived {_OPTIONS} >/run/keepalived.log 2>&1 &",
            f"for _ in $(seq 60); do {_READY[first]} && break; sleep 0.5; done",
        )
    )
