/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The objects of the KVM implementation. */
#ifndef HV_KVM_PRIVATE_H
#define HV_KVM_PRIVATE_H

#include <vmm/base/util.h>
#include <vmm/hypervisor/kvm.h>

struct kvm_system {
    struct hv hv;
    int fd;
};

struct kvm_machine {
    struct hv_vm vm;
    int fd;
};

struct kvm_cpu {
    struct hv_vcpu vcpu;
    int fd;
};

struct kvm_dev {
    struct hv_device device;
    int fd;
};

static inline struct kvm_machine *to_machine(struct hv_vm *vm)
{
    return container_of(vm, struct kvm_machine, vm);
}

/* Sets "<text>: <strerror>" from errno and returns -errno; a call the kernel does not know is
 * -ENOTSUP. */
int hv_kvm_fail(const char *format, ...) VM_PRINTF(1, 2);

/* ioctl(2), again after EINTR; result or -1 with errno. arg: a pointer or a number, as request
 * wants. */
int hv_kvm_ioctl(int fd, unsigned long request, uintptr_t arg);

int hv_kvm_vm_new(struct hv *hv, int system_fd, const struct hv_vm_config *config,
                  struct hv_vm **ret_vm);
int hv_kvm_vcpu_new(struct hv_vm *vm, uint32_t id, struct hv_vcpu **ret_vcpu);

/* What KVM_RUN left, but for ports and memory; and what its failure means: 0 or -error. */
/* Out of line: what they keep on the stack would cost every exit a guard. */
void __attribute__((noinline)) hv_kvm_decode_rare(struct kvm_run *run, struct hv_exit *ret_exit);
int __attribute__((noinline))
hv_kvm_run_failed(const struct kvm_run *run, int error, struct hv_exit *ret_exit);

int hv_kvm_cap(int fd, uint32_t cap);
int hv_kvm_enable_cap(int fd, const struct kvm_enable_cap *cap);
int hv_kvm_get(int fd, enum hv_object object, enum hv_state kind, void *buf, size_t size);
int hv_kvm_set(int fd, enum hv_object object, enum hv_state kind, const void *buf, size_t size);
int hv_kvm_attr(int fd, enum hv_attr what, struct kvm_device_attr *attr);
int hv_kvm_stats_fd(int fd);

#endif
