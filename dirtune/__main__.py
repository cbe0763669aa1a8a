"""`python -m dirtune`."""

from dirtune.cli import main

main()
