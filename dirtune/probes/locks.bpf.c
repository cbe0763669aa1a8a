// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures which code waits for which kernel lock, and how long.
//
// A wait begins and ends in one task, but an interrupt may begin another wait in between, so starts
// are stored by task and lock. The idle tasks of two CPUs are two tasks.

struct lock_waiter {
    u64 task;
    u64 lock;
};

struct lock_start {
    u64 at_ns;
    u32 flags;
    s32 stack;
};

struct lock_key {
    u64 lock;
    u32 flags;
    s32 stack;
};

struct lock_waits {
    u64 waits;
    u64 total_ns;
    u64 max_ns;
    u64 slots[SLOTS];
};

HASH(lock_starts, struct lock_waiter, struct lock_start, LOCK_MAX_WAITERS);
PERCPU_HASH(lock_contended, struct lock_key, struct lock_waits, LOCK_MAX_LOCKS);
PERCPU_ARRAY(lock_fresh, struct lock_waits, 1);
STACKS(lock_stacks, LOCK_MAX_STACKS);
PERCPU_ARRAY(lock_lost, u64, 1);

static __always_inline int lock_count_lost(void)
{
    int zero = 0;
    u64 *lost = bpf_map_lookup_elem(&lock_lost, &zero);

    if (lost)
        ++*lost;
    return 0;
}

static __always_inline int lock_begin(void *ctx, u64 lock, u32 flags)
{
    struct lock_waiter waiter = {.task = bpf_get_current_task(), .lock = lock};
    struct lock_start start = {.flags = flags};

    // A wait for a mutex begins twice, to spin and then to sleep, and ends once.
    if (bpf_map_lookup_elem(&lock_starts, &waiter))
        return 0;
    start.stack = bpf_get_stackid(ctx, &lock_stacks, 0);
    start.at_ns = bpf_ktime_get_ns();
    if (bpf_map_update_elem(&lock_starts, &waiter, &start, BPF_ANY))
        return lock_count_lost();
    return 0;
}

static __always_inline struct lock_waits *lock_of(struct lock_key *key)
{
    int zero = 0;
    struct lock_waits *seen = bpf_map_lookup_elem(&lock_contended, key);
    struct lock_waits *fresh;

    if (seen)
        return seen;
    fresh = bpf_map_lookup_elem(&lock_fresh, &zero);
    if (!fresh)
        return NULL;
    bpf_map_update_elem(&lock_contended, key, fresh, BPF_ANY);
    return bpf_map_lookup_elem(&lock_contended, key);
}

static __always_inline int lock_end(u64 lock)
{
    struct lock_waiter waiter = {.task = bpf_get_current_task(), .lock = lock};
    u64 now = bpf_ktime_get_ns();
    struct lock_start *start = bpf_map_lookup_elem(&lock_starts, &waiter);

    if (!start)
        return 0;
    struct lock_key key = {.lock = lock, .flags = start->flags, .stack = start->stack};
    u64 waited = now - start->at_ns;
    bpf_map_delete_elem(&lock_starts, &waiter);

    struct lock_waits *seen = lock_of(&key);
    if (!seen)
        return lock_count_lost();
    seen->waits++;
    seen->total_ns += waited;
    seen->slots[slot_of(waited)]++;
    if (waited > seen->max_ns)
        seen->max_ns = waited;
    return 0;
}

// contention_begin(void *lock, unsigned int flags)
SEC("raw_tp/contention_begin")
int dt_lock_contention_begin(struct bpf_raw_tracepoint_args *ctx)
{
    return lock_begin(ctx, ctx->args[0], ctx->args[1]);
}

// contention_end(void *lock, int ret)
SEC("raw_tp/contention_end")
int dt_lock_contention_end(struct bpf_raw_tracepoint_args *ctx)
{
    return lock_end(ctx->args[0]);
}

#define LOCK_SPIN 1

// The return of a slow path does not name the lock. A CPU waits in only one slow path at a time per
// context, and the innermost path returns first.
PERCPU_ARRAY(lock_spinning, u64, LOCK_CONTEXTS);
PERCPU_ARRAY(lock_depth, u32, 1);

static __always_inline int lock_slowpath(void *ctx, u64 lock)
{
    int zero = 0;
    u32 *depth = bpf_map_lookup_elem(&lock_depth, &zero);

    if (!depth || *depth >= LOCK_CONTEXTS)
        return 0;
    u32 index = *depth;
    u64 *mine = bpf_map_lookup_elem(&lock_spinning, (int *)&index);
    if (!mine)
        return 0;
    *mine = lock;
    *depth = index + 1;
    return lock_begin(ctx, lock, LOCK_SPIN);
}

SEC("kretprobe")
int dt_lock_slowpath_return(void *ctx)
{
    int zero = 0;
    u32 *depth = bpf_map_lookup_elem(&lock_depth, &zero);

    if (!depth || !*depth)
        return 0;
    u32 index = *depth - 1;
    *depth = index;
    u64 *mine = bpf_map_lookup_elem(&lock_spinning, (int *)&index);
    return mine ? lock_end(*mine) : 0;
}

#ifndef DIRTUNE_BCC

SEC("kprobe")
int dt_lock_slowpath_x86_64(u64 *ctx)
{
    return lock_slowpath(ctx, ctx[ARGUMENT_x86_64]);
}

SEC("kprobe")
int dt_lock_slowpath_aarch64(u64 *ctx)
{
    return lock_slowpath(ctx, ctx[ARGUMENT_aarch64]);
}

#elif defined(LOCK_KPROBES)
#include <uapi/linux/ptrace.h>

int dt_lock_slowpath(struct pt_regs *ctx)
{
    return lock_slowpath(ctx, PT_REGS_PARM1(ctx));
}
#endif
