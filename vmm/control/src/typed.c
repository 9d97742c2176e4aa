/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Disks, network devices and file systems that other programs serve: their tables, and the class vhost-user behind them. */
#include "typed.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { TEXT_BYTES = 8192 };

static const struct vdev_class *vhost_user(void)
{
    return vdev_class_find("vhost-user", strlen("vhost-user"));
}

static const struct vm_prop *row_of(const struct vm_prop *props, const char *name)
{
    return vm_prop_find(props, name, strlen(name));
}

static size_t count_rows(const struct vm_prop *props)
{
    size_t n = 0;

    while (props[n].name)
        n++;
    return n;
}

/* An element: the configuration of the class, whether another program serves it, and what the class vhost-user wants to know of that program,
 * in a configuration of its own. */
static size_t on_at(const struct vdev_class *cls)
{
    return cls->config_size;
}

static size_t lent_at(const struct vdev_class *cls)
{
    size_t step = _Alignof(max_align_t);

    return (on_at(cls) + sizeof(bool) + step - 1) / step * step;
}

/* ---- tables ---- */

/* Rows of the class vhost-user that are for the option, too. A class that has one itself goes on with that. */
static const char *const lent[] = {
    "socket", "program", "vhost_mode", "iommu", "wait", "reconnect"
};

/* Which rows the class itself does without, when another program serves the device; and its type there. */
static const struct typed {
    const char *cls, *option, *type, *needs;
} types[] = { { "virtio-blk", "--disk", "block", "path" }, { "virtio-net", "--net", "net", NULL } };

static const struct typed *typed_of(const struct vdev_class *cls)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(types); i++)
        if (!strcmp(types[i].cls, cls->name))
            return &types[i];
    return NULL;
}

int vmm_typed_table(struct run_part *part)
{
    const struct vdev_class *remote = vhost_user();
    const struct typed *typed = typed_of(part->cls);
    size_t n = count_rows(part->cls->props);
    struct vm_prop *rows;

    if (!remote)
        return 0;
    rows = calloc(n + VM_ARRAY_SIZE(lent) + 2, sizeof(*rows));
    if (!rows)
        return vm_fail(-ENOMEM, "out of memory");
    memcpy(rows, part->cls->props, n * sizeof(*rows));
    for (size_t i = 0; typed->needs && i < n; i++)
        if (!strcmp(rows[i].name, typed->needs))
            rows[i].required = false; /* vmm_typed() sees to it */
    rows[n++] =
        (struct vm_prop){ .name = "vhost_user",
                          .type = VM_PROP_BOOL,
                          .offset = on_at(part->cls),
                          .help = typed->needs
                                      ? "another program serves it; give socket= or program=, "
                                        "and no path="
                                      : "another program serves it; give socket= or program=" };
    for (size_t i = 0; i < VM_ARRAY_SIZE(lent); i++)
        if (!row_of(part->cls->props, lent[i])) {
            rows[n] = *row_of(remote->props, lent[i]);
            rows[n++].offset += lent_at(part->cls);
        }
    for (size_t i = 0; i < n; i++)
        if (!strcmp(rows[i].name, "socket"))
            rows[i].alias_ch = "vhost_socket";
    part->props = rows;
    part->size = lent_at(part->cls) + remote->config_size;
    return 0;
}

/* Its table but for the type, which the option says, and for where each type has another size. */
int vmm_typed_fs_table(struct run_part *part)
{
    const struct vm_prop *from = part->cls->props;
    struct vm_prop *rows = calloc(count_rows(from) + 1, sizeof(*rows));
    size_t n = 0;

    if (!rows)
        return vm_fail(-ENOMEM, "out of memory");
    for (; from->name; from++)
        if (strcmp(from->name, "type") != 0 && strcmp(from->name, "config_bytes") != 0)
            rows[n++] = *from;
    part->props = rows;
    part->size = part->cls->config_size;
    return 0;
}

/* ---- what is made of them ---- */

/* As the class has it for --device. The type's text is ours and lives as long as the program. */
static void set_type(const struct vdev_class *cls, void *config, const char *type)
{
    const struct vm_prop *row = row_of(cls->props, "type");

    *(const char **)(void *)((char *)config + row->offset) = type;
}

int vmm_typed_fs(const struct run_part *part, const void *element, struct typed_device *ret_device,
                 void **ret_made)
{
    void *config = malloc(part->size);

    if (!config)
        return vm_fail(-ENOMEM, "out of memory");
    memcpy(config, element, part->size);
    set_type(part->cls, config, "fs");
    *ret_made = config;
    *ret_device = (struct typed_device){ part->cls, config };
    return 0;
}

/* Where the same thing stands in the class vhost-user; NULL: nowhere. */
static const struct vm_prop *counterpart(const struct vdev_class *remote, const struct vm_prop *row)
{
    const struct vm_prop *there = row_of(remote->props, row->name);

    return there && there->type == row->type ? there : NULL;
}

static int is_set(const struct vm_prop *row, const void *element, const void *preset, char *text)
{
    char *usual;
    int rc;

    if (row->type == VM_PROP_LIST) {
        memcpy(text, "[...]", sizeof("[...]"));
        return ((const struct vm_prop_list *)(const void *)((const char *)element + row->offset))
                   ->count > 0;
    }
    usual = malloc(TEXT_BYTES);
    if (!usual)
        return vm_fail(-ENOMEM, "out of memory");
    rc = vm_prop_format(row, element, text, TEXT_BYTES);
    if (rc >= 0)
        rc = vm_prop_format(row, preset, usual, TEXT_BYTES);
    rc = rc < 0 ? vm_fail(rc, "%s", row->name) : strcmp(text, usual) != 0;
    free(usual);
    return rc;
}

/* Scalars are copied, and text is borrowed: both tables have the row. */
static void copy(const struct vm_prop *from, const void *element, const struct vm_prop *to,
                 void *config)
{
    size_t bytes = from->type == VM_PROP_BOOL                                ? sizeof(bool)
                   : from->type == VM_PROP_U32 || from->type == VM_PROP_ENUM ? sizeof(uint32_t)
                                                                             : sizeof(uint64_t);

    if (from->type == VM_PROP_STRING || from->type == VM_PROP_PATH)
        bytes = sizeof(char *);
    memcpy((char *)config + to->offset, (const char *)element + from->offset, bytes);
}

static int fill(const struct run_part *part, const struct vdev_class *remote, const void *element,
                const void *preset, void *config)
{
    char *text = malloc(TEXT_BYTES);
    int rc = text ? 0 : vm_fail(-ENOMEM, "out of memory");

    for (const struct vm_prop *row = part->props; !rc && row->name; row++) {
        const struct vm_prop *there = counterpart(remote, row);

        if (there) {
            copy(row, element, there, config);
            continue;
        }
        rc = strcmp(row->name, "vhost_user") ? is_set(row, element, preset, text) : 0;
        if (rc > 0)
            rc = vm_fail(-EINVAL,
                         "%s: %s=%.100s with vhost_user=on: that is the business of the "
                         "program that serves it: leave it out",
                         typed_of(part->cls)->option, row->name, text);
    }
    free(text);
    return rc;
}

static int make_remote(const struct run_part *part, const struct vdev_class *remote,
                       const void *element, struct typed_device *ret_device, void **ret_made)
{
    void *preset = calloc(1, part->size), *config = calloc(1, remote->config_size);
    int rc = preset && config ? 0 : vm_fail(-ENOMEM, "out of memory");

    if (!rc)
        rc = vm_prop_defaults(part->props, preset);
    if (!rc)
        rc = vm_prop_defaults(remote->props, config);
    if (!rc)
        rc = fill(part, remote, element, preset, config);
    if (preset)
        vm_prop_free(part->props, preset);
    free(preset);
    if (rc) {
        free(config);
        return rc;
    }
    set_type(remote, config, typed_of(part->cls)->type);
    *ret_made = config;
    *ret_device = (struct typed_device){ remote, config };
    return 0;
}

static const char *text_of(const struct run_part *part, const void *element, const char *name)
{
    return *(char *const *)(const void *)((const char *)element +
                                          row_of(part->props, name)->offset);
}

/* Words that mean something only where another program serves it, and the class has none like them. */
static int check_stray(const struct run_part *part, const void *element)
{
    const struct vdev_class *remote = vhost_user();
    char *text = malloc(TEXT_BYTES);
    void *preset = calloc(1, part->size);
    int rc =
        text && preset ? vm_prop_defaults(part->props, preset) : vm_fail(-ENOMEM, "out of memory");

    for (const struct vm_prop *row = part->props; !rc && row->name; row++) {
        if (row->offset < lent_at(part->cls) || !row_of(remote->props, row->name))
            continue;
        rc = is_set(row, element, preset, text);
        if (rc > 0)
            rc = vm_fail(-EINVAL, "%s: %s=%.100s without vhost_user=on: add that, or leave it out",
                         typed_of(part->cls)->option, row->name, text);
    }
    if (preset)
        vm_prop_free(part->props, preset);
    free(preset);
    free(text);
    return rc;
}

int vmm_typed(const struct run_part *part, const void *element, struct typed_device *ret_device,
              void **ret_made)
{
    const struct typed *typed = typed_of(part->cls);
    int rc;

    *ret_made = NULL;
    *ret_device = (struct typed_device){ part->cls, element };
    if (part->props == part->cls->props)
        return 0;
    if (*(const bool *)((const char *)element + on_at(part->cls))) {
        if (!text_of(part, element, "socket") && !text_of(part, element, "program"))
            return vm_fail(-EINVAL,
                           "%s: vhost_user=on needs socket=PATH, where its back end is, "
                           "or program=, which is started",
                           typed->option);
        return make_remote(part, vhost_user(), element, ret_device, ret_made);
    }
    rc = check_stray(part, element);
    if (!rc && typed->needs && !text_of(part, element, typed->needs))
        rc = vm_fail(-EINVAL, "%s: '%s' is missing: %s", typed->option, typed->needs,
                     row_of(part->cls->props, typed->needs)->help);
    return rc;
}
