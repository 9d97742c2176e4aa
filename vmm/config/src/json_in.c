/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * JSON into an object. jansson (RFC 8259, duplicate keys refused) makes a tree of the text; the
 * tables decide what of it is taken. Depth is bounded before jansson sees the text: its own bound
 * is fixed when it is compiled, and it recurses.
 */
#include <vmm/config/json.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <vmm/base/error.h>

#include "text.h"

#define ROWS_MAX 256u

/* A place in the tree, for errors: "vm.json: disks[0]". */
struct place {
    char text[VM_ERROR_TEXT];
};

static int load_object(const struct vmm_config_model *model, const struct vm_prop *props,
                       void *object, const struct place *at, json_t *json, const char *skip,
                       bool root);

static int check_depth(const char *what, const char *text, size_t len)
{
    unsigned depth = 0, line = 1, column = 0;
    bool string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        column++;
        if (c == '\n') {
            line++;
            column = 0;
        } else if (string && c == '\\') {
            i++;
            column++;
        } else if (c == '"') {
            string = !string;
        } else if (!string && (c == '[' || c == '{') && ++depth > VMM_CONFIG_JSON_DEPTH) {
            return vm_fail(-EINVAL, "%s:%u:%u: nested deeper than the limit of %u levels", what,
                           line, column, VMM_CONFIG_JSON_DEPTH);
        } else if (!string && (c == ']' || c == '}') && depth) {
            depth--;
        }
    }
    return 0;
}

static const char *type_name(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_NULL: return "null";
    default: return "true or false";
    }
}

static const char *wanted_name(enum vm_prop_type type)
{
    switch (type) {
    case VM_PROP_BOOL: return "true or false";
    case VM_PROP_U32:
    case VM_PROP_U64:
    case VM_PROP_FD: return "a number";
    case VM_PROP_SIZE: return "a number of bytes or a string like \"2G\"";
    case VM_PROP_LIST: return "an array";
    case VM_PROP_OBJECT: return "an object";
    case VM_PROP_OBJECTS:
    case VM_PROP_VARIANTS: return "an array of objects";
    default: return "a string";
    }
}

static int wrong_type(const struct vm_prop *prop, const struct place *at, const json_t *json)
{
    return vm_fail(-EINVAL, "%s: %s: %s is needed, not %s", at->text, prop->name,
                   wanted_name(prop->type), type_name(json));
}

/* The text of a scalar as the command line would have it; NULL where its JSON type is wrong. */
static const char *scalar_text(const struct vm_prop *prop, const json_t *json, char *room,
                               size_t size, size_t *ret_len)
{
    bool number = prop->type == VM_PROP_U32 || prop->type == VM_PROP_U64 ||
                  prop->type == VM_PROP_SIZE || prop->type == VM_PROP_FD;
    const char *text = NULL;

    if (json_is_string(json)) {
        *ret_len = json_string_length(json);
        return json_string_value(json);
    }
    if (json_is_boolean(json) && prop->type == VM_PROP_BOOL)
        text = json_is_true(json) ? "on" : "off";
    if (json_is_integer(json) && number) {
        snprintf(room, size, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        text = room;
    } else if (json_is_real(json) && number) {
        snprintf(room, size, "%g", json_real_value(json));
        text = room;
    }
    *ret_len = text ? strlen(text) : 0;
    return text;
}

static int load_scalar(const struct vm_prop *prop, void *object, const struct place *at,
                       const json_t *json)
{
    char room[40];
    size_t len;
    const char *text = scalar_text(prop, json, room, sizeof(room), &len);

    if (!text)
        return wrong_type(prop, at, json);
    return vm_prop_set(prop, object, at->text, text, len);
}

static int append_scalar(const struct vm_prop *prop, void *object, const struct place *at,
                         const json_t *json)
{
    struct vm_prop element = vm_prop_element(prop);
    char room[40];
    size_t len;
    const char *text = scalar_text(&element, json, room, sizeof(room), &len);

    if (!text)
        return wrong_type(&element, at, json);
    return vm_prop_append(prop, object, at->text, text, len);
}

/* Makes the place of a member or, with an index, of an element. */
static struct place below(const struct place *at, const char *name, const size_t *index, bool root)
{
    struct place p;
    size_t len = strlen(at->text);

    memcpy(p.text, at->text, len + 1);
    snprintf(p.text + len, sizeof(p.text) - len, "%s%s", root ? ": " : ".", name);
    len = strlen(p.text);
    if (index)
        snprintf(p.text + len, sizeof(p.text) - len, "[%zu]", *index);
    return p;
}

static int push_variant(const struct vmm_config_model *model, const struct vm_prop *prop,
                        void *object, const struct place *at, json_t *json)
{
    const json_t *name = json_object_get(json, VMM_CONFIG_JSON_CLASS);
    const struct vm_prop_variant *variant;
    struct vm_prop_class class_row;
    void *element;
    int rc;

    if (!json_is_string(name))
        return vm_fail(-EINVAL,
                       "%s: needs the key \"" VMM_CONFIG_JSON_CLASS "\" with a class's name",
                       at->text);
    rc = vmm_config_class(model, at->text, json_string_value(name), json_string_length(name),
                          &class_row);
    if (!rc)
        rc = vm_prop_push(prop, object, at->text, &class_row, &element);
    if (rc)
        return rc;
    variant = element;
    return load_object(model, class_row.props, variant->object, at, json, VMM_CONFIG_JSON_CLASS,
                       false);
}

static int push_object(const struct vmm_config_model *model, const struct vm_prop *prop,
                       void *object, const struct place *at, json_t *json)
{
    void *element;
    int rc;

    if (!json_is_object(json))
        return vm_fail(-EINVAL, "%s: an object is needed, not %s", at->text, type_name(json));
    if (prop->type == VM_PROP_VARIANTS)
        return push_variant(model, prop, object, at, json);
    rc = vm_prop_push(prop, object, at->text, NULL, &element);
    return rc ? rc : load_object(model, prop->props, element, at, json, NULL, false);
}

/* A list that is given replaces the old one. */
static int load_array(const struct vmm_config_model *model, const struct vm_prop *prop,
                      void *object, const struct place *at, json_t *json, bool root)
{
    struct vm_prop one[2] = { *prop, { 0 } };
    json_t *item;
    size_t i;
    int rc = 0;

    if (!json_is_array(json))
        return wrong_type(prop, at, json);
    vm_prop_free(one, object);
    json_array_foreach(json, i, item)
    {
        struct place p = below(at, prop->name, &i, root);

        if (prop->type == VM_PROP_LIST)
            rc = append_scalar(prop, object, at, item);
        else
            rc = push_object(model, prop, object, &p, item);
        if (rc)
            return rc;
    }
    return 0;
}

/* The value itself in place of a list of one. */
static int load_optional(const struct vmm_config_model *model, const struct vm_prop *prop,
                         void *object, const struct place *at, json_t *json, bool root)
{
    struct vm_prop one[2] = { *prop, { 0 } };
    struct place p = below(at, prop->name, NULL, root);

    vm_prop_free(one, object);
    return prop->type == VM_PROP_OBJECTS ? push_object(model, prop, object, &p, json)
                                         : append_scalar(prop, object, at, json);
}

static int load_value(const struct vmm_config_model *model, const struct vm_prop *prop,
                      void *object, const struct place *at, json_t *json, bool root)
{
    struct place p;

    if (vmm_config_is_optional(prop))
        return load_optional(model, prop, object, at, json, root);
    switch (prop->type) {
    case VM_PROP_LIST:
    case VM_PROP_OBJECTS:
    case VM_PROP_VARIANTS: return load_array(model, prop, object, at, json, root);
    case VM_PROP_OBJECT:
        if (!json_is_object(json))
            return wrong_type(prop, at, json);
        p = below(at, prop->name, NULL, root);
        return load_object(model, prop->props, (char *)object + prop->offset, &p, json, NULL,
                           false);
    default: return load_scalar(prop, object, at, json);
    }
}

/* The row of a key, which must be a name of this surface and not have been there under another. */
static int find_row(const struct vm_prop *props, const struct place *at, const char *key,
                    bool seen[static ROWS_MAX], const struct vm_prop **ret_prop)
{
    const struct vm_prop *prop = vm_prop_find(props, key, strlen(key));
    size_t index;

    if (!prop)
        return vm_prop_unknown(props, at->text, key, strlen(key));
    if (strcmp(prop->name, key) != 0 && (!prop->alias_ch || strcmp(prop->alias_ch, key) != 0))
        return vm_fail(-EINVAL, "%s: '%s' is not a key of JSON: write '%s'", at->text, key,
                       prop->name);
    index = (size_t)(prop - props);
    if (index >= ROWS_MAX)
        return vm_fail(-EINVAL, "%s: a table of over %u rows", at->text, ROWS_MAX);
    if (seen[index])
        return vm_fail(-EINVAL, "%s: '%s' is given twice, under two names", at->text, prop->name);
    seen[index] = true;
    *ret_prop = prop;
    return 0;
}

static int check_required(const struct vm_prop *props, const void *object, const struct place *at,
                          const bool seen[static ROWS_MAX])
{
    for (size_t i = 0; props && props[i].name && i < ROWS_MAX; i++) {
        struct vm_prop one[2] = { props[i], { 0 } };
        int rc = seen[i] ? 0 : vm_prop_check(one, object, at->text);

        if (rc)
            return rc;
    }
    return 0;
}

static int load_object(const struct vmm_config_model *model, const struct vm_prop *props,
                       void *object, const struct place *at, json_t *json, const char *skip,
                       bool root)
{
    bool seen[ROWS_MAX] = { false };
    const struct vm_prop *prop = NULL;
    const char *key;
    json_t *value;
    int rc;

    json_object_foreach(json, key, value)
    {
        if (skip && strcmp(key, skip) == 0)
            continue;
        rc = find_row(props, at, key, seen, &prop);
        if (!rc && json_is_null(value))
            seen[prop - props] = false;
        else if (!rc)
            rc = load_value(model, prop, object, at, value, root);
        if (rc)
            return rc;
    }
    return root ? 0 : check_required(props, object, at, seen);
}

const char *vmm_config_json_why(int code, const char *text, char *ret_words, size_t room)
{
    const char *near = strstr(text, " near "), *words = NULL, *cure = "";

    switch (code) {
    case json_error_null_character:
    case json_error_null_byte_in_key:
        words = "a text must not have a zero byte (\\u0000)";
        cure = ": leave it out";
        break;
    case json_error_numeric_overflow:
        words = "a number beyond 64 bits";
        cure = ": write numbers above 2^63 - 1 as a string";
        break;
    case json_error_duplicate_key: cure = ": give each key once"; break;
    case json_error_invalid_utf8: cure = ": JSON is UTF-8 (RFC 8259, section 8.1)"; break;
    case json_error_premature_end_of_input:
        cure = ": a quote, ] or } is missing, or the text was cut off";
        break;
    case json_error_end_of_input_expected: cure = ": one JSON object is all there can be"; break;
    default: break;
    }
    snprintf(ret_words, room, "%s%s%s", words ? words : text, words && near ? near : "", cure);
    return ret_words;
}

int vmm_config_load_json(const struct vmm_config_model *model, void *object, const char *what,
                         const char *untrusted, size_t len)
{
    struct place at;
    char words[VM_ERROR_TEXT];
    json_error_t error;
    json_t *json;
    int rc;

    if (len > VMM_CONFIG_JSON_BYTES)
        return vm_fail(-EINVAL, "%s: %zu bytes are longer than the limit of %u", what, len,
                       VMM_CONFIG_JSON_BYTES);
    rc = check_depth(what, untrusted, len);
    if (rc)
        return rc;
    json = json_loadb(untrusted, len, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return vm_fail(
            -EINVAL, "%s:%d:%d: %s", what, error.line, error.column,
            vmm_config_json_why((int)json_error_code(&error), error.text, words, sizeof(words)));
    snprintf(at.text, sizeof(at.text), "%s", what);
    if (json_is_object(json))
        rc = load_object(model, model->props, object, &at, json, NULL, true);
    else
        rc = vm_fail(-EINVAL, "%s: an object is needed, not %s", what, type_name(json));
    json_decref(json);
    return rc;
}
