/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the parts of the fake driver share. */
#ifndef TESTS_SUPPORT_FAKE_DRIVER_PRIVATE_H
#define TESTS_SUPPORT_FAKE_DRIVER_PRIVATE_H

#include <errno.h>

#include <vmm/base/le.h>
#include <vmm/virtio-queue/queue.h>

#include "fake_driver.h"

enum { FAKE_DESC_BYTES = 16, FAKE_CHAIN_MAX = 1024, FAKE_NONE = 0xffff };

/* One per descriptor (split) or id (packed). */
struct fake_driver_slot {
    uint16_t next; /* split: next of the chain; both: next free one */
    uint16_t slots; /* ring entries of the chain */
    bool out; /* a chain that begins here is in flight */
    uint16_t order;
    uint64_t writable; /* bytes the device may write */
    gpa_t table;
    uint32_t table_room, table_count; /* entries */
};

static inline bool fake_is_packed(const struct fake_driver *drv)
{
    return drv->features & VQ_F_RING_PACKED;
}

static inline bool fake_has_event_idx(const struct fake_driver *drv)
{
    return drv->features & VQ_F_EVENT_IDX;
}

static inline int fake_complain(struct fake_driver *drv, const char *what)
{
    drv->complaint = what;
    return -EBADE;
}

/* Full barrier of the guest; the partners are in virtio-queue's split.c, packed.c and queue.c. */
static inline void fake_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

int fake_write_desc(struct fake_driver *drv, gpa_t gpa, const struct fake_desc *desc);

/* 2.7 */
int fake_split_stage(struct fake_driver *drv, const struct fake_desc *desc, size_t n);
int fake_split_publish(struct fake_driver *drv);
bool fake_split_wants_kick(struct fake_driver *drv, uint32_t published);
int fake_split_peek(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len);
int fake_split_set_event(struct fake_driver *drv, enum fake_event how, uint16_t after);

/* 2.8 */
int fake_packed_stage(struct fake_driver *drv, const struct fake_desc *desc, size_t n);
int fake_packed_publish(struct fake_driver *drv);
bool fake_packed_wants_kick(struct fake_driver *drv, uint32_t published);
int fake_packed_peek(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len);
int fake_packed_set_event(struct fake_driver *drv, enum fake_event how, uint16_t after);

static inline void fake_advance(const struct fake_driver *drv, uint16_t *at, bool *wrap,
                                uint32_t slots)
{
    uint32_t next = *at + slots;

    if (next >= drv->size) {
        next -= drv->size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)next;
}

#endif
