/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A root bus: its window of enhanced configuration space (PCI Express 5.0, 7.2.2), its slots and
 * its interrupt lines.
 *
 * ECAM is one region on the memory bus, a window that leads to the configuration region of the
 * function it names. So the slots are read without a lock, and the bus's gone() is what tells that
 * no access looks at a function any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

enum { ECAM_BUS_SHIFT = 20, ECAM_DEVICE_SHIFT = 15, ECAM_FUNCTION_SHIFT = 12 };
enum { PRIORITY_PLATFORM = 1 };

bool vpci_root_is_multi(const struct vpci_root *root, unsigned device)
{
    return __atomic_load_n(&root->multi, __ATOMIC_RELAXED) >> device & 1;
}

struct vdev_msi_sink *vpci_root_msi(const struct vpci_root *root)
{
    return root->config.msi;
}

const struct vm_env *vpci_root_env(const struct vpci_root *root)
{
    return root->env;
}

const struct vpci_root_config *vpci_root_config_of(const struct vpci_root *root)
{
    return &root->config;
}

static struct vdev_region *ecam_window(void *self, uint64_t *offset, unsigned len)
{
    struct vpci_root *root = self;
    unsigned device = *offset >> ECAM_DEVICE_SHIFT & (VPCI_SLOTS - 1);
    unsigned function = *offset >> ECAM_FUNCTION_SHIFT & (VPCI_FUNCTIONS - 1);
    struct vpci_function *fn;

    (void)len;
    if (*offset >> ECAM_BUS_SHIFT)
        return NULL; /* buses behind the root bus: there is no bridge yet */
    fn = __atomic_load_n(&root->slot[device][function], __ATOMIC_ACQUIRE);
    *offset &= VPCI_CONFIG_BYTES - 1;
    return fn ? &fn->ecam : NULL;
}

/* Functions that share a line lower and raise it at the same time, and the line's target may not
 * be called under a leaf lock. So each counts itself in or out first, then shows what it sees,
 * and looks again whether that still holds: whoever shows last has seen the last count. */
static void line_set(struct vdev_irq *irq, bool level)
{
    struct vpci_line *line = container_of(irq, struct vpci_line, irq);
    unsigned raised, shown;

    if (level)
        raised = __atomic_add_fetch(&line->raised, 1, __ATOMIC_SEQ_CST);
    else
        raised = __atomic_sub_fetch(&line->raised, 1, __ATOMIC_SEQ_CST);
    do {
        shown = raised;
        vdev_irq_set(line->target, shown);
        raised = __atomic_load_n(&line->raised, __ATOMIC_SEQ_CST);
    } while (!raised != !shown);
}

static void line_init(struct vpci_line *line, struct vdev_irq *target)
{
    line->target = target;
    line->irq = (struct vdev_irq){ .set = line_set };
    if (target)
        line->irq.number = target->number;
}

static bool is_sound(const struct vpci_window *window, uint64_t limit)
{
    return !window->size || (window->base <= limit && window->size - 1 <= limit - window->base);
}

static bool overlaps_ecam(const struct vpci_root_config *c, uint64_t ecam_bytes)
{
    return vm_ranges_overlap(c->ecam_base, ecam_bytes, c->mem32.base, c->mem32.size) ||
           vm_ranges_overlap(c->ecam_base, ecam_bytes, c->mem64.base, c->mem64.size);
}

static uint64_t ecam_bytes(const struct vpci_root_config *c)
{
    return (uint64_t)(c->last_bus - c->first_bus + 1) << ECAM_BUS_SHIFT;
}

static int check(const struct vpci_root_config *c)
{
    if (!c->mmio || c->first_bus > c->last_bus)
        return vm_fail(-EINVAL, "PCI segment %u: buses %u to %u on %s", c->segment, c->first_bus,
                       c->last_bus, c->mmio ? "the memory bus" : "no memory bus");
    if (c->ecam_base & ((1u << ECAM_BUS_SHIFT) - 1) ||
        c->ecam_base > UINT64_MAX - (ecam_bytes(c) - 1))
        return vm_fail(-EINVAL, "PCI segment %u: ECAM at 0x%" PRIx64 " must be a multiple of 1 MiB",
                       c->segment, c->ecam_base);
    if (!is_sound(&c->mem32, UINT32_MAX) || !is_sound(&c->mem64, UINT64_MAX) ||
        !is_sound(&c->io, UINT16_MAX))
        return vm_fail(-EINVAL, "PCI segment %u: a window ends beyond its address space",
                       c->segment);
    if (overlaps_ecam(c, ecam_bytes(c)))
        return vm_fail(-EINVAL, "PCI segment %u: ECAM at 0x%" PRIx64 " lies in a BAR window",
                       c->segment, c->ecam_base);
    if (c->cam && (c->segment || !c->pio))
        return vm_fail(-EINVAL,
                       "PCI segment %u: ports 0xcf8 and 0xcfc are segment 0's, on a port "
                       "bus",
                       c->segment);
    return 0;
}

static void init(struct vpci_root *root, const struct vm_env *env,
                 const struct vpci_root_config *config)
{
    static const struct vdev_region_ops ecam_ops = { .window = ecam_window };

    root->env = env;
    root->config = *config;
    vm_lock_init(&root->lock, VM_RANK_LEAF, "pci root");
    vm_lock_init(&root->bridge_lock, VM_RANK_DEVICE, "pci host bridge");
    for (unsigned i = 0; i < LINES; i++)
        line_init(&root->line[i], config->intx[i]);
    root->ecam = (struct vdev_region){ .name = "pci ecam",
                                       .base = config->ecam_base,
                                       .size = ecam_bytes(config),
                                       .ops = &ecam_ops,
                                       .self = root,
                                       .priority = PRIORITY_PLATFORM };
}

static void destroy(struct vpci_root *root)
{
    vm_lock_destroy(&root->bridge_lock);
    vm_lock_destroy(&root->lock);
    free(root);
}

int vpci_root_new(const struct vm_env *env, const struct vpci_root_config *config,
                  struct vpci_root **ret_root)
{
    struct vpci_root *root;
    int rc = check(config);

    if (rc)
        return rc;
    root = calloc(1, sizeof(*root));
    if (!root)
        return vm_fail(-ENOMEM, "PCI segment %u: no memory", config->segment);
    init(root, env, config);
    rc = vdev_bus_add(config->mmio, &root->ecam);
    if (rc)
        goto free_root;
    rc = vpci_cam_add(root);
    if (rc)
        goto del_ecam;
    rc = vpci_bridge_plug(root);
    if (rc)
        goto del_cam;
    *ret_root = root;
    return 0;

del_cam:
    vpci_cam_del(root);
del_ecam:
    vdev_bus_del(config->mmio, &root->ecam, NULL, NULL);
free_root:
    destroy(root);
    return rc;
}

void vpci_root_free(struct vpci_root *root)
{
    if (!root)
        return;
    vpci_bridge_unplug(root);
    vpci_cam_del(root);
    if (root->ecam.on_bus)
        vdev_bus_del(root->config.mmio, &root->ecam, NULL, NULL);
    destroy(root);
}

void vpci_root_walk(struct vpci_root *root, void (*visit)(void *ctx, struct vpci_function *fn),
                    void *ctx)
{
    for (unsigned device = 0; device < VPCI_SLOTS; device++) {
        for (unsigned function = 0; function < VPCI_FUNCTIONS; function++) {
            struct vpci_function *fn =
                __atomic_load_n(&root->slot[device][function], __ATOMIC_ACQUIRE);

            if (fn)
                visit(ctx, fn);
        }
    }
}
