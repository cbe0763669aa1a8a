"""Wait for a fault, and keep the evidence: the seconds before it, a profile and an audit."""

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click

from dirtune.checks import events
from dirtune.cli import _amount, _output
from dirtune.cli._group import Command
from dirtune.cli._options import NETNS, NEW_FOLDER, enter
from dirtune.cli.profile import ALL
from dirtune.errors import NotPossible
from dirtune.jobs import watches
from dirtune.render import watch as render
from dirtune.watch import expression

_MOST = 32


@click.command(cls=Command)
@click.option(
    "--when",
    "whens",
    multiple=True,
    required=True,
    metavar="CONDITION|SET",
    help="Keep evidence when CONDITION comes true, or a condition of SET: drops, overload or "
    "failover. Repeatable.",
)
@NETNS
@click.option(
    "--capture",
    type=_amount.Amount(min=0),
    default=10.0,
    metavar="SECONDS",
    help="Profile for SECONDS after the firing; 0 takes no profile.",
)
@click.option(
    "--probes",
    default=ALL,
    metavar="NAME,...",
    help="Attach these eBPF probes during the profile; `none` attaches no probe.",
)
@click.option(
    "--times",
    type=click.IntRange(min=1),
    default=1,
    metavar="COUNT",
    help="End after COUNT captures.",
)
@click.option(
    "--quiet-period",
    type=_amount.SECONDS,
    default=600.0,
    metavar="SECONDS",
    help="Begin no other capture for SECONDS after a capture; firings are still counted.",
)
@click.option(
    "--duration", type=_amount.WINDOW, metavar="SECONDS", help="End after SECONDS in any case."
)
@click.option(
    "--out",
    type=NEW_FOLDER,
    default=Path("dirtune-watch"),
    metavar="DIR",
    help="Keep each capture in a folder of its own below DIR.",
)
@click.option(
    "--keep-mb",
    type=_amount.Amount(min=1),
    default=200.0,
    metavar="MB",
    help="Remove the oldest captures below DIR beyond MB megabytes; the newest one always stays.",
)
@click.option(
    "--exec",
    "command_line",
    metavar="COMMAND",
    help="After a capture run COMMAND, without a shell and for at most 60 s. Its variables "
    "DIRTUNE_WATCH_FOLDER, _WHEN, _CONDITION, _VALUE and _MESSAGE describe the capture.",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE how often each condition was met, for the textfile collector of "
    "Prometheus' node_exporter.",
)
@click.option(
    "--format",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    show_default=True,
    help="Print the folders of the captures at the end; with jsonl, print each firing and capture "
    "as one line of JSON when it happens.",
)
def command(
    whens: tuple[str, ...],
    netns: str | None,
    capture: float,
    probes: str,
    times: int,
    quiet_period: float,
    duration: float | None,
    out: Path,
    keep_mb: float,
    command_line: str | None,
    metrics: Path | None,
    format: str,
) -> None:
    """Sample this host once a second until a condition comes true, then keep the evidence.

    A capture is a folder with report.md, the 120 s before the firing (before.jsonl), a profile
    with probes (profile.json), an audit (audit.json), the snapshot that the audit judged
    (snapshot.tar.gz) and what fired (watch.json).

    CONDITION is METRIC OP NUMBER[UNIT] [on any|all|OBJECT] [for TIME] [after NUMBER[UNIT]]. OP is
    >, >=, < or <=. Without `on`, the sum over all CPUs or interfaces counts, or the mean for a
    percentage. `for 2 s` asks that the condition holds for 2 s; `after 5000/s` asks that the
    metric was at least this high (for <) or at most this high (for >) within the minute before.
    A condition fires again only after it was false.

    \b
    METRICS

    systemd-run keeps a watch running after you log out:
    `systemd-run --property=SuccessExitStatus=1 dirtune watch --when drops --times 10
    --out /var/lib/dirtune-watch`.

    Exit status: 0 if no condition came true before --duration ended, 1 if one did, 2 if the host
    could not be watched.

    Examples:
      dirtune watch --when drops
      dirtune watch --when 'softnet.dropped > 0/s on any for 2 s' --when 'irq 24 > 50000/s'
      dirtune watch --when 'ipvs.connections < 100/s after 5000/s' --times 3 --duration 86400
    """  # noqa: D301  (the backslashes are click's, and a continued line)
    if 0 < capture < 1:
        raise click.UsageError("--capture needs at least 1 s, or 0 for no profile.")
    if len(whens) > _MOST:
        raise click.UsageError(f"--when can be given at most {_MOST} times.")
    enter(netns)
    options = watches.Options(
        tuple(
            dict.fromkeys(condition for when in whens for condition in expression.watched(when))
        ),
        out,
        times,
        quiet_period,
        duration,
        int(keep_mb * 1_000_000),
        _argv(command_line),
        metrics,
        capture,
        () if probes == "none" else tuple(filter(None, probes.split(","))),
    )
    if format == "jsonl":
        options = replace(options, tell=_tell)
    folders = watches.watch(options, render.report, render.metrics)
    for folder in folders if format == "table" else ():
        _output.result(str(folder), "text")
    sys.exit(1 if folders else 0)


def _tell(event: events.Event) -> None:
    _output.answer(events.line(event))


def _argv(command_line: str | None) -> tuple[str, ...]:
    """Return the words of --exec; raises `NotPossible` if its program does not exist."""
    if command_line is None:
        return ()
    try:
        argv = shlex.split(command_line)
    except ValueError as error:
        raise click.UsageError(f"--exec {command_line!r}: {error}.") from error
    if not argv:
        raise click.UsageError("--exec needs a command.")
    program = shutil.which(argv[0])
    if program is None:
        raise NotPossible(f"--exec {argv[0]}: the command was not found.")
    return (program, *argv[1:])


def _metrics() -> str:
    """Return the list of metrics for the help."""
    from dirtune.watch.metrics import METRICS

    names = [*METRICS]
    width = max(len(metric.name) for metric in names)
    rows = [f"{m.name:{width}}  {m.unit:2}  {m.about}" for m in names]
    return "\n    ".join(["Metrics:", *rows, f"{'irq NUMBER':{width}}  /s  interrupts on a line"])


command.help = (command.help or "").replace("METRICS", _metrics().replace("\n    ", "\n  "))
