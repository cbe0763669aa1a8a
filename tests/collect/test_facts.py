"""What a host has, read from a tree made for the test."""

import subprocess
import sys

import pytest

from dirtune.collect.facts import lab_kernel, parse_lockdown, parse_may_load_bpf, read_facts
from dirtune.host import LiveHost

RELEASE = "9.9.9-test"
MODULES = (
    "kernel/drivers/net/ethernet/intel/e1000/e1000.ko:\nkernel/net/netfilter/ipvs/ip_vs.ko:\n"
)


@pytest.fixture
def tree(tmp_path):
    def write(path, text=""):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write(f"boot/vmlinuz-{RELEASE}")
    write(f"lib/modules/{RELEASE}/modules.dep", MODULES)
    write(
        f"lib/modules/{RELEASE}/modules.builtin", "kernel/drivers/scsi/sym53c8xx_2/sym53c8xx.ko\n"
    )
    write("boot/vmlinuz-8.8.8-test")
    write("lib/modules/8.8.8-test/modules.dep", "kernel/net/netfilter/ipvs/ip_vs.ko:\n")
    write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    return tmp_path, write


def test_lab_kernel_is_one_with_every_module_built_in_or_not(tree):
    root, _ = tree

    assert read_facts(LiveHost(root)).lab_kernels == (RELEASE,)


def test_the_newest_kernel_of_a_kind_is_the_labs(tmp_path):
    for release in ("6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-60-rt-amd64", "6.2-cloud-amd64"):
        modules = tmp_path / "lib/modules" / release / "modules.dep"
        modules.parent.mkdir(parents=True)
        modules.write_text("a/ip_vs.ko:\nb/e1000.ko.xz:\nc/sym53c8xx.ko:\n")
        (tmp_path / "boot").mkdir(exist_ok=True)
        (tmp_path / "boot" / f"vmlinuz-{release}").touch()
    found = read_facts(LiveHost(tmp_path)).lab_kernels

    assert found == ("6.1.0-60-rt-amd64", "6.1.0-56-amd64", "6.1.0-9-amd64")
    assert lab_kernel(found, "standard") == "6.1.0-56-amd64"
    assert lab_kernel(found, "rt") == "6.1.0-60-rt-amd64"
    assert lab_kernel(("6.1.0-60-rt-amd64",), "standard") is None


def test_the_labs_space_is_looked_for_where_the_lab_will_be(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRTUNE_LAB", str(tmp_path / "not" / "yet" / "there"))

    assert read_facts(LiveHost(tmp_path)).lab_parent == str(tmp_path)


def test_headers_are_files_not_a_link_that_leads_nowhere(tree):
    root, write = tree
    (root / f"lib/modules/{RELEASE}/build").symlink_to("/usr/src/none")
    assert read_facts(LiveHost(root)).lab_headers == ()

    write("usr/src/none/Makefile")
    assert read_facts(LiveHost(root)).lab_headers == (RELEASE,)


def test_what_tracefs_has_is_unknown_where_it_is_not_mounted(tree):
    root, write = tree
    (root / "sys/kernel/tracing").mkdir()  # the place to mount it is there on every kernel
    found = read_facts(LiveHost(root))
    assert (found.tracefs, found.events, found.hist_triggers, found.kprobes) == (None,) * 4
    assert found.tracefs_writable is False

    write("sys/kernel/debug/tracing/events/irq/softirq_entry/format")
    found = read_facts(LiveHost(root))
    assert found.tracefs == "/sys/kernel/debug/tracing"
    assert found.events == {"irq/softirq_entry"}
    assert (found.hist_triggers, found.kprobes) == (False, False)

    write("sys/kernel/tracing/events/irq/irq_handler_entry/hist")
    write("sys/kernel/tracing/events/lock/contention_begin/format")
    write("sys/kernel/tracing/events/lock/lock_acquire/format")
    write("sys/kernel/tracing/kprobe_events")
    found = read_facts(LiveHost(root))
    assert found.tracefs == "/sys/kernel/tracing"
    assert found.events == {"irq/irq_handler_entry", "lock/contention_begin"}
    assert (found.hist_triggers, found.kprobes) == (True, True)


def test_perf_tells_of_kprobes_without_tracefs(tree):
    root, write = tree
    write("sys/bus/event_source/devices/uprobe/type")
    assert read_facts(LiveHost(root)).kprobes is False

    write("sys/bus/event_source/devices/kprobe/type")
    assert read_facts(LiveHost(root)).kprobes is True


@pytest.mark.parametrize(
    ("fact", "path"),
    [
        ("btf", "sys/kernel/btf/vmlinux"),
        ("perf_events", "proc/sys/kernel/perf_event_paranoid"),
        ("ip_vs", "proc/net/ip_vs"),
    ],
)
def test_a_file_that_tells(tree, fact, path):
    root, write = tree
    assert getattr(read_facts(LiveHost(root)), fact) is False

    write(path)
    assert getattr(read_facts(LiveHost(root)), fact) is True


@pytest.mark.parametrize(
    ("text", "mode"),
    [(None, None), ("[none] integrity confidentiality\n", "none"), ("", None)],
)
def test_lockdown(text, mode):
    assert parse_lockdown(text) == mode


def test_looking_imports_nothing_heavy():
    script = (
        "import sys; from dirtune.collect.facts import read_facts;"
        "from dirtune.host import LiveHost;"
        "read_facts(LiveHost());"
        "print(*({'bcc', 'altair', 'jinja2', 'pyroute2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("effective", "may"),
    [
        ("000001ffffffffff", True),  # root
        ("0000000000000000", False),
        ("000000c000000000", True),  # capsh --decode: cap_perfmon,cap_bpf
        ("0000008000000000", False),  # cap_bpf
        ("0000004000000000", False),  # cap_perfmon
        ("0000000000200000", True),  # cap_sys_admin
        ("00000000a80425fb", False),  # what docker leaves to root
    ],
)
def test_bpf_needs_two_capabilities_or_that_of_root(effective, may):
    assert parse_may_load_bpf(f"Name:\tcat\nCapPrm:\t{effective}\nCapEff:\t{effective}\n") is may


def test_capabilities_that_cannot_be_read_are_none():
    assert not parse_may_load_bpf("")
    assert not parse_may_load_bpf("CapEff:\tffffffffffffffffffffffff\n")
