/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The back end over another one that judges, limits and captures frames. Nothing is lost for want of tokens: the device hears -EAGAIN, and
 * the event when they are there. Everything that the guest could change is copied before it is judged, and the copy is what is sent.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/loop.h>

#include "filter_private.h"

struct filter;
struct lane {
    struct filter *filter;
    struct vnet_rate rate;
    struct vm_timer timer;
    uint32_t waiting; /* queues, a bit each */
};

struct filter {
    struct vnet net;
    struct vnet *below; /* NULL: not yet */
    const struct vm_env *env;
    const struct vnet_events *events;
    void *ctx;
    char name[VNET_NAME];
    struct lane sent, received;
    struct vnet_capture *capture;
    struct vnet_egress_rules rules;
    bool judges;
    struct vnet_counts *counts, own_counts;
    struct vm_ratelimit complaints;
    uint8_t head[VNET_HEAD];
    struct iovec iov[IOV_MAX];
    uint8_t *frame; /* with a capture: VNET_FRAME_MAX bytes */
};

static struct filter *filter_of(struct vnet *net)
{
    return container_of(net, struct filter, net);
}

/* ---- events ---- */

static void on_readable(void *ctx, unsigned queue)
{
    struct filter *f = ctx;

    f->events->readable(f->ctx, queue);
}

static void on_writable(void *ctx, unsigned queue)
{
    struct filter *f = ctx;

    f->events->writable(f->ctx, queue);
}

static void on_link(void *ctx)
{
    struct filter *f = ctx;

    f->net.info = f->below->info;
    f->events->link(f->ctx);
}

/* ---- rate ---- */

static uint64_t now_ns(const struct filter *f)
{
    return vm_loop_now_ns(f->env->loop);
}

static void on_time(struct vm_timer *timer)
{
    struct lane *lane = container_of(timer, struct lane, timer);
    struct filter *f = lane->filter;
    uint32_t waiting = lane->waiting;

    lane->waiting = 0;
    for (unsigned queue = 0; waiting; queue++, waiting >>= 1) {
        if (!(waiting & 1))
            continue;
        if (lane == &f->sent)
            f->events->writable(f->ctx, queue);
        else
            f->events->readable(f->ctx, queue);
    }
}

/* A frame of so many bytes may pass now; otherwise the queue's event follows. Who gets no timer is not held up for ever. */
static bool may_pass(struct filter *f, struct lane *lane, unsigned queue, uint64_t bytes)
{
    uint64_t wait = vnet_rate_wait_ns(&lane->rate, bytes, now_ns(f)), when;

    if (!wait)
        return true;
    if (!vm_add(now_ns(f), wait, &when))
        when = UINT64_MAX;
    if (vm_timer_set(f->env->loop, &lane->timer, when, on_time))
        return true;
    vm_count(lane == &f->sent ? &f->counts->tx_waits : &f->counts->rx_waits, 1);
    lane->waiting |= 1U << queue;
    return false;
}

/* ---- from the guest ---- */

static size_t total_of(const struct iovec *iov, int count)
{
    size_t total = 0;

    for (int i = 1; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

/* At most max of the frame's bytes. */
static size_t copy_out(uint8_t *to, size_t max, const struct iovec *iov, int count)
{
    size_t done = 0;

    for (int i = 1; i < count && done < max; i++) {
        size_t n = iov[i].iov_len < max - done ? iov[i].iov_len : max - done;

        memcpy(to + done, iov[i].iov_base, n);
        done += n;
    }
    return done;
}

/* f->iov: the header, the copied start, and of the rest what lies behind it. The number of its elements, or -E2BIG. */
static int splice(struct filter *f, const struct iovec *iov, int count, size_t copied)
{
    size_t skip = copied;
    int n = 2;

    f->iov[0] = iov[0];
    f->iov[1] = (struct iovec){ f->head, copied };
    for (int i = 1; i < count; i++) {
        size_t gone = skip < iov[i].iov_len ? skip : iov[i].iov_len;

        skip -= gone;
        if (gone == iov[i].iov_len)
            continue;
        if (n == IOV_MAX)
            return -E2BIG;
        f->iov[n++] = (struct iovec){ (char *)iov[i].iov_base + gone, iov[i].iov_len - gone };
    }
    return n;
}

static void count_verdict(struct filter *f, const struct vnet_verdict *v)
{
    struct vnet_counts *c = f->counts;

    switch (v->why) {
    case VNET_PASSES: break;
    case VNET_MALFORMED: vm_count(&c->malformed, 1); break;
    case VNET_SPOOFED: vm_count(&c->spoofed, 1); break;
    case VNET_OTHER: vm_count(&c->other, 1); break;
    case VNET_LOOPBACK: vm_count(&c->loopback, 1); break;
    case VNET_METADATA: vm_count(&c->metadata, 1); break;
    case VNET_BY_DEFAULT: vm_count(&c->by_default, 1); break;
    default: vm_count(&c->rule[v->why - VNET_BY_RULE], 1); break;
    }
}

static const char *reason(unsigned why)
{
    switch (why) {
    case VNET_MALFORMED: return "its headers cannot be judged";
    case VNET_SPOOFED: return "antispoof: it is in another's name";
    case VNET_OTHER: return "it is neither IP nor ARP; egress_types= would allow it";
    case VNET_LOOPBACK: return "it is for a loopback address, or from one";
    case VNET_METADATA: return "deny_metadata";
    case VNET_BY_DEFAULT: return "no rule of egress allows it";
    default: return "a rule of egress denies it";
    }
}

static int refuse(struct filter *f, const struct vnet_verdict *v)
{
    count_verdict(f, v);
    vm_log_limited(f->env, &f->complaints, VM_LOG_WARN, "%s: a frame of the guest's is dropped: %s",
                   f->name, reason(v->why));
    return -EPERM;
}

/* The frame in f->iov, all that matters of it copied. The number of elements, or -E2BIG. */
static int take(struct filter *f, const struct iovec *iov, int count, size_t total,
                size_t *ret_head)
{
    if (f->capture) {
        copy_out(f->frame, total, iov, count);
        f->iov[0] = iov[0];
        f->iov[1] = (struct iovec){ f->frame, total };
        *ret_head = total < VNET_HEAD ? total : VNET_HEAD;
        return 2;
    }
    *ret_head = copy_out(f->head, VNET_HEAD, iov, count);
    return splice(f, iov, count, *ret_head);
}

static int pass(struct filter *f, unsigned queue, int count, size_t total)
{
    int rc = vnet_send(f->below, queue, f->iov, count);

    if (rc == -EAGAIN)
        return rc;
    vnet_rate_pay(&f->sent.rate, total, now_ns(f));
    if (f->capture)
        vnet_capture_put(f->capture, VNET_OUTBOUND, f->frame, total);
    return rc;
}

static int filter_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    const struct vnet_verdict too_many = { false, VNET_MALFORMED };
    struct filter *f = filter_of(net);
    struct vnet_verdict v = { true, VNET_PASSES };
    size_t total = total_of(iov, count), head;
    int rc;

    if (total > VNET_FRAME_MAX)
        return -EMSGSIZE;
    count = take(f, iov, count, total, &head);
    if (count < 0)
        return refuse(f, &too_many);
    if (f->judges)
        v = vnet_egress_judge(&f->rules, f->capture ? f->frame : f->head, head, total,
                              f->iov[0].iov_base);
    if (!v.pass)
        return refuse(f, &v);
    if (!may_pass(f, &f->sent, queue, total))
        return -EAGAIN;
    rc = pass(f, queue, count, total);
    if (rc != -EAGAIN)
        count_verdict(f, &v);
    return rc;
}

/* ---- to the guest ---- */

static void copy_in(const uint8_t *from, size_t len, const struct iovec *iov, int count)
{
    for (int i = 1; i < count && len; i++) {
        size_t n = iov[i].iov_len < len ? iov[i].iov_len : len;

        memcpy(iov[i].iov_base, from, n);
        from += n;
        len -= n;
    }
}

static ssize_t receive_captured(struct filter *f, unsigned queue, struct iovec *iov, int count)
{
    struct iovec whole[2] = { iov[0], { f->frame, VNET_FRAME_MAX } };
    ssize_t n = vnet_receive(f->below, queue, whole, 2);
    size_t len;

    if (n <= 0)
        return n;
    len = (size_t)n < VNET_FRAME_MAX ? (size_t)n : VNET_FRAME_MAX;
    copy_in(f->frame, len, iov, count);
    vnet_capture_put(f->capture, VNET_INBOUND, f->frame, len);
    return n;
}

static ssize_t filter_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct filter *f = filter_of(net);
    ssize_t n;

    if (!may_pass(f, &f->received, queue, 1))
        return -EAGAIN;
    n = f->capture ? receive_captured(f, queue, iov, count)
                   : vnet_receive(f->below, queue, iov, count);
    if (n > 0)
        vnet_rate_pay(&f->received.rate, (uint64_t)n, now_ns(f));
    return n;
}

/* ---- the rest ---- */

static int filter_set_offloads(struct vnet *net, unsigned offloads)
{
    return vnet_set_offloads(filter_of(net)->below, offloads);
}

static int filter_set_queues(struct vnet *net, unsigned pairs)
{
    return vnet_set_queues(filter_of(net)->below, pairs);
}

/* Who waits for an old limit asks again: from the loop, for events never come from inside a call. The timer is armed, so that this needs
 * no memory. */
static void wake_soon(struct lane *lane)
{
    struct filter *f = lane->filter;

    if (lane->waiting)
        (void)vm_timer_set(f->env->loop, &lane->timer, now_ns(f), on_time);
}

static bool does_judge(const struct vnet_egress_rules *r)
{
    return r->antispoof || r->policed || r->sockets;
}

static void filter_set_filters(struct vnet *net, const struct vnet_filter_config *config,
                               const struct vnet_rules *rules)
{
    struct filter *f = filter_of(net);

    for (unsigned i = 0; rules && i < VNET_RULES_MAX; i++)
        vm_count_set(&f->counts->rule[i], 0);
    vnet_rate_set(&f->sent.rate, config, true, now_ns(f));
    vnet_rate_set(&f->received.rate, config, false, now_ns(f));
    vnet_egress_set(&f->rules, config, rules);
    f->judges = does_judge(&f->rules);
    wake_soon(&f->sent);
    wake_soon(&f->received);
}

static void filter_close(struct vnet *net)
{
    struct filter *f = filter_of(net);

    vm_timer_cancel(&f->sent.timer);
    vm_timer_cancel(&f->received.timer);
    vnet_close(f->below);
    vnet_capture_free(f->capture);
    free(f->frame);
    free(f);
}

bool vnet_filters_asked(const struct vnet_config *config)
{
    const struct vnet_filter_config *c = &config->filter;

    return vnet_egress_asked(c) || c->capture || c->bw_size || c->ops_size || c->rx_bw_size ||
           c->rx_ops_size || c->tx_bw_size || c->tx_ops_size;
}

int vnet_filter_check(const struct vnet_filter_config *c)
{
    struct vnet_egress_rules rules;

    if (c->capture_max && !c->capture)
        return vm_fail(-EINVAL, "capture_max= is for capture=FILE: give that, too");
    if (c->bw_burst && !c->bw_size && !c->rx_bw_size && !c->tx_bw_size)
        return vm_fail(-EINVAL, "bw_one_time_burst= is for bw_size=: give that, too");
    if (c->ops_burst && !c->ops_size && !c->rx_ops_size && !c->tx_ops_size)
        return vm_fail(-EINVAL, "ops_one_time_burst= is for ops_size=: give that, too");
    return vnet_egress_read(c, &rules);
}

static int init(struct filter *f, const struct vnet_config *config)
{
    const struct vnet_filter_config *c = &config->filter;
    uint64_t now = now_ns(f);
    int rc = vnet_egress_read(c, &f->rules);

    if (rc)
        return rc;
    if (c->antispoof && !c->mac)
        return vm_fail(-EINVAL, "antispoof=on needs the guest's address: give mac=");
    f->rules.sockets = vnet_mode_of(config) == VNET_USER;
    f->judges = does_judge(&f->rules);
    vnet_rate_init(&f->sent.rate, c, true, now);
    vnet_rate_init(&f->received.rate, c, false, now);
    if (!c->capture)
        return 0;
    f->frame = malloc(VNET_FRAME_MAX);
    if (!f->frame)
        return vm_fail(-ENOMEM, "out of memory");
    return vnet_capture_new(f->env, f->name, c, &f->capture);
}

int vnet_filter_new(const struct vnet_setup *setup, struct vnet_setup *ret_below,
                    struct vnet **ret_filter)
{
    static const struct vnet_ops ops = { .receive = filter_receive,
                                         .send = filter_send,
                                         .set_offloads = filter_set_offloads,
                                         .set_queues = filter_set_queues,
                                         .set_filters = filter_set_filters,
                                         .close = filter_close };
    static const struct vnet_events events = { on_readable, on_writable, on_link };
    const struct vnet_filter_config *c = &setup->config->filter;
    struct filter *f = calloc(1, sizeof(*f));
    int rc;

    if (!f)
        return vm_fail(-ENOMEM, "out of memory");
    f->net.ops = &ops;
    f->env = setup->env;
    f->events = setup->events;
    f->ctx = setup->ctx;
    f->counts = c->counts ? c->counts : &f->own_counts;
    f->sent.filter = f->received.filter = f;
    snprintf(f->name, sizeof(f->name), "%s", setup->name);
    rc = init(f, setup->config);
    if (rc) {
        filter_close(&f->net);
        return rc;
    }
    *ret_below = *setup;
    ret_below->events = &events;
    ret_below->ctx = f;
    *ret_filter = &f->net;
    return 0;
}

void vnet_filter_join(struct vnet *filter, struct vnet *below)
{
    filter_of(filter)->below = below;
    filter->info = below->info;
}
