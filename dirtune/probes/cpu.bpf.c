// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Samples the kernel stack of each CPU 99 times a second, and counts equal stacks.
//
// Each CPU has its own copy of a count, so the copies give the samples per CPU.

struct cpu_key {
    s32 stack;
    u32 idle;
};

BPF_TABLE("percpu_hash", struct cpu_key, u64, cpu_samples, CPU_MAX_STACKS);
BPF_STACK_TRACE(cpu_stacks, CPU_MAX_STACKS);
BPF_PERCPU_ARRAY(cpu_lost, u64, 1);

int dt_cpu_sample(void *ctx)
{
    struct cpu_key key = {.idle = (u32)bpf_get_current_pid_tgid() == 0};
    u64 one = 1, *seen;
    int zero = 0;

    // -EFAULT means that the CPU was in user mode and has no kernel stack.
    key.stack = cpu_stacks.get_stackid(ctx, 0);
    seen = cpu_samples.lookup(&key);
    if (seen)
        (*seen)++;
    else if (cpu_samples.update(&key, &one))
        cpu_lost.increment(zero);
    return 0;
}
