/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest at the I/O APIC's registers, devices at its inputs, local APICs that end interrupts. Input: four bytes per step:
 * what, where, two of value. No level input may be sent twice without an end; what the device saves it must load again.
 */
#include "platform_harness.h"

extern const struct vdev_class ioapic_class;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE 0xfec00000ULL
enum { STEP_BYTES = 4, STEPS_MAX = 2000 };

static void check_state(struct plat *p)
{
    struct vm_buffer first = plat_save(p), second;

    if (vdev_load(p->dev, first.data, first.len))
        abort();
    second = plat_save(p);
    if (first.len != second.len || memcmp(first.data, second.data, first.len))
        abort();
    vm_buffer_free(&first);
    vm_buffer_free(&second);
}

static void indexed(struct plat *p, uint8_t index, uint32_t value)
{
    plat_write(p, BASE, 4, index);
    plat_write(p, BASE + 0x10, 4, value);
    (void)plat_read(p, BASE + 0x10, 4);
}

/* Unmasks input 0 as level and raises it twice: one message, and after its end one more. */
static void check_service(struct plat *p)
{
    struct vdev_irq *irq = p->dev->ops->irq_line(p->dev, 0);
    unsigned before;

    vdev_irq_set(irq, false);
    indexed(p, 0x10, 0x10000); /* masked and edge: remote IRR is gone */
    before = p->messages;
    indexed(p, 0x10, 0x80fe);
    for (unsigned i = 0; i < 2; i++) {
        vdev_irq_set(irq, true);
        vdev_irq_set(irq, false);
    }
    if (p->messages != before + 1 || !p->route[0].on)
        abort();
    vdev_irq_set(irq, true);
    p->dev->ops->eoi(p->dev, 0xfe);
    if (p->messages < before + 2)
        abort();
}

static void step(struct plat *p, const uint8_t *in)
{
    uint32_t value = in[2] | (uint32_t)in[3] << 8;

    switch (in[0] & 7) {
    case 0: (void)plat_read(p, BASE + value % 0x1000, in[1] % 9); break;
    case 1: plat_write(p, BASE + (in[1] & 0x70), in[0] >> 3 & 7, value); break;
    case 2:
    case 3: vdev_irq_set(p->dev->ops->irq_line(p->dev, in[1] % 24), in[2] & 1); break;
    case 4: p->dev->ops->eoi(p->dev, in[1]); break;
    case 5: check_state(p); break;
    case 6: check_service(p); break;
    default: indexed(p, in[1] & 0x3f, value | (in[0] & 0x80U) << 9); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plat p;

    if (plat_open(&p))
        return 0;
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    if (plat_create(&p, &ioapic_class))
        abort();
    for (size_t i = 0; i + STEP_BYTES <= size && i < STEP_BYTES * STEPS_MAX; i += STEP_BYTES)
        step(&p, data + i);
    check_state(&p);
    plat_close(&p);
    return 0;
}
