/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Fuzz target: vm_state_load() of any bytes. What is accepted must save and load again to equal
 * bytes.
 */
#include <vmm/base/state.h>

#include <stdlib.h>
#include <string.h>

struct item {
    uint16_t id;
    bool on;
    uint8_t name[6];
};

struct all {
    uint8_t u8;
    bool flag;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    uint8_t fixed[4];
    uint32_t bytes_len;
    uint8_t bytes[32];
    struct item one;
    uint32_t items_len;
    struct item items[5];
};

static const struct vm_state_field item_fields[] = {
    { .tag = 1, .type = VM_STATE_U16, .offset = offsetof(struct item, id) },
    { .tag = 2, .type = VM_STATE_BOOL, .offset = offsetof(struct item, on) },
    { .tag = 3, .type = VM_STATE_BYTES, .offset = offsetof(struct item, name), .max = 6 },
    { 0 },
};

static const struct vm_state_field all_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct all, u8) },
    { .tag = 2, .type = VM_STATE_BOOL, .offset = offsetof(struct all, flag) },
    { .tag = 3, .type = VM_STATE_U16, .offset = offsetof(struct all, u16) },
    { .tag = 4, .type = VM_STATE_U32, .offset = offsetof(struct all, u32), .since = 2 },
    { .tag = 5, .type = VM_STATE_U64, .offset = offsetof(struct all, u64), .since = 3 },
    { .tag = 6, .type = VM_STATE_BYTES, .offset = offsetof(struct all, fixed), .max = 4 },
    { .tag = 7,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct all, bytes),
      .max = 32,
      .count_offset = offsetof(struct all, bytes_len) },
    { .tag = 8,
      .type = VM_STATE_STRUCT,
      .offset = offsetof(struct all, one),
      .fields = item_fields },
    { .tag = 9,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct all, items),
      .max = 5,
      .count_offset = offsetof(struct all, items_len),
      .element_size = sizeof(struct item),
      .fields = item_fields },
    { 0 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct all first = { 0 }, second = { 0 };
    struct vm_buffer a = { 0 }, b = { 0 };

    if (vm_state_load(all_fields, 3, data, size, &first, sizeof(first)))
        return 0;
    if (vm_state_save(all_fields, 3, &first, &a))
        abort();
    if (vm_state_load(all_fields, 3, a.data, a.len, &second, sizeof(second)))
        abort();
    if (vm_state_save(all_fields, 3, &second, &b))
        abort();
    if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
        abort();
    vm_buffer_free(&a);
    vm_buffer_free(&b);
    return 0;
}
