/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A token bucket: a rate limit for bytes, packets or requests. It holds at most size tokens, an empty one is full again after
 * period_ns, and in between it fills evenly. It is exact: whatever the steps in which it is looked at, over any time not one token
 * more or fewer comes than size / period_ns says. once is a number of tokens beyond that, which are used up first and do not come
 * back.
 *
 * Time comes from the caller (vm_loop_now_ns(), vm_now_ns()); one that goes back brings nothing. Belongs to its owner's lock.
 */
#ifndef VMM_BASE_BUCKET_H
#define VMM_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define VM_BUCKET_MAX (1ULL << 62) /* of sizes and of periods (146 years): more is taken for this */

struct vm_bucket {
    uint64_t size; /* 0: no limit */
    uint64_t period_ns;
    uint64_t tokens, once;
    uint64_t rest; /* what has come beyond the last whole token, in tokens / period_ns */
    uint64_t last_ns;
};

/* Full. size 0: no limit. period_ns 0 is taken for 1. */
void vm_bucket_init(struct vm_bucket *bucket, uint64_t size, uint64_t period_ns, uint64_t once,
                    uint64_t now_ns);
/* Another limit from now on; what is there stays, as far as it fits. A bucket without a limit becomes a full one. */
void vm_bucket_set(struct vm_bucket *bucket, uint64_t size, uint64_t period_ns, uint64_t now_ns);
/* How many could be taken now; UINT64_MAX without a limit. */
uint64_t vm_bucket_look(struct vm_bucket *bucket, uint64_t now_ns);
/* Takes count, or nothing. More than the bucket holds are given when it is full, and leave a debt of none: who wants the rate to be
 * kept for such takes them in pieces. */
bool vm_bucket_take(struct vm_bucket *bucket, uint64_t count, uint64_t now_ns);
/* Brings back what was taken and not used. */
void vm_bucket_give_back(struct vm_bucket *bucket, uint64_t count);
/* In how many nanoseconds count can be taken; 0: now. */
uint64_t vm_bucket_wait_ns(struct vm_bucket *bucket, uint64_t count, uint64_t now_ns);

#endif
