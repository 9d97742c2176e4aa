/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake driver's lies. */
#include "fake_driver_private.h"

enum { AVAIL_AND_USED = FAKE_F_AVAIL | FAKE_F_USED };

static gpa_t desc_at(const struct fake_driver *drv, uint16_t slot)
{
    return drv->desc + (gpa_t)slot * FAKE_DESC_BYTES;
}

int fake_driver_desc_get(struct fake_driver *drv, uint16_t slot, struct fake_desc *ret_desc)
{
    bool packed = fake_is_packed(drv);
    uint8_t raw[FAKE_DESC_BYTES];
    int rc;

    if (slot >= drv->size)
        return -EINVAL;
    rc = gm_read(&drv->view, desc_at(drv, slot), raw, sizeof(raw));
    if (rc)
        return rc;
    ret_desc->addr = vm_load_le(raw, 8);
    ret_desc->len = (uint32_t)vm_load_le(raw + 8, 4);
    ret_desc->flags = (uint16_t)vm_load_le(raw + (packed ? 14 : 12), 2);
    ret_desc->id_or_next = (uint16_t)vm_load_le(raw + (packed ? 12 : 14), 2);
    return 0;
}

int fake_driver_desc_set(struct fake_driver *drv, uint16_t slot, const struct fake_desc *desc)
{
    return slot < drv->size ? fake_write_desc(drv, desc_at(drv, slot), desc) : -EINVAL;
}

int fake_driver_corrupt(struct fake_driver *drv, uint16_t slot, uint16_t flags, uint16_t next)
{
    struct fake_desc d;
    int rc = fake_driver_desc_get(drv, slot, &d);

    if (rc)
        return rc;
    if (fake_is_packed(drv))
        flags = (uint16_t)((flags & ~AVAIL_AND_USED) | (d.flags & AVAIL_AND_USED));
    d.flags = flags;
    d.id_or_next = next;
    return fake_driver_desc_set(drv, slot, &d);
}

int fake_driver_corrupt_buf(struct fake_driver *drv, uint16_t slot, gpa_t addr, uint32_t len)
{
    struct fake_desc d;
    int rc = fake_driver_desc_get(drv, slot, &d);

    if (rc)
        return rc;
    d.addr = addr;
    d.len = len;
    return fake_driver_desc_set(drv, slot, &d);
}

gpa_t fake_driver_table(const struct fake_driver *drv, uint16_t id)
{
    return id < drv->size && drv->slot[id].table_count ? drv->slot[id].table : 0;
}

int fake_driver_corrupt_table(struct fake_driver *drv, uint16_t id, uint16_t at,
                              const struct fake_desc *desc)
{
    gpa_t table = fake_driver_table(drv, id);

    if (!table || at >= drv->slot[id].table_count)
        return -ENOENT;
    return fake_write_desc(drv, table + (gpa_t)at * FAKE_DESC_BYTES, desc);
}

int fake_driver_corrupt_avail_idx(struct fake_driver *drv, uint16_t idx)
{
    return gm_store16(&drv->view, drv->driver + 2, idx);
}

int fake_driver_corrupt_avail(struct fake_driver *drv, uint16_t at, uint16_t head)
{
    return gm_store16(&drv->view, drv->driver + 4 + 2 * (gpa_t)(at & (drv->size - 1)), head);
}

int fake_driver_corrupt_used_idx(struct fake_driver *drv, uint16_t idx)
{
    return gm_store16(&drv->view, drv->device + 2, idx);
}

int fake_driver_corrupt_used(struct fake_driver *drv, uint16_t at, uint32_t id, uint32_t len)
{
    gpa_t gpa = drv->device + 4 + 8 * (gpa_t)(at & (drv->size - 1));
    int rc = gm_store32(&drv->view, gpa, id);

    return rc ? rc : gm_store32(&drv->view, gpa + 4, len);
}

int fake_driver_corrupt_wrap(struct fake_driver *drv, uint16_t slot)
{
    struct fake_desc d;
    int rc = fake_driver_desc_get(drv, slot, &d);

    if (rc)
        return rc;
    d.flags ^= AVAIL_AND_USED;
    return fake_driver_desc_set(drv, slot, &d);
}

int fake_driver_corrupt_event(struct fake_driver *drv, uint16_t flags, uint16_t event)
{
    int rc;

    if (fake_is_packed(drv))
        return gm_store32(&drv->view, drv->driver, (uint32_t)flags << 16 | event);
    rc = gm_store16(&drv->view, drv->driver, flags);
    return rc ? rc : gm_store16(&drv->view, drv->driver + 4 + 2 * (gpa_t)drv->size, event);
}
