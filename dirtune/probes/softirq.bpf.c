// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures the time and the delay of each softirq on each CPU, and the work of each device's polls.
//
// Softirqs do not nest on a CPU, so one start time per vector and CPU is enough. A vector is raised on the CPU
// that will run it, and may be raised again before it runs; the delay begins with the first raise.

#ifndef DIRTUNE_BCC
struct net_device {
    char name[NAPI_NAME_BYTES];
} __attribute__((preserve_access_index));
struct napi_struct {
    struct net_device *dev;
    unsigned int napi_id;
} __attribute__((preserve_access_index));
#define NAPI_STRUCT_DEV KERNEL_OFFSET(napi_struct, dev)
#define NAPI_STRUCT_ID KERNEL_OFFSET(napi_struct, napi_id)
#define NET_DEVICE_NAME KERNEL_OFFSET(net_device, name)
#elif !defined(NAPI_STRUCT_DEV)
#include <linux/netdevice.h>
#define NAPI_STRUCT_DEV offsetof(struct napi_struct, dev)
#define NAPI_STRUCT_ID offsetof(struct napi_struct, napi_id)
#define NET_DEVICE_NAME offsetof(struct net_device, name)
#endif

#define SOFTIRQ_VECTORS 16

struct softirq_time {
    u64 raised_ns;
    u64 started_ns;
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
    u64 napi;
    u64 polls;
    u64 packets;
    u64 exhausted;
};

struct napi_name {
    u32 id;
    char device[NAPI_NAME_BYTES];
};

#ifndef CPU_NOW
#define CPU_NOW
PERCPU_ARRAY(cpu_now, struct cpu_now, 1);
#endif
PERCPU_ARRAY(softirq_times, struct softirq_time, SOFTIRQ_VECTORS);
PERCPU_ARRAY(softirq_delays, struct handler_delay, TABLE_SIZE);
PERCPU_ARRAY(napi_polls, struct napi_polls, TABLE_SIZE);
PERCPU_HASH(napi_more_polls, u64, struct napi_polls, NAPI_MAX_MORE);
HASH(napi_names, u64, struct napi_name, NAPI_MAX);
PERCPU_ARRAY(softirq_lost, u64, 1);
#ifndef IRQ_NAMES
#define IRQ_NAMES
struct irq_name {
    u32 irq;
    char name[IRQ_NAME_BYTES];
};

HASH(irq_names, u64, struct irq_name, IRQ_MAX_HANDLERS);
#endif

static __always_inline int softirq_count_lost(void)
{
    int zero = 0;
    u64 *lost = bpf_map_lookup_elem(&softirq_lost, &zero);

    if (lost)
        ++*lost;
    return 0;
}

// A receive softirq belongs to the handler that was running when the softirq was raised. Without one
// a packet of loopback or a thread raised it.
static __always_inline void softirq_raise_by_handler(void)
{
    int zero = 0;
    struct cpu_now *cpu = bpf_map_lookup_elem(&cpu_now, &zero);

    if (cpu) {
        cpu->raised_ns = cpu->handler_ns;
        cpu->raised_by = cpu->handler;
    }
}

static __always_inline int softirq_after_handler(u64 now)
{
    int zero = 0, entry;
    struct cpu_now *cpu = bpf_map_lookup_elem(&cpu_now, &zero);
    struct handler_delay *seen;

    if (!cpu || !cpu->raised_ns)
        return 0;
    cpu->received_by = cpu->raised_by;
    cpu->received_ns = cpu->raised_ns;
    cpu->raised_ns = 0;
    entry = entry_of(cpu->received_by);
    seen = bpf_map_lookup_elem(&softirq_delays, &entry);
    if (seen && add_delay(seen, cpu->received_by, now - cpu->received_ns))
        softirq_count_lost();
    return 0;
}

static __always_inline void softirq_received(void)
{
    int zero = 0;
    struct cpu_now *cpu = bpf_map_lookup_elem(&cpu_now, &zero);

    if (cpu)
        cpu->received_ns = 0;
}

// softirq_raise(unsigned int vec_nr)
SEC("raw_tp/softirq_raise")
int dt_softirq_raise(struct bpf_raw_tracepoint_args *ctx)
{
    int vector = ctx->args[0];
    struct softirq_time *seen = bpf_map_lookup_elem(&softirq_times, &vector);

    if (!seen || seen->raised_ns)
        return 0;
    seen->raised_ns = bpf_ktime_get_ns();
    if (vector == NET_RX_VECTOR)
        softirq_raise_by_handler();
    return 0;
}

// softirq_entry(unsigned int vec_nr)
SEC("raw_tp/softirq_entry")
int dt_softirq_entry(struct bpf_raw_tracepoint_args *ctx)
{
    int vector = ctx->args[0];
    u64 now = bpf_ktime_get_ns();
    struct softirq_time *seen = bpf_map_lookup_elem(&softirq_times, &vector);

    if (!seen)
        return softirq_count_lost();
    seen->started_ns = now;
    if (vector == NET_RX_VECTOR)
        softirq_after_handler(now);
    if (!seen->raised_ns)
        return 0;
    u64 waited = now - seen->raised_ns;
    seen->raised_ns = 0;

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
    int vector = ctx->args[0];
    u64 now = bpf_ktime_get_ns();
    struct softirq_time *seen = bpf_map_lookup_elem(&softirq_times, &vector);

    if (!seen || !seen->started_ns)
        return 0;
    u64 spent = now - seen->started_ns;
    seen->started_ns = 0;
    if (vector == NET_RX_VECTOR)
        softirq_received();

    seen->runs++;
    seen->total_ns += spent;
    seen->slots[slot_of(spent)]++;
    if (spent > seen->max_ns)
        seen->max_ns = spent;
    return 0;
}

static __always_inline int napi_keep_name(u64 napi)
{
    struct napi_name fresh = {};
    void *device = NULL;

    if (bpf_map_lookup_elem(&napi_names, &napi))
        return 0;
    bpf_probe_read_kernel(&fresh.id, sizeof(fresh.id), (void *)(napi + NAPI_STRUCT_ID));
    bpf_probe_read_kernel(&device, sizeof(device), (void *)(napi + NAPI_STRUCT_DEV));
    // A poll list without a device belongs to the backlog or to threads.
    if (device)
        bpf_probe_read_kernel_str(fresh.device, sizeof(fresh.device), device + NET_DEVICE_NAME);
    return bpf_map_update_elem(&napi_names, &napi, &fresh, BPF_ANY);
}

static __always_inline struct napi_polls *napi_in_hash(u64 napi)
{
    struct napi_polls *seen = bpf_map_lookup_elem(&napi_more_polls, &napi);
    struct napi_polls fresh = {};

    if (!seen) {
        if (napi_keep_name(napi))
            return NULL;
        bpf_map_update_elem(&napi_more_polls, &napi, &fresh, BPF_ANY);
        seen = bpf_map_lookup_elem(&napi_more_polls, &napi);
    }
    // An update fills the copies of the other CPUs with zeros.
    if (seen)
        seen->napi = napi;
    return seen;
}

// napi_poll(struct napi_struct *napi, int work, int budget)
SEC("raw_tp/napi_poll")
int dt_softirq_napi_poll(struct bpf_raw_tracepoint_args *ctx)
{
    u64 napi = ctx->args[0];
    int work = ctx->args[1], budget = ctx->args[2], entry = entry_of(napi);
    struct napi_polls *seen = bpf_map_lookup_elem(&napi_polls, &entry);

    if (!seen)
        return 0;
    if (seen->napi != napi) {
        if (seen->napi)
            seen = napi_in_hash(napi);
        else if (!napi_keep_name(napi))
            seen->napi = napi;
        else
            seen = NULL;
        if (!seen)
            return softirq_count_lost();
    }
    seen->polls++;
    seen->packets += work;
    if (work >= budget)
        seen->exhausted++;
    return 0;
}
