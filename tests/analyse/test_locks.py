"""Names of kernel locks, by symbol or by who takes them; functions as Linux 6.1 names them."""

import pytest

from dirtune.analyse.locks import from_caller, lock_kind, lock_name

TABLE = "__ip_vs_conntbl_lock_array"
SLOW = ("native_queued_spin_lock_slowpath", "_raw_spin_lock")
IN = ("ip_vs_schedule [ip_vs]", "ip_vs_in_hook [ip_vs]", "nf_hook_slow")
NEW = ("_raw_spin_lock_bh", "ip_vs_conn_new [ip_vs]")
SET = ("__mutex_lock.constprop.0", "mutex_lock", "do_ip_vs_set_ctl [ip_vs]")


@pytest.mark.parametrize(
    ("symbol", "frames", "name", "caller"),
    [
        # a lock with a symbol, whoever takes it
        ("__ip_vs_conntbl_lock_array+0x2c0 [ip_vs]", NEW, TABLE, "ip_vs_conn_new"),
        ("__ip_vs_mutex [ip_vs]", SET, "__ip_vs_mutex", "do_ip_vs_set_ctl"),
        # one without, by who takes it
        (None, "ip_vs_rr_schedule [ip_vs_rr]", "svc->sched_lock", "ip_vs_rr_schedule"),
        (None, "ip_vs_wrr_schedule+0x1f [ip_vs_wrr]", "svc->sched_lock", "ip_vs_wrr_schedule"),
        (None, "ip_vs_lblc_schedule [ip_vs_lblc]", "svc->sched_lock", "ip_vs_lblc_schedule"),
        (None, "ip_vs_lblcr_schedule [ip_vs_lblcr]", "svc->sched_lock", "ip_vs_lblcr_schedule"),
        (None, "ip_vs_sync_conn [ip_vs]", "ipvs->sync_buff_lock", "ip_vs_sync_conn"),
        (None, "ip_vs_sync_conn_v0 [ip_vs]", "ipvs->sync_buff_lock", "ip_vs_sync_conn_v0"),
        (None, "sb_queue_tail.isra.0 [ip_vs]", "ipvs->sync_lock", "sb_queue_tail"),
        (None, "__dev_queue_xmit", "qdisc root lock", "__dev_queue_xmit"),
        (None, "sch_direct_xmit", "qdisc root lock", "sch_direct_xmit"),
        # least connections takes no lock of its service; what has no name keeps its caller's
        (None, "ip_vs_wlc_schedule [ip_vs_wlc]", "ip_vs_wlc_schedule", "ip_vs_wlc_schedule"),
        (None, "ip_vs_sync_conn_needed", "ip_vs_sync_conn_needed", "ip_vs_sync_conn_needed"),
    ],
)  # fmt: skip
def test_name_and_caller(symbol, frames, name, caller):
    stack = (*SLOW, *((frames,) if isinstance(frames, str) else frames), *IN)

    assert lock_name(symbol, stack) == (name, caller)


def test_a_stack_that_was_lost_leaves_what_is_known():
    assert lock_name(None, ()) == ("unknown", "unknown")
    assert lock_name("rtnl_mutex", SLOW) == ("rtnl_mutex", "unknown")


@pytest.mark.parametrize(
    "above",
    [
        ("bpf_prog_2f1c_lock_contention_begin", "bpf_trace_run2", "__traceiter_contention_begin"),
        ("__bpf_trace_contention_begin", "__pv_queued_spin_lock_slowpath", "_raw_spin_lock_bh"),
        ("trace_call_bpf", "kprobe_perf_func", "kprobe_ftrace_handler", "ftrace_trampoline"),
        ("bpf_get_stackid_raw_tp", "queued_write_lock_slowpath", "_raw_write_lock_bh"),
        ("queued_read_lock_slowpath", "_raw_read_lock"),
        ("rwsem_down_read_slowpath", "down_read"),
        ("rwsem_down_write_slowpath", "down_write_killable"),
        ("osq_lock", "__mutex_lock.isra.0", "mutex_lock_interruptible"),
        ("rt_mutex_slowlock.constprop.0", "rt_mutex_lock"),
        ("rtlock_slowlock_locked", "rt_spin_lock"),
        ("rwbase_read_lock", "rt_read_lock"),
        ("percpu_rwsem_wait", "__percpu_down_read"),
        ("__down_common", "__down_timeout", "down_timeout"),
    ],
)  # fmt: skip
def test_the_locks_own_functions_are_not_the_caller(above):
    rest = ("tcp_state_transition [ip_vs]", "ip_vs_in_hook [ip_vs]")

    assert from_caller((*above, *rest)) == rest


@pytest.mark.parametrize(
    "caller", ["lock_sock_nested", "perf_event_task_tick", "bpf_map_update_elem", "unlock_page",
               "tracer_init", "down_the_hall", "mutex_spin_on_owner_x"],
)  # fmt: skip
def test_a_function_that_only_sounds_like_one_is_a_caller(caller):
    assert from_caller((*SLOW, caller)) == (caller,)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (1, "spinlock"),
        (3, "rwlock:R"),
        (5, "rwlock"),
        (2, "rwsem:R"),
        (4, "rwsem"),
        (8, "rt-mutex"),
        (18, "percpu-rwsem:R"),
        (20, "percpu-rwsem"),
        (32, "mutex"),
        (33, "mutex"),
        (0, "semaphore"),
        (64, "flags 0x40"),
    ],
)
def test_kind(flags, kind):
    assert lock_kind(flags) == kind
