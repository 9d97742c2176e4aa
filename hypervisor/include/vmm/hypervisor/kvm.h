/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The hypervisor that is Linux's KVM. */
#ifndef VMM_HYPERVISOR_KVM_H
#define VMM_HYPERVISOR_KVM_H

#include <vmm/hypervisor/hypervisor.h>

/* Takes an open /dev/kvm (read and write, CLOEXEC). On success kvm_fd belongs to the new object and
 * hv_free() closes it; on failure it stays the caller's. env is borrowed for the object's life. 0;
 * -ENOTSUP (kvm_fd is something else, or KVM's API is not version 12); -ENOMEM; with text. Thread
 * safe. */
int hv_kvm_new(const struct vm_env *env, int kvm_fd, struct hv **ret_hv);

#endif
