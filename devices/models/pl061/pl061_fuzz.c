/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A guest that does anything to the GPIO. */
#include "timed_fuzz.h"

extern const struct vdev_class pl061_class;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MIS = 0x418 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    timed_fuzz(&pl061_class, MIS, data, size);
    return 0;
}
