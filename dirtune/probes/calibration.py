"""Measure the time between the two stamps of a probe that belongs to the probe itself.

Source: two programs of `irq.bpf.c` at the raw tracepoint `task_rename` (__set_task_comm() in
fs/exec.c), which the kernel calls when this thread sets its name: to the name that it already has.
"""

import ctypes
from collections.abc import Sequence

from dirtune.errors import NotPossible
from dirtune.probes.prebuilt import Prebuilt
from dirtune.probes.probe import Point

_PR_SET_NAME, _PR_GET_NAME = 15, 16  # include/uapi/linux/prctl.h
_NAME_BYTES = 16
_ROUNDS, _CALLS = 9, 8


def own_ns(loaded: Prebuilt, points: Sequence[Point]) -> float | None:
    """Return the nanoseconds between the two stamps of *points* if nothing happens in between.

    The result is the median of several rounds, because an interrupt prolongs a round. It is None
    if there are no *points*, or if this kernel lacks the tracepoint. If the kernel counts the run
    time of programs during the measurement, it must do so now, because that is part of the time.
    """
    attached = []
    try:
        for point in points:
            loaded.attach(point)
            attached.append(point)
        rounds = [_round(loaded) for _ in range(_ROUNDS)]
    except NotPossible:
        return None
    finally:
        for point in attached:
            loaded.detach(point)
    measured = [mean for mean in rounds if mean is not None]
    return sorted(measured)[len(measured) // 2] if measured else None


def _round(loaded: Prebuilt) -> float | None:
    calls, total_ns = _counts(loaded)
    _rename(_CALLS)
    now_calls, now_ns = _counts(loaded)
    return (now_ns - total_ns) / (now_calls - calls) if now_calls > calls else None


def _counts(loaded: Prebuilt) -> tuple[int, int]:
    copies = loaded["irq_empty"][0]
    return sum(copy.calls for copy in copies), sum(copy.total_ns for copy in copies)


def _rename(times: int) -> None:
    prctl = ctypes.CDLL(None).prctl
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if prctl(_PR_GET_NAME, name) == 0:
        for _ in range(times):
            prctl(_PR_SET_NAME, name)
