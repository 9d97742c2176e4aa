/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Drivers: they set devices up and down, offer requests, and look at everything that comes back. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/le.h>

enum { SERIAL = 4, BUFS = 8, BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_ID = 8, EOI_MOST = 64 };
#define BACKEND_NS 50000000ULL
#define RING_FEATURES                                                                     \
    (VQ_F_INDIRECT | VQ_F_EVENT_IDX | VQ_F_VERSION_1 | VQ_F_RING_PACKED | VQ_F_IN_ORDER | \
     VQ_F_ORDER_PLATFORM | VQ_F_RING_RESET)

static uint8_t *slot_bytes(struct sim *s, const struct sim_queue *q, unsigned slot)
{
    return sim_host(s, q->base + SIM_RING_BYTES + slot * SIM_SLOT_BYTES);
}

static gpa_t slot_gpa(const struct sim_queue *q, unsigned slot)
{
    return q->base + SIM_RING_BYTES + slot * (gpa_t)SIM_SLOT_BYTES;
}

/* --- set-up --- */

static void start_queue(struct sim *s, struct sim_dev *d, unsigned n)
{
    struct sim_queue *q = &d->q[n];
    unsigned max = sim_bus_queue_max(s, d, n), size = 4;
    struct fake_config c = { .features = d->features,
                             .heap = q->base,
                             .heap_bytes = SIM_RING_BYTES };

    while (size * 2 <= max && size < 128 && !sim_one_in(s, 4))
        size *= 2;
    c.size = (uint16_t)size;
    if (fake_driver_init(&q->drv, vmm_machine_memory(s->machine), &c))
        sim_fail(s, "%s: no room for a ring of %u", d->id, size);
    q->made = true;
    q->endless = d->kind == SIM_CONSOLE && n == 0;
    q->quiet = q->owed = q->irq = false;
    memset(q->slot_used, 0, sizeof(q->slot_used));
    memset(q->req, 0, sizeof(q->req));
    sim_bus_queue(s, d, n, &q->drv);
}

static uint64_t choose_features(struct sim *s, uint64_t offered)
{
    uint64_t features = offered & ~RING_FEATURES;

    for (unsigned bit = 0; bit < 64; bit++)
        if (features >> bit & 1 && sim_one_in(s, 4))
            features &= ~(1ULL << bit);
    features |= VQ_F_VERSION_1;
    if (!sim_one_in(s, 3))
        features |= offered & VQ_F_EVENT_IDX;
    if (!sim_one_in(s, 3))
        features |= offered & VQ_F_INDIRECT;
    if (sim_one_in(s, 2))
        features |= offered & VQ_F_RING_PACKED;
    if (!sim_one_in(s, 3))
        features |= offered & VQ_F_RING_RESET;
    return features;
}

void sim_driver_start(struct sim *s, struct sim_dev *d)
{
    const uint8_t ok = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;
    uint8_t status;

    sim_bus_set_status(s, d, VIRTIO_ACKNOWLEDGE);
    sim_bus_set_status(s, d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    d->features = choose_features(s, sim_bus_features(s, d));
    sim_bus_set_features(s, d, d->features);
    sim_bus_set_status(s, d, ok);
    status = sim_bus_status(s, d);
    if (status != ok && d->leaving) /* meanwhile */
        return;
    if (status != ok)
        sim_fail(s, "%s: the device refuses features %#llx that it offered", d->id,
                 (unsigned long long)d->features);
    for (unsigned n = 0; n < d->queues; n++)
        start_queue(s, d, n);
    sim_bus_set_status(s, d, ok | VIRTIO_DRIVER_OK);
    d->up = true;
    d->sick = false;
    sim_say(s, "%s: up, features %#llx, queue of %u", d->id, (unsigned long long)d->features,
            d->q[0].drv.size);
}

void sim_driver_exit(struct sim_dev *d)
{
    for (unsigned n = 0; n < d->queues; n++) {
        if (d->q[n].made)
            fake_driver_exit(&d->q[n].drv);
        d->q[n].made = false;
    }
}

/* What was in flight may have happened, or not: the truth is what the back end says now. */
static void forget(struct sim *s, struct sim_dev *d)
{
    if (d->kind == SIM_RNG)
        s->random_len = 0;
    if (d->kind == SIM_CONSOLE) {
        off_t len = lseek(d->file, 0, SEEK_END);

        if (!d->sick)
            sim_stream_check(s, d, false);
        if (d->sick || d->far.on) /* it may have sent anything, or something twice */
            d->sent_len = vm_pread_full(d->file, d->sent, (size_t)len, 0) ? 0 : (size_t)len;
        d->sent_len = (size_t)len;
        sim_far_stream_forget(d, (size_t)len);
    }
    if (d->kind == SIM_BLK) {
        memset(s->busy, 0, sizeof(s->busy));
        if (vm_pread_full(s->disk_fd, s->disk, sizeof(s->disk), 0))
            sim_fail(s, "the disk cannot be read");
    }
}

/* The memory is the guest's own again: it was filled, and is looked at after a while. */
static void linger(struct sim *s)
{
    for (unsigned i = sim_below(s, 8); i; i--) {
        sim_background(s, true);
        sim_wait_running(s);
    }
    if (sim_one_in(s, 2))
        sim_pass(s, 3000000);
}

static void check_pattern(struct sim *s, struct sim_dev *d, unsigned n)
{
    for (unsigned i = 0; i < SIM_QUEUE_BYTES; i++)
        if (*sim_host(s, d->q[n].base + i) != SIM_PATTERN)
            sim_fail(s, "%s: wrote to guest memory (queue %u, byte 0x%x) after its reset", d->id, n,
                     i);
}

void sim_driver_stop_queue(struct sim *s, struct sim_dev *d)
{
    unsigned n = sim_below(s, d->queues);

    if (d->pci && !(d->features & VQ_F_RING_RESET))
        return;
    sim_say(s, "%s: queue %u: reset", d->id, n);
    sim_bus_queue_stop(s, d, n);
    if (d->leaving)
        return;
    fake_driver_exit(&d->q[n].drv);
    d->q[n].made = false;
    if (d->kind == SIM_CONSOLE)
        sim_pass(s, BACKEND_NS);
    if (d->leaving)
        return;
    if (d->kind != SIM_CONSOLE || n)
        forget(s, d);
    memset(sim_host(s, d->q[n].base), SIM_PATTERN, SIM_QUEUE_BYTES);
    linger(s);
    if (d->leaving)
        return;
    check_pattern(s, d, n);
    start_queue(s, d, n);
}

void sim_driver_stop(struct sim *s, struct sim_dev *d)
{
    sim_say(s, "%s: reset", d->id);
    d->up = false;
    sim_bus_reset(s, d);
    if (d->leaving) /* sim_unplug_check() looks after it */
        return;
    sim_driver_exit(d);
    if (d->kind == SIM_CONSOLE) /* what its back end has taken still comes out */
        sim_pass(s, BACKEND_NS);
    forget(s, d);
    for (unsigned n = 0; n < d->queues; n++)
        memset(sim_host(s, d->q[n].base), SIM_PATTERN, SIM_QUEUE_BYTES);
    linger(s);
    for (unsigned n = 0; n < d->queues; n++)
        check_pattern(s, d, n);
    d->sick = false;
}

/* --- requests --- */

struct chain {
    struct fake_buf buf[BUFS];
    unsigned count;
    gpa_t at;
};

/* len bytes in one piece or several. */
static void add(struct sim *s, struct chain *c, uint32_t len, bool write)
{
    while (len) {
        uint32_t part = c->count >= BUFS - 3 || sim_one_in(s, 2) ? len : sim_between(s, 1, len);

        c->buf[c->count++] = (struct fake_buf){ c->at, part, write };
        c->at += part;
        len -= part;
    }
}

static int free_slot(const struct sim_queue *q)
{
    for (int i = 0; i < SIM_SLOTS; i++)
        if (!q->slot_used[i])
            return i;
    return -1;
}

static void fill(struct sim *s, uint8_t *to, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        to[i] = (uint8_t)sim_next(s);
}

/* struct virtio_blk_req: type, reserved, sector; data; status (5.2.6). False: no sector is free. */
static bool make_blk(struct sim *s, struct sim_req *r, uint8_t *bytes, struct chain *c)
{
    static const uint8_t ops[] = { BLK_IN, BLK_OUT, BLK_OUT, BLK_FLUSH, BLK_ID };
    uint32_t sector = sim_below(s, SIM_SECTORS), data = SIM_SECTOR;

    r->op = ops[sim_below(s, sizeof(ops))];
    if (r->op == BLK_FLUSH || r->op == BLK_ID)
        data = r->op == BLK_ID ? 20 : 0;
    else if (s->busy[sector])
        return false;
    else
        s->busy[sector] = r->op == BLK_OUT ? 2 : 1;
    r->sector = sector;
    vm_store_le(bytes, 8, r->op);
    vm_store_le(bytes + 8, 8, r->op <= BLK_OUT ? sector : 0);
    add(s, c, 16, false);
    if (r->op == BLK_OUT)
        fill(s, bytes + 16, SIM_SECTOR);
    add(s, c, data, r->op != BLK_OUT);
    add(s, c, 1, true);
    bytes[16 + data] = 0xff;
    r->readable = 16 + (r->op == BLK_OUT ? SIM_SECTOR : 0);
    r->writable = (r->op == BLK_OUT ? 0 : data) + 1;
    return true;
}

/* Each request of an echo device's has another beginning. */
static void number(struct sim *s, struct sim_req *r, uint8_t *bytes)
{
    r->serial = s->serials++;
    if (r->serial == SIM_SERIALS)
        sim_fail(s, "the simulation has no more numbers");
    vm_store_le(bytes, SERIAL, r->serial);
}

static bool make(struct sim *s, struct sim_dev *d, unsigned n, struct sim_req *r, struct chain *c)
{
    uint8_t *bytes = slot_bytes(s, &d->q[n], r->slot);

    c->at = slot_gpa(&d->q[n], r->slot);
    switch (d->kind) {
    case SIM_BLK: return make_blk(s, r, bytes, c);
    case SIM_RNG: r->writable = sim_between(s, 1, SIM_SLOT_BYTES); break;
    case SIM_CONSOLE:
        if (n)
            r->readable = sim_between(s, 1, 200);
        else
            r->writable = 64;
        break;
    default: r->readable = r->writable = sim_between(s, SERIAL, 500); break;
    }
    fill(s, bytes, r->readable);
    if (d->kind == SIM_ECHO)
        number(s, r, bytes);
    add(s, c, r->readable, false);
    add(s, c, r->writable, true);
    return true;
}

static int offer(struct sim *s, struct sim_dev *d, struct fake_driver *drv, const struct chain *c)
{
    bool tables = d->features & VQ_F_INDIRECT;

    if (tables && sim_one_in(s, 2))
        return fake_driver_offer_indirect(drv, c->buf, c->count);
    if (tables && c->count > 1 && !(d->features & VQ_F_RING_PACKED) && sim_one_in(s, 4))
        return fake_driver_offer_mixed(drv, c->buf, c->count, sim_between(s, 1, c->count - 1));
    return fake_driver_offer(drv, c->buf, c->count);
}

/* Consoles: what was sent, in order. */
static void note_sent(struct sim *s, struct sim_dev *d, const uint8_t *bytes, uint32_t len)
{
    if (d->sent_len + len > SIM_STREAM)
        sim_fail(s, "%s: the simulation sends too much", d->id);
    memcpy(d->sent + d->sent_len, bytes, len);
    d->sent_len += len;
}

static bool offer_one(struct sim *s, struct sim_dev *d, unsigned n)
{
    struct sim_queue *q = &d->q[n];
    int slot = free_slot(q), id;
    struct sim_req r = { .out = true, .slot = (uint8_t)slot };
    struct chain c = { .count = 0 };

    if (slot < 0 || (d->kind == SIM_CONSOLE && n && d->sent_len + 200 > SIM_STREAM))
        return false;
    if (!make(s, d, n, &r, &c))
        return false;
    id = offer(s, d, &q->drv, &c);
    if (id < 0) {
        if (d->kind == SIM_BLK && r.op <= BLK_OUT)
            s->busy[r.sector] = 0;
        if (id != -ENOSPC)
            sim_fail(s, "%s: the driver's own error %d", d->id, id);
        return false;
    }
    if (d->kind == SIM_CONSOLE && n) {
        note_sent(s, d, slot_bytes(s, q, r.slot), r.readable);
        if (d->far.on)
            sim_far_note_chain(s, d, r.readable);
    }
    q->slot_used[slot] = true;
    q->req[id] = r;
    sim_say(s, "%s: queue %u: chain %d of %u", d->id, n, id, c.count);
    s->requests++;
    return true;
}

void sim_driver_kick(struct sim *s, struct sim_dev *d, unsigned n)
{
    if (!d->q[n].owed)
        return;
    d->q[n].owed = false;
    sim_say(s, "%s: kick %u", d->id, n);
    sim_bus_kick(s, d, n);
}

void sim_driver_offer(struct sim *s, struct sim_dev *d)
{
    unsigned n = sim_below(s, d->queues), count = sim_between(s, 1, sim_one_in(s, 4) ? 20 : 3);

    for (; count && offer_one(s, d, n); count--)
        if (sim_one_in(s, 3))
            d->q[n].owed |= fake_driver_wants_kick(&d->q[n].drv);
    d->q[n].owed |= fake_driver_wants_kick(&d->q[n].drv);
    if (!sim_one_in(s, 8))
        sim_driver_kick(s, d, n);
}

/* --- what came back --- */

static void check_blk(struct sim *s, struct sim_dev *d, const struct sim_req *r,
                      const uint8_t *bytes, uint32_t len)
{
    uint32_t data = r->writable - 1;
    const uint8_t *status = bytes + r->readable + data;

    if (*status || len != r->writable)
        sim_fail(s, "%s: request %u for sector %u: status %u, %u bytes of %u", d->id, r->op,
                 r->sector, *status, len, r->writable);
    if (r->op > BLK_OUT)
        return;
    s->busy[r->sector] = 0;
    if (r->op == BLK_OUT)
        memcpy(s->disk + r->sector * SIM_SECTOR, bytes + 16, SIM_SECTOR);
    else if (memcmp(s->disk + r->sector * SIM_SECTOR, bytes + 16, SIM_SECTOR) != 0)
        sim_fail(s, "%s: sector %u does not hold what was written", d->id, r->sector);
}

/* What a process had drawn that died is lost. */
static void skip_lost(struct sim *s, const uint8_t *bytes, uint32_t len)
{
    const uint8_t *at = memmem(s->random, s->random_len, bytes, len);

    if (!at)
        return;
    s->random_len -= (size_t)(at - s->random);
    memmove(s->random, at, s->random_len);
}

static void check_rng(struct sim *s, struct sim_dev *d, const uint8_t *bytes, uint32_t len)
{
    if (d->far.deaths)
        skip_lost(s, bytes, len);
    if (!len || len > s->random_len || memcmp(s->random, bytes, len) != 0)
        sim_fail(s, "%s: %u bytes that were not drawn", d->id, len);
    s->random_len -= len;
    memmove(s->random, s->random + len, s->random_len);
}

static void check_echo(struct sim *s, struct sim_dev *d, const struct sim_req *r,
                       const uint8_t *bytes, uint32_t len)
{
    const struct sim_effect *e = &s->effect[r->serial];

    if (e->runs > 1U + e->excused)
        sim_fail(s, "%s: request %u ran twice", d->id, r->serial);
    if (!len && d->far.deaths && r->serial % 2) /* it may have run: it failed */
        return;
    if (len != r->writable)
        sim_fail(s, "%s: %u bytes came back of %u", d->id, len, r->writable);
    if (!e->runs)
        sim_fail(s, "%s: request %u was answered, and never ran", d->id, r->serial);
    for (uint32_t i = 0; i < len; i++)
        if (bytes[r->readable + i] != (bytes[i] ^ 0x5a))
            sim_fail(s, "%s: byte %u of %u is wrong", d->id, i, len);
}

static void check(struct sim *s, struct sim_dev *d, unsigned n, uint16_t id, uint32_t len)
{
    struct sim_queue *q = &d->q[n];
    struct sim_req *r = &q->req[id];
    const uint8_t *bytes = slot_bytes(s, q, r->slot);

    if (!r->out)
        sim_fail(s, "%s: chain %u came back twice", d->id, id);
    r->out = false;
    q->slot_used[r->slot] = false;
    s->digest = (s->digest << 5 | s->digest >> 59) ^ sim_hash(bytes, SIM_SLOT_BYTES) ^ len;
    switch (d->kind) {
    case SIM_BLK: check_blk(s, d, r, bytes, len); break;
    case SIM_RNG: check_rng(s, d, bytes, len); break;
    case SIM_CONSOLE:
        if (!n)
            sim_fail(s, "%s: input that nobody sent", d->id);
        break;
    default: check_echo(s, d, r, bytes, len); break;
    }
}

void sim_driver_collect(struct sim *s, struct sim_dev *d, unsigned n)
{
    struct sim_queue *q = &d->q[n];
    uint16_t id;
    uint32_t len;
    int rc;

    while ((rc = fake_driver_collect(&q->drv, &id, &len)) > 0)
        check(s, d, n, id, len);
    if (rc < 0)
        sim_fail(s, "%s: queue %u: the device broke the rules: %s", d->id, n,
                 q->drv.complaint ? q->drv.complaint : "?");
}

void sim_driver_mode(struct sim *s, struct sim_dev *d)
{
    unsigned n = sim_below(s, d->queues);
    struct sim_queue *q = &d->q[n];

    q->quiet = !q->quiet;
    if (fake_driver_set_event(&q->drv, q->quiet ? FAKE_EVENT_OFF : FAKE_EVENT_ON, 0))
        sim_fail(s, "%s: the driver cannot switch its interrupts", d->id);
    /* What came before the switch gave no interrupt. */
    sim_driver_collect(s, d, n);
}

static bool handle(struct sim *s, struct sim_dev *d, unsigned n)
{
    if (!d->q[n].irq)
        return false;
    d->q[n].irq = false;
    if (d->up && !d->sick && !d->leaving)
        sim_driver_collect(s, d, n);
    return true;
}

/* A wired interrupt may be anyone's who is wired. */
static void handle_wired(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_dev *d = &s->dev[i];

        if (!d->msix && !d->gone && sim_bus_interrupt(s, d)) {
            sim_say(s, "%s: interrupt", d->id);
            for (unsigned n = 0; n < d->queues; n++)
                d->q[n].irq = true;
        }
    }
}

bool sim_driver_interrupts(struct sim *s)
{
    bool any = false;

    sim_take_interrupts(s);
    for (unsigned pin = 0; pin < SIM_WIRES; pin++) {
        if (!s->wired[pin] && !s->level[pin])
            continue;
        s->wired[pin] = false;
        any = true;
        handle_wired(s);
        if (s->config.arch.irqchip == VARCH_IRQCHIP_SPLIT)
            sim_eoi(s, (uint8_t)(SIM_VECTOR + pin));
    }
    for (unsigned i = 0; i < s->devs; i++)
        for (unsigned n = 0; n < s->dev[i].queues; n++)
            any |= handle(s, &s->dev[i], n);
    return any;
}

static bool stream_fits(const struct sim_dev *d, const uint8_t *came, size_t len, bool all)
{
    if (d->far.on)
        return sim_far_stream_fits(d, came, len, all);
    return len <= d->sent_len && (!all || len == d->sent_len) && !memcmp(came, d->sent, len);
}

/* What has come out so far is the beginning of what was sent, or all of it. */
void sim_stream_check(struct sim *s, struct sim_dev *d, bool all)
{
    off_t len = lseek(d->file, 0, SEEK_END);
    uint8_t *came = len < 0 ? NULL : malloc((size_t)len + 1);

    if (!came || vm_pread_full(d->file, came, (size_t)len, 0))
        sim_fail(s, "%s: its output cannot be read", d->id);
    if (!stream_fits(d, came, (size_t)len, all))
        sim_fail(s, "%s: %lld bytes came out that are not the %zu that were sent, or not in order",
                 d->id, (long long)len, d->sent_len);
    free(came);
}
