/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What writing objects and writing schemas share. Inside config. */
#ifndef VMM_CONFIG_SRC_JSON_TREE_H
#define VMM_CONFIG_SRC_JSON_TREE_H

#include <jansson.h>

#include <vmm/config/json.h>

/* Name of a key and words of an ENUM on a surface. */
const char *vmm_config_json_name(const struct vm_prop *prop, enum vm_surface surface);
const char *const *vmm_config_json_words(const struct vm_prop *prop, enum vm_surface surface);

/* Adds a member and takes value over; NULL for value gives -ENOMEM. */
int vmm_config_json_add(json_t *object, const char *name, json_t *value);

/* A scalar as a new value; NULL where it cannot be written. */
json_t *vmm_config_json_scalar(const struct vm_prop *prop, const void *object,
                               enum vm_surface surface);

int vmm_config_json_write(const json_t *json, enum vmm_config_json_form form,
                          struct vm_buffer *out);

#endif
