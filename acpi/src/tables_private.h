/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the files of the table builders share. Wire structs are as in ACPI 6.5, chapter 5. */
#ifndef VMM_ACPI_TABLES_PRIVATE_H
#define VMM_ACPI_TABLES_PRIVATE_H

#include <vmm/acpi/tables.h>
#include <vmm/base/le.h>

/* System description table header (5.2.6). */
struct vacpi_header {
    char signature[4];
    struct le32 len;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    struct le32 oem_revision;
    char creator_id[4];
    struct le32 creator_revision;
} __attribute__((packed));

/* Generic address structure (5.2.3.2). */
struct vacpi_gas {
    uint8_t space, bits, bit_offset, access;
    struct le64 address;
} __attribute__((packed));

static inline struct vacpi_gas vacpi_gas_make(struct vacpi_register reg)
{
    return (struct vacpi_gas){
        .space = (uint8_t)reg.space,
        .bits = reg.bits,
        .access = (uint8_t)reg.access,
        .address = le64_make(reg.address),
    };
}

enum { /* offsets in FADT (5.2.9) of the addresses that the layout fills in */
       VACPI_FADT_FACS = 36,
       VACPI_FADT_DSDT = 40,
       VACPI_FADT_X_FACS = 132,
       VACPI_FADT_X_DSDT = 140,
};

void vacpi_tables_fail(struct vacpi_tables *tables, int code, const char *format, ...)
    VM_PRINTF(3, 4);

/* Fills a header; length and checksum come with the layout. */
void vacpi_header_make(struct vacpi_header *header, const char *signature, uint8_t revision);

/* A new table, empty or with its header; NULL or false: the set has failed. */
struct vm_buffer *vacpi_tables_new(struct vacpi_tables *tables);
bool vacpi_tables_begin(struct vacpi_tables *tables, const char *signature, uint8_t revision);
/* Appends to the newest table. */
void vacpi_tables_put(struct vacpi_tables *tables, const void *data, size_t len);

#endif
