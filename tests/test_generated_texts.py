"""Every text that dirtune writes for a shell, udev, sysctl.d, GRUB and others, with hostile names.

A generated command is run: stubs in PATH write down their arguments, and what every name would do
as code is to make a file.
"""

import ast
import itertools
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from dirtune.change import boot_files, persist
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.bind import Bind
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.switch_on import SwitchOn
from dirtune.change.actions.unbind import Unbind
from dirtune.change.fixes import (
    Question,
    Request,
    Surroundings,
    boot_options,
    irqbalance,
    module_options,
)
from dirtune.change.plan import Change, Plan
from dirtune.checks import Fix
from dirtune.checks.remedies import commands as remedy
from dirtune.checks.remedies import sysctl
from dirtune.errors import NotPossible
from dirtune.lvs import ipvsadm, keepalived_text
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import Service, SyncDaemon, Table
from dirtune.render import fix_files, lvs_plan
from dirtune.render.plan import plan_markdown, plan_table
from dirtune.settings import (
    SYSCTL_FILE,
    BootOption,
    CardValues,
    IrqbalanceVariable,
    KernelFile,
    ModuleOptions,
    Risk,
    appended,
    shell,
    written,
)
from dirtune.snapshot import Snapshot
from tests.hostile import CANARY, NAMES, SHELLS, TEXTS, calls, stub, text

EVERY = (*NAMES, *(f"{name}{more}" for name in NAMES[:6] for more in TEXTS), *TEXTS)
PACKAGE = Path(__file__).parents[1] / "dirtune"
COMMAND = re.compile(
    r"\s*(ip|ethtool|tc|echo|ipvsadm|sysctl|systemctl|modprobe|rmmod|nft|iptables|cat|chmod|printf"
    r"|exec|sed|kill|mount|head|conntrack|for \w+ in) "
)
# A command in the middle of a sentence, up to its first word that is filled in.
ADVISED = re.compile(
    r"((dirtune (audit|rollback|report|tune|fix \w+|lab \w+|snapshot)|apt install)"
    r" [\w &.=-]*|[;:] (or )?--force )$"
)
# What the corpus has of names that no format has a meaning for, picked by hand.
PLAIN = frozenset({"-K", "--json", "-", ".hidden", "..x", "DIRTUNE", "eth0.100", "a.b.c", "a:b"})
# A name of an interface that dash's echo makes a setting of its own of.
ORDERS = "x\\nvm.pan*=1\\c"
PROGRAMS = ("ethtool", "ip", "tc", "sysctl", "ipvsadm", "nft", "modprobe", "systemctl")


@pytest.fixture
def here(tmp_path):
    """A folder with stubs of every program, and an empty one to run commands in."""
    for program in PROGRAMS:
        stub(tmp_path, program)
    (tmp_path / "cwd").mkdir()
    return tmp_path


def run(here, *rows, program="sh"):
    """Run shell commands, and return what each stub was given."""
    for log in here.glob("*.log"):
        log.unlink()
    done = subprocess.run(
        (program, "-c", "\n".join(rows)),
        cwd=here / "cwd",
        env={"PATH": f"{here}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )
    assert not list(here.glob(f"**/{CANARY}"))
    return {name: calls(here / f"{name}.log") for name in PROGRAMS}, done


def as_words(argv):
    return tuple(word.encode() for word in argv)


@pytest.mark.parametrize("name", [name for name in EVERY if "\0" not in name], ids=ascii)
def test_a_command_is_given_a_name_as_one_argument(name, here):
    wanted = [
        ("ethtool", "-G", name, "rx", "512"),
        ("ethtool", "-K", name, "gro", "on"),
        ("ip", "addr", "add", "198.18.0.1/32", "dev", name),
        ("ip", "link", "set", "dev", name, "up"),
        ("ip", "link", "set", "dev", name, "promisc", "off"),
        ("modprobe", name),
        ("sysctl", "-w", f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter=2"),
        ("ipvsadm", "-A", "-t", "198.18.0.1:80", "-s", name),
        ("ipvsadm", "--start-daemon", "master", "--mcast-interface", name, "--syncid", "0"),
    ]
    service = Service("tcp", "198.18.0.1", 80, name)
    daemon = Step(Verb.NEW, SyncDaemon("master", name))
    rows = (
        *shell(CardValues(name, "rings", {"rx": 512})),
        *SetNic(name, "features", {}, {"rx-gro": 1}).commands,
        *AddAddress(name, "198.18.0.1/32").commands,
        *SwitchOn(name).commands,
        *remedy(
            Snapshot(), "x", "x", [("ip", "link", "set", "dev", name, "promisc", "off")]
        ).commands,
        *Run(("modprobe", name)).commands,
        ipvsadm.command(Step(Verb.NEW, service)),
        ipvsadm.command(daemon),
    )
    setting = sysctl(Snapshot(), "x", "x", {f"net/ipv4/conf/{name}/rp_filter": 2}).commands[0]

    given, done = run(here, *rows, *((setting,) if "/" not in name else ()))

    asked = [as_words(argv) for argv in wanted if argv[0] != "sysctl" or "/" not in name]
    asked[-1] = as_words(("ipvsadm", *ipvsadm.argv(daemon)[1:]))
    got = sorted((program.encode(), *argv) for program in PROGRAMS for argv in given[program])
    assert got == sorted(asked)
    assert done.stderr == b""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("name", [*NAMES, ORDERS], ids=ascii)
def test_a_pasted_command_keeps_a_setting_of_that_name_and_no_other(name, shell, tmp_path):
    """sysctl.d(5) has patterns, and some shells' echo takes a newline's escape for one."""
    kept = tmp_path / "kept"
    row = sysctl(Snapshot(), "x", "x", {f"net/ipv4/conf/{name}/rp_filter": 2}).commands[1]

    pasted = row.replace(SYSCTL_FILE, str(kept))
    subprocess.run((*shell, "-c", pasted), check=True, cwd=tmp_path)

    plain = name.replace(".", "/")
    rows = kept.read_text() if kept.exists() else ""
    assert rows == (f"net.ipv4.conf.{plain}.rp_filter=2\n" if name in PLAIN else "")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("name", [*NAMES, ORDERS], ids=ascii)
def test_every_shell_prints_a_text_to_the_letter(name, shell, tmp_path):
    for row in (written("kept", name), appended("kept", name)):
        subprocess.run((*shell, "-c", row), check=True, cwd=tmp_path)

    assert (tmp_path / "kept").read_bytes() == f"{name}\n{name}\n".encode()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_value_is_written_to_the_file_of_that_name_alone(name, here):
    (here / "cwd" / "top" / name).mkdir(parents=True)
    path = f"top/{name}/rps_cpus"
    rows = (
        *shell(KernelFile(path, "3")),
        *SetValue(f"{path}2", "0", name).commands,
        *PutFile(f"{path}3", None, f"{name}\nDIRTUNE\nid>{CANARY}\nDIRTUNE_\n$x `id`\n").commands,
    )

    _, done = run(here, *rows)

    folder = here / "cwd" / "top" / name
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "rps_cpus").read_text() == "3\n"
    assert (folder / "rps_cpus2").read_bytes() == f"{name}\n".encode()
    assert (folder / "rps_cpus3").read_text() == (
        f"{name}\nDIRTUNE\nid>{CANARY}\nDIRTUNE_\n$x `id`\n"
    )
    assert len(list((here / "cwd").rglob("*"))) == 2 + 3


@pytest.mark.parametrize("show", [plan_table, plan_markdown])
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_plan_can_be_pasted_as_it_is_shown_however_it_is_indented(shell, show, tmp_path):
    every = "\n".join(name for name in NAMES if name.isprintable())
    hidden = "\n".join(NAMES)
    wanted = {
        "hidden": f"A=1\t-b\n{hidden}\n",
        "rows": f"#!/bin/sh\n    {every}\n\nDIRTUNE\n",
        "row": "a\n",
        "none": "",
        "gap": "\n",
    }
    actions = [PutFile(name, None, content, 0o755) for name, content in wanted.items()]
    # As the kernel prints two numbers, and whatever sysctl.d of the host may hold.
    values = {"ports": "1024\t65535", "value": hidden}
    actions += [SetValue(name, "1", value) for name, value in values.items()]
    by = (hidden, f"a' > {tmp_path / 'theirs'}")
    changes = (Change(action, Risk.SAFE, "x/y", "f", "title", by) for action in actions)

    rows = show(Plan(tuple(changes))).split("\n")
    others = ("```", "- ")  # Markdown's fences, and its list of notes
    pasted = "\n".join(r for r in rows if r[:1] == " " and not r.lstrip().startswith(others))
    subprocess.run((*shell, "-c", pasted), check=True, cwd=tmp_path)

    wanted |= {name: f"{value}\n" for name, value in values.items()}
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {name: content.encode() for name, content in wanted.items()}


def files(*actions):
    made = Plan(tuple(Change(a, Risk.SAFE, "nic/x", "f", f"do\n{text(b'x')}") for a in actions))
    return persist.lasting(made, {})


def texts(plan):
    return {c.action.path: c.action.after for c in plan.changes if isinstance(c.action, PutFile)}


@pytest.mark.parametrize("name", EVERY, ids=ascii)
def test_what_udev_and_sysctl_cannot_hold_is_refused_and_said(name):
    actions = (
        SetNic(name, "rings", {"rx": 1}, {"rx": 2}),
        SetValue(f"/sys/class/net/{name}/queues/rx-0/rps_cpus", "0", "3"),
        SetValue(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "0", "2"),
        Bind("0000:00:01.0", name),
        Unbind(name, "x"),
    )
    for action in actions:
        kept = files(action)
        written = "".join(texts(kept).values())
        if name in PLAIN:
            assert not kept.refusals
            assert name.replace(".", "/") in written or name in written
        else:
            (refusal,) = kept.refusals
            assert (refusal.reason, written) == ("nic/x", "")
            assert "cannot be kept over a reboot" in refusal.why
            assert persist.keeper(action) is None


@pytest.mark.parametrize("name", EVERY, ids=ascii)
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_script_of_a_boot_finds_a_handler_by_its_name_and_no_other(name, shell, tmp_path):
    kept = files(SetAffinity("24", "0-3", "2", name))
    if kept.refusals:
        assert not name.isprintable() or "/" in name or not name
        return
    for irq in ("24", "31", "44"):
        (tmp_path / "irq" / irq).mkdir(parents=True)
        (tmp_path / "irq" / irq / "spurious").write_text("")
    (tmp_path / "irq/31" / name).mkdir()
    script = texts(kept)[boot_files.SCRIPT].replace("/proc/irq", str(tmp_path / "irq"))

    subprocess.run((*shell, "-c", script), check=True, cwd=tmp_path)

    assert [path.parent.name for path in tmp_path.rglob("smp_affinity_list")] == ["31"]
    assert not list(tmp_path.rglob(CANARY))


def test_a_handler_that_is_called_as_a_file_of_every_interrupt_moves_no_other(tmp_path):
    for irq in ("24", "31"):
        (tmp_path / "irq" / irq).mkdir(parents=True)
        (tmp_path / "irq" / irq / "spurious").write_text("")
    script = texts(files(SetAffinity("24", "0-3", "2", "spurious")))[boot_files.SCRIPT]

    subprocess.run(("sh", "-c", script.replace("/proc/irq", str(tmp_path / "irq"))), check=False)

    assert not list(tmp_path.rglob("smp_affinity_list"))


@pytest.mark.parametrize("name", EVERY, ids=ascii)
def test_the_script_for_other_tools_has_no_row_that_a_title_made(name, here):
    action = SetNic(name, "rings", {"rx": 1}, {"rx": 2})
    change = Change(action, Risk.SAFE, "nic/x", "f", f"give {name} more")
    plan = Plan((change,))
    found = fix_files.files(plan, persist.lasting(plan, {}))

    given, done = run(here, found["apply.sh"][0])

    assert given["ethtool"] == [as_words(("-G", name, "rx", "2"))]
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", [*EVERY, "\U0001f600x", "a\x7fb"], ids=ascii)
def test_a_plan_file_holds_a_name_to_the_letter(name):
    text = lvs_plan.plan(Table((), None, (SyncDaemon("master", name),)))

    assert tomllib.loads(text)["ipvs"]["sync"][0]["interface"] == name


@pytest.mark.parametrize("name", EVERY, ids=ascii)
def test_what_ipvsadm_and_keepalived_read_holds_plain_words_only(name):
    plain = name in PLAIN or name in {"", "../../x"}
    for table in (
        Table((Service("tcp", "198.18.0.1", 80, name),)),
        Table((Service("tcp", "198.18.0.1", 80, "rr", persistent_s=1, netmask=name),)),
        Table((Service("tcp", "198.18.0.1", 80, "rr", engine=name),)),
    ):
        for write in (ipvsadm.export, keepalived_text.blocks):
            if plain:
                assert name in write(table)
            else:
                with pytest.raises(NotPossible, match="plain word"):
                    write(table)


def question(*settings, **around):
    fix = Fix("f", "t", Risk.REBOOT, settings=settings)
    return Question(Snapshot(), Surroundings(**around), (Request("nic/x", "s", fix),))


@pytest.mark.parametrize("name", [name for name in EVERY if name], ids=ascii)
def test_the_files_of_grub_modprobe_and_irqbalance_hold_plain_words_only(name):
    fine = name in PLAIN or name in {"../../x", "a=b", "a,b"}
    grub = {
        "paths": frozenset({*boot_options._FOLDERS, "/boot/vmlinuz-None"}),
        "commands": frozenset({"update-grub"}),
    }
    wanted = (
        (boot_options, BootOption(add=name), grub, fine or name == "a@b"),
        (module_options, ModuleOptions(name, {"a": "b"}), {}, fine),
        (module_options, ModuleOptions("m", {"a": name}), {}, fine),
        (
            irqbalance,
            IrqbalanceVariable("OPTIONS", name),
            {"texts": {"/etc/default/irqbalance": ""}},
            (fine) or name == "a b",
        ),
    )
    for module, setting, around, allowed in wanted:
        plan = module.FIX.plan(question(setting, **around))
        written = "".join(texts(plan).values())
        assert bool(written) is allowed, (module, name)
        assert bool(plan.refusals) is not allowed


def quoted(part):
    """Tell whether what an f-string takes in is quoted for a shell, or can only be a number."""
    value = part.value
    if isinstance(value, ast.Call):
        name = ast.unparse(value.func).rpartition(".")[2]
        return name in {"quote", "join", "in_quotes"}
    if isinstance(value, ast.Subscript):  # a table of ours
        value = value.value
    number = part.format_spec and ast.unparse(part.format_spec)[-2] in "dfgox"
    return bool(number) or (isinstance(value, ast.Name) and value.id.strip("_").isupper())


def test_nothing_is_put_into_a_command_without_quotes():
    """A command is made by shlex.quote, shlex.join, or of words given to `remedies.commands`."""
    bare = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            head = parts[0] if parts and isinstance(parts[0], ast.Constant) else None
            if head is None or not COMMAND.match(str(head.value)):
                continue
            where = f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
            bare += [where for p in parts if isinstance(p, ast.FormattedValue) and not quoted(p)]

        bare += [
            f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.JoinedStr)
            for before, part in itertools.pairwise(node.values)
            if isinstance(part, ast.FormattedValue)
            and ADVISED.search(str(getattr(before, "value", "")))
            and not quoted(part)
        ]

    # The tables of the lab and of packages are made of their own constants.
    texts = {line.partition(":")[0]: line for line in bare}
    assert texts.keys() == {"lab/boot.py", "packages.py"}, bare
    assert texts["lab/boot.py"] == "lab/boot.py: f'ipvsadm {line}'"
    assert "case $id in {cases}-) {_print(_lacks(None, program))}" in texts["packages.py"]
    assert len(bare) == 3
