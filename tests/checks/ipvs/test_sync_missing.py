import dataclasses

import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.sync_missing import sync_missing
from dirtune.collect.ipvs_netlink import SyncDaemon
from tests.checks.ipvs.synchronised import CARD, KEEPALIVED, MASTER, director, process


def missing(*daemons, **fields):
    return run((sync_missing,), director(*daemons, **fields))[0]


def test_keepalived_without_a_daemon():
    (found,) = missing().findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "sync daemon")
    assert found.evidence == {"daemons": [], "keepalived": ["keepalived"]}
    assert found.fixes[0].commands == ()


def test_a_stateless_design_is_told_and_no_more():
    found = missing(scheduler="mh", settings={"sloppy_tcp": 1})

    assert [f.severity for f in found.findings] == [Severity.INFO]
    assert missing(scheduler="mh").severity is Severity.MEDIUM
    assert missing(settings={"sloppy_tcp": 1}).severity is Severity.MEDIUM


@pytest.mark.parametrize(
    "processes", [(), KEEPALIVED[:2], (process("bird"),)], ids=["none", "checker only", "bgp"]
)
def test_a_director_alone_has_nobody_to_tell(processes):
    assert missing(processes=processes).status is Status.PASSED


def test_a_daemon_that_works():
    assert missing(MASTER, settings={"sync_version": 1}).status is Status.PASSED


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"interfaces": (dataclasses.replace(CARD, operstate="down"),)}, "eth1, which is not up"),
        ({"interfaces": (dataclasses.replace(CARD, name="eth0"),)}, "eth1, which is not up"),
        ({"addresses": frozenset({"198.18.0.2"})}, "holds none of its services' addresses"),
        ({"settings": {"sync_version": 0}}, "the old protocol"),
    ],
)
def test_a_daemon_that_cannot_work(fields, said):
    (found,) = missing(MASTER, **fields).findings

    assert said in found.message
    assert found.evidence == {"state": "master", "interface": "eth1", "sync_id": 7}


def test_a_backup_holds_no_address_by_design():
    elsewhere = frozenset({"198.18.0.2"})
    backup = SyncDaemon("backup", "eth1", 7, 1472)

    assert missing(backup, addresses=elsewhere).status is Status.PASSED
    assert missing(MASTER, backup, addresses=elsewhere).status is Status.PASSED
