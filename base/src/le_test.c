/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/le.h>

Test(le, wire_types_hold_the_low_byte_first)
{
    struct le16 a = le16_make(0x0102);
    struct le32 b = le32_make(0x01020304);
    struct le64 c = le64_make(0x0102030405060708);

    cr_assert_eq(memcmp(&a, "\x02\x01", 2), 0);
    cr_assert_eq(memcmp(&b, "\x04\x03\x02\x01", 4), 0);
    cr_assert_eq(memcmp(&c, "\x08\x07\x06\x05\x04\x03\x02\x01", 8), 0);
}

Test(le, wire_types_give_back_what_they_were_made_of)
{
    cr_assert_eq(le16_get(le16_make(0xbeef)), 0xbeef);
    cr_assert_eq(le32_get(le32_make(0xdeadbeef)), 0xdeadbeef);
    cr_assert_eq(le64_get(le64_make(0xdeadbeefcafe)), 0xdeadbeefcafe);
}

Test(le, an_access_of_any_width_is_loaded_from_any_place)
{
    static const uint8_t bytes[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };

    cr_assert_eq(vm_load_le(bytes + 1, 1), 0x01);
    cr_assert_eq(vm_load_le(bytes + 1, 2), 0x0201);
    cr_assert_eq(vm_load_le(bytes + 1, 4), 0x04030201);
    cr_assert_eq(vm_load_le(bytes + 1, 8), 0x0807060504030201);
}

Test(le, an_access_of_any_width_is_stored_without_touching_more)
{
    uint8_t bytes[10] = { 0 };

    vm_store_le(bytes + 1, 4, 0x1122334455667788);

    cr_assert_eq(memcmp(bytes, "\0\x88\x77\x66\x55\0\0\0\0", 10), 0);
}

Test(le, an_impossible_width_loads_zero_and_stores_nothing)
{
    uint8_t bytes[16] = { 0xff };

    vm_store_le(bytes, 9, 0);

    cr_assert_eq(vm_load_le(bytes, 9), 0);
    cr_assert_eq(bytes[0], 0xff);
}
