"""Which way of attaching a probe a kernel has; trees as kernels show them."""

from pathlib import Path

import pytest

from dirtune.host import LiveHost
from dirtune.probes import drops, ipvs, irq, locks
from dirtune.probes.kernel import Kernel

KALLSYMS = """\
ffffffff81000200 T native_queued_spin_lock_slowpath
ffffffffc0a01000 t ip_vs_in_hook\t[ip_vs]
"""
EVENTS = ("irq/irq_handler_entry", "irq/irq_handler_exit", "skb/kfree_skb")
REASON = "\tfield:enum skb_drop_reason reason;\toffset:28;\tsize:4;\tsigned:0;\n"


def kernel(root, *, events=EVENTS, kallsyms=KALLSYMS, kprobes=True, reason=REASON):
    files = {f"sys/kernel/tracing/events/{event}/format": "name: x\n" for event in events}
    if "skb/kfree_skb" in events:
        files["sys/kernel/tracing/events/skb/kfree_skb/format"] += reason
    if kallsyms is not None:
        files["proc/kallsyms"] = kallsyms
    if kprobes:
        files["sys/bus/event_source/devices/kprobe/type"] = "8\n"
    for path, text in files.items():
        Path(root, path).parent.mkdir(parents=True, exist_ok=True)
        Path(root, path).write_text(text)
    return Kernel(LiveHost(root))


def test_tracepoints_are_taken_where_they_are(tmp_path):
    events = (*EVENTS, "lock/contention_begin", "lock/contention_end")
    found = kernel(tmp_path, events=events)

    assert found.way(irq.PROBE).what == "raw tracepoints"
    assert found.way(locks.PROBE).what == "raw tracepoints"


def test_without_lock_tracepoints_the_slow_path_is_probed(tmp_path):
    way = kernel(tmp_path).way(locks.PROBE)

    assert way.what == "kprobes on native_queued_spin_lock_slowpath"
    assert way.macros == ("LOCK_KPROBES",)


def test_a_kernel_for_guests_is_probed_on_both_slow_paths(tmp_path):
    both = KALLSYMS + "ffffffff81000400 T __pv_queued_spin_lock_slowpath\n"
    way = kernel(tmp_path, kallsyms=both).way(locks.PROBE)

    assert {point.target for point in way.points} == {
        "native_queued_spin_lock_slowpath",
        "__pv_queued_spin_lock_slowpath",
    }


def test_a_kernel_with_neither_says_what_it_lacks(tmp_path):
    why = kernel(tmp_path, kprobes=False).way(locks.PROBE)

    assert "tracepoint lock:contention_begin" in why
    assert "CONFIG_KPROBE_EVENTS" in why


def test_drop_reasons_are_asked_for_where_the_event_has_them(tmp_path):
    assert kernel(tmp_path / "new").way(drops.PROBE).macros == ("DROP_REASON",)
    assert kernel(tmp_path / "old", reason="").way(drops.PROBE).macros == ()


def test_a_module_s_function_is_no_fentry_s(tmp_path):
    assert kernel(tmp_path / "module").way(ipvs.PROBE).what == "kprobes on ip_vs_in_hook"
    built_in = KALLSYMS.replace("\t[ip_vs]", "")
    assert kernel(tmp_path / "built", kallsyms=built_in).way(ipvs.PROBE).what == "fentry"


def test_without_ipvs_the_module_is_asked_for(tmp_path):
    why = kernel(tmp_path, kallsyms="").way(ipvs.PROBE)

    assert "ip_vs_in_hook" in why
    assert "module" in why


def test_where_tracefs_is_not_mounted_attaching_will_tell(tmp_path):
    assert kernel(tmp_path, events=()).way(irq.PROBE).what == "raw tracepoints"


@pytest.mark.parametrize("kallsyms", [None, "0000000000000000 T ip_vs_in_hook\n"])
def test_hidden_symbols_are_no_functions(tmp_path, kallsyms):
    assert isinstance(kernel(tmp_path, kallsyms=kallsyms).way(ipvs.PROBE), str)
