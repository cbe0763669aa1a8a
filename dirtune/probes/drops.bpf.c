// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Counts the packets that the kernel drops, by location and reason.

struct drop_key {
    u64 location;
    u32 reason;
    u32 unused;
};

BPF_TABLE("percpu_hash", struct drop_key, u64, drop_counts, DROP_MAX);
BPF_PERCPU_ARRAY(drop_lost, u64, 1);

// kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason)
// Before Linux 5.17 there is no reason, and DROP_REASON is not set.
int dt_drop_skb(struct bpf_raw_tracepoint_args *ctx)
{
    struct drop_key key = {.location = ctx->args[1]};
    u64 one = 1, *seen;
    int zero = 0;

#ifdef DROP_REASON
    key.reason = ctx->args[2];
#endif
    seen = drop_counts.lookup(&key);
    if (seen)
        (*seen)++;
    else if (drop_counts.update(&key, &one))
        drop_lost.increment(zero);
    return 0;
}
