"""Undo the changes that were applied last, or those of JOURNAL."""

import click

from dirtune.cli import _far, _output
from dirtune.cli._group import Command
from dirtune.cli._options import FORMAT
from dirtune.render import markdown


@click.command("rollback", cls=Command)
@click.argument("journal", required=False)
@_far.host("Undo the changes on HOST over SSH, as root.")
@_far.options
@FORMAT
def command(journal: str | None, host: str | None, form: str) -> None:
    """Undo the changes that were applied last, or those of JOURNAL.

    The command also finishes an undo that was interrupted, and may be repeated. The journals of a
    host stay there, so --host also undoes changes that an earlier --host made.

    Examples:
      dirtune rollback
      dirtune rollback 000003-20261130T130000.000000Z
      dirtune rollback --host lb1
    """
    if host is not None:
        _settle_there(host, journal, form)
        return
    from dirtune.change import transaction
    from dirtune.host import WritableHost
    from dirtune.jobs.root import require_root
    from dirtune.render import plan as render

    require_root("rollback")
    done = transaction.take_back(transaction.place(), WritableHost(), journal)
    text = render.settled_json if form == "json" else render.settled_table
    shown = text(done.journal, done.state, already=done.already)
    _output.result(markdown.literal(shown, form), form)
    if done.note:
        _output.warning(done.note)


def _settle_there(host: str, journal: str | None, form: str) -> None:
    from dirtune.jobs import far_hosts
    from dirtune.render import plan as render

    done = far_hosts.settled(host, "rollback", journal)
    text = render.settled_json if form == "json" else render.settled_table
    shown = text(done.journal, done.state, already=done.already)
    _output.result(markdown.literal(shown, form), form)
