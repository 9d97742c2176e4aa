/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Handing the rings to a back end, and taking them back ("Starting and stopping rings"). Ring addresses are user addresses to the
 * protocol; ours are the guest's (front_memory.c).
 */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
    USED_INDEX = 2, /* VIRTIO 1.2, 2.7.8: behind the flags */
    PACKED_INDEX = 0x7fff, /* of a base's halves */
};

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

/* Logs are by guest-physical address. */
static gpa_t place(const struct vhost_front *f, uint64_t addr)
{
    const struct gm_iommu *iommu = f->dev.view.iommu;
    uint64_t len = 1;
    gpa_t gpa;

    return iommu && !iommu->translate(iommu->ctx, addr, GM_WRITE, &gpa, &len) ? gpa : addr;
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
        m.payload.addr.log = place(f, q->device);
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

/* What a queue takes of a log at least ("Inflight I/O tracking": QueueRegionSplit, QueueRegionPacked); how its regions are aligned is the
 * maker's. */
static uint64_t log_bytes(const struct vhost_front *f)
{
    uint64_t unit = f->dev.features & VQ_F_RING_PACKED ? 32 : 16; /* of a head, and of an entry */

    return unit * (1U + f->setup.queue_size);
}

/* A ring that its driver has reset has nothing in flight; whoever looks into the log next must not find any. The log is the front end's to
 * keep, and a back end that is away cannot be told. Its regions have one size ("Inflight I/O tracking" leaves it to the back end; ours,
 * libvhost-user's and DPDK's do), and all zeros is one that was not used yet. Written, not mapped: a file can be cut short. */
static int clear_log(struct vhost_front *f, uint16_t n)
{
    static const uint8_t zeros[512];
    uint64_t step = f->queues ? f->inflight.mmap_size / f->queues : 0;
    uint64_t at = f->inflight.mmap_offset + n * step;

    f->queue[n].anew = false;
    if (f->inflight_fd < 0)
        return 0;
    if (f->inflight.mmap_size % f->queues || step < log_bytes(f) ||
        fcntl(f->inflight_fd, F_GET_SEALS) < 0) /* no memory */
        return -EINVAL;
    for (uint64_t done = 0, part; done < log_bytes(f); done += part) {
        part = log_bytes(f) - done < sizeof(zeros) ? log_bytes(f) - done : sizeof(zeros);
        if (vm_pwrite_full(f->inflight_fd, zeros, (size_t)part, at + done))
            return -EIO;
    }
    return 0;
}

/* The kick at the end starts the ring, and has it look at what was offered while nobody served it. It is in the eventfd already when the
 * back end gets it, so that we need not write to what others have; and as some back ends drop the kick of a ring that is not enabled, it
 * comes last. */
static int start_ring(struct vhost_front *f, uint16_t n)
{
    struct vq *q = &f->dev.queue[n];
    int kick, rc = virtio_kick_fd(&f->dev, n, &kick);

    if (f->queue[n].anew && clear_log(f, n)) {
        virtio_needs_reset(&f->dev, "the log of requests in flight cannot be cleared of a queue's");
        return 0;
    }
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
        if (f->dev.queue[n].started && !f->dev.queue[n].broken && !f->queue[n].started &&
            !f->dev.kick[n].resetting)
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
        virtio_call_fd(&f->dev, n, -1);
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

/* Not a socket, say, whose end would never be seen while we keep it; and what every back end to come would refuse is none. */
static int check_log(const struct vhost_front *f)
{
    const struct vhost_inflight *log = &f->inflight;
    struct stat st;

    if (f->inflight_fd < 0 || !log->mmap_size)
        return vm_fail(-EPROTO, "GET_INFLIGHT_FD: the back end gave no memory");
    if (log->mmap_size < f->queues * log_bytes(f))
        return vm_fail(-EPROTO, "GET_INFLIGHT_FD: %llu bytes for %u queues of %u: too few",
                       (unsigned long long)log->mmap_size, f->queues, f->setup.queue_size);
    if (vm_fstat(f->inflight_fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 ||
        log->mmap_size > (uint64_t)st.st_size ||
        log->mmap_offset > (uint64_t)st.st_size - log->mmap_size)
        return vm_fail(-EPROTO,
                       "GET_INFLIGHT_FD: %llu bytes at %llu are not in the back end's file",
                       (unsigned long long)log->mmap_size, (unsigned long long)log->mmap_offset);
    return 0;
}

/* We never look into it; who maps it checks it. */
static int take_inflight(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    int rc;

    (void)queue;
    f->inflight = untrusted->payload.inflight;
    f->inflight_fd = vhost_message_take_fd(untrusted, 0);
    rc = check_log(f);
    if (rc) {
        vm_close(&f->inflight_fd);
        return rc;
    }
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

uint64_t vhost_front_driver_features(const struct vhost_front *f)
{
    return f->dev.features &
           ~(VQ_F_RING_RESET | f->own); /* which are between driver and front end */
}

int vhost_front_features(struct vhost_front *f)
{
    uint64_t features = vhost_front_driver_features(f) | (f->features & VHOST_FEATURE_PROTOCOL);
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
        rc = vhost_front_memory_send(f);
    if (!rc)
        rc = vhost_front_iotlb_forget(f);
    if (rc)
        return rc;
    if (!front_has(f, VHOST_PROTOCOL(INFLIGHT_SHMFD)))
        return start_rings(f);
    if (f->inflight_fd >= 0 && check_log(f)) { /* its maker cut it short */
        vm_close(&f->inflight_fd);
        virtio_needs_reset(&f->dev, "a back end has spoilt the log of requests in flight");
    }
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
    if (f->state != FRONT_RESTING)
        return 0; /* all queues were stopped, one by one */
    f->state = FRONT_IDLE;
    vhost_front_still(f);
    return vhost_front_advance(f);
}

/* A place that the ring has. */
static bool is_base(const struct vhost_front *f, uint16_t n, uint32_t base)
{
    uint16_t size = f->dev.queue[n].size;

    if (f->dev.features & VQ_F_RING_PACKED)
        return (base & PACKED_INDEX) < size && (base >> 16 & PACKED_INDEX) < size;
    return base <= UINT16_MAX;
}

/* The base is the back end's word; we only keep it and hand it on. Of a ring that it found broken it may be anything, and what was
 * before can at least be saved and loaded. */
static int take_base(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    uint32_t base = untrusted->payload.state.num;

    if (untrusted->payload.state.index != queue)
        return vm_fail(-EPROTO, "GET_VRING_BASE: reply for queue %u instead of %u",
                       untrusted->payload.state.index, queue);
    f->queue[queue].started = f->queue[queue].asked = false;
    if (f->queue[queue].stopping) { /* it begins anew, wherever that was */
        vhost_front_queue_still(f, queue);
        return rest_if_all(f);
    }
    if (!is_base(f, queue, base) && !f->dev.stopping)
        virtio_needs_reset(&f->dev, "the back end stopped a ring where it does not reach");
    if (!(f->dev.status & VIRTIO_NEEDS_RESET))
        vq_set_base(&f->dev.queue[queue], base);
    return rest_if_all(f);
}

static int ask_base(struct vhost_front *f, uint32_t request, uint16_t n)
{
    struct vhost_message m = vhost_front_message(request, sizeof(struct vhost_ring_state));

    if (!f->queue[n].started || f->queue[n].asked)
        return 0;
    f->queue[n].asked = true;
    m.payload.state.index = n;
    return vhost_front_call(f, &m, n, take_base);
}

/* Disabled first: what some back ends have under way ends only then. What is in flight is finished, and not left in the log. */
int vhost_front_stop_some(struct vhost_front *f)
{
    int rc = 0;

    for (uint16_t n = 0; !rc && n < f->queues; n++) {
        if (!f->queue[n].stopping || !f->queue[n].started || f->queue[n].asked)
            continue;
        if (f->features & VHOST_FEATURE_PROTOCOL)
            rc = send_state(f, VHOST_USER_SET_VRING_ENABLE, n, 0);
        if (!rc)
            rc = ask_base(f, VHOST_USER_GET_VRING_BASE, n);
    }
    return rc;
}

int vhost_front_rest(struct vhost_front *f)
{
    uint32_t request = VHOST_USER_GET_VRING_BASE;
    int rc = 0;

    if (f->drops && front_has(f, FRONT_SKIP_DRAIN))
        request = VHOST_USER_GET_VRING_BASE_SKIP_DRAIN;
    f->state = FRONT_RESTING;
    for (uint16_t n = 0; !rc && n < f->queues; n++)
        rc = ask_base(f, request, n);
    return rc ? rc : rest_if_all(f); /* none may have been started */
}

/* With an in-flight log the next back end finds out by itself; without one what is not used yet is taken once more, which only split
 * rings can tell: packed ones are not offered then. */
void vhost_front_rings_lost(struct vhost_front *f)
{
    for (uint16_t n = 0; n < f->queues; n++) {
        if (!f->queue[n].started)
            continue;
        f->queue[n].started = f->queue[n].asked = false;
        if (f->queue[n].stopping)
            continue;
        f->queue[n].lost = true;
        find_base(f, n);
    }
    drop_events(f);
}
