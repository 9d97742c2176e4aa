/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Building text in a struct vm_buffer. Inside config. */
#ifndef VMM_CONFIG_SRC_TEXT_H
#define VMM_CONFIG_SRC_TEXT_H

#include <vmm/base/state.h>
#include <vmm/base/util.h>
#include <vmm/config/model.h>

/* A text that grows. The first error stays in rc and makes the later calls do nothing, so that
 * only the end is checked. */
struct vmm_config_text {
    struct vm_buffer *out;
    int rc;
};

void vmm_config_put(struct vmm_config_text *t, const char *format, ...) VM_PRINTF(2, 3);
void vmm_config_put_bytes(struct vmm_config_text *t, const char *text, size_t len);

/* Puts a zero byte behind the text that its length does not count. Returns rc. */
int vmm_config_finish(struct vmm_config_text *t);

/* A line with text at indent and more text wrapped between the columns column and width. */
void vmm_config_put_columns(struct vmm_config_text *t, unsigned indent, const char *left,
                            unsigned column, unsigned width, const char *right);

/* The columns to use for the width that a caller gave. */
unsigned vmm_config_width(unsigned width);

/* Names are the same when they differ in '-' and '_' only. have may be NULL. */
bool vmm_config_same(const char *have, const char *name, size_t len);

/* The table outer (may be NULL) has the same row, by name and help: an element of a list in it need not tell it again. */
bool vmm_config_told(const struct vm_prop *outer, const struct vm_prop *prop);

/* A value's form in help: "N", "SIZE", "on|off", "a|b|c", "[TEXT,...]", "[[KEY=VALUE,...],...]". */
void vmm_config_put_form(struct vmm_config_text *t, const struct vm_prop *prop);

/* A row's help with its range and default behind it. */
void vmm_config_put_help(struct vmm_config_text *t, const struct vm_prop *prop);
/* " (default: X)", where there is one. */
void vmm_config_put_preset(struct vmm_config_text *t, const struct vm_prop *prop);

/* The property an option sets, NULL for none. */
const struct vm_prop *vmm_config_option_prop(const struct vmm_command *command,
                                             const struct vmm_option *option);

/* A LIST of at most one is a value that may be missing: written without brackets everywhere. */
static inline bool vmm_config_is_optional(const struct vm_prop *prop)
{
    return (prop->type == VM_PROP_LIST || prop->type == VM_PROP_OBJECTS) && prop->max == 1;
}

/* True for OBJECT, OBJECTS, VARIANTS: their text has keys. */
bool vmm_config_has_keys(const struct vm_prop *prop);

#endif
