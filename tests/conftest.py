"""What holds for every test."""

import os
import signal

from hypothesis import settings

# The same examples in every run, so that a machine that passes today passes tomorrow;
# DIRTUNE_RANDOM=1 looks for new ones.
settings.register_profile("same", derandomize=True)
if os.environ.get("DIRTUNE_RANDOM") != "1":
    settings.load_profile("same")


def pytest_configure():
    # A background job of a shell, and nohup(1), begin with signals ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
