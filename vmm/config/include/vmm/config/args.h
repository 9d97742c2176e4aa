/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The command line: words into an object, by a command's tables.
 *
 *   --name value   --name=value   -n value   -nvalue   -ab (without arguments)   --   operands
 *
 * Options and operands may be mixed; behind "--" all words are operands, "-" is always one. In
 * names '_' is the same as '-'.
 */
#ifndef VMM_CONFIG_ARGS_H
#define VMM_CONFIG_ARGS_H

#include <vmm/base/state.h>
#include <vmm/config/model.h>

/* The user asked for help. */
#define VMM_CONFIG_HELP 1

/* Reads argc words (the program's and the command's name not among them) into *object, which
 * holds defaults or earlier values before. ctx goes to the options' call. Returns 0;
 * VMM_CONFIG_HELP with the help text in *out; the positive number of a call; or -EINVAL,
 * -ERANGE, -ENOMEM with text: the option, what is wrong, the nearest name. After a failure the
 * object may hold some of the values. That the object is complete is the caller's to check
 * (vm_prop_check()), since a file may come after. */
int vmm_config_parse_args(const struct vmm_command *command, void *object, void *ctx, int argc,
                          char *const argv[], struct vm_buffer *out);

/* One value of an option into the object, as parse_args does it: for the verb that sets a property
 * at run time (vmm set). what names it in errors. Returns as vmm_config_parse_args(). */
int vmm_config_apply(const struct vmm_config_model *model, const struct vmm_option *option,
                     void *object, const char *what, const char *value, struct vm_buffer *out);

#endif
