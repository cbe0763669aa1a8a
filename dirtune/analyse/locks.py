"""Name a contended kernel lock and the function that waited for the lock. Pure.

A static lock of the kernel or a module has a symbol. A lock in allocated memory has no symbol; the
table below gives its name in the kernel source by the function that takes the lock (see
net/netfilter/ipvs/ip_vs_rr.c and ip_vs_sync.c, and net/core/dev.c).
"""

import re

# include/trace/events/lock.h, flags of lock:contention_begin
_SPIN, _READ, _WRITE, _RT, _PERCPU, _MUTEX = (1 << bit for bit in range(6))
_KINDS = {
    0: "semaphore",
    _SPIN: "spinlock",
    _SPIN | _READ: "rwlock:R",
    _SPIN | _WRITE: "rwlock",
    _READ: "rwsem:R",
    _WRITE: "rwsem",
    _RT: "rt-mutex",
    _RT | _READ: "rwlock-rt:R",
    _RT | _WRITE: "rwlock-rt",
    _PERCPU | _READ: "percpu-rwsem:R",
    _PERCPU | _WRITE: "percpu-rwsem",
    _MUTEX: "mutex",
    _MUTEX | _SPIN: "mutex",  # spins before it sleeps
}

# These functions take the lock of the queueing discipline for every outgoing packet. If a device
# has no queueing discipline, __dev_queue_xmit takes the lock of the device queue, and dirtune
# cannot tell the two locks apart.
_BY_CALLER = (
    (re.compile(r"ip_vs_(rr|wrr|lblcr?)_\w+"), "svc->sched_lock"),
    (re.compile(r"ip_vs_sync_conn(_v0)?|get_curr_sync_buff"), "ipvs->sync_buff_lock"),
    (re.compile(r"sb_(queue_tail|dequeue)"), "ipvs->sync_lock"),
    (re.compile(r"__dev_queue_xmit|__dev_xmit_skb|sch_direct_xmit"), "qdisc root lock"),
)

# Functions between the waiting function and the recorded event: code of the lock and the probe.
_NOT_A_CALLER = re.compile(
    r"""
    (native_|__pv_|pv_|__raw_callee_save_\w*)?queued_(spin|read|write)_lock\w*
    | _*(do_)?_?raw_(spin|read|write)_(try)?lock\w* | (spin|read|write)_lock(_\w+)?
    | osq_lock | _*(ww_)?mutex_\w*lock\w* | _*rt_mutex_\w*lock\w* | _*rt_(spin|read|write)_lock\w*
    | rtlock_slowlock\w* | _*rwbase_(read|write)_lock\w* | rwsem_down_(read|write)_\w+
    | _*down(_(read|write|interruptible|killable|timeout|common|trylock))*(_nested)?
    | _*percpu_(down_(read|write)\w*|rwsem_wait)
    | _*bpf_(prog|trace|get_stack|dispatcher|overflow)_?\w* | trace_call_bpf | bpf_trampoline\w*
    | _*trace(iter)?_\w+ | perf_(trace_\w+|tp_event|call_bpf_enter)
    | k(ret)?probe_\w+ | aggr_pre_handler | opt_pre_handler | optimized_callback
    | ftrace_\w+ | arch_ftrace_\w+ | _*(asm_)?exc_int3 | do_int3
    """,
    re.VERBOSE,
)
_UNKNOWN = "unknown"


def lock_kind(flags: int) -> str:
    """Return the kind of a lock, such as `mutex`, from the flags of `lock:contention_begin`.

    A reader's wait has `:R` at the end, as in `rwsem:R`.
    """
    return _KINDS.get(flags, f"flags {flags:#x}")


def from_caller(stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return *stack* without the functions of the lock, so that the waiting function comes first.

    The innermost function of *stack* comes first. The result is empty if no function is left.
    """
    for depth, frame in enumerate(stack):
        if not _NOT_A_CALLER.fullmatch(_function(frame)):
            return stack[depth:]
    return ()


def lock_name(symbol_of_address: str | None, stack: tuple[str, ...]) -> tuple[str, str]:
    """Return the name of a lock and the name of the function that waited for the lock.

    *symbol_of_address* is the symbol that contains the lock, or None if the lock is in allocated
    memory. *stack* holds kernel functions, the innermost first, as `name` or `name [module]`. The
    name of the lock is the symbol, else its name in the kernel source, else the name of the
    waiting function, else `unknown`.
    """
    seen = from_caller(stack)
    caller = _function(seen[0]) if seen else _UNKNOWN
    if symbol_of_address:
        return _function(symbol_of_address), caller
    names = (name for pattern, name in _BY_CALLER if pattern.fullmatch(caller))
    return next(names, caller), caller


def _function(frame: str) -> str:
    """Return the function name in *frame*, without offset, module and compiler suffix."""
    return re.split(r"[+ .]", frame.strip(), maxsplit=1)[0]
