"""The commands of `lvs` on a kernel that is simulated behind the wire."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from dirtune.change.plan import Plan, Refusal
from dirtune.cli import _output, main
from dirtune.host import LiveHost
from dirtune.jobs import real_servers
from dirtune.lvs import guard, kernel
from dirtune.lvs.diff import diff
from dirtune.lvs.guard import Surroundings
from dirtune.lvs.model import Destination, Numbers, Seen, Service, Table, Timeouts
from tests.lvs.simulated import Simulated, install

WEB = Service(
    "tcp", "198.18.0.100", 80, "rr", destinations=(Destination("198.18.0.11", 80, "dr"),)
)
BEFORE = Table((WEB,), Timeouts(900, 120, 300), ())
PLAN = """
[director]
host = "local"
[[services]]
vip = "198.18.0.100"
port = 80
scheduler = "wlc"
  [[services.destinations]]
  address = "198.18.0.11"
  weight = 5
  [[services.destinations]]
  address = "fd00::12"
  forwarding = "tun"
[[services]]
fwmark = 7
"""
SEEN = Surroundings((), frozenset(), frozenset(), True, frozenset(), frozenset())


class Counting(Simulated):
    def read_counted(self):
        counted = Numbers(7, 60, 0, 4096, 0, 3, 20, 0, 1500, 0)
        return self.read(), (Seen(counted, (((2, 5, 1), counted),)),)


@pytest.fixture
def ipvs(monkeypatch, tmp_path):
    monkeypatch.setenv("DIRTUNE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DIRTUNE_RUN", str(tmp_path / "run"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(guard, "look_around", lambda host, table: SEEN)
    monkeypatch.setattr(guard, "_addresses", lambda table, around: ())
    return install(monkeypatch, Counting(BEFORE))


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return str(path)


def lvs(*words, **options):
    done = CliRunner().invoke(main, ["lvs", *words], **options)
    assert "Traceback" not in done.output
    return done


def rows(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_show_has_a_row_for_each_with_what_it_sees(ipvs):
    done = lvs("show")

    assert done.exit_code == 0
    _, service, real, times = rows(done.stdout)
    assert service == ["TCP", "198.18.0.100:80", "rr", "3", "20", "0", "1500", "0", "7"]
    assert real[:2] == ["198.18.0.11:80", "dr"]
    assert [int(cell) for cell in real[2:]] == [1, 2, 5, 1, 3, 20, 0, 1500, 0, 7]
    assert times[:3] == ["timeouts:", "tcp", "900"]
    assert "| TCP 198.18.0.100:80 | rr |" in lvs("show", "--format", "markdown").stdout


def test_show_in_json_says_the_same(ipvs):
    told = json.loads(lvs("show", "--format", "json").stdout)

    (service,) = told["services"]
    (real,) = service["destinations"]
    assert (told["schema"], told["timeouts"]["tcp_fin"]) == ("dirtune/lvs/1", 120)
    assert (service["scheduler"], service["numbers"]["connections"]) == ("rr", 7)
    assert (real["active"], real["inactive"], real["persistent"]) == (2, 5, 1)


def test_plan_apply_plan_rollback(ipvs, plan):
    done = lvs("plan", plan)

    assert done.exit_code == 1, "there is something to do"
    assert done.stdout == (
        "~ TCP 198.18.0.100:80  scheduler rr -> wlc\n"
        "~   198.18.0.11:80  weight 1 -> 5\n"
        "+   [fd00::12]:80  tun ipip weight 1\n"
        "+ FWM 7  rr\n"
        f"\ndigest of the current table: {BEFORE.digest}\n"
    )
    assert lvs("plan", plan, "--format", "markdown").stdout.startswith("```diff\n! TCP")
    told = json.loads(lvs("plan", plan, "--format", "json").stdout)
    assert told["steps"][0]["changed"] == {"scheduler": ["rr", "wlc"]}
    assert told["steps"][3]["command"] == "ipvsadm -A -f 7 -s rr"

    done = lvs("apply", plan, "--expect", told["digest"])
    assert done.exit_code == 0, done.stderr
    assert "done: IPVS: 1 service added" in done.stdout
    after = ipvs.read()
    assert [service.scheduler for service in after.services] == ["wlc", "rr"]

    done = lvs("plan", plan)
    assert (done.exit_code, done.stdout) == (0, "nothing to do\n")
    assert json.loads(lvs("apply", plan, "--format", "json").stdout)["journal"] is None

    assert CliRunner().invoke(main, ["rollback"]).exit_code == 0
    assert diff(ipvs.read(), BEFORE) == ()


def test_a_plan_names_the_service_whose_real_server_goes(ipvs, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.split("  [[services", maxsplit=1)[0].replace("wlc", "rr"))

    assert lvs("plan", str(path)).stdout.startswith(
        "  TCP 198.18.0.100:80\n-   198.18.0.11:80  dr weight 1\n"
    )


def refused(done, said):
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_table_that_changed_since_the_plan_was_looked_at_is_left(ipvs, plan):
    digest = json.loads(lvs("plan", plan, "--format", "json").stdout)["digest"]
    other = Service("udp", "198.18.0.100", 53, "rr")
    ipvs.services[other.key] = other

    refused(lvs("apply", plan, "--expect", digest), "Run dirtune lvs plan again")
    assert ipvs.requests == []


def test_an_owner_is_refused_by_name_and_overruled_by_name(ipvs, plan, monkeypatch):
    owned = Surroundings(
        (("keepalived", 77),), frozenset(), frozenset(), True, frozenset(), frozenset()
    )
    monkeypatch.setattr(guard, "look_around", lambda host, table: owned)

    refused(lvs("apply", plan), "keepalived (process 77) owns the IPVS table")
    refused(lvs("apply", plan, "--force", "kube-proxy"), "--force keepalived ")
    assert ipvs.requests == []
    done = lvs("plan", plan)
    assert done.exit_code == 1
    assert "apply would refuse: keepalived" in done.stderr

    assert lvs("apply", plan, "--force", "keepalived").exit_code == 0
    # Where nothing is to be done nobody is asked.
    assert lvs("apply", plan).exit_code == 0


def test_ip_vs_is_loaded_only_when_told(ipvs, plan, monkeypatch):
    monkeypatch.setattr(kernel, "loaded", lambda host: False)

    refused(lvs("apply", plan), "ip_vs is not loaded. Let dirtune load it: --load")
    assert ipvs.requests == []


def test_show_without_ip_vs_says_so_and_loads_nothing(monkeypatch):
    monkeypatch.setattr(LiveHost, "glob", lambda self, pattern: ())
    monkeypatch.setattr(
        "dirtune.netlink.genl.Socket", lambda *_: pytest.fail("looking the family up loads ip_vs")
    )

    refused(lvs("show"), "ip_vs is not loaded")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'services = [{ vip = "198.18.0.100", port = 80, colour = "red" }]',
            "unknown field `colour`",
        ),
        (PLAN.replace("weight = 5", "weight = -5"), "services[0].destinations[0].weight"),
        ("services = [", "not TOML"),
        (PLAN.replace("fwmark = 7", 'vip = "198.18.0.100"\nport = 80'), "services[1]: TCP"),
    ],
)
def test_a_bad_plan_is_one_line_that_names_the_file(ipvs, tmp_path, text, said):
    path = tmp_path / "bad.toml"
    path.write_text(text)

    for command in ("plan", "apply"):
        done = lvs(command, str(path))
        refused(done, said)
        assert f"{path}: " in done.stderr
    assert ipvs.requests == []


def test_here_is_the_director_that_the_plan_names(ipvs, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.replace('host = "local"', 'host = "lb1"'))

    assert lvs("apply", str(path), "--here").exit_code == 0
    assert len(ipvs.read().services) == 2


def test_a_director_does_its_own_without_ssh(ipvs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dirtune.remote", None)
    path = tmp_path / "plan.toml"
    path.write_text(PLAN + NODES)

    assert "+ FWM 7" in lvs("plan", str(path), "--here").stdout
    assert lvs("apply", str(path), "--here").exit_code == 0


def test_nor_does_it_need_it_where_no_real_server_can_be_logged_into(ipvs, plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "dirtune.remote", None)
    monkeypatch.delitem(sys.modules, "dirtune.bench.vip_check", raising=False)

    done = lvs("apply", plan)

    assert (done.exit_code, done.stderr) == (0, "")
    assert len(ipvs.read().services) == 2


def test_a_plan_from_elsewhere_comes_whole_or_not_at_all(ipvs):
    sent = '{"services":[{"fwmark":7,"destinations":[]}],"director":{"host":"lb1"}}\n'

    refused(lvs("apply", "-", "--here", input=sent[:30]), "Cannot use the plan on standard input")
    refused(lvs("apply", "-", "--here", input=""), "Cannot use the plan on standard input")
    refused(
        lvs("apply", "-", "--here", input=sent.replace("fwmark", "mark")),
        "unknown field `mark`",
    )
    assert ipvs.requests == []
    assert lvs("apply", "-", "--here", "--no-drain", input=sent).exit_code == 0
    assert [service.name for service in ipvs.read().services] == ["FWM 7"]


def test_applying_needs_root(monkeypatch, plan):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    refused(lvs("apply", plan), "lvs apply needs root")


TEXT = """-A -t 198.18.0.100:80 -s sh -p 300 -M 255.255.255.0 -b sh-port
-a -t 198.18.0.100:80 -r 198.18.0.11:80 -g -w 5 -x 1000 -y 800
-a -t 198.18.0.100:80 -r 198.18.0.12:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-A -u 198.18.0.100:53 -s rr -o
-a -u 198.18.0.100:53 -r 198.18.0.11:5353 -m -w 1
-A --sctp-service [fd00::9]:36 -s lc -p 60 -M 64
-A -f 7 -6 -s rr -p 60 --pe sip
-a -f 7 -6 -r [fd00::2]:0 -g -w 0
"""


def test_a_text_of_ipvsadm_becomes_a_plan_and_the_plan_the_text(tmp_path):
    path = tmp_path / "imported.toml"
    path.write_text(lvs("import", "-", input=TEXT).stdout)

    assert lvs("export", str(path)).stdout == TEXT
    # A plan of the plan is the plan.
    assert lvs("export", str(path), "--format", "plan").stdout == path.read_text()


def test_a_bad_text_names_file_and_line(tmp_path):
    path = tmp_path / "rules"
    path.write_text("-A -t 198.18.0.100:80 -s rr\n-a -t 198.18.0.100:80 -w 1\n")

    refused(lvs("import", str(path)), f"{path}: line 2: ")


def test_keepalived_gets_its_blocks(tmp_path):
    """As keepalived.conf(5) has them."""
    path = tmp_path / "imported.toml"
    path.write_text(lvs("import", "-", input=TEXT).stdout)

    blocks = lvs("export", str(path), "--format", "keepalived").stdout

    assert blocks.startswith(
        """virtual_server 198.18.0.100 80 {
    protocol TCP
    lvs_sched sh
    sh-port
    persistence_timeout 300
    persistence_granularity 255.255.255.0
    lvs_method DR
    real_server 198.18.0.11 80 {
        weight 5
        uthreshold 1000
        lthreshold 800
    }
    real_server 198.18.0.12 80 {
        lvs_method TUN type gue port 6080 csum
        weight 1
    }
}

virtual_server 198.18.0.100 53 {
    protocol UDP
    lvs_sched rr
    ops
    lvs_method NAT
    real_server 198.18.0.11 5353 {
"""
    )
    assert "virtual_server fwmark 7 inet6 {\n" in blocks


def test_exporting_the_host_is_what_is_there(ipvs):
    assert lvs("export").stdout == (
        "-A -t 198.18.0.100:80 -s rr\n-a -t 198.18.0.100:80 -r 198.18.0.11:80 -g -w 1\n"
    )
    assert "[ipvs.timeouts]\ntcp = 900\n" in lvs("export", "--format", "plan").stdout


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A director whose dirtune is a script that keeps what it is told; this process runs it."""
    script = tmp_path / "bin/dirtune"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\ncase $1 in --require-version) shift 2;; esac\n"
        f'echo "$@" > {tmp_path}/words\ncase $* in *" - "*) read -r line;; esac\n'
        f'echo "$line" > {tmp_path}/sent\n. {tmp_path}/end\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    monkeypatch.setattr("dirtune.jobs.lvs_plans.LOCAL", "here")
    return tmp_path


def test_another_director_gets_the_whole_plan_and_every_option(elsewhere, plan):
    (elsewhere / "end").write_text(f"echo '{json.dumps(NOTHING)}'; exit 1")

    done = lvs("plan", plan, "--no-drain", "--format", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (1, NOTHING | {"settings": []})
    assert (elsewhere / "words").read_text() == "lvs plan --no-drain - --here --format json\n"
    sent = json.loads((elsewhere / "sent").read_text())
    assert [s["scheduler"] for s in sent["services"]] == ["wlc", "rr"]

    (elsewhere / "end").write_text(f"echo '{json.dumps(SET_UP)}'")
    options = ("--drain-wait", "9", "--confirm", "60", "--load", "--expect", "abc")
    done = lvs("apply", plan, *options, "--force", "vip", "--force", "keepalived")
    assert (done.exit_code, done.stdout) == (0, IS_SET_UP)
    assert (elsewhere / "words").read_text() == (
        "lvs apply --drain-wait=9 --confirm=60 --force=vip --force=keepalived "
        "--load --expect=abc - --here --format json\n"
    )


def test_another_director_is_shown_and_planned_like_this_one(ipvs, elsewhere, plan):
    """The far dirtune is asked for JSON alone, and what it says is laid out here."""
    forms = {"table": (), "markdown": ("--format", "markdown")}
    here = {form: lvs("plan", plan, "--here", *words).stdout for form, words in forms.items()}
    table = {form: lvs("show", *words).stdout for form, words in forms.items()}
    (elsewhere / "plan.json").write_text(lvs("plan", plan, "--here", "--format", "json").stdout)
    (elsewhere / "show.json").write_text(lvs("show", "--format", "json").stdout)
    (elsewhere / "end").write_text(f'cat {elsewhere}/"$2".json; [ "$2" = show ] || exit 1')

    for form, words in forms.items():
        done = lvs("plan", plan, *words)
        assert (done.exit_code, done.stdout, done.stderr) == (1, here[form], "")
        assert lvs("show", "--host", "local", *words).stdout == table[form]
    assert "~ TCP 198.18.0.100:80  scheduler rr -> wlc" in here["table"]


def test_a_table_that_changes_between_two_questions_is_not_mixed(ipvs, elsewhere, plan):
    (elsewhere / "plan.json").write_text(lvs("plan", plan, "--here", "--format", "json").stdout)
    shown = json.loads(lvs("show", "--format", "json").stdout)
    shown["services"][0]["scheduler"] = "wlc"
    (elsewhere / "show.json").write_text(json.dumps(shown))
    (elsewhere / "end").write_text(f'cat {elsewhere}/"$2".json; [ "$2" = show ] || exit 1')

    refused(lvs("plan", plan), "dirtune: local: the IPVS table changed while it was read")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("address",), "$(id)"),
        (("address",), "fd00::1"),
        (("address",), "198.18.0.1%x"),
        (("port",), 10**30),
        (("port",), -1),
        (("scheduler",), "rr } script {"),
        (("protocol",), "icmp"),
        (("netmask",), "255.0.255.0"),
        (("engine",), "a b"),
        (("flags",), ["id"]),
        (("destinations", 0, "address"), "10.0.0.1\n-A"),
        (("destinations", 0, "weight"), 2**40),
        (("destinations", 0, "forwarding"), "-m"),
    ],
)
@pytest.mark.parametrize("words", [("show",), ("export",)])
def test_a_value_that_no_kernel_has_is_not_another_hosts(ipvs, elsewhere, words, path, value):
    shown = json.loads(lvs("show", "--format", "json").stdout)
    *way, last = ("services", 0, *path)
    place = shown
    for key in way:
        place = place[key]
    assert last in place
    place[last] = value
    (elsewhere / "text").write_text(json.dumps(shown))
    (elsewhere / "end").write_text(f"cat {elsewhere}/text")

    done = lvs(*words, "--host", "local")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("dirtune: local: ")


def test_what_another_director_complains_of_is_one_line_with_its_name(elsewhere, plan):
    (elsewhere / "end").write_text("echo 'dirtune: IPVS: needs CAP_NET_ADMIN' >&2; exit 2")

    refused(lvs("show", "--host", "local"), "dirtune: local: IPVS: needs CAP_NET_ADMIN")
    refused(lvs("apply", plan), "dirtune: local: IPVS: needs CAP_NET_ADMIN")
    (elsewhere / "bin/dirtune").write_text("#!/bin/sh\nexit 127\n")
    refused(lvs("apply", plan), "dirtune: local: dirtune is not installed there")


NODES = """
[[real_servers]]
name = "rs1"
host = "local"
address = "198.18.0.11"
[[real_servers]]
name = "spare"
host = "local"
address = "198.18.0.99"
"""
CHANGE = {
    "action": {"type": "address", "interface": "lo", "address": "198.18.0.100/32"},
    "risk": "safe",
    "reason": "realserver/vip-missing",
    "fix": "prepare",
    "title": "198.18.0.100/32 on lo",
    "commands": ["ip addr add 198.18.0.100/32 dev lo"],
    "persisted_by": None,
}
APPLIED = {
    "schema": "dirtune/applied/1",
    "journal": "J1",
    "state": "applied",
    "confirm_s": 180,
    "risk": "safe",
    "changes": [CHANGE],
    "refusals": [],
    "left_out": [],
}


NOTHING = {
    "schema": "dirtune/lvs-plan/1",
    "digest": "abc",
    "steps": [],
    "modules": [],
    "changes": [],
}
SET_UP = APPLIED | {"journal": "D1", "state": "confirmed", "confirm_s": 0, "changes": []}
IS_SET_UP = "journal D1\nroll back with: dirtune rollback D1\n"
LATER = '{"schema": "dirtune/plan/9", "changes": [], "refusals": []}'


@pytest.fixture
def nodes(elsewhere, plan, tmp_path):
    """A real server's dirtune beside the director's: the same script, told apart by its words."""
    (tmp_path / "plan.toml").write_text(PLAN + NODES)
    told = {
        "plan": {"schema": "dirtune/plan/1", "risk": "safe", "changes": [CHANGE], "refusals": []},
        "apply": APPLIED,
        "settled": {"schema": "dirtune/settled/1", "journal": "J1", "state": "", "already": False},
    }
    for name, answer in told.items():
        (elsewhere / f"{name}.json").write_text(json.dumps(answer))
    (elsewhere / "end").write_text(
        f'echo "$*" >> {elsewhere}/every\n'
        f'case "$*" in *--node=*) cat {elsewhere}/"$2".json; [ "$2" = apply ] || exit 1;;\n'
        f"*--here*) . {elsewhere}/director;; *) cat {elsewhere}/settled.json;; esac\n"
    )
    (elsewhere / "nothing.json").write_text(json.dumps(NOTHING))
    (elsewhere / "set_up.json").write_text(json.dumps(SET_UP))
    (elsewhere / "director").write_text(DIRECTOR.format(elsewhere))
    return elsewhere


DIRECTOR = """\
case "$*" in *plan*|*--dry-run*) cat {0}/nothing.json;; *) cat {0}/set_up.json;; esac
"""


def said_to(elsewhere):
    rows = (elsewhere / "every").read_text().splitlines()
    return [row.removesuffix(" - --format json").removesuffix(" --format json") for row in rows]


def changes_of_the_director(elsewhere):
    return [
        r for r in said_to(elsewhere) if r.startswith("lvs apply --drain") and "--dry" not in r
    ]


def test_real_servers_are_planned_beside_their_director(nodes, plan):
    done = lvs("plan", plan)

    assert (done.exit_code, done.stdout) == (
        1,
        "rs1:\n+ 198.18.0.100/32 on lo  [realserver/vip-missing]\n",
    )
    assert said_to(nodes)[-1] == "lvs plan --node=rs1", "the spare one is sent nothing"
    (nodes / "every").unlink()
    assert lvs("plan", plan, "--director-only").stdout == "nothing to do\n"
    assert len(said_to(nodes)) == 1
    told = json.loads(lvs("plan", plan, "--format", "json").stdout)
    (change,) = told["real_servers"]["rs1"]["changes"]
    assert change["commands"] == ["ip addr add 198.18.0.100/32 dev lo"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("exit 127", "dirtune is not installed there. Install dirtune 0.1.0 there"),
        (
            "echo rows",
            "did not print its JSON document (JSON is malformed",
        ),
        (
            "echo '{}'",
            "did not print its JSON document (Object missing",
        ),
        (
            f"echo '{LATER}'",
            "did not print its JSON document (the document has the schema",
        ),
    ],
)
def test_a_real_server_without_our_dirtune_is_named_and_the_rest_is_printed(
    nodes, plan, answer, said
):
    end = (nodes / "end").read_text()
    (nodes / "end").write_text(end.replace("--node=*)", f"--node=*) {answer}; exit;;\n*never*)"))

    done = lvs("plan", plan)

    assert (done.exit_code, done.stdout) == (2, "nothing to do\n")
    assert done.stderr.startswith("dirtune: local: ")
    assert said in done.stderr
    assert "--director-only" in done.stderr
    refused(lvs("apply", plan), said)
    assert not changes_of_the_director(nodes)


def test_real_servers_come_first_and_stay_once_the_director_is_done(nodes, plan):
    done = lvs("apply", plan)

    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "rs1: done: 198.18.0.100/32 on lo",
        "rs1: roll back on rs1 with: dirtune rollback J1",
        *IS_SET_UP.splitlines(),
    ]
    dry, first, then, last = said_to(nodes)
    assert dry == last.replace(" - ", " --dry-run - ")
    # As long as an answer may take, and a minute.
    assert first == "lvs apply --confirm=180 --node=rs1"
    assert then == "confirm J1"
    assert last.startswith("lvs apply --drain-wait=300")


def test_what_was_done_is_printed_though_nobody_can_say_who_answers(nodes, plan):
    load = '[[clients]]\nhost = "local"\n[load]\nrates = [10]\n'
    (nodes / "plan.toml").write_text(PLAN + NODES + load)
    done = lvs("apply", plan)

    # This machine is the director of the plan, and has no such service.
    assert done.exit_code == 2
    assert done.stdout.endswith(IS_SET_UP)
    assert "could not check which real servers answer: local: " in done.stderr


@pytest.mark.parametrize("given", ["plan", "-"])
def test_why_nobody_was_asked_who_answers_is_said(nodes, plan, given):
    server = {"host": "local", "name": "rs1", "address": "198.18.0.11"}
    destination = {"address": "198.18.0.11"}
    service = {"vip": "198.18.0.100", "port": 80, "destinations": [destination]}
    sent = json.dumps({"services": [service], "real_servers": [server]})

    done = lvs("apply", plan) if given == "plan" else lvs("apply", "-", input=f"{sent}\n")

    assert done.exit_code == 0
    assert done.stdout.endswith(IS_SET_UP)
    why = "The plan on standard input names no clients" if given == "-" else f"{plan}: "
    assert done.stderr.startswith(f"dirtune: Could not check which real servers answer: {why}")
    assert done.stderr.count("\n") == 1


def test_what_a_real_server_says_beside_its_answer_has_its_name(nodes, plan):
    director = f"{DIRECTOR.format(nodes)}echo 'dirtune: of the director' >&2; exit 1"
    (nodes / "director").write_text(director)
    end = (nodes / "end").read_text()
    told = "printf 'dirtune: one\\ntwo\\n' >&2"
    (nodes / "end").write_text(end.replace("--node=*)", f"--node=*) {told};"))

    assert lvs("plan", plan).stderr.splitlines() == [
        "dirtune: local: of the director",
        "dirtune: rs1: one",
        "dirtune: rs1: two",
    ]


def test_real_servers_are_put_back_if_the_director_cannot_be_set_up(nodes, plan):
    fails = "case $* in *--dry-run*) ;; *) echo 'dirtune: no' >&2; exit 2;; esac\n"
    (nodes / "director").write_text(fails + DIRECTOR.format(nodes))

    refused(lvs("apply", plan), "dirtune: local: no")

    assert said_to(nodes)[-1] == "rollback J1"


def test_real_servers_are_left_where_the_director_would_refuse(nodes, plan):
    (nodes / "director").write_text("echo 'dirtune: no' >&2; exit 2")

    refused(lvs("apply", plan), "dirtune: local: no")

    assert not any("--node" in row for row in said_to(nodes))


def test_nor_are_they_touched_where_this_host_would_refuse(nodes, ipvs, plan, monkeypatch):
    monkeypatch.setattr("dirtune.jobs.lvs_plans.LOCAL", "local")

    refused(lvs("apply", plan, "--expect", "another"), "Run dirtune lvs plan again")

    assert not (nodes / "every").exists()
    assert ipvs.requests == []


def test_a_dry_run_changes_nothing_and_says_what_refuses(ipvs, plan):
    rehearsed = lvs("apply", plan, "--here", "--dry-run", "--format", "json")
    assert rehearsed.exit_code == 0
    assert json.loads(rehearsed.stdout)["schema"] == "dirtune/lvs-plan/1"
    refused(lvs("apply", plan, "--dry-run", "--expect", "another"), "Run dirtune lvs plan again")
    assert ipvs.requests == []


def test_what_is_to_be_confirmed_is_left_to_whoever_asked(nodes, plan):
    done = lvs("apply", plan, "--confirm", "60")

    # The director may drain for 300 s and is given 120 s more before its own 60 s begin.
    assert any("480 s" in row and "dirtune confirm" in row for row in done.stdout.splitlines())
    _, server, director = said_to(nodes)
    assert server == "lvs apply --confirm=480 --node=rs1"
    assert " --confirm=60 " in director
    (nodes / "every").unlink()
    lvs("apply", plan, "--confirm", "60", "--no-drain")
    assert said_to(nodes)[1] == "lvs apply --confirm=180 --node=rs1"


def test_presets_of_a_host_that_is_client_and_real_server_are_those_of_both(tmp_path):
    path = tmp_path / "plan.toml"
    alone = '[[real_servers]]\nname = "rs2"\nhost = "local"\n'
    both = '[[real_servers]]\nhost = "local"\n[[clients]]\nhost = "local"\n'
    path.write_text(PLAN + alone + both + "[load]\nrates = [10]\n")

    told = json.loads(lvs("presets", str(path), "--format", "json").stdout)["nodes"]

    settings = {node: [row["setting"] for row in rows] for node, rows in told.items()}
    # Of clients alone, of real servers alone, and of both, which is told once.
    assert settings["local"].count("open files") == 1
    assert settings["local"].count("nginx: access_log") == 1
    assert settings["local"].count("fs.file-max") == 1
    assert "open files" not in settings["rs2"]


def test_a_host_shows_and_exports_its_own(ipvs, elsewhere):
    shown = lvs("show", "--format", "json").stdout
    exported = lvs("export").stdout
    (elsewhere / "text").write_text(shown)
    (elsewhere / "end").write_text(f"cat {elsewhere}/text")

    assert json.loads(lvs("show", "--host", "local", "--format", "json").stdout) == json.loads(
        shown
    )
    assert (elsewhere / "words").read_text() == "lvs show --format json\n"
    assert lvs("export", "--host", "local").stdout == exported
    assert (elsewhere / "words").read_text() == "lvs show --format json\n"
    assert lvs("export", "plan.toml", "--host", "local").exit_code == 2


@pytest.mark.parametrize("form", ["ipvsadm", "keepalived", "plan"])
@pytest.mark.parametrize(
    "text",
    [
        "-A -t 198.18.0.1:80 -s rr\nmisc_path id\n",
        'services = []\n[load]\ngenerator = "command"\n[load.command]\nrun = "id"\n',
        '[[services]]\nvip = "198.18.0.1"\nport = 80\nscheduler = "rr }\\nscript \\"id\\" {"\n',
        '[[services]]\nvip = "198.18.0.1"\nport = 80\nscheduler = "rr"\n# misc_path id\n',
    ],
)
def test_what_another_host_exports_is_a_table_and_nothing_else(elsewhere, text, form):
    """It is written for programs that obey it: ipvsadm, keepalived, dirtune."""
    (elsewhere / "text").write_text(text)
    (elsewhere / "end").write_text(f"cat {elsewhere}/text")

    done = lvs("export", "--host", "local", "--format", form)

    rows = [row.strip() for row in done.stdout.splitlines()]
    assert not [row for row in rows if row.startswith(("script", "misc_path", "run", "# misc"))]
    assert done.exit_code == 0 or (done.stdout, done.stderr.count("\n")) == ("", 1)


@pytest.mark.parametrize("words", [("show", "--host", "local"), ("plan",), ("apply",)])
@pytest.mark.parametrize("text", ["rows", "\x1b[31m{}", "{} {}", "[1]", '{"a": NaN}', ""])
def test_what_is_no_json_of_another_host_is_not_printed_as_json(elsewhere, plan, words, text):
    (elsewhere / "text").write_text(text)
    (elsewhere / "end").write_text(f"cat {elsewhere}/text")
    argv = words if words[0] == "show" else (*words, plan, "--director-only")

    done = lvs(*argv, "--format", "json")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("dirtune: local: ")
    assert "did not print its JSON document" in done.stderr


def test_what_another_director_warns_of_is_not_this_ones_word(elsewhere, plan):
    warned = "echo 'dirtune: all is well' >&2; echo plain >&2"
    (elsewhere / "end").write_text(f"{warned}; echo '{json.dumps(NOTHING)}'; exit 1")

    said = lvs("plan", plan, "--director-only").stderr
    assert said == "dirtune: local: all is well\ndirtune: local: plain\n"


@pytest.mark.parametrize(("name", "told"), [("", ""), ("", "ssh"), ("ssh", "gateway")])
def test_on_a_real_server_only_what_has_a_name_is_overruled_by_it(
    ipvs, plan, monkeypatch, name, told
):
    refused_ = Plan((), (Refusal("realserver/nat-gateway", "", "default route", "no", name),))
    monkeypatch.setattr(real_servers, "propose", lambda *_: refused_)

    done = lvs("apply", plan, "--node", "rs1", "--force", told)
    assert (done.exit_code, "default route no" in done.stderr) == (2, True)


@pytest.mark.parametrize(("limits", "warned"), [("", True), (" -x 1000", False), (" -y 1", False)])
def test_thresholds_that_ipvsadm_does_not_write_are_announced(limits, warned):
    """Applied, the plan would remove a threshold of 55,179 that the text cannot have."""
    text = f"-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1{limits}\n"

    done = CliRunner().invoke(main, ["lvs", "import"], input=text)

    assert done.exit_code == 0
    assert ("ipvsadm -Ln --thresholds" in done.stderr) is warned


def test_a_text_without_a_service_is_not_imported(tmp_path):
    """A pipe from an ipvsadm that failed is empty; applied, its plan would remove all services."""
    (tmp_path / "empty").write_text("")

    done = CliRunner().invoke(main, ["lvs", "import", str(tmp_path / "empty")])

    assert (done.exit_code, done.stdout) == (2, "")
    assert "contains no service" in done.stderr


@pytest.mark.parametrize("checker", ["none", "tcp"])
def test_the_blocks_of_keepalived_become_the_same_table_again(tmp_path, checker):
    path = tmp_path / "imported.toml"
    path.write_text(lvs("import", "-", input=TEXT).stdout)
    words = ("--format", "keepalived", "--checker", checker)
    blocks = lvs("export", str(path), *words).stdout
    assert blocks.count("TCP_CHECK") == (2 if checker == "tcp" else 0)  # TCP, with a port
    if program := shutil.which("keepalived", path="/usr/sbin:/usr/bin"):
        (tmp_path / "k.conf").write_text(blocks.partition("virtual_server fd00::9 ")[0])
        done = subprocess.run(
            [program, "-t", "-f", tmp_path / "k.conf"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    path.write_text(lvs("import", "-", input=blocks).stdout)

    # keepalived ignores a virtual server without real servers.
    expected = [row for row in TEXT.splitlines() if "[fd00::9]" not in row]
    assert lvs("export", str(path)).stdout.splitlines() == expected


def test_a_keepalived_conf_is_read_with_its_includes_and_its_conditions(tmp_path):
    (tmp_path / "keepalived.conf").write_text("include servers/*.conf\n")
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "one.conf").write_text(
        "virtual_server 198.18.0.100 80 {\nprotocol TCP\nlvs_sched rr\n@lb1 weight 5\n"
        "real_server 198.18.0.11 80 {\nlvs_method DR\n}\n}\n"
    )

    done = lvs("import", str(tmp_path / "keepalived.conf"), "--config-id", "lb1")

    assert "weight = 5" in done.stdout
    assert 'address = "198.18.0.11", forwarding = "dr"' in done.stdout


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("virtual_server 198.18.0.100 80 {\n lvs_sched fast\n}\n", "line 2", "'fast'"),
        ("vrrp_instance A {\n}\n", "keepalived.conf", "no virtual server"),
        ("include keepalived.conf\n", "line 1", "includes itself"),
        ("virtual_server 198.18.0.100 80 {\n\0}\n", "keepalived.conf", "binary"),
    ],
)
def test_a_keepalived_conf_that_keepalived_refuses_names_file_and_line(tmp_path, text, place, why):
    path = tmp_path / "keepalived.conf"
    path.write_text(text)

    done = lvs("import", str(path))
    refused(done, why)
    assert place in done.stderr


KEEPALIVED = """virtual_server 198.18.0.100 80 {
protocol TCP
lvs_sched rr
lvs_method DR
real_server 198.18.0.11 80 {
}
real_server 198.18.0.12 80 {
TCP_CHECK {
}
}
}
"""


@pytest.fixture
def owned(ipvs, monkeypatch, tmp_path):
    """A director without a plan, whose keepalived has a configuration."""
    seen = dataclasses.replace(SEEN, owners=(("keepalived", 7),))
    monkeypatch.setattr(guard, "look_around", lambda host, table: seen)
    monkeypatch.setattr("dirtune.collect.keepalived.PATH", str(tmp_path / "keepalived.conf"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dirtune.lab.plan_path", lambda: None)
    return tmp_path / "keepalived.conf"


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_without_a_plan_the_table_is_compared_with_keepalived_conf(owned, form):
    owned.write_text(KEEPALIVED)

    done = lvs("plan", "--format", form)

    assert done.exit_code == 1
    name = "TCP 198.18.0.100:80 -> 198.18.0.12:80"
    assert f"{name} is not in the kernel, because its health check fails." in done.stdout
    if form == "json":
        (difference,) = json.loads(done.stdout)["differences"]
        assert (difference["cause"], difference["name"]) == ("checker-down", name)


def test_a_table_that_agrees_with_keepalived_conf(owned):
    owned.write_text(KEEPALIVED[: KEEPALIVED.index("real_server 198.18.0.12")] + "}\n")

    done = lvs("plan")

    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)


def test_a_plan_that_is_there_comes_first(owned, plan):
    owned.write_text(KEEPALIVED)

    assert "wlc" in lvs("plan", plan, "--here", "--director-only").stdout


def test_a_keepalived_that_reads_another_file_needs_a_plan(owned):
    refused_ = lvs("plan")

    assert refused_.exit_code == 2
    assert "keepalived.conf does not exist" in refused_.stderr
    assert "No plan was given" in refused_.stderr


def test_what_keepalived_corrects_is_a_warning(tmp_path):
    path = tmp_path / "keepalived.conf"
    path.write_text("virtual_server fwmark 1 {\nreal_server 198.18.0.11 80 {\n}\n}\n")

    done = lvs("import", str(path))

    assert "virtual_server fwmark 1 has no lvs_sched; wlc is the default." in done.stderr


@pytest.mark.parametrize("undone", [True, False])
def test_a_far_director_that_rolled_back_while_the_real_servers_were_asked_is_no_success(
    nodes, plan, monkeypatch, undone
):
    (nodes / "set_up.json").write_text(json.dumps(SET_UP | {"confirm_s": 0.05}))
    monkeypatch.setattr("dirtune.jobs.directors._UNDO_S", 0.0)

    def slow(_source):
        time.sleep(0.1)
        if undone:
            (nodes / "director").write_text(f"cat {nodes}/nothing.json; exit 1\n")
        return None, 0

    monkeypatch.setattr(real_servers, "who_answers", slow)
    done = lvs("apply", plan, "--confirm", "0.05")

    assert done.exit_code == (2 if undone else 0)
    overdue = [row for row in done.stderr.splitlines() if "D1 was rolled back: not conf" in row]
    assert len(overdue) == undone


def test_an_apply_here_that_was_not_confirmed_in_time_is_no_success(ipvs, plan, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    result = _output.result

    def slow(*words, **options):
        result(*words, **options)
        time.sleep(0.1)

    monkeypatch.setattr(_output, "result", slow)
    done = lvs("apply", plan, "--here", "--confirm", "0.05")

    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith(
        "Run: dirtune rollback " + done.stderr.split()[-1]
    )
    assert "was not confirmed in time" in done.stderr
