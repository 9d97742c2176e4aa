/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The set of ACPI tables and its layout: RSDP, XSDT, addresses and checksums (ACPI 6.5, 5.2.5 to
 * 5.2.8, 5.2.11).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/le.h>

#include "tables_private.h"

#define ALIGN 64 /* FACS needs 64 (5.2.10); the others get it too */

/* Root System Description Pointer, revision 2 (5.2.5.3). */
struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    struct le32 rsdt;
    struct le32 len;
    struct le64 xsdt;
    uint8_t whole_checksum;
    uint8_t reserved[3];
} __attribute__((packed));

void vacpi_tables_fail(struct vacpi_tables *tables, int code, const char *format, ...)
{
    va_list args;

    if (tables->error.code)
        return;
    tables->error.code = code;
    va_start(args, format);
    vsnprintf(tables->error.text, sizeof(tables->error.text), format, args);
    va_end(args);
}

void vacpi_tables_free(struct vacpi_tables *tables)
{
    for (unsigned i = 0; i < tables->count; i++)
        vm_buffer_free(&tables->tables[i]);
    memset(tables, 0, sizeof(*tables));
}

void vacpi_image_free(struct vacpi_image *image)
{
    vm_buffer_free(&image->bytes);
    memset(image, 0, sizeof(*image));
}

static bool has_signature(const struct vm_buffer *table, const char *signature)
{
    return table->len >= 4 && !memcmp(table->data, signature, 4);
}

static unsigned count_of(const struct vacpi_tables *tables, const char *signature)
{
    unsigned n = 0;

    for (unsigned i = 0; i < tables->count; i++)
        n += has_signature(&tables->tables[i], signature);
    return n;
}

const struct vacpi_place *vacpi_image_find(const struct vacpi_image *image, const char *signature,
                                           unsigned n)
{
    for (unsigned i = 0; i < image->place_count; i++) {
        if (strcmp(image->places[i].signature, signature))
            continue;
        if (!n)
            return &image->places[i];
        n--;
    }
    return NULL;
}

/* -- Building one table -- */

struct vm_buffer *vacpi_tables_new(struct vacpi_tables *tables)
{
    if (tables->error.code)
        return NULL;
    if (tables->count == VACPI_TABLES_MAX) {
        vacpi_tables_fail(tables, -EINVAL, "ACPI: more than %u tables", VACPI_TABLES_MAX);
        return NULL;
    }
    return &tables->tables[tables->count++];
}

void vacpi_tables_put(struct vacpi_tables *tables, const void *data, size_t len)
{
    if (tables->error.code)
        return;
    if (vm_buffer_add(&tables->tables[tables->count - 1], data, len))
        vacpi_tables_fail(tables, -ENOMEM, "ACPI: no memory for %zu more bytes", len);
}

void vacpi_header_make(struct vacpi_header *header, const char *signature, uint8_t revision)
{
    memset(header, 0, sizeof(*header));
    memcpy(header->signature, signature, 4);
    header->revision = revision;
    memcpy(header->oem_id, VACPI_OEM_ID, sizeof(header->oem_id));
    memcpy(header->oem_table_id, "VMM_", 4);
    memcpy(header->oem_table_id + 4, signature, 4);
    header->oem_revision = le32_make(1);
    memcpy(header->creator_id, VACPI_CREATOR_ID, sizeof(header->creator_id));
    header->creator_revision = le32_make(1);
}

bool vacpi_tables_begin(struct vacpi_tables *tables, const char *signature, uint8_t revision)
{
    struct vacpi_header header;

    if (!vacpi_tables_new(tables))
        return false;
    vacpi_header_make(&header, signature, revision);
    vacpi_tables_put(tables, &header, sizeof(header));
    return !tables->error.code;
}

void vacpi_tables_raw(struct vacpi_tables *tables, const char *signature, uint8_t revision,
                      const void *body, size_t len)
{
    if (strlen(signature) != 4) {
        vacpi_tables_fail(tables, -EINVAL, "ACPI: table signature '%s' has not 4 characters",
                          signature);
        return;
    }
    if (vacpi_tables_begin(tables, signature, revision))
        vacpi_tables_put(tables, body, len);
}

static void add_block(struct vacpi_tables *tables, const char *signature, struct vacpi_aml *aml)
{
    struct vm_buffer code = { 0 };
    int rc = vacpi_aml_finish(aml, &code);

    if (rc)
        vacpi_tables_fail(tables, rc, "%s: %s", signature, vm_error_text());
    else
        vacpi_tables_raw(tables, signature, 2, code.data, code.len);
    vm_buffer_free(&code);
}

void vacpi_tables_dsdt(struct vacpi_tables *tables, struct vacpi_aml *aml)
{
    if (count_of(tables, "DSDT"))
        vacpi_tables_fail(tables, -EINVAL, "ACPI: a second DSDT: add it as SSDT");
    add_block(tables, "DSDT", aml);
}

void vacpi_tables_ssdt(struct vacpi_tables *tables, struct vacpi_aml *aml)
{
    add_block(tables, "SSDT", aml);
}

/* -- Layout -- */

/* All bytes of a table add up to 0. */
static void set_checksum(uint8_t *data, size_t len, size_t place)
{
    unsigned sum = 0;

    data[place] = 0;
    for (size_t i = 0; i < len; i++)
        sum += data[i];
    data[place] = (uint8_t)(0x100 - (sum & 0xff));
}

static int check_set(const struct vacpi_tables *tables, uint64_t base)
{
    unsigned facs = count_of(tables, "FACS");

    if (tables->error.code)
        return vm_error_restore(&tables->error);
    if (count_of(tables, "FACP") != 1 || count_of(tables, "DSDT") != 1)
        return vm_fail(-EINVAL, "ACPI: %u FADT and %u DSDT: exactly one of each is needed",
                       count_of(tables, "FACP"), count_of(tables, "DSDT"));
    if (facs != (tables->hw_reduced ? 0u : 1u))
        return vm_fail(-EINVAL, "ACPI: %u FACS: %s", facs,
                       tables->hw_reduced ? "a hardware-reduced machine has none"
                                          : "a machine that is not hardware-reduced needs one");
    if (base % ALIGN)
        return vm_fail(-EINVAL, "ACPI: base %#llx is no multiple of %u", (unsigned long long)base,
                       ALIGN);
    return 0;
}

/* Appends a table at the next aligned place and notes where. */
static int place(struct vacpi_image *image, const char *signature, const void *data, size_t len)
{
    static const uint8_t zeros[ALIGN];
    struct vacpi_place *p = &image->places[image->place_count++];
    size_t pad = (ALIGN - image->bytes.len % ALIGN) % ALIGN;
    int rc = vm_buffer_add(&image->bytes, zeros, pad);

    if (!rc) {
        memcpy(p->signature, signature, 4);
        p->offset = (uint32_t)image->bytes.len;
        p->len = (uint32_t)len;
        rc = vm_buffer_add(&image->bytes, data, len);
    }
    return rc;
}

/* RSDP and XSDT are placed empty first: their length is known, their content not yet. */
static int place_all(const struct vacpi_tables *tables, struct vacpi_image *image)
{
    uint8_t empty[sizeof(struct vacpi_header) + 8 * VACPI_TABLES_MAX] = { 0 };
    size_t entries = tables->count - count_of(tables, "DSDT") - count_of(tables, "FACS");
    int rc = place(image, "RSDP", empty, sizeof(struct rsdp));

    if (!rc)
        rc = place(image, "XSDT", empty, sizeof(struct vacpi_header) + 8 * entries);
    for (unsigned i = 0; !rc && i < tables->count; i++)
        rc = place(image, (const char *)tables->tables[i].data, tables->tables[i].data,
                   tables->tables[i].len);
    return rc ? vm_fail(rc, "ACPI: no memory for the tables") : 0;
}

/* Writes the address of a table of the image, and notes where it stands. */
static void set_pointer(struct vacpi_image *image, size_t offset, unsigned bytes,
                        const struct vacpi_place *to)
{
    vm_store_le(image->bytes.data + offset, bytes, image->base + to->offset);
    image->pointers[image->pointer_count++] = (struct vacpi_pointer){
        .offset = (uint32_t)offset,
        .bytes = (uint8_t)bytes,
    };
}

/* The XSDT lists every table but those that FADT points to (5.2.8). */
static void fill_xsdt(struct vacpi_image *image)
{
    const struct vacpi_place *xsdt = &image->places[1];
    struct vacpi_header header;
    size_t at = xsdt->offset + sizeof(header);

    vacpi_header_make(&header, "XSDT", 1);
    memcpy(image->bytes.data + xsdt->offset, &header, sizeof(header));
    for (unsigned i = 2; i < image->place_count; i++) {
        const char *signature = image->places[i].signature;

        if (!strcmp(signature, "DSDT") || !strcmp(signature, "FACS"))
            continue;
        set_pointer(image, at, 8, &image->places[i]);
        at += 8;
    }
}

/* DSDT is told in both fields where 32 bits are enough, as older systems read only the first. FACS
 * is told once: 5.2.9 wants one of its fields to be zero. */
static void fill_fadt(struct vacpi_image *image)
{
    const struct vacpi_place *fadt = vacpi_image_find(image, "FACP", 0);
    const struct vacpi_place *dsdt = vacpi_image_find(image, "DSDT", 0);
    const struct vacpi_place *facs = vacpi_image_find(image, "FACS", 0);
    bool low = image->base + image->bytes.len <= UINT32_MAX;

    set_pointer(image, fadt->offset + VACPI_FADT_X_DSDT, 8, dsdt);
    if (low)
        set_pointer(image, fadt->offset + VACPI_FADT_DSDT, 4, dsdt);
    if (facs && low)
        set_pointer(image, fadt->offset + VACPI_FADT_FACS, 4, facs);
    else if (facs)
        set_pointer(image, fadt->offset + VACPI_FADT_X_FACS, 8, facs);
}

static void fill_rsdp(struct vacpi_image *image)
{
    struct rsdp rsdp = {
        .revision = 2,
        .len = le32_make(sizeof(rsdp)),
    };

    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, VACPI_OEM_ID, sizeof(rsdp.oem_id));
    memcpy(image->bytes.data, &rsdp, sizeof(rsdp));
    set_pointer(image, offsetof(struct rsdp, xsdt), 8, &image->places[1]);
    set_checksum(image->bytes.data, 20, offsetof(struct rsdp, checksum));
    set_checksum(image->bytes.data, sizeof(rsdp), offsetof(struct rsdp, whole_checksum));
}

/* FACS has no checksum. */
static void finish_headers(struct vacpi_image *image)
{
    for (unsigned i = 1; i < image->place_count; i++) {
        const struct vacpi_place *p = &image->places[i];
        uint8_t *table = image->bytes.data + p->offset;

        if (!strcmp(p->signature, "FACS"))
            continue;
        vm_store_le(table + offsetof(struct vacpi_header, len), 4, p->len);
        set_checksum(table, p->len, offsetof(struct vacpi_header, checksum));
    }
}

int vacpi_tables_finish(struct vacpi_tables *tables, uint64_t base, struct vacpi_image *ret_image)
{
    struct vacpi_image image = { .base = base, .rsdp = base };
    uint64_t end;
    int rc = check_set(tables, base);

    if (!rc)
        rc = place_all(tables, &image);
    if (!rc && (image.bytes.len > UINT32_MAX || !vm_add(base, image.bytes.len, &end)))
        rc = vm_fail(-EINVAL, "ACPI: %zu bytes of tables do not fit at %#llx", image.bytes.len,
                     (unsigned long long)base);
    vacpi_tables_free(tables);
    if (rc) {
        vacpi_image_free(&image);
        return rc;
    }
    fill_xsdt(&image);
    fill_fadt(&image);
    finish_headers(&image);
    fill_rsdp(&image);
    *ret_image = image;
    return 0;
}
