"""What is said to be on the disk is there: the real system calls of an apply, in their order."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

APPLY = """
import sys
from pathlib import Path
from dirtune.checks import Risk
from dirtune.host import WritableHost
from dirtune.change.actions.put_file import PutFile
from dirtune.change.plan import Change, Plan
from dirtune.change.transaction import Place, carry_out

plan = Plan((Change(PutFile(sys.argv[1], None, "new\\n"), Risk.SAFE, "irq/x", "f", "t"),))
carry_out(plan, WritableHost(), Place(Path(sys.argv[2]), Path(sys.argv[3])))
"""
CALLS = "mkdir,write,fsync,fdatasync,rename,renameat,renameat2"
_CALL = re.compile(r"\d+ +(?P<call>\w+)\((?P<rest>.*)")
_PLACES = re.compile(r"(?:\d+<|\")(?P<path>/[^>\"]*)")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_each_record_and_file_is_on_the_disk_before_what_follows(tmp_path):
    changed, state = tmp_path / "etc/changed", tmp_path / "lib/state"
    changed.parent.mkdir()
    out = tmp_path / "calls"
    argv = ("strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", out, sys.executable, "-c", APPLY)
    subprocess.run((*argv, changed, state, tmp_path / "run"), check=True, timeout=120)

    (path,) = state.glob("*.journal")
    names = {
        str(path): "journal",
        str(state): "state",
        str(state.parent): "above state",
        str(changed): "file",
        str(changed.with_name(".changed.dirtune-new")): "new file",
        str(changed.parent): "folder",
    }
    record = [("write", "journal"), ("fsync", "journal")]
    assert list(calls(out.read_text(), names)) == [
        ("mkdir", "above state"),
        ("mkdir", "state"),
        ("fsync", "above state"),
        *(*record, ("fsync", "state")),
        *record,
        ("write", "new file"),
        ("fsync", "new file"),
        ("rename", "new file", "file"),
        ("fsync", "folder"),
        *record,
    ]


def calls(text, names):
    """Yield the calls on the paths in *names*, in order, with what these are called there."""
    for match in map(_CALL.match, text.splitlines()):
        places = [str(Path(place)) for place in _PLACES.findall(match["rest"])] if match else ()
        called = tuple(names[place] for place in places if place in names)
        if called:
            yield (match["call"], *called)
