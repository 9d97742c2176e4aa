/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake driver: life, memory, and what both ring formats share. */
#include "fake_driver_private.h"

#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>

gpa_t fake_driver_alloc(struct fake_driver *drv, uint32_t len)
{
    gpa_t at = drv->heap_next;
    uint64_t end;

    if (!vm_align_up(at + len, 16, &end) || end > drv->heap_end)
        return 0;
    if (len && gm_fill(&drv->view, at, 0, len))
        return 0;
    drv->heap_next = end;
    return at;
}

int fake_driver_write(struct fake_driver *drv, gpa_t gpa, const void *data, size_t len)
{
    return gm_write(&drv->view, gpa, data, len);
}

int fake_driver_read(struct fake_driver *drv, gpa_t gpa, void *data, size_t len)
{
    return gm_read(&drv->view, gpa, data, len);
}

static uint32_t area_bytes(const struct fake_driver *drv, int area)
{
    uint32_t size = drv->size;

    switch (area) {
    case 0: return FAKE_DESC_BYTES * size;
    case 1: return fake_is_packed(drv) ? 4 : 6 + 2 * size;
    default: return fake_is_packed(drv) ? 4 : 6 + 8 * size;
    }
}

static int clear_rings(struct fake_driver *drv)
{
    const gpa_t area[] = { drv->desc, drv->driver, drv->device };
    int rc = 0;

    for (int i = 0; i < 3 && !rc; i++)
        rc = gm_fill(&drv->view, area[i], 0, area_bytes(drv, i));
    if (!rc && !fake_is_packed(drv) && drv->start) {
        rc = gm_store16(&drv->view, drv->driver + 2, drv->start);
        if (!rc)
            rc = gm_store16(&drv->view, drv->device + 2, drv->start);
    }
    return rc;
}

int fake_driver_reset(struct fake_driver *drv)
{
    drv->heap_next = drv->heap_first;
    drv->next_avail = drv->next_used = drv->start;
    drv->avail_wrap = drv->used_wrap = true;
    drv->free_slots = drv->size;
    drv->free_head = 0;
    drv->free_tail = (uint16_t)(drv->size - 1);
    drv->oldest = drv->newest = 0;
    drv->staged = 0;
    drv->unkicked = 0;
    drv->event = FAKE_EVENT_ON;
    drv->complaint = NULL;
    memset(drv->slot, 0, drv->size * sizeof(*drv->slot));
    for (uint32_t i = 0; i < drv->size; i++)
        drv->slot[i].next = i + 1 < drv->size ? (uint16_t)(i + 1) : FAKE_NONE;
    return clear_rings(drv);
}

/* Rings in the heap, each on pages of its own as Linux lays them out. */
static int place_rings(struct fake_driver *drv)
{
    gpa_t *const area[] = { &drv->desc, &drv->driver, &drv->device };

    for (int i = 0; i < 3; i++) {
        if (!vm_align_up(drv->heap_next, GM_PAGE_BYTES, &drv->heap_next))
            return -EINVAL;
        *area[i] = fake_driver_alloc(drv, area_bytes(drv, i));
        if (!*area[i])
            return -EINVAL;
    }
    return 0;
}

int fake_driver_init(struct fake_driver *drv, struct gm_space *space,
                     const struct fake_config *config)
{
    bool packed = config->features & VQ_F_RING_PACKED;
    int rc = 0;

    if (!config->size || config->size > VQ_SIZE_MAX || (!packed && !vm_is_pow2(config->size)))
        return -EINVAL;
    *drv = (struct fake_driver){ .size = config->size,
                                 .features = config->features,
                                 .desc = config->desc,
                                 .driver = config->driver,
                                 .device = config->device,
                                 .start = packed ? 0 : config->start };
    drv->heap = drv->heap_next = config->heap ? config->heap : FAKE_HEAP;
    if (!vm_add(drv->heap, config->heap_bytes, &drv->heap_end))
        return -EINVAL;
    drv->slot = malloc(drv->size * sizeof(*drv->slot));
    if (!drv->slot)
        return -ENOMEM;
    gm_view_init(&drv->view, space, NULL);
    if (!drv->desc && !drv->driver && !drv->device)
        rc = place_rings(drv);
    drv->heap_first = drv->heap_next;
    if (!rc)
        rc = fake_driver_reset(drv);
    if (rc)
        fake_driver_exit(drv);
    return rc;
}

void fake_driver_exit(struct fake_driver *drv)
{
    if (!drv->slot)
        return;
    gm_view_exit(&drv->view);
    free(drv->slot);
    drv->slot = NULL;
}

int fake_write_desc(struct fake_driver *drv, gpa_t gpa, const struct fake_desc *desc)
{
    bool packed = fake_is_packed(drv);
    uint8_t raw[FAKE_DESC_BYTES];

    vm_store_le(raw, 8, desc->addr);
    vm_store_le(raw + 8, 4, desc->len);
    vm_store_le(raw + (packed ? 14 : 12), 2, desc->flags);
    vm_store_le(raw + (packed ? 12 : 14), 2, desc->id_or_next);
    return gm_write(&drv->view, gpa, raw, sizeof(raw));
}

/* The table belongs to the slot that will be the chain's id, and is used again with it. */
static int make_table(struct fake_driver *drv, const struct fake_buf *bufs, size_t n)
{
    struct fake_driver_slot *slot = &drv->slot[drv->free_head];
    struct fake_desc desc;
    int rc = 0;

    if (slot->table_room < n) {
        slot->table = fake_driver_alloc(drv, (uint32_t)n * FAKE_DESC_BYTES);
        slot->table_room = slot->table ? (uint32_t)n : 0;
        if (!slot->table)
            return -ENOSPC;
    }
    for (size_t i = 0; i < n && !rc; i++) {
        desc = (struct fake_desc){ bufs[i].addr, bufs[i].len, bufs[i].write ? FAKE_F_WRITE : 0, 0 };
        if (i + 1 < n && !fake_is_packed(drv)) {
            desc.flags |= FAKE_F_NEXT;
            desc.id_or_next = (uint16_t)(i + 1);
        }
        rc = fake_write_desc(drv, slot->table + i * FAKE_DESC_BYTES, &desc);
    }
    slot->table_count = (uint32_t)n;
    return rc;
}

/* The ring's part of the chain: `direct` buffers, then the table if there is one. Returns how many.
 */
static int make_list(struct fake_driver *drv, const struct fake_buf *bufs, size_t n, size_t direct,
                     struct fake_desc *list)
{
    size_t count = direct;
    int rc;

    for (size_t i = 0; i < direct; i++)
        list[i] = (struct fake_desc){
            .addr = bufs[i].addr,
            .len = bufs[i].len,
            .flags = bufs[i].write ? FAKE_F_WRITE : 0,
        };
    if (direct < n) {
        rc = make_table(drv, bufs + direct, n - direct);
        if (rc)
            return rc;
        list[count++] = (struct fake_desc){
            .addr = drv->slot[drv->free_head].table,
            .len = (uint32_t)(n - direct) * FAKE_DESC_BYTES,
            .flags = FAKE_F_INDIRECT,
        };
    }
    for (size_t i = 0; i + 1 < count; i++)
        list[i].flags |= FAKE_F_NEXT;
    return (int)count;
}

static uint64_t writable_bytes(const struct fake_buf *bufs, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += bufs[i].write ? bufs[i].len : 0;
    return sum;
}

int fake_driver_stage(struct fake_driver *drv, const struct fake_buf *bufs, size_t n, size_t direct)
{
    struct fake_desc list[FAKE_CHAIN_MAX + 1];
    struct fake_driver_slot *slot;
    int count, id;

    if (!n || n > FAKE_CHAIN_MAX)
        return -EINVAL;
    if (direct > n)
        direct = n;
    if (direct + (direct < n) > drv->free_slots)
        return -ENOSPC;
    drv->slot[drv->free_head].table_count = 0;
    count = make_list(drv, bufs, n, direct, list);
    if (count < 0)
        return count;
    id = fake_is_packed(drv) ? fake_packed_stage(drv, list, (size_t)count)
                             : fake_split_stage(drv, list, (size_t)count);
    if (id < 0)
        return id;
    slot = &drv->slot[id];
    slot->out = true;
    slot->slots = (uint16_t)count;
    slot->writable = writable_bytes(bufs, n);
    slot->order = drv->newest;
    drv->newest = (uint16_t)(drv->newest + 1);
    drv->free_slots = (uint16_t)(drv->free_slots - count);
    drv->offered++;
    return id;
}

int fake_driver_publish(struct fake_driver *drv)
{
    int rc;

    if (!drv->staged)
        return 0;
    rc = fake_is_packed(drv) ? fake_packed_publish(drv) : fake_split_publish(drv);
    drv->unkicked += drv->staged;
    drv->staged = 0;
    return rc;
}

int fake_driver_offer_mixed(struct fake_driver *drv, const struct fake_buf *bufs, size_t n,
                            size_t direct)
{
    int id = fake_driver_stage(drv, bufs, n, direct), rc;

    if (id < 0)
        return id;
    rc = fake_driver_publish(drv);
    return rc ? rc : id;
}

int fake_driver_offer(struct fake_driver *drv, const struct fake_buf *bufs, size_t n)
{
    return fake_driver_offer_mixed(drv, bufs, n, n);
}

int fake_driver_offer_indirect(struct fake_driver *drv, const struct fake_buf *bufs, size_t n)
{
    return fake_driver_offer_mixed(drv, bufs, n, 0);
}

bool fake_driver_wants_kick(struct fake_driver *drv)
{
    uint32_t published = drv->unkicked;
    bool yes;

    if (!published)
        return false;
    drv->unkicked = 0;
    fake_barrier();
    yes = fake_is_packed(drv) ? fake_packed_wants_kick(drv, published)
                              : fake_split_wants_kick(drv, published);
    drv->kicks += yes;
    return yes;
}

/* The descriptors of a chain, or its id, go to the end of the free list: an in-order driver then
 * uses the table round and round (2.7.9). */
static void give_back(struct fake_driver *drv, uint16_t id)
{
    struct fake_driver_slot *slot = &drv->slot[id];
    uint16_t last = id;

    if (!fake_is_packed(drv)) {
        for (uint16_t i = 1; i < slot->slots; i++)
            last = drv->slot[last].next;
    }
    drv->slot[last].next = FAKE_NONE;
    if (drv->free_head == FAKE_NONE)
        drv->free_head = id;
    else
        drv->slot[drv->free_tail].next = id;
    drv->free_tail = last;
    drv->free_slots = (uint16_t)(drv->free_slots + slot->slots);
    slot->out = false;
}

static int check_used(struct fake_driver *drv, uint16_t id, uint32_t len)
{
    if (id >= drv->size || !drv->slot[id].out)
        return fake_complain(drv, "used id is not in flight");
    if (len > drv->slot[id].writable)
        return fake_complain(drv, "used length is more than the chain takes");
    if (drv->features & VQ_F_IN_ORDER && drv->slot[id].order != drv->oldest)
        return fake_complain(drv, "used out of order");
    return 0;
}

static int peek(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len)
{
    return fake_is_packed(drv) ? fake_packed_peek(drv, ret_id, ret_len)
                               : fake_split_peek(drv, ret_id, ret_len);
}

int fake_driver_collect(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len)
{
    uint32_t len = 0;
    uint16_t id = 0;
    int rc;

    rc = peek(drv, &id, &len);
    if (rc <= 0)
        return rc;
    rc = check_used(drv, id, len);
    if (rc)
        return rc;
    if (fake_is_packed(drv))
        fake_advance(drv, &drv->next_used, &drv->used_wrap, drv->slot[id].slots);
    else
        drv->next_used = (uint16_t)(drv->next_used + 1);
    give_back(drv, id);
    drv->oldest = (uint16_t)(drv->oldest + 1);
    drv->collected++;
    if (drv->event == FAKE_EVENT_ON && fake_has_event_idx(drv))
        rc = fake_driver_set_event(drv, FAKE_EVENT_ON, 0);
    if (rc)
        return rc;
    *ret_id = id;
    *ret_len = len;
    return 1;
}

bool fake_driver_pending(struct fake_driver *drv)
{
    uint32_t len;
    uint16_t id;

    return peek(drv, &id, &len) > 0;
}

uint16_t fake_driver_in_flight(const struct fake_driver *drv)
{
    return (uint16_t)(drv->newest - drv->oldest);
}

bool fake_driver_is_out(const struct fake_driver *drv, uint16_t id)
{
    return id < drv->size && drv->slot[id].out;
}

int fake_driver_set_event(struct fake_driver *drv, enum fake_event how, uint16_t after)
{
    int rc;

    drv->event = how;
    rc = fake_is_packed(drv) ? fake_packed_set_event(drv, how, after)
                             : fake_split_set_event(drv, how, after);
    fake_barrier();
    return rc;
}
