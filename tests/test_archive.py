import io
import json
import tarfile

import pytest

from dirtune import archive
from dirtune.archive import load, save
from dirtune.errors import NotPossible, ParseError
from dirtune.host import RecordedHost

INTERRUPTS = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"
FIRST = RecordedHost(
    {"/proc/interrupts": INTERRUPTS, "/proc/cmdline": "noapic\n"},
    {"/sys/class/net/eth1": "../../devices/pci0000:00/0000:00:10.0/net/eth1"},
    frozenset({"/proc/stat"}),
    taken_s=100.0,
)
SECOND = RecordedHost({"/proc/interrupts": INTERRUPTS.replace("40", "90")}, {}, taken_s=102.5)


def test_an_archive_gives_back_what_was_recorded(tmp_path):
    save((FIRST, SECOND), tmp_path / "a.tgz")

    assert load(tmp_path / "a.tgz") == (FIRST, SECOND)


def archive_of(path, *members):
    meta = {"schema": "dirtune/snapshot/1", "samples": [{"monotonic_s": 1.0, "refused": []}] * 2}
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target in (("meta.json", tarfile.REGTYPE, ""), *members):
            content = json.dumps(meta).encode() if name == "meta.json" else b"x"
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("/etc/passwd", tarfile.REGTYPE, ""),
        ("0/../../etc/passwd", tarfile.REGTYPE, ""),
        ("2/proc/stat", tarfile.REGTYPE, ""),
        ("0/proc/stat", tarfile.SYMTYPE, "/etc/passwd"),
        ("0/proc/stat", tarfile.SYMTYPE, "../../etc/passwd"),
        ("0/proc/stat", tarfile.SYMTYPE, "../../1/proc/stat"),
        ("0/proc/stat", tarfile.LNKTYPE, "/etc/passwd"),
        ("0/dev/null", tarfile.CHRTYPE, ""),
    ],
)
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path, name, kind, target):
    archive_of(tmp_path / "a.tgz", (name, kind, target))

    with pytest.raises(ParseError, match=r"inside a sample|out of its sample|neither a file"):
        load(tmp_path / "a.tgz")


def test_a_link_that_stays_inside_is_kept(tmp_path):
    inside = ("0/sys/class/net/eth1", tarfile.SYMTYPE, "../../devices/pci0000:00/net/eth1")
    archive_of(tmp_path / "a.tgz", inside)

    (only,) = load(tmp_path / "a.tgz")
    assert only.links == {"/sys/class/net/eth1": "../../devices/pci0000:00/net/eth1"}


def test_an_archive_cannot_fill_the_memory(tmp_path, monkeypatch):
    save((FIRST,), tmp_path / "a.tgz")
    monkeypatch.setattr(archive, "_LARGEST_ARCHIVE", 100)

    with pytest.raises(ParseError, match="MiB"):
        load(tmp_path / "a.tgz")


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b\x08broken"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.tgz").write_bytes(content)

    with pytest.raises(ParseError, match="not a dirtune snapshot"):
        load(tmp_path / "a.tgz")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotPossible, match="no such file"):
        load(tmp_path / "none.tgz")
