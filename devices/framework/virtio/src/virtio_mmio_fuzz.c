/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Fuzz target: a driver over virtio-mmio. */
#include "transport_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_transport(VH_MMIO_BUS, VH_MMIO_BUS, data, size);
}
