"""What each renderer prints, whole, in golden/NAME.txt."""

import json
import pkgutil
import re
from pathlib import Path

import click
import msgspec
import pytest
from prometheus_client import generate_latest

import dirtune.render
from dirtune.analyse import capacity
from dirtune.bench import store
from dirtune.change.preparation import director_document
from dirtune.checks import documents, events
from dirtune.lvs.documents import plan_document
from dirtune.render import (
    audit,
    audit_page,
    catalogue,
    comparison,
    comparison_page,
    difference,
    doctor,
    failover,
    first_screen,
    fix_files,
    fleet,
    irqs,
    lvs,
    lvs_diff,
    lvs_drift,
    lvs_kube_proxy,
    lvs_plan,
    overview,
    plan,
    preparation,
    presets,
    profile,
    prometheus,
    readiness,
    run_tables,
    sweep,
    tune,
    tune_page,
    watch,
)
from tests.golden import same
from tests.render import inputs
from tests.render.crowded import RUN

GOLDEN = Path(__file__).parent / "golden"
NO_OUTPUT = {
    "blocks",
    "folded",
    "cells",
    "each_text",
    "figures",
    "json_documents",
    "markdown",
    "paper_charts",
}
"""Modules that make parts of the output of others."""
NO_OUTPUT |= {"paper_document", "report_charts", "report_cpu", "report_document"}
NO_OUTPUT |= {"report_handlers", "report_nodes", "report_summary", "chart_style"}


def pretty(document):
    """Return JSON as lines."""
    if isinstance(document, str):
        document = json.loads(document)
    return json.dumps(msgspec.to_builtins(document), indent=2)


def several(show, *values):
    return "\n\n".join(map(show, values))


def report(run, *, paper=False):
    module = pytest.importorskip("dirtune.render.report", reason="needs the extra `report`")
    return module.markdown(run, frozenset({"handlers", "ratio", "pairs"}), paper=paper)


def agreement(interval):
    """Return what the report says of a forecast of 0.772 to 0.811 and this outcome."""
    measured = msgspec.structs.replace(RUN.comparisons[0], interval=interval)
    text = report(msgspec.structs.replace(RUN, comparisons=(measured,)))
    return text.partition("## Forecast and outcome\n")[2].partition("\n## ")[0].strip()


def page(run):
    module = pytest.importorskip("dirtune.render.report", reason="needs the extra `report`")
    return bare(module.html(run))


def document_page(document):
    module = pytest.importorskip("dirtune.render.report", reason="needs the extra `report`")
    return bare(module.of_document(document))


def bare(html):
    """Return a page without what is the same on each."""
    text = re.sub(r"'sha256-[^']+'", "'sha256-...'", html)
    return re.sub(r"<(svg|style|script)\b.*?</\1>", r"<\1>...</\1>", text, flags=re.DOTALL)


def fix_folder():
    found = fix_files.files(inputs.FIXES, inputs.LASTING)
    return "\n".join(f"--- {path} {mode:o}\n{text}" for path, (text, mode) in found.items())


def around_real_servers(form):
    """Return what is shown of a director's table with one real server's settings."""
    servers = {"rs1": inputs.REAL_SERVER}
    if form == "json":
        director = director_document(*CHANGED, inputs.REAL_SERVER)
        return preparation.document(director, servers)
    whole = preparation.above(TABLES[form](*CHANGED), preparation.rows(inputs.REAL_SERVER), form)
    return preparation.beside(whole, servers, form)


def finished(hold_s):
    applied = plan.applied_table(inputs.FIXES, inputs.JOURNAL, hold_s)
    return preparation.finished(applied, inputs.DONE, inputs.REACH, hold_s)


TABLES = {"table": lvs_diff.table, "markdown": lvs_diff.markdown}
IRQS, COUNTED = ((taken, taken.interrupts) for taken in (inputs.HOST, inputs.COUNTED))
XTPIC = inputs.AUDIT.outcomes[2].check
CHANGED = (inputs.CHANGES, inputs.STEPS, inputs.IPVS)
PLANNED = (inputs.CHANGES.modules, tuple(edit.title for edit in inputs.CHANGES.edits))
APPLIED = (inputs.FIXES, inputs.JOURNAL)
OUTPUTS = {
    "audit-table": lambda: several(audit.text, inputs.AUDIT, inputs.FOUND_NOTHING),
    "first_screen": lambda: several(first_screen.text, inputs.AUDIT, inputs.FOUND_NOTHING),
    "audit-table-verbose": lambda: audit.text(inputs.AUDIT, width=80, verbose=True),
    "overview": lambda: "\n".join(overview.overview(*case) for case in inputs.OVERVIEWS),
    "audit-markdown": lambda: audit.markdown(inputs.AUDIT),
    "audit-json": lambda: pretty(documents.of_report(inputs.REPORT)),
    "audit-jsonl": lambda: "\n".join(
        map(
            events.line,
            events.of_report(inputs.REPORT, inputs.FLEET.drift, "2026-12-01T03:00:00Z"),
        )
    ),
    "prometheus": lambda: generate_latest(prometheus.registry(inputs.REPORT, 1e9)).decode(),
    "irqs-table": lambda: several(lambda of: irqs.text(*of), IRQS, COUNTED),
    "irqs-markdown": lambda: several(lambda of: irqs.markdown(*of), IRQS, COUNTED),
    "irqs-json": lambda: pretty(irqs.document(*COUNTED)),
    "difference-table": lambda: difference.text(inputs.DIFFERENCE, ("lb1", "lb2")),
    "difference-markdown": lambda: difference.markdown(inputs.DIFFERENCE, ("lb1", "lb2")),
    "difference-json": lambda: pretty(difference.document(inputs.DIFFERENCE, ("lb1", "lb2"))),
    "profile-table": lambda: several(profile.table, inputs.PROFILE, inputs.COUNTS_ALONE),
    "profile-table-verbose": lambda: profile.table(inputs.PROFILE, verbose=True),
    "profile-markdown": lambda: profile.markdown(inputs.PROFILE, verbose=True),
    "profile-difference": lambda: profile.difference(inputs.PROFILES_DIFFER, markdown=False),
    "comparison-table": lambda: several(comparison.table, *RUN.comparisons),
    "comparison-markdown": lambda: several(comparison.markdown, *RUN.comparisons),
    "comparison_page": lambda: document_page(
        comparison_page.document(RUN.comparisons, ("before", "after"))
    ),
    "tune_page": lambda: document_page(tune_page.document(inputs.SESSION)),
    "tune-table": lambda: several(
        tune.table, inputs.SESSION, inputs.WAITING, inputs.NOTHING_TO_TUNE
    ),
    "tune-markdown": lambda: tune.markdown(inputs.SESSION),
    "lvs-table": lambda: lvs.table(inputs.IPVS, inputs.COUNTS),
    "lvs-markdown": lambda: lvs.markdown(inputs.IPVS, inputs.COUNTS),
    "lvs-json": lambda: pretty(lvs.document(inputs.IPVS, inputs.COUNTS)),
    "lvs_diff-table": lambda: lvs_diff.table(*CHANGED),
    "lvs_diff-markdown": lambda: lvs_diff.markdown(*CHANGED),
    "lvs_diff-json": lambda: pretty(plan_document(inputs.STEPS, inputs.IPVS, *PLANNED)),
    "lvs_drift": lambda: lvs_drift.text(inputs.DRIFT),
    "lvs_drift-none": lambda: lvs_drift.text(()),
    "lvs_kube_proxy": lambda: lvs_kube_proxy.config_map(inputs.IPVS),
    "lvs_plan": lambda: lvs_plan.plan(inputs.IPVS),
    "preparation-table": lambda: around_real_servers("table"),
    "preparation-markdown": lambda: around_real_servers("markdown"),
    "preparation-json": lambda: pretty(around_real_servers("json")),
    "preparation-finished": lambda: several(finished, 0, 120),
    "preparation-reached": lambda: several(preparation.reached, inputs.REACH, inputs.UNASKED),
    "presets-table": lambda: presets.table(inputs.PRESETS),
    "presets-markdown": lambda: presets.markdown(inputs.PRESETS),
    "presets-json": lambda: pretty(presets.document(inputs.PRESETS)),
    "plan-table": lambda: plan.plan_table(inputs.FIXES, inputs.NOTES),
    "plan-markdown": lambda: plan.plan_markdown(inputs.FIXES, inputs.NOTES),
    "plan-json": lambda: pretty(plan.plan_json(inputs.FIXES)),
    "plan-applied": lambda: several(
        lambda hold_s: plan.applied_table(*APPLIED, hold_s, inputs.LEFT_OUT, inputs.NOTES), 0, 120
    ),
    "plan-applied-json": lambda: pretty(plan.applied_json(*APPLIED, 120, inputs.LEFT_OUT)),
    "plan-settled": lambda: several(
        lambda already: plan.settled_table(inputs.JOURNAL, "confirmed", already=already),
        False,
        True,
    ),
    "plan-verify": lambda: several(plan.verify_table, inputs.HELD, ()),
    "plan-verify-json": lambda: pretty(plan.verify_json(inputs.HELD)),
    "fix_files": fix_folder,
    "watch": lambda: watch.report(*inputs.WATCHED, inputs.PROFILE, inputs.AUDIT),
    "watch-prometheus": lambda: watch.metrics(("drops", "overload"), inputs.FIRED).decode(),
    "doctor-table": lambda: several(doctor.table, *inputs.DIAGNOSES),
    "doctor-markdown": lambda: several(doctor.markdown, *inputs.DIAGNOSES),
    "fleet-table": lambda: fleet.text(inputs.FLEET),
    "fleet-markdown": lambda: fleet.markdown(inputs.FLEET),
    "fleet-json": lambda: pretty(fleet.json(inputs.FLEET)),
    "audit_page": lambda: document_page(audit_page.document(inputs.REPORT)),
    "fleet-html": lambda: document_page(fleet.document(inputs.FLEET)),
    "failover": lambda: several(failover.text, *inputs.FAILOVERS),
    "readiness": lambda: several(
        readiness.text,
        inputs.READY,
        msgspec.structs.replace(inputs.READY, forced=True),
        inputs.TWO_LOOKS,
    ),
    "run_tables": lambda: run_tables.text(store.example("paper"), "simple"),
    "run_tables-headline": lambda: run_tables.headline(store.example("paper")),
    "run_tables-knee": lambda: several(capacity.in_words, *inputs.KNEES),
    "sweep-table": lambda: sweep.table(RUN),
    "sweep-markdown": lambda: sweep.markdown(RUN),
    "report-markdown": lambda: report(RUN),
    "report-html": lambda: page(msgspec.structs.replace(RUN, trials=RUN.trials[:4])),
    "report-forecast": lambda: several(agreement, *inputs.OUTCOMES),
    "report-unfinished": lambda: report(inputs.UNFINISHED),
    "report-paper": lambda: report(store.example("paper"), paper=True),
    "report-paper-bare": lambda: report(inputs.WITHOUT_TRIALS, paper=True),
    "catalogue": lambda: catalogue.page(XTPIC),
    "catalogue-list": lambda: catalogue.listing([o.check for o in inputs.AUDIT.outcomes[1:3]]),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_whole_output(name):
    same(GOLDEN / f"{name}.txt", click.unstyle(OUTPUTS[name]()))


def test_every_renderer_has_its_files_and_no_file_is_left_over():
    modules = {module.name for module in pkgutil.iter_modules(dirtune.render.__path__)}

    assert {name.partition("-")[0] for name in OUTPUTS} == modules - NO_OUTPUT
    assert {path.stem for path in GOLDEN.iterdir()} == set(OUTPUTS)
