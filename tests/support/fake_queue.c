/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A queue with a fake driver. */
#include "fake_queue.h"

static uint16_t pow2_above(uint16_t size)
{
    uint16_t pow2 = 1;

    while (pow2 < size)
        pow2 = (uint16_t)(pow2 * 2);
    return pow2;
}

int fake_queue_init_at(struct fake_queue *fq, uint16_t size, uint64_t features, void *ram,
                       uint64_t ram_bytes, uint16_t start)
{
    struct fake_config config = { .size = size,
                                  .features = features,
                                  .heap = FAKE_HEAP,
                                  .heap_bytes = ram_bytes - FAKE_HEAP,
                                  .start = start };
    int rc;

    rc = fake_guest_init_at(&fq->guest, ram, ram_bytes);
    if (rc)
        return rc;
    gm_view_init(&fq->view, fq->guest.space, NULL);
    rc = fake_driver_init(&fq->drv, fq->guest.space, &config);
    if (rc)
        goto drop_view;
    rc = vq_init(&fq->q, &fq->view, pow2_above(size));
    if (rc)
        goto drop_driver;
    fq->q.size = size;
    fq->q.desc = fq->drv.desc;
    fq->q.driver = fq->drv.driver;
    fq->q.device = fq->drv.device;
    if (start)
        vq_set_base(&fq->q, start);
    rc = vq_start(&fq->q, features);
    if (!rc)
        return 0;
    vq_exit(&fq->q);
drop_driver:
    fake_driver_exit(&fq->drv);
drop_view:
    gm_view_exit(&fq->view);
    fake_guest_exit(&fq->guest);
    return rc;
}

int fake_queue_init(struct fake_queue *fq, uint16_t size, uint64_t features, uint64_t ram_bytes)
{
    return fake_queue_init_at(fq, size, features, NULL, ram_bytes, 0);
}

void fake_queue_exit(struct fake_queue *fq)
{
    vq_exit(&fq->q);
    fake_driver_exit(&fq->drv);
    gm_view_exit(&fq->view);
    fake_guest_exit(&fq->guest);
}
