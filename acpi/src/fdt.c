/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Flattened device tree builder (Devicetree Specification 0.4, chapter 5), over libfdt. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libfdt.h>

#include <vmm/acpi/fdt.h>

#define ROOM_FIRST 4096u
#define ROOM_MAX   (2u << 20) /* MAX_FDT_SIZE of arm64 Linux */

void vacpi_fdt_fail(struct vacpi_fdt *fdt, int code, const char *format, ...)
{
    va_list args;

    if (fdt->error.code)
        return;
    fdt->error.code = code;
    va_start(args, format);
    vsnprintf(fdt->error.text, sizeof(fdt->error.text), format, args);
    va_end(args);
}

void vacpi_fdt_free(struct vacpi_fdt *fdt)
{
    free(fdt->blob);
    memset(fdt, 0, sizeof(*fdt));
}

/* Doubles the room. libfdt moves what was written. */
static bool grow(struct vacpi_fdt *fdt)
{
    size_t room = fdt->room * 2;
    void *blob;

    if (room > ROOM_MAX) {
        vacpi_fdt_fail(fdt, -E2BIG, "FDT: more than %u bytes", ROOM_MAX);
        return false;
    }
    blob = calloc(1, room);
    if (!blob || fdt_resize(fdt->blob, blob, (int)room)) {
        free(blob);
        vacpi_fdt_fail(fdt, -ENOMEM, "FDT: no memory for %zu bytes", room);
        return false;
    }
    free(fdt->blob);
    fdt->blob = blob;
    fdt->room = room;
    return true;
}

/* What a libfdt call returned: true where it is to be called again, with more room. */
static bool again(struct vacpi_fdt *fdt, int result, const char *what, const char *name)
{
    if (!result)
        return false;
    if (result == -FDT_ERR_NOSPACE)
        return grow(fdt);
    vacpi_fdt_fail(fdt, -EINVAL, "FDT: %s '%s': %s", what, name, fdt_strerror(result));
    return false;
}

/* The blob begins with the first call. */
static bool started(struct vacpi_fdt *fdt)
{
    int rc;

    if (fdt->error.code)
        return false;
    if (fdt->blob)
        return true;
    fdt->blob = calloc(1, ROOM_FIRST);
    if (!fdt->blob) {
        vacpi_fdt_fail(fdt, -ENOMEM, "FDT: no memory for %u bytes", ROOM_FIRST);
        return false;
    }
    fdt->room = ROOM_FIRST;
    rc = fdt_create(fdt->blob, ROOM_FIRST);
    if (rc)
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: create: %s", fdt_strerror(rc));
    return !rc;
}

void vacpi_fdt_reserve(struct vacpi_fdt *fdt, uint64_t address, uint64_t size)
{
    if (!started(fdt))
        return;
    if (fdt->rooted) {
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: a reserved range comes before the root node");
        return;
    }
    while (again(fdt, fdt_add_reservemap_entry(fdt->blob, address, size), "reserve", "range"))
        ;
}

static bool root(struct vacpi_fdt *fdt)
{
    while (again(fdt, fdt_finish_reservemap(fdt->blob), "reserve", "end"))
        ;
    fdt->rooted = true;
    return !fdt->error.code;
}

void vacpi_fdt_begin(struct vacpi_fdt *fdt, const char *name)
{
    if (!started(fdt))
        return;
    if (!fdt->depth && (fdt->rooted || *name)) {
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: node '%s' outside the root, which is \"\" and one",
                       name);
        return;
    }
    if (!fdt->rooted && !root(fdt))
        return;
    while (again(fdt, fdt_begin_node(fdt->blob, name), "node", name))
        ;
    fdt->depth++;
    fdt->children = false;
}

void vacpi_fdt_begin_at(struct vacpi_fdt *fdt, const char *name, uint64_t unit)
{
    char full[64];
    int len = snprintf(full, sizeof(full), "%s@%" PRIx64, name, unit);

    if (len < 0 || (size_t)len >= sizeof(full))
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: node name '%s' is too long", name);
    vacpi_fdt_begin(fdt, full);
}

void vacpi_fdt_end(struct vacpi_fdt *fdt)
{
    if (!started(fdt))
        return;
    if (!fdt->depth) {
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: an end without an open node");
        return;
    }
    while (again(fdt, fdt_end_node(fdt->blob), "node", "end"))
        ;
    fdt->depth--;
    fdt->children = true;
}

int vacpi_fdt_finish(struct vacpi_fdt *fdt, struct vm_buffer *ret_blob)
{
    struct vm_buffer blob = { 0 };
    int rc = 0;

    if (fdt->depth || !fdt->rooted)
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: %s (%u open nodes)",
                       fdt->rooted ? "call vacpi_fdt_end()" : "there is no root", fdt->depth);
    if (!fdt->error.code)
        while (again(fdt, fdt_finish(fdt->blob), "finish", "tree"))
            ;
    if (!fdt->error.code && vm_buffer_add(&blob, fdt->blob, fdt_totalsize(fdt->blob)))
        vacpi_fdt_fail(fdt, -ENOMEM, "FDT: no memory for %u bytes", fdt_totalsize(fdt->blob));
    if (fdt->error.code)
        rc = vm_error_restore(&fdt->error);
    else
        *ret_blob = blob;
    vacpi_fdt_free(fdt);
    return rc;
}

/* -- Properties -- */

/* Room for len bytes in a new property, or NULL. */
static void *property(struct vacpi_fdt *fdt, const char *name, size_t len)
{
    void *value = NULL;

    if (!started(fdt))
        return NULL;
    if (!fdt->depth || fdt->children || len > ROOM_MAX) {
        vacpi_fdt_fail(
            fdt, -EINVAL,
            "FDT: property '%s' of %zu bytes: a node's properties stand before its nodes", name,
            len);
        return NULL;
    }
    while (
        again(fdt, fdt_property_placeholder(fdt->blob, name, (int)len, &value), "property", name))
        ;
    return fdt->error.code ? NULL : value;
}

void vacpi_fdt_bytes(struct vacpi_fdt *fdt, const char *name, const void *data, size_t len)
{
    void *value = property(fdt, name, len);

    if (value && len)
        memcpy(value, data, len);
}

void vacpi_fdt_empty(struct vacpi_fdt *fdt, const char *name)
{
    vacpi_fdt_bytes(fdt, name, NULL, 0);
}

void vacpi_fdt_u32(struct vacpi_fdt *fdt, const char *name, uint32_t value)
{
    vacpi_fdt_cells(fdt, name, &value, 1);
}

void vacpi_fdt_u64(struct vacpi_fdt *fdt, const char *name, uint64_t value)
{
    fdt64_t raw = cpu_to_fdt64(value);

    vacpi_fdt_bytes(fdt, name, &raw, sizeof(raw));
}

void vacpi_fdt_cells(struct vacpi_fdt *fdt, const char *name, const uint32_t *cells, size_t count)
{
    uint8_t *value = property(fdt, name, count * sizeof(*cells));

    for (size_t i = 0; value && i < count; i++) {
        fdt32_t raw = cpu_to_fdt32(cells[i]);

        memcpy(value + i * sizeof(raw), &raw, sizeof(raw));
    }
}

void vacpi_fdt_string(struct vacpi_fdt *fdt, const char *name, const char *text)
{
    vacpi_fdt_bytes(fdt, name, text, strlen(text) + 1);
}

void vacpi_fdt_strings(struct vacpi_fdt *fdt, const char *name, const char *const *texts,
                       size_t count)
{
    size_t len = 0;
    char *value;

    for (size_t i = 0; i < count; i++)
        len += strlen(texts[i]) + 1;
    value = property(fdt, name, len);
    for (size_t i = 0; value && i < count; i++)
        value = stpcpy(value, texts[i]) + 1;
}

void vacpi_fdt_reg(struct vacpi_fdt *fdt, uint64_t address, uint64_t size)
{
    struct vacpi_fdt_range range = { address, size };

    vacpi_fdt_regs(fdt, &range, 1);
}

void vacpi_fdt_regs(struct vacpi_fdt *fdt, const struct vacpi_fdt_range *ranges, size_t count)
{
    uint8_t *value = property(fdt, "reg", count * 16);

    for (size_t i = 0; value && i < count; i++) {
        fdt64_t raw[2] = { cpu_to_fdt64(ranges[i].address), cpu_to_fdt64(ranges[i].size) };

        memcpy(value + i * sizeof(raw), raw, sizeof(raw));
    }
}

uint32_t vacpi_fdt_phandle_new(struct vacpi_fdt *fdt)
{
    return ++fdt->last_phandle;
}

void vacpi_fdt_phandle(struct vacpi_fdt *fdt, uint32_t phandle)
{
    if (!phandle || phandle > fdt->last_phandle)
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: phandle %u was not given by vacpi_fdt_phandle_new()",
                       phandle);
    vacpi_fdt_u32(fdt, "phandle", phandle);
}
