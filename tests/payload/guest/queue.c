/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Split and packed ring, driver side (VIRTIO 1.2, 2.7 and 2.8). Slot s uses descriptors s * SEGMENTS and following of a split ring. */
#include "queue.h"

enum {
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_AVAIL = 1 << 7,
    DESC_USED = 1 << 15,
};

static struct queue queues[DEVICES];

struct queue *queue_of(unsigned n)
{
    return &queues[n];
}

void queue_init(struct queue *q, bool packed)
{
    memset(q, 0, sizeof(*q));
    q->packed = packed;
    q->wrap = q->used_wrap = true;
}

static void offer_split(struct queue *q, unsigned slot, const struct segment *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        q->desc[slot * SEGMENTS + i] = (struct split_desc){
            .address = (uint64_t)s[i].at,
            .bytes = s[i].bytes,
            .flags =
                (uint16_t)((s[i].device_writes ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0)),
            .next = (uint16_t)(slot * SEGMENTS + i + 1),
        };
    q->avail.ring[q->next % RING] = (uint16_t)(slot * SEGMENTS);
    barrier();
    q->next++;
    *(volatile uint16_t *)&q->avail.index = q->next;
}

static uint16_t packed_flags(const struct queue *q)
{
    return q->wrap ? DESC_AVAIL : DESC_USED;
}

static void offer_packed(struct queue *q, unsigned slot, const struct segment *s, unsigned n)
{
    uint16_t first = q->next, first_flags = 0;

    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = (uint16_t)(packed_flags(q) | (s[i].device_writes ? DESC_WRITE : 0) |
                                    (i + 1 < n ? DESC_NEXT : 0));
        struct packed_desc *d = &q->pdesc[q->next];

        d->address = (uint64_t)s[i].at;
        d->bytes = s[i].bytes;
        d->id = (uint16_t)slot;
        if (i)
            d->flags = flags;
        else
            first_flags = flags;
        if (++q->next == RING) {
            q->next = 0;
            q->wrap = !q->wrap;
        }
    }
    q->count[slot] = (uint16_t)n;
    barrier();
    *(volatile uint16_t *)&q->pdesc[first].flags = first_flags;
}

void queue_offer(struct queue *q, unsigned slot, const struct segment *s, unsigned n)
{
    if (q->packed)
        offer_packed(q, slot, s, n);
    else
        offer_split(q, slot, s, n);
    barrier();
}

static int done_split(struct queue *q, uint32_t *ret_len)
{
    const struct split_used *u = &q->used.ring[q->last % RING];

    if (*(volatile uint16_t *)&q->used.index == q->last)
        return -1;
    barrier();
    q->last++;
    check(u->id % SEGMENTS == 0 && u->id < RING);
    *ret_len = u->bytes;
    return (int)(u->id / SEGMENTS);
}

static int done_packed(struct queue *q, uint32_t *ret_len)
{
    const struct packed_desc *d = &q->pdesc[q->last];
    uint16_t flags = *(const volatile uint16_t *)&d->flags;
    bool avail = flags & DESC_AVAIL, used = flags & DESC_USED;

    if (avail != q->used_wrap || used != q->used_wrap)
        return -1;
    barrier();
    check(d->id < SLOTS && q->count[d->id]);
    q->last = (uint16_t)(q->last + q->count[d->id]);
    q->count[d->id] = 0;
    if (q->last >= RING) {
        q->last = (uint16_t)(q->last - RING);
        q->used_wrap = !q->used_wrap;
    }
    *ret_len = d->bytes;
    return d->id;
}

int queue_done(struct queue *q, uint32_t *ret_len)
{
    return q->packed ? done_packed(q, ret_len) : done_split(q, ret_len);
}

uint64_t queue_area(const struct queue *q, unsigned n)
{
    const uint64_t packed[] = { (uint64_t)q->pdesc, (uint64_t)&q->driver_event,
                                (uint64_t)&q->device_event };
    const uint64_t split[] = { (uint64_t)q->desc, (uint64_t)&q->avail, (uint64_t)&q->used };

    return q->packed ? packed[n] : split[n];
}
