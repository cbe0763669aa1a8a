// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Samples the kernel stack of each CPU 99 times a second, and counts equal stacks. A sample in user
// mode also counts for the program by its name, because a name outlives the short-lived processes
// of one program.
//
// Each CPU has its own copy of a count, so the copies give the samples per CPU.

// -EFAULT of get_stackid(): the CPU was in user mode, and has no kernel stack.
#define CPU_USER_MODE (-14)

struct cpu_key {
    s32 stack;
    u32 idle;
};

struct cpu_program {
    char name[CPU_NAME_BYTES];
};

PERCPU_HASH(cpu_samples, struct cpu_key, u64, CPU_MAX_STACKS);
PERCPU_HASH(cpu_programs, struct cpu_program, u64, CPU_MAX_PROGRAMS);
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

// A program that the map has no room for stays without a name: its sample is counted as user mode.
static __always_inline void cpu_count_program(void)
{
    struct cpu_program program = {};
    u64 one = 1, *seen;

    bpf_get_current_comm(&program, sizeof(program));
    seen = bpf_map_lookup_elem(&cpu_programs, &program);
    if (seen)
        (*seen)++;
    else
        bpf_map_update_elem(&cpu_programs, &program, &one, BPF_ANY);
}

SEC("perf_event")
int dt_cpu_sample(void *ctx)
{
    struct cpu_key key = {.idle = (u32)bpf_get_current_pid_tgid() == 0};
    u64 one = 1, *seen;

    key.stack = bpf_get_stackid(ctx, &cpu_stacks, 0);
    if (key.stack == CPU_USER_MODE)
        cpu_count_program();
    seen = bpf_map_lookup_elem(&cpu_samples, &key);
    if (seen)
        (*seen)++;
    else if (bpf_map_update_elem(&cpu_samples, &key, &one, BPF_ANY))
        return cpu_count_lost();
    return 0;
}
