/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Which object an option's text is for. Inside config. */
#ifndef VMM_CONFIG_SRC_PICK_H
#define VMM_CONFIG_SRC_PICK_H

#include <vmm/config/model.h>

/* Takes the items of option->picks out of text: *ret_path is the property that they name (the option's own if none does),
 * *ret_rest what is left, for free(). -EINVAL with text: two places, or a number that no item has. */
int vmm_config_pick(const struct vmm_option *option, const char *what, const char *text,
                    const char **ret_path, char **ret_rest);

#endif
