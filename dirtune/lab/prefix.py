"""Install the dirtune that the lab's nodes run: a wheel in a folder of its own, the prefix.

The prefix is made with /usr/bin/python3, the interpreter for which the distribution packages bcc,
and contains dirtune without extras. The prefix never refers to the source tree, because the lab
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
# Without -P, Python would import modules from the current folder, which may be unsafe.
_OURS = (sys.executable, "-P", "-m")


def source_tree() -> Path:
    """Return the source tree of this dirtune, from which a wheel can be built.

    Raises `LabError` if this dirtune was not installed from a source tree.
    """
    root = Path(dirtune.__file__).parents[1]
    if not (root / "pyproject.toml").exists():
        raise LabError(
            "The lab builds its director's dirtune from source, which this installation lacks. "
            f"Run the lab from a checkout, installed with: {pip_install('-e', '.[lab]')}"
        )
    return root


def copy(to: Path, cache: Path = CACHE) -> None:
    """Copy an installation of this dirtune to the folder *to*.

    The installation is kept in *cache*, and is built again if the source has changed. Labs of
    other source trees use the same cache, so it is locked while it is copied.
    """
    root = source_tree()
    cache.mkdir(parents=True, exist_ok=True)
    # No other user may open the file, because any user who can open it could lock it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(cache / "lock", flags, 0o600), "w") as lock:
        os.fchmod(lock.fileno(), 0o600)  # an older version of dirtune may have made the file
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
        # The second call also replaces an installation of the same version.
        quiet = ("-q", "--disable-pip-version-check", "--no-warn-script-location")
        run((*pip, "install", *quiet, str(wheel)), timeout_s=300)
        again = ("--force-reinstall", "--no-deps", str(wheel))
        run((*pip, "install", *quiet, *again), timeout_s=120)
    # The first line of the script contains the path of the prefix on the nodes.
    script = prefix / "bin/dirtune"
    body = script.read_text().split("\n", 1)[1]
    script.write_text(f"#!{PLACE}/bin/python\n{body}")
