"""`python -m dirtune`."""

from dirtune.start import main

main()
