"""Generic netlink: batches of requests on one socket, with one acknowledgement per batch.

Format: include/uapi/linux/netlink.h and genetlink.h (Linux 6.1). Only the last request of a batch
asks for an acknowledgement. The kernel processes requests in order and reports each request that
it refuses (netlink_rcv_skb() of net/netlink/af_netlink.c). So the acknowledgement alone means that
the complete batch was carried out.
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
# The kernel fills at most half of the buffer with a dump.
_BUFFER_BYTES = 2**16
_WAIT_S = 30
_WAIT = struct.pack("@ll", _WAIT_S, 0)
_TRIES = 5

Request = tuple[int, bytes]
"""A command and the attributes to send with it."""


class _Family(NamedTuple):
    """The attributes CTRL_ATTR_*, as far as they are needed here."""

    family_id: int | None = None
    family_name: bytes = b""


class Refused(DirtuneError):
    """The kernel refused a request of a batch, but may have carried out later requests."""

    def __init__(self, index: int, number: int) -> None:
        super().__init__(os.strerror(number))
        self.index = index
        self.errno = number


class Socket:
    """A socket to one netlink family.

    Opening the socket may load the family's kernel module: check first that the module is loaded.
    """

    def __init__(self, family: str, version: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
        self._sequence = 0
        self._version = version
        self._family = _GENL_ID_CTRL
        try:
            # settimeout() would double the system calls: Python then polls before each call.
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
        """Send *command* and return the attributes of its single answer."""
        self._send([(command, attributes)], _NLM_F_ACK)
        answers = self._answers()
        if len(answers) != 1:
            raise ParseError("netlink", f"the kernel sent {len(answers)} answers to one request")
        return answers[0]

    def dump(self, command: int, attributes: bytes = b"") -> list[bytes]:
        """Return the attributes of every message of a dump.

        If the kernel's IPVS table changes during a dump, the dump is repeated. Raises
        `NotPossible` after five attempts.
        """
        for _ in range(_TRIES):
            self._send([(command, attributes)], _NLM_F_DUMP)
            with contextlib.suppress(InterruptedError):
                return self._answers()
        raise NotPossible(
            f"The IPVS table changed during each of {_TRIES} attempts to read it. Try again."
        )

    def carry_out(self, requests: Sequence[Request]) -> None:
        """Send *requests* in order; raises `Refused` for the first one that the kernel refuses."""
        for begin in range(0, len(requests), _BATCH):
            self._send(requests[begin : begin + _BATCH], 0)
            self._await_all(begin)

    def _look_up(self, family: str) -> int:
        name = raw(_CTRL_ATTR_FAMILY_NAME, family.encode() + b"\0")
        number = _family(self.get(_CTRL_CMD_GETFAMILY, name)).family_id
        if number is None:
            raise NotPossible(
                f"netlink: the kernel did not return the id of the netlink family {family}"
            )
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
        """Return all answers to the last request, up to the kernel's end-of-dump message."""
        answers: list[bytes] = []
        interrupted = 0
        while True:
            for kind, flags, sequence, payloads in alike(self._received()):
                if sequence != self._sequence:
                    continue  # left over from an abandoned dump
                interrupted |= flags & _NLM_F_DUMP_INTR
                if kind not in _ENDS:
                    answers += payloads
                    continue
                if number := _number(payloads[0]):
                    raise Refused(0, number)
                if interrupted:
                    raise InterruptedError(errno.EINTR, "The IPVS table changed during the dump")
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
            raise NotPossible(f"netlink: the kernel did not answer within {_WAIT_S} s") from error


def alike(data: bytes) -> Iterator[tuple[int, int, int, Sequence[bytes]]]:
    """Yield type, flags, sequence number and payloads of the messages in *data*.

    If all messages have the same header, as most buffers of a dump do, their payloads are
    yielded together in one step. Payloads do not contain the generic netlink header.
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
    """Return the errno in an acknowledgement or end-of-dump message; 0 means success."""
    return -int(struct.unpack_from("=i", payload)[0])
