"""The program that owns a table, and the words in which findings name its services."""

import dataclasses

import pytest

from dirtune.checks import run
from dirtune.checks.conntrack.table_full import table_full
from dirtune.checks.ipvs.weight_ignored import weight_ignored
from dirtune.checks.owners import Owner, owner, spoken
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.net import Interface
from tests.checks.keepalived.directors import instance, real
from tests.checks.keepalived.directors import server as virtual
from tests.checks.machines import detailed, director, program, service
from tests.checks.owned import PROGRAMS, owned_by
from tests.keepalived.given import conf

VRRP = instance("virtual_router_id 7\nvirtual_ipaddress {\n198.18.9.9/32\n}")


def kube_proxy_beside(other, *interfaces):
    alive = (program("kube-proxy", pid=1), program(other, pid=2))
    held = tuple(Interface(n, None, None, False, 0, 0) for n in interfaces)
    return director(service(1), processes=alive, interfaces=held)


def test_kube_proxy_without_its_interface_owns_no_table():
    assert owner(kube_proxy_beside("keepalived", "eth0")) is Owner.KEEPALIVED
    assert owner(kube_proxy_beside("keepalived", "eth0", "kube-ipvs0")) is Owner.KUBE_PROXY


def test_a_keepalived_that_only_moves_addresses_owns_no_table():
    host = director(service(1), processes=(program("keepalived"),))
    moving = dataclasses.replace(host, keepalived=conf(VRRP))
    serving = dataclasses.replace(host, keepalived=conf(VRRP + virtual(real("198.18.1.1"))))

    assert owner(moving) is None
    assert owner(serving) is Owner.KEEPALIVED


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("TCP 1.2.3.4:80 is slow", "The Kubernetes service at TCP 1.2.3.4:80 is slow"),
        ("A server of TCP 1.2.3.4:80", "A server of the Kubernetes service at TCP 1.2.3.4:80"),
        ("Slow. TCP 1.2.3.4:80", "Slow. The Kubernetes service at TCP 1.2.3.4:80"),
        ("eth0 is slow", "eth0 is slow"),
    ],
)
def test_a_message_names_the_service_as_its_users_do(message, expected):
    assert spoken(message, "TCP 1.2.3.4:80", Owner.KUBE_PROXY) == expected


@pytest.mark.parametrize("known", PROGRAMS)
def test_no_finding_gives_a_command_that_the_owner_undoes(known):
    mark = dataclasses.replace(
        service(2, 1, forward="Masq"), protocol="FWM", address=None, port=None, fwmark=300
    )
    host = director(mark, ipvs=Ipvs((detailed(mark, fwmark=300),)), processes=())
    (free,) = run((weight_ignored,), host)[0].findings
    assert free.fixes[0].commands == ("ipvsadm -E -f 300 -s wrr",)

    (finding,) = run((weight_ignored,), owned_by(host, known))[0].findings

    assert finding.fixes[0].commands == ()
    assert "wrr" in finding.fixes[0].title


def test_kubernetes_needs_connection_tracking():
    sysctls = {"conntrack": 1}
    full = {"net/netfilter/nf_conntrack_count": "99", "net/netfilter/nf_conntrack_max": "100"}
    host = director(service(1), sysctls=sysctls)
    values = dataclasses.replace(host.sysctls, values={**host.sysctls.values, **full})
    host = dataclasses.replace(host, sysctls=values)

    def fixes(snapshot):
        return [fix.id for fix in run((table_full,), snapshot)[0].findings[0].fixes]

    assert fixes(host) == ["raise-conntrack-max", "stop-tracking-services"]
    assert fixes(owned_by(host, Owner.KUBE_PROXY)) == ["raise-conntrack-max"]
