/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end as a virtio device: what driver and machine want, compared with what the back end does. */
#include "front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* Features of rings and transport that reach from the driver to the back end (VIRTIO 1.2, 6); the others of this range are ours or
 * nobody's: addresses are guest physical, and queues are not reset one by one. */
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

/* A back end knows nothing of bus mastering: without it no ring runs there. */
static bool may_run(const struct vhost_front *f)
{
    return f->want_run && virtio_may_dma(&f->dev);
}

int vhost_front_advance(struct vhost_front *f)
{
    bool connected = f->state >= FRONT_IDLE;
    int rc = connected ? send_config(f) : 0;

    if (!rc && f->state == FRONT_IDLE && f->reset_wanted)
        rc = send_reset(f);
    if (!rc && f->state == FRONT_IDLE && may_run(f))
        return vhost_front_start(f);
    if (!rc && f->state == FRONT_RUNNING)
        return may_run(f) ? vhost_front_start_more(f) : vhost_front_rest(f);
    return rc;
}

static void advance_posted(struct vm_work *work)
{
    struct vhost_front *f = container_of(work, struct vhost_front, advance_work);

    struct vm_error why;
    int rc;

    vm_lock_acquire(&f->dev.dev.lock);
    rc = vhost_front_advance(f);
    if (rc) {
        vm_error_save(rc, &why);
        vhost_front_gone(f, &why);
    }
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

static void tell_choice(struct vhost_front *f);

int vhost_front_greeted(struct vhost_front *f)
{
    uint64_t missing = f->dev.features & ~f->features;
    bool logs = front_has(f, VHOST_PROTOCOL(INFLIGHT_SHMFD));

    f->state = FRONT_IDLE;
    if (!f->made)
        return 0;
    if (missing || f->queues_there < f->queues) {
        vm_count(&f->count.refused, 1);
        return missing ? vm_fail(-ENOTSUP, "the back end lacks features %#llx that the driver uses",
                                 (unsigned long long)missing)
                       : vm_fail(-ENOTSUP, "the back end has %llu queues, the device %u",
                                 (unsigned long long)f->queues_there, f->queues);
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
    if (!logs) /* what it does is not in the last one's log */
        vm_close(&f->inflight_fd);
    f->greeted_ns = vm_loop_now_ns(f->env->loop);
    vm_timer_cancel(&f->patience);
    vm_log(f->env, VM_LOG_INFO, "%s: the back end is there", f->dev.dev.id);
    tell_choice(f);
    if (f->setup.config_bytes && front_has(f, VHOST_PROTOCOL(CONFIG)) &&
        memcmp(f->dev.config, f->config_there, f->dev.config_bytes)) {
        say_config(f);
        virtio_config_changed(&f->dev);
    }
    return vhost_front_advance(f);
}

void vhost_front_still(struct vhost_front *f)
{
    if (f->lingers)
        return;
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
    bool was_there = f->state >= FRONT_IDLE;

    f->lost = *why; /* it may be the channel's */
    vhost_front_link_close(f);
    f->state = FRONT_AWAY;
    vhost_front_memory_forget(f);
    if (!f->made)
        return;
    vm_count(&f->count.losses, was_there);
    vm_log_limited(f->env, &f->dev.complaints, VM_LOG_WARN, "%s: the back end is gone: %s",
                   f->dev.dev.id, f->lost.text);
    vhost_front_rings_lost(f);
    vhost_front_extra_lost(f);
    f->lingers = f->lingers || (f->ops && f->ops->gone && f->ops->gone(f) == -EINPROGRESS);
    vhost_front_still(f);
    wait_for_another(f, was_there);
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
    return vm_fail(-EOPNOTSUPP, "%s: not negotiated",
                   vhost_message_name(VHOST_BACK, untrusted->request, text));
}

/* What was used while the machine stood still is told when it goes on. The eventfd is watched for edges and never read: the back end
 * has it, too, and could make a read wait. */
static void call_ready(struct vm_watch *watch, uint32_t events)
{
    struct front_queue *q = container_of(watch, struct front_queue, watch);
    struct vhost_front *f = q->front;

    (void)events;
    vm_lock_acquire(&f->dev.dev.lock);
    vm_count(&f->count.interrupts, 1);
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
    return make_event(f, &f->queue[n].call, &f->queue[n].watch, call_ready);
}

int vhost_front_event_err(struct vhost_front *f)
{
    return make_event(f, &f->err, &f->err_watch, err_ready);
}

/* ---- the driver's and the machine's side ---- */

static int op_start(struct virtio_dev *dev)
{
    front_of(dev)->want_run = true;
    advance_soon(front_of(dev));
    return 0;
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

static int op_stop(struct virtio_dev *dev)
{
    struct vhost_front *f = front_of(dev);

    f->want_run = false;
    if (f->state < FRONT_STARTING && !f->lingers)
        return 0;
    f->rest_awaited = true;
    advance_soon(f);
    return -EINPROGRESS;
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
    return op_start(dev);
}

static void op_reset(struct virtio_dev *dev)
{
    struct vhost_front *f = front_of(dev);

    vm_close(&f->inflight_fd);
    for (uint16_t n = 0; n < f->queues; n++)
        f->queue[n].lost = false;
    f->written_from = f->written_to = 0;
    f->cache_chosen = false;
    say_config(f);
    f->reset_wanted = true;
    advance_soon(f);
}

/* What of the config space is the driver's to say, and must not be another after the back end was replaced: whether a disk's cache writes
 * back (VIRTIO 1.2, 5.2.4). */
enum { BLK_WRITEBACK = 32 };

static void keep_choice(struct vhost_front *f, uint32_t offset, uint32_t len)
{
    if (f->dev.id == VIRTIO_ID_BLOCK && offset <= BLK_WRITEBACK && BLK_WRITEBACK < offset + len)
        f->cache_chosen = true;
}

/* A back end that has just come is told again. */
static void tell_choice(struct vhost_front *f)
{
    if (!f->cache_chosen || f->dev.config_bytes <= BLK_WRITEBACK)
        return;
    f->config_there[BLK_WRITEBACK] = f->dev.config[BLK_WRITEBACK];
    if (f->written_from == f->written_to) {
        f->written_from = BLK_WRITEBACK;
        f->written_to = BLK_WRITEBACK + 1;
    }
}

static void op_config_write(struct virtio_dev *dev, uint32_t offset, const uint8_t *data,
                            uint32_t len)
{
    struct vhost_front *f = front_of(dev);
    bool more = f->written_to > f->written_from;

    if (!len)
        return;
    memcpy(dev->config + offset, data, len);
    keep_choice(f, offset, len);
    f->written_from = more && f->written_from < offset ? f->written_from : offset;
    f->written_to = more && f->written_to > offset + len ? f->written_to : offset + len;
    advance_soon(f);
}

static void front_free(struct vhost_front *f)
{
    vhost_front_link_close(f);
    vhost_front_extra_free(f);
    vhost_front_memory_forget(f);
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

static const struct virtio_ops front_ops = {
    .start = op_start,
    .kick = op_kick,
    .stop = op_stop,
    .reset = op_reset,
    .config_write = op_config_write,
    .quiesce = op_stop,
    .resume = op_resume,
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
    return f->features & (ring | DEVICE_FEATURES) & ~f->setup.refuse;
}

static int check_back_end(struct vhost_front *f)
{
    f->queues = f->setup.queues;
    if (f->queues_there < f->queues)
        f->queues = (uint16_t)f->queues_there;
    if (f->queues < f->setup.queues_min)
        return vm_fail(-ENOTSUP, "the back end has %u queues; this device needs %u", f->queues,
                       f->setup.queues_min);
    if (!(f->features & VQ_F_VERSION_1))
        return vm_fail(-ENOTSUP, "the back end is older than VIRTIO 1.0 (features %#llx)",
                       (unsigned long long)f->features);
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
    f->dev.remote = true;
    say_config(f);
    return 0;
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
    f->listen_fd = f->inflight_fd = f->log_fd = f->err = -1;
    rc = copy_setup(f, setup);
    if (!rc)
        rc = vhost_front_link_open(f);
    if (!rc)
        rc = wait_for_hello(f);
    if (!rc)
        rc = check_back_end(f);
    if (!rc)
        rc = make_device(f, cls, context, setup->queue_sizes);
    if (rc) {
        front_free(f);
        return rc;
    }
    f->made = true;
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
