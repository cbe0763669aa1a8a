import io
import json
import subprocess
import tarfile

import pytest

from dirtune import snapshot
from dirtune.errors import NotPossible, ParseError
from dirtune.host import LiveHost, RecordedHost
from dirtune.snapshot import (
    SCHEMA,
    fetch_script,
    load,
    parse_fetched,
    record,
    save,
    take,
    take_all,
)

INTERRUPTS = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"
FIRST = RecordedHost(
    {"/proc/interrupts": INTERRUPTS, "/proc/cmdline": "noapic\n"},
    {"/sys/class/net/eth1": "../../devices/pci0000:00/0000:00:10.0/net/eth1"},
    frozenset({"/proc/stat"}),
    taken_s=100.0,
)
SECOND = RecordedHost({"/proc/interrupts": INTERRUPTS.replace("40", "90")}, {}, taken_s=102.5)


def test_what_is_absent_is_none_with_its_reason():
    taken = take(FIRST)

    assert taken.cmdline == ("noapic",)
    assert taken.stat is None
    assert "could not be read" in taken.errors["stat"]
    assert "/proc/net/ip_vs" in taken.errors["services"]


def test_two_samples_have_seconds_between_them_and_one_has_none():
    assert take_all((FIRST, SECOND)).seconds == 2.5
    assert take_all((FIRST,)).seconds is None


def test_an_archive_gives_back_what_was_recorded(tmp_path):
    save((FIRST, SECOND), tmp_path / "a.tgz")

    assert load(tmp_path / "a.tgz") == (FIRST, SECOND)


def archive_of(path, *members):
    meta = {"schema": SCHEMA, "samples": [{"monotonic_s": 1.0, "refused": []}] * 2}
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
    monkeypatch.setattr(snapshot, "_LARGEST_ARCHIVE", 100)

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


def test_the_shell_fetches_what_python_reads(tmp_path):
    """The oracle of the script is the reader of this machine."""
    (tmp_path / "a:b").mkdir()
    texts = {"a:b/one": "1: x\n\n2\n", "a:b/two": "a:b\n", "empty": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "a:b/link").symlink_to("../some where -> else")
    patterns = (f"{tmp_path}/*/*", f"{tmp_path}/empty", f"{tmp_path}/none*")

    done = subprocess.run(
        ["sh", "-c", fetch_script(patterns)], capture_output=True, text=True, check=True
    )
    fetched = parse_fetched(done.stdout)

    files = {p: t for p, t in fetched.files.items() if not p.startswith(("/cmd/", "/netlink/"))}
    assert files == {f"{tmp_path}/{name}": text for name, text in texts.items()}
    assert fetched.links == {f"{tmp_path}/a:b/link": "../some where -> else"}
    assert fetched.taken_s > 0
    assert done.stderr == ""


def test_a_process_that_began_meanwhile_is_left_out():
    text = "time 5.0\nfile /p/1/comm\nfile /p/3/comm\nlinks\ncommands\ntext\n"
    text += "/p/1/comm:one\n/p/2/comm:two\n/p/3/comm:three\nend\n"

    assert parse_fetched(text).files == {"/p/1/comm": "one\n", "/p/3/comm": "three\n"}


def test_what_was_asked_beside_files_is_kept():
    text = (
        "time 5.0\nfile /p/a\n"
        "mode -r--r--r-- 1 root root 0 Nov 22 18:59 /proc/irq/36/smp_affinity\n"
        "mode -rw-r--r-- 1 root root 0 Nov 22 18:59 /proc/irq/37/smp_affinity\n"
        'netlink /netlink/ethtool.json {"eth0": {}}\nlinks\ncommands\n'
        "/cmd/ip-rule:0:\tfrom all lookup local\n/cmd/none:x\ntext\n/p/a:end\nend\n"
    )

    fetched = parse_fetched(text)

    assert fetched.files == {
        "/p/a": "end\n",
        "/netlink/ethtool.json": '{"eth0": {}}',
        "/cmd/ip-rule": "0:\tfrom all lookup local\n",
    }
    assert fetched.mode("/proc/irq/36/smp_affinity") == 0o444
    assert fetched.mode("/proc/irq/37/smp_affinity") == 0o644


def test_a_transfer_that_was_cut_off_is_noticed():
    with pytest.raises(ParseError, match="cut off"):
        parse_fetched("time 5.0\nfile /proc/stat\nlinks\ntext\n/proc/stat:cpu 1\n")


def test_recording_this_machine_reads_its_interrupts():
    assert "/proc/stat" in record(LiveHost()).files
