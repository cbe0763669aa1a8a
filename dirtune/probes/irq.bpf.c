// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Measures the cost of every interrupt handler, and whether its device had raised the line.
//
// Raw tracepoints pass the irqaction itself, so the entry only stores the time, and the exit only
// looks up its counts in an array; number and name are read once per handler. The important figure
// is the calls that return IRQ_NONE: the partners on a NIC's line run for every interrupt of the NIC
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
    u64 action;
    u64 calls;
    u64 none;
    u64 wake_thread;
    u64 total_ns;
    u64 none_ns;
    u64 max_ns;
    u64 slots[SLOTS];
};

#ifndef CPU_NOW
#define CPU_NOW
PERCPU_ARRAY(cpu_now, struct cpu_now, 1);
#endif
PERCPU_ARRAY(irq_handlers, struct irq_handler, TABLE_SIZE);
PERCPU_HASH(irq_more_handlers, u64, struct irq_handler, IRQ_MAX_MORE);
PERCPU_ARRAY(irq_fresh, struct irq_handler, 1);
PERCPU_ARRAY(irq_lost, u64, 1);
#ifndef IRQ_NAMES
#define IRQ_NAMES
struct irq_name {
    u32 irq;
    char name[IRQ_NAME_BYTES];
};

HASH(irq_names, u64, struct irq_name, IRQ_MAX_HANDLERS);
#endif

#ifndef DIRTUNE_BCC
// The time of a call includes the end of dt_irq_entry, the way out of it and the way into
// dt_irq_exit. Two programs with the same instructions at one point have nothing else between them;
// the point is one that dirtune reaches by itself, by giving its thread the name that it has.
struct irq_empty {
    u64 action;
    u64 started_ns;
    u64 calls;
    u64 total_ns;
};

PERCPU_ARRAY(irq_empty, struct irq_empty, 1);

SEC("raw_tp/task_rename")
int dt_irq_empty_entry(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0;
    struct irq_empty *empty = bpf_map_lookup_elem(&irq_empty, &zero);

    if (empty) {
        empty->action = ctx->args[1];
        empty->started_ns = bpf_ktime_get_ns();
    }
    return 0;
}

SEC("raw_tp/task_rename")
int dt_irq_empty_exit(void *ctx)
{
    u64 now = bpf_ktime_get_ns();
    int zero = 0;
    struct irq_empty *empty = bpf_map_lookup_elem(&irq_empty, &zero);

    if (!empty || !empty->started_ns)
        return 0;
    empty->total_ns += now - empty->started_ns;
    empty->started_ns = 0;
    empty->calls++;
    return 0;
}
#endif

// irq_handler_entry(int irq, struct irqaction *action)
SEC("raw_tp/irq_handler_entry")
int dt_irq_entry(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0;
    struct cpu_now *cpu = bpf_map_lookup_elem(&cpu_now, &zero);

    if (cpu) {
        cpu->handler = ctx->args[1];
        cpu->handler_ns = bpf_ktime_get_ns();
    }
    return 0;
}

static __always_inline int irq_keep_name(u64 action, u32 irq)
{
    struct irq_name fresh = {.irq = irq};
    const char *name = NULL;

    if (bpf_map_lookup_elem(&irq_names, &action))
        return 0;
    bpf_probe_read_kernel(&name, sizeof(name), (void *)(action + IRQACTION_NAME));
    bpf_probe_read_kernel_str(fresh.name, sizeof(fresh.name), name);
    return bpf_map_update_elem(&irq_names, &action, &fresh, BPF_ANY);
}

static __always_inline struct irq_handler *irq_in_hash(u64 action, u32 irq)
{
    int zero = 0;
    struct irq_handler *seen = bpf_map_lookup_elem(&irq_more_handlers, &action);
    // A struct with its histogram is too large for the stack of a program.
    struct irq_handler *fresh = bpf_map_lookup_elem(&irq_fresh, &zero);

    if (!seen) {
        if (!fresh || irq_keep_name(action, irq))
            return NULL;
        bpf_map_update_elem(&irq_more_handlers, &action, fresh, BPF_ANY);
        seen = bpf_map_lookup_elem(&irq_more_handlers, &action);
    }
    // An update fills the copies of the other CPUs with zeros.
    if (seen)
        seen->action = action;
    return seen;
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
    int zero = 0, entry = entry_of(action);
    struct cpu_now *cpu = bpf_map_lookup_elem(&cpu_now, &zero);

    // The probe was attached while this handler was running, so its start is unknown.
    if (!cpu || !cpu->handler_ns)
        return 0;
    u64 spent = now - cpu->handler_ns;
    cpu->handler_ns = 0;

    struct irq_handler *seen = bpf_map_lookup_elem(&irq_handlers, &entry);
    if (!seen)
        return 0;
    if (seen->action != action) {
        if (seen->action)
            seen = irq_in_hash(action, ctx->args[0]);
        else if (!irq_keep_name(action, ctx->args[0]))
            seen->action = action;
        else
            seen = NULL;
        if (!seen)
            return irq_count_lost();
    }
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
