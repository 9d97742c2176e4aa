/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The JSON schema of a model (JSON Schema 2020-12, which OpenAPI 3.1 uses as it is). */
#include <vmm/config/json.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "json_tree.h"
#include "text.h"

struct schema {
    const struct vmm_config_model *model;
    enum vm_surface surface;
};

static int put_object(const struct schema *s, const struct vm_prop *props, json_t *json);

static int put_text(json_t *json, const char *name, const char *text)
{
    return vmm_config_json_add(json, name, json_string(text));
}

/* A bound that JSON integers cannot hold is no bound. */
static int put_number(json_t *json, const char *name, uint64_t v)
{
    return v > INT64_MAX ? 0 : vmm_config_json_add(json, name, json_integer((json_int_t)v));
}

static int put_words(const struct schema *s, const struct vm_prop *prop, json_t *json)
{
    const char *const *words = vmm_config_json_words(prop, s->surface);
    json_t *array = json_array();

    for (size_t i = 0; words[i]; i++) {
        if (json_array_append_new(array, json_string(words[i]))) {
            json_decref(array);
            return vm_fail(-ENOMEM, "%s: no memory for its schema", prop->name);
        }
    }
    return vmm_config_json_add(json, "enum", array);
}

static uint64_t type_max(const struct vm_prop *prop)
{
    return prop->max                   ? prop->max
           : prop->type == VM_PROP_U32 ? UINT32_MAX
           : prop->type == VM_PROP_FD  ? INT32_MAX
                                       : UINT64_MAX;
}

static int put_integer(const struct vm_prop *prop, json_t *json)
{
    int rc = put_text(json, "type", "integer");

    if (!rc)
        rc = put_number(json, "minimum", prop->min);
    return rc ? rc : put_number(json, "maximum", type_max(prop));
}

/* Bytes, or a text with a unit. */
static int put_size(const struct vm_prop *prop, json_t *json)
{
    json_t *array = json_array(), *bytes = json_object(), *text = json_object();
    int rc = put_integer(prop, bytes);

    if (!rc)
        rc = put_text(text, "type", "string");
    if (!rc)
        rc = put_text(text, "pattern", "^[0-9]+[KMGTkmgt]?$");
    json_array_append_new(array, bytes);
    json_array_append_new(array, text);
    if (rc) {
        json_decref(array);
        return rc;
    }
    return vmm_config_json_add(json, "anyOf", array);
}

static int put_string(const struct vm_prop *prop, json_t *json)
{
    int rc = put_text(json, "type", "string");

    return rc || !prop->max ? rc : put_number(json, "maxLength", prop->max);
}

/* The items of an array: one schema, or one per class. */
static int put_classes(const struct schema *s, json_t *items)
{
    const struct vmm_config_classes *classes = s->model->classes;
    json_t *any = json_array();
    struct vm_prop_class row;
    int rc = 0;

    for (size_t i = 0; !rc && classes && classes->at(classes->ctx, i, &row); i++) {
        json_t *json = json_object();

        rc = put_object(s, row.props, json);
        if (!rc)
            rc = put_text(json, "description", row.summary);
        if (!rc)
            rc = vmm_config_json_add(json_object_get(json, "properties"), VMM_CONFIG_JSON_CLASS,
                                     json_pack("{s:s}", "const", row.name));
        if (!rc && !json_object_get(json, "required"))
            rc = vmm_config_json_add(json, "required", json_array());
        if (!rc)
            json_array_append_new(json_object_get(json, "required"),
                                  json_string(VMM_CONFIG_JSON_CLASS));
        json_array_append_new(any, json);
    }
    if (rc) {
        json_decref(any);
        return rc;
    }
    return vmm_config_json_add(items, "oneOf", any);
}

static int put_value(const struct schema *s, const struct vm_prop *prop, json_t *json);

static int put_array(const struct schema *s, const struct vm_prop *prop, json_t *json)
{
    struct vm_prop element = vm_prop_element(prop);
    json_t *items = json_object();
    int rc;

    if (prop->type == VM_PROP_LIST)
        rc = put_value(s, &element, items);
    else if (prop->type == VM_PROP_OBJECTS)
        rc = put_object(s, prop->props, items);
    else
        rc = put_classes(s, items);
    if (!rc)
        rc = put_text(json, "type", "array");
    if (!rc && prop->min)
        rc = put_number(json, "minItems", prop->min);
    if (!rc && prop->max)
        rc = put_number(json, "maxItems", prop->max);
    if (rc) {
        json_decref(items);
        return rc;
    }
    return vmm_config_json_add(json, "items", items);
}

static int put_value(const struct schema *s, const struct vm_prop *prop, json_t *json)
{
    struct vm_prop element;
    int rc;

    if (vmm_config_is_optional(prop)) {
        if (prop->type == VM_PROP_OBJECTS)
            return put_object(s, prop->props, json);
        element = vm_prop_element(prop);
        return put_value(s, &element, json);
    }
    switch (prop->type) {
    case VM_PROP_BOOL: return put_text(json, "type", "boolean");
    case VM_PROP_U32:
    case VM_PROP_U64:
    case VM_PROP_FD: return put_integer(prop, json);
    case VM_PROP_SIZE: return put_size(prop, json);
    case VM_PROP_ENUM:
        rc = put_text(json, "type", "string");
        return rc ? rc : put_words(s, prop, json);
    case VM_PROP_STRING:
    case VM_PROP_PATH: return put_string(prop, json);
    case VM_PROP_OBJECT: return put_object(s, prop->props, json);
    default: return put_array(s, prop, json);
    }
}

/* The preset as a value of its type. */
static int put_default(const struct schema *s, const struct vm_prop *prop, json_t *json)
{
    union {
        uint64_t u64;
        char *text;
    } room = { 0 };
    struct vm_prop one[2] = { *prop, { 0 } };
    json_t *value;
    int rc;

    if (!prop->preset || !vm_prop_type_size(prop->type))
        return 0;
    one[0].offset = 0;
    rc = vm_prop_defaults(one, &room);
    if (rc)
        return rc;
    value = vmm_config_json_scalar(&one[0], &room, s->surface);
    vm_prop_free(one, &room);
    return vmm_config_json_add(json, "default", value);
}

static int put_property(const struct schema *s, const struct vm_prop *prop, json_t *properties)
{
    json_t *json = json_object();
    int rc = put_value(s, prop, json);

    if (!rc && prop->help)
        rc = put_text(json, "description", prop->help);
    if (!rc)
        rc = put_default(s, prop, json);
    if (rc) {
        json_decref(json);
        return rc;
    }
    return vmm_config_json_add(properties, vmm_config_json_name(prop, s->surface), json);
}

static int put_object(const struct schema *s, const struct vm_prop *props, json_t *json)
{
    json_t *properties = json_object(), *required = json_array();
    int rc = 0;

    for (const struct vm_prop *p = props; !rc && p && p->name; p++) {
        rc = put_property(s, p, properties);
        if (!rc && p->required)
            json_array_append_new(required, json_string(vmm_config_json_name(p, s->surface)));
    }
    if (!rc)
        rc = put_text(json, "type", "object");
    if (!rc)
        rc = vmm_config_json_add(json, "properties", json_incref(properties));
    if (!rc && json_array_size(required))
        rc = vmm_config_json_add(json, "required", json_incref(required));
    if (!rc)
        rc = vmm_config_json_add(json, "additionalProperties", json_false());
    json_decref(properties);
    json_decref(required);
    return rc;
}

int vmm_config_json_schema(const struct vmm_config_model *model, enum vm_surface surface,
                           struct vm_buffer *out)
{
    struct schema s = { model, surface };
    json_t *json = json_object();
    int rc = put_object(&s, model->props, json);

    if (!rc)
        rc = vmm_config_json_write(json, VMM_CONFIG_JSON_PRETTY, out);
    json_decref(json);
    return rc;
}
