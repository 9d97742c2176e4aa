/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Text made from commands and tables: help, manual page, shell completion. Each call appends to
 * *out and returns 0, -ENOMEM, or -EINVAL with text where a table is wrong (see
 * vmm_config_check_command()). width is the terminal's columns; 0 means 80, and under 40 counts as
 * 40.
 */
#ifndef VMM_CONFIG_HELP_H
#define VMM_CONFIG_HELP_H

#include <vmm/base/state.h>
#include <vmm/config/model.h>

/* The list of commands. */
int vmm_config_help_program(const struct vmm_program *program, unsigned width,
                            struct vm_buffer *out);

/* Usage, operands and options of a command. */
int vmm_config_help_command(const struct vmm_command *command, unsigned width,
                            struct vm_buffer *out);

/* The keys of one table: type, range, default, help. title is the first line. Members of nested
 * objects stand there as object.key; lists of objects, which only JSON has, are left out. */
int vmm_config_help_props(const struct vm_prop *props, const char *title, unsigned width,
                          struct vm_buffer *out);

/* The classes with their summaries. */
int vmm_config_help_classes(const struct vmm_config_classes *classes, const char *title,
                            unsigned width, struct vm_buffer *out);

/* The manual page (man(7) macros, section 1) with every command, table and class. */
int vmm_config_man(const struct vmm_program *program, struct vm_buffer *out);

enum vmm_config_shell { VMM_CONFIG_BASH, VMM_CONFIG_ZSH, VMM_CONFIG_FISH };

/* The completion script of a shell. bash also completes keys and their values inside an option's
 * text. */
int vmm_config_completion(const struct vmm_program *program, enum vmm_config_shell shell,
                          struct vm_buffer *out);

#endif
