"""The socket, on the one family that every kernel has, and on answers written by hand."""

import errno
import struct

import pytest

from dirtune.errors import NotPossible
from dirtune.netlink import genl

GET_FAMILY, NAME = 3, 2
NLCTRL = struct.pack("=HH7sx", 11, NAME, b"nlctrl\0")


@pytest.fixture
def control():
    with genl.Socket("nlctrl", 2) as socket:
        yield socket


def test_one_answer_and_a_dump_of_many(control):
    assert b"nlctrl\0" in control.get(GET_FAMILY, NLCTRL)
    # net/netlink/genetlink.c: the family of families has the number 16.
    assert struct.pack("=HHH", 6, 1, 16) in control.get(GET_FAMILY, NLCTRL)

    found = control.dump(GET_FAMILY)
    assert len(found) > 1
    assert sum(b"nlctrl\0" in each for each in found) == 1


def test_the_first_of_a_batch_that_is_refused_is_named(control):
    fine, unknown = (GET_FAMILY, NLCTRL), (99, b"")

    control.carry_out([])
    with pytest.raises(genl.Refused) as refused:
        control.carry_out([*[fine] * 200, unknown, fine, unknown])

    assert (refused.value.index, refused.value.errno) == (200, errno.EOPNOTSUPP)
    # What was left unread of it does not answer the next question.
    assert b"nlctrl\0" in control.get(GET_FAMILY, NLCTRL)


def test_an_unknown_family_is_refused():
    with pytest.raises(genl.Refused) as refused:
        genl.Socket("no such", 1)

    assert refused.value.errno == errno.ENOENT


class Written:
    """A kernel whose answers are written down; `{}` is the sequence of the last request."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = 0

    def send(self, data):
        self.sent += 1
        self.last = struct.unpack_from("=I", data, 8)[0]

    def recv(self, size):
        if not self.answers:
            raise BlockingIOError  # SO_RCVTIMEO is over
        return b"".join(
            struct.pack("=IHHII", 16 + len(body), kind, flags, self.last + late, 0) + body
            for kind, flags, late, body in self.answers.pop(0)
        )

    def close(self):
        pass


MESSAGE = (31, 2, 0, b"\1\1\0\0here")
LONGER = (31, 2, 0, b"\1\1\0\0and here")
STALE = (31, 2, -1, b"\1\1\0\0gone")
DONE = (3, 2, 0, struct.pack("=i", 0))


@pytest.mark.parametrize(
    ("answers", "found", "sent"),
    [
        ([[MESSAGE, DONE]], [b"here"], 1),
        ([[MESSAGE], [MESSAGE], [DONE]], [b"here"] * 2, 1),
        ([[MESSAGE] * 3, [DONE]], [b"here"] * 3, 1),
        # 24, 28 and 20 bytes, which are not three of 24.
        ([[MESSAGE, LONGER, DONE]], [b"here", b"and here"], 1),
        ([[STALE, MESSAGE, DONE]], [b"here"], 1),
        # NLM_F_DUMP_INTR: it changed while it was read, so it is asked for again.
        ([[(31, 0x12, 0, MESSAGE[3]), DONE], [MESSAGE, DONE]], [b"here"], 2),
    ],
)
def test_a_dump_is_of_one_moment(control, monkeypatch, answers, found, sent):
    written = Written(*answers)
    monkeypatch.setattr(control, "_socket", written)

    assert control.dump(1) == found
    assert written.sent == sent


def test_a_dump_that_ends_in_an_error_or_never_is_none(control, monkeypatch):
    monkeypatch.setattr(
        control, "_socket", Written([MESSAGE, (3, 2, 0, struct.pack("=i", -errno.ESRCH))])
    )
    with pytest.raises(genl.Refused) as refused:
        control.dump(1)
    assert refused.value.errno == errno.ESRCH

    monkeypatch.setattr(control, "_socket", Written([MESSAGE]))
    with pytest.raises(NotPossible, match="the kernel did not answer"):
        control.dump(1)

    disturbed = [(31, 0x12, 0, MESSAGE[3]), DONE]
    monkeypatch.setattr(control, "_socket", Written(*[disturbed] * 9))
    with pytest.raises(NotPossible, match="each of 5 attempts"):
        control.dump(1)
