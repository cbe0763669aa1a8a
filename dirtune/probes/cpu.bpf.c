// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Samples the kernel stack of each CPU 99 times a second, and counts equal stacks.
//
// Each CPU has its own copy of a count, so the copies give the samples per CPU.

struct cpu_key {
    s32 stack;
    u32 idle;
};

PERCPU_HASH(cpu_samples, struct cpu_key, u64, CPU_MAX_STACKS);
STACKS(cpu_stacks, CPU_MAX_STACKS);
PERCPU_ARRAY(cpu_lost, u64, 1);

static __always_inline int cpu_count_lost(void)
{
    int zero = 0;
    u64 *lost = bpf_map_lookup_elem(&cpu_lost, &zero);

    if (lost)
        ++*lost;
    return 0;
}

SEC("perf_event")
int dt_cpu_sample(void *ctx)
{
    struct cpu_key key = {.idle = (u32)bpf_get_current_pid_tgid() == 0};
    u64 one = 1, *seen;

    // -EFAULT means that the CPU was in user mode and has no kernel stack.
    key.stack = bpf_get_stackid(ctx, &cpu_stacks, 0);
    seen = bpf_map_lookup_elem(&cpu_samples, &key);
    if (seen)
        (*seen)++;
    else if (bpf_map_update_elem(&cpu_samples, &key, &one, BPF_ANY))
        return cpu_count_lost();
    return 0;
}
