/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Somebody else's back end: it keeps the in-flight log step by step as the text of the vhost-user
 * specification says ("Inflight I/O tracking"), field by field, and knows nothing of ours. It can die
 * between any two stores.
 *
 * Direct descriptors and indirect tables; an honest driver; memory at host, addresses are offsets.
 */
#ifndef TESTS_SUPPORT_FOREIGN_BACKEND_H
#define TESTS_SUPPORT_FOREIGN_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FOREIGN_CHAINS_MAX = 16 };

struct foreign_chain {
    uint16_t entry; /* of the log */
    uint16_t id, slots;
    uint64_t in,
        out; /* addresses of the first buffer to read and of the last one to write; 0: none */
    uint32_t out_bytes;
};

struct foreign_backend {
    uint8_t *host, *region;
    bool packed;
    uint16_t size;
    uint64_t desc, driver, device;
    uint64_t life; /* stores left */

    uint16_t next_avail, next_used; /* next_used: what it has put */
    bool avail_wrap, used_wrap;
    uint64_t counter;
    uint16_t batch; /* put and not published: chains */
    uint16_t batched[FOREIGN_CHAINS_MAX]; /* packed: their entries */
    uint16_t first_at; /* packed: the batch's first ring entry */
    uint16_t first_flags;
    uint32_t put_slots;
};

/* Begins at an uninitialised region (version 0; all zeros), at the rings' start. */
void foreign_init(struct foreign_backend *f);
/* "When reconnecting". Sets the indexes; the chains in flight, oldest first, go to ret_chain. Returns
 * their number. */
size_t foreign_recover(struct foreign_backend *f, struct foreign_chain *ret_chain);
/* True: one more chain was available. */
bool foreign_take(struct foreign_backend *f, struct foreign_chain *ret_chain);
/* Packed: entries in the region's free list. */
size_t foreign_free(const struct foreign_backend *f);
/* Used entries, and their publication. */
void foreign_put(struct foreign_backend *f, const struct foreign_chain *chain);
void foreign_publish(struct foreign_backend *f);

#endif
