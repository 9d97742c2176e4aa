/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost=on: connections end in AF_VSOCK of the host (vsock(7)), whose kernel serves the packets' queues (vhost-vsock, linux/vhost.h). The queue of
 * events stays here: connections do not outlive a snapshot, and the driver is told so.
 */
#include <errno.h>
#include <linux/vhost.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/vhost/kernel.h>

#include "virtio_vsock_private.h"

static const char device_name[] = "/dev/vhost-vsock";

int virtio_vsock_kernel_check(const char *id, const struct virtio_vsock_config *config)
{
    if (config->vhost_device && !config->vhost)
        return vm_fail(-EINVAL,
                       "%s: vhost_device= (device=) names the kernel's vhost-vsock: give vhost=on, "
                       "too",
                       id);
    if (config->vhost && config->connections != VSOCK_CONNECTIONS)
        return vm_fail(-EINVAL,
                       "%s: with vhost=on connections are the kernel's, and connections= has no "
                       "meaning: leave one of them out",
                       id);
    if (config->vhost && (config->socket || config->seqpacket))
        return vm_fail(-EINVAL,
                       "%s: with vhost=on connections end in AF_VSOCK of the host, and %s= has no "
                       "meaning: leave one of them out",
                       id, config->socket ? "socket" : "seqpacket");
    if (!config->vhost && !config->socket)
        return vm_fail(-EINVAL,
                       "%s: where do connections end? Give socket=PATH (Unix sockets of the host), "
                       "or vhost=on (its AF_VSOCK)",
                       id);
    return 0;
}

static int serve(void *ctx, unsigned file, unsigned n, bool on)
{
    struct virtio_vsock *v = ctx;
    int running = on;

    (void)n;
    return vhost_kernel_control(v->kernel, file, VHOST_VSOCK_SET_RUNNING, "VHOST_VSOCK_SET_RUNNING",
                                &running);
}

static int set_cid(struct virtio_vsock *v)
{
    __u64 cid = v->cid;
    int rc = vhost_kernel_control(v->kernel, 0, VHOST_VSOCK_SET_GUEST_CID,
                                  "VHOST_VSOCK_SET_GUEST_CID", &cid);

    return rc == -EADDRINUSE
               ? vm_fail(rc, "cid=%llu is another guest's on this host: give another one",
                         (unsigned long long)v->cid)
               : rc;
}

/* ---- as a device ---- */

static int kernel_start(struct virtio_dev *dev)
{
    struct virtio_vsock *v = virtio_vsock_of(dev);

    v->s.used = 1; /* whether there are connections is the kernel's to know */
    return vhost_kernel_start(v->kernel);
}

static int kernel_kick(struct virtio_dev *dev, uint16_t n)
{
    struct virtio_vsock *v = virtio_vsock_of(dev);

    return vhost_kernel_has(v->kernel, n) ? vhost_kernel_kick(v->kernel, n)
                                          : v->plain->kick(dev, n);
}

static int kernel_rest(struct virtio_dev *dev)
{
    return vhost_kernel_rest(virtio_vsock_of(dev)->kernel);
}

static int kernel_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    return vhost_kernel_queue_stop(virtio_vsock_of(dev)->kernel, n);
}

static int kernel_dma_changed(struct virtio_dev *dev)
{
    virtio_kick_later(dev, VSOCK_EVENT);
    return vhost_kernel_dma_changed(virtio_vsock_of(dev)->kernel);
}

static void lend(struct virtio_vsock *v)
{
    v->plain = v->dev.ops;
    v->lending = *v->plain;
    v->lending.start = v->lending.resume = kernel_start;
    v->lending.kick = kernel_kick;
    v->lending.stop = v->lending.quiesce = kernel_rest;
    v->lending.queue_stop = kernel_queue_stop;
    v->lending.dma_changed = kernel_dma_changed;
    v->dev.ops = &v->lending;
}

int virtio_vsock_kernel_new(struct virtio_vsock *v, const struct vdev_context *context,
                            const struct virtio_vsock_config *config)
{
    const char *name = config->vhost_device ? config->vhost_device : device_name;
    int fd = vhost_kernel_open(v->dev.dev.env, name, "vsock", "give socket=PATH instead"), rc;
    const struct vhost_kernel_setup setup = { .name = name,
                                              .fds = &fd,
                                              .files = 1,
                                              .together = true,
                                              .features = VIRTIO_VSOCK_F_SEQPACKET,
                                              .serve = serve,
                                              .ctx = v,
                                              .control = v->control };

    if (fd == -ENOTCONN) { /* a plan: as with a kernel of today */
        v->dev.offered &= ~VQ_F_RING_PACKED;
        return 0;
    }
    rc = fd < 0 ? fd : vhost_kernel_new(&v->dev, context->memory, &setup, &v->kernel);
    if (!rc)
        rc = set_cid(v);
    if (!rc)
        lend(v);
    return rc ? vm_wrap(rc, "%s", context->id) : 0;
}

/* ---- of the class ---- */

static const struct vm_jail_rule jail[] = {
    VHOST_KERNEL_JAIL,
    VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_VSOCK_SET_RUNNING)),
    { 0 },
};

const struct vm_jail_rule *virtio_vsock_kernel_rules(const void *config)
{
    return ((const struct virtio_vsock_config *)config)->vhost ? jail : NULL;
}

const char *virtio_vsock_kernel_reason(const void *config)
{
    return ((const struct virtio_vsock_config *)config)->vhost
               ? "with vhost=on the kernel works in the address space of the VMM"
               : NULL;
}
