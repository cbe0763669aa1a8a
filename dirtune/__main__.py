"""Run the command line for `python -m dirtune`."""

from dirtune.start import main

main()
