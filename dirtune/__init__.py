"""Performance profiling and host tuning for Linux IPVS directors."""

import sys

__version__ = "0.1.0"
MINIMUM = (3, 11)

# An older Python reads only this file of dirtune, so this file must be valid for it.
if sys.version_info < MINIMUM:
    sys.stderr.write(
        "dirtune needs Python %d.%d or newer; this is %d.%d\n" % (MINIMUM + sys.version_info[:2])  # noqa: UP031
    )
    sys.exit(2)
