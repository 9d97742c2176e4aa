/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end as a virtio device: what driver and machine want, compared with what the back end does. */
#include "front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <vmm/virtio/shm.h>

/* Features of rings and transport that reach from the driver to the back end (VIRTIO 1.2, 6); the others of this range are ours or
 * nobody's: addresses are guest physical, and a queue that is reset alone is to the back end a ring that stops and starts. */
#define RING_FEATURES                                                                     \
    (VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_VERSION_1 | VQ_F_RING_PACKED | VQ_F_IN_ORDER | \
     VQ_F_ORDER_PLATFORM)
#define WORKED_NS \
    (1000 *       \
     1000000ULL) /* a connection that lived so long was a good one: the next attempt may come soon */
#define DEVICE_FEATURES (((1ULL << 24) - 1) | ~((1ULL << 50) - 1))

/* ---- the back end's side has changed ---- */

static int send_reset(struct vhost_front *f)
{
    struct vhost_message status = vhost_front_number(VHOST_USER_SET_STATUS, 0);
    struct vhost_message reset = vhost_front_message(VHOST_USER_RESET_DEVICE, 0);

    f->reset_wanted = false;
    if (front_has(f, VHOST_PROTOCOL(STATUS)))
        return vhost_front_tell(f, &status);
    return front_has(f, VHOST_PROTOCOL(RESET_DEVICE)) ? vhost_front_tell(f, &reset) : 0;
}

static int send_config(struct vhost_front *f)
{
    uint32_t from = f->written_from, bytes = f->written_to - from;
    struct vhost_message m =
        vhost_front_message(VHOST_USER_SET_CONFIG, VHOST_CONFIG_HEADER + bytes);

    f->written_from = f->written_to = 0;
    if (!bytes || !front_has(f, VHOST_PROTOCOL(CONFIG)))
        return 0;
    m.payload.config.offset = from;
    m.payload.config.size = bytes;
    m.payload.config.flags = VHOST_CONFIG_WRITABLE;
    memcpy(m.payload.config.bytes, f->dev.config + from, bytes);
    return vhost_front_tell(f, &m);
}

/* The back end is told of it when it is there. */
static void mark_written(struct vhost_front *f, uint32_t offset, uint32_t len)
{
    bool more = f->written_to > f->written_from;

    f->written_from = more && f->written_from < offset ? f->written_from : offset;
    f->written_to = more && f->written_to > offset + len ? f->written_to : offset + len;
}

/* A back end knows nothing of bus mastering: without it no ring runs there. */
static bool may_run(const struct vhost_front *f)
{
    return f->want_run && !f->replacing && virtio_may_dma(&f->dev);
}

static void advance_soon(struct vhost_front *f);

static int run_rings(struct vhost_front *f)
{
    int rc = vhost_front_stop_some(f);

    return rc ? rc : vhost_front_start_more(f);
}

int vhost_front_advance(struct vhost_front *f)
{
    bool connected = f->state >= FRONT_IDLE;
    int rc = connected ? send_config(f) : 0;

    if (!rc && f->state == FRONT_IDLE && f->reset_wanted)
        rc = send_reset(f);
    if (!rc && f->state == FRONT_IDLE && f->replacing)
        advance_soon(f); /* this may be a call-back of the channel */
    if (!rc && f->state == FRONT_IDLE && may_run(f))
        return vhost_front_start(f);
    if (!rc && f->state == FRONT_RUNNING)
        return may_run(f) ? run_rings(f) : vhost_front_rest(f);
    return rc;
}

static void advance_posted(struct vm_work *work)
{
    struct vhost_front *f = container_of(work, struct vhost_front, advance_work);

    int rc;

    vm_lock_acquire(&f->dev.dev.lock);
    rc = f->replacing && f->state == FRONT_IDLE ? vm_fail(-ECANCELED, "it is replaced")
                                                : vhost_front_advance(f);
    if (rc)
        vhost_front_gone_with(f, rc);
    vm_lock_release(&f->dev.dev.lock);
}

/* From any thread: the socket belongs to the loop's. */
static void advance_soon(struct vhost_front *f)
{
    vm_loop_post(f->env->loop, &f->advance_work, advance_posted);
}

static void say_config(struct vhost_front *f)
{
    memcpy(f->dev.config, f->config_there, f->dev.config_bytes);
    if (f->ops && f->ops->config)
        f->ops->config(f, f->dev.config, f->dev.config_bytes);
}

void vhost_front_replace(struct vhost_front *f)
{
    f->replacing = f->state != FRONT_AWAY;
    advance_soon(f);
}

static void tell_choice(struct vhost_front *f);

static bool can_ask(const struct vhost_front *f)
{
    return f->features & VIRTIO_FEATURE_ACCESS_PLATFORM &&
           front_has(f, VHOST_PROTOCOL(BACKEND_REQ));
}

int vhost_front_greeted(struct vhost_front *f)
{
    uint64_t missing = vhost_front_driver_features(f) & ~f->features;
    bool logs = front_has(f, VHOST_PROTOCOL(INFLIGHT_SHMFD));

    f->state = FRONT_IDLE;
    f->greeted_ns = vm_loop_now_ns(f->env->loop);
    if (!f->made)
        return 0;
    if (missing || f->queues_there < f->queues) {
        vm_count(&f->count.refused, 1);
        return missing ? vm_fail(-ENOTSUP, "the back end lacks features %#llx that the driver uses",
                                 (unsigned long long)missing)
                       : vm_fail(-ENOTSUP, "the back end has %llu queues, the device %u",
                                 (unsigned long long)f->queues_there, f->queues);
    }
    if (vhost_front_iotlb_on(f) && !can_ask(f)) {
        vm_count(&f->count.refused, 1);
        return vm_fail(-ENOTSUP, "the back end cannot ask for addresses, and the driver is behind "
                                 "an IOMMU");
    }
    if (!vhost_front_log_fits(f)) {
        vm_count(&f->count.refused, 1);
        return vm_fail(-ENOTSUP,
                       "the back end cannot log what it writes, and a migration needs it");
    }
    if (!logs && f->dev.features & VQ_F_RING_PACKED) {
        vm_count(&f->count.refused, 1);
        return vm_fail(-ENOTSUP,
                       "the back end keeps no log of requests in flight, which packed rings need");
    }
    if (vhost_front_shmem_fits(f)) {
        vm_count(&f->count.refused, 1);
        return -ENOTSUP;
    }
    if (!logs) /* what it does is not in the last one's log */
        vm_close(&f->inflight_fd);
    vm_timer_cancel(&f->patience);
    vm_log(f->env, VM_LOG_INFO, "%s: the back end is there", f->dev.dev.id);
    if (f->ops && f->ops->greeted)
        f->ops->greeted(f);
    tell_choice(f);
    if (f->setup.config_bytes && front_has(f, VHOST_PROTOCOL(CONFIG)) &&
        memcmp(f->dev.config, f->config_there, f->dev.config_bytes)) {
        say_config(f);
        virtio_config_changed(&f->dev);
    }
    return vhost_front_advance(f);
}

void vhost_front_queue_still(struct vhost_front *f, uint16_t n)
{
    struct front_queue *q = &f->queue[n];

    if (!q->stopping || q->started || f->lingers)
        return;
    q->stopping = false;
    virtio_queue_stopped(&f->dev, n);
}

void vhost_front_still(struct vhost_front *f)
{
    if (f->lingers)
        return;
    for (uint16_t n = 0; n < f->queues; n++)
        vhost_front_queue_still(f, n);
    if (f->rest_awaited) {
        f->rest_awaited = false;
        virtio_stopped(&f->dev);
    }
    if (f->dma_awaited) {
        f->dma_awaited = false;
        vdev_unpark(&f->dev.dev);
    }
}

static void out_of_patience(struct vm_timer *timer)
{
    struct vhost_front *f = container_of(timer, struct vhost_front, patience);

    vm_lock_acquire(&f->dev.dev.lock);
    virtio_needs_reset(&f->dev, "the back end has been away for longer than reconnect= allows");
    vm_lock_release(&f->dev.dev.lock);
}

static void wait_for_another(struct vhost_front *f, bool was_there)
{
    uint64_t now = vm_loop_now_ns(f->env->loop);
    int rc;

    if (was_there && now - f->greeted_ns >= WORKED_NS)
        f->retry_ns = 0;
    if (f->setup.reconnect_ns != UINT64_MAX && !f->patience.slot)
        (void)vm_timer_set(f->env->loop, &f->patience,
                           now > UINT64_MAX - f->setup.reconnect_ns ? UINT64_MAX
                                                                    : now + f->setup.reconnect_ns,
                           out_of_patience);
    rc = vhost_front_link_open(f);
    if (rc) {
        vdev_broken(&f->dev.dev, vm_error_text());
        virtio_needs_reset(&f->dev, "the back end is gone for good");
    }
}

void vhost_front_gone(struct vhost_front *f, const struct vm_error *why)
{
    bool was_there = f->state >= FRONT_IDLE, replaced = f->replacing;

    f->replacing = false;
    f->lost = *why; /* it may be the channel's */
    vhost_front_link_close(f);
    f->state = FRONT_AWAY;
    vhost_front_memory_lost(f);
    if (!f->made)
        return;
    vm_count(&f->count.losses, was_there && !replaced);
    vm_log_limited(f->env, &f->dev.complaints, replaced ? VM_LOG_INFO : VM_LOG_WARN,
                   "%s: the back end is gone: %s", f->dev.dev.id, f->lost.text);
    if (replaced)
        f->retry_ns = 0;
    vhost_front_rings_lost(f);
    vhost_front_extra_lost(f);
    vhost_front_iotlb_lost(f);
    vhost_front_object_lost(f);
    vhost_front_postcopy_lost(f);
    virtio_shm_clear(&f->dev);
    f->lingers = f->lingers || (f->ops && f->ops->gone && f->ops->gone(f) == -EINPROGRESS);
    vhost_front_still(f);
    wait_for_another(f, was_there);
}

void vhost_front_gone_with(struct vhost_front *f, int code)
{
    struct vm_error why;

    vm_error_save(code, &why);
    vhost_front_gone(f, &why);
}

static int take_config(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc = vhost_front_config_take(f, untrusted);

    (void)queue;
    if (rc)
        return rc;
    say_config(f);
    virtio_config_changed(&f->dev);
    return 0;
}

int vhost_front_asked(struct vhost_front *f, struct vhost_message *untrusted)
{
    char text[24];

    if (untrusted->request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG && f->setup.config_bytes)
        return f->made ? vhost_front_config_ask(f, take_config) : 0;
    if (untrusted->request == VHOST_USER_BACKEND_IOTLB_MSG && vhost_front_iotlb_on(f))
        return vhost_front_iotlb_asked(f, &untrusted->payload.iotlb);
    if (untrusted->request == VHOST_USER_BACKEND_SHMEM_MAP ||
        untrusted->request == VHOST_USER_BACKEND_SHMEM_UNMAP)
        return vhost_front_shmem_asked(f, untrusted);
    if (untrusted->request == VHOST_USER_BACKEND_SHARED_OBJECT_ADD ||
        untrusted->request == VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE ||
        untrusted->request == VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP)
        return vhost_front_object_asked(f, untrusted);
    return vm_fail(-EOPNOTSUPP, "%s: not negotiated",
                   vhost_message_name(VHOST_BACK, untrusted->request, text));
}

/* What was used while the machine stood still is told when it goes on. Where the transport has the signals sent as messages by the
 * hypervisor, that takes them before they come here (Linux from 5.11 on wakes an irqfd before others, and then nobody else). What came here
 * is taken, or it would be sent once more when the driver unmasks its vector: an eventfd that has a count is signalled to who begins to wait
 * for it. The back end has the eventfd, too, and could make a plain read wait. */
static void call_ready(struct vm_watch *watch, uint32_t events)
{
    struct front_queue *q = container_of(watch, struct front_queue, watch);
    struct vhost_front *f = q->front;

    (void)events;
    vm_lock_acquire(&f->dev.dev.lock);
    vm_count(&f->count.interrupts, 1);
    (void)vm_eventfd_take_shared(q->call);
    virtio_notify(&f->dev, (uint16_t)(q - f->queue));
    vm_lock_release(&f->dev.dev.lock);
}

/* One for all rings: which one it was does not matter to the driver. */
static void err_ready(struct vm_watch *watch, uint32_t events)
{
    struct vhost_front *f = container_of(watch, struct vhost_front, err_watch);

    (void)events;
    vm_lock_acquire(&f->dev.dev.lock);
    if (f->dev.running && !f->dev.stopping)
        virtio_needs_reset(&f->dev, "the back end cannot go on with a ring");
    vm_lock_release(&f->dev.dev.lock);
}

static int make_event(struct vhost_front *f, int *fd, struct vm_watch *watch,
                      void (*ready)(struct vm_watch *watch, uint32_t events))
{
    int rc;

    if (*fd >= 0)
        return 0;
    *fd = vm_eventfd();
    if (*fd < 0)
        return *fd;
    rc = vm_watch_add(f->env->loop, watch, *fd, EPOLLIN | EPOLLET, ready);
    if (rc)
        vm_close(fd);
    return rc;
}

int vhost_front_event_call(struct vhost_front *f, uint16_t n)
{
    int rc = make_event(f, &f->queue[n].call, &f->queue[n].watch, call_ready);

    if (!rc)
        virtio_call_fd(&f->dev, n, f->queue[n].call);
    return rc;
}

int vhost_front_event_err(struct vhost_front *f)
{
    return make_event(f, &f->err, &f->err_watch, err_ready);
}

/* ---- the driver's and the machine's side ---- */

static int go(struct virtio_dev *dev)
{
    front_of(dev)->want_run = true;
    front_of(dev)->drops = false;
    advance_soon(front_of(dev));
    return 0;
}

/* One that was loaded while its machine stands still waits for resume(). */
static int op_start(struct virtio_dev *dev)
{
    return dev->dev.quiesced ? 0 : go(dev);
}

/* A queue that was enabled late, or a doorbell that is no eventfd. */
static int op_kick(struct virtio_dev *dev, uint16_t n)
{
    struct vhost_front *f = front_of(dev);
    int fd, rc = virtio_kick_fd(dev, n, &fd);

    if (rc)
        return rc;
    if (!f->queue[n].started) {
        advance_soon(f); /* its start kicks it */
        return 0;
    }
    if (!f->bell)
        rc = vm_bell_new(&f->bell);
    if (!rc)
        vm_bell_ring(f->bell, fd);
    return rc;
}

static int rest(struct vhost_front *f)
{
    f->want_run = false;
    if (f->state < FRONT_STARTING && !f->lingers)
        return 0;
    f->rest_awaited = true;
    advance_soon(f);
    return -EINPROGRESS;
}

/* The driver has given up what is in flight. */
static int op_stop(struct virtio_dev *dev)
{
    front_of(dev)->drops = true;
    return rest(front_of(dev));
}

/* 2.6.1: what is in flight of it is not wanted any more, wherever it stands written; the other queues are served meanwhile. */
static int op_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    struct vhost_front *f = front_of(dev);
    struct front_queue *q = &f->queue[n];

    if (n >= f->queues)
        return 0;
    q->anew = true;
    q->lost = false;
    if (!q->started && !f->lingers)
        return 0;
    q->stopping = true;
    advance_soon(f);
    return -EINPROGRESS;
}

static int op_quiesce(struct virtio_dev *dev)
{
    front_of(dev)->drops = front_of(dev)->leaves;
    return rest(front_of(dev));
}

static int op_dma_changed(struct virtio_dev *dev)
{
    struct vhost_front *f = front_of(dev);

    advance_soon(f);
    if (virtio_may_dma(dev) || (f->state < FRONT_STARTING && !f->lingers))
        return 0;
    f->dma_awaited = true;
    return -EINPROGRESS;
}

static int op_resume(struct virtio_dev *dev)
{
    return go(dev);
}

static void op_reset(struct virtio_dev *dev)
{
    struct vhost_front *f = front_of(dev);

    vm_close(&f->inflight_fd);
    for (uint16_t n = 0; n < f->queues; n++)
        f->queue[n].lost = f->queue[n].anew = f->queue[n].stopping = false;
    f->written_from = f->written_to = 0;
    f->chose = false;
    say_config(f);
    f->reset_wanted = true;
    f->drops = false;
    advance_soon(f);
}

/* What the driver chose there must not be another after the back end was replaced. */
static void keep_choice(struct vhost_front *f, uint32_t offset, uint32_t len)
{
    const struct virtio_span *c = &f->setup.chosen;

    if (vm_ranges_overlap(c->at, c->bytes, offset, len))
        f->chose = true;
}

/* A back end that has just come is told again. */
static void tell_choice(struct vhost_front *f)
{
    const struct virtio_span *c = &f->setup.chosen;

    if (!f->chose)
        return;
    memcpy(f->config_there + c->at, f->dev.config + c->at, c->bytes);
    mark_written(f, c->at, c->bytes);
}

static void op_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                            uint32_t len)
{
    struct vhost_front *f = front_of(dev);

    if (!len)
        return;
    memcpy(dev->config + offset, data, len);
    keep_choice(f, offset, len);
    mark_written(f, offset, len);
    advance_soon(f);
}

static void front_free(struct vhost_front *f)
{
    vhost_front_link_close(f);
    vhost_front_extra_free(f);
    vhost_front_object_lost(f);
    vhost_front_iotlb_free(f);
    vhost_front_memory_free(f);
    vm_timer_cancel(&f->patience);
    vm_watch_del(&f->listener);
    vm_close(&f->listen_fd);
    vm_close(&f->inflight_fd);
    vm_close(&f->setup.fd);
    vm_watch_del(&f->err_watch);
    vm_close(&f->err);
    for (uint16_t n = 0; f->queue && n < f->setup.queues; n++) {
        vm_watch_del(&f->queue[n].watch);
        vm_close(&f->queue[n].call);
    }
    vm_bell_free(f->bell);
    free(f->queue);
    free(f->call);
    free(f->config_there);
    free((char *)(uintptr_t)f->setup.socket);
    free(f);
}

static void op_destroy(struct virtio_dev *dev)
{
    struct vhost_front *f = front_of(dev);

    vm_work_cancel(f->env->loop, &f->advance_work);
    if (f->ops && f->ops->destroy)
        f->ops->destroy(f);
    virtio_exit(dev);
    front_free(f);
}

static void op_save(struct virtio_dev *dev, void *ret_state)
{
    struct vhost_front *f = front_of(dev);

    if (f->ops && f->ops->save)
        f->ops->save(f, ret_state);
}

static int op_load(struct virtio_dev *dev, const void *untrusted)
{
    struct vhost_front *f = front_of(dev);

    return f->ops && f->ops->load ? f->ops->load(f, untrusted) : 0;
}

/* The guest announces itself, too, where the back end tells it so: by config space, which it serves. */
static int op_announce(struct virtio_dev *dev, const uint8_t mac[6])
{
    return vhost_front_rarp(front_of(dev), mac);
}

static const struct virtio_ops front_ops = {
    .start = op_start,
    .kick = op_kick,
    .stop = op_stop,
    .queue_stop = op_queue_stop,
    .reset = op_reset,
    .config_write = op_config_write,
    .quiesce = op_quiesce,
    .resume = op_resume,
    .save = op_save,
    .load = op_load,
    .announce = op_announce,
    .dma_changed = op_dma_changed,
    .destroy = op_destroy,
};

/* ---- creation ---- */

static int copy_setup(struct vhost_front *f, const struct vhost_front_setup *setup)
{
    f->setup = *setup;
    f->setup.queue_sizes = NULL; /* the caller's */
    f->setup.socket = setup->socket ? strdup(setup->socket) : NULL;
    f->queue = calloc(setup->queues ? setup->queues : 1, sizeof(*f->queue));
    f->call = calloc(FRONT_CALLS_MAX, sizeof(*f->call));
    f->config_there = calloc(1, setup->config_bytes ? setup->config_bytes : 1);
    for (uint16_t n = 0; f->queue && n < setup->queues; n++)
        f->queue[n] = (struct front_queue){ .front = f, .call = -1 };
    if ((setup->socket && !f->setup.socket) || !f->queue || !f->call || !f->config_there)
        return vm_fail(-ENOMEM, "vhost-user: out of memory");
    if (!vm_range_in(setup->chosen.at, setup->chosen.bytes, setup->config_bytes))
        return vm_fail(-EINVAL, "vhost-user: bytes %u to %u of a config space of %u",
                       setup->chosen.at, setup->chosen.at + setup->chosen.bytes,
                       setup->config_bytes);
    if (setup->queues > VHOST_QUEUES_MAX || setup->config_bytes > VHOST_CONFIG_MAX)
        return vm_fail(-EINVAL, "vhost-user: %u queues and %u bytes of config space: too many",
                       setup->queues, setup->config_bytes);
    return 0;
}

static int wait_for_hello(struct vhost_front *f)
{
    struct vm_loop *loop = f->env->loop;
    uint64_t start = vm_loop_now_ns(loop), passed = 0;
    int rc = 0;

    while (rc >= 0 && f->state != FRONT_IDLE) {
        passed = vm_loop_now_ns(loop) - start;
        if (f->state == FRONT_AWAY && !f->retry.slot && f->listen_fd < 0)
            return vm_error_restore(&f->lost);
        if (passed >= f->setup.wait_ns && f->lost.code && f->lost.code != -ECONNREFUSED &&
            f->lost.code != -ENOENT)
            return vm_error_restore(&f->lost);
        if (passed >= f->setup.wait_ns)
            return vm_fail(
                -ETIMEDOUT,
                "no back end has come to %s in %llu s: start it first, or give it more time",
                f->setup.socket ? f->setup.socket : "the socket",
                (unsigned long long)(f->setup.wait_ns / 1000000000ULL));
        rc = vm_loop_step(loop, f->setup.wait_ns - passed);
    }
    return rc < 0 ? vm_fail(rc, "vhost-user: event loop") : 0;
}

/* What of the back end's features a driver is offered. */
static uint64_t offer(const struct vhost_front *f)
{
    uint64_t ring = RING_FEATURES;

    if (!f->setup.packed || !front_has(f, VHOST_PROTOCOL(INFLIGHT_SHMFD)))
        ring &= ~VQ_F_RING_PACKED;
    if (f->setup.platform)
        ring |= VIRTIO_FEATURE_ACCESS_PLATFORM;
    return (f->features & (ring | DEVICE_FEATURES) & ~f->setup.refuse) | f->own | VQ_F_RING_RESET;
}

int vhost_front_listen(struct vhost_front *f, struct gm_space *space)
{
    return vhost_front_memory_listen(f, space);
}

static int check_back_end(struct vhost_front *f)
{
    int rc = vhost_front_choose(f);

    if (rc)
        return rc;
    f->queues = f->setup.queues;
    if (f->queues_there < f->queues)
        f->queues = (uint16_t)f->queues_there;
    if (f->queues < f->setup.queues_min)
        return vm_fail(-ENOTSUP, "the back end has %u queues; this device needs %u", f->queues,
                       f->setup.queues_min);
    if (!(f->features & VQ_F_VERSION_1))
        return vm_fail(-ENOTSUP, "the back end is older than VIRTIO 1.0 (features %#llx)",
                       (unsigned long long)f->features);
    if (f->setup.platform && !can_ask(f))
        return vm_fail(-ENOTSUP, "the back end cannot serve a device behind an IOMMU "
                                 "(VIRTIO_F_ACCESS_PLATFORM and BACKEND_REQ)");
    return 0;
}

static int make_device(struct vhost_front *f, const struct vdev_class *cls,
                       const struct vdev_context *context, const uint16_t *queue_sizes)
{
    struct virtio_setup setup = { .id = f->setup.id,
                                  .queues = f->queues,
                                  .config_bytes = f->setup.config_bytes };
    uint16_t sizes[VHOST_QUEUES_MAX];
    int rc;

    for (uint16_t n = 0; n < f->queues; n++)
        sizes[n] = queue_sizes ? queue_sizes[n] : f->setup.queue_size;
    setup.queue_sizes = sizes;
    rc = virtio_init(&f->dev, cls, &front_ops, context, &setup);
    if (rc)
        return rc;
    f->dev.offered = offer(f);
    for (uint16_t n = 0; n < f->queues; n++)
        f->dev.kick[n].remote = true;
    say_config(f);
    rc = vhost_front_shmem_make(f);
    if (rc)
        virtio_exit(&f->dev);
    return rc;
}

/* The connection may be under way already, but nothing has been heard on it. */
static int make_known(struct vhost_front *f, const struct vdev_class *cls,
                      const struct vdev_context *context, const struct vhost_front_setup *setup)
{
    int rc;

    f->setup.known = NULL; /* the caller's */
    f->queues = setup->queues;
    if (setup->config_bytes)
        memcpy(f->config_there, setup->known->config, setup->config_bytes);
    rc = make_device(f, cls, context, setup->queue_sizes);
    if (rc)
        return rc;
    f->dev.offered = setup->known->features & (RING_FEATURES | DEVICE_FEATURES | VQ_F_RING_RESET);
    rc = vhost_front_link_open(f);
    if (rc)
        virtio_exit(&f->dev);
    return rc;
}

static int make_greeted(struct vhost_front *f, const struct vdev_class *cls,
                        const struct vdev_context *context, const struct vhost_front_setup *setup)
{
    int rc = vhost_front_link_open(f);

    if (!rc)
        rc = wait_for_hello(f);
    if (!rc)
        rc = check_back_end(f);
    return rc ? rc : make_device(f, cls, context, setup->queue_sizes);
}

int vhost_front_new(const struct vdev_class *cls, const struct vdev_context *context,
                    const struct vhost_front_setup *setup, const struct vhost_front_ops *ops,
                    struct vhost_front **ret_front)
{
    struct vhost_front *f = calloc(1, sizeof(*f));
    int rc;

    if (!f)
        return vm_fail(-ENOMEM, "%s: out of memory", context->id);
    f->env = context->env;
    f->ops = ops;
    f->object.table = context->machine ? context->machine->objects : NULL;
    f->object.fd = -1;
    f->listen_fd = f->inflight_fd = f->log_fd = f->err = -1;
    rc = copy_setup(f, setup);
    if (!rc)
        rc = setup->known ? make_known(f, cls, context, setup)
                          : make_greeted(f, cls, context, setup);
    if (rc) {
        front_free(f);
        return rc;
    }
    f->made = true;
    rc = setup->known ? 0 : vhost_front_memory_listen(f, context->memory);
    if (rc) {
        virtio_exit(&f->dev);
        front_free(f);
        return rc;
    }
    *ret_front = f;
    return 0;
}

void vhost_front_still_now(struct vhost_front *f)
{
    vm_lock_acquire(&f->dev.dev.lock);
    f->lingers = false;
    if (f->state < FRONT_STARTING)
        vhost_front_still(f);
    vm_lock_release(&f->dev.dev.lock);
}

bool vhost_front_whole(const struct vhost_front *f)
{
    for (uint16_t n = 0; n < f->queues; n++)
        if (f->queue[n].lost || f->queue[n].started)
            return false;
    return true;
}

void vhost_front_leave_in_flight(struct vhost_front *f, bool on)
{
    f->leaves = on;
}

struct virtio_dev *vhost_front_dev(struct vhost_front *f)
{
    return &f->dev;
}

void *vhost_front_user(struct vhost_front *f)
{
    return f->setup.user;
}

#define METRIC(member, text)                                      \
    {                                                             \
#member, offsetof(struct vhost_front, count.member), text \
    }
const struct vdev_metric vhost_front_metrics[] = {
    METRIC(connects, "times a back end connected"),
    METRIC(losses, "times it went away"),
    METRIC(refused, "back ends that lacked what the driver uses"),
    METRIC(interrupts, "signals from the back end"),
    { 0 },
};
