/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of what a virtio device sees of its life, over both transports and both ring formats. */
#include <criterion/criterion.h>

#include "virtio_test.h"

static struct vh h;

static const struct vh_config every_way[] = {
    { .transport = VH_PCI },
    { .transport = VH_PCI, .packed = true },
    { .transport = VH_PCI_INTX },
    { .transport = VH_PCI, .refuse_doorbells = true },
    { .transport = VH_MMIO_BUS },
    { .transport = VH_MMIO_BUS, .packed = true },
    { .transport = VH_MMIO_BUS, .refuse_doorbells = true },
    { .transport = VH_MMIO_BUS, .no_event_idx = true },
};

Test(virtio_device, requests_are_served_and_interrupted_for_every_way)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(every_way); i++) {
        lab_open(&h, &every_way[i]);
        cr_assert_eq(vh_start(&h, 0), 0);

        for (unsigned k = 0; k < 200; k++)
            cr_assert_eq(lab_ask(&h, (uint16_t)(k % LAB_QUEUES)), 4, "way %zu round %u", i, k);

        for (unsigned n = 0; n < LAB_QUEUES; n++)
            cr_assert_geq(h.drv[n].notified, 66, "way %zu queue %u: %lu", i, n,
                          (unsigned long)h.drv[n].notified);
        vh_close(&h);
    }
}
