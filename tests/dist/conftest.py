"""The files of `make dist`, and clean systems to try them on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCH = "1700000000"
# In a mount namespace of its own: what the chroot sees is gone when the command ends.
_ENTER = """
set -e
mount --bind "$1" "$1"
[ "$2" = no-proc ] || mount -t proc proc "$1/proc"
[ "$2" = no-proc ] || mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
eval "$3"
shift 3
exec "$@"
"""


def build(to):
    subprocess.run(
        (sys.executable, ROOT / "packaging/build.py", to),
        check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
    )
    return to


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    if "DIRTUNE_DIST" in os.environ:  # built before, with the same EPOCH
        return Path(os.environ["DIRTUNE_DIST"])
    return build(tmp_path_factory.mktemp("made") / "dist")


@pytest.fixture(scope="session")
def one_file(dist):
    (path,) = dist.glob("dirtune-linux-*")
    return path


def _mirror():
    rows = subprocess.run(
        ("apt-get", "indextargets", "--format", "$(REPO_URI)"),
        check=True,
        capture_output=True,
        text=True,
    )
    return rows.stdout.split()[0]


def _base(suite):
    """Return a root of this suite, kept in build/roots; `busybox` holds nothing but busybox."""
    kept = Path(os.environ.get("DIRTUNE_ROOTS") or ROOT / "build/roots") / suite
    if suite == "busybox" and not kept.exists():
        for folder in ("bin", "proc", "sys", "dev", "tmp", "run", "root", "var/cache", "etc"):
            (kept / folder).mkdir(parents=True)
        shutil.copy("/bin/busybox", kept / "bin/busybox")
        for name in ("sh", "ls", "env"):
            (kept / "bin" / name).symlink_to("busybox")
    if not kept.exists():
        half = kept.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        half.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ("debootstrap", "--variant=minbase", "--include=man-db", suite, half, _mirror()),
            check=True,
            capture_output=True,
        )
        shutil.rmtree(half / "dev")  # its devices are bound from this machine
        (half / "dev").mkdir()
        half.rename(kept)
    return kept


@pytest.fixture
def system(request, tmp_path):
    """Return a function that runs a command in a fresh copy of the root `request.param`."""
    root = tmp_path / "root"
    # Not shutil.copytree, which reads devices.
    subprocess.run(("cp", "-a", _base(request.param), root), check=True)
    # chroot(8) starts the command with no variable of this machine.
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

    def run(*argv, user=None, prepare="", proc="proc", **variables):
        as_user = () if user is None else ("--userspec", f"{user}:{user}", "--groups=")
        return subprocess.run(
            ("unshare", "--mount", "sh", "-c", _ENTER, "sh", root, proc, prepare)
            + ("chroot", *as_user, root, *argv),
            check=False,
            capture_output=True,
            text=True,
            env={**clean, "R": str(root), **variables},
            timeout=300,
        )

    run.root = root
    return run
