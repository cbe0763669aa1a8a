"""The command that installs a Python module which dirtune itself does not require."""

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
"""The package of each module. dirtune itself is not on a package index, so remedies name these."""
# Without -P, Python would look for pip in the folder that the command is typed in.
_PIP = ("-P", "-m", "pip")


def pip_install(*packages: str, python: str = "") -> str:
    """Return the command that installs *packages* for *python*, or for the running Python."""
    return shlex.join((python or sys.executable or "python3", *_PIP, "install", *packages))


def lacking(module: str | None) -> str | None:
    """Return how to install the missing *module*; None if it is not one of `PACKAGES`."""
    name = (module or "").partition(".")[0]
    if name not in PACKAGES:
        return None
    return f"The Python module {name} is not installed. Install it: {pip_install(PACKAGES[name])}"
