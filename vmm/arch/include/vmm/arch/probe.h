/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Small guests that find out what a host's KVM is worth: for vmm doctor. */
#ifndef VMM_ARCH_PROBE_H
#define VMM_ARCH_PROBE_H

#include <stddef.h>

#include <vmm/hypervisor/hypervisor.h>

enum varch_probe {
    VARCH_PROBE_RUNS, /* a few instructions and an exit */
    VARCH_PROBE_HARDWARE, /* what only the processor can execute, in the mode ordinary kernels use */
};

/* Runs the guest in a fresh vCPU whose slot at address 0 is ram (at least 64 KiB). 0, or -EIO with text: what happened instead. */
int varch_probe_run(struct hv_vcpu *vcpu, enum varch_probe which, void *ram, size_t bytes);

/* What machines need and this KVM lacks, in words; NULL: nothing. */
const char *varch_probe_missing(struct hv *hv);

#endif
