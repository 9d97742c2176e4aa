/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The option tables of the commands. */
#ifndef VMM_CONTROL_OPTIONS_H
#define VMM_CONTROL_OPTIONS_H

#include "commands.h"

extern const struct vmm_option vmm_options_run[];
extern const struct vmm_option vmm_operands_run[];

/* --config FILE. */
int vmm_options_load_config(struct session *s, const char *path);

#endif
