/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Packed rings in the hands of a fuzzer. */
#include <errno.h>

#include "ring_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(data, size, VQ_F_RING_PACKED, NULL, fuzz_step);
    return 0;
}
