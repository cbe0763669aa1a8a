"""The one file that is sent: of this version, for the host's machine, and complete."""

import gzip
import hashlib
import io
import os
import struct
import tarfile

import pytest
from click.testing import CliRunner

from dirtune import __version__
from dirtune.cli import main
from dirtune.errors import NotPossible
from dirtune.jobs import dist
from dirtune.remote import one_file

MANIFEST = b"100 bin/python3\n23 lib/x.py\n"


def built(version=__version__, machine=62, cut=0):
    """Return a file as packaging/build.py writes it, without a program that runs."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        row = tarfile.TarInfo("MANIFEST")
        row.size = len(MANIFEST)
        tar.addfile(row, io.BytesIO(MANIFEST))
    stream = gzip.compress(archive.getvalue(), mtime=0)[cut:]
    elf = b"\x7fELF".ljust(18, b"\0") + struct.pack("<H", machine)
    footer = f"dirtune-1 {len(stream)} {version}-0123456789abcdef 9 ff\n"
    return elf + stream + footer.ljust(160).encode()


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setattr(one_file, "checkout", lambda: None)
    monkeypatch.delenv("DIRTUNE_ONE_FILE", raising=False)
    one_file.find.cache_clear()
    yield tmp_path
    one_file.find.cache_clear()


def test_it_is_found_beside_python_or_by_its_name(prefix, monkeypatch):
    (prefix / "dirtune-linux-aarch64").write_bytes(built(machine=183))
    named = prefix / "named"
    named.write_bytes(built())
    monkeypatch.setenv("DIRTUNE_ONE_FILE", str(named))

    mine, theirs = one_file.find("x86_64"), one_file.find("aarch64")

    assert (mine.path, theirs.path) == (named, prefix / "dirtune-linux-aarch64")
    assert mine.digest == hashlib.sha256(named.read_bytes()).hexdigest()
    assert mine.unpacked_bytes == 123


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not a complete one file of dirtune"),
        (b"\x7fELF" * 100, "is not a complete one file of dirtune"),
        (built()[:-1], "is not a complete one file of dirtune"),
        (built(version="0.0.1"), f"has version 0.0.1, not {__version__}"),
        (built(machine=183), "is not for x86_64"),
        (built(cut=5), "is damaged"),
    ],
)
def test_another_file_is_named_with_the_reason_and_the_remedy(prefix, data, why):
    path = prefix / "dirtune-linux-x86_64"
    path.write_bytes(data)

    with pytest.raises(NotPossible) as caught:
        one_file.find("x86_64")

    text = str(caught.value)
    assert text.startswith(f"{path}: the file {why}. ")
    assert text.endswith(f"`dirtune dist --self`, and copy it to {path}")
    assert "\n" not in text


def test_one_that_is_older_than_the_checkout_is_not_sent(prefix, monkeypatch):
    monkeypatch.setattr(one_file, "checkout", lambda: prefix)
    for name in ("dist", "dirtune"):
        (prefix / name).mkdir()
    file, source = prefix / "dist/dirtune-linux-x86_64", prefix / "dirtune/x.py"
    file.write_bytes(built())
    source.write_text("")
    before, after = file.stat().st_mtime - 5, file.stat().st_mtime + 5
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"machine": "x86_64"}))

    os.utime(source, (after, after))
    with pytest.raises(NotPossible) as caught:
        one_file.find("x86_64")
    assert str(caught.value) == (
        f"{file}: the file is older than this checkout. Build it: dirtune dist --self"
    )
    os.utime(source, (before, before))
    assert one_file.find("x86_64").path == file


def test_a_machine_without_a_file_is_named(prefix):
    with pytest.raises(NotPossible, match="There is no one file for riscv64, which"):
        one_file.find("riscv64")


def test_dist_prints_it_or_says_how_to_get_it(prefix, monkeypatch):
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"machine": "x86_64"}))
    lacking = CliRunner().invoke(main, ("dist", "--self"))
    assert lacking.exit_code == 2
    assert lacking.stderr.startswith("dirtune: This dirtune runs from no checkout")

    (prefix / "dirtune-linux-x86_64").write_bytes(built())
    monkeypatch.setattr(dist, "build", lambda: None)
    done = CliRunner().invoke(main, ("dist",))
    digest = hashlib.sha256(built()).hexdigest()
    assert done.stdout == f"{digest}  {prefix}/dirtune-linux-x86_64\n"
