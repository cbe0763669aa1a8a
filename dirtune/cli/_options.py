"""Options that exclude each other."""

import click


def one_of(**given: object) -> None:
    """Refuse two of the options *given*, by their names, that each say what to read."""
    said = [f"--{name}" for name, value in given.items() if value]
    if len(said) > 1:
        raise click.UsageError(f"{' and '.join(said)} each say what to read; give one of them")
