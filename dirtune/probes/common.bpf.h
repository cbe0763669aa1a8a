// SPDX-License-Identifier: GPL-2.0-only OR MIT
// What every probe shares: the histogram's slots. Slot k counts 2^k to 2^(k+1) - 1 ns, the last
// one all that is longer.
#define SLOTS 32

// The kernel lends its GPL-only helpers to programs that say this; bcc writes it into the objects.
#define BPF_LICENSE Dual MIT/GPL

static __always_inline u32 slot_of(u64 ns)
{
    // bpf_log2l() counts from one, and is one for 0 as well.
    u32 slot = bpf_log2l(ns) - 1;

    if (slot >= SLOTS)
        slot = SLOTS - 1;
    // The compiler knows that the mask below changes nothing; the verifier must see it.
    asm volatile("" : "+r"(slot));
    return slot & (SLOTS - 1);
}
