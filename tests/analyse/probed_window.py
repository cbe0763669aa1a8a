"""One probed window of a director, for several tests: 10 s, numbers that are easy to work out."""

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.probed import (
    CpuWindow,
    LockWaits,
    LockWindow,
    ProbeCost,
    Probed,
    SoftirqTime,
    SoftirqWindow,
    Stack,
)

# 10,000 interrupts in 10 s; the card's handler takes 10 us, each of the partner's calls 20 us.
HANDLERS = HandlerWindow(
    10.0,
    (
        HandlerCalls(10, "eth0", 10_000, 0, 0, 100_000_000, 0, 900),
        HandlerCalls(10, "aic7xxx", 10_000, 10_000, 0, 200_000_000, 200_000_000, 900),
    ),
    {"10": 10_000},
)
NET_RX = SoftirqWindow(
    10.0, (SoftirqTime("NET_RX", 0, 9000, 2_000_000_000, 900, 9000, 45_000_000, 80),), (), {}
)


def stack(frames, samples, cpu=0, *, idle=False):
    return Stack(cpu, tuple(frames.split(";")) if frames else (), idle, samples)


INTERRUPTED = "cpu_startup_entry;do_idle;native_safe_halt;asm_common_interrupt;common_interrupt"
SOFTIRQ = f"{INTERRUPTED};__irq_exit_rcu;handle_softirqs"
STACKS = (
    stack("cpu_startup_entry;do_idle;default_idle_call;native_safe_halt", 500, idle=True),
    # Found where interrupts come on again: the handlers' and the way in and out.
    stack(SOFTIRQ, 100, idle=True),
    stack(f"{SOFTIRQ};net_rx_action;__napi_poll;e1000_clean [e1000]", 150, idle=True),
    stack(f"{SOFTIRQ};net_rx_action;__napi_poll;process_backlog", 50, idle=True),
    stack(f"{SOFTIRQ};net_rx_action;ip_rcv;nf_hook_slow;ip_vs_in_hook [ip_vs];kmalloc", 100),
    stack("", 90),
    stack("entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_read", 10),
)
CPU = CpuWindow(10.0, 99, STACKS)
LOCKS = LockWindow(
    10.0,
    (
        LockWaits("svc->sched_lock", "spinlock", "ip_vs_rr_schedule", (), 500, 600_000_000, 9),
        LockWaits("__ip_vs_mutex", "mutex", "do_ip_vs_set_ctl", (), 2, 9_000_000_000, 9),
    ),
)
PROBED = Probed(
    seconds=10.0,
    handlers=HANDLERS,
    softirqs=NET_RX,
    cpu=CPU,
    locks=LOCKS,
    max_overhead_percent=1.0,
    costs=(ProbeCost("irq", "raw tracepoints", 10.0, 4_000_000, 40_000),),
)
