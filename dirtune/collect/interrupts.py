"""/proc/interrupts: how often each CPU took each interrupt, and the interrupt's handlers.

Format: kernel/irq/proc.c, show_interrupts(), and rows that each architecture adds. The header
names the online CPUs. A row is `label: count per CPU`. A numbered row continues with the chip,
sometimes the hardware number and the flow, then two or more blanks and the actions joined by ", ".
Names of chips and actions may contain single blanks. Rows that are not numbered (NMI, LOC, IPI0,
ERR) end in free text and need not have one count per CPU; a label may occur twice (powerpc's LOC).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from dirtune.collect import kernel_irq
from dirtune.collect.files import DIGITS, decimal
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import Host

SOURCE = "/proc/interrupts"
SOURCES = (SOURCE,)

# Some 2.4 kernels print "irq" before the CPUs.
_HEADER = re.compile(r"\s*(?:irq\s+)?(?P<cpus>CPU\d{1,9}(?:\s+CPU\d{1,9})*)\s*")
_LABEL = re.compile(r"\s*(?P<label>[A-Za-z0-9/]+):(?=[\s\d]|$)")
# As show_interrupts() prints it. Hardware number, trigger and flow are optional; blanks precede
# the flow if there is no hardware number.
_TAIL = re.compile(
    r"(?P<chip>\S+(?: \S+)*?)"
    r"(?:\s+(?P<hwirq>\d+)(?![^\s-]))?"
    r"(?:\s+(?P<trigger>Level|Edge|None))?"
    r"(?:(?(hwirq)\s*|\s+)-(?P<flow>[A-Za-z<]\S*))?"
    r"(?:\s{2,}(?P<actions>\S.*))?"
)
# Up to 3.18 a dash joins chip and flow handler; the name of a chip may contain a dash as well.
_GLUED = re.compile(
    r"(?P<chip>.+?)-(?P<flow>(?:ioapic-)?(?:edge|level)|fasteoi|(?<!xen-)percpu|hpet|XT(?:-PIC)?"
    r"|virq|ipi|event|(?:pcifront-)?msi(?:-x)?|IVEC|<NULL>)"
)
_DRIVER = re.compile(r"(?:[a-z0-9]+-)?")
_LONGEST_QUEUE = 100
"""Limit of the length of a queue's name in characters; drivers use at most 32."""
_MOST_ROWS = 1 << 18
"""Limit of the number of rows: 128 interrupts for each of 2,048 CPUs."""
_ROW_LIMIT = 1 << 20
"""Limit of a row in characters. The longest possible row, with 8,192 CPUs and 128 handlers, has a
tenth of that."""


@dataclass(frozen=True)
class Line:
    """One row of the interrupt table."""

    irq: str
    """The row's label: the Linux interrupt number as text, or NMI, LOC, IPI0, ..."""
    counts: tuple[int, ...]
    """Interrupts since boot, one 32-bit count per CPU of the header."""
    chip: str | None = None
    """`XT-PIC`, `IO-APIC`, `PCI-MSI`, `PCI-MSIX-0000:00:03.0`, ... None for a row of text."""
    hwirq: int | None = None
    """Hardware number in the chip's interrupt domain; None if the row has none."""
    flow: str | None = None
    """edge, level, fasteoi, ... as the row has it; None if the row has no flow."""
    actions: tuple[str, ...] = ()
    """Names that the handlers were registered with, unchanged and in order."""
    text: str = ""
    """The text after the counts, unchanged."""
    cut: bool = False
    """Whether the text breaks off in this row, so that names may be missing or incomplete."""

    @property
    def numbered(self) -> bool:
        """Whether the row is a device's interrupt line, not a counter of the architecture."""
        return self.irq.isdecimal()

    @property
    def total(self) -> int:
        """Interrupts on all CPUs since boot."""
        return sum(self.counts)

    @property
    def shared(self) -> bool | None:
        """Whether two or more handlers are registered on this numbered line.

        None if the text breaks off before a second handler.
        """
        if self.numbered and len(self.actions) >= 2:
            return True
        return None if self.cut else False


@dataclass(frozen=True)
class Interrupts:
    """The interrupt table at one moment."""

    cpus: tuple[int, ...]
    """Numbers of the online CPUs in the header; numbers may be missing between them."""
    lines: tuple[Line, ...]
    unread: tuple[str, ...] = field(default=(), repr=False)
    """Lines after the header that are not rows, such as the rest of a row that a terminal
    wrapped."""

    @cached_property
    def numbered(self) -> tuple[Line, ...]:
        """The interrupt lines of devices."""
        return tuple(line for line in self.lines if line.numbered)

    @cached_property
    def with_queues(self) -> frozenset[str]:
        """Names of devices whose queues have rows in the table: `eth0` if there is `eth0-rx-1`."""
        actions = (action for line in self.numbered for action in line.actions)
        return frozenset(base for action in actions for base in _bases(action))

    def line(self, irq: str) -> Line | None:
        """Return the first row with the label *irq*; None if no row has it."""
        return next((line for line in self.lines if line.irq == irq), None)


def _bases(action: str) -> Iterator[str]:
    """Yield the names of the devices to which the queue named *action* may belong."""
    if len(action) > _LONGEST_QUEUE or not action[-1:].isdecimal():
        return
    for start in {0, _DRIVER.match(action).end()}:  # type: ignore[union-attr]  # it matches all
        for at in range(start, len(action) - 1):
            if action[at] in "-_:":
                yield action[start:at]


def read_interrupts(host: Host) -> Interrupts:
    """Read the interrupt table, from sysfs if /proc/interrupts is missing.

    Raises `ParseError`, which names the row, if the text has an unknown form.
    """
    try:
        return parse_interrupts(host.read(SOURCE))
    except SourceMissing as error:
        try:
            return _from_sysfs(host)
        except SourceMissing:
            raise error from None


def _from_sysfs(host: Host) -> Interrupts:
    cpus, found = kernel_irq.read_kernel_irqs(host)
    lines = (Line(str(x.irq), x.counts, x.chip, x.hwirq, x.type, x.actions) for x in found)
    return Interrupts(cpus, tuple(lines))


def parse_interrupts(text: str) -> Interrupts:
    """Parse the text of /proc/interrupts."""
    rows = enumerate(_rows(text), 1)
    cpus = _header(rows)
    lines: list[Line] = []
    unread: list[str] = []
    for number, row in rows:
        if number > _MOST_ROWS:
            raise ParseError(SOURCE, f"the table has more than {_MOST_ROWS:,} rows")
        label = _LABEL.match(row)
        if label:
            try:
                lines.append(_line(number, label["label"], row[label.end() :], len(cpus)))
            except ValueError as error:  # a number of more than 64 bits
                raise ParseError(
                    SOURCE,
                    f"line {number}: a count has too many digits for a counter of the kernel",
                ) from error
        elif row.strip():
            _refuse_torn(number, lines)
            unread.append(row)
    if lines and lines[-1].numbered and not text.endswith("\n"):
        lines[-1] = _cut_off(lines[-1])
    return Interrupts(cpus, tuple(lines), tuple(unread))


def _rows(text: str) -> Iterator[str]:
    """Yield the rows one by one, because a list would double the memory of a table of 25 MB."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if end - start > _ROW_LIMIT:
            line = text.count("\n", 0, start) + 1
            raise ParseError(
                SOURCE, f"line {line}: the row is longer than {_ROW_LIMIT:,} characters"
            )
        yield text[start:end].removesuffix("\r")
        start = end + 1


def _header(rows: Iterator[tuple[int, str]]) -> tuple[int, ...]:
    for number, row in rows:
        found = _HEADER.fullmatch(row)
        if found:
            return tuple(int(name[3:]) for name in found["cpus"].split())
        if _LABEL.match(row):
            raise ParseError(SOURCE, f"line {number}: the header row with the CPUs is missing")
    raise ParseError(SOURCE, "the header row with the CPUs is missing")


def _line(number: int, label: str, rest: str, cpus: int) -> Line:
    if not label.isdecimal():
        counts, text = _text_row(rest)
        return Line(label, counts, text=text)
    cells = rest.split(None, cpus)
    counts = _counts(number, cells[:cpus], cpus)
    tail = cells[cpus].rstrip() if len(cells) > cpus else ""
    if tail.split(None, 1)[:1] and tail.split(None, 1)[0].isdecimal():
        raise ParseError(
            SOURCE, f"line {number}: the row has more counts than the header has CPUs ({cpus})"
        )
    return _device_row(number, label, counts, tail)


def _counts(number: int, cells: list[str], cpus: int) -> tuple[int, ...]:
    if len(cells) < cpus or not "".join(cells).isdecimal():
        raise ParseError(
            SOURCE, f"line {number}: the row does not have one count for each of {cpus} CPUs"
        )
    if max(map(len, cells)) > DIGITS:
        raise ValueError(cells)
    return tuple(map(int, cells))


def _text_row(rest: str) -> tuple[tuple[int, ...], str]:
    counts = []
    while (cells := rest.split(None, 1)) and cells[0].isdecimal():
        counts.append(decimal(cells[0]))
        rest = cells[1] if len(cells) > 1 else ""
    return tuple(counts), rest.strip()


def _device_row(number: int, irq: str, counts: tuple[int, ...], tail: str) -> Line:
    if not tail:
        return Line(irq, counts)
    if tail.endswith(","):
        raise ParseError(SOURCE, f"line {number}: the row of irq {irq} ends in a comma")
    device = _TAIL.fullmatch(tail)
    # A paste that lost its double blanks would parse as a long chip without actions.
    if device is None or "," in device["chip"]:
        raise ParseError(
            SOURCE,
            f"line {number}: the text after the counts does not name a chip and actions: "
            f"{tail[:60]!r}",
        )
    chip, flow = device["chip"], device["flow"] or device["trigger"]
    glued = None if flow or device["hwirq"] else _GLUED.fullmatch(chip)
    if glued:
        chip, flow = glued["chip"], glued["flow"]
    hwirq = None if device["hwirq"] is None else decimal(device["hwirq"])
    actions = tuple(device["actions"].split(", ")) if device["actions"] else ()
    return Line(irq, counts, chip, hwirq, flow, actions, tail)


def _cut_off(line: Line) -> Line:
    # The kernel ends every row with a newline. If the last is missing, half the table may be too.
    if not line.actions:
        raise ParseError(SOURCE, f"the text is cut off in the row of irq {line.irq}")
    return replace(line, cut=True)


def _refuse_torn(number: int, lines: list[Line]) -> None:
    # A mailer wraps a long row before its actions, and without this check they would be lost.
    if lines and lines[-1].numbered and not lines[-1].actions:
        raise ParseError(
            SOURCE, f"line {number}: the row of irq {lines[-1].irq} is wrapped onto two lines"
        )
