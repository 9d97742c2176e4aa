/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The front end of vhost-user: a virtio device of ours whose queues another process serves, the back end (QEMU
 * docs/interop/vhost-user.rst). The guest sees an ordinary device on any transport; doorbells go straight to the back end.
 *
 *   [away] --connected--> [hello] --> [idle] --start()--> [starting] --> [running] --stop(), quiesce()--> [resting] --> [idle]
 *      ^                     |          |                     |              |                                |
 *      +---- the connection ends, or the back end breaks a rule or does not answer in time --------------------+
 *
 * Away is no error: the guest waits, everything else works, and when a back end comes that has what the driver negotiated (features,
 * queues, size of config space) its rings go on: by the in-flight log where the back end keeps one, else at the used index.
 *
 * The back end is not trusted: what it says is checked, what it does not say is not waited for by anyone but the device itself.
 *
 * Threads and locks: as for every virtio device; the socket lives on env->loop.
 */
#ifndef VMM_VHOST_FRONTEND_H
#define VMM_VHOST_FRONTEND_H

#include <vmm/vhost/message.h>
#include <vmm/virtio/device.h>

enum { VHOST_QUEUES_MAX = 256 }; /* SET_VRING_KICK has 8 bits for the index */

struct vhost_front;

struct vhost_front_setup {
    void *user; /* the type's own: vhost_front_user() */
    uint32_t id; /* virtio device type */
    uint16_t queues; /* at most VHOST_QUEUES_MAX; fewer where the back end has fewer */
    uint16_t queues_min; /* without these the device is none */
    uint16_t queue_size;
    uint32_t config_bytes; /* of the device's config space */
    bool packed; /* offer packed rings, where the back end tracks what is in flight */
    uint64_t
        refuse; /* features of the device type that are not offered though the back end has them */
    const char *socket; /* path for env->open() */
    int fd; /* the connected socket instead; -1: none. Taken over, also on error. When it ends there is no other */
    bool server; /* listen at socket; the back end connects */
    uint64_t wait_ns; /* how long vhost_front_new() waits for the back end */
    uint64_t
        reconnect_ns; /* how long it may be away later; then the device needs a reset. UINT64_MAX: for ever */
};

/* What a typed device adds; all optional. Under the device's lock. */
struct vhost_front_ops {
    /* dev->config was read from the back end (or is zero, where it has none): what is ours to say. */
    void (*config)(struct vhost_front *front, uint8_t *config, uint32_t bytes);
    void (*destroy)(struct vhost_front *front); /* before the memory is freed */
};

/* In a class's create(): connects, learns what the back end has, and makes the device. Waits for the back end by stepping env->loop,
 * which therefore nobody may be running. Where env->open() says -ENOTCONN the device is what setup says, and can only be looked at. ops
 * is borrowed. 0; -ETIMEDOUT: it did not come or answer; -EPROTO: it broke a rule; -ENOTSUP:
 * it lacks something; -errno of the socket; with text. */
int vhost_front_new(const struct vdev_class *cls, const struct vdev_context *context,
                    const struct vhost_front_setup *setup, const struct vhost_front_ops *ops,
                    struct vhost_front **ret_front);
struct virtio_dev *vhost_front_dev(struct vhost_front *front);
void *vhost_front_user(struct vhost_front *front);

/* The counters of every front end, for the class's table of metrics. */
extern const struct vdev_metric vhost_front_metrics[];

#endif
