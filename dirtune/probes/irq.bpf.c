// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures the cost of every interrupt handler, and whether its device had raised the line.
//
// Raw tracepoints pass the irqaction itself, so the entry only stores the time, and the exit only
// looks up an eight-byte key; number and name are read once per handler. The important figure is
// the calls that return IRQ_NONE: the partners on a NIC's line run for every interrupt of the NIC
// and return IRQ_NONE.
//
// Handlers of one line run one after another on one CPU, and hard interrupts do not nest
// (local interrupts stay off while handlers run), so one start time per CPU is enough.

// irqreturn_t, include/linux/irqreturn.h: a kernel interface that tracepoints publish.
#define IRQ_PROBE_NONE 0
#define IRQ_PROBE_WAKE_THREAD 2

#ifndef DIRTUNE_BCC
struct irqaction {
    const char *name;
} __attribute__((preserve_access_index));
#define IRQACTION_NAME KERNEL_OFFSET(irqaction, name)
#elif !defined(IRQACTION_NAME)
#include <linux/interrupt.h>
#define IRQACTION_NAME offsetof(struct irqaction, name)
#endif

struct irq_handler {
    u32 irq;
    char name[IRQ_NAME_BYTES];
    u64 calls;
    u64 none;
    u64 wake_thread;
    u64 total_ns;
    u64 none_ns;
    u64 max_ns;
    u64 slots[SLOTS];
};

PERCPU_ARRAY(irq_started_ns, u64, 1);
PERCPU_HASH(irq_handlers, u64, struct irq_handler, IRQ_MAX_HANDLERS);
PERCPU_ARRAY(irq_fresh, struct irq_handler, 1);
PERCPU_ARRAY(irq_lost, u64, 1);

// irq_handler_entry(int irq, struct irqaction *action)
SEC("raw_tp/irq_handler_entry")
int dt_irq_entry(void *ctx)
{
    int zero = 0;
    u64 *started = bpf_map_lookup_elem(&irq_started_ns, &zero);

    if (started)
        *started = bpf_ktime_get_ns();
    return 0;
}

static __always_inline struct irq_handler *irq_first_call(u64 action, u32 irq)
{
    int zero = 0;
    // A struct with its histogram is too large for the stack of a program.
    struct irq_handler *fresh = bpf_map_lookup_elem(&irq_fresh, &zero);
    const char *name = NULL;

    if (!fresh)
        return NULL;
    fresh->irq = irq;
    bpf_probe_read_kernel(&name, sizeof(name), (void *)(action + IRQACTION_NAME));
    bpf_probe_read_kernel_str(fresh->name, sizeof(fresh->name), name);
    bpf_map_update_elem(&irq_handlers, &action, fresh, BPF_ANY);
    return bpf_map_lookup_elem(&irq_handlers, &action);
}

static __always_inline int irq_count_lost(void)
{
    int zero = 0;
    u64 *lost = bpf_map_lookup_elem(&irq_lost, &zero);

    if (lost)
        ++*lost;
    return 0;
}

// irq_handler_exit(int irq, struct irqaction *action, int ret)
SEC("raw_tp/irq_handler_exit")
int dt_irq_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u64 now = bpf_ktime_get_ns();
    u64 action = ctx->args[1];
    int ret = ctx->args[2];
    int zero = 0;
    u64 *started = bpf_map_lookup_elem(&irq_started_ns, &zero);

    // The probe was attached while this handler was running, so its start is unknown.
    if (!started || !*started)
        return 0;
    u64 spent = now - *started;
    *started = 0;

    struct irq_handler *seen = bpf_map_lookup_elem(&irq_handlers, &action);
    if (!seen)
        seen = irq_first_call(action, ctx->args[0]);
    if (!seen)
        return irq_count_lost();
    seen->calls++;
    seen->total_ns += spent;
    seen->slots[slot_of(spent)]++;
    if (spent > seen->max_ns)
        seen->max_ns = spent;
    if (ret == IRQ_PROBE_NONE) {
        seen->none++;
        seen->none_ns += spent;
    } else if (ret & IRQ_PROBE_WAKE_THREAD) {
        seen->wake_thread++;
    }
    return 0;
}
