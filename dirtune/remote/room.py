"""The memory that the answers of all hosts may take together.

Each answer has a limit of its own, but a text may take 60 times its bytes once it is parsed, and
hundreds of hosts are asked by one command. What this process has for data is looked at instead.
"""

import os

from dirtune.reading import taken_bytes

MOST_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
FULL = (
    f"does not fit: the answers of all hosts together take more than {MOST_BYTES >> 20} MiB, "
    "half of this machine's memory. Ask fewer hosts at once"
)


def left() -> bool:
    """Whether this process may take more memory for what hosts answer."""
    return taken_bytes() < MOST_BYTES
