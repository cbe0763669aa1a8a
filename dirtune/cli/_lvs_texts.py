"""Render the results of `lvs plan` and `lvs apply` in the format that the user asks for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dirtune.render import markdown

if TYPE_CHECKING:
    from dirtune.analyse.reach import Reach
    from dirtune.change.plan import Plan
    from dirtune.change.preparation import Done
    from dirtune.jobs.directors import Applied, Planned
    from dirtune.lvs.drift import Difference


def planned(planned: "Planned", plans: "Mapping[str, Plan]", form: str) -> str:
    """Return the changes to the director, then the *plans* of the real servers."""
    from dirtune.render import lvs_diff, preparation

    if form == "json":
        return preparation.document(planned.document, plans)
    show = lvs_diff.markdown if form == "markdown" else lvs_diff.table
    table = show(planned.changes, planned.steps, planned.actual)
    text = preparation.above(
        f"{table}\n", preparation.setting_rows(planned.document.settings), form
    )
    if planned.for_kube_proxy is not None:
        from dirtune.render import lvs_kube_proxy

        text += f"\n{markdown.literal(lvs_kube_proxy.config_map(planned.for_kube_proxy), form)}"
    return preparation.beside(text, plans, form)


def drift(differences: "Sequence[Difference]", form: str) -> str:
    """Return the differences between keepalived's configuration and the IPVS table."""
    from dirtune.render import lvs_drift

    show = lvs_drift.document if form == "json" else lvs_drift.text
    return markdown.literal(show(differences), form)


def rehearsed(rehearsal: "Planned | None", form: str) -> str:
    """Return the changes that `apply` would make on this host; nothing for another host."""
    if rehearsal is None:
        return ""
    plain = "json" if form == "json" else "table"
    return markdown.literal(planned(rehearsal, {}, plain), form)


def real_server(plan: "Plan", form: str) -> str:
    """Return the changes that this host needs as a real server."""
    from dirtune.render import plan as render_plan
    from dirtune.render import preparation

    if form == "json":
        return f"{render_plan.plan_json(plan)}\n"
    rows = "\n".join(preparation.rows(plan)) or "nothing to do"
    return f"{rows}\n"


def applied(applied: "Applied", form: str) -> str:
    """Return the changes that were made on this host."""
    from dirtune.render import plan as render

    show = render.applied_json if form == "json" else render.applied_table
    text = show(applied.plan, applied.journal, applied.confirm_s)
    return markdown.literal(f"{text}\n", form)


def finished(
    applied: "Applied", done: "Mapping[str, Done]", reach: "Reach | None", hold_s: float, form: str
) -> str:
    """Return the changes to the director and the real servers, and which of these answer.

    The real servers wait *hold_s* seconds for a confirmation; 0 means that they do not wait.
    """
    from dirtune.render import plan as render_plan
    from dirtune.render import preparation

    director = (applied.plan, applied.journal, applied.confirm_s)
    if form == "json":
        document = render_plan.applied_document(*director)
        return preparation.finished_json(document, done, reach, hold_s)
    text = preparation.finished(render_plan.applied_table(*director), done, reach, hold_s)
    return markdown.literal(text, form)
