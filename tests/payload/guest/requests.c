/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Requests to virtio-blk (VIRTIO 1.2, 5.2.6) and virtio-rng (5.4.6), and what must come back. */
#include "queue.h"

enum {
    BLK_IN = 0,
    BLK_OUT = 1,
    STATUS_OK = 0,
    STATUS_NONE = 0xee,
    RNG_MAX = 64,
    RNG_TRAFFIC = 48,
    POISON = 0xcc,
    COMPARE_STEP =
        9, /* words: first and last of a sector, and some between: software KVM is slow */
};

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};

static struct request {
    struct blk_header header;
    uint64_t data[BLK_SECTORS * SECTOR / 8];
    uint8_t status;
    uint8_t bytes[RNG_MAX];
    uint32_t asked;
} requests[DEVICES][SLOTS];

static bool written[DEVICES][SECTORS]; /* by disk */
static uint32_t fed, eaten; /* bytes of the FIFO */

static struct request *request(const struct virtio *v, unsigned slot)
{
    return &requests[v->vector - FIRST_VECTOR][slot];
}

static uint64_t disk_holds(const struct virtio *v, uint64_t sector, unsigned word)
{
    uint64_t value = disk_word(v->nth, sector * SECTOR + word * 8ull);

    return written[v->nth][sector] ? ~value : value;
}

void blk_offer(struct virtio *v, unsigned slot, uint64_t sector, bool write)
{
    struct request *r = request(v, slot);
    const struct segment s[] = {
        { &r->header, sizeof(r->header), false },
        { r->data, sizeof(r->data), !write },
        { &r->status, 1, true },
    };

    check(sector + BLK_SECTORS <= SECTORS && (!write || sector >= FIRST_WRITABLE));
    r->header = (struct blk_header){ .type = write ? BLK_OUT : BLK_IN, .sector = sector };
    r->status = STATUS_NONE;
    for (unsigned n = 0; n < BLK_SECTORS; n++) {
        if (write)
            written[v->nth][sector + n] = true;
        for (unsigned w = 0; w < SECTOR / 8; w++)
            r->data[n * (SECTOR / 8) + w] = write ? disk_holds(v, sector + n, w) : 0;
    }
    virtio_offer(v, slot, s, 3);
}

void blk_finish(struct virtio *v, unsigned slot)
{
    const struct request *r = request(v, slot);
    uint32_t len = virtio_wait(v, slot);

    check_eq(r->status, STATUS_OK);
    if (r->header.type == BLK_OUT) {
        check_eq(len, 1);
        return;
    }
    check_eq(len, sizeof(r->data) + 1);
    for (unsigned n = 0; n < BLK_SECTORS; n++)
        for (unsigned w = 0; w < SECTOR / 8; w += COMPARE_STEP)
            check_eq(r->data[n * (SECTOR / 8) + w], disk_holds(v, r->header.sector + n, w));
}

void blk_traffic(struct virtio *v)
{
    static unsigned turn;
    uint64_t to =
        FIRST_WRITABLE + turn++ % ((SECTORS - FIRST_WRITABLE) / BLK_SECTORS) * BLK_SECTORS;

    blk_offer(v, 0, to, true);
    blk_offer(v, 1, to - FIRST_WRITABLE, false);
    virtio_kick(v);
    blk_finish(v, 0);
    blk_finish(v, 1);
    blk_offer(v, 2, to, false);
    virtio_kick(v);
    blk_finish(v, 2);
}

void rng_offer(struct virtio *v, unsigned slot, uint32_t bytes)
{
    struct request *r = request(v, slot);
    const struct segment s = { r->bytes, bytes, true };

    check(bytes <= RNG_MAX);
    memset(r->bytes, 0, sizeof(r->bytes));
    r->asked = bytes;
    virtio_offer(v, slot, &s, 1);
}

void rng_feed(uint32_t bytes)
{
    if (!options.fifo || !bytes)
        return;
    print("@feed ");
    print_number(bytes);
    print("\n");
    fed += bytes;
}

/* Fed bytes are numbered. Others are random: that they are all zero does not happen. */
void rng_finish(struct virtio *v, unsigned slot)
{
    const struct request *r = request(v, slot);
    uint8_t any = 0;

    check_eq(virtio_wait(v, slot), r->asked);
    for (unsigned i = 0; i < r->asked; i++) {
        any |= r->bytes[i];
        if (options.fifo)
            check_eq(r->bytes[i], (uint8_t)(eaten + i));
    }
    check(any);
    eaten += r->asked;
}

static void poison(void *at, size_t bytes)
{
    memset(at, POISON, bytes);
}

static void check_poison(const void *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += sizeof(uint32_t))
        check_eq(*(const uint32_t *)((const char *)at + i), POISON * 0x01010101u);
}

void requests_poison(struct virtio *v)
{
    poison(request(v, 0), sizeof(requests[0]));
    poison(&v->q->used, sizeof(v->q->used));
    poison(v->q->pdesc, sizeof(v->q->pdesc));
}

void requests_check_poison(struct virtio *v)
{
    check_poison(request(v, 0), sizeof(requests[0]));
    check_poison(&v->q->used, sizeof(v->q->used));
    check_poison(v->q->pdesc, sizeof(v->q->pdesc));
}

void rng_traffic(struct virtio *v)
{
    rng_feed(RNG_TRAFFIC);
    rng_offer(v, 0, RNG_TRAFFIC);
    virtio_kick(v);
    rng_finish(v, 0);
}

void traffic(struct virtio *v)
{
    if (v->type == VIRTIO_BLK)
        blk_traffic(v);
    else
        rng_traffic(v);
}
