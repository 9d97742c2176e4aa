/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Save and load of the PCI transport: configuration space, MSI-X and the common structure's registers. */
#include "pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

struct pci_state {
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t isr;
    uint32_t vectors;
    struct pci_vector {
        uint16_t vector;
    } vector[VIRTIO_QUEUES_MAX];
    struct vpci_state function;
};

static const struct vm_state_field vector_fields[] = {
    { .tag = 1, .type = VM_STATE_U16, .offset = offsetof(struct pci_vector, vector) },
    { 0 },
};
static const struct vm_state_field fields[] = {
    { .tag = 1, .type = VM_STATE_U32, .offset = offsetof(struct pci_state, feature_select) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct pci_state, driver_feature_select) },
    { .tag = 3, .type = VM_STATE_U16, .offset = offsetof(struct pci_state, queue_select) },
    { .tag = 4, .type = VM_STATE_U16, .offset = offsetof(struct pci_state, config_vector) },
    { .tag = 5, .type = VM_STATE_U8, .offset = offsetof(struct pci_state, isr) },
    { .tag = 6,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct pci_state, vector),
      .max = VIRTIO_QUEUES_MAX,
      .count_offset = offsetof(struct pci_state, vectors),
      .element_size = sizeof(struct pci_vector),
      .fields = vector_fields },
    { .tag = 7,
      .type = VM_STATE_STRUCT,
      .offset = offsetof(struct pci_state, function),
      .fields = vpci_state_fields },
    { 0 },
};

static void fill(struct virtio_pci *p, struct pci_state *s)
{
    s->feature_select = p->feature_select;
    s->driver_feature_select = p->driver_feature_select;
    s->queue_select = p->queue_select;
    s->config_vector = p->config_vector;
    s->isr = p->isr;
    s->vectors = p->dev->queues;
    for (uint16_t n = 0; n < p->dev->queues; n++)
        s->vector[n].vector = p->vector[n];
    vpci_save(&p->fn, &s->function);
}

int virtio_pci_save(struct virtio_pci *p, struct vm_buffer *buffer)
{
    struct pci_state *s = calloc(1, sizeof(*s));
    struct vm_buffer own = { 0 };
    int rc;

    if (!s)
        return vm_fail(-ENOMEM, "%s: out of memory", p->dev->dev.id);
    vm_lock_acquire(&p->dev->dev.lock);
    fill(p, s);
    vm_lock_release(&p->dev->dev.lock);
    rc = vm_state_save(fields, 1, s, &own);
    if (!rc)
        rc = virtio_section_add(buffer, &own);
    vm_buffer_free(&own);
    free(s);
    return rc ? rc : virtio_save_rest(p->dev, buffer);
}

static bool vector_exists(const struct virtio_pci *p, uint16_t vector)
{
    return vector == VIRTIO_NO_VECTOR || vector < p->fn.msix.vectors;
}

static int check(const struct virtio_pci *p, const struct pci_state *untrusted)
{
    bool ok = untrusted->vectors == p->dev->queues && vector_exists(p, untrusted->config_vector) &&
              !(untrusted->isr & ~(ISR_QUEUE | ISR_CONFIG));

    for (uint32_t n = 0; ok && n < untrusted->vectors; n++)
        ok = vector_exists(p, untrusted->vector[n].vector);
    return ok ? 0
              : vm_fail(-EINVAL, "%s: vectors or interrupt status of the transport do not fit",
                        p->dev->dev.id);
}

static void take(struct virtio_pci *p, const struct pci_state *s)
{
    p->feature_select = s->feature_select;
    p->driver_feature_select = s->driver_feature_select;
    p->queue_select = s->queue_select;
    p->config_vector = s->config_vector;
    p->isr = s->isr;
    for (uint16_t n = 0; n < p->dev->queues; n++)
        p->vector[n] = s->vector[n].vector;
    virtio_pci_calls_update(p);
}

static int load(struct virtio_pci *p, const struct pci_state *untrusted)
{
    int rc = check(p, untrusted);

    if (!rc)
        rc = virtio_load_begin(p->dev);
    if (!rc)
        rc = vpci_load(&p->fn, &untrusted->function);
    if (!rc)
        take(p, untrusted);
    return rc;
}

int virtio_pci_load(struct virtio_pci *p, const void *untrusted, size_t size)
{
    struct pci_state *s = calloc(1, sizeof(*s));
    struct virtio_sections sections;
    int rc;

    if (!s)
        return vm_fail(-ENOMEM, "%s: out of memory", p->dev->dev.id);
    rc = virtio_sections_split(untrusted, size, &sections);
    if (!rc)
        rc = vm_state_load(fields, 1, sections.data[0], sections.size[0], s, sizeof(*s));
    if (!rc) {
        vm_lock_acquire(&p->dev->dev.lock);
        rc = load(p, s);
        vm_lock_release(&p->dev->dev.lock);
    }
    if (!rc)
        rc = virtio_load_rest(p->dev, &sections);
    free(s);
    return rc;
}
