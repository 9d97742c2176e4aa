/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The option tables of the commands. */
#ifndef VMM_CONTROL_OPTIONS_H
#define VMM_CONTROL_OPTIONS_H

#include "commands.h"

extern const struct vmm_option vmm_options_run[];
extern const struct vmm_option vmm_operands_run[];

/* KERNEL and --kernel. */
int vmm_options_kernel(void *ctx, const struct vmm_option *option, const char *value);
/* Behind all options: makes --root the first disk. */
int vmm_options_settle_root(struct session *s);
/* --config FILE. */
int vmm_options_load_config(struct session *s, const char *path);

#endif
