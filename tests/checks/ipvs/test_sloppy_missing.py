import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.sloppy_missing import sloppy_missing
from tests.checks.machines import director, program, service


def judged(check, sysctls, *, scheduler="rr", processes=("keepalived",), protocol="TCP"):
    programs = None if processes is None else tuple(program(name) for name in processes)
    one = service(1, scheduler=scheduler, protocol=protocol)
    return run((check,), director(one, sysctls=sysctls, processes=programs))[0]


STRICT = {"sloppy_tcp": 0, "sloppy_sctp": 0, "sync_persist_mode": 0}


def sloppy(sysctls=None, **more):
    values = {name: v for name, v in (STRICT | (sysctls or {})).items() if v is not None}
    return judged(sloppy_missing, values, **more)


@pytest.mark.parametrize(
    ("sysctls", "more", "name"),
    [
        ({"sync_persist_mode": 1}, {}, "sloppy_tcp"),
        ({"sync_persist_mode": 1}, {"protocol": "SCTP"}, "sloppy_sctp"),
        ({}, {"scheduler": "mh", "processes": ("gobgpd",)}, "sloppy_tcp"),
    ],
)
def test_connections_that_began_elsewhere_are_refused(sysctls, more, name):
    (found,) = sloppy(sysctls, **more).findings

    assert (found.subject, found.severity) == (f"net.ipv4.vs.{name}", Severity.MEDIUM)
    assert found.fixes[0].commands[0] == f"sysctl -w 'net.ipv4.vs.{name}=1'"


@pytest.mark.parametrize(
    ("sysctls", "more"),
    [
        ({}, {}),
        ({}, {"scheduler": "mh"}),
        ({}, {"processes": ("bird",)}),
        ({"sync_persist_mode": 1, "sloppy_tcp": 1}, {}),
        ({"sync_persist_mode": 1}, {"protocol": "UDP"}),
    ],
)
def test_full_synchronisation_and_sloppy_directors_are_quiet(sysctls, more):
    assert sloppy(sysctls, **more).status is Status.PASSED


def test_sloppiness_that_is_not_known():
    missing = sloppy({"sync_persist_mode": 1, "sloppy_tcp": None})

    assert missing.status is Status.INCONCLUSIVE
    assert sloppy(scheduler="mh", processes=None).status is Status.INCONCLUSIVE
