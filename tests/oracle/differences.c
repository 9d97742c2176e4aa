/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What may differ between our models and QEMU 7.2's, and why that is right. A row is as narrow as it can be: what else
 * differs in the same register is a failure. docs/oracle.md shows this table (oracle --table writes it).
 */
#include "oracle.h"

#include <string.h>

enum { ALL = 1 };

static const struct oracle_op *op_before(const struct oracle_diff *d)
{
    static const struct oracle_op none = { 0 };

    return d->step ? d->op - 1 : &none;
}

static bool reads(const struct oracle_op *op, unsigned space, uint32_t at)
{
    return op->kind == ORACLE_READ && op->space == space && op->at == at;
}

static bool writes(const struct oracle_op *op, unsigned space, uint32_t at)
{
    return op->kind == ORACLE_WRITE && op->space == space && op->at == at;
}

/* The last write to this register before the access; NULL: none. */
static const struct oracle_op *last_write(const struct oracle_diff *d, unsigned space, uint32_t at)
{
    for (size_t i = d->step; i; i--)
        if (writes(&d->run->op[i - 1], space, at))
            return &d->run->op[i - 1];
    return NULL;
}

/* ---- serial ---- */

enum { SERIAL_DATA = 0, SERIAL_LSR = 5, SERIAL_MSR = 6, LSR_DATA = 1, MSR_DELTAS = 0x0f };

static uint64_t serial_empty(const struct oracle_diff *d)
{
    bool empty = reads(op_before(d), 0, SERIAL_LSR) && !(d->before & LSR_DATA);

    return !d->events && empty && reads(d->op, 0, SERIAL_DATA) ? 0xff : 0;
}

static uint64_t serial_deltas(const struct oracle_diff *d)
{
    return !d->events && reads(d->op, 0, SERIAL_MSR) && !(d->qemu & MSR_DELTAS) ? MSR_DELTAS : 0;
}

static uint64_t serial_burst(const struct oracle_diff *d)
{
    const struct oracle_event *e = d->qemu_events->event;

    return d->events && writes(d->op, 0, SERIAL_DATA) && !d->ours_events->count &&
           d->qemu_events->count == 2 && !e[0].value && e[1].value &&
           !reads(op_before(d), 0, SERIAL_LSR);
}

/* ---- I/O APIC ---- */

enum { IOAPIC_WINDOW = 0x10, IOAPIC_REDIRECTION = 0x10, IOAPIC_ENTRIES = 0x40 };

static uint32_t ioapic_index(const struct oracle_diff *d)
{
    const struct oracle_op *select = last_write(d, 0, 0);

    return select ? select->value & 0xff : 0;
}

static uint64_t ioapic_reserved(const struct oracle_diff *d)
{
    uint32_t index = ioapic_index(d), bits = index & 1 ? 0x00ffffff : 0xfffe0000;

    return !d->events && reads(d->op, 0, IOAPIC_WINDOW) && index >= IOAPIC_REDIRECTION &&
                   index < IOAPIC_ENTRIES && !(d->ours & bits)
               ? bits
               : 0;
}

/* ---- CMOS ---- */

enum { CMOS_PORTS, CMOS_REGISTERS, CMOS_RAM = 0x0e, CMOS_CENTURY = 0x32, CMOS_PS2_CENTURY = 0x37 };

/* The register that this access is for. */
static uint32_t cmos_register(const struct oracle_diff *d)
{
    for (size_t i = d->step + 1; i; i--)
        if (d->run->op[i - 1].space == CMOS_REGISTERS)
            return d->run->op[i - 1].at;
    return 0;
}

static uint64_t cmos_firmware(const struct oracle_diff *d)
{
    uint32_t reg = cmos_register(d);

    if (d->events || d->ours || reg < CMOS_RAM || reg == CMOS_CENTURY || reg == CMOS_PS2_CENTURY)
        return 0;
    return last_write(d, CMOS_REGISTERS, reg) ? 0 : 0xff;
}

static uint64_t cmos_ps2(const struct oracle_diff *d)
{
    return !d->events && cmos_register(d) == CMOS_PS2_CENTURY ? 0xff : 0;
}

/* ---- PCI ---- */

enum {
    PCI_BRIDGE,
    PCI_FUNCTION,
    PCI_ABSENT,
    PCI_PORTS,
    PCI_ECAM,
    PCI_MSIX,
    PCI_COMMON_CAP,
    PCI_NOTIFY_CAP,
    PCI_ISR_CAP,
    PCI_DATA_PORT = 4,
};
enum {
    IN_BRIDGE = 1 << PCI_BRIDGE,
    IN_FUNCTION = 1 << PCI_FUNCTION | 1 << PCI_ECAM,
    IN_VIRTIO = 1 << PCI_COMMON_CAP | 1 << PCI_NOTIFY_CAP | 1 << PCI_ISR_CAP,
    IN_CAPS = IN_VIRTIO | 1 << PCI_MSIX,
};

/* ---- virtio ---- */

enum {
    VIRTIO_COMMON,
    VIRTIO_ISR,
    VIRTIO_NOTIFY,
    VIRTIO_TABLE,
    VIRTIO_DRIVER_SELECT = 0x08,
    VIRTIO_DRIVER_FEATURES = 0x0c,
    VIRTIO_STATUS = 0x14,
    VIRTIO_QUEUE_SELECT = 0x16,
    VIRTIO_QUEUE_SIZE = 0x18
};

static uint64_t virtio_no_queue(const struct oracle_diff *d)
{
    const struct oracle_op *select = last_write(d, VIRTIO_COMMON, VIRTIO_QUEUE_SELECT);

    return !d->events && d->op->space == VIRTIO_COMMON && d->op->at > VIRTIO_QUEUE_SIZE &&
                   !d->ours && select && select->value
               ? UINT32_MAX
               : 0;
}

/* The word that is selected was not written since the last reset. */
static uint64_t virtio_old_features(const struct oracle_diff *d)
{
    uint64_t select = 0, word = 0;
    bool reset = false, written = false;
    const struct oracle_op *last = last_write(d, VIRTIO_COMMON, VIRTIO_DRIVER_SELECT);

    if (d->events || !reads(d->op, VIRTIO_COMMON, VIRTIO_DRIVER_FEATURES) || d->ours)
        return 0;
    word = last ? last->value : 0;
    for (const struct oracle_op *op = d->run->op; op < d->op; op++) {
        if (writes(op, VIRTIO_COMMON, VIRTIO_DRIVER_SELECT))
            select = op->value;
        if (writes(op, VIRTIO_COMMON, VIRTIO_STATUS) && !op->value) {
            reset = true;
            written = false;
        }
        written = written || (writes(op, VIRTIO_COMMON, VIRTIO_DRIVER_FEATURES) && select == word);
    }
    return reset && !written ? UINT32_MAX : 0;
}

enum { MMIO_FEATURES = 0x10, MMIO_FEATURES_SELECT = 0x14 };

static uint64_t mmio_word_two(const struct oracle_diff *d)
{
    const struct oracle_op *select = last_write(d, 0, MMIO_FEATURES_SELECT);

    return !d->events && reads(d->op, 0, MMIO_FEATURES) && !d->ours && select && select->value > 1
               ? UINT32_MAX
               : 0;
}

/* ---- PrimeCells ---- */

enum { PL061_IS = 0x404, PL061_IC = 0x41c };

/* Bits of the PL011's registers that mean nothing. */
static uint64_t pl011_reserved(const struct oracle_diff *d)
{
    static const struct {
        uint16_t at;
        uint32_t bits;
    } rows[] = {
        { 0x20, 0xffffff00 }, { 0x24, 0xffff0000 }, { 0x28, 0xffffffc0 }, { 0x2c, 0xffffff00 },
        { 0x30, 0xffff0078 }, { 0x34, 0xffffffc0 }, { 0x38, 0xfffff800 }, { 0x48, 0xfffffff8 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (!d->events && reads(d->op, 0, rows[i].at) && !(d->ours & rows[i].bits))
            return rows[i].bits;
    return 0;
}

static bool line_down(const struct oracle_events *e)
{
    return e->count == 1 && !e->event[0].value;
}

/* Ours goes down with the level, QEMU's with the clearing behind it. */
static uint64_t pl061_level(const struct oracle_diff *d)
{
    bool clears = writes(d->op, 0, PL061_IC);
    const struct oracle_events *goes = clears ? d->qemu_events : d->ours_events,
                               *stays = clears ? d->ours_events : d->qemu_events;

    return d->events && line_down(goes) && !stays->count &&
           (writes(d->op, 0, PL061_IS) || last_write(d, 0, PL061_IS));
}

/* Rows: what a function decides; bits of a register in reads; what no sequence does. */
#define SEEN(t, r, when, why, f)                                                         \
    {                                                                                    \
        .target = (t), .reg = (r), .condition = (when), .reason = (why), .explains = (f) \
    }
#define BITS(t, r, when, why, in, offset, m)                                             \
    {                                                                                    \
        .target = (t), .reg = (r), .condition = (when), .reason = (why), .spaces = (in), \
        .at = (offset), .mask = (m)                                                      \
    }
#define LEFT_OUT(t, r, what, why)                                                  \
    {                                                                              \
        .target = (t), .reg = (r), .condition = "left out: " what, .reason = (why) \
    }

const struct oracle_rule oracle_rules[] = {
    SEEN(
        "serial", "RBR", "read while LSR says that there is no data",
        "Nothing is promised (PC16550D, Receiver Buffer Register): ours shows the last byte again, "
        "QEMU 0 or an older one.",
        serial_empty),
    SEEN("serial", "MSR bits 3:0", "after a change of MCR with or by loop-back",
         "The changed inputs set them (PC16550D, Modem Control Register bit 4, Modem Status "
         "Register "
         "bits 3:0): ours does, QEMU "
         "works out the inputs at each read and sets none.",
         serial_deltas),
    SEEN(
        "serial", "interrupt line", "THR written again before LSR or IIR was read, THRE enabled",
        "A write clears the THRE interrupt until the byte has moved on (PC16550D, Interrupt "
        "Identification Register, table IV). "
        "That takes no time in both; QEMU makes an edge for each byte, ours one for each burst: an "
        "interrupt is pending anyway.",
        serial_burst),
    LEFT_OUT(
        "serial", "IER bit 3", "set",
        "Modem status interrupts: their sources in loop-back are the bits of the row above, and "
        "without loop-back nothing "
        "changes. Covered by unit tests."),
    LEFT_OUT(
        "serial", "FCR bits 7:6", "trigger levels above 1",
        "Below the level the character time-out stands in (PC16550D, FIFO Interrupt Mode "
        "Operation). "
        "Ours has no line speed and "
        "takes it as over; QEMU's timer waits for its virtual clock, which stands still here. A "
        "recorded sequence and unit "
        "tests cover the levels."),
    LEFT_OUT(
        "serial", "FCR", "writes while the THRE interrupt is enabled",
        "QEMU takes an emptied transmit FIFO as one that has become empty and makes THRE pending; "
        "the data sheet only resets "
        "the counter (PC16550D, FIFO Control Register bit 2)."),
    LEFT_OUT(
        "serial", "FCR bits 2:1", "set without bit 0",
        "Then they are not programmed (PC16550D, FIFO Control Register bit 0): ours ignores them, "
        "QEMU clears the FIFOs."),
    LEFT_OUT("serial", "MCR bit 3", "clear",
             "OUT2 lets the interrupt out of the card (IBM PC AT Technical Reference, Serial "
             "Adapter): so "
             "it is in ours; QEMU's line "
             "does not depend on it."),
    SEEN("ioapic", "redirection entry bits 55:17", "written as 1",
         "Reserved (82093AA, 3.2.4): ours reads 0, QEMU gives back what was written.",
         ioapic_reserved),
    LEFT_OUT(
        "ioapic", "redirection entry bit 15", "changed while the pin is high",
        "A level pin that is high and not masked asks for an interrupt, whatever the entry was "
        "before (82093AA, 3.2.4, trigger "
        "mode): ours sends; QEMU forgot the level of what was an edge pin."),
    LEFT_OUT(
        "ioapic", "redirection entry bits 55:48", "written as 1",
        "Reserved (82093AA, 3.2.4); QEMU makes address bits 11:4 of the message from them, and its "
        "local APIC takes that for one of "
        "its registers."),
    LEFT_OUT("ioapic", "inputs", "the same level again",
             "QEMU takes each call as an edge, a wire knows none there."),
    SEEN("cmos_rtc", "0x0e to 0x7f but the century", "read before it was written",
         "RAM (MC146818, Static CMOS RAM): QEMU puts memory size, boot order and disks there for "
         "its "
         "BIOS, ours leaves 0 for the "
         "firmware to fill in.",
         cmos_firmware),
    SEEN("cmos_rtc", "0x37", "read; writes are left out",
         "The PS/2's place of the century, in QEMU in addition to 0x32 (ACPI 6.5, 5.2.9, field "
         "CENTURY names one place); RAM in "
         "ours.",
         cmos_ps2),
    LEFT_OUT("cmos_rtc", "time, alarm, B bits 2:1",
             "numbers that no clock shows, and a change of format",
             "MC146818, Time, Calendar and Alarm Locations: all ten bytes must be written anew "
             "then, and "
             "be valid."),

    LEFT_OUT(
        "cmos_rtc", "year, century", "before 1970",
        "Any year is good (MC146818, Time, Calendar and Alarm Locations): ours shows the seconds "
        "that were "
        "written; QEMU counts nanoseconds since 1970 without a sign, and some seconds get lost."),
    LEFT_OUT("pci", "port 0xcf8 bits 1:0", "set",
             "Always 0 (PCI 3.0, 3.2.2.3.2): so in ours. QEMU keeps them and mixes them into the "
             "offset."),
    LEFT_OUT("pci", "ports 0xcf8 to 0xcfb", "bytes and words",
             "They are not the address register's but other devices' (PCI 3.0, 3.2.2.3.2), such as "
             "the reset control 0xcf9."),
    LEFT_OUT("pci", "configuration from 0x40 on", "host bridge",
             "Memory attributes, SMRAM and such of a chip that ours is not; PCIEXBAR is set on "
             "both sides and used."),
    BITS("pci", "host bridge 0x2c", "always",
         "Subsystem ids: 0 at reset in the chip, for firmware to write (Intel 316966, 5.1.9); QEMU "
         "gives its own.",
         IN_BRIDGE, 0x2c, 0xffffffff),
    BITS("pci", "function 0x2e", "always", "Subsystem id: any from 0x40 on (VIRTIO 1.2, 4.1.2.1).",
         IN_FUNCTION, 0x2e, 0xffff),
    BITS("pci", "function 0x14", "always",
         "QEMU has a BAR of its own for MSI-X, ours none: the device chooses (VIRTIO 1.2, 4.1.4; "
         "PCI 3.0, 6.8.2).",
         IN_FUNCTION, 0x14, 0xffffffff),
    BITS("pci", "function 0x20", "bits 14 and 3",
         "BAR 4 is 32 KiB in ours, MSI-X included, and 16 KiB in QEMU, where it says prefetchable; "
         "ISR status, which a read clears, is not (PCI 3.0, 6.2.5.1).",
         IN_FUNCTION, 0x20, 0x4008),
    BITS("pci", "function 0x34", "always",
         "Where the first capability is: the device's choice (PCI 3.0, 6.7).", IN_FUNCTION, 0x34,
         0xff),
    BITS("pci", "capabilities, byte 1", "always",
         "Where the next capability is: the device's choice (PCI 3.0, 6.7).", IN_CAPS, 1, 0xff),
    BITS("pci", "MSI-X table and PBA", "always",
         "BAR and offset: the device's choice (PCI 3.0, 6.8.2.4 and 6.8.2.5).", 1 << PCI_MSIX, 4,
         0xffffffffffffffff),
    BITS("pci", "virtio capabilities, length", "always",
         "Ours says the bytes of the structure, QEMU a page for each: at least what is there "
         "(VIRTIO 1.2, 4.1.4).",
         IN_VIRTIO, 12, 0xffffffff),
    BITS("virtio_pci", "MSI-X vector control bits 31:1", "always",
         "Reserved (PCI 3.0, 6.8.2.9): ours reads 0, QEMU gives back what was written.",
         1 << VIRTIO_TABLE, 0xc, 0xfffffffe),
    BITS("virtio_pci", "MSI-X vector control bits 31:1", "second vector", "As above.",
         1 << VIRTIO_TABLE, 0x1c, 0xfffffffe),
    SEEN("virtio_pci", "queue registers", "a queue is selected that the device does not have",
         "Only queue_size is said, 0 (VIRTIO 1.2, 4.1.4.3): ours reads 0 everywhere, QEMU keeps "
         "what is written, and its number.",
         virtio_no_queue),
    SEEN("virtio_pci", "driver_feature", "read after a reset, before it was written again",
         "A reset ends the negotiation (VIRTIO 1.2, 2.4 and 3.1.1): ours reads 0, QEMU the bits of "
         "before.",
         virtio_old_features),
    LEFT_OUT("virtio_pci", "feature selects",
             "reads of what they select between a reset and the next write",
             "Nothing says whether a reset changes them (VIRTIO 1.2, 4.1.4.3): ours are 0 again, "
             "QEMU's stay."),
    LEFT_OUT(
        "virtio_pci", "device_status", "bits taken away one by one, FEATURES_OK without VERSION_1",
        "A driver must not (VIRTIO 1.2, 2.1.1 and 6.1): ours keeps the bits and does not accept "
        "the features; QEMU takes the former as it comes and the latter as a transitional driver."),
    LEFT_OUT("virtio_pci", "queue_enable, queue_reset",
             "0, before FEATURES_OK, with a bad ring, without RING_RESET",
             "A driver must not (VIRTIO 1.2, 4.1.4.3.2 and 3.1.1): ours asks for a reset at once, "
             "QEMU when it uses the ring."),
    LEFT_OUT("virtio_pci", "queue registers", "written while the queue is enabled",
             "A driver must not (VIRTIO 1.2, 4.1.4.3.2): ours ignores it, QEMU shows it and goes "
             "on with the old ring."),
    BITS("virtio_mmio", "VendorID", "always", "Whoever made the device (VIRTIO 1.2, 4.2.2).", 1,
         0x0c, 0xffffffff),
    BITS("virtio_mmio", "QueueNumMax", "always",
         "QEMU allows 1024 for all devices, ours what the device has (VIRTIO 1.2, 4.2.2).", 1, 0x34,
         0xffffffff),
    BITS("virtio_mmio", "SHMBase", "always",
         "All ones when there is no such region (VIRTIO 1.2, 4.2.2): ours; QEMU has it for the "
         "length only.",
         1, 0xb8, 0xffffffffffffffff),
    SEEN("virtio_mmio", "DeviceFeatures", "DeviceFeaturesSel above 1",
         "No such features are offered (VIRTIO 1.2, 4.2.2): ours reads 0, QEMU word 1 again.",
         mmio_word_two),
    LEFT_OUT("virtio_mmio", "as virtio_pci", "what a driver must not do",
             "The same rules, for the same reasons (VIRTIO 1.2, 4.2.2.2 and 4.2.3.2)."),
    BITS("pl011", "UARTFR bits 2:0", "always",
         "Complements of the modem inputs (DDI 0183, 3.3.3): somebody is there in ours, as at a "
         "PC's serial port; nobody in QEMU.",
         1, 0x18, 0x7),
    BITS("pl011", "UARTPeriphID2", "always",
         "The revision (DDI 0183, 3.3.15): ours is r1p5, with FIFOs of 32 characters, QEMU an "
         "earlier one with 16.",
         1, 0xfe8, 0x20),
    SEEN("pl011", "all registers, reserved bits", "written as 1",
         "Reserved, read as zero (DDI 0183, 3.3): so in ours; QEMU gives back what was written.",
         pl011_reserved),
    LEFT_OUT("pl011", "UARTCR bit 7", "set",
             "Loop-back (DDI 0183, 3.3.8): QEMU 7.2 has none. Covered by unit tests."),
    SEEN("pl061", "interrupt line",
         "a level that interrupts ends, or a pin with an edge becomes level-sensitive",
         "GPIORIS shows levels as they are, GPIOIC clears the logic that detects edges (DDI 0190, "
         "3.3.7 and 3.3.9): ours lowers the line; QEMU remembers levels until they are cleared, as "
         "random sequences do at once.",
         pl061_level),
    LEFT_OUT("pl061", "GPIODIR", "bit 3 set; changed while outputs are high, or with interrupts on",
             "An input shows its pin (DDI 0190, 3.3.1), which nobody drives: 0 in ours. In QEMU it "
             "keeps what it was as an output, and the other way round, and the change may count as "
             "an edge."),
    LEFT_OUT("pl011, pl031, pl061", "all registers",
             "narrow accesses that do not begin at the register",
             "The APB of these devices has no byte lanes (IHI 0024, before PSTRB of APB4): QEMU "
             "takes them as the whole register, ours "
             "gives the bytes that were asked for and ignores writes."),
};
const size_t oracle_rule_count = sizeof(oracle_rules) / sizeof(*oracle_rules);

/* What an access is for: its own space and offset, or what the address port names. */
static void find_register(const struct oracle_diff *d, unsigned *ret_space, uint32_t *ret_at)
{
    const struct oracle_op *address;

    *ret_space = d->op->space;
    *ret_at = d->op->at;
    if (strcmp(d->run->target->name, "pci") || *ret_space != PCI_PORTS || *ret_at < PCI_DATA_PORT)
        return;
    address = last_write(d, PCI_PORTS, 0);
    if (!address)
        return;
    *ret_space = PCI_FUNCTION; /* the only one that answers there */
    *ret_at = (uint32_t)(address->value & 0xfc) + *ret_at - PCI_DATA_PORT;
}

/* The row's bits as they lie in this access. */
static uint64_t masked_bits(const struct oracle_rule *r, const struct oracle_diff *d)
{
    uint64_t bits = 0;
    unsigned space;
    uint32_t first;

    find_register(d, &space, &first);
    if (d->events || d->op->kind != ORACLE_READ || !(r->spaces >> space & 1))
        return 0;
    for (unsigned i = 0; i < d->op->len; i++) {
        uint32_t at = first + i;

        if (at >= r->at && at - r->at < sizeof(r->mask))
            bits |= (r->mask >> 8 * (at - r->at) & 0xff) << 8 * i;
    }
    return bits;
}

bool oracle_explained(const struct oracle_diff *diff, unsigned *used)
{
    uint64_t open = diff->events ? ALL : diff->ours ^ diff->qemu;

    for (size_t i = 0; i < oracle_rule_count; i++) {
        const struct oracle_rule *r = &oracle_rules[i];
        uint64_t bits = 0;

        if (!strcmp(r->target, diff->run->target->name))
            bits = (r->explains ? r->explains(diff) : masked_bits(r, diff)) & open;
        open &= ~bits;
        if (bits && used)
            used[i]++;
    }
    return !open;
}

void oracle_print_rules(FILE *f)
{
    fprintf(f, "| target | register | when | why |\n|---|---|---|---|\n");
    for (size_t i = 0; i < oracle_rule_count; i++)
        fprintf(f, "| %s | %s | %s | %s |\n", oracle_rules[i].target, oracle_rules[i].reg,
                oracle_rules[i].condition, oracle_rules[i].reason);
}
