"""The configurator on a real kernel: tests in order. ipvsadm(8) is the second tool."""

import contextlib
import json
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from benches import DIRTUNE, SEPARATE, dirtune, in_lab, on
from hypothesis import Phase, given, settings
from msgspec.structs import replace

from dirtune.lab import state
from dirtune.lvs.model import Table
from tests.lvs.tables import tables

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(SEPARATE)]
VIP = "198.18.0.100"
REPOSITORY = Path(__file__).parents[2]


def put(name, text):
    """Give the director a file; it sees the share at /mnt."""
    (state.folder().share / name).write_text(text)
    return f"/mnt/{name}"


def saved():
    return sorted(on("lb1", "ipvsadm -Sn").splitlines())


def thresholds():
    # Without the connections there are: what has ended leaves the table when it pleases.
    rows = map(str.split, on("lb1", "ipvsadm -Ln --thresholds").splitlines())
    return sorted(" ".join(row[:4] if row[:1] == ["->"] else row) for row in rows)


RESTORE = (
    "modprobe ip_vs; ipvsadm -C; ipvsadm -R < /tmp/services; ipvsadm --set 900 10 300; "
    "sysctl -qw net.ipv4.vs.conn_reuse_mode=3"
)


@pytest.fixture(scope="module", autouse=True)
def _services(booted):
    """The lab's own table, without the connections that other files' tests left in it."""
    on("lb1", f"ipvsadm -Sn > /tmp/services; ipvsadm -C; modprobe -r ip_vs_rr ip_vs; {RESTORE}")
    yield
    on("lb1", RESTORE)


PLAN = f"""
[director]
host = "local"
[[services]]
vip = "{VIP}"
port = 80
scheduler = "wlc"
  [[services.destinations]]
  address = "198.18.0.11"
  weight = 5
  [[services.destinations]]
  address = "198.18.0.12"
  upper_threshold = 1000
  lower_threshold = 800
[[services]]
vip = "{VIP}"
port = 443
scheduler = "sh"
flags = ["sh-port", "sh-fallback"]
persistence = 300
netmask = "255.255.255.0"
  [[services.destinations]]
  address = "198.18.0.11"
  port = 8443
  forwarding = "nat"
  weight = 0
  [[services.destinations]]
  address = "198.18.0.12"
  forwarding = "tun"
[[services]]
vip = "{VIP}"
port = 53
protocol = "udp"
ops = true
  [[services.destinations]]
  address = "198.18.0.11"
[[services]]
vip = "{VIP}"
port = 36
protocol = "sctp"
scheduler = "lc"
  [[services.destinations]]
  address = "198.18.0.11"
[[services]]
vip = "::1"
port = 80
scheduler = "wrr"
persistence = 60
netmask = 64
  [[services.destinations]]
  address = "fd00::2"
[[services]]
fwmark = 7
scheduler = "mh"
flags = ["mh-port"]
  [[services.destinations]]
  address = "198.18.0.12"
  forwarding = "tun"
  tunnel = "gue"
  tunnel_port = 6080
  tunnel_flags = ["csum"]
  weight = 2
[[services]]
fwmark = 7
family = 6
  [[services.destinations]]
  address = "fd00::2"
  forwarding = "tun"
  tunnel = "gre"
[ipvs]
timeouts = {{ tcp = 800, tcp_fin = 30, udp = 200 }}
sync = [{{ state = "master", interface = "lo", id = 3, ttl = 5 }}]
"""
# What ipvsadm(8) is to show of it, by hand.
SAVED = f"""-A -t {VIP}:80 -s wlc
-a -t {VIP}:80 -r 198.18.0.11:80 -g -w 5
-a -t {VIP}:80 -r 198.18.0.12:80 -g -w 1
-A -t {VIP}:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t {VIP}:443 -r 198.18.0.11:8443 -m -w 0
-a -t {VIP}:443 -r 198.18.0.12:443 -i -w 1 --tun-type ipip
-A -u {VIP}:53 -s rr -o
-a -u {VIP}:53 -r 198.18.0.11:53 -g -w 1
-A --sctp-service {VIP}:36 -s lc
-a --sctp-service {VIP}:36 -r 198.18.0.11:36 -g -w 1
-A -t [::1]:80 -s wrr -p 60 -M 64
-a -t [::1]:80 -r [fd00::2]:80 -g -w 1
-A -f 7 -s mh -b mh-port
-a -f 7 -r 198.18.0.12:0 -i -w 2 --tun-type gue --tun-port 6080 --tun-csum
-A -f 7 -6 -s rr
-a -f 7 -6 -r [fd00::2]:0 -i -w 1 --tun-type gre --tun-nocsum
"""


def test_the_labs_own_plan_is_what_the_lab_set_up_with_ipvsadm(tmp_path):
    """Over SSH: the dirtune that works is the director's."""
    assert dirtune("lvs", "plan") == "nothing to do\n"
    text = (
        state.folder().plan.read_text().replace('"ssh_config"', f'"{state.folder().ssh_config}"')
    )
    plan = tmp_path / "plan.toml"
    plan.write_text(text.replace("weight = 1", "weight = 3", 1))
    before = saved()

    assert "weight 1 -> 3" in dirtune("lvs", "plan", str(plan), ok=(1,))
    assert "1 real server edited" in dirtune("lvs", "apply", str(plan))
    assert sorted(dirtune("lvs", "export", "--host", "lb1").splitlines()) == saved()

    assert sum("-w 3" in row for row in saved()) == 1
    on("lb1", "dirtune rollback")
    assert saved() == before


def network(node):
    """Whatever of a node's network a preparation could change, to the byte."""
    shown = "sysctl -a 2>/dev/null | grep '^net.ipv4.conf'; ip -o addr; ip route show table all"
    return on(node, shown)


def test_a_real_server_that_was_unprepared_is_planned_prepared_proved_and_put_back():
    conf = "net.ipv4.conf.all"
    on("rs2", f"ip addr del {VIP}/32 dev lo; sysctl -qw {conf}.arp_ignore=0 {conf}.arp_announce=1")
    before, others = network("rs2"), network("rs1")

    assert dirtune("lvs", "plan", ok=(1,)).splitlines() == [
        "rs2:",
        f"~ {conf}.arp_ignore 0 -> 1  [realserver/arp-leak]",
        f"~ {conf}.arp_announce 1 -> 2  [realserver/arp-leak]",
        f"+ {VIP}/32 on lo  [realserver/vip-missing]",
    ]
    asked = dirtune("lvs", "check", "--format", "json", ok=(1,))
    good = dict.fromkeys(("rs1", "rs3", "rs4"))
    assert json.loads(asked)["servers"] == {**good, "rs2": "did not answer in 2 s"}

    told = dirtune("lvs", "apply")

    assert f"rs2: done: {VIP}/32 on lo" in told
    assert all(f"  rs{n}  answered\n" in told for n in (1, 2, 3, 4))
    on("rs2", "dirtune rollback")
    assert (network("rs2"), network("rs1")) == (before, others)
    dirtune("lvs", "apply")


def test_what_a_plan_says_ipvsadm_shows_and_restores_and_rollback_takes_it_back():
    before, times = saved(), on("lb1", "ipvsadm -l --timeout")
    path = put("plan.toml", PLAN)

    dirtune("lab", "exec", "lb1", "--", f"dirtune lvs plan {path}", ok=(1,))
    assert saved() == before, "a plan changes nothing"
    on("lb1", f"dirtune lvs apply {path}")

    assert saved() == sorted(SAVED.splitlines())
    assert any(row.split()[2:4] == ["1000", "800"] for row in thresholds() if "0.12:80" in row)
    assert "800 30 200" in on("lb1", "ipvsadm -l --timeout")
    daemon = on("lb1", "ipvsadm -l --daemon")
    assert "master sync daemon (mcast=lo, syncid=3" in daemon
    assert "ttl=5" in daemon
    limits = thresholds()
    on("lb1", "dirtune lvs export > /tmp/exported; ipvsadm -C; ipvsadm -R < /tmp/exported")
    assert (saved(), thresholds()) == (sorted(SAVED.splitlines()), limits)
    assert on("lb1", f"dirtune lvs plan {path}") == "nothing to do\n"
    on("lb1", "ipvsadm -Sn > /tmp/saved; dirtune lvs import /tmp/saved > /tmp/imported.toml")
    assert "upper 1000 -> 0" in on("lb1", "dirtune lvs plan /tmp/imported.toml", ok=(1,))

    on("lb1", "dirtune rollback")
    assert saved() == before
    assert on("lb1", "ipvsadm -l --timeout") == times
    assert on("lb1", "ipvsadm -l --daemon").strip() == ""

    on("lb1", f"dirtune lvs apply {path} --confirm 1")
    end = time.monotonic() + 60
    while saved() != before:
        assert time.monotonic() < end, "nobody confirmed it, and it is still there"
        time.sleep(0.5)


def test_show_counts_what_ipvsadm_counts():
    on("c1", f"for i in 1 2 3 4 5; do curl -s -o /dev/null http://{VIP}/; done")
    told, shown = on("lb1", "dirtune lvs show --format json; ipvsadm -Ln --stats --exact").split(
        "\n", 1
    )

    (service,) = json.loads(told)["services"]
    rows = {row[1]: row for row in map(str.split, shown.splitlines()) if len(row) > 6}
    for name, one in [
        (f"{VIP}:80", service),
        *((f"{d['address']}:80", d) for d in service["destinations"]),
    ]:
        assert one["numbers"]["connections"] == int(rows[name][2])
    assert sum(d["numbers"]["connections"] for d in service["destinations"]) >= 5


def elsewhere(service, shift):
    """Put *service* to another port or mark, and what must have its port along."""
    port = service.port + shift
    follows = service.protocol != "fwmark"
    moved = (
        replace(each, port=port) if follows and each.forwarding != "nat" else each
        for each in service.destinations
    )
    return replace(service, port=port, destinations=tuple(moved))


def generated(examples):
    """Tables; every tenth has 200 services, made of 8, for drawing 200 takes minutes."""
    found = []

    @settings(max_examples=examples, database=None, phases=[Phase.generate])
    @given(tables(least=3))
    def collect(table):
        if len(found) % 10 == 9:
            shifts = range(0, 100 * (200 // len(table.services)), 100)
            many = tuple(elsewhere(each, shift) for each in table.services for shift in shifts)
            table = replace(table, services=many)
        found.append(table)

    collect()
    return [*found, Table()]


@pytest.mark.parametrize("examples", [10, pytest.param(30, marks=pytest.mark.long)])
def test_random_tables_go_to_the_kernel_and_come_back(examples):
    """Up to 200 services each: one go makes it, a second has nothing to do."""
    made = generated(examples)
    assert max(len(table.services) for table in made) > 150
    put("tables.json", msgspec.json.encode(made).decode())
    put("converge.py", (REPOSITORY / "tests/lvs/converge.py").read_text())

    told = on("lb1", "python3 /mnt/converge.py /mnt/tables.json")

    assert told.startswith(f"{len(made)} converged, the largest of ")


def held(client, number, port=80):
    """Hold *number* connections from a client, each with a request still to be made."""
    script = f"""
import socket, sys
held = [socket.create_connection(("{VIP}", {port})) for _ in range({number})]
print("held", flush=True)
sys.stdin.readline()
done = 0
for each in held:
    each.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
for each in held:
    each.settimeout(20)
    said = b""
    # To the end: closing with something unread is a reset, which nobody sends again if it is lost.
    while more := each.recv(4096):
        said += more
    done += said.startswith(b"HTTP/1.1 200")
    each.close()
print(done, flush=True)
"""
    argv = [*DIRTUNE, "lab", "exec", client, "--", f"python3 -u -c '{script}'"]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def service(port, *servers, scheduler="rr"):
    rows = "".join(f'  [[services.destinations]]\n  address = "198.18.0.{n}"\n' for n in servers)
    return f'[[services]]\nvip = "{VIP}"\nport = {port}\nscheduler = "{scheduler}"\n{rows}'


def active(server):
    rows = on("lb1", "ipvsadm -Ln").splitlines()
    return sum(int(row.split()[4]) for row in rows if f"198.18.0.{server}:80 " in row)


def test_a_service_under_load_is_edited_extended_and_drained_without_a_lost_connection():
    head = '[director]\nhost = "local"\n'
    first = put("first.toml", head + service(80, 11, 12))
    second = put("second.toml", head + service(80, 11, 13, 14, scheduler="wlc") + service(81, 11))
    on("lb1", f"dirtune lvs apply {first}")
    before = saved()
    # A real server closes a connection that asks nothing for a minute: all this takes less.
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(held(client, 500)) for client in ("c1", "c2")]
        for client in clients:
            assert client.stdout.readline() == "held\n"
        assert active(11) + active(12) == 1000

        refused = on("lb1", f"dirtune lvs apply {second} --drain-wait 1 2>&1", ok=(2,))
        assert "still has 500 active connections" in refused
        assert "--no-drain" in refused
        assert saved() == before, "all was put back"

        applying = stack.enter_context(
            subprocess.Popen(
                [*DIRTUNE, "lab", "exec", "lb1", "--", f"dirtune lvs apply {second}"],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        end = time.monotonic() + 60
        while "-r 198.18.0.12:80 -g -w 0" not in "\n".join(saved()):
            assert time.monotonic() < end, "it was not quiesced"
        assert applying.poll() is None, "it waits for 500 connections"
        answered = []
        for client in clients:
            client.stdin.write("\n")
            client.stdin.flush()
            answered.append(int(client.stdout.readline()))
        assert answered == [500, 500], "a held connection was lost"
        applying.communicate(timeout=120)
        assert applying.returncode == 0

    assert "198.18.0.12:80" not in "\n".join(saved())
    assert on("lb1", f"dirtune lvs plan {second}") == "nothing to do\n"


def test_killed_in_the_middle_rollback_leaves_the_table_as_before():
    before, limits = saved(), thresholds()
    rows = "".join(service(1000 + n, *range(11, 15)) for n in range(1000))
    path = put("many.toml", f'[director]\nhost = "local"\n{rows}')

    # Killed when the kernel has some of it: /proc tells how much without asking netlink.
    left = on(
        "lb1",
        f"dirtune lvs apply {path} >/dev/null 2>&1 & pid=$!; "
        "until [ $(grep -c TCP /proc/net/ip_vs) -gt 100 ]; do :; done; kill -9 $pid; "
        "wait $pid 2>/dev/null; grep -c TCP /proc/net/ip_vs",
    )
    assert 100 < int(left.split()[-1]) < 1000

    assert "is rolled-back" in on("lb1", "dirtune rollback")
    assert (saved(), thresholds()) == (before, limits)


def test_who_owns_the_table_is_named_and_what_is_missing_too():
    table = saved()
    path = put("plan.toml", PLAN)
    owner = "cp /bin/sleep /tmp/keepalived; /tmp/keepalived 100 & pid=$!"

    said = on("lb1", f"{owner}; dirtune lvs apply {path} 2>&1; kill $pid", ok=(0,))
    assert "keepalived (process" in said
    assert "--force keepalived" in said

    # Other refusals are tests/lvs/test_guard.py.
    for old, new, why in [
        ('scheduler = "lc"', 'scheduler = "nosuch"', "module ip_vs_nosuch"),
        ('interface = "lo"', 'interface = "nosuch0"', "interface"),
    ]:
        path = put("bad.toml", PLAN.replace(old, new))
        said = on("lb1", f"dirtune lvs apply {path} 2>&1", ok=(2,))
        assert why in said
        assert said.count("\n") == 1
    drop = "setpriv --bounding-set=-net_admin --inh-caps=-net_admin --ambient-caps=-all"
    said = on("lb1", f"{drop} dirtune lvs apply {path} 2>&1", ok=(2,))
    assert "needs CAP_NET_ADMIN" in said
    assert saved() == table


def test_a_table_that_somebody_changed_since_the_plan_is_left():
    path = put("plan.toml", PLAN)
    plan = json.loads(on("lb1", f"dirtune lvs plan {path} --format json", ok=(1,)))
    on("lb1", f"ipvsadm -A -u {VIP}:99 -s rr")
    table = saved()

    apply = f"dirtune lvs apply {path} --expect {plan['digest']} 2>&1"
    assert plan["digest"] in on("lb1", apply, ok=(2,))

    assert saved() == table
    on("lb1", f"ipvsadm -D -u {VIP}:99")


MINE = f"""global_defs {{
    router_id lb1
}}
virtual_server {VIP} 99 {{
    protocol TCP
    lvs_sched rr
    lvs_method DR
    real_server 198.18.0.11 99 {{
        weight 3
    }}
}}"""
MINE_SAVED = [f"-A -t {VIP}:99 -s rr", f"-a -t {VIP}:99 -r 198.18.0.11:99 -g -w 3"]
MINE_IN_PLAN = f"""[[services]]
vip = "{VIP}"
port = 99
  [[services.destinations]]
  address = "198.18.0.11"
  weight = 3
[ipvs]"""


@pytest.fixture
def _keepalived():
    """A keepalived with a service that a person wrote, in place of the table."""
    (state.folder().share / "mine.conf").write_text(MINE)
    on(
        "lb1",
        "ipvsadm -Sn > /tmp/before; ipvsadm -C; mkdir /tmp/k; cp /mnt/mine.conf /tmp/k/; "
        "keepalived -C -f /tmp/k/mine.conf -p /tmp/k/pid -c /tmp/k/checkers >/dev/null 2>&1",
    )
    until(lambda: saved() == MINE_SAVED)
    yield
    on("lb1", "kill $(cat /tmp/k/pid); while [ -e /tmp/k/pid ]; do sleep 0.1; done")
    on("lb1", "rm -r /tmp/k; ipvsadm -C; ipvsadm -R < /tmp/before; ipvsadm --set 900 10 300")


def until(agreed):
    for _ in range(50):
        if agreed():
            return
        time.sleep(0.2)
    assert agreed()


@pytest.mark.usefixtures("_keepalived")
def test_keepalived_sets_up_what_a_plan_says_and_a_rollback_lets_it_take_it_back():
    sync = PLAN.index("sync = ")
    plan = put("k.toml", PLAN[:sync].replace("[ipvs]", MINE_IN_PLAN))
    through = f"{plan} --here --through keepalived --checker none"
    times = on("lb1", "ipvsadm -l --timeout")
    files = "cd /tmp/k; grep -r . mine.conf dirtune.d 2>/dev/null; :"
    before = on("lb1", files)

    assert "--force include" in on("lb1", f"dirtune lvs apply {through} 2>&1", ok=(2,))
    on("lb1", f"dirtune lvs apply {through} --force include")

    assert saved() == sorted([*SAVED.splitlines(), *MINE_SAVED])
    assert "800 30 200" in on("lb1", "ipvsadm -l --timeout")
    assert on("lb1", f"dirtune lvs plan {through}") == "nothing to do\n"

    assert "is rolled-back" in on("lb1", "dirtune rollback")
    assert saved() == MINE_SAVED
    assert on("lb1", "ipvsadm -l --timeout") == times
    assert on("lb1", files) == before

    # Killed on the way, the files and the table are old or new, and keepalived runs.
    on(
        "lb1",
        f"dirtune lvs apply {through} --force include >/dev/null 2>&1 & sleep 1.2; kill -9 $!",
    )
    on("lb1", "dirtune rollback", ok=(0, 2))
    until(lambda: saved() == MINE_SAVED)
    assert on("lb1", files) == before
    on("lb1", "kill -0 $(cat /tmp/k/pid) $(cat /tmp/k/checkers)")


def test_ip_vs_is_loaded_when_told_and_gone_after_the_rollback():
    path = put("plan.toml", PLAN)
    on("lb1", "ipvsadm -C; rmmod $(lsmod | awk '/^ip_vs_/ {print $1}') ip_vs")

    assert "--load" in on("lb1", f"dirtune lvs apply {path} 2>&1", ok=(2,))
    assert "ip_vs" not in on("lb1", "cat /proc/modules")

    on("lb1", f"dirtune lvs apply {path} --load")
    assert saved() == sorted(SAVED.splitlines())
    on("lb1", "dirtune rollback")
    assert "ip_vs" not in on("lb1", "cat /proc/modules")
