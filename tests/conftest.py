"""What holds for every test."""

import signal


def pytest_configure():
    # A background job of a shell, and nohup(1), begin with signals ignored, and what the tests
    # start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
