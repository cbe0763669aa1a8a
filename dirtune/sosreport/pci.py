"""PCI functions from `lspci -nnvv`, as files of /sys/bus/pci.

Format: lspci(8) of pciutils: a block for each function, whose first row has the address and the
class in brackets, `00:03.0 Ethernet controller [0200]: ...`. The domain is left out if it is 0.
"""

import re
from collections.abc import Iterator

from dirtune.host import Host
from dirtune.sosreport.outputs import output

_DEVICES = "/sys/bus/pci/devices"
_HEAD = re.compile(
    r"(?P<domain>[0-9a-f]{4,8}:)?(?P<slot>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) [^\[\n]*"
    r"\[(?P<class>[0-9a-f]{4})\]: (?P<rest>[^\n]*)"
)
_INTERFACE = re.compile(r"\(prog-if ([0-9a-f]{2})")
_DRIVER = re.compile(r"^\s+Kernel driver in use: ([\w-]{1,64})\s*$", re.MULTILINE)
_IRQ = re.compile(r"\bIRQ (\d{1,6})\b")
_MSI = re.compile(r"MSI(?:-X)?: Enable\+")
_NODE = re.compile(r"^\s+NUMA node: (\d{1,4})\s*$", re.MULTILINE)
_LINKS = {
    "current": re.compile(r"LnkSta:\s*(.{0,200})"),
    "max": re.compile(r"LnkCap:\s*(.{0,200})"),
}
_SPEED = re.compile(r"Speed ([\d.]{1,6})GT/s")
_WIDTH = re.compile(r"Width x(\d{1,3})")


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and text of the files of each PCI function."""
    for address, block in _functions(host):
        at = f"{_DEVICES}/{address}"
        head = _HEAD.match(block)
        assert head is not None  # _functions found the block by this pattern
        interface = _INTERFACE.search(head["rest"])
        yield f"{at}/class", f"0x{head['class']}{interface[1] if interface else '00'}"
        # With MSI the row shows a vector, and the report does not have the others.
        legacy = "access denied" not in block and not _MSI.search(block)
        for name, pattern in (("irq", _IRQ), ("numa_node", _NODE)):
            match = pattern.search(block)
            if match and (name != "irq" or legacy):
                yield f"{at}/{name}", match[1]
        for end, pattern in _LINKS.items():
            row = pattern.search(block)
            speed, width = (p.search(row[1] if row else "") for p in (_SPEED, _WIDTH))
            if speed and width:
                yield f"{at}/{end}_link_speed", f"{speed[1]} GT/s"
                yield f"{at}/{end}_link_width", width[1]


def links(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and target of the link to each function's driver."""
    for address, block in _functions(host):
        driver = _DRIVER.search(block)
        if driver:
            yield f"{_DEVICES}/{address}/driver", f"../../../bus/pci/drivers/{driver[1]}"


def _functions(host: Host) -> Iterator[tuple[str, str]]:
    text = output(host, "lspci_-nnvv", "lspci_-nvv") or ""
    for block in text.split("\n\n"):
        head = _HEAD.match(block.lstrip("\n"))
        if head:
            yield f"{head['domain'] or '0000:'}{head['slot']}", block.lstrip("\n")
