/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A guest that does anything to the clock. */
#include "timed_fuzz.h"

extern const struct vdev_class pl031_class;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MIS = 0x18 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    timed_fuzz(&pl031_class, MIS, data, size);
    return 0;
}
