"""Ask QEMU's monitor why QEMU exited.

The console is not enough, because a machine that resets may lose its last output. The protocol is
the QEMU Machine Protocol (QMP): one JSON object per line on a local socket. The event SHUTDOWN has
a reason, which is `guest-reset` if the guest rebooted (qapi/run-state.json of QEMU).
"""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CONNECT_S = 10


class Monitor:
    """A connection to QEMU's monitor, opened while QEMU runs and read after QEMU has exited."""

    def __init__(self, path: Path, alive: Callable[[], bool]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_CONNECT_S)
        limit = time.monotonic() + _CONNECT_S
        while alive() and time.monotonic() < limit:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                self._socket.connect(str(path))
                self._socket.sendall(b'{"execute": "qmp_capabilities"}\n')
                return
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.close()

    def shutdown_reason(self) -> str | None:
        """Return the reason that QEMU gave for exiting; None if QEMU gave no reason."""
        events = b""
        with suppress(OSError):
            while block := self._socket.recv(65536):
                events += block
        return reason_in(events.decode(errors="replace"))


def reason_in(text: str) -> str | None:
    """Return the reason of the last SHUTDOWN event in *text*; None if there is no such event."""
    reason = None
    for row in text.splitlines():
        with suppress(json.JSONDecodeError):
            event = json.loads(row)
            if event.get("event") == "SHUTDOWN":
                reason = event["data"].get("reason")
    return reason
