"""NetPIPE: what it recorded, and a real one over this machine's loopback."""

import asyncio
import shutil
from pathlib import Path

import pytest

from dirtune.bench import link
from dirtune.errors import ParseError, TrialError
from tests.plans import plan_of

RECORDED = Path(__file__).parents[3] / "shared/data/generators/netpipe_np.out"


def planned(to):
    """Return the plan of a service whose first destination is *to*, all on this machine."""
    here = {"host": "local", "address": "127.0.0.1"}
    more = "[controls]\nlink = true\n"
    return plan_of(more, service={"vip": "127.0.0.1"}, to=[to], servers=[here], clients=["local"])


@pytest.mark.skipif(not RECORDED.exists(), reason="the shared recordings are not here")
def test_the_recorded_output():
    points = list(link.parse(RECORDED.read_text()))

    assert [p.message_bytes for p in points] == [1, 2, 3, 4, 6, 8, 12, 13, 16]
    # It calls 16 bytes in 5.47 us 22.31 Mbps; 128 bits / 5.47 us are 23.4 million bits a second.
    assert points[-1].bits_per_s == pytest.approx(128 / 5.47e-6, rel=0.001)
    assert points[-1].seconds == pytest.approx(5.47e-6)


@pytest.mark.parametrize("text", ["1 2\n", "1 2 x\n", "       1 1.25 0.1\n\n"])
def test_what_it_did_not_write(text):
    with pytest.raises(ParseError, match=r"NetPIPE: line \d"):
        list(link.parse(text))


@pytest.mark.lab  # it takes NetPIPE's own time, 6 s
@pytest.mark.skipif(shutil.which("NPtcp") is None, reason="netpipe-tcp is not installed")
def test_a_real_one(monkeypatch):
    monkeypatch.setattr(link, "_LISTEN", link._LISTEN.replace(str(link._LARGEST), "64"))
    monkeypatch.setattr(link, "_LARGEST", 64)
    points = asyncio.run(link.measure(planned("local")))

    assert [p.message_bytes for p in points][:4] == [1, 2, 3, 4]
    assert max(p.message_bytes for p in points) == 64
    assert all(p.bits_per_s > 0 and p.seconds > 0 for p in points)


def test_a_destination_that_is_no_node_cannot_send():
    with pytest.raises(TrialError, match=r"controls\.link: .*first"):
        asyncio.run(link.measure(planned({"address": "198.18.0.9"})))
