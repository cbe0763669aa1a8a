"""What bcc is handed; what it makes of that is tried in the lab."""

import os
import stat
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from dirtune.probes import loading, session
from dirtune.probes.probe import Way


@pytest.mark.parametrize("before", [None, "/tmp"])
def test_bcc_finds_no_headers_that_another_user_put_there(monkeypatch, before):
    """It takes those in $TMPDIR/kheaders-RELEASE for the kernel's own."""
    seen = []

    def compiles(**_):
        place = Path(os.environ["TMPDIR"])
        seen.append((place, stat.S_IMODE(place.stat().st_mode), [*place.iterdir()]))
        (place / f"kheaders-{os.uname().release}").mkdir()
        raise Exception("a.c:1:2: error: no")  # noqa: TRY002  (as bcc raises it)

    bcc = SimpleNamespace(BPF=compiles, __spec__=ModuleSpec("bcc", None))
    monkeypatch.setitem(sys.modules, "bcc", bcc)
    monkeypatch.delenv("TMPDIR", raising=False)
    if before is not None:
        monkeypatch.setenv("TMPDIR", before)

    (irq,) = session.named(("irq",))
    loaded, refused = loading.load([loading.Candidate(irq, None, Way("x", ()))])

    assert (loaded, list(refused)) == ([], ["irq"])
    ((place, mode, found),) = seen
    assert (mode, found) == (0o700, [])
    assert place not in {Path("/tmp"), Path("/var/tmp")}
    assert not place.exists()
    assert os.environ.get("TMPDIR") == before
