/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Cursors over a chain: bytes in, bytes out, host vectors. */
#include "ring.h"

enum op { COPY_OUT, COPY_IN, VECTORS };
enum { READABLE, WRITABLE };

/* What is done with the bytes. */
struct walk {
    enum op op;
    unsigned access; /* VECTORS */
    uint8_t *out;
    const uint8_t *in;
    struct iovec *iov;
    int max, count;
};

static inline int piece(struct vq *q, struct walk *w, gpa_t gpa, uint64_t len)
{
    int rc;

    switch (w->op) {
    case COPY_OUT:
        rc = gm_read(q->view, gpa, w->out, len);
        w->out += len;
        return rc;
    case COPY_IN:
        rc = gm_write(q->view, gpa, w->in, len);
        w->in += len;
        return rc;
    default: return gm_iov(q->view, gpa, len, w->access, w->iov, w->max, &w->count);
    }
}

/* Does it to the next len bytes, which the caller knows to be there. The cursor moves on when all
 * went well. */
static inline int walk(struct vq *q, struct vq_chain *c, int part, uint64_t len, struct walk *w)
{
    const struct vq_buf *buf = c->buf + (part == WRITABLE ? c->readable : 0);
    uint16_t at_buf = c->at_buf[part];
    uint32_t at_byte = c->at_byte[part];
    uint64_t n;
    int rc;

    while (len) {
        n = buf[at_buf].len - at_byte;
        if (n > len)
            n = len;
        if (n) {
            rc = piece(q, w, buf[at_buf].addr + at_byte, n);
            if (rc)
                return rc;
        }
        len -= n;
        at_byte += (uint32_t)n;
        if (at_byte == buf[at_buf].len) {
            at_buf++;
            at_byte = 0;
        }
    }
    c->at_buf[part] = at_buf;
    c->at_byte[part] = at_byte;
    return 0;
}

int vq_pull(struct vq *q, struct vq_chain *chain, void *buf, size_t len)
{
    struct walk w = { .op = COPY_OUT, .out = buf };
    int rc;

    if (len > vq_pull_left(chain))
        return -ENODATA;
    rc = walk(q, chain, READABLE, len, &w);
    if (!rc)
        chain->pulled += len;
    return rc;
}

int vq_push(struct vq *q, struct vq_chain *chain, const void *buf, size_t len)
{
    struct walk w = { .op = COPY_IN, .in = buf };
    int rc;

    if (len > vq_push_left(chain))
        return -ENOSPC;
    rc = walk(q, chain, WRITABLE, len, &w);
    if (!rc)
        chain->pushed += len;
    return rc;
}

int vq_iov(struct vq *q, struct vq_chain *chain, unsigned access, uint64_t len, struct iovec *iov,
           int max)
{
    int part = access & GM_WRITE ? WRITABLE : READABLE, rc;
    struct walk w = { .op = VECTORS, .access = access, .iov = iov, .max = max };

    if (part == WRITABLE ? len > vq_push_left(chain) : len > vq_pull_left(chain))
        return part == WRITABLE ? -ENOSPC : -ENODATA;
    rc = walk(q, chain, part, len, &w);
    if (rc)
        return rc;
    if (part == WRITABLE)
        chain->pushed += len;
    else
        chain->pulled += len;
    return w.count;
}
