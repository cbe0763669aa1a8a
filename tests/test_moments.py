"""The tracer that raises a signal at every moment leaves nothing to the garbage collector."""

import contextlib

from dirtune.signals import Ended, interruptible
from tests.moments import at_every_moment


def test_what_a_signal_cuts_off_is_closed_at_once(tmp_path):
    """Found later in a cycle, a file may be finalised before the generator that closes it."""
    files, cut = [], 0

    @contextlib.contextmanager
    def opened():
        with (tmp_path / "file").open("w") as file:
            files.append(file)
            yield

    def run(trace):
        nonlocal cut
        files.clear()
        error = None  # as pytest.raises keeps it
        try:
            with interruptible(), trace, opened():
                pass
        except Ended as raised:
            error = raised
            cut += len(files)
        assert [file.closed for file in files] == [True] * len(files), error

    assert at_every_moment(run) > 10
    assert cut > 2
