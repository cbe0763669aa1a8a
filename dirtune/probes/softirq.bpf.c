// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures the time and the delay of each softirq on each CPU, and the work of each device's polls.
//
// Softirqs do not nest on a CPU, so one start time per CPU is enough. A vector is raised on the CPU
// that will run it, and may be raised again before it runs; the delay begins with the first raise.

#ifndef NAPI_STRUCT_DEV
#include <linux/netdevice.h>
#define NAPI_STRUCT_DEV offsetof(struct napi_struct, dev)
#define NET_DEVICE_NAME offsetof(struct net_device, name)
#endif

#define SOFTIRQ_VECTORS 16

struct softirq_time {
    u64 runs;
    u64 total_ns;
    u64 max_ns;
    u64 delays;
    u64 delay_ns;
    u64 delay_max_ns;
    u64 slots[SLOTS];
    u64 delay_slots[SLOTS];
};

struct napi_polls {
    char device[NAPI_NAME_BYTES];
    u64 polls;
    u64 packets;
    u64 exhausted;
};

BPF_PERCPU_ARRAY(softirq_started_ns, u64, 1);
BPF_PERCPU_ARRAY(softirq_raised_ns, u64, SOFTIRQ_VECTORS);
BPF_PERCPU_ARRAY(softirq_times, struct softirq_time, SOFTIRQ_VECTORS);
BPF_TABLE("percpu_hash", u64, struct napi_polls, napi_devices, NAPI_MAX);
BPF_PERCPU_ARRAY(softirq_lost, u64, 1);

// softirq_raise(unsigned int vec_nr)
int dt_softirq_raise(struct bpf_raw_tracepoint_args *ctx)
{
    int vector = ctx->args[0];
    u64 *raised = softirq_raised_ns.lookup(&vector);

    if (raised && !*raised)
        *raised = bpf_ktime_get_ns();
    return 0;
}

// softirq_entry(unsigned int vec_nr)
int dt_softirq_entry(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0, vector = ctx->args[0];
    u64 now = bpf_ktime_get_ns();
    u64 *started = softirq_started_ns.lookup(&zero);
    u64 *raised = softirq_raised_ns.lookup(&vector);

    if (started)
        *started = now;
    if (!raised || !*raised)
        return 0;
    u64 waited = now - *raised;
    *raised = 0;

    struct softirq_time *seen = softirq_times.lookup(&vector);
    if (!seen)
        return 0;
    seen->delays++;
    seen->delay_ns += waited;
    seen->delay_slots[slot_of(waited)]++;
    if (waited > seen->delay_max_ns)
        seen->delay_max_ns = waited;
    return 0;
}

// softirq_exit(unsigned int vec_nr)
int dt_softirq_exit(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0, vector = ctx->args[0];
    u64 *started = softirq_started_ns.lookup(&zero);

    if (!started || !*started)
        return 0;
    u64 spent = bpf_ktime_get_ns() - *started;
    *started = 0;

    struct softirq_time *seen = softirq_times.lookup(&vector);
    if (!seen) {
        softirq_lost.increment(zero);
        return 0;
    }
    seen->runs++;
    seen->total_ns += spent;
    seen->slots[slot_of(spent)]++;
    if (spent > seen->max_ns)
        seen->max_ns = spent;
    return 0;
}

// napi_poll(struct napi_struct *napi, int work, int budget)
int dt_softirq_napi_poll(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0;
    u64 napi = ctx->args[0];
    int work = ctx->args[1], budget = ctx->args[2];
    struct napi_polls *seen = napi_devices.lookup(&napi);

    if (!seen) {
        struct napi_polls fresh = {};
        void *device = NULL;

        bpf_probe_read_kernel(&device, sizeof(device), (void *)(napi + NAPI_STRUCT_DEV));
        // A poll list without a device belongs to the backlog or to threads.
        if (device)
            bpf_probe_read_kernel_str(fresh.device, sizeof(fresh.device),
                                      device + NET_DEVICE_NAME);
        napi_devices.update(&napi, &fresh);
        seen = napi_devices.lookup(&napi);
    }
    if (!seen) {
        softirq_lost.increment(zero);
        return 0;
    }
    seen->polls++;
    seen->packets += work;
    if (work >= budget)
        seen->exhausted++;
    return 0;
}
