/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Finding rows and classes, and checking our own tables. */
#include <vmm/config/model.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/config/args.h>

#include "text.h"

#define CLASSES_MAX 256u

int vmm_config_find(const struct vmm_config_model *model, void *object, const char *path,
                    const struct vm_prop **ret_prop, void **ret_object)
{
    const struct vm_prop *props = model->props, *prop;
    const char *at = path;
    uintptr_t place = (uintptr_t)object; /* object may be NULL: then no pointer is made of it */

    for (;;) {
        size_t len = strcspn(at, ".");

        prop = vm_prop_find(props, at, len);
        if (!prop)
            return vm_prop_unknown(props, path, at, len);
        if (!at[len])
            break;
        if (prop->type != VM_PROP_OBJECT)
            return vm_fail(-EINVAL, "%s: '%s' has no members", path, prop->name);
        place += prop->offset;
        props = prop->props;
        at += len + 1;
    }
    *ret_prop = prop;
    *ret_object = (void *)place;
    return 0;
}

static size_t class_names(const struct vmm_config_classes *classes,
                          const char *ret_names[static CLASSES_MAX])
{
    struct vm_prop_class row;
    size_t n = 0;

    while (n < CLASSES_MAX - 1 && classes && classes->at(classes->ctx, n, &row))
        ret_names[n++] = row.name;
    ret_names[n] = NULL;
    return n;
}

static int unknown_class(const struct vmm_config_classes *classes, const char *what,
                         const char *name, size_t len)
{
    const char *names[CLASSES_MAX], *near;
    char shown[48], list[VM_ERROR_TEXT] = "";
    size_t used = 0;

    class_names(classes, names);
    near = vm_nearest(name, len, names);
    for (size_t i = 0; names[i] && used < sizeof(list); i++) {
        int n = snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);

        used += n > 0 ? (size_t)n : 0;
    }
    vm_prop_show(name, len, shown, sizeof(shown));
    if (near)
        return vm_fail(-EINVAL, "%s: unknown class '%s', did you mean '%s'? valid: %s", what, shown,
                       near, list);
    return vm_fail(-EINVAL, "%s: unknown class '%s'; valid: %s", what, shown, list);
}

int vmm_config_class(const struct vmm_config_model *model, const char *what, const char *name,
                     size_t len, struct vm_prop_class *ret_class)
{
    const struct vmm_config_classes *classes = model->classes;
    struct vm_prop_class row;

    for (size_t i = 0; classes && classes->at(classes->ctx, i, &row); i++) {
        if (vmm_config_same(row.name, name, len)) {
            *ret_class = row;
            return 0;
        }
    }
    return unknown_class(classes, what, name, len);
}

/* One name against the other rows of its table. */
static bool given_twice(const struct vmm_option *options, const struct vmm_option *row,
                        const char *name)
{
    for (const struct vmm_option *o = options; name && o->name; o++) {
        const char *others[] = { o->name, o->alias_ch, o->alias_crosvm };

        for (size_t i = 0; i < VM_ARRAY_SIZE(others); i++) {
            if (o != row && vmm_config_same(others[i], name, strlen(name)))
                return true;
        }
    }
    return false;
}

static bool letter_twice(const struct vmm_option *options, const struct vmm_option *row)
{
    for (const struct vmm_option *o = options; row->letter && o->name; o++) {
        if (o != row && o->letter == row->letter)
            return true;
    }
    return false;
}

/* Each is an object of the same table. */
static int check_picks(const struct vmm_command *command, const struct vmm_option *option,
                       const struct vm_prop *own)
{
    for (const struct vmm_option_pick *p = option->picks; p && p->item; p++) {
        const struct vm_prop *prop = own;
        void *object;

        if (p->path && vmm_config_find(command->model, NULL, p->path, &prop, &object))
            return vm_wrap(-EINVAL, "%s: %s: %s", command->name, option->name, p->item);
        if (prop->type != VM_PROP_OBJECT || !strchr(p->item, '='))
            return vm_fail(-EINVAL, "%s: %s: %s picks no object", command->name, option->name,
                           p->item);
    }
    return 0;
}

static int check_path(const struct vmm_command *command, const struct vmm_option *option,
                      bool operand)
{
    const struct vm_prop *prop;
    void *object;
    int rc;

    if (!option->path == !option->call)
        return vm_fail(-EINVAL, "%s: %s: needs a path or a call, not both", command->name,
                       option->name);
    if (option->call)
        return 0;
    if (!command->model)
        return vm_fail(-EINVAL, "%s: %s: the command has no model", command->name, option->name);
    rc = vmm_config_find(command->model, NULL, option->path, &prop, &object);
    if (rc)
        return vm_wrap(rc, "%s: %s", command->name, option->name);
    if (!operand && !option->argument && !option->fixed && prop->type != VM_PROP_BOOL)
        return vm_fail(-EINVAL, "%s: %s: without argument it needs a fixed value", command->name,
                       option->name);
    if (option->first && !vm_prop_find(prop->props, option->first, strlen(option->first)))
        return vm_fail(-EINVAL, "%s: %s: '%s' is no key of it", command->name, option->name,
                       option->first);
    return check_picks(command, option, prop);
}

static int check_row(const struct vmm_command *command, const struct vmm_option *options,
                     const struct vmm_option *row, bool operand)
{
    size_t len = row->help ? strlen(row->help) : 0;

    if (!len || row->help[len - 1] == '.')
        return vm_fail(-EINVAL, "%s: %s: needs a help line without full stop", command->name,
                       row->name);
    if (given_twice(options, row, row->name) || given_twice(options, row, row->alias_ch) ||
        given_twice(options, row, row->alias_crosvm) || letter_twice(options, row))
        return vm_fail(-EINVAL, "%s: %s: a name or letter of it is given twice", command->name,
                       row->name);
    return check_path(command, row, operand);
}

static int check_classes(const struct vmm_config_classes *classes)
{
    struct vm_prop_class row;
    int rc = 0;

    for (size_t i = 0; !rc && classes && classes->at(classes->ctx, i, &row); i++) {
        void *object = calloc(1, row.size ? row.size : 1);

        if (!object)
            return vm_fail(-ENOMEM, "%s: no memory", row.name);
        rc = vm_prop_defaults(row.props, object);
        vm_prop_free(row.props, object);
        free(object);
        if (rc)
            vm_wrap(rc, "class %s", row.name);
    }
    return rc;
}

int vmm_config_check_command(const struct vmm_command *command)
{
    int rc = 0;

    for (const struct vmm_option *o = command->options; !rc && o && o->name; o++)
        rc = check_row(command, command->options, o, false);
    for (const struct vmm_option *o = command->operands; !rc && o && o->name; o++)
        rc = check_row(command, command->operands, o, true);
    if (!rc && command->model)
        rc = check_classes(command->model->classes);
    return rc;
}
