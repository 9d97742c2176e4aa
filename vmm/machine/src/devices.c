/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Creating devices: the platform's, as the architecture says, then what the user asked for. */
#include "machine_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "names.h"
#include "program.h"

/* A program may have to bring an image into order at its end. */
enum { MACHINE_PROGRAM_MS = 2000 };

static const struct vdev_class *find_class(const struct vmm_machine *m, const char *name)
{
    for (const struct vdev_class *const *c = m->config.classes; *c; c++)
        if (!strcmp((*c)->name, name))
            return *c;
    return NULL;
}

struct vdev *vmm_machine_find(struct vmm_machine *m, const char *id)
{
    for (struct machine_device *d = m->devices; d; d = d->next)
        if (!strcmp(d->dev->id, id))
            return d->dev;
    return NULL;
}

struct vdev_context vmm_machine_context(struct vmm_machine *m, const char *id)
{
    return (struct vdev_context){
        .env = &m->io_env,
        .machine = &m->base,
        .id = id,
        .memory = m->memory,
        .mmio = m->mmio,
        .pio = m->pio,
        .msi = &m->msi,
    };
}

/* Calls create with the given configuration, or with the class's defaults. */
static int create(const struct vdev_class *cls, struct vdev_context *c, const void *config,
                  struct vdev **ret_dev)
{
    void *own = NULL;
    int rc = 0;

    if (!config && cls->config_size) {
        own = calloc(1, cls->config_size);
        if (!own)
            return vm_fail(-ENOMEM, "%s: out of memory", cls->name);
        rc = vm_prop_defaults(cls->props, own);
    }
    c->config = config ? config : own;
    if (!rc)
        rc = cls->create(c, ret_dev);
    if (own) {
        vm_prop_free(cls->props, own);
        free(own);
    }
    /* The framework names the device already where it says something. */
    if (rc && strncmp(vm_error_text(), c->id, strlen(c->id)))
        vm_wrap(rc, "%s", c->id);
    return rc;
}

/* Room for one more device: before it is created, so that nothing has to be undone after. */
static struct machine_device *room(struct vmm_machine *m, const char *id)
{
    struct machine_device *d = calloc(1, sizeof(*d));

    if (!d)
        return vm_fail(-ENOMEM, "%s: out of memory", id), NULL;
    snprintf(d->place, sizeof(d->place), "platform");
    d->machine = m;
    return d;
}

void vmm_machine_device_clear(struct machine_device *d, int patience_ms)
{
    vmm_process_free(d->process);
    vmm_program_free(d->program, patience_ms);
    vmm_names_free(d->names);
    vmm_lists_free(&d->lists);
    free(d->config);
    d->process = NULL;
    d->program = NULL;
    d->names = NULL;
    d->config = NULL;
}

/* It could not be made. */
static void drop(struct machine_device *d)
{
    struct vm_error error;

    vm_error_save(0, &error);
    vmm_names_free(d->names);
    free(d->config);
    free(d);
    (void)vm_error_restore(&error);
}

static void remember(struct vmm_machine *m, struct machine_device *d)
{
    snprintf(d->id, sizeof(d->id), "%s", d->dev->id);
    *m->devices_end = d;
    m->devices_end = &d->next;
}

/* Creates d->dev in the machine; on error d is freed. */
static int add(struct vmm_machine *m, struct machine_device *d, const struct vdev_class *cls,
               struct vdev_context *c, const void *config)
{
    int rc = create(cls, c, config, &d->dev);

    if (rc)
        drop(d);
    else
        remember(m, d);
    return rc;
}

static int wire(struct vmm_machine *m, struct machine_device *d, const struct varch_device *row)
{
    for (unsigned i = 0; i < row->irqs; i++) {
        int rc = vmm_machine_irq_line(m, row->irq[i], &d->irqs[i]);

        if (rc)
            return rc;
    }
    memcpy(d->resource, row->resource, sizeof(d->resource));
    return 0;
}

static int add_platform(struct vmm_machine *m, const struct varch_device *row)
{
    const struct vdev_class *cls = find_class(m, row->cls);
    struct vdev_context c = vmm_machine_context(m, row->id);
    const void *config = NULL;
    struct machine_device *d;
    int rc;

    if (!cls)
        return vm_fail(
            -ENOTSUP,
            "this build has no device '%s', which the machine needs: add it to VMM_DEVICES",
            row->cls);
    d = room(m, row->id);
    if (!d)
        return -ENOMEM;
    rc = wire(m, d, row);
    if (rc) {
        free(d);
        return rc;
    }
    c.resources = d->resource;
    c.irqs = d->irqs;
    if (m->config.platform)
        config = m->config.platform(m->config.ctx, cls, row->id);
    rc = add(m, d, cls, &c, config);
    if (!rc && row->irqchip)
        vmm_machine_irq_controller(m, d->dev);
    return rc;
}

static int add_platforms(struct vmm_machine *m)
{
    struct varch_device rows[VARCH_DEVICES_MAX];
    unsigned n = varch_devices(m->arch, rows);
    int rc = 0;

    for (unsigned pass = 0; pass < 2; pass++) /* controllers first: others are wired to them */
        for (unsigned i = 0; !rc && i < n; i++)
            if (rows[i].irqchip == (pass == 0))
                rc = add_platform(m, &rows[i]);
    return rc;
}

/* The user's name, or the class's with the next free number. */
static int choose_id(struct vmm_machine *m, const struct vmm_machine_device *want,
                     char id[VDEV_ID_MAX + 1])
{
    const struct vdev_common *common = want->config;

    if (common && common->id) {
        if (vmm_machine_find(m, common->id))
            return vm_fail(-EEXIST, "id=%s is given twice: each device needs a name of its own",
                           common->id);
        snprintf(id, VDEV_ID_MAX + 1, "%s", common->id);
        return vdev_id_check(common->id);
    }
    for (unsigned i = 0;; i++) {
        vdev_id_make(want->cls, i, id);
        if (!vmm_machine_find(m, id))
            return 0;
    }
}

static int plug_mmio(struct vmm_machine *m, struct machine_device *d, struct virtio_dev *dev,
                     const struct vdev_common *common)
{
    struct varch_range range;
    uint32_t number;
    int rc;

    if (common && (common->addr || common->pci_segment))
        return vm_fail(-EINVAL, "%s: addr= and pci_segment= are for bus=pci; this one is on mmio",
                       dev->dev.id);
    if (m->mmio_used >= m->config.arch.mmio_slots)
        return vm_fail(-ENOSPC, "%s: the machine has %u virtio-mmio slots", dev->dev.id,
                       m->config.arch.mmio_slots);
    varch_mmio_slot(m->arch, m->mmio_used, &range, &number);
    rc = vmm_machine_irq_line(m, number, &d->irqs[0]);
    if (rc)
        return rc;
    rc = virtio_mmio_new(dev, m->mmio, range.base, d->irqs[0], &d->mmio);
    if (rc)
        return rc;
    m->mmio_used++;
    d->dev->firmware = (struct vdev_firmware){
        .acpi_hid = "LNRO0005",
        .compatible = "virtio,mmio",
        .node = "virtio_mmio",
        .uid = m->mmio_used - 1,
        .resource = { { VDEV_RES_MMIO, range.base, VIRTIO_MMIO_BYTES },
                      { VDEV_RES_IRQ, number, 1 } },
    };
    snprintf(d->place, sizeof(d->place), "mmio %#llx", (unsigned long long)range.base);
    return 0;
}

static int plug_pci(struct vmm_machine *m, struct machine_device *d, struct virtio_dev *dev,
                    const struct vdev_common *common)
{
    unsigned segment = common ? common->pci_segment : 0;
    struct vpci_function *fn;
    int rc;

    if (segment >= m->config.arch.segments)
        return vm_fail(-EINVAL,
                       "%s: pci_segment=%u, but the machine has %u (--platform num_pci_segments=N)",
                       dev->dev.id, segment, m->config.arch.segments);
    rc = virtio_pci_new(dev, m->root[segment], common ? common->addr : NULL, &d->pci);
    if (rc)
        return rc;
    fn = virtio_pci_function(d->pci);
    snprintf(d->place, sizeof(d->place), "%04x:00:%02x.%x", segment, fn->device, fn->function);
    return 0;
}

static int plug(struct vmm_machine *m, struct machine_device *d,
                const struct vmm_machine_device *want)
{
    struct virtio_dev *dev = container_of(d->dev, struct virtio_dev, dev);
    const struct vdev_common *common = want->config;
    uint32_t bus = common ? common->bus : VDEV_BUS_AUTO;

    if (bus == VDEV_BUS_AUTO)
        bus = m->config.arch.segments ? VDEV_BUS_PCI : VDEV_BUS_MMIO;
    if (bus == VDEV_BUS_PCI && !m->config.arch.segments)
        return vm_fail(-EINVAL, "%s: bus=pci, but PCI is off (--pci off)", d->dev->id);
    return bus == VDEV_BUS_PCI ? plug_pci(m, d, dev, common) : plug_mmio(m, d, dev, common);
}

/* The device that stands for one in a process. */
static int add_process(struct vmm_machine *m, struct machine_device *d, struct vdev_context *c)
{
    int rc = vmm_process_new(m, d, c, &d->process, &d->dev);

    if (rc && strncmp(vm_error_text(), c->id, strlen(c->id)))
        vm_wrap(rc, "%s", c->id);
    if (rc)
        drop(d);
    else
        remember(m, d);
    return rc;
}

/* The device behind which a program stands that we start. */
static int add_program(struct vmm_machine *m, struct machine_device *d, struct vdev_context *c,
                       const struct vmm_machine_device *want, const char *text)
{
    int rc = m->config.sandbox.programs
                 ? vmm_program_new(m, text, c->id, &d->program)
                 : vm_fail(-EINVAL, "program=%.80s: there is no spawner that would start it", text);
    struct program *p = d->program;

    if (rc) {
        drop(d);
        return vm_wrap(rc, "%s", c->id);
    }
    c->env = vmm_program_env(p);
    rc = add(m, d, want->cls, c, want->config);
    if (rc) {
        rc = vmm_program_explain(p, rc);
        vmm_program_detach(p);
        vmm_program_free(p, 0);
    }
    return rc;
}

static int add_by_whom(struct vmm_machine *m, struct machine_device *d, struct vdev_context *c,
                       const struct vmm_machine_device *want)
{
    const char *program = vmm_machine_program_of(want->cls, want->config);

    if (want->process && m->config.sandbox.spawner)
        return add_process(m, d, c);
    if (program && !m->config.blank)
        return add_program(m, d, c, want, program);
    if (d->names)
        c->env = &d->names->env.env;
    return add(m, d, want->cls, c, want->config);
}

static bool opens_by_others(const struct vmm_machine_device *want)
{
    return want->cls->dials ||
           (want->cls->starts_program && want->cls->starts_program(want->config));
}

/* What may have to be made again, elsewhere. A device that stays on a thread opens by itself, but for one that dials or wants a program. */
static int note_wish(struct vmm_machine *m, struct machine_device *d,
                     const struct vmm_machine_device *want, const char *id)
{
    bool process = want->process && m->config.sandbox.spawner;
    bool stays = !process && vmm_machine_why_stays(m, want->cls, want->config);

    d->cls = want->cls;
    d->given = want->config;
    if (!want->config || (stays && !opens_by_others(want)))
        return 0;
    d->config = malloc(want->cls->config_size);
    d->names = vmm_names_new(m, id);
    if (!d->config || !d->names)
        return vm_fail(-ENOMEM, "%s: out of memory", want->cls->name);
    memcpy(d->config, want->config, want->cls->config_size);
    return 0;
}

static int add_device(struct vmm_machine *m, const struct vmm_machine_device *want)
{
    char id[VDEV_ID_MAX + 1] = "";
    struct vdev_context c = vmm_machine_context(m, id);
    struct machine_device *d;
    int rc;

    /* These need ports and wires, which only the architecture knows. */
    if (want->cls->kind == VDEV_PLATFORM)
        return vm_fail(-EINVAL,
                       "%s is a part of the machine, not a device that can be added: other options "
                       "switch it on and off",
                       want->cls->name);
    rc = choose_id(m, want, id);
    if (rc)
        return rc;
    d = room(m, id);
    if (!d)
        return -ENOMEM;
    rc = note_wish(m, d, want, id);
    if (rc) {
        drop(d);
        return rc;
    }
    rc = add_by_whom(m, d, &c, want);
    if (!rc && want->cls->kind == VDEV_VIRTIO)
        rc = plug(m, d, want);
    return rc;
}

static int add_root(struct vmm_machine *m, unsigned s)
{
    struct vpci_root_config c = {
        .segment = (uint16_t)s, .assign = true, .mmio = m->mmio, .pio = m->pio, .msi = &m->msi
    };
    struct varch_pci_segment segment;

    varch_pci(m->arch, s, &segment);
    c.ecam_base = segment.ecam.base;
    c.last_bus = (uint8_t)((segment.ecam.size >> 20) - 1); /* 1 MiB per bus */
    c.mem32 = (struct vpci_window){ segment.mem32.base, segment.mem32.size };
    c.mem64 = (struct vpci_window){ segment.mem64.base, segment.mem64.size };
    c.io = (struct vpci_window){ segment.io.base, segment.io.size };
    c.cam = segment.cam;
    for (unsigned i = 0; i < 4; i++)
        if (segment.intx[i] != UINT32_MAX) {
            int rc = vmm_machine_irq_line(m, segment.intx[i], &c.intx[i]);

            if (rc)
                return rc;
        }
    return vpci_root_new(&m->io_env, &c, &m->root[s]);
}

static int add_roots(struct vmm_machine *m)
{
    int rc = 0;

    if (!m->config.arch.segments)
        return 0;
    m->root = calloc(m->config.arch.segments, sizeof(struct vpci_root *));
    if (!m->root)
        return vm_fail(-ENOMEM, "PCI: out of memory");
    for (unsigned s = 0; !rc && s < m->config.arch.segments; s++)
        rc = add_root(m, s);
    return rc;
}

int vmm_machine_devices_new(struct vmm_machine *m)
{
    int rc = add_platforms(m);

    if (!rc)
        rc = add_roots(m);
    for (size_t i = 0; !rc && i < m->config.device_count; i++)
        rc = add_device(m, &m->config.devices[i]);
    for (unsigned s = 0; !rc && s < m->config.arch.segments; s++)
        rc = vpci_root_assign(m->root[s]);
    for (struct machine_device *d = m->devices; !rc && d; d = d->next) {
        if (d->process)
            vmm_process_live(d->process);
        if (d->names)
            d->names->live = true;
        if (d->program)
            vmm_program_live(d->program);
    }
    return rc;
}

void vmm_machine_device_free(struct machine_device *d)
{
    if (d->pci)
        virtio_pci_free(d->pci);
    else if (d->mmio)
        virtio_mmio_free(d->mmio);
    else
        vdev_destroy(d->dev);
    if (d->process)
        vmm_process_detach(d->process);
    if (d->program)
        vmm_program_detach(d->program);
    d->pci = NULL;
    d->mmio = NULL;
    d->dev = NULL;
}

void vmm_machine_devices_free(struct vmm_machine *m)
{
    struct machine_device *controllers = NULL;

    while (m->freeing) { /* as far as the loop that served it has come */
        struct machine_device *d = m->freeing;

        m->freeing = d->next;
        if (d->dev)
            vmm_machine_device_free(d);
        vmm_machine_device_clear(d, MACHINE_PROGRAM_MS);
        free(d);
    }
    while (m->devices) {
        struct machine_device *d = m->devices;

        m->devices = d->next;
        if (d->dev == m->irqchip) { /* the others' lines end in it: last */
            d->next = controllers;
            controllers = d;
            continue;
        }
        vmm_machine_device_free(d);
        vmm_machine_device_clear(d, MACHINE_PROGRAM_MS);
        free(d);
    }
    for (unsigned s = 0; m->root && s < m->config.arch.segments; s++)
        vpci_root_free(m->root[s]);
    free(m->root);
    m->root = NULL;
    if (controllers)
        vdev_destroy(controllers->dev);
    free(controllers);
}

int vmm_machine_firmware(struct vmm_machine *m, const struct vdev_firmware *const **ret_rows,
                         size_t *ret_count)
{
    const struct vdev_firmware **rows;
    size_t n = 0;

    for (struct machine_device *d = m->devices; d; d = d->next)
        n++;
    rows = calloc(n + 1, sizeof(struct vdev_firmware *));
    if (!rows)
        return vm_fail(-ENOMEM, "tables: out of memory");
    n = 0;
    for (struct machine_device *d = m->devices; d; d = d->next)
        if (d->dev->firmware.acpi_hid || d->dev->firmware.compatible)
            rows[n++] = &d->dev->firmware;
    *ret_rows = (const struct vdev_firmware *const *)rows;
    *ret_count = n;
    return 0;
}

static struct machine_device *find_device(struct vmm_machine *m, const struct vdev *dev)
{
    struct machine_device *d = m->devices;

    while (d && d->dev != dev)
        d = d->next;
    return d;
}

/* Whoever serves it later begins with it. */
static void keep(struct machine_device *d, const struct vm_prop *prop, void *config,
                 struct machine_list *list)
{
    if (!list) {
        memcpy((char *)d->config + prop->offset, (const char *)config + prop->offset,
               vm_prop_type_size(prop->type));
        return;
    }
    vmm_list_take(list, config);
    vmm_list_put(&d->lists, list, d->config);
}

static int set_here(struct machine_device *d, const struct vm_prop *prop, void *config)
{
    bool kept = d->config && prop->live;
    struct machine_list *list = NULL;
    int rc;

    if (kept && prop->type == VM_PROP_LIST) {
        list = vmm_list_new(prop);
        if (!list)
            return -ENOMEM;
    }
    rc = vdev_set(d->dev, prop, config);
    if (rc)
        vmm_list_free(list);
    else if (kept)
        keep(d, prop, config, list);
    return rc;
}

static int set_elsewhere(struct vmm_machine *m, const struct machine_device *d,
                         const struct vm_prop *prop, void *config, const char *key_value,
                         void (*done)(void *ctx, int code), void *ctx)
{
    if (!prop->live)
        return vm_fail(-ENOTSUP, "%s: %s cannot be changed while the machine runs", d->id,
                       prop->name);
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (d->leave)
        return vm_fail(-EBUSY, "%s is being removed", d->id);
    return vmm_process_set(d->process, prop, config, key_value, done, ctx);
}

int vmm_machine_set(struct vmm_machine *m, const char *id, const char *key_value,
                    void (*done)(void *ctx, int code), void *ctx)
{
    struct vdev *dev = vmm_machine_find(m, id);
    struct machine_device *d = dev ? find_device(m, dev) : NULL;
    const struct vm_prop *prop;
    void *config;
    int rc;

    if (!dev)
        return vm_fail(-ENOENT, "there is no device '%s': vmm info lists them", id);
    if (vmm_machine_mover(m) == d)
        return vm_fail(-EBUSY, "%s is being moved: change it when that is over", id);
    rc = vdev_config_parse(dev, key_value, &prop, &config);
    if (rc)
        return rc;
    rc = d->process ? set_elsewhere(m, d, prop, config, key_value, done, ctx)
                    : set_here(d, prop, config);
    vdev_config_free(dev, config);
    return rc;
}

void vmm_machine_sets_end(struct vmm_machine *m, int code)
{
    struct vm_error why;

    vm_error_save(code, &why);
    for (struct machine_device *d = m->devices; d; d = d->next)
        if (d->process)
            vmm_process_sets_end(d->process, vm_error_restore(&why));
}

void vmm_machine_walk_sets(struct vmm_machine *m, void (*visit)(void *arg, void *ctx), void *arg)
{
    for (struct machine_device *d = m->devices; d; d = d->next)
        if (d->process)
            vmm_process_walk_sets(d->process, visit, arg);
    for (struct machine_device *d = m->freeing; d; d = d->next)
        if (d->process)
            vmm_process_walk_sets(d->process, visit, arg);
}

int vmm_machine_save_device(struct vmm_machine *m, struct vdev *dev, struct vm_buffer *buffer)
{
    const struct machine_device *d = find_device(m, dev);

    if (!d)
        return vm_fail(-ENOENT, "%s is not a device of this machine", dev->id);
    if (d->pci)
        return virtio_pci_save(d->pci, buffer);
    return d->mmio ? virtio_mmio_save(d->mmio, buffer) : vdev_save(dev, buffer);
}

int vmm_machine_load_device(struct vmm_machine *m, struct vdev *dev, const void *untrusted,
                            size_t size)
{
    const struct machine_device *d = find_device(m, dev);

    if (!d)
        return vm_fail(-ENOENT, "%s is not a device of this machine", dev->id);
    if (d->pci)
        return virtio_pci_load(d->pci, untrusted, size);
    return d->mmio ? virtio_mmio_load(d->mmio, untrusted, size) : vdev_load(dev, untrusted, size);
}

void vmm_machine_walk_devices(struct vmm_machine *m, void (*visit)(void *ctx, struct vdev *dev),
                              void *ctx)
{
    for (struct machine_device *d = m->devices; d; d = d->next)
        visit(ctx, d->dev);
}

void vmm_machine_place(struct vmm_machine *m, struct vdev *dev, char *ret_text, size_t bytes)
{
    const struct machine_device *d = find_device(m, dev);

    snprintf(ret_text, bytes, "%s", d ? d->place : "nowhere");
}

const char *vmm_machine_placement(struct vmm_machine *m, struct vdev *dev)
{
    const struct machine_device *d = find_device(m, dev);

    if (d && d->process)
        return "process";
    return d && d->cls && d->cls->placements == VDEV_FOREIGN ? "program" : "thread";
}

static void rows(const struct vdev_metric *m, const uint64_t *value,
                 void (*row)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    for (; m && m->name; m++)
        row(ctx, m->name, *value++);
}

void vmm_machine_metrics(struct vmm_machine *m, struct vdev *dev,
                         void (*row)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    const struct machine_device *d = find_device(m, dev);
    uint64_t value[VDEV_COUNTERS_ROWS] = { 0 };

    if (d && d->process) {
        vmm_process_counts(d->process, value);
        rows(vmm_process_class(d->process)->metrics, value, row, ctx);
    } else {
        vdev_metrics_read(dev, value);
        rows(dev->cls->metrics, value, row, ctx);
    }
}

bool vmm_machine_process_metrics(struct vmm_machine *m, struct vdev *dev,
                                 void (*row)(void *ctx, const char *name, uint64_t value),
                                 void *ctx)
{
    const struct machine_device *d = find_device(m, dev);
    uint64_t value[VDEV_COUNTERS_ROWS] = { 0 };

    if (!d || !d->process)
        return false;
    vdev_metrics_read(dev, value);
    rows(dev->cls->metrics, value, row, ctx);
    return true;
}

bool vmm_machine_jail_lacks(struct vmm_machine *m, struct vdev *dev,
                            void (*row)(void *ctx, const char *stage, const char *why), void *ctx)
{
    const struct machine_device *d = find_device(m, dev);

    if (!d || !d->process)
        return false;
    vmm_process_jail_lacks(d->process, row, ctx);
    return true;
}
