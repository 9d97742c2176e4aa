/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device whose first two queues a fake of the kernel's vhost serves, in the machine of virtio_harness.h; queue 2 is the device's own. */
#ifndef VHOST_KERNEL_TEST_H
#define VHOST_KERNEL_TEST_H

#include <fcntl.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/vhost/kernel.h>

#include "fake_vhost.h"
#include "virtio_harness.h"

enum { KT_QUEUES = 3 };

static struct kt {
    struct vh h;
    struct virtio_dev dev;
    struct vhost_kernel *kernel;
    struct vhost_kernel_setup setup;
    struct fake_vhost k;
    unsigned kicks; /* of queue 2 */
    bool destroyed;
} kt;

static inline int kt_control(void *ctx, unsigned file, unsigned long request, void *argument)
{
    (void)ctx;
    cr_assert_eq(file, 0);
    return fake_vhost_control(&kt.k, file, request, argument);
}

static inline int kt_serve(void *ctx, unsigned file, unsigned n, bool on)
{
    (void)ctx;
    cr_assert_eq(file, 0);
    if (on && kt.k.refused == 1)
        return kt.k.why;
    kt.k.lock = &kt.dev.dev.lock;
    kt.k.together = kt.setup.together;
    fake_vhost_serve(&kt.k, file, n, on);
    return 0;
}

static inline unsigned kt_work(void)
{
    return fake_vhost_work(&kt.k);
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
    fake_vhost_begin(&kt.k, kt.h.guest.space,
                     VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | 1ULL << 15 | 1);
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
    fake_vhost_end(&kt.k);
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
    return rc < 0 || gm_read(&kt.k.view, b.addr, &byte, 1) ? -1 : byte;
}

#endif
