"""Report which features of dirtune work on this host, and how to get the others to work."""

import click
import msgspec

from dirtune.cli import _output
from dirtune.cli._group import Command
from dirtune.cli._options import FORMAT


@click.command("doctor", cls=Command)
@FORMAT
def command(form: str) -> None:
    """Report which features of dirtune work on this host, and how to get the others to work.

    Changes nothing. The exit status is 0 even if a feature does not work.

    Examples:
      dirtune doctor
      dirtune doctor --format json
    """
    from dirtune.analyse.doctor import diagnose
    from dirtune.collect.facts import read_facts
    from dirtune.host import LiveHost
    from dirtune.render import doctor

    diagnosis = diagnose(read_facts(LiveHost()))
    if form == "json":
        _output.result(msgspec.json.encode(diagnosis), form)
    elif form == "markdown":
        _output.result(doctor.markdown(diagnosis), "markdown")
    else:
        _output.result(doctor.table(diagnosis))
