"""The kernel command line in a tree of files of each boot loader: planned, edited and undone."""

import os
import shutil
import subprocess

import pytest

from dirtune import checks
from dirtune.change.actions.edit_line import EditLine
from dirtune.change.apply import carry_through, roll_back
from dirtune.change.fixes import Question, Request
from dirtune.change.fixes.boot_options import FIX
from dirtune.change.plan import Plan
from dirtune.change.surroundings import look_around
from dirtune.checks import Risk
from dirtune.collect.cmdline import parse_cmdline
from dirtune.collect.kernel import Kernel
from dirtune.errors import ApplyError
from dirtune.host import WritableHost
from dirtune.render.fix_files import files
from dirtune.settings import BootOption
from dirtune.snapshot import Snapshot
from tests.change.machine import picture

RELEASE = "5.14.0-503.el9.x86_64"
ID = "4a1cd7d2d1a84a5b8f3f0c8e6f2b1c3d"
ENTRIES = "boot/loader/entries"
OPTIONS = "options root=/dev/mapper/rl-root ro noapic pci=nomsi quiet $tuned_params"
ENTRY = f"""title Rocky Linux ({RELEASE}) 9.5 (Blue Onyx)
version {RELEASE}
linux /vmlinuz-{RELEASE}
initrd /initramfs-{RELEASE}.img $tuned_initrd
{OPTIONS}
grub_users $grub_users
grub_arg --unrestricted
grub_class rocky
"""
RESCUE = f"""title Rocky Linux (0-rescue-{ID}) 9.5 (Blue Onyx)
version 0-rescue-{ID}
linux /vmlinuz-0-rescue-{ID}
initrd /initramfs-0-rescue-{ID}.img
options root=/dev/mapper/rl-root ro noapic
"""
DEFAULT = 'GRUB_CMDLINE_LINUX="noapic pci=nomsi quiet" # ours\nGRUB_ENABLE_BLSCFG=true\n'
RHEL9 = {
    f"{ENTRIES}/{ID}-{RELEASE}.conf": ENTRY,
    f"{ENTRIES}/{ID}-0-rescue.conf": RESCUE,
    "etc/default/grub": DEFAULT,
    "etc/kernel/cmdline": "root=/dev/mapper/rl-root ro noapic pci=nomsi quiet\n",
    "usr/sbin/grubby": "",
}
HEAD = "# GRUB Environment Block\n"
KERNELOPTS = "kernelopts=root=/dev/mapper/rl-root ro noapic quiet \n"
RHEL8 = {
    f"{ENTRIES}/{ID}-{RELEASE}.conf": ENTRY.replace(OPTIONS, "options $kernelopts $tuned_params"),
    "boot/grub2/grubenv": f"{HEAD}saved_entry={ID}\n{KERNELOPTS}".ljust(1024, "#"),
    "usr/sbin/grubby": "",
}
SYSTEMD_BOOT = {
    f"efi/loader/entries/{ID}-{RELEASE}.conf": f"title Arch\nsort-key arch\nversion {RELEASE}\n"
    f"linux /{ID}/{RELEASE}/linux\ninitrd /{ID}/{RELEASE}/initrd\noptions    noapic quiet rw\n",
    "etc/kernel/cmdline": "# by hand\nquiet rw noapic\n",
}
ALPINE_CONF = """# /etc/update-extlinux.conf
overwrite=1
password=secret
default_kernel_opts="quiet noapic rootfstype=ext4"
"""
ALPINE = {
    "etc/update-extlinux.conf": ALPINE_CONF,
    "boot/vmlinuz-lts": "",
    "boot/initramfs-lts": "",
    "sbin/update-extlinux": "",
}
DROP = (BootOption("noapic"),)
ADD = (BootOption(add="pci=noaer"),)


class Tree(WritableHost):
    """A tree of files whose commands are recorded."""

    def __init__(self, root):
        super().__init__(root)
        self.ran = []

    def run(self, argv, *, timeout_s=300):
        self.ran.append(tuple(argv))
        return ""


@pytest.fixture
def tree(tmp_path):
    def make(texts):
        for path, text in texts.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return Tree(tmp_path)

    return make


def planned(
    host, options, *, release=RELEASE, line="BOOT_IMAGE=x root=/dev/sda1 noapic", force=()
):
    fix = checks.Fix("f", "t", Risk.REBOOT, (), (), options)
    snapshot = Snapshot(kernel=Kernel("lb1", release, None), cmdline=parse_cmdline(line))
    around = look_around(host, live=False)
    asked = (Request("irq/xtpic-mode", "irq 10", fix),)
    return FIX.plan(Question(snapshot, around, asked, frozenset(force)))


def applied(host, plan):
    done = []

    class Journal:
        def begun(self, index, saved):
            pass

    assert plan.refusals == ()
    carry_through([change.action for change in plan.changes], host, Journal(), done)
    return done


def text(root, path):
    return (root / path).read_text()


@pytest.mark.parametrize("options", [DROP, ADD, (BootOption("pci=nomsi", "pci=noaer"),)])
@pytest.mark.parametrize("texts", [RHEL9, RHEL8, SYSTEMD_BOOT, ALPINE])
def test_an_undo_restores_every_byte(tree, tmp_path, texts, options):
    host = tree(texts)
    before = picture(tmp_path)

    done = applied(
        host, planned(host, options, release="6.6.30-0-lts" if texts is ALPINE else RELEASE)
    )

    assert done or "noapic" not in options[0].drop
    assert roll_back(done, host) == ()
    assert picture(tmp_path) == before


def test_entries_of_rhel_9_and_of_its_next_kernels_are_edited(tree, tmp_path):
    host = tree(RHEL9)

    applied(host, planned(host, (*DROP, *ADD)))

    options = "options root=/dev/mapper/rl-root ro pci=nomsi quiet $tuned_params pci=noaer"
    entry = ENTRY.replace(OPTIONS, options)
    assert text(tmp_path, f"{ENTRIES}/{ID}-{RELEASE}.conf") == entry
    rescue = text(tmp_path, f"{ENTRIES}/{ID}-0-rescue.conf")
    assert rescue == RESCUE.replace(" noapic", " pci=noaer")
    grub = 'GRUB_CMDLINE_LINUX="pci=nomsi quiet pci=noaer" # ours\nGRUB_ENABLE_BLSCFG=true\n'
    assert text(tmp_path, "etc/default/grub") == grub
    cmdline = "root=/dev/mapper/rl-root ro pci=nomsi quiet pci=noaer\n"
    assert text(tmp_path, "etc/kernel/cmdline") == cmdline
    assert text(tmp_path, f"{ENTRIES}/A-dirtune-previous.conf").splitlines()[1:] == [
        "title Linux with the command line before dirtune",
        f"version {RELEASE}",
        f"linux /vmlinuz-{RELEASE}",
        f"initrd /initramfs-{RELEASE}.img $tuned_initrd",
        "grub_users $grub_users",
        "grub_arg --unrestricted",
        "grub_class rocky",
        "options root=/dev/sda1 noapic",
    ]
    assert planned(host, (*DROP, *ADD)).changes == ()
    assert host.ran == []


def test_the_environment_block_of_rhel_8_keeps_its_size(tree, tmp_path):
    host = tree(RHEL8)
    entry = f"{ENTRIES}/{ID}-{RELEASE}.conf"

    applied(host, planned(host, ADD))

    block = text(tmp_path, "boot/grub2/grubenv")
    rows = "kernelopts=root=/dev/mapper/rl-root ro noapic quiet pci=noaer\n"
    assert block == f"{HEAD}saved_entry={ID}\n{rows}".ljust(1024, "#")
    assert text(tmp_path, entry) == RHEL8[entry]


def test_a_full_environment_block_is_refused_before_anything_is_changed(tree, tmp_path):
    head = f"{HEAD}{KERNELOPTS}"
    full = f"{head}x={'y' * (1024 - len(head) - 3)}\n"
    host = tree(RHEL8 | {"boot/grub2/grubenv": full})

    with pytest.raises(ApplyError, match="block of 1024 bytes cannot hold"):
        applied(host, planned(host, ADD))

    assert text(tmp_path, "boot/grub2/grubenv") == full


def test_systemd_boot_and_its_next_kernels_are_edited(tree, tmp_path):
    host = tree(SYSTEMD_BOOT)

    applied(host, planned(host, DROP))

    entry = text(tmp_path, f"efi/loader/entries/{ID}-{RELEASE}.conf")
    assert entry.endswith("\noptions    quiet rw\n")
    assert text(tmp_path, "etc/kernel/cmdline") == "# by hand\nquiet rw\n"
    # systemd-boot puts an entry without a sort-key after those that have one.
    assert "sort-key" not in text(tmp_path, "efi/loader/entries/A-dirtune-previous.conf")


def test_extlinux_gets_its_menu_after_the_file_in_both_directions(tree, tmp_path):
    host = tree(ALPINE)

    done = applied(host, planned(host, DROP, release="6.6.30-0-lts"))

    conf = ALPINE_CONF.replace("noapic ", "")
    assert text(tmp_path, "etc/update-extlinux.conf") == conf
    assert text(tmp_path, "etc/update-extlinux.d/dirtune-previous") == (
        "LABEL dirtune-previous\n"
        "  MENU LABEL Linux with the command line before dirtune\n"
        "  LINUX vmlinuz-lts\n  INITRD initramfs-lts\n  APPEND root=/dev/sda1 noapic\n"
    )
    assert host.ran == [("update-extlinux",)]
    assert roll_back(done, host) == ()
    assert host.ran == [("update-extlinux",)] * 2
    assert "secret" not in repr(done)


def test_what_others_change_meanwhile_survives_the_undo(tree, tmp_path):
    host = tree(RHEL9)
    done = applied(host, planned(host, DROP))
    (tmp_path / f"{ENTRIES}/{ID}-0-rescue.conf").unlink()
    grub = tmp_path / "etc/default/grub"
    grub.write_text(f"{grub.read_text()}GRUB_TIMEOUT=9\n")

    assert roll_back(done, host) == ()

    assert grub.read_text() == f"{DEFAULT}GRUB_TIMEOUT=9\n"
    assert not (tmp_path / f"{ENTRIES}/{ID}-0-rescue.conf").exists()


def test_a_line_that_others_changed_is_named_and_kept(tree, tmp_path):
    host = tree(SYSTEMD_BOOT)
    done = applied(host, planned(host, DROP))
    (tmp_path / "etc/kernel/cmdline").write_text("mine\n")

    (failure,) = roll_back(done, host)

    assert failure.startswith("/etc/kernel/cmdline has neither the line 'quiet rw' nor")
    assert text(tmp_path, "etc/kernel/cmdline") == "mine\n"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (RHEL9 | {"usr/sbin/zipl": ""}, "run `grubby --update-kernel=ALL --remove-args=noapic`"),
        (
            RHEL9 | {"etc/default/grub": f"{DEFAULT}GRUB_CMDLINE_LINUX='a'b\n"},
            "cannot edit: \"GRUB_CMDLINE_LINUX='a'b\"; run `grubby",
        ),
        (RHEL9 | {f"{ENTRIES}/x+3-1.conf": ENTRY}, "is renamed at each boot"),
        (RHEL8 | {"boot/grub2/grubenv": HEAD}, "does not set kernelopts"),
        (ALPINE | {"etc/update-extlinux.conf": "overwrite=0\n"}, "does not set overwrite=1"),
        ({"efi/EFI/Linux/a.efi": ""}, "run `kernel-install add $(uname -r)"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_the_command(tree, texts, why):
    plan = planned(tree(texts), DROP)

    assert plan.changes == ()
    assert why in plan.refusals[0].why


def test_without_the_running_kernels_entry_it_asks(tree):
    plan = planned(tree(RHEL9), DROP, release="another")

    assert [refusal.name for refusal in plan.refusals] == ["no-old-entry"]
    assert planned(tree(RHEL9), DROP, release="another", force={"no-old-entry"}).changes


def test_the_commands_of_a_plan_make_the_same_edits(tree, tmp_path):
    edit = EditLine(f"{tmp_path}/a", "x=[a.b]*&/ \\ $k 'q'", "y=&/\\ 'z'")
    (tmp_path / "a").write_text(f"keep\n{edit.before}\n")

    script, _ = files(Plan(), Plan((planned(tree(SYSTEMD_BOOT), DROP).changes[0],)))["apply.sh"]
    subprocess.run(["sh", "-euc", *edit.commands], check=True)

    assert (tmp_path / "a").read_text() == f"keep\n{edit.after}\n"
    assert "sed -i" in script


GRUBBY = os.environ.get("GRUBBY") or shutil.which("grubby")


@pytest.mark.skipif(not GRUBBY, reason="no grubby: RHEL and Fedora have it, or set GRUBBY to it")
def test_grubby_makes_the_same_words_of_each_entry(tree, tmp_path):
    host = tree(RHEL9)
    ours = tmp_path / ENTRIES
    shutil.copytree(ours, theirs := tmp_path / "theirs")
    edit = ("--update-kernel=ALL", "--remove-args=noapic", "--args=irqaffinity=0,2")

    applied(host, planned(host, (*DROP, BootOption(add="irqaffinity=0,2"))))
    (ours / "A-dirtune-previous.conf").unlink()
    subprocess.run([GRUBBY, "-b", theirs, "--env=/dev/null", *edit], check=True)

    def lines(folder):
        return {path.name: path.read_text().splitlines() for path in folder.iterdir()}

    assert lines(ours) == lines(theirs)
