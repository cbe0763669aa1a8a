"""Whatever talks to the nodes of a plan runs its commands as the plan says."""

import asyncio

import pytest

from dirtune import remote
from dirtune.bench import check, vip_check
from dirtune.errors import NodeUnreachable
from tests.plans import plan_of

PLAN = plan_of(
    director={"host": "lb1", "become": True},
    to=["rs1", "rs2"],
    servers=[
        {"host": "rs1", "address": "198.18.0.11", "become": True},
        {"host": "rs2", "address": "198.18.0.12"},
    ],
    clients=[{"host": "c1", "become": True}, {"host": "c2"}],
)
ROOT_THROUGH_SUDO = {"lb1": True, "rs1": True, "rs2": False, "c1": True, "c2": False}


@pytest.fixture
def asked(monkeypatch):
    """Return whether each host was asked to use sudo; no host can be reached."""
    asked = {}

    async def connect(host, *, become=False, **_):
        asked[host] = become
        raise NodeUnreachable(f"{host}: nobody is there")

    monkeypatch.setattr(remote, "connect", connect)
    return asked


def test_a_check_of_the_plan_uses_sudo_where_the_plan_says_so(asked):
    found = asyncio.run(check.check(PLAN))

    assert asked == ROOT_THROUGH_SUDO
    assert not found.ready


def test_so_does_a_check_of_the_vip(asked):
    with pytest.raises(NodeUnreachable):
        asyncio.run(vip_check.reach(PLAN))

    assert asked == {host: ROOT_THROUGH_SUDO[host] for host in ("lb1", "c1", "c2")}
