"""Numbers of the command line."""

import click

_MOST = 1e9
"""Thirty years, or more connections a second than there are; sleep(2) has an end as well."""


class Amount(click.FloatRange):
    """A number within a range and a person's; click's own lets nan and inf through."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; click says what is wrong with another."""
        found = float(super().convert(value, param, ctx))
        if not found <= _MOST:  # nan is not, either
            self.fail(f"{value} is not a number one can wait for or hold to", param, ctx)
        return found


SECONDS = Amount(min=0)
"""How long to wait."""
WINDOW = Amount(min=0, min_open=True)
"""How long to measure."""
