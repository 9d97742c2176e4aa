/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost=on: packets go between the guest's rings and a tap interface within the host's kernel (vhost-net, linux/vhost.h). Ring 0 of each file
 * receives, ring 1 sends, as the queues of a pair do. Configuration space and the control queue stay here, without what would have to
 * look at packets: receive filters, delayed notifications, hashes.
 */
#include "virtio_net_private.h"

#include <errno.h>
#include <linux/vhost.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/vhost/kernel.h>

static const char device_name[] = "/dev/vhost-net";

/* What takes frames that only we could look at. */
#define OURS                                                                         \
    (VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_VLAN | VIRTIO_NET_F_CTRL_RX_EXTRA |    \
     VIRTIO_NET_F_NOTF_COAL | VIRTIO_NET_F_VQ_NOTF_COAL | VIRTIO_NET_F_HASH_REPORT | \
     VIRTIO_NET_F_RSS)

uint64_t virtio_net_kernel_features(uint64_t features)
{
    return features & ~OURS;
}

int virtio_net_kernel_check(const char *id, const struct virtio_net_config *config)
{
    const char *stray = config->rss    ? "rss=on"
                        : config->hash ? "hash=on"
                        : vnet_filters_asked(&config->net)
                            ? "a limit, an egress rule, antispoof or a capture"
                            : NULL;

    if (!config->vhost)
        return config->vhost_device
                   ? vm_fail(-EINVAL, "%s: vhost_device= has no meaning without vhost=on", id)
                   : 0;
    if (!config->net.tap && !config->net.fd.count)
        return vm_fail(-EINVAL,
                       "%s: vhost=on: the kernel's vhost-net serves tap interfaces: give tap=NAME, "
                       "or fd=N of an open one",
                       id);
    if (stray)
        return vm_fail(-EINVAL,
                       "%s: %s looks at packets, which with vhost=on pass within the host's "
                       "kernel: leave one of them out",
                       id, stray);
    return 0;
}

static int serve(void *ctx, unsigned file, unsigned n, bool on)
{
    struct virtio_net *net = ctx;
    struct vhost_vring_file backend = { .index = n, .fd = on ? net->lent[file] : -1 };
    int rc = vhost_kernel_control(net->kernel, file, VHOST_NET_SET_BACKEND, "VHOST_NET_SET_BACKEND",
                                  &backend);

    return rc == -ENOTSOCK || rc == -EINVAL ? -ENOTSUP : rc;
}

static int open_all(struct virtio_net *net, const char *name, int *fds)
{
    for (unsigned i = 0; i < net->pairs; i++) {
        int rc = fds[i] = vhost_kernel_open(net->dev.dev.env, name, "net", "leave vhost=on out");

        if (rc >= 0)
            rc = net->lent[i] = vnet_lend(net->net, i);
        if (rc < 0) {
            for (unsigned n = 0; n <= i; n++)
                vm_close(&fds[n]);
            return rc;
        }
    }
    return 0;
}

/* ---- as a device ---- */

/* 5.1.2: without MQ queue 2 is the control queue, which is ours. */
static int kernel_start(struct virtio_dev *dev)
{
    struct virtio_net *net = virtio_net_of(dev);
    int rc = net->plain->start(dev);

    vhost_kernel_use(net->kernel, virtio_has(dev, VIRTIO_NET_F_MQ) ? net->pairs : 1);
    return rc ? rc : vhost_kernel_start(net->kernel);
}

static int kernel_resume(struct virtio_dev *dev)
{
    return vhost_kernel_start(virtio_net_of(dev)->kernel);
}

static int kernel_rest(struct virtio_dev *dev)
{
    return vhost_kernel_rest(virtio_net_of(dev)->kernel);
}

static int kernel_queue_stop(struct virtio_dev *dev, uint16_t n)
{
    return vhost_kernel_queue_stop(virtio_net_of(dev)->kernel, n);
}

static int kernel_dma_changed(struct virtio_dev *dev)
{
    for (uint16_t n = 2; n < dev->queues; n++) /* wherever it is */
        virtio_kick_later(dev, n);
    return vhost_kernel_dma_changed(virtio_net_of(dev)->kernel);
}

static void lend(struct virtio_net *net)
{
    net->plain = net->dev.ops;
    net->lending = *net->plain;
    net->lending.start = kernel_start;
    net->lending.stop = net->lending.quiesce = kernel_rest;
    net->lending.resume = kernel_resume;
    net->lending.queue_stop = kernel_queue_stop;
    net->lending.dma_changed = kernel_dma_changed;
    net->dev.ops = &net->lending;
}

int virtio_net_kernel_new(struct virtio_net *net, const struct vdev_context *context,
                          const struct virtio_net_config *config)
{
    const char *name = config->vhost_device ? config->vhost_device : device_name;
    int fds[VHOST_KERNEL_FILES];
    const struct vhost_kernel_setup setup = { .name = name,
                                              .fds = fds,
                                              .files = net->pairs,
                                              .features = VIRTIO_NET_F_MRG_RXBUF,
                                              .serve = serve,
                                              .ctx = net,
                                              .control = net->control };
    int rc = config->vhost ? open_all(net, name, fds) : 0;

    _Static_assert((int)VNET_QUEUES_MAX <= (int)VHOST_KERNEL_FILES, "a file for each pair");
    if (rc == -ENOTCONN) /* a plan: as with a kernel of today */
        net->dev.offered &= ~VQ_F_RING_PACKED;
    if (!config->vhost || rc == -ENOTCONN)
        return 0;
    if (!rc)
        rc = vhost_kernel_new(&net->dev, context->memory, &setup, &net->kernel);
    if (!rc)
        lend(net);
    return rc ? vm_wrap(rc, "%s", context->id) : 0;
}

/* ---- of the class ---- */

static const struct vm_jail_rule jail[] = {
    VHOST_KERNEL_JAIL,
    VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_NET_SET_BACKEND)),
    { 0 },
};

const struct vm_jail_rule *virtio_net_kernel_rules(const void *config)
{
    return ((const struct virtio_net_config *)config)->vhost ? jail : NULL;
}

const char *virtio_net_kernel_reason(const void *config)
{
    return ((const struct virtio_net_config *)config)->vhost
               ? "with vhost=on the kernel works in the address space of the VMM"
               : NULL;
}
