"""Say for each feature whether it works here, why not, and the exact remedy."""

import click
import msgspec

from dirtune.cli import _output


@click.command("doctor")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
)
def command(form: str) -> None:
    """Say for each feature whether it works here, why not, and the exact remedy.

    Reads only. What does not work here is no failure of doctor: its exit status is 0.
    """
    from dirtune.analyse.doctor import diagnose
    from dirtune.collect.facts import read_facts
    from dirtune.host import LiveHost
    from dirtune.render import doctor

    diagnosis = diagnose(read_facts(LiveHost()))
    if form == "json":
        _output.result(msgspec.json.encode(diagnosis), form)
    elif form == "markdown":
        _output.result(doctor.markdown(diagnosis))
    else:
        _output.result(doctor.table(diagnosis))
