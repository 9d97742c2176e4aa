/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Rings of the back end ("Ring states", SET_VRING_* and GET_VRING_BASE). The device's queue is started while the ring is started
 * and enabled; what the front end has set stays here, since a reset of the device takes it from the queue.
 *
 * A ring starts with SET_VRING_KICK (or VRING_KICK): what the driver offered before needs no kick. Of one that is continued (its
 * base is not that of a new ring) the driver is called, too: whoever served it before may have died between used and call.
 */
#include "backend_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <vmm/base/fd.h>
#include <vmm/virtio-queue/inflight.h>

/* How often a ring without kicks is looked at. */
#define POLL_NS (200 * 1000ULL)

enum { PACKED_NEW = 1U << 31 | 1U << 15, PACKED_INDEX = 0x7fff };

static bool is_packed(const struct vhost_backend *b)
{
    return b->features & VQ_F_RING_PACKED;
}

static uint32_t new_base(const struct vhost_backend *b)
{
    return is_packed(b) ? PACKED_NEW : 0;
}

static bool enabled(const struct vhost_ring *r)
{
    return r->enable_set ? r->enable : !(r->b->features & VHOST_FEATURE_PROTOCOL);
}

static struct vq *queue_of(const struct vhost_ring *r)
{
    return &r->b->dev->queue[r->n];
}

static int find(struct vhost_backend *b, uint64_t n, struct vhost_ring **ret_ring)
{
    if (n >= b->dev->queues)
        return vm_fail(-EINVAL, "ring %llu: the device has %u", (unsigned long long)n,
                       b->dev->queues);
    *ret_ring = &b->ring[n];
    return 0;
}

/* ---- start ---- */

static void fail_ring(struct vhost_ring *r)
{
    vm_log_limited(r->b->env, &r->b->complaints, VM_LOG_WARN, "%s: ring %u does not start: %s",
                   r->b->dev->dev.id, r->n, vm_error_text());
    r->dead = true;
    vhost_backend_ring_error(r);
}

/* Status as far as FEATURES_OK; with the protocol feature STATUS that is the front end's. */
static int agree(struct vhost_backend *b)
{
    struct virtio_dev *dev = b->dev;
    uint64_t features = b->features & ~VHOST_NOT_THE_DEVICES;

    if (dev->status & VIRTIO_FEATURES_OK)
        return 0;
    virtio_set_driver_features(dev, 0, (uint32_t)(features & UINT32_MAX));
    virtio_set_driver_features(dev, 1, (uint32_t)(features >> 32));
    (void)virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    (void)virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    if (!(dev->status & VIRTIO_FEATURES_OK))
        return vm_fail(-EINVAL, "features %#llx: the device needs VIRTIO 1.0 (bit 32)",
                       (unsigned long long)features);
    return 0;
}

static int check_base(const struct vhost_ring *r, uint32_t base)
{
    bool fits = is_packed(r->b)
                    ? (base & PACKED_INDEX) < r->num && (base >> 16 & PACKED_INDEX) < r->num
                    : base <= UINT16_MAX;

    return fits ? 0 : vm_fail(-EINVAL, "base %#x in a ring of %u", base, r->num);
}

static int set_queue(struct vhost_ring *r)
{
    struct vhost_backend *b = r->b;
    struct vq *q = queue_of(r);
    uint32_t base = r->base_set ? r->base : new_base(b);
    int rc = check_base(r, base);

    if (rc)
        return rc;
    (void)vq_set_inflight(q, NULL, 0); /* or the reset would end the log */
    vq_reset(q);
    q->features = b->dev->features;
    q->size = r->num;
    if (!vhost_backend_to_guest(b, r->addr.desc, &q->desc) ||
        !vhost_backend_to_guest(b, r->addr.avail, &q->driver) ||
        !vhost_backend_to_guest(b, r->addr.used, &q->device))
        return vm_fail(-EFAULT, "its address is in no memory region");
    vq_set_base(q, base);
    rc = vhost_backend_inflight_use(r);
    q->view->awaited = false;
    return rc ? rc : vq_start(q, b->dev->features);
}

/* Under the lock. */
static void start_ring(struct vhost_ring *r)
{
    struct virtio_dev *dev = r->b->dev;
    int rc = agree(r->b);

    if (!rc)
        rc = set_queue(r);
    if (rc && vhost_backend_iotlb_on(r->b) && dev->view.awaited)
        return; /* asked for: tried again with the next message */
    if (rc) {
        fail_ring(r);
        return;
    }
    r->active = true;
    if (r->continued) /* so may have been a call */
        vhost_backend_ring_call(r);
    if (!(dev->status & VIRTIO_DRIVER_OK))
        (void)virtio_set_status(dev, dev->status | VIRTIO_DRIVER_OK);
    virtio_queue_kick(dev, r->n);
}

static void poll_ring(struct vm_timer *timer)
{
    struct vhost_ring *r = container_of(timer, struct vhost_ring, poll);
    struct vm_loop *loop = r->b->env->loop;

    if (!r->polled || !r->active)
        return;
    vhost_backend_lock(r->b);
    virtio_queue_serve(r->b->dev, r->n);
    vhost_backend_unlock(r->b);
    (void)vm_timer_set(loop, timer, vm_loop_now_ns(loop) + POLL_NS, poll_ring);
}

/* With STATUS the front end tells when the driver is ready. QEMU before 8.0 does so for some devices only; of the others it
 * says FEATURES_OK, but nothing that a driver says before that. */
static bool driver_ready(const struct vhost_backend *b)
{
    uint8_t status = b->dev->status;

    return !(b->protocol & VHOST_PROTOCOL(STATUS)) || status & VIRTIO_DRIVER_OK ||
           (status & VIRTIO_FEATURES_OK && !(status & (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER)));
}

static bool wanted(const struct vhost_ring *r)
{
    return !r->active && !r->dead && r->started && enabled(r) && r->num_set && r->addr_set &&
           driver_ready(r->b);
}

bool vhost_backend_rings_active(const struct vhost_backend *b)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        if (b->ring[n].active)
            return true;
    return false;
}

static bool any_wanted(const struct vhost_backend *b)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        if (wanted(&b->ring[n]))
            return true;
    return false;
}

/* A device that a driver has broken works again when all rings have been stopped: front ends without STATUS have no other way to
 * say that its driver begins anew. */
static bool must_reset(const struct vhost_backend *b, bool active)
{
    return !active && b->dev->status & VIRTIO_NEEDS_RESET &&
           !(b->protocol & VHOST_PROTOCOL(STATUS));
}

void vhost_backend_settle(struct vhost_backend *b)
{
    bool active = vhost_backend_rings_active(b), want = any_wanted(b);

    if (b->next || b->closing || !b->channel)
        return;
    if (want && must_reset(b, active)) {
        vhost_backend_reset_then(b, vhost_backend_proceed);
        return;
    }
    /* With no ring active a device that runs stays at rest ("suspended"). */
    if ((want || active || !b->dev->running) && vdev_resume(&b->dev->dev))
        vm_log_limited(b->env, &b->complaints, VM_LOG_WARN, "%s: it does not go on: %s",
                       b->dev->dev.id, vm_error_text());
    for (uint16_t n = 0; want && n < b->dev->queues; n++) {
        struct vhost_ring *r = &b->ring[n];

        vhost_backend_lock(b);
        if (wanted(r))
            start_ring(r);
        vhost_backend_unlock(b);
        if (r->active && r->polled && !r->poll.slot)
            poll_ring(&r->poll);
    }
}

/* ---- stop ---- */

/* At rest. */
static void stop_ring(struct vhost_ring *r)
{
    struct vq *q = queue_of(r);

    if (!r->active)
        return;
    vhost_backend_lock(r->b);
    r->base = vq_base(q);
    r->base_set = true;
    vq_stop(q);
    r->active = false;
    vhost_backend_unlock(r->b);
    vm_timer_cancel(&r->poll);
}

static void close_kick(struct vhost_ring *r)
{
    vm_watch_del(&r->kick);
    vm_close(&r->kick_fd);
    r->polled = false;
}

/* GET_VRING_BASE: the ring stops. Like other back ends we want a new kick descriptor then. With _SKIP_DRAIN the front end does not
 * want to wait for what is in flight: a device takes a request when it works on it, and what the host is doing at the moment
 * cannot be called back, so at rest all the others are in the ring or its log. */
static void tell_base(struct vhost_ring *r)
{
    struct vhost_backend *b = r->b;
    struct vhost_message reply = { .request = b->asked.request,
                                   .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                   .size = sizeof(reply.payload.state) };

    r->started = false;
    close_kick(r);
    reply.payload.state.index = r->n;
    reply.payload.state.num = r->base_set ? r->base : new_base(b);
    vhost_backend_reply(b, &reply);
}

static void stop_and_tell(struct vhost_backend *b)
{
    stop_ring(b->asked_ring);
    tell_base(b->asked_ring);
}

int vhost_backend_get_base(struct vhost_backend *b, struct vhost_message *m)
{
    int rc = find(b, m->payload.state.index, &b->asked_ring);

    if (rc)
        return rc;
    rc = vhost_backend_later(b, m);
    if (b->asked_ring->active)
        vhost_backend_rest_then(b, stop_and_tell);
    else
        tell_base(b->asked_ring);
    return rc;
}

static void stop_and_answer(struct vhost_backend *b)
{
    stop_ring(b->asked_ring);
    vhost_backend_answer(b, 0);
}

int vhost_backend_set_enable(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_ring *r;
    int rc = find(b, m->payload.state.index, &r);

    if (!rc && m->payload.state.num > 1)
        rc = vm_fail(-EINVAL, "SET_VRING_ENABLE: %u is neither 0 nor 1", m->payload.state.num);
    if (rc)
        return rc;
    r->enable_set = true;
    r->enable = m->payload.state.num;
    if (r->enable || !r->active)
        return 0;
    b->asked_ring = r;
    vhost_backend_rest_then(b, stop_and_answer);
    return vhost_backend_later(b, m);
}

/* "Ring states": SET_FEATURES without protocol features enables them. */
void vhost_backend_enable_all(struct vhost_backend *b)
{
    for (uint16_t n = 0; !(b->features & VHOST_FEATURE_PROTOCOL) && n < b->dev->queues; n++)
        b->ring[n].enable_set = false;
}

bool vhost_backend_rings_touch(const struct vhost_backend *b, uint64_t from, uint64_t to)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        if (b->ring[n].active && vq_touches(&b->dev->queue[n], from, to))
            return true;
    return false;
}

void vhost_backend_rings_translate(struct vhost_backend *b)
{
    for (uint16_t n = 0; n < b->dev->queues; n++)
        stop_ring(&b->ring[n]);
}

void vhost_backend_rings_check(struct vhost_backend *b)
{
    if (vhost_backend_iotlb_on(b)) { /* what user addresses mean has changed */
        vhost_backend_iotlb_forget(b);
        return;
    }
    for (uint16_t n = 0; n < b->dev->queues; n++) {
        struct vhost_ring *r = &b->ring[n];
        const struct vq *q = queue_of(r);
        gpa_t desc, avail, used;

        if (!r->active)
            continue;
        if (vhost_backend_to_guest(b, r->addr.desc, &desc) && desc == q->desc &&
            vhost_backend_to_guest(b, r->addr.avail, &avail) && avail == q->driver &&
            vhost_backend_to_guest(b, r->addr.used, &used) && used == q->device)
            continue;
        stop_ring(r);
        vm_fail(-EFAULT, "its memory was taken away");
        vhost_backend_lock(b);
        fail_ring(r);
        vhost_backend_unlock(b);
    }
}

/* ---- what the front end sets ---- */

static int find_stopped(struct vhost_backend *b, uint32_t n, const char *what,
                        struct vhost_ring **ret_ring)
{
    int rc = find(b, n, ret_ring);

    if (!rc && (*ret_ring)->active)
        rc = vm_fail(-EBUSY, "%s: ring %u runs", what, n);
    if (!rc)
        (*ret_ring)->dead = false;
    return rc;
}

int vhost_backend_set_num(struct vhost_backend *b, struct vhost_message *m)
{
    uint32_t num = m->payload.state.num;
    struct vhost_ring *r;
    int rc = find_stopped(b, m->payload.state.index, "SET_VRING_NUM", &r);

    if (rc)
        return rc;
    if (!num || num > queue_of(r)->size_max)
        return vm_fail(-EINVAL, "SET_VRING_NUM: %u descriptors, the most are %u", num,
                       queue_of(r)->size_max);
    r->num = (uint16_t)num;
    r->num_set = true;
    return 0;
}

/* Of a ring that runs only the logging may change ("Migration"). */
static bool same_ring(const struct vhost_ring_addr *a, const struct vhost_ring_addr *b)
{
    return a->desc == b->desc && a->used == b->used && a->avail == b->avail;
}

int vhost_backend_set_addr(struct vhost_backend *b, struct vhost_message *m)
{
    const struct vhost_ring_addr *addr = &m->payload.addr;
    struct vhost_ring *r;
    gpa_t used;
    int rc = find(b, addr->index, &r);

    if (rc)
        return rc;
    if (r->active && !same_ring(addr, &r->addr))
        return vm_fail(-EBUSY, "SET_VRING_ADDR: ring %u runs", r->n);
    if (addr->flags & ~(uint32_t)VHOST_RING_LOG)
        return vm_fail(-EINVAL, "SET_VRING_ADDR: flags %#x", addr->flags);
    /* Without an IOMMU the used ring's place in the log is that of its guest address; with one it is found like any other's. */
    if (!vhost_backend_iotlb_on(b) && addr->flags & VHOST_RING_LOG &&
        vhost_backend_to_guest(b, addr->used, &used) && used != addr->log)
        return vm_fail(-ENOTSUP, "SET_VRING_ADDR: used ring at %#llx, to be logged at %#llx",
                       (unsigned long long)used, (unsigned long long)addr->log);
    r->addr = *addr;
    r->addr_set = true;
    r->dead = false;
    vhost_backend_log_update(b);
    return 0;
}

int vhost_backend_set_base(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_ring *r;
    int rc = find_stopped(b, m->payload.state.index, "SET_VRING_BASE", &r);

    if (rc)
        return rc;
    r->base = m->payload.state.num;
    r->base_set = true;
    r->continued = r->base != new_base(b);
    return 0;
}

/* ---- descriptors ---- */

/* What Linux makes event descriptors of, and pipes are not: a pipe is filled by who writes and waits for who reads. */
static int check_event(int fd, const char *what)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (vm_fstat(fd, &st) || flags < 0)
        return vm_fail_errno("%s", what);
    if (st.st_mode & S_IFMT)
        return vm_fail(-EINVAL, "%s: fd is a file, pipe or socket; an eventfd is needed", what);
    /* The peer could have us wait for it. */
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK))
        return vm_fail_errno("%s", what);
    return 0;
}

/* The ring and the fd (-1: none) of SET_VRING_KICK, _CALL and _ERR. */
static int take_event(struct vhost_backend *b, struct vhost_message *m, const char *what,
                      struct vhost_ring **ret_ring, int *ret_fd)
{
    uint64_t v = m->payload.u64;
    bool none = v & VHOST_RING_NO_FD;
    int rc = find(b, v & VHOST_RING_INDEX, ret_ring);

    if (rc)
        return rc;
    if (v & ~(uint64_t)(VHOST_RING_INDEX | VHOST_RING_NO_FD) || none != !m->fds)
        return vm_fail(-EINVAL, "%s: %#llx with %u fds", what, (unsigned long long)v, m->fds);
    rc = none ? 0 : check_event(m->fd[0], what);
    if (!rc)
        *ret_fd = vhost_message_take_fd(m, 0);
    return rc;
}

static void kicked(struct vhost_ring *r)
{
    struct vhost_backend *b = r->b;

    if (r->active) {
        vhost_backend_lock(b);
        virtio_queue_serve(b->dev, r->n);
        vhost_backend_unlock(b);
        return;
    }
    r->started = true;
    vhost_backend_settle(b);
}

/* Edge-triggered and never read: reading could wait, where a hostile front end takes the count first. */
static void kick_ready(struct vm_watch *watch, uint32_t events)
{
    if (events & EPOLLIN)
        kicked(container_of(watch, struct vhost_ring, kick));
}

int vhost_backend_set_kick(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_ring *r;
    int fd, rc = take_event(b, m, "SET_VRING_KICK", &r, &fd);

    if (rc)
        return rc;
    close_kick(r);
    r->dead = false;
    r->kick_fd = fd;
    r->polled = fd < 0;
    if (fd >= 0) {
        rc = vm_watch_add(b->env->loop, &r->kick, fd, EPOLLIN | EPOLLET, kick_ready);
        if (rc) {
            close_kick(r);
            return vm_wrap(rc, "SET_VRING_KICK");
        }
    }
    r->continued = r->continued || vhost_backend_inflight_begun(r);
    r->started = true;
    if (r->polled && r->active && !r->poll.slot)
        poll_ring(&r->poll);
    return 0;
}

static void replace(struct vhost_backend *b, int *place, int fd)
{
    vhost_backend_lock(b);
    vm_close(place);
    *place = fd;
    vhost_backend_unlock(b);
}

int vhost_backend_set_call(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_ring *r;
    int fd, rc = take_event(b, m, "SET_VRING_CALL", &r, &fd);

    if (rc)
        return rc;
    r->call_off = fd < 0;
    replace(b, &r->call_fd, fd);
    if (r->active && fd >= 0) /* the old one may not have been looked at */
        vm_eventfd_signal(fd);
    return 0;
}

int vhost_backend_set_err(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_ring *r;
    int fd, rc = take_event(b, m, "SET_VRING_ERR", &r, &fd);

    if (!rc)
        replace(b, &r->err_fd, fd);
    return rc;
}

int vhost_backend_kick(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_ring *r;
    int rc = find(b, m->payload.state.index, &r);

    if (!rc)
        kicked(r);
    return rc;
}

/* ---- life ---- */

int vhost_backend_rings_new(struct vhost_backend *b)
{
    uint16_t queues = b->dev->queues;

    b->ring = calloc(queues ? queues : 1, sizeof(*b->ring));
    if (!b->ring)
        return -ENOMEM;
    for (uint16_t n = 0; n < queues; n++)
        b->ring[n] =
            (struct vhost_ring){ .b = b, .n = n, .kick_fd = -1, .call_fd = -1, .err_fd = -1 };
    return 0;
}

void vhost_backend_rings_forget(struct vhost_backend *b)
{
    for (uint16_t n = 0; n < b->dev->queues; n++) {
        struct vhost_ring *r = &b->ring[n];

        close_kick(r);
        vm_timer_cancel(&r->poll);
        r->num_set = r->addr_set = r->base_set = r->continued = r->started = r->dead = false;
        r->addr = (struct vhost_ring_addr){ 0 };
    }
}

void vhost_backend_rings_clear(struct vhost_backend *b)
{
    vhost_backend_rings_forget(b);
    for (uint16_t n = 0; n < b->dev->queues; n++) {
        struct vhost_ring *r = &b->ring[n];

        r->enable_set = r->enable = r->call_off = false;
        replace(b, &r->call_fd, -1);
        replace(b, &r->err_fd, -1);
    }
}
