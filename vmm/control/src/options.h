/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The option tables of the commands. */
#ifndef VMM_CONTROL_OPTIONS_H
#define VMM_CONTROL_OPTIONS_H

#include "commands.h"

extern const struct vmm_option options_run[];
extern const struct vmm_option operands_run[];

/* --config FILE. */
int options_load_config(struct session *s, const char *path);

#endif
