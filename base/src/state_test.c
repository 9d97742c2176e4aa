/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The state codec: its bytes, its round trip, and what it refuses. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/base/state.h>

struct point {
    uint32_t x;
    bool on;
};

struct sample {
    uint8_t u8;
    bool flag;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    uint8_t fixed[4];
    uint32_t text_len;
    uint8_t text[8];
    struct point at;
    uint32_t points_len;
    struct point points[3];
    uint32_t newer;
};

static const struct vm_state_field point_fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct point, x) },
    { .tag = 2, .type = VM_STATE_BOOL, .offset = offsetof(struct point, on) },
    { 0 },
};

static const struct vm_state_field sample_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct sample, u8) },
    { .tag = 2, .type = VM_STATE_BOOL, .offset = offsetof(struct sample, flag) },
    { .tag = 3, .type = VM_STATE_U16, .offset = offsetof(struct sample, u16) },
    { .tag = 4, .type = VM_STATE_U32, .offset = offsetof(struct sample, u32) },
    { .tag = 5, .type = VM_STATE_U64, .offset = offsetof(struct sample, u64) },
    { .tag = 6, .type = VM_STATE_BYTES, .offset = offsetof(struct sample, fixed), .max = 4 },
    { .tag = 7,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct sample, text),
      .max = 8,
      .count_offset = offsetof(struct sample, text_len) },
    { .tag = 8,
      .type = VM_STATE_STRUCT,
      .offset = offsetof(struct sample, at),
      .fields = point_fields },
    { .tag = 9,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct sample, points),
      .max = 3,
      .count_offset = offsetof(struct sample, points_len),
      .element_size = sizeof(struct point),
      .fields = point_fields },
    { .tag = 10, .type = VM_STATE_U32, .since = 2, .offset = offsetof(struct sample, newer) },
    { 0 },
};

/* A table of one row, to look at single fields. */
struct one {
    bool flag;
    uint32_t len; /* not first: a count_offset of 0 means a fixed length */
    uint8_t bytes[4];
};
static const struct vm_state_field one_flag[] = {
    { .tag = 1, .type = VM_STATE_BOOL, .offset = offsetof(struct one, flag) },
    { 0 },
};
static const struct vm_state_field one_bytes[] = {
    { .tag = 1,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct one, bytes),
      .max = 4,
      .count_offset = offsetof(struct one, len) },
    { 0 },
};

static const struct sample full = {
    .u8 = 0x12,
    .flag = true,
    .u16 = 0x3456,
    .u32 = 0x789abcde,
    .u64 = 0x0123456789abcdef,
    .fixed = { 1, 2, 3, 4 },
    .text_len = 3,
    .text = "abc",
    .at = { 7, true },
    .points_len = 2,
    .points = { { 8, false }, { 9, true } },
    .newer = 99,
};

static int load(const struct vm_state_field *fields, uint16_t version, const struct vm_buffer *b,
                struct sample *s)
{
    return vm_state_load(fields, version, b->data, b->len, s, sizeof(*s));
}

Test(state, section_has_the_documented_bytes)
{
    static const uint8_t wanted[] = { 1, 0, 0,
                                      0, 9, 0,
                                      0, 0, /* version 1, 9 bytes of fields */
                                      1, 0, VM_STATE_BOOL,
                                      0, 1, 0,
                                      0, 0, 1 };
    struct one one = { .flag = true };
    struct vm_buffer b = { 0 };

    int rc = vm_state_save(one_flag, 1, &one, &b);

    cr_assert_eq(rc, 0);
    cr_assert_eq(b.len, sizeof(wanted));
    cr_assert_arr_eq(b.data, wanted, sizeof(wanted));
    vm_buffer_free(&b);
}

Test(state, every_type_comes_back)
{
    struct sample got = { 0 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_state_save(sample_fields, 2, &full, &b), 0);

    int rc = load(sample_fields, 2, &b, &got);

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_eq(got.u8, full.u8);
    cr_assert_eq(got.flag, true);
    cr_assert_eq(got.u16, full.u16);
    cr_assert_eq(got.u32, full.u32);
    cr_assert_eq(got.u64, full.u64);
    cr_assert_arr_eq(got.fixed, full.fixed, 4);
    cr_assert_eq(got.text_len, 3);
    cr_assert_arr_eq(got.text, full.text, 8);
    cr_assert_eq(got.at.x, 7);
    cr_assert_eq(got.points_len, 2);
    cr_assert_eq(got.points[1].x, 9);
    cr_assert_eq(got.points[1].on, true);
    cr_assert_eq(got.newer, 99);
    vm_buffer_free(&b);
}

Test(state, save_of_what_was_loaded_gives_equal_bytes)
{
    struct sample got;
    struct vm_buffer first = { 0 }, second = { 0 };
    memset(&got, 0xff, sizeof(got));
    cr_assert_eq(vm_state_save(sample_fields, 2, &full, &first), 0);
    cr_assert_eq(load(sample_fields, 2, &first, &got), 0);

    int rc = vm_state_save(sample_fields, 2, &got, &second);

    cr_assert_eq(rc, 0);
    cr_assert_eq(first.len, second.len);
    cr_assert_arr_eq(first.data, second.data, first.len);
    vm_buffer_free(&first);
    vm_buffer_free(&second);
}

Test(state, what_lies_behind_a_loaded_length_is_zero)
{
    struct sample got;
    struct vm_buffer b = { 0 };
    memset(&got, 0xff, sizeof(got));
    cr_assert_eq(vm_state_save(sample_fields, 2, &full, &b), 0);

    cr_assert_eq(load(sample_fields, 2, &b, &got), 0);

    cr_assert_eq(got.text[3], 0);
    cr_assert_eq(got.points[2].x, 0);
    vm_buffer_free(&b);
}

Test(state, sections_stand_one_behind_the_other)
{
    struct one one = { .flag = true };
    struct vm_buffer b = { 0 };

    cr_assert_eq(vm_state_save(one_flag, 1, &one, &b), 0);
    cr_assert_eq(vm_state_save(one_flag, 1, &one, &b), 0);

    cr_assert_eq(b.len, 34);
    cr_assert_arr_eq(b.data, b.data + 17, 17);
    vm_buffer_free(&b);
}

/* The rows of version 1, as a program of that time had them. */
static void old_table(struct vm_state_field ret_fields[static 10])
{
    memcpy(ret_fields, sample_fields, 9 * sizeof(*ret_fields));
    memset(&ret_fields[9], 0, sizeof(*ret_fields));
}

Test(state, older_section_keeps_the_default_of_a_newer_field)
{
    struct vm_state_field old[10];
    struct sample got = { .newer = 5 };
    struct vm_buffer b = { 0 };
    old_table(old);
    cr_assert_eq(vm_state_save(old, 1, &full, &b), 0);

    int rc = load(sample_fields, 2, &b, &got);

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_eq(got.newer, 5);
    cr_assert_eq(got.u8, full.u8);
    vm_buffer_free(&b);
}

Test(state, section_of_a_newer_version_is_refused)
{
    struct vm_state_field old[10];
    struct sample got = { 0 };
    struct vm_buffer b = { 0 };
    old_table(old);
    cr_assert_eq(vm_state_save(sample_fields, 2, &full, &b), 0);

    int rc = load(old, 1, &b, &got);

    cr_assert_eq(rc, -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "version 2"), "%s", vm_error_text());
    vm_buffer_free(&b);
}

Test(state, field_of_a_newer_version_inside_an_older_section_is_refused)
{
    struct sample got = { 0 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_state_save(sample_fields, 2, &full, &b), 0);
    b.data[0] = 1;

    int rc = load(sample_fields, 2, &b, &got);

    cr_assert_eq(rc, -EPROTO);
    cr_assert_str_eq(vm_error_text(), "state: tag 10 is unknown in version 1");
    vm_buffer_free(&b);
}

Test(state, missing_field_is_refused)
{
    struct vm_state_field old[10];
    struct sample got = { 0 };
    struct vm_buffer b = { 0 };
    old_table(old);
    cr_assert_eq(vm_state_save(old, 2, &full, &b), 0);

    int rc = load(sample_fields, 2, &b, &got);

    cr_assert_eq(rc, -EPROTO);
    cr_assert_str_eq(vm_error_text(), "state: tag 10 is missing");
    vm_buffer_free(&b);
}

/* A section of version 1 around the given fields. */
static int load_raw(const struct vm_state_field *fields, const void *raw, size_t len,
                    struct one *one)
{
    uint8_t section[64] = { 1 };

    vm_store_le(section + 4, 4, len);
    memcpy(section + 8, raw, len);
    return vm_state_load(fields, 1, section, 8 + len, one, sizeof(*one));
}

struct bad {
    const char *name, *text;
    const struct vm_state_field *fields;
    size_t len;
    uint8_t raw[32];
};

static const struct bad bad[] = {
    { "unknown tag", "state: tag 2 is unknown in version 1", one_flag, 9, { 2, 0, 5, 0, 1 } },
    { "wrong type", "state: tag 1 has type 1, 5 is right", one_flag, 9, { 1, 0, 1, 0, 1 } },
    { "reserved byte", "state: byte 16: a reserved byte is not 0", one_flag, 9, { 1, 0, 5, 1, 1 } },
    { "bool of 2",
      "state: tag 1: bool is 2, only 0 and 1 are right",
      one_flag,
      9,
      { 1, 0, 5, 0, 1, 0, 0, 0, 2 } },
    { "scalar too long",
      "state: tag 1 has 2 bytes, 1 are right",
      one_flag,
      10,
      { 1, 0, 5, 0, 2, 0, 0, 0, 1, 1 } },
    { "length beyond the section",
      "state: byte 16: a length goes beyond its container",
      one_flag,
      9,
      { 1, 0, 5, 0, 255, 255, 255, 255, 1 } },
    { "header cut off", "state: byte 8: a field's header is cut off", one_flag, 5, { 1, 0, 5 } },
    { "twice",
      "state: tag 1 stands there twice",
      one_flag,
      18,
      { 1, 0, 5, 0, 1, 0, 0, 0, 1, 1, 0, 5, 0, 1, 0, 0, 0, 1 } },
    { "too many bytes",
      "state: tag 1 holds 5, at most 4 are right",
      one_bytes,
      13,
      { 1, 0, 6, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5 } },
    { "nothing", "state: tag 1 is missing", one_flag, 0, { 0 } },
};

Test(state, broken_fields_are_refused_and_change_nothing)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct one one = { .len = 1, .flag = true };

        int rc = load_raw(bad[i].fields, bad[i].raw, bad[i].len, &one);

        cr_assert_eq(rc, -EPROTO, "%s", bad[i].name);
        cr_assert_str_eq(vm_error_text(), bad[i].text, "%s: %s", bad[i].name, vm_error_text());
        cr_assert(one.flag && one.len == 1, "%s", bad[i].name);
    }
}

struct many {
    uint32_t first, len;
    struct point points[2];
};
static const struct vm_state_field many_fields[] = {
    { .tag = 1,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct many, points),
      .max = 2,
      .count_offset = offsetof(struct many, len),
      .element_size = sizeof(struct point),
      .fields = point_fields },
    { 0 },
};

Test(state, list_of_any_cut_is_refused)
{
    struct many many = { .len = 2 }, got = { 0 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_state_save(many_fields, 1, &many, &b), 0);

    for (size_t cut = 0; cut < b.len; cut++) {
        uint8_t copy[128];

        memcpy(copy, b.data, cut);
        if (cut >= 8)
            vm_store_le(copy + 4, 4, cut - 8);
        if (cut >= 16)
            vm_store_le(copy + 12, 4, cut - 16);
        cr_assert_eq(vm_state_load(many_fields, 1, copy, cut, &got, sizeof(got)), -EPROTO, "%zu",
                     cut);
    }
    vm_buffer_free(&b);
}

Test(state, list_with_too_many_elements_is_refused)
{
    struct many many = { .len = 2 }, got = { 0 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_state_save(many_fields, 1, &many, &b), 0);
    b.data[16] = 3;

    int rc = vm_state_load(many_fields, 1, b.data, b.len, &got, sizeof(got));

    cr_assert_eq(rc, -EPROTO);
    cr_assert_str_eq(vm_error_text(), "state: tag 1 holds 3, at most 2 are right");
    vm_buffer_free(&b);
}

Test(state, bytes_behind_a_list_are_refused)
{
    struct many many = { .len = 2 }, got = { 0 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_state_save(many_fields, 1, &many, &b), 0);
    b.data[16] = 1;

    int rc = vm_state_load(many_fields, 1, b.data, b.len, &got, sizeof(got));

    cr_assert_eq(rc, -EPROTO);
    cr_assert(strstr(vm_error_text(), "behind a list's last element"), "%s", vm_error_text());
    vm_buffer_free(&b);
}

Test(state, list_without_a_count_must_be_full)
{
    struct vm_state_field fields[] = { many_fields[0], { 0 } };
    struct many many = { .len = 1 }, got = { 0 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_state_save(many_fields, 1, &many, &b), 0);
    fields[0].count_offset = 0;

    int rc = vm_state_load(fields, 1, b.data, b.len, &got, sizeof(got));

    cr_assert_eq(rc, -EPROTO);
    cr_assert_str_eq(vm_error_text(), "state: tag 1 holds 1, 2 are right");
    vm_buffer_free(&b);
}

Test(state, section_header_is_checked)
{
    static const uint8_t raw[][8] = { { 0 }, { 1, 0, 1 }, { 1, 0, 0, 0, 1 } };
    static const char *const text[] = { "state: version 0 does not exist",
                                        "state: byte 8: the section's reserved word is not 0",
                                        "state: the section says 1 bytes, there are 0" };
    struct one one;

    for (size_t i = 0; i < 3; i++) {
        int rc = vm_state_load(one_flag, 1, raw[i], 8, &one, sizeof(one));

        cr_assert_eq(rc, -EPROTO);
        cr_assert_str_eq(vm_error_text(), text[i]);
    }
    cr_assert_eq(vm_state_load(one_flag, 1, NULL, 0, &one, sizeof(one)), -EPROTO);
}

Test(state, saving_more_than_the_table_allows_is_our_bug_and_leaves_the_buffer)
{
    struct one one = { .len = 5 };
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_buffer_add(&b, "x", 1), 0);

    int rc = vm_state_save(one_bytes, 1, &one, &b);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_eq(b.len, 1);
    vm_buffer_free(&b);
}

Test(state, row_newer_than_the_section_is_our_bug)
{
    struct vm_buffer b = { 0 };

    int rc = vm_state_save(sample_fields, 1, &full, &b);

    cr_assert_eq(rc, -EINVAL);
    cr_assert(strstr(vm_error_text(), "tag 10 is of version 2"), "%s", vm_error_text());
    vm_buffer_free(&b);
}

Test(state, row_of_unknown_type_is_our_bug)
{
    static const struct vm_state_field fields[] = { { .tag = 1, .type = 77 }, { 0 } };
    struct one one = { 0 };
    struct vm_buffer b = { 0 };

    int rc = vm_state_save(fields, 1, &one, &b);

    cr_assert_eq(rc, -EINVAL);
    vm_buffer_free(&b);
}

Test(state, buffer_grows_and_keeps_its_bytes)
{
    struct vm_buffer b = { 0 };

    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(vm_buffer_add(&b, &i, sizeof(i)), 0);

    cr_assert_eq(b.len, 4000);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(memcmp(b.data + i * sizeof(i), &i, sizeof(i)), 0);
    vm_buffer_free(&b);
    cr_assert_null(b.data);
}

Test(state, buffer_beyond_all_memory_is_refused)
{
    struct vm_buffer b = { 0 };
    cr_assert_eq(vm_buffer_add(&b, "x", 1), 0);

    int rc = vm_buffer_add(&b, "x", SIZE_MAX);

    cr_assert_eq(rc, -ENOMEM);
    cr_assert_eq(b.len, 1);
    vm_buffer_free(&b);
}
