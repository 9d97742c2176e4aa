/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the tests of the device tree: what dtc says of a blob, and libfdt's answers as short calls. */
#ifndef VBOOT_ARM_FDT_TEST_H
#define VBOOT_ARM_FDT_TEST_H

#include <stdio.h>
#include <unistd.h>

#include <libfdt.h>

#include "arm_test.h"

#include <vmm/aarch64-boot/fdt.h>

/* Runs dtc on len bytes of the given form, with warnings as errors: its output, which the caller frees. */
static inline char *dtc(const char *arguments, const void *data, size_t len, size_t *ret_len)
{
    char dir[] = "/tmp/vboot-test-XXXXXX", line[512];
    char *out = calloc(1, 4 * MIB), *warnings = calloc(1, 64 << 10);
    FILE *f;

    cr_assert(out && warnings && mkdtemp(dir));
    snprintf(line, sizeof(line), "%s/in", dir);
    f = fopen(line, "wb");
    cr_assert(f && fwrite(data, 1, len, f) == len && !fclose(f));
    snprintf(line, sizeof(line), "cd %s && dtc %s -o out in >text 2>&1 && [ ! -s text ]", dir,
             arguments);
    if (system(line)) {
        snprintf(line, sizeof(line), "%s/text", dir);
        f = fopen(line, "rb");
        if (f && !fread(warnings, 1, (64 << 10) - 1, f))
            strcpy(warnings, "?");
    }
    snprintf(line, sizeof(line), "%s/out", dir);
    f = fopen(line, "rb");
    *ret_len = f ? fread(out, 1, 4 * MIB - 1, f) : 0;
    snprintf(line, sizeof(line), "rm -r %s", dir);
    cr_assert_eq(system(line), 0);
    cr_assert_str_eq(warnings, "");
    free(warnings);
    return out;
}

static inline bool no_dtc(void)
{
    return system("command -v dtc >/dev/null") != 0;
}
/* First line of a test that needs dtc. */
#define NEEDS_DTC()                                                                   \
    do {                                                                              \
        if (no_dtc())                                                                 \
            cr_skip_test("NOT TESTED: dtc is missing: install device-tree-compiler"); \
    } while (0)

/* The property's value as text in the order of the tree: "<1 2 ff>" for cells, "a b" for strings. */
static inline const char *cells_of(const void *blob, const char *path, const char *name)
{
    static char text[8192];
    int len, at = 0, node = fdt_path_offset(blob, path);
    const uint8_t *p;

    cr_assert_geq(node, 0, "no node %s: %s", path, fdt_strerror(node));
    p = fdt_getprop(blob, node, name, &len);
    if (!p)
        return "none";
    text[0] = 0;
    for (int i = 0; i + 3 < len && at < (int)sizeof(text) - 16; i += 4)
        at += snprintf(text + at, 16, "%s%x", i ? " " : "",
                       (unsigned)p[i] << 24 | p[i + 1] << 16 | p[i + 2] << 8 | p[i + 3]);
    return text;
}

static inline const char *strings_of(const void *blob, const char *path, const char *name)
{
    static char text[4096];
    int len, node = fdt_path_offset(blob, path);
    const char *p;

    cr_assert_geq(node, 0, "no node %s: %s", path, fdt_strerror(node));
    p = fdt_getprop(blob, node, name, &len);
    if (!p)
        return "none";
    cr_assert(len > 0 && len < (int)sizeof(text) && !p[len - 1], "%s/%s", path, name);
    memcpy(text, p, (size_t)len);
    for (int i = 0; i < len - 1; i++)
        if (!text[i])
            text[i] = '|';
    return text;
}

#define CELLS(path, name, want)  cr_assert_str_eq(cells_of(blob.data, path, name), want)
#define STRING(path, name, want) cr_assert_str_eq(strings_of(blob.data, path, name), want)
#define FLAG(path, name)         cr_assert_str_eq(cells_of(blob.data, path, name), "", "no %s", name)
#define ABSENT(path)             cr_assert_lt(fdt_path_offset(blob.data, path), 0, "%s is there", path)
#define LACKS(path, name)        cr_assert_str_eq(cells_of(blob.data, path, name), "none")

#endif
