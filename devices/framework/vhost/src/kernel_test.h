/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device whose first two queues a fake of the kernel's vhost serves, in the machine of virtio_harness.h; queue 2 is the device's own. */
#ifndef VHOST_KERNEL_TEST_H
#define VHOST_KERNEL_TEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/vhost/kernel.h>

#include "virtio_harness.h"

enum { KT_RINGS = 2, KT_QUEUES = 3, KT_REGIONS = 8, KT_LOG = 64 };

/* What the kernel was told of a ring; serves it with the device's side of library virtio-queue. */
struct kt_ring {
    unsigned size, base;
    struct vhost_vring_addr addr;
    int call, kick;
    bool on;
    struct vq vq;
};

static struct kt {
    struct vh h;
    struct virtio_dev dev;
    struct vhost_kernel *kernel;
    struct vhost_kernel_setup setup;
    struct gm_view view;
    struct kt_ring ring[KT_RINGS];
    uint64_t features, acked;
    unsigned long asked[KT_LOG]; /* in order */
    unsigned calls;
    unsigned long refused; /* this request fails, when it came so often */
    unsigned spared, bases; /* ... ; VHOST_GET_VRING_BASE */
    int why;
    struct {
        unsigned count;
        struct vhost_memory_region region[KT_REGIONS];
    } table;
    unsigned kicks; /* of queue 2 */
    bool locked; /* the device's lock was held when a ring ended */
    bool destroyed;
} kt;

static inline unsigned kt_when(unsigned long request)
{
    for (unsigned i = 0; i < kt.calls && i < KT_LOG; i++)
        if (kt.asked[i] == request)
            return i + 1;
    return 0;
}

static inline int kt_table(const struct vhost_memory *m)
{
    if (m->nregions > KT_REGIONS)
        return -E2BIG;
    kt.table.count = m->nregions;
    memcpy(kt.table.region, m->regions, m->nregions * sizeof(m->regions[0]));
    return 0;
}

static inline gpa_t kt_gpa(uint64_t address)
{
    for (unsigned i = 0; i < kt.table.count; i++) {
        const struct vhost_memory_region *r = &kt.table.region[i];

        if (address >= r->userspace_addr && address - r->userspace_addr < r->memory_size)
            return r->guest_phys_addr + (address - r->userspace_addr);
    }
    cr_assert_fail("%#llx is in no region that the kernel knows", (unsigned long long)address);
    return 0;
}

static inline int kt_control(void *ctx, unsigned file, unsigned long request, void *argument)
{
    struct vhost_vring_state *state = argument;
    struct vhost_vring_file *fd = argument;

    (void)ctx;
    cr_assert_eq(file, 0);
    if (kt.calls < KT_LOG)
        kt.asked[kt.calls] = request;
    kt.calls++;
    if (request == kt.refused && !kt.spared)
        return kt.why;
    kt.spared -= request == kt.refused;
    switch (request) {
    case VHOST_GET_FEATURES: *(__u64 *)argument = kt.features; return 0;
    case VHOST_SET_FEATURES: kt.acked = *(__u64 *)argument; return 0;
    case VHOST_SET_OWNER: return 0;
    case VHOST_SET_MEM_TABLE: return kt_table(argument);
    case VHOST_SET_VRING_NUM: kt.ring[state->index].size = state->num; return 0;
    case VHOST_SET_VRING_BASE:
        cr_assert_not(kt.ring[state->index].on); /* EBUSY */
        kt.ring[state->index].base = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        cr_assert_not(kt.ring[state->index].on);
        kt.bases++;
        state->num = kt.ring[state->index].base;
        return 0;
    case VHOST_SET_VRING_ADDR:
        kt.ring[((struct vhost_vring_addr *)argument)->index].addr =
            *(struct vhost_vring_addr *)argument;
        return 0;
    case VHOST_SET_VRING_CALL: kt.ring[fd->index].call = fd->fd; return 0;
    case VHOST_SET_VRING_KICK: kt.ring[fd->index].kick = fd->fd; return 0;
    case VHOST_SET_VRING_ERR: return 0;
    default: cr_assert_fail("request %#lx", request); return -ENOTTY;
    }
}

static inline void kt_serve_one(unsigned n, bool on)
{
    struct kt_ring *r = &kt.ring[n];

    r->on = on;
    if (!on) {
        r->base = vq_base(&r->vq);
        vq_exit(&r->vq);
        return;
    }
    cr_assert_eq(vq_init(&r->vq, &kt.view, 256), 0);
    r->vq.size = (uint16_t)r->size;
    r->vq.desc = kt_gpa(r->addr.desc_user_addr);
    r->vq.driver = kt_gpa(r->addr.avail_user_addr);
    r->vq.device = kt_gpa(r->addr.used_user_addr);
    r->vq.features = kt.acked;
    vq_set_base(&r->vq, r->base);
    cr_assert_eq(vq_start(&r->vq, kt.acked), 0, "%s", vm_error_text());
}

static inline int kt_serve(void *ctx, unsigned file, unsigned n, bool on)
{
    (void)ctx;
    cr_assert_eq(file, 0);
    if (on && kt.refused == 1)
        return kt.why;
    if (!on) { /* it may wait: others come at the device meanwhile */
        vm_lock_acquire(&kt.dev.dev.lock);
        vm_lock_release(&kt.dev.dev.lock);
    }
    for (unsigned i = 0; i < (kt.setup.together ? KT_RINGS : 1); i++)
        kt_serve_one(n + i, on);
    return 0;
}

/* The kernel's thread: serves what was kicked, with one byte that says which ring it was. */
static inline unsigned kt_work(void)
{
    unsigned served = 0;

    for (unsigned n = 0; n < KT_RINGS; n++) {
        struct kt_ring *r = &kt.ring[n];
        struct vq_chain c;
        uint8_t byte = (uint8_t)('a' + n);

        if (!r->on || !vm_eventfd_take(r->kick))
            continue;
        while (vq_next(&r->vq, &c) == 1) {
            cr_assert_eq(vq_push(&r->vq, &c, &byte, 1), 0);
            cr_assert_eq(vq_done(&r->vq, &c), 0);
            served++;
        }
        if (vq_wants_notify(&r->vq))
            vm_eventfd_signal(r->call);
    }
    return served;
}

/* ---- the device ---- */

static inline int kt_start_op(struct virtio_dev *dev)
{
    (void)dev;
    return vhost_kernel_start(kt.kernel);
}

static inline int kt_kick_op(struct virtio_dev *dev, uint16_t n)
{
    (void)dev;
    if (vhost_kernel_has(kt.kernel, n))
        return vhost_kernel_kick(kt.kernel, n);
    kt.kicks++;
    return 0;
}

static inline int kt_rest_op(struct virtio_dev *dev)
{
    (void)dev;
    return vhost_kernel_rest(kt.kernel);
}

static inline int kt_queue_stop_op(struct virtio_dev *dev, uint16_t n)
{
    (void)dev;
    return vhost_kernel_queue_stop(kt.kernel, n);
}

static inline int kt_dma_op(struct virtio_dev *dev)
{
    (void)dev;
    return vhost_kernel_dma_changed(kt.kernel);
}

static inline void kt_destroy_op(struct virtio_dev *dev)
{
    vhost_kernel_free(kt.kernel);
    virtio_exit(dev);
    kt.destroyed = true;
}

static inline int kt_make(void)
{
    static const struct virtio_ops ops = { .start = kt_start_op,
                                           .kick = kt_kick_op,
                                           .stop = kt_rest_op,
                                           .quiesce = kt_rest_op,
                                           .resume = kt_start_op,
                                           .queue_stop = kt_queue_stop_op,
                                           .dma_changed = kt_dma_op,
                                           .destroy = kt_destroy_op };
    static const struct vdev_class cls = { .name = "kernel-test", .kind = VDEV_VIRTIO };
    static const uint16_t sizes[KT_QUEUES] = { 64, 64, 64 };
    const struct virtio_setup setup = {
        .id = VIRTIO_ID_NET, .features = 1 | 2, .queue_sizes = sizes, .queues = KT_QUEUES
    };
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC), rc;

    cr_assert_geq(fd, 0);
    kt.setup.fds = &fd;
    cr_assert_eq(virtio_init(&kt.dev, &cls, &ops, &kt.h.context, &setup), 0);
    rc = vhost_kernel_new(&kt.dev, kt.h.guest.space, &kt.setup, &kt.kernel);
    if (rc) {
        cr_assert_eq(fcntl(fd, F_GETFD), -1, "it was taken over");
        virtio_exit(&kt.dev);
        return rc;
    }
    return vh_plug(&kt.h, &kt.dev);
}

static inline void kt_open(enum vh_transport transport)
{
    const struct vh_config config = { .transport = transport };

    memset(&kt, 0, sizeof(kt));
    cr_assert_eq(vh_open(&kt.h, &config), 0);
    gm_view_init(&kt.view, kt.h.guest.space, NULL);
    kt.features = VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | 1ULL << 15 | 1;
    kt.setup = (struct vhost_kernel_setup){ .name = "/dev/vhost-test",
                                            .files = 1,
                                            .features = 1 | 2,
                                            .serve = kt_serve,
                                            .control = kt_control };
}

static inline void kt_run(enum vh_transport transport)
{
    kt_open(transport);
    cr_assert_eq(kt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&kt.h, 0), 0);
}

static inline void kt_close(void)
{
    if (kt.kernel && !kt.destroyed)
        vh_destroy(&kt.h);
    for (unsigned n = 0; n < KT_RINGS; n++)
        if (kt.ring[n].on)
            vq_exit(&kt.ring[n].vq);
    gm_view_exit(&kt.view);
    vh_close(&kt.h);
}

/* The driver's request in queue n, and the kernel's answer: its byte; -1: there is none. */
static inline int kt_request(uint16_t n)
{
    struct fake_buf b = { fake_driver_alloc(&kt.h.drv[n], 16), 16, true };
    uint32_t len;
    uint16_t id;
    uint8_t byte;
    int rc = vh_request(&kt.h, n, &b, 1);

    if (rc == -EAGAIN) {
        kt_work();
        cr_assert_eq(vh_idle(&kt.h), 0);
        rc = fake_driver_collect(&kt.h.drv[n], &id, &len) == 1 ? (int)len : -1;
    }
    return rc < 0 || gm_read(&kt.view, b.addr, &byte, 1) ? -1 : byte;
}

#endif
