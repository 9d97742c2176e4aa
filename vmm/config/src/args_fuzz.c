/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Fuzz target: the command line. Lines of the input are the words. */
#include <vmm/config/args.h>

#include <stdlib.h>
#include <string.h>

#include "sample.h"

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), *rest = text, *argv[WORDS_MAX];
    struct vm_buffer out = { 0 };
    struct sample s;
    int argc = 0, called;

    while (rest && argc < WORDS_MAX)
        argv[argc++] = strsep(&rest, "\n");
    if (vm_prop_defaults(sample_props, &s))
        abort();
    vmm_config_parse_args(&sample_run, &s, &called, argc, argv, &out);
    vm_prop_free(sample_props, &s);
    vm_buffer_free(&out);
    free(text);
    return 0;
}
