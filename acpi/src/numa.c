/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* SRAT revision 3 (ACPI 6.5, 5.2.16) and SLIT (5.2.17). */
#include <errno.h>

#include <vmm/base/check.h>

#include "tables_private.h"

enum { TYPE_APIC = 0, TYPE_MEMORY = 1, TYPE_X2APIC = 2, TYPE_GICC = 3 };

#define ENABLED     1u
#define LAPIC_LIMIT 255
#define NODES_MAX   1024 /* what Linux builds for at the most (NODES_SHIFT 10) */

struct apic_affinity {
    uint8_t type, len;
    uint8_t domain_low, apic_id;
    struct le32 flags;
    uint8_t sapic_eid;
    uint8_t domain_high[3];
    struct le32 clock_domain;
} __attribute__((packed));

struct x2apic_affinity {
    uint8_t type, len;
    struct le16 reserved0;
    struct le32 domain, apic_id, flags, clock_domain, reserved1;
} __attribute__((packed));

struct gicc_affinity {
    uint8_t type, len;
    struct le32 domain, uid, flags, clock_domain;
} __attribute__((packed));

struct memory_affinity {
    uint8_t type, len;
    struct le32 domain;
    struct le16 reserved0;
    struct le64 base, size;
    struct le32 reserved1, flags;
    struct le64 reserved2;
} __attribute__((packed));

static void put_apic(struct vacpi_tables *tables, const struct vacpi_affinity *row)
{
    struct apic_affinity low = {
        .type = TYPE_APIC,
        .len = sizeof(low),
        .domain_low = (uint8_t)(row->domain & 0xff),
        .apic_id = (uint8_t)(row->cpu & 0xff),
        .flags = le32_make(ENABLED),
    };
    struct x2apic_affinity high = {
        .type = TYPE_X2APIC,
        .len = sizeof(high),
        .domain = le32_make(row->domain),
        .apic_id = le32_make(row->cpu),
        .flags = le32_make(ENABLED),
    };

    for (unsigned i = 0; i < 3; i++)
        low.domain_high[i] = (uint8_t)(row->domain >> (8 * (i + 1)) & 0xff);
    if (row->cpu < LAPIC_LIMIT)
        vacpi_tables_put(tables, &low, sizeof(low));
    else
        vacpi_tables_put(tables, &high, sizeof(high));
}

static void put_gicc(struct vacpi_tables *tables, const struct vacpi_affinity *row)
{
    struct gicc_affinity e = {
        .type = TYPE_GICC,
        .len = sizeof(e),
        .domain = le32_make(row->domain),
        .uid = le32_make(row->cpu),
        .flags = le32_make(ENABLED),
    };

    vacpi_tables_put(tables, &e, sizeof(e));
}

static void put_memory(struct vacpi_tables *tables, const struct vacpi_affinity *row)
{
    struct memory_affinity e = {
        .type = TYPE_MEMORY,
        .len = sizeof(e),
        .domain = le32_make(row->domain),
        .base = le64_make(row->base),
        .size = le64_make(row->size),
        .flags = le32_make(ENABLED | row->flags),
    };
    uint64_t end;

    if (!row->size || !vm_add(row->base, row->size, &end))
        vacpi_tables_fail(tables, -EINVAL, "SRAT: memory of %#llx bytes at %#llx is empty or wraps",
                          (unsigned long long)row->size, (unsigned long long)row->base);
    vacpi_tables_put(tables, &e, sizeof(e));
}

void vacpi_tables_srat(struct vacpi_tables *tables, const struct vacpi_affinity *rows,
                       unsigned count)
{
    struct {
        struct le32 one; /* 5.2.16: reserved, must be 1 */
        uint8_t reserved[8];
    } fixed = { .one = le32_make(1) };

    if (!vacpi_tables_begin(tables, "SRAT", 3))
        return;
    vacpi_tables_put(tables, &fixed, sizeof(fixed));
    for (unsigned i = 0; i < count; i++) {
        switch (rows[i].kind) {
        case VACPI_AFFINITY_APIC: put_apic(tables, &rows[i]); break;
        case VACPI_AFFINITY_GICC: put_gicc(tables, &rows[i]); break;
        case VACPI_AFFINITY_MEMORY: put_memory(tables, &rows[i]); break;
        }
    }
}

/* 5.2.17: 10 means "same domain", 0 to 9 are reserved. */
static bool is_distance(uint8_t distance, bool same)
{
    return same ? distance == 10 : distance > 10;
}

void vacpi_tables_slit(struct vacpi_tables *tables, const uint8_t *distances, unsigned count)
{
    struct le64 localities = le64_make(count);

    if (count > NODES_MAX) {
        vacpi_tables_fail(tables, -EINVAL, "SLIT: %u nodes: %u are possible", count, NODES_MAX);
        return;
    }
    for (unsigned i = 0; i < count * count; i++)
        if (!is_distance(distances[i], i / count == i % count))
            vacpi_tables_fail(tables, -EINVAL, "SLIT: distance %u from node %u to %u: %s",
                              distances[i], i / count, i % count,
                              i / count == i % count ? "10 to itself" : "more than 10 to another");
    if (!vacpi_tables_begin(tables, "SLIT", 1))
        return;
    vacpi_tables_put(tables, &localities, sizeof(localities));
    vacpi_tables_put(tables, distances, (size_t)count * count);
}
