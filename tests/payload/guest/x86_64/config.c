/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Configuration space by ECAM or by ports (PCI Local Bus 3.0, 3.2.2.3.2). */
#include "pci.h"

enum { CAM_ADDRESS = 0xcf8, CAM_DATA = 0xcfc };
#define CAM_ENABLE 0x80000000u

static bool use_cam(unsigned dev, unsigned reg)
{
    if (!options.cam || reg > 0xff)
        return false;
    out32(CAM_ADDRESS, CAM_ENABLE | dev << 11 | (reg & 0xfc));
    return true;
}

uint32_t pci_read(unsigned dev, unsigned reg)
{
    return use_cam(dev, reg) ? in32(CAM_DATA) : read32(pci_ecam(dev, reg));
}

void pci_write(unsigned dev, unsigned reg, uint32_t value)
{
    if (use_cam(dev, reg))
        out32(CAM_DATA, value);
    else
        write32(pci_ecam(dev, reg), value);
}

void pci_write16(unsigned dev, unsigned reg, uint16_t value)
{
    if (use_cam(dev, reg))
        out16((uint16_t)(CAM_DATA + (reg & 2)), value);
    else
        write16(pci_ecam(dev, reg), value);
}
