/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * I/O APIC (Intel 82093AA data sheet, 290566; version 0x20 with an EOI register as in ICH9, 316972, 13.5): 24 inputs that
 * become messages to the local APICs.
 *
 * Under a split irqchip it is ours: a message goes out as an MSI, and the end of a level interrupt comes back from the
 * hypervisor by vector. A level input that is still high then is sent again.
 *
 * The registers have a lock of their own (rank controller): inputs change under other devices' locks.
 *
 * The hypervisor reports the end of a vector only while a route names it. So a route stays when a guest masks a pin
 * whose interrupt is in service, as Linux does for threaded handlers: or its end would be lost, and the pin with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/devices/classes.h>

enum { PINS = 24, VERSION = 0x20 };

/* Offsets in the page, and indexes behind the window (82093AA, 3.0). */
enum {
    REG_SELECT = 0x00,
    REG_WINDOW = 0x10,
    REG_EOI = 0x40, /* write only: the vector */
    IDX_ID = 0x00,
    IDX_VERSION = 0x01,
    IDX_ARBITRATION = 0x02,
    IDX_REDIRECTION = 0x10, /* two words per pin */
};

/* A redirection entry (3.2.4). */
#define ENTRY_VECTOR     0xffULL
#define ENTRY_MODE_SHIFT 8
#define ENTRY_LOGICAL    (1ULL << 11)
#define ENTRY_PENDING    (1ULL << 12) /* delivery status: read only */
#define ENTRY_LOW_ACTIVE (1ULL << 13)
#define ENTRY_REMOTE_IRR (1ULL << 14) /* read only: a level interrupt was accepted and not ended */
#define ENTRY_LEVEL      (1ULL << 15)
#define ENTRY_MASKED     (1ULL << 16)
#define ENTRY_DEST_SHIFT 56
#define ENTRY_WRITABLE   (0xff0000000001afffULL & ~ENTRY_PENDING)

/* Messages (Intel SDM 3A, 11.11). */
#define MSI_BASE          0xfee00000ULL
#define MSI_DEST_SHIFT    12
#define MSI_LOGICAL       (1ULL << 2)
#define MSI_LEVEL_ASSERT  (1U << 14)
#define MSI_LEVEL_TRIGGER (1U << 15)

extern const struct vdev_class ioapic_class;

struct ioapic_state {
    uint8_t select, id;
    uint32_t levels; /* inputs that are high */
    uint32_t entry_count;
    struct ioapic_entry {
        uint64_t value;
    } entry[PINS];
};

struct ioapic {
    struct vdev dev;
    struct vdev_region region;
    struct vdev_bus *mmio;
    struct vdev_msi_sink *msi;
    struct vm_lock lock; /* guards s */
    struct ioapic_state s;
    uint32_t routes; /* pins the machine knows a message of */
    struct ioapic_pin {
        struct vdev_irq irq;
        struct ioapic *owner;
    } pin[PINS];
    struct {
        uint64_t sent, ended;
    } count;
};

static struct vdev_msi message(uint64_t e)
{
    struct vdev_msi msi = { .addr = MSI_BASE | (e >> ENTRY_DEST_SHIFT) << MSI_DEST_SHIFT };

    if (e & ENTRY_LOGICAL)
        msi.addr |= MSI_LOGICAL;
    msi.data = (uint32_t)(e & 0x7ff); /* vector and delivery mode */
    if (e & ENTRY_LEVEL)
        msi.data |= MSI_LEVEL_TRIGGER | MSI_LEVEL_ASSERT;
    return msi;
}

/* Sends pin n if its entry lets it. Lock held: two senders of one pin must not swap. */
static void send(struct ioapic *io, unsigned n)
{
    uint64_t *e = &io->s.entry[n].value;
    struct vdev_msi msi;

    if (*e & ENTRY_MASKED || (*e & ENTRY_LEVEL && *e & ENTRY_REMOTE_IRR))
        return;
    msi = message(*e);
    if (*e & ENTRY_LEVEL)
        *e |= ENTRY_REMOTE_IRR;
    vm_count(&io->count.sent, 1);
    /* A message that reaches nobody is the guest's nonsense, which its sender counts. */
    (void)vdev_msi_send(io->msi, &msi);
}

static bool high(const struct ioapic *io, unsigned n)
{
    return io->s.levels & 1U << n;
}

static void set_input(struct vdev_irq *irq, bool level)
{
    struct ioapic_pin *pin = container_of(irq, struct ioapic_pin, irq);
    struct ioapic *io = pin->owner;
    unsigned n = (unsigned)(pin - io->pin);

    vm_lock_acquire(&io->lock);
    if (level != high(io, n)) {
        io->s.levels ^= 1U << n;
        if (level)
            send(io, n);
    }
    vm_lock_release(&io->lock);
}

static struct vdev_irq *irq_line(struct vdev *dev, uint32_t n)
{
    struct ioapic *io = container_of(dev, struct ioapic, dev);

    return n < PINS ? &io->pin[n].irq : NULL;
}

/* Level pins of that vector that wait for its end. Vectors may be shared between pins: each entry is looked at. */
static uint32_t in_service(const struct ioapic *io, uint8_t vector)
{
    uint32_t pins = 0;

    for (unsigned n = 0; n < PINS; n++) {
        uint64_t e = io->s.entry[n].value;

        if ((e & ENTRY_VECTOR) == vector && e & ENTRY_REMOTE_IRR)
            pins |= 1U << n;
    }
    return pins;
}

/* Lock held. */
static void end_pins(struct ioapic *io, uint32_t pins)
{
    for (unsigned n = 0; n < PINS; n++) {
        if (!(pins & 1U << n))
            continue;
        io->s.entry[n].value &= ~ENTRY_REMOTE_IRR;
        vm_count(&io->count.ended, 1);
        if (high(io, n))
            send(io, n);
    }
}

/* Who drives the line is told first, and may lower it: else each interrupt of a passed-through device would come twice.
 * A pin that goes up meanwhile is still in service, and sent at the end. */
static void ioapic_eoi(struct vdev *dev, uint8_t vector)
{
    struct ioapic *io = container_of(dev, struct ioapic, dev);
    uint32_t pins, told;

    vm_lock_acquire(&io->lock);
    pins = in_service(io, vector);
    told = pins & io->s.levels;
    vm_lock_release(&io->lock);
    for (unsigned n = 0; n < PINS; n++)
        if (told & 1U << n && io->pin[n].irq.eoi)
            io->pin[n].irq.eoi(io->pin[n].irq.eoi_ctx);
    if (!pins)
        return;
    vm_lock_acquire(&io->lock);
    end_pins(io, pins & in_service(io, vector));
    vm_lock_release(&io->lock);
}

/* Tells the machine what pin n sends, if that has changed. Lock held. */
static void tell_route(struct ioapic *io, unsigned n, uint64_t before, uint64_t now)
{
    bool known = io->routes & 1U << n;
    bool wanted = now & ENTRY_LEVEL && (!(now & ENTRY_MASKED) || now & ENTRY_REMOTE_IRR);
    struct vdev_msi msi = message(now);

    if (!io->dev.machine->ops->pin_routed || (!known && !wanted) ||
        (known && wanted && !((before ^ now) & (ENTRY_WRITABLE & ~ENTRY_MASKED))))
        return;
    io->routes = wanted ? io->routes | 1U << n : io->routes & ~(1U << n);
    io->dev.machine->ops->pin_routed(io->dev.machine, &io->dev, n, wanted ? &msi : NULL);
}

static void write_entry(struct ioapic *io, unsigned index, uint32_t v)
{
    unsigned n = (index - IDX_REDIRECTION) / 2, shift = index & 1 ? 32 : 0;
    uint64_t before = io->s.entry[n].value, now;

    now = (before & ~(0xffffffffULL << shift)) | (uint64_t)v << shift;
    now = (now & ENTRY_WRITABLE) | (before & ~ENTRY_WRITABLE);
    if (!(now & ENTRY_LEVEL))
        now &= ~ENTRY_REMOTE_IRR; /* how guests clear a stuck entry: ICH9 does the same */
    io->s.entry[n].value = now;
    tell_route(io, n, before, now);
    if (now & ENTRY_LEVEL && high(io, n))
        send(io, n);
}

static void write_indexed(struct ioapic *io, uint32_t v)
{
    unsigned index = io->s.select;

    if (index == IDX_ID)
        io->s.id = v >> 24 & 0xf;
    else if (index >= IDX_REDIRECTION && index < IDX_REDIRECTION + 2 * PINS)
        write_entry(io, index, v);
}

static uint32_t read_indexed(const struct ioapic *io)
{
    unsigned index = io->s.select;

    if (index == IDX_ID || index == IDX_ARBITRATION)
        return (uint32_t)io->s.id << 24;
    if (index == IDX_VERSION)
        return VERSION | (PINS - 1) << 16;
    if (index >= IDX_REDIRECTION && index < IDX_REDIRECTION + 2 * PINS)
        return (uint32_t)(io->s.entry[(index - IDX_REDIRECTION) / 2].value >> (index & 1 ? 32 : 0));
    return 0;
}

/* The select register is a byte (ICH9, 13.5.2), the others are 32 bits wide and accessed as such (82093AA, 3.0). */
static int ioapic_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct ioapic *io = self;
    uint32_t v = 0;

    vm_lock_acquire(&io->lock);
    if (offset == REG_SELECT)
        v = io->s.select;
    else if (offset == REG_WINDOW && len == 4)
        v = read_indexed(io);
    vm_lock_release(&io->lock);
    memset(data, 0, len);
    vm_store_le(data, len < 4 ? len : 4, v);
    return 0;
}

static int ioapic_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct ioapic *io = self;

    if (offset != REG_SELECT && len != 4)
        return 0;
    if (offset == REG_EOI) {
        ioapic_eoi(&io->dev, data[0]);
        return 0;
    }
    vm_lock_acquire(&io->lock);
    if (offset == REG_SELECT)
        io->s.select = data[0];
    else if (offset == REG_WINDOW)
        write_indexed(io, (uint32_t)vm_load_le(data, 4));
    vm_lock_release(&io->lock);
    return 0;
}

static const struct vdev_region_ops region_ops = { .read = ioapic_read, .write = ioapic_write };

/* Inputs belong to the devices that drive them: a reset does not change them. */
static int ioapic_reset(struct vdev *dev)
{
    struct ioapic *io = container_of(dev, struct ioapic, dev);

    vm_lock_acquire(&io->lock);
    for (unsigned n = 0; n < PINS; n++) {
        tell_route(io, n, io->s.entry[n].value, ENTRY_MASKED);
        io->s.entry[n].value = ENTRY_MASKED;
    }
    io->s.select = io->s.id = 0;
    vm_lock_release(&io->lock);
    return 0;
}

static void ioapic_save(struct vdev *dev, void *ret_state)
{
    struct ioapic *io = container_of(dev, struct ioapic, dev);
    struct ioapic_state *s = ret_state;

    vm_lock_acquire(&io->lock);
    *s = io->s;
    vm_lock_release(&io->lock);
    s->entry_count = PINS;
}

static int check_state(const struct ioapic_state *s)
{
    if (s->entry_count != PINS || s->id > 0xf || s->levels >> PINS)
        return vm_fail(-EINVAL, "%u entries, id %u, inputs %#x cannot be", s->entry_count, s->id,
                       s->levels);
    for (unsigned n = 0; n < PINS; n++) {
        uint64_t e = s->entry[n].value;

        if (e & ~(ENTRY_WRITABLE | ENTRY_REMOTE_IRR))
            return vm_fail(-EINVAL, "entry %u: %#llx has bits that do not exist", n,
                           (unsigned long long)e);
        if (e & ENTRY_REMOTE_IRR && !(e & ENTRY_LEVEL))
            return vm_fail(-EINVAL, "entry %u: %#llx has remote IRR on an edge", n,
                           (unsigned long long)e);
    }
    return 0;
}

static int ioapic_load(struct vdev *dev, const void *untrusted)
{
    struct ioapic *io = container_of(dev, struct ioapic, dev);
    const struct ioapic_state *s = untrusted;
    int rc = check_state(s);

    if (rc)
        return rc;
    vm_lock_acquire(&io->lock);
    for (unsigned n = 0; n < PINS; n++)
        tell_route(io, n, io->s.entry[n].value, s->entry[n].value);
    io->s = *s;
    vm_lock_release(&io->lock);
    return 0;
}

static void ioapic_destroy(struct vdev *dev)
{
    struct ioapic *io = container_of(dev, struct ioapic, dev);

    vdev_bus_del(io->mmio, &io->region, NULL, NULL);
    vm_lock_destroy(&io->lock);
    vdev_exit(dev);
    free(io);
}

static const struct vdev_ops ops = {
    .reset = ioapic_reset,
    .save = ioapic_save,
    .load = ioapic_load,
    .destroy = ioapic_destroy,
    .irq_line = irq_line,
    .eoi = ioapic_eoi,
};

static int ioapic_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    struct ioapic *io = calloc(1, sizeof(*io));
    int rc;

    if (!io)
        return vm_fail(-ENOMEM, "out of memory");
    vdev_init(&io->dev, &ioapic_class, &ops, context);
    vm_lock_init(&io->lock, VM_RANK_CONTROLLER, "ioapic");
    io->mmio = context->mmio;
    io->msi = context->msi;
    for (unsigned n = 0; n < PINS; n++) {
        io->pin[n] = (struct ioapic_pin){ .irq = { .set = set_input, .number = n }, .owner = io };
        io->s.entry[n].value = ENTRY_MASKED;
    }
    io->region = (struct vdev_region){ .name = io->dev.id,
                                       .base = context->resources[0].base,
                                       .size = context->resources[0].size,
                                       .ops = &region_ops,
                                       .self = io,
                                       .dev = &io->dev,
                                       .priority = 1 };
    rc = vdev_bus_add(io->mmio, &io->region);
    if (rc) {
        vm_lock_destroy(&io->lock);
        vdev_exit(&io->dev);
        free(io);
        return rc;
    }
    vdev_late_writes(&io->dev, false, io->region.base + REG_SELECT, sizeof(uint32_t));
    *ret_dev = &io->dev;
    return 0;
}

static const struct vm_state_field entry_fields[] = {
    { .tag = 1, .type = VM_STATE_U64, .offset = offsetof(struct ioapic_entry, value) },
    { 0 },
};
static const struct vm_state_field state_fields[] = {
    { .tag = 1, .type = VM_STATE_U8, .offset = offsetof(struct ioapic_state, select) },
    { .tag = 2, .type = VM_STATE_U8, .offset = offsetof(struct ioapic_state, id) },
    { .tag = 3, .type = VM_STATE_U32, .offset = offsetof(struct ioapic_state, levels) },
    { .tag = 4,
      .type = VM_STATE_LIST,
      .offset = offsetof(struct ioapic_state, entry),
      .max = PINS,
      .count_offset = offsetof(struct ioapic_state, entry_count),
      .element_size = sizeof(struct ioapic_entry),
      .fields = entry_fields },
    { 0 },
};
static const struct vdev_metric metrics[] = {
    { "sent", offsetof(struct ioapic, count.sent), "interrupts sent" },
    { "ended", offsetof(struct ioapic, count.ended), "ends of level interrupts" },
    { 0 },
};

const struct vdev_class ioapic_class = {
    .name = "ioapic",
    .summary = "I/O APIC of a split interrupt controller",
    .kind = VDEV_PLATFORM,
    .placements = VDEV_THREAD,
    .internal = true,
    .state = state_fields,
    .state_size = sizeof(struct ioapic_state),
    .state_version = 1,
    .metrics = metrics,
    .create = ioapic_create,
};
