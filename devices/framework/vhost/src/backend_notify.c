/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* From the device to the front end: calls, errors, changes of the configuration; by eventfd, or by message
 * ("In-band notifications", "Back-end message types"). */
#include "backend_private.h"

#include <errno.h>
#include <sys/socket.h>

#include <vmm/base/fd.h>

static struct vhost_backend *of(struct virtio_transport *t)
{
    return container_of(t, struct vhost_backend, transport);
}

static void notify_posted(struct vm_work *work);

static bool in_band(const struct vhost_backend *b)
{
    return b->protocol & VHOST_PROTOCOL(INBAND_NOTIFICATIONS);
}

void vhost_backend_notify_soon(struct vhost_backend *b)
{
    vm_loop_post(b->env->loop, &b->notify_work, notify_posted);
}

void vhost_backend_ring_call(struct vhost_ring *r)
{
    if (r->call_fd >= 0) {
        vm_eventfd_signal(r->call_fd);
    } else if (!r->call_off && in_band(r->b)) {
        r->call_due = true;
        vhost_backend_notify_soon(r->b);
    }
}

void vhost_backend_ring_error(struct vhost_ring *r)
{
    if (r->err_fd >= 0) {
        vm_eventfd_signal(r->err_fd);
    } else if (in_band(r->b)) {
        r->err_due = true;
        vhost_backend_notify_soon(r->b);
    }
}

/* ---- by message ---- */

static int ask(struct vhost_backend *b, uint32_t request, uint32_t flags, uint32_t size,
               uint16_t ring)
{
    struct vhost_message m = { .request = request,
                               .flags = VHOST_MESSAGE_VERSION | flags,
                               .size = size };

    m.payload.state = (struct vhost_ring_state){ .index = ring };
    return vhost_channel_send(b->back, &m);
}

/* One at a time: "to block until they are processed". */
static void tell_rings(struct vhost_backend *b)
{
    for (uint16_t n = 0; in_band(b) && b->back && !b->asked_back && n < b->dev->queues; n++) {
        struct vhost_ring *r = &b->ring[n];
        uint32_t request;

        vhost_backend_lock(b);
        request = r->err_due    ? VHOST_USER_BACKEND_VRING_ERR
                  : r->call_due ? VHOST_USER_BACKEND_VRING_CALL
                                : 0;
        if (r->err_due)
            r->err_due = false;
        else
            r->call_due = false;
        vhost_backend_unlock(b);
        if (!request)
            continue;
        b->told_ring = n;
        if (!ask(b, request, VHOST_MESSAGE_NEED_REPLY, sizeof(struct vhost_ring_state), n))
            b->asked_back = request == VHOST_USER_BACKEND_VRING_ERR ? BACK_ERROR : BACK_CALL;
    }
}

/* Addresses that are not known. With REPLY_ACK one at a time, for its answer may be that there is no such address. */
static void ask_iotlb(struct vhost_backend *b)
{
    bool answered = b->protocol & VHOST_PROTOCOL(REPLY_ACK);
    struct vhost_message m = {
        .request = VHOST_USER_BACKEND_IOTLB_MSG,
        .flags = VHOST_MESSAGE_VERSION | (answered ? VHOST_MESSAGE_NEED_REPLY : 0),
        .size = sizeof(struct vhost_iotlb),
    };

    while (b->back && !b->asked_back) {
        bool any;

        vhost_backend_lock(b);
        any = vhost_backend_iotlb_ask(b, &m.payload.iotlb);
        vhost_backend_unlock(b);
        if (!any || vhost_channel_send(b->back, &m))
            return;
        b->asked_back = answered ? BACK_MISS : BACK_NOTHING;
    }
}

static void ask_share(struct vhost_backend *b)
{
    if (b->back && !b->asked_back && vhost_backend_share_ask(b))
        b->asked_back = BACK_SHARE;
}

static void notify_posted(struct vm_work *work)
{
    struct vhost_backend *b = container_of(work, struct vhost_backend, notify_work);
    bool changed;

    if (!b->back) /* what is due waits for the socket */
        return;
    vhost_backend_lock(b);
    changed = b->config_changed;
    b->config_changed = false;
    vhost_backend_unlock(b);
    if (changed && b->protocol & VHOST_PROTOCOL(CONFIG))
        (void)ask(b, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, 0, 0);
    ask_iotlb(b);
    ask_share(b);
    tell_rings(b);
}

static int back_message(void *ctx, struct vhost_message *untrusted)
{
    struct vhost_backend *b = ctx;

    /* Whether the front end liked a call changes nothing. */
    if (!b->asked_back)
        return vm_fail(-EPROTO, "a reply to a request that was not made");
    if (b->asked_back == BACK_MISS) {
        vhost_backend_lock(b);
        vhost_backend_iotlb_answered(b, untrusted->payload.u64);
        vhost_backend_unlock(b);
        vhost_backend_settle(b);
    }
    if (b->asked_back == BACK_SHARE)
        vhost_backend_share_answered(b, untrusted);
    b->asked_back = BACK_NOTHING;
    ask_iotlb(b);
    ask_share(b);
    tell_rings(b);
    return 0;
}

static void back_closed(void *ctx, const struct vm_error *why)
{
    struct vhost_backend *b = ctx;

    bool usual = why->code == -ECONNRESET; /* the front end is on its way out */

    vm_log_limited(b->env, &b->complaints, usual ? VM_LOG_INFO : VM_LOG_WARN,
                   "%s: the back end's request socket: %s", b->dev->dev.id, why->text);
    vhost_backend_back_close(b);
}

/* What was told and not acknowledged may not have been read: the next socket is told again. */
void vhost_backend_back_close(struct vhost_backend *b)
{
    struct vhost_ring *r = &b->ring[b->told_ring];

    vhost_channel_free(b->back);
    b->back = NULL;
    vhost_backend_share_drop(b);
    if (!b->asked_back && !vhost_backend_iotlb_on(b))
        return;
    vhost_backend_lock(b);
    if (b->asked_back == BACK_ERROR)
        r->err_due = true;
    else if (b->asked_back == BACK_CALL)
        r->call_due = true;
    b->asked_back = BACK_NOTHING;
    vhost_backend_iotlb_unasked(b);
    vhost_backend_unlock(b);
}

int vhost_backend_set_back(struct vhost_backend *b, struct vhost_message *m)
{
    static const struct vhost_channel_ops ops = { back_message, back_closed };
    int fd = vhost_message_take_fd(m, 0), type = 0, rc;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM) {
        vm_close(&fd);
        return vm_fail(-EINVAL, "SET_BACKEND_REQ_FD: not a stream socket");
    }
    vhost_backend_back_close(b);
    rc = vhost_channel_new(b->env, fd, VHOST_BACK, true, &ops, b, &b->back);
    if (rc)
        return rc;
    vhost_channel_set_protocol(b->back, b->protocol);
    vhost_backend_notify_soon(b);
    return 0;
}

/* ---- the transport; under the device's lock ---- */

static void notify_queue(struct virtio_transport *t, uint16_t n)
{
    vhost_backend_ring_call(&of(t)->ring[n]);
}

/* Of a device that needs a reset all rings are told: it serves none. */
static void notify_config(struct virtio_transport *t)
{
    struct vhost_backend *b = of(t);

    for (uint16_t n = 0; b->dev->status & VIRTIO_NEEDS_RESET && n < b->dev->queues; n++)
        if (b->ring[n].active)
            vhost_backend_ring_error(&b->ring[n]);
    b->config_changed = true;
    vhost_backend_notify_soon(b);
}

static void running(struct virtio_transport *t, bool on)
{
    (void)t;
    (void)on;
}

static void reset(struct virtio_transport *t, bool power_on)
{
    struct vhost_backend *b = of(t);

    (void)power_on;
    for (uint16_t n = 0; n < b->dev->queues; n++) {
        b->ring[n].active = b->ring[n].call_due = b->ring[n].err_due = false;
        if (!b->resetting) /* not at the front end's wish: it has to begin anew */
            b->ring[n].started = false;
    }
    if (b->resetting) {
        b->resetting = false;
        vhost_backend_step(b);
    }
}

const struct virtio_transport vhost_backend_transport = {
    .notify_queue = notify_queue,
    .notify_config = notify_config,
    .running = running,
    .reset = reset,
    .shm_change = vhost_backend_shm_change,
    .object_ask = vhost_backend_object_ask,
};
