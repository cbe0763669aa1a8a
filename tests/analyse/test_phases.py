"""What CPU time was spent on, worked out by hand from stacks and handlers."""

import probed_window as window
import pytest
from msgspec.structs import replace

from dirtune.analyse import phases
from dirtune.analyse.phases import Phase, classify

IDLE_STACK = "secondary_startup_64;cpu_startup_entry;do_idle;default_idle_call;native_safe_halt"
SOFTIRQ = f"{IDLE_STACK};asm_common_interrupt;common_interrupt;__irq_exit_rcu;handle_softirqs"


@pytest.mark.parametrize(
    ("frames", "idle", "expected"),
    [
        ("", False, "user"),
        (IDLE_STACK, True, "idle"),
        (SOFTIRQ, True, "interrupt entry and exit"),
        (f"{IDLE_STACK};asm_common_interrupt;common_interrupt", True, "interrupt entry and exit"),
        (
            "do_IRQ;handle_irq_event;__handle_irq_event_percpu;aic7xxx_isr",
            False,
            "interrupt entry and exit",
        ),
        (f"{SOFTIRQ};net_rx_action;__napi_poll;napi_consume_skb", True, "network core"),
        (f"{SOFTIRQ};run_timer_softirq;call_timer_fn", True, "other softirqs"),
        (f"{SOFTIRQ};net_rx_action;__napi_poll;e1000_clean [e1000];memcpy", True, "driver"),
        # A timer of IPVS's is IPVS's, and so is what it calls in the kernel's core.
        (f"{SOFTIRQ};run_timer_softirq;ip_vs_conn_expire [ip_vs];kfree", True, "IPVS"),
        (f"{SOFTIRQ};ip_vs_rr_schedule [ip_vs_rr]", False, "IPVS"),
        # IPVS in the kernel itself has no module.
        (f"{SOFTIRQ};nf_hook_slow;ip_vs_in_hook;ip_vs_in", False, "IPVS"),
        (f"{SOFTIRQ};ip_rcv;nf_hook_slow", False, "netfilter"),
        (f"{SOFTIRQ};ip_rcv;nft_do_chain [nf_tables]", False, "netfilter"),
        (f"{SOFTIRQ};ipt_do_table [ip_tables]", False, "netfilter"),
        # What the driver does to send IPVS's packet is the driver's.
        (f"{SOFTIRQ};ip_vs_dr_xmit [ip_vs];dev_hard_start_xmit;igb_xmit [igb]", False, "driver"),
        (f"{SOFTIRQ};bpf_trace_run1;bpf_prog_3d4c_softirq_entry [bpf]", True, "dirtune's probes"),
        ("ret_from_fork;kthread;smpboot_thread_fn;run_ksoftirqd", False, "other softirqs"),
        ("entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_read", False, "other kernel"),
        # The idle task's own work beside waiting has no interrupt's frames.
        ("cpu_startup_entry;do_idle;tick_nohz_idle_exit", True, "idle"),
    ],
)
def test_a_stack_belongs_to_its_innermost_owner(frames, idle, expected):
    assert classify(tuple(frames.split(";")) if frames else (), idle=idle) == expected


def by_name(found):
    return {phase.name: phase for phase in found}


def test_stacks_and_handlers_share_the_busy_time():
    # 500 of 1,000 samples were busy: 50 % of a CPU. The 100 of interrupts are a fifth: 10 %, of
    # which the handlers are known to have taken 1 and 2.
    found = phases.phases(window.PROBED, 50.0, user_percent=9.0)

    assert by_name(found) == {
        "driver": Phase("driver", pytest.approx(15.0), "stacks"),
        "IPVS": Phase("IPVS", pytest.approx(10.0), "stacks"),
        "user": Phase("user", pytest.approx(9.0), "stacks"),
        "interrupt entry and exit": Phase(
            "interrupt entry and exit", pytest.approx(7.0), "stacks"
        ),
        "network core": Phase("network core", pytest.approx(5.0), "stacks"),
        "handler aic7xxx (irq 10)": Phase(
            "handler aic7xxx (irq 10)", pytest.approx(2.0), "irq probe"
        ),
        "handler eth0 (irq 10)": Phase("handler eth0 (irq 10)", pytest.approx(1.0), "irq probe"),
        "other kernel": Phase("other kernel", pytest.approx(1.0), "stacks"),
    }
    assert sum(phase.percent for phase in found) == pytest.approx(50.0)
    assert [p.percent for p in found] == sorted((p.percent for p in found), reverse=True)


def test_handlers_that_took_more_than_the_samples_say_leave_the_others_the_rest():
    slow = replace(window.HANDLERS.handlers[1], total_ns=1_900_000_000)
    handlers = replace(window.HANDLERS, handlers=(window.HANDLERS.handlers[0], slow))
    found = phases.phases(replace(window.PROBED, handlers=handlers), 50.0, user_percent=9.0)

    # 1 + 19 of 50 are handlers; 30 are left for what had 40.
    assert "interrupt entry and exit" not in by_name(found)
    assert by_name(found)["driver"].percent == pytest.approx(15.0 * 30 / 40)
    assert sum(phase.percent for phase in found) == pytest.approx(50.0)


def test_without_stacks_the_softirq_probe_and_the_kernel_s_columns_tell():
    # 50 busy: 9 user, NET_RX 2 s of 10, handlers 3, and 18 that nothing tells more of.
    found = by_name(phases.phases(replace(window.PROBED, cpu=None), 50.0, user_percent=9.0))

    assert found["softirq NET_RX"] == Phase("softirq NET_RX", pytest.approx(20.0), "softirq probe")
    assert found["user"].percent == 9.0
    assert found["other kernel"] == Phase("other kernel", pytest.approx(18.0), "/proc/stat")


def test_symbols_and_modules_are_the_innermost_functions():
    assert phases.top_symbols(window.CPU) == {
        "e1000_clean [e1000]": 150,
        "handle_softirqs": 100,
        "kmalloc": 100,
        "process_backlog": 50,
        "ksys_read": 10,
    }
    assert phases.by_module(window.CPU) == {"kernel": 260, "e1000": 150}


def test_folded_stacks_are_what_flame_graphs_read():
    lines = phases.folded(window.CPU).splitlines()

    assert "cpu0;[user] 90" in lines
    assert "cpu0;entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_read 10" in lines
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == 1000
