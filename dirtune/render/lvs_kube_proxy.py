"""Render the part of kube-proxy's configuration that gives an IPVS table the values of a plan."""

import json
from collections import Counter
from collections.abc import Iterator

from dirtune.lvs.ipvsadm import require_words
from dirtune.lvs.model import Table


def config_map(table: Table) -> str:
    """Return the keys of config.conf in the ConfigMap kube-proxy, as YAML.

    kube-proxy has one scheduler for all services, and leaves the addresses in excludeCIDRs alone.
    Raises `NotPossible` if a value is not a plain word.
    """
    require_words(table)
    return "".join(f"{row}\n" for row in _rows(table))


def _rows(table: Table) -> Iterator[str]:
    yield "# Set these keys of config.conf, and leave the others as they are:"
    yield "#   kubectl -n kube-system edit configmap kube-proxy"
    yield "#   kubectl -n kube-system rollout restart daemonset kube-proxy"
    schedulers = Counter(service.scheduler for service in table.services)
    if len(schedulers) > 1:
        yield f"# The plan has the schedulers {', '.join(sorted(schedulers))}; kube-proxy has one."
    yield "mode: ipvs"
    yield "ipvs:"
    if schedulers:
        yield f"  scheduler: {schedulers.most_common(1)[0][0]}"
    yield "  # arp_ignore 1 and arp_announce 2, so that a node does not answer ARP for a VIP."
    yield "  strictARP: true"
    if table.timeouts is not None:
        yield f"  tcpTimeout: {table.timeouts.tcp}s"
        yield f"  tcpFinTimeout: {table.timeouts.tcp_fin}s"
        yield f"  udpTimeout: {table.timeouts.udp}s"
    addresses = sorted({service.address for service in table.services if service.address})
    if addresses:
        yield "  # Without these, kube-proxy deletes the services of the plan."
        yield "  excludeCIDRs:"
        for address in addresses:
            length = 128 if ":" in address else 32
            yield f"    - {json.dumps(f'{address}/{length}')}"
