/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Chains: from descriptors that the driver may change at any time to a list that is checked.
 * VIRTIO 1.2, 2.7.5, 2.8.5 to 2.8.7. */
#include "ring.h"

void vq_chain_begin(struct vq *q, struct vq_chain *chain)
{
    *chain = (struct vq_chain){ .buf = q->scratch };
}

/* The last hit of the view first, which needs no search; then the whole range, wherever it lies.
 * -EIO is RAM that only this device cannot reach: an error of the request, not of the driver. */
static bool is_ram(struct gm_view *view, uint64_t addr, uint32_t len, bool write)
{
    const struct gm_fast *fast = write ? &view->write : &view->read;
    uint64_t at, end;
    void *host;

    if (VQ_LIKELY(vm_sub(addr, fast->base, &at) && vm_range_in(at, len, fast->size)))
        return true;
    if (!len)
        return true;
    if (!vm_add(addr, (uint64_t)len, &end))
        return false;
    return gm_host(view, addr, len, write ? GM_WRITE : GM_READ, &host) != -EFAULT;
}

/* Buffers of no bytes are allowed: nothing in 2.7.5 or 2.8.4 forbids them. */
int vq_chain_add(struct vq *q, struct vq_chain *chain, const struct vq_desc *desc)
{
    uint32_t n = (uint32_t)chain->readable + chain->writable;
    bool write = desc->flags & VQ_DESC_WRITE;

    if (VQ_UNLIKELY(n == VQ_CHAIN_MAX))
        return vq_break(q, "chain is too long", n);
    if (VQ_UNLIKELY(!write && chain->writable)) /* 2.7.4.2, 2.8.17 */
        return vq_break(q, "device-readable buffer behind a writable one", n);
    if (write) {
        chain->writable++;
        chain->writable_bytes += desc->len;
    } else {
        chain->readable++;
        chain->readable_bytes += desc->len;
    }
    if (VQ_UNLIKELY(chain->readable_bytes + chain->writable_bytes > VQ_CHAIN_BYTES_MAX))
        return vq_break(q, "chain is longer than 2^32 bytes", n);
    if (VQ_UNLIKELY(!is_ram(q->view, desc->addr, desc->len, write)))
        return vq_break(q, "buffer is not RAM", n);
    chain->buf[n] = (struct vq_buf){ desc->addr, desc->len };
    return 0;
}

/* The descriptor that refers to a table; its write flag means nothing (2.7.5.3.2, 2.8.7). */
static int check_table(struct vq *q, const struct vq_desc *desc)
{
    uint64_t end;

    if (!(q->features & VQ_F_INDIRECT))
        return vq_break(q, "indirect descriptor without the feature", desc->flags);
    if (desc->flags & VQ_DESC_NEXT) /* 2.7.5.3.1 */
        return vq_break(q, "indirect descriptor in a list", desc->flags);
    if (!desc->len || desc->len % VQ_DESC_BYTES)
        return vq_break(q, "indirect table's length is wrong", desc->len);
    if (!vm_add(desc->addr, (uint64_t)desc->len, &end))
        return vq_break(q, "indirect table is not RAM", desc->len);
    return 0;
}

/* Tables need no alignment: one copy each. */
static int load_entry(struct vq *q, const struct vq_desc *table, uint32_t at, struct vq_desc *ret)
{
    struct {
        struct le64 addr;
        struct le32 len;
        struct le16 third, fourth;
    } raw;
    bool packed = vq_is_packed(q);

    if (gm_read(q->view, table->addr + (uint64_t)at * VQ_DESC_BYTES, &raw, sizeof(raw)))
        return vq_break(q, "indirect table is not RAM", at);
    /* The compiler may not read the guest's bytes a second time in place of the copy. */
    __asm__ __volatile__("" ::: "memory");
    ret->addr = le64_get(raw.addr);
    ret->len = le32_get(raw.len);
    ret->flags = le16_get(packed ? raw.fourth : raw.third);
    ret->last = le16_get(packed ? raw.third : raw.fourth);
    return 0;
}

/* Linked by next, from entry 0 (2.7.5.3). */
int vq_chain_split_table(struct vq *q, struct vq_chain *chain, const struct vq_desc *desc)
{
    uint32_t count = desc->len / VQ_DESC_BYTES, at = 0, seen = 0;
    struct vq_desc entry;
    int rc;

    rc = check_table(q, desc);
    if (rc)
        return rc;
    for (;;) {
        rc = load_entry(q, desc, at, &entry);
        if (rc)
            return rc;
        if (entry.flags & VQ_DESC_INDIRECT)
            return vq_break(q, "indirect table in an indirect table", at);
        rc = vq_chain_add(q, chain, &entry);
        if (rc || !(entry.flags & VQ_DESC_NEXT))
            return rc;
        at = entry.last;
        if (at >= count)
            return vq_break(q, "next descriptor is not in the indirect table", at);
        if (++seen == count)
            return vq_break(q, "chain loops in the indirect table", at);
    }
}

/* One after the other, all of them; flags but WRITE are ignored (2.8.7). */
int vq_chain_packed_table(struct vq *q, struct vq_chain *chain, const struct vq_desc *desc)
{
    uint32_t count = desc->len / VQ_DESC_BYTES;
    struct vq_desc entry;
    int rc;

    rc = check_table(q, desc);
    for (uint32_t at = 0; !rc && at < count; at++) {
        rc = load_entry(q, desc, at, &entry);
        if (!rc)
            rc = vq_chain_add(q, chain, &entry);
    }
    return rc;
}

/* A driver has at most as many ring entries out as there are, and no id twice. */
int vq_chain_take(struct vq *q, struct vq_chain *chain, uint16_t id, uint16_t slots)
{
    uint64_t bit = 1ULL << (id % 64), *word = &q->taken[id / 64];

    if (VQ_UNLIKELY(*word & bit))
        return vq_break(q, "chain is offered again while it is in flight", id);
    if (VQ_UNLIKELY((uint32_t)q->slots_out + slots > q->size))
        return vq_break(q, "more is in flight than the ring holds", (uint32_t)q->slots_out + slots);
    *word |= bit;
    q->slots_out = (uint16_t)(q->slots_out + slots);
    q->in_flight++;
    chain->id = id;
    chain->slots = slots;
    chain->order = q->next_order;
    q->next_order = (uint16_t)(q->next_order + 1);
    return 0;
}

void vq_chain_untake(struct vq *q, uint16_t id, uint16_t slots)
{
    uint64_t bit = 1ULL << (id % 64), *word = &q->taken[id / 64];

    assert(*word & bit);
    assert(q->in_flight && q->slots_out >= slots);
    *word &= ~bit;
    q->slots_out = (uint16_t)(q->slots_out - slots);
    q->in_flight--;
}

void vq_chain_mark(struct vq *q, const struct vq_chain *chain)
{
    const struct vq_buf *buf = chain->buf + chain->readable;
    uint16_t n;

    for (n = 0; n < chain->at_buf[1]; n++)
        gm_written(q->view, buf[n].addr, buf[n].len);
    if (chain->at_byte[1])
        gm_written(q->view, buf[n].addr, chain->at_byte[1]);
}
