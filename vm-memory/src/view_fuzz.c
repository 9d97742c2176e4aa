/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Fuzzes views against a model: a byte array with one attribute per page. The input is a program of
 * accesses, with addresses around every boundary there is; the map changes and an IOMMU comes and
 * goes in between. Result, bytes and dirty pages must be the model's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory_private.h"

enum { PAGE = GM_PAGE_BYTES, PAGES = 16, BYTES = PAGES * PAGE, LEN_MAX = 5 * PAGE };
enum kind { HOLE, RAM, ROM, FAR };

struct world {
    struct gm_space *space;
    struct gm_view view;
    struct gm_iommu iommu;
    struct gm_dirty *dirty;
    bool translated;
    enum kind kind[PAGES];
    uint8_t bytes[BYTES]; /* the model of RAM and ROM */
    bool marked[PAGES];
    uint8_t table[PAGES]; /* IOVA page: low 4 bits its page, bit 6 readable, bit 7 writable */
    const uint8_t *in;
    size_t left;
};

static void check(bool ok)
{
    if (!ok)
        __builtin_trap();
}

static unsigned byte(struct world *w)
{
    if (!w->left)
        return 0;
    w->left--;
    return *w->in++;
}

static uint64_t number(struct world *w)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | byte(w);
    return v;
}

/* Mostly near a page's boundary, sometimes anything. */
static uint64_t address(struct world *w)
{
    unsigned page = byte(w), offset = byte(w);

    if (page >= 0xf8)
        return number(w);
    return (uint64_t)(page % (PAGES + 1)) * PAGE + (offset & 0x80 ? PAGE - 128 : 0) +
           (offset & 0x7f);
}

static size_t length(struct world *w)
{
    unsigned v = byte(w);

    return v & 0x80 ? (v & 0x7f) * (LEN_MAX / 128) : v;
}

/* --- the model --- */

/* Where addr leads to; a negative errno where it may not be accessed. */
static int64_t model_gpa(const struct world *w, uint64_t addr, unsigned access)
{
    enum kind kind;

    if (addr >= BYTES)
        return -EFAULT;
    if (w->translated) {
        unsigned entry = w->table[addr / PAGE];

        if (((entry >> 6) & access) != access)
            return -EFAULT;
        addr = (uint64_t)(entry % PAGES) * PAGE + addr % PAGE;
    }
    kind = w->kind[addr / PAGE];
    if (kind == HOLE || (kind == ROM && access & GM_WRITE))
        return -EFAULT;
    return kind == FAR ? -EIO : (int64_t)addr;
}

static int model_check(const struct world *w, uint64_t addr, uint64_t len, unsigned access)
{
    for (uint64_t i = 0; i < len; i++) {
        int64_t gpa = len - 1 > UINT64_MAX - addr ? -EFAULT : model_gpa(w, addr + i, access);

        if (gpa < 0)
            return (int)gpa;
    }
    return 0;
}

static void model_write(struct world *w, uint64_t addr, const uint8_t *from, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        uint64_t gpa = (uint64_t)model_gpa(w, addr + i, GM_WRITE);

        w->bytes[gpa] = from[i];
        w->marked[gpa / PAGE] = w->marked[gpa / PAGE] || w->view.dirty;
    }
}

static int translate(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    const struct world *w = ctx;
    uint64_t rest = PAGE - iova % PAGE;
    unsigned entry;

    if (iova >= BYTES)
        return -EFAULT;
    entry = w->table[iova / PAGE];
    if (((entry >> 6) & access) != access)
        return -EFAULT;
    *ret_gpa = (uint64_t)(entry % PAGES) * PAGE + iova % PAGE;
    if (*ret_len > rest)
        *ret_len = rest;
    return 0;
}

/* --- the map --- */

static struct gm_region *new_region(struct world *w, unsigned first, unsigned count)
{
    enum kind kind = w->kind[first];
    struct gm_backing backing = { .kind = kind == FAR ? GM_BORROWED : GM_ANONYMOUS,
                                  .read_only = kind == ROM };
    struct gm_region *region;

    check(!gm_region_new((gpa_t)first * PAGE, (uint64_t)count * PAGE, &backing, &region));
    if (kind != FAR)
        memcpy(gm_region_host(region), w->bytes + (size_t)first * PAGE, (size_t)count * PAGE);
    return region;
}

static void drop_all(struct world *w)
{
    struct gm_region *regions[PAGES];
    struct gm_map *map = gm_space_map(w->space);
    struct gm_change change = { .remove = regions, .remove_count = gm_map_count(map) };

    for (size_t i = 0; i < change.remove_count; i++)
        regions[i] = gm_map_region(map, i);
    check(!gm_space_change(w->space, &change));
    gm_map_unref(map);
}

/* New regions with the model's bytes; runs of one kind are one region, or are cut by the input. */
static void make_map(struct world *w)
{
    struct gm_region *regions[PAGES];
    struct gm_change change = { .add = regions };
    unsigned cuts = byte(w) << 8 | byte(w);

    drop_all(w);
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned v = byte(w) % 8;

        w->kind[i] = v < 4 ? RAM : v == 4 ? ROM : v == 5 ? FAR : HOLE;
    }
    for (unsigned i = 0; i < PAGES;) {
        unsigned count = 1;

        while (i + count < PAGES && w->kind[i + count] == w->kind[i] && !(cuts >> (i + count) & 1))
            count++;
        if (w->kind[i] != HOLE)
            regions[change.add_count++] = new_region(w, i, count);
        i += count;
    }
    check(!gm_space_change(w->space, &change));
    for (size_t i = 0; i < change.add_count; i++)
        gm_region_unref(regions[i]);
}

/* --- the accesses --- */

static void do_read(struct world *w)
{
    static uint8_t buf[LEN_MAX]; /* NOLINT: scratch of one thread */
    uint64_t addr = address(w);
    size_t len = length(w);
    int want = model_check(w, addr, len, GM_READ);

    memset(buf, 0xa5, sizeof(buf));
    check(gm_read(&w->view, addr, buf, len) == want);
    for (size_t i = 0; i < len; i++)
        check(buf[i] == (want ? 0xa5 : w->bytes[model_gpa(w, addr + i, GM_READ)]));
}

static void do_write(struct world *w, bool fill)
{
    uint8_t buf[LEN_MAX];
    uint64_t addr = address(w);
    size_t len = length(w);
    uint8_t value = (uint8_t)byte(w);
    int want = model_check(w, addr, len, GM_WRITE);

    for (size_t i = 0; i < len; i++)
        buf[i] = fill ? value : (uint8_t)((value + i * 13) & 0xff);
    check((fill ? gm_fill(&w->view, addr, value, len) : gm_write(&w->view, addr, buf, len)) ==
          want);
    if (!want)
        model_write(w, addr, buf, len);
}

static void do_load(struct world *w)
{
    uint64_t addr = address(w), v = 0;
    int rc = gm_load64(&w->view, addr, &v);

    check(rc == (addr % 8 ? -EFAULT : model_check(w, addr, 8, GM_READ)));
    for (unsigned i = 0; !rc && i < 8; i++)
        check((uint8_t)(v >> (8 * i) & 0xff) == w->bytes[model_gpa(w, addr + i, GM_READ)]);
}

static void do_store(struct world *w)
{
    uint64_t addr = address(w);
    uint8_t bytes[4] = { (uint8_t)byte(w), 2, 3, 4 };
    uint32_t v = bytes[0] | 0x04030200U;
    int rc = gm_store32(&w->view, addr, v);

    check(rc == (addr % 4 ? -EFAULT : model_check(w, addr, 4, GM_WRITE)));
    if (!rc)
        model_write(w, addr, bytes, 4);
}

static void do_cmpxchg(struct world *w)
{
    uint64_t addr = address(w), expected = 0, v = 0x0807060504030201;
    static const uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    bool done = false;
    int rc;

    if (byte(w) & 1 && gm_load64(&w->view, addr, &expected))
        return;
    rc = gm_cmpxchg64(&w->view, addr, &expected, v, &done);
    check(rc == (addr % 8 ? -EFAULT : model_check(w, addr, 8, GM_WRITE)));
    if (!rc && done)
        model_write(w, addr, bytes, 8);
}

/* Writes through the vector and tells afterwards. */
static void do_iov(struct world *w)
{
    struct iovec iov[8] = { { 0 } };
    uint8_t buf[LEN_MAX];
    uint64_t addr = address(w), at = 0;
    size_t len = length(w);
    int max = (int)(byte(w) % 8), count = 0;
    int rc = gm_iov(&w->view, addr, len, GM_WRITE, iov, max, &count);

    if (rc == -E2BIG)
        return;
    check(rc == model_check(w, addr, len, GM_WRITE));
    check(count <= max && (!rc || !count));
    memset(buf, 0x77, sizeof(buf));
    for (int i = 0; i < count; i++) {
        memset(iov[i].iov_base, 0x77, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    check(rc || at == len);
    gm_written(&w->view, addr, rc ? 0 : len);
    if (!rc)
        model_write(w, addr, buf, len);
}

static void do_host(struct world *w)
{
    uint64_t addr = address(w);
    size_t len = length(w);
    void *host = NULL;
    int rc = gm_host(&w->view, addr, len, GM_READ, &host);

    check(rc == model_check(w, addr, len ? len : 1, GM_READ) || rc == -EXDEV);
    for (size_t i = 0; !rc && i < len; i++)
        check(((uint8_t *)host)[i] == w->bytes[model_gpa(w, addr + i, GM_READ)]);
}

static void take_dirty(struct world *w)
{
    uint64_t word = 0;

    gm_dirty_take(w->dirty, 0, &word, 1);
    for (unsigned i = 0; i < PAGES; i++) {
        check((word >> i & 1) == w->marked[i]);
        w->marked[i] = false;
    }
    check(!(word >> PAGES));
}

static void set_up_iommu(struct world *w)
{
    unsigned v = byte(w);

    w->translated = v & 1;
    for (unsigned i = 0; w->translated && i < PAGES; i++)
        w->table[i] = (uint8_t)byte(w);
    gm_view_set_iommu(&w->view, w->translated ? &w->iommu : NULL);
}

static void do_one(struct world *w)
{
    switch (byte(w) % 12) {
    case 0: make_map(w); break;
    case 1: set_up_iommu(w); break;
    case 2: gm_view_set_dirty(&w->view, byte(w) & 1 ? w->dirty : NULL); break;
    case 3: take_dirty(w); break;
    case 4: do_read(w); break;
    case 5: do_write(w, false); break;
    case 6: do_write(w, true); break;
    case 7: do_load(w); break;
    case 8: do_store(w); break;
    case 9: do_cmpxchg(w); break;
    case 10: do_iov(w); break;
    default: do_host(w); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof(*w));

    check(w && !gm_space_new(NULL, &w->space));
    check(!gm_dirty_new(BYTES, false, &w->dirty));
    w->iommu = (struct gm_iommu){ .ctx = w, .translate = translate };
    w->in = data;
    w->left = size;
    gm_view_init(&w->view, w->space, NULL);
    make_map(w);
    while (w->left)
        do_one(w);
    take_dirty(w);
    gm_view_exit(&w->view);
    drop_all(w);
    gm_space_free(w->space);
    gm_dirty_free(w->dirty);
    free(w);
    return 0;
}
