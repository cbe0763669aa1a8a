// SPDX-License-Identifier: GPL-2.0-only OR MIT
// What all probes share. Each probe is written once, in the words of libbpf, and built twice: ahead
// of time with clang into NAME.bpf.o, which libbpf fits to the kernel by the kernel's type
// information, and by bcc on a host where that does not work. compiled.py gives bcc its own words
// for an access to a map, because bcc does not know any other.

#ifdef DIRTUNE_BCC

// The kernel allows GPL-only helpers in programs with this license; bcc writes it into the objects.
#define BPF_LICENSE Dual MIT/GPL

#undef SEC
#define SEC(name)
#define PERCPU_ARRAY(name, value, size) BPF_PERCPU_ARRAY(name, value, size)
#define PERCPU_HASH(name, key, value, size) BPF_TABLE("percpu_hash", key, value, name, size)
#define HASH(name, key, value, size) BPF_HASH(name, key, value, size)
#define STACKS(name, size) BPF_STACK_TRACE(name, size)

#else

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define NULL ((void *)0)
// The offset of a member in the running kernel: BPF_FIELD_BYTE_OFFSET, which libbpf fills in.
#define KERNEL_OFFSET(type, member) \
    __builtin_preserve_field_info(((struct type *)0)->member, 0)

typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;

struct bpf_raw_tracepoint_args {
    u64 args[4];
};

// The registers in struct pt_regs that hold the first argument and the result of a function, as
// numbers of 64 bits. They depend on the architecture, and never on the kernel, so a program that
// reads one exists once for each architecture; prebuilt.py knows its name.
#define ARGUMENT_x86_64 14
#define RESULT_x86_64 10
#define ARGUMENT_aarch64 0
#define RESULT_aarch64 0

// enum bpf_map_type and enum bpf_func_id, include/uapi/linux/bpf.h: numbers that never change.
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_PERCPU_HASH 5
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_STACK_TRACE 7
#define BPF_ANY 0
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value,
                                   u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static long (*bpf_get_stackid)(void *ctx, void *map, u64 flags) = (void *)27;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;

#define MAP(name, kind, key_type, value_type, size) \
    struct {                                        \
        int (*type)[kind];                          \
        int (*max_entries)[size];                   \
        key_type *key;                              \
        value_type *value;                          \
    } name SEC(".maps")
#define PERCPU_ARRAY(name, value, size) MAP(name, BPF_MAP_TYPE_PERCPU_ARRAY, u32, value, size)
#define PERCPU_HASH(name, key, value, size) \
    MAP(name, BPF_MAP_TYPE_PERCPU_HASH, key, value, size)
#define HASH(name, key, value, size) MAP(name, BPF_MAP_TYPE_HASH, key, value, size)
// PERF_MAX_STACK_DEPTH addresses, of which the kernel fills as many as the stack has.
struct stack_addresses {
    u64 at[127];
};
#define STACKS(name, size) MAP(name, BPF_MAP_TYPE_STACK_TRACE, u32, struct stack_addresses, size)

char dirtune_license[] SEC("license") = "Dual MIT/GPL";
// The sources and the compiler of this object, which tests compare with those of the checkout.
char dirtune_built_from[] SEC(".dirtune") = BUILT_FROM;

#endif

// The histogram's slots, which all probes share. Slot k counts 2^k to 2^(k+1) - 1 ns; slot 0 also
// counts 0, and the last slot all longer times.
#define SLOTS 32

static __always_inline u32 slot_of(u64 ns)
{
    // The logarithm by comparisons: clang 14 cannot count leading zeros for BPF.
    u32 rest = ns >> SLOTS ? ~0U : ns;
    u32 slot = (rest > 0xFFFF) << 4, more;

    rest >>= slot;
    more = (rest > 0xFF) << 3;
    rest >>= more;
    slot |= more;
    more = (rest > 0xF) << 2;
    rest >>= more;
    slot |= more;
    more = (rest > 0x3) << 1;
    rest >>= more;
    slot |= more | rest >> 1;
    // The mask below changes nothing, as the compiler knows; the verifier must see the mask.
    asm volatile("" : "+r"(slot));
    return slot & (SLOTS - 1);
}

// The entry of a per-CPU table of 2^TABLE_BITS entries for an address of the kernel. A lookup in an
// array is a few instructions; one in a hash is a call, and the hash of a key costs as much again.
// Each CPU gives an entry to the first address that wants it; another address with the same entry
// goes to a hash.
#define TABLE_BITS 8
#define TABLE_SIZE (1 << TABLE_BITS)

static __always_inline int entry_of(u64 address)
{
    return address * 0x9E3779B97F4A7C15ULL >> (64 - TABLE_BITS);
}

#define NET_RX_VECTOR 3

// What a CPU is doing. The probes irq, softirq and ipvs share this map, so that a receive softirq
// and a packet know the interrupt that they come from; each works without the others.
struct cpu_now {
    u64 handler_ns;   // the start of the running interrupt handler; 0 if none runs
    u64 handler;
    u64 raised_ns;    // the start of the handler that raised the next NET_RX; 0 if it was no handler
    u64 raised_by;
    u64 received_ns;  // the same of the running NET_RX, until its first packet reaches IPVS
    u64 received_by;
};

// How long after the call of an interrupt handler something happened that the handler caused.
struct handler_delay {
    u64 handler;
    u64 events;
    u64 total_ns;
    u64 max_ns;
    u64 slots[SLOTS];
};

// Add a delay, unless the entry belongs to another handler; then it is not recorded.
static __always_inline int add_delay(struct handler_delay *seen, u64 handler, u64 ns)
{
    if (!seen->handler)
        seen->handler = handler;
    if (seen->handler != handler)
        return 1;
    seen->events++;
    seen->total_ns += ns;
    seen->slots[slot_of(ns)]++;
    if (ns > seen->max_ns)
        seen->max_ns = ns;
    return 0;
}
