/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* AML builder: names, data objects and operators (ACPI 6.5, 20.2.2, 20.2.3, 20.2.5). */
#include <errno.h>
#include <string.h>

#include <vmm/base/le.h>

#include "aml_private.h"

#define EXT 0x5b00 /* ExtOpPrefix */

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_BUFFER = 0x11,
    OP_EXTERNAL = 0x15,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_LOCAL0 = 0x60,
    OP_ARG0 = 0x68,
    OP_ONES = 0xff,
    OP_MUTEX = EXT | 0x01,
    OP_ACQUIRE = EXT | 0x23,
    OP_REGION = EXT | 0x80,
    OP_FIELD = EXT | 0x81,
};

/* -- Names -- */

static bool is_lead(char c)
{
    return (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_segment(const char *s, size_t len)
{
    if (len < 1 || len > 4 || !is_lead(s[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_lead(s[i]) && !(s[i] >= '0' && s[i] <= '9'))
            return false;
    return true;
}

void vacpi_aml_put_segment(struct vacpi_aml *aml, const char *segment, size_t len)
{
    char filled[4] = { '_', '_', '_', '_' };

    if (!is_segment(segment, len)) {
        vacpi_aml_fail(aml, -EINVAL,
                       "AML: name '%s': a segment has 1 to 4 of A-Z, 0-9, _ and no digit first",
                       segment);
        return;
    }
    memcpy(filled, segment, len);
    vacpi_aml_put(aml, filled, sizeof(filled));
}

static size_t count_segments(const char *path)
{
    size_t n = *path != 0;

    for (; *path; path++)
        n += *path == '.';
    return n;
}

void vacpi_aml_put_path(struct vacpi_aml *aml, const char *path)
{
    size_t prefix = path[0] == '\\' ? 1 : strspn(path, "^");
    size_t segments = count_segments(path + prefix);

    if (segments > 255 || (!segments && !prefix)) {
        vacpi_aml_fail(aml, -EINVAL, "AML: a path of %zu segments, 1 to 255 are possible: '%s'",
                       segments, path);
        return;
    }
    vacpi_aml_put(aml, path, prefix);
    if (!segments) {
        vacpi_aml_put_le(aml, 0, 1); /* NullName */
        return;
    }
    if (segments == 2)
        vacpi_aml_put_le(aml, OP_DUAL_NAME, 1);
    else if (segments > 2)
        vacpi_aml_put_le(aml, OP_MULTI_NAME | segments << 8, 2);
    for (const char *s = path + prefix; segments; segments--) {
        size_t len = strcspn(s, ".");

        vacpi_aml_put_segment(aml, s, len);
        s += len + 1;
    }
}

void vacpi_aml_name(struct vacpi_aml *aml, const char *path)
{
    if (!vacpi_aml_statement(aml, 1))
        return;
    vacpi_aml_put_opcode(aml, OP_NAME);
    vacpi_aml_put_path(aml, path);
}

void vacpi_aml_name_integer(struct vacpi_aml *aml, const char *path, uint64_t value)
{
    vacpi_aml_name(aml, path);
    vacpi_aml_integer(aml, value);
}

void vacpi_aml_name_string(struct vacpi_aml *aml, const char *path, const char *ascii)
{
    vacpi_aml_name(aml, path);
    vacpi_aml_string(aml, ascii);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool is_eisa_id(const char *id)
{
    if (strlen(id) != 7)
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (id[i] < 'A' || id[i] > 'Z')
            return false;
    for (unsigned i = 3; i < 7; i++)
        if (hex_value(id[i]) < 0)
            return false;
    return true;
}

void vacpi_aml_name_id(struct vacpi_aml *aml, const char *path, const char *id)
{
    vacpi_aml_name(aml, path);
    if (is_eisa_id(id))
        vacpi_aml_eisa_id(aml, id);
    else
        vacpi_aml_string(aml, id);
}

void vacpi_aml_path(struct vacpi_aml *aml, const char *path)
{
    vacpi_aml_call(aml, path, 0);
}

void vacpi_aml_call(struct vacpi_aml *aml, const char *path, unsigned args)
{
    if (args > 7)
        vacpi_aml_fail(aml, -EINVAL, "AML: call of %s with %u arguments: 7 are possible", path,
                       args);
    if (vacpi_aml_term(aml, args))
        vacpi_aml_put_path(aml, path);
}

static void put_numbered(struct vacpi_aml *aml, unsigned first, unsigned n, unsigned limit)
{
    if (n >= limit)
        vacpi_aml_fail(aml, -EINVAL, "AML: Local or Arg %u: 0 to %u are possible", n, limit - 1);
    if (vacpi_aml_term(aml, 0))
        vacpi_aml_put_le(aml, first + n, 1);
}

void vacpi_aml_local(struct vacpi_aml *aml, unsigned n)
{
    put_numbered(aml, OP_LOCAL0, n, 8);
}

void vacpi_aml_arg(struct vacpi_aml *aml, unsigned n)
{
    put_numbered(aml, OP_ARG0, n, 7);
}

void vacpi_aml_nowhere(struct vacpi_aml *aml)
{
    if (vacpi_aml_term(aml, 0))
        vacpi_aml_put_le(aml, 0, 1); /* NullName */
}

/* -- Data -- */

/* ZeroOp and OneOp are their own values; Ones means 64 bits, since our blocks have revision 2. */
unsigned vacpi_aml_encode_integer(uint64_t value, uint8_t raw[9])
{
    static const struct {
        uint64_t max;
        uint8_t prefix;
        uint8_t bytes;
    } forms[] = {
        { UINT8_MAX, OP_BYTE, 1 },
        { UINT16_MAX, OP_WORD, 2 },
        { UINT32_MAX, OP_DWORD, 4 },
        { UINT64_MAX, OP_QWORD, 8 },
    };
    unsigned i = 0;

    if (value <= 1 || value == UINT64_MAX) {
        raw[0] = value <= 1 ? (uint8_t)value : OP_ONES;
        return 1;
    }
    while (value > forms[i].max)
        i++;
    raw[0] = forms[i].prefix;
    vm_store_le(&raw[1], 8, value);
    return 1u + forms[i].bytes;
}

void vacpi_aml_put_integer(struct vacpi_aml *aml, uint64_t value)
{
    uint8_t raw[9];

    vacpi_aml_put(aml, raw, vacpi_aml_encode_integer(value, raw));
}

void vacpi_aml_integer(struct vacpi_aml *aml, uint64_t value)
{
    if (vacpi_aml_term(aml, 0))
        vacpi_aml_put_integer(aml, value);
}

void vacpi_aml_string(struct vacpi_aml *aml, const char *ascii)
{
    if (!vacpi_aml_term(aml, 0))
        return;
    for (const char *c = ascii; *c; c++)
        if ((unsigned char)*c > 0x7f) {
            vacpi_aml_fail(aml, -EINVAL, "AML: string '%s' is not ASCII", ascii);
            return;
        }
    vacpi_aml_put_le(aml, OP_STRING, 1);
    vacpi_aml_put(aml, ascii, strlen(ascii) + 1);
}

void vacpi_aml_buffer(struct vacpi_aml *aml, const void *data, size_t len)
{
    size_t start;

    if (!vacpi_aml_term(aml, 0))
        return;
    vacpi_aml_put_le(aml, OP_BUFFER, 1);
    start = aml->out.len;
    vacpi_aml_put_integer(aml, len);
    vacpi_aml_put(aml, data, len);
    vacpi_aml_insert_length(aml, start);
}

/* Three letters of 5 bits, then 16 bits of product: big endian, in a DWord that is little
 * endian. */
void vacpi_aml_eisa_id(struct vacpi_aml *aml, const char *id)
{
    unsigned vendor = 0;
    unsigned product = 0;
    uint8_t raw[5] = { OP_DWORD };

    if (!is_eisa_id(id)) {
        vacpi_aml_fail(aml, -EINVAL, "AML: EISA id '%s': three capitals and four digits", id);
        return;
    }
    for (unsigned i = 0; i < 3; i++)
        vendor = vendor << 5 | (unsigned)(id[i] - 'A' + 1);
    for (unsigned i = 3; i < 7; i++)
        product = product << 4 | (unsigned)hex_value(id[i]);
    raw[1] = (uint8_t)(vendor >> 8);
    raw[2] = (uint8_t)vendor;
    raw[3] = (uint8_t)(product >> 8);
    raw[4] = (uint8_t)product;
    if (vacpi_aml_term(aml, 0))
        vacpi_aml_put(aml, raw, sizeof(raw));
}

/* The first three groups are stored with their lowest byte first. */
void vacpi_aml_uuid(struct vacpi_aml *aml, const char *uuid)
{
    static const uint8_t places[16] = { 6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34 };
    uint8_t raw[16];
    bool good = strlen(uuid) == 36 && uuid[8] == '-' && uuid[13] == '-' && uuid[18] == '-' &&
                uuid[23] == '-';

    for (unsigned i = 0; good && i < sizeof(raw); i++) {
        int high = hex_value(uuid[places[i]]);
        int low = hex_value(uuid[places[i] + 1]);

        good = high >= 0 && low >= 0;
        if (good)
            raw[i] = (uint8_t)(high << 4 | low);
    }
    if (!good) {
        vacpi_aml_fail(aml, -EINVAL, "AML: '%s' is no UUID", uuid);
        return;
    }
    vacpi_aml_buffer(aml, raw, sizeof(raw));
}

/* -- Operators -- */

void vacpi_aml_op(struct vacpi_aml *aml, enum vacpi_op op)
{
    /* LNotEqual, LGreaterEqual and LLessEqual are LNot (0x92) of the opposite. */
    static const struct {
        uint16_t code;
        uint8_t operands;
        bool statement;
    } ops[VACPI_OPS] = {
        [VACPI_STORE] = { 0x70, 2, false },
        [VACPI_ADD] = { 0x72, 3, false },
        [VACPI_SUBTRACT] = { 0x74, 3, false },
        [VACPI_MULTIPLY] = { 0x77, 3, false },
        [VACPI_DIVIDE] = { 0x78, 4, false },
        [VACPI_MOD] = { 0x85, 3, false },
        [VACPI_AND] = { 0x7b, 3, false },
        [VACPI_OR] = { 0x7d, 3, false },
        [VACPI_XOR] = { 0x7f, 3, false },
        [VACPI_NOT] = { 0x80, 2, false },
        [VACPI_SHIFT_LEFT] = { 0x79, 3, false },
        [VACPI_SHIFT_RIGHT] = { 0x7a, 3, false },
        [VACPI_INCREMENT] = { 0x75, 1, false },
        [VACPI_DECREMENT] = { 0x76, 1, false },
        [VACPI_LAND] = { 0x90, 2, false },
        [VACPI_LOR] = { 0x91, 2, false },
        [VACPI_LNOT] = { 0x92, 1, false },
        [VACPI_LEQUAL] = { 0x93, 2, false },
        [VACPI_LNOT_EQUAL] = { 0x9293, 2, false },
        [VACPI_LGREATER] = { 0x94, 2, false },
        [VACPI_LGREATER_EQUAL] = { 0x9295, 2, false },
        [VACPI_LLESS] = { 0x95, 2, false },
        [VACPI_LLESS_EQUAL] = { 0x9294, 2, false },
        [VACPI_NOTIFY] = { 0x86, 2, true },
        [VACPI_RETURN] = { 0xa4, 1, true },
        [VACPI_BREAK] = { 0xa5, 0, true },
        [VACPI_CONTINUE] = { 0x9f, 0, true },
        [VACPI_SIZE_OF] = { 0x87, 1, false },
        [VACPI_INDEX] = { 0x88, 3, false },
        [VACPI_DEREF_OF] = { 0x83, 1, false },
        [VACPI_REF_OF] = { 0x71, 1, false },
        [VACPI_COND_REF_OF] = { EXT | 0x12, 2, false },
        [VACPI_CONCATENATE] = { 0x73, 3, false },
        [VACPI_TO_INTEGER] = { 0x99, 2, false },
        [VACPI_TO_BUFFER] = { 0x96, 2, false },
        [VACPI_CREATE_BYTE_FIELD] = { 0x8c, 3, true },
        [VACPI_CREATE_WORD_FIELD] = { 0x8b, 3, true },
        [VACPI_CREATE_DWORD_FIELD] = { 0x8a, 3, true },
        [VACPI_CREATE_QWORD_FIELD] = { 0x8f, 3, true },
        [VACPI_RELEASE] = { EXT | 0x27, 1, true },
        [VACPI_SLEEP] = { EXT | 0x22, 1, true },
        [VACPI_STALL] = { EXT | 0x21, 1, true },
    };

    if (op >= VACPI_OPS) {
        vacpi_aml_fail(aml, -EINVAL, "AML: there is no operator %u", (unsigned)op);
        return;
    }
    if (ops[op].statement ? vacpi_aml_statement(aml, ops[op].operands)
                          : vacpi_aml_term(aml, ops[op].operands))
        vacpi_aml_put_opcode(aml, ops[op].code);
}

void vacpi_aml_return_integer(struct vacpi_aml *aml, uint64_t value)
{
    vacpi_aml_op(aml, VACPI_RETURN);
    vacpi_aml_integer(aml, value);
}

void vacpi_aml_notify(struct vacpi_aml *aml, const char *path, uint64_t value)
{
    vacpi_aml_op(aml, VACPI_NOTIFY);
    vacpi_aml_path(aml, path);
    vacpi_aml_integer(aml, value);
}

void vacpi_aml_mutex(struct vacpi_aml *aml, const char *path)
{
    if (!vacpi_aml_statement(aml, 0))
        return;
    vacpi_aml_put_opcode(aml, OP_MUTEX);
    vacpi_aml_put_path(aml, path);
    vacpi_aml_put_le(aml, 0, 1); /* SyncFlags */
}

void vacpi_aml_acquire(struct vacpi_aml *aml, const char *path, uint16_t timeout)
{
    if (!vacpi_aml_term(aml, 0))
        return;
    vacpi_aml_put_opcode(aml, OP_ACQUIRE);
    vacpi_aml_put_path(aml, path);
    vacpi_aml_put_le(aml, timeout, 2);
}

void vacpi_aml_release(struct vacpi_aml *aml, const char *path)
{
    vacpi_aml_op(aml, VACPI_RELEASE);
    vacpi_aml_path(aml, path);
}

void vacpi_aml_external(struct vacpi_aml *aml, const char *path, enum vacpi_object type,
                        unsigned args)
{
    if (args > 7)
        vacpi_aml_fail(aml, -EINVAL, "AML: external %s with %u arguments: 7 are possible", path,
                       args);
    if (!vacpi_aml_statement(aml, 0))
        return;
    vacpi_aml_put_opcode(aml, OP_EXTERNAL);
    vacpi_aml_put_path(aml, path);
    vacpi_aml_put_le(aml, (unsigned)type, 1);
    vacpi_aml_put_le(aml, args, 1);
}

/* -- Regions and fields -- */

void vacpi_aml_region(struct vacpi_aml *aml, const char *path, enum vacpi_space space,
                      uint64_t address, uint64_t len)
{
    if (!vacpi_aml_statement(aml, 0))
        return;
    vacpi_aml_put_opcode(aml, OP_REGION);
    vacpi_aml_put_path(aml, path);
    vacpi_aml_put_le(aml, (unsigned)space, 1);
    vacpi_aml_put_integer(aml, address);
    vacpi_aml_put_integer(aml, len);
}

/* FieldFlags (20.2.5.2): bits 0 to 3 access, bit 4 lock, bits 5 and 6 update rule. */
void vacpi_aml_field(struct vacpi_aml *aml, const char *region, enum vacpi_access access, bool lock,
                     enum vacpi_update update)
{
    size_t start;

    if (!vacpi_aml_statement(aml, 0))
        return;
    vacpi_aml_put_opcode(aml, OP_FIELD);
    start = aml->out.len;
    vacpi_aml_put_path(aml, region);
    vacpi_aml_put_le(aml, (unsigned)access | (lock ? 1u << 4 : 0u) | (unsigned)update << 5, 1);
    vacpi_aml_push(aml, VACPI_FRAME_FIELD, start, 0);
}

/* NamedField or ReservedField; the frame counts the bits. */
void vacpi_aml_unit(struct vacpi_aml *aml, const char *name, uint32_t bits)
{
    struct vacpi_aml_frame *f = vacpi_aml_top(aml);

    if (f->kind != VACPI_FRAME_FIELD || bits > UINT32_MAX - f->count) {
        vacpi_aml_fail(aml, -EINVAL, "AML: unit %s of %u bits outside a field, or too far",
                       name ? name : "(unnamed)", bits);
        return;
    }
    f->count += bits;
    if (name)
        vacpi_aml_put_segment(aml, name, strlen(name));
    else
        vacpi_aml_put_le(aml, 0, 1);
    vacpi_aml_put_length(aml, bits);
}

void vacpi_aml_unit_at(struct vacpi_aml *aml, uint32_t byte)
{
    uint64_t bit = (uint64_t)byte * 8;
    uint32_t here = vacpi_aml_top(aml)->count;

    if (bit < here || bit > UINT32_MAX)
        vacpi_aml_fail(aml, -EINVAL, "AML: offset %u of a field lies before bit %u or too far",
                       byte, here);
    else if (bit > here)
        vacpi_aml_unit(aml, NULL, (uint32_t)(bit - here));
}
