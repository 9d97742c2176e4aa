/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Finding rows by path, and the check of our own tables. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "sample.h"

Test(model, path_leads_to_row_and_object)
{
    struct sample s;
    const struct vm_prop *prop;
    void *object;

    cr_assert_eq(vmm_config_find(&sample_model, &s, "memory.size", &prop, &object), 0);

    cr_assert_eq(prop, &sample_memory[0]);
    cr_assert_eq((char *)object + prop->offset, (char *)&s.memory.size);
}

Test(model, path_that_leads_nowhere_is_refused)
{
    const struct vm_prop *prop;
    void *object;

    cr_assert_eq(vmm_config_find(&sample_model, NULL, "memory.siz", &prop, &object), -EINVAL);
    cr_assert_eq(vmm_config_find(&sample_model, NULL, "sandbox.x", &prop, &object), -EINVAL);
    cr_assert_eq(vmm_config_find(&sample_model, NULL, "", &prop, &object), -EINVAL);
}

Test(model, class_is_found_with_dash_or_underscore)
{
    struct vm_prop_class row;

    cr_assert_eq(vmm_config_class(&sample_model, "x", "virtio_rng", 10, &row), 0);
    cr_assert_str_eq(row.name, "virtio-rng");
}

Test(model, model_without_classes_knows_none)
{
    static const struct vmm_config_model model = { sample_props, NULL };
    struct vm_prop_class row;

    cr_assert_eq(vmm_config_class(&model, "x", "a", 1, &row), -EINVAL);
}

Test(model, sample_is_sound)
{
    cr_assert_eq(vmm_config_check_command(&sample_run), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_config_check_command(&sample_stop), 0, "%s", vm_error_text());
}

static int call(void *ctx, const struct vmm_option *option, const char *value)
{
    (void)ctx;
    (void)option;
    (void)value;
    return 0;
}

struct bad {
    struct vmm_option rows[3];
    const char *text;
};

static const struct bad bad[] = {
    { { { .name = "a", .help = "x" } }, "cmd: a: needs a path or a call, not both" },
    { { { .name = "a", .help = "x", .path = "sandbox", .call = call } },
      "cmd: a: needs a path or a call, not both" },
    { { { .name = "a", .call = call } }, "cmd: a: needs a help line without full stop" },
    { { { .name = "a", .help = "x.", .call = call } },
      "cmd: a: needs a help line without full stop" },
    { { { .name = "a", .help = "x", .path = "memory.size" } },
      "cmd: a: without argument it needs a fixed value" },
    { { { .name = "a", .help = "x", .path = "disks", .argument = "X", .first = "y" } },
      "cmd: a: 'y' is no key of it" },
    { { { .name = "a", .help = "x", .call = call },
        { .name = "b", .help = "x", .call = call, .alias_ch = "a" } },
      "cmd: a: a name or letter of it is given twice" },
    { { { .name = "a", .letter = 'q', .help = "x", .call = call },
        { .name = "b", .letter = 'q', .help = "x", .call = call } },
      "cmd: a: a name or letter of it is given twice" },
};

Test(model, mistakes_in_tables_are_found)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++) {
        struct vmm_command c = { .name = "cmd", .options = bad[i].rows, .model = &sample_model };

        cr_assert_eq(vmm_config_check_command(&c), -EINVAL);
        cr_assert_str_eq(vm_error_text(), bad[i].text, "%s", vm_error_text());
    }
}

Test(model, path_to_nowhere_and_missing_model_are_found)
{
    static const struct vmm_option rows[] = { { .name = "a", .help = "x", .path = "no.where" },
                                              { 0 } };
    struct vmm_command c = { .name = "cmd", .operands = rows, .model = &sample_model };

    cr_assert_eq(vmm_config_check_command(&c), -EINVAL);
    c.model = NULL;
    cr_assert_eq(vmm_config_check_command(&c), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "cmd: a: the command has no model");
}

static const struct vm_prop bad_preset[] = { { .name = "n", .type = VM_PROP_U32, .preset = "x" },
                                             { 0 } };

static bool bad_at(void *ctx, size_t index, struct vm_prop_class *ret_class)
{
    (void)ctx;
    *ret_class = (struct vm_prop_class){ "bad", "", bad_preset, sizeof(uint32_t) };
    return index == 0;
}

Test(model, class_with_a_bad_preset_is_found)
{
    static const struct vmm_config_classes classes = { .at = bad_at };
    static const struct vmm_config_model model = { sample_props, &classes };
    struct vmm_command c = { .name = "cmd", .model = &model };

    cr_assert_eq(vmm_config_check_command(&c), -EINVAL);
    cr_assert_eq(strncmp(vm_error_text(), "class bad: ", 11), 0);
}
