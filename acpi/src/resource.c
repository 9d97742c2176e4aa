/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* AML builder: resource descriptors (ACPI 6.5, 6.4). */
#include <errno.h>

#include <vmm/base/check.h>

#include "aml_private.h"

enum { /* small descriptors: name and length in one byte (6.4.2) */
       SMALL_IRQ = 0x23,
       SMALL_IO = 0x47,
};
enum { /* large descriptors: name, then the length in two bytes (6.4.3) */
       LARGE_MEMORY32_FIXED = 0x86,
       LARGE_DWORD_SPACE = 0x87,
       LARGE_WORD_SPACE = 0x88,
       LARGE_INTERRUPT = 0x89,
       LARGE_QWORD_SPACE = 0x8a,
};
enum { /* general flags of an address space descriptor (6.4.3.5) */
       SPACE_CONSUMER = 1 << 0,
       SPACE_MIN_FIXED = 1 << 2,
       SPACE_MAX_FIXED = 1 << 3,
};

/* A descriptor begins here: only a template may hold it. */
static bool begin(struct vacpi_aml *aml)
{
    if (!aml->error.code && vacpi_aml_top(aml)->kind != VACPI_FRAME_TEMPLATE)
        vacpi_aml_fail(aml, -EINVAL, "AML: a resource descriptor outside a resource template");
    return !aml->error.code;
}

static void put_large(struct vacpi_aml *aml, unsigned name, size_t len)
{
    vacpi_aml_put_le(aml, name, 1);
    vacpi_aml_put_le(aml, len, 2);
}

void vacpi_res_memory32_fixed(struct vacpi_aml *aml, bool writable, uint32_t base, uint32_t len)
{
    if (!begin(aml))
        return;
    put_large(aml, LARGE_MEMORY32_FIXED, 9);
    vacpi_aml_put_le(aml, writable, 1);
    vacpi_aml_put_le(aml, base, 4);
    vacpi_aml_put_le(aml, len, 4);
}

void vacpi_res_io(struct vacpi_aml *aml, uint16_t min, uint16_t max, uint8_t align, uint8_t len)
{
    if (!begin(aml))
        return;
    vacpi_aml_put_le(aml, SMALL_IO, 1);
    vacpi_aml_put_le(aml, 1, 1); /* decodes 16 bits */
    vacpi_aml_put_le(aml, min, 2);
    vacpi_aml_put_le(aml, max, 2);
    vacpi_aml_put_le(aml, align, 1);
    vacpi_aml_put_le(aml, len, 1);
}

/* Flags: bit 0 edge, bit 3 low, bit 4 shared, bit 5 wakes. */
void vacpi_res_irq(struct vacpi_aml *aml, unsigned flags, unsigned irq)
{
    unsigned info = (flags & VACPI_IRQ_EDGE) | (flags & VACPI_IRQ_LOW) << 2 |
                    (flags & VACPI_IRQ_SHARED) << 2 | (flags & VACPI_IRQ_WAKE) << 2;

    if (irq > 15)
        vacpi_aml_fail(aml, -EINVAL, "AML: IRQ %u: 0 to 15, others need vacpi_res_interrupt()",
                       irq);
    if (!begin(aml))
        return;
    vacpi_aml_put_le(aml, SMALL_IRQ, 1);
    vacpi_aml_put_le(aml, 1u << irq, 2);
    vacpi_aml_put_le(aml, info, 1);
}

/* Flags: bit 0 consumer, then ours in the same order. */
void vacpi_res_interrupt(struct vacpi_aml *aml, unsigned flags, const uint32_t *gsis,
                         unsigned count)
{
    if (!count || count > 255)
        vacpi_aml_fail(aml, -EINVAL, "AML: %u interrupts in one descriptor: 1 to 255", count);
    if (!begin(aml))
        return;
    put_large(aml, LARGE_INTERRUPT, 2 + 4 * (size_t)count);
    vacpi_aml_put_le(aml, 1u | (flags & 0xf) << 1, 1);
    vacpi_aml_put_le(aml, count, 1);
    for (unsigned i = 0; i < count; i++)
        vacpi_aml_put_le(aml, gsis[i], 4);
}

/* The least bytes that hold every number; memory has no word form. */
static unsigned address_bytes(const struct vacpi_address *a, uint64_t len)
{
    uint64_t all = a->max | a->translation | len;

    if (all <= UINT16_MAX && a->type != VACPI_MEMORY)
        return 2;
    return all <= UINT32_MAX ? 4 : 8;
}

static unsigned type_flags(const struct vacpi_address *a)
{
    unsigned translates = a->translates_type ? 1 : 0;

    switch (a->type) {
    case VACPI_MEMORY:
        return (a->read_only ? 0u : 1u) | (unsigned)a->caching << 1 | translates << 5;
    case VACPI_IO: return 3 | translates << 4; /* ISA and other ports */
    default: return 0;
    }
}

static void put_address(struct vacpi_aml *aml, const struct vacpi_address *a, uint64_t len,
                        unsigned bytes)
{
    put_large(aml,
              bytes == 2   ? LARGE_WORD_SPACE
              : bytes == 4 ? LARGE_DWORD_SPACE
                           : LARGE_QWORD_SPACE,
              3 + 5 * (size_t)bytes);
    vacpi_aml_put_le(aml, (unsigned)a->type, 1);
    vacpi_aml_put_le(aml, SPACE_MIN_FIXED | SPACE_MAX_FIXED | (a->consumer ? SPACE_CONSUMER : 0u),
                     1);
    vacpi_aml_put_le(aml, type_flags(a), 1);
    vacpi_aml_put_le(aml, 0, bytes); /* granularity */
    vacpi_aml_put_le(aml, a->min, bytes);
    vacpi_aml_put_le(aml, a->max, bytes);
    vacpi_aml_put_le(aml, a->translation, bytes);
    vacpi_aml_put_le(aml, len, bytes);
}

void vacpi_res_address(struct vacpi_aml *aml, const struct vacpi_address *address)
{
    uint64_t len;
    unsigned bytes;

    if (address->max < address->min || !vm_add(address->max - address->min, (uint64_t)1, &len)) {
        vacpi_aml_fail(aml, -EINVAL, "AML: address range %#llx to %#llx is empty or too long",
                       (unsigned long long)address->min, (unsigned long long)address->max);
        return;
    }
    bytes = address_bytes(address, len);
    if (address->bytes && address->bytes < bytes) {
        vacpi_aml_fail(aml, -EINVAL, "AML: address range up to %#llx does not fit %u bytes",
                       (unsigned long long)address->max, address->bytes);
        return;
    }
    if (address->bytes)
        bytes = address->bytes;
    if (bytes != 2 && bytes != 4 && bytes != 8)
        vacpi_aml_fail(aml, -EINVAL, "AML: address numbers of %u bytes: 2, 4 or 8", bytes);
    if (begin(aml))
        put_address(aml, address, len, bytes);
}
