"""What installs a Python module that the base install of dirtune lacks."""

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
"""The package of each module. dirtune's own name is on no index, so no remedy asks one for it."""


def pip_install(*packages: str, python: str = "") -> str:
    """Return the command that installs *packages* for *python*, else for the one that runs."""
    return shlex.join((python or sys.executable or "python3", "-m", "pip", "install", *packages))


def lacking(module: str | None) -> str | None:
    """Return one line on a *module* that cannot be imported; None if no extra has it."""
    name = (module or "").partition(".")[0]
    if name not in PACKAGES:
        return None
    return f"no Python module {name}; install it: {pip_install(PACKAGES[name])}"
