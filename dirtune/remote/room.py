"""Limit the memory that the answers of all hosts take together.

Each answer has its own limit, but a parsed answer may take 60 times its size in memory, and one
command may ask hundreds of hosts. Therefore the memory of the whole process is limited too.
"""

import os

from dirtune.reading import taken_bytes

MOST_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
FULL = (
    f"the answers of all hosts together take more than {MOST_BYTES >> 20} MiB, "
    "half of this machine's memory. Ask fewer hosts at once"
)


def left() -> bool:
    """Whether this process may use more memory for answers."""
    return taken_bytes() < MOST_BYTES
