// What every interrupt handler costs, and whether its device had raised the line.
//
// Raw tracepoints hand over the irqaction itself, so the entry has only to note the time and
// the exit only to look up an eight-byte key; number and name are read once per handler.
// A handler's IRQ_NONE calls are the point: a line's partners run for every interrupt of the
// NIC and return just that.
//
// Handlers of one line run one after another on one CPU, and hard interrupts do not nest
// (local interrupts stay off while handlers run), so one start time per CPU is enough.

#include <linux/interrupt.h>

struct handler {
    u32 irq;
    char name[NAME_BYTES];
    u64 calls;
    u64 none;
    u64 wake_thread;
    u64 total_ns;
    u64 none_ns;
    u64 max_ns;
};

BPF_PERCPU_ARRAY(started_ns, u64, 1);
BPF_TABLE("percpu_hash", u64, struct handler, handlers, MAX_HANDLERS);
BPF_PERCPU_ARRAY(lost, u64, 1);

// irq_handler_entry(int irq, struct irqaction *action)
RAW_TRACEPOINT_PROBE(irq_handler_entry)
{
    int zero = 0;
    u64 *started = started_ns.lookup(&zero);

    if (started)
        *started = bpf_ktime_get_ns();
    return 0;
}

static __always_inline struct handler *first_call(u64 action, u32 irq)
{
    struct handler fresh = {.irq = irq};
    const char *name = NULL;

    bpf_probe_read_kernel(&name, sizeof(name), &((struct irqaction *)action)->name);
    bpf_probe_read_kernel_str(fresh.name, sizeof(fresh.name), name);
    handlers.update(&action, &fresh);
    return handlers.lookup(&action);
}

// irq_handler_exit(int irq, struct irqaction *action, int ret)
RAW_TRACEPOINT_PROBE(irq_handler_exit)
{
    u64 now = bpf_ktime_get_ns();
    u64 action = ctx->args[1];
    int ret = ctx->args[2];
    int zero = 0;
    u64 *started = started_ns.lookup(&zero);

    // Attached while this handler was running: its start was not seen.
    if (!started || !*started)
        return 0;
    u64 spent = now - *started;
    *started = 0;

    struct handler *seen = handlers.lookup(&action);
    if (!seen)
        seen = first_call(action, ctx->args[0]);
    if (!seen) {
        lost.increment(zero);
        return 0;
    }
    seen->calls++;
    seen->total_ns += spent;
    if (spent > seen->max_ns)
        seen->max_ns = spent;
    if (ret == IRQ_NONE) {
        seen->none++;
        seen->none_ns += spent;
    } else if (ret & IRQ_WAKE_THREAD) {
        seen->wake_thread++;
    }
    return 0;
}
