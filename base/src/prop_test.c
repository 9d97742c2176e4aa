/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Property tables: values, lists, objects, names, defaults and what is missing. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/prop.h>

struct queue {
    uint32_t size;
    char *name;
};

struct disk {
    char *path;
    bool readonly;
    uint32_t queues;
    uint64_t serial;
    uint64_t size;
    uint32_t cache;
    char *id;
    int fd;
    struct vm_prop_list hosts, cpus;
    struct queue queue;
    struct vm_prop_list extra, devices;
};

static const char *const caches[] = { "none", "writeback", "writethrough", NULL };
static const char *const caches_ch[] = { "Off", "Back", "Through", NULL };

static const struct vm_prop queue_props[] = {
    { .name = "size", .type = VM_PROP_U32, .offset = offsetof(struct queue, size), .preset = "64" },
    { .name = "name",
      .type = VM_PROP_STRING,
      .offset = offsetof(struct queue, name),
      .required = true },
    { 0 },
};

#define AT(member) .offset = offsetof(struct disk, member)
static const struct vm_prop disk_props[] = {
    { .name = "path", .type = VM_PROP_PATH, AT(path), .required = true, .help = "file or device" },
    { .name = "readonly", .type = VM_PROP_BOOL, AT(readonly), .alias_crosvm = "ro" },
    { .name = "num_queues",
      .type = VM_PROP_U32,
      AT(queues),
      .preset = "1",
      .min = 1,
      .max = 16,
      .alias_ch = "queues" },
    { .name = "number", .type = VM_PROP_U64, AT(serial) },
    { .name = "size", .type = VM_PROP_SIZE, AT(size), .min = 4096, .max = 1ULL << 40 },
    { .name = "cache",
      .type = VM_PROP_ENUM,
      AT(cache),
      .values = caches,
      .values_ch = caches_ch,
      .preset = "writeback" },
    { .name = "id", .type = VM_PROP_STRING, AT(id), .max = 8 },
    { .name = "fd", .type = VM_PROP_FD, AT(fd) },
    { .name = "hosts", .type = VM_PROP_LIST, AT(hosts), .element = VM_PROP_STRING, .max = 3 },
    { .name = "cpus", .type = VM_PROP_LIST, AT(cpus), .element = VM_PROP_U32, .min = 2 },
    { .name = "queue", .type = VM_PROP_OBJECT, AT(queue), .props = queue_props },
    { .name = "extra",
      .type = VM_PROP_OBJECTS,
      AT(extra),
      .props = queue_props,
      .element_size = sizeof(struct queue),
      .max = 2 },
    { .name = "devices", .type = VM_PROP_VARIANTS, AT(devices) },
    { 0 },
};

static struct disk disk;

static void begin(void)
{
    cr_assert_eq(vm_prop_defaults(disk_props, &disk), 0, "%s", vm_error_text());
}

static void end(void)
{
    vm_prop_free(disk_props, &disk);
}

TestSuite(prop, .init = begin, .fini = end);

static int parse(const char *text)
{
    return vm_prop_parse(disk_props, &disk, "--disk", "path", text);
}

static const struct vm_prop *row(const char *name)
{
    return vm_prop_find(disk_props, name, strlen(name));
}

static int set(const char *name, const char *text)
{
    return vm_prop_set(row(name), &disk, "--disk", text, strlen(text));
}

Test(prop, defaults_are_presets_or_nothing)
{
    cr_assert_eq(disk.queues, 1);
    cr_assert_eq(disk.cache, 1);
    cr_assert_eq(disk.fd, -1);
    cr_assert_null(disk.path);
    cr_assert_eq(disk.size, 0);
    cr_assert_eq(disk.hosts.count, 0);
    cr_assert_eq(disk.queue.size, 64);
}

Test(prop, preset_that_does_not_parse_is_our_bug)
{
    static const struct vm_prop props[] = {
        { .name = "id", .type = VM_PROP_STRING, AT(id), .preset = "x" },
        { .name = "num_queues", .type = VM_PROP_U32, AT(queues), .preset = "9", .max = 3 },
        { 0 },
    };
    struct disk d;

    int rc = vm_prop_defaults(props, &d);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_null(d.id);
}

Test(prop, free_leaves_nothing_and_may_come_twice)
{
    cr_assert_eq(parse("/a,hosts=[x,y],queue.name=q,fd=5"), 0, "%s", vm_error_text());

    vm_prop_free(disk_props, &disk);
    vm_prop_free(disk_props, &disk);

    cr_assert_null(disk.path);
    cr_assert_null(disk.hosts.items);
    cr_assert_null(disk.queue.name);
    cr_assert_eq(disk.fd, -1);
}

Test(prop, whole_object_is_parsed)
{
    int rc = parse("path=/a b,readonly,num_queues=0x10,number=18446744073709551615,size=2G,"
                   "cache=none,id=d0,fd=3,hosts=[a,b],cpus=[0,1,2],queue.name=q,queue.size=8");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_str_eq(disk.path, "/a b");
    cr_assert(disk.readonly);
    cr_assert_eq(disk.queues, 16);
    cr_assert_eq(disk.serial, UINT64_MAX);
    cr_assert_eq(disk.size, 2ULL << 30);
    cr_assert_eq(disk.cache, 0);
    cr_assert_str_eq(disk.id, "d0");
    cr_assert_eq(disk.fd, 3);
    cr_assert_eq(disk.hosts.count, 2);
    cr_assert_str_eq(((char **)disk.hosts.items)[1], "b");
    cr_assert_eq(disk.cpus.count, 3);
    cr_assert_eq(((uint32_t *)disk.cpus.items)[2], 2);
    cr_assert_str_eq(disk.queue.name, "q");
    cr_assert_eq(disk.queue.size, 8);
}

Test(prop, first_item_without_equals_sign_is_the_first_key)
{
    cr_assert_eq(parse("readonly"), 0);

    cr_assert_str_eq(disk.path, "readonly");
    cr_assert_not(disk.readonly);
}

Test(prop, quotes_keep_commas_and_escapes_stand_for_their_character)
{
    int rc = parse("\"/a,b=c\",id=\"x\\\"\\\\y\",readonly");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_str_eq(disk.path, "/a,b=c");
    cr_assert_str_eq(disk.id, "x\"\\y");
    cr_assert(disk.readonly);
}

Test(prop, list_takes_quoted_and_bracketed_elements_or_one_value)
{
    cr_assert_eq(parse("/a,hosts=[\"x,y\",1@[2,3],\"\"]"), 0, "%s", vm_error_text());
    cr_assert_eq(disk.hosts.count, 3);
    cr_assert_str_eq(((char **)disk.hosts.items)[0], "x,y");
    cr_assert_str_eq(((char **)disk.hosts.items)[1], "1@[2,3]");
    cr_assert_str_eq(((char **)disk.hosts.items)[2], "");

    cr_assert_eq(set("hosts", "single"), 0);
    cr_assert_eq(disk.hosts.count, 1);
    cr_assert_str_eq(((char **)disk.hosts.items)[0], "single");

    cr_assert_eq(set("hosts", "[]"), 0);
    cr_assert_eq(disk.hosts.count, 0);
    cr_assert_not_null(disk.hosts.items, "given, but empty");
}

Test(prop, alias_and_dash_name_the_same_row)
{
    cr_assert_eq(row("num-queues"), row("num_queues"));
    cr_assert_eq(row("queues"), row("num_queues"));
    cr_assert_eq(row("ro"), row("readonly"));
    cr_assert_null(row("num"));
    cr_assert_null(row(""));
    cr_assert_null(vm_prop_find(NULL, "x", 1));
}

Test(prop, own_name_goes_before_an_alias)
{
    static const struct vm_prop props[] = {
        { .name = "a", .type = VM_PROP_BOOL, .alias_ch = "b" },
        { .name = "b", .type = VM_PROP_BOOL },
        { 0 },
    };

    cr_assert_eq(vm_prop_find(props, "b", 1), &props[1]);
}

struct bad {
    const char *input, *text;
    int code;
};

/* Names the whole text where it is short, its start where a list follows. */
static const struct bad bad[] = {
    { "/a,pth=x", "--disk: unknown key 'pth', did you mean 'path'? valid: path, readonly,",
      -EINVAL },
    { "/a,zzzzzz=1", "--disk: unknown key 'zzzzzz'; valid: path, readonly, num_queues,", -EINVAL },
    { "/a,readonly,readonly=off", "--disk: 'readonly' is given twice", -EINVAL },
    { "/a,num_queues=2,queues=2", "--disk: 'num_queues' is given twice", -EINVAL },
    { "/a,path=/b", "--disk: 'path' is given twice", -EINVAL },
    { "readonly=on", "--disk: 'path' is missing: file or device", -EINVAL },
    { "", "--disk: 'path' is missing: file or device", -EINVAL },
    { "path=", "--disk: path=: a path is needed", -EINVAL },
    { "/a,", "--disk: nothing follows the last comma", -EINVAL },
    { "/a,,readonly", "--disk: an empty item: write KEY=VALUE,...", -EINVAL },
    { "/a,num_queues", "--disk: 'num_queues' needs a value: num_queues=VALUE", -EINVAL },
    { "/a,num_queues=17", "--disk: num_queues=17: a number from 1 to 16 is needed", -ERANGE },
    { "/a,num_queues=0", "--disk: num_queues=0: a number from 1 to 16 is needed", -ERANGE },
    { "/a,num_queues=", "--disk: num_queues=: a number from 1 to 16 is needed", -EINVAL },
    { "/a,num_queues=-1", "--disk: num_queues=-1: a number from 1 to 16 is needed", -EINVAL },
    { "/a,num_queues=1x", "--disk: num_queues=1x: a number from 1 to 16 is needed", -EINVAL },
    { "/a,number=18446744073709551616", "--disk: number=18446744073709551616: a number is needed",
      -ERANGE },
    { "/a,number=0x", "--disk: number=0x: a number is needed", -EINVAL },
    { "/a,number=0xfg", "--disk: number=0xfg: a number is needed", -EINVAL },
    { "/a,size=1K", "--disk: size=1K: a size (4096, 64K, 256M, 2G, 1T) from 4K to 1T is needed",
      -ERANGE },
    { "/a,size=16777216T", "--disk: size=16777216T: a size", -ERANGE },
    { "/a,size=1.5G", "--disk: size=1.5G: a size", -EINVAL },
    { "/a,size=G", "--disk: size=G: a size", -EINVAL },
    { "/a,fd=2147483648", "--disk: fd=2147483648: a file descriptor number is needed", -ERANGE },
    { "/a,cache=writebak",
      "--disk: cache=writebak: one of none, writeback, writethrough (did you mean 'writeback'?) is "
      "needed",
      -EINVAL },
    { "/a,readonly=2", "--disk: readonly=2: on or off (or true, false, yes, no) is needed",
      -EINVAL },
    { "/a,id=123456789", "--disk: id: 9 bytes are too long, at most 8 are possible", -ERANGE },
    { "/a,id=\"x", "--disk: id: a quote (\") has no end", -EINVAL },
    { "/a,id=\"x\\\"", "--disk: id: a quote (\") has no end", -EINVAL },
    { "/a,id=\"x\"y", "--disk: id: a comma must follow the closing quote", -EINVAL },
    { "/a,hosts=[a,b", "--disk: hosts: a bracket '[' has no end ']'", -EINVAL },
    { "/a,hosts=[\"a]", "--disk: hosts: a quote (\") has no end", -EINVAL },
    { "/a,hosts=[a,,b]", "--disk: hosts: an element of the list is empty", -EINVAL },
    { "/a,hosts=[a,]", "--disk: hosts: an element of the list is empty", -EINVAL },
    { "/a,hosts=", "--disk: hosts: an element of the list is empty", -EINVAL },
    { "/a,hosts=[a,b,c,d]", "--disk: hosts: at most 3 elements are possible", -ERANGE },
    { "/a,cpus=[1,x]", "--disk: cpus=x: a number is needed", -EINVAL },
    { "/a,cpus=[4294967296,1]", "--disk: cpus=4294967296: a number is needed", -ERANGE },
    { "/a,cpus=[1]", "--disk: cpus: 1 elements given, at least 2 are needed", -ERANGE },
    { "/a,queue=x", "--disk: 'queue' has members: write queue.KEY=VALUE", -EINVAL },
    { "/a,extra=x", "--disk: extra: write [KEY=VALUE,...], or [[...],[...]] for several", -EINVAL },
    { "/a,devices=x", "--disk: 'devices' has members: give those", -EINVAL },
    { "/a,queue.siz=1", "--disk: unknown key 'siz', did you mean 'size'? valid: size, name",
      -EINVAL },
    { "/a,queue.size=1", "--disk: 'name' is missing: ", -EINVAL },
    { "/a,id.x=1", "--disk: 'id' has no members", -EINVAL },
    { "/a,\x01\x02=1", "--disk: unknown key '?\?'; valid:", -EINVAL },
};

Test(prop, bad_text_is_refused_with_what_would_be_right)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        vm_prop_free(disk_props, &disk);
        begin();

        int rc = parse(bad[i].input);

        cr_assert_eq(rc, bad[i].code, "'%s': %d %s", bad[i].input, rc, vm_error_text());
        cr_assert_eq(strncmp(vm_error_text(), bad[i].text, strlen(bad[i].text)), 0, "'%s': '%s'",
                     bad[i].input, vm_error_text());
    }
}

Test(prop, more_keys_than_the_bound_are_refused)
{
    static struct vm_prop props[131];
    static char names[130][8];
    static char text[2048];
    bool flags[130];
    for (int i = 0; i < 130; i++) {
        snprintf(names[i], sizeof(names[i]), "k%d", i);
        snprintf(text + strlen(text), 16, "%sk%d", i ? "," : "", i);
        props[i] = (struct vm_prop){ .name = names[i], .type = VM_PROP_BOOL, .offset = (size_t)i };
    }

    int rc = vm_prop_parse(props, flags, "many", NULL, text);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_str_eq(vm_error_text(), "many: more than 128 keys");
}

Test(prop, failed_set_keeps_the_old_value)
{
    cr_assert_eq(parse("/a,hosts=[x]"), 0);

    cr_assert_eq(set("path", ""), -EINVAL);
    cr_assert_eq(set("hosts", "[a,b,c,d]"), -ERANGE);

    cr_assert_str_eq(disk.path, "/a");
    cr_assert_eq(disk.hosts.count, 1);
    cr_assert_str_eq(((char **)disk.hosts.items)[0], "x");
}

Test(prop, set_again_replaces)
{
    cr_assert_eq(parse("/a,hosts=[x]"), 0);

    cr_assert_eq(parse("/b,hosts=[y]"), 0);

    cr_assert_str_eq(disk.path, "/b");
    cr_assert_str_eq(((char **)disk.hosts.items)[0], "y");
}

Test(prop, text_with_a_zero_byte_is_refused)
{
    int rc = vm_prop_set(row("id"), &disk, "json", "a\0b", 3);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_str_eq(vm_error_text(), "json: id=a?b: a text without zero bytes is needed");
}

Test(prop, sizes_and_words_do_not_mind_case)
{
    cr_assert_eq(set("size", "64k"), 0);
    cr_assert_eq(disk.size, 65536);
    cr_assert_eq(set("cache", "None"), 0);
    cr_assert_eq(disk.cache, 0);
    cr_assert_eq(set("cache", "Through"), 0);
    cr_assert_eq(disk.cache, 2);
    cr_assert_eq(set("readonly", "YES"), 0);
    cr_assert(disk.readonly);
}

static void check_format(const char *name, const char *in, const char *out)
{
    char text[64];

    cr_assert_eq(set(name, in), 0, "%s", vm_error_text());
    cr_assert_eq(vm_prop_format(row(name), &disk, text, sizeof(text)), (int)strlen(out));
    cr_assert_str_eq(text, out);
}

Test(prop, format_spells_as_the_command_line)
{
    check_format("size", "2147483648", "2G");
    check_format("size", "1536M", "1536M");
    check_format("size", "4097", "4097");
    check_format("size", "1T", "1T");
    check_format("number", "0x10", "16");
    check_format("num_queues", "3", "3");
    check_format("readonly", "yes", "on");
    check_format("readonly", "no", "off");
    check_format("cache", "writethrough", "writethrough");
    check_format("id", "a,b", "a,b");
    check_format("fd", "7", "7");
}

Test(prop, format_refuses_what_does_not_fit_or_is_no_scalar)
{
    char text[4];
    cr_assert_eq(parse("/abc"), 0);

    cr_assert_eq(vm_prop_format(row("path"), &disk, text, sizeof(text)), -ENOSPC);
    cr_assert_eq(vm_prop_format(row("hosts"), &disk, text, sizeof(text)), -EINVAL);
    disk.cache = 3;
    cr_assert_eq(vm_prop_format(row("cache"), &disk, text, sizeof(text)), -EINVAL);
}

Test(prop, missing_text_formats_as_nothing)
{
    char text[4] = "xxx";

    cr_assert_eq(vm_prop_format(row("path"), &disk, text, sizeof(text)), 0);
    cr_assert_str_eq(text, "");
}

Test(prop, pushed_object_has_defaults_and_pop_takes_it_away)
{
    struct queue *q;
    void *element;
    cr_assert_eq(vm_prop_push(row("extra"), &disk, "x", NULL, &element), 0);
    q = element;
    cr_assert_eq(q->size, 64);
    q->name = strdup("n");

    vm_prop_pop(row("extra"), &disk);
    vm_prop_pop(row("extra"), &disk);

    cr_assert_eq(disk.extra.count, 0);
}

Test(prop, push_beyond_the_bound_is_refused)
{
    void *element;
    cr_assert_eq(vm_prop_push(row("extra"), &disk, "x", NULL, &element), 0);
    cr_assert_eq(vm_prop_push(row("extra"), &disk, "x", NULL, &element), 0);

    int rc = vm_prop_push(row("extra"), &disk, "x", NULL, &element);

    cr_assert_eq(rc, -ERANGE);
    cr_assert_str_eq(vm_error_text(), "x: extra: at most 2 are possible");
}

static const struct vm_prop_class queue_class = { "queue", "a queue", queue_props,
                                                  sizeof(struct queue) };

Test(prop, variant_holds_an_object_of_its_class)
{
    struct vm_prop_variant *variant;
    struct queue *q;
    void *element;

    cr_assert_eq(vm_prop_push(row("devices"), &disk, "x", &queue_class, &element), 0);

    variant = element;
    q = variant->object;
    cr_assert_str_eq(variant->class_row.name, "queue");
    cr_assert_eq(q->size, 64);
    cr_assert_eq(vm_prop_parse(queue_props, q, "x", NULL, "name=a"), 0);
}

Test(prop, variant_with_a_bad_preset_is_not_added)
{
    static const struct vm_prop props[] = {
        { .name = "size", .type = VM_PROP_U32, .preset = "x" },
        { 0 },
    };
    static const struct vm_prop_class broken = { "broken", "", props, sizeof(struct queue) };
    void *element;

    int rc = vm_prop_push(row("devices"), &disk, "x", &broken, &element);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_eq(disk.devices.count, 0);
}

Test(prop, check_names_the_element_that_misses_something)
{
    void *element;
    cr_assert_eq(set("path", "/a"), 0);
    cr_assert_eq(vm_prop_check(disk_props, &disk, "cfg"), 0);
    cr_assert_eq(vm_prop_push(row("extra"), &disk, "x", NULL, &element), 0);

    cr_assert_eq(vm_prop_check(disk_props, &disk, "cfg"), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "cfg: extra[0]: 'name' is missing: ");

    vm_prop_pop(row("extra"), &disk);
    cr_assert_eq(vm_prop_push(row("devices"), &disk, "x", &queue_class, &element), 0);
    cr_assert_eq(vm_prop_check(disk_props, &disk, "cfg"), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "cfg: devices[0]: 'name' is missing: ");
}

Test(prop, check_counts_the_elements_of_a_list)
{
    cr_assert_eq(set("path", "/a"), 0);
    cr_assert_eq(vm_prop_append(row("cpus"), &disk, "x", "1", 1), 0);

    int rc = vm_prop_check(disk_props, &disk, "cfg");

    cr_assert_eq(rc, -EINVAL);
    cr_assert_str_eq(vm_error_text(), "cfg: cpus: 1 given, at least 2 are needed");
}

Test(prop, required_values_of_every_type_are_looked_for)
{
    struct all {
        uint32_t u32;
        uint64_t u64;
        int fd;
        struct vm_prop_list list;
        struct queue queue;
        bool flag;
    } all = { .fd = -1 };
    static const struct vm_prop props[] = {
        { .name = "flag",
          .type = VM_PROP_BOOL,
          .offset = offsetof(struct all, flag),
          .required = true },
        { .name = "u32",
          .type = VM_PROP_U32,
          .offset = offsetof(struct all, u32),
          .required = true },
        { .name = "u64",
          .type = VM_PROP_U64,
          .offset = offsetof(struct all, u64),
          .required = true },
        { .name = "fd", .type = VM_PROP_FD, .offset = offsetof(struct all, fd), .required = true },
        { .name = "list",
          .type = VM_PROP_LIST,
          .offset = offsetof(struct all, list),
          .element = VM_PROP_U32,
          .required = true },
        { .name = "queue",
          .type = VM_PROP_OBJECT,
          .offset = offsetof(struct all, queue),
          .props = queue_props,
          .required = true },
        { 0 },
    };
    static const char *const order[] = { "u32", "u64", "fd", "list" };

    for (size_t i = 0; i < 4; i++) {
        char wanted[64];

        snprintf(wanted, sizeof(wanted), "all: '%s' is missing: ", order[i]);
        cr_assert_eq(vm_prop_check(props, &all, "all"), -EINVAL);
        cr_assert_str_eq(vm_error_text(), wanted);
        cr_assert_eq(vm_prop_set(&props[i + 1], &all, "all", "1", 1), 0);
    }
    cr_assert_eq(vm_prop_check(props, &all, "all"), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "all: 'name' is missing: ");
    vm_prop_free(props, &all);
}

Test(prop, zero_that_was_given_is_a_value)
{
    static const struct vm_prop props[] = {
        { .name = "n",
          .type = VM_PROP_U32,
          .offset = offsetof(struct queue, size),
          .required = true },
        { 0 },
    };
    struct queue q = { 0 };

    cr_assert_eq(vm_prop_parse(props, &q, "x", NULL, "n=0"), 0);
    cr_assert_eq(vm_prop_parse(props, &q, "x", NULL, ""), -EINVAL);
}

Test(prop, list_without_type_of_element_is_our_bug)
{
    static const struct vm_prop broken = { .name = "l",
                                           .type = VM_PROP_LIST,
                                           .element = VM_PROP_OBJECT };
    struct vm_prop_list list = { 0 };

    cr_assert_eq(vm_prop_append(&broken, &list, "x", "a", 1), -EINVAL);
}

Test(prop, unknown_key_of_an_empty_table_says_so)
{
    static const struct vm_prop none[] = { { 0 } };

    cr_assert_eq(vm_prop_unknown(none, "x", "key", 3), -EINVAL);

    cr_assert_str_eq(vm_error_text(), "x: unknown key 'key': it has no keys");
}

Test(prop, shown_text_is_cut_and_printable)
{
    char room[8];

    cr_assert_str_eq(vm_prop_show("abc", 3, room, sizeof(room)), "abc");
    cr_assert_str_eq(vm_prop_show("a\nb\x7f", 4, room, sizeof(room)), "a?b?");
    cr_assert_str_eq(vm_prop_show("abcdefghij", 10, room, sizeof(room)), "abcd...");
}

Test(nearest, small_mistakes_find_the_word)
{
    static const char *const words[] = { "memory", "cpus", "disk", "read_only", "serial", NULL };

    cr_assert_str_eq(vm_nearest("memry", 5, words), "memory");
    cr_assert_str_eq(vm_nearest("mem", 3, words), "memory");
    cr_assert_str_eq(vm_nearest("cpu", 3, words), "cpus");
    cr_assert_str_eq(vm_nearest("idsk", 4, words), "disk");
    cr_assert_str_eq(vm_nearest("Read-Only", 9, words), "read_only");
    cr_assert_str_eq(vm_nearest("seriall", 7, words), "serial");
}

Test(nearest, swap_of_neighbours_is_one_mistake)
{
    static const char *const words[] = { "abcpsu", "cpus", NULL };

    cr_assert_str_eq(vm_nearest("cpsu", 4, words), "cpus");
}

Test(nearest, strange_words_find_nothing)
{
    static const char *const words[] = { "memory", "cpus", "disk", NULL };
    char huge[100];
    memset(huge, 'm', sizeof(huge));

    cr_assert_null(vm_nearest("x", 1, words));
    cr_assert_null(vm_nearest("foo", 3, (const char *const[]){ "root", "off", "for_all", NULL }));
    cr_assert_null(vm_nearest("memory_size", 11, words));
    cr_assert_null(vm_nearest("", 0, words));
    cr_assert_null(vm_nearest("helicopter", 10, words));
    cr_assert_null(vm_nearest(huge, sizeof(huge), words));
}

/* ---- lists of objects as values ---- */

static const struct queue *extra(uint32_t i)
{
    return (const struct queue *)disk.extra.items + i;
}

Test(prop, objects_are_written_in_brackets)
{
    cr_assert_eq(parse("/d,extra=[[name=a,size=3],[name=\"b,]\"]],readonly=on"), 0, "%s",
                 vm_error_text());

    cr_assert_eq(disk.extra.count, 2);
    cr_assert_str_eq(extra(0)->name, "a");
    cr_assert_eq(extra(0)->size, 3);
    cr_assert_str_eq(extra(1)->name, "b,]");
    cr_assert_eq(extra(1)->size, 64);
    cr_assert(disk.readonly);
}

Test(prop, one_object_needs_no_second_pair_of_brackets)
{
    cr_assert_eq(set("extra", "[name=a,size=3]"), 0, "%s", vm_error_text());
    cr_assert_eq(disk.extra.count, 1);
    cr_assert_eq(extra(0)->size, 3);

    cr_assert_eq(set("extra", "[]"), 0);
    cr_assert_eq(disk.extra.count, 0);
}

Test(prop, broken_objects_are_refused_and_the_old_ones_stay)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        { "", "--disk: extra: write [KEY=VALUE,...], or [[...],[...]] for several" },
        { "name=a", "--disk: extra: write [KEY=VALUE,...], or [[...],[...]] for several" },
        { "[[name=a],]", "--disk: extra: write [KEY=VALUE,...], or [[...],[...]] for several" },
        { "[[name=a],name=b]",
          "--disk: extra: write [KEY=VALUE,...], or [[...],[...]] for several" },
        { "[[name=a],[size=2]]", "--disk: extra[1]: 'name' is missing" },
        { "[[name=a],[name=b],[name=c]]", "--disk: extra: at most 2 are possible" },
        { "[name=a,size=x]", "--disk: extra[0]: size=x: a number is needed" },
        { "[[name=a]", "--disk: extra: a bracket '[' has no end ']'" },
    };
    cr_assert_eq(set("extra", "[name=old]"), 0);

    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        cr_assert_lt(set("extra", rows[i].text), 0, "%s", rows[i].text);
        cr_expect(strstr(vm_error_text(), rows[i].error), "%s: %s", rows[i].text, vm_error_text());
        cr_assert_eq(disk.extra.count, 1);
        cr_assert_str_eq(extra(0)->name, "old");
    }
}
