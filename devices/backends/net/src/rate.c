/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Limits of the rate of frames, by token buckets (vmm/base/bucket.h). */
#include "filter_private.h"

#define MS_NS 1000000ULL

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t chosen(uint64_t own, uint64_t both)
{
    return own ? own : both;
}

void vnet_rate_init(struct vnet_rate *rate, const struct vnet_filter_config *c, bool sent,
                    uint64_t now_ns)
{
    *rate = (struct vnet_rate){ 0 };
    vm_bucket_init(&rate->bytes.bucket, chosen(sent ? c->tx_bw_size : c->rx_bw_size, c->bw_size),
                   c->bw_ms * MS_NS, c->bw_burst, now_ns);
    vm_bucket_init(&rate->frames.bucket,
                   chosen(sent ? c->tx_ops_size : c->rx_ops_size, c->ops_size), c->ops_ms * MS_NS,
                   c->ops_burst, now_ns);
}

static void change(struct vnet_meter *m, uint64_t size, uint64_t period_ns, uint64_t now_ns)
{
    if (m->bucket.size == size && m->bucket.period_ns == period_ns)
        return;
    vm_bucket_set(&m->bucket, size, period_ns, now_ns);
    if (!size)
        m->owed = 0;
}

void vnet_rate_set(struct vnet_rate *rate, const struct vnet_filter_config *c, bool sent,
                   uint64_t now_ns)
{
    change(&rate->bytes, chosen(sent ? c->tx_bw_size : c->rx_bw_size, c->bw_size), c->bw_ms * MS_NS,
           now_ns);
    change(&rate->frames, chosen(sent ? c->tx_ops_size : c->rx_ops_size, c->ops_size),
           c->ops_ms * MS_NS, now_ns);
}

/* Takes what is there, in pieces that the bucket can hold; the rest is owed. */
static void pay(struct vnet_meter *m, uint64_t count, uint64_t now_ns)
{
    uint64_t piece = least(count, vm_bucket_look(&m->bucket, now_ns));

    if (!m->bucket.size)
        return;
    (void)vm_bucket_take(&m->bucket, piece, now_ns);
    m->owed += count - piece;
}

/* Whole periods bring what a bucket holds, each; it is empty as long as something is owed. */
static void pay_periods(struct vnet_meter *m, uint64_t now_ns)
{
    struct vm_bucket *b = &m->bucket;
    uint64_t periods;

    if (now_ns < b->last_ns)
        return;
    periods = least((now_ns - b->last_ns) / b->period_ns, m->owed / b->size);
    m->owed -= periods * b->size;
    b->last_ns += periods * b->period_ns;
}

static uint64_t wait_ns(struct vnet_meter *m, uint64_t count, uint64_t now_ns)
{
    uint64_t debt;

    if (!m->bucket.size)
        return 0;
    pay_periods(m, now_ns);
    debt = m->owed;
    m->owed = 0;
    pay(m, debt, now_ns);
    count = least(m->owed ? m->owed : count, m->bucket.size);
    return vm_bucket_wait_ns(&m->bucket, count, now_ns);
}

uint64_t vnet_rate_wait_ns(struct vnet_rate *rate, uint64_t bytes, uint64_t now_ns)
{
    uint64_t a = wait_ns(&rate->bytes, bytes, now_ns), b = wait_ns(&rate->frames, 1, now_ns);

    return a > b ? a : b;
}

void vnet_rate_pay(struct vnet_rate *rate, uint64_t bytes, uint64_t now_ns)
{
    pay(&rate->bytes, bytes, now_ns);
    pay(&rate->frames, 1, now_ns);
}
