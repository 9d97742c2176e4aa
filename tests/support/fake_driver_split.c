/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake driver's split ring: VIRTIO 1.2, 2.7. */
#include "fake_driver_private.h"

static gpa_t used_event(const struct fake_driver *drv)
{
    return drv->driver + 4 + 2 * (gpa_t)drv->size;
}

static gpa_t avail_event(const struct fake_driver *drv)
{
    return drv->device + 4 + 8 * (gpa_t)drv->size;
}

int fake_split_stage(struct fake_driver *drv, const struct fake_desc *desc, size_t n)
{
    uint16_t head = drv->free_head, at = head, mask = (uint16_t)(drv->size - 1), next = FAKE_NONE;
    struct fake_desc d;
    int rc;

    for (size_t i = 0; i < n; i++) {
        next = drv->slot[at].next;
        d = desc[i];
        if (d.flags & FAKE_F_NEXT)
            d.id_or_next = next;
        rc = fake_write_desc(drv, drv->desc + (gpa_t)at * FAKE_DESC_BYTES, &d);
        if (rc)
            return rc;
        if (i + 1 < n)
            at = next;
    }
    rc = gm_store16(&drv->view, drv->driver + 4 + 2 * (gpa_t)(drv->next_avail & mask), head);
    if (rc)
        return rc;
    drv->free_head = next;
    drv->next_avail = (uint16_t)(drv->next_avail + 1);
    drv->staged++;
    return head;
}

int fake_split_publish(struct fake_driver *drv)
{
    return gm_store16(&drv->view, drv->driver + 2, drv->next_avail);
}

/* 2.7.10.1 */
bool fake_split_wants_kick(struct fake_driver *drv, uint32_t published)
{
    uint16_t v = 0;

    if (!fake_has_event_idx(drv)) {
        gm_load16(&drv->view, drv->device, &v);
        return !(v & 1);
    }
    gm_load16(&drv->view, avail_event(drv), &v);
    return (uint16_t)(drv->next_avail - drv->staged - 1 - v) < published;
}

int fake_split_peek(struct fake_driver *drv, uint16_t *ret_id, uint32_t *ret_len)
{
    gpa_t at = drv->device + 4 + 8 * (gpa_t)(drv->next_used & (drv->size - 1));
    uint32_t id = 0;
    uint16_t idx;
    int rc;

    rc = gm_load16(&drv->view, drv->device + 2, &idx);
    if (rc || idx == drv->next_used)
        return rc;
    if ((uint16_t)(idx - drv->next_used) > fake_driver_in_flight(drv))
        return fake_complain(drv, "used index jumps");
    rc = gm_load32(&drv->view, at, &id);
    if (!rc)
        rc = gm_load32(&drv->view, at + 4, ret_len);
    if (rc)
        return rc;
    if (id >= drv->size)
        return fake_complain(drv, "used id is not a descriptor");
    *ret_id = (uint16_t)id;
    return 1;
}

int fake_split_set_event(struct fake_driver *drv, enum fake_event how, uint16_t after)
{
    uint16_t event = drv->next_used;

    if (!fake_has_event_idx(drv))
        return gm_store16(&drv->view, drv->driver, how == FAKE_EVENT_OFF ? 1 : 0);
    if (how == FAKE_EVENT_OFF)
        event = (uint16_t)(event - 1); /* far away: used 65535 entries ago */
    else if (how == FAKE_EVENT_AT)
        event = (uint16_t)(event + after);
    return gm_store16(&drv->view, used_event(drv), event);
}
