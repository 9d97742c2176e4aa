/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the library's tests and its fuzzer: a root with buses, wires and a sink, and
 * functions that remember. */
#ifndef VMM_PCI_PCI_TEST_H
#define VMM_PCI_PCI_TEST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

#include "pci_private.h"

#define ECAM_BASE  0xe0000000ULL
#define MEM32_BASE 0xc0000000ULL
#define MEM32_SIZE 0x10000000ULL
#define MEM64_BASE 0x800000000ULL
#define MEM64_SIZE 0x100000000ULL
#define IO_BASE    0xc000ULL
#define IO_SIZE    0x1000ULL

struct wire {
    struct vdev_irq irq;
    bool level;
    unsigned changes;
};

struct world {
    struct vm_env env;
    char line[256];
    struct vdev_bus *mmio, *pio;
    struct vdev_bus_reader reader, io;
    struct wire wire[4];
    struct vdev_msi_sink sink;
    struct vdev_msi msi; /* the last one */
    unsigned sent;
    struct vpci_root_config config;
    struct vpci_root *root;
};

/* A function with BARs that answer with their number, and what it was told. */
struct card {
    struct vdev dev;
    struct vpci_function fn;
    unsigned moved[VPCI_BARS], vectors_told, written, refreshed;
    uint64_t moved_to[VPCI_BARS];
    unsigned vector;
    bool vector_on;
    int write_rc;
    unsigned last_bar;
    uint64_t last_offset;
    struct card_bar {
        struct card *card;
        unsigned n;
    } bar[VPCI_BARS];
};

static inline void world_log(void *ctx, enum vm_level level, const char *text)
{
    struct world *w = ctx;

    (void)level;
    snprintf(w->line, sizeof(w->line), "%s", text);
}

static inline uint64_t world_now(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

static inline void wire_set(struct vdev_irq *irq, bool level)
{
    struct wire *wire = container_of(irq, struct wire, irq);

    wire->level = level;
    wire->changes++;
}

static inline int world_send(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    struct world *w = container_of(sink, struct world, sink);

    w->msi = *msi;
    w->sent++;
    return 0;
}

/* Buses and a config; the caller may change w->config before world_root(). */
static inline void world_open(struct world *w)
{
    *w = (struct world){ .env = { .log = world_log, .now_ns = world_now } };
    w->env.ctx = w;
    w->sink.send = world_send;
    if (vdev_bus_new(&w->env, "mmio", UINT64_MAX, &w->mmio) ||
        vdev_bus_new(&w->env, "pio", UINT16_MAX, &w->pio))
        abort();
    vdev_bus_reader_init(w->mmio, &w->reader);
    vdev_bus_reader_init(w->pio, &w->io);
    w->config = (struct vpci_root_config){ .last_bus = 255,
                                           .ecam_base = ECAM_BASE,
                                           .mem32 = { MEM32_BASE, MEM32_SIZE },
                                           .mem64 = { MEM64_BASE, MEM64_SIZE },
                                           .io = { IO_BASE, IO_SIZE },
                                           .cam = true,
                                           .assign = true,
                                           .mmio = w->mmio,
                                           .pio = w->pio,
                                           .msi = &w->sink };
    for (unsigned i = 0; i < 4; i++) {
        w->wire[i].irq = (struct vdev_irq){ .set = wire_set, .number = 16 + i };
        w->config.intx[i] = &w->wire[i].irq;
    }
}

static inline void world_root(struct world *w)
{
    if (vpci_root_new(&w->env, &w->config, &w->root))
        abort();
}

static inline void world_close(struct world *w)
{
    vpci_root_free(w->root);
    vdev_bus_reader_exit(&w->reader);
    vdev_bus_reader_exit(&w->io);
    vdev_bus_free(w->mmio);
    vdev_bus_free(w->pio);
}

static inline void card_moved(struct vpci_function *fn, unsigned bar, uint64_t base)
{
    struct card *card = fn->self;

    card->moved[bar]++;
    card->moved_to[bar] = base;
}

static inline void card_vector(struct vpci_function *fn, unsigned vector, bool enabled)
{
    struct card *card = fn->self;

    card->vectors_told++;
    card->vector = vector;
    card->vector_on = enabled;
}

static inline int card_written(struct vpci_function *fn, unsigned offset, unsigned len)
{
    struct card *card = fn->self;

    (void)offset;
    (void)len;
    card->written++;
    return card->write_rc;
}

static inline void card_refresh(struct vpci_function *fn, unsigned offset, unsigned len)
{
    struct card *card = fn->self;

    (void)offset;
    (void)len;
    card->refreshed++;
}

static inline int card_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct card_bar *bar = self;

    bar->card->last_bar = bar->n;
    bar->card->last_offset = offset;
    if (bar->n == bar->card->fn.msix.bar && vpci_msix_read(&bar->card->fn, offset, data, len))
        return 0;
    memset(data, 0xb0 + (int)bar->n, len);
    return 0;
}

static inline int card_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct card_bar *bar = self;

    if (bar->n == bar->card->fn.msix.bar)
        (void)vpci_msix_write(&bar->card->fn, offset, data, len);
    return 0;
}

static const struct vdev_region_ops card_bar_ops = { .read = card_read, .write = card_write };
static const struct vpci_ops card_ops = { .config_written = card_written,
                                          .config_read = card_refresh,
                                          .bar_moved = card_moved,
                                          .vector_changed = card_vector };
static const struct vpci_ids card_ids = { .vendor = 0x1af4,
                                          .device = 0x1044,
                                          .subsystem_vendor = 0x1af4,
                                          .subsystem = 0x1100,
                                          .class_code = 0x00ff01,
                                          .revision = 1 };

static inline struct card *card_new(const char *name)
{
    struct card *card = calloc(1, sizeof(*card));

    if (!card)
        abort();
    vm_lock_init(&card->dev.lock, VM_RANK_DEVICE, name);
    vpci_function_init(&card->fn, name, &card_ids, &card_ops, card, &card->dev);
    return card;
}

static inline void card_free(struct card *card)
{
    vpci_unplug(&card->fn, NULL, NULL);
    vpci_function_exit(&card->fn);
    vm_lock_destroy(&card->dev.lock);
    free(card);
}

static inline int card_bar(struct card *card, unsigned n, enum vpci_bar_kind kind, uint64_t size)
{
    if (n < VPCI_BARS)
        card->bar[n] = (struct card_bar){ .card = card, .n = n };
    return vpci_bar_add(&card->fn, n, kind, size, &card_bar_ops, &card->bar[n % VPCI_BARS]);
}

/* The guest's view. */
static inline uint64_t ecam_at(unsigned device, unsigned function, unsigned reg)
{
    return ECAM_BASE + ((uint64_t)device << 15 | (uint64_t)function << 12 | reg);
}

static inline uint64_t peek(struct world *w, uint64_t addr, unsigned len)
{
    uint8_t data[8] = { 0 };

    (void)vdev_bus_read(&w->reader, addr, data, len, NULL);
    return vm_load_le(data, len == 8 ? 8 : len);
}

static inline int poke(struct world *w, uint64_t addr, unsigned len, uint64_t value)
{
    uint8_t data[8];

    vm_store_le(data, 8, value);
    return vdev_bus_write(&w->reader, addr, data, len, NULL);
}

static inline uint32_t in(struct world *w, uint16_t port, unsigned len)
{
    uint8_t data[8] = { 0 };

    (void)vdev_bus_read(&w->io, port, data, len, NULL);
    return (uint32_t)vm_load_le(data, len);
}

static inline int out(struct world *w, uint16_t port, unsigned len, uint32_t value)
{
    uint8_t data[8];

    vm_store_le(data, 8, value);
    return vdev_bus_write(&w->io, port, data, len, NULL);
}

#endif
