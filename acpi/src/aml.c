/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * AML builder: bytes, lengths and blocks (ACPI 6.5, 20.2.4, 20.2.5).
 *
 * A block's length stands before its content, in one to four bytes that the length itself decides.
 * So a block is written without, and its end moves the content up and puts the length in.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/le.h>

#include "aml_private.h"

#define EXT 0x5b00 /* ExtOpPrefix */

enum {
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_VAR_PACKAGE = 0x13,
    OP_METHOD = 0x14,
    OP_IF = 0xa0,
    OP_ELSE = 0xa1,
    OP_WHILE = 0xa2,
    OP_DEVICE = EXT | 0x82,
    RESOURCE_END = 0x79,
};

/* 20.2.4: two bits say how many bytes follow the first; it holds 6 bits when alone, else 4. */
#define LENGTH_MAX 0xfffffffu

void vacpi_aml_fail(struct vacpi_aml *aml, int code, const char *format, ...)
{
    va_list args;

    if (aml->error.code)
        return;
    aml->error.code = code;
    va_start(args, format);
    vsnprintf(aml->error.text, sizeof(aml->error.text), format, args);
    va_end(args);
}

void vacpi_aml_free(struct vacpi_aml *aml)
{
    vm_buffer_free(&aml->out);
    memset(aml, 0, sizeof(*aml));
}

int vacpi_aml_finish(struct vacpi_aml *aml, struct vm_buffer *ret_code)
{
    int rc = 0;

    if (aml->depth)
        vacpi_aml_fail(aml, -EINVAL, "AML: %u blocks are still open: call vacpi_aml_end()",
                       aml->depth);
    if (aml->frames[0].pending)
        vacpi_aml_fail(aml, -EINVAL, "AML: the last operator waits for %u more operands",
                       aml->frames[0].pending);
    if (aml->error.code) {
        rc = vm_error_restore(&aml->error);
    } else {
        *ret_code = aml->out;
        memset(&aml->out, 0, sizeof(aml->out));
    }
    vacpi_aml_free(aml);
    return rc;
}

void vacpi_aml_put(struct vacpi_aml *aml, const void *data, size_t len)
{
    if (aml->error.code)
        return;
    if (vm_buffer_add(&aml->out, data, len))
        vacpi_aml_fail(aml, -ENOMEM, "AML: no memory for %zu more bytes", len);
}

void vacpi_aml_put_le(struct vacpi_aml *aml, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];

    vm_store_le(raw, sizeof(raw), value);
    vacpi_aml_put(aml, raw, bytes);
}

void vacpi_aml_put_opcode(struct vacpi_aml *aml, unsigned code)
{
    uint8_t raw[2] = { (uint8_t)(code >> 8), (uint8_t)code };

    if (code > 0xff)
        vacpi_aml_put(aml, raw, 2);
    else
        vacpi_aml_put(aml, &raw[1], 1);
}

static unsigned length_bytes(size_t value)
{
    return value <= 0x3f ? 1 : value <= 0xfff ? 2 : value <= 0xfffff ? 3 : 4;
}

static void encode_length(uint8_t *raw, size_t value, unsigned bytes)
{
    if (bytes == 1) {
        raw[0] = (uint8_t)value;
        return;
    }
    raw[0] = (uint8_t)((bytes - 1) << 6 | (value & 0xf));
    for (unsigned i = 1; i < bytes; i++)
        raw[i] = (uint8_t)(value >> (4 + 8 * (i - 1)));
}

void vacpi_aml_put_length(struct vacpi_aml *aml, size_t value)
{
    uint8_t raw[4];
    unsigned bytes = length_bytes(value);

    if (value > LENGTH_MAX) {
        vacpi_aml_fail(aml, -EINVAL, "AML: length %zu is over the limit of %u", value, LENGTH_MAX);
        return;
    }
    encode_length(raw, value, bytes);
    vacpi_aml_put(aml, raw, bytes);
}

/* Moves what stands from start on up, and puts raw before it. */
static void insert(struct vacpi_aml *aml, size_t start, const uint8_t *raw, size_t len)
{
    size_t tail = aml->out.len - start;

    vacpi_aml_put(aml, raw, len);
    if (aml->error.code)
        return;
    memmove(aml->out.data + start + len, aml->out.data + start, tail);
    memcpy(aml->out.data + start, raw, len);
}

void vacpi_aml_insert_length(struct vacpi_aml *aml, size_t start)
{
    uint8_t raw[4];
    size_t len;
    unsigned bytes = 1;

    if (aml->error.code)
        return;
    len = aml->out.len - start;
    while (bytes < 4 && length_bytes(len + bytes) > bytes)
        bytes++;
    if (len > LENGTH_MAX - bytes) {
        vacpi_aml_fail(aml, -EINVAL, "AML: a block of %zu bytes is over the limit of %u", len,
                       LENGTH_MAX);
        return;
    }
    encode_length(raw, len + bytes, bytes);
    insert(aml, start, raw, bytes);
}

bool vacpi_aml_term(struct vacpi_aml *aml, uint32_t operands)
{
    struct vacpi_aml_frame *f = vacpi_aml_top(aml);

    if (aml->error.code)
        return false;
    if (f->kind == VACPI_FRAME_TEMPLATE || f->kind == VACPI_FRAME_FIELD) {
        vacpi_aml_fail(aml, -EINVAL, "AML: a term inside a resource template or a field list");
        return false;
    }
    if (f->pending)
        f->pending--;
    else
        f->count++;
    f->pending += operands;
    return true;
}

bool vacpi_aml_statement(struct vacpi_aml *aml, uint32_t operands)
{
    struct vacpi_aml_frame *f = vacpi_aml_top(aml);

    if (aml->error.code)
        return false;
    if (f->pending || (f->kind != VACPI_FRAME_BLOCK && f->kind != VACPI_FRAME_IF)) {
        vacpi_aml_fail(aml, -EINVAL, "AML: a statement where an operand, element or field belongs");
        return false;
    }
    f->pending = operands;
    return true;
}

void vacpi_aml_push(struct vacpi_aml *aml, enum vacpi_frame_kind kind, size_t start,
                    uint32_t operands)
{
    if (aml->error.code)
        return;
    if (aml->depth + 1 >= VACPI_AML_DEPTH) {
        vacpi_aml_fail(aml, -EINVAL, "AML: more than %u blocks inside each other",
                       VACPI_AML_DEPTH - 1);
        return;
    }
    aml->depth++;
    *vacpi_aml_top(aml) = (struct vacpi_aml_frame){
        .start = start,
        .pending = operands,
        .kind = (uint8_t)kind,
    };
}

/* A block of statements that begins with an opcode; path NULL: it has no name. */
static bool open_block(struct vacpi_aml *aml, unsigned opcode, const char *path, uint32_t operands,
                       enum vacpi_frame_kind kind)
{
    size_t start;

    if (!vacpi_aml_statement(aml, 0))
        return false;
    vacpi_aml_put_opcode(aml, opcode);
    start = aml->out.len;
    if (path)
        vacpi_aml_put_path(aml, path);
    vacpi_aml_push(aml, kind, start, operands);
    return !aml->error.code;
}

void vacpi_aml_scope(struct vacpi_aml *aml, const char *path)
{
    open_block(aml, OP_SCOPE, path, 0, VACPI_FRAME_BLOCK);
}

void vacpi_aml_device(struct vacpi_aml *aml, const char *path)
{
    open_block(aml, OP_DEVICE, path, 0, VACPI_FRAME_BLOCK);
}

/* MethodFlags (20.2.5.2): bits 0 to 2 number of arguments, bit 3 serialized, then the sync
 * level. */
void vacpi_aml_method(struct vacpi_aml *aml, const char *path, unsigned args, bool serialized)
{
    if (args > 7)
        vacpi_aml_fail(aml, -EINVAL, "AML: method %s with %u arguments: 7 are possible", path,
                       args);
    if (open_block(aml, OP_METHOD, path, 0, VACPI_FRAME_BLOCK))
        vacpi_aml_put_le(aml, args | (serialized ? 8u : 0u), 1);
}

void vacpi_aml_if(struct vacpi_aml *aml)
{
    open_block(aml, OP_IF, NULL, 1, VACPI_FRAME_IF);
}

void vacpi_aml_else(struct vacpi_aml *aml)
{
    size_t after_if = vacpi_aml_top(aml)->after_if;

    if (!after_if || after_if != aml->out.len)
        vacpi_aml_fail(aml, -EINVAL, "AML: Else does not stand directly behind an If");
    open_block(aml, OP_ELSE, NULL, 0, VACPI_FRAME_BLOCK);
}

void vacpi_aml_while(struct vacpi_aml *aml)
{
    open_block(aml, OP_WHILE, NULL, 1, VACPI_FRAME_BLOCK);
}

static void open_term(struct vacpi_aml *aml, unsigned opcode, enum vacpi_frame_kind kind)
{
    if (!vacpi_aml_term(aml, 0))
        return;
    vacpi_aml_put_opcode(aml, opcode);
    vacpi_aml_push(aml, kind, aml->out.len, 0);
}

void vacpi_aml_package(struct vacpi_aml *aml)
{
    open_term(aml, OP_PACKAGE, VACPI_FRAME_PACKAGE);
}

void vacpi_aml_template(struct vacpi_aml *aml)
{
    open_term(aml, OP_BUFFER, VACPI_FRAME_TEMPLATE);
}

/* DefPackage counts its elements in one byte, DefVarPackage in an integer object (20.2.5.4). */
static void close_package(struct vacpi_aml *aml, size_t start, uint32_t count)
{
    uint8_t raw[9] = { (uint8_t)count };
    size_t len = 1;

    if (count > 0xff) {
        aml->out.data[start - 1] = OP_VAR_PACKAGE;
        len = vacpi_aml_encode_integer(count, raw);
    }
    insert(aml, start, raw, len);
    vacpi_aml_insert_length(aml, start);
}

/* The end tag's checksum is 0: there is none (6.4.2.9). */
static void close_template(struct vacpi_aml *aml, size_t start)
{
    uint8_t raw[9];
    unsigned len;

    vacpi_aml_put_le(aml, RESOURCE_END, 2);
    if (aml->error.code)
        return;
    len = vacpi_aml_encode_integer(aml->out.len - start, raw);
    insert(aml, start, raw, len);
    vacpi_aml_insert_length(aml, start);
}

void vacpi_aml_end(struct vacpi_aml *aml)
{
    struct vacpi_aml_frame f;

    if (aml->error.code)
        return;
    f = *vacpi_aml_top(aml);
    if (!aml->depth || f.pending) {
        vacpi_aml_fail(aml, -EINVAL,
                       aml->depth ? "AML: a block ends while an operator waits for %u more operands"
                                  : "AML: an end without an open block (%u)",
                       f.pending);
        return;
    }
    aml->depth--;
    if (f.kind == VACPI_FRAME_PACKAGE)
        close_package(aml, f.start, f.count);
    else if (f.kind == VACPI_FRAME_TEMPLATE)
        close_template(aml, f.start);
    else
        vacpi_aml_insert_length(aml, f.start);
    if (f.kind == VACPI_FRAME_IF)
        vacpi_aml_top(aml)->after_if = aml->out.len;
}
