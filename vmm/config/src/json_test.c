/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* JSON in, out and round; the schema. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <vmm/base/error.h>
#include <vmm/config/json.h>

#include "sample.h"

static struct sample s;
static struct vm_buffer out;

static void begin(void)
{
    cr_assert_eq(vm_prop_defaults(sample_props, &s), 0, "%s", vm_error_text());
}

static void end(void)
{
    vm_prop_free(sample_props, &s);
    vm_buffer_free(&out);
}

TestSuite(json, .init = begin, .fini = end);

static int load(const char *text)
{
    return vmm_config_load_json(&sample_model, &s, "vm.json", text, strlen(text));
}

static const char *save(enum vm_surface surface, enum vmm_config_json_form form)
{
    vm_buffer_free(&out);
    cr_assert_eq(vmm_config_save_json(&sample_model, &s, surface, form, &out), 0, "%s",
                 vm_error_text());
    return (const char *)out.data;
}

Test(json, cloud_hypervisors_form_loads_unchanged)
{
    int rc = load("{\"cpus\":{\"boot_vcpus\":2,\"max_vcpus\":4},\"memory\":{\"size\":1073741824},"
                  "\"payload\":{\"kernel\":\"/k\",\"initramfs\":null},"
                  "\"serial\":{\"mode\":\"File\",\"file\":\"/log\"},"
                  "\"disks\":[{\"path\":\"/a\"},{\"path\":\"/b\",\"readonly\":true}]}");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_eq(s.cpus.boot, 2);
    cr_assert_eq(s.cpus.max, 4);
    cr_assert_eq(s.memory.size, 1ULL << 30);
    cr_assert_str_eq(s.payload.kernel, "/k");
    cr_assert_null(s.payload.initramfs);
    cr_assert_eq(s.serial.mode, 2);
    cr_assert_eq(s.disks.count, 2);
    cr_assert(((struct sample_disk *)s.disks.items)[1].readonly);
}

Test(json, own_names_and_texts_load_too)
{
    int rc = load("{\"cpus\":{\"num\":\"3\",\"features\":[\"a,b\",\"c\"]},"
                  "\"memory\":{\"size\":\"2G\",\"shared\":\"on\"},\"console_fd\":5,"
                  "\"sandbox\":false,\"tags\":[\"x\"]}");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_eq(s.cpus.boot, 3);
    cr_assert_eq(s.cpus.features.count, 2);
    cr_assert_str_eq(((char **)s.cpus.features.items)[0], "a,b");
    cr_assert_eq(s.memory.size, 2ULL << 30);
    cr_assert(s.memory.shared);
    cr_assert_eq(s.console_fd, 5);
    cr_assert_not(s.sandbox);
}

Test(json, variant_is_made_by_its_class)
{
    const struct vm_prop_variant *v;

    int rc = load("{\"devices\":[{\"mode\":\"off\",\"class\":\"virtio-rng\"},"
                  "{\"class\":\"virtio-blk\",\"path\":\"/a\"}]}");

    cr_assert_eq(rc, 0, "%s", vm_error_text());
    cr_assert_eq(s.devices.count, 2);
    v = s.devices.items;
    cr_assert_eq(((struct sample_serial *)v[0].object)->mode, 0);
    cr_assert_str_eq(((struct sample_disk *)v[1].object)->path, "/a");
}

Test(json, list_that_is_given_replaces_the_old_one)
{
    cr_assert_eq(load("{\"disks\":[{\"path\":\"/a\"}],\"tags\":[\"a\",\"b\"]}"), 0);

    cr_assert_eq(load("{\"disks\":[{\"path\":\"/b\"}],\"tags\":[]}"), 0);

    cr_assert_eq(s.disks.count, 1);
    cr_assert_str_eq(((struct sample_disk *)s.disks.items)->path, "/b");
    cr_assert_eq(s.tags.count, 0);
}

Test(json, list_of_at_most_one_is_a_value_that_may_be_missing)
{
    cr_assert_eq(load("{\"memory\":{\"node\":3}}"), 0, "%s", vm_error_text());
    cr_assert_eq(load("{\"memory\":{\"node\":0}}"), 0, "%s", vm_error_text());

    cr_assert_eq(s.memory.node.count, 1);
    cr_assert_eq(*(uint32_t *)s.memory.node.items, 0);
    cr_assert_eq(load("{\"memory\":{\"node\":[1]}}"), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "vm.json: memory: node: a number is needed, not an array");
}

/* As an object whose mere presence says something: --balloon size=0. */
Test(json, objects_of_which_there_is_one_at_most_are_the_object_itself)
{
    static const struct vm_prop inner[] = { { .name = "n", .type = VM_PROP_U32, .preset = "0" },
                                            { 0 } };
    static const struct vm_prop props[] = { { .name = "o",
                                              .type = VM_PROP_OBJECTS,
                                              .props = inner,
                                              .element_size = sizeof(uint32_t),
                                              .max = 1 },
                                            { 0 } };
    static const struct vmm_config_model model = { props, NULL };
    struct vm_prop_list list = { 0 };
    struct vm_buffer text = { 0 };

    cr_assert_eq(vmm_config_save_json(&model, &list, VM_SURFACE_OWN, 0, &text), 0);
    cr_assert_arr_eq(text.data, "{}", 2);
    text.len = 0;
    cr_assert_eq(vmm_config_load_json(&model, &list, "x", "{\"o\":{\"n\":3}}", 13), 0);
    cr_assert_eq(vmm_config_load_json(&model, &list, "x", "{\"o\":{}}", 8), 0); /* in its place */
    cr_assert_eq(list.count, 1);
    cr_assert_eq(*(uint32_t *)list.items, 0);
    cr_assert_eq(vmm_config_load_json(&model, &list, "x", "{\"o\":[{}]}", 10), -EINVAL);
    cr_assert_eq(vmm_config_load_json(&model, &list, "x", "{\"o\":{}}", 8), 0);

    cr_assert_eq(vmm_config_save_json(&model, &list, VM_SURFACE_OWN, 0, &text), 0);
    cr_assert_arr_eq(text.data, "{\"o\":{\"n\":0}}", 13);
    vm_buffer_free(&text);
    vm_prop_free(props, &list);
}

Test(json, zero_that_is_given_counts_as_given)
{
    static const struct vm_prop inner[] = { { .name = "n", .type = VM_PROP_U32, .required = true },
                                            { 0 } };
    static const struct vm_prop props[] = { { .name = "o", .type = VM_PROP_OBJECT, .props = inner },
                                            { 0 } };
    static const struct vmm_config_model model = { props, NULL };
    uint32_t n = 0;

    cr_assert_eq(vmm_config_load_json(&model, &n, "x", "{\"o\":{\"n\":0}}", 13), 0);
    cr_assert_eq(vmm_config_load_json(&model, &n, "x", "{\"o\":{}}", 8), -EINVAL);
}

struct bad {
    const char *json, *text;
    int code;
};

static const struct bad bad[] = {
    { "", "vm.json:1:0: '[' or '{' expected near end of file", -EINVAL },
    { "{\n \"a\": }", "vm.json:2:7: unexpected token near '}'", -EINVAL },
    { "{\"a\":1,\"a\":1}", "vm.json:1:10: duplicate object key near '\"a\"': give each key once",
      -EINVAL },
    { "{\"tags\":[\"\xff\"]}",
      "vm.json:1:10: unable to decode byte 0xff near '\"': JSON is UTF-8 (RFC 8259, section 8.1)",
      -EINVAL },
    { "{} x", "vm.json:1:4: end of file expected near 'x': one JSON object is all there can be",
      -EINVAL },
    { "{\"tags\":[", "vm.json:1:9: ']' expected near end of file: a quote, ] or } is missing",
      -EINVAL },
    { "{\"tags\":[\"a\\u0000b\"]}",
      "vm.json:1:19: a text must not have a zero byte (\\u0000) near '\"a\\u0000b\"'", -EINVAL },
    { "{\"a\\u0000b\":1}",
      "vm.json:1:11: a text must not have a zero byte (\\u0000) near '\"a\\u0000b\"'", -EINVAL },
    { "{\"memory\":{\"size\":99999999999999999999}}",
      "vm.json:1:38: a number beyond 64 bits near '99999999999999999999': write numbers above 2^63 "
      "- 1 as a string",
      -EINVAL },
    { "{\"memory\":{\"size\":\"\"}}",
      "vm.json: memory: size=: a size (4096, 64K, 256M, 2G, 1T) of at least 1M is needed",
      -EINVAL },
    { "{\"memory\":{\"node\":\"\"}}", "vm.json: memory: node=: a number is needed", -EINVAL },
    { "{\"cpus\":{\"num\":\"\"}}", "vm.json: cpus: num=: a number from 1 to 255 is needed",
      -EINVAL },
    { "{\"payload\":{\"kernel\":\"\"}}", "vm.json: payload: kernel=: a path is needed", -EINVAL },
    { "{\"disks\":[{\"path\":\"\"}]}", "vm.json: disks[0]: path=: a path is needed", -EINVAL },
    { "{\"serial\":{\"mode\":\"\"}}", "vm.json: serial: mode=: one of off, tty, file is needed",
      -EINVAL },
    { "{\"cpu\":{}}",
      "vm.json: unknown key 'cpu', did you mean 'cpus'? valid: cpus, memory, payload,", -EINVAL },
    { "{\"disks\":[{\"path\":\"/a\"},{\"pth\":1}]}",
      "vm.json: disks[1]: unknown key 'pth', did you mean 'path'? valid: path, readonly, id, "
      "serial",
      -EINVAL },
    { "{\"disks\":[{\"path\":\"/a\",\"ro\":true}]}",
      "vm.json: disks[0]: 'ro' is not a key of JSON: write 'readonly'", -EINVAL },
    { "{\"console-fd\":1}", "vm.json: 'console-fd' is not a key of JSON: write 'console_fd'",
      -EINVAL },
    { "{\"cpus\":{\"num\":1,\"boot_vcpus\":1}}",
      "vm.json: cpus: 'num' is given twice, under two names", -EINVAL },
    { "{\"cpus\":{\"num\":256}}", "vm.json: cpus: num=256: a number from 1 to 255 is needed",
      -ERANGE },
    { "{\"cpus\":{\"num\":-1}}", "vm.json: cpus: num=-1: a number from 1 to 255 is needed",
      -EINVAL },
    { "{\"cpus\":{\"num\":1.5}}", "vm.json: cpus: num=1.5: a number from 1 to 255 is needed",
      -EINVAL },
    { "{\"cpus\":{\"num\":true}}", "vm.json: cpus: num: a number is needed, not true or false",
      -EINVAL },
    { "{\"cpus\":{\"features\":[1]}}", "vm.json: cpus: features: a string is needed, not a number",
      -EINVAL },
    { "{\"cpus\":{\"features\":\"a\"}}",
      "vm.json: cpus: features: an array is needed, not a string", -EINVAL },
    { "{\"cpus\":[]}", "vm.json: cpus: an object is needed, not an array", -EINVAL },
    { "{\"memory\":{\"size\":{}}}",
      "vm.json: memory: size: a number of bytes or a string like \"2G\" is needed, not an object",
      -EINVAL },
    { "{\"memory\":{\"size\":1}}",
      "vm.json: memory: size=1: a size (4096, 64K, 256M, 2G, 1T) of at least 1M is needed",
      -ERANGE },
    { "{\"sandbox\":1}", "vm.json: sandbox: true or false is needed, not a number", -EINVAL },
    { "{\"disks\":{}}", "vm.json: disks: an array of objects is needed, not an object", -EINVAL },
    { "{\"disks\":[null]}", "vm.json: disks[0]: an object is needed, not null", -EINVAL },
    { "{\"disks\":[{}]}", "vm.json: disks[0]: 'path' is missing: image file", -EINVAL },
    { "{\"disks\":[{\"path\":null}]}", "vm.json: disks[0]: 'path' is missing: image file",
      -EINVAL },
    { "{\"tpm\":{}}", "vm.json: tpm: 'socket' is missing: socket of swtpm", -EINVAL },
    { "{\"devices\":[{}]}", "vm.json: devices[0]: needs the key \"class\" with a class's name",
      -EINVAL },
    { "{\"devices\":[{\"class\":\"virtio-rg\"}]}",
      "vm.json: devices[0]: unknown class 'virtio-rg', did you mean 'virtio-rng'? valid: "
      "virtio-rng,",
      -EINVAL },
    { "{\"devices\":[{\"class\":\"virtio-blk\"}]}",
      "vm.json: devices[0]: 'path' is missing: image file", -EINVAL },
    { "{\"tags\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}",
      "vm.json: tags: at most 4 elements are possible", -ERANGE },
};

Test(json, bad_text_is_refused_with_its_place)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++) {
        vm_prop_free(sample_props, &s);
        begin();

        int rc = load(bad[i].json);

        cr_assert_eq(rc, bad[i].code, "%s: %d %s", bad[i].json, rc, vm_error_text());
        cr_assert_eq(strncmp(vm_error_text(), bad[i].text, strlen(bad[i].text)), 0, "%s: '%s'",
                     bad[i].json, vm_error_text());
    }
}

Test(json, root_that_is_no_object_is_refused)
{
    cr_assert_eq(load("[]"), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "vm.json: an object is needed, not an array");
}

Test(json, depth_of_ten_thousand_is_refused_with_the_limit)
{
    char *text = malloc(10001);
    memset(text, '[', 10000);
    text[10000] = '\0';

    int rc = load(text);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_str_eq(vm_error_text(), "vm.json:1:33: nested deeper than the limit of 32 levels");
    free(text);
}

Test(json, brackets_inside_strings_are_no_depth)
{
    cr_assert_eq(load("{\"tags\":[\"[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]}"), 0, "%s",
                 vm_error_text());
}

Test(json, siblings_are_no_depth)
{
    char text[512] = "{\"tags\":[]";
    for (int i = 0; i < 40; i++)
        strcat(text, ",[]");
    strcat(text, "}");

    cr_assert_eq(load(text), -EINVAL);

    cr_assert_null(strstr(vm_error_text(), "deeper"), "%s", vm_error_text());
}

Test(json, text_beyond_the_limit_is_refused)
{
    int rc = vmm_config_load_json(&sample_model, &s, "vm.json", "", VMM_CONFIG_JSON_BYTES + 1);

    cr_assert_eq(rc, -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), "longer than the limit"));
}

static const char full[] =
    "{\"cpus\":{\"num\":2,\"max\":0,\"features\":[\"a,b\"]},"
    "\"memory\":{\"size\":1073741824,\"shared\":false,\"node\":0},"
    "\"payload\":{\"kernel\":\"/k "
    "\\\"\xc3\xa4\\\"\"},\"serial\":{\"mode\":\"file\",\"file\":\"/log\"},"
    "\"tpm\":{\"socket\":\"/t\",\"version\":2},\"sandbox\":false,\"console_fd\":7,"
    "\"disks\":[{\"path\":\"/a\",\"readonly\":true,\"serial\":9223372036854775807},"
    "{\"path\":\"/b\",\"readonly\":false,\"id\":\"b\",\"serial\":\"18446744073709551615\"}],"
    "\"devices\":[{\"class\":\"virtio-rng\",\"mode\":\"off\"}],\"tags\":[\"x\",\"\"]}";

Test(json, what_was_loaded_is_saved_to_the_same_text)
{
    cr_assert_eq(load(full), 0, "%s", vm_error_text());

    cr_assert_str_eq(save(VM_SURFACE_OWN, VMM_CONFIG_JSON_LINE), full);
}

Test(json, every_surface_and_form_loads_back_to_the_same)
{
    static const enum vm_surface surfaces[] = { VM_SURFACE_OWN, VM_SURFACE_CH };
    cr_assert_eq(load(full), 0, "%s", vm_error_text());

    for (int i = 0; i < 4; i++) {
        char *text =
            strdup(save(surfaces[i % 2], i / 2 ? VMM_CONFIG_JSON_PRETTY : VMM_CONFIG_JSON_LINE));

        vm_prop_free(sample_props, &s);
        begin();
        cr_assert_eq(load(text), 0, "%s", vm_error_text());
        cr_assert_str_eq(save(VM_SURFACE_OWN, VMM_CONFIG_JSON_LINE), full);
        free(text);
    }
}

Test(json, cloud_hypervisors_surface_has_its_names_and_words)
{
    const char *text = save(VM_SURFACE_CH, VMM_CONFIG_JSON_LINE);

    cr_assert_not_null(strstr(text, "\"boot_vcpus\":1"), "%s", text);
    cr_assert_not_null(strstr(text, "\"mode\":\"Tty\""), "%s", text);
    cr_assert_null(strstr(text, "\"num\""));
}

Test(json, what_was_not_given_is_left_out)
{
    const char *text = save(VM_SURFACE_OWN, VMM_CONFIG_JSON_LINE);

    cr_assert_str_eq(text, "{\"cpus\":{\"num\":1,\"max\":0},"
                           "\"memory\":{\"size\":268435456,\"shared\":false},\"payload\":{},"
                           "\"serial\":{\"mode\":\"tty\"},\"sandbox\":true}");
}

Test(json, pretty_form_ends_with_a_line)
{
    const char *text = save(VM_SURFACE_OWN, VMM_CONFIG_JSON_PRETTY);

    cr_assert_eq(text[out.len - 1], '\n');
    cr_assert_eq(text[out.len], '\0');
    cr_assert_not_null(strstr(text, "\n  \"memory\": {\n"));
}

Test(json, text_that_is_not_utf8_cannot_be_saved)
{
    s.payload.kernel = strdup("/k\xff");

    int rc = vmm_config_save_json(&sample_model, &s, VM_SURFACE_OWN, VMM_CONFIG_JSON_LINE, &out);

    cr_assert_eq(rc, -EILSEQ);
    cr_assert_eq(out.len, 0);
}

Test(json, text_that_is_not_utf8_in_a_list_cannot_be_saved)
{
    void *element;
    cr_assert_eq(vm_prop_push(&sample_props[7], &s, "x", NULL, &element), 0);
    ((struct sample_disk *)element)->path = strdup("\xff");

    int rc = vmm_config_save_json(&sample_model, &s, VM_SURFACE_OWN, VMM_CONFIG_JSON_LINE, &out);

    cr_assert_eq(rc, -EILSEQ);
}

static json_t *schema(enum vm_surface surface)
{
    json_error_t error;
    json_t *json;

    cr_assert_eq(vmm_config_json_schema(&sample_model, surface, &out), 0, "%s", vm_error_text());
    json = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(json, "%s", error.text);
    return json;
}

static json_t *get(json_t *json, const char *a, const char *b, const char *c, const char *d)
{
    const char *const names[] = { a, b, c, d };

    for (size_t i = 0; i < 4 && names[i]; i++)
        json = json_object_get(json, names[i]);
    return json;
}

Test(json, schema_tells_type_range_default_and_words)
{
    json_t *json = schema(VM_SURFACE_OWN);
    json_t *num = get(json, "properties", "cpus", "properties", "num");

    cr_assert_str_eq(json_string_value(json_object_get(num, "type")), "integer");
    cr_assert_eq(json_integer_value(json_object_get(num, "minimum")), 1);
    cr_assert_eq(json_integer_value(json_object_get(num, "maximum")), 255);
    cr_assert_eq(json_integer_value(json_object_get(num, "default")), 1);
    cr_assert_str_eq(json_string_value(json_object_get(num, "description")), "vCPUs at start");
    json_decref(json);
}

Test(json, schema_has_a_row_for_each_class)
{
    json_t *json = schema(VM_SURFACE_OWN);
    json_t *any = get(json, "properties", "devices", "items", "oneOf");

    cr_assert_eq(json_array_size(any), 2);
    cr_assert_str_eq(
        json_string_value(get(json_array_get(any, 0), "properties", "class", "const", NULL)),
        "virtio-rng");
    cr_assert_eq(json_array_size(json_object_get(json_array_get(any, 1), "required")), 2);
    json_decref(json);
}

Test(json, schema_of_a_surface_has_its_names)
{
    json_t *json = schema(VM_SURFACE_CH);
    json_t *mode = get(json, "properties", "serial", "properties", "mode");

    cr_assert_not_null(get(json, "properties", "cpus", "properties", "boot_vcpus"));
    cr_assert_str_eq(json_string_value(json_array_get(json_object_get(mode, "enum"), 1)), "Tty");
    cr_assert_str_eq(json_string_value(json_object_get(mode, "default")), "Tty");
    json_decref(json);
}

Test(json, schema_with_a_bad_preset_is_our_bug)
{
    static const struct vm_prop props[] = { { .name = "n", .type = VM_PROP_U32, .preset = "x" },
                                            { 0 } };
    static const struct vmm_config_model model = { props, NULL };

    cr_assert_eq(vmm_config_json_schema(&model, VM_SURFACE_OWN, &out), -EINVAL);
}
