/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Queues of a virtio device of ours that the host's kernel serves: vhost-net, vhost-vsock (linux/vhost.h). Configuration space, status and
 * what other queues the device has stay with the device; of the lent ones it never sees a chain.
 *
 *   virtio_init() --> vhost_kernel_new() --> [idle] <==> [served] --> vhost_kernel_free() --> virtio_exit()
 *
 * The device calls from its operations of the same names vhost_kernel_start(), _kick(), _rest() (stop and quiesce), _queue_stop() and
 * _dma_changed(), with what they return. What is to be done is done in the loop: the kernel may finish a packet first, and no vCPU waits
 * for that.
 *
 * The kernel is told addresses of the process that opened the file (VHOST_SET_OWNER), so such a device is never in a process of its own. It has all RAM
 * that the guest may write, and no IOMMU: ACCESS_PLATFORM is not offered.
 *
 * Threads and locks: as for every virtio device.
 */
#ifndef VMM_VHOST_KERNEL_H
#define VMM_VHOST_KERNEL_H

#include <vmm/base/jail_rule.h>
#include <vmm/virtio/device.h>

struct vhost_kernel;

enum { VHOST_KERNEL_FILES = 16, VHOST_KERNEL_RINGS = 2 /* of each */ };

struct vhost_kernel_setup {
    const char *name; /* "vhost-net", for messages; borrowed */
    const int *
        fds; /* open files of the kernel's, one after the other taken over, also on error; read during the call */
    unsigned files;
    uint16_t first; /* rings of the files, in order, are these queues of the device */
    bool together; /* a file serves all of its rings or none */
    uint64_t features; /* of the device's type, which the kernel has to know of, too */
    /* The device type's own call that begins (on) or ends serving ring n of a file; of files that serve all, n is 0. 0 or -errno. Without the
     * device's lock when it ends: the kernel may finish something first. */
    int (*serve)(void *ctx, unsigned file, unsigned n, bool on);
    void *ctx;
    /* ioctl(2) where it is NULL: 0 or more, or -errno. */
    int (*control)(void *ctx, unsigned file, unsigned long request, void *argument);
};

/* Opens one of the kernel's files by env->open (VM_OPEN_KERNEL). kind: "net" or "vsock"; instead: what the user may do
 * where it cannot be, for the message. The fd; -ENOENT, -ENODEV, -ENXIO, -EACCES, -EPERM, or what the opener says else (-ENOTCONN: it
 * opens nothing for a plan), with text. */
int vhost_kernel_open(const struct vm_env *env, const char *name, const char *kind,
                      const char *instead);

/* The files become ours, and dev->offered loses what the kernel cannot. 0; -ENOTTY with text: that is no such file; -EBUSY: it is
 * somebody's already; -ENOTSUP: the kernel's is too old; -E2BIG: it takes fewer regions of memory; -ENOMEM. */
int vhost_kernel_new(struct virtio_dev *dev, struct gm_space *memory,
                     const struct vhost_kernel_setup *setup, struct vhost_kernel **ret_kernel);
/* NULL is allowed. Nothing is served any more. */
void vhost_kernel_free(struct vhost_kernel *k);

/* A call on a file, by the name in linux/vhost.h: 0 or more; -errno with text. For the device type's own. */
int vhost_kernel_control(struct vhost_kernel *k, unsigned file, unsigned long request,
                         const char *name, void *argument);

/* Queue n of the device is lent. */
bool vhost_kernel_has(const struct vhost_kernel *k, uint16_t n);

/* Where the driver's features say how many queues there are: from its start on the kernel serves those of the first files alone, and the
 * others are the device's. From ops->start, before vhost_kernel_start(). Not said: all of them. */
void vhost_kernel_use(struct vhost_kernel *k, unsigned files);

/* Of struct virtio_ops. start is resume, too. */
int vhost_kernel_start(struct vhost_kernel *k);
int vhost_kernel_kick(struct vhost_kernel *k, uint16_t n);
int vhost_kernel_rest(struct vhost_kernel *k);
int vhost_kernel_queue_stop(struct vhost_kernel *k, uint16_t n);
int vhost_kernel_dma_changed(struct vhost_kernel *k);

/* What all of this calls; the device type adds its own. */
#define VHOST_KERNEL_JAIL                                      \
    VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_FEATURES)),       \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_MEM_TABLE)),  \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_VRING_NUM)),  \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_VRING_BASE)), \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_GET_VRING_BASE)), \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_VRING_ADDR)), \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_VRING_KICK)), \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_VRING_CALL)), \
        VM_JAIL("ioctl", VM_JAIL_IS(1, VHOST_SET_VRING_ERR))

#endif
