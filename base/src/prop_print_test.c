/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Objects written as the text that makes them. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/prop.h>

struct inner {
    uint32_t size;
    char *name;
};
struct outer {
    char *path;
    bool readonly, lock;
    uint32_t queues, cache;
    uint64_t bytes;
    int fd;
    struct vm_prop_list hosts;
    struct inner inner;
};

static const char *const caches[] = { "none", "back", NULL };
#define IN(member)  .offset = offsetof(struct inner, member)
#define OUT(member) .offset = offsetof(struct outer, member)
static const struct vm_prop inner_props[] = {
    { .name = "size", .type = VM_PROP_U32, IN(size), .preset = "64" },
    { .name = "name", .type = VM_PROP_STRING, IN(name) },
    { 0 },
};
static const struct vm_prop props[] = {
    { .name = "path", .type = VM_PROP_PATH, OUT(path) },
    { .name = "readonly", .type = VM_PROP_BOOL, OUT(readonly) },
    { .name = "lock", .type = VM_PROP_BOOL, OUT(lock), .preset = "on" },
    { .name = "queues", .type = VM_PROP_U32, OUT(queues), .preset = "1", .min = 1 },
    { .name = "cache", .type = VM_PROP_ENUM, OUT(cache), .values = caches },
    { .name = "bytes", .type = VM_PROP_SIZE, OUT(bytes) },
    { .name = "fd", .type = VM_PROP_FD, OUT(fd) },
    { .name = "hosts", .type = VM_PROP_LIST, OUT(hosts), .element = VM_PROP_STRING },
    { .name = "inner", .type = VM_PROP_OBJECT, OUT(inner), .props = inner_props },
    { 0 },
};

static struct outer object, again;
static struct vm_buffer text;

static void begin(void)
{
    cr_assert_eq(vm_prop_defaults(props, &object), 0);
    cr_assert_eq(vm_prop_defaults(props, &again), 0);
}

static void end(void)
{
    vm_prop_free(props, &object);
    vm_prop_free(props, &again);
    vm_buffer_free(&text);
}

TestSuite(prop_print, .init = begin, .fini = end);

static const char *printed(const char *from)
{
    cr_assert_eq(vm_prop_parse(props, &object, "x", NULL, from), 0, "%s", vm_error_text());
    cr_assert_eq(vm_prop_print(props, &object, sizeof(object), &text), 0, "%s", vm_error_text());
    return (const char *)text.data;
}

Test(prop_print, presets_are_left_out)
{
    cr_assert_str_eq(printed(""), "");
}

Test(prop_print, what_differs_is_written_in_the_order_of_the_table)
{
    cr_assert_str_eq(printed("inner.size=3,fd=5,bytes=2048,cache=back,queues=2,lock=off,readonly"),
                     "readonly=on,lock=off,queues=2,cache=back,bytes=2K,fd=5,inner.size=3");
}

Test(prop_print, text_of_any_kind_comes_back_as_it_was)
{
    static const char strange[] = "/a,b=[c] \"quoted\" \\ back";

    object.path = strdup(strange);
    object.inner.name = strdup("],=\"");
    cr_assert_eq(vm_prop_print(props, &object, sizeof(object), &text), 0);

    cr_assert_eq(vm_prop_parse(props, &again, "x", NULL, (const char *)text.data), 0, "%s: %s",
                 (const char *)text.data, vm_error_text());

    cr_assert_str_eq(again.path, strange);
    cr_assert_str_eq(again.inner.name, "],=\"");
}

Test(prop_print, lists_come_back_as_they_were)
{
    const char *from = printed("hosts=[one,\"two,three\",\"fo]ur\"]");

    cr_assert_eq(vm_prop_parse(props, &again, "x", NULL, from), 0, "%s: %s", from, vm_error_text());

    cr_assert_eq(again.hosts.count, 3);
    cr_assert_str_eq(((char **)again.hosts.items)[1], "two,three");
    cr_assert_str_eq(((char **)again.hosts.items)[2], "fo]ur");
}

static const struct vm_prop many[] = {
    { .name = "disks",
      .type = VM_PROP_OBJECTS,
      OUT(hosts),
      .props = inner_props,
      .element_size = sizeof(struct inner) },
    { 0 },
};

Test(prop_print, lists_of_objects_come_back_as_they_were)
{
    const struct inner *disks;

    cr_assert_eq(vm_prop_parse(many, &object, "x", NULL, "disks=[[size=3,name=\"a,]b\"],[]]"), 0,
                 "%s", vm_error_text());
    cr_assert_eq(vm_prop_print(many, &object, sizeof(object), &text), 0);
    cr_assert_str_eq((const char *)text.data, "disks=[[size=3,name=\"a,]b\"],[]]");

    cr_assert_eq(vm_prop_parse(many, &again, "x", NULL, (const char *)text.data), 0);

    disks = again.hosts.items;
    cr_assert_eq(again.hosts.count, 2);
    cr_assert_eq(disks[0].size, 3);
    cr_assert_str_eq(disks[0].name, "a,]b");
    cr_assert_eq(disks[1].size, 64);
    vm_prop_free(many, &object);
    vm_prop_free(many, &again);
}

Test(prop_print, variants_have_no_text_and_leave_the_buffer_as_it_was)
{
    static const struct vm_prop variants[] = {
        { .name = "devices", .type = VM_PROP_VARIANTS, OUT(hosts) },
        { 0 },
    };

    cr_assert_eq(vm_buffer_add(&text, "ab", 2), 0);

    cr_assert_eq(vm_prop_print(variants, &object, sizeof(object), &text), -EINVAL);

    cr_assert_eq(text.len, 2);
}
