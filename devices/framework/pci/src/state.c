/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a snapshot keeps of a function, and how much of it is believed. */
#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

static const struct vm_state_field entry_fields[] = {
    { .tag = 1, .type = VM_STATE_U64, .offset = offsetof(struct vpci_msix_state, addr) },
    { .tag = 2, .type = VM_STATE_U32, .offset = offsetof(struct vpci_msix_state, data) },
    { .tag = 3, .type = VM_STATE_U32, .offset = offsetof(struct vpci_msix_state, control) },
    { .tag = 4, .type = VM_STATE_BOOL, .offset = offsetof(struct vpci_msix_state, pending) },
    { 0 },
};

const struct vm_state_field vpci_state_fields[] = {
    { .tag = 1,
      .type = VM_STATE_BYTES,
      .offset = offsetof(struct vpci_state, config),
      .max = VPCI_CONFIG_BYTES,
      .count_offset = offsetof(struct vpci_state, config_bytes) },
    { .tag = 2,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct vpci_state, entry),
      .max = VPCI_MSIX_MAX,
      .count_offset = offsetof(struct vpci_state, vectors),
      .element_size = sizeof(struct vpci_msix_state),
      .fields = entry_fields },
    { .tag = 3, .type = VM_STATE_BOOL, .offset = offsetof(struct vpci_state, intx_level) },
    { 0 },
};

/* The interrupt status bit follows from the line's level. */
static uint8_t live_bits(size_t offset)
{
    return offset == REG_STATUS ? STATUS_INTERRUPT : 0;
}

static uint8_t guest_bits(const struct vpci_function *fn, size_t offset)
{
    return fn->writable[offset] | fn->clear_on_1[offset];
}

int vpci_config_check(const struct vpci_function *fn, const uint8_t *untrusted, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t fixed = (uint8_t) ~(guest_bits(fn, i) | live_bits(i));

        if ((untrusted[i] ^ fn->config[i]) & fixed)
            return vm_fail(-EINVAL,
                           "%s: config space byte 0x%zx is 0x%02x in the state, 0x%02x here: it "
                           "was saved from another device",
                           fn->name, i, untrusted[i], fn->config[i]);
    }
    return 0;
}

void vpci_config_take(struct vpci_function *fn, const uint8_t *checked, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t mask = guest_bits(fn, i);

        fn->config[i] = (uint8_t)((fn->config[i] & ~mask) | (checked[i] & mask));
    }
}

void vpci_save(const struct vpci_function *fn, struct vpci_state *ret_state)
{
    uint32_t bytes = fn->config_bytes ? fn->config_bytes : VPCI_CONFIG_BYTES;

    ret_state->config_bytes = bytes;
    memcpy(ret_state->config, fn->config, bytes);
    ret_state->config[REG_STATUS] &= (uint8_t)~STATUS_INTERRUPT;
    ret_state->intx_level = fn->intx_level;
    ret_state->vectors = fn->msix.vectors;
    for (unsigned v = 0; v < fn->msix.vectors; v++) {
        const struct vpci_msix_entry *entry = &fn->msix.entry[v];

        ret_state->entry[v] = (struct vpci_msix_state){ .addr = entry->addr,
                                                        .data = entry->data,
                                                        .control = entry->control,
                                                        .pending = entry->pending };
    }
}

/* A message waits only where something holds it back: else it would be sent by the load. */
static bool is_held(const struct vpci_function *fn, const struct vpci_state *s, unsigned vector)
{
    uint16_t command = (uint16_t)vm_load_le(s->config + REG_COMMAND, 2);
    uint16_t control = (uint16_t)vm_load_le(s->config + fn->msix.cap + MSIX_CONTROL, 2);

    return !(command & COMMAND_MASTER) || !(control & MSIX_ENABLE) ||
           (control & MSIX_FUNCTION_MASK) || (s->entry[vector].control & MSIX_VECTOR_MASK);
}

static int check_vectors(const struct vpci_function *fn, const struct vpci_state *untrusted)
{
    if (untrusted->vectors != fn->msix.vectors)
        return vm_fail(-EINVAL, "%s: %u MSI-X vectors in the state, %u here", fn->name,
                       untrusted->vectors, fn->msix.vectors);
    for (unsigned v = 0; v < fn->msix.vectors; v++) {
        const struct vpci_msix_state *entry = &untrusted->entry[v];

        if (entry->addr & 3 || entry->control & ~(uint32_t)MSIX_VECTOR_MASK ||
            (entry->pending && !is_held(fn, untrusted, v)))
            return vm_fail(-EINVAL,
                           "%s: MSI-X vector %u cannot be: address 0x%llx, control 0x%x, %spending",
                           fn->name, v, (unsigned long long)entry->addr, entry->control,
                           entry->pending ? "" : "not ");
    }
    return 0;
}

static void take_vectors(struct vpci_function *fn, const struct vpci_state *checked)
{
    vpci_msix_reset(fn);
    for (unsigned v = 0; v < fn->msix.vectors; v++) {
        const struct vpci_msix_state *entry = &checked->entry[v];

        fn->msix.entry[v] = (struct vpci_msix_entry){ .addr = entry->addr,
                                                      .data = entry->data,
                                                      .control = entry->control,
                                                      .pending = entry->pending };
    }
}

int vpci_load(struct vpci_function *fn, const struct vpci_state *untrusted)
{
    int rc;

    if (untrusted->config_bytes != fn->config_bytes)
        return vm_fail(-EINVAL, "%s: config space of %u bytes in the state, %u here", fn->name,
                       untrusted->config_bytes, fn->config_bytes);
    rc = vpci_config_check(fn, untrusted->config, fn->config_bytes);
    if (!rc)
        rc = check_vectors(fn, untrusted);
    if (rc)
        return rc;
    take_vectors(fn, untrusted);
    vpci_config_take(fn, untrusted->config, fn->config_bytes);
    fn->intx_level = untrusted->intx_level;
    vpci_config_settle(fn);
    return 0;
}
