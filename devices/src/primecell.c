/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* ARM PrimeCell peripherals: decoding, identification, interrupt. */
#include "primecell.h"

#include <string.h>

#include <vmm/base/le.h>

enum {
    REG_PERIPH_ID = 0xfe0, /* four registers of a byte each */
    REG_CELL_ID = 0xff0,
    WORD = 4,
};
#define CELL_ID 0xb105f00dU /* of all PrimeCells (chapter 3, PCellID0 to 3) */

static uint32_t id_byte(uint32_t id, uint32_t offset)
{
    return id >> offset / WORD % WORD * 8 & 0xff;
}

static uint32_t read_register(struct vdev_primecell *p, uint32_t offset)
{
    if (offset >= REG_CELL_ID)
        return id_byte(CELL_ID, offset);
    if (offset >= REG_PERIPH_ID)
        return id_byte(p->type->id, offset);
    return p->type->read(p, offset);
}

/* Word by word: a register is read once only, since that may change it. */
static int page_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    for (unsigned done = 0, n; done < len; done += n) {
        uint32_t at = (uint32_t)offset + done, byte = at % WORD;
        uint8_t word[WORD];

        n = len - done < WORD - byte ? len - done : WORD - byte;
        vm_store_le(word, WORD, read_register(self, at - byte));
        memcpy(data + done, word + byte, n);
    }
    return 0;
}

static int page_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct vdev_primecell *p = self;

    for (unsigned done = 0, n; done < len; done += n) {
        uint32_t at = (uint32_t)offset + done, byte = at % WORD;
        uint8_t word[WORD] = { 0 };

        n = len - done < WORD - byte ? len - done : WORD - byte;
        memcpy(word, data + done, n);
        if (!byte && at < REG_PERIPH_ID)
            p->type->write(p, at, (uint32_t)vm_load_le(word, WORD));
    }
    return 0;
}

static const struct vdev_region_ops region_ops = { .read = page_read, .write = page_write };

void vdev_primecell_init(struct vdev_primecell *p, const struct vdev_class *cls,
                         const struct vdev_ops *ops, const struct vdev_primecell_type *type,
                         const struct vdev_context *context)
{
    uint64_t base = context->resources[0].base;

    vdev_init(&p->dev, cls, ops, context);
    p->type = type;
    p->mmio = context->mmio;
    p->irq = context->irqs[0];
    p->dev.firmware = (struct vdev_firmware){
        .compatible = type->compatible,
        .node = type->node,
        .clocks = type->clocks,
        .resource = { { VDEV_RES_MMIO, base, VDEV_PRIMECELL_BYTES },
                      { VDEV_RES_IRQ, p->irq ? p->irq->number : 0, 1 } },
    };
    p->region = (struct vdev_region){ .name = p->dev.id,
                                      .base = base,
                                      .size = VDEV_PRIMECELL_BYTES,
                                      .ops = &region_ops,
                                      .self = p,
                                      .lock = &p->dev.lock,
                                      .dev = &p->dev,
                                      .priority = 1 };
}

int vdev_primecell_start(struct vdev_primecell *p)
{
    return vdev_bus_add(p->mmio, &p->region);
}

void vdev_primecell_exit(struct vdev_primecell *p)
{
    if (p->region.on_bus)
        vdev_bus_del(p->mmio, &p->region, NULL, NULL);
    vdev_exit(&p->dev);
}

void vdev_primecell_renew_line(struct vdev_primecell *p, bool line)
{
    p->line = line;
    vdev_irq_set(p->irq, line);
}

void vdev_primecell_set_line(struct vdev_primecell *p, bool line)
{
    if (line != p->line)
        vdev_primecell_renew_line(p, line);
}
