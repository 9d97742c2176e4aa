/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Our side of the virtio devices. */
#include "guest.h"

#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/devices/classes.h>

#include "platform.h"
#include "virtio_harness.h"

enum { QUEUE_SIZE = 8 };
enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc, BDF = GUEST_SLOT << 3, BAR_STRIDE = 1 << 20 };
/* Offsets in configuration space and in a virtio capability (PCI 3.0, 6.1 and 6.7; VIRTIO 1.2, 4.1.4). */
enum {
    COMMAND = 0x04,
    COMMAND_MEMORY_MASTER = 6,
    BAR = 0x10,
    FIRST_CAP = 0x34,
    CAP_VENDOR = 0x09,
    CAP_MSIX = 0x11,
    CAPS_MAX = 48,
};

static struct side {
    struct vh h;
    bool open;
    struct vdev_irq irq;
    struct vdev_msi_sink sink;
    bool level;
    struct oracle_events events;
} side;

static void note_line(struct vdev_irq *irq, bool level)
{
    (void)irq;
    if (level != side.level)
        oracle_note(&side.events, ORACLE_LINE, level);
    side.level = level;
}

static int note_message(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    (void)sink;
    oracle_note(&side.events, ORACLE_MESSAGE, platform_pack(msi));
    return 0;
}

static int begin(struct vh *h)
{
    static const struct vh_config config = { .transport = VH_NO_TRANSPORT,
                                             .refuse_doorbells = true,
                                             .own_interrupts = true,
                                             .ram_bytes = GUEST_RAM };
    static const char name[] = "virtio-rng";
    const struct vdev_class *cls = vdev_class_find(name, sizeof(name) - 1);
    int rc;

    if (!cls)
        return vm_fail(-ENOENT, "this build has no %s", name);
    side.irq = (struct vdev_irq){ .set = note_line };
    side.sink.send = note_message;
    side.level = false;
    side.events.count = 0;
    side.open = true;
    rc = vh_open(h, &config);
    if (!rc)
        rc = vh_create(h, cls, NULL);
    if (!rc) /* the largest queue is the device's choice: QEMU's */
        h->virtio->queue[0].size = h->virtio->queue[0].size_max = QUEUE_SIZE;
    return rc;
}

static int report(int rc)
{
    if (rc)
        fprintf(stderr, "# virtio-rng: %s\n", vm_error_text());
    return rc;
}

int guest_open_mmio(void)
{
    struct vh *h = &side.h;
    int rc = begin(h);

    if (!rc)
        rc = virtio_mmio_new(h->virtio, h->mmio, GUEST_MMIO, &side.irq, &h->window);
    return report(rc);
}

/* With the ports 0xcf8 and 0xcfc and without addresses, as under firmware. */
int guest_open_pci(void)
{
    struct vh *h = &side.h;
    int rc = begin(h);
    struct vpci_root_config root = { .last_bus = 255,
                                     .ecam_base = GUEST_ECAM,
                                     .mem32 = { 0xc0000000, 0x38000000 },
                                     .mem64 = { 0x800000000, 0x400000000 },
                                     .io = { 0xc000, 0x1000 },
                                     .cam = true,
                                     .mmio = h->mmio,
                                     .pio = h->pio,
                                     .msi = &side.sink,
                                     .intx = { &side.irq, &side.irq, &side.irq, &side.irq } };

    if (!rc)
        rc = vpci_root_new(&h->env, &root, &h->root);
    if (!rc)
        rc = virtio_pci_new(h->virtio, h->root, "02", &h->pci);
    return report(rc);
}

void guest_close(void)
{
    if (side.open)
        vh_close(&side.h);
    side.open = false;
}

static uint64_t bus_read(bool pio, uint64_t addr, unsigned len)
{
    uint8_t data[8] = { 0 };
    struct vdev *dev;

    vdev_bus_read(pio ? &side.h.pio_reader : &side.h.reader, addr, data, len, &dev);
    return vm_load_le(data, sizeof(data));
}

static void bus_write(bool pio, uint64_t addr, unsigned len, uint64_t value)
{
    uint8_t data[8];
    struct vdev *dev;

    vm_store_le(data, sizeof(data), value);
    vdev_bus_write(pio ? &side.h.pio_reader : &side.h.reader, addr, data, len, &dev);
}

static void config_address(uint64_t at)
{
    bus_write(true, CONFIG_ADDRESS, 4, 0x80000000U | (at >> 12) << 8 | (at & 0xfc));
}

uint64_t guest_read(const struct oracle_place *place, uint32_t at, unsigned len)
{
    uint64_t addr = place->base + at;

    if (place->kind != ORACLE_CONFIG)
        return bus_read(place->kind == ORACLE_PIO, addr, len);
    config_address(addr);
    return bus_read(true, CONFIG_DATA + (addr & 3), len);
}

void guest_write(const struct oracle_place *place, uint32_t at, unsigned len, uint64_t value)
{
    uint64_t addr = place->base + at;

    if (place->kind != ORACLE_CONFIG) {
        bus_write(place->kind == ORACLE_PIO, addr, len, value);
        return;
    }
    config_address(addr);
    bus_write(true, CONFIG_DATA + (addr & 3), len, value);
}

void guest_events(struct oracle_events *ret_events)
{
    vh_idle(&side.h);
    *ret_events = side.events;
    side.events.count = 0;
}

/* ---- finding what is where, the same way on both sides ---- */

static const struct oracle_place function_header = { ORACLE_CONFIG, BDF << 12 };

static uint32_t get(struct qtest *q, unsigned at, unsigned len)
{
    return q ? qtest_config_read(q, BDF, at, len) : (uint32_t)guest_read(&function_header, at, len);
}

static void put(struct qtest *q, unsigned at, unsigned len, uint32_t value)
{
    if (q)
        qtest_config_write(q, BDF, at, len, value);
    else
        guest_write(&function_header, at, len, value);
}

static void place_bars(struct qtest *q)
{
    for (unsigned n = 0; n < 6; n++) {
        uint32_t type = get(q, BAR + 4 * n, 4);

        put(q, BAR + 4 * n, 4, UINT32_MAX);
        if (!get(q, BAR + 4 * n, 4)) /* none */
            continue;
        put(q, BAR + 4 * n, 4, (uint32_t)(GUEST_BARS + n * BAR_STRIDE));
        if ((type & 6) == 4) /* 64 bits */
            put(q, BAR + 4 * ++n, 4, 0);
    }
    put(q, COMMAND, 2, COMMAND_MEMORY_MASTER);
}

static struct oracle_place in_bar(unsigned bar, uint32_t offset)
{
    return (struct oracle_place){ ORACLE_MMIO, GUEST_BARS + bar * BAR_STRIDE + offset };
}

static void take_cap(struct qtest *q, unsigned at, struct guest_function *f)
{
    struct oracle_place here = { ORACLE_CONFIG, BDF << 12 | at };
    unsigned id = get(q, at, 1), type = get(q, at + 3, 1);
    uint32_t place;

    if (id == CAP_MSIX) {
        f->msix = here;
        place = get(q, at + 4, 4);
        f->table = in_bar(place & 7, place & ~7U);
        place = get(q, at + 8, 4);
        f->pba = in_bar(place & 7, place & ~7U);
    } else if (id == CAP_VENDOR && type < 6) {
        f->cap[type] = here;
        f->area[type] = in_bar(get(q, at + 4, 1), get(q, at + 8, 4));
    }
}

int guest_find(struct qtest *q, struct guest_function *f)
{
    unsigned at;

    *f = (struct guest_function){ .header = function_header };
    place_bars(q);
    at = get(q, FIRST_CAP, 1);
    for (unsigned n = 0; at && n < CAPS_MAX; n++) {
        take_cap(q, at, f);
        at = get(q, at + 1, 1);
    }
    for (unsigned type = 1; type <= 3; type++)
        if (!f->cap[type].kind)
            return (int)type;
    return f->msix.kind ? 0 : 6;
}
