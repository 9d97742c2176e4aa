/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* AML builder: bytes by hand, by iasl and by acpiexec. */
#include <errno.h>

#include "acpica_test.h"

static struct vacpi_aml aml;

static void clean(void)
{
    vacpi_aml_free(&aml);
}

TestSuite(aml, .fini = clean);

/* Ends the builder and compares all its bytes. */
static void bytes_are(const void *expected, size_t len)
{
    struct vm_buffer code = { 0 };

    cr_assert_eq(vacpi_aml_finish(&aml, &code), 0, "%s", vm_error_text());
    cr_assert_eq(code.len, len, "%zu bytes", code.len);
    cr_assert_eq(memcmp(code.data, expected, len), 0);
    vm_buffer_free(&code);
}
#define BYTES_ARE(...) \
    bytes_are((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void fails_with(int code, const char *text)
{
    struct vm_buffer out = { 0 };

    cr_assert_eq(vacpi_aml_finish(&aml, &out), code);
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    cr_assert_null(out.data);
    cr_assert_eq(aml.error.code, 0, "the builder is zeroed");
}

Test(aml, an_integer_takes_the_shortest_form)
{
    static const uint64_t values[] = { 0,         1,       2,          0xff,       0x100,
                                       0xffff,    0x10000, 0xffffffff, 1ULL << 32, UINT64_MAX - 1,
                                       UINT64_MAX };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(values); i++)
        vacpi_aml_integer(&aml, values[i]);

    BYTES_ARE(0x00, 0x01, 0x0a, 2, 0x0a, 0xff, 0x0b, 0, 1, 0x0b, 0xff, 0xff, 0x0c, 0, 0, 1, 0, 0x0c,
              0xff, 0xff, 0xff, 0xff, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0, 0x0e, 0xfe, 0xff, 0xff, 0xff,
              0xff, 0xff, 0xff, 0xff, 0xff);
}

Test(aml, a_path_has_prefix_and_filled_segments)
{
    vacpi_aml_path(&aml, "\\");
    vacpi_aml_path(&aml, "^^A");
    vacpi_aml_path(&aml, "\\_SB.PCI0");
    vacpi_aml_path(&aml, "A.B9.CCC");

    BYTES_ARE('\\', 0, '^', '^', 'A', '_', '_', '_', '\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I',
              '0', 0x2f, 3, 'A', '_', '_', '_', 'B', '9', '_', '_', 'C', 'C', 'C', '_');
}

Test(aml, names_that_are_none_are_refused)
{
    static const char *const names[] = { "", "ABCDE", "a", "1A", "A..B", "A.", ".A", "A B", "A^B" };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(names); i++) {
        vacpi_aml_path(&aml, names[i]);
        fails_with(-EINVAL, "AML: ");
    }
}

Test(aml, a_path_of_more_than_255_segments_is_refused)
{
    char path[2 * 256];

    memset(path, 'A', sizeof(path));
    for (unsigned i = 1; i < sizeof(path); i += 2)
        path[i] = '.';
    path[sizeof(path) - 1] = 0;
    vacpi_aml_path(&aml, path);

    fails_with(-EINVAL, "256 segments");
}

Test(aml, ids_are_packed)
{
    vacpi_aml_eisa_id(&aml, "PNP0A08");
    vacpi_aml_uuid(&aml, "33db4d5b-1ff7-401c-9657-7441C03DD766");

    BYTES_ARE(0x0c, 0x41, 0xd0, 0x0a, 0x08, 0x11, 0x13, 0x0a, 0x10, 0x5b, 0x4d, 0xdb, 0x33, 0xf7,
              0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66);
}

Test(aml, ids_that_are_none_are_refused)
{
    static const char *const eisa[] = { "PNP0A0", "PNP0A088", "pnp0A08", "PNP0A0G", "" };
    static const char *const uuids[] = { "33db4d5b-1ff7-401c-9657-7441c03dd76",
                                         "33db4d5b-1ff7-401c-9657x7441c03dd766",
                                         "33db4d5b-1ff7-401c-9657-7441c03dd76g", "" };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(eisa); i++) {
        vacpi_aml_eisa_id(&aml, eisa[i]);
        fails_with(-EINVAL, "EISA");
    }
    for (unsigned i = 0; i < VM_ARRAY_SIZE(uuids); i++) {
        vacpi_aml_uuid(&aml, uuids[i]);
        fails_with(-EINVAL, "UUID");
    }
}

/* The bytes of the length of a scope whose content (name included) has that many bytes. */
static unsigned length_bytes_of(size_t content, size_t *ret_total)
{
    struct vm_buffer code = { 0 };
    struct vacpi_aml *a = &aml;
    unsigned bytes;

    vacpi_aml_scope(a, "ABCD");
    for (size_t i = 4; i < content; i++)
        vacpi_aml_integer(a, 0);
    vacpi_aml_end(a);
    cr_assert_eq(vacpi_aml_finish(a, &code), 0);
    cr_assert_eq(code.data[0], 0x10);
    bytes = 1 + (code.data[1] >> 6);
    *ret_total = bytes == 1 ? code.data[1] & 0x3f : code.data[1] & 0xf;
    for (unsigned i = 1; i < bytes; i++)
        *ret_total |= (size_t)code.data[1 + i] << (4 + 8 * (i - 1));
    cr_assert_eq(code.len, 1 + *ret_total, "the length ends where the code ends");
    cr_assert_eq(memcmp(code.data + 1 + bytes, "ABCD", 4), 0);
    vm_buffer_free(&code);
    return bytes;
}

Test(aml, a_length_has_one_to_four_bytes)
{
    static const struct {
        size_t content;
        unsigned bytes;
    } cases[] = { { 4, 1 },     { 62, 1 },    { 63, 2 },      { 64, 2 },     { 0xffd, 2 },
                  { 0xffe, 3 }, { 0xfff, 3 }, { 0xffffc, 3 }, { 0xffffd, 4 } };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(cases); i++) {
        size_t total;
        unsigned bytes = length_bytes_of(cases[i].content, &total);

        cr_assert_eq(bytes, cases[i].bytes, "content %zu: %u bytes", cases[i].content, bytes);
        cr_assert_eq(total, cases[i].content + bytes);
    }
}

Test(aml, buffers_of_every_length_class_compile_the_same)
{
    static const size_t sizes[] = { 0, 1, 2, 58, 59, 60, 61, 255, 256, 4080, 4090, 4095, 5000 };
    static uint8_t data[5000];
    char name[] = "BUF0";

    memset(data, 0xa5, sizeof(data));
    for (unsigned i = 0; i < VM_ARRAY_SIZE(sizes); i++) {
        name[3] = (char)('A' + i);
        vacpi_aml_name(&aml, name);
        vacpi_aml_buffer(&aml, data, sizes[i]);
    }

    HOLDS(check_aml(&aml, "evaluate \\BUFL", "Length FFF"), "Buffer (0x1388)");
}

Test(aml, objects_and_strings_compile_the_same)
{
    vacpi_aml_scope(&aml, "\\_SB");
    vacpi_aml_device(&aml, "DEV0");
    vacpi_aml_name_id(&aml, "_HID", "PNP0C02");
    vacpi_aml_name_id(&aml, "_CID", "ACPI0013");
    vacpi_aml_name_string(&aml, "TEXT", "some text");
    vacpi_aml_name_integer(&aml, "NUMB", 0x123456789abcdef0);
    vacpi_aml_name(&aml, "UUID");
    vacpi_aml_uuid(&aml, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    vacpi_aml_end(&aml);
    vacpi_aml_end(&aml);

    HOLDS(check_aml(&aml, "evaluate \\_SB.DEV0.NUMB", "123456789ABCDEF0"), "EisaId (\"PNP0C02\")",
          "\"ACPI0013\"", "\"some text\"", "ToUUID (\"33db4d5b-1ff7-401c-9657-7441c03dd766\")");
}

Test(aml, packages_nest_and_count)
{
    vacpi_aml_name_integer(&aml, "ITEM", 5);
    vacpi_aml_name(&aml, "PACK");
    vacpi_aml_package(&aml);
    vacpi_aml_integer(&aml, 7);
    vacpi_aml_package(&aml);
    vacpi_aml_string(&aml, "a");
    vacpi_aml_path(&aml, "ITEM");
    vacpi_aml_end(&aml);
    vacpi_aml_package(&aml);
    vacpi_aml_end(&aml);
    vacpi_aml_end(&aml);

    HOLDS(check_aml(&aml, "evaluate \\PACK", "Contains 3 Elements"), "Package (0x03)",
          "Package (0x02)", "Package (0x00)");
}

Test(aml, a_package_of_more_than_255_elements_is_a_var_package)
{
    vacpi_aml_name(&aml, "PACK");
    vacpi_aml_package(&aml);
    for (unsigned i = 0; i < 300; i++)
        vacpi_aml_integer(&aml, i);
    vacpi_aml_end(&aml);

    HOLDS(check_aml(&aml, "evaluate \\PACK", "Contains 300 Elements"), "Package (0x012C)");
}

/* Method (name, 2) { Return (op (Arg0, Arg1)) } */
static void put_binary(const char *name, enum vacpi_op op, bool has_target)
{
    vacpi_aml_method(&aml, name, 2, false);
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_op(&aml, op);
    vacpi_aml_arg(&aml, 0);
    vacpi_aml_arg(&aml, 1);
    if (has_target)
        vacpi_aml_nowhere(&aml);
    vacpi_aml_end(&aml);
}

/* Executes all commands on the builder's DSDT: one result each, in their order. */
static void results_are(const char *commands, const char *const *results, unsigned count)
{
    struct vacpi_image image = image_of(&aml);
    size_t len;
    const uint8_t *dsdt = table_of(&image, "DSDT", 0, &len);
    char *text = acpiexec(dsdt, len, commands);
    char *at = text;

    iasl_check(dsdt, len);
    for (unsigned i = 0; i < count; i++) {
        at = strstr(at, "[Integer] = ");
        cr_assert_not_null(at, "%s", text);
        at += strlen("[Integer] = ");
        cr_assert_eq(memcmp(at, results[i], strlen(results[i])), 0, "result %u is not %s: %s", i,
                     results[i], text);
    }
    free(text);
    vacpi_image_free(&image);
}

Test(aml, operators_of_two_operands_compute)
{
    static const struct {
        enum vacpi_op op;
        bool has_target;
        const char *result; /* of 0x1cd and 6 */
    } cases[] = {
        { VACPI_ADD, true, "00000000000001D3" },
        { VACPI_SUBTRACT, true, "00000000000001C7" },
        { VACPI_MULTIPLY, true, "0000000000000ACE" },
        { VACPI_MOD, true, "0000000000000005" },
        { VACPI_AND, true, "0000000000000004" },
        { VACPI_OR, true, "00000000000001CF" },
        { VACPI_XOR, true, "00000000000001CB" },
        { VACPI_SHIFT_LEFT, true, "0000000000007340" },
        { VACPI_SHIFT_RIGHT, true, "0000000000000007" },
        { VACPI_LAND, false, "FFFFFFFFFFFFFFFF" },
        { VACPI_LOR, false, "FFFFFFFFFFFFFFFF" },
        { VACPI_LEQUAL, false, "0000000000000000" },
        { VACPI_LNOT_EQUAL, false, "FFFFFFFFFFFFFFFF" },
        { VACPI_LGREATER, false, "FFFFFFFFFFFFFFFF" },
        { VACPI_LGREATER_EQUAL, false, "FFFFFFFFFFFFFFFF" },
        { VACPI_LLESS, false, "0000000000000000" },
        { VACPI_LLESS_EQUAL, false, "0000000000000000" },
    };
    const char *results[VM_ARRAY_SIZE(cases)];
    char commands[1024] = "";

    for (unsigned i = 0; i < VM_ARRAY_SIZE(cases); i++) {
        char name[] = { 'O', 'P', '_', (char)('A' + i), 0 };

        put_binary(name, cases[i].op, cases[i].has_target);
        sprintf(commands + strlen(commands), "%sevaluate \\%s 0x1cd 6", i ? ";" : "", name);
        results[i] = cases[i].result;
    }

    results_are(commands, results, VM_ARRAY_SIZE(cases));
}

Test(aml, comparisons_that_include_equality_are_true_for_equal_values)
{
    static const char *const results[] = { "FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFF" };

    put_binary("MORE", VACPI_LGREATER_EQUAL, false);
    put_binary("LESS", VACPI_LLESS_EQUAL, false);

    results_are("evaluate \\MORE 6 6;evaluate \\LESS 6 6", results, 2);
}

/* While (LLess (Local0, Arg0)) { Increment, Add, If (..) { Break } Else { Continue } } */
Test(aml, loops_and_branches_run)
{
    vacpi_aml_method(&aml, "LOOP", 1, false);
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_integer(&aml, 0);
    vacpi_aml_local(&aml, 0);
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_integer(&aml, 0);
    vacpi_aml_local(&aml, 1);
    vacpi_aml_while(&aml);
    vacpi_aml_op(&aml, VACPI_LLESS);
    vacpi_aml_local(&aml, 0);
    vacpi_aml_arg(&aml, 0);
    vacpi_aml_op(&aml, VACPI_INCREMENT);
    vacpi_aml_local(&aml, 0);
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_local(&aml, 1);
    vacpi_aml_local(&aml, 0);
    vacpi_aml_local(&aml, 1);
    vacpi_aml_if(&aml);
    vacpi_aml_op(&aml, VACPI_LEQUAL);
    vacpi_aml_local(&aml, 0);
    vacpi_aml_integer(&aml, 4);
    vacpi_aml_op(&aml, VACPI_BREAK);
    vacpi_aml_end(&aml);
    vacpi_aml_else(&aml);
    vacpi_aml_op(&aml, VACPI_CONTINUE);
    vacpi_aml_end(&aml);
    vacpi_aml_end(&aml);
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_local(&aml, 1);
    vacpi_aml_end(&aml);

    free(check_aml(&aml, "evaluate \\LOOP 100", "000000000000000A"));
}

/* A buffer with fields over it, a mutex that is free, and time that passes. */
static void add_fields_and_waits(void)
{
    vacpi_aml_name(&aml, "BUFF");
    vacpi_aml_buffer(&aml, "\x10\x20\x30\x40\x50\x60\x70\x08", 8);
    vacpi_aml_mutex(&aml, "MUTX");
    vacpi_aml_method(&aml, "TEST", 0, true);
    vacpi_aml_op(&aml, VACPI_CREATE_BYTE_FIELD);
    vacpi_aml_path(&aml, "BUFF");
    vacpi_aml_integer(&aml, 0);
    vacpi_aml_path(&aml, "F8");
    vacpi_aml_op(&aml, VACPI_CREATE_WORD_FIELD);
    vacpi_aml_path(&aml, "BUFF");
    vacpi_aml_integer(&aml, 1);
    vacpi_aml_path(&aml, "F16");
    vacpi_aml_op(&aml, VACPI_CREATE_QWORD_FIELD);
    vacpi_aml_path(&aml, "BUFF");
    vacpi_aml_integer(&aml, 0);
    vacpi_aml_path(&aml, "F64");
    vacpi_aml_if(&aml);
    vacpi_aml_acquire(&aml, "MUTX", 0xffff);
    vacpi_aml_return_integer(&aml, 0xbad);
    vacpi_aml_end(&aml);
    vacpi_aml_op(&aml, VACPI_SLEEP);
    vacpi_aml_integer(&aml, 1);
    vacpi_aml_op(&aml, VACPI_STALL);
    vacpi_aml_integer(&aml, 1);
    vacpi_aml_release(&aml, "MUTX");
}

/* Local1 = 8, Local3 = ~(0x3020 / 8), Local4 and Local5 references, Local6 = 0x1000, Local7 a buffer of 8. */
static void add_conversions(void)
{
    vacpi_aml_op(&aml, VACPI_STORE); /* Local0 = 7 (size - 1) */
    vacpi_aml_op(&aml, VACPI_SIZE_OF);
    vacpi_aml_path(&aml, "BUFF");
    vacpi_aml_local(&aml, 0);
    vacpi_aml_op(&aml, VACPI_DECREMENT);
    vacpi_aml_local(&aml, 0);
    vacpi_aml_op(&aml, VACPI_STORE); /* Local1 = BUFF[7] = 8 */
    vacpi_aml_op(&aml, VACPI_DEREF_OF);
    vacpi_aml_op(&aml, VACPI_INDEX);
    vacpi_aml_path(&aml, "BUFF");
    vacpi_aml_local(&aml, 0);
    vacpi_aml_nowhere(&aml);
    vacpi_aml_local(&aml, 1);
    vacpi_aml_op(&aml, VACPI_DIVIDE); /* 0x3020 / 8 = 0x604 */
    vacpi_aml_path(&aml, "F16");
    vacpi_aml_local(&aml, 1);
    vacpi_aml_local(&aml, 2);
    vacpi_aml_local(&aml, 3);
    vacpi_aml_op(&aml, VACPI_NOT);
    vacpi_aml_local(&aml, 3);
    vacpi_aml_local(&aml, 3);
    vacpi_aml_if(&aml);
    vacpi_aml_op(&aml, VACPI_LNOT);
    vacpi_aml_op(&aml, VACPI_COND_REF_OF);
    vacpi_aml_path(&aml, "BUFF");
    vacpi_aml_local(&aml, 4);
    vacpi_aml_return_integer(&aml, 0xbad);
    vacpi_aml_end(&aml);
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_op(&aml, VACPI_REF_OF);
    vacpi_aml_path(&aml, "F8");
    vacpi_aml_local(&aml, 5);
    vacpi_aml_op(&aml, VACPI_TO_INTEGER);
    vacpi_aml_op(&aml, VACPI_CONCATENATE);
    vacpi_aml_string(&aml, "0x");
    vacpi_aml_string(&aml, "1000");
    vacpi_aml_nowhere(&aml);
    vacpi_aml_local(&aml, 6);
    vacpi_aml_op(&aml, VACPI_TO_BUFFER);
    vacpi_aml_local(&aml, 6);
    vacpi_aml_local(&aml, 7);
    vacpi_aml_op(&aml, VACPI_STORE); /* the byte 0x10 becomes 0x99 in F64 */
    vacpi_aml_integer(&aml, 0x99);
    vacpi_aml_path(&aml, "F8");
}

/* The sum of all that was computed. */
static void add_sum(void)
{
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_path(&aml, "F64"); /* 0x0870605040302099 */
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_local(&aml, 3); /* ~0x604 */
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_local(&aml, 6); /* 0x1000 */
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_local(&aml, 2); /* 0 */
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_op(&aml, VACPI_DEREF_OF);
    vacpi_aml_local(&aml, 5); /* 0x99 */
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_op(&aml, VACPI_SIZE_OF);
    vacpi_aml_op(&aml, VACPI_DEREF_OF);
    vacpi_aml_local(&aml, 4); /* 8 */
    vacpi_aml_op(&aml, VACPI_SIZE_OF);
    vacpi_aml_local(&aml, 7); /* 8 */
    for (unsigned i = 0; i < 6; i++)
        vacpi_aml_nowhere(&aml);
    vacpi_aml_end(&aml);
}

/* Every other operator once, with a result that depends on each. */
Test(aml, the_remaining_operators_compute)
{
    add_fields_and_waits();
    add_conversions();
    add_sum();

    /* 0x0870605040302099 - 0x605 + 0x1000 + 0x99 + 8 + 8 */
    free(check_aml(&aml, "evaluate \\TEST", "0870605040302B3D"));
}

Test(aml, methods_call_each_other)
{
    put_binary("PLUS", VACPI_ADD, true);
    vacpi_aml_method(&aml, "CALL", 0, false);
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_call(&aml, "PLUS", 2);
    vacpi_aml_integer(&aml, 0x40);
    vacpi_aml_call(&aml, "PLUS", 2);
    vacpi_aml_integer(&aml, 2);
    vacpi_aml_integer(&aml, 3);
    vacpi_aml_end(&aml);

    free(check_aml(&aml, "evaluate \\CALL", "0000000000000045"));
}

Test(aml, fields_of_a_region_are_written_and_read)
{
    vacpi_aml_region(&aml, "REGN", VACPI_SPACE_MEMORY, 0x100000, 0x40);
    vacpi_aml_field(&aml, "REGN", VACPI_BYTE_ACC, true, VACPI_PRESERVE);
    vacpi_aml_unit_at(&aml, 2);
    vacpi_aml_unit(&aml, "LOWN", 4);
    vacpi_aml_unit(&aml, NULL, 4);
    vacpi_aml_unit(&aml, "BYTE", 8);
    vacpi_aml_unit_at(&aml, 4);
    vacpi_aml_unit(&aml, "LONG", 384);
    vacpi_aml_end(&aml);
    vacpi_aml_field(&aml, "REGN", VACPI_DWORD_ACC, false, VACPI_WRITE_ZEROS);
    vacpi_aml_unit(&aml, "WHOL", 32);
    vacpi_aml_end(&aml);
    vacpi_aml_method(&aml, "TEST", 0, false);
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_integer(&aml, 5);
    vacpi_aml_path(&aml, "LOWN");
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_integer(&aml, 0xab);
    vacpi_aml_path(&aml, "BYTE");
    vacpi_aml_op(&aml, VACPI_RETURN);
    vacpi_aml_path(&aml, "WHOL");
    vacpi_aml_end(&aml);

    HOLDS(check_aml(&aml, "evaluate \\TEST", "00000000AB050000"),
          "Field (REGN, ByteAcc, Lock, Preserve)", "Field (REGN, DWordAcc, NoLock, WriteAsZeros)",
          "Offset (0x02)");
}

Test(aml, a_field_does_not_go_backwards)
{
    vacpi_aml_region(&aml, "REGN", VACPI_SPACE_IO, 0x600, 8);
    vacpi_aml_field(&aml, "REGN", VACPI_BYTE_ACC, true, VACPI_PRESERVE);
    vacpi_aml_unit(&aml, "BYTE", 8);
    vacpi_aml_unit_at(&aml, 0);

    fails_with(-EINVAL, "offset 0");
}

Test(aml, an_external_object_is_declared)
{
    vacpi_aml_if(&aml);
    vacpi_aml_integer(&aml, 0);
    vacpi_aml_external(&aml, "\\_SB.MTHD", VACPI_OBJECT_METHOD, 1);
    vacpi_aml_end(&aml);
    vacpi_aml_method(&aml, "TEST", 0, false);
    vacpi_aml_call(&aml, "\\_SB.MTHD", 1);
    vacpi_aml_integer(&aml, 1);
    vacpi_aml_end(&aml);

    HOLDS(check_aml(&aml, NULL, NULL), "External (_SB_.MTHD, MethodObj)    // 1 Arguments");
}

Test(aml, an_operand_that_is_missing_is_found_at_the_end_of_its_block)
{
    vacpi_aml_method(&aml, "TEST", 0, false);
    vacpi_aml_op(&aml, VACPI_ADD);
    vacpi_aml_integer(&aml, 1);
    vacpi_aml_end(&aml);

    fails_with(-EINVAL, "2 more operands");
}

Test(aml, an_operand_that_is_missing_is_found_at_the_top_level)
{
    vacpi_aml_name(&aml, "TEST");

    fails_with(-EINVAL, "waits for 1");
}

Test(aml, a_block_that_is_left_open_is_found)
{
    vacpi_aml_scope(&aml, "\\_SB");
    vacpi_aml_device(&aml, "DEV0");
    vacpi_aml_end(&aml);

    fails_with(-EINVAL, "1 blocks are still open");
}

Test(aml, an_end_too_many_is_found)
{
    vacpi_aml_end(&aml);

    fails_with(-EINVAL, "without an open block");
}

Test(aml, a_statement_cannot_be_an_operand)
{
    vacpi_aml_op(&aml, VACPI_STORE);
    vacpi_aml_op(&aml, VACPI_BREAK);

    fails_with(-EINVAL, "statement");
}

Test(aml, an_else_stands_behind_an_if)
{
    vacpi_aml_method(&aml, "TEST", 0, false);
    vacpi_aml_else(&aml);

    fails_with(-EINVAL, "Else");
}

Test(aml, an_else_does_not_stand_behind_a_statement)
{
    vacpi_aml_method(&aml, "TEST", 0, false);
    vacpi_aml_if(&aml);
    vacpi_aml_integer(&aml, 1);
    vacpi_aml_end(&aml);
    vacpi_aml_return_integer(&aml, 1);
    vacpi_aml_else(&aml);

    fails_with(-EINVAL, "Else");
}

Test(aml, a_term_does_not_stand_in_a_template)
{
    vacpi_aml_name(&aml, "_CRS");
    vacpi_aml_template(&aml);
    vacpi_aml_integer(&aml, 1);

    fails_with(-EINVAL, "a term inside");
}

Test(aml, numbers_out_of_range_are_refused)
{
    vacpi_aml_local(&aml, 8);
    fails_with(-EINVAL, "0 to 7");

    vacpi_aml_arg(&aml, 7);
    fails_with(-EINVAL, "0 to 6");

    vacpi_aml_method(&aml, "TEST", 8, false);
    fails_with(-EINVAL, "8 arguments");

    vacpi_aml_call(&aml, "TEST", 8);
    fails_with(-EINVAL, "8 arguments");

    vacpi_aml_external(&aml, "TEST", VACPI_OBJECT_METHOD, 8);
    fails_with(-EINVAL, "8 arguments");

    vacpi_aml_op(&aml, VACPI_OPS);
    fails_with(-EINVAL, "no operator");

    vacpi_aml_unit(&aml, "UNIT", 1);
    fails_with(-EINVAL, "outside a field");

    vacpi_aml_string(&aml, "\xc3\xa4");
    fails_with(-EINVAL, "not ASCII");
}

Test(aml, blocks_nest_to_a_limit)
{
    for (unsigned i = 0; i < VACPI_AML_DEPTH - 1; i++)
        vacpi_aml_scope(&aml, "ABCD");
    cr_assert_eq(aml.error.code, 0);

    vacpi_aml_scope(&aml, "ABCD");

    fails_with(-EINVAL, "more than 31 blocks");
}

Test(aml, the_first_error_stays_and_later_calls_do_nothing)
{
    size_t len;

    vacpi_aml_path(&aml, "wrong");
    len = aml.out.len;
    vacpi_aml_path(&aml, "OKAY");
    vacpi_aml_scope(&aml, "OKAY");
    vacpi_aml_name_string(&aml, "OKAY", "text");
    vacpi_aml_buffer(&aml, "", 1);
    vacpi_aml_mutex(&aml, "OKAY");
    vacpi_aml_acquire(&aml, "OKAY", 0);
    vacpi_aml_external(&aml, "OKAY", VACPI_OBJECT_DEVICE, 0);
    vacpi_aml_region(&aml, "OKAY", VACPI_SPACE_IO, 0, 1);
    vacpi_aml_field(&aml, "OKAY", VACPI_BYTE_ACC, false, VACPI_PRESERVE);
    vacpi_aml_package(&aml);
    vacpi_aml_end(&aml);
    vacpi_aml_fail(&aml, -ENOMEM, "later");
    cr_assert_eq(aml.out.len, len);

    fails_with(-EINVAL, "'wrong'");
}
