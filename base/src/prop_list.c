/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Property tables: lists, and the quotes of the command line. A list is [a,b,"c,d"] or one
 * value; of objects, [[key=value,...],[...]] or one [key=value,...]. */
#include <vmm/base/prop.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "prop_priv.h"

size_t vm_prop_quoted(const char *text, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (text[i] == '\\' && i + 1 < len)
            i++;
        else if (text[i] == '"')
            return i + 1;
    }
    return 0;
}

char *vm_prop_unquote(const char *quoted, size_t len, size_t *ret_len)
{
    char *plain = malloc(len + 1);
    size_t n = 0;

    if (!plain)
        return NULL;
    for (size_t i = 1; i + 1 < len; i++) {
        if (quoted[i] == '\\' && i + 2 < len)
            i++;
        plain[n++] = quoted[i];
    }
    plain[n] = '\0';
    *ret_len = n;
    return plain;
}

int vm_prop_list_item(const char *what, const char *key, const char *text, size_t len,
                      size_t *ret_len)
{
    size_t depth = 0, i = 0;

    while (i < len && (depth || text[i] != ',')) {
        if (text[i] == '"') {
            size_t quoted = vm_prop_quoted(text + i, len - i);

            if (!quoted)
                return vm_fail(-EINVAL, "%s: %s: a quote (\") has no end", what, key);
            i += quoted;
            continue;
        }
        depth += text[i] == '[';
        if (text[i] == ']' && depth)
            depth--;
        i++;
    }
    if (depth)
        return vm_fail(-EINVAL, "%s: %s: a bracket '[' has no end ']'", what, key);
    *ret_len = i;
    return 0;
}

int vm_prop_append(const struct vm_prop *prop, void *object, const char *what, const char *text,
                   size_t len)
{
    struct vm_prop_list *list = vm_prop_place(prop, object);
    uint64_t max = prop->max ? prop->max : VM_PROP_LIST_MAX;
    struct vm_prop element = vm_prop_element(prop);
    size_t size = vm_prop_type_size(prop->element);
    char *grown;
    int rc;

    if (list->count >= max)
        return vm_fail(-ERANGE, "%s: %s: at most %" PRIu64 " elements are possible", what,
                       prop->name, max);
    if (!size)
        return vm_fail(-EINVAL, "%s: %s: its table names no type of element", what, prop->name);
    grown = reallocarray(list->items, (size_t)list->count + 1, size);
    if (!grown)
        return vm_fail(-ENOMEM, "%s: %s: no memory for another element", what, prop->name);
    list->items = grown;
    rc = vm_prop_set_raw(&element, grown + list->count * size, what, text, len);
    if (!rc)
        list->count++;
    return rc;
}

/* One element as the command line has it, perhaps quoted. */
static int append_item(const struct vm_prop *prop, void *object, const char *what, const char *text,
                       size_t len)
{
    char *plain;
    size_t plain_len;
    int rc;

    if (!len)
        return vm_fail(-EINVAL,
                       "%s: %s: an element of the list is empty (use \"\" for an empty text)", what,
                       prop->name);
    if (text[0] != '"' || vm_prop_quoted(text, len) != len)
        return vm_prop_append(prop, object, what, text, len);
    plain = vm_prop_unquote(text, len, &plain_len);
    if (!plain)
        return vm_fail(-ENOMEM, "%s: %s: no memory", what, prop->name);
    rc = vm_prop_append(prop, object, what, plain, plain_len);
    free(plain);
    return rc;
}

static int append_all(const struct vm_prop *prop, void *object, const char *what, const char *text,
                      size_t len)
{
    size_t item;
    int rc;

    while (len) {
        rc = vm_prop_list_item(what, prop->name, text, len, &item);
        if (!rc)
            rc = append_item(prop, object, what, text, item);
        if (rc)
            return rc;
        text += item;
        len -= item;
        if (len == 1) /* a comma that nothing follows */
            return append_item(prop, object, what, text, 0);
        if (len) {
            text++;
            len--;
        }
    }
    return 0;
}

/* Fills a list of its own first, so that the old value survives a failure. */
static int set_list(const struct vm_prop *prop, void *object, const char *what, const char *text,
                    size_t len)
{
    struct vm_prop fresh = *prop;
    struct vm_prop_list list = { 0 };
    int rc;

    fresh.offset = 0;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
        rc = append_all(&fresh, &list, what, text + 1, len - 2);
    else
        rc = append_item(&fresh, &list, what, text, len);
    if (!rc && list.count < prop->min)
        rc = vm_fail(-ERANGE, "%s: %s: %u elements given, at least %" PRIu64 " are needed", what,
                     prop->name, list.count, prop->min);
    if (rc) {
        vm_prop_clear(&fresh, &list);
        return rc;
    }
    if (!list.items) /* it was given all the same */
        list.items = malloc(1);
    if (!list.items)
        return vm_fail(-ENOMEM, "%s: %s: no memory", what, prop->name);
    vm_prop_clear(prop, object);
    memcpy(vm_prop_place(prop, object), &list, sizeof(list));
    return 0;
}

/* ---- lists of objects ---- */

static bool in_brackets(const char *text, size_t len)
{
    return len >= 2 && text[0] == '[' && text[len - 1] == ']';
}

/* Parses "[key=value,...]" behind the elements that are there. */
static int push_text(const struct vm_prop *prop, struct vm_prop_list *list, const char *what,
                     const char *text, size_t len)
{
    char where[VM_ERROR_TEXT], *inner;
    void *element;
    int rc;

    if (!in_brackets(text, len))
        return vm_fail(-EINVAL, "%s: %s: write [KEY=VALUE,...], or [[...],[...]] for several", what,
                       prop->name);
    if (memchr(text, '\0', len))
        return vm_fail(-EINVAL, "%s: %s: a text without zero bytes is needed", what, prop->name);
    snprintf(where, sizeof(where), "%s: %s[%u]", what, prop->name, list->count);
    inner = strndup(text + 1, len - 2);
    if (!inner)
        return vm_fail(-ENOMEM, "%s: no memory", where);
    rc = vm_prop_push(prop, list, what, NULL, &element);
    if (!rc)
        rc = vm_prop_parse(prop->props, element, where, NULL, inner);
    free(inner);
    return rc;
}

static int push_all(const struct vm_prop *prop, struct vm_prop_list *list, const char *what,
                    const char *text, size_t len)
{
    size_t item;
    int rc = 0;

    while (!rc && len) {
        rc = vm_prop_list_item(what, prop->name, text, len, &item);
        if (!rc)
            rc = push_text(prop, list, what, text, item);
        if (rc)
            return rc;
        text += item;
        len -= item;
        if (len == 1) /* a comma that nothing follows */
            return push_text(prop, list, what, text, 0);
        if (len) {
            text++;
            len--;
        }
    }
    return rc;
}

static int set_objects(const struct vm_prop *prop, void *object, const char *what, const char *text,
                       size_t len)
{
    bool many = in_brackets(text, len) && (len == 2 || text[1] == '[');
    struct vm_prop fresh = *prop;
    struct vm_prop_list list = { 0 };
    int rc;

    fresh.offset = 0;
    if (many)
        rc = push_all(&fresh, &list, what, text + 1, len - 2);
    else
        rc = push_text(&fresh, &list, what, text, len);
    if (!rc && list.count < prop->min)
        rc = vm_fail(-ERANGE, "%s: %s: %u given, at least %" PRIu64 " are needed", what, prop->name,
                     list.count, prop->min);
    if (rc) {
        vm_prop_clear(&fresh, &list);
        return rc;
    }
    vm_prop_clear(prop, object);
    memcpy(vm_prop_place(prop, object), &list, sizeof(list));
    return 0;
}

int vm_prop_set(const struct vm_prop *prop, void *object, const char *what, const char *text,
                size_t len)
{
    char **place = vm_prop_place(prop, object);
    char *old;
    int rc;

    if (prop->type == VM_PROP_LIST)
        return set_list(prop, object, what, text, len);
    if (prop->type == VM_PROP_OBJECTS)
        return set_objects(prop, object, what, text, len);
    if (prop->type != VM_PROP_STRING && prop->type != VM_PROP_PATH)
        return vm_prop_set_raw(prop, object, what, text, len);
    old = *place;
    rc = vm_prop_set_raw(prop, object, what, text, len);
    if (!rc)
        free(old);
    return rc;
}
