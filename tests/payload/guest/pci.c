/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "pci.h"

uint16_t pci_read16(unsigned dev, unsigned reg)
{
    return (uint16_t)(pci_read(dev, reg & ~3u) >> 8 * (reg & 2));
}

uint8_t pci_read8(unsigned dev, unsigned reg)
{
    return (uint8_t)(pci_read(dev, reg & ~3u) >> 8 * (reg & 3));
}

bool pci_present(unsigned dev)
{
    return pci_read16(dev, PCI_VENDOR) != 0xffff;
}

void pci_command(unsigned dev, uint16_t set, uint16_t clear)
{
    pci_write16(dev, PCI_COMMAND, (uint16_t)((pci_read16(dev, PCI_COMMAND) & ~clear) | set));
}

unsigned pci_cap(unsigned dev, uint8_t id, unsigned at)
{
    at = pci_read8(dev, at ? at + 1 : PCI_CAPS);
    while (at && pci_read8(dev, at) != id)
        at = pci_read8(dev, at + 1);
    return at;
}

void pci_bar(unsigned dev, unsigned number, struct pci_bar *b)
{
    unsigned reg = PCI_BAR0 + 4 * number;
    uint32_t low = pci_read(dev, reg), flags, high = 0;
    uint64_t mask;

    pci_command(dev, 0, COMMAND_MEMORY);
    *b = (struct pci_bar){ .number = number, .is_io = low & 1, .is_64 = (low & 7) == 4 };
    flags = b->is_io ? 3 : 0xf;
    pci_write(dev, reg, 0xffffffff);
    mask = 0xffffffff00000000 | (pci_read(dev, reg) & ~flags);
    pci_write(dev, reg, low);
    if (b->is_64) {
        high = pci_read(dev, reg + 4);
        pci_write(dev, reg + 4, 0xffffffff);
        mask = (mask & 0xffffffff) | (uint64_t)pci_read(dev, reg + 4) << 32;
        pci_write(dev, reg + 4, high);
    }
    b->address = (uint64_t)high << 32 | (low & ~flags);
    b->size = (uint32_t)mask ? ~mask + 1 : 0;
    pci_command(dev, COMMAND_MEMORY, 0);
}

void pci_bar_move(unsigned dev, const struct pci_bar *b, uint64_t address)
{
    unsigned reg = PCI_BAR0 + 4 * b->number;

    pci_write(dev, reg, (uint32_t)address);
    if (b->is_64)
        pci_write(dev, reg + 4, (uint32_t)(address >> 32));
}
