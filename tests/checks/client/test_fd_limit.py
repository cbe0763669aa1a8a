import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.client.fd_limit import fd_limit
from dirtune.collect.processes import Process
from dirtune.snapshot import Place, Snapshot


def limited(limit, planned=1000, program="h2load"):
    process = Process(9, program, kernel=False, ticks=1, cpu=0, policy="other", priority=0)
    taken = Snapshot(
        limits={"Max open files": limit},
        place=Place("client", concurrency=planned),
        processes=(process,),
    )
    return run((fd_limit,), taken)[0]


def test_too_few_files():
    (found,) = limited(1099).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "open files")
    assert found.evidence == {"limit": 1099, "planned_connections": 1000}
    assert found.fixes[0].commands == ("ulimit -n 1048576",)


@pytest.mark.parametrize(
    ("limit", "program"), [(1100, "h2load"), (None, "wrk"), (None, "httperf")]
)
def test_enough_files(limit, program):
    assert limited(limit, program=program).status is Status.PASSED


def test_select_ends_at_1024():
    (found,) = limited(None, planned=1025, program="httperf").findings

    assert found.subject == "httperf"
    assert found.evidence == {"process": "httperf", "planned_connections": 1025}
    assert found.fixes[0].commands == ()
    assert limited(None, planned=1025, program="wrk").status is Status.PASSED


def test_files_unknown():
    assert limited(1024, planned=None).status is Status.INCONCLUSIVE
    assert run((fd_limit,), Snapshot(limits={}))[0].status is Status.NOT_APPLICABLE
    unlisted = Snapshot(limits={"Max processes": 1}, place=Place("client", concurrency=5))
    assert run((fd_limit,), unlisted)[0].status is Status.INCONCLUSIVE
    assert run((fd_limit,), Snapshot(place=Place("client")))[0].status is Status.SKIPPED
