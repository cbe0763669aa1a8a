"""Keep the changes that wait to be confirmed: the last ones, or those of JOURNAL."""

import click

from dirtune.cli import _far, _output
from dirtune.cli._group import Command
from dirtune.cli._options import FORMAT
from dirtune.render import markdown


@click.command("confirm", cls=Command)
@click.argument("journal", required=False)
@click.option(
    "--renew",
    is_flag=True,
    hidden=True,
    help="Restart the countdown to the rollback of the changes.",
)
@_far.host("Confirm the changes on HOST over SSH, as root.")
@_far.options
@FORMAT
def command(journal: str | None, renew: bool, host: str | None, form: str) -> None:
    """Keep the changes that wait to be confirmed: the last ones, or those of JOURNAL.

    Examples:
      dirtune confirm
      dirtune confirm 000003-20261130T130000.000000Z
      dirtune confirm --host lb1
    """
    if host is not None:
        _settle_there(host, journal, form)
        return
    from dirtune.change import transaction
    from dirtune.host import WritableHost
    from dirtune.jobs.root import require_root
    from dirtune.render import plan as render

    require_root("confirm")
    settle = transaction.renew if renew else transaction.confirm
    done = settle(transaction.place(), WritableHost(), journal)
    text = render.settled_json if form == "json" else render.settled_table
    shown = text(done.journal, done.state, already=done.already)
    _output.result(markdown.literal(shown, form), form)


def _settle_there(host: str, journal: str | None, form: str) -> None:
    from dirtune.jobs import far_hosts
    from dirtune.render import plan as render

    done = far_hosts.settled(host, "confirm", journal)
    text = render.settled_json if form == "json" else render.settled_table
    shown = text(done.journal, done.state, already=done.already)
    _output.result(markdown.literal(shown, form), form)
