"""Two directors with keepalived: who holds the VIP, and the checks of a pair without faults."""

import json
import time

import pytest
from benches import dirtune, in_lab, on

from dirtune.lab import state

PAIR = ("separate", "--backup", "--real-servers", "2", "--clients", "2")
# Two directors boot side by side.
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("booted"), in_lab(PAIR)]

VIP = "198.18.0.100"
BOTH = ("lb1", "lb2")
CHECKS = ("ipvs/sync-missing", "ipvs/sync-overload", "ipvs/sloppy-missing", "ipvs/backup-loop")
SYNC = "--mcast-interface enp0s15 --syncid 51"
VS = "net.ipv4.vs"
DAEMON = "ipvsadm -L --daemon"


def eventually(condition, seconds=60):
    """Wait until *condition* is true: VRRP and synchronisation take seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(1)
    assert value
    return value


def holds(node):
    return f"{VIP}/32" in on(node, "ip -4 -br addr show dev enp0s16")


def master(node):
    other = BOTH[1 - BOTH.index(node)]
    return holds(node) and not holds(other) and "master sync" in on(node, DAEMON)


def audited():
    """The findings of the four checks, as (node or None, check) -> outcome."""
    plan = str(state.folder().plan)
    chosen = (word for check in CHECKS for word in ("--select", check))
    result = json.loads(
        dirtune("audit", "--cluster", plan, *chosen, "--format", "json", ok=(0, 1))
    )
    assert result["unreachable"] == []
    outcomes = [(a["host"]["name"], o) for a in result["audits"] for o in a["outcomes"]]
    outcomes += [(None, o) for o in result["cross"]]
    return {(node, outcome["check"]): outcome for node, outcome in outcomes}


def findings(outcomes):
    return {where: o["findings"] for where, o in outcomes.items() if o["findings"]}


@pytest.fixture(autouse=True)
def _first_is_master(booted):
    """lb1 holds the VIP before each test, as after the boot."""
    eventually(lambda: master("lb1") and "backup sync" in on("lb2", DAEMON))


def test_the_status_and_the_plan_name_both():
    status = json.loads(dirtune("lab", "status", "--format", "json"))

    assert (status["nodes"]["lb1"], status["nodes"]["lb2"]) == ("198.18.0.1", "198.18.0.2")
    assert status["ready"]
    assert (status["boots"], status["backup"]["boots"]) == (1, 1)
    assert 'host = "lb2"' in state.folder().plan.read_text()
    for node in BOTH:
        assert on(node, "hostname").strip() == node
        assert on(node, "ipvsadm -Ln").count("Route   1") == 2
        assert on(node, "ps -eo comm").count("keepalived") == 3


def test_a_pair_without_faults_has_no_finding():
    outcomes = audited()

    assert findings(outcomes) == {}
    for check in CHECKS[:3]:
        for node in BOTH:
            assert outcomes[node, check]["status"] == "passed", outcomes[node, check]
    assert outcomes[None, "ipvs/backup-loop"]["status"] == "passed"
