"""Count the calls of functions: a measure of work that does not depend on the machine."""

import sys


def calls(function, *arguments):
    """Return the number of calls that *function* makes, also of built-in functions; its result."""
    counted = 0

    def count(_frame, event, _function):
        nonlocal counted
        counted += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(before)
    return counted, result
