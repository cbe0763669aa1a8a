// SPDX-License-Identifier: GPL-2.0-only OR MIT
// The least that a measurement of two points can cost: the time at each, and the difference added
// to one number per CPU. tests/bench_probes.py compares the probes with it.

PERCPU_ARRAY(floor_started_ns, u64, 1);
PERCPU_ARRAY(floor_total_ns, u64, 1);

static __always_inline int floor_begin(void)
{
    int zero = 0;
    u64 *started = bpf_map_lookup_elem(&floor_started_ns, &zero);

    if (started)
        *started = bpf_ktime_get_ns();
    return 0;
}

static __always_inline int floor_end(void)
{
    int zero = 0;
    u64 now = bpf_ktime_get_ns();
    u64 *started = bpf_map_lookup_elem(&floor_started_ns, &zero);
    u64 *total = bpf_map_lookup_elem(&floor_total_ns, &zero);

    if (started && total)
        *total += now - *started;
    return 0;
}

SEC("raw_tp/irq_handler_entry")
int floor_irq_begin(void *ctx)
{
    return floor_begin();
}

SEC("raw_tp/irq_handler_exit")
int floor_irq_end(void *ctx)
{
    return floor_end();
}

SEC("raw_tp/softirq_entry")
int floor_softirq_begin(void *ctx)
{
    return floor_begin();
}

SEC("raw_tp/softirq_exit")
int floor_softirq_end(void *ctx)
{
    return floor_end();
}
