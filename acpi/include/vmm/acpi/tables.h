/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ACPI tables (ACPI 6.5, chapter 5): a set is filled table by table, then laid out for a base
 * address.
 *
 *     struct vacpi_tables tables = { 0 };
 *     vacpi_tables_dsdt(&tables, &aml);
 *     vacpi_tables_fadt(&tables, &fadt);
 *     vacpi_tables_madt(&tables, &madt);
 *     rc = vacpi_tables_finish(&tables, base, &image);
 *     ... copy image.bytes to base, tell the guest image.rsdp ...
 *     vacpi_image_free(&image);
 *
 * Every table carries OEM id "VMMHV ", OEM table id "VMM_" and its signature, OEM and creator
 * revision 1, creator id "VMM ". The order of the calls is the order in XSDT; the bytes depend on
 * nothing else but the data, so that they are the same on each run.
 *
 * Errors are sticky: after the first one every call does nothing, and vacpi_tables_finish() reports
 * it. Arrays are borrowed for the call.
 *
 * Threads: a set belongs to one thread at a time. No ABI is promised before 1.0.
 */
#ifndef VMM_ACPI_TABLES_H
#define VMM_ACPI_TABLES_H

#include <vmm/acpi/aml.h>

#define VACPI_OEM_ID     "VMMHV "
#define VACPI_CREATOR_ID "VMM "

#define VACPI_TABLES_MAX 32

/* A set of tables: zero it to begin. Its members are private. */
struct vacpi_tables {
    struct vm_buffer tables[VACPI_TABLES_MAX];
    unsigned count;
    bool hw_reduced;
    struct vm_error error;
};

/* Where a table lies in an image. */
struct vacpi_place {
    char signature[5]; /* "RSDP" for the RSDP; terminated */
    uint32_t offset, len;
};

/* An address inside the image, that points to a table of the image: what a firmware's table loader
 * adds the real base to. */
struct vacpi_pointer {
    uint32_t offset; /* where the address stands */
    uint8_t bytes; /* 4 or 8 */
};

/* A finished set, laid out for one address. */
struct vacpi_image {
    struct vm_buffer bytes;
    uint64_t base;
    uint64_t rsdp; /* address of the RSDP (= base, which is a multiple of 16) */
    struct vacpi_place places[VACPI_TABLES_MAX + 2]; /* RSDP, XSDT, then the tables */
    unsigned place_count;
    struct vacpi_pointer pointers[VACPI_TABLES_MAX + 8];
    unsigned pointer_count;
};

/* Frees what a set holds and leaves it zeroed. Harmless on a zeroed one. */
void vacpi_tables_free(struct vacpi_tables *tables);

/* Ends the set: adds RSDP and XSDT, lays everything out from base (a multiple of 64) on, sets
 * addresses and checksums. Leaves the set zeroed, also on error. *ret_image belongs to the caller:
 * vacpi_image_free(). 0; -EINVAL with text (wrong data, FADT or DSDT missing, FACS missing or too
 * many, base not aligned or too high); -ENOMEM. */
int vacpi_tables_finish(struct vacpi_tables *tables, uint64_t base, struct vacpi_image *ret_image);
void vacpi_image_free(struct vacpi_image *image);
/* The n-th table (0: the first) with that signature, or NULL. */
const struct vacpi_place *vacpi_image_find(const struct vacpi_image *image, const char *signature,
                                           unsigned n);

/* Adds a table that the caller made: body is what follows the 36 bytes of the header. For what this
 * library does not know (VIOT, HMAT, tables of the user). */
void vacpi_tables_raw(struct vacpi_tables *tables, const char *signature, uint8_t revision,
                      const void *body, size_t len);

/* Ends the builder and adds its code as DSDT (once) or SSDT, revision 2: integers are 64 bits wide
 * (5.2.11). The builder is left zeroed. */
void vacpi_tables_dsdt(struct vacpi_tables *tables, struct vacpi_aml *aml);
void vacpi_tables_ssdt(struct vacpi_tables *tables, struct vacpi_aml *aml);

/* -- FADT (5.2.9) and FACS (5.2.10) -- */

/* A register: generic address structure (5.2.3.2). All zero: not there. */
struct vacpi_register {
    enum vacpi_space space;
    uint8_t bits;
    enum vacpi_access access;
    uint64_t address;
};

enum vacpi_fadt_flags {
    VACPI_FADT_WBINVD = 1 << 0,
    VACPI_FADT_PROC_C1 = 1 << 2,
    VACPI_FADT_PWR_BUTTON =
        1 << 4, /* no fixed power button: there is none, or a control method one */
    VACPI_FADT_SLP_BUTTON = 1 << 5, /* likewise the sleep button */
    VACPI_FADT_FIX_RTC = 1 << 6, /* the clock cannot wake by a fixed register */
    VACPI_FADT_RTC_S4 = 1 << 7,
    VACPI_FADT_TMR_32 = 1 << 8, /* the PM timer has 32 bits */
    VACPI_FADT_RESET_REG = 1 << 10,
    VACPI_FADT_HEADLESS = 1 << 12,
    VACPI_FADT_APIC_CLUSTER = 1 << 18,
    VACPI_FADT_APIC_PHYSICAL = 1 << 19,
    VACPI_FADT_HW_REDUCED = 1 << 20,
    VACPI_FADT_LOW_POWER_S0 = 1 << 21,
};
enum vacpi_iapc_boot { /* IAPC_BOOT_ARCH (5.2.9.3) */
                       VACPI_BOOT_LEGACY_DEVICES = 1 << 0,
                       VACPI_BOOT_8042 = 1 << 1,
                       VACPI_BOOT_NO_VGA = 1 << 2,
                       VACPI_BOOT_NO_MSI = 1 << 3,
                       VACPI_BOOT_NO_ASPM = 1 << 4,
                       VACPI_BOOT_NO_CMOS_RTC = 1 << 5,
};
enum vacpi_arm_boot { VACPI_ARM_PSCI = 1 << 0, VACPI_ARM_PSCI_HVC = 1 << 1 }; /* 5.2.9.4 */

/* The registers of a machine that is not hardware-reduced (4.8.3): I/O ports; 0: not there. */
struct vacpi_pm_block {
    uint16_t sci_gsi;
    uint16_t smi_port; /* with the two values below */
    uint8_t acpi_enable, acpi_disable;
    uint16_t pm1a_event, pm1a_control; /* 4 and 2 bytes */
    uint16_t pm_timer; /* 4 bytes */
    uint16_t gpe0;
    uint8_t gpe0_bytes; /* of status and enable together */
};

struct vacpi_fadt {
    uint32_t
        flags; /* enum vacpi_fadt_flags; HW_REDUCED: pm is not used; RESET_REG is set by itself */
    uint8_t pm_profile; /* 5.2.9.1: 0 unspecified, 1 desktop, 4 enterprise server */
    uint16_t iapc_boot, arm_boot;
    uint8_t cmos_century; /* index into CMOS RAM, or 0 */
    struct vacpi_register reset;
    uint8_t reset_value;
    struct vacpi_register sleep_control, sleep_status; /* 4.8.3.7; one byte each */
    struct vacpi_pm_block pm;
    char hypervisor[8]; /* filled with zeros; all zero: none told */
};
/* Revision 6.5. In full mode a FACS is needed: vacpi_tables_facs(). */
void vacpi_tables_fadt(struct vacpi_tables *tables, const struct vacpi_fadt *fadt);
/* FACS version 2; not for a hardware-reduced machine. */
void vacpi_tables_facs(struct vacpi_tables *tables, uint32_t hardware_signature);

/* -- MADT (5.2.12) -- */

enum vacpi_cpu_flags { VACPI_CPU_ENABLED = 1, VACPI_CPU_ONLINE_CAPABLE = 2 };
struct vacpi_cpu {
    uint32_t uid; /* _UID of its ACPI0007 device */
    uint32_t apic_id; /* over 254, or a uid over 254: it becomes an x2APIC structure */
    uint32_t flags; /* enum vacpi_cpu_flags */
};
struct vacpi_ioapic {
    uint8_t id;
    uint32_t address;
    uint32_t first_gsi;
};
enum vacpi_mps_flags { /* polarity and trigger mode (table of 5.2.12.5) */
                       VACPI_MPS_BUS = 0,
                       VACPI_MPS_HIGH = 1,
                       VACPI_MPS_LOW = 3,
                       VACPI_MPS_EDGE = 1 << 2,
                       VACPI_MPS_LEVEL = 3 << 2,
};
struct vacpi_override {
    uint8_t isa_irq;
    uint32_t gsi;
    uint16_t flags; /* enum vacpi_mps_flags */
};
struct vacpi_gicc {
    uint32_t cpu; /* CPU interface number */
    uint32_t uid;
    uint32_t flags; /* enum vacpi_cpu_flags: online capable is bit 3 here, which is seen to */
    uint64_t mpidr;
    uint32_t pmu_gsi; /* 0: none; level */
    uint32_t vgic_gsi; /* maintenance; 0: none */
    uint64_t base; /* GICv2 CPU interface; 0 with GICv3 */
    uint64_t gicv, gich; /* GICv2 with virtualization; else 0 */
    uint64_t redistributor; /* 0: told by a GICR range */
};
struct vacpi_gicr {
    uint64_t base;
    uint32_t len;
};
struct vacpi_gic_its {
    uint32_t id;
    uint64_t base;
};
struct vacpi_gic_msi_frame { /* GICv2m */
    uint32_t id;
    uint64_t base;
    uint16_t first_spi, spi_count;
};
struct vacpi_madt {
    uint32_t lapic_address; /* 0xfee00000; 0 on Arm */
    bool has_pic; /* two 8259 (PCAT_COMPAT) */
    const struct vacpi_cpu *cpus;
    unsigned cpu_count;
    const struct vacpi_ioapic *ioapics;
    unsigned ioapic_count;
    const struct vacpi_override *overrides;
    unsigned override_count;
    bool lapic_nmi; /* NMI on LINT1 of every local APIC */

    const struct vacpi_gicc *giccs;
    unsigned gicc_count;
    bool has_gicd;
    uint64_t gicd_base;
    uint8_t gic_version; /* 2, 3 or 4 */
    const struct vacpi_gicr *gicrs;
    unsigned gicr_count;
    const struct vacpi_gic_its *its;
    unsigned its_count;
    const struct vacpi_gic_msi_frame *msi_frames;
    unsigned msi_frame_count;
};
/* Revision 5. */
void vacpi_tables_madt(struct vacpi_tables *tables, const struct vacpi_madt *madt);

/* -- MCFG (PCI Firmware Specification 3.3, 4.1.2) -- */

struct vacpi_ecam {
    uint64_t base; /* of bus 0 of the segment, also where first_bus is not 0 */
    uint16_t segment;
    uint8_t first_bus, last_bus;
};
void vacpi_tables_mcfg(struct vacpi_tables *tables, const struct vacpi_ecam *ecams, unsigned count);

/* -- SRAT (5.2.16), SLIT (5.2.17) -- */

enum vacpi_affinity_kind { VACPI_AFFINITY_APIC, VACPI_AFFINITY_GICC, VACPI_AFFINITY_MEMORY };
enum vacpi_memory_flags { VACPI_MEMORY_HOTPLUG = 2, VACPI_MEMORY_NONVOLATILE = 4 };
struct vacpi_affinity {
    enum vacpi_affinity_kind kind;
    uint32_t domain;
    uint32_t cpu; /* APIC: APIC id (over 254: x2APIC structure); GICC: processor _UID */
    uint64_t base, size; /* memory */
    uint32_t flags; /* memory: enum vacpi_memory_flags; it is always enabled */
};
void vacpi_tables_srat(struct vacpi_tables *tables, const struct vacpi_affinity *rows,
                       unsigned count);
/* count * count distances, row by row: 10 to itself, more to others (255: not reachable). */
void vacpi_tables_slit(struct vacpi_tables *tables, const uint8_t *distances, unsigned count);

/* -- Serial console: SPCR (revision 2) and DBG2 (Microsoft's specifications) -- */

enum vacpi_uart { VACPI_UART_16550 = 0, VACPI_UART_PL011 = 3, VACPI_UART_16550_GAS = 0x12 };
struct vacpi_console {
    enum vacpi_uart kind;
    struct vacpi_register base;
    uint32_t size; /* DBG2: bytes of the register block */
    uint32_t gsi;
    bool gic; /* the GSI is one of a GIC; else of an I/O APIC */
    uint8_t isa_irq; /* besides, with 8259s: its number, or 0 */
    uint32_t baud; /* 9600, 19200, 57600, 115200; 0: as it is */
    const char *path; /* DBG2: device in the namespace; NULL: "." (not there) */
};
void vacpi_tables_spcr(struct vacpi_tables *tables, const struct vacpi_console *console);
void vacpi_tables_dbg2(struct vacpi_tables *tables, const struct vacpi_console *console);

/* -- GTDT (5.2.25), revision 3: the timers of each Arm processor -- */

enum vacpi_timer_flags { VACPI_TIMER_EDGE = 1, VACPI_TIMER_LOW = 2, VACPI_TIMER_ALWAYS_ON = 4 };
struct vacpi_gtdt { /* GSIVs (private interrupts: 16 + PPI); 0: not there */
    uint32_t secure_el1, el1, virt, el2, virt_el2;
    uint32_t flags; /* of those that are there */
};
void vacpi_tables_gtdt(struct vacpi_tables *tables, const struct vacpi_gtdt *gtdt);

#endif
