// SPDX-License-Identifier: GPL-2.0-only OR MIT
// The histogram's slots, which all probes share. Slot k counts 2^k to 2^(k+1) - 1 ns; the last slot
// also counts all longer times.
#define SLOTS 32

// The kernel allows GPL-only helpers in programs with this license; bcc writes it into the objects.
#define BPF_LICENSE Dual MIT/GPL

static __always_inline u32 slot_of(u64 ns)
{
    // bpf_log2l() counts from one, and also returns one for 0.
    u32 slot = bpf_log2l(ns) - 1;

    if (slot >= SLOTS)
        slot = SLOTS - 1;
    // The mask below changes nothing, as the compiler knows; the verifier must see the mask.
    asm volatile("" : "+r"(slot));
    return slot & (SLOTS - 1);
}
