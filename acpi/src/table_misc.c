/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * MCFG (PCI Firmware Specification 3.3, 4.1.2), GTDT revision 3 (ACPI 6.5, 5.2.25), SPCR revision 2
 * and DBG2 revision 0 (Microsoft's Serial Port Console Redirection Table and Debug Port Table 2).
 */
#include <errno.h>
#include <string.h>

#include "tables_private.h"

/* -- MCFG -- */

struct ecam {
    struct le64 base;
    struct le16 segment;
    uint8_t first_bus, last_bus;
    struct le32 reserved;
} __attribute__((packed));

void vacpi_tables_mcfg(struct vacpi_tables *tables, const struct vacpi_ecam *ecams, unsigned count)
{
    static const uint8_t reserved[8];

    if (!vacpi_tables_begin(tables, "MCFG", 1))
        return;
    vacpi_tables_put(tables, reserved, sizeof(reserved));
    for (unsigned i = 0; i < count; i++) {
        struct ecam e = {
            .base = le64_make(ecams[i].base),
            .segment = le16_make(ecams[i].segment),
            .first_bus = ecams[i].first_bus,
            .last_bus = ecams[i].last_bus,
        };

        if (ecams[i].first_bus > ecams[i].last_bus)
            vacpi_tables_fail(tables, -EINVAL, "MCFG: segment %u: buses %u to %u", ecams[i].segment,
                              ecams[i].first_bus, ecams[i].last_bus);
        vacpi_tables_put(tables, &e, sizeof(e));
    }
}

/* -- GTDT -- */

struct timer {
    struct le32 gsi, flags;
} __attribute__((packed));

struct gtdt {
    struct le64 counter;
    struct le32 reserved;
    struct timer secure_el1, el1, virt, el2;
    struct le64 counter_read;
    struct le32 platform_count, platform_offset;
    struct timer virt_el2;
} __attribute__((packed));

static struct timer timer_make(uint32_t gsi, uint32_t flags)
{
    return (struct timer){ .gsi = le32_make(gsi), .flags = le32_make(gsi ? flags : 0) };
}

/* All ones: the counter block is reached by system registers only. */
void vacpi_tables_gtdt(struct vacpi_tables *tables, const struct vacpi_gtdt *gtdt)
{
    struct gtdt g = {
        .counter = le64_make(UINT64_MAX),
        .secure_el1 = timer_make(gtdt->secure_el1, gtdt->flags),
        .el1 = timer_make(gtdt->el1, gtdt->flags),
        .virt = timer_make(gtdt->virt, gtdt->flags),
        .el2 = timer_make(gtdt->el2, gtdt->flags),
        .counter_read = le64_make(UINT64_MAX),
        .virt_el2 = timer_make(gtdt->virt_el2, gtdt->flags),
    };

    if (vacpi_tables_begin(tables, "GTDT", 3))
        vacpi_tables_put(tables, &g, sizeof(g));
}

/* -- SPCR -- */

enum { INTERRUPT_8259 = 1 << 0, INTERRUPT_IOAPIC = 1 << 1, INTERRUPT_GIC = 1 << 3 };
enum { STOP_BITS_1 = 1, TERMINAL_VT_UTF8 = 2, NO_PCI_ID = 0xffff };

struct spcr {
    uint8_t kind;
    uint8_t reserved0[3];
    struct vacpi_gas base;
    uint8_t interrupt_type, isa_irq;
    struct le32 gsi;
    uint8_t baud, parity, stop_bits, flow_control, terminal, language;
    struct le16 pci_device, pci_vendor;
    uint8_t bus, device, function;
    struct le32 pci_flags;
    uint8_t segment;
    struct le32 reserved1;
} __attribute__((packed));

_Static_assert(sizeof(struct vacpi_header) + sizeof(struct spcr) == 80, "SPCR revision 2");

/* The codes of SPCR for a speed; -1: there is none. */
static int baud_code(uint32_t baud)
{
    switch (baud) {
    case 0: return 0;
    case 9600: return 3;
    case 19200: return 4;
    case 57600: return 6;
    case 115200: return 7;
    default: return -1;
    }
}

void vacpi_tables_spcr(struct vacpi_tables *tables, const struct vacpi_console *console)
{
    int baud = baud_code(console->baud);
    struct spcr s = {
        .kind = (uint8_t)console->kind,
        .base = vacpi_gas_make(console->base),
        .interrupt_type = (uint8_t)((console->gic ? INTERRUPT_GIC : INTERRUPT_IOAPIC) |
                                    (console->isa_irq ? INTERRUPT_8259 : 0)),
        .isa_irq = console->isa_irq,
        .gsi = le32_make(console->gsi),
        .baud = (uint8_t)(baud & 0xff),
        .stop_bits = STOP_BITS_1,
        .terminal = TERMINAL_VT_UTF8,
        .pci_device = le16_make(NO_PCI_ID),
        .pci_vendor = le16_make(NO_PCI_ID),
    };

    if (baud < 0)
        vacpi_tables_fail(tables, -EINVAL,
                          "SPCR: %u baud: 0 (as it is), 9600, 19200, 57600 or 115200",
                          console->baud);
    if (vacpi_tables_begin(tables, "SPCR", 2))
        vacpi_tables_put(tables, &s, sizeof(s));
}

/* -- DBG2 -- */

enum { PORT_SERIAL = 0x8000 };

struct dbg2 {
    struct le32 offset, count;
    /* the one device */
    uint8_t revision;
    struct le16 len;
    uint8_t registers;
    struct le16 path_len, path_offset, oem_len, oem_offset, type, subtype, reserved, base_offset,
        size_offset;
    struct vacpi_gas base;
    struct le32 size;
} __attribute__((packed));

void vacpi_tables_dbg2(struct vacpi_tables *tables, const struct vacpi_console *console)
{
    const char *path = console->path ? console->path : ".";
    size_t device = offsetof(struct dbg2, revision);
    struct dbg2 d = {
        .offset = le32_make(sizeof(struct vacpi_header) + offsetof(struct dbg2, revision)),
        .count = le32_make(1),
        .registers = 1,
        .type = le16_make(PORT_SERIAL),
        .subtype = le16_make((uint16_t)console->kind),
        .base = vacpi_gas_make(console->base),
        .size = le32_make(console->size),
    };

    if (strlen(path) > 255)
        vacpi_tables_fail(tables, -EINVAL, "DBG2: a path of %zu bytes: 255 at the most",
                          strlen(path));
    d.len = le16_make((uint16_t)(sizeof(d) - device + strlen(path) + 1));
    d.path_len = le16_make((uint16_t)(strlen(path) + 1));
    d.path_offset = le16_make((uint16_t)(sizeof(d) - device));
    d.base_offset = le16_make((uint16_t)(offsetof(struct dbg2, base) - device));
    d.size_offset = le16_make((uint16_t)(offsetof(struct dbg2, size) - device));
    if (!vacpi_tables_begin(tables, "DBG2", 0))
        return;
    vacpi_tables_put(tables, &d, sizeof(d));
    vacpi_tables_put(tables, path, strlen(path) + 1);
}
