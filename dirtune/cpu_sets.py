"""Sets of CPUs as the kernel writes them: lists (`0-3,8`) and masks (`ffffffff,00000003`). Pure.

Formats: lib/bitmap-str.c, bitmap_parselist() and bitmap_parse() (lib/bitmap.c before Linux 6.6).
A text may come from a broken or hostile host, so the number of CPUs in a text is limited.
"""

import re
from collections.abc import Iterable

from dirtune.errors import ParseError
from dirtune.formats import parsing

_MOST_CPUS = 1 << 16
"""The most CPUs in one text; CONFIG_NR_CPUS is 8,192 at most (x86, Linux 6.1)."""
_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_DIGITS = re.compile(r"(?:0[xX])?[0-9a-fA-F]*")
_GROUP = 8
"""Digits between two commas of a mask: 32 CPUs."""


@parsing("list of CPUs")
def parse_cpulist(text: str) -> tuple[int, ...]:
    """Return the CPUs in a list such as `0-3,8`, in ascending order.

    An empty list and `(null)` mean no CPUs. Raises `ParseError` if *text* is not a list.
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
    """Return *cpus* as the kernel prints a list, `0-3,8`; without CPUs, the list is empty."""
    spans: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


@parsing("mask of CPUs")
def parse_cpumask(text: str) -> tuple[int, ...]:
    """Return the CPUs in a mask such as `ffffffff,00000003`; raises `ParseError` otherwise."""
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
    """Return *cpus* as a mask for a file in /sys, with a comma after every 32 CPUs.

    The mask has at least as many digits as *like*, the mask that the kernel prints now.
    """
    digits = f"{sum(1 << cpu for cpu in set(cpus)):0{len(like.replace(',', ''))}x}"
    ends = range(len(digits), 0, -_GROUP)
    return ",".join(reversed([digits[max(0, end - _GROUP) : end] for end in ends]))
