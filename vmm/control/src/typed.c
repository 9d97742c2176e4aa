/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Disks and file systems that other programs serve: their tables, and the class vhost-user behind them. */
#include "typed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { TEXT_BYTES = 8192 };

/* Behind the configuration of the disk's class. */
struct remote {
    bool on;
    char *socket;
    uint32_t mode;
};

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

static size_t remote_at(const struct vdev_class *cls)
{
    size_t step = _Alignof(struct remote);

    return (cls->config_size + step - 1) / step * step;
}

/* ---- tables ---- */

static const char *const added[] = { "vhost_user", "socket", "vhost_mode" };

static bool is_added(const struct vm_prop *row)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(added); i++)
        if (!strcmp(row->name, added[i]))
            return true;
    return false;
}

int vmm_typed_disk_table(struct run_part *part)
{
    const struct vdev_class *remote = vhost_user();
    size_t n = count_rows(part->cls->props), at = remote_at(part->cls);
    struct vm_prop *rows;

    if (!remote)
        return 0;
    rows = calloc(n + VM_ARRAY_SIZE(added) + 1, sizeof(*rows));
    if (!rows)
        return vm_fail(-ENOMEM, "out of memory");
    memcpy(rows, part->cls->props, n * sizeof(*rows));
    for (size_t i = 0; i < n; i++)
        if (!strcmp(rows[i].name, "path"))
            rows[i].required = false; /* vmm_typed_disk() sees to it */
    rows[n++] = (struct vm_prop){ .name = "vhost_user",
                                  .type = VM_PROP_BOOL,
                                  .offset = at + offsetof(struct remote, on),
                                  .help = "another program serves it; give socket= and no path=" };
    rows[n] = *row_of(remote->props, "socket");
    rows[n].alias_ch = "vhost_socket";
    rows[n++].offset = at + offsetof(struct remote, socket);
    rows[n] = *row_of(remote->props, "vhost_mode");
    rows[n].offset = at + offsetof(struct remote, mode);
    part->props = rows;
    part->size = at + sizeof(struct remote);
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
    char *usual = malloc(TEXT_BYTES);
    int rc;

    if (!usual)
        return vm_fail(-ENOMEM, "out of memory");
    rc = vm_prop_format(row, element, text, TEXT_BYTES);
    if (rc >= 0)
        rc = vm_prop_format(row, preset, usual, TEXT_BYTES);
    rc = rc < 0 ? vm_fail(rc, "--disk: %s", row->name) : strcmp(text, usual) != 0;
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
        rc = is_added(row) ? 0 : is_set(row, element, preset, text);
        if (rc > 0)
            rc = vm_fail(-EINVAL,
                         "--disk: %s=%.100s with vhost_user=on: that is the business of the "
                         "program behind socket=: leave it out",
                         row->name, text);
    }
    free(text);
    return rc;
}

static int make_disk(const struct run_part *part, const struct vdev_class *remote,
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
    set_type(remote, config, "block");
    *ret_made = config;
    *ret_device = (struct typed_device){ remote, config };
    return 0;
}

int vmm_typed_disk(const struct run_part *part, const void *element,
                   struct typed_device *ret_device, void **ret_made)
{
    const struct vm_prop *path = row_of(part->cls->props, "path");
    const struct remote *r;

    *ret_made = NULL;
    *ret_device = (struct typed_device){ part->cls, element };
    if (part->props == part->cls->props)
        return 0;
    r = (const void *)((const char *)element + remote_at(part->cls));
    if (r->on && !r->socket)
        return vm_fail(-EINVAL, "--disk: vhost_user=on needs socket=PATH, where its back end is");
    if (r->on)
        return make_disk(part, vhost_user(), element, ret_device, ret_made);
    if (r->socket || r->mode)
        return vm_fail(-EINVAL, "--disk: %s without vhost_user=on: add that, or leave it out",
                       r->socket ? "socket=" : "vhost_mode=server");
    if (!*(char *const *)(const void *)((const char *)element + path->offset))
        return vm_fail(-EINVAL, "--disk: 'path' is missing: %s", path->help);
    return 0;
}
