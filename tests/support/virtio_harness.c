/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The machine around a device under test: loop, memory, buses, interrupts, doorbells. */
#include "virtio_harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>

enum { ROUNDS_MAX = 100000 };
#define WALL_START_NS 1700000000000000000ULL
#define STOP_LIMIT_NS 60000000000ULL

/* ---- environment ---- */

static void take_log(void *ctx, enum vm_level level, const char *text)
{
    struct vh *h = ctx;

    (void)level;
    pthread_mutex_lock(&h->lock);
    snprintf(h->log[h->log_lines % VH_LOG_LINES], VH_LOG_BYTES, "%s", text);
    h->log_lines++;
    pthread_mutex_unlock(&h->lock);
}

static uint64_t now_ns(void *ctx, enum vm_clock clock)
{
    struct vh *h = ctx;
    struct timespec t;
    uint64_t now;

    if (h->config.real_time) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        now = (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
    } else if (h->loop && vm_loop_is_mine(h->loop)) {
        now = vm_loop_now_ns(h->loop);
    } else {
        now = __atomic_load_n(&h->clock_ns, __ATOMIC_RELAXED);
    }
    return clock == VM_CLOCK_WALL ? WALL_START_NS + now : now;
}

uint64_t vh_random(struct vh *h)
{
    uint64_t x = h->random_state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    h->random_state = x;
    return x;
}

static int fill_random(void *ctx, void *buf, size_t len)
{
    struct vh *h = ctx;
    uint8_t *p = buf;

    h->random_asked = true;
    if (h->random_rc)
        return vm_fail(h->random_rc, "random numbers: as the test wants");
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(vh_random(h) >> 32 & 0xff);
    return 0;
}

static int open_name(void *ctx, const char *name, unsigned how)
{
    struct vh *h = ctx;

    return h->open ? h->open(h, name, how) : vm_fail(-EACCES, "%s: the test opens nothing", name);
}

bool vh_logged(struct vh *h, const char *text)
{
    bool found = false;

    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < VH_LOG_LINES; i++)
        found = found || strstr(h->log[i], text);
    pthread_mutex_unlock(&h->lock);
    return found;
}

/* ---- the machine ---- */

static struct vh *of(struct vdev_machine *machine)
{
    return container_of(machine, struct vh, machine);
}

static void take_event(struct vdev_machine *machine, struct vdev *dev, enum vdev_event event,
                       uint32_t value)
{
    struct vh *h = of(machine);

    (void)dev;
    pthread_mutex_lock(&h->lock);
    h->events++;
    h->event = event;
    h->event_value = value;
    pthread_mutex_unlock(&h->lock);
}

static bool same(const struct vh_doorbell *a, const struct vh_doorbell *b)
{
    return a->used && a->pio == b->pio && a->addr == b->addr && a->len == b->len &&
           a->match == b->match && a->value == b->value;
}

/* KVM refuses the same doorbell twice with -EEXIST. */
static int doorbell_add(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                        bool match, uint64_t value, int fd)
{
    struct vh_doorbell d = { true, pio, match, addr, value, len, fd };
    struct vh_doorbell *place = NULL;
    struct vh *h = of(machine);
    int rc = -ENOSPC;

    if (h->config.refuse_doorbells)
        return -ENOSYS;
    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < VH_DOORBELLS; i++) {
        if (same(&h->doorbell[i], &d))
            rc = -EEXIST;
        if (!place && !h->doorbell[i].used)
            place = &h->doorbell[i];
    }
    if (place && rc != -EEXIST) {
        *place = d;
        h->doorbells++;
        rc = 0;
    }
    pthread_mutex_unlock(&h->lock);
    return rc;
}

static void doorbell_del(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                         bool match, uint64_t value, int fd)
{
    struct vh_doorbell d = { true, pio, match, addr, value, len, fd };
    struct vh *h = of(machine);

    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < VH_DOORBELLS; i++)
        if (same(&h->doorbell[i], &d) && h->doorbell[i].fd == fd) {
            h->doorbell[i].used = false;
            h->doorbells--;
        }
    pthread_mutex_unlock(&h->lock);
}

static bool rings(const struct vh_doorbell *d, bool pio, uint64_t addr, unsigned len,
                  uint64_t value)
{
    return d->used && d->pio == pio && d->addr == addr && (!d->len || d->len == len) &&
           (!d->match || d->value == value);
}

struct vh_doorbell *vh_find_doorbell(struct vh *h, bool pio, uint64_t addr, unsigned len,
                                     uint64_t value)
{
    for (unsigned i = 0; i < VH_DOORBELLS; i++)
        if (rings(&h->doorbell[i], pio, addr, len, value))
            return &h->doorbell[i];
    return NULL;
}

/* Overlaps are refused, as by KVM. */
static int memory_add(struct vdev_machine *machine, uint64_t gpa, uint64_t size, void *host,
                      bool read_only)
{
    struct vh *h = of(machine);
    int n = -1;

    for (int i = 0; i < VH_MEMORY; i++) {
        if (h->memory[i].used && vm_ranges_overlap(h->memory[i].gpa, h->memory[i].size, gpa, size))
            return vm_fail(-EEXIST, "the harness has memory there");
        n = n < 0 && !h->memory[i].used ? i : n;
    }
    if (n < 0 || h->refuse_memory)
        return vm_fail(-ENOSPC, "the harness takes no more memory");
    h->memory[n] = (struct vh_memory){ true, read_only, gpa, size, host };
    return n;
}

static int memory_del(struct vdev_machine *machine, int slot)
{
    of(machine)->memory[slot].used = false;
    return 0;
}

struct vh_memory *vh_find_memory(struct vh *h, uint64_t gpa)
{
    for (unsigned i = 0; i < VH_MEMORY; i++)
        if (h->memory[i].used && gpa >= h->memory[i].gpa &&
            gpa - h->memory[i].gpa < h->memory[i].size)
            return &h->memory[i];
    return NULL;
}

unsigned vh_memories(const struct vh *h)
{
    unsigned n = 0;

    for (unsigned i = 0; i < VH_MEMORY; i++)
        n += h->memory[i].used;
    return n;
}

static void take_unpark(struct vdev_machine *machine, struct vdev *dev)
{
    struct vh *h = of(machine);

    (void)dev;
    pthread_mutex_lock(&h->lock);
    h->unparks++;
    pthread_mutex_unlock(&h->lock);
}

static void take_broken(struct vdev_machine *machine, struct vdev *dev, const char *why)
{
    struct vh *h = of(machine);

    (void)dev;
    (void)why;
    pthread_mutex_lock(&h->lock);
    h->broken++;
    pthread_mutex_unlock(&h->lock);
}

static int call_add(struct vdev_machine *machine, const struct vdev_msi *msi, int fd,
                    uint32_t *ret_number)
{
    struct vh *h = of(machine);
    uint32_t n = 0;

    if (!h->config.takes_calls)
        return -ENOTSUP;
    pthread_mutex_lock(&h->lock);
    while (n < VH_QUEUES && h->call[n].used)
        n++;
    if (n < VH_QUEUES) {
        h->call[n] = (struct vh_call){ true, fd, *msi };
        h->calls++;
        *ret_number = n;
    }
    pthread_mutex_unlock(&h->lock);
    return n < VH_QUEUES ? 0 : -ENOSPC;
}

static void call_del(struct vdev_machine *machine, int fd, uint32_t number)
{
    struct vh *h = of(machine);

    pthread_mutex_lock(&h->lock);
    if (h->call[number].used && h->call[number].fd == fd) {
        h->call[number].used = false;
        h->calls--;
    }
    pthread_mutex_unlock(&h->lock);
}

static const struct vdev_machine_ops machine_ops = {
    .event = take_event,
    .doorbell_add = doorbell_add,
    .doorbell_del = doorbell_del,
    .memory_add = memory_add,
    .memory_del = memory_del,
    .unpark = take_unpark,
    .broken = take_broken,
    .call_add = call_add,
    .call_del = call_del,
};

static int take_message(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    struct vh *h = container_of(sink, struct vh, sink);
    uint32_t vector = msi->data - (msi->data < VH_MSI_DATA ? msi->data : VH_MSI_DATA);

    pthread_mutex_lock(&h->lock);
    h->messages++;
    h->message = *msi;
    if (vector < VH_VECTORS)
        h->vector_count[vector]++;
    if (!vector)
        h->config_interrupts++;
    else
        h->queue_interrupts++;
    if (vector && vector <= VH_QUEUES && h->drv_made[vector - 1])
        fake_driver_notify(&h->drv[vector - 1]);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

static void set_pin(struct vdev_irq *irq, bool level)
{
    struct vh_pin *pin = container_of(irq, struct vh_pin, irq);
    bool before = __atomic_exchange_n(&pin->level, level, __ATOMIC_RELAXED);

    if (level && !before)
        __atomic_fetch_add(&pin->rises, 1, __ATOMIC_RELAXED);
}

/* ---- life ---- */

static int open_buses(struct vh *h)
{
    struct vpci_root_config root = { .last_bus = 255,
                                     .ecam_base = VH_ECAM,
                                     .mem32 = { VH_MEM32, 1 << 28 },
                                     .mem64 = { VH_MEM64, 1ULL << 32 },
                                     .io = { 0xc000, 0x1000 },
                                     .assign = true,
                                     .msi = &h->sink };
    int rc = vdev_bus_new(&h->env, "mmio", UINT64_MAX, &h->mmio);

    if (!rc)
        rc = vdev_bus_new(&h->env, "pio", UINT16_MAX, &h->pio);
    if (rc)
        return rc;
    vdev_bus_reader_init(h->mmio, &h->reader);
    vdev_bus_reader_init(h->pio, &h->pio_reader);
    root.mmio = h->mmio;
    root.pio = h->pio;
    for (unsigned i = 0; i < 4; i++)
        root.intx[i] = &h->pin[0].irq;
    if (h->config.transport == VH_PCI || h->config.transport == VH_PCI_INTX)
        rc = vpci_root_new(&h->env, &root, &h->root);
    return rc;
}

int vh_open(struct vh *h, const struct vh_config *config)
{
    int rc;

    memset(h, 0, sizeof(*h));
    h->config = *config;
    h->env = (struct vm_env){
        .ctx = h, .log = take_log, .now_ns = now_ns, .random = fill_random, .open = open_name
    };
    h->random_state = config->seed ^ 0x9e3779b97f4a7c15ULL;
    if (!h->random_state)
        h->random_state = 1;
    pthread_mutex_init(&h->lock, NULL);
    h->machine.ops = &machine_ops;
    h->sink.send = take_message;
    for (unsigned i = 0; i < VH_PINS; i++) {
        h->pin[i].irq = (struct vdev_irq){ .set = set_pin, .number = 16 + i };
        h->irqs[i] = &h->pin[i].irq;
    }
    rc = vm_loop_new(&h->env, config->real_time ? 0 : VM_LOOP_VIRTUAL, &h->env.loop);
    if (rc)
        return rc;
    h->loop = h->env.loop;
    if (!h->config.ram_bytes)
        h->config.ram_bytes = VH_RAM_BYTES;
    rc = config->other ? config->other->open(h) : 0;
    if (!rc)
        rc = h->config.shared ? fake_guest_init_shared(&h->guest, h->config.ram_bytes)
                              : fake_guest_init_at(&h->guest, h->config.ram, h->config.ram_bytes);
    if (rc) {
        h->guest.space = NULL;
        return rc;
    }
    h->context =
        (struct vdev_context){ .env = &h->env,
                               .machine = &h->machine,
                               .id = "dut",
                               .memory = h->device_memory ? h->device_memory : h->guest.space,
                               .resources = h->resource,
                               .irqs = h->irqs,
                               .msi = &h->sink };
    rc = open_buses(h);
    h->context.mmio = h->mmio;
    h->context.pio = h->pio;
    return rc;
}

static int plug_pci(struct vh *h, struct virtio_dev *dev)
{
    int rc = virtio_pci_new(dev, h->root, NULL, &h->pci);

    if (rc)
        return rc;
    h->slot = virtio_pci_function(h->pci)->device;
    return vpci_root_assign(h->root);
}

int vh_plug(struct vh *h, struct virtio_dev *dev)
{
    int rc = 0;

    switch (h->config.transport) {
    case VH_PCI:
    case VH_PCI_INTX: rc = plug_pci(h, dev); break;
    case VH_MMIO_BUS:
        rc = virtio_mmio_new(dev, h->mmio, VH_MMIO, &h->pin[0].irq, &h->window);
        break;
    case VH_NO_TRANSPORT: break;
    case VH_OTHER: rc = h->config.other->plug(h, dev); break;
    }
    if (rc && !h->pci)
        return rc;
    h->virtio = dev;
    h->dev = &dev->dev;
    if (!rc && h->config.transport != VH_NO_TRANSPORT)
        rc = vh_probe(h);
    if (rc)
        vh_destroy(h);
    return rc;
}

int vh_create_config(struct vh *h, const struct vdev_class *cls, const void *config)
{
    struct vdev *dev;
    int rc;

    h->context.config = config;
    rc = cls->create(&h->context, &dev);
    h->context.config = NULL;
    if (rc)
        return rc;
    if (cls->kind != VDEV_VIRTIO) {
        h->dev = dev;
        return 0;
    }
    rc = vh_plug(h, container_of(dev, struct virtio_dev, dev));
    if (rc && !h->dev)
        vdev_destroy(dev);
    return rc;
}

int vh_create(struct vh *h, const struct vdev_class *cls, const char *options)
{
    static const struct vm_prop none[] = { { 0 } };
    const struct vm_prop *props = cls->props ? cls->props : none;
    void *config = calloc(1, cls->config_size ? cls->config_size : 1);
    int rc;

    if (!config)
        return -ENOMEM;
    rc = vm_prop_defaults(props, config);
    if (!rc && options)
        rc = vm_prop_parse(props, config, cls->name, NULL, options);
    if (!rc)
        rc = vh_create_config(h, cls, config);
    vm_prop_free(props, config);
    free(config);
    return rc;
}

static void forget_drivers(struct vh *h)
{
    for (unsigned n = 0; n < VH_QUEUES; n++)
        if (h->drv_made[n]) {
            pthread_mutex_lock(&h->lock);
            h->drv_made[n] = false;
            pthread_mutex_unlock(&h->lock);
            fake_driver_exit(&h->drv[n]);
        }
}

void vh_destroy(struct vh *h)
{
    forget_drivers(h);
    if (h->pci)
        virtio_pci_free(h->pci);
    else if (h->window)
        virtio_mmio_free(h->window);
    else if (h->config.other && h->dev)
        h->config.other->unplug(h);
    else
        vdev_destroy(h->dev);
    h->pci = NULL;
    h->window = NULL;
    h->virtio = NULL;
    h->dev = NULL;
}

void vh_close(struct vh *h)
{
    vh_destroy(h);
    if (h->root)
        vpci_root_free(h->root);
    if (h->pio) {
        vdev_bus_reader_exit(&h->reader);
        vdev_bus_reader_exit(&h->pio_reader);
        vdev_bus_free(h->pio);
    }
    if (h->mmio)
        vdev_bus_free(h->mmio);
    if (h->guest.space)
        fake_guest_exit(&h->guest);
    if (h->config.other && h->other)
        h->config.other->close(h);
    vm_loop_free(h->loop);
    pthread_mutex_destroy(&h->lock);
    *h = (struct vh){ 0 };
}

/* ---- time ---- */

static int run_until_quiet(struct vh *h)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        int rc = vm_loop_step(h->loop, 0);

        __atomic_store_n(&h->clock_ns, vm_loop_now_ns(h->loop), __ATOMIC_RELAXED);
        if (rc <= 0)
            return rc;
    }
    return -ELOOP;
}

int vh_idle(struct vh *h)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        int rc = run_until_quiet(h);

        if (h->config.other && h->other)
            h->config.other->take_interrupts(h);
        if (rc || h->config.own_interrupts || !h->virtio || !vh_line(h))
            return rc;
        vh_take_interrupt(h);
    }
    return -ELOOP;
}

int vh_pass(struct vh *h, uint64_t ns)
{
    uint64_t end = vm_loop_now_ns(h->loop) + ns;
    int rc = vh_idle(h);

    while (rc >= 0 && vm_loop_now_ns(h->loop) < end)
        rc = vm_loop_step(h->loop, end - vm_loop_now_ns(h->loop));
    return rc < 0 ? rc : vh_idle(h);
}

void vh_done(struct vdev *dev, int code)
{
    struct vh *h = of(dev->machine);

    h->done = true;
    h->code = code;
}

/* Until the call-back has come: now, or when the next timers fire. */
static int wait_done(struct vh *h, int rc)
{
    uint64_t end = vm_loop_now_ns(h->loop) + STOP_LIMIT_NS;

    if (rc != -EINPROGRESS)
        return rc;
    while (!h->done && vm_loop_now_ns(h->loop) < end) {
        rc = vh_idle(h);
        if (rc)
            return rc;
        if (!h->done && vm_loop_step(h->loop, end - vm_loop_now_ns(h->loop)) < 0)
            return -EIO;
    }
    return h->done ? h->code : -ETIME;
}

int vh_quiesce(struct vh *h)
{
    h->done = false;
    return wait_done(h, vdev_quiesce(h->dev, vh_done));
}

int vh_machine_reset(struct vh *h)
{
    int rc;

    h->done = false;
    rc = wait_done(h, vdev_reset(h->dev, vh_done));
    if (rc)
        return rc;
    forget_drivers(h);
    h->features = 0;
    if (h->pci)
        rc = vpci_root_assign(h->root); /* as firmware would */
    return rc || !h->virtio || h->config.transport == VH_NO_TRANSPORT ? rc : vh_probe(h);
}

static void gone(void *ctx)
{
    ((struct vh *)ctx)->gone = true;
}

int vh_remove(struct vh *h)
{
    int rc;

    h->done = h->gone = false;
    rc = wait_done(h, vdev_remove(h->dev, vh_done));
    if (rc)
        return rc;
    if (h->pci)
        virtio_pci_unplug(h->pci, gone, h);
    else if (h->window)
        virtio_mmio_unplug(h->window, gone, h);
    if (!h->gone && h->config.transport != VH_NO_TRANSPORT)
        return -EIO;
    vh_destroy(h);
    return 0;
}

/* ---- state ---- */

int vh_save(struct vh *h, struct vm_buffer *buffer)
{
    if (h->pci)
        return virtio_pci_save(h->pci, buffer);
    return h->window ? virtio_mmio_save(h->window, buffer) : vdev_save(h->dev, buffer);
}

int vh_load(struct vh *h, const void *data, size_t size)
{
    if (h->pci)
        return virtio_pci_load(h->pci, data, size);
    return h->window ? virtio_mmio_load(h->window, data, size) : vdev_load(h->dev, data, size);
}
