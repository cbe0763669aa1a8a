"""Generic netlink: many requests on one socket, their refusals read together.

Format: include/uapi/linux/netlink.h and genetlink.h (Linux 6.1). In a batch only the last request
asks for an acknowledgement: the kernel works in order and always answers a request that it refuses
(netlink_rcv_skb() of net/netlink/af_netlink.c), so one answer tells that all were carried out.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from dirtune.errors import DirtuneError, NotPossible, ParseError
from dirtune.formats import parsing
from dirtune.netlink.attributes import Reader, raw

_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ENDS = {_NLMSG_ERROR, _NLMSG_DONE}
_NLM_F_DUMP_INTR = 0x10
_NETLINK_GENERIC = 16
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 0x10, 3
_CTRL_ATTR_FAMILY_NAME = 2
_NLMSGHDR = struct.Struct("=IHHII")
_GENL_HDRLEN = 4
_BATCH = 128
# The kernel fills at most half of it with a dump.
_BUFFER_BYTES = 2**16
_WAIT_S = 30
_WAIT = struct.pack("@ll", _WAIT_S, 0)
_TRIES = 5

Request = tuple[int, bytes]
"""A command and its attributes."""


class _Family(NamedTuple):
    """CTRL_ATTR_*; the kernel tells more, which nobody here needs."""

    family_id: int | None = None
    family_name: bytes = b""


class Refused(DirtuneError):
    """The kernel refused one request of several; those behind it may have been done."""

    def __init__(self, index: int, number: int) -> None:
        super().__init__(os.strerror(number))
        self.index = index
        self.errno = number


class Socket:
    """A socket to one family. Looking a family up may load its module: ask only if it is there."""

    def __init__(self, family: str, version: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
        self._sequence = 0
        self._version = version
        self._family = _GENL_ID_CTRL
        try:
            # Not settimeout, with which each of thousands of calls is two: it polls before.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _WAIT)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._socket.bind((0, 0))
            self._family = self._look_up(family)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, at: TracebackType | None
    ) -> None:
        self._socket.close()

    def get(self, command: int, attributes: bytes = b"") -> bytes:
        """Return the attributes of the one answer to *command*."""
        self._send([(command, attributes)], _NLM_F_ACK)
        answers = self._answers()
        if len(answers) != 1:
            raise ParseError("netlink", f"{len(answers)} answers to one question")
        return answers[0]

    def dump(self, command: int, attributes: bytes = b"") -> list[bytes]:
        """Return the attributes of every message of a dump, asked again if it was disturbed."""
        for _ in range(_TRIES):
            self._send([(command, attributes)], _NLM_F_DUMP)
            with contextlib.suppress(InterruptedError):
                return self._answers()
        raise NotPossible(f"IPVS changed {_TRIES} times while it was read. Try again")

    def carry_out(self, requests: Sequence[Request]) -> None:
        """Send *requests* in order; `Refused` names the first that the kernel did not take."""
        for begin in range(0, len(requests), _BATCH):
            self._send(requests[begin : begin + _BATCH], 0)
            self._await_all(begin)

    def _look_up(self, family: str) -> int:
        name = raw(_CTRL_ATTR_FAMILY_NAME, family.encode() + b"\0")
        number = _family(self.get(_CTRL_CMD_GETFAMILY, name)).family_id
        if number is None:
            raise NotPossible(f"netlink: this kernel gave no number for its family {family}")
        return number

    def _send(self, requests: Sequence[Request], flags: int) -> None:
        first = self._sequence + 1
        parts = []
        last = len(requests) - 1
        for index, (command, attributes) in enumerate(requests):
            acknowledge = _NLM_F_ACK if index == last and not flags & _NLM_F_DUMP else 0
            length = _NLMSGHDR.size + _GENL_HDRLEN + len(attributes)
            kind = _NLM_F_REQUEST | flags | acknowledge
            parts.append(_NLMSGHDR.pack(length, self._family, kind, first + index, 0))
            parts.append(struct.pack("=BBxx", command, self._version))
            parts.append(attributes)
        self._sequence += len(requests)
        self._first = first
        self._socket.send(b"".join(parts))

    def _answers(self) -> list[bytes]:
        """Return what the kernel answers to the request sent last, until it says it is done."""
        answers: list[bytes] = []
        interrupted = 0
        while True:
            for kind, flags, sequence, payloads in alike(self._received()):
                if sequence != self._sequence:
                    continue  # of a dump that was given up
                interrupted |= flags & _NLM_F_DUMP_INTR
                if kind not in _ENDS:
                    answers += payloads
                    continue
                if number := _number(payloads[0]):
                    raise Refused(0, number)
                if interrupted:
                    raise InterruptedError(errno.EINTR, "The dump is not of one moment")
                return answers

    def _await_all(self, begin: int) -> None:
        refused: Refused | None = None
        while True:
            for kind, _, sequence, payloads in alike(self._received()):
                if kind != _NLMSG_ERROR or sequence < self._first:
                    continue
                number = _number(payloads[0])
                if number and refused is None:
                    refused = Refused(begin + sequence - self._first, number)
                if sequence == self._sequence:
                    if refused is not None:
                        raise refused
                    return

    def _received(self) -> bytes:
        try:
            return self._socket.recv(_BUFFER_BYTES)
        except BlockingIOError as error:
            raise NotPossible(f"netlink: the kernel did not answer in {_WAIT_S} s") from error


def alike(data: bytes) -> Iterator[tuple[int, int, int, Sequence[bytes]]]:
    """Yield the type, flags and sequence of messages in *data* with their payloads.

    Those of a dump that have one header, but for the last that is all, come together: that is one
    step instead of one for each. A payload is without the generic header where it has one.
    """
    at, end = 0, len(data)
    while at + _NLMSGHDR.size <= end:
        length, kind, flags, sequence, _ = _NLMSGHDR.unpack_from(data, at)
        behind = at + _NLMSGHDR.size
        begin = behind if kind in _ENDS else behind + _GENL_HDRLEN
        if at == 0 and length >= begin and not length % 4 and not end % length:
            rows = struct.iter_unpack(f"{_NLMSGHDR.size}s{begin - behind}x{length - begin}s", data)
            heads, payloads = zip(*rows, strict=True)
            if heads.count(heads[0]) == len(heads):
                yield kind, flags, sequence, payloads
                return
        yield kind, flags, sequence, (data[begin : at + length],)
        at += max((length + 3) & ~3, _NLMSGHDR.size)


@parsing("netlink")
def _family(answer: bytes) -> _Family:
    return Reader(_Family)(answer)


@parsing("netlink")
def _number(payload: bytes) -> int:
    """Return the errno in the payload of an acknowledgement or a dump's end; 0 is done."""
    return -int(struct.unpack_from("=i", payload)[0])
