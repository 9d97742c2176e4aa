/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Property tables: finding a row, the life of an object, and whether it is complete. */
#include <vmm/base/prop.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "prop_priv.h"

size_t vm_prop_type_size(enum vm_prop_type type)
{
    switch (type) {
    case VM_PROP_BOOL: return sizeof(bool);
    case VM_PROP_U32:
    case VM_PROP_ENUM: return sizeof(uint32_t);
    case VM_PROP_U64:
    case VM_PROP_SIZE: return sizeof(uint64_t);
    case VM_PROP_STRING:
    case VM_PROP_PATH: return sizeof(char *);
    case VM_PROP_FD: return sizeof(int);
    default: return 0;
    }
}

struct vm_prop vm_prop_element(const struct vm_prop *prop)
{
    return (struct vm_prop){
        .name = prop->name,
        .type = prop->element,
        .help = prop->help,
        .values = prop->values,
        .values_ch = prop->values_ch,
    };
}

static bool same_name(const char *have, const char *name, size_t len)
{
    if (!have || strlen(have) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char a = have[i] == '-' ? '_' : have[i], b = name[i] == '-' ? '_' : name[i];

        if (a != b)
            return false;
    }
    return true;
}

const struct vm_prop *vm_prop_find(const struct vm_prop *props, const char *name, size_t len)
{
    const struct vm_prop *p;

    for (p = props; p && p->name; p++) {
        if (same_name(p->name, name, len))
            return p;
    }
    for (p = props; p && p->name; p++) {
        if (same_name(p->alias_ch, name, len) || same_name(p->alias_crosvm, name, len))
            return p;
    }
    return NULL;
}

/* Zero, NULL, -1, whatever bytes were there. */
static void blank(const struct vm_prop *props, void *object)
{
    const int none = -1;

    for (const struct vm_prop *p = props; p && p->name; p++) {
        void *place = vm_prop_place(p, object);

        if (p->type == VM_PROP_OBJECT)
            blank(p->props, place);
        else if (p->type == VM_PROP_FD)
            memcpy(place, &none, sizeof(none));
        else if (vm_prop_type_size(p->type))
            memset(place, 0, vm_prop_type_size(p->type));
        else
            memset(place, 0, sizeof(struct vm_prop_list));
    }
}

static int set_presets(const struct vm_prop *props, void *object)
{
    int rc = 0;

    for (const struct vm_prop *p = props; !rc && p && p->name; p++) {
        if (p->type == VM_PROP_OBJECT)
            rc = set_presets(p->props, vm_prop_place(p, object));
        else if (p->preset)
            rc = vm_prop_set(p, object, "preset", p->preset, strlen(p->preset));
    }
    return rc == -ERANGE ? -EINVAL : rc;
}

int vm_prop_defaults(const struct vm_prop *props, void *object)
{
    int rc;

    blank(props, object);
    rc = set_presets(props, object);
    if (rc)
        vm_prop_free(props, object);
    return rc;
}

static size_t element_size(const struct vm_prop *p)
{
    return p->type == VM_PROP_VARIANTS ? sizeof(struct vm_prop_variant) : p->element_size;
}

static void free_element(const struct vm_prop *p, void *element)
{
    struct vm_prop_variant *variant = element;

    if (p->type == VM_PROP_OBJECTS) {
        vm_prop_free(p->props, element);
    } else {
        vm_prop_free(variant->class_row.props, variant->object);
        free(variant->object);
    }
}

static void free_list(const struct vm_prop *p, struct vm_prop_list *list)
{
    bool strings =
        p->type == VM_PROP_LIST && (p->element == VM_PROP_STRING || p->element == VM_PROP_PATH);

    for (uint32_t i = 0; i < list->count; i++) {
        if (strings)
            free(((char **)list->items)[i]);
        else if (p->type != VM_PROP_LIST)
            free_element(p, (char *)list->items + i * element_size(p));
    }
    free(list->items);
    *list = (struct vm_prop_list){ 0 };
}

void vm_prop_clear(const struct vm_prop *prop, void *object)
{
    struct vm_prop one[2] = { *prop, { 0 } };
    void *place = vm_prop_place(prop, object);

    switch (prop->type) {
    case VM_PROP_STRING:
    case VM_PROP_PATH: free(*(char **)place); break;
    case VM_PROP_LIST:
    case VM_PROP_OBJECTS:
    case VM_PROP_VARIANTS: free_list(prop, place); break;
    case VM_PROP_OBJECT: vm_prop_free(prop->props, place); break;
    default: break;
    }
    blank(one, object);
}

void vm_prop_free(const struct vm_prop *props, void *object)
{
    for (const struct vm_prop *p = props; p && p->name; p++)
        vm_prop_clear(p, object);
}

static int init_variant(const struct vm_prop_class *class_row, struct vm_prop_variant *variant)
{
    int rc;

    variant->class_row = *class_row;
    variant->object = calloc(1, class_row->size ? class_row->size : 1);
    if (!variant->object)
        return vm_fail(-ENOMEM, "%s: no memory for its properties", class_row->name);
    rc = vm_prop_defaults(class_row->props, variant->object);
    if (rc) {
        free(variant->object);
        variant->object = NULL;
    }
    return rc;
}

int vm_prop_push(const struct vm_prop *prop, void *object, const char *what,
                 const struct vm_prop_class *class_row, void **ret_element)
{
    struct vm_prop_list *list = vm_prop_place(prop, object);
    uint64_t max = prop->max ? prop->max : VM_PROP_OBJECTS_MAX;
    size_t size = element_size(prop);
    void *grown, *element;
    int rc;

    if (list->count >= max)
        return vm_fail(-ERANGE, "%s: %s: at most %llu are possible", what, prop->name,
                       (unsigned long long)max);
    grown = reallocarray(list->items, (size_t)list->count + 1, size);
    if (!grown)
        return vm_fail(-ENOMEM, "%s: %s: no memory for another element", what, prop->name);
    list->items = grown;
    element = (char *)grown + list->count * size;
    memset(element, 0, size);
    rc = class_row ? init_variant(class_row, element) : vm_prop_defaults(prop->props, element);
    if (rc)
        return rc;
    list->count++;
    *ret_element = element;
    return 0;
}

void vm_prop_pop(const struct vm_prop *prop, void *object)
{
    struct vm_prop_list *list = vm_prop_place(prop, object);

    if (!list->count)
        return;
    list->count--;
    free_element(prop, (char *)list->items + list->count * element_size(prop));
}

/* Whether the row was given, as far as the object can tell. */
static bool has_value(const struct vm_prop *p, const void *object)
{
    const void *place = vm_prop_place_const(p, object);

    switch (p->type) {
    case VM_PROP_STRING:
    case VM_PROP_PATH: return *(char *const *)place != NULL;
    case VM_PROP_FD: return *(const int *)place >= 0;
    case VM_PROP_U32: return *(const uint32_t *)place != 0;
    case VM_PROP_U64:
    case VM_PROP_SIZE: return *(const uint64_t *)place != 0;
    case VM_PROP_LIST:
    case VM_PROP_OBJECTS:
    case VM_PROP_VARIANTS: return ((const struct vm_prop_list *)place)->count > 0;
    default: return true; /* BOOL, ENUM: every value is one; OBJECT: see below */
    }
}

static int check_elements(const struct vm_prop *p, const void *object, const char *what)
{
    const struct vm_prop_list *list = vm_prop_place_const(p, object);
    char where[VM_ERROR_TEXT];
    int rc = 0;

    if (list->count && list->count < p->min)
        return vm_fail(-EINVAL, "%s: %s: %u given, at least %llu are needed", what, p->name,
                       list->count, (unsigned long long)p->min);
    for (uint32_t i = 0; !rc && p->type != VM_PROP_LIST && i < list->count; i++) {
        const void *element = (const char *)list->items + i * element_size(p);
        const struct vm_prop_variant *variant = element;

        snprintf(where, sizeof(where), "%s: %s[%u]", what, p->name, i);
        if (p->type == VM_PROP_OBJECTS)
            rc = vm_prop_check(p->props, element, where);
        else
            rc = vm_prop_check(variant->class_row.props, variant->object, where);
    }
    return rc;
}

int vm_prop_check(const struct vm_prop *props, const void *object, const char *what)
{
    int rc = 0;

    for (const struct vm_prop *p = props; !rc && p && p->name; p++) {
        if (p->required && !has_value(p, object))
            rc = vm_fail(-EINVAL, "%s: '%s' is missing: %s", what, p->name, p->help ? p->help : "");
        else if (p->type == VM_PROP_OBJECT && p->required)
            rc = vm_prop_check(p->props, vm_prop_place_const(p, object), what);
        else if (p->type >= VM_PROP_LIST && p->type != VM_PROP_OBJECT)
            rc = check_elements(p, object, what);
    }
    return rc;
}
