"""Compose the command that installs a missing optional Python module."""

import shlex
import sys

PACKAGES = {
    "altair": "altair",
    "jinja2": "jinja2",
    "MLRsearch": "MLRsearch",
    "pyperf": "pyperf",
    "pyroute2": "pyroute2",
    "scipy": "scipy",
    "vl_convert": "vl-convert-python",
}
"""The PyPI package of each optional module. Remedies name these packages instead of
dirtune[bench], because dirtune itself is not on PyPI."""
# Without -P, Python would look for pip in the folder that the command is typed in.
_PIP = ("-P", "-m", "pip")


def pip_install(*packages: str, python: str = "") -> str:
    """Return the command that installs *packages* for *python*, or for the running Python."""
    return shlex.join((python or sys.executable or "python3", *_PIP, "install", *packages))


def lacking(module: str | None) -> str | None:
    """Return how to install the missing *module*; None if *module* is not in `PACKAGES`."""
    name = (module or "").partition(".")[0]
    if name not in PACKAGES:
        return None
    return f"The Python module {name} is not installed. Install it: {pip_install(PACKAGES[name])}"
