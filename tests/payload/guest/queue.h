/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef PAYLOAD_GUEST_QUEUE_H
#define PAYLOAD_GUEST_QUEUE_H

#include "virtio.h"

struct split_desc {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};
struct packed_desc {
    uint64_t address;
    uint32_t bytes;
    uint16_t id, flags;
};

struct queue {
    struct split_desc desc[RING] __attribute__((aligned(16)));
    struct {
        uint16_t flags, index, ring[RING], used_event;
    } avail;
    struct {
        uint16_t flags, index;
        struct split_used {
            uint32_t id, bytes;
        } ring[RING];
        uint16_t avail_event;
    } used __attribute__((aligned(4)));
    struct packed_desc pdesc[RING] __attribute__((aligned(16)));
    uint32_t driver_event, device_event;

    bool packed, wrap, used_wrap;
    uint16_t next, last; /* to offer, to be used */
    uint16_t count[SLOTS]; /* packed: descriptors of the slot's request */
    int64_t length[SLOTS]; /* of requests that have ended and were not asked for, + 1 */
};

struct queue *queue_of(unsigned n);
void queue_init(struct queue *q, bool packed);
void queue_offer(struct queue *q, unsigned slot, const struct segment *s, unsigned n);
int queue_done(struct queue *q, uint32_t *ret_len);
/* Addresses of descriptor area, driver area, device area. */
uint64_t queue_area(const struct queue *q, unsigned n);

#endif
