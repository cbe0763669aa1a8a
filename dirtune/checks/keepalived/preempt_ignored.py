from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.keepalived.model import Conf
from dirtune.snapshot import Snapshot

_OWNER = 255


@check("keepalived/preempt-ignored", severity=Severity.MEDIUM, trust="A", roles=(Role.DIRECTOR,))
def preempt_ignored(_: Snapshot, keepalived: Conf) -> Verdicts:
    """A director takes its addresses back at once, because keepalived ignores nopreempt.

    ## What it does
    The check reports a vrrp_instance of keepalived.conf(5) that has `nopreempt` together with
    `state MASTER` or with priority 255.

    ## Why it matters
    keepalived then clears `nopreempt`. A director that restarts again and again takes the
    addresses each time, and each time the connections that were not synchronised are lost.

    ## Remediation
    Write `state BACKUP` on both directors; the priority decides who becomes master first. Use
    priorities below 255.

    ## References
    - keepalived.conf(5), `nopreempt`
    - keepalived/vrrp/vrrp.c of keepalived 2.2.7, `vrrp_complete_instance()`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    for instance in keepalived.instances:
        if instance.preempt:
            continue
        owner = instance.priority == _OWNER
        if owner or instance.state == "MASTER":
            why = f"its priority is {_OWNER}" if owner else "its state is MASTER"
            yield Finding(
                instance.name,
                Severity.MEDIUM,
                f"The nopreempt of vrrp_instance {instance.name} has no effect, because {why}",
                {"state": instance.state, "priority": instance.priority},
            )
