/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Fuzz target: JSON. What is accepted must be saved to a text that loads to the same text again. */
#include <vmm/config/json.h>

#include <stdlib.h>
#include <string.h>

#include "sample.h"

static void save(const struct sample *s, enum vm_surface surface, struct vm_buffer *out)
{
    if (vmm_config_save_json(&sample_model, s, surface, VMM_CONFIG_JSON_LINE, out))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vm_buffer first = { 0 }, second = { 0 };
    struct sample a, b;

    if (vm_prop_defaults(sample_props, &a) || vm_prop_defaults(sample_props, &b))
        abort();
    if (vmm_config_load_json(&sample_model, &a, "fuzz", (const char *)data, size) == 0) {
        enum vm_surface surface = size % 2 ? VM_SURFACE_CH : VM_SURFACE_OWN;

        save(&a, surface, &first);
        if (vmm_config_load_json(&sample_model, &b, "again", (const char *)first.data, first.len))
            abort();
        save(&b, surface, &second);
        if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
            abort();
    }
    vm_buffer_free(&first);
    vm_buffer_free(&second);
    vm_prop_free(sample_props, &a);
    vm_prop_free(sample_props, &b);
    return 0;
}
