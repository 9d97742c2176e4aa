/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A guest that reads and writes anywhere in the frame: no message leaves it that names a foreign interrupt. */
#include <stdlib.h>

#include "platform_harness.h"

extern const struct vdev_class gicv2m_class;

enum { BASE = 0x8020000, FIRST = 320, COUNT = 512, STEP = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plat p;

    if (plat_open(&p))
        abort();
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    p.resource[1] = (struct vdev_resource){ VDEV_RES_IRQ, FIRST, COUNT };
    if (plat_create(&p, &gicv2m_class))
        abort();
    for (; size >= STEP; data += STEP, size -= STEP) {
        uint64_t at = BASE + (vm_load_le(data, 2) & 0xfff);
        unsigned len = data[2] % 8 + 1;

        if (data[3] & 1)
            (void)plat_read(&p, at, len);
        else
            plat_write(&p, at, len, vm_load_le(data + 4, 4));
    }
    for (unsigned i = 0; i < p.messages && i < PLAT_NOTES; i++)
        if (p.message[i].data < FIRST || p.message[i].data >= FIRST + COUNT)
            abort();
    plat_close(&p);
    return 0;
}
