/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The machine guest's PCI: configuration space by ECAM, or on x86_64 by ports 0xcf8 and 0xcfc with the option config=cam; segment 0,
 * bus 0. */
#ifndef PAYLOAD_GUEST_PCI_H
#define PAYLOAD_GUEST_PCI_H

#include "guest.h"

enum {
    PCI_VENDOR = 0x00, /* PCI Local Bus 3.0, 6.1 */
    PCI_COMMAND = 0x04,
    PCI_HEADER = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_ROM = 0x30,
    PCI_CAPS = 0x34,
    PCI_PIN = 0x3d,
    COMMAND_MEMORY = 1 << 1,
    COMMAND_MASTER = 1 << 2,
    COMMAND_INTX_OFF = 1 << 10,
    STATUS_INTX = 1 << 3,
    CAP_VENDOR = 0x09,
    CAP_MSIX = 0x11,
    PCI_DEVICES = 32,
    PCI_BARS = 6,
};
struct pci_bar {
    bool is_io, is_64;
    unsigned number;
    uint64_t address, size; /* size 0: not there */
};

/* ARCH/config.c. */
uint32_t pci_read(unsigned dev, unsigned reg);
void pci_write(unsigned dev, unsigned reg, uint32_t value);
void pci_write16(unsigned dev, unsigned reg, uint16_t value);
/* pci.c. */
uint16_t pci_read16(unsigned dev, unsigned reg);
uint8_t pci_read8(unsigned dev, unsigned reg);
static inline uint64_t pci_ecam(unsigned dev, unsigned reg)
{
    return ECAM + (dev << 15) + reg;
}
bool pci_present(unsigned dev);
/* Changes bits of the command register. */
void pci_command(unsigned dev, uint16_t set, uint16_t clear);
/* Offset of the next capability with that id behind at (0: the first one), 0 at the end. */
unsigned pci_cap(unsigned dev, uint8_t id, unsigned at);
/* Sizes a BAR as drivers do, with decoding off meanwhile, and leaves it where it is. */
void pci_bar(unsigned dev, unsigned number, struct pci_bar *ret_bar);
void pci_bar_move(unsigned dev, const struct pci_bar *bar, uint64_t address);

#endif
