"""Install a copy of this dirtune for the lab's nodes, in a folder of its own: the prefix.

The prefix is made with /usr/bin/python3, the interpreter for which the distribution packages bcc,
and contains dirtune without extras. If this dirtune runs from a checkout, a wheel is built and
installed, so that the lab hides no fault of the installation. Otherwise the installed dirtune is
copied.
"""

import hashlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import dirtune
from dirtune import locking
from dirtune.errors import LabError, NotPossible
from dirtune.host import run

PYTHON = "/usr/bin/python3"
CACHE = Path("/var/cache/dirtune")
PLACE = "/opt/dirtune"
"""The path of the prefix on the nodes."""
# Without -P, Python would import modules from the current folder, which may be unsafe.
_OURS = (sys.executable, "-P", "-m")
_PACKAGE = Path(dirtune.__file__).parent
# Its first line contains the prefix's path on the nodes.
_SCRIPT = f"""#!{PLACE}/bin/python
import sys
from dirtune.start import main
sys.exit(main())
"""


def _checkout() -> Path | None:
    """Return the source tree from which this dirtune runs; None if this dirtune is installed."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").exists() else None


def copy(to: Path, cache: Path = CACHE) -> None:
    """Copy an installation of this dirtune to the folder *to*.

    The installation is kept in *cache*, and is built again if the source has changed. Labs of
    other source trees use the same cache, so the cache is locked during the copy.
    """
    cache.mkdir(parents=True, exist_ok=True)
    # No other user may open the file, because any user who can open it could lock it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(cache / "lock", flags, 0o600), "w") as lock:
        os.fchmod(lock.fileno(), 0o600)  # an older version of dirtune may have made the file
        locking.take(lock, wait_s=math.inf)
        run(("cp", "-a", str(_made(_checkout(), cache)), str(to)))


def _made(root: Path | None, cache: Path) -> Path:
    mark = _fingerprint(root)
    prefix = cache / "prefix"
    if (prefix / ".fingerprint").exists() and (prefix / ".fingerprint").read_text() == mark:
        return prefix
    try:
        _install(root, prefix)
    except NotPossible as error:
        shutil.rmtree(prefix, ignore_errors=True)
        raise LabError(f"Cannot build the dirtune that the lab's nodes run: {error}") from error
    (prefix / ".fingerprint").write_text(mark)
    return prefix


def _fingerprint(root: Path | None) -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    digest.update((root / "pyproject.toml").read_bytes() if root else repr(_required()).encode())
    return digest.hexdigest()


def _required() -> tuple[str, ...]:
    """Return the packages that dirtune without extras requires, in pip's format."""
    required = metadata.requires("dirtune") or ()
    return tuple(text for text in required if "extra ==" not in text)


def _install(root: Path | None, prefix: Path) -> None:
    if not (prefix / "bin/python").exists():
        prefix.parent.mkdir(parents=True, exist_ok=True)
        run((PYTHON, "-I", "-m", "venv", "--system-site-packages", "--without-pip", str(prefix)))
    quiet = ("-q", "--disable-pip-version-check", "--no-warn-script-location")
    pip = (*_OURS, "pip", "--python", str(prefix / "bin/python"), "install", *quiet)
    if root is None:
        run((*pip, *_required()), timeout_s=300)
        _copy_package(prefix)
    else:
        _install_wheel(root, pip)
    (prefix / "bin/dirtune").write_text(_SCRIPT)
    (prefix / "bin/dirtune").chmod(0o755)


def _copy_package(prefix: Path) -> None:
    (packages,) = prefix.glob("lib/python3*/site-packages")
    shutil.rmtree(packages / "dirtune", ignore_errors=True)
    shutil.copytree(_PACKAGE, packages / "dirtune", ignore=shutil.ignore_patterns("__pycache__"))


def _install_wheel(root: Path, pip: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        build = (*_OURS, "build", "--wheel", "--no-isolation", "--outdir", scratch)
        run((*build, str(root)), timeout_s=120)
        (wheel,) = Path(scratch).glob("*.whl")
        # The second call also replaces an installation of the same version.
        run((*pip, str(wheel)), timeout_s=300)
        run((*pip, "--force-reinstall", "--no-deps", str(wheel)), timeout_s=120)
