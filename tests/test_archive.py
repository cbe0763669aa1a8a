import gzip
import io
import json
import subprocess
import tarfile
from dataclasses import replace

import pytest

from dirtune import archive
from dirtune.archive import load, save
from dirtune.errors import NotPossible, ParseError
from dirtune.host import LiveHost, RecordedHost

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

    with pytest.raises(ParseError, match=r"inside a sample|outside its sample|neither a file"):
        load(tmp_path / "a.tgz")


def test_a_link_that_stays_inside_is_kept(tmp_path):
    inside = ("0/sys/class/net/eth1", tarfile.SYMTYPE, "../../devices/pci0000:00/net/eth1")
    archive_of(tmp_path / "a.tgz", inside)

    (only,) = load(tmp_path / "a.tgz")
    assert only.links == {"/sys/class/net/eth1": "../../devices/pci0000:00/net/eth1"}


def test_an_archive_cannot_fill_the_memory(tmp_path, monkeypatch):
    save((FIRST,), tmp_path / "a.tgz")
    monkeypatch.setattr(archive, "_LARGEST_CONTENT", 100)

    with pytest.raises(ParseError, match="MiB"):
        load(tmp_path / "a.tgz")


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b\x08broken"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.tgz").write_bytes(content)

    with pytest.raises(ParseError, match="not a dirtune snapshot"):
        load(tmp_path / "a.tgz")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotPossible, match="does not exist"):
        load(tmp_path / "none.tgz")


CARD = "/sys/devices/pci0000:00/0000:00:10.0/net/eth1"
LINKED = RecordedHost(
    {
        "/sys/class/net/eth1/mtu": "1500\n",
        "/sys/class/net/eth1/statistics/rx_bytes": "7\n",
        "/sys/bus/pci/devices/0000:00:10.0/class": "0x020000\n",
        "/etc/sysctl.conf": "a = 1\n",
    },
    {
        "/sys/class/net/eth1": "../../devices/pci0000:00/0000:00:10.0/net/eth1",
        "/sys/class/net/eth1/device/driver": "../../../bus/pci/drivers/e1000",
        "/etc/sysctl.d/9.conf": "../sysctl.conf",
    },
)


def test_files_below_a_link_unpack_with_tar(tmp_path):
    save((LINKED,), tmp_path / "a.tgz")
    subprocess.run(["tar", "xzf", "a.tgz"], cwd=tmp_path, check=True, capture_output=True)

    assert (tmp_path / "0/sys/class/net/eth1").is_symlink()
    assert (tmp_path / "0/sys/class/net/eth1/mtu").read_text() == "1500\n"
    assert (tmp_path / f"0{CARD}/mtu").read_text() == "1500\n"
    assert load(tmp_path / "a.tgz") == (LINKED,)


def test_what_was_unpacked_reads_as_the_archive_does(tmp_path):
    save((LINKED,), tmp_path / "a.tgz")
    subprocess.run(["tar", "xzf", "a.tgz"], cwd=tmp_path, check=True, capture_output=True)
    tree = LiveHost(tmp_path / "0")

    assert {path: tree.read(path) for path in LINKED.files} == LINKED.files
    assert {path: tree.link(path) for path in LINKED.links} == LINKED.links
    assert tree.glob("/sys/class/net/*/mtu") == LINKED.glob("/sys/class/net/*/mtu")


def test_a_file_read_by_two_paths_is_there_by_both(tmp_path):
    twice = replace(LINKED, files=LINKED.files | {f"{CARD}/mtu": "1500\n"})
    save((twice,), tmp_path / "a.tgz")

    assert load(tmp_path / "a.tgz") == (twice,)


def test_an_archive_of_before_with_files_below_a_link_is_read(tmp_path):
    link = ("0/sys/class/net/eth1", tarfile.SYMTYPE, "../../devices/net/eth1")
    archive_of(tmp_path / "a.tgz", ("0/sys/class/net/eth1/mtu", tarfile.REGTYPE, ""), link)

    (only,) = load(tmp_path / "a.tgz")
    assert only.read("/sys/class/net/eth1/mtu") == "x"
    assert only.link("/sys/class/net/eth1") == "../../devices/net/eth1"


@pytest.mark.parametrize(
    "target", ["/usr/lib/sysctl.d/9.conf", "../../../../usr/lib/sysctl.d/9.conf"]
)
def test_a_link_from_the_top_stays_in_its_sample(tmp_path, target):
    save((RecordedHost({}, {"/etc/sysctl.d/9.conf": target}),), tmp_path / "a.tgz")

    (only,) = load(tmp_path / "a.tgz")
    assert only.links == {"/etc/sysctl.d/9.conf": "../../usr/lib/sysctl.d/9.conf"}


GOOD = {"monotonic_s": 1.0, "refused": [], "modes": {"/proc/irq/1/smp_affinity": 420}}


@pytest.mark.parametrize(
    "meta",
    [
        [],
        "text",
        {"schema": "dirtune/snapshot/2", "samples": [GOOD]},
        {"schema": "dirtune/snapshot/1"},
        {"schema": "dirtune/snapshot/1", "samples": {}},
        {"schema": "dirtune/snapshot/1", "samples": []},
        *(
            {"schema": "dirtune/snapshot/1", "samples": [GOOD | bad]}
            for bad in (
                {"monotonic_s": "x"},
                {"monotonic_s": -1},
                {"monotonic_s": True},
                {"refused": 5},
                {"refused": [5]},
                {"modes": []},
                {"modes": {"/proc/irq/1/smp_affinity": "x"}},
                {"modes": {"/proc/irq/1/smp_affinity": -1}},
                {"behind": ["x"]},
            )
        ),
    ],
)
def test_a_meta_json_that_is_not_ours_is_one_error(tmp_path, meta):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as made:
        for name, content in (("meta.json", json.dumps(meta)), ("0/proc/interrupts", INTERRUPTS)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content.encode()))

    with pytest.raises(ParseError, match="not a dirtune snapshot"):
        load(tmp_path / "a.tgz")


@pytest.mark.parametrize("meta", [{"schema": "dirtune/snapshot/1", "samples": [GOOD]}, None])
def test_an_archive_without_a_sample_is_one_error(tmp_path, meta):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as made:
        if meta is not None:
            member = tarfile.TarInfo("meta.json")
            content = json.dumps(meta).encode()
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))

    with pytest.raises(ParseError, match="no sample"):
        load(tmp_path / "a.tgz")


@pytest.mark.parametrize("content", [b"\xff" * 40, b"x" * 40 + "\U0001f600".encode()])
def test_a_text_counts_as_it_is_in_memory(tmp_path, monkeypatch, content):
    """Four times what is in the file, where a byte is shown as an escape or is beside an emoji."""
    monkeypatch.setattr(archive, "_LARGEST_CONTENT", 150)
    with gzip.open(tmp_path / "a.tgz", "wb") as file:
        member = tarfile.TarInfo("0/proc/stat")
        member.size = len(content)
        file.write(member.tobuf() + content + b"\0" * (-len(content) % 512) + b"\0" * 1024)

    with pytest.raises(ParseError, match="MiB of unpacked content"):
        load(tmp_path / "a.tgz")
