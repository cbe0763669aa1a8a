// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures the time and the delay of each softirq on each CPU, and the work of each device's polls.
//
// Softirqs do not nest on a CPU, so one start time per CPU is enough. A vector is raised on the CPU
// that will run it, and may be raised again before it runs; the delay begins with the first raise.

#ifndef DIRTUNE_BCC
struct net_device {
    char name[NAPI_NAME_BYTES];
} __attribute__((preserve_access_index));
struct napi_struct {
    struct net_device *dev;
} __attribute__((preserve_access_index));
#define NAPI_STRUCT_DEV KERNEL_OFFSET(napi_struct, dev)
#define NET_DEVICE_NAME KERNEL_OFFSET(net_device, name)
#elif !defined(NAPI_STRUCT_DEV)
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

PERCPU_ARRAY(softirq_started_ns, u64, 1);
PERCPU_ARRAY(softirq_raised_ns, u64, SOFTIRQ_VECTORS);
PERCPU_ARRAY(softirq_times, struct softirq_time, SOFTIRQ_VECTORS);
PERCPU_HASH(napi_devices, u64, struct napi_polls, NAPI_MAX);
PERCPU_ARRAY(softirq_lost, u64, 1);

static __always_inline int softirq_count_lost(void)
{
    int zero = 0;
    u64 *lost = bpf_map_lookup_elem(&softirq_lost, &zero);

    if (lost)
        ++*lost;
    return 0;
}

// softirq_raise(unsigned int vec_nr)
SEC("raw_tp/softirq_raise")
int dt_softirq_raise(struct bpf_raw_tracepoint_args *ctx)
{
    int vector = ctx->args[0];
    u64 *raised = bpf_map_lookup_elem(&softirq_raised_ns, &vector);

    if (raised && !*raised)
        *raised = bpf_ktime_get_ns();
    return 0;
}

// softirq_entry(unsigned int vec_nr)
SEC("raw_tp/softirq_entry")
int dt_softirq_entry(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0, vector = ctx->args[0];
    u64 now = bpf_ktime_get_ns();
    u64 *started = bpf_map_lookup_elem(&softirq_started_ns, &zero);
    u64 *raised = bpf_map_lookup_elem(&softirq_raised_ns, &vector);

    if (started)
        *started = now;
    if (!raised || !*raised)
        return 0;
    u64 waited = now - *raised;
    *raised = 0;

    struct softirq_time *seen = bpf_map_lookup_elem(&softirq_times, &vector);
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
SEC("raw_tp/softirq_exit")
int dt_softirq_exit(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0, vector = ctx->args[0];
    u64 *started = bpf_map_lookup_elem(&softirq_started_ns, &zero);

    if (!started || !*started)
        return 0;
    u64 spent = bpf_ktime_get_ns() - *started;
    *started = 0;

    struct softirq_time *seen = bpf_map_lookup_elem(&softirq_times, &vector);
    if (!seen)
        return softirq_count_lost();
    seen->runs++;
    seen->total_ns += spent;
    seen->slots[slot_of(spent)]++;
    if (spent > seen->max_ns)
        seen->max_ns = spent;
    return 0;
}

// napi_poll(struct napi_struct *napi, int work, int budget)
SEC("raw_tp/napi_poll")
int dt_softirq_napi_poll(struct bpf_raw_tracepoint_args *ctx)
{
    u64 napi = ctx->args[0];
    int work = ctx->args[1], budget = ctx->args[2];
    struct napi_polls *seen = bpf_map_lookup_elem(&napi_devices, &napi);

    if (!seen) {
        struct napi_polls fresh = {};
        void *device = NULL;

        bpf_probe_read_kernel(&device, sizeof(device), (void *)(napi + NAPI_STRUCT_DEV));
        // A poll list without a device belongs to the backlog or to threads.
        if (device)
            bpf_probe_read_kernel_str(fresh.device, sizeof(fresh.device),
                                      device + NET_DEVICE_NAME);
        bpf_map_update_elem(&napi_devices, &napi, &fresh, BPF_ANY);
        seen = bpf_map_lookup_elem(&napi_devices, &napi);
    }
    if (!seen)
        return softirq_count_lost();
    seen->polls++;
    seen->packets += work;
    if (work >= budget)
        seen->exhausted++;
    return 0;
}
