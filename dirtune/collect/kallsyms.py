"""/proc/kallsyms: the addresses of kernel functions and variables.

Format: kernel/kallsyms.c, s_show(): `ADDRESS TYPE NAME` and, for a symbol of a module, a tab and
`[MODULE]`. To users who may not see the addresses (kptr_restrict), every address is 0. Variables
are listed only with CONFIG_KALLSYMS_ALL. BPF programs are listed as module `bpf`.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from dirtune.collect.files import hexadecimal
from dirtune.errors import ParseError
from dirtune.host import Host

SOURCE = "/proc/kallsyms"
# The file has no sizes. An address too far behind a symbol, by the length of the longest function,
# is outside it.
_LARGEST_BYTES = 1 << 20
_BOUNDARY = re.compile(r"_(?:text|start|end|begin|stext|etext)$|^_[se]?text$")


@dataclass(frozen=True)
class Symbols:
    """The kernel's symbols by address."""

    addresses: tuple[int, ...]
    """Start addresses of the symbols, in ascending order."""
    names: tuple[str, ...]
    """`name`, or `name [module]`, in the order of the addresses."""

    @cached_property
    def known(self) -> frozenset[str]:
        """Names of all symbols without their modules."""
        return frozenset(name.partition(" ")[0] for name in self.names)

    def at(self, address: int) -> str | None:
        """Return the symbol that contains *address*; None if no symbol does."""
        place = bisect_right(self.addresses, address) - 1
        if place < 0 or address - self.addresses[place] >= _LARGEST_BYTES:
            return None
        return self.names[place]

    def frames(self, addresses: tuple[int, ...]) -> tuple[str, ...]:
        """Return the functions of a stack of *addresses*, innermost first.

        All but the innermost are return addresses. A call may be the last instruction of a
        function, so the byte before the return address is looked up.
        """
        looked_up = (a if place == 0 else a - 1 for place, a in enumerate(addresses))
        return tuple(self.at(a) or f"{a:#x}" for a in looked_up)

    def in_module(self, name: str) -> bool | None:
        """Return whether the function *name* belongs to a module; None if it does not exist."""
        if name not in self.known:
            return None
        return name not in self.names


def read_kallsyms(host: Host) -> Symbols:
    """Read the symbols; the result is empty if their addresses are hidden."""
    return parse_kallsyms(host.read(SOURCE))


def parse_kallsyms(text: str) -> Symbols:
    """Parse the text of /proc/kallsyms."""
    rows = sorted(
        (row for number, line in enumerate(text.splitlines(), 1) if (row := _row(number, line))),
        key=_function_last,
    )
    return Symbols(tuple(address for address, _ in rows), tuple(name for _, name in rows))


def _function_last(row: tuple[int, str]) -> tuple[int, bool, str]:
    """Return the order of a symbol: of those with one address, a function comes last.

    The linker marks the beginning and the end of sections with symbols, which may share the
    address of a function: __softirqentry_text_start is __do_softirq on 5.10.
    """
    address, name = row
    return address, _BOUNDARY.search(name.partition(" ")[0]) is None, name


def _row(number: int, line: str) -> tuple[int, str] | None:
    address, _, rest = line.partition(" ")
    _, _, name = rest.partition(" ")
    try:
        at = hexadecimal(address)
    except ValueError as error:
        raise ParseError(
            SOURCE, f"line {number}: the row does not begin with an address: {line[:60]!r}"
        ) from error
    if not name:
        raise ParseError(SOURCE, f"line {number}: the row lacks a symbol: {line[:60]!r}")
    return (at, name.replace("\t", " ")) if at else None
