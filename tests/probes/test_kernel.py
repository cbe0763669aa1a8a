"""Which way of attaching a probe a kernel has; trees as kernels show them."""

from pathlib import Path

import pytest

from dirtune.host import LiveHost
from dirtune.probes import compiled, drops, ipvs, irq, locks, prebuilt
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

    assert found.way(irq.PROBE, prebuilt.KINDS).what == "raw tracepoints"
    assert found.way(locks.PROBE, prebuilt.KINDS).what == "raw tracepoints"


def test_where_a_tracepoint_is_no_symbol_is_read(tmp_path):
    events = (*EVENTS, "lock/contention_begin", "lock/contention_end")
    found = kernel(tmp_path, events=events)
    ways = found.ways(locks.PROBE, prebuilt.KINDS)

    assert next(ways).what == "raw tracepoints"
    assert "symbols" not in vars(found), "they are a hundred thousand rows"
    assert next(ways).what == "kprobes on native_queued_spin_lock_slowpath"


def test_without_lock_tracepoints_the_slow_path_is_probed(tmp_path):
    way = kernel(tmp_path).way(locks.PROBE, compiled.KINDS)

    assert way.what == "kprobes on native_queued_spin_lock_slowpath"
    assert way.macros == ("LOCK_KPROBES",)


def test_a_kernel_for_guests_is_probed_on_both_slow_paths(tmp_path):
    both = KALLSYMS + "ffffffff81000400 T __pv_queued_spin_lock_slowpath\n"
    way = kernel(tmp_path, kallsyms=both).way(locks.PROBE, compiled.KINDS)

    assert {point.target for point in way.points} == {
        "native_queued_spin_lock_slowpath",
        "__pv_queued_spin_lock_slowpath",
    }


def test_a_kernel_with_neither_says_what_it_lacks(tmp_path):
    why = kernel(tmp_path, kprobes=False).way(locks.PROBE, compiled.KINDS)

    assert "tracepoint lock:contention_begin" in why
    assert "CONFIG_KPROBE_EVENTS" in why


def test_drop_reasons_are_asked_for_where_the_event_has_them(tmp_path):
    for root, reason, what in (
        ("new", REASON, "raw tracepoint"),
        ("old", "", "raw tracepoint without reasons"),
    ):
        found = kernel(tmp_path / root, reason=reason)
        assert found.way(drops.PROBE, prebuilt.KINDS).what == what
        assert found.way(drops.PROBE, compiled.KINDS).what == what


@pytest.mark.parametrize(("module", "types"), [("\t[ip_vs]", "ip_vs"), ("", "vmlinux")])
def test_fentry_needs_the_types_of_what_holds_the_function(tmp_path, module, types):
    symbols = KALLSYMS.replace("\t[ip_vs]", module)
    found = kernel(tmp_path, kallsyms=symbols)
    other = {"ip_vs": "vmlinux", "vmlinux": "ip_vs"}[types]
    (tmp_path / "sys/kernel/btf").mkdir()
    (tmp_path / "sys/kernel/btf" / other).touch()
    for kinds in (prebuilt.KINDS, compiled.KINDS):
        assert found.way(ipvs.PROBE, kinds).what == "kprobes on ip_vs_in_hook"
    Path(tmp_path, "sys/bus/event_source/devices/kprobe/type").unlink()
    bare = kernel(tmp_path, kallsyms=symbols, kprobes=False)
    why = bare.way(ipvs.PROBE, prebuilt.KINDS)
    assert f"no type information in /sys/kernel/btf/{types}" in why
    assert "without kprobes (CONFIG_KPROBE_EVENTS)" in why

    (tmp_path / "sys/kernel/btf" / types).touch()
    assert found.way(ipvs.PROBE, prebuilt.KINDS).what == "fentry"


def test_before_5_14_the_part_of_the_function_that_was_not_inlined_is_probed(tmp_path):
    # Debian's 5.10 has no type information of modules, and these functions of IPVS.
    old = "ffffffffc0a01000 t ip_vs_in.part.0\t[ip_vs]\nffffffffc0a02000 t ip_vs_out\t[ip_vs]\n"
    way = kernel(tmp_path, kallsyms=old).way(ipvs.PROBE, prebuilt.KINDS)

    assert way.what == "kprobes on ip_vs_in.part.0"


def test_without_ipvs_the_module_is_asked_for(tmp_path):
    why = kernel(tmp_path, kallsyms="").way(ipvs.PROBE, compiled.KINDS)

    assert "ip_vs_in_hook" in why
    assert "module" in why


def test_where_tracefs_is_not_mounted_attaching_will_tell(tmp_path):
    assert kernel(tmp_path, events=()).way(irq.PROBE, prebuilt.KINDS).what == "raw tracepoints"


@pytest.mark.parametrize("kallsyms", [None, "0000000000000000 T ip_vs_in_hook\n"])
def test_hidden_symbols_are_no_functions(tmp_path, kallsyms):
    found = kernel(tmp_path, kallsyms=kallsyms)
    assert isinstance(found.way(ipvs.PROBE, compiled.KINDS), str)
    assert isinstance(found.way(ipvs.PROBE, prebuilt.KINDS), str)
