"""The name of a contended kernel lock, and the function that wanted it. Pure.

A lock in the data of the kernel or a module has a symbol. A lock in an allocated structure has
none; its name in the source is derived from the function that takes it, by the table below: see
net/netfilter/ipvs/ip_vs_rr.c and ip_vs_sync.c, and net/core/dev.c.
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

# Every packet that leaves takes the queueing discipline's lock in these; for a device without one,
# __dev_queue_xmit takes the lock of the device queue, and the two cannot be separated.
_BY_CALLER = (
    (re.compile(r"ip_vs_(rr|wrr|lblcr?)_\w+"), "svc->sched_lock"),
    (re.compile(r"ip_vs_sync_conn(_v0)?|get_curr_sync_buff"), "ipvs->sync_buff_lock"),
    (re.compile(r"sb_(queue_tail|dequeue)"), "ipvs->sync_lock"),
    (re.compile(r"__dev_queue_xmit|__dev_xmit_skb|sch_direct_xmit"), "qdisc root lock"),
)

# Frames above the caller: the slow path, the lock's own function, the recorder of the stack.
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
    """Return the kind of a lock by its *flags* in `lock:contention_begin`; readers have `:R`."""
    return _KINDS.get(flags, f"flags {flags:#x}")


def from_caller(stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return the part of *stack* that begins with the function that wanted the lock.

    The innermost function comes first. The result is empty without such a function.
    """
    for depth, frame in enumerate(stack):
        if not _NOT_A_CALLER.fullmatch(_function(frame)):
            return stack[depth:]
    return ()


def lock_name(symbol_of_address: str | None, stack: tuple[str, ...]) -> tuple[str, str]:
    """Return the lock's name and the function that wanted it.

    *symbol_of_address* is the symbol that contains the lock, or None for allocated memory. *stack*
    holds kernel functions, the innermost first, as `name` or `name [module]`. The lock's name is
    the symbol, or the source's name for the lock that the function takes, or the function's name,
    or `unknown`.
    """
    seen = from_caller(stack)
    caller = _function(seen[0]) if seen else _UNKNOWN
    if symbol_of_address:
        return _function(symbol_of_address), caller
    names = (name for pattern, name in _BY_CALLER if pattern.fullmatch(caller))
    return next(names, caller), caller


def _function(frame: str) -> str:
    """Return a symbol without its offset, its module and the compiler's suffix."""
    return re.split(r"[+ .]", frame.strip(), maxsplit=1)[0]
