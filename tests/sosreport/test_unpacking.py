"""Archives of strangers: what is kept, what is refused, and what a link may reach."""

import gzip
import io
import lzma
import tarfile
import zlib

import pytest

from dirtune.errors import NotPossible, ParseError, SourceMissing, SourceRefused
from dirtune.sosreport import of_archive, unpacking
from dirtune.tar_members import Limits

INTERRUPTS = "           CPU0\n 10:         40    XT-PIC      eth1\n"


def packed(path, *members, mode="w:gz"):
    """Write an archive of members (name, content) or (name, kind, target)."""
    with tarfile.open(path, mode) as archive:
        for name, *rest in members:
            member = tarfile.TarInfo(name)
            if len(rest) == 2:
                member.type, member.linkname = rest
                archive.addfile(member)
            else:
                content = rest[0] if isinstance(rest[0], bytes) else rest[0].encode()
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w:"])
@pytest.mark.parametrize("top", ["", "./", "sosreport-lb1-2026/", "a/b/c/"])
def test_every_packing_and_every_folder_above(tmp_path, mode, top):
    path = packed(tmp_path / "a", (f"{top}proc/interrupts", INTERRUPTS), mode=mode)

    assert of_archive(path).read("/proc/interrupts") == INTERRUPTS


def test_the_tree_with_most_files_is_the_host(tmp_path):
    path = packed(
        tmp_path / "a",
        ("top/var/lib/containers/x/proc/cmdline", "inner"),
        ("top/proc/cmdline", "outer"),
        ("top/proc/interrupts", INTERRUPTS),
    )

    assert of_archive(path).read("/proc/cmdline") == "outer"


def test_links_are_followed_inside_the_tree_only(tmp_path):
    path = packed(
        tmp_path / "a",
        ("x/proc/self", tarfile.SYMTYPE, "4711"),
        ("x/proc/net", tarfile.SYMTYPE, "self/net"),
        ("x/proc/4711/net/softnet_stat", "0 0\n"),
        ("x/sys/class/net/eth0", tarfile.SYMTYPE, "../../devices/pci0/net/eth0"),
        ("x/sys/devices/pci0/net/eth0/flags", "0x1003\n"),
        ("x/proc/cmdline", tarfile.SYMTYPE, "../../../../etc/passwd"),
        ("x/proc/cpuinfo", tarfile.SYMTYPE, "/etc/passwd"),
        ("x/proc/stat", tarfile.SYMTYPE, "stat"),
    )
    host = of_archive(path)

    assert host.read("/proc/net/softnet_stat") == "0 0\n"
    assert host.glob("/sys/class/net/*/flags") == ("/sys/class/net/eth0/flags",)
    assert host.read("/sys/class/net/eth0/flags") == "0x1003\n"
    assert host.link("/sys/class/net/eth0") == "../../devices/pci0/net/eth0"
    for path, refusal in (
        ("/proc/cmdline", SourceRefused),
        ("/proc/cpuinfo", SourceMissing),
        ("/proc/stat", SourceRefused),
    ):
        with pytest.raises(refusal):
            host.read(path)


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("x/proc/../../etc/passwd", tarfile.REGTYPE, ""),
        ("/proc/cmdline", tarfile.REGTYPE, ""),
        ("x/proc/cmdline", tarfile.LNKTYPE, "/etc/passwd"),
        ("x/proc/cmdline", tarfile.CHRTYPE, ""),
        ("x/proc/cmdline", tarfile.FIFOTYPE, ""),
        ("x/proc/" + "a/" * 600 + "cmdline", tarfile.REGTYPE, ""),
    ],
)
def test_a_member_that_is_no_file_of_a_host_is_left_out(tmp_path, name, kind, target):
    path = packed(tmp_path / "a", ("x/proc/interrupts", INTERRUPTS), (name, kind, target))
    host = of_archive(path)

    assert host.read("/proc/interrupts") == INTERRUPTS
    with pytest.raises(SourceMissing):
        host.read("/proc/cmdline")


def test_what_no_audit_reads_is_not_kept(tmp_path):
    path = packed(
        tmp_path / "a",
        ("x/proc/interrupts", INTERRUPTS),
        ("x/var/log/messages", b"secret" * 1000),
        ("x/proc/kallsyms", b"a" * 1000),
        ("x/etc/shadow", b"root"),
        ("x/sos_commands/networking/ip_-o_addr", "1: lo inet 127.0.0.1/8 scope host lo\n"),
    )

    assert set(unpacking.load(path).files) == {
        "/proc/interrupts",
        "/sos_commands/networking/ip_-o_addr",
    }


def test_a_file_that_is_too_large_is_named_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_LARGEST_FILE", 100)
    path = packed(
        tmp_path / "a", ("x/proc/cmdline", b"a" * 101), ("x/proc/interrupts", INTERRUPTS)
    )

    with pytest.raises(SourceRefused):
        of_archive(path).read("/proc/cmdline")


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        ("_LIMITS", Limits(1 << 20, 100), "MiB of unpacked content"),
        ("_LIMITS", Limits(1 << 20, 1 << 20, members=2), "more than 2 files"),
        ("_LARGEST_UNPACKED", 4096, "GiB of content"),
        ("_LONGEST_S", -1, "takes more than"),
        ("_MOST_KEPT", 1, "files of /proc and /sys"),
    ],
)
def test_an_archive_has_limits(tmp_path, monkeypatch, limit, value, why):
    members = (("x/proc/interrupts", b"a" * 90), ("x/proc/cmdline", b"b" * 90))
    path = packed(tmp_path / "a", *members, ("x/var/log/messages", b"c" * 9000))
    monkeypatch.setattr(unpacking, limit, value)

    with pytest.raises(ParseError, match=why):
        unpacking.load(path)


def test_xz_may_not_ask_for_gigabytes_of_memory(tmp_path):
    tar = packed(tmp_path / "a.tar", ("x/proc/interrupts", INTERRUPTS), mode="w:").read_bytes()
    small = lzma.compress(tar, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}])
    # The block's header follows the stream's 12 bytes: its length, flags, the filter, the size of
    # the dictionary (0 is 4 KiB, 36 is 1 GiB), and a checksum.
    length = (small[12] + 1) * 4
    header = bytearray(small[12 : 12 + length - 4])
    header[header.index(b"\x21\x01") + 2] = 36
    checksum = zlib.crc32(header).to_bytes(4, "little")
    (tmp_path / "a.xz").write_bytes(small[:12] + header + checksum + small[12 + length :])

    with pytest.raises(ParseError, match=r"[Mm]emory"):
        unpacking.load(tmp_path / "a.xz")


def test_two_xz_streams_in_one_file(tmp_path):
    tar = packed(tmp_path / "a.tar", ("x/proc/interrupts", INTERRUPTS), mode="w:").read_bytes()
    (tmp_path / "a.xz").write_bytes(lzma.compress(tar[:700]) + lzma.compress(tar[700:]))

    assert unpacking.load(tmp_path / "a.xz").read("/proc/interrupts") == INTERRUPTS


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_an_archive_that_is_cut_off_is_refused(tmp_path, pack):
    tar = packed(tmp_path / "a.tar", ("x/proc/interrupts", INTERRUPTS), mode="w:").read_bytes()
    whole = pack(tar)
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ParseError):
        unpacking.load(tmp_path / "a")


def test_a_collection_of_reports_says_what_to_give(tmp_path):
    path = packed(tmp_path / "a", ("sos-collector/sosreport-lb1.tar.xz", b"x"))

    with pytest.raises(ParseError, match="Unpack it, and give one of them"):
        unpacking.load(path)


def test_an_archive_of_other_things_is_no_host(tmp_path):
    with pytest.raises(ParseError, match="not a report of a host"):
        unpacking.load(packed(tmp_path / "a", ("x/readme", b"x")))


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(NotPossible, match="does not exist"):
        unpacking.load(tmp_path / "none")


def test_a_snapshot_of_dirtune_is_left_to_its_own_reader(tmp_path):
    assert of_archive(packed(tmp_path / "a", ("meta.json", b"{}"))) is None
    assert of_archive(packed(tmp_path / "b", ("0/proc/stat", b""))) is None
