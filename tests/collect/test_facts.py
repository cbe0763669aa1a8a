"""What a host has, read from a tree made for the test."""

import subprocess
import sys

import pytest

from dirtune.collect.facts import parse_lockdown, read_facts
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
    write("boot/vmlinuz-8.8.8-cloud")
    write("lib/modules/8.8.8-cloud/modules.dep", "kernel/net/netfilter/ipvs/ip_vs.ko:\n")
    write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    return tmp_path, write


def test_lab_kernel_is_one_with_every_module_built_in_or_not(tree):
    root, _ = tree

    assert read_facts(LiveHost(root)).lab_kernels == (RELEASE,)


def test_headers_are_files_not_a_link_that_leads_nowhere(tree):
    root, write = tree
    (root / f"lib/modules/{RELEASE}/build").symlink_to(root / "usr/src/none")
    assert read_facts(LiveHost(root)).lab_headers == ()

    write("usr/src/none/Makefile")
    assert read_facts(LiveHost(root)).lab_headers == (RELEASE,)


def test_tracepoints_are_unknown_where_tracefs_is_not_mounted(tree):
    root, write = tree
    assert read_facts(LiveHost(root)).tracepoints is None

    write("sys/kernel/tracing/events/irq/softirq_entry/format")
    assert read_facts(LiveHost(root)).tracepoints is False

    write("sys/kernel/tracing/events/irq/irq_handler_entry/format")
    assert read_facts(LiveHost(root)).tracepoints is True


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
        "print(*({'bcc', 'altair', 'asyncssh', 'jinja2', 'pyroute2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "\n"
