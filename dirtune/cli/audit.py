"""Diagnose a director, read-only: findings with evidence, why, and the fix."""

import json
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from dirtune import writing
from dirtune.checks import Severity
from dirtune.checks.audits import Report, gravest
from dirtune.cli import _amount, _output
from dirtune.cli._options import one_of
from dirtune.jobs import audits, snapshots
from dirtune.render import audit as render

_PATH = click.Path(path_type=Path)
_FORMATS = ("table", "json", "markdown", "prometheus")


@click.command()
@click.option(
    "--probe", type=_amount.WINDOW, is_flag=False, flag_value=5.0, metavar="[SECONDS]",
    help="Measure interrupt handlers with eBPF (5 s); all else only reads.",
)  # fmt: skip
@click.option("--host", "hosts", multiple=True, metavar="HOST|@FILE", help="Audit over SSH.")
@click.option("--cluster", type=_PATH, help="Audit every node of a plan, and compare them.")
@click.option("--root", type=_PATH, help="A recorded tree instead of /.")
@click.option("--from", "archive", type=_PATH, help="A snapshot's file.")
@click.option("--diff", nargs=2, metavar="A B", help="What differs: trees, snapshots or hosts.")
@click.option(
    "--interval",
    type=_amount.SECONDS,
    default=2.0,
    show_default=True,
    help="Between two samples.",
)
@click.option(
    "--role", type=click.Choice(["director", "real-server", "client"]), help="Of these hosts."
)
@click.option("--select", multiple=True, help="Only checks that begin so.")
@click.option("--ignore", multiple=True, help="No checks that begin so.")
@click.option("--config", type=_PATH, help="Waivers; default: /etc/dirtune, ~/.config/dirtune.")
@click.option("--baseline", type=_PATH, help="An audit's JSON: only what is new counts.")
@click.option("--fail-on", type=click.Choice([s.value for s in Severity]), default="high")
@click.option("--format", type=click.Choice(_FORMATS), default="table")
@click.option("--output", type=_PATH, help="Write the metrics of prometheus there, at once.")
@click.option("-v", "--verbose", is_flag=True, help="What passed and what was skipped, too.")
def command(
    probe: float | None,
    hosts: tuple[str, ...],
    cluster: Path | None,
    root: Path | None,
    archive: Path | None,
    diff: tuple[str, str] | None,
    interval: float,
    role: str | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    config: Path | None,
    baseline: Path | None,
    fail_on: str,
    format: str,
    output: Path | None,
    verbose: bool,
) -> None:
    """Check a host against the catalogue and say what is wrong, why, and what to do.

    Exit status 1 if a finding is at or above --fail-on, or if the two of --diff differ.
    """
    one_of(**{"host": hosts, "root": root, "from": archive, "diff": diff})
    source = snapshots.Source(root, archive, interval=interval)
    if diff:
        sys.exit(_differ(diff, source, format))
    accepted = audits.acceptance(config, baseline)
    options = audits.Options(audits.wanted(select, ignore), accepted, probe, role)
    if cluster is not None:
        if hosts or role or root or archive:
            raise click.UsageError("--cluster names hosts and roles itself")
        report = audits.of_cluster(cluster, interval, options)
    else:
        names = snapshots.hosts_in(hosts)
        report = audits.of_hosts([replace(source, host=n) for n in names] or [source], options)
    _show(report, format, output, verbose=verbose)
    sys.exit(_status(report, Severity(fail_on)))


def _differ(names: tuple[str, str], source: snapshots.Source, format: str) -> int:
    from dirtune.render import difference

    found = audits.of_two(names, source)
    if format == "prometheus":
        raise click.UsageError("--diff has no metrics; take table, json or markdown")
    if format == "json":
        _output.result(json.dumps(difference.document(found, names), indent=2), format)
    else:
        show = difference.markdown if format == "markdown" else difference.text
        _output.result(show(found, names))
    return 1 if found.differences else 0


def _status(report: Report, fail_on: Severity) -> int:
    for _, reason in report.unreachable:
        _output.warning(reason)  # which begins with the host
    worst = gravest(report.parts)
    failed = worst is not None and worst.rank <= fail_on.rank
    return 2 if report.unreachable else 1 if failed else 0


def _show(report: Report, format: str, output: Path | None, *, verbose: bool) -> None:
    if format == "prometheus":
        _metrics(report, output)
    elif output is not None:
        raise click.UsageError("--output goes with --format prometheus")
    elif format == "json":
        _output.result(json.dumps(_document(report), indent=2), format)
    elif format == "markdown":
        _output.result("\n\n".join(render.markdown(audit) for audit in report.parts))
    else:
        width = min(max(shutil.get_terminal_size().columns, 60), 110)
        texts = (render.text(a, width=width, verbose=verbose) for a in report.parts)
        _output.result("\n\n\n".join(texts), coloured=True)


def _document(report: Report) -> Mapping[str, object]:
    one = len(report.audits) == 1 and not report.unreachable and report.cross is None
    return render.document(report.audits[0]) if one else render.documents(report)


def _metrics(report: Report, output: Path | None) -> None:
    from prometheus_client import generate_latest

    from dirtune.render import prometheus

    found = prometheus.registry(report, time.time())
    if output is None:
        _output.result(generate_latest(found), end="")
        return
    writing.replace(output, generate_latest(found))
