/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fake's memory of state: what was set last is what is got; before that, zeros. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "fake_private.h"
#include "state_table.h"

int hv_fake_blob_set(struct fake_blob *blob, const void *buf, size_t size)
{
    void *data = realloc(blob->data, size ? size : 1);

    if (!data)
        return vm_fail(-ENOMEM, "no memory for %zu bytes of state", size);
    if (size)
        memcpy(data, buf, size);
    *blob = (struct fake_blob){ data, size };
    return 0;
}

void hv_fake_store_free(struct fake_store *store)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(store->kind); i++)
        free(store->kind[i].data);
    for (size_t i = 0; i < VM_ARRAY_SIZE(store->irqchip); i++)
        free(store->irqchip[i].data);
    free(store->numbers.data);
}

static struct fake_number *find_number(const struct fake_store *store, uint64_t id)
{
    for (size_t i = 0; i < store->numbers.count; i++) {
        struct fake_number *n = hv_fake_list_at(&store->numbers, i);

        if (n->id == id)
            return n;
    }
    return NULL;
}

static void number_get(const struct fake_store *store, uint64_t id, void *ret_value, size_t size)
{
    const struct fake_number *n = find_number(store, id);

    memset(ret_value, 0, size);
    if (n)
        memcpy(ret_value, n->value, size < n->size ? size : n->size);
}

int hv_fake_store_set_number(struct fake_store *store, uint64_t id, const void *value, size_t size)
{
    struct fake_number *n = find_number(store, id);

    if (!n)
        n = hv_fake_list_add(&store->numbers);
    if (!n)
        return vm_fail(-ENOMEM, "no memory for register 0x%llx", (unsigned long long)id);
    n->id = id;
    n->size = size;
    memcpy(n->value, value, size);
    return 0;
}

int hv_fake_store_copy_numbers(struct fake_store *to, const struct fake_store *from)
{
    int rc = 0;

    for (size_t i = 0; !rc && i < from->numbers.count; i++) {
        const struct fake_number *n = hv_fake_list_at(&from->numbers, i);

        rc = hv_fake_store_set_number(to, n->id, n->value, n->size);
    }
    return rc;
}

#if defined(__x86_64__)
static int msrs_get(const struct fake_store *store, struct kvm_msrs *msrs)
{
    for (uint32_t i = 0; i < msrs->nmsrs; i++) {
        uint64_t value;

        number_get(store, msrs->entries[i].index, &value, sizeof(value));
        msrs->entries[i].data = value;
    }
    return (int)msrs->nmsrs;
}

static int msrs_set(struct fake_store *store, const struct kvm_msrs *msrs)
{
    for (uint32_t i = 0; i < msrs->nmsrs; i++) {
        uint64_t value = msrs->entries[i].data;
        int rc = hv_fake_store_set_number(store, msrs->entries[i].index, &value, sizeof(value));

        if (rc)
            return rc;
    }
    return (int)msrs->nmsrs;
}

/* An irqchip's state is three: the chip is named in it. */
static struct fake_blob *blob_of(struct fake_store *store, enum hv_state kind, const void *buf)
{
    uint32_t chip;

    if (kind != HV_STATE_IRQCHIP)
        return &store->kind[kind];
    chip = ((const struct kvm_irqchip *)buf)->chip_id;
    return chip < FAKE_IRQCHIPS ? &store->irqchip[chip] : NULL;
}

static int special_get(struct fake_store *store, enum hv_state kind, void *buf, bool *ret_done)
{
    struct kvm_irqchip *chip = buf;

    *ret_done = kind == HV_STATE_MSRS || kind == HV_STATE_FEATURE_MSRS;
    if (*ret_done)
        return msrs_get(store, buf);
    /* A chip that was never set still says which one it is. */
    if (kind == HV_STATE_IRQCHIP && blob_of(store, kind, buf) && !blob_of(store, kind, buf)->data) {
        *chip = (struct kvm_irqchip){ .chip_id = chip->chip_id };
        *ret_done = true;
    }
    return 0;
}

static int special_set(struct fake_store *store, enum hv_state kind, const void *buf,
                       bool *ret_done)
{
    *ret_done = kind == HV_STATE_MSRS;
    return *ret_done ? msrs_set(store, buf) : 0;
}
#else
static struct fake_blob *blob_of(struct fake_store *store, enum hv_state kind, const void *buf)
{
    (void)buf;
    return &store->kind[kind];
}

/* Every register that was set. */
static int reg_list_get(const struct fake_store *store, struct kvm_reg_list *list)
{
    uint64_t room = list->n;

    list->n = store->numbers.count;
    if (list->n > room)
        return vm_fail(-E2BIG, "register list: it has %llu entries", (unsigned long long)list->n);
    for (size_t i = 0; i < store->numbers.count; i++)
        list->reg[i] = ((struct fake_number *)hv_fake_list_at(&store->numbers, i))->id;
    return 0;
}

static int special_get(struct fake_store *store, enum hv_state kind, void *buf, bool *ret_done)
{
    const struct kvm_one_reg *reg = buf;

    *ret_done = kind == HV_STATE_ONE_REG || kind == HV_STATE_REG_LIST;
    if (kind == HV_STATE_REG_LIST)
        return reg_list_get(store, buf);
    if (*ret_done)
        number_get(store, reg->id, (void *)(uintptr_t)reg->addr, KVM_REG_SIZE(reg->id) & 0x1ff);
    return 0;
}

static int special_set(struct fake_store *store, enum hv_state kind, const void *buf,
                       bool *ret_done)
{
    const struct kvm_one_reg *reg = buf;

    *ret_done = kind == HV_STATE_ONE_REG;
    if (!*ret_done)
        return 0;
    if (KVM_REG_SIZE(reg->id) > sizeof(((struct fake_number *)0)->value))
        return vm_fail(-EINVAL, "register 0x%llx: its size", (unsigned long long)reg->id);
    return hv_fake_store_set_number(store, reg->id, (const void *)(uintptr_t)reg->addr,
                                    KVM_REG_SIZE(reg->id));
}
#endif

/* A list: as KVM, -E2BIG when the caller's count is too small. */
static int list_get(const struct state_row *row, const struct fake_blob *blob, void *buf)
{
    uint64_t have = blob->data ? hv_state_count(row, blob->data) : 0;
    size_t count_bytes = row->flags & STATE_COUNT_64 ? sizeof(uint64_t) : sizeof(uint32_t);

    if (have > hv_state_count(row, buf)) {
        memcpy(buf, &have, count_bytes);
        return vm_fail(-E2BIG, "%s: it has %llu entries", row->name, (unsigned long long)have);
    }
    memcpy(buf, &have, count_bytes);
    if (blob->data)
        memcpy(buf, blob->data, row->size + have * row->entry);
    return 0;
}

int hv_fake_store_get(struct fake_store *store, enum hv_object object, enum hv_state kind,
                      void *buf, size_t size)
{
    const struct state_row *row = hv_state_row(kind);
    const struct fake_blob *blob;
    int rc = hv_state_check(kind, object, 0, buf, size);
    bool done;

    if (rc)
        return rc;
    rc = special_get(store, kind, buf, &done);
    if (done)
        return rc;
    blob = blob_of(store, kind, buf);
    if (!blob)
        return vm_fail(-EINVAL, "%s: no such chip", row->name);
    if (row->entry)
        return list_get(row, blob, buf);
    memset(buf, 0, size);
    if (blob->data)
        memcpy(buf, blob->data, size < blob->size ? size : blob->size);
    return 0;
}

int hv_fake_store_set(struct fake_store *store, enum hv_object object, enum hv_state kind,
                      const void *buf, size_t size)
{
    struct fake_blob *blob;
    int rc = hv_state_check(kind, object, 1, buf, size);
    bool done;

    if (rc)
        return rc;
    rc = special_set(store, kind, buf, &done);
    if (done)
        return rc;
    blob = blob_of(store, kind, buf);
    if (!blob)
        return vm_fail(-EINVAL, "%s: no such chip", hv_state_name(kind));
    return hv_fake_blob_set(blob, buf, size);
}
