/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Requests: chains that outlive the next vq_next(). All memory is allocated with the pool, none of
 * it is touched before it is needed: a request's first buffers lie behind it, those of a long chain
 * in a slot of its own.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { NEAR_BUFS = 8, REQ_ALIGN = 64 };

struct vq_pool {
    struct vq_req *free; /* those that came back */
    uint8_t *req; /* all of them */
    struct vq_buf *far; /* VQ_CHAIN_MAX for each */
    size_t stride, own_bytes;
    uint32_t fresh, count; /* from fresh on they were never used */
    uint32_t out;
};

/* Sizes of the pool's two blocks; false: they do not fit any memory. */
static bool measure(struct vq_pool *pool, size_t own_bytes, size_t *ret_req, size_t *ret_far)
{
    size_t fixed = sizeof(struct vq_req) + NEAR_BUFS * sizeof(struct vq_buf);
    uint64_t own, stride;

    if (!vm_align_up(own_bytes, _Alignof(struct vq_req), &own) || !vm_add(own, fixed, &stride) ||
        !vm_align_up(stride, REQ_ALIGN, &stride) || !vm_mul(stride, pool->count, ret_req))
        return false;
    pool->own_bytes = own;
    pool->stride = stride;
    return vm_mul(pool->count, VQ_CHAIN_MAX * sizeof(*pool->far), ret_far);
}

int vq_pool_new(struct vq *q, size_t own_bytes, struct vq_pool **ret_pool)
{
    struct vq_pool *pool = calloc(1, sizeof(*pool));
    size_t req, far;

    if (!pool)
        return -ENOMEM;
    pool->count = q->size_max;
    if (!measure(pool, own_bytes, &req, &far))
        goto free_pool;
    pool->req = aligned_alloc(REQ_ALIGN, req);
    pool->far = malloc(far);
    if (!pool->req || !pool->far)
        goto free_pool;
    *ret_pool = pool;
    return 0;

free_pool:
    vq_pool_free(pool);
    return -ENOMEM;
}

void vq_pool_free(struct vq_pool *pool)
{
    if (!pool)
        return;
    assert(!pool->out);
    free(pool->req);
    free(pool->far);
    free(pool);
}

static struct vq_req *get(struct vq_pool *pool)
{
    struct vq_req *req = pool->free;

    if (req)
        pool->free = req->next_free;
    else if (pool->fresh < pool->count)
        req = (void *)(pool->req + pool->fresh++ * pool->stride);
    return req;
}

static void put(struct vq_pool *pool, struct vq_req *req)
{
    req->next_free = pool->free;
    pool->free = req;
}

/* Where the request keeps the buffers of its chain. */
static struct vq_buf *bufs(struct vq_pool *pool, struct vq_req *req, uint32_t n)
{
    size_t i = (size_t)((uint8_t *)req - pool->req) / pool->stride;

    if (n <= NEAR_BUFS)
        return (void *)(req->own + pool->own_bytes);
    return pool->far + i * VQ_CHAIN_MAX;
}

int vq_next_req(struct vq *q, struct vq_pool *pool, struct vq_req **ret_req)
{
    struct vq_req *req = get(pool);
    struct vq_buf *to;
    uint32_t n;
    int rc;

    if (!req)
        return -ENOBUFS;
    rc = vq_next(q, &req->chain);
    if (rc <= 0) {
        put(pool, req);
        return rc;
    }
    n = (uint32_t)req->chain.readable + req->chain.writable;
    to = bufs(pool, req, n);
    memcpy(to, req->chain.buf, n * sizeof(*to));
    req->chain.buf = to;
    req->q = q;
    req->map = gm_view_map(q->view);
    pool->out++;
    *ret_req = req;
    return 1;
}

static void release(struct vq_pool *pool, struct vq_req *req)
{
    gm_map_unref(req->map);
    pool->out--;
    put(pool, req);
}

int vq_req_done(struct vq_pool *pool, struct vq_req *req)
{
    int rc = vq_done(req->q, &req->chain);

    release(pool, req);
    return rc;
}

void vq_req_drop(struct vq_pool *pool, struct vq_req *req)
{
    release(pool, req);
}
