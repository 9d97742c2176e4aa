/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* GICv2: distributor and CPU interface by memory, messages through the frame of GICv2m, which makes SPIs of them. */
#include "gicv2.h"

#include "smp.h"

enum {
    GICC = 0x08010000,
    V2M = 0x08020000,
    GICD_CTLR = 0x000,
    GICD_ISENABLER = 0x100,
    GICD_ICENABLER = 0x180,
    GICD_ITARGETSR = 0x800, /* a byte each */
    GICD_ICFGR = 0xc00, /* two bits each */
    ICFGR_EDGE = 2,
    GICC_CTLR = 0x00,
    GICC_PMR = 0x04,
    GICC_IAR = 0x0c,
    GICC_EOIR = 0x10,
    ENABLE = 1,
    V2M_TYPER = 0x008,
    V2M_SETSPI = 0x040,
    FIRST_SPI = 32,
    SPI_COUNT = 64, /* those of lines */
    ID_MASK = 0x3ff,
};

void gicv2_init(void)
{
    write32(GICD + GICD_CTLR, 0);
    for (unsigned n = FIRST_SPI; n < FIRST_SPI + SPI_COUNT; n += 32)
        write32(GICD + GICD_ICENABLER + n / 8, 0xffffffff);
    write32(GICD + GICD_CTLR, ENABLE);
    write32(GICC + GICC_PMR, 0xff);
    write32(GICC + GICC_CTLR, ENABLE);
}

uint32_t gicv2_acknowledge(void)
{
    return read32(GICC + GICC_IAR) & ID_MASK; /* above: the CPU that sent it to this one */
}

void gicv2_end(uint32_t id)
{
    barrier();
    write32(GICC + GICC_EOIR, id);
}

void gicv2_target(unsigned id)
{
    write8(GICD + GICD_ITARGETSR + id, (uint8_t)(1u << irq_cpu));
}

struct message gicv2_message(uint8_t vector)
{
    unsigned id = GICV2_FIRST_MESSAGE + vector;
    uint32_t typer = read32(V2M + V2M_TYPER); /* 25:16 the first SPI, 9:0 how many */
    uint64_t config = GICD + GICD_ICFGR + id / 16 * 4;

    check_eq(typer >> 16 & ID_MASK, GICV2_FIRST_MESSAGE);
    check(vector < (typer & ID_MASK));
    write32(config, read32(config) | (uint32_t)ICFGR_EDGE << id % 16 * 2);
    gicv2_target(id);
    write32(GICD + GICD_ISENABLER + id / 32 * 4, 1u << id % 32);
    return (struct message){ .address = V2M + V2M_SETSPI, .data = id };
}
