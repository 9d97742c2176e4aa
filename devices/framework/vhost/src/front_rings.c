/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Handing the rings to a back end, and taking them back ("Starting and stopping rings"). Ring addresses are user addresses to the
 * protocol; ours are the guest's, in the memory table too, so that a back end learns nothing of our address space.
 */
#include "front.h"

#include <errno.h>
#include <string.h>

enum { USED_INDEX = 2 }; /* VIRTIO 1.2, 2.7.8: behind the flags */

/* ---- memory ---- */

/* What other processes can map. The rest (a page of the machine's own for stolen time, say) is out of the back end's reach. */
static size_t shared_regions(const struct gm_map *map, struct gm_region *ret_shared[GM_REGIONS_MAX])
{
    size_t count = 0;
    uint64_t offset;

    for (size_t i = 0; i < gm_map_count(map) && count < GM_REGIONS_MAX; i++)
        if (gm_region_fd(gm_map_region(map, i), &offset) >= 0)
            ret_shared[count++] = gm_map_region(map, i);
    return count;
}

static int describe(struct gm_region *region, struct vhost_region *ret)
{
    *ret = (struct vhost_region){ .guest_addr = gm_region_base(region),
                                  .size = gm_region_size(region),
                                  .user_addr = gm_region_base(region) };
    return gm_region_fd(region, &ret->mmap_offset);
}

static int send_table(struct vhost_front *f, struct gm_region *const *regions, size_t count)
{
    struct vhost_message m = vhost_front_message(VHOST_USER_SET_MEM_TABLE, 8);

    for (size_t i = 0; i < count; i++)
        m.fd[i] = describe(regions[i], &m.payload.table.region[i]);
    m.fds = m.payload.table.count = (uint32_t)count;
    m.size += m.fds * (uint32_t)sizeof(struct vhost_region);
    return vhost_front_tell(f, &m);
}

static int send_region(struct vhost_front *f, uint32_t request, struct gm_region *region)
{
    struct vhost_message m = vhost_front_message(request, sizeof(struct vhost_single));
    int fd = describe(region, &m.payload.single.region);

    if (request == VHOST_USER_ADD_MEM_REG) {
        m.fds = 1;
        m.fd[0] = fd;
    }
    return vhost_front_tell(f, &m);
}

static bool is_in(struct gm_region *const *regions, size_t count, const struct gm_region *region)
{
    for (size_t i = 0; i < count; i++)
        if (regions[i] == region)
            return true;
    return false;
}

/* From what the back end has to what there is: what went away first, since its addresses may be somebody else's now. */
static int send_difference(struct vhost_front *f, struct gm_region *const *regions, size_t count)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < f->sent_count; i++)
        if (!is_in(regions, count, f->sent[i]))
            rc = send_region(f, VHOST_USER_REM_MEM_REG, f->sent[i]);
    for (size_t i = 0; !rc && i < count; i++)
        if (!is_in(f->sent, f->sent_count, regions[i]))
            rc = send_region(f, VHOST_USER_ADD_MEM_REG, regions[i]);
    return rc;
}

static bool has_all(const struct vhost_front *f, struct gm_region *const *regions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_in(f->sent, f->sent_count, regions[i]))
            return false;
    return count == f->sent_count;
}

void vhost_front_memory_forget(struct vhost_front *f)
{
    while (f->sent_count)
        gm_region_unref(f->sent[--f->sent_count]);
}

static int send_memory(struct vhost_front *f)
{
    struct gm_region *regions[GM_REGIONS_MAX];
    struct gm_map *map = gm_view_map(&f->dev.view);
    size_t count = shared_regions(map, regions);
    int rc;

    if (!count)
        rc = vm_fail(-ENOTSUP, "guest memory is private to this process: a device in another "
                               "process needs shared memory");
    else if (count > f->slots_there)
        rc = vm_fail(-ENOTSUP, "guest memory has %zu regions, the back end takes %llu", count,
                     (unsigned long long)f->slots_there);
    else if (has_all(f, regions, count))
        rc = 0;
    else if (front_has(f, VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS)))
        rc = send_difference(f, regions, count);
    else
        rc = send_table(f, regions, count);
    for (size_t i = 0; i < count; i++)
        gm_region_ref(regions[i]);
    vhost_front_memory_forget(f);
    memcpy(f->sent, regions, count * sizeof(*regions));
    f->sent_count = count;
    gm_map_unref(map);
    return rc;
}

/* ---- one ring ---- */

static int send_state(struct vhost_front *f, uint32_t request, uint16_t n, uint32_t num)
{
    struct vhost_message m = vhost_front_message(request, sizeof(struct vhost_ring_state));

    m.payload.state = (struct vhost_ring_state){ n, num };
    return vhost_front_tell(f, &m);
}

static int send_fd(struct vhost_front *f, uint32_t request, uint16_t n, int fd)
{
    struct vhost_message m = vhost_front_number(request, n);

    m.fds = 1;
    m.fd[0] = fd;
    return vhost_front_tell(f, &m);
}

int vhost_front_addresses(struct vhost_front *f, uint16_t n)
{
    const struct vq *q = &f->dev.queue[n];
    struct vhost_message m =
        vhost_front_message(VHOST_USER_SET_VRING_ADDR, sizeof(struct vhost_ring_addr));

    m.payload.addr = (struct vhost_ring_addr){
        .index = n, .desc = q->desc, .used = q->device, .avail = q->driver
    };
    if (f->log) {
        m.payload.addr.flags = VHOST_RING_LOG;
        m.payload.addr.log = q->device;
    }
    return vhost_front_tell(f, &m);
}

/* Of a ring whose back end is gone; see vhost_front_rings_lost(). */
static void find_base(struct vhost_front *f, uint16_t n)
{
    struct vq *q = &f->dev.queue[n];
    uint16_t used;

    if (!(f->dev.features & VQ_F_RING_PACKED) &&
        !gm_load16(&f->dev.view, q->device + USED_INDEX, &used))
        vq_set_base(q, used);
}

/* The kick at the end starts the ring, and has it look at what was offered while nobody served it. It is in the eventfd already when the
 * back end gets it, so that we need not write to what others have; and as some back ends drop the kick of a ring that is not enabled, it
 * comes last. */
static int start_ring(struct vhost_front *f, uint16_t n)
{
    struct vq *q = &f->dev.queue[n];
    int kick, rc = virtio_kick_fd(&f->dev, n, &kick);

    if (f->queue[n].lost) { /* what it finished after its connection had ended counts, too */
        find_base(f, n);
        virtio_notify(&f->dev, n);
    }
    if (!rc)
        rc = vhost_front_event_call(f, n);
    if (!rc)
        rc = vhost_front_event_err(f);
    f->events_given = true;
    if (!rc)
        rc = send_state(f, VHOST_USER_SET_VRING_NUM, n, q->size);
    if (!rc)
        rc = send_state(f, VHOST_USER_SET_VRING_BASE, n, vq_base(q));
    if (!rc)
        rc = vhost_front_addresses(f, n);
    if (!rc)
        rc = send_fd(f, VHOST_USER_SET_VRING_CALL, n, f->queue[n].call);
    if (!rc)
        rc = send_fd(f, VHOST_USER_SET_VRING_ERR, n, f->err);
    if (!rc && f->features & VHOST_FEATURE_PROTOCOL)
        rc = send_state(f, VHOST_USER_SET_VRING_ENABLE, n, 1);
    if (rc)
        return rc;
    vm_eventfd_signal(kick); /* nobody else has it yet, and the counter is not full */
    rc = send_fd(f, VHOST_USER_SET_VRING_KICK, n, kick);
    if (rc)
        return rc;
    f->queue[n].started = true;
    f->queue[n].lost = false;
    return 0;
}

int vhost_front_start_more(struct vhost_front *f)
{
    int rc = 0;

    for (uint16_t n = 0; !rc && n < f->queues; n++)
        if (f->dev.queue[n].started && !f->dev.queue[n].broken && !f->queue[n].started)
            rc = start_ring(f, n);
    return rc;
}

/* Whoever was served by them may still hold what it got, and take the next one's kicks or call the driver in its name. A call that was not looked
 * at yet goes with its eventfd, so each queue is told of. */
static void drop_events(struct vhost_front *f)
{
    if (!f->events_given)
        return;
    f->events_given = false;
    vm_watch_del(&f->err_watch);
    vm_close(&f->err);
    for (uint16_t n = 0; n < f->queues; n++) {
        if (f->queue[n].call >= 0 && f->dev.running)
            virtio_notify(&f->dev, n);
        vm_watch_del(&f->queue[n].watch);
        vm_close(&f->queue[n].call);
    }
    virtio_kick_renew(&f->dev);
}

/* ---- starting ---- */

static int send_status(struct vhost_front *f, uint8_t status)
{
    struct vhost_message m = vhost_front_number(VHOST_USER_SET_STATUS, status);

    return front_has(f, VHOST_PROTOCOL(STATUS)) ? vhost_front_tell(f, &m) : 0;
}

static int start_rings(struct vhost_front *f)
{
    int rc = vhost_front_start_more(f);

    if (!rc)
        rc = send_status(f, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
                                VIRTIO_DRIVER_OK);
    if (!rc)
        f->state = FRONT_RUNNING;
    return rc;
}

static int send_inflight(struct vhost_front *f)
{
    struct vhost_message m =
        vhost_front_message(VHOST_USER_SET_INFLIGHT_FD, sizeof(struct vhost_inflight));

    m.payload.inflight = f->inflight;
    m.fds = 1;
    m.fd[0] = f->inflight_fd;
    return vhost_front_tell(f, &m);
}

/* We never look into it; who maps it checks it. */
static int take_inflight(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc;

    (void)queue;
    f->inflight = untrusted->payload.inflight;
    f->inflight_fd = vhost_message_take_fd(untrusted, 0);
    if (f->inflight_fd < 0 || !f->inflight.mmap_size)
        return vm_fail(-EPROTO, "GET_INFLIGHT_FD: the back end gave no memory");
    rc = send_inflight(f);
    if (!rc)
        rc = start_rings(f);
    return rc ? rc : vhost_front_advance(f); /* what was wanted may have changed meanwhile */
}

/* ("Inflight I/O tracking": one log for all queues, of the largest size, also for those that are enabled later.) */
static int ask_inflight(struct vhost_front *f)
{
    struct vhost_message m =
        vhost_front_message(VHOST_USER_GET_INFLIGHT_FD, sizeof(struct vhost_inflight));

    m.payload.inflight.queues = f->queues;
    m.payload.inflight.queue_size = f->setup.queue_size;
    f->state = FRONT_STARTING;
    return vhost_front_call(f, &m, 0, take_inflight);
}

int vhost_front_features(struct vhost_front *f)
{
    uint64_t features = f->dev.features | (f->features & VHOST_FEATURE_PROTOCOL);
    struct vhost_message m = vhost_front_number(
        VHOST_USER_SET_FEATURES, f->log ? features | VHOST_FEATURE_LOG_ALL : features);

    return vhost_front_tell(f, &m);
}

int vhost_front_start(struct vhost_front *f)
{
    int rc = vhost_front_extra_start(f);

    drop_events(f);
    if (!rc)
        rc = vhost_front_features(f);
    if (!rc)
        rc = send_status(f, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    if (!rc)
        rc = send_memory(f);
    if (rc)
        return rc;
    if (!front_has(f, VHOST_PROTOCOL(INFLIGHT_SHMFD)))
        return start_rings(f);
    if (f->inflight_fd < 0)
        return ask_inflight(f);
    rc = send_inflight(f);
    return rc ? rc : start_rings(f);
}

/* ---- stopping ---- */

static int rest_if_all(struct vhost_front *f)
{
    for (uint16_t n = 0; n < f->queues; n++)
        if (f->queue[n].started)
            return 0;
    f->state = FRONT_IDLE;
    vhost_front_still(f);
    return vhost_front_advance(f);
}

/* The base is the back end's word; we only keep it and hand it on. */
static int take_base(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    if (untrusted->payload.state.index != queue)
        return vm_fail(-EPROTO, "GET_VRING_BASE: reply for queue %u instead of %u",
                       untrusted->payload.state.index, queue);
    f->queue[queue].started = false;
    vq_set_base(&f->dev.queue[queue], untrusted->payload.state.num);
    return rest_if_all(f);
}

int vhost_front_rest(struct vhost_front *f)
{
    int rc = 0;

    f->state = FRONT_RESTING;
    for (uint16_t n = 0; !rc && n < f->queues; n++) {
        struct vhost_message m =
            vhost_front_message(VHOST_USER_GET_VRING_BASE, sizeof(struct vhost_ring_state));

        if (!f->queue[n].started)
            continue;
        m.payload.state.index = n;
        rc = vhost_front_call(f, &m, n, take_base);
    }
    return rc || f->calls ? rc : rest_if_all(f);
}

/* With an in-flight log the next back end finds out by itself; without one what is not used yet is taken once more, which only split
 * rings can tell: packed ones are not offered then. */
void vhost_front_rings_lost(struct vhost_front *f)
{
    for (uint16_t n = 0; n < f->queues; n++) {
        if (!f->queue[n].started)
            continue;
        f->queue[n].started = false;
        f->queue[n].lost = true;
        find_base(f, n);
    }
    drop_events(f);
}
