"""Who and what stands against it, on small hosts in memory."""

from ipaddress import IPv4Network

import pytest

from dirtune.host import RecordedHost
from dirtune.lvs.guard import Surroundings, look_around, refusals
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table

TRIE = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 198.18.0.100\n        /32 host LOCAL\n"
STAT = "{} ({}) S 1 " + "0 " * 60
WEB = Service("tcp", "198.18.0.100", 80, "rr")


def host(*, processes=(), modules=("ip_vs", "ip_vs_rr"), dep="", builtin="", spaces=None, uid=0):
    files = {"/proc/net/fib_trie": TRIE, "/proc/sys/kernel/osrelease": "6.1\n"}
    files |= {f"/proc/{pid}/stat": STAT.format(pid, name) for pid, name in processes}
    status = f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
    files |= {f"/proc/{pid}/status": status for pid, _ in processes}
    files |= {"/proc/1/stat": STAT.format(1, "init")}
    files |= {f"/sys/module/{name}/refcnt": "1\n" for name in modules}
    files |= {"/proc/net/ip_vs": "IP Virtual Server\n"} if "ip_vs" in modules else {}
    files |= {"/lib/modules/6.1/modules.dep": dep, "/lib/modules/6.1/modules.builtin": builtin}
    links = {f"/proc/{pid}/ns/net": space for pid, space in (spaces or {}).items()}
    return RecordedHost(files, links)


EMPTY = Table()


def said(table, seen, actual=EMPTY):
    return [(each.name, each.why) for each in refusals(actual, table, look_around(seen, table))]


def test_nothing_stands_against_an_own_address_and_a_loaded_scheduler():
    assert said(Table((WEB,)), host()) == []


@pytest.mark.parametrize("name", ["keepalived", "kube-proxy", "ldirectord", "keepalived_vrrp"])
def test_an_owner_is_named_with_its_process(name):
    ((refused, why),) = said(Table((WEB,)), host(processes=[(77, name)]))

    assert refused == name.removesuffix("_vrrp")
    assert "process 77) owns the IPVS table" in why


def test_any_user_can_use_an_owners_name_but_owns_nothing():
    assert said(Table((WEB,)), host(processes=[(77, "kube-proxy")], uid=1000)) == []


def test_an_owner_elsewhere_owns_another_table():
    spaces = {"self": "net:[1]", "77": "net:[2]", "78": "net:[1]"}

    around = look_around(
        host(processes=[(77, "keepalived"), (78, "kube-proxy")], spaces=spaces), Table()
    )

    assert around.owners == (("kube-proxy", 78),)


def test_the_address_of_nobody_is_refused_and_that_of_a_local_network_is_not():
    other = Service("tcp", "198.18.0.101", 80, "rr")
    six = Service("tcp", "fd00::9", 80, "rr", 6)

    assert [name for name, _ in said(Table((WEB, other, six)), host())] == ["vip", "vip"]
    whole = Surroundings(
        (), frozenset(), frozenset({IPv4Network("198.18.0.0/24")}), True, frozenset(), frozenset()
    )
    assert refusals(Table(), Table((other,)), whole) == ()
    assert refusals(Table(), Table((Service("fwmark", "", 7, "rr"),)), whole) == ()


def test_a_scheduler_is_loaded_built_in_to_be_loaded_or_missing():
    table = Table(
        tuple(Service("fwmark", "", n, s) for n, s in enumerate(("rr", "wlc", "mh", "x"), 1))
    )
    seen = host(
        dep="kernel/net/netfilter/ipvs/ip_vs_wlc.ko: kernel/net/netfilter/ipvs/ip_vs.ko\n",
        builtin="kernel/net/netfilter/ipvs/ip_vs_mh.ko\n",
    )

    around = look_around(seen, table)

    assert (around.loadable, around.missing) == ({"wlc"}, {"x"})
    ((name, why),) = said(table, seen)
    assert name == "", "nothing overrules it"
    assert why.startswith("FWM 4: ")
    assert "ip_vs_x" in why


def test_without_lists_of_modules_the_kernel_will_say():
    seen = RecordedHost({"/proc/net/fib_trie": TRIE, "/proc/1/stat": STAT.format(1, "init")}, {})

    around = look_around(seen, Table((Service("fwmark", "", 1, "x"),)))

    assert (around.missing, around.loadable, around.loaded) == (frozenset(), frozenset(), False)


def test_real_servers_of_another_family_do_not_go_with_a_running_sync_daemon():
    mixed = Service(
        "tcp", "198.18.0.100", 80, "rr", destinations=(Destination("fd00::1", 80, "tun"),)
    )
    running = Table((), None, (SyncDaemon("master", "eth0"),))

    ((_, why),) = said(Table((mixed,)), host(), running)
    assert "[fd00::1]:80 has another IP version" in why
    assert said(Table((mixed,), None, ()), host(), running) == []
