/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Words of the user's that contradict each other though each is right: refused, for one of them would pass as if it had not been
 * said. In plan, abi and run alike, before anything is opened.
 */
#include "run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/arch/arch.h>
#include <vmm/base/error.h>
#include <vmm/char/char.h>

enum { OUTPUTS_MAX = 512 };

/* ---- keys of what is off ---- */

static bool differs(const struct vm_prop *p, const void *config, const void *preset,
                    char ret_text[static VM_ERROR_TEXT])
{
    const struct vm_prop_list *list = (const void *)((const char *)config + p->offset);
    char usual[VM_ERROR_TEXT];

    if (p->type == VM_PROP_LIST || p->type == VM_PROP_OBJECTS) {
        snprintf(ret_text, VM_ERROR_TEXT, "[...]");
        return list->count;
    }
    return vm_prop_format(p, config, ret_text, VM_ERROR_TEXT) >= 0 &&
           vm_prop_format(p, preset, usual, sizeof(usual)) >= 0 && strcmp(ret_text, usual) != 0;
}

/* The first key that is not as by default, NULL: none. The mode is what switched it off. */
static const struct vm_prop *find_set(const struct vdev_class *cls, const void *config,
                                      const void *preset, char ret_text[static VM_ERROR_TEXT])
{
    for (const struct vm_prop *p = cls->props; p && p->name; p++) {
        if (strcmp(p->name, "mode") != 0 && differs(p, config, preset, ret_text))
            return p;
    }
    return NULL;
}

bool vmm_run_part_is_set(const struct run_part *part, const void *config)
{
    void *preset = calloc(1, part->cls->config_size);
    char text[VM_ERROR_TEXT];
    bool set = !preset || vm_prop_defaults(part->cls->props, preset) ||
               find_set(part->cls, config, preset, text);

    if (preset)
        vm_prop_free(part->cls->props, preset);
    free(preset);
    return set;
}

static int check_off(const struct run_inputs *in, enum run_part_id id, const char *option,
                     const char *cure)
{
    const struct vdev_class *cls = in->model->part[id].cls;
    const void *config = run_part_of(in->model, in->config, id);
    char text[VM_ERROR_TEXT];
    const struct vm_prop *prop;
    void *preset;
    int rc;

    preset = calloc(1, cls->config_size);
    if (!preset)
        return vm_fail(-ENOMEM, "out of memory");
    rc = vm_prop_defaults(cls->props, preset);
    prop = rc ? NULL : find_set(cls, config, preset, text);
    if (prop)
        rc = vm_fail(-EINVAL, "%s: %s=%.100s, but it is off: leave that out, or %s", option,
                     prop->name, text, cure);
    vm_prop_free(cls->props, preset);
    free(preset);
    return rc;
}

static int check_chr(const struct run_inputs *in, enum run_part_id id, const char *option)
{
    const struct vchar_config *c = vmm_run_chr_of(in, id);
    int rc;

    if (!c)
        return 0;
    rc = vchar_check(c);
    if (rc)
        return vm_wrap(rc, "%s", option);
    return c->mode == VCHAR_OFF
               ? check_off(in, id, option, "give a mode: tty, pty, file=PATH or socket=PATH")
               : 0;
}

/* ---- two that write to one file, or listen at one path ---- */

struct output {
    const char *who, *path;
    const void *owner; /* its configuration */
};

struct outputs {
    struct output row[OUTPUTS_MAX];
    size_t count;
};

static int add_output(struct outputs *all, const char *who, const void *owner, const char *path)
{
    for (size_t i = 0; path && i < all->count; i++) {
        if (!vchar_same_path(all->row[i].path, path))
            continue;
        if (all->row[i].owner == owner)
            return vm_fail(-EINVAL,
                           "%s: two of its places both go to %s: give one of them another path",
                           who, path);
        return vm_fail(-EINVAL, "%s and %s: both go to %s: give one of them another path",
                       all->row[i].who, who, path);
    }
    if (path && all->count < OUTPUTS_MAX)
        all->row[all->count++] = (struct output){ who, path, owner };
    return 0;
}

static bool is_output(const struct vm_prop *p, bool dials)
{
    return p->type == VM_PROP_PATH && (!strcmp(p->name, "file") || !strcmp(p->name, "socket") ||
                                       (dials && !strcmp(p->name, "seqpacket")));
}

/* What a character back end, or one that dials, writes to or listens at; of each element of a list, too. */
static int add_outputs(struct outputs *all, const struct output *of, const struct vm_prop *props,
                       const void *config, bool dials)
{
    const struct vm_prop *mode = vm_prop_find(props, "mode", strlen("mode"));
    bool chr = mode && mode->values == vchar_modes;
    int rc = 0;

    for (const struct vm_prop *p = props; !rc && p->name; p++) {
        const void *place = (const char *)config + p->offset;
        const struct vm_prop_list *list = place;

        if ((chr || dials) && is_output(p, dials))
            rc = add_output(all, of->who, of->owner, *(char *const *)place);
        for (uint32_t i = 0; !rc && p->type == VM_PROP_OBJECTS && i < list->count; i++)
            rc = add_outputs(all, of, p->props, (const char *)list->items + i * p->element_size,
                             dials);
    }
    return rc;
}

static int list_outputs(const struct run_inputs *in, struct outputs *all)
{
    const void *console = run_part_of(in->model, in->config, RUN_CONSOLE);
    int rc = add_output(all, "--socket", in->config, in->config->socket);

    for (unsigned id = RUN_SERIAL; !rc && id < RUN_SERIAL + RUN_SERIALS; id++) {
        const void *config = run_part_of(in->model, in->config, id);
        const struct output of = { vmm_run_chr_option(id), NULL, config };

        if (config)
            rc = add_outputs(all, &of, in->model->part[id].cls->props, config, false);
    }
    for (size_t i = 0; !rc && i < in->machine.device_count; i++) {
        const struct vmm_machine_device *d = &in->devices[i];
        const struct vdev_common *common = d->config;
        const struct output of = { .who = d->config == console ? "--console"
                                          : common->id         ? common->id
                                                               : d->cls->name,
                                   .owner = d->config };

        rc = add_outputs(all, &of, d->cls->props, d->config, d->cls->dials);
    }
    return rc;
}

static int check_outputs(const struct run_inputs *in)
{
    struct outputs *all = calloc(1, sizeof(*all));
    int rc = all ? list_outputs(in, all) : vm_fail(-ENOMEM, "out of memory");

    free(all);
    return rc;
}

/* ---- one image as two disks ---- */

/* What the locks of images would refuse when they are opened, seen without opening any. */
struct disk {
    const char *path;
    bool readonly;
};

static const void *value_of(const struct vdev_class *cls, const void *config, const char *key)
{
    const struct vm_prop *p = vm_prop_find(cls->props, key, strlen(key));

    return p ? (const char *)config + p->offset : NULL;
}

/* False: it is no disk of ours, or takes no lock. */
static bool locked_disk(const struct vmm_machine_device *d, struct disk *ret_disk)
{
    const bool *lock = value_of(d->cls, d->config, "lock");
    const bool *readonly = value_of(d->cls, d->config, "readonly");
    const void *path = value_of(d->cls, d->config, "path");

    if (!lock || !readonly || !path || !*lock)
        return false;
    *ret_disk = (struct disk){ *(char *const *)path, *readonly };
    return ret_disk->path;
}

static int check_disk_twice(const struct run_inputs *in, size_t second)
{
    struct disk a, b;

    if (!locked_disk(&in->devices[second], &b))
        return 0;
    for (size_t i = 0; i < second; i++) {
        if (locked_disk(&in->devices[i], &a) && !strcmp(a.path, b.path) &&
            !(a.readonly && b.readonly))
            return vm_fail(-EINVAL,
                           "two disks are %s: give one of them a copy, or readonly=on to both",
                           b.path);
    }
    return 0;
}

static int check_disks(const struct run_inputs *in)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < in->machine.device_count; i++)
        rc = check_disk_twice(in, i);
    return rc;
}

/* ---- what the architecture lacks ---- */

/* A PC's guest finds segments in the MCFG table only (PCI Firmware Specification 3.3, 4.1.2); without tables it looks for PCI by
 * the ports 0xcf8 and 0xcfc. */
static int check_acpi(const struct run_config *c)
{
    if (!varch_facts.acpi || c->acpi || !c->pci)
        return 0;
    if (c->platform.num_pci_segments > 1)
        return vm_fail(-EINVAL,
                       "--acpi off with --platform num_pci_segments=%u: only ACPI's tables tell a "
                       "guest of PCI segments behind the first; leave one of them out",
                       c->platform.num_pci_segments);
    if (!c->cam)
        return vm_fail(-EINVAL, "--acpi off: no guest finds the PCI bus without ACPI's tables: add "
                                "--pci-cam on, which gives it ports, or --pci off");
    return 0;
}

static int check_overlay(const struct run_config *c)
{
    if (!c->payload.overlay || !varch_facts.acpi)
        return 0;
    return vm_fail(-EINVAL,
                   "--device-tree-overlay %s: a machine of this architecture has no device tree: "
                   "leave it out",
                   c->payload.overlay);
}

int vmm_run_check_conflicts(const struct run_inputs *in)
{
    int rc = check_acpi(in->config);

    if (!rc)
        rc = check_overlay(in->config);
    for (unsigned id = RUN_SERIAL; !rc && id <= RUN_CONSOLE; id++)
        rc = check_chr(in, id, vmm_run_chr_option(id));
    if (!rc && !in->config->rng_on && in->model->part[RUN_RNG].cls)
        rc = check_off(in, RUN_RNG, "--rng", "add --rng on");
    if (!rc)
        rc = check_disks(in);
    return rc ? rc : check_outputs(in);
}
