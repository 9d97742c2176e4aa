/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a machine needs as AML, given as data: a device describes its resources (MMIO, ports,
 * interrupts, ids), the architecture calls these to turn them into byte code. All append to the
 * builder's current block, which is \_SB except where noted; errors are the builder's sticky ones.
 *
 * Names are those of one segment ("COM1"). Arrays are borrowed for the call.
 *
 * Threads: as the builder. No ABI is promised before 1.0.
 */
#ifndef VMM_ACPI_DEVICE_H
#define VMM_ACPI_DEVICE_H

#include <vmm/acpi/aml.h>

enum vacpi_resource_kind { VACPI_RES_MMIO, VACPI_RES_PIO, VACPI_RES_GSI };

/* One resource of a device, as a consumer of it. */
struct vacpi_resource {
    enum vacpi_resource_kind kind;
    uint64_t base; /* address, port or GSI */
    uint64_t size; /* bytes or ports; not for a GSI */
    unsigned flags; /* GSI: enum vacpi_irq_flags */
};

/* A device that is told by ids and resources alone. */
struct vacpi_device {
    const char *name;
    const char *hid;
    const char *cid; /* NULL: none */
    uint32_t uid;
    const struct vacpi_resource *resources;
    unsigned resource_count;
    bool coherent; /* _CCA 1 (6.2.17): Arm needs it on what does DMA */
    bool hidden; /* _STA 0x0b in place of 0x0f: not shown in a user interface (6.3.7) */
};

/* Device with _HID, _CID, _UID, _STA (only when hidden), _CCA (only when coherent) and _CRS (only
 * with resources). MMIO below 4 GiB becomes Memory32Fixed, above QWordMemory; ports IO or, over 255
 * of them, WordIO. */
void vacpi_aml_simple_device(struct vacpi_aml *aml, const struct vacpi_device *device);
/* The same, left open so that the caller adds objects; vacpi_aml_end() closes it. */
void vacpi_aml_simple_device_open(struct vacpi_aml *aml, const struct vacpi_device *device);

/* 16550 on ports (PNP0501). flags: enum vacpi_irq_flags. */
void vacpi_aml_serial(struct vacpi_aml *aml, const char *name, uint32_t uid, uint16_t port,
                      uint32_t gsi, unsigned flags);
/* CMOS clock (PNP0B00) on two ports from port on; gsi UINT32_MAX: no interrupt. */
void vacpi_aml_rtc(struct vacpi_aml *aml, const char *name, uint16_t port, uint32_t gsi);
/* virtio-mmio (LNRO0005), coherent. */
void vacpi_aml_virtio_mmio(struct vacpi_aml *aml, const char *name, uint32_t uid, uint64_t base,
                           uint64_t size, uint32_t gsi, unsigned flags);
/* Power button as a control method device (PNP0C0C, 4.8.2.2.1.2); Notify value 0x80 presses it. */
void vacpi_aml_power_button(struct vacpi_aml *aml, const char *name);
#define VACPI_NOTIFY_BUTTON 0x80

/* Address space that is taken by the platform (PNP0C02): ECAM, as the PCI Firmware Specification
 * 3.3, 4.1.2, demands of every range in MCFG. */
void vacpi_aml_reserved(struct vacpi_aml *aml, const char *name, uint32_t uid,
                        const struct vacpi_resource *resources, unsigned count);

/* Processors (ACPI0007, 8.4): devices C000, C001 ... with _UID first_uid and on (as in MADT or the
 * GICC). At most 4096. domains: proximity domain (_PXM) of each, or NULL. */
void vacpi_aml_processors(struct vacpi_aml *aml, uint32_t first_uid, unsigned count,
                          const uint32_t *domains);

/* Sleep state package (7.4.2): state 3, 4 or 5 gives \_S3, \_S4, \_S5; type is what the OS writes
 * to SLP_TYP. Call it at the top level, outside of any block. */
void vacpi_aml_sleep_state(struct vacpi_aml *aml, unsigned state, uint8_t type);

/* Generic event device (ACPI0013, 5.6.9). One event = one reason to tell the OS something. */
struct vacpi_event {
    uint32_t gsi;
    uint32_t mask; /* with a register: the bits that mean this event; else not used */
    const char *notify; /* device that gets notify_value, or NULL */
    uint8_t notify_value;
    const char *call; /* method without arguments, or NULL */
};
/* Without a register every interrupt means its events. With one, _EVT reads it once and serves the
 * events whose mask matches: the device must clear it on that read. */
struct vacpi_ged {
    const char *name;
    uint32_t uid;
    bool has_register; /* 32 bits wide */
    enum vacpi_space space;
    uint64_t address;
    unsigned irq_flags; /* of all its GSIs */
    const struct vacpi_event *events;
    unsigned event_count;
};
void vacpi_aml_ged(struct vacpi_aml *aml, const struct vacpi_ged *ged);

/* -- PCI host bridge (PNP0A08, _CID PNP0A03) -- */

struct vacpi_pci_window {
    enum vacpi_address_type type; /* VACPI_MEMORY or VACPI_IO */
    bool prefetchable;
    uint64_t base, size; /* address on the PCI side; below 4 GiB or not decides the descriptor */
    uint64_t
        translation; /* CPU address - PCI address; an I/O window with one is MMIO on the CPU side */
};
/* A row of _PRT (6.2.13): pin 0 is INTA. */
struct vacpi_pci_irq {
    uint8_t device;
    uint8_t pin;
    uint32_t gsi;
};
/* Bits of the control field of _OSC (PCI Firmware Specification 3.3, 4.5.1). */
enum vacpi_osc_control {
    VACPI_OSC_HOTPLUG = 1 << 0,
    VACPI_OSC_SHPC = 1 << 1,
    VACPI_OSC_PME = 1 << 2,
    VACPI_OSC_AER = 1 << 3,
    VACPI_OSC_CAPABILITY = 1 << 4,
    VACPI_OSC_LTR = 1 << 5,
};
struct vacpi_pci_bridge {
    const char *name;
    uint32_t uid;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    const struct vacpi_pci_window *windows;
    unsigned window_count;
    const struct vacpi_resource *ports; /* ports the bridge itself takes (CF8h-CFFh), or none */
    unsigned port_count;
    const struct vacpi_pci_irq *irqs; /* none: no _PRT */
    unsigned irq_count;
    uint32_t osc_control; /* what the OS may take over: it gets what it asks for, of these */
    bool coherent; /* _CCA 1 */
    bool has_domain;
    uint32_t domain; /* _PXM */
};
/* Device with _HID, _CID, _UID, _SEG, _BBN, _CCA, _PXM, _CRS, _PRT, _OSC. */
void vacpi_aml_pci_bridge(struct vacpi_aml *aml, const struct vacpi_pci_bridge *bridge);
/* The same, left open so that the caller adds objects (slots, _DSM); vacpi_aml_end() closes it. */
void vacpi_aml_pci_bridge_open(struct vacpi_aml *aml, const struct vacpi_pci_bridge *bridge);

#endif
