/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A machine that is built but never started, without touching the user's files: for plan and abi. */
#ifndef VMM_CONTROL_DRY_H
#define VMM_CONTROL_DRY_H

#include <vmm/arch/abi.h>

#include "run.h"

/* What it is built on. */
enum dry_on {
    DRY_ON_NOTHING, /* no hypervisor: no vCPUs and no memory */
    DRY_ON_REFERENCE, /* a host that is made up (vmm/arch/abi.h) */
    DRY_ON_HOST, /* /dev/kvm */
};

struct dry {
    struct vm_env env;
    struct hv *hv;
    struct varch_reference reference;
    struct run_inputs inputs;
    struct vmm_machine *machine;
};

/* number: which reference host. -ENOENT without text: there is none; -errno with text; on success vmm_dry_free(). Consoles that
 * are on become null ones: nothing is opened for them. The same configuration may be given again. */
int vmm_dry_new(const struct run_model *model, struct run_config *config, enum dry_on on,
                unsigned number, struct dry *ret_dry);
void vmm_dry_free(struct dry *dry);

#endif
