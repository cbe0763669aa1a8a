"""The device that a message of the kernel log is about: the one that its beginning names."""

from collections.abc import Mapping

from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.checks.once import once
from dirtune.collect.log_messages import LogLine, Message
from dirtune.snapshot import Snapshot

_BEFORE = ("NETDEV WATCHDOG: ", "IPv6: ", "ADDRCONF(NETDEV_CHANGE): ", "ADDRCONF(NETDEV_UP): ")
_HEAD = (
    3  # words: the driver, the device on its bus, the interface (net/core/dev.c, netdev_printk)
)
_PHY = 8  # words: phylib names the PHY's driver, which may have several words
_NOT_ITS_OWN = frozenset({"pci"})


def named(text: str, own: frozenset[str]) -> tuple[str, ...]:
    """Return the names in the beginning of a message; none if a program may have written it.

    *own* are the names of the host's drivers and devices. A message begins with one of them, with
    the three names of netdev_printk() or, if it is about a PHY, with words up to its first colon.
    A program's name with a colon is none of these.
    """
    for prefix in _BEFORE:
        text = text.removeprefix(prefix)
    words = text.split(None, _PHY)
    head = tuple(word.rstrip(":,") for word in words[:_HEAD])
    if head and head[0] in own:
        return head
    closed = next((n for n, word in enumerate(words[:_PHY]) if word.endswith(":")), None)
    if closed is None or closed < 2:
        return ()
    return head if closed == _HEAD - 1 else (words[closed].rstrip(":"),)


@once
def _own(snapshot: Snapshot) -> frozenset[str]:
    ports = tuple(snapshot.interfaces or ())
    devices = tuple(snapshot.pci or ())
    drivers = [*(i.driver for i in ports), *(d.driver for d in devices)]
    names = {i.name for i in ports} | {name for d in devices for name in (d.address, *d.nets)}
    phys = {i.phy for i in ports if i.phy} | {i.pci for i in ports if i.pci}
    return NIC_DRIVERS | _NOT_ITS_OWN | names | phys | {d for d in drivers if d}


def by_name(snapshot: Snapshot, message: Message) -> Mapping[str, list[tuple[int, LogLine]]]:
    """Return the lines of *message* with their numbers, by the names that they begin with."""
    own = _own(snapshot)
    lines: dict[str, list[tuple[int, LogLine]]] = {}
    for number, line in enumerate(message.lines(snapshot.kernel_log)):
        for name in dict.fromkeys(named(line.text, own)):
            lines.setdefault(name, []).append((number, line))
    return lines


def is_of_nic(snapshot: Snapshot, text: str) -> bool:
    """Whether the beginning of a message names a NIC's driver, a NIC or its PCI device."""
    return not _nics(snapshot).isdisjoint(named(text, _own(snapshot)))


@once
def _nics(snapshot: Snapshot) -> frozenset[str]:
    names = {i.name for i in snapshot.interfaces or () if i.physical}
    return NIC_DRIVERS | names | {d.address for d in snapshot.pci or () if d.nets}
