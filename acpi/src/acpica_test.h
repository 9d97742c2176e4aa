/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Test support: what Intel's ACPICA tools and dtc say of our bytes. Each call works in a directory
 * of its own below /tmp and removes it.
 */
#ifndef VMM_ACPI_ACPICA_TEST_H
#define VMM_ACPI_ACPICA_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/acpi/tables.h>

#define TOOL_TEXT (4u << 20)

struct tool_dir {
    char path[32];
};

static inline void tool_open(struct tool_dir *dir)
{
    strcpy(dir->path, "/tmp/vacpi-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir->path));
}

/* Runs a shell command in the directory; false where it failed. A tool gets 60 s and files of 32
 * MiB: a package that holds itself makes acpiexec print for ever. */
static inline bool tool_run(const struct tool_dir *dir, const char *command)
{
    char line[4096];

    snprintf(line, sizeof(line), "cd %s && ulimit -f 65536 && ulimit -t 60 && %s", dir->path,
             command);
    return system(line) == 0;
}

static inline void tool_close(const struct tool_dir *dir)
{
    cr_assert(tool_run(dir, "rm -f in.* out.* text"));
    cr_assert_eq(remove(dir->path), 0);
}

/* Runs a command whose output goes to the file "text", and which must succeed. */
static inline void tool_must(const struct tool_dir *dir, const char *command)
{
    if (tool_run(dir, command))
        return;
    tool_run(dir, "cat text");
    tool_close(dir);
    cr_assert_fail("%s: failed, see above", command);
}

static inline void tool_write(const struct tool_dir *dir, const char *name, const void *data,
                              size_t len)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir->path, name);
    f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, len, f), len);
    cr_assert_eq(fclose(f), 0);
}

/* The file's bytes with a zero behind them; the caller frees. */
static inline char *tool_read(const struct tool_dir *dir, const char *name, size_t *ret_len)
{
    char path[64];
    char *text = calloc(1, TOOL_TEXT);
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir->path, name);
    f = fopen(path, "rb");
    cr_assert(text && f, "no %s", name);
    *ret_len = fread(text, 1, TOOL_TEXT - 1, f);
    fclose(f);
    return text;
}

/* iasl writes creator id, creator revision and checksum itself. */
static inline bool is_iasl_own(const char *table, size_t i)
{
    if (!memcmp(table, "RSD ", 4) || !memcmp(table, "FACS", 4))
        return false;
    return i == 9 || (i >= 28 && i < 36);
}

static inline void same_bytes(const char *ours, size_t our_len, const char *theirs,
                              size_t their_len)
{
    cr_assert_eq(our_len, their_len, "%.4s: %zu bytes, recompiled %zu", ours, our_len, their_len);
    for (size_t i = 0; i < our_len; i++)
        cr_assert(is_iasl_own(ours, i) || ours[i] == theirs[i],
                  "%.4s: byte %zu is %02x, recompiled %02x", ours, i, (unsigned char)ours[i],
                  (unsigned char)theirs[i]);
}

/* Disassembles a table, compiles the result, and compares it with the table. Gives the disassembly,
 * which the caller frees. Optimizations are off, so that what we wrote counts and not what iasl
 * would rather write; a warning of iasl is an error here. */
static inline char *iasl_same(const void *table, size_t len)
{
    struct tool_dir dir;
    size_t text_len, their_len;
    char *text, *theirs;

    tool_open(&dir);
    tool_write(&dir, "in.aml", table, len);
    tool_must(&dir, "iasl -d in.aml >text 2>&1");
    tool_must(&dir, "iasl -on -of -we -p out in.dsl >text 2>&1");
    text = tool_read(&dir, "in.dsl", &text_len);
    theirs = tool_read(&dir, "out.aml", &their_len);
    tool_close(&dir);
    same_bytes(table, len, theirs, their_len);
    free(theirs);
    return text;
}

static inline void iasl_check(const void *table, size_t len)
{
    free(iasl_same(table, len));
}

/* What acpiexec prints when it executes commands of its debugger, separated by ';', on that table;
 * the caller frees. Each run takes a second, whatever it does. */
static inline char *acpiexec(const void *table, size_t len, const char *command)
{
    struct tool_dir dir;
    char line[2048];
    size_t text_len;
    char *text;

    tool_open(&dir);
    tool_write(&dir, "in.aml", table, len);
    snprintf(line, sizeof(line), "acpiexec -b '%s' in.aml >text 2>&1", command);
    tool_must(&dir, line);
    text = tool_read(&dir, "text", &text_len);
    tool_close(&dir);
    return text;
}

/* A set of DSDT and a hardware-reduced FADT, laid out; takes the builder. */
static inline struct vacpi_image image_of(struct vacpi_aml *aml)
{
    struct vacpi_tables tables = { 0 };
    struct vacpi_image image = { 0 };
    const struct vacpi_fadt fadt = { .flags = VACPI_FADT_HW_REDUCED };
    int rc;

    vacpi_tables_fadt(&tables, &fadt);
    vacpi_tables_dsdt(&tables, aml);
    rc = vacpi_tables_finish(&tables, 0xe0000, &image);
    cr_assert_eq(rc, 0, "%s", vm_error_text());
    return image;
}

/* The n-th table of a signature in an image. */
static inline const uint8_t *table_of(const struct vacpi_image *image, const char *signature,
                                      unsigned n, size_t *ret_len)
{
    const struct vacpi_place *place = vacpi_image_find(image, signature, n);

    cr_assert_not_null(place, "no %s", signature);
    *ret_len = place->len;
    return image->bytes.data + place->offset;
}

/* The DSDT of a builder goes through iasl; then the command is executed, and the output has to
 * contain expected. Either may be NULL. Gives the disassembly. */
static inline char *check_aml(struct vacpi_aml *aml, const char *command, const char *expected)
{
    struct vacpi_image image = image_of(aml);
    size_t len;
    const uint8_t *dsdt = table_of(&image, "DSDT", 0, &len);
    char *text = iasl_same(dsdt, len);

    if (command) {
        char *answer = acpiexec(dsdt, len, command);

        cr_assert_null(strstr(answer, "AE_"), "%s", answer);
        cr_assert_not_null(strstr(answer, expected), "%s: '%s' not in:\n%s", command, expected,
                           answer);
        free(answer);
    }
    vacpi_image_free(&image);
    return text;
}

/* The disassembly holds each of these texts; then it is freed. The list ends with NULL. */
static inline void holds(char *text, const char *const *expected)
{
    for (; *expected; expected++)
        cr_assert_not_null(strstr(text, *expected), "'%s' not in:\n%s", *expected, text);
    free(text);
}
#define HOLDS(text, ...) holds(text, (const char *const[]){ __VA_ARGS__, NULL })

#endif
