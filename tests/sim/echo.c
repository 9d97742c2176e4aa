/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A device of the simulation's own: gives back what it is sent, each byte xor 0x5a, after a while
 * and in any order; its stop and quiesce take their time too. It has all that is hard in an
 * asynchronous device, and so it carries the planted bugs (docs/simulation.md):
 *
 *   lost-kick        a kick that arrives while requests are in flight is now and then forgotten
 *   lock-inversion   its statistics are kept under a leaf lock, below which it takes the device's
 *   late-completion  a reset does not wait for a transfer that is on its way into guest memory
 *   late-removal     the same of a removal: the transfer outlives the device
 *
 * In a process of its own (far.c) it has others, and none of these:
 *
 *   runs-twice       it does not look at the mark of a request that it takes up
 *   out-of-log       it takes a request out of the log of those in flight before the driver has it back
 *
 * Each request has an effect outside of the process (struct sim_effect). Of those with an even number it may not take place twice
 * (as VDEV_REPLAY_MARKED has it), the odd ones it rather fails than runs again (VDEV_REPLAY_NONE).
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/virtio-queue/inflight.h>

enum { ECHO_QUEUE_SIZE = 64, ECHO_BUSY_MAX = 16, ECHO_BYTES = 512, ECHO_MOST_NS = 2000000 };

struct echo {
    struct virtio_dev dev;
    struct sim *sim;
    struct mortal *process; /* NULL: it is the machine's */
    struct vq_pool *pool;
    struct vq_req *busy[ECHO_BUSY_MAX];
    uint64_t due[ECHO_BUSY_MAX];
    unsigned count;
    bool stopping, quiescing;
    struct vm_timer timer;
    struct vm_lock statistics;
    uint8_t *late; /* planted: a transfer that nobody waits for */
    uint64_t late_due;
};

static struct echo *echo_of(struct virtio_dev *dev)
{
    return container_of(dev, struct echo, dev);
}

static void fired(struct vm_timer *timer);

static void arm(struct echo *e)
{
    uint64_t first = e->late ? e->late_due : UINT64_MAX;

    for (unsigned i = 0; i < e->count; i++)
        if (e->due[i] < first)
            first = e->due[i];
    if (first != UINT64_MAX)
        (void)vm_timer_set(e->dev.dev.env->loop, &e->timer, first, fired);
}

static bool has(const struct echo *e, enum sim_plant plant)
{
    return e->sim->plant == plant && !e->process == (plant < SIM_RUNS_TWICE);
}

static bool is_ghost(const struct echo *e)
{
    return e->process && e->process->dead;
}

/* What a ghost does reaches nobody. */
static void take_effect(struct echo *e, uint32_t serial)
{
    struct sim_effect *effect = &e->sim->effect[serial % SIM_SERIALS];

    if (!is_ghost(e) && effect->runs < UINT8_MAX)
        effect->runs++;
}

static void reply(struct vq *q, struct vq_chain *c, uint8_t *data, size_t len)
{
    for (size_t k = 0; k < len; k++)
        data[k] ^= 0x5a;
    (void)vq_push(q, c, data, len);
}

/* Death between effect and mark excuses a second run. */
static void run_marked(struct echo *e, struct vq *q, struct vq_chain *c, uint8_t *data, size_t len)
{
    uint32_t serial = (uint32_t)vm_load_le(data, sizeof(serial));
    bool alive;

    if (c->marked && !has(e, SIM_RUNS_TWICE)) {
        c->pushed = len; /* the answer is there */
        return;
    }
    take_effect(e, serial);
    reply(q, c, data, len);
    alive = !is_ghost(e);
    vq_mark_done(q, c);
    if (alive && is_ghost(e))
        e->sim->effect[serial % SIM_SERIALS].excused++;
}

static void run_never_twice(struct echo *e, struct vq *q, struct vq_chain *c, uint8_t *data,
                            size_t len)
{
    if (c->marked)
        return;
    vq_mark_done(q, c);
    take_effect(e, (uint32_t)vm_load_le(data, sizeof(uint32_t)));
    reply(q, c, data, len);
}

static void run(struct echo *e, struct vq *q, struct vq_chain *c, size_t len)
{
    enum { ENTRIES = 16, ENTRY_BYTES = 16 }; /* QueueRegionSplit of the vhost-user specification */
    uint8_t data[ECHO_BYTES], *log;

    if (len < sizeof(uint32_t) || vq_pull(q, c, data, len))
        return;
    if (vm_load_le(data, sizeof(uint32_t)) % 2)
        run_never_twice(e, q, c, data, len);
    else
        run_marked(e, q, c, data, len);
    log = has(e, SIM_OUT_OF_LOG) ? mortal_log(e->process, 0) : NULL;
    if (log && !(q->features & VQ_F_RING_PACKED))
        log[ENTRIES + ENTRY_BYTES * c->id] = 0;
}

static void finish(struct echo *e, unsigned i)
{
    struct vq_req *req = e->busy[i];
    struct vq_chain *c = &req->chain;
    uint64_t len = c->readable_bytes < c->writable_bytes ? c->readable_bytes : c->writable_bytes;

    e->busy[i] = e->busy[--e->count];
    e->due[i] = e->due[e->count];
    if (e->stopping) {
        vq_req_drop(e->pool, req);
        return;
    }
    run(e, req->q, c, len < ECHO_BYTES ? (size_t)len : ECHO_BYTES);
    (void)vq_req_done(e->pool, req);
}

static void rest(struct echo *e)
{
    if (e->count)
        return;
    virtio_queue_stopped(&e->dev, 0);
    if (e->stopping || e->quiescing) {
        e->stopping = e->quiescing = false;
        virtio_stopped(&e->dev);
    }
}

static void complete(struct echo *e)
{
    uint64_t now = vm_loop_now_ns(e->dev.dev.env->loop);
    unsigned before = e->count;

    if (e->late && e->late_due <= now) {
        *e->late = 0x66;
        e->late = NULL;
    }
    for (unsigned i = 0; i < e->count;)
        if (e->due[i] <= now)
            finish(e, i);
        else
            i++;
    arm(e);
    if (e->count == before)
        return;
    if (e->dev.running && !e->stopping)
        virtio_notify(&e->dev, 0);
    if (before == ECHO_BUSY_MAX)
        virtio_kick_later(&e->dev, 0);
    rest(e);
}

static void fired(struct vm_timer *timer)
{
    struct echo *e = container_of(timer, struct echo, timer);

    if (has(e, SIM_LOCK_INVERSION) && e->count > 2) {
        vm_lock_acquire(&e->statistics);
        vm_lock_acquire(&e->dev.dev.lock);
        complete(e);
        vm_lock_release(&e->dev.dev.lock);
        vm_lock_release(&e->statistics);
        return;
    }
    vm_lock_acquire(&e->dev.dev.lock);
    complete(e);
    vm_lock_release(&e->dev.dev.lock);
}

static int echo_kick(struct virtio_dev *dev, uint16_t n)
{
    struct echo *e = echo_of(dev);
    struct vq_req *req;
    int rc = 0;

    if (has(e, SIM_LOST_KICK) && e->count && sim_one_in(e->sim, 4))
        return 0;
    while (e->count < ECHO_BUSY_MAX && (rc = vq_next_req(&dev->queue[n], e->pool, &req)) > 0) {
        e->busy[e->count] = req;
        e->due[e->count++] = vm_loop_now_ns(dev->dev.env->loop) + sim_below(e->sim, ECHO_MOST_NS);
    }
    arm(e);
    return rc < 0 ? rc : 0;
}

static void drop_all(struct echo *e)
{
    while (e->count)
        vq_req_drop(e->pool, e->busy[--e->count]);
    vm_timer_cancel(&e->timer);
}

static void plant_late(struct echo *e)
{
    const struct vq_chain *c = &e->busy[0]->chain;
    void *host;

    if (!c->writable || gm_host(&e->dev.view, c->buf[c->readable].addr, 1, GM_WRITE, &host))
        return;
    e->late = host;
    e->late_due = e->due[0];
    drop_all(e);
    arm(e);
}

struct stray {
    struct vm_timer timer;
    struct sim *sim;
    gpa_t at;
};

static void stray_arrives(struct vm_timer *timer)
{
    struct stray *stray = container_of(timer, struct stray, timer);

    if (stray->sim->ram)
        *sim_host(stray->sim, stray->at) = 0x66;
    free(stray);
}

static void plant_stray(struct echo *e)
{
    const struct vq_chain *c = &e->busy[0]->chain;
    struct stray *stray;

    if (!c->writable || c->buf[c->readable].addr - SIM_HEAP >= SIM_HEAP_END - SIM_HEAP)
        return;
    stray = calloc(1, sizeof(*stray));
    if (!stray)
        return;
    stray->sim = e->sim;
    stray->at = c->buf[c->readable].addr;
    if (vm_timer_set(e->dev.dev.env->loop, &stray->timer, e->due[0], stray_arrives))
        free(stray);
}

static int echo_stop(struct virtio_dev *dev)
{
    struct echo *e = echo_of(dev);

    if (!e->count)
        return 0;
    if (has(e, SIM_LATE_REMOVAL) && dev->dev.leaving)
        plant_stray(e);
    if (has(e, SIM_LATE_COMPLETION) && !e->quiescing)
        plant_late(e);
    if (e->count && sim_one_in(e->sim, 2)) {
        e->stopping = true;
        return -EINPROGRESS;
    }
    drop_all(e);
    e->quiescing = false;
    if (e->late)
        arm(e);
    return 0;
}

/* Half the time what is under way is dropped at once, else it comes to its end. */
static int echo_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    struct echo *e = echo_of(dev);

    (void)n; /* it has one */
    if (!e->count)
        return 0;
    if (has(e, SIM_LATE_COMPLETION))
        plant_late(e);
    else if (sim_one_in(e->sim, 2))
        return -EINPROGRESS;
    else
        drop_all(e);
    return e->count ? -EINPROGRESS : 0;
}

static int echo_quiesce(struct virtio_dev *dev)
{
    struct echo *e = echo_of(dev);

    e->quiescing = e->count;
    return e->count ? -EINPROGRESS : 0;
}

static int echo_resume(struct virtio_dev *dev)
{
    echo_of(dev)->quiescing = false;
    return 0;
}

static void echo_config_read(struct virtio_dev *dev, uint32_t offset, uint8_t *data, uint32_t len)
{
    (void)dev;
    for (uint32_t i = 0; i < len; i++)
        data[i] = (uint8_t)(0xe0 + offset + i);
}

static void echo_destroy(struct virtio_dev *dev)
{
    struct echo *e = echo_of(dev);

    drop_all(e);
    vq_pool_free(e->pool);
    vm_lock_destroy(&e->statistics);
    virtio_exit(dev);
    free(e);
}

static const struct virtio_ops echo_ops = {
    .kick = echo_kick,
    .stop = echo_stop,
    .queue_stop = echo_queue_stop,
    .quiesce = echo_quiesce,
    .resume = echo_resume,
    .config_read = echo_config_read,
    .destroy = echo_destroy,
};

static int echo_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[] = { ECHO_QUEUE_SIZE };
    const struct virtio_setup setup = {
        .id = 63, .queue_sizes = sizes, .queues = 1, .config_bytes = 8
    };
    struct echo *e = calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return vm_fail(-ENOMEM, "out of memory");
    rc = virtio_init(&e->dev, &sim_echo_class, &echo_ops, context, &setup);
    if (rc) {
        free(e);
        return rc;
    }
    e->process = strcmp(context->id, SIM_FAR) ? NULL : context->env->ctx;
    e->sim = e->process ? e->process->world->ctx : context->env->ctx;
    vm_lock_init(&e->statistics, VM_RANK_LEAF, "echo statistics");
    rc = vq_pool_new(&e->dev.queue[0], 0, &e->pool);
    if (rc) {
        echo_destroy(&e->dev);
        return vm_fail(rc, "out of memory");
    }
    *ret_dev = &e->dev.dev;
    return 0;
}

struct echo_config {
    struct vdev_common common;
};
static const struct vm_prop props[] = { VDEV_PROPS(struct echo_config), { 0 } };

const struct vdev_class sim_echo_class = {
    .name = "sim-echo",
    .kind = VDEV_VIRTIO,
    .placements = VDEV_THREAD | VDEV_PROCESS,
    .replay = VDEV_REPLAY_MARKED,
    .props = props,
    .config_size = sizeof(struct echo_config),
    .create = echo_create,
};
