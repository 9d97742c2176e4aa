/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Device set-up over both transports, and interrupts. */
#include "queue.h"

enum {
    ACKNOWLEDGE = 1, /* 2.1 */
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    NEEDS_RESET = 64,
    FEATURE_VERSION_1 = 32 - 32, /* in the second word, chapter 6 */
    FEATURE_PACKED = 34 - 32,
    FEATURE_RING_RESET = 40 - 32,
    CAP_TYPE = 3, /* struct virtio_pci_cap, 4.1.4 */
    CAP_BAR = 4,
    CAP_OFFSET = 8,
    /* 4.2.2 */
    MMIO_STEP = 0x1000,
    MMIO_DEVICE_ID = 0x008,
    MMIO_FEATURES_SEL = 0x014,
    MMIO_FEATURES = 0x010,
    MMIO_DRIVER_FEATURES = 0x020,
    MMIO_DRIVER_FEATURES_SEL = 0x024,
    MMIO_QUEUE_SEL = 0x030,
    MMIO_QUEUE_NUM = 0x038,
    MMIO_QUEUE_READY = 0x044,
    MMIO_QUEUE_NOTIFY = 0x050,
    MMIO_INTERRUPT_STATUS = 0x060,
    MMIO_INTERRUPT_ACK = 0x064,
    MMIO_STATUS = 0x070,
    MMIO_QUEUE_DESC = 0x080,
    MMIO_AREA_STEP = 0x10,
};

static struct virtio devices[DEVICES];

static bool find_pci(struct virtio *v)
{
    unsigned nth = v->nth;

    for (v->dev = 0; v->dev < PCI_DEVICES; v->dev++)
        if (pci_read(v->dev, PCI_VENDOR) == ((0x1040u + v->type) << 16 | 0x1af4) && !nth--)
            return true;
    return false;
}

static void read_caps(struct virtio *v)
{
    uint32_t *const where[] = { &v->common, &v->notify, &v->isr, &v->config };
    unsigned bar = PCI_BARS;

    for (unsigned at = 0; (at = pci_cap(v->dev, CAP_VENDOR, at));) {
        unsigned type = pci_read8(v->dev, at + CAP_TYPE);

        if (type < 1 || type > 4)
            continue;
        bar = pci_read8(v->dev, at + CAP_BAR);
        *where[type - 1] = pci_read(v->dev, at + CAP_OFFSET);
    }
    check(bar < PCI_BARS);
    pci_bar(v->dev, bar, &v->bar);
    v->base = v->bar.address;
    v->msix = pci_cap(v->dev, CAP_MSIX, 0);
    check(v->msix);
    v->msix_table = pci_read(v->dev, v->msix + 4) & ~7u;
    v->msix_pba = pci_read(v->dev, v->msix + 8) & ~7u;
    pci_command(v->dev, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

static bool find_mmio(struct virtio *v)
{
    unsigned nth = v->nth;

    for (unsigned i = 0; i < MMIO_COUNT; i++) {
        v->base = MMIO_WINDOWS + (uint64_t)i * MMIO_STEP;
        v->pin = mmio_pin(i);
        v->config = 0x100;
        if (read32(v->base + MMIO_DEVICE_ID) == v->type && !nth--)
            return true;
    }
    return false;
}

struct virtio *virtio_find(unsigned type, unsigned nth)
{
    struct virtio *v = devices;
    unsigned n = 0;

    for (; v->type; v++, n++)
        check(n + 1 < DEVICES);
    *v = (struct virtio){ .type = type, .nth = nth, .vector = (uint8_t)(FIRST_VECTOR + n) };
    v->mmio = options.mmio;
    v->packed = options.packed;
    v->irq = options.irq;
    v->q = queue_of(n);
    if (v->mmio) {
        check(find_mmio(v));
    } else {
        check(find_pci(v));
        read_caps(v);
    }
    return v;
}

uint8_t virtio_status(struct virtio *v)
{
    return v->mmio ? (uint8_t)read32(v->base + MMIO_STATUS)
                   : read8(v->base + v->common + COMMON_STATUS);
}

static void set_status(struct virtio *v, uint8_t status)
{
    if (v->mmio)
        write32(v->base + MMIO_STATUS, status);
    else
        write8(v->base + v->common + COMMON_STATUS, status);
}

/* A reset of a device on PCI has ended when the status reads 0, on MMIO when it is written. */
void virtio_reset(struct virtio *v)
{
    set_status(v, 0);
    if (v->mmio)
        check_eq(virtio_status(v), 0);
    while (virtio_status(v))
        ;
}

static uint32_t features(struct virtio *v, uint32_t word)
{
    if (v->mmio) {
        write32(v->base + MMIO_FEATURES_SEL, word);
        return read32(v->base + MMIO_FEATURES);
    }
    write32(v->base + v->common + COMMON_FEATURE_SELECT, word);
    return read32(v->base + v->common + COMMON_FEATURE);
}

static void set_features(struct virtio *v, uint32_t word, uint32_t bits)
{
    if (v->mmio) {
        write32(v->base + MMIO_DRIVER_FEATURES_SEL, word);
        write32(v->base + MMIO_DRIVER_FEATURES, bits);
    } else {
        write32(v->base + v->common + COMMON_DRIVER_SELECT, word);
        write32(v->base + v->common + COMMON_DRIVER, bits);
    }
}

static void start_queue_pci(struct virtio *v)
{
    uint64_t c = v->base + v->common;

    write16(c + COMMON_QUEUE_SELECT, 0);
    write16(c + COMMON_QUEUE_SIZE, RING);
    for (unsigned n = 0; n < 3; n++) {
        write32(c + COMMON_QUEUE_DESC + 8 * n, (uint32_t)queue_area(v->q, n));
        write32(c + COMMON_QUEUE_DESC + 8 * n + 4, (uint32_t)(queue_area(v->q, n) >> 32));
    }
    if (v->irq) {
        struct message m = message_for(v->dev, v->vector);

        msix_entry(v, QUEUE_VECTOR, m.address, m.data, false);
        msix_control(v, MSIX_ENABLE, MSIX_MASK_ALL);
        write16(c + COMMON_QUEUE_VECTOR, QUEUE_VECTOR);
        check_eq(read16(c + COMMON_QUEUE_VECTOR), QUEUE_VECTOR);
    }
    write16(c + COMMON_QUEUE_ENABLE, 1);
}

static void start_queue_mmio(struct virtio *v)
{
    write32(v->base + MMIO_QUEUE_SEL, 0);
    write32(v->base + MMIO_QUEUE_NUM, RING);
    for (unsigned n = 0; n < 3; n++) {
        write32(v->base + MMIO_QUEUE_DESC + MMIO_AREA_STEP * n, (uint32_t)queue_area(v->q, n));
        write32(v->base + MMIO_QUEUE_DESC + MMIO_AREA_STEP * n + 4,
                (uint32_t)(queue_area(v->q, n) >> 32));
    }
    line_set(v->pin, v->irq ? v->vector : 0);
    write32(v->base + MMIO_QUEUE_READY, 1);
}

void virtio_start_queue(struct virtio *v)
{
    queue_init(v->q, v->packed);
    if (v->mmio)
        start_queue_mmio(v);
    else
        start_queue_pci(v);
}

void virtio_stop_queue(struct virtio *v)
{
    uint64_t c = v->base + v->common;

    if (v->mmio) {
        write32(v->base + MMIO_QUEUE_SEL, 0);
        write32(v->base + MMIO_QUEUE_READY, 0);
        check_eq(read32(v->base + MMIO_QUEUE_READY), 0);
        return;
    }
    write16(c + COMMON_QUEUE_SELECT, 0);
    write16(c + COMMON_QUEUE_RESET, 1);
    while (read16(c + COMMON_QUEUE_RESET))
        ;
    check_eq(read16(c + COMMON_QUEUE_ENABLE), 0);
}

void virtio_start(struct virtio *v)
{
    uint32_t wanted =
        1u << FEATURE_VERSION_1 | 1u << FEATURE_RING_RESET | (v->packed ? 1u << FEATURE_PACKED : 0);

    virtio_reset(v);
    set_status(v, ACKNOWLEDGE | DRIVER);
    check_eq(features(v, 1) & wanted, wanted);
    set_features(v, 0, 0);
    set_features(v, 1, wanted);
    set_status(v, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    check_eq(virtio_status(v), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    virtio_start_queue(v);
    set_status(v, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    check_eq(virtio_status(v), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

bool virtio_answers(struct virtio *v)
{
    return virtio_status(v) == (ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void virtio_move(struct virtio *v, uint64_t address)
{
    pci_bar_move(v->dev, &v->bar, address);
    v->base = address;
}

uint64_t virtio_doorbell(const struct virtio *v)
{
    return v->base + v->notify; /* of queue 0 */
}

void virtio_offer(struct virtio *v, unsigned slot, const struct segment *s, unsigned n)
{
    v->q->length[slot] = 0;
    queue_offer(v->q, slot, s, n);
}

void virtio_kick(struct virtio *v)
{
    if (v->mmio)
        write32(v->base + MMIO_QUEUE_NOTIFY, 0);
    else
        write16(virtio_doorbell(v), 0);
}

int virtio_done(struct virtio *v, uint32_t *ret_len)
{
    int slot = queue_done(v->q, ret_len);

    if (slot >= 0)
        v->q->length[slot] = (int64_t)*ret_len + 1;
    return slot;
}

/* Waits for the device's interrupt; those of others that come first are remembered for them. */
static void take_interrupt(struct virtio *v)
{
    while (!v->interrupts) {
        uint32_t vector = irq_sleep();
        struct virtio *from = &devices[vector - FIRST_VECTOR];

        check(vector >= FIRST_VECTOR && vector < FIRST_VECTOR + DEVICES && from->type);
        if (from->mmio)
            write32(from->base + MMIO_INTERRUPT_ACK, read32(from->base + MMIO_INTERRUPT_STATUS));
        irq_end();
        from->interrupts++;
    }
    v->interrupts = 0;
}

uint32_t virtio_wait(struct virtio *v, unsigned slot)
{
    uint32_t len;

    while (!v->q->length[slot]) {
        if (v->irq)
            take_interrupt(v);
        while (virtio_done(v, &len) >= 0)
            ;
    }
    len = (uint32_t)(v->q->length[slot] - 1);
    v->q->length[slot] = 0;
    return len;
}

void msix_entry(struct virtio *v, unsigned n, uint32_t address, uint32_t data, bool masked)
{
    uint64_t at = v->base + v->msix_table + 16 * n;

    write32(at, address);
    write32(at + 4, 0);
    write32(at + 8, data);
    write32(at + 12, masked);
}

bool msix_pending(struct virtio *v, unsigned n)
{
    return read32(v->base + v->msix_pba) >> n & 1;
}

void msix_control(struct virtio *v, uint16_t set, uint16_t clear)
{
    pci_write16(v->dev, v->msix + 2, (uint16_t)((pci_read16(v->dev, v->msix + 2) & ~clear) | set));
}
