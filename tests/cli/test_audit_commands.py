"""audit, irqs, explain and snapshot on recorded hosts, as a user calls them."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune import remote
from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.probed import NotProbed, ProbeCost, Probed
from dirtune.archive import load
from dirtune.checks.cluster import own_addresses
from dirtune.cli import main
from dirtune.collect.interrupts import Interrupts, Line
from dirtune.errors import NodeUnreachable, NotInstalled, NotPossible
from dirtune.jobs import snapshots, unprobed
from dirtune.render import irqs
from dirtune.snapshot import Snapshot, take_all
from tests.plans import plan_text
from tests.printed import frame, printed

NOAPIC = """\
           CPU0       CPU1
  0:        151          0    XT-PIC      timer
  2:          0          0    XT-PIC      cascade
 10:         40          0    XT-PIC      i801_smbus, sym53c8xx, enp0s16
 24:          0          7   PCI-MSI 49152-edge      virtio1-input.0
NMI:          0          0   Non-maskable interrupts
ERR:          0
"""
SEPARATE = """\
           CPU0
 10:         40   IO-APIC  20-fasteoi   enp0s16
 11:          4   IO-APIC  21-fasteoi   i801_smbus, sym53c8xx
"""


@pytest.fixture
def root(tmp_path):
    def tree(interrupts, cmdline="quiet"):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/interrupts").write_text(interrupts)
        (tmp_path / "proc/cmdline").write_text(f"{cmdline}\n")
        return str(tmp_path)

    return tree


def call(*argv):
    return CliRunner().invoke(main, argv)


def found(document):
    return {o["check"]: o["findings"] for o in document["outcomes"] if o["status"] == "finding"}


def test_the_pic_with_the_shared_line_under_it(root):
    result = call("audit", "--root", root(NOAPIC, "quiet noapic"), "--format", "json")
    document = json.loads(result.output)

    assert result.exit_code == 1
    assert document["schema"] == "dirtune/audit/1"
    assert set(found(document)) == {"irq/xtpic-mode", "irq/shared-with-nic"}
    (shared,) = found(document)["irq/shared-with-nic"]
    assert shared["cause"] == "irq/xtpic-mode"
    assert shared["evidence"]["irq"] == "10"
    assert shared["evidence"]["actions"] == ["i801_smbus", "sym53c8xx", "enp0s16"]
    assert document["summary"]["high"] == 2
    assert sum(document["summary"].values()) == len(document["outcomes"])
    undecided = [o for o in document["outcomes"] if o["status"] not in ("finding", "passed")]
    assert all(o["reason"] for o in undecided)


def test_the_text_says_each_thing_once_and_the_cause_first(root):
    rows = call("audit", "--root", root(NOAPIC, "quiet noapic"), "-v").output.splitlines()
    titles = [row for row in rows if "irq/" in row and "HIGH" in row]

    assert titles == ["HIGH  irq/xtpic-mode  irq 10", "└─ HIGH  irq/shared-with-nic  irq 10"]
    assert sum("$ dirtune fix apply irq/xtpic-mode" in row for row in rows) == 1
    assert max(map(len, rows)) <= 110
    assert rows[-1].startswith("2 high · ")


def test_separate_lines_have_no_finding(root):
    result = call("audit", "--root", root(SEPARATE), "--format", "json")

    assert result.exit_code == 0
    assert found(json.loads(result.output)) == {}


def test_markdown_nests_as_the_text_does(root):
    output = call("audit", "--root", root(NOAPIC), "--format", "markdown").output

    assert "## high: irq/xtpic-mode, irq 10" in output
    assert "### high: irq/shared-with-nic, irq 10" in output


@pytest.mark.parametrize(("fail_on", "status"), [("critical", 0), ("high", 1), ("info", 1)])
def test_fail_on_decides_the_exit_status(root, fail_on, status):
    assert call("audit", "--root", root(NOAPIC), "--fail-on", fail_on).exit_code == status


def test_checks_are_selected_by_prefix(root):
    tree = root(NOAPIC)
    chosen = call("audit", "--root", tree, "--select", "irq/x", "--format", "json")

    assert [o["check"] for o in json.loads(chosen.output)["outcomes"]] == ["irq/xtpic-mode"]
    assert call("audit", "--root", tree, "--select", "nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("audit", "--root", "/nonexistent"), "/nonexistent is not a folder"),
        (("audit", "--from", "/nonexistent.tgz"), "nonexistent.tgz"),
        (("audit", "--root", "{root}", "--probe"), "--probe measures a live host"),
        (("irqs", "--root", "{empty}"), "/proc/interrupts"),
        (("audit", "--root", "{empty}"), "contains nothing"),
        (("audit", "--host", "@/nonexistent"), "/nonexistent"),
        (
            ("explain", "irq/nonsense"),
            "No such check: irq/nonsense. ",
        ),
        (("snapshot", "-o", "/nonexistent/a.tgz", "--interval", "0"), "/nonexistent/a.tgz"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(root, tmp_path, argv, said):
    (tmp_path / "empty").mkdir()
    folders = {"root": root(NOAPIC), "empty": str(tmp_path / "empty")}

    result = call(*(word.format(**folders) for word in argv))

    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert said in result.output


def test_irqs_as_the_contract_has_them(root):
    document = json.loads(call("irqs", "--root", root(NOAPIC), "--format", "json").output)
    lines = {line["irq"]: line for line in document["lines"]}

    assert document["schema"] == "dirtune/irqs/1"
    assert document["cpus"] == [0, 1]
    assert list(lines) == ["0", "2", "10", "24", "NMI", "ERR"]
    wanted = {
        "irq": "10",
        "chip": "XT-PIC",
        "actions": ["i801_smbus", "sym53c8xx", "enp0s16"],
        "counts": [40, 0],
        "total": 40,
        "shared": True,
        "nic": True,
    }
    assert wanted.items() <= lines["10"].items()
    assert (lines["24"]["nic"], lines["24"]["shared"]) == (True, False)
    assert (lines["NMI"]["chip"], lines["NMI"]["actions"]) == (None, [])
    assert "handlers" not in document


def test_the_table_marks_shared_lines(root):
    rows = call("irqs", "--root", root(NOAPIC)).output.splitlines()

    assert next(row.split()[:3] for row in rows if "shared" in row) == ["NIC", "shared", "10"]
    assert re.findall(r"\d+", rows[-1]) == ["4", "2", "1", "1"]


def test_a_rate_that_is_not_known_is_no_total_since_boot():
    then = Interrupts((0,), (Line("10", (100,)), Line("11", (100,))))
    now = Interrupts((0,), (Line("10", (50,)), Line("11", (104,)), Line("12", (7,))))
    earlier = Snapshot(interrupts=then, taken_s=10.0)
    snapshot = Snapshot(interrupts=now, taken_s=12.0, earlier=earlier)

    head, *rows = irqs.text(snapshot, now).splitlines()
    document = irqs.document(snapshot, now)

    assert head.split()[:3] == ["irq", "per", "second"]
    cells = [row.split()[:2] for row in rows[:3]]
    assert cells == [["10", "-"], ["11", "2.0"], ["12", "-"]]
    assert [line["per_second"] for line in document["lines"]] == [None, 2.0, None]


def test_a_table_that_breaks_off_is_said_and_passes_nothing(root):
    broken = root(SEPARATE.removesuffix(", sym53c8xx\n"))
    rows = call("irqs", "--root", broken).output.splitlines()
    (line,) = json.loads(call("irqs", "--root", broken, "--format", "json").output)["lines"][1:]
    checked = call("audit", "--root", broken, "--select", "irq/", "--format", "json").output
    status = {o["check"]: o["status"] for o in json.loads(checked)["outcomes"]}

    assert rows[2].split()[:2] == ["truncated", "11"]
    assert (line["shared"], line["nic"]) == (None, None)
    assert status["irq/shared-with-nic"] == "inconclusive"
    assert status["irq/nics-share-line"] == "inconclusive"


def test_what_is_no_row_is_said(root):
    broken = SEPARATE + "something else entirely\n"

    rows = call("irqs", "--root", root(broken)).output.splitlines()

    assert rows[-1].startswith("1 ")
    assert rows[-1].endswith("'something else entirely'")


@pytest.fixture
def probed(monkeypatch):
    """This machine's own table, and a window of the probe made by hand."""
    window = HandlerWindow(
        5.0, (HandlerCalls(0, "timer", 7, 0, 0, 7000, 0, 1000),), {"0": 7}, load_seconds=1.0
    )
    found = Probed(5.0, handlers=window)
    monkeypatch.setattr(snapshots, "probed", lambda sources, *_: dict.fromkeys(sources, found))


def test_a_probe_that_was_taken_off_and_one_that_could_not_run_are_told(capsys):
    shed = ProbeCost("irq", "raw tracepoints", 2.0, 30_000_000, 9, shed=True)
    kept = ProbeCost("locks", "raw tracepoints", 5.0, 10, 1)
    lacks = NotProbed("cpu", "no perf events", "boot another kernel", "")
    found = Probed(5.0, costs=(shed, kept), missing=(lacks,), max_overhead_percent=1.0)

    unprobed.warn(found)

    unprobed.warn(found, "lb2")

    said = (
        "the irq probe was detached after 2 s, because the probes cost more than 1 % of a CPU",
        "the cpu probe is unavailable: no perf events: boot another kernel",
    )
    here, there = ([f"dirtune: {where}{each}" for each in said] for where in ("", "lb2: "))
    assert capsys.readouterr().err.splitlines() == here + there


@pytest.mark.usefixtures("probed")
def test_a_probed_table_carries_the_handlers():
    result = call("irqs", "--probe=5", "--interval", "0", "--format", "json")

    handlers = json.loads(result.output)["handlers"]
    assert handlers["seconds"] == 5.0
    assert handlers["handlers"][0]["handler"] == "timer"


def test_what_is_recorded_can_be_audited(tmp_path):
    archive = str(tmp_path / "a.tgz")
    made = call("snapshot", "-o", archive, "--interval", "0.01")
    result = call("audit", "--from", archive, "--format", "json")

    assert made.exit_code == 0
    assert json.loads(result.output)["host"]["samples"] == 2


FETCHED = printed(
    texts=[
        ("/proc/sys/kernel/hostname", "lb\n"),
        ("/proc/interrupts", "           CPU0\n 10:         40   IO-APIC  20-fasteoi   enp0s16\n"),
    ]
)


def answer(monkeypatch, texts, probe=None):
    """Let the hosts in *texts* answer with them, and no others; *probe* answers a probe.

    Returns what they will have been given: the script, the seconds it may take, and whether by
    `sudo`.
    """
    given = []

    class Node:
        sent = ""  # a dirtune is installed there

        def __init__(self, name, become):
            self.name = name
            self.become = become

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

        async def run(self, command, *, timeout_s, **_):
            assert isinstance(command, str)
            given.append((command, timeout_s, self.become))
            return texts[self.name]

        async def completed(self, script, *, timeout_s, **_):
            given.append((script, timeout_s, self.become))
            return remote.Finished(0, await probe(self.name), "")

    async def connect(host, *, become, **_):
        if host not in texts:
            raise NodeUnreachable(f"{host}: no route to host")
        return Node(host, become)

    monkeypatch.setattr(remote, "connect", connect)
    return given


def test_the_table_asks_for_nothing_but_what_it_shows(monkeypatch):
    later = FETCHED.replace("40 ", "90 ").replace("5.0", "7.0")
    given = answer(monkeypatch, {"lb1": FETCHED + later})

    result = call("irqs", "--host", "lb1", "--format", "json")

    assert json.loads(result.output)["lines"][0]["per_second"] == 25.0
    ((script, timeout_s, become),) = given
    assert (timeout_s, become) == (182, False)
    first, second = script.split("sleep 2\n")
    assert ("/proc/interrupts" in first, "/proc/interrupts" in second) == (True, True)
    assert ("/sys/bus/pci" in first, "/sys/bus/pci" in second) == (False, True)
    for other in ("/proc/stat", "/proc/[0-9]", "dmesg", "nft", "dirtune netlink", "/sys/module"):
        assert other not in script


def test_several_hosts_and_one_that_cannot_be_reached(tmp_path, monkeypatch):
    texts = dict.fromkeys(("lb1", "lb2"), FETCHED + FETCHED.replace("5.0", "7.0"))
    answer(monkeypatch, texts | {"cut": FETCHED})
    (tmp_path / "hosts").write_text("# ours\ngone\nlb2\ncut\n")
    result = CliRunner().invoke(
        main, ["audit", "--host", "lb1", "--host", f"@{tmp_path}/hosts", "--format", "json"]
    )
    document = json.loads(result.stdout)

    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "dirtune: gone: no route to host"
    assert document["schema"] == "dirtune/audits/1"
    assert [audit["host"]["name"] for audit in document["audits"]] == ["lb1", "lb2"]
    assert [audit["host"]["samples"] for audit in document["audits"]] == [2, 2]
    assert document["unreachable"] == [
        {"host": "gone", "reason": "gone: no route to host"},
        {"host": "cut", "reason": "cut: fetched sources: the output is cut off"},
    ]


PROBED = {"seconds": 1, "handlers": {"seconds": 1, "handlers": [], "line_counts": {}}}
PROFILE = {"schema": "dirtune/profile/1", "seconds": 1, "nodes": [], "probed": PROBED}


def test_hosts_are_probed_at_the_same_time_and_judged_also_without(monkeypatch):
    """No probe is answered before all are asked; one host has another dirtune, one has none."""
    texts = dict.fromkeys(("lb1", "lb2", "old", "bare"), FETCHED + FETCHED.replace("5.0", "7.0"))
    together = asyncio.Barrier(len(texts))

    async def probe(name):
        await asyncio.wait_for(together.wait(), 5)
        if name == "bare":
            raise NotPossible("bare: dirtune: not found")
        return json.dumps({"handlers": []} if name == "old" else PROFILE)

    answer(monkeypatch, texts, probe)
    hosts = (part for name in texts for part in ("--host", name))
    result = call("audit", "--probe=1", "--select", "irq/wasted-isr", "--format", "json", *hosts)
    document = json.loads(result.stdout)

    assert result.exit_code == 2
    assert {a["host"]["name"]: a["outcomes"][0]["status"] for a in document["audits"]} == {
        "lb1": "passed",
        "lb2": "passed",
        "old": "skipped",
        "bare": "skipped",
    }
    old, bare = document["unreachable"]
    assert "old: `dirtune profile --duration=1 " in old["reason"]
    assert bare == {"host": "bare", "reason": "bare: dirtune: not found"}


def test_the_one_host_that_cannot_be_probed_is_judged_without(monkeypatch):
    async def probe(name):
        raise NotInstalled("lb1: dirtune is not installed there. Install it")

    answer(monkeypatch, {"lb1": FETCHED + FETCHED}, probe)
    result = call("audit", "--host", "lb1", "--probe=1")

    assert result.exit_code == 2
    assert "4 passed" in result.stdout
    assert result.stderr == (
        "dirtune: lb1: dirtune is not installed there. Install it, or leave out --probe\n"
    )
    assert call("irqs", "--host", "lb1", "--probe=1").exit_code == 2


def test_a_redacted_record_says_the_same_without_addresses(tmp_path, monkeypatch):
    once = snapshots.samples(snapshots.Source(interval=0.01))
    monkeypatch.setattr(snapshots, "samples", lambda source: once)
    plain, hidden = str(tmp_path / "a.tgz"), str(tmp_path / "b.tgz")
    call("snapshot", "-o", plain)
    made = call("snapshot", "-o", hidden, "--redact")
    host = take_all(load(Path(plain)))
    documents = [
        json.loads(call("audit", "--from", path, "--format", "json").stdout)
        for path in (plain, hidden)
    ]
    texts = "\n".join(text for sample in load(Path(hidden)) for text in sample.files.values())

    assert made.exit_code == 0
    first, second = (
        {(o["check"], f["severity"]) for o in d["outcomes"] for f in o["findings"]}
        for d in documents
    )
    assert first == second
    assert documents[0]["roles"] == documents[1]["roles"]
    for address in own_addresses(host):
        assert not re.search(rf"(?<![\d.]){re.escape(address)}(?![\d.])", texts)
    name = re.escape(host.kernel.hostname)
    assert name == "localhost" or not re.search(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", texts)


WAIVERS = """\
[[waivers]]
check = "irq/shared-with-nic"
subject = "irq 10"
reason = "goes in spring"
expires = 2999-01-31
[[waivers]]
check = "irq/xtpic-mode"
reason = "it was a trial"
expires = 2020-01-31
"""


def test_what_is_waived_is_shown_and_does_not_count(root, tmp_path):
    tree, config = root(NOAPIC), tmp_path / "dirtune.toml"
    config.write_text(WAIVERS)
    argv = ("audit", "--root", tree, "--select", "irq/shared", "--config", str(config))

    result = CliRunner().invoke(main, [*argv, "--format", "json"])
    document = json.loads(result.stdout)

    assert result.exit_code == 0
    (finding,) = document["outcomes"][0]["findings"]
    assert finding["waived"] == {"reason": "goes in spring", "expires": "2999-01-31"}
    assert (document["summary"]["high"], document["summary"]["waived"]) == (0, 1)
    assert document["outcomes"][0]["severity"] is None
    assert "irq/xtpic-mode expired on 2020-01-31" in result.stderr
    assert "1 waived finding is not shown" in call(*argv).output
    rows = call(*argv, "-v").output.splitlines()
    (row,) = (row for row in rows if "irq/shared-with-nic" in row)
    assert "goes in spring" in row
    assert "2999-01-31" in row


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[waivers]]\ncheck = "irq/x"\nexpires = 2030-01-01', "reason"),
        ('[[waivers]]\ncheck = "irq/x"\nreason = "no"', "expires"),
        ('[[waivers]]\ncheck = "irq/x"\nreason = ""\nexpires = 2030-01-01', "reason"),
        ('[[waivers]]\ncheque = "irq/x"', "cheque"),
        ("[[waivers", "not TOML"),
    ],
)
def test_a_waiver_without_reason_or_end_names_the_key(root, tmp_path, text, said):
    config = tmp_path / "dirtune.toml"
    config.write_text(text)

    result = call("audit", "--root", root(NOAPIC), "--config", str(config))

    assert result.exit_code == 2
    assert said in result.output
    assert str(config) in result.output


def test_only_what_is_new_since_the_baseline_counts(root, tmp_path):
    tree, before = root(NOAPIC), tmp_path / "before.json"
    argv = ("audit", "--root", tree, "--select", "irq/shared")
    first = call(*argv, "--format", "json").output
    before.write_text(first)
    new = json.loads(first)
    new["outcomes"][0]["findings"][0]["subject"] = "irq 11"

    again = call(*argv, "--baseline", str(before))
    before.write_text(json.dumps(new))
    other = call(*argv, "--baseline", str(before))

    assert (again.exit_code, other.exit_code) == (0, 1)
    assert "1 known" in again.output
    assert "irq/shared-with-nic" not in again.output
    before.write_text("[]")
    assert call(*argv, "--baseline", str(before)).exit_code == 2


def test_metrics_for_a_textfile(root, tmp_path):
    metrics = tmp_path / "dirtune.prom"
    argv = ("audit", "--root", root(NOAPIC), "--select", "irq/", "--format", "prometheus")

    result = call(*argv, "--output", str(metrics))
    rows = metrics.read_text().splitlines()

    assert (result.exit_code, result.output) == (1, "")
    one = 'host="recorded host",severity="high"'
    assert f"dirtune_audit_findings{{{one}}} 2.0" in rows
    assert (
        'dirtune_audit_finding{check="irq/shared-with-nic",host="recorded host",'
        'severity="high"} 1.0' in rows
    )
    assert any(row.startswith("dirtune_audit_timestamp_seconds ") for row in rows)
    assert call(*argv, "--output", "/nonexistent/a.prom").exit_code == 2
    assert [path.name for path in tmp_path.glob("*.prom*")] == ["dirtune.prom"]
    assert "dirtune_audit_findings{" in call(*argv).output


def test_events_are_one_line_each(root):
    argv = ("audit", "--root", root(NOAPIC), "--select", "irq/", "--format", "jsonl")

    result = call(*argv)
    found = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 1
    assert {event["schema"] for event in found} == {"dirtune/event/1"}
    assert [event["kind"] for event in found] == ["finding", "finding", "audited"]
    assert found[-1]["data"]["summary"]["high"] == 2
    assert call(*argv, "--output", "x.jsonl").exit_code == 2


def test_two_directors_that_differ(root, tmp_path):
    other = tmp_path / "other"
    (other / "proc").mkdir(parents=True)
    (other / "proc/interrupts").write_text(SEPARATE)
    (other / "proc/cmdline").write_text("quiet root=/dev/vdb1\n")
    tree = root(NOAPIC, "quiet noapic root=/dev/vda1")

    result = call("audit", "--diff", tree, str(other), "--format", "json")
    document = json.loads(result.output)
    rows = {(d["section"], d["name"]): (d["a"], d["b"]) for d in document["differences"]}

    assert (result.exit_code, document["schema"]) == (1, "dirtune/difference/1")
    assert rows["boot option", "noapic"] == ("set", None)
    assert rows["interrupt", "enp0s16"] == (
        "XT-PIC, shared with i801_smbus, sym53c8xx",
        "IO-APIC",
    )
    assert not any("root" in name for _, name in rows)
    assert "enp0s16" in call("audit", "--diff", tree, str(other)).output
    same = call("audit", "--diff", tree, tree)
    assert same.exit_code == 0
    assert "no difference" in same.output
    assert "sysctl" in same.output.partition("not compared")[2]
    assert call("audit", "--diff", tree, "/nonexistent/x").exit_code == 2


PLAN = plan_text(director={"host": "lb1", "become": True}, servers=["rs1"], rates=[600])
ROUTES = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 000012C6 00000000 0001 0 0 0 00FFFFFF 0 0 0
eth0 00000000 FE0012C6 0003 0 0 0 00000000 0 0 0
"""
TABLE = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C6120064:0050 rr
  -> C612000B:0050      Masq    1      0          0
"""


def node(name, address, **more):
    """Write down what the script prints on a node, twice."""
    files = [
        ("/proc/sys/kernel/hostname", f"{name}\n"),
        ("/proc/net/fib_trie", f"           |-- {address}\n              /32 host LOCAL\n"),
        ("/proc/net/route", ROUTES),
        ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("/proc/net/snmp", "Tcp: ActiveOpens\nTcp: 5\n"),
        *more.items(),
    ]
    rule = frame("/cmd/ip-rule", "0:\tfrom all lookup local\n")
    return "".join(printed(rule, texts=files, taken_s=at) for at in ("5.0", "7.0"))


def test_a_whole_cluster(tmp_path, monkeypatch):
    (tmp_path / "plan.toml").write_text(PLAN)
    addresses = {"lb1": "198.18.0.1", "rs1": "198.18.0.11", "c1": "198.18.0.77"}

    more = {"lb1": {"/proc/net/ip_vs": TABLE}}
    texts = {name: node(name, at, **more.get(name, {})) for name, at in addresses.items()}
    given = answer(monkeypatch, texts)
    result = call("audit", "--cluster", str(tmp_path / "plan.toml"), "--format", "json")
    document = json.loads(result.output)
    nodes = {audit["host"]["name"]: audit for audit in document["audits"]}

    assert result.exit_code == 1
    assert [become for _, _, become in given] == [True, False, False]
    assert {name: audit["roles"][0] for name, audit in nodes.items()} == {
        "lb1": "director",
        "rs1": "real-server",
        "c1": "client",
    }
    gateway = found(nodes["rs1"])["realserver/nat-gateway"][0]
    assert list(gateway["evidence"]["next_hops"]) == ["198.18.0.77"]
    ports = found(nodes["c1"])["client/ephemeral-ports"][0]
    assert ports["evidence"]["planned_per_second"] == 600
    assert call("audit", "--cluster", "x", "--host", "y").exit_code == 2


def test_explain_lists_and_tells():
    assert "irq/shared-with-nic" in call("explain").output
    page = call("explain", "irq/shared-with-nic").output
    assert page.startswith("# irq/shared-with-nic\n")
    assert "## Why it matters" in page
    listed = json.loads(call("explain", "--format", "json").output)
    assert {"id", "severity", "trust", "title", "page"} == set(listed["checks"][0])


def test_in_a_cluster_the_director_alone_is_probed_by_the_plans_command(tmp_path, monkeypatch):
    plan = PLAN.replace('host = "lb1"', 'host = "lb1"\ndirtune = "/opt/tune/dirtune"', 1)
    (tmp_path / "plan.toml").write_text(plan)

    async def probe(name):
        return json.dumps(PROFILE)

    given = answer(monkeypatch, dict.fromkeys(("lb1", "rs1", "c1"), FETCHED + FETCHED), probe)
    result = call("audit", "--cluster", str(tmp_path / "plan.toml"), "--probe=1", "--format=json")

    assert result.exit_code in {0, 1}
    (script,) = (script for script, *_ in given if "--probes" in script)
    assert script.startswith("exec /opt/tune/dirtune --require-version ")
    assert " profile --duration=1 " in script
