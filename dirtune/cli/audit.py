"""Diagnose a director without changing it: findings with evidence, reason and fix."""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dirtune import writing
from dirtune.checks import Severity, documents, events
from dirtune.checks.audits import Report, gravest
from dirtune.cli import _amount, _completion, _far, _output
from dirtune.cli._group import Command
from dirtune.cli._options import NETNS, enter, one_of
from dirtune.jobs import audits, snapshots
from dirtune.render import audit as render
from dirtune.render import first_screen
from dirtune.snapshot import Role

if TYPE_CHECKING:
    from dirtune.checks.fleet import FleetDocument
    from dirtune.jobs.inventories import Fleet
    from dirtune.render.blocks import Document

_PATH = click.Path(path_type=Path)
_FORMATS = ("table", "json", "jsonl", "markdown", "html", "prometheus")
_ROLES = [role.value for role in (Role.DIRECTOR, Role.REAL_SERVER, Role.CLIENT)]


@click.command(cls=Command)
@click.option(
    "--probe",
    type=_amount.WINDOW,
    is_flag=False,
    flag_value=5.0,
    metavar="[SECONDS]",
    help="Also measure interrupt handlers, softirqs and locks with eBPF, for SECONDS. "
    "Without --probe, dirtune reads files and loads no eBPF program.  [default of SECONDS: 5]",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST|@FILE",
    shell_complete=_completion.hosts,
    help="Audit HOST over SSH, or each host that FILE lists. Repeatable.",
)
@click.option(
    "-i",
    "--inventory",
    "inventories",
    multiple=True,
    metavar="INVENTORY",
    help="Audit the hosts of an Ansible inventory: a file, a folder, a script (which runs as you) "
    "or `lb1,lb2,`. Repeatable.",
)
@click.option(
    "--limit",
    metavar="PATTERN",
    help="Audit only the hosts of -i that match PATTERN, as Ansible understands it.",
)
@click.option(
    "--summary/--each",
    default=None,
    help="Print one summary of all hosts, or each host's audit.  [default: --summary with -i]",
)
@_far.options
@click.option(
    "--cluster",
    type=_PATH,
    metavar="PLAN",
    help="Audit every node of PLAN, and compare the nodes with each other.",
)
@click.option("--root", type=_PATH, metavar="DIR", help="Read the recorded tree DIR instead of /.")
@click.option(
    "--from",
    "archive",
    type=_PATH,
    metavar="FILE",
    help="Read FILE: a snapshot of dirtune, a sosreport, a tarball of /proc and /sys, or a day "
    "file of sysstat.",
)
@NETNS
@click.option(
    "--diff",
    nargs=2,
    metavar="A B",
    help="Compare two directors, which may be recorded trees, snapshots or hosts.",
)
@click.option(
    "--interval",
    type=_amount.SECONDS,
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait SECONDS between the two samples.",
)
@click.option("--role", type=click.Choice(_ROLES), help="Treat the hosts as this role.")
@click.option(
    "--select",
    multiple=True,
    metavar="PREFIX",
    shell_complete=_completion.checks,
    help="Run only checks whose id starts with PREFIX. Repeatable.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="PREFIX",
    shell_complete=_completion.checks,
    help="Skip checks whose id starts with PREFIX. Repeatable.",
)
@click.option(
    "--config",
    type=_PATH,
    metavar="FILE",
    help="Read waivers from FILE instead of /etc/dirtune/dirtune.toml and "
    "~/.config/dirtune/dirtune.toml.",
)
@click.option(
    "--baseline",
    type=_PATH,
    metavar="FILE",
    help="Ignore the findings that are in FILE, the JSON of an earlier audit.",
)
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.HIGH.value,
    show_default=True,
    help="Exit with status 1 if a finding is this severe or more severe.",
)
@click.option(
    "--format",
    type=click.Choice(_FORMATS),
    default="table",
    show_default=True,
    help="Print the result in this format; jsonl has one line per finding, for log pipelines.",
)
@click.option(
    "--output",
    type=_PATH,
    metavar="FILE",
    help="Write the result of --format prometheus or html to FILE, which is replaced in one step.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show each finding in full, with reason and fix, and list the other checks.",
)
def command(
    probe: float | None,
    hosts: tuple[str, ...],
    inventories: tuple[str, ...],
    limit: str | None,
    summary: bool | None,
    cluster: Path | None,
    root: Path | None,
    archive: Path | None,
    netns: str | None,
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
    """Check a director for misconfiguration and bottlenecks; print findings and their fixes.

    Exit status: 0 if no finding is as severe as --fail-on, 1 if one is or if the two directors of
    --diff differ, 2 if a host could not be audited.

    Examples:
      dirtune audit
      dirtune audit --host lb1 --probe 10
      dirtune audit --cluster plan.toml --fail-on medium
      dirtune audit -i hosts.ini --limit lb --format html --output fleet.html
      dirtune audit --diff lb1.tar.gz lb2.tar.gz
      dirtune audit --netns ingress_sbox
    """
    enter(netns, host=hosts, root=root, cluster=cluster, diff=diff, **{"from": archive})
    one_of(
        **{"host": hosts, "root": root, "from": archive, "diff": diff, "inventory": inventories}
    )
    as_one = _as_summary(inventories, limit, summary, format, cluster, hosts)
    source = snapshots.Source(root, archive, interval=interval)
    if diff:
        sys.exit(_differ(diff, source, format))
    accepted = audits.acceptance(config, baseline)
    options = audits.Options(
        audits.chosen(select, ignore), accepted, probe, Role(role) if role else None
    )
    document: FleetDocument | None = None
    where: tuple[str, ...] | None = None
    if cluster is not None:
        if hosts or inventories or role or root or archive:
            raise click.UsageError(
                "--cluster takes hosts and roles from its plan. "
                "Leave out --host, --inventory, --role, --root and --from."
            )
        report = audits.of_cluster(cluster, interval, options)
    elif inventories or as_one:
        report, document = audits.of_fleet(_fleet(inventories, limit, hosts, source), options)
    else:
        names = snapshots.hosts_in(hosts)
        where = None if archive or netns else _where(root, names)
        report = audits.of_hosts([replace(source, host=n) for n in names] or [source], options)
    if format == "jsonl":
        _show_events(report, document, output)
    elif document is not None and as_one:
        _show_fleet(document, format, output, verbose=verbose)
    else:
        _show(report, format, output, where, verbose=verbose)
    named = as_one and document is not None and format != "json"
    sys.exit(_status(report, Severity(fail_on), named=named))


def _as_summary(
    inventories: tuple[str, ...],
    limit: str | None,
    summary: bool | None,
    format: str,
    cluster: Path | None,
    hosts: tuple[str, ...],
) -> bool:
    """Return whether the result is one summary; raises `UsageError` for contradictions."""
    if limit is not None and not inventories:
        raise click.UsageError("--limit chooses hosts of an inventory. Give -i INVENTORY too.")
    if cluster and summary:
        raise click.UsageError("--cluster has no summary. Leave out --summary.")
    if format in {"prometheus", "jsonl"}:
        return False
    several = len(hosts) > 1 or any(host.startswith("@") for host in hosts)
    return (bool(inventories) or (format == "html" and several)) if summary is None else summary


def _fleet(
    inventories: tuple[str, ...],
    limit: str | None,
    hosts: tuple[str, ...],
    source: snapshots.Source,
) -> "Fleet":
    from dirtune.jobs import inventories as jobs

    if inventories:
        return jobs.read(inventories, limit, source)
    names = snapshots.hosts_in(hosts)
    return jobs.of_sources(tuple(replace(source, host=name) for name in names) or (source,))


def _show_fleet(
    summary: "FleetDocument", format: str, output: Path | None, *, verbose: bool
) -> None:
    from dirtune.render import fleet

    if format == "html":
        _show_page(fleet.document(summary), output)
        return
    if output is not None:
        raise click.UsageError("--output needs --format prometheus or html.")
    if format == "json":
        _output.result(fleet.json(summary), format)
    else:
        show = fleet.markdown if format == "markdown" else fleet.text
        _output.result(show(summary, verbose=verbose), format)


def _show_page(document: "Document", output: Path | None) -> None:
    from dirtune.cli import _reports

    page = _reports.renderer().of_document(document)
    if output is None:
        _output.result(page, "html")
    else:
        writing.replace(output, page.encode())


def _show_events(report: Report, summary: "FleetDocument | None", output: Path | None) -> None:
    if output is not None:
        raise click.UsageError("--output needs --format prometheus or html.")
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    for event in events.of_report(report, summary.drift if summary else (), at):
        _output.answer(events.line(event))


def _differ(names: tuple[str, str], source: snapshots.Source, format: str) -> int:
    from dirtune.render import difference

    comparison = audits.of_two(names, source)
    if format in {"prometheus", "html", "jsonl"}:
        raise click.UsageError(
            "--diff cannot print metrics, events or a page. Use --format table, json or markdown."
        )
    if format == "json":
        _output.result(json.dumps(difference.document(comparison, names), indent=2), format)
    else:
        show = difference.markdown if format == "markdown" else difference.text
        _output.result(show(comparison, names), format)
    return 1 if comparison.differences else 0


def _status(report: Report, fail_on: Severity, *, named: bool) -> int:
    """Return the exit status; name the unreachable hosts unless the result has *named* them."""
    for _, reason in () if named else report.unreachable:
        _output.warning(reason)  # which begins with the host
    worst = gravest(report.parts)
    failed = worst is not None and worst.rank <= fail_on.rank
    return 2 if report.unreachable else 1 if failed else 0


def _where(root: Path | None, hosts: Sequence[str]) -> tuple[str, ...] | None:
    """Return the options with which `dirtune fix plan` reads the host; None for several hosts."""
    if len(hosts) > 1:
        return None
    return ("--root", str(root)) if root else ("--host", hosts[0]) if hosts else ()


def _show(
    report: Report,
    format: str,
    output: Path | None,
    where: tuple[str, ...] | None,
    *,
    verbose: bool,
) -> None:
    """Print the report; *where* is None if `dirtune fix plan` cannot read the audited host."""
    if format == "prometheus":
        _metrics(report, output)
    elif format == "html":
        from dirtune.render import audit_page

        _show_page(audit_page.document(report, where), output)
    elif output is not None:
        raise click.UsageError("--output needs --format prometheus or html.")
    elif format == "json":
        _output.result(json.dumps(_document(report), indent=2), format)
    elif format == "markdown":
        _output.result("\n\n".join(render.markdown(audit) for audit in report.parts), format)
    else:
        width = min(max(shutil.get_terminal_size().columns, 40), 110)
        if verbose:
            texts = [render.text(a, width=width, verbose=True) for a in report.parts]
        else:
            texts = [first_screen.text(a, width=width, where=where) for a in report.parts]
        _output.result("\n\n\n".join(texts), coloured=True)


def _document(report: Report) -> Mapping[str, object]:
    one = len(report.audits) == 1 and not report.unreachable and report.cross is None
    return documents.of_audit(report.audits[0]) if one else documents.of_report(report)


def _metrics(report: Report, output: Path | None) -> None:
    from prometheus_client import generate_latest

    from dirtune.render import prometheus

    metrics = generate_latest(prometheus.registry(report, time.time()))
    if output is None:
        _output.result(metrics, "text", end="")
        return
    writing.replace(output, metrics)
