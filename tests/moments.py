"""A signal at every moment: before each instruction of the functions concerned, one run for each.

CPython handles a signal between two instructions, at some of them only, and which ones depends on
its version. The tracer raises it at all of them.
"""

import contextlib
import signal
import sys
import traceback
from types import FunctionType, ModuleType

MOST = 5000
"""More instructions than any of these functions has; a test that meets more would take minutes."""


def at_every_moment(run, *where: ModuleType | FunctionType, number=signal.SIGTERM):
    """Call *run* once for each instruction in modules and functions, a signal before it.

    *run* is given a block in which instructions count. Return how many there are.
    """
    places = {each.__file__ for each in (*where, contextlib) if isinstance(each, ModuleType)}
    places |= {each.__code__ for each in where if isinstance(each, FunctionType)}
    for moment in range(MOST):
        trace = _Trace(places, moment, number)
        for _ in _alone(run, trace):
            pass
        if not trace.sent:
            return moment
    raise AssertionError(f"more than {MOST} instructions")


def _alone(run, trace):
    # Raised where CPython would not handle it, a signal may leave an exception on the stack of
    # those being handled; a generator has a stack of its own.
    yield run(trace)


class _Trace:
    def __init__(self, where, moment, number):
        self.where, self.left, self.number, self.sent = where, moment, number, False

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, _kind, error, _traceback):
        sys.settrace(self.before)
        # A test keeps the error, and the error's frames keep what the signal cut off. In a cycle,
        # the collector might finalise an open file before the generator that closes it.
        while error is not None:
            traceback.clear_frames(error.__traceback__)
            error = error.__context__

    def _call(self, frame, event, argument):
        if self.where.isdisjoint({frame.f_code, frame.f_code.co_filename}):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._instruction

    def _instruction(self, frame, event, argument):
        if event == "opcode" and not self.sent:
            self.left -= 1
            if self.left < 0:
                self.sent = True
                signal.raise_signal(self.number)
        return self._instruction
