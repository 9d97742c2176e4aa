/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A hostile driver. It may break its own device and nobody else's: so addresses in its lies lie in
 * its own memory, or in none. */
#include "sim.h"

#include <vmm/virtio/device.h>

static gpa_t address(struct sim *s, const struct sim_queue *q)
{
    switch (sim_below(s, 4)) {
    case 0: return SIM_RAM_END + sim_below(s, 1 << 20);
    case 1: return UINT64_MAX - sim_below(s, 4096);
    case 2: return SIM_RAM_END - 8;
    default: return q->base + sim_below(s, SIM_QUEUE_BYTES - 64);
    }
}

/* From an address in its own memory no further than that memory. */
static uint32_t length(struct sim *s, const struct sim_queue *q, gpa_t at)
{
    if (at >= q->base && at < q->base + SIM_QUEUE_BYTES)
        return sim_below(s, (uint32_t)(q->base + SIM_QUEUE_BYTES - at));
    return sim_one_in(s, 4) ? UINT32_MAX : sim_between(s, 9, 1 << 20);
}

static void lie_desc(struct sim *s, struct sim_queue *q)
{
    struct fake_desc desc = { .addr = address(s, q),
                              .flags = (uint16_t)sim_next(s),
                              .id_or_next = (uint16_t)sim_below(s, q->drv.size * 2U) };

    desc.len = length(s, q, desc.addr);
    fake_driver_desc_set(&q->drv, (uint16_t)sim_below(s, q->drv.size), &desc);
}

static void lie_ring(struct sim *s, struct sim_queue *q)
{
    uint16_t any = (uint16_t)sim_next(s), slot = (uint16_t)sim_below(s, q->drv.size);

    switch (sim_below(s, 7)) {
    case 0: fake_driver_corrupt(&q->drv, slot, any & 7, (uint16_t)sim_below(s, 300)); break;
    case 1: {
        gpa_t at = address(s, q);

        fake_driver_corrupt_buf(&q->drv, slot, at, length(s, q, at));
        break;
    }
    case 2: fake_driver_corrupt_avail_idx(&q->drv, any); break;
    case 3: fake_driver_corrupt_avail(&q->drv, slot, any); break;
    case 4: fake_driver_corrupt_wrap(&q->drv, slot); break;
    case 5: fake_driver_corrupt_event(&q->drv, any, (uint16_t)sim_next(s)); break;
    default: lie_desc(s, q); break;
    }
}

static void lie_register(struct sim *s, struct sim_dev *d)
{
    uint64_t base = d->pci ? d->bar + d->common : d->base;
    unsigned offset = sim_below(s, d->pci ? 0x40 : 0x100), len = 1U << sim_below(s, 4);

    /* Not the doorbell of a queue that is not there for ever, nor the status: these are tried by
     * the honest driver. */
    if (sim_one_in(s, 3))
        sim_read(s, base + offset, len);
    else
        sim_write(s, base + offset, len, sim_next(s));
}

void sim_lie(struct sim *s, struct sim_dev *d)
{
    unsigned n = sim_below(s, d->queues);

    sim_say(s, "%s: the driver lies", d->id);
    s->lies++;
    d->sick = true;
    for (unsigned i = sim_between(s, 1, 4); i; i--) {
        if (sim_one_in(s, 4))
            lie_register(s, d);
        else
            lie_ring(s, &d->q[n]);
        sim_bus_kick(s, d, n);
    }
    sim_pass(s, sim_below(s, 3000000));
}
