"""Build ids as readelf(1) and file(1) show them, and notes written by hand after elf.h."""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from dirtune.probes import build_ids as ids

OTHER = struct.pack("=III", 6, 1, 0x101) + b"Linux\0\0\0" + b"\1\0\0\0"
SHA1 = bytes(range(20))


def note(description=SHA1, name=b"GNU\0", kind=3):
    return struct.pack("=III", len(name), len(description), kind) + name + description


@pytest.mark.parametrize(
    ("notes", "wanted"),
    [
        (note(), SHA1.hex()),
        (OTHER + note(b"12345678"), b"12345678".hex()),
        (note(kind=1) + note(b"abcd"), b"abcd".hex()),
        (note(name=b"Xen\0"), None),
        (OTHER, None),
        (b"", None),
        (note(b""), None),
        (struct.pack("=III", 2**32 - 1, 2**32 - 1, 3), None),
    ],
)
def test_the_build_id_is_the_note_of_its_owner_and_type(notes, wanted):
    assert ids.parse_build_id(notes) == wanted


def test_the_build_id_of_a_program_is_what_readelf_shows(tmp_path):
    program = shutil.which("bash")
    shown = subprocess.run(("readelf", "-n", program), capture_output=True, text=True, check=True)
    (number,) = re.findall(r"Build ID: ([0-9a-f]+)", shown.stdout)
    section = tmp_path / "notes"
    dump = ("objcopy", "--dump-section", f".note.gnu.build-id={section}")
    subprocess.run((*dump, program, tmp_path / "copy"), check=True)

    assert ids.parse_build_id(section.read_bytes()) == number


def test_modules_have_their_own_and_a_name_is_no_path(monkeypatch, tmp_path):
    folder = tmp_path / "ip_vs" / "notes"
    folder.mkdir(parents=True)
    (folder / ".note.gnu.build-id").write_bytes(note())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / ".note.gnu.build-id").write_bytes(note(b"evil"))
    (tmp_path / "kernel-notes").write_bytes(OTHER + note(b"vmli"))
    (tmp_path / "modules").mkdir()
    monkeypatch.setattr(ids, "_KERNEL_NOTES", tmp_path / "kernel-notes")
    monkeypatch.setattr(ids, "_MODULES", tmp_path)

    assert ids.build_ids({"ip_vs", "bpf", ".", "../x", ""}) == {
        "kernel": b"vmli".hex(),
        "ip_vs": SHA1.hex(),
    }


@pytest.mark.skipif(not Path("/sys/kernel/notes").exists(), reason="this kernel has no notes")
def test_this_kernel_has_a_build_id():
    assert re.fullmatch(r"[0-9a-f]{16,64}", ids.build_ids(())["kernel"])
