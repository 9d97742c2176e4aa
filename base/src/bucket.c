/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Token buckets: whole numbers only, and what a division leaves is kept for the next time. */
#include <vmm/base/bucket.h>

#include <stddef.h>

struct quotient {
    uint64_t whole, rest;
};

/* a * b / c, a < c < 2^62, when the product does not fit 64 bits: bit by bit of b, (a * its head) / c is known. The quotient is at most b. */
static struct quotient scale_slowly(uint64_t a, uint64_t b, uint64_t c)
{
    struct quotient q = { 0, 0 };

    for (uint64_t bit = 1ULL << 63; bit; bit >>= 1) {
        uint64_t sum = 2 * q.rest + (b & bit ? a : 0); /* below 3 * c */

        q.whole = 2 * q.whole + sum / c;
        q.rest = sum % c;
    }
    return q;
}

/* a * b / c with its rest, c from 1 to 2^62, a at most c: then the quotient is at most b. */
static struct quotient scale(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t product;

    if (!__builtin_mul_overflow(a, b, &product))
        return (struct quotient){ product / c, product % c };
    if (a == c)
        return (struct quotient){ b, 0 };
    return scale_slowly(a, b, c);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void fill(struct vm_bucket *b)
{
    b->tokens = b->size;
    b->rest = 0;
}

/* What came since the last time. */
static void flow(struct vm_bucket *b, uint64_t now_ns)
{
    uint64_t passed = now_ns > b->last_ns ? now_ns - b->last_ns : 0, missing = b->size - b->tokens;
    struct quotient q;

    b->last_ns = now_ns;
    if (passed >= b->period_ns) {
        fill(b);
        return;
    }
    q = scale(passed, b->size, b->period_ns);
    q.rest += b->rest;
    if (q.rest >= b->period_ns) {
        q.rest -= b->period_ns;
        q.whole++;
    }
    if (q.whole >= missing) {
        fill(b);
        return;
    }
    b->tokens += q.whole;
    b->rest = q.rest;
}

static uint64_t period_of(uint64_t period_ns)
{
    return !period_ns ? 1 : least(period_ns, VM_BUCKET_MAX);
}

void vm_bucket_init(struct vm_bucket *b, uint64_t size, uint64_t period_ns, uint64_t once,
                    uint64_t now_ns)
{
    size = least(size, VM_BUCKET_MAX);
    *b = (struct vm_bucket){ .size = size,
                             .period_ns = period_of(period_ns),
                             .tokens = size,
                             .once = size ? once : 0,
                             .last_ns = now_ns };
}

void vm_bucket_set(struct vm_bucket *b, uint64_t size, uint64_t period_ns, uint64_t now_ns)
{
    if (!b->size) {
        vm_bucket_init(b, size, period_ns, 0, now_ns);
        return;
    }
    flow(b, now_ns);
    b->size = least(size, VM_BUCKET_MAX);
    b->period_ns = period_of(period_ns);
    b->tokens = least(b->tokens, b->size);
    b->rest = 0;
}

uint64_t vm_bucket_look(struct vm_bucket *b, uint64_t now_ns)
{
    uint64_t sum;

    if (!b->size)
        return UINT64_MAX;
    flow(b, now_ns);
    return __builtin_add_overflow(b->tokens, b->once, &sum) ? UINT64_MAX : sum;
}

bool vm_bucket_take(struct vm_bucket *b, uint64_t count, uint64_t now_ns)
{
    uint64_t have = vm_bucket_look(b, now_ns), first;

    if (!b->size)
        return true;
    if (have < count && b->tokens < b->size)
        return false;
    first = least(count, b->once);
    b->once -= first;
    b->tokens -= least(b->tokens, count - first);
    return true;
}

void vm_bucket_give_back(struct vm_bucket *b, uint64_t count)
{
    b->tokens += least(count, b->size - b->tokens);
}

/* rest and count tokens that are missing: the first moment at which passed * size + rest reaches count * period. */
uint64_t vm_bucket_wait_ns(struct vm_bucket *b, uint64_t count, uint64_t now_ns)
{
    uint64_t have = vm_bucket_look(b, now_ns), missing, part;
    struct quotient q;

    if (have >= count || !b->size || b->tokens == b->size)
        return 0;
    missing = least(count - have, b->size - b->tokens);
    /* missing * period / size: whole periods do not occur, for missing is at most size */
    q = scale(missing, b->period_ns, b->size);
    if (q.rest > b->rest)
        return q.whole + 1;
    part = (b->rest - q.rest) / b->size;
    return q.whole > part ? q.whole - part : 1;
}
