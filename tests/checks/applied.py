"""A recorded host after a fix: its settings are applied in memory, so that it is audited again."""

import dataclasses
from collections.abc import Mapping

from msgspec.structs import replace

from dirtune.collect.ethtool import Card, Feature
from dirtune.collect.sysctls import Sysctls
from dirtune.cpu_sets import parse_cpumask
from dirtune.settings import FEATURES, CardValues, IrqCpus, KernelFile
from dirtune.snapshot import Snapshot

_SYSCTL, _QUEUES = "/proc/sys/", "/queues/"
_FORWARD, _CONF, _EACH = "/proc/sys/net/ipv4/ip_forward", "net/ipv4/conf/", "/forwarding"


def applied(snapshot: Snapshot, settings) -> Snapshot | None:
    """The host with *settings*; None if one of them is of a kind that no snapshot shows."""
    for setting in settings:
        match setting:
            case KernelFile(path=path, value=value) if path.startswith(_SYSCTL):
                known = snapshot.sysctls.values if snapshot.sysctls else {}
                values = {**known, path.removeprefix(_SYSCTL): value}
                if path == _FORWARD and known.get("net/ipv4/ip_forward") != value:
                    # net/ipv4/devinet.c, inet_forward_change()
                    values |= {
                        n: value for n in known if n.startswith(_CONF) and n.endswith(_EACH)
                    }
                snapshot = dataclasses.replace(snapshot, sysctls=Sysctls(values))
            case KernelFile(path=path, value=value) if _QUEUES in path:
                snapshot = _steered(snapshot, path, value)
            case IrqCpus(irq=irq, cpus=cpus):
                snapshot = _moved(snapshot, irq, cpus)
            case CardValues(interface=name, group=group, values=values):
                snapshot = _set(snapshot, name, group, values)
            case _:
                return None
    return snapshot


def _steered(snapshot: Snapshot, path: str, value: str) -> Snapshot:
    name, queue, file = path.split("/")[4], path.split("/")[6], path.split("/")[7]
    kind = "rx_queues" if queue.startswith("rx") else "tx_queues"

    def changed(interface):
        queues = tuple(
            q
            if q.name != queue
            else dataclasses.replace(q, flows=int(value))
            if file == "rps_flow_cnt"
            else dataclasses.replace(q, cpus=parse_cpumask(value))
            for q in getattr(interface, kind)
        )
        return dataclasses.replace(interface, **{kind: queues})

    interfaces = tuple(changed(i) if i.name == name else i for i in snapshot.interfaces or ())
    return dataclasses.replace(snapshot, interfaces=interfaces)


def _moved(snapshot: Snapshot, irq: str, cpus: tuple[int, ...]) -> Snapshot:
    """The interrupts since the earlier sample come to the first of *cpus*."""
    states = dict(snapshot.proc_irq or {})
    if irq in states:
        states[irq] = dataclasses.replace(states[irq], affinity=cpus, effective=cpus[:1])
    snapshot = dataclasses.replace(snapshot, proc_irq=states or snapshot.proc_irq)
    earlier = snapshot.earlier
    if earlier and earlier.proc_irq and irq in earlier.proc_irq:
        before = {**earlier.proc_irq, irq: states[irq]}
        earlier = dataclasses.replace(earlier, proc_irq=before)
        snapshot = dataclasses.replace(snapshot, earlier=earlier)
    table = snapshot.interrupts
    then = earlier.interrupts.line(irq) if earlier and earlier.interrupts else None
    if table is None or then is None or cpus[0] not in table.cpus:
        return snapshot

    def counted(line):
        if line.irq != irq or not len(line.counts) == len(then.counts) == len(table.cpus):
            return line
        counts = list(then.counts)
        counts[table.cpus.index(cpus[0])] += sum(line.counts) - sum(then.counts)
        return dataclasses.replace(line, counts=tuple(counts))

    lines = tuple(map(counted, table.lines))
    return dataclasses.replace(snapshot, interrupts=dataclasses.replace(table, lines=lines))


def _set(snapshot: Snapshot, name: str, group: str, values: Mapping[str, int]) -> Snapshot:
    cards = dict(snapshot.ethtool or {})
    card = cards.get(name, Card())
    known = getattr(card, group) or {}
    require_possible(known, group, values)
    if group == FEATURES:
        values = {n: Feature(bool(on)) for n, on in values.items()}
    cards[name] = replace(card, **{group: {**known, **values}})
    return dataclasses.replace(snapshot, ethtool=cards)


def require_possible(known, group, values):
    """Require that a NIC is asked for no more than it says it can."""
    for name, value in values.items():
        limits = (f"{name}_max", f"max_{name.removesuffix('_count')}")
        most = next((known[limit] for limit in limits if limit in known), None)
        if group in {"rings", "channels"} and most is not None:
            assert value <= most, f"{group}: {name} {value} is more than the NIC's {most}"
        if group == FEATURES and name in known:
            assert not known[name].fixed, f"the driver does not change {name}"
