/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Dirty bitmaps: byte page / 8, bit page % 8. This is the layout of vhost's log in user memory
 * (vhost-user protocol, "Migration"), and on little-endian hosts that of KVM's words.
 *
 * Bits are set after the bytes they stand for were written (release), and taken before those bytes
 * are read (acquire): a page is never copied in an old state and its mark lost. For the same reason
 * a mark does not look whether its bit is set already: the look could pass the data's store.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

#include "memory_private.h"

struct gm_dirty {
    uint8_t *bits;
    uint64_t bytes;
    bool atomic;
    bool borrowed;
};

int gm_dirty_new(gpa_t end, bool atomic, struct gm_dirty **ret_dirty)
{
    uint64_t pages = end / GM_PAGE_BYTES + (end % GM_PAGE_BYTES != 0);
    struct gm_dirty *dirty = calloc(1, sizeof(*dirty));

    if (!dirty)
        return vm_fail(-ENOMEM, "dirty bitmap: no memory");
    dirty->bytes = (pages + 63) / 64 * sizeof(uint64_t);
    dirty->atomic = atomic;
    dirty->bits = calloc(1, dirty->bytes ? dirty->bytes : 1);
    if (!dirty->bits) {
        free(dirty);
        return vm_fail(-ENOMEM, "dirty bitmap: no memory for %llu bytes",
                       (unsigned long long)(pages / 8));
    }
    *ret_dirty = dirty;
    return 0;
}

int gm_dirty_new_at(void *log, size_t log_bytes, struct gm_dirty **ret_dirty)
{
    struct gm_dirty *dirty = calloc(1, sizeof(*dirty));

    if (!dirty)
        return vm_fail(-ENOMEM, "dirty bitmap: no memory");
    *dirty = (struct gm_dirty){ log, log_bytes, true, true };
    *ret_dirty = dirty;
    return 0;
}

void gm_dirty_free(struct gm_dirty *dirty)
{
    if (!dirty)
        return;
    if (!dirty->borrowed)
        free(dirty->bits);
    free(dirty);
}

static void or_byte(struct gm_dirty *dirty, uint64_t byte, unsigned mask)
{
    if (byte >= dirty->bytes)
        return;
    if (dirty->atomic) /* pairs with take_byte() */
        __atomic_fetch_or(&dirty->bits[byte], (uint8_t)mask, __ATOMIC_RELEASE);
    else
        dirty->bits[byte] = (uint8_t)(dirty->bits[byte] | mask);
}

void gm_dirty_mark(struct gm_dirty *dirty, gpa_t gpa, uint64_t len)
{
    uint64_t first = gpa / GM_PAGE_BYTES, last_byte, last;
    unsigned head, tail;

    if (!len)
        return;
    if (!vm_add(gpa, len - 1, &last_byte))
        last_byte = UINT64_MAX;
    last = last_byte / GM_PAGE_BYTES;
    if (first == last) { /* the rule */
        or_byte(dirty, first / 8, 1U << (first % 8));
        return;
    }
    head = 0xffU << (first % 8) & 0xffU;
    tail = 0xffU >> (7 - last % 8);
    if (first / 8 == last / 8) {
        or_byte(dirty, first / 8, head & tail);
        return;
    }
    or_byte(dirty, first / 8, head);
    for (uint64_t byte = first / 8 + 1; byte < last / 8 && byte < dirty->bytes; byte++)
        or_byte(dirty, byte, 0xff);
    or_byte(dirty, last / 8, tail);
}

static uint64_t take_byte(struct gm_dirty *dirty, uint64_t byte)
{
    uint8_t v = __atomic_load_n(&dirty->bits[byte], __ATOMIC_RELAXED);

    if (!v)
        return 0;
    if (dirty->atomic) /* pairs with or_byte() */
        return __atomic_exchange_n(&dirty->bits[byte], 0, __ATOMIC_ACQUIRE);
    dirty->bits[byte] = 0;
    return v;
}

static uint64_t take_word(struct gm_dirty *dirty, uint64_t byte)
{
    const uint8_t *at = dirty->bits + byte;
    uint64_t v = 0;

    /* Most words of most bitmaps are clear: one look for eight bytes. */
    if (byte + sizeof(v) <= dirty->bytes && !((uintptr_t)at % sizeof(v)) &&
        !__atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED))
        return 0;
    for (unsigned i = 0; i < sizeof(v) && byte + i < dirty->bytes; i++)
        v |= take_byte(dirty, byte + i) << (8 * i);
    return v;
}

uint64_t gm_dirty_take(struct gm_dirty *dirty, uint64_t first_page, uint64_t *ret_words,
                       size_t words)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < words; i++) {
        uint64_t byte = first_page / 8 + i * sizeof(uint64_t), v;

        if (byte >= dirty->bytes)
            break;
        v = take_word(dirty, byte);
        ret_words[i] |= v;
        pages += (unsigned)__builtin_popcountll(v);
    }
    return pages;
}
