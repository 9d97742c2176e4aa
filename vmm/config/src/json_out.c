/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An object as JSON: a jansson tree is made from the tables and written into the buffer. */
#include <vmm/config/json.h>

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include <vmm/base/error.h>

#include "json_tree.h"
#include "text.h"

const char *vmm_config_json_name(const struct vm_prop *prop, enum vm_surface surface)
{
    return surface == VM_SURFACE_CH && prop->alias_ch ? prop->alias_ch : prop->name;
}

const char *const *vmm_config_json_words(const struct vm_prop *prop, enum vm_surface surface)
{
    return surface == VM_SURFACE_CH && prop->values_ch ? prop->values_ch : prop->values;
}

int vmm_config_json_add(json_t *object, const char *name, json_t *value)
{
    if (value && json_object_set_new(object, name, value) == 0)
        return 0;
    return vm_fail(-ENOMEM, "%s: no memory for its JSON", name);
}

/* Numbers beyond what JSON readers take as integers become strings, which the loader reads too. */
static json_t *number(const struct vm_prop *prop, uint64_t v)
{
    char text[32];

    if (v <= INT64_MAX)
        return json_integer((json_int_t)v);
    if (vm_prop_format(prop, &v, text, sizeof(text)) < 0)
        return NULL;
    return json_string(text);
}

json_t *vmm_config_json_scalar(const struct vm_prop *prop, const void *object,
                               enum vm_surface surface)
{
    const void *place = (const char *)object + prop->offset;
    struct vm_prop row = *prop;
    uint32_t u32;
    uint64_t u64;

    row.offset = 0;
    switch (prop->type) {
    case VM_PROP_BOOL: return json_boolean(*(const bool *)place);
    case VM_PROP_U32: memcpy(&u32, place, sizeof(u32)); return json_integer(u32);
    case VM_PROP_U64:
    case VM_PROP_SIZE: memcpy(&u64, place, sizeof(u64)); return number(&row, u64);
    case VM_PROP_FD: return json_integer(*(const int *)place);
    case VM_PROP_ENUM:
        memcpy(&u32, place, sizeof(u32));
        for (uint32_t i = 0; prop->values[i]; i++) {
            if (i == u32)
                return json_string(vmm_config_json_words(prop, surface)[i]);
        }
        return NULL;
    default: return json_string(*(char *const *)place);
    }
}

static int save_object(const struct vm_prop *props, const void *object, enum vm_surface surface,
                       json_t *json);

static int save_scalar(const struct vm_prop *prop, const void *object, enum vm_surface surface,
                       json_t **ret_json)
{
    *ret_json = vmm_config_json_scalar(prop, object, surface);
    if (*ret_json)
        return 0;
    return vm_fail(-EILSEQ, "%s: its value cannot be written as JSON: it is not UTF-8", prop->name);
}

static int save_element(const struct vm_prop *prop, const struct vm_prop_list *list, uint32_t i,
                        enum vm_surface surface, json_t **ret_json)
{
    struct vm_prop element = vm_prop_element(prop);
    const struct vm_prop_variant *variant;
    const char *items = list->items;
    int rc;

    if (prop->type == VM_PROP_LIST)
        return save_scalar(&element, items + i * vm_prop_type_size(prop->element), surface,
                           ret_json);
    *ret_json = json_object();
    if (prop->type == VM_PROP_OBJECTS) {
        rc = save_object(prop->props, items + i * prop->element_size, surface, *ret_json);
    } else {
        variant = (const void *)(items + i * sizeof(*variant));
        rc = vmm_config_json_add(*ret_json, VMM_CONFIG_JSON_CLASS,
                                 json_string(variant->class_row.name));
        if (!rc)
            rc = save_object(variant->class_row.props, variant->object, surface, *ret_json);
    }
    if (rc)
        json_decref(*ret_json);
    return rc;
}

static int save_list(const struct vm_prop *prop, const struct vm_prop_list *list,
                     enum vm_surface surface, json_t **ret_json)
{
    json_t *array = json_array(), *item;
    int rc = 0;

    for (uint32_t i = 0; !rc && i < list->count; i++) {
        rc = save_element(prop, list, i, surface, &item);
        if (!rc && json_array_append_new(array, item))
            rc = vm_fail(-ENOMEM, "%s: no memory for its JSON", prop->name);
    }
    if (rc)
        json_decref(array);
    else
        *ret_json = array;
    return rc;
}

/* An optional object that lacks a required member was not given. */
static bool was_given(const struct vm_prop *prop, const void *object)
{
    const char *place = (const char *)object + prop->offset;

    switch (prop->type) {
    case VM_PROP_STRING:
    case VM_PROP_PATH: return *(char *const *)(const void *)place != NULL;
    case VM_PROP_FD: return *(const int *)(const void *)place >= 0;
    case VM_PROP_LIST:
    case VM_PROP_OBJECTS:
    case VM_PROP_VARIANTS: return ((const struct vm_prop_list *)(const void *)place)->count > 0;
    case VM_PROP_OBJECT: return prop->required || vm_prop_check(prop->props, place, "") == 0;
    default: return true;
    }
}

static int save_value(const struct vm_prop *prop, const void *object, enum vm_surface surface,
                      json_t **ret_json)
{
    const char *place = (const char *)object + prop->offset;
    int rc;

    if (vm_prop_type_size(prop->type))
        return save_scalar(prop, object, surface, ret_json);
    if (vmm_config_is_optional(prop)) /* was_given() */
        return save_element(prop, (const void *)place, 0, surface, ret_json);
    if (prop->type != VM_PROP_OBJECT)
        return save_list(prop, (const void *)place, surface, ret_json);
    *ret_json = json_object();
    rc = save_object(prop->props, place, surface, *ret_json);
    if (rc)
        json_decref(*ret_json);
    return rc;
}

static int save_object(const struct vm_prop *props, const void *object, enum vm_surface surface,
                       json_t *json)
{
    json_t *value;
    int rc = 0;

    for (const struct vm_prop *p = props; !rc && p && p->name; p++) {
        if (!was_given(p, object))
            continue;
        rc = save_value(p, object, surface, &value);
        if (!rc)
            rc = vmm_config_json_add(json, vmm_config_json_name(p, surface), value);
    }
    return rc;
}

static int add_bytes(const char *bytes, size_t size, void *ctx)
{
    return vm_buffer_add(ctx, bytes, size) ? -1 : 0;
}

int vmm_config_json_write(const json_t *json, enum vmm_config_json_form form, struct vm_buffer *out)
{
    size_t flags = form == VMM_CONFIG_JSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT;
    struct vmm_config_text t = { .out = out };

    if (json_dump_callback(json, add_bytes, out, flags))
        return vm_fail(-ENOMEM, "no memory to write JSON");
    if (form == VMM_CONFIG_JSON_PRETTY)
        vmm_config_put(&t, "\n");
    return vmm_config_finish(&t);
}

int vmm_config_save_json(const struct vmm_config_model *model, const void *object,
                         enum vm_surface surface, enum vmm_config_json_form form,
                         struct vm_buffer *out)
{
    json_t *json = json_object();
    int rc = save_object(model->props, object, surface, json);

    if (!rc)
        rc = vmm_config_json_write(json, form, out);
    json_decref(json);
    return rc;
}
