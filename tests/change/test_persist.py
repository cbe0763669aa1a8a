"""What keeps a change over a reboot, against the formats' own manuals."""

import subprocess

import pytest

from dirtune.change import boot_files, persist
from dirtune.change.actions.bind import Bind
from dirtune.change.actions.edit_ipvs import EditIpvs
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.unbind import Unbind
from dirtune.change.fixes import irqbalance, module_options
from dirtune.change.plan import Change, Plan
from dirtune.checks import Risk
from dirtune.collect.net import Interface
from dirtune.collect.processes import Process
from dirtune.collect.settings_files import SettingsFiles, parse_sysctl_conf
from dirtune.collect.sysctls import Sysctls
from dirtune.lvs.model import Service, Table, Timeouts
from dirtune.render import fix_files
from dirtune.settings import IrqbalanceVariable, ModuleOptions
from dirtune.snapshot import Snapshot

VS = "/proc/sys/net/ipv4/vs/conn_reuse_mode"
BACKLOG = "/proc/sys/net/core/netdev_max_backlog"


def change(action, lasting=False):
    return Change(action, Risk.SAFE, "nic/x", "f", "t", lasting=lasting)


def files(*actions, texts=None):
    plan = persist.lasting(Plan(tuple(map(change, actions))), texts or {})
    added = plan.changes[len(actions) :]
    assert all(each.lasting for each in added)
    return {c.action.path: c.action.after for c in added if isinstance(c.action, PutFile)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "net.core.netdev_max_backlog = 0\n"),
        ("vm.swappiness = 1\n", "vm.swappiness = 1\nnet.core.netdev_max_backlog = 0\n"),
        ("net.core.netdev_max_backlog = 5\na.b = 1\n",
         "a.b = 1\nnet.core.netdev_max_backlog = 0\n"),
    ],
)  # fmt: skip
def test_a_sysctl_replaces_its_own_row_and_no_other(before, after):
    found = files(SetValue(BACKLOG, "1", "0"), texts={boot_files.SYSCTL: before})

    assert found == {boot_files.SYSCTL: after}
    assert parse_sysctl_conf(after)["net/core/netdev_max_backlog"] == "0"


def test_what_is_kept_already_is_not_kept_again():
    texts = {boot_files.SYSCTL: "net.core.netdev_max_backlog = 0\n"}

    assert files(SetValue(BACKLOG, "1", "0"), texts=texts) == {}
    assert files() == {}


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_a_line_of_others_ends_where_its_reader_ends_it(end):
    """Parted as Python parts lines, the rest of a comment would be a setting."""
    kept = f"# until 2024:{end}options ip_vs conn_tab_bits=8\n"
    setting = ModuleOptions("ip_vs", {"conn_tab_bits": "20"})
    variable = IrqbalanceVariable("IRQBALANCE_ARGS", "x")

    found = files(SetValue(BACKLOG, "1", "0"), texts={boot_files.SYSCTL: kept})

    assert found == {boot_files.SYSCTL: f"{kept}net.core.netdev_max_backlog = 0\n"}
    assert module_options.with_options(kept, setting) == f"{kept}{setting.row}\n"
    assert irqbalance.with_variable(kept, variable) == f'{kept}IRQBALANCE_ARGS="x"\n'


def test_a_module_comes_before_its_settings():
    found = files(SetValue(VS, "1", "0"), texts={boot_files.MODULES: "ip_vs_rr\n"})

    assert found[boot_files.MODULES] == "ip_vs_rr\nip_vs\n"
    assert found[boot_files.SYSCTL] == "net.ipv4.vs.conn_reuse_mode = 0\n"


def test_cards_queues_and_functions_are_set_when_udev_finds_them():
    found = files(
        SetNic("eth0", "rings", {"rx": 256}, {"rx": 512}),
        SetNic("eth0", "features", {"rx-gro": 1}, {"rx-gro": 0}),
        SetValue("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0", "3"),
        Unbind("0000:00:14.0", "sym53c8xx"),
        Bind("0000:00:15.0", "vfio-pci"),
    )

    net = 'ACTION=="add|move", SUBSYSTEM=="net", KERNEL=="eth0", '
    pci = 'ACTION=="add", SUBSYSTEM=="pci", KERNEL=="0000:00:1{}.0", ATTR{{driver_override}}="{}"'
    assert found[boot_files.UDEV].splitlines() == [
        net + 'RUN+="/sbin/ethtool -G eth0 rx 512"',
        net + 'RUN+="/sbin/ethtool -K eth0 gro off"',
        net + 'ATTR{queues/rx-0/rps_cpus}="3"',
        pci.format(4, "none"),
        pci.format(5, "vfio-pci"),
    ]
    later = files(
        SetNic("eth0", "rings", {"rx": 512}, {"rx": 1024}),
        texts={boot_files.UDEV: found[boot_files.UDEV]},
    )
    assert 'rx 512"' not in later[boot_files.UDEV]
    assert later[boot_files.UDEV].count("\n") == 5


def test_an_interrupt_is_found_again_by_its_name(tmp_path):
    found = files(SetAffinity("24", "0-3", "2", "eth0-rx-0"))

    for irq in ("24", "31"):
        (tmp_path / irq / ("eth0-rx-0" if irq == "31" else "other")).mkdir(parents=True)
    script = found[boot_files.SCRIPT].replace("/proc/irq", str(tmp_path))
    subprocess.run(("sh", "-eu", "-c", script), check=True)
    assert (tmp_path / "31/smp_affinity_list").read_text() == "2\n"
    assert not (tmp_path / "24/smp_affinity_list").exists()
    assert f"ExecStart=/bin/sh {boot_files.SCRIPT}\n" in found[boot_files.UNIT]


def test_the_unit_is_enabled_once_and_disabled_with_its_file():
    def runs(texts):
        plan = Plan((change(SetAffinity("24", "0-3", "2", "eth0-rx-0")),))
        changes = persist.lasting(plan, texts).changes
        return [c.action for c in changes if isinstance(c.action, Run)], changes

    (run,), changes = runs({})
    assert run == Run(
        ("systemctl", "enable", "dirtune-boot.service"),
        ("systemctl", "disable", "dirtune-boot.service"),
    )
    unit = next(
        c.action.after for c in changes if getattr(c.action, "path", "") == boot_files.UNIT
    )
    assert runs({boot_files.UNIT: unit})[0] == []


def test_files_for_people_who_keep_their_settings_elsewhere(tmp_path):
    value = tmp_path / "value"
    made = Plan((change(SetValue(str(value), "1", "0")), change(SetValue(BACKLOG, "1", "0"))))
    boot = change(PutFile("/etc/modprobe.d/dirtune.conf", None, "options a b=1\n"), lasting=True)
    plan = Plan((*made.changes, boot))

    found = fix_files.files(plan, persist.lasting(plan, {}))

    script, mode = found["apply.sh"]
    assert mode == 0o755
    assert f"echo 0 > {BACKLOG}\n" in script
    subprocess.run(("sh", "-c", script.replace(BACKLOG, str(tmp_path / "backlog"))), check=True)
    assert value.read_text() == "0\n"
    assert found["etc/modprobe.d/dirtune.conf"] == ("options a b=1\n", 0o644)
    assert found["etc/sysctl.d/90-dirtune.conf"][0] == "net.core.netdev_max_backlog = 0\n"
    assert "options a" not in script


# --- who changed it back ---


def host(*names, sysctls=None, file=None):
    return Snapshot(
        processes=tuple(Process(7, n, False, 0, 0, "other", 0) for n in names),
        sysctls=Sysctls(sysctls or {}),
        settings_files=SettingsFiles(file or {}, frozenset(), {}, "balanced"),
        interfaces=(Interface("eth0", None, None, True, 0, 0),),
    )


NAME = "net/core/netdev_max_backlog"


@pytest.mark.parametrize(
    ("action", "snapshot", "who"),
    [
        (SetAffinity("24", "0", "1"), host("irqbalance", "bash"), ("irqbalance",)),
        (SetAffinity("24", "0", "1"), host("bash"), ()),
        (SetNic("eth0", "rings", {}, {}), host("NetworkManager"), ("NetworkManager",)),
        (SetValue(VS, "1", "0"), host("keepalived", "tuned"), ("keepalived", "tuned (balanced)")),
        (SetValue(BACKLOG, "1", "0"),
         host(sysctls={NAME: "1000"}, file={NAME: ("1000", "/etc/sysctl.conf")}),
         ("/etc/sysctl.conf",)),
        (SetValue(BACKLOG, "1", "0"),
         host(sysctls={NAME: "1000"}, file={NAME: ("7", "/etc/sysctl.conf")}), ()),
        (Run(("x",)), host("tuned"), ()),
        (SetValue(BACKLOG, "1", "0"), Snapshot(), ()),
    ],
)  # fmt: skip
def test_who_sets_the_same_otherwise(action, snapshot, who):
    assert action.suspects(snapshot) == who


def test_what_an_edit_of_ipvs_sets():
    web = Service("tcp", "198.18.0.100", 80, "rr")
    dns = Service("udp", "198.18.0.100", 53, "rr")
    edit = EditIpvs(Table((web,), Timeouts(1, 2, 3)), Table((web, dns)))

    assert edit.targets == {
        *("IPVS TCP 198.18.0.100:80", "IPVS UDP 198.18.0.100:53", "IPVS timeouts")
    }


def test_one_target_has_one_name():
    assert SetValue(VS, "1", "0").targets == SetValue(VS, "0", "2").targets != frozenset()
    assert (
        SetNic("e", "rings", {}, {"rx": 1}).targets != SetNic("e", "rings", {}, {"tx": 1}).targets
    )
    assert Unbind("a", "b").targets == Bind("a", "c").targets
    assert Run(("x",)).targets == frozenset()
    both = SetNic("e", "rings", {}, {"rx": 1, "tx": 2}).targets
    assert both & SetNic("e", "rings", {}, {"rx": 9}).targets == {"e rings rx"}
