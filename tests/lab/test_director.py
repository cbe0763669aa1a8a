"""The main job on a real director: one boot of the crowded line, used by every test in order.

Expected values come from a second tool on the director (cat, ipvsadm) or from the generator.
`--probe` in an audit, which needs a load, is in test_probes; connections beside ipvsadm's count,
and a client that dies, are in test_generators.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from benches import CROWDED, DIRTUNE, dirtune, hang_up, in_lab, on, plan, sweep

from dirtune import plan as plans
from dirtune import remote
from dirtune.lab import guest, handler_order, state
from dirtune.lab.spec import PAGE_BYTES, VIP
from dirtune.tune import live, turn
from dirtune.tune.decide import Trying

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("booted"), in_lab(CROWDED)]

LINE = re.compile(r"^ *10: +(\d+) +XT-PIC +(.+)$", re.MULTILINE)
NIC, PARTNERS = "enp0s16", {"i801_smbus": 1, "sym53c8xx": 4}


def line_10():
    """The line's count and its actions, as cat(1) on the director shows them."""
    count, actions = LINE.search(on("lb1", "cat /proc/interrupts")).groups()
    return int(count), sorted(actions.split(", "))


def drivers():
    """Which driver holds each PCI function of the director."""
    return on("lb1", "cd /sys/bus/pci/devices; for d in *; do echo $d $(readlink $d/driver); done")


def audit():
    found = json.loads(dirtune("audit", "--host", "lb1", "--format", "json", ok=(0, 1)))
    return {outcome["check"]: outcome for outcome in found["outcomes"]}


def something_loads(client):
    """The client's generator runs; not the one request that comes before the load."""
    end = time.monotonic() + 120
    while not on(client, "pgrep -f '^h2load.*[r]ate-period' || true").strip():
        assert time.monotonic() < end, f"no load on {client}"


def nothing_loads():
    """No client's generator is left, within the time that SSH takes to notice."""
    end = time.monotonic() + 30
    for client in ("c1", "c2", "c3", "c4"):
        while on(client, "pgrep -x h2load || true").strip():
            assert time.monotonic() < end, f"h2load still runs on {client}"
            time.sleep(0.5)


def qemu():
    keeper = psutil.Process(state.folder().record().keeper.pid)
    for process in keeper.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # the load's processes come and go
            if process.name().startswith("qemu-system"):
                return process
    pytest.fail("the director's QEMU is not there")


def test_the_audit_names_the_pic_and_the_shared_line_under_it():
    _, actions = line_10()
    assert actions == sorted([NIC, *(p for p, n in PARTNERS.items() for _ in range(n))])

    found = audit()

    assert found["irq/xtpic-mode"]["severity"] in ("critical", "high")
    (shared,) = found["irq/shared-with-nic"]["findings"]
    assert shared["cause"] == "irq/xtpic-mode"
    assert shared["severity"] == "medium", "the line is idle, and nothing was measured"
    assert sorted(shared["evidence"]["actions"]) == actions
    assert found["ipvs/no-destination"]["status"] == "passed"


def test_the_innocent_handlers_run_for_every_interrupt_of_the_card(tmp_path):
    load = plan(tmp_path, rates=[200], window=10)
    words = (f"--during-bench={load}", "--probes", "irq", "--format", "json")
    found = json.loads(dirtune("profile", *words))

    window = found["probed"]["handlers"]
    interrupts = window["line_counts"]["10"]
    assert interrupts > 1300
    calls = {h["handler"]: h for h in window["handlers"] if h["irq"] == 10}
    assert set(calls) == {NIC, *PARTNERS}
    for name, handlers in PARTNERS.items():
        assert calls[name]["none"] == calls[name]["calls"]
        assert calls[name]["none"] / handlers == pytest.approx(interrupts, rel=0.02)
    assert calls[NIC]["none"] < 0.05 * calls[NIC]["calls"]
    assert {node["node"] for node in found["nodes"]} == {
        *("lb1", "rs1", "rs2", "rs3", "rs4", "c1", "c2", "c3", "c4")
    }
    for node in found["nodes"]:
        states = {name: share["mean"] for name, share in node["states"].items()}
        parts = (states.get(name, 0) for name in ("user", "system", "idle", "iowait", "steal"))
        assert sum(parts) == pytest.approx(100, abs=1), node["node"]


def test_controls_and_cells_go_their_way_and_leave_every_node_as_it_was(tmp_path):
    router = state.folder().spec().with_role("director")[0].load_address
    controls = f'[controls]\ndirect = true\nrouted = true\nrouter = "{router}"\n'
    cell = '[matrix]\nscheduler = ["wlc"]\nreal_servers = [1]\n'
    path = plan(tmp_path, more=f"\n{controls}{cell}", rates=[150], warmup=1)
    seen = [("lb1", "ipvsadm -Sn"), ("lb1", "sysctl -a -r 'conf.*(forwarding|redirects)'")]
    seen += [("c1", "ip route"), ("c4", "ip route")]
    before = [on(node, command) for node, command in seen]

    run = json.loads(dirtune("bench", "run", path, "--out", str(tmp_path), "--format", "json"))

    assert [on(node, command) for node, command in seen] == before
    trials = {trial["id"]: trial for trial in run["trials"] if trial["kind"] == "judged"}
    assert set(trials) == {
        *("direct/r150-1", "routed/r150-1"),
        "scheduler=wlc,real_servers=1/r150-1",
    }
    for trial in trials.values():
        assert trial["validity"] == "valid", trial["reason"]
    direct, routed, cell = trials.values()
    # Only the cell's connections are IPVS's; the routed ones cost the director as well.
    assert (direct["counters"]["connections"], routed["counters"]["connections"]) == (0, 0)
    # A busy machine may read the first sample late, and so make the window shorter than 5 s.
    assert 4 <= cell["window_s"] <= 6
    assert cell["counters"]["connections"] == pytest.approx(150 * cell["window_s"], rel=0.05)
    assert routed["metrics"]["cpu_us_per_connection"] > 100
    assert "cpu_us_per_connection" not in direct["metrics"]
    assert direct["metrics"]["director_idle_percent"] > routed["metrics"]["director_idle_percent"]


def test_a_fix_takes_the_partners_off_the_line_and_unconfirmed_they_come_back():
    held, (_, actions) = drivers(), line_10()
    on("lb1", "dirtune fix apply irq/shared-with-nic --confirm 15")
    assert line_10()[1] == [NIC]

    end = time.monotonic() + 60
    while line_10()[1] != actions:
        assert time.monotonic() < end, "the watchdog did not put the partners back"
        time.sleep(2)
    assert drivers() == held


def test_the_cards_handler_is_put_first_and_last_again_and_the_load_still_passes():
    """As the negative control does it; cat(1) tells the order."""
    held, told = drivers(), []

    async def switched():
        config = state.folder().ssh_config
        async with await remote.connect("lb1", ssh_config=config) as director:
            line = handler_order.shared(await turn.snapshot_of(director))
            switch = handler_order.Switch(director, line, lambda command, note: None)
            for arm in "BA":
                await switch(arm)
                told.append(LINE.search(on("lb1", "cat /proc/interrupts"))[2].split(", "))

    asyncio.run(switched())

    first, last = told
    assert (first[0], last[-1]) == (NIC, NIC)
    assert sorted(first) == sorted(last) == line_10()[1]
    assert drivers() == held
    assert len(on("c1", f"curl -s http://{VIP}/")) == PAGE_BYTES


@pytest.mark.long  # 4 to 5 minutes; the order of turns is tests/tune, on a simulated director
def test_a_fix_is_tuned_on_live_traffic_and_taken_back_without_a_verdict(tmp_path):
    held, rate = drivers(), 100
    h2load = f"h2load --h1 -t 1 -n 20000 -c 20000 -r 1 --rate-period={1000 // rate}ms -T 1s -N 1s"
    script = f"{h2load} -H 'Connection: close' http://{VIP}/ >/dev/null"
    load = subprocess.Popen([*DIRTUNE, "lab", "exec", "c1", "--", script])
    try:
        something_loads("c1")
        # `dirtune tune` refuses a single pair, which gives no verdict.
        traffic = plans.read_traffic(state.folder().plan)
        trying = Trying(live.plan(traffic, 4, 1), ("irq/shared-with-nic",), "live", "a test")
        kept = turn.begin(trying, tmp_path)
        asyncio.run(turn.turn(trying, kept, print, live=True))
    finally:
        on("c1", "kill $(pgrep -x h2load) 2>/dev/null; :")
        load.wait(30)
        nothing_loads()

    run = json.loads((kept.folder / "run.json").read_text())
    assert (run["journal"], run["comparisons"][0]["verdict"]) == (None, "inconclusive")
    assert drivers() == held
    before, after = run["trials"]
    assert (before["arm"], after["arm"]) == ("A", "B")
    for trial in (before, after):
        assert trial["validity"] == "valid", trial["reason"]
        # What was offered, whatever the director says of itself.
        assert trial["metrics"]["connections_per_s"] == pytest.approx(rate, rel=0.25)
    shared = [run["audits"][when]["outcomes"] for when in ("before", "after")]
    found = [next(o for o in each if o["check"] == "irq/shared-with-nic") for each in shared]
    assert [each["status"] for each in found] == ["finding", "passed"]


def test_a_director_without_libbpf_and_headers_says_what_to_install_and_counts():
    """tests/lab/test_ladder.py does so without bcc."""
    script = (
        "mount -t tmpfs none /usr/src; echo no >/usr/src/libbpf.so.1;"
        " LD_LIBRARY_PATH=/usr/src dirtune irqs --probe=3"
    )
    argv = [*DIRTUNE, "lab", "exec", "lb1", "--", f"unshare -m sh -c '{script}'"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    (said,) = [row for row in done.stderr.splitlines() if "the irq probe is unavailable" in row]
    assert "with bcc: The headers of kernel" in said
    assert "apt install libbpf1" in said
    assert "calls are counted by tracefs" in said
    assert " calls" in done.stdout


@pytest.mark.long  # it takes several trials; the error alone is tests/bench/test_campaign.py
def test_a_disk_that_fills_ends_the_run_in_one_line_and_keeps_what_was_written(tmp_path):
    small, out = tmp_path / "small", tmp_path / "small/out"
    small.mkdir()
    asked = plan(tmp_path, rates=[200], repeats=6, window=3, warmup=1)
    script = (
        f"mount -t tmpfs -o size=128k none {small}; "
        f"{' '.join(DIRTUNE)} bench run {asked} --out {out}; "
        f"echo status $?; cat {out}/*/run.json; ls {small}"
    )
    argv = ["unshare", "-m", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    status, _, kept = done.stdout[done.stdout.index("status") :].partition("\n")
    assert status == "status 2"
    (said,) = [row for row in done.stderr.splitlines() if row.startswith("dirtune: ")]
    assert "No space left on device" in said
    assert "Traceback" not in done.stderr
    trials = json.loads(kept[: kept.rindex("}") + 1])["trials"]
    assert trials, "what was measured before is kept"
    nothing_loads()


def test_under_lockdown_the_line_names_it_and_proc_serves():
    """The kernel stays locked down until its next boot, which the next test makes."""
    on("lb1", "echo confidentiality >/sys/kernel/security/lockdown")
    said = on("lb1", "dirtune irqs --probe 2 2>&1")
    doctor = json.loads(on("lb1", "dirtune doctor --format json"))

    assert "Kernel lockdown is in confidentiality mode: Boot with lockdown=integrity" in said
    assert "calls are inferred from /proc/interrupts" in said
    assert all(f"{handler}: " in said for handler in (NIC, *PARTNERS))
    assert {each["probe"]: each["uses"] for each in doctor["probes"]} == dict.fromkeys(
        ("irq", "softirq", "locks", "cpu", "drops", "ipvs")
    ) | {"irq": "proc"}


def test_dropping_the_boot_option_separates_the_lines_after_a_boot():
    etc = state.folder().share / "etc"
    on("lb1", "dirtune fix apply irq/xtpic-mode --confirm 0")
    assert "noapic" not in guest.command_line(etc).split()
    assert "noapic" in (etc / "grub.d/42_dirtune_previous").read_text()

    hang_up("lb1")
    dirtune("lab", "reboot")

    assert "noapic" not in on("lb1", "cat /proc/cmdline").split()
    found = audit()
    above_info = [
        finding["subject"]
        for check, outcome in found.items()
        for finding in outcome["findings"]
        if check.startswith("irq/") and finding["severity"] != "info"
    ]
    assert above_info == []
    assert found["irq/shared-with-nic"]["status"] == "passed"

    on("lb1", "dirtune rollback")

    assert guest.command_line(etc).split()[0] == "noapic"
    assert not (etc / "grub.d/42_dirtune_previous").exists()
    assert not (etc / "default/grub.d/90-dirtune.cfg").exists()


def test_a_killed_qemu_ends_the_run_in_one_line_and_keeps_what_was_measured(tmp_path):
    asked = plan(tmp_path, rates=[200], repeats=2)
    bench = subprocess.Popen(
        [*DIRTUNE, "bench", "run", asked, "--out", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 90
    while not list(tmp_path.glob("*/raw/r*-1")):
        assert time.monotonic() < end
        time.sleep(0.5)
    qemu().kill()
    _, said = bench.communicate(timeout=180)

    assert "Traceback" not in said
    (run,) = tmp_path.glob("*/run.json")
    first, second = sweep(run)
    assert first["replied"] > 1200, "what was measured before is kept"
    assert second["validity"] == "setup_error"
    status = json.loads(dirtune("lab", "status", "--format", "json"))
    assert not status["up"]
    assert "The QEMU of lb1 exited" in status["error"]
    assert Path(state.folder().path).exists(), "its logs can be read until `lab down`"
