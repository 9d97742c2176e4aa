/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Flattened device tree builder (Devicetree Specification 0.4, chapter 5), over libfdt.
 *
 *     struct vacpi_fdt fdt = { 0 };
 *     vacpi_fdt_begin(&fdt, "");                 the root
 *     vacpi_fdt_u32(&fdt, "#address-cells", 2);
 *     vacpi_fdt_begin(&fdt, "chosen");
 *     vacpi_fdt_string(&fdt, "bootargs", "console=ttyAMA0");
 *     vacpi_fdt_end(&fdt);
 *     vacpi_fdt_end(&fdt);
 *     rc = vacpi_fdt_finish(&fdt, &blob);
 *
 * Properties of a node come before its child nodes. The blob grows by itself, up to 2 MiB (what
 * arm64 Linux accepts). Errors are sticky: after the first one every call does nothing, and
 * vacpi_fdt_finish() reports it.
 *
 * Threads: a builder belongs to one thread at a time. No ABI is promised before 1.0.
 */
#ifndef VMM_ACPI_FDT_H
#define VMM_ACPI_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/error.h>
#include <vmm/base/state.h>

/* A builder: zero it to begin. Its members are private. */
struct vacpi_fdt {
    void *blob;
    size_t room;
    uint32_t depth;
    uint32_t last_phandle;
    bool rooted; /* the first node was begun */
    bool children; /* the open node has child nodes: no more properties */
    struct vm_error error;
};

/* Frees what a builder holds and leaves it zeroed. Harmless on a zeroed one. */
void vacpi_fdt_free(struct vacpi_fdt *fdt);

/* Ends the building: gives the packed blob to *ret_blob (which is the caller's, and must be empty)
 * and leaves the builder zeroed, also on error. 0; -EINVAL with text (a node left open, a property
 * behind a child node, no root ...); -E2BIG (over 2 MiB); -ENOMEM. */
int vacpi_fdt_finish(struct vacpi_fdt *fdt, struct vm_buffer *ret_blob);

/* Marks the builder as failed, with text; the first error wins. */
void vacpi_fdt_fail(struct vacpi_fdt *fdt, int code, const char *format, ...) VM_PRINTF(3, 4);

/* A range the OS must not use; before the root is begun. */
void vacpi_fdt_reserve(struct vacpi_fdt *fdt, uint64_t address, uint64_t size);

void vacpi_fdt_begin(struct vacpi_fdt *fdt, const char *name);
/* "name@<unit in hexadecimal>". */
void vacpi_fdt_begin_at(struct vacpi_fdt *fdt, const char *name, uint64_t unit);
void vacpi_fdt_end(struct vacpi_fdt *fdt);

void vacpi_fdt_empty(struct vacpi_fdt *fdt, const char *name);
void vacpi_fdt_u32(struct vacpi_fdt *fdt, const char *name, uint32_t value);
void vacpi_fdt_u64(struct vacpi_fdt *fdt, const char *name, uint64_t value);
void vacpi_fdt_cells(struct vacpi_fdt *fdt, const char *name, const uint32_t *cells, size_t count);
void vacpi_fdt_string(struct vacpi_fdt *fdt, const char *name, const char *text);
/* count strings, one behind the other. */
void vacpi_fdt_strings(struct vacpi_fdt *fdt, const char *name, const char *const *texts,
                       size_t count);
void vacpi_fdt_bytes(struct vacpi_fdt *fdt, const char *name, const void *data, size_t len);

/* "reg" below a node of #address-cells 2 and #size-cells 2. */
struct vacpi_fdt_range {
    uint64_t address, size;
};
void vacpi_fdt_reg(struct vacpi_fdt *fdt, uint64_t address, uint64_t size);
void vacpi_fdt_regs(struct vacpi_fdt *fdt, const struct vacpi_fdt_range *ranges, size_t count);

/* A new phandle: 1, 2, ... It may be referred to before vacpi_fdt_phandle() gives it to the open
 * node. */
uint32_t vacpi_fdt_phandle_new(struct vacpi_fdt *fdt);
void vacpi_fdt_phandle(struct vacpi_fdt *fdt, uint32_t phandle);

#endif
