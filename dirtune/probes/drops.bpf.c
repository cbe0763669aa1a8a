// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Counts the packets that the kernel drops, by location and reason.

struct drop_key {
    u64 location;
    u32 reason;
    u32 unused;
};

PERCPU_HASH(drop_counts, struct drop_key, u64, DROP_MAX);
PERCPU_ARRAY(drop_lost, u64, 1);

static __always_inline int drop_count_lost(void)
{
    int zero = 0;
    u64 *lost = bpf_map_lookup_elem(&drop_lost, &zero);

    if (lost)
        ++*lost;
    return 0;
}

static __always_inline int drop_count(u64 location, u32 reason)
{
    struct drop_key key = {.location = location, .reason = reason};
    u64 one = 1, *seen = bpf_map_lookup_elem(&drop_counts, &key);

    if (seen)
        (*seen)++;
    else if (bpf_map_update_elem(&drop_counts, &key, &one, BPF_ANY))
        return drop_count_lost();
    return 0;
}

// kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason)
SEC("raw_tp/kfree_skb")
int dt_drop_skb_reason(struct bpf_raw_tracepoint_args *ctx)
{
    return drop_count(ctx->args[1], ctx->args[2]);
}

// Before Linux 5.17 there is no reason, and a program that reads it cannot be attached.
SEC("raw_tp/kfree_skb")
int dt_drop_skb(struct bpf_raw_tracepoint_args *ctx)
{
    return drop_count(ctx->args[1], 0);
}
