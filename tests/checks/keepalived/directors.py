"""Directors whose keepalived has a configuration."""

from dirtune.checks import run
from dirtune.collect.ip_vs import Service
from dirtune.collect.keepalived import NONE
from dirtune.collect.processes import Process
from dirtune.snapshot import Snapshot
from tests.keepalived.given import conf

KEEPALIVED = (Process(9, "keepalived", False, 0, 0, "other", 0),)
SERVICE = (Service("TCP", "10.0.0.1", 80, None, "rr"),)


def director(text, services=SERVICE, **fields):
    """Return a director with the configuration *text*; None stands for a host without one."""
    values = {"services": services, "processes": KEEPALIVED, "addresses": frozenset({"10.0.0.1"})}
    found = NONE if text is None else conf(text)
    return Snapshot(**(values | {"keepalived": found} | fields))


def outcome(check, text, **fields):
    """Return what *check* says of a director with the configuration *text*."""
    return run((check,), director(text, **fields))[0]


def findings(check, text, **fields):
    """Return the findings of *check*."""
    return outcome(check, text, **fields).findings


def server(body, head="10.0.0.1 80"):
    """Return a virtual_server with *body*."""
    return f"virtual_server {head} {{\nprotocol TCP\nlvs_sched rr\nlvs_method DR\n{body}\n}}\n"


def real(address, body="TCP_CHECK {\n}\n"):
    """Return a real_server with *body*."""
    return f"real_server {address} 80 {{\n{body}}}\n"


def instance(body, name="A"):
    """Return a vrrp_instance with *body*."""
    return f"vrrp_instance {name} {{\ninterface eth0\n{body}\n}}\n"
