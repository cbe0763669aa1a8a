"""Set sysctls, RPS and XPS masks, and other kernel files that hold one value."""

from collections.abc import Iterator

from dirtune.change.actions.set_value import SetValue
from dirtune.change.fixes import UNUSABLE_CPU, Fix, Question, Request
from dirtune.change.plan import Change, Refusal
from dirtune.collect.cpus import Cpus
from dirtune.cpu_sets import format_cpulist, format_cpumask, parse_cpumask
from dirtune.settings import KernelFile

_RPS, _XPS = "rps_cpus", "xps_cpus"


def _plan(question: Question) -> Iterator[Change | Refusal]:
    taken: dict[str, str] = {}
    for asked, setting in question.settings(KernelFile):
        path = setting.path
        verdict = _one(asked, setting, question)
        if taken.setdefault(path, setting.value) == setting.value:
            yield verdict
        else:
            why = f"is set to {taken[path]} for another finding, not to {setting.value}"
            yield asked.refusal(path, why)


def _one(request: Request, setting: KernelFile, question: Question) -> Change | Refusal:
    path, before = setting.path, question.around.texts.get(setting.path)
    if before is None:
        why = "cannot be read on this host; its module may not be loaded"
        return request.refusal(path, why)
    before, after = before.strip(), setting.value
    if path.endswith((_RPS, _XPS)):
        out = _out(path, after, question.snapshot.cpus)
        if out and UNUSABLE_CPU not in question.force:
            why = f"would include CPU {out}, which is offline or isolated"
            return request.refusal(path, why, name=UNUSABLE_CPU)
        after = format_cpumask(parse_cpumask(after), like=before)
    elif after.split() == before.split():
        after = before  # numbers that the kernel separates with tabs
    action = SetValue(path, before, "\t".join(after.split()) if "\t" in before else after)
    return request.change(action, f"set {path} to {after} instead of {before}")


def _out(path: str, mask: str, cpus: Cpus | None) -> str:
    """Return the CPUs in *mask* that must not get work: offline and isolated CPUs.

    An isolated CPU may be in an XPS mask, because it may need a queue for its own packets.
    """
    if cpus is None:
        return ""
    good = cpus.usable if path.endswith(_RPS) else cpus.online
    return format_cpulist({*parse_cpumask(mask)} - {*good})


FIX = Fix("kernel-files", _plan)
