/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * MADT (ACPI 6.5, 5.2.12), written as revision 5: that of ACPI 6.3 and 6.4. All that revision 6
 * adds to the structures used here is the trace buffer interrupt of a GICC, which no machine of
 * ours has.
 */
#include <errno.h>

#include "tables_private.h"

enum { /* types of the structures (5.2.12, table of interrupt controller structures) */
       TYPE_LAPIC = 0,
       TYPE_IOAPIC = 1,
       TYPE_OVERRIDE = 2,
       TYPE_LAPIC_NMI = 4,
       TYPE_X2APIC = 9,
       TYPE_X2APIC_NMI = 0xa,
       TYPE_GICC = 0xb,
       TYPE_GICD = 0xc,
       TYPE_MSI_FRAME = 0xd,
       TYPE_GICR = 0xe,
       TYPE_ITS = 0xf,
};

#define LAPIC_LIMIT 255 /* 255 addresses all local APICs */
#define PCAT_COMPAT 1

struct entry {
    uint8_t type, len;
} __attribute__((packed));

struct lapic {
    struct entry e;
    uint8_t uid, apic_id;
    struct le32 flags;
} __attribute__((packed));

struct x2apic {
    struct entry e;
    struct le16 reserved;
    struct le32 apic_id, flags, uid;
} __attribute__((packed));

struct ioapic {
    struct entry e;
    uint8_t id, reserved;
    struct le32 address, first_gsi;
} __attribute__((packed));

struct override {
    struct entry e;
    uint8_t bus, irq;
    struct le32 gsi;
    struct le16 flags;
} __attribute__((packed));

struct lapic_nmi {
    struct entry e;
    uint8_t uid;
    struct le16 flags;
    uint8_t lint;
} __attribute__((packed));

struct x2apic_nmi {
    struct entry e;
    struct le16 flags;
    struct le32 uid;
    uint8_t lint;
    uint8_t reserved[3];
} __attribute__((packed));

struct gicc {
    struct entry e;
    struct le16 reserved0;
    struct le32 cpu, uid, flags, parking, pmu_gsi;
    struct le64 parked, base, gicv, gich;
    struct le32 vgic_gsi;
    struct le64 gicr, mpidr;
    uint8_t efficiency, reserved1;
    struct le16 spe_gsi;
} __attribute__((packed));

struct gicd {
    struct entry e;
    struct le16 reserved0;
    struct le32 id;
    struct le64 base;
    struct le32 vector_base;
    uint8_t version;
    uint8_t reserved1[3];
} __attribute__((packed));

struct msi_frame {
    struct entry e;
    struct le16 reserved;
    struct le32 id;
    struct le64 base;
    struct le32 flags;
    struct le16 spi_count, first_spi;
} __attribute__((packed));

struct gicr {
    struct entry e;
    struct le16 reserved;
    struct le64 base;
    struct le32 len;
} __attribute__((packed));

struct its {
    struct entry e;
    struct le16 reserved0;
    struct le32 id;
    struct le64 base;
    struct le32 reserved1;
} __attribute__((packed));

_Static_assert(sizeof(struct gicc) == 80, "GICC of ACPI 6.3 and 6.4");

#define ENTRY(number, var) .e = { .type = (number), .len = sizeof(var) }

/* 5.2.12.12: ids below 255 use the older structure. */
static bool fits_lapic(const struct vacpi_cpu *cpu)
{
    return cpu->apic_id < LAPIC_LIMIT && cpu->uid < LAPIC_LIMIT;
}

static void put_cpu(struct vacpi_tables *tables, const struct vacpi_cpu *cpu)
{
    struct lapic low = {
        ENTRY(TYPE_LAPIC, low),
        .uid = (uint8_t)(cpu->uid & 0xff),
        .apic_id = (uint8_t)(cpu->apic_id & 0xff),
        .flags = le32_make(cpu->flags),
    };
    struct x2apic high = {
        ENTRY(TYPE_X2APIC, high),
        .apic_id = le32_make(cpu->apic_id),
        .flags = le32_make(cpu->flags),
        .uid = le32_make(cpu->uid),
    };

    if (fits_lapic(cpu))
        vacpi_tables_put(tables, &low, sizeof(low));
    else
        vacpi_tables_put(tables, &high, sizeof(high));
}

/* One structure of each kind that is used speaks for all processors of it (uid all ones). */
static void put_nmi(struct vacpi_tables *tables, const struct vacpi_madt *madt)
{
    struct lapic_nmi low = { ENTRY(TYPE_LAPIC_NMI, low), .uid = 0xff, .lint = 1 };
    struct x2apic_nmi high = {
        ENTRY(TYPE_X2APIC_NMI, high),
        .uid = le32_make(UINT32_MAX),
        .lint = 1,
    };
    bool any_high = false;

    if (!madt->lapic_nmi)
        return;
    vacpi_tables_put(tables, &low, sizeof(low));
    for (unsigned i = 0; i < madt->cpu_count; i++)
        any_high |= !fits_lapic(&madt->cpus[i]);
    if (any_high)
        vacpi_tables_put(tables, &high, sizeof(high));
}

static void put_apics(struct vacpi_tables *tables, const struct vacpi_madt *madt)
{
    for (unsigned i = 0; i < madt->cpu_count; i++)
        put_cpu(tables, &madt->cpus[i]);
    for (unsigned i = 0; i < madt->ioapic_count; i++) {
        struct ioapic e = {
            ENTRY(TYPE_IOAPIC, e),
            .id = madt->ioapics[i].id,
            .address = le32_make(madt->ioapics[i].address),
            .first_gsi = le32_make(madt->ioapics[i].first_gsi),
        };

        vacpi_tables_put(tables, &e, sizeof(e));
    }
    for (unsigned i = 0; i < madt->override_count; i++) {
        struct override e = {
            ENTRY(TYPE_OVERRIDE, e),
            .irq = madt->overrides[i].isa_irq,
            .gsi = le32_make(madt->overrides[i].gsi),
            .flags = le16_make(madt->overrides[i].flags),
        };

        vacpi_tables_put(tables, &e, sizeof(e));
    }
    put_nmi(tables, madt);
}

/* 5.2.12.14: the flag "online capable" is bit 3 of a GICC, not bit 1, which is an interrupt's
 * mode. */
static void put_gicc(struct vacpi_tables *tables, const struct vacpi_gicc *g)
{
    uint32_t flags =
        (g->flags & VACPI_CPU_ENABLED) | (g->flags & VACPI_CPU_ONLINE_CAPABLE ? 1u << 3 : 0u);
    struct gicc e = {
        ENTRY(TYPE_GICC, e),
        .cpu = le32_make(g->cpu),
        .uid = le32_make(g->uid),
        .flags = le32_make(flags),
        .pmu_gsi = le32_make(g->pmu_gsi),
        .base = le64_make(g->base),
        .gicv = le64_make(g->gicv),
        .gich = le64_make(g->gich),
        .vgic_gsi = le32_make(g->vgic_gsi),
        .gicr = le64_make(g->redistributor),
        .mpidr = le64_make(g->mpidr),
    };

    vacpi_tables_put(tables, &e, sizeof(e));
}

static void put_gicd(struct vacpi_tables *tables, const struct vacpi_madt *madt)
{
    struct gicd e = {
        ENTRY(TYPE_GICD, e),
        .base = le64_make(madt->gicd_base),
        .version = madt->gic_version,
    };

    if (!madt->has_gicd)
        return;
    if (madt->gic_version < 2 || madt->gic_version > 4)
        vacpi_tables_fail(tables, -EINVAL, "MADT: GIC version %u: 2, 3 or 4", madt->gic_version);
    vacpi_tables_put(tables, &e, sizeof(e));
}

static void put_msi_frame(struct vacpi_tables *tables, const struct vacpi_gic_msi_frame *frame)
{
    struct msi_frame e = {
        ENTRY(TYPE_MSI_FRAME, e),
        .id = le32_make(frame->id),
        .base = le64_make(frame->base),
        .flags = le32_make(1), /* the two numbers below hold, not the frame's register */
        .spi_count = le16_make(frame->spi_count),
        .first_spi = le16_make(frame->first_spi),
    };

    vacpi_tables_put(tables, &e, sizeof(e));
}

static void put_gic(struct vacpi_tables *tables, const struct vacpi_madt *madt)
{
    for (unsigned i = 0; i < madt->gicc_count; i++)
        put_gicc(tables, &madt->giccs[i]);
    put_gicd(tables, madt);
    for (unsigned i = 0; i < madt->msi_frame_count; i++)
        put_msi_frame(tables, &madt->msi_frames[i]);
    for (unsigned i = 0; i < madt->gicr_count; i++) {
        struct gicr e = {
            ENTRY(TYPE_GICR, e),
            .base = le64_make(madt->gicrs[i].base),
            .len = le32_make(madt->gicrs[i].len),
        };

        vacpi_tables_put(tables, &e, sizeof(e));
    }
    for (unsigned i = 0; i < madt->its_count; i++) {
        struct its e = {
            ENTRY(TYPE_ITS, e),
            .id = le32_make(madt->its[i].id),
            .base = le64_make(madt->its[i].base),
        };

        vacpi_tables_put(tables, &e, sizeof(e));
    }
}

void vacpi_tables_madt(struct vacpi_tables *tables, const struct vacpi_madt *madt)
{
    struct {
        struct le32 lapic_address, flags;
    } fixed = {
        .lapic_address = le32_make(madt->lapic_address),
        .flags = le32_make(madt->has_pic ? PCAT_COMPAT : 0),
    };

    if (!vacpi_tables_begin(tables, "APIC", 5))
        return;
    vacpi_tables_put(tables, &fixed, sizeof(fixed));
    put_apics(tables, madt);
    put_gic(tables, madt);
}
