"""Option types for numbers on the command line."""

import click

_MOST = 1e9
"""The largest number that an option accepts; as seconds, about 30 years."""


class Amount(click.FloatRange):
    """A finite number within a range; click's own type accepts nan and inf."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return *value* as a number; a usage error refuses what is not a number in the range."""
        number = float(super().convert(value, param, ctx))
        if not number <= _MOST:  # nan compares as False
            self.fail(f"{value} is not a number of at most {_MOST:g}", param, ctx)
        return number


SECONDS = Amount(min=0)
"""A time to wait, in seconds."""
WINDOW = Amount(min=0, min_open=True)
"""The length of a window, in seconds."""
