"""Parse and format the kernel's lists (`0-3,8`) and masks (`ffffffff,00000003`) of CPUs. Pure.

The formats are those of bitmap_parselist() and bitmap_parse() in lib/bitmap-str.c (lib/bitmap.c
before Linux 6.6). A text may come from a broken or hostile host, so the number of CPUs in a text
is limited.
"""

import re
from collections.abc import Iterable

from dirtune.errors import ParseError
from dirtune.formats import parsing

_MOST_CPUS = 1 << 16
"""Largest number of CPUs in a text; CONFIG_NR_CPUS is 8,192 at most (x86, Linux 6.1)."""
_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_DIGITS = re.compile(r"(?:0[xX])?[0-9a-fA-F]*")
_GROUP = 8
"""Number of hexadecimal digits between two commas of a mask: 32 CPUs."""


@parsing("list of CPUs")
def parse_cpulist(text: str) -> tuple[int, ...]:
    """Return the numbers of the CPUs in a list such as `0-3,8`, in ascending order.

    An empty text and `(null)` mean no CPUs. Raises `ParseError` if *text* is not such a list.
    """
    words = text.strip().replace("(null)", "")
    cpus: set[int] = set()
    listed = 0
    for word in words.split(",") if words else ():
        span = _SPAN.fullmatch(word)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (0, -1)
        listed += last - first + 1
        if last < first or listed > _MOST_CPUS:
            raise ParseError("list of CPUs", f"{text.strip()[:60]!r} is not a list such as 0-3,8")
        cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))


def format_cpulist(cpus: Iterable[int]) -> str:
    """Return *cpus* as a list in the kernel's format, such as `0-3,8`; empty without CPUs."""
    spans: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


@parsing("mask of CPUs")
def parse_cpumask(text: str) -> tuple[int, ...]:
    """Return the numbers of the CPUs in a mask such as `ffffffff,00000003`.

    Raises `ParseError` if *text* is not such a mask.
    """
    digits = text.strip().replace(",", "")
    if not _DIGITS.fullmatch(digits):
        raise ParseError("mask of CPUs", f"{text.strip()[:60]!r} is not a hexadecimal mask")
    mask = int(digits or "0", 16)
    if mask.bit_length() > _MOST_CPUS:
        raise ParseError(
            "mask of CPUs", f"{text.strip()[:60]!r} has more CPUs than Linux supports"
        )
    return tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def format_cpumask(cpus: Iterable[int], *, like: str = "") -> str:
    """Return *cpus* as a mask in the kernel's format, with a comma after every 32 CPUs.

    The mask has at least as many digits as *like*, the mask that the kernel currently prints.
    """
    digits = f"{sum(1 << cpu for cpu in set(cpus)):0{len(like.replace(',', ''))}x}"
    ends = range(len(digits), 0, -_GROUP)
    return ",".join(reversed([digits[max(0, end - _GROUP) : end] for end in ends]))
