"""Print the JSON Schema of a result or of a plan."""

import click

from dirtune.cli import _output
from dirtune.cli._group import Command


@click.command("schema", cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
def command(name: str | None) -> None:
    """Print the JSON Schema of a result or of a plan, or list the schemas.

    A result in JSON names its schema: "schema": "dirtune/NAME/1". `plan-file` is the schema of a
    plan.

    Examples:
      dirtune schema
      dirtune schema audit
    """
    from dirtune import schemas

    if name is None:
        _output.result("\n".join(sorted(schemas.PUBLISHED)))
    else:
        _output.result(schemas.text(name).rstrip("\n"), "text")
