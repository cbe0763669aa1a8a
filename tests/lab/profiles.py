"""Profiles by the director's own dirtune, which begin when a test says so."""

import contextlib
import json

from benches import on

BEGIN = "echo go >/tmp/go; until grep -q measuring /tmp/said; do sleep 0.1; done"


@contextlib.contextmanager
def told(words):
    """A profile whose probes are loaded, and that waits for `BEGIN`."""
    script = (
        f"rm -f /tmp/go /tmp/said; mkfifo /tmp/go; (dirtune profile --told --format json"
        f" {words} </tmp/go >/tmp/profile 2>/tmp/said & echo $! >/tmp/pid);"
        " (sleep 300 >/tmp/go 2>/dev/null & echo $! >/tmp/keeper);"
        " until grep -q loaded /tmp/said; do kill -0 $(cat /tmp/pid) || exit 1; sleep 0.2; done"
    )
    on("lb1", script)
    try:
        yield
    finally:
        on("lb1", "kill $(cat /tmp/pid /tmp/keeper) 2>/dev/null || true")


def ended():
    """The profile that was told to begin, once it is there."""
    on("lb1", "while kill -0 $(cat /tmp/pid) 2>/dev/null; do sleep 0.3; done")
    return json.loads(on("lb1", "cat /tmp/profile"))
