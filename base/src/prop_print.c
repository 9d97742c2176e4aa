/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Property tables: an object written as the text that makes it. */
#include <vmm/base/prop.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "prop_priv.h"

enum { SCALAR_TEXT = 64 };

struct printing {
    struct vm_buffer *out;
    const char *prefix; /* "object." of a nested one */
    bool any;
};

static int add(struct vm_buffer *out, const char *text)
{
    return vm_buffer_add(out, text, strlen(text));
}

/* Always in quotes: the parser takes everything between them as it is. */
static int add_quoted(struct vm_buffer *out, const char *text)
{
    int rc = add(out, "\"");

    for (; !rc && *text; text++) {
        if (*text == '"' || *text == '\\')
            rc = add(out, "\\");
        if (!rc)
            rc = vm_buffer_add(out, text, 1);
    }
    return rc ? rc : add(out, "\"");
}

static bool is_text(enum vm_prop_type type)
{
    return type == VM_PROP_STRING || type == VM_PROP_PATH;
}

static int add_value(struct vm_buffer *out, const struct vm_prop *prop, const void *object)
{
    char text[SCALAR_TEXT];
    int n;

    if (is_text(prop->type))
        return add_quoted(out, *(char *const *)vm_prop_place_const(prop, object));
    n = vm_prop_format(prop, object, text, sizeof(text));
    return n < 0 ? n : add(out, text);
}

static int add_list(struct vm_buffer *out, const struct vm_prop *prop, const void *object)
{
    const struct vm_prop_list *list = vm_prop_place_const(prop, object);
    const struct vm_prop element = vm_prop_element(prop);
    size_t bytes = vm_prop_type_size(element.type);
    int rc = add(out, "[");

    for (uint32_t i = 0; !rc && i < list->count; i++) {
        if (i)
            rc = add(out, ",");
        if (!rc)
            rc = add_value(out, &element, (const char *)list->items + i * bytes);
    }
    return rc ? rc : add(out, "]");
}

/* What a parser would leave as it is. */
static bool is_preset(const struct vm_prop *prop, const void *object, const void *defaults)
{
    const void *value = vm_prop_place_const(prop, object);
    const void *preset = vm_prop_place_const(prop, defaults);

    if (prop->type == VM_PROP_LIST || prop->type == VM_PROP_OBJECTS)
        return !((const struct vm_prop_list *)value)->count;
    if (is_text(prop->type))
        return !*(char *const *)value;
    return !memcmp(value, preset, vm_prop_type_size(prop->type));
}

static int print(struct printing *p, const struct vm_prop *props, const void *object,
                 const void *defaults);

static int print_nested(struct printing *p, const struct vm_prop *prop, const void *object,
                        const void *defaults)
{
    struct vm_buffer name = { 0 };
    const char *outer = p->prefix;
    int rc = add(&name, outer);

    if (!rc)
        rc = add(&name, prop->name);
    if (!rc)
        rc = vm_buffer_add(&name, ".", 2); /* with its zero byte */
    if (!rc) {
        p->prefix = (const char *)name.data;
        rc = print(p, prop->props, vm_prop_place_const(prop, object),
                   vm_prop_place_const(prop, defaults));
        p->prefix = outer;
    }
    vm_buffer_free(&name);
    return rc;
}

/* "[[key=value,...],[...]]": each as an object of its own. */
static int add_objects(struct vm_buffer *out, const struct vm_prop *prop, const void *object)
{
    const struct vm_prop_list *list = vm_prop_place_const(prop, object);
    int rc = add(out, "[");

    for (uint32_t i = 0; !rc && i < list->count; i++) {
        rc = add(out, i ? ",[" : "[");
        if (!rc)
            rc = vm_prop_print(prop->props, (const char *)list->items + i * prop->element_size,
                               prop->element_size, out);
        if (!rc) {
            out->len--; /* its zero byte */
            rc = add(out, "]");
        }
    }
    return rc ? rc : add(out, "]");
}

static int print_one(struct printing *p, const struct vm_prop *prop, const void *object)
{
    int rc = p->any ? add(p->out, ",") : 0;

    p->any = true;
    if (!rc)
        rc = add(p->out, p->prefix);
    if (!rc)
        rc = add(p->out, prop->name);
    if (!rc)
        rc = add(p->out, "=");
    if (rc)
        return rc;
    if (prop->type == VM_PROP_OBJECTS)
        return add_objects(p->out, prop, object);
    return prop->type == VM_PROP_LIST ? add_list(p->out, prop, object)
                                      : add_value(p->out, prop, object);
}

static int print(struct printing *p, const struct vm_prop *props, const void *object,
                 const void *defaults)
{
    int rc = 0;

    for (const struct vm_prop *prop = props; !rc && prop->name; prop++) {
        if (prop->type == VM_PROP_VARIANTS)
            rc = vm_fail(-EINVAL, "%s: cannot be written as a value", prop->name);
        else if (prop->type == VM_PROP_OBJECT)
            rc = print_nested(p, prop, object, defaults);
        else if (!is_preset(prop, object, defaults))
            rc = print_one(p, prop, object);
    }
    return rc;
}

int vm_prop_print(const struct vm_prop *props, const void *object, size_t size,
                  struct vm_buffer *buffer)
{
    struct printing p = { .out = buffer, .prefix = "" };
    void *defaults = calloc(1, size ? size : 1);
    size_t before = buffer->len;
    int rc = defaults ? vm_prop_defaults(props, defaults) : -ENOMEM;

    if (!rc)
        rc = print(&p, props, object, defaults);
    if (!rc)
        rc = vm_buffer_add(buffer, "", 1);
    if (rc)
        buffer->len = before;
    if (defaults)
        vm_prop_free(props, defaults);
    free(defaults);
    return rc == -ENOMEM ? vm_fail(rc, "out of memory") : rc;
}
