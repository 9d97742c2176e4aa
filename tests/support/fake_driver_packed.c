/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake driver's packed ring: VIRTIO 1.2, 2.8. */
#include "fake_driver_private.h"

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, WRAP_BIT = 1 << 15 };

static gpa_t desc_at(const struct fake_driver *drv, uint16_t at)
{
    return drv->desc + (gpa_t)at * FAKE_DESC_BYTES;
}

/* All but the flags, which make it available. */
static int write_body(struct fake_driver *drv, uint16_t at, const struct fake_desc *d, uint16_t id)
{
    gpa_t gpa = desc_at(drv, at);
    int rc;

    rc = gm_store64(&drv->view, gpa, d->addr);
    if (!rc)
        rc = gm_store32(&drv->view, gpa + 8, d->len);
    return rc ? rc : gm_store16(&drv->view, gpa + 12, id);
}

int fake_packed_stage(struct fake_driver *drv, const struct fake_desc *desc, size_t n)
{
    uint16_t id = drv->free_head, flags;
    int rc;

    for (size_t i = 0; i < n; i++) {
        flags = (uint16_t)(desc[i].flags | (drv->avail_wrap ? FAKE_F_AVAIL : FAKE_F_USED));
        rc = write_body(drv, drv->next_avail, &desc[i], id);
        if (!rc && drv->staged)
            rc = gm_store16(&drv->view, desc_at(drv, drv->next_avail) + 14, flags);
        if (rc)
            return rc;
        if (!drv->staged) {
            drv->staged_at = drv->next_avail;
            drv->staged_flags = flags;
        }
        drv->staged++;
        fake_advance(drv, &drv->next_avail, &drv->avail_wrap, 1);
    }
    drv->free_head = drv->slot[id].next;
    return id;
}

int fake_packed_publish(struct fake_driver *drv)
{
    return gm_store16(&drv->view, desc_at(drv, drv->staged_at) + 14, drv->staged_flags);
}

/* Place in two rounds of the ring: one for each value of the wrap counter. */
static uint32_t place(const struct fake_driver *drv, uint16_t at, bool wrap)
{
    return at + (wrap ? 0U : drv->size);
}

/* 2.8.10, 2.8.21.2 */
bool fake_packed_wants_kick(struct fake_driver *drv, uint32_t published)
{
    uint32_t word = 0, rounds = 2U * drv->size, behind;

    gm_load32(&drv->view, drv->device, &word);
    if (word >> 16 == EVENT_DISABLE)
        return false;
    if (word >> 16 != EVENT_DESC)
        return true;
    behind = rounds + place(drv, drv->next_avail, drv->avail_wrap) + rounds - drv->staged - 1;
    behind -= place(drv, (uint16_t)((word & (WRAP_BIT - 1)) % drv->size), word & WRAP_BIT);
    return behind % rounds < published;
}

int fake_packed_peek(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len)
{
    bool avail, used;
    uint16_t flags;
    uint64_t word;
    int rc;

    rc = gm_load64(&drv->view, desc_at(drv, drv->next_used) + 8, &word);
    if (rc)
        return rc;
    flags = (uint16_t)(word >> 48);
    avail = flags & FAKE_F_AVAIL;
    used = flags & FAKE_F_USED;
    if (avail != drv->used_wrap || used != drv->used_wrap)
        return 0;
    if (!fake_driver_in_flight(drv))
        return fake_complain(drv, "used descriptor without a chain in flight");
    *ret_id = (uint16_t)(word >> 32);
    *ret_len = flags & FAKE_F_WRITE ? (uint32_t)word : 0; /* 2.8.4 */
    return 1;
}

int fake_packed_set_event(struct fake_driver *drv, enum fake_event how, uint16_t after)
{
    uint16_t at = drv->next_used;
    bool wrap = drv->used_wrap;
    uint32_t word;

    if (how == FAKE_EVENT_OFF)
        word = EVENT_DISABLE << 16;
    else if (!fake_has_event_idx(drv) || how == FAKE_EVENT_ON)
        word = EVENT_ENABLE << 16;
    else {
        fake_advance(drv, &at, &wrap, after % drv->size);
        word = (uint32_t)EVENT_DESC << 16 | (wrap ? WRAP_BIT : 0U) | at;
    }
    return gm_store32(&drv->view, drv->driver, word);
}
