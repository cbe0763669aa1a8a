"""Set the CPUs that take an interrupt.

Interrupts that the kernel manages cannot be moved from user space. Their CPUs depend on the number
of queues, and on the boot options `irqaffinity=` and `isolcpus=managed_irq`.
"""

from collections.abc import Iterator

from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.fixes import UNUSABLE_CPU, Fix, Question, Request
from dirtune.change.plan import Change, Refusal
from dirtune.cpu_sets import format_cpulist
from dirtune.settings import IrqCpus

_MANAGED = "is managed by the kernel and cannot be moved; change the number of queues instead"


def _plan(question: Question) -> Iterator[Change | Refusal]:
    seen: set[str] = set()
    for asked, setting in question.settings(IrqCpus):
        if setting.irq not in seen:
            seen.add(setting.irq)
            yield _one(asked, setting, question)


def _one(request: Request, setting: IrqCpus, question: Question) -> Change | Refusal:
    subject = f"irq {setting.irq} ({setting.action})"
    state = (question.snapshot.proc_irq or {}).get(setting.irq)
    if state is None or state.affinity is None:
        return request.refusal(subject, "has no CPU affinity list that dirtune can read")
    if state.managed:
        return request.refusal(subject, _MANAGED)
    usable = question.snapshot.cpus.usable if question.snapshot.cpus else setting.cpus
    out = {*setting.cpus} - {*usable}
    if out and UNUSABLE_CPU not in question.force:
        why = f"would go to CPU {format_cpulist(out)}, which is offline or isolated"
        return request.refusal(subject, why, name=UNUSABLE_CPU)
    before, after = format_cpulist(state.affinity), format_cpulist(setting.cpus)
    action = SetAffinity(setting.irq, before, after, setting.action)
    return request.change(action, f"move {subject} from CPU {before} to CPU {after}")


FIX = Fix("irq-affinity", _plan)
