"""What a pair of directors is to be, worked out without booting one."""

import subprocess
from pathlib import Path

import pytest
from msgspec import structs

from dirtune import plan
from dirtune.analyse.run import Role
from dirtune.errors import LabError, NotPossible
from dirtune.jobs import clusters
from dirtune.lab import boot, guest, lifecycle, pair, preparing, spec, state
from dirtune.lab.plan_text import plan_text
from dirtune.lab.spec import Node, Spec
from dirtune.lab.state import Boot, Folder, Status
from dirtune.snapshot import Role as Part

KERNEL = guest.Kernel(Path("/boot/vmlinuz-1"), None)


@pytest.fixture
def two():
    return Spec(scenario=state.scenario("separate"), real_servers=2, clients=1, backup=True)


def test_the_pair_is_two_directors_and_the_first_is_that_of_the_plan(two):
    assert [node.name for node in two.nodes()] == ["lb1", "lb2", "rs1", "rs2", "c1"]
    assert [node.role for node in two.nodes()[:2]] == [Role.DIRECTOR, Role.DIRECTOR]

    read = plan.parse(plan_text(two, (0,)))
    alone = plan.parse(plan_text(structs.replace(two, backup=False), (0,)))

    assert (read.director.host, read.director.address) == ("lb1", "198.18.0.1")
    assert (read.backup.host, read.backup.address) == ("lb2", "198.18.0.2")
    assert alone.backup is None
    assert read.hosts == alone.hosts, "trials use the director alone"


def test_an_audit_of_the_cluster_reads_both_directors(two):
    read = plan.parse(plan_text(two, (0,)))

    assert [source.host for source in clusters.sources(read, 1)] == [
        *("lb1", "lb2", "rs1", "rs2", "c1")
    ]
    places = clusters.places(read)
    assert (places["lb1"].role, places["lb2"].role) == (Part.DIRECTOR, Part.DIRECTOR)


@pytest.mark.parametrize(
    ("backup", "refusal"),
    [
        ('host = "lb1"', "backup.host: lb1 is the director"),
        ('host = "lb2"\naddress = "198.18.0.256"', r"backup.address: "),
        ('host = "-lb2"', "backup"),
        ('host = "lb2"\nrole = "master"', "role"),
    ],
)
def test_a_wrong_backup_is_refused_with_its_key(two, backup, refusal):
    text = plan_text(structs.replace(two, backup=False), (0,))
    with pytest.raises(plan.PlanError, match=refusal):
        plan.parse(f"{text}\n[backup]\n{backup}\n")


# As keepalived.conf(5) of keepalived 2.2 has it.
MASTER = """\
# Written by `dirtune lab up --backup`.
global_defs {
    router_id lb1
    lvs_sync_daemon @ctl@ VI_1 id 51
}

vrrp_instance VI_1 {
    state MASTER
    interface @load@
    virtual_router_id 51
    priority 150
    advert_int 1
    virtual_ipaddress {
        198.18.0.100/32 dev @load@
    }
}

virtual_server 198.18.0.100 80 {
    protocol TCP
    lvs_sched rr
    lvs_method DR
    real_server 198.18.0.11 80 {
        weight 1
    }
    real_server 198.18.0.12 80 {
        weight 1
    }
}
"""


def test_the_keepalived_conf_of_each_director(two):
    first, second = two.nodes()[:2]
    of_master, of_backup = (pair.keepalived(two, node) for node in (first, second))

    assert of_master == MASTER
    changed = {"lb1": "lb2", "MASTER": "BACKUP", "priority 150": "priority 100"}
    for before, after in changed.items():
        of_master = of_master.replace(before, after)
    assert of_backup == of_master


def test_both_directors_have_the_services_of_the_plan(two):
    from dirtune.plan import services

    assert pair.table(two).services == services.table(plan.parse(plan_text(two, (0,)))).services


@pytest.mark.parametrize("name", ["lb1}", "lb1\nscript", 'lb"1', "lb 1", ""])
def test_a_name_that_keepalived_conf_cannot_hold_is_refused(two, name):
    odd = Node(name, Role.DIRECTOR, "198.18.0.1", "198.19.0.1")
    with pytest.raises(NotPossible, match="not a plain word"):
        pair.keepalived(two, odd)


def test_keepalived_gives_the_vip_and_the_boot_scripts_wait_for_it(two):
    scripts = [boot.director_boot(two, node) for node in two.nodes()[:2]]
    alone = boot.director_boot(structs.replace(two, backup=False))

    for script in scripts:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
        assert "ip addr add 198.18.0.100" not in script
        assert "ipvsadm -A" not in script
        assert "keepalived --dont-fork" in script
        assert script.index("/etc/sysctl.d") < script.index("keepalived")
    assert "ip -4 addr show dev $load | grep -qF 198.18.0.100/32" in scripts[0]
    assert "keepalived" not in alone
    assert "ip addr add 198.18.0.100/32 dev $load" in alone


def test_the_second_director_has_taps_and_addresses_of_its_own(two, tmp_path):
    first, second = two.nodes()[:2]
    commands = spec.network_commands(two)
    argvs = [
        " ".join(guest.argv(two, KERNEL, "", tmp_path, tmp_path / "s", node))
        for node in (first, second)
    ]

    assert "link set tap-lb2-load master br-load up" in commands
    assert "netns add lb2" not in commands
    assert "ifname=tap-load," in argvs[0]
    assert "ifname=tap-lb2-load," in argvs[1]
    assert "-name lb2,debug-threads=on" in argvs[1]
    for switch in ("load", "ctl"):
        assert spec.mac(first, switch) != spec.mac(second, switch)
        assert spec.mac(second, switch) in argvs[1]


def test_more_nics_are_those_of_the_first_director(tmp_path):
    two = Spec(scenario=state.scenario("misconfigured"), backup=True)
    argvs = [
        " ".join(guest.argv(two, KERNEL, "", tmp_path, tmp_path / "s", node))
        for node in two.nodes()[:2]
    ]

    assert "ifname=tap-load0," in argvs[0]
    assert "tap-load0" not in argvs[1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"clock": "exact"}, "--backup needs --clock host"),
        ({"forwarding": "nat"}, "--backup needs --forwarding dr or tun"),
    ],
)
def test_a_pair_that_cannot_be_is_refused(two, values, reason, monkeypatch):
    monkeypatch.setattr(lifecycle, "_require_root", lambda: None)
    with pytest.raises(LabError, match=reason):
        lifecycle.up(structs.replace(two, **values), lambda _: None)


def test_a_missing_keepalived_names_the_package(two, monkeypatch, tmp_path):
    monkeypatch.setattr(lifecycle, "_require_root", lambda: None)
    monkeypatch.setattr(preparing, "PATH", str(tmp_path))
    with pytest.raises(LabError, match="apt install keepalived"):
        lifecycle.up(two, lambda _: None)


def test_each_director_has_files_of_its_own():
    place = Folder(Path("/lab"))

    for path in (place.console, place.monitor, place.script, place.power_cut, place.node):
        assert path("lb1") != path("lb2")
    assert place.console("lb1") == Path("/lab/console.log")


def test_the_boots_of_two_directors_are_counted_apart():
    status = Status(phase="ready", boots=3, backup=Boot(ready=True, boots=1))

    assert [status.boot_of(name).boots for name in ("lb1", "lb2")] == [3, 1]
    assert Status(phase="ready", boots=3).boot_of("lb1").boots == 3
