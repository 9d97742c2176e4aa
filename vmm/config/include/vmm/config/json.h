/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * JSON: text into an object, an object into text, and the JSON schema of a model.
 *
 * Keys are property names or cloud-hypervisor's aliases. null means not given. Sizes and numbers
 * are numbers (bytes) or strings as on the command line ("2G"), booleans true, false or "on",
 * "off". A variant names its class in the key "class".
 */
#ifndef VMM_CONFIG_JSON_H
#define VMM_CONFIG_JSON_H

#include <vmm/base/state.h>
#include <vmm/config/model.h>

#define VMM_CONFIG_JSON_DEPTH 32u /* levels of [ and { */
#define VMM_CONFIG_JSON_BYTES (4u << 20u) /* length of a text */
#define VMM_CONFIG_JSON_CLASS "class" /* key of a variant's class */

/* Reads len bytes of text into *object, which holds defaults or earlier values before; a list that
 * is given replaces the old one. what names the text in errors ("vm.json"): syntax errors say
 * what:line:column, others the path of the value ("vm.json: disks[0]: ..."). Nested objects and
 * elements that are given must be complete; whether the root is, vm_prop_check() tells.
 * 0; -EINVAL, -ERANGE, -ENOMEM with text; then the object may hold some of the values. */
int vmm_config_load_json(const struct vmm_config_model *model, void *object, const char *what,
                         const char *untrusted, size_t len);

/* Why jansson refused a text, for its writer: with the cure where its own words name none, and
 * without the names of its C flags. code is json_error_code() of its error, text the error's. Returns
 * ret_words. */
const char *vmm_config_json_why(int code, const char *text, char *ret_words, size_t room);

enum vmm_config_json_form { VMM_CONFIG_JSON_LINE, VMM_CONFIG_JSON_PRETTY };

/* Appends the object as JSON with the names and words of a surface (OWN or CH) to *out. What
 * was not given is left out: texts that are NULL, fds of -1, empty lists, and optional objects
 * without their required members. Loading the text gives an equal object. A number above 2^63 -
 * 1 becomes a string. -ENOMEM; -EILSEQ with text where a text is not UTF-8. */
int vmm_config_save_json(const struct vmm_config_model *model, const void *object,
                         enum vm_surface surface, enum vmm_config_json_form form,
                         struct vm_buffer *out);

/* Appends the JSON schema (2020-12; also a schema object of OpenAPI 3.1) of what load_json takes.
 * -ENOMEM; -EINVAL for a bad preset. */
int vmm_config_json_schema(const struct vmm_config_model *model, enum vm_surface surface,
                           struct vm_buffer *out);

#endif
