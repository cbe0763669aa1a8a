import json
import os
import re
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from dirtune.change import journal, transaction, watchdog
from dirtune.change.action import Saved
from dirtune.change.documents import AppliedDocument
from dirtune.change.record import Begun
from dirtune.cli import _output, main
from tests.change.machine import LINE, build


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A machine that the commands take for this one, and root on it."""
    machine = build(tmp_path / "host")
    boot_id = machine.root / "proc/sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True)
    boot_id.write_text("boot-1\n")
    monkeypatch.setenv("DIRTUNE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DIRTUNE_RUN", str(tmp_path / "run"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("dirtune.host.WritableHost", lambda: machine)
    monkeypatch.setattr("dirtune.host.LiveHost", lambda *root: machine)
    monkeypatch.setattr("dirtune.jobs.snapshots.samples", lambda source: (machine, machine))
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    return machine


def dirtune(*argv):
    return CliRunner().invoke(main, argv)


def dirtune_host():
    from dirtune import host

    return host.WritableHost()


def data(*argv):
    done = dirtune(*argv, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_plan_for_a_recorded_host_prints_the_commands(tmp_path):
    build(tmp_path)

    done = dirtune("fix", "plan", "irq/shared-with-nic", "--root", str(tmp_path))

    assert done.exit_code == 0
    unbind = [row.strip() for row in done.stdout.splitlines() if "echo" in row]
    assert unbind == [
        "echo 0000:00:15.0 > /sys/bus/pci/drivers/sym53c8xx/unbind",
        "echo 0000:00:14.0 > /sys/bus/pci/drivers/sym53c8xx/unbind",
        "echo 0000:00:1f.3 > /sys/bus/pci/drivers/i801_smbus/unbind",
    ]


def test_a_plan_without_checks_is_for_what_the_audit_finds(tmp_path):
    build(tmp_path)

    plan = data("fix", "plan", "--root", str(tmp_path))

    assert plan["schema"] == "dirtune/plan/1"
    assert plan["risk"] == "disruptive"
    assert {change["fix"] for change in plan["changes"]} == {"unbind-partners"}
    # The recorded host has no boot loader that dirtune knows, so an old entry is no question.
    refused = [(r["fix"], r["name"]) for r in plan["refusals"]]
    assert refused == [("drop-noapic", "")]


def test_markdown_fences_the_commands(tmp_path):
    build(tmp_path)

    done = dirtune(
        "fix", "plan", "irq/shared-with-nic", "--root", str(tmp_path), "--format", "markdown"
    )

    assert done.stdout.count("```sh") == 3


def test_the_whole_way_there_and_back(host):
    applied = data("fix", "apply", "irq/shared-with-nic", "--confirm", "0")
    assert (applied["schema"], applied["state"]) == ("dirtune/applied/1", "confirmed")
    assert host.handlers() == ["enp0s16"]

    again = data("fix", "apply", "irq/shared-with-nic")
    assert (again["journal"], again["state"], again["changes"]) == (None, None, [])

    held = data("fix", "verify")["changes"]
    assert [c["holds"] for c in held] == [True, True, True]
    assert {c["on_trial"] for c in held} == {""}
    host.write("/sys/bus/pci/drivers/i801_smbus/bind", "0000:00:1f.3")
    drift = dirtune("fix", "verify")
    assert drift.exit_code == 1
    assert "UNDONE  unbind 0000:00:1f.3" in drift.stdout

    settled = data("rollback", applied["journal"])
    expected = {"journal": applied["journal"], "state": "rolled-back", "already": False}
    assert settled == {"schema": "dirtune/settled/1", **expected}
    assert sorted(host.handlers()) == sorted(LINE.values())
    assert data("rollback")["already"]


def test_a_disruptive_fix_waits_two_minutes_to_be_confirmed(host):
    applied = data("fix", "apply", "irq/shared-with-nic")
    assert (applied["state"], applied["confirm_s"]) == ("applied", 120)

    assert data("confirm")["state"] == "confirmed"
    assert data("confirm")["already"]


def test_without_checks_only_safe_fixes_are_made_and_the_others_named(host):
    done = dirtune("fix", "apply")

    assert done.exit_code == 0
    assert "done: " not in done.stdout
    rows = [set(row.split()) for row in re.sub("[;.]", "", done.stdout).splitlines()]
    for left_out in ({"unbind-partners", "disruptive"}, {"drop-noapic", "reboot"}):
        assert any(left_out <= row for row in rows)
    assert host.handlers() == list(LINE.values())


def test_the_boot_option_goes_and_comes_back(host, monkeypatch):
    (host.root / "boot").mkdir()
    (host.root / "boot/vmlinuz-6.1").write_text("")
    (host.root / "proc/sys/kernel/osrelease").write_text("6.1\n")
    monkeypatch.setattr("shutil.which", {"update-grub": "/usr/sbin/update-grub"}.get)
    before = sorted((host.root / "etc").rglob("*"))

    done = dirtune("fix", "apply", "irq/xtpic-mode")

    assert "take effect at the next boot" in done.stdout
    assert (host.root / "etc/default/grub.d/90-dirtune.cfg").exists()
    assert (host.root / "etc/grub.d/42_dirtune_previous").stat().st_mode & 0o111
    assert host.ran == [("update-grub",)]
    assert dirtune("rollback").exit_code == 0
    assert sorted((host.root / "etc").rglob("*")) == before
    assert host.ran == [("update-grub",)] * 2


def test_what_is_for_a_person_is_said_where_it_was_asked_for(host):
    (host.root / "proc/cmdline").write_text("quiet\n")

    assert data("fix", "plan")["refusals"] == []
    (refused,) = data("fix", "plan", "irq/xtpic-mode")["refusals"]
    assert "must be fixed by hand" in refused["why"]


@pytest.fixture
def master(host):
    """Run what may be a VRRP master."""
    (host.root / "proc/7").mkdir()
    stat = f"7 (keepalived) S 1 {' '.join(['0'] * 48)}\n"
    (host.root / "proc/7/stat").write_text(stat)
    return host


def test_a_vrrp_master_is_disrupted_for_a_reason_that_is_kept(master, tmp_path):
    host = master
    refused = dirtune("fix", "apply", "irq/shared-with-nic")
    assert (refused.exit_code, "VRRP master" in refused.stderr) == (2, True)
    assert host.handlers() == list(LINE.values())
    for silent in ("", " ", "=the backup serves"):
        refused = dirtune("fix", "apply", "irq/shared-with-nic", "--force", silent)
        assert (refused.exit_code, "--force needs NAME" in refused.stderr) == (2, 1)
    for other in ("ssh", "ssh=I am on the console", "0000:00:14.0", "vrpp=the backup serves"):
        refused = dirtune("fix", "apply", "irq/shared-with-nic", "--force", other)
        assert (
            refused.exit_code,
            "no refusal has this name. Choose from vrrp" in refused.stderr,
        ) == (
            2,
            1,
        )
    assert host.handlers() == list(LINE.values())

    data("fix", "apply", "irq/shared-with-nic", "--force", "the backup serves")
    assert host.handlers() == ["enp0s16"]
    (journal,) = (tmp_path / "state").glob("*.journal")
    assert '"forced":"the backup serves"' in journal.read_text()


def test_what_is_overruled_beside_what_cannot_be_is_asked_once(host):
    # Neither update-grub nor an image in /boot: the second can be overruled, the first cannot.
    done = dirtune("fix", "apply", "irq/xtpic-mode", "--force", "no-old-entry")

    assert (done.exit_code, "no GRUB that reads drop-in files" in done.stderr) == (2, True)
    assert "no-old-entry" not in done.stderr


def test_each_thing_that_is_refused_is_overruled_by_itself(master, tmp_path):
    # Two partners are refused for a VRRP master. The third has a disk: only once that is overruled
    # is it refused for the master too.
    disk = master.root / "sys/bus/virtio/devices/virtio9"
    disk.parent.mkdir(parents=True)
    disk.symlink_to("../../../devices/pci0000:00/0000:00:14.0/virtio9")
    apply = ("fix", "apply", "irq/shared-with-nic")

    both = dirtune(*apply, "--force", "the backup serves")
    assert both.exit_code == 2
    assert both.stderr == (
        "dirtune: --force the backup serves: no refusal has this name. "
        "Choose from 0000:00:14.0, vrrp.\n"
    )
    mixed = dirtune(*apply, "--force", "vrrp", "--force", "the backup serves")
    assert (mixed.exit_code, "0000:00:14.0" in mixed.stderr) == (2, True)
    assert len(master.handlers()) == len(LINE)
    done = dirtune(*apply, "--force", "vrrp=the backup serves")
    assert "0000:00:14.0 (sym53c8xx) carries virtio9" in done.stdout
    assert "--force 0000:00:14.0 " in done.stdout
    assert sorted(master.handlers()) == ["enp0s16", "sym53c8xx"]
    data("confirm")

    data(*apply, "--force", "vrrp", "--force", "0000:00:14.0=its disk is spare")
    assert master.handlers() == ["enp0s16"]
    said = [journal.read_text() for journal in sorted((tmp_path / "state").glob("*.journal"))]
    assert '"forced":"vrrp=the backup serves"' in said[0]
    assert '"forced":"vrrp, 0000:00:14.0=its disk is spare"' in said[1]


def test_a_confirmation_that_was_cut_off_can_be_made_again(lost, tmp_path):
    data("fix", "apply", "ipvs/sysctl-lost", "--persist", "--confirm", "60")
    kept = lost.root / "etc/sysctl.d/90-dirtune.conf"
    kept.write_text(f"{LOST} = 1\n")
    (path,) = (tmp_path / "state").glob("*.journal")
    journal.append(path, Begun(1, Saved()))

    assert data("confirm")["state"] == "confirmed"

    assert kept.read_text() == f"{LOST} = 1\n"
    dirtune("rollback")
    assert not kept.exists()


LOST = "net.ipv4.vs.expire_nodest_conn"
LIVE = "proc/sys/net/ipv4/vs/expire_nodest_conn"


@pytest.fixture
def lost(host):
    """A director whose setting is not what a file says."""
    for path, text in {
        LIVE: "0\n",
        "etc/sysctl.d/50-lvs.conf": f"{LOST} = 1\n",
        "etc/modules-load.d/x": "",
        "proc/7/stat": f"7 (tuned) S 1 {' '.join(['0'] * 48)}\n",
        "proc/net/ip_vs": "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        "TCP  C6120064:0050 rr  \n"
        "  -> C612000B:0050      Route   1      0          0         \n",
    }.items():
        (host.root / path).parent.mkdir(parents=True, exist_ok=True)
        (host.root / path).write_text(text)
    return host


def test_a_plan_says_what_keeps_it_and_what_competes(lost):
    said = dirtune("fix", "plan", "ipvs/sysctl-lost").stdout

    assert f"echo 1 > /{LIVE}" in said
    assert "tuned" in said.split()
    rows = said.splitlines()
    assert any({"--persist", "/etc/sysctl.d/90-dirtune.conf"} <= set(row.split()) for row in rows)


def test_the_plan_as_files(lost, tmp_path):
    folder = tmp_path / "out"

    done = dirtune("fix", "plan", "ipvs/sysctl-lost", "--output", str(folder))

    assert done.exit_code == 0, done.output
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == [
        "apply.sh",
        "etc/modules-load.d/dirtune.conf",
        "etc/sysctl.d/90-dirtune.conf",
    ]
    assert (lost.root / LIVE).read_text() == "0\n"
    again = dirtune("fix", "plan", "ipvs/sysctl-lost", "--output", str(folder))
    assert (again.exit_code, "is not empty" in again.stderr) == (2, True)


def test_persisting_waits_for_the_confirmation(lost):
    kept = lost.root / "etc/sysctl.d/90-dirtune.conf"

    data("fix", "apply", "ipvs/sysctl-lost", "--persist", "--confirm", "60")
    assert (lost.root / LIVE).read_text() == "1"
    assert not kept.exists()
    assert data("confirm")["state"] == "confirmed"
    assert kept.read_text() == f"{LOST} = 1\n"
    assert data("rollback")["state"] == "rolled-back"
    assert not kept.exists()
    assert (lost.root / LIVE).read_text() == "0\n"


def test_a_confirmation_that_fails_takes_everything_back(lost):
    data("fix", "apply", "ipvs/sysctl-lost", "--persist", "--confirm", "60")
    (lost.root / "etc/modules-load.d/x").unlink()
    (lost.root / "etc/modules-load.d").rmdir()
    (lost.root / "etc/modules-load.d").write_text("")

    done = dirtune("confirm")

    assert done.exit_code == 2
    assert "modules-load.d/dirtune.conf: Not a directory. Everything was" in done.stderr
    assert (lost.root / LIVE).read_text() == "0\n"
    assert data("rollback")["already"]


def test_every_command_says_what_is_open(lost):
    data("fix", "apply", "ipvs/sysctl-lost", "--confirm", "60")

    for argv in (("explain",), ("fix", "verify"), ("fix", "plan", "irq/shared-with-nic")):
        (row,) = dirtune(*argv).stderr.splitlines()
        assert row.startswith("dirtune: ")
        assert "unless you run: dirtune confirm" in row
    assert dirtune("confirm").stderr == ""
    assert dirtune("explain").stderr == ""


def test_what_another_network_tells_is_named_and_not_taken_for_held(lost, monkeypatch):
    applied = data("fix", "apply", "ipvs/sysctl-lost")
    monkeypatch.setattr(
        "dirtune.change.network.is_elsewhere", lambda name: name.startswith("net:[")
    )

    said = dirtune("fix", "verify")

    assert (said.exit_code, "holds" in said.stdout) == (1, False)
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"dirtune: {applied['journal']} was made in another network namespace")
    assert dirtune("fix", "verify", "irq/shared-with-nic").exit_code == 0


def test_what_a_later_journal_set_anew_is_not_undone(lost):
    data("fix", "apply", "ipvs/sysctl-lost")
    (lost.root / LIVE).write_text("0\n")
    said = dirtune("fix", "verify")
    assert (said.exit_code, said.stdout.count("UNDONE")) == (1, 1)

    data("fix", "apply", "ipvs/sysctl-lost")

    said = dirtune("fix", "verify")
    assert (said.exit_code, said.stdout.count("holds"), "UNDONE" in said.stdout) == (0, 1, False)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("fix", "apply", "irq/xtpic-mode"), "no GRUB that reads drop-in files"),
        (("fix", "apply", "no/such"), "No such check: no/such. `dirtune explain` lists them."),
        (("rollback",), "holds no journal"),
        (("rollback", "x"), "no journal x."),
        (("confirm",), "holds no journal"),
    ],
)
@pytest.mark.usefixtures("host")
def test_what_cannot_be_done_is_one_line_and_2(argv, said, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)

    done = dirtune(*argv)

    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("argv", [("fix", "apply"), ("confirm",), ("rollback",)])
def test_changing_the_host_needs_root(argv, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    done = dirtune(*argv)

    assert done.exit_code == 2
    assert "needs root. Run it with sudo" in done.stderr


def test_a_record_that_is_not_there_is_no_host_with_nothing_to_do(tmp_path):
    done = dirtune("fix", "plan", "--root", str(tmp_path / "absent"))

    assert done.exit_code == 2
    assert "absent is not a folder" in done.stderr


def test_what_the_audit_could_not_judge_is_said_where_it_was_named(tmp_path):
    # Whether a virtio device without a known driver is a card, this table alone does not tell.
    (tmp_path / "proc").mkdir()
    row = " 10:   4000   IO-APIC  10-fasteoi   virtio5, virtio3\n"
    (tmp_path / "proc/interrupts").write_text(f"           CPU0\n{row}")

    said = dirtune("fix", "plan", "irq/shared-with-nic", "--root", str(tmp_path)).stdout

    assert "irq/shared-with-nic could not be decided: irq 10 is shared by virtio5" in said


def test_a_journal_that_cannot_be_read_is_named_and_hinders_no_other(lost, tmp_path):
    data("fix", "apply", "ipvs/sysctl-lost")
    assert dirtune("fix", "verify").exit_code == 0
    broken = tmp_path / "state/x.journal"
    broken.write_text("rubbish\n")
    named = f"{broken}: the journal is damaged (line 1: "

    verified = dirtune("fix", "verify")
    assert verified.exit_code == 1
    assert named in verified.output
    taken_back = dirtune("rollback")
    assert taken_back.exit_code == 0
    assert named in taken_back.output
    refused = dirtune("fix", "apply", "ipvs/sysctl-lost")
    assert refused.exit_code == 2
    assert "Until then dirtune changes nothing." in refused.output
    broken.unlink()
    assert dirtune("fix", "apply", "ipvs/sysctl-lost").exit_code == 0


AS_NOBODY = """
import os
from dirtune import cli
from dirtune.change import transaction

os.setuid(65534)
assert list(transaction.place().state.glob("*.journal")) == []
cli._say_what_is_open(settling=False)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_may_not_settle_it_is_told_nothing(lost, tmp_path):
    data("fix", "apply", "ipvs/sysctl-lost", "--confirm", "60")
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_mode & 0o1001 == 0:
            above.chmod(0o711)

    done = subprocess.run(
        (sys.executable, "-c", AS_NOBODY), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "unless you run: dirtune confirm" in dirtune("explain").output


@pytest.mark.parametrize("amount", ["inf", "nan", "1e300"])
@pytest.mark.parametrize(
    "words",
    [
        ("fix", "apply", "--confirm"),
        ("lvs", "apply", "--confirm"),
        ("lvs", "apply", "--drain-wait"),
        ("tune", "--live"),
        ("audit", "--interval"),
    ],
)
@pytest.mark.usefixtures("host")
def test_a_time_that_has_no_end_is_no_time_to_wait(words, amount):
    done = dirtune(*words, amount)

    assert done.exit_code == 2
    assert "is not a number of at most" in done.stderr


@pytest.mark.parametrize("words", [(), ("irq/shared-with-nic",)])
@pytest.mark.usefixtures("host")
def test_what_the_watchdog_took_back_does_not_verify(words):
    data("fix", "apply", "irq/shared-with-nic", "--confirm", "1")
    path = journal.find(transaction.place().state, None)
    watchdog.watch(path, transaction.place(), dirtune_host())

    done = dirtune("fix", "verify", *words)

    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"dirtune: {path.stem} was rolled back: not confirmed in time. Apply the changes again."
    ]


@pytest.mark.usefixtures("host")
def test_what_a_person_took_back_or_applied_again_verifies():
    data("fix", "apply", "irq/shared-with-nic", "--confirm", "60")
    dirtune("rollback")
    assert dirtune("fix", "verify").exit_code == 0

    data("fix", "apply", "irq/shared-with-nic", "--confirm", "1")
    at = transaction.place()
    watchdog.watch(journal.find(at.state, None), at, dirtune_host())
    data("fix", "apply", "irq/shared-with-nic", "--confirm", "60")

    assert dirtune("fix", "verify").exit_code == 0


def test_a_fix_on_trial_is_told_from_one_that_a_person_applied(host):
    data("fix", "apply", "irq/shared-with-nic", "--on-trial", "20260102-030405")

    held = data("fix", "verify")["changes"]

    assert {change["on_trial"] for change in held} == {"20260102-030405"}


@pytest.mark.parametrize("undone", [True, False])
@pytest.mark.usefixtures("host")
def test_an_apply_that_was_not_confirmed_in_time_does_not_exit_as_if_it_had_been(
    monkeypatch, undone
):
    """Whoever reads the output may be slow."""
    result = _output.result

    def slow(*words, **options):
        result(*words, **options)
        time.sleep(0.1)
        at = transaction.place()
        if undone:
            watchdog.watch(journal.find(at.state, None), at, dirtune_host())

    monkeypatch.setattr(_output, "result", slow)
    done = dirtune("fix", "apply", "irq/shared-with-nic", "--confirm", "0.05")

    assert done.exit_code == 2
    (line,) = [row for row in done.stderr.splitlines() if "confirmed in time" in row]
    assert ("was rolled back" in line) is undone


def test_reapply_on_another_host_is_asked_of_the_dirtune_there(monkeypatch):
    asked = []

    def applied(host, words):
        asked.append((host, words))
        return AppliedDocument(
            journal="000003-x",
            state="applied",
            confirm_s=60.0,
            risk=None,
            changes=(),
            refusals=(),
            left_out=(),
        )

    monkeypatch.setattr("dirtune.jobs.far_hosts.applied", applied)
    done = dirtune("fix", "reapply", "000002-x", "--confirm", "60", "--host", "lb1")

    assert done.exit_code == 0, done.output
    assert asked == [("lb1", ("reapply", "000002-x", "--confirm=60"))]
    assert "000003-x" in done.stdout
