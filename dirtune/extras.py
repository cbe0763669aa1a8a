"""Compose the command that installs a missing optional Python module."""

import shlex
import sys
from pathlib import Path

PACKAGES = {
    "altair": "altair",
    "ansible": "ansible-core",
    "jinja2": "jinja2",
    "MLRsearch": "MLRsearch",
    "pyperf": "pyperf",
    "pyroute2": "pyroute2",
    "scipy": "scipy",
    "vl_convert": "vl-convert-python",
}
"""The PyPI package of each optional module. Remedies name these packages instead of
dirtune[bench], because dirtune itself is not on PyPI."""
STANDALONE = Path(__file__).parent / "standalone"
"""This file exists in the one file and in the .deb and .rpm, whose Python has no pip."""
# Without -P, Python would look for pip in the folder that the command is typed in.
_PIP = ("-P", "-m", "pip")


def pip_install(*packages: str, python: str = "") -> str:
    """Return how to install *packages* for *python*, or for the running Python."""
    if STANDALONE.exists():
        return f"Use dirtune's wheel in a virtual environment that has {', '.join(packages)}"
    return shlex.join((python or sys.executable or "python3", *_PIP, "install", *packages))


def lacking(module: str | None) -> str | None:
    """Return how to install the missing *module*; None if *module* is not in `PACKAGES`."""
    name = (module or "").partition(".")[0]
    if name not in PACKAGES:
        return None
    return f"The Python module {name} is not installed. {remedy(PACKAGES[name])}"


def remedy(*packages: str) -> str:
    """Return the sentence, without a full stop, that says how to install *packages*."""
    how = pip_install(*packages)
    return how if STANDALONE.exists() else f"Install it: {how}"
