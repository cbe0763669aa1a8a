"""What holds for every test."""

import os
import signal

from hypothesis import settings

# The same examples in every run, and as much time for each as it takes, so that what passes today
# passes tomorrow on a slow machine; DIRTUNE_RANDOM=1 looks for new examples.
RANDOM = os.environ.get("DIRTUNE_RANDOM") == "1"
settings.register_profile("dirtune", derandomize=not RANDOM, deadline=None)
settings.load_profile("dirtune")


def pytest_configure():
    # A background job of a shell, and nohup(1), begin with signals ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
