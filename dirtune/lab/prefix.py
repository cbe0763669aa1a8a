"""The dirtune that the lab's nodes run: a wheel, installed into its own prefix.

The prefix is made with /usr/bin/python3, the interpreter for which the distribution packages bcc,
and contains only the base installation. The prefix never refers to a checkout, because the lab
would then hide every fault of the installation.
"""

import hashlib
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

import dirtune
from dirtune import locking
from dirtune.errors import LabError, NotPossible
from dirtune.extras import pip_install
from dirtune.host import run

PYTHON = "/usr/bin/python3"
CACHE = Path("/var/cache/dirtune")
PLACE = "/opt/dirtune"
"""The path of the prefix on the nodes."""
# Without -P, Python would look for the module in the current folder, which may be unsafe.
_OURS = (sys.executable, "-P", "-m")


def source_tree() -> Path:
    """Return the checkout that this dirtune runs from, from which a wheel can be built."""
    root = Path(dirtune.__file__).parents[1]
    if not (root / "pyproject.toml").exists():
        raise LabError(
            "The lab builds its director's dirtune from source, which this installation lacks. "
            f"Run the lab from a checkout, installed with: {pip_install('-e', '.[lab]')}"
        )
    return root


def copy(to: Path, cache: Path = CACHE) -> None:
    """Copy a prefix with this dirtune to *to*, after rebuilding the prefix if the source changed.

    Labs of other checkouts share the cache, so the prefix is copied while the cache is locked.
    """
    root = source_tree()
    cache.mkdir(parents=True, exist_ok=True)
    # No other user may open the file, because anyone who can read it could hold the lock.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(cache / "lock", flags, 0o600), "w") as lock:
        os.fchmod(lock.fileno(), 0o600)  # an older version may have made the file
        locking.take(lock, wait_s=math.inf)
        run(("cp", "-a", str(_made(root, cache)), str(to)))


def _made(root: Path, cache: Path) -> Path:
    mark = _fingerprint(root)
    prefix = cache / "prefix"
    if (prefix / ".fingerprint").exists() and (prefix / ".fingerprint").read_text() == mark:
        return prefix
    try:
        _install(root, prefix)
    except NotPossible as error:
        shutil.rmtree(prefix, ignore_errors=True)
        raise LabError(f"Cannot build the dirtune of the lab's nodes: {error}") from error
    (prefix / ".fingerprint").write_text(mark)
    return prefix


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((root / "dirtune").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    digest.update((root / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def _install(root: Path, prefix: Path) -> None:
    if not (prefix / "bin/python").exists():
        prefix.parent.mkdir(parents=True, exist_ok=True)
        run((PYTHON, "-I", "-m", "venv", "--system-site-packages", "--without-pip", str(prefix)))
    with tempfile.TemporaryDirectory() as scratch:
        build = (*_OURS, "build", "--wheel", "--no-isolation", "--outdir", scratch)
        run((*build, str(root)), timeout_s=120)
        (wheel,) = Path(scratch).glob("*.whl")
        pip = (*_OURS, "pip", "--python", str(prefix / "bin/python"))
        # The second call installs the same version again when only the source has changed.
        quiet = ("-q", "--disable-pip-version-check", "--no-warn-script-location")
        run((*pip, "install", *quiet, str(wheel)), timeout_s=300)
        again = ("--force-reinstall", "--no-deps", str(wheel))
        run((*pip, "install", *quiet, *again), timeout_s=120)
    # The script's first line contains the prefix's path on the nodes, not its path here.
    script = prefix / "bin/dirtune"
    body = script.read_text().split("\n", 1)[1]
    script.write_text(f"#!{PLACE}/bin/python\n{body}")
