/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Building text: appending, wrapping, and the words help uses for a property. */
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

void vmm_config_put_bytes(struct vmm_config_text *t, const char *text, size_t len)
{
    if (!t->rc)
        t->rc = vm_buffer_add(t->out, text, len);
}

void vmm_config_put(struct vmm_config_text *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    int len;

    if (t->rc)
        return;
    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        t->rc = vm_fail(-ENOMEM, "no memory for a line of text");
        return;
    }
    vmm_config_put_bytes(t, text, (size_t)len);
    free(text);
}

int vmm_config_finish(struct vmm_config_text *t)
{
    vmm_config_put_bytes(t, "", 1);
    if (!t->rc)
        t->out->len--;
    return t->rc;
}

unsigned vmm_config_width(unsigned width)
{
    return !width ? 80 : width < 40 ? 40 : width;
}

/* Words between column and width; at is the column the line has reached. A word that is too
 * long for any line stands alone on one. */
static void put_words(struct vmm_config_text *t, unsigned at, unsigned column, unsigned width,
                      const char *text)
{
    bool fresh = true;

    while (*text) {
        size_t len = strcspn(text, " \n");

        if (len) {
            size_t need = len + (fresh ? 0 : 1);

            if (!fresh && at + need > width) {
                vmm_config_put(t, "\n%*s", (int)column, "");
                at = column;
                fresh = true;
                need = len;
            }
            vmm_config_put(t, "%s%.*s", fresh ? "" : " ", (int)len, text);
            at += (unsigned)need;
            fresh = false;
        }
        text += len;
        if (*text)
            text++;
    }
}

void vmm_config_put_columns(struct vmm_config_text *t, unsigned indent, const char *left,
                            unsigned column, unsigned width, const char *right)
{
    unsigned at = indent + (unsigned)strlen(left);

    vmm_config_put(t, "%*s%s", (int)indent, "", left);
    if (*right) {
        if (at + 2 > column)
            vmm_config_put(t, "\n%*s", (int)column, "");
        else
            vmm_config_put(t, "%*s", (int)(column - at), "");
        put_words(t, column, column, width, right);
    }
    vmm_config_put(t, "\n");
}

static const char *scalar_form(enum vm_prop_type type)
{
    switch (type) {
    case VM_PROP_BOOL: return "on|off";
    case VM_PROP_U32:
    case VM_PROP_U64: return "N";
    case VM_PROP_SIZE: return "SIZE";
    case VM_PROP_STRING: return "TEXT";
    case VM_PROP_PATH: return "PATH";
    case VM_PROP_FD: return "FD";
    default: return "...";
    }
}

void vmm_config_put_form(struct vmm_config_text *t, const struct vm_prop *prop)
{
    struct vm_prop element;

    if (vmm_config_is_optional(prop)) {
        element = vm_prop_element(prop);
        vmm_config_put_form(t, &element);
    } else if (prop->type == VM_PROP_LIST) {
        element = vm_prop_element(prop);
        vmm_config_put(t, "[");
        vmm_config_put_form(t, &element);
        vmm_config_put(t, ",...]");
    } else if (prop->type == VM_PROP_OBJECTS) {
        vmm_config_put(t, "[[KEY=VALUE,...],...]");
    } else if (prop->type == VM_PROP_ENUM) {
        for (size_t i = 0; prop->values[i]; i++)
            vmm_config_put(t, "%s%s", i ? "|" : "", prop->values[i]);
    } else {
        vmm_config_put(t, "%s", scalar_form(prop->type));
    }
}

/* A bound as the command line spells it. */
static void put_bound(struct vmm_config_text *t, const struct vm_prop *prop, uint64_t bound)
{
    struct vm_prop row = { .name = prop->name, .type = prop->type };
    uint32_t bound32 = (uint32_t)(bound & UINT32_MAX);
    char text[32] = "";

    if (prop->type == VM_PROP_U32)
        vm_prop_format(&row, &bound32, text, sizeof(text));
    else
        vm_prop_format(&row, &bound, text, sizeof(text));
    vmm_config_put(t, "%s", text);
}

static void put_range(struct vmm_config_text *t, const struct vm_prop *prop)
{
    if (prop->type != VM_PROP_U32 && prop->type != VM_PROP_U64 && prop->type != VM_PROP_SIZE)
        return;
    if (prop->max) {
        vmm_config_put(t, "; from ");
        put_bound(t, prop, prop->min);
        vmm_config_put(t, " to ");
        put_bound(t, prop, prop->max);
    } else if (prop->min) {
        vmm_config_put(t, "; at least ");
        put_bound(t, prop, prop->min);
    }
}

/* A value that is called so says nothing: the text does. */
void vmm_config_put_preset(struct vmm_config_text *t, const struct vm_prop *prop)
{
    if (prop->preset && strcmp(prop->preset, "default"))
        vmm_config_put(t, " (default: %s)", prop->preset);
}

void vmm_config_put_help(struct vmm_config_text *t, const struct vm_prop *prop)
{
    vmm_config_put(t, "%s", prop->help ? prop->help : "");
    put_range(t, prop);
    if (prop->required)
        vmm_config_put(t, " (required)");
    else
        vmm_config_put_preset(t, prop);
}

bool vmm_config_told(const struct vm_prop *outer, const struct vm_prop *prop)
{
    for (; outer && outer->name; outer++)
        if (!strcmp(outer->name, prop->name) && outer->help && prop->help &&
            !strcmp(outer->help, prop->help))
            return true;
    return false;
}

bool vmm_config_same(const char *have, const char *name, size_t len)
{
    if (!have || strlen(have) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((have[i] == '_' ? '-' : have[i]) != (name[i] == '_' ? '-' : name[i]))
            return false;
    }
    return true;
}

const struct vm_prop *vmm_config_option_prop(const struct vmm_command *command,
                                             const struct vmm_option *option)
{
    const struct vm_prop *prop;
    void *object;

    if (!option->path || !command->model ||
        vmm_config_find(command->model, NULL, option->path, &prop, &object))
        return NULL;
    return prop;
}

bool vmm_config_has_keys(const struct vm_prop *prop)
{
    return prop && (prop->type == VM_PROP_OBJECT || prop->type == VM_PROP_OBJECTS ||
                    prop->type == VM_PROP_VARIANTS);
}
