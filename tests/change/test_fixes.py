import os
import subprocess
from dataclasses import replace

import pytest

from dirtune import checks
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.unbind import Unbind
from dirtune.change.fixes import (
    Question,
    Request,
    Surroundings,
    all_fixes,
    ask,
    by_themselves,
    findings,
    named,
)
from dirtune.change.fixes.boot_options import FIX as BOOT
from dirtune.change.fixes.unbind_partners import FIX as UNBIND
from dirtune.change.surroundings import look_around, ssh_connection
from dirtune.checks import Risk, discovery
from dirtune.collect.cmdline import parse_cmdline
from dirtune.collect.interrupts import parse_interrupts
from dirtune.collect.kernel import Kernel
from dirtune.collect.mounts import parse_mounts
from dirtune.collect.pci import Block, PciDevice
from dirtune.errors import PlanError
from dirtune.host import RecordedHost
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot, take
from tests.change.machine import NIC, SCSI, SCSI2, SMBUS

ETHERNET, STORAGE = 0x020000, 0x010000


def line(*actions, irq=10, chip="IO-APIC   10-fasteoi"):
    return parse_interrupts(f"           CPU0\n {irq}:   42   {chip}   {', '.join(actions)}\n")


def card(**fields):
    return PciDevice(NIC, ETHERNET, "e1000", irq=10, nets=("enp0s16",), **fields)


def partner(address=SCSI, driver="sym53c8xx", code=STORAGE, **fields):
    return PciDevice(address, code, driver, irq=10, **fields)


def host(*devices, actions=("sym53c8xx", "enp0s16")):
    return Snapshot(interrupts=line(*actions), pci=(card(), *devices), mounts=(), swaps=())


def planned(snapshot, **options):
    plan = UNBIND.plan(Question(snapshot, **options))
    return [change.action for change in plan.changes], [refusal.why for refusal in plan.refusals]


def test_every_partner_is_unbound_the_last_on_the_line_first(machine):
    plan = UNBIND.plan(Question(take(machine)))

    assert [change.action for change in plan.changes] == [
        Unbind(SCSI2, "sym53c8xx", "10", "sym53c8xx"),
        Unbind(SCSI, "sym53c8xx", "10", "sym53c8xx"),
        Unbind(SMBUS, "i801_smbus", "10", "i801_smbus"),
    ]
    assert plan.refusals == ()
    assert {change.risk for change in plan.changes} == {"disruptive"}


def test_once_unbound_nothing_is_left_to_do(machine):
    for device, driver in ((SCSI, "sym53c8xx"), (SCSI2, "sym53c8xx"), (SMBUS, "i801_smbus")):
        machine.write(f"/sys/bus/pci/drivers/{driver}/unbind", device)

    assert planned(take(machine)) == ([], [])


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (partner(blocks=(Block("sda1", "8:1"),)), "mounted file system /srv"),
        (partner(blocks=(Block("sdb", "8:16"),)), "swap on /dev/sdb"),
        (partner(blocks=(Block("sdc", "8:32", ("dm-0",)),)), "dm-0"),
        (partner(usb=("1-2",)), "USB devices plugged in: 1-2"),
        (partner(inputs=("input3",)), "keyboard"),
        (partner(nets=("eth1",)), "carries the interface eth1"),
        (partner(code=0x060400), "bridge"),
        (partner(code=0x030000), "may be the console"),
        (partner(code=0x070002), "may be the console"),
        (partner(virtio=("virtio0",)), "virtio0"),
    ],
)
def test_a_device_in_use_is_left_alone_unless_forced(device, why):
    mounts = parse_mounts("30 1 8:1 / /srv rw - ext4 /dev/sda1 rw\n")
    snapshot = replace(host(device), mounts=mounts, swaps=("/dev/sdb",))

    (no_action, (reason,)) = planned(snapshot)

    assert no_action == []
    assert why in reason
    assert planned(snapshot, force={SCSI}) == ([Unbind(SCSI, "sym53c8xx", "10", "sym53c8xx")], [])


def test_an_idle_disk_does_not_hold_its_controller():
    actions, refused = planned(host(partner(blocks=(Block("sdd", "8:48"),))))

    assert (len(actions), refused) == (1, [])


def test_what_is_mounted_must_be_known():
    snapshot = replace(host(partner(blocks=(Block("sdd", "8:48"),))), mounts=None)

    assert planned(snapshot)[0] == []


def test_the_refused_stays_and_the_rest_goes():
    smbus = partner(SMBUS, "i801_smbus", 0x0C0500)
    busy = partner(blocks=(Block("sdc", "8:32", ("md0",)),))

    actions, refused = planned(host(busy, smbus, actions=("i801_smbus", "sym53c8xx", "enp0s16")))

    assert actions == [Unbind(SMBUS, "i801_smbus", "10", "i801_smbus")]
    assert len(refused) == 1


def test_a_second_card_is_no_partner_to_unbind():
    other = PciDevice("0000:00:11.0", ETHERNET, "e1000", irq=10, nets=("enp0s17",))

    actions, refused = planned(host(other, actions=("enp0s16", "enp0s17")))

    assert actions == []
    assert refused == ["carries the interface enp0s17"]


def test_more_functions_than_handlers_cannot_be_told_apart():
    actions, (why,) = planned(host(partner(), partner(SCSI2)))

    assert actions == []
    assert "2 PCI functions" in why
    assert "only 1 of them registered a handler" in why


def test_a_name_without_a_function_is_not_guessed_even_by_force():
    for forced in ({}, {"megasas", "", SCSI}):
        actions, (why,) = planned(host(actions=("megasas", "enp0s16")), force=forced)
        assert actions == []
        assert "no PCI function on irq 10" in why


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(),
        host(partner(), actions=("sym53c8xx", "ahci")),
        host(actions=("enp0s16",)),
        replace(host(partner()), interrupts=line("a", "eth0-TxRx-0", irq=30, chip="PCI-MSI")),
    ],
    ids=["nothing known", "no card", "alone", "messages"],
)
def test_other_lines_are_nobodys_business(snapshot):
    assert planned(snapshot) == ([], [])


# --- boot-options ---

DROP_IN = "/etc/default/grub.d/90-dirtune.cfg"
ENTRY = "/etc/grub.d/42_dirtune_previous"
DEBIAN = Surroundings(
    paths=frozenset(
        {
            "/etc/default/grub.d",
            "/etc/grub.d",
            "/boot/vmlinuz-6.1.0-9",
            "/boot/initrd.img-6.1.0-9",
            "/boot/grub/grub.cfg",
        }
    ),
    commands=frozenset({"update-grub"}),
)
OLD = 'BOOT_IMAGE=/boot/vmlinuz-6.1.0-9 root=/dev/sda1 noapic dyndbg="file a.c +p" quiet'
PIC = Snapshot(kernel=Kernel("lb1", "6.1.0-9", None), cmdline=parse_cmdline(OLD), mounts=())


def asked(*options):
    return (
        Request("irq/xtpic-mode", "irq 10", checks.Fix("f", "t", Risk.REBOOT, (), (), options)),
    )


NOAPIC = asked(BootOption("noapic"))


def drop(snapshot=PIC, around=DEBIAN, asked=NOAPIC, **options):
    plan = BOOT.plan(Question(snapshot, around, asked, **options))
    return [change.action for change in plan.changes], [refusal.why for refusal in plan.refusals]


def text(path, actions):
    return next(a.after for a in actions if isinstance(a, PutFile) and a.path == path)


def test_the_menu_is_made_after_the_files_in_both_directions():
    actions, refused = drop()

    assert refused == []
    assert actions[0] == Run(undo_argv=("update-grub",))
    assert [action.path for action in actions[1:3]] == [DROP_IN, ENTRY]
    assert actions[2].mode == 0o755
    assert actions[3:] == [Run(argv=("update-grub",))]


def shell(script, folder):
    argv = ("sh", "-eu", "-c", script, "sh", str(folder))
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("noapic", ""),
        ("noapic quiet", "quiet"),
        ("quiet noapic", "quiet"),
        ("a noapic b", "a b"),
        ("a noapic noapic b noapic", "a b"),
        ("a\tnoapic\tb", "a b"),
        ("noapictimer nonoapic x=noapic", "noapictimer nonoapic x=noapic"),
        ("root=/dev/mapper/a*b p='1 2' q=\\$x %s", "root=/dev/mapper/a*b p='1 2' q=\\$x %s"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("name", ["GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"])
def test_the_drop_in_takes_the_word_from_any_place(tmp_path, before, after, name):
    (tmp_path / "drop-in").write_text(text(DROP_IN, drop()[0]))
    (tmp_path / "before").write_text(before)
    script = f'{name}=$(cat "$1/before"); . "$1/drop-in"; printf "%s" "${name}"'

    assert shell(script, tmp_path) == after


def test_every_option_that_is_there_goes(tmp_path):
    both = asked(BootOption("nolapic"), BootOption("noapic"))
    (tmp_path / "drop-in").write_text(text(DROP_IN, drop(asked=both)[0]))
    script = 'GRUB_CMDLINE_LINUX="nolapic a noapic"; . "$1/drop-in"; echo "$GRUB_CMDLINE_LINUX"'

    assert shell(script, tmp_path) == "a\n"


def edited(tmp_path, asked, line, around=DEBIAN):
    """Return what the drop-in makes of a command line in GRUB_CMDLINE_LINUX."""
    drop_in = text(DROP_IN, drop(asked=asked, around=around)[0])
    (tmp_path / "drop-in").write_text(drop_in)
    script = f'GRUB_CMDLINE_LINUX=\'{line}\'; . "$1/drop-in"; printf %s "$GRUB_CMDLINE_LINUX"'
    return shell(script, tmp_path), drop_in


@pytest.mark.parametrize(
    ("option", "line", "after"),
    [
        (BootOption("threadirqs"), "a threadirqs b", "a b"),
        (BootOption("pci=nomsi"), "pci=nomsi,noaer pci=nomsi", "pci=nomsi,noaer"),
        (BootOption("pci=nomsi,noaer", "pci=noaer"), "a pci=nomsi,noaer", "a pci=noaer"),
        (BootOption(add="irqaffinity=0,2"), "a", "a irqaffinity=0,2"),
        (BootOption(add="irqaffinity=0,2"), "", "irqaffinity=0,2"),
        (BootOption("a.b/c"), "axb/c a.b/c", "axb/c"),
        (BootOption("x", "a&b/c"), "x", "a&b/c"),
    ],
)
def test_words_go_come_and_are_replaced(tmp_path, option, line, after):
    assert edited(tmp_path, asked(option), line)[0] == after


def test_what_was_edited_before_stays_edited(tmp_path):
    _, first = edited(tmp_path, NOAPIC, "")
    around = replace(DEBIAN, texts={DROP_IN: first})

    line, _ = edited(tmp_path, asked(BootOption(add="nosmt")), "noapic a", around)

    assert line == "a nosmt"


TITLE = "'Linux with the command line before dirtune'"


def test_the_entry_has_the_old_line_and_the_running_kernel(tmp_path):
    (tmp_path / "entry").write_text(text(ENTRY, drop()[0]))

    assert shell('sh "$1/entry"', tmp_path).splitlines() == [
        f"menuentry {TITLE} --class gnu-linux --id dirtune-previous {{",
        "    search --no-floppy --set=root --file /boot/vmlinuz-6.1.0-9",
        "    linux /boot/vmlinuz-6.1.0-9 root=/dev/sda1 noapic 'dyndbg=\"file a.c +p\"' quiet",
        "    initrd /boot/initrd.img-6.1.0-9",
        "}",
    ]


def test_grub_sees_a_boot_partition_from_its_own_root():
    mounts = parse_mounts("30 1 8:1 / /boot rw - ext4 /dev/sda1 rw\n")
    entry = text(ENTRY, drop(replace(PIC, mounts=mounts))[0])

    assert "--file /vmlinuz-6.1.0-9\n" in entry
    assert "initrd /initrd.img-6.1.0-9\n" in entry


def test_before_the_reboot_a_second_plan_is_empty():
    actions, _ = drop()
    texts = {action.path: action.after for action in actions if isinstance(action, PutFile)}

    assert drop(around=replace(DEBIAN, texts=texts)) == ([], [])


@pytest.mark.parametrize(
    ("snapshot", "around", "why"),
    [
        (PIC, replace(DEBIAN, commands=frozenset()), "no GRUB that reads drop-in files"),
        (
            PIC,
            replace(DEBIAN, paths=frozenset({"/etc/grub.d"})),
            "no GRUB that reads drop-in files",
        ),
        # GRUB as its authors ship it does not read the folder of drop-ins.
        (
            PIC,
            replace(
                DEBIAN,
                commands=frozenset({"grub2-mkconfig"}),
                # Every version names the folder of the menu's scripts.
                texts={
                    "/usr/sbin/grub2-mkconfig": "grub_mkconfig_dir=/etc/grub.d\n"
                    ". /etc/default/grub\n"
                },
            ),
            "no GRUB that reads drop-in files",
        ),
    ],
)
def test_what_cannot_work_is_not_done_even_by_force(snapshot, around, why):
    for forced in ({}, {"read-later", "no-old-entry"}):
        actions, refused = drop(snapshot, around, force=forced)
        assert actions == []
        assert why in refused[0]


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (
            "grubby",
            "run `grubby --update-kernel=ALL --remove-args=noapic --args=irqaffinity=0,2`",
        ),
        (
            "update-extlinux",
            (
                "remove noapic from and add irqaffinity=0,2 to default_kernel_opts in "
                "/etc/update-extlinux.conf, and run `update-extlinux`"
            ),
        ),
    ],
)
def test_a_refusal_has_the_words_of_the_hosts_boot_loader(command, remedy):
    # The entries of RHEL do not change with the menu, even if its mkconfig reads drop-ins.
    around = replace(
        DEBIAN,
        commands=frozenset({command, *(("grub2-mkconfig",) if command == "grubby" else ())}),
        texts={"/usr/sbin/grub2-mkconfig": "for x in /etc/default/grub.d/*.cfg\n"},
    )
    options = asked(BootOption("noapic"), BootOption(add="irqaffinity=0,2"))

    actions, refused = drop(around=around, asked=options)

    assert actions == []
    assert refused[0].endswith(f"drop-in files; {remedy}")


def test_a_mkconfig_that_reads_drop_ins_will_do():
    around = replace(
        DEBIAN,
        commands=frozenset({"grub2-mkconfig"}),
        texts={"/usr/sbin/grub2-mkconfig": "for x in /etc/default/grub.d/*.cfg\n"},
        paths=DEBIAN.paths - {"/boot/grub/grub.cfg"} | {"/boot/grub2/grub.cfg"},
    )

    actions, _ = drop(around=around)

    assert actions[-1] == Run(argv=("grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"))


def test_a_later_drop_in_that_sets_it_again_is_named():
    path = "/etc/default/grub.d/99-vendor.cfg"
    earlier = "/etc/default/grub.d/10-vendor.cfg"
    around = replace(DEBIAN, texts={path: 'X="noapic"\n', earlier: 'X="noapic"\n'})

    plan = BOOT.plan(Question(PIC, around, NOAPIC))

    assert plan.changes == ()
    assert [refusal.subject for refusal in plan.refusals] == [path]
    assert BOOT.plan(Question(PIC, around, NOAPIC, force={"read-later"})).changes


def test_without_an_image_there_is_no_entry_and_so_it_asks():
    around = replace(DEBIAN, paths=DEBIAN.paths - {"/boot/vmlinuz-6.1.0-9"})

    assert drop(around=around)[0] == []
    actions, _ = drop(around=around, force={"no-old-entry"})
    assert [a.path for a in actions if isinstance(a, PutFile)] == [DROP_IN]


# --- the catalogue ---


def test_fixes_are_found_and_named_as_their_modules():
    assert {"boot-options", "irq-affinity", "unbind-partners"} <= {fix.id for fix in all_fixes()}
    for fix in all_fixes():
        assert fix.function.__module__.endswith(fix.id.replace("-", "_"))


def test_fixes_are_chosen_by_check():
    assert by_themselves({"irq/shared-with-nic": None}) == (UNBIND,)
    assert by_themselves({"irq/shared-with-nic": "unbind-partners"}) == (UNBIND,)
    assert by_themselves({"irq/shared-with-nic": "drop-noapic", "irq/xtpic-mode": None}) == ()
    assert named(("irq/xtpic-mode", "ipvs/conn-reuse-delay/stop-ipvs-conntrack")) == {
        "irq/xtpic-mode": None,
        "ipvs/conn-reuse-delay": "stop-ipvs-conntrack",
    }
    with pytest.raises(PlanError, match="No such check: no/such"):
        named(("no/such",))


def test_fixes_are_chosen_by_what_the_audit_finds(machine):
    def of(snapshot):
        return set(findings(checks.run(discovery.all_checks(), snapshot)))

    assert of(take(machine)) == {"irq/shared-with-nic", "irq/xtpic-mode"}
    assert of(Snapshot()) == set()


def test_a_check_asks_for_what_its_finding_says(machine):
    (drops,), refused = ask(take(machine), {"irq/xtpic-mode": None})

    assert (drops.check, drops.fix.settings) == ("irq/xtpic-mode", (BootOption("noapic"),))
    assert refused == ()


def test_another_way_than_the_one_by_itself_can_be_named(machine):
    (drops,), _ = ask(take(machine), {"irq/shared-with-nic": "drop-noapic"})

    assert drops.fix.settings == (BootOption("noapic"),)
    assert ask(take(machine), {"irq/shared-with-nic": None}) == ((), ())


def test_what_is_for_a_person_and_what_was_not_judged_says_so(machine):
    unjudged = {"ipvs/timeouts": None, "irq/xtpic-mode": "no-such"}

    asked, refused = ask(take(machine), unjudged)

    assert asked == ()
    whys = {refusal.reason: refusal.why for refusal in refused}
    assert "could not be decided" in whys["ipvs/timeouts"]
    assert whys["irq/xtpic-mode"] == "has no fix no-such; it has: drop-noapic"
    assert not any(refusal.name for refusal in refused)


def test_a_finding_that_no_setting_mends_is_for_a_person(machine):
    (machine.root / "proc/cmdline").write_text("quiet\n")

    asked, (refused,) = ask(take(machine), {"irq/xtpic-mode": None})

    assert asked == ()
    assert "must be fixed by hand: Enable the IO-APIC" in refused.why
    assert not refused.name


def test_ones_connection_is_known_through_sudo():
    shell, login = os.getppid(), 4711
    files = {
        f"/proc/{shell}/environ": "PATH=/bin\0",
        f"/proc/{shell}/stat": f"{shell} (a) b) S {login} 0\n",
        f"/proc/{login}/environ": "A=b\0SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22\0",
        f"/proc/{login}/stat": f"{login} (sshd) S 1 0\n",
    }

    assert ssh_connection(RecordedHost(files, {}), {}) == "192.0.2.1 1 192.0.2.2 22"
    own = "2001:db8::1 1 fe80::2%eth0 22"
    assert ssh_connection(RecordedHost(files, {}), {"SSH_CONNECTION": own}) == own
    for odd in ("", "x", "a b c d", "192.0.2.1 1 192.0.2.2", "192.0.2.1 1 192.0.2.2 22 3 4"):
        assert ssh_connection(RecordedHost(files, {}), {"SSH_CONNECTION": odd}) is None
    del files[f"/proc/{login}/environ"]
    assert ssh_connection(RecordedHost(files, {}), {}) is None


def test_a_recorded_host_is_looked_at_and_not_this_one(machine):
    (machine.root / "usr/sbin").mkdir(parents=True)
    (machine.root / "usr/sbin/update-grub").write_text("")
    (machine.root / DROP_IN[1:]).write_text("x\n")

    around = look_around(machine, live=False)

    assert around.commands == {"update-grub"}
    assert around.paths == {"/etc/default/grub.d", "/etc/grub.d"}
    assert around.texts == {DROP_IN: "x\n"}
    assert around.ssh is None
