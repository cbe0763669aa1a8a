import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.keepalived.no_realtime import no_realtime
from dirtune.collect.processes import Process
from tests.checks.earlier import with_earlier
from tests.checks.keepalived.directors import director, instance
from tests.checks.samples import no_time, stat

CONF = instance("virtual_router_id 5\nadvert_int 0.5\n")


def outcome(softirq, text=CONF, policy="other", cpu=1):
    processes = tuple(Process(9 + n, "keepalived", False, 0, n * cpu, policy, 0) for n in (0, 1))
    now = director(text, processes=processes, stat=stat({}, {"softirq": softirq}), taken_s=10.0)
    return run((no_realtime,), with_earlier(now, 0.0, stat=no_time(2)))[0]


@pytest.mark.parametrize(("softirq", "found"), [(600, True), (599, False), (0, False)])
def test_softirqs_on_keepalived_s_cpu(softirq, found):
    findings = outcome(softirq).findings

    assert bool(findings) is found
    for finding in findings:
        assert (finding.subject, finding.severity) == ("CPU 1", Severity.MEDIUM)
        assert finding.evidence == {"cpu": 1, "softirq_percent": 60.0, "advert_int_s": 0.5}


@pytest.mark.parametrize("policy", ["fifo", "rr"])
def test_a_real_time_priority_is_enough(policy):
    assert outcome(900, policy=policy).status is Status.PASSED


def test_another_cpu_may_be_busy():
    assert outcome(900, cpu=0).status is Status.PASSED


def test_why_it_is_not_decided():
    assert "VRRP" in outcome(900, text="global_defs {\nrouter_id x\n}\n").reason
    assert "no /etc/keepalived" in outcome(900, text=None).reason
    taken = director(CONF, stat=stat({}))
    assert run((no_realtime,), dataclasses.replace(taken, earlier=None))[0].reason
