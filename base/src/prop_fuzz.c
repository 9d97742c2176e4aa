/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Fuzz target: vm_prop_parse() of any text. Each scalar it accepts must come back from its own text, and so
 * must the whole object. */
#include <vmm/base/prop.h>

#include <stdlib.h>
#include <string.h>

struct nested {
    uint32_t n;
    char *text;
};

struct all {
    bool flag;
    uint32_t u32, mode;
    uint64_t u64, size;
    char *text, *path;
    int fd;
    struct vm_prop_list names, numbers, objects;
    struct nested nested;
};

static const char *const modes[] = { "off", "tty", "file", NULL };

static const struct vm_prop nested_props[] = {
    { .name = "n", .type = VM_PROP_U32, .offset = offsetof(struct nested, n), .required = true },
    { .name = "text", .type = VM_PROP_STRING, .offset = offsetof(struct nested, text) },
    { 0 },
};

static const struct vm_prop all_props[] = {
    { .name = "path", .type = VM_PROP_PATH, .offset = offsetof(struct all, path) },
    { .name = "flag", .type = VM_PROP_BOOL, .offset = offsetof(struct all, flag) },
    { .name = "u32", .type = VM_PROP_U32, .offset = offsetof(struct all, u32), .max = 1000 },
    { .name = "u64", .type = VM_PROP_U64, .offset = offsetof(struct all, u64), .preset = "7" },
    { .name = "size", .type = VM_PROP_SIZE, .offset = offsetof(struct all, size) },
    { .name = "mode", .type = VM_PROP_ENUM, .offset = offsetof(struct all, mode), .values = modes },
    { .name = "text", .type = VM_PROP_STRING, .offset = offsetof(struct all, text), .max = 20 },
    { .name = "fd", .type = VM_PROP_FD, .offset = offsetof(struct all, fd), .alias_ch = "fds" },
    { .name = "names",
      .type = VM_PROP_LIST,
      .offset = offsetof(struct all, names),
      .element = VM_PROP_STRING,
      .max = 5 },
    { .name = "numbers",
      .type = VM_PROP_LIST,
      .offset = offsetof(struct all, numbers),
      .element = VM_PROP_U64 },
    { .name = "nested",
      .type = VM_PROP_OBJECT,
      .offset = offsetof(struct all, nested),
      .props = nested_props },
    { .name = "objects",
      .type = VM_PROP_OBJECTS,
      .offset = offsetof(struct all, objects),
      .props = nested_props,
      .element_size = sizeof(struct nested),
      .max = 4 },
    { 0 },
};

static void check_round_trip(const struct all *got)
{
    struct all again;
    char text[8192];
    char second[8192];

    if (vm_prop_defaults(all_props, &again))
        abort();
    for (const struct vm_prop *p = all_props; p->name; p++) {
        int len;

        if (!vm_prop_type_size(p->type))
            continue;
        len = vm_prop_format(p, got, text, sizeof(text));
        if (len < 0)
            abort();
        if (len == 0 || (p->type == VM_PROP_FD && text[0] == '-'))
            continue; /* not given */
        if (p->type == VM_PROP_U32 && got->u32 > 1000)
            abort();
        if (vm_prop_set(p, &again, "again", text, (size_t)len) ||
            vm_prop_format(p, &again, second, sizeof(second)) != len || strcmp(text, second) != 0)
            abort();
    }
    vm_prop_free(all_props, &again);
}

static void check_print(const struct all *got)
{
    struct vm_buffer first = { 0 }, second = { 0 };
    struct all again;

    if (vm_prop_defaults(all_props, &again) || vm_prop_print(all_props, got, sizeof(*got), &first))
        abort();
    /* A text has no form for an optional object whose required member is as preset. */
    if (vm_prop_parse(all_props, &again, "again", NULL, (const char *)first.data) == 0) {
        if (vm_prop_print(all_props, &again, sizeof(again), &second) ||
            strcmp((const char *)first.data, (const char *)second.data) != 0)
            abort();
    }
    vm_prop_free(all_props, &again);
    vm_buffer_free(&first);
    vm_buffer_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct all got;

    if (!text || vm_prop_defaults(all_props, &got))
        abort();
    if (vm_prop_parse(all_props, &got, "fuzz", size % 2 ? "path" : NULL, text) == 0) {
        check_round_trip(&got);
        check_print(&got);
    }
    vm_prop_free(all_props, &got);
    free(text);
    return 0;
}
