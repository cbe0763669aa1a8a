"""The start of `dirtune` and of `python -m dirtune`, before anything slow is imported."""

import signal


def main() -> None:
    """Run the command line. Ctrl-C during its import ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dirtune.cli import main as commands  # noqa: PLC0415  (it takes most of the start)

    commands()
