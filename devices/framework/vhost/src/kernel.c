/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Rings that the host's kernel serves (linux/vhost.h). What is wanted of each ring is a question of the framework's
 * (virtio_queue_live()); what is, is ring.on. advance(), in the loop, makes the second the first, and then tells who waits.
 */
#include <vmm/vhost/kernel.h>

#include <errno.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "kernel.h"

/* Features of rings that both sides of one have to know of (VIRTIO 1.2, 6). RING_RESET is between driver and framework. */
#define RING_FEATURES                                                                     \
    (VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_VERSION_1 | VQ_F_RING_PACKED | VQ_F_IN_ORDER | \
     VQ_F_ORDER_PLATFORM)

enum { RINGS_MAX = VHOST_KERNEL_FILES * VHOST_KERNEL_RINGS, BASE_MAX = UINT16_MAX };

struct ring {
    struct vhost_kernel *kernel;
    struct vm_watch watch; /* of call */
    int call; /* eventfd: the kernel used something */
    bool on; /* the kernel serves it */
};

struct vhost_kernel {
    struct virtio_dev *dev;
    struct vhost_kernel_setup setup; /* fds: see file */
    int file[VHOST_KERNEL_FILES];
    unsigned rings, used; /* there are; this driver has */
    struct ring ring[RINGS_MAX];
    uint64_t features; /* of all files */
    struct vm_watch err_watch;
    int err; /* eventfd: a ring is broken */
    struct vm_work work;
    bool rest_awaited; /* virtio_stopped() is owed */
    bool dma_awaited; /* vdev_unpark() */
    struct kernel_memory *memory;
};

/* ---- calls ---- */

int vhost_kernel_file_control(const struct vhost_kernel *k, unsigned file, unsigned long request,
                              void *argument)
{
    int rc;

    if (k->setup.control)
        return k->setup.control(k->setup.ctx, file, request, argument);
    rc = ioctl(k->file[file], request, argument);
    return rc < 0 ? -errno : rc;
}

int vhost_kernel_control(struct vhost_kernel *k, unsigned file, unsigned long request,
                         const char *name, void *argument)
{
    int rc = vhost_kernel_file_control(k, file, request, argument);

    return rc < 0 ? vm_fail(rc, "%s: %s: %s", k->setup.name, name, strerror(-rc)) : rc;
}
#define CONTROL(k, file, request, argument) \
    vhost_kernel_control(k, file, request, #request, argument)

static unsigned file_of(unsigned r)
{
    return r / VHOST_KERNEL_RINGS;
}

static unsigned place_of(unsigned r)
{
    return r % VHOST_KERNEL_RINGS;
}

static uint16_t queue_of(const struct vhost_kernel *k, unsigned r)
{
    return (uint16_t)(k->setup.first + r);
}

bool vhost_kernel_has(const struct vhost_kernel *k, uint16_t n)
{
    return k && n >= k->setup.first && n - k->setup.first < (int)k->used;
}

static bool any_on(const struct vhost_kernel *k)
{
    for (unsigned r = 0; r < k->rings; r++)
        if (k->ring[r].on)
            return true;
    return false;
}

/* ---- one ring ---- */

static int set_fd(struct vhost_kernel *k, unsigned r, unsigned long request, const char *name,
                  int fd)
{
    struct vhost_vring_file file = { .index = place_of(r), .fd = fd };

    return vhost_kernel_control(k, file_of(r), request, name, &file);
}
#define SET_FD(k, r, request, fd) set_fd(k, r, request, #request, fd)

static int set_state(struct vhost_kernel *k, unsigned r, unsigned long request, const char *name,
                     unsigned num)
{
    struct vhost_vring_state state = { .index = place_of(r), .num = num };

    return vhost_kernel_control(k, file_of(r), request, name, &state);
}
#define SET_STATE(k, r, request, num) set_state(k, r, request, #request, num)

static int area(struct vhost_kernel *k, uint16_t n, gpa_t at, uint64_t len, unsigned access,
                __u64 *ret_address)
{
    void *host;
    int rc = gm_host(&k->dev->view, at, len, access, &host);

    if (rc)
        return vm_fail(rc, "queue %u: %llu bytes at %#llx are not one piece of memory", n,
                       (unsigned long long)len, (unsigned long long)at);
    *ret_address = (uintptr_t)host;
    return 0;
}

/* Split rings only (VIRTIO 1.2, 2.7); each area with the event index behind it. */
static int set_addresses(struct vhost_kernel *k, unsigned r)
{
    uint16_t n = queue_of(k, r);
    const struct vq *q = &k->dev->queue[n];
    struct vhost_vring_addr addr = { .index = place_of(r) };
    int rc = area(k, n, q->desc, 16ULL * q->size, GM_READ, &addr.desc_user_addr);

    if (!rc)
        rc = area(k, n, q->driver, 6 + 2ULL * q->size, GM_READ, &addr.avail_user_addr);
    if (!rc)
        rc = area(k, n, q->device, 6 + 8ULL * q->size, GM_WRITE, &addr.used_user_addr);
    return rc ? rc : CONTROL(k, file_of(r), VHOST_SET_VRING_ADDR, &addr);
}

static int set_ring(struct vhost_kernel *k, unsigned r)
{
    uint16_t n = queue_of(k, r);
    const struct vq *q = &k->dev->queue[n];
    int kick, rc = virtio_kick_fd(k->dev, n, &kick);

    if (!rc)
        rc = SET_STATE(k, r, VHOST_SET_VRING_NUM, q->size);
    if (!rc)
        rc = SET_STATE(k, r, VHOST_SET_VRING_BASE, vq_base(q));
    if (!rc)
        rc = set_addresses(k, r);
    if (!rc)
        rc = SET_FD(k, r, VHOST_SET_VRING_CALL, k->ring[r].call);
    if (!rc)
        rc = SET_FD(k, r, VHOST_SET_VRING_ERR, k->err);
    if (!rc)
        rc = SET_FD(k, r, VHOST_SET_VRING_KICK, kick);
    return rc;
}

static int serve(struct vhost_kernel *k, unsigned r, bool on)
{
    int rc = k->setup.serve(k->setup.ctx, file_of(r), place_of(r), on);

    return rc < 0 ? vm_fail(rc, "%s: the kernel does not %s queue %u: %s", k->setup.name,
                            on ? "begin to serve" : "let go of", queue_of(k, r), strerror(-rc))
                  : 0;
}

/* What was offered while nobody served it has to be looked at once: a kick that is in the eventfd when the kernel begins. */
static void go_on(struct vhost_kernel *k, unsigned r)
{
    uint16_t n = queue_of(k, r);

    k->ring[r].on = true;
    virtio_call_fd(k->dev, n, k->ring[r].call);
    vm_eventfd_signal(k->dev->kick[n].fd);
}

/* It stands still now. What it signalled last is taken by call_ready(). */
static int take_back(struct vhost_kernel *k, unsigned r)
{
    uint16_t n = queue_of(k, r);
    struct vhost_vring_state state = { .index = place_of(r) };
    int rc = CONTROL(k, file_of(r), VHOST_GET_VRING_BASE, &state);

    k->ring[r].on = false;
    if (!rc && state.num <= BASE_MAX)
        vq_set_base(&k->dev->queue[n], state.num);
    virtio_call_fd(k->dev, n, -1);
    return rc;
}

/* ---- what is wanted, and what is ---- */

static bool wanted(const struct vhost_kernel *k, unsigned r)
{
    unsigned begin = r - place_of(r);

    if (r >= k->used)
        return false;
    if (!k->setup.together)
        return virtio_queue_live(k->dev, queue_of(k, r));
    for (unsigned i = 0; i < VHOST_KERNEL_RINGS; i++)
        if (!virtio_queue_live(k->dev, queue_of(k, begin + i)))
            return false;
    return true;
}

/* Of files that serve all of their rings the first one's turn is that of all. */
static unsigned turn(const struct vhost_kernel *k)
{
    return k->setup.together ? VHOST_KERNEL_RINGS : 1;
}

static int end_some(struct vhost_kernel *k)
{
    unsigned step = turn(k);
    int rc = 0, one;

    for (unsigned r = 0; r < k->rings; r += step) {
        if (!k->ring[r].on || wanted(k, r))
            continue;
        virtio_leave(k->dev);
        one = serve(k, r, false);
        if (one) /* it would go on and write into the guest's memory: this ends it in any case */
            vm_close(&k->file[file_of(r)]);
        virtio_enter(k->dev);
        for (unsigned i = 0; i < step; i++) {
            int back = take_back(k, r + i);

            one = one ? one : back;
        }
        rc = rc ? rc : one;
    }
    return rc;
}

static int set_features(struct vhost_kernel *k, unsigned r)
{
    __u64 features = k->dev->features & k->features;
    unsigned begin = r - place_of(r);

    for (unsigned i = 0; i < VHOST_KERNEL_RINGS; i++)
        if (k->ring[begin + i].on)
            return 0; /* it knows them */
    return CONTROL(k, file_of(r), VHOST_SET_FEATURES, &features);
}

static int begin_some(struct vhost_kernel *k)
{
    unsigned step = turn(k);
    int rc = 0;

    for (unsigned r = 0; !rc && r < k->rings; r += step) {
        if (k->ring[r].on || !wanted(k, r))
            continue;
        rc = set_features(k, r);
        for (unsigned i = 0; !rc && i < step; i++)
            rc = set_ring(k, r + i);
        if (!rc)
            rc = serve(k, r, true);
        for (unsigned i = 0; !rc && i < step; i++)
            go_on(k, r + i);
    }
    return rc;
}

static void tell_who_waits(struct vhost_kernel *k)
{
    for (unsigned r = 0; r < k->rings; r++)
        if (!k->ring[r].on)
            virtio_queue_stopped(k->dev, queue_of(k, r));
    if (any_on(k))
        return;
    if (k->rest_awaited) {
        k->rest_awaited = false;
        virtio_stopped(k->dev);
    }
    if (k->dma_awaited) {
        k->dma_awaited = false;
        vdev_unpark(&k->dev->dev);
    }
}

static void advance(struct vhost_kernel *k)
{
    int rc = end_some(k);

    if (!rc)
        rc = begin_some(k);
    if (rc)
        virtio_needs_reset(k->dev, vm_error_text());
    if (rc && any_on(k))
        (void)end_some(k); /* which are not wanted any more */
    tell_who_waits(k);
}

static void advance_posted(struct vm_work *work)
{
    struct vhost_kernel *k = container_of(work, struct vhost_kernel, work);

    vm_lock_acquire(&k->dev->dev.lock);
    advance(k);
    vm_lock_release(&k->dev->dev.lock);
}

static void advance_soon(struct vhost_kernel *k)
{
    vm_loop_post(k->dev->dev.env->loop, &k->work, advance_posted);
}

/* ---- from the kernel ---- */

/* As for a front end of vhost-user: where the hypervisor sends the signals by itself it takes them before they come here. */
static void call_ready(struct vm_watch *watch, uint32_t events)
{
    struct ring *ring = container_of(watch, struct ring, watch);
    struct vhost_kernel *k = ring->kernel;

    (void)events;
    vm_lock_acquire(&k->dev->dev.lock);
    vm_eventfd_take(ring->call);
    virtio_notify(k->dev, queue_of(k, (unsigned)(ring - k->ring)));
    vm_lock_release(&k->dev->dev.lock);
}

static void err_ready(struct vm_watch *watch, uint32_t events)
{
    struct vhost_kernel *k = container_of(watch, struct vhost_kernel, err_watch);

    (void)events;
    vm_lock_acquire(&k->dev->dev.lock);
    vm_eventfd_take(k->err);
    if (k->dev->running && !k->dev->stopping)
        virtio_needs_reset(k->dev, "the kernel found a ring broken: the driver broke the rules");
    vm_lock_release(&k->dev->dev.lock);
    advance_soon(k);
}

/* ---- from driver and machine ---- */

void vhost_kernel_use(struct vhost_kernel *k, unsigned files)
{
    k->used = files * VHOST_KERNEL_RINGS;
    for (unsigned r = 0; r < k->rings; r++)
        virtio_kick_lend(k->dev, queue_of(k, r), r < k->used);
}

int vhost_kernel_start(struct vhost_kernel *k)
{
    advance_soon(k);
    return 0;
}

/* A queue that was enabled late, or a doorbell that is no eventfd. */
int vhost_kernel_kick(struct vhost_kernel *k, uint16_t n)
{
    if (k->ring[n - k->setup.first].on)
        vm_eventfd_signal(k->dev->kick[n].fd);
    else
        advance_soon(k);
    return 0;
}

int vhost_kernel_rest(struct vhost_kernel *k)
{
    if (!any_on(k))
        return 0;
    k->rest_awaited = true;
    advance_soon(k);
    return -EINPROGRESS;
}

int vhost_kernel_queue_stop(struct vhost_kernel *k, uint16_t n)
{
    if (!vhost_kernel_has(k, n) || !k->ring[n - k->setup.first].on)
        return 0;
    advance_soon(k);
    return -EINPROGRESS;
}

int vhost_kernel_dma_changed(struct vhost_kernel *k)
{
    advance_soon(k);
    if (virtio_may_dma(k->dev) || !any_on(k))
        return 0;
    k->dma_awaited = true;
    return -EINPROGRESS;
}

/* ---- creation ---- */

static int greet(struct vhost_kernel *k, unsigned file)
{
    __u64 features;
    int rc = CONTROL(k, file, VHOST_GET_FEATURES, &features);

    if (rc == -ENOTTY || rc == -EINVAL)
        return vm_fail(-ENOTTY, "%s: what was opened is no such device of the kernel's",
                       k->setup.name);
    if (rc < 0)
        return rc;
    if (!(features & VQ_F_VERSION_1))
        return vm_fail(-ENOTSUP, "%s: the kernel's is older than VIRTIO 1.0 (features %#llx)",
                       k->setup.name, (unsigned long long)features);
    k->features &= features;
    rc = CONTROL(k, file, VHOST_SET_OWNER, NULL);
    return rc == -EBUSY ? vm_fail(rc, "%s: what was opened is used already", k->setup.name) : rc;
}

static int watch(struct vhost_kernel *k, int *fd, struct vm_watch *watch,
                 void (*ready)(struct vm_watch *watch, uint32_t events))
{
    *fd = vm_eventfd();
    return *fd < 0 ? *fd
                   : vm_watch_add(k->dev->dev.env->loop, watch, *fd, EPOLLIN | EPOLLET, ready);
}

static int make_rings(struct vhost_kernel *k)
{
    int rc = watch(k, &k->err, &k->err_watch, err_ready);

    for (unsigned r = 0; !rc && r < k->rings; r++) {
        k->ring[r].kernel = k;
        k->dev->kick[queue_of(k, r)].remote = true;
        rc = watch(k, &k->ring[r].call, &k->ring[r].watch, call_ready);
    }
    return rc;
}

static int set_up(struct vhost_kernel *k, struct gm_space *memory)
{
    int rc = 0;

    k->features = RING_FEATURES | k->setup.features;
    for (unsigned i = 0; !rc && i < k->setup.files; i++)
        rc = greet(k, i);
    if (rc)
        return rc;
    k->dev->offered &= k->features | ~(RING_FEATURES | k->setup.features);
    rc = make_rings(k);
    return rc ? rc : vhost_kernel_memory_new(k, k->setup.files, memory, &k->memory);
}

int vhost_kernel_open(const struct vm_env *env, const char *name, const char *kind,
                      const char *instead)
{
    int fd = env->open ? env->open(env->ctx, name, VM_OPEN_KERNEL) : -EACCES;

    if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
        return vm_fail(
            fd, "vhost=on: %s: the kernel has no vhost-%s: load it (modprobe vhost_%s), or %s",
            name, kind, kind, instead);
    if (fd == -EACCES || fd == -EPERM)
        return vm_fail(fd,
                       "vhost=on: %s: permission denied: join the group that it belongs to (ls -l "
                       "%s), or %s",
                       name, name, instead);
    return fd;
}

int vhost_kernel_new(struct virtio_dev *dev, struct gm_space *memory,
                     const struct vhost_kernel_setup *setup, struct vhost_kernel **ret_kernel)
{
    struct vhost_kernel *k = calloc(1, sizeof(*k));
    int rc;

    if (!k || setup->files > VHOST_KERNEL_FILES) {
        for (unsigned i = 0; i < setup->files; i++)
            vm_close(&(int){ setup->fds[i] });
        free(k);
        return vm_fail(-ENOMEM, "%s: out of memory", setup->name);
    }
    k->dev = dev;
    k->setup = *setup;
    k->setup.fds = NULL; /* the caller's */
    memcpy(k->file, setup->fds, setup->files * sizeof(*k->file));
    k->rings = k->used = setup->files * VHOST_KERNEL_RINGS;
    k->err = -1;
    for (unsigned r = 0; r < k->rings; r++)
        k->ring[r].call = -1;
    rc = set_up(k, memory);
    if (rc) {
        vhost_kernel_free(k);
        return rc;
    }
    *ret_kernel = k;
    return 0;
}

void vhost_kernel_free(struct vhost_kernel *k)
{
    if (!k)
        return;
    vm_work_cancel(k->dev->dev.env->loop, &k->work);
    vhost_kernel_memory_free(k->memory);
    for (unsigned i = 0; i < k->setup.files; i++)
        vm_close(&k->file[i]); /* its rings are the kernel's no more */
    vm_watch_del(&k->err_watch);
    vm_close(&k->err);
    for (unsigned r = 0; r < k->rings; r++) {
        vm_watch_del(&k->ring[r].watch);
        vm_close(&k->ring[r].call);
    }
    free(k);
}
