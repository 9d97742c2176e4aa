/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Fuzz target: a driver over virtio-pci, with MSI-X or INTx. */
#include "transport_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_transport(VH_PCI, VH_PCI_INTX, data, size);
}
