"""Save and restore the settings of a NIC's queues, which a change of the NIC may lose.

The kernel drops the masks of RPS and XPS together with the queues that a change of channels
removes: netif_reset_xps_queues_gt() in net/core/dev.c, rx_queue_release() in net/core/net-sysfs.c
(tried on Linux 6.18 with veth). The rest depends on the driver (sources of Linux 5.10 to 6.5):

- With the channels, mlx5e_num_channels_changed() sets XPS of all queues, and an even RSS table
  unless somebody set a table. virtnet_set_affinity() sets XPS and moves the interrupts.
- ena closes and opens the NIC to set rings or channels (ena_update_queue_sizes()), and atlantic to
  set LRO (aq_ndev_set_features()). Both then request the interrupts again, and
  irq_set_affinity_hint() moves them.
- An interrupt without a handler keeps the affinity that user space set, but its next start reduces
  it to the NUMA node of the NIC (irq_setup_affinity() in kernel/irq/manage.c). A driver that also
  allocates its vectors again gets interrupts with the default affinity.

A change of coalescing keeps the queues and these settings.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec

from dirtune.change import nic
from dirtune.change.expected import require
from dirtune.collect.files import text_in, texts_in
from dirtune.collect.interrupts import read_interrupts
from dirtune.errors import ApplyError, DirtuneError, ParseError, SourceMissing, SourceRefused
from dirtune.host import Host, WritableHost, literal

_FILES = ("rps_cpus", "rps_flow_cnt", "xps_cpus", "xps_rxqs")


class Interrupt(msgspec.Struct, frozen=True):
    """The CPUs of one of the NIC's interrupts."""

    irq: str
    """Its number, which another interrupt may have after the change."""
    action: str
    """The name of its handler, which contains the queue, and in most drivers the interface."""
    cpus: str
    """The list of CPUs, as the kernel prints it."""


class Queues(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings of a NIC's queues, as far as the kernel and the driver report them."""

    masks: dict[str, str] = {}
    """Texts of files, such as `rx-0/rps_cpus`, by their paths in the folder of the queues."""
    interrupts: tuple[Interrupt, ...] = ()
    rss: tuple[int, ...] | None = None
    """The RSS indirection table."""


def read(host: Host, interface: str) -> Queues:
    """Return the settings of the queues of *interface*."""
    folder = _folder(interface)
    texts: dict[str, str] = {}
    for name in _FILES:
        texts |= texts_in(host, f"{literal(folder)}/*/{name}")
    return Queues(
        {path.removeprefix(f"{folder}/"): text for path, text in texts.items()},
        tuple(_interrupts(host, interface)),
        nic.rss_table(host, interface),
    )


def release(host: WritableHost, interface: str, then: Queues) -> None:
    """Let the driver choose the RSS table if it uses queues that the saved table *then* does not.

    The kernel refuses to remove a queue that a table uses if somebody set the table:
    ethnl_set_channels() in net/ethtool/channels.c.
    """
    table = nic.rss_table(host, interface)
    if table and then.rss and max(table) > max(then.rss):
        with suppress(ApplyError):  # then the kernel decides about the channels
            nic.write_rss_table(host, interface, ())


def restore(host: WritableHost, interface: str, then: Queues, name_then: str) -> None:
    """Restore the settings that differ from the saved ones, *then*, where the queues exist.

    *name_then* is the former name of *interface*. Every setting is tried; raises `ApplyError` with
    those that failed.
    """
    files = {f"{_folder(interface)}/{name}": text for name, text in then.masks.items()}
    for interrupt, number in _numbers(host, interface, then, name_then):
        if number is not None:
            files[_affinity(number)] = interrupt.cpus
    stuck: list[str] = []
    for path, text in files.items():
        with _noting(stuck):
            _restore_file(host, path, text)
    with _noting(stuck):
        _restore_rss(host, interface, then.rss)
    if stuck:
        raise ApplyError("; ".join(stuck))


def names(host: Host, interface: str, then: Queues, name_then: str) -> frozenset[str]:
    """Return the names of the settings in *then*, in the form of `Action.targets`."""
    masks = {f"{_folder(interface)}/{name}" for name in then.masks}
    numbers = _numbers(host, interface, then, name_then)
    affinities = {_affinity(number or gone.irq) for gone, number in numbers}
    return frozenset(masks | affinities | ({f"{interface} RSS table"} if then.rss else set()))


@contextmanager
def _noting(stuck: list[str]) -> Iterator[None]:
    try:
        yield
    except DirtuneError as error:
        stuck.append(str(error))


def _restore_file(host: WritableHost, path: str, text: str) -> None:
    now = text_in(host, path)
    if now is not None and now != text:
        host.write(path, text)
        require(path, text_in(host, path), text)


def _restore_rss(host: Host, interface: str, table: tuple[int, ...] | None) -> None:
    if table is None or nic.rss_table(host, interface) == table:
        return
    # The driver's own table first: one that is set makes the kernel refuse fewer channels, and
    # keeps the driver from using more.
    nic.write_rss_table(host, interface, ())
    if nic.rss_table(host, interface) != table:
        nic.write_rss_table(host, interface, table)
    require(f"{interface} RSS table", str(nic.rss_table(host, interface)), str(table))


def _numbers(
    host: Host, interface: str, then: Queues, name_then: str
) -> Iterator[tuple[Interrupt, str | None]]:
    """Yield each interrupt of *then* with its present number; None if it is gone."""
    now = _actions(host, interface) if then.interrupts else {}
    for interrupt in then.interrupts:
        wanted = {interrupt.action, interrupt.action.replace(name_then, interface)}
        found = [irq for irq, action in now.items() if action in wanted]
        alone = found[0] if len(found) == 1 else None
        yield interrupt, interrupt.irq if interrupt.irq in found else alone


def _interrupts(host: Host, interface: str) -> Iterator[Interrupt]:
    for irq, action in _actions(host, interface).items():
        path = _affinity(irq)
        cpus, mode = text_in(host, path), host.mode(path)
        # The kernel itself sets an interrupt whose file is read-only, since Linux 6.12.
        if cpus is not None and (mode is None or mode & 0o200):
            yield Interrupt(irq, action, cpus)


def _actions(host: Host, interface: str) -> Mapping[str, str]:
    """Return the name of the handler of each MSI of the NIC, by the interrupt's number."""
    device = f"/sys/class/net/{literal(interface)}/device"
    vectors = host.glob(f"{device}/msi_irqs/*")
    if not vectors and host.glob(f"{device}/../virtio*/net/{literal(interface)}"):
        vectors = host.glob(f"{device}/../msi_irqs/*")
    numbers = {path.rpartition("/")[2] for path in vectors}
    try:
        lines = read_interrupts(host).numbered if numbers else ()
    except (ParseError, SourceMissing, SourceRefused):
        return {}
    return {line.irq: line.actions[0] for line in lines if line.irq in numbers and line.actions}


def _folder(interface: str) -> str:
    return f"/sys/class/net/{interface}/queues"


def _affinity(irq: str) -> str:
    return f"/proc/irq/{irq}/smp_affinity_list"
