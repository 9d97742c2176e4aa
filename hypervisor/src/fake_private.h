/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The objects of the fake. One lock (fake_system.lock) guards them all; it is no ranked lock, since
 * nothing is called with it held. */
#ifndef HV_FAKE_PRIVATE_H
#define HV_FAKE_PRIVATE_H

#include <pthread.h>

#include <vmm/base/util.h>
#include <vmm/hypervisor/fake.h>

enum {
    FAKE_PAGE = 4096,
    FAKE_IRQS_MAX = 4096, /* interrupts that wait to be taken */
    FAKE_IRQCHIPS = 3, /* x86: two PICs and the IOAPIC */
};

/* A growing array. */
struct fake_list {
    void *data;
    size_t count, room, entry; /* entry: bytes of one */
};

/* Room for one more at the end; NULL without memory. */
void *hv_fake_list_add(struct fake_list *list);
void *hv_fake_list_at(const struct fake_list *list, size_t i);
void hv_fake_list_del(struct fake_list *list, size_t i);

/* What was set, by kind; MSRs and registers by number. */
struct fake_blob {
    void *data;
    size_t size;
};
struct fake_store {
    struct fake_blob kind[HV_STATE_COUNT];
    struct fake_blob irqchip[FAKE_IRQCHIPS];
    struct fake_list numbers; /* struct fake_number */
};
struct fake_number {
    uint64_t id;
    size_t size;
    uint8_t value[256];
};

int hv_fake_blob_set(struct fake_blob *blob, const void *buf, size_t size);
int hv_fake_store_get(struct fake_store *store, enum hv_object object, enum hv_state kind,
                      void *buf, size_t size);
int hv_fake_store_set(struct fake_store *store, enum hv_object object, enum hv_state kind,
                      const void *buf, size_t size);
/* The registers of one are the other's, too. */
int hv_fake_store_copy_numbers(struct fake_store *to, const struct fake_store *from);
int hv_fake_store_set_number(struct fake_store *store, uint64_t id, const void *value, size_t size);
void hv_fake_store_free(struct fake_store *store);

struct fake_cap {
    uint32_t cap;
    int value;
};

struct fake_order {
    uint64_t calls;
    unsigned skip;
    int code;
};

struct fake_system {
    struct hv hv;
    pthread_mutex_t lock;
    struct fake_list caps; /* struct fake_cap */
    struct fake_order orders[HV_FAKE_CALLS];
    struct fake_store store;
};

struct fake_slot {
    struct hv_slot slot;
    uint64_t *dirty; /* NULL: not logged */
};

struct fake_irqfd {
    struct hv_fake_irqfd irqfd;
    bool raised;
};

struct fake_vm {
    struct hv_vm vm;
    struct fake_list slots; /* struct fake_slot */
    struct fake_list routes; /* struct hv_route */
    struct fake_list irqfds; /* struct fake_irqfd */
    struct fake_list ioeventfds; /* struct hv_ioeventfd */
    struct fake_list enabled; /* struct kvm_enable_cap */
    struct fake_list vcpu_ids; /* uint32_t, for ever */
    struct fake_list vcpus; /* struct fake_vcpu *, those that live */
    struct fake_list devices; /* uint32_t type, for ever */
    struct fake_list attrs; /* struct hv_fake_attr, for ever */
    struct fake_list zones; /* struct hv_coalesced: addr, len, pio */
    struct fake_store store;
    bool has_irqchip;
    enum hv_irqchip irqchip;
    uint32_t pins;
    struct hv_fake_irq *irqs; /* ring of FAKE_IRQS_MAX, made with the first one */
    uint32_t irq_first, irq_count;
    uint64_t irqs_lost;
};

struct fake_vcpu {
    struct hv_vcpu vcpu;
    struct fake_store store;
    struct hv_fake_guest guest;
    struct hv_exit last;
    bool pending; /* last is to be completed */
    uint64_t ring_fill, ring_freed; /* entries ever written, ever reset */
};

static inline struct fake_system *fake_of(struct hv *hv)
{
    return container_of(hv, struct fake_system, hv);
}
static inline struct fake_vm *fake_vm_of(struct hv_vm *vm)
{
    return container_of(vm, struct fake_vm, vm);
}
static inline struct fake_vcpu *fake_vcpu_of(struct hv_vcpu *vcpu)
{
    return container_of(vcpu, struct fake_vcpu, vcpu);
}

/* Takes the lock and counts the call. 0, or the ordered failure with text; the lock is held either
 * way. */
int hv_fake_enter(struct hv *hv, enum hv_fake_call call);
/* Releases the lock and returns code. */
int hv_fake_leave(struct hv *hv, int code);

int hv_fake_vm_new(struct hv *hv, const struct hv_vm_config *config, struct hv_vm **ret_vm);
int hv_fake_vcpu_new(struct hv_vm *vm, uint32_t id, struct hv_vcpu **ret_vcpu);

/* With the lock held. */
int hv_fake_cap_value(struct fake_system *s, uint32_t cap);
int hv_fake_irq_push(struct fake_vm *v, const struct hv_fake_irq *irq);
bool hv_fake_irqfd_scan(struct fake_vm *v);
bool hv_fake_ioeventfd_catch(struct fake_vm *v, const struct hv_exit *exit);

/* Notes that an attribute was set. 0, -ENOMEM. */
int hv_fake_attr_note(struct fake_vm *v, const struct hv_fake_attr *of,
                      const struct kvm_device_attr *attr);

/* What was set of it last. 0, -ENXIO with text. */
int hv_fake_attr_find(const struct fake_vm *v, const struct hv_fake_attr *of,
                      struct kvm_device_attr *attr);

/* Interrupts and event fds (fake_irq.c) and memory (fake_memory.c): members of the VM's table. */
int hv_fake_op_irqchip_new(struct hv_vm *vm, enum hv_irqchip kind, uint32_t pins);
int hv_fake_op_set_routes(struct hv_vm *vm, const struct hv_route *routes, size_t count);
int hv_fake_op_irqfd(struct hv_vm *vm, bool add, int fd, uint32_t gsi, int resample_fd);
int hv_fake_op_ioeventfd(struct hv_vm *vm, bool add, const struct hv_ioeventfd *event);
int hv_fake_op_signal_msi(struct hv_vm *vm, const struct hv_msi *msi);
int hv_fake_op_irq_line(struct hv_vm *vm, uint32_t irq, bool level);
int hv_fake_op_set_slot(struct hv_vm *vm, const struct hv_slot *slot);
int hv_fake_op_dirty_get(struct hv_vm *vm, uint32_t slot, uint64_t pages, uint64_t *ret_bitmap);
int hv_fake_op_dirty_clear(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t pages,
                           const uint64_t *bitmap);
int hv_fake_op_dirty_ring_enable(struct hv_vm *vm, uint32_t entries);
int hv_fake_op_dirty_ring_reset(struct hv_vm *vm);

#endif
