"""The one file runs on any Linux: as root and as a user, with hardly anything there."""

import hashlib
import json
import shutil
import struct
import subprocess
import time

import pytest
from tests.dist.conftest import build

import dirtune

pytestmark = pytest.mark.long  # the build takes half a minute, and debootstrap as long for each root
SUITES = ("bullseye", "bookworm", "trixie", "sid", "busybox")
every_system = pytest.mark.parametrize("system", SUITES, indirect=True)
on_busybox = pytest.mark.parametrize("system", ["busybox"], indirect=True)
VERSION = f"dirtune, version {dirtune.__version__}\n"
USER = 1234


@pytest.fixture
def installed(system, one_file):
    shutil.copy(one_file, system.root / "dirtune")
    return system


def trees(root):
    return sorted(path.relative_to(root).parent for path in root.rglob("MANIFEST"))


def test_it_is_small_and_static(one_file):
    assert one_file.stat().st_size < 25_000_000
    described = subprocess.run(("ldd", one_file), capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in described.stderr + described.stdout


def test_two_builds_are_identical(dist, tmp_path):
    def digests(folder):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}

    first = digests(dist)

    assert len(first) == 6
    assert digests(build(tmp_path / "dist")) == first
    rows = (dist / "SHA256SUMS").read_text().splitlines()
    assert {row.split("  ")[1]: row.split("  ")[0] for row in rows} == {
        name: digest for name, digest in first.items() if name != "SHA256SUMS"
    }


@every_system
@pytest.mark.parametrize("user", [None, USER])
def test_audit_and_doctor_run(installed, user):
    audit = installed("/dirtune", "audit", "--format", "json", user=user, HOME="/")
    doctor = installed("/dirtune", "doctor", "--format", "json", user=user, HOME="/")

    assert audit.returncode in (0, 1), audit.stderr
    assert json.loads(audit.stdout)["schema"] == "dirtune/audit/1"
    features = {row["name"]: row for row in json.loads(doctor.stdout)["features"]}
    assert features["audit"]["works"]
    assert "libbpf" not in json.dumps(features["probe"]["obstacles"])


@on_busybox
def test_it_unpacks_once_and_again_after_damage(installed):
    assert installed("/dirtune", "--version").stdout == VERSION
    (tree,) = trees(installed.root)
    made = (installed.root / tree / "bin/python3").stat()
    assert (installed.root / tree).parent.stat().st_mode & 0o777 == 0o700

    assert installed("/dirtune", "--version").stdout == VERSION
    assert (installed.root / tree / "bin/python3").stat().st_mtime_ns == made.st_mtime_ns

    (installed.root / tree / "lib/libz.so.1").write_bytes(b"")
    assert installed("/dirtune", "--version").stdout == VERSION
    assert (installed.root / tree / "lib/libz.so.1").stat().st_size > 50_000
    assert trees(installed.root) == [tree]


@on_busybox
@pytest.mark.parametrize("kind", ["foreign", "open", "link"])
def test_it_uses_no_folder_that_others_can_write_to(installed, kind):
    folder = installed.root / "var/cache/dirtune"
    if kind == "link":
        (installed.root / "tmp/theirs").mkdir()
        folder.symlink_to("/tmp/theirs")
    else:
        folder.mkdir()
        shutil.chown(folder, USER if kind == "foreign" else 0)
        folder.chmod(0o777 if kind == "open" else 0o755)

    assert installed("/dirtune", "--version").stdout == VERSION
    assert [str(tree.parent) for tree in trees(installed.root)] == ["run/dirtune-cache"]


@on_busybox
def test_root_needs_no_place_to_write_to(installed):
    # One mount of a read-only root: /tmp, /run and the home are on it.
    prepare = 'umount -R "$R/dev"; mount -o remount,bind,ro "$R"'

    ended = installed("/dirtune", "--version", prepare=prepare)

    assert (ended.stdout, ended.stderr) == (VERSION, "")
    assert trees(installed.root) == []


def test_a_user_needs_no_place_to_write_to(one_file):
    # Not in a chroot, where the kernel creates no user namespace.
    read_only = """
        set -e
        mount -t tmpfs here /mnt
        cp "$1" /mnt/dirtune
        chmod 755 /mnt /mnt/dirtune
        for folder in /dev/shm /tmp /run /var/tmp; do mount -t tmpfs -o ro none $folder; done
        mount -o remount,bind,ro /
        exec env -i HOME=/none setpriv --reuid 1234 --regid 1234 --clear-groups \\
            /mnt/dirtune --version
    """
    ended = subprocess.run(
        ("unshare", "--mount", "sh", "-c", read_only, "sh", one_file),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == (VERSION, "")


@on_busybox
def test_it_passes_over_folders_without_execution(installed):
    prepare = 'for d in var/cache run dev/shm; do mount -t tmpfs -o noexec t "$R/$d"; done'

    assert installed("/dirtune", "--version", prepare=prepare).stdout == VERSION
    assert [str(tree.parent) for tree in trees(installed.root)] == ["tmp/dirtune-0"]


@on_busybox
def test_a_full_file_system_is_passed_over(installed):
    prepare = 'mount -t tmpfs -o size=1m t "$R/var/cache"'

    assert installed("/dirtune", "--version", prepare=prepare).stdout == VERSION
    assert [str(tree.parent) for tree in trees(installed.root)] == ["run/dirtune-cache"]


@on_busybox
def test_without_proc_the_audit_says_so_in_one_line(installed):
    assert installed("/dirtune", "--version", proc="no-proc").stdout == VERSION
    ended = installed("/dirtune", "audit", proc="no-proc")

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "/proc" in ended.stderr


@on_busybox
def test_a_place_that_the_user_names_and_cannot_be_used_is_an_error(installed):
    ended = installed("/dirtune", "--version", DIRTUNE_CACHE="/dirtune")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("dirtune: Cannot unpack into DIRTUNE_CACHE=/dirtune. Name ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["end", "middle", "cut"])
def test_a_damaged_copy_is_refused(one_file, tmp_path, where):
    data = bytearray(one_file.read_bytes())
    if where == "middle":
        at = len(data) // 2
        data[at : at + 4] = struct.pack("<I", ~struct.unpack("<I", data[at : at + 4])[0] & 2**32 - 1)
    copy = tmp_path / "dirtune"
    copy.write_bytes(data[: {"end": -1, "middle": None, "cut": len(data) // 2}[where]])
    copy.chmod(0o755)

    ended = subprocess.run(
        (copy, "--version"),
        env={"DIRTUNE_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert trees(tmp_path) == []


def test_help_takes_at_most_three_times_as_long_as_in_a_venv(one_file, tmp_path):
    from pathlib import Path
    import sys

    def fastest(argv):
        times = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
        return min(times)

    env = {"DIRTUNE_CACHE": str(tmp_path)}
    subprocess.run((one_file, "--help"), env=env, check=True, stdout=subprocess.DEVNULL)
    venv = fastest((Path(sys.executable).parent / "dirtune", "--help"))

    assert fastest((one_file, "--help")) < 3 * venv
