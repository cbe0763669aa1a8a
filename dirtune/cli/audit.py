"""Diagnose a director, read-only: findings with evidence, why, and the fix."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from dirtune import checks
from dirtune.checks import Check, Severity
from dirtune.cli import _sources
from dirtune.cli._sources import Source
from dirtune.errors import NodeUnreachable, NotPossible, ParseError
from dirtune.render import audit as render


@click.command()
@click.option(
    "--probe", type=float, is_flag=False, flag_value=5.0, metavar="[SECONDS]",
    help="Measure interrupt handlers with eBPF (5 s); all else only reads.",
)  # fmt: skip
@click.option("--host", "hosts", multiple=True, metavar="HOST|@FILE", help="Audit over SSH.")
@click.option("--cluster", type=click.Path(path_type=Path), help="Audit every node of a plan.")
@click.option("--root", type=click.Path(path_type=Path), help="A recorded tree instead of /.")
@click.option("--from", "archive", type=click.Path(path_type=Path), help="A snapshot's file.")
@click.option(
    "--interval", type=float, default=2.0, show_default=True, help="Between two samples."
)
@click.option("--select", multiple=True, help="Only checks that begin so.")
@click.option("--ignore", multiple=True, help="No checks that begin so.")
@click.option("--fail-on", type=click.Choice([s.value for s in Severity]), default="high")
@click.option("--format", type=click.Choice(["table", "json", "markdown"]), default="table")
@click.option("-v", "--verbose", is_flag=True, help="What passed and what was skipped, too.")
def command(
    probe: float | None,
    hosts: tuple[str, ...],
    cluster: Path | None,
    root: Path | None,
    archive: Path | None,
    interval: float,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str,
    format: str,
    verbose: bool,
) -> None:
    """Check a host against the catalogue and say what is wrong, why, and what to do.

    Exit status 1 if a finding is at or above --fail-on.
    """
    wanted = _wanted(select, ignore)
    source = _sources.Source(root, archive, interval=interval)
    sources = _nodes(source, hosts, cluster) or (source,)
    audits, unreachable = _each(sources, lambda each: _audit(each, wanted, probe))
    click.echo(_shown(audits, unreachable, format, verbose=verbose), color=_sources.colour())
    for name, reason in unreachable:
        click.echo(f"dirtune: {name}: {reason}", err=True)
    worst = render.worst(audits)
    failed = worst is not None and worst.rank <= Severity(fail_on).rank
    sys.exit(2 if unreachable else 1 if failed else 0)


def _wanted(select: tuple[str, ...], ignore: tuple[str, ...]) -> tuple[Check, ...]:
    wanted = checks.chosen(checks.all_checks(), select, ignore)
    if not wanted:
        raise NotPossible("no such check; `dirtune explain` lists them")
    return wanted


def _nodes(source: Source, hosts: tuple[str, ...], cluster: Path | None) -> tuple[Source, ...]:
    names, config = _sources.hosts_in(hosts), None
    if cluster is not None:
        from dirtune.bench import plan

        asked = plan.read(cluster)
        peers = (*asked.real_servers, *asked.clients)
        names = (*names, asked.director.host, *(peer.host for peer in peers))
        config = cluster.parent / asked.ssh_config if asked.ssh_config else None
    return tuple(replace(source, host=name, ssh_config=config) for name in dict.fromkeys(names))


def _audit(source: Source, wanted: tuple[Check, ...], probe: float | None) -> render.Audit:
    taken = _sources.snapshot_of(source)
    if taken.empty:
        raise NotPossible(f"{source.name}: nothing in it that an audit reads")
    if probe is not None:
        taken = replace(taken, handlers=_sources.probed(source, probe))
    return render.audit(source.host, taken, wanted)


def _each(
    sources: tuple[Source, ...], audit: Callable[[Source], render.Audit]
) -> tuple[list[render.Audit], list[tuple[str, str]]]:
    audits, unreachable = [], []
    for source in sources:
        try:
            audits.append(audit(source))
        except (NodeUnreachable, NotPossible, ParseError) as error:
            if len(sources) == 1:
                raise
            unreachable.append((source.name, str(error)))
    return audits, unreachable


def _shown(
    audits: list[render.Audit],
    unreachable: list[tuple[str, str]],
    format: str,
    *,
    verbose: bool,
) -> str:
    if format == "json":
        one = len(audits) == 1 and not unreachable
        found = render.document(audits[0]) if one else render.documents(audits, unreachable)
        return json.dumps(found, indent=2)
    if format == "markdown":
        return "\n\n".join(render.markdown(audit) for audit in audits)
    width = min(max(shutil.get_terminal_size().columns, 60), 110)
    return "\n\n\n".join(render.text(a, width=width, verbose=verbose) for a in audits)
