/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The harness's driver (virtio_harness.h) with its device behind a vhost-user back end: what it does to registers elsewhere becomes
 * messages of a fake front end, with the protocol feature STATUS.
 *
 *     struct vh_config c = { .transport = VH_OTHER, .other = &vh_vhost_user };
 */
#ifndef TESTS_SUPPORT_VHOST_HARNESS_H
#define TESTS_SUPPORT_VHOST_HARNESS_H

#include <vmm/vhost/backend.h>

#include "fake_front_end.h"
#include "virtio_harness.h"

extern const struct vh_other vh_vhost_user;

/* What is behind h->other. */
struct vhost_harness {
    struct ffe front;
    struct vhost_backend *backend;
    struct vm_error why; /* of the last session's end */
    unsigned closed;
    bool resetting;
    struct {
        uint16_t size;
        gpa_t desc, driver, device;
        bool enabled;
    } queue[VH_QUEUES];
};

static inline struct vhost_harness *vhost_harness_of(struct vh *h)
{
    return h->other;
}

/* A new connection, as after plug: features are asked for, memory is known. */
int vhost_harness_connect(struct vh *h);
/* Closes the connection and lets the back end end its session. -ETIME: it does not. */
int vhost_harness_disconnect(struct vh *h);

#endif
