/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One value of an option into the object. */
#include <vmm/config/args.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/config/help.h>

#include "text.h"

/* What every step needs. */
struct apply {
    const struct vmm_config_model *model;
    const struct vmm_option *option;
    const char *what;
    struct vm_buffer *out;
};

/* The suffix that makes a bare number count the option's unit. */
static const char *unit_suffix(uint64_t unit)
{
    return unit == 1ULL << 10 ? "K" : unit == 1ULL << 20 ? "M" : unit == 1ULL << 30 ? "G" : "";
}

/* The user's text with its unit and the fixed part, to be freed; NULL without memory. */
static char *complete_text(const struct vmm_option *option, const char *text)
{
    size_t digits = strspn(text, "0123456789");
    bool bare = digits && (!text[digits] || text[digits] == ',');
    const char *suffix = bare ? unit_suffix(option->unit) : "";
    const char *fixed = option->fixed ? option->fixed : "";
    char *whole;

    if (asprintf(&whole, "%.*s%s%s%s%s", (int)digits, text, suffix, text + digits,
                 *text && *fixed ? "," : "", fixed) < 0)
        return NULL;
    return whole;
}

static int parse_object(const struct apply *a, const struct vm_prop *props, void *object,
                        const char *what, const char *first, const char *text)
{
    char *whole = complete_text(a->option, text);
    int rc;

    if (!whole)
        return vm_fail(-ENOMEM, "%s: no memory", what);
    rc = vm_prop_parse(props, object, what, first, whole);
    free(whole);
    if (rc == -EINVAL && a->option->fixed)
        return vm_fail(rc, "%s (%s itself says %s)", vm_error_text(), what, a->option->fixed);
    return rc;
}

/* The value with its quotes, if any, is no key: only the bare word asks for help. */
static bool asks_help(const char *text)
{
    return strcmp(text, "help") == 0;
}

static int tell_keys(const struct apply *a, const struct vm_prop *props, const char *name,
                     const char *summary)
{
    char title[VM_ERROR_TEXT];
    int rc;

    snprintf(title, sizeof(title), "%s%s%s: %s", a->what, name ? " " : "", name ? name : "",
             summary);
    rc = vmm_config_help_props(props, title, 0, a->out);
    return rc ? rc : VMM_CONFIG_HELP;
}

static int tell_classes(const struct apply *a)
{
    char title[VM_ERROR_TEXT];
    int rc;

    snprintf(title, sizeof(title), "%s: %s; CLASS,help lists the keys of one", a->what,
             a->option->help ? a->option->help : "");
    rc = vmm_config_help_classes(a->model->classes, title, 0, a->out);
    return rc ? rc : VMM_CONFIG_HELP;
}

static int apply_scalar(const struct apply *a, const struct vm_prop *prop, void *object,
                        const char *text)
{
    char *whole;
    int rc;

    if (!text)
        text = a->option->fixed ? a->option->fixed : "on";
    if (prop->type != VM_PROP_SIZE || !a->option->unit)
        return vm_prop_set(prop, object, a->what, text, strlen(text));
    whole = complete_text(&(struct vmm_option){ .unit = a->option->unit }, text);
    if (!whole)
        return vm_fail(-ENOMEM, "%s: no memory", a->what);
    rc = vm_prop_set(prop, object, a->what, whole, strlen(whole));
    free(whole);
    return rc;
}

static int apply_element(const struct apply *a, const struct vm_prop *prop, void *object,
                         const char *text)
{
    void *element;
    int rc;

    if (asks_help(text))
        return tell_keys(a, prop->props, NULL, a->option->help);
    rc = vm_prop_push(prop, object, a->what, NULL, &element);
    if (rc)
        return rc;
    rc = parse_object(a, prop->props, element, a->what, a->option->first, text);
    if (rc)
        vm_prop_pop(prop, object);
    return rc;
}

/* Cuts the class off the text: "NAME,key=value". Without a name it is the implied one. */
static int take_class(const struct apply *a, const char **text, struct vm_prop_class *ret_class)
{
    const char *implied = a->model->classes ? a->model->classes->implied : NULL;
    size_t len = strcspn(*text, ",=");
    int rc;

    if ((*text)[len] == '=') {
        if (!implied)
            return vm_fail(-EINVAL, "%s: the name of a class comes first: NAME,KEY=VALUE,...",
                           a->what);
        return vmm_config_class(a->model, a->what, implied, strlen(implied), ret_class);
    }
    rc = vmm_config_class(a->model, a->what, *text, len, ret_class);
    if (rc)
        return rc;
    *text += len;
    if (**text == ',' && !*++*text)
        return vm_fail(-EINVAL, "%s: nothing follows the last comma", a->what);
    return 0;
}

static int apply_variant(const struct apply *a, const struct vm_prop *prop, void *object,
                         const char *text)
{
    const struct vm_prop_variant *variant;
    struct vm_prop_class class_row;
    char where[VM_ERROR_TEXT];
    void *element;
    int rc;

    if (asks_help(text))
        return tell_classes(a);
    rc = take_class(a, &text, &class_row);
    if (rc)
        return rc;
    if (asks_help(text))
        return tell_keys(a, class_row.props, class_row.name, class_row.summary);
    snprintf(where, sizeof(where), "%s %s", a->what, class_row.name);
    rc = vm_prop_push(prop, object, where, &class_row, &element);
    if (rc)
        return rc;
    variant = element;
    rc = parse_object(a, class_row.props, variant->object, where, NULL, text);
    if (rc)
        vm_prop_pop(prop, object);
    return rc;
}

int vmm_config_apply(const struct vmm_config_model *model, const struct vmm_option *option,
                     void *object, const char *what, const char *value, struct vm_buffer *out)
{
    struct apply a = { model, option, what, out };
    const char *text = value ? value : "";
    const struct vm_prop *prop;
    void *target;
    int rc = vmm_config_find(model, object, option->path, &prop, &target);

    if (rc)
        return rc;
    switch (prop->type) {
    case VM_PROP_LIST: return vm_prop_append(prop, target, what, text, strlen(text));
    case VM_PROP_OBJECT:
        if (asks_help(text))
            return tell_keys(&a, prop->props, NULL, option->help);
        return parse_object(&a, prop->props, (char *)target + prop->offset, what, option->first,
                            text);
    case VM_PROP_OBJECTS: return apply_element(&a, prop, target, text);
    case VM_PROP_VARIANTS: return apply_variant(&a, prop, target, text);
    default: return apply_scalar(&a, prop, target, value);
    }
}
