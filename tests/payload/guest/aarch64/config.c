/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Configuration space: ECAM is the only way. */
#include "pci.h"

uint32_t pci_read(unsigned dev, unsigned reg)
{
    return read32(pci_ecam(dev, reg));
}

void pci_write(unsigned dev, unsigned reg, uint32_t value)
{
    write32(pci_ecam(dev, reg), value);
}

void pci_write16(unsigned dev, unsigned reg, uint16_t value)
{
    write16(pci_ecam(dev, reg), value);
}
