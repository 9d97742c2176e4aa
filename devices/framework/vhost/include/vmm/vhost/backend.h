/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A vhost-user back end (QEMU docs/interop/vhost-user.rst): any virtio device of ours, served to somebody else's VMM over a
 * connected socket. It is a transport of the device, as PCI and MMIO are: what is registers there are messages here.
 *
 *   new -> serve(fd) ... closed() -> serve(fd) ... closed() -> free
 *
 * One front end at a time. When it goes away, or breaks the rules, requests in flight are finished, its memory is unmapped and
 * the device is reset: the next one finds it as after power-on. What takes time (a disk that must finish before a ring is
 * stopped) is waited for without blocking the loop: the answer comes late, and no further message is taken before it.
 *
 * Nothing that a front end sends is believed. What it can do with memory and descriptors that it shares: cut a file of its memory
 * short (SIGBUS for this process; who serves strangers keeps one process per front end, as vmm device does), and
 * nothing else.
 *
 * Threads: everything in the thread of the device's loop.
 */
#ifndef VMM_VHOST_BACKEND_H
#define VMM_VHOST_BACKEND_H

#include <vmm/base/error.h>
#include <vmm/base/jail_rule.h>
#include <vmm/virtio/device.h>

struct vhost_backend;

struct vhost_backend_ops {
    /* The session has ended and left nothing behind. The next may begin from here; the back end may not be freed here. */
    void (*closed)(void *ctx, const struct vm_error *why);
    /* Optional: a new userfaultfd of this process, non-blocking, which the front end gets a duplicate of: whoever has it can make every
     * access to its memory wait. -errno with text: not now. Without it PAGEFAULT is not offered. What ioctl(2) it needs a filter has to
     * allow. */
    int (*userfault)(void *ctx);
};

/* What serving calls, beside the loop and memory of every process: for a filter. */
extern const struct vm_jail_rule vhost_backend_jail[];

/* dev was just created, with space as its memory: an empty space that is the back end's alone from here on. The device is the back
 * end's too: freeing it destroys the device. On error both are still the caller's. 0, -ENOMEM, or -EINVAL: a
 * remote device, whose queues another process serves. */
int vhost_backend_new(struct virtio_dev *dev, struct gm_space *space,
                      const struct vhost_backend_ops *ops, void *ctx,
                      struct vhost_backend **ret_backend);
/* NULL is allowed. Not while requests are in flight: after closed(). */
void vhost_backend_free(struct vhost_backend *backend);

/* Begins a session. Takes fd over, also on error: a connected stream socket. 0; -EBUSY: the last one has not ended; -ENOTSOCK,
 * -EINVAL, -ENOMEM; with text. */
int vhost_backend_serve(struct vhost_backend *backend, int fd);
/* Ends the session from our side; closed() follows. Harmless without one. */
void vhost_backend_end(struct vhost_backend *backend);
/* A session exists, or its end has not come yet. */
bool vhost_backend_busy(const struct vhost_backend *backend);

#endif
