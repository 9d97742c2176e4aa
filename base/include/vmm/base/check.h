/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Checked arithmetic for numbers from outside (guest, peer, file, user). All are thread safe. */
#ifndef VMM_BASE_CHECK_H
#define VMM_BASE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

/* a OP b into *ret; true when it fits the type of *ret. */
#define vm_add(a, b, ret) (!__builtin_add_overflow((a), (b), (ret)))
#define vm_sub(a, b, ret) (!__builtin_sub_overflow((a), (b), (ret)))
#define vm_mul(a, b, ret) (!__builtin_mul_overflow((a), (b), (ret)))

/* [start, start + len) lies in [0, limit). An empty range lies in it where start <= limit. */
static inline bool vm_range_in(uint64_t start, uint64_t len, uint64_t limit)
{
    return start <= limit && len <= limit - start;
}

/* [a, a + alen) and [b, b + blen) share a byte. The ends must not wrap. */
static inline bool vm_ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
    return alen && blen && a <= b + (blen - 1) && b <= a + (alen - 1);
}

static inline bool vm_is_pow2(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* Rounds v up to a multiple of align (a power of two); false when that does not fit 64 bits. */
static inline bool vm_align_up(uint64_t v, uint64_t align, uint64_t *ret)
{
    if (!vm_add(v, align - 1, ret))
        return false;
    *ret &= ~(align - 1);
    return true;
}

/* The low n bytes set (n from 1 to 8): the mask of an access of that width. */
static inline uint64_t vm_mask_bytes(unsigned n)
{
    return n >= 8 ? UINT64_MAX : (1ULL << (n * 8)) - 1;
}

#endif
