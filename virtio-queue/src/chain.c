/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Chains: from descriptors that the driver may change at any time to a list that is checked.
 * VIRTIO 1.2, 2.7.5, 2.8.5 to 2.8.7. */
#include "ring.h"

/* Wherever it lies. -EIO is RAM that only this device cannot reach: an error of the request, not of
 * the driver. */
__attribute__((cold, noinline)) bool vq_chain_is_ram(struct gm_view *view, uint64_t addr,
                                                     uint32_t len, bool write)
{
    uint64_t end;
    void *host;

    if (!len)
        return true;
    if (!vm_add(addr, (uint64_t)len, &end))
        return false;
    return gm_host(view, addr, len, write ? GM_WRITE : GM_READ, &host) != -EFAULT;
}

/* The descriptor that refers to a table; its write flag means nothing (2.7.5.3.2, 2.8.7). */
static int check_table(struct vq *q, uint64_t addr, uint32_t len, uint16_t flags)
{
    uint64_t end;

    if (!(q->features & VQ_F_INDIRECT))
        return vq_refuse(q, "indirect descriptor without the feature", flags);
    if (flags & VQ_DESC_NEXT) /* 2.7.5.3.1 */
        return vq_refuse(q, "indirect descriptor in a list", flags);
    if (!len || len % VQ_DESC_BYTES)
        return vq_refuse(q, "indirect table's length is wrong", len);
    if (!vm_add(addr, (uint64_t)len, &end))
        return vq_refuse(q, "indirect table is not RAM", len);
    return 0;
}

/* Tables need no alignment: one copy each. */
static int load_entry(struct vq *q, uint64_t table, uint32_t at, struct vq_desc *ret)
{
    struct {
        struct le64 addr;
        struct le32 len;
        struct le16 third, fourth;
    } raw;
    bool packed = vq_is_packed(q);

    if (gm_read(q->view, table + (uint64_t)at * VQ_DESC_BYTES, &raw, sizeof(raw)))
        return vq_refuse(q, "indirect table is not RAM", at);
    /* The compiler may not read the guest's bytes a second time in place of the copy. */
    __asm__ __volatile__("" ::: "memory");
    ret->addr = le64_get(raw.addr);
    ret->len = le32_get(raw.len);
    ret->flags = le16_get(packed ? raw.fourth : raw.third);
    ret->last = le16_get(packed ? raw.third : raw.fourth);
    return 0;
}

static struct vq_build build_from(const struct vq_chain *chain)
{
    return (struct vq_build){
        .n = (uint32_t)chain->readable + chain->writable,
        .writable = chain->writable,
        .bytes = chain->readable_bytes + chain->writable_bytes,
        .writable_bytes = chain->writable_bytes,
    };
}

/* Linked by next, from entry 0 (2.7.5.3). */
__attribute__((noinline)) int vq_chain_split_table(struct vq *q, struct vq_chain *chain,
                                                   uint64_t addr, uint32_t len, uint16_t flags)
{
    uint32_t count = len / VQ_DESC_BYTES, at = 0, seen = 0;
    struct vq_build build = build_from(chain);
    struct vq_desc entry;
    int rc;

    rc = check_table(q, addr, len, flags);
    if (rc)
        return rc;
    for (;;) {
        rc = load_entry(q, addr, at, &entry);
        if (rc)
            return rc;
        if (entry.flags & VQ_DESC_INDIRECT)
            return vq_refuse(q, "indirect table in an indirect table", at);
        rc = vq_build_add(q, &build, entry.addr, entry.len, entry.flags);
        if (rc)
            return rc;
        if (!(entry.flags & VQ_DESC_NEXT))
            break;
        at = entry.last;
        if (at >= count)
            return vq_refuse(q, "next descriptor is not in the indirect table", at);
        if (++seen == count)
            return vq_refuse(q, "chain loops in the indirect table", at);
    }
    vq_build_store(q, &build, chain);
    return 0;
}

/* One after the other, all of them; flags but WRITE are ignored (2.8.7). */
__attribute__((noinline)) int vq_chain_packed_table(struct vq *q, struct vq_chain *chain,
                                                    uint64_t addr, uint32_t len, uint16_t flags)
{
    struct vq_build build = build_from(chain);
    uint32_t count = len / VQ_DESC_BYTES;
    struct vq_desc entry;
    int rc;

    rc = check_table(q, addr, len, flags);
    for (uint32_t at = 0; !rc && at < count; at++) {
        rc = load_entry(q, addr, at, &entry);
        if (!rc)
            rc = vq_build_add(q, &build, entry.addr, entry.len, entry.flags);
    }
    if (rc)
        return rc;
    vq_build_store(q, &build, chain);
    return 0;
}

/* All in front of the cursor, also what the owner does not report. */
void vq_chain_mark(struct vq *q, const struct vq_chain *chain)
{
    const struct vq_buf *buf = chain->buf + chain->readable;
    uint16_t n;

    for (n = 0; n < chain->at_buf[1]; n++)
        gm_written(q->view, buf[n].addr, buf[n].len);
    if (chain->at_byte[1])
        gm_written(q->view, buf[n].addr, chain->at_byte[1]);
}
