/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A machine that is built but never started, without KVM and without touching the user's files: for plan and abi. */
#ifndef VMM_CONTROL_DRY_H
#define VMM_CONTROL_DRY_H

#include "run.h"

struct dry {
    struct vm_env env;
    struct run_inputs inputs;
    struct vmm_machine *machine;
};

/* -errno with text; on success vmm_dry_free(). Consoles that are on become null ones: nothing is opened for them. */
int vmm_dry_new(const struct run_model *model, struct run_config *config, struct dry *ret_dry);
void vmm_dry_free(struct dry *dry);

#endif
