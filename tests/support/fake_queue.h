/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* RAM, a device's queue and the fake driver on its other side, joined: for tests of the queue
 * itself. */
#ifndef TESTS_SUPPORT_FAKE_QUEUE_H
#define TESTS_SUPPORT_FAKE_QUEUE_H

#include <vmm/virtio-queue/queue.h>

#include "fake_driver.h"

struct fake_queue {
    struct fake_guest guest;
    struct gm_view view; /* the device's */
    struct vq q;
    struct fake_driver drv;
};

/* ram_bytes: all of it from 0x1000 on is the driver's heap. The queue runs. 0 or -errno. */
int fake_queue_init(struct fake_queue *fq, uint16_t size, uint64_t features, uint64_t ram_bytes);
/* The same in the caller's page-aligned memory; start: fake_config's. */
int fake_queue_init_at(struct fake_queue *fq, uint16_t size, uint64_t features, void *ram,
                       uint64_t ram_bytes, uint16_t start);
void fake_queue_exit(struct fake_queue *fq);

#endif
