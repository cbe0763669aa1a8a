// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures the time that IPVS spends on a packet, from the entry of its netfilter hook to the
// return. If IPVS forwards the packet, it has been handed to the device by then.
//
// A forwarded packet passes the same hook again on its way out, inside the first pass, so only the
// outermost pass counts. A pass whose return was missed, because the number of return probes is
// limited, is discarded when it is old.

#define IPVS_NF_STOLEN 2

struct ipvs_time {
    u64 packets;
    u64 forwarded;
    u64 total_ns;
    u64 max_ns;
    u64 slots[SLOTS];
};

#define IPVS_OLD_NS 1000000000ULL

struct ipvs_start {
    u64 at_ns;
    u64 task;
    u64 depth;
};

#ifndef CPU_NOW
#define CPU_NOW
PERCPU_ARRAY(cpu_now, struct cpu_now, 1);
#endif
PERCPU_ARRAY(ipvs_delays, struct handler_delay, TABLE_SIZE);
PERCPU_ARRAY(ipvs_started, struct ipvs_start, 1);
PERCPU_ARRAY(ipvs_times, struct ipvs_time, 1);

#ifndef IRQ_NAMES
#define IRQ_NAMES
struct irq_name {
    u32 irq;
    char name[IRQ_NAME_BYTES];
};

HASH(irq_names, u64, struct irq_name, IRQ_MAX_HANDLERS);
#endif

// The first packet of a receive softirq that reaches IPVS shows how long packets are on their way.
static __always_inline void ipvs_after_handler(u64 now)
{
    int zero = 0, entry;
    struct cpu_now *cpu = bpf_map_lookup_elem(&cpu_now, &zero);
    struct handler_delay *seen;

    if (!cpu || !cpu->received_ns)
        return;
    entry = entry_of(cpu->received_by);
    seen = bpf_map_lookup_elem(&ipvs_delays, &entry);
    if (seen)
        add_delay(seen, cpu->received_by, now - cpu->received_ns);
    cpu->received_ns = 0;
}

static __always_inline int ipvs_begin(void)
{
    int zero = 0;
    u64 now = bpf_ktime_get_ns(), task = bpf_get_current_task();
    struct ipvs_start *start = bpf_map_lookup_elem(&ipvs_started, &zero);

    if (!start)
        return 0;
    if (start->depth && start->task == task && now - start->at_ns < IPVS_OLD_NS) {
        start->depth++;
        return 0;
    }
    start->task = task;
    start->at_ns = now;
    start->depth = 1;
    ipvs_after_handler(now);
    return 0;
}

static __always_inline int ipvs_end(u32 verdict)
{
    int zero = 0;
    u64 now = bpf_ktime_get_ns();
    struct ipvs_start *start = bpf_map_lookup_elem(&ipvs_started, &zero);
    struct ipvs_time *seen = bpf_map_lookup_elem(&ipvs_times, &zero);

    if (!start || !seen || !start->depth || start->task != bpf_get_current_task())
        return 0;
    if (--start->depth)
        return 0;
    u64 spent = now - start->at_ns;

    seen->packets++;
    seen->total_ns += spent;
    seen->slots[slot_of(spent)]++;
    if (spent > seen->max_ns)
        seen->max_ns = spent;
    if (verdict == IPVS_NF_STOLEN)
        seen->forwarded++;
    return 0;
}

#ifndef DIRTUNE_BCC

// ip_vs_in_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
SEC("fentry/ip_vs_in_hook")
int dt_ipvs_hook(void *ctx)
{
    return ipvs_begin();
}

// The arguments and then the result.
SEC("fexit/ip_vs_in_hook")
int dt_ipvs_hook_return(u64 *ctx)
{
    return ipvs_end(ctx[3]);
}

SEC("kprobe")
int dt_ipvs_in(void *ctx)
{
    return ipvs_begin();
}

SEC("kretprobe")
int dt_ipvs_in_return_x86_64(u64 *ctx)
{
    return ipvs_end(ctx[RESULT_x86_64]);
}

SEC("kretprobe")
int dt_ipvs_in_return_aarch64(u64 *ctx)
{
    return ipvs_end(ctx[RESULT_aarch64]);
}

#else
#include <uapi/linux/ptrace.h>

int dt_ipvs_in(struct pt_regs *ctx)
{
    return ipvs_begin();
}

int dt_ipvs_in_return(struct pt_regs *ctx)
{
    return ipvs_end(PT_REGS_RC(ctx));
}
#endif
