/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Interrupts of the machine guest: GICv3 with its ITS (Arm IHI 0069), or GICv2 with GICv2m (gicv2.c). They stay masked in the
 * CPU: it waits for one by wfi and asks the controller for its number. All go to irq_cpu.
 */
#include "gicv2.h"
#include "guest.h"
#include "smp.h"

enum {
    GICD_CTLR = 0x0000,
    GICD_TYPER = 0x0004,
    GICD_IGROUPR = 0x0080,
    GICD_ISENABLER = 0x0100,
    GICD_ICENABLER = 0x0180,
    GICD_IROUTER = 0x6000,
    GICD_CTLR_GROUP1 = 1 << 1,
    GICD_CTLR_ARE = 1 << 4,
    GICR_CTLR = 0x0000,
    GICR_WAKER = 0x0014,
    GICR_PROPBASER = 0x0070,
    GICR_PENDBASER = 0x0078,
    GICR_LPIS = 1,
    WAKER_SLEEP = 1 << 1,
    WAKER_CHILDREN = 1 << 2,
    GITS_CTLR = 0x0000,
    GITS_CBASER = 0x0080,
    GITS_CWRITER = 0x0088,
    GITS_CREADR = 0x0090,
    GITS_BASER = 0x0100,
    GITS_TRANSLATER = 0x10040,
    BASERS = 8,
    BASER_TYPE_SHIFT = 56,
    BASER_DEVICES = 1,
    BASER_COLLECTIONS = 4,
    /* Commands, 5.3 */
    ITS_SYNC = 0x05,
    ITS_MAPD = 0x08,
    ITS_MAPC = 0x09,
    ITS_MAPTI = 0x0a,
    ITS_INV = 0x0c,

    FIRST_SPI = 32,
    SPI_COUNT = 64, /* those that have a vector */
    SPURIOUS = 1023,
    FIRST_LPI = 8192,
    ID_BITS = 14,
    LPI_ENABLED = 0xa3, /* a priority, and enabled */
    EVENT = 0, /* of each device */
    EVENT_BITS = 1,
    GICR_STRIDE = 0x20000,
    RDBASE_SHIFT = 16, /* GITS_TYPER.PTA is 0: a CPU is its number */
    PAGE = 0x1000,
    BIG_PAGE = 0x10000, /* what KVM's tables are made of */
    DEVICES = 32,
    COMMAND_WORDS = 4,
};
#define VALID 1ull << 63
/* Inner shareable, cached: where the memory is that the GIC reads (the same bits in all of them). */
#define CACHED (7ull << 59 | 1ull << 10)
/* GICR_PROPBASER and GICR_PENDBASER have theirs in bits 9:7 and 11:10. */
#define LPI_CACHED (7ull << 7 | 1ull << 10)

static uint8_t spi_vectors[SPI_COUNT];
static uint32_t taken, typer;
static bool messages; /* on */
unsigned irq_cpu;
static uint8_t lpi_config[1 << ID_BITS] __attribute__((aligned(PAGE)));
static uint8_t lpi_pending[BIG_PAGE] __attribute__((aligned(BIG_PAGE)));
static uint8_t device_table[BIG_PAGE] __attribute__((aligned(BIG_PAGE)));
static uint8_t collection_table[BIG_PAGE] __attribute__((aligned(BIG_PAGE)));
static uint64_t event_tables[DEVICES][64] __attribute__((aligned(512)));
static uint64_t commands[PAGE / sizeof(uint64_t)] __attribute__((aligned(BIG_PAGE)));
static unsigned next_command;

static uint64_t redistributor(void)
{
    return GICR + (uint64_t)irq_cpu * GICR_STRIDE;
}

static void its_command(uint64_t w0, uint64_t w1, uint64_t w2)
{
    uint64_t *c = &commands[next_command];
    uint64_t end;

    c[0] = w0;
    c[1] = w1;
    c[2] = w2;
    c[3] = 0;
    next_command = (next_command + COMMAND_WORDS) % (PAGE / sizeof(uint64_t));
    end = next_command * sizeof(uint64_t);
    barrier();
    write64(ITS + GITS_CWRITER, end);
    while (read64(ITS + GITS_CREADR) != end)
        ;
}

static void init_its(void)
{
    for (unsigned n = 0; n < BASERS; n++) {
        uint64_t at = ITS + GITS_BASER + 8ull * n;
        unsigned what = read64(at) >> BASER_TYPE_SHIFT & 7;

        if (what == BASER_DEVICES)
            write64(at, VALID | CACHED | (uint64_t)device_table);
        else if (what == BASER_COLLECTIONS)
            write64(at, VALID | CACHED | (uint64_t)collection_table);
    }
    write64(ITS + GITS_CBASER, VALID | CACHED | (uint64_t)commands);
    write64(ITS + GITS_CWRITER, 0);
    write32(ITS + GITS_CTLR, 1);
    its_command(ITS_MAPC, 0, VALID | (uint64_t)irq_cpu << RDBASE_SHIFT); /* collection 0 */
    its_command(ITS_SYNC, 0, 0);
}

/* When the first message is wanted: a machine without PCI has no ITS. */
static void init_messages(void)
{
    uint64_t gicr = redistributor();

    write64(gicr + GICR_PROPBASER, LPI_CACHED | (uint64_t)lpi_config | (ID_BITS - 1));
    write64(gicr + GICR_PENDBASER, 1ull << 62 | LPI_CACHED | (uint64_t)lpi_pending);
    barrier();
    write32(gicr + GICR_CTLR, GICR_LPIS);
    init_its();
    messages = true;
}

void irq_init(void)
{
    uint64_t gicr = redistributor();

    typer = read32(GICD + GICD_TYPER);
    if (options.gicv2) {
        gicv2_init();
        return;
    }
    write32(GICD + GICD_CTLR, GICD_CTLR_ARE);
    for (unsigned n = FIRST_SPI; n < FIRST_SPI + SPI_COUNT; n += 32) {
        write32(GICD + GICD_ICENABLER + n / 8, 0xffffffff);
        write32(GICD + GICD_IGROUPR + n / 8, 0xffffffff);
    }
    write32(GICD + GICD_CTLR, GICD_CTLR_ARE | GICD_CTLR_GROUP1);
    write32(gicr + GICR_WAKER, read32(gicr + GICR_WAKER) & ~(uint32_t)WAKER_SLEEP);
    while (read32(gicr + GICR_WAKER) & WAKER_CHILDREN)
        ;
    __asm__ volatile("msr icc_sre_el1, %0\n isb" : : "r"(7ul)); /* system registers, no bypass */
    __asm__ volatile("msr icc_pmr_el1, %0" : : "r"(0xfful));
    __asm__ volatile("msr icc_igrpen1_el1, %0\n isb" : : "r"(1ul));
}

static uint32_t acknowledge(void)
{
    uint64_t id;

    if (options.gicv2)
        return gicv2_acknowledge();
    __asm__ volatile("mrs %0, icc_iar1_el1\n dsb sy" : "=r"(id) : : "memory");
    return (uint32_t)id;
}

uint32_t irq_sleep(void)
{
    while ((taken = acknowledge()) == SPURIOUS)
        __asm__ volatile("dsb sy\n wfi" : : : "memory");
    if (taken >= FIRST_LPI)
        return taken - FIRST_LPI;
    if (options.gicv2 && taken >= GICV2_FIRST_MESSAGE)
        return taken - GICV2_FIRST_MESSAGE;
    check(taken >= FIRST_SPI && taken < FIRST_SPI + SPI_COUNT);
    return spi_vectors[taken - FIRST_SPI];
}

/* What the handler told the device comes first. */
void irq_end(void)
{
    if (options.gicv2)
        gicv2_end(taken);
    else
        __asm__ volatile("dsb sy\n msr icc_eoir1_el1, %0\n isb"
                         :
                         : "r"((uint64_t)taken)
                         : "memory");
}

void irq_check(void)
{
    check_eq(read32(GICD + GICD_TYPER), typer);
}

void line_set(unsigned pin, uint8_t vector)
{
    unsigned id = FIRST_SPI + pin;

    check(pin < SPI_COUNT);
    spi_vectors[pin] = vector;
    if (options.gicv2)
        gicv2_target(id);
    else
        write64(GICD + GICD_IROUTER + 8ull * id, irq_cpu);
    write32(GICD + id / 32 * 4 + (unsigned)(vector ? GICD_ISENABLER : GICD_ICENABLER),
            1u << id % 32);
}

/* Each device has one event, and each vector its LPI. */
struct message message_for(unsigned dev, uint8_t vector)
{
    uint64_t id = (uint64_t)dev << 3 << 32; /* the requester's: device and function */

    check(dev < DEVICES);
    if (options.gicv2)
        return gicv2_message(vector);
    if (!messages)
        init_messages();
    lpi_config[vector] = LPI_ENABLED;
    its_command(ITS_MAPD | id, EVENT_BITS - 1, VALID | (uint64_t)event_tables[dev]);
    its_command(ITS_MAPTI | id, EVENT | (uint64_t)(FIRST_LPI + vector) << 32, 0);
    its_command(ITS_INV | id, EVENT, 0);
    its_command(ITS_SYNC, 0, 0);
    return (struct message){ .address = ITS + GITS_TRANSLATER, .data = EVENT };
}
