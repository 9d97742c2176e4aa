/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Buses: dispatch, overlap, removal under traffic, and maps without memory. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "bus_private.h"
#include "core_test.h"

/* In the place of bus_alloc.c. */
static unsigned allocations_left = UINT32_MAX;

void *vdev_bus_map_alloc(size_t bytes)
{
    return allocations_left && allocations_left-- ? malloc(bytes) : NULL;
}

/* A device that remembers what it was asked. */
struct probe {
    struct vdev_region region;
    uint64_t offset;
    unsigned len, reads, writes;
    uint8_t answer;
    uint8_t written[8];
    int rc;
    void (*inside)(struct probe *probe); /* called in each access */
    struct fixture *f;
};

struct fixture {
    struct test_env t;
    struct vdev_bus *bus;
    struct vdev_bus_reader reader;
    unsigned gone;
};

static int probe_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    struct probe *p = self;

    p->reads++;
    p->offset = offset;
    p->len = len;
    memset(data, p->answer, len);
    if (p->inside)
        p->inside(p);
    return p->rc;
}

static int probe_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    struct probe *p = self;

    p->writes++;
    p->offset = offset;
    p->len = len;
    memcpy(p->written, data, len);
    if (p->inside)
        p->inside(p);
    return p->rc;
}

static const struct vdev_region_ops probe_ops = { .read = probe_read, .write = probe_write };

static void open_bus(struct fixture *f, uint64_t limit)
{
    *f = (struct fixture){ 0 };
    test_env_init(&f->t);
    cr_assert_eq(vdev_bus_new(&f->t.env, "test", limit, &f->bus), 0);
    vdev_bus_reader_init(f->bus, &f->reader);
}

static void close_bus(struct fixture *f)
{
    vdev_bus_reader_exit(&f->reader);
    vdev_bus_free(f->bus);
}

static struct probe probe_at(struct fixture *f, const char *name, uint64_t base, uint64_t size,
                             uint8_t answer)
{
    return (
        struct probe){ .f = f,
                       .answer = answer,
                       .region = { .name = name, .base = base, .size = size, .ops = &probe_ops } };
}

static int add(struct fixture *f, struct probe *p)
{
    p->region.self = p;
    return vdev_bus_add(f->bus, &p->region);
}

/* The byte at addr, or -1 where nobody answers. */
static int look(struct fixture *f, uint64_t addr)
{
    uint8_t byte = 0;

    if (vdev_bus_read(&f->reader, addr, &byte, 1, NULL) == -ENODEV)
        return -1;
    return byte;
}

static void count_gone(void *ctx)
{
    ((struct fixture *)ctx)->gone++;
}

Test(bus, an_access_reaches_its_region_with_the_offset_inside_it)
{
    struct fixture f;
    struct probe p;
    uint8_t data[4] = { 0 };
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x3f8, 8, 0x5a);
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_read(&f.reader, 0x3fb, data, 2, NULL), 0);

    cr_assert_eq(p.offset, 3);
    cr_assert_eq(p.len, 2);
    cr_assert_eq(data[0], 0x5a);
    cr_assert_eq(data[2], 0, "wrote beyond the access");
    close_bus(&f);
}

Test(bus, a_write_hands_its_bytes_over)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x10, 8, 0);
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_write(&f.reader, 0x10, (const uint8_t *)"abcdefgh", 8, NULL), 0);

    cr_assert_arr_eq(p.written, "abcdefgh", 8);
    cr_assert_eq(p.offset, 0);
    close_bus(&f);
}

Test(bus, what_nobody_answers_reads_as_ones_and_is_counted)
{
    struct fixture f;
    uint8_t data[8] = { 0 };
    open_bus(&f, UINT64_MAX);

    cr_assert_eq(vdev_bus_read(&f.reader, UINT64_MAX, data, 8, NULL), -ENODEV);
    cr_assert_eq(vdev_bus_write(&f.reader, 0, data, 1, NULL), -ENODEV);

    for (int i = 0; i < 8; i++)
        cr_assert_eq(data[i], 0xff);
    cr_assert_eq(f.reader.unclaimed, 2);
    cr_assert_eq(f.t.lines, 0);
    close_bus(&f);
}

Test(bus, an_access_across_a_regions_end_is_nobodys)
{
    struct fixture f;
    struct probe a, b;
    uint8_t data[4] = { 0 };
    open_bus(&f, 0xffff);
    a = probe_at(&f, "a", 0x10, 4, 1);
    b = probe_at(&f, "b", 0x14, 4, 2);
    cr_assert_eq(add(&f, &a) | add(&f, &b), 0);

    cr_assert_eq(vdev_bus_read(&f.reader, 0x12, data, 4, NULL), -ENODEV);
    cr_assert_eq(vdev_bus_read(&f.reader, 0x11, data, 4, NULL), -ENODEV);
    cr_assert_eq(vdev_bus_write(&f.reader, 0x16, data, 4, NULL), -ENODEV);

    cr_assert_eq(data[0], 0xff);
    cr_assert_eq(a.reads + b.reads + a.writes + b.writes, 0);
    close_bus(&f);
}

Test(bus, an_access_of_no_width_or_over_8_bytes_does_nothing)
{
    struct fixture f;
    struct probe p;
    uint8_t data[16] = { 0 };
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0, 0x100, 1);
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_read(&f.reader, 0, data, 0, NULL), -ENODEV);
    cr_assert_eq(vdev_bus_read(&f.reader, 0, data, 9, NULL), -ENODEV);
    cr_assert_eq(vdev_bus_write(&f.reader, 0, data, 9, NULL), -ENODEV);

    cr_assert_eq(p.reads + p.writes, 0);
    cr_assert_eq(data[0], 0);
    close_bus(&f);
}

Test(bus, a_region_that_is_empty_or_beyond_the_limit_is_refused_with_its_name)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "serial0", 0xfffc, 8, 0);

    cr_assert_eq(add(&f, &p), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "bus test: region serial0 at 0xfffc of 0x8 bytes ends beyond "
                                      "the last address 0xffff");
    p.region.size = 0;
    cr_assert_eq(add(&f, &p), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "bus test: region serial0 at 0xfffc is empty");
    p.region.size = UINT64_MAX;
    cr_assert_eq(add(&f, &p), -EINVAL, "wraps");
    p.region.base = 0x10000;
    p.region.size = 1;
    cr_assert_eq(add(&f, &p), -EINVAL);
    close_bus(&f);
}

Test(bus, the_last_byte_of_the_address_space_can_be_claimed)
{
    struct fixture f;
    struct probe p, below;
    open_bus(&f, UINT64_MAX);
    p = probe_at(&f, "top", UINT64_MAX - 0xf, 0x10, 7);
    below = probe_at(&f, "below", UINT64_MAX - 0x1f, 0x20, 8);
    cr_assert_eq(add(&f, &p) | add(&f, &below), 0);

    cr_assert_eq(look(&f, UINT64_MAX), 7);
    cr_assert_eq(look(&f, UINT64_MAX - 0x10), 8);
    close_bus(&f);
}

Test(bus, the_higher_priority_wins_and_then_the_first_added)
{
    struct fixture f;
    struct probe a, b, c;
    open_bus(&f, 0xffff);
    a = probe_at(&f, "a", 0x100, 0x100, 1);
    b = probe_at(&f, "b", 0x180, 0x100, 2);
    c = probe_at(&f, "c", 0x1c0, 0x10, 3);
    c.region.priority = 1;
    cr_assert_eq(add(&f, &a) | add(&f, &b) | add(&f, &c), 0);

    cr_assert_eq(look(&f, 0x1bf), 1);
    cr_assert_eq(look(&f, 0x1c0), 3);
    cr_assert_eq(look(&f, 0x1cf), 3);
    cr_assert_eq(look(&f, 0x1d0), 1);
    cr_assert_eq(look(&f, 0x200), 2);
    cr_assert_eq(b.offset, 0x80);
    close_bus(&f);
}

Test(bus, a_register_inside_anothers_dword_does_not_cut_it)
{
    struct fixture f;
    struct probe address, reset;
    uint8_t data[4];
    open_bus(&f, 0xffff);
    address = probe_at(&f, "address", 0xcf8, 4, 1);
    reset = probe_at(&f, "reset", 0xcf9, 1, 2);
    reset.region.priority = 2;
    cr_assert_eq(add(&f, &address) | add(&f, &reset), 0);

    cr_assert_eq(vdev_bus_read(&f.reader, 0xcf8, data, 4, NULL), 0);

    cr_assert_eq(data[1], 1);
    cr_assert_eq(look(&f, 0xcf9), 2);
    close_bus(&f);
}

Test(bus, a_moved_region_answers_only_where_it_is_now)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    cr_assert_eq(add(&f, &p), 0);
    cr_assert_eq(look(&f, 0x10f), 1);

    cr_assert_eq(vdev_bus_move(f.bus, &p.region, 0x200), 0);

    cr_assert_eq(look(&f, 0x10f), -1);
    cr_assert_eq(look(&f, 0x20f), 1);
    cr_assert_eq(p.region.base, 0x200);
    close_bus(&f);
}

Test(bus, a_region_that_moves_onto_another_does_not_take_its_place)
{
    struct fixture f;
    struct probe first, second;
    open_bus(&f, 0xffff);
    first = probe_at(&f, "first", 0x100, 0x10, 1);
    second = probe_at(&f, "second", 0x200, 0x10, 2);
    cr_assert_eq(add(&f, &first) | add(&f, &second), 0);

    cr_assert_eq(vdev_bus_move(f.bus, &first.region, 0x200), 0);

    cr_assert_eq(look(&f, 0x200), 2);
    cr_assert_eq(vdev_bus_move(f.bus, &second.region, 0x300), 0);
    cr_assert_eq(look(&f, 0x200), 1);
    close_bus(&f);
}

Test(bus, reaches_says_whose_an_address_is)
{
    struct fixture f;
    struct probe under, over;
    open_bus(&f, 0xffff);
    under = probe_at(&f, "under", 0x100, 0x20, 1);
    over = probe_at(&f, "over", 0x110, 0x20, 2);
    over.region.priority = 1;
    cr_assert_eq(add(&f, &under) | add(&f, &over), 0);

    cr_assert(vdev_bus_reaches(f.bus, 0x10f, &under.region));
    cr_assert_not(vdev_bus_reaches(f.bus, 0x110, &under.region));
    cr_assert(vdev_bus_reaches(f.bus, 0x12f, &over.region));
    cr_assert_not(vdev_bus_reaches(f.bus, 0xff, &under.region), "before it");
    close_bus(&f);
}

Test(bus, a_move_that_does_not_fit_leaves_the_region_where_it_was)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_move(f.bus, &p.region, 0xfff1), -EINVAL);
    allocations_left = 0;
    cr_assert_eq(vdev_bus_move(f.bus, &p.region, 0x200), -ENOMEM);

    cr_assert_str_eq(vm_error_text(), "bus test: no memory for a map of 1 regions");
    allocations_left = UINT32_MAX;
    cr_assert_eq(p.region.base, 0x100);
    cr_assert_eq(look(&f, 0x100), 1);
    cr_assert_eq(look(&f, 0x200), -1);
    close_bus(&f);
}

static void move_away(struct probe *p)
{
    cr_assert_eq(vdev_bus_move(p->f->bus, &p->region, 0x200), 0);
}

Test(bus, a_region_may_move_itself_from_inside_an_access)
{
    struct fixture f;
    struct probe p;
    struct vm_lock lock;
    open_bus(&f, 0xffff);
    vm_lock_init(&lock, VM_RANK_DEVICE, "device");
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    p.region.lock = &lock;
    p.inside = move_away;
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_write(&f.reader, 0x100, (const uint8_t *)"x", 1, NULL), 0);

    p.inside = NULL;
    cr_assert_eq(look(&f, 0x100), -1);
    cr_assert_eq(look(&f, 0x200), 1);
    close_bus(&f);
    vm_lock_destroy(&lock);
}

static void check_held(struct probe *p)
{
    cr_assert(vm_lock_held(p->region.lock));
}

Test(bus, the_regions_lock_is_held_in_the_call_and_free_after_it)
{
    struct fixture f;
    struct probe p;
    struct vm_lock lock;
    open_bus(&f, 0xffff);
    vm_lock_init(&lock, VM_RANK_DEVICE, "device");
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    p.region.lock = &lock;
    p.inside = check_held;
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(look(&f, 0x100), 1);
    cr_assert_eq(vdev_bus_write(&f.reader, 0x100, (const uint8_t *)"x", 1, NULL), 0);

    cr_assert(vm_lock_try(&lock));
    vm_lock_release(&lock);
    close_bus(&f);
}

Test(bus, gone_comes_at_once_when_no_access_runs)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    cr_assert_eq(add(&f, &p), 0);

    vdev_bus_del(f.bus, &p.region, count_gone, &f);

    cr_assert_eq(f.gone, 1);
    cr_assert_eq(look(&f, 0x100), -1);
    close_bus(&f);
    cr_assert_eq(f.gone, 1);
}

static void delete_itself(struct probe *p)
{
    vdev_bus_del(p->f->bus, &p->region, count_gone, p->f);
    cr_assert_eq(p->f->gone, 0, "gone while the access still runs");
}

Test(bus, gone_comes_after_the_access_that_removed_its_own_region)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    p.inside = delete_itself;
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_write(&f.reader, 0x100, (const uint8_t *)"x", 1, NULL), 0);

    cr_assert_eq(f.gone, 1);
    close_bus(&f);
}

static struct probe *other_probe;

static void delete_other(struct probe *p)
{
    vdev_bus_del(p->f->bus, &other_probe->region, count_gone, p->f);
    /* Two newer maps come and go meanwhile: the old one, which this access is in, still names
     * the other. */
    vdev_bus_del(p->f->bus, &(struct vdev_region){ .name = "none" }, NULL, NULL);
    vdev_bus_del(p->f->bus, &(struct vdev_region){ .name = "none" }, NULL, NULL);
    cr_assert_eq(p->f->gone, 0);
}

Test(bus, gone_waits_for_every_older_map_not_only_the_last)
{
    struct fixture f;
    struct probe p, other;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    other = probe_at(&f, "b", 0x200, 0x10, 1);
    other_probe = &other;
    p.inside = delete_other;
    cr_assert_eq(add(&f, &p) | add(&f, &other), 0);

    cr_assert_eq(vdev_bus_write(&f.reader, 0x100, (const uint8_t *)"x", 1, NULL), 0);

    cr_assert_eq(f.gone, 1);
    cr_assert_eq(look(&f, 0x200), -1);
    close_bus(&f);
}

Test(bus, del_of_a_region_that_is_not_on_the_bus_only_waits)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    p.region.self = &p;

    vdev_bus_del(f.bus, &p.region, count_gone, &f);

    cr_assert_eq(f.gone, 1);
    close_bus(&f);
}

Test(bus, a_region_removed_without_gone_may_come_back_at_once)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    cr_assert_eq(add(&f, &p), 0);

    vdev_bus_del(f.bus, &p.region, NULL, NULL);
    cr_assert_eq(look(&f, 0x100), -1);
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(look(&f, 0x100), 1);
    close_bus(&f);
}

Test(bus, add_without_memory_changes_nothing)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);

    allocations_left = 0;
    cr_assert_eq(add(&f, &p), -ENOMEM);
    allocations_left = UINT32_MAX;

    cr_assert_eq(look(&f, 0x100), -1);
    cr_assert_eq(add(&f, &p), 0);
    cr_assert_eq(look(&f, 0x100), 1);
    close_bus(&f);
}

Test(bus, del_without_memory_hides_the_region_and_gone_comes_with_the_next_map)
{
    struct fixture f;
    struct probe p, other;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    other = probe_at(&f, "b", 0x200, 0x10, 2);
    cr_assert_eq(add(&f, &p) | add(&f, &other), 0);

    allocations_left = 0;
    vdev_bus_del(f.bus, &p.region, count_gone, &f);
    allocations_left = UINT32_MAX;

    cr_assert_eq(look(&f, 0x100), -1);
    cr_assert_eq(look(&f, 0x200), 2);
    cr_assert_eq(f.gone, 0);
    vdev_bus_del(f.bus, &other.region, NULL, NULL);
    cr_assert_eq(f.gone, 1);
    close_bus(&f);
}

Test(bus, free_calls_a_gone_that_is_still_owed)
{
    struct fixture f;
    struct probe p;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    cr_assert_eq(add(&f, &p), 0);
    allocations_left = 0;
    vdev_bus_del(f.bus, &p.region, count_gone, &f);
    cr_assert_eq(f.gone, 0);

    close_bus(&f);

    cr_assert_eq(f.gone, 1);
}

Test(bus, new_without_memory_fails)
{
    struct test_env t;
    struct vdev_bus *bus = NULL;
    test_env_init(&t);
    allocations_left = 0;

    cr_assert_eq(vdev_bus_new(&t.env, "test", 1, &bus), -ENOMEM);

    cr_assert_null(bus);
    vdev_bus_free(NULL);
}

Test(bus, an_access_that_parks_says_for_whom)
{
    struct fixture f;
    struct probe p;
    struct vdev *dev = (struct vdev *)0x1000, *who = NULL;
    open_bus(&f, 0xffff);
    p = probe_at(&f, "a", 0x100, 0x10, 1);
    p.region.dev = dev;
    p.rc = -EINPROGRESS;
    cr_assert_eq(add(&f, &p), 0);

    cr_assert_eq(vdev_bus_write(&f.reader, 0x100, (const uint8_t *)"x", 1, &who), -EINPROGRESS);

    cr_assert_eq(who, dev);
    cr_assert_eq(f.t.lines, 0);
    cr_assert_eq(f.reader.failed, 0);
    close_bus(&f);
}

Test(bus, a_devices_error_is_logged_counted_and_limited)
{
    struct fixture f;
    struct probe p;
    uint8_t data[2] = { 0 };
    open_bus(&f, 0xffff);
    p = probe_at(&f, "serial0", 0x100, 0x10, 1);
    p.rc = -EIO;
    cr_assert_eq(add(&f, &p), 0);

    for (int i = 0; i < 30; i++)
        cr_assert_eq(vdev_bus_read(&f.reader, 0x104, data, 2, NULL), -EIO);

    cr_assert_eq(f.reader.failed, 30);
    cr_assert_eq(f.t.lines, 10);
    cr_assert_str_eq(f.t.line,
                     "bus test: read of 2 bytes at offset 0x4 of serial0: Input/output error");
    cr_assert_eq(data[1], 0xff);
    f.t.now_ns = 60000000000;
    cr_assert_eq(vdev_bus_write(&f.reader, 0x104, data, 2, NULL), -EIO);
    cr_assert_str_eq(f.t.line, "bus test: 20 earlier lines were dropped");
    close_bus(&f);
}

static struct vdev_region *shift_window(void *self, uint64_t *offset, unsigned len)
{
    struct probe *target = self;

    (void)len;
    *offset += 0x40;
    return *offset >= 0x60 ? NULL : &target->region;
}

Test(bus, a_window_leads_to_another_region)
{
    static const struct vdev_region_ops window_ops = { .window = shift_window };
    struct fixture f;
    struct probe target;
    struct vdev_region window = {
        .name = "window", .base = 0x100, .size = 0x100, .ops = &window_ops
    };
    uint8_t data[8] = { 0 };
    open_bus(&f, 0xffff);
    target = probe_at(&f, "target", 0, 0x50, 9);
    target.region.self = &target;
    window.self = &target;
    cr_assert_eq(vdev_bus_add(f.bus, &window), 0);

    cr_assert_eq(look(&f, 0x102), 9);

    cr_assert_eq(target.offset, 0x42);
    cr_assert_eq(look(&f, 0x111), -1, "beyond the target");
    cr_assert_eq(look(&f, 0x130), -1, "the window refuses");
    cr_assert_eq(vdev_bus_write(&f.reader, 0x10c, data, 8, NULL), -ENODEV, "across its end");
    cr_assert_eq(target.writes, 0);
    close_bus(&f);
}

struct walked {
    char text[256];
};

static void note(void *ctx, uint64_t base, uint64_t size, const char *name)
{
    struct walked *w = ctx;
    size_t len = strlen(w->text);

    snprintf(w->text + len, sizeof(w->text) - len, "%s:%x+%x ", name, (unsigned)base,
             (unsigned)size);
}

Test(bus, walk_shows_what_an_access_sees)
{
    struct fixture f;
    struct probe a, b;
    struct walked w = { { 0 } };
    open_bus(&f, 0xffff);
    a = probe_at(&f, "a", 0x100, 0x100, 1);
    b = probe_at(&f, "b", 0x140, 0x10, 1);
    b.region.priority = 1;
    cr_assert_eq(add(&f, &a) | add(&f, &b), 0);

    vdev_bus_walk(f.bus, note, &w);

    cr_assert_str_eq(w.text, "a:100+40 b:140+10 a:150+b0 ");
    close_bus(&f);
}

/* The sweep against the definition: the best region of those that hold the address. */
static int expected(const struct probe *p, size_t n, uint64_t addr)
{
    const struct probe *best = NULL;

    for (size_t i = 0; i < n; i++) {
        if (!p[i].region.on_bus || addr < p[i].region.base ||
            addr - p[i].region.base >= p[i].region.size)
            continue;
        if (!best || p[i].region.priority > best->region.priority ||
            (p[i].region.priority == best->region.priority &&
             p[i].region.order < best->region.order))
            best = &p[i];
    }
    return best ? best->answer : -1;
}

Test(bus, any_pile_of_regions_answers_as_priority_and_age_say)
{
    enum { N = 12, SPACE = 64 };
    struct fixture f;
    struct probe p[N];
    unsigned seed = 7;
    open_bus(&f, SPACE - 1);
    for (unsigned i = 0; i < N; i++)
        p[i] = probe_at(&f, "r", 0, 1, (uint8_t)i);

    for (unsigned round = 0; round < 3000; round++) {
        struct probe *one = &p[(unsigned)rand_r(&seed) % N];
        uint64_t base = (unsigned)rand_r(&seed) % SPACE;

        if (!one->region.on_bus) {
            one->region.base = base;
            one->region.size = 1 + (unsigned)rand_r(&seed) % (SPACE - base);
            one->region.priority = (unsigned)rand_r(&seed) % 3;
            cr_assert_eq(add(&f, one), 0);
        } else if (rand_r(&seed) % 2) {
            (void)vdev_bus_move(f.bus, &one->region, base);
        } else {
            vdev_bus_del(f.bus, &one->region, NULL, NULL);
        }
        for (uint64_t addr = 0; addr < SPACE; addr++)
            cr_assert_eq(look(&f, addr), expected(p, N, addr), "round %u address %u", round,
                         (unsigned)addr);
    }
    close_bus(&f);
}

/* Readers beside a writer: each region is freed in its gone(), so that a use after it is seen by
 * the sanitizers. */
struct shared {
    struct vdev_bus *bus;
    unsigned stop, hits;
};

static void *read_all(void *ctx)
{
    struct shared *s = ctx;
    struct vdev_bus_reader reader;

    vdev_bus_reader_init(s->bus, &reader);
    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        for (uint64_t addr = 0; addr < 0x800; addr += 0x10) {
            uint8_t byte = 0;

            if (vdev_bus_read(&reader, addr, &byte, 1, NULL) == 0) {
                cr_assert_eq(byte, 0x33);
                __atomic_fetch_add(&s->hits, 1, __ATOMIC_RELAXED);
            } else {
                cr_assert_eq(byte, 0xff);
            }
        }
    }
    vdev_bus_reader_exit(&reader);
    return NULL;
}

struct heap_region {
    struct vdev_region region;
    struct vm_lock lock;
    unsigned *freed;
};

static int heap_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    (void)self;
    (void)offset;
    memset(data, 0x33, len);
    return 0;
}

static void heap_gone(void *ctx)
{
    struct heap_region *h = ctx;

    memset(&h->region, 0xee, sizeof(h->region));
    vm_lock_destroy(&h->lock);
    __atomic_fetch_add(h->freed, 1, __ATOMIC_RELAXED);
    free(h);
}

Test(bus, readers_never_see_a_region_after_its_gone)
{
    static const struct vdev_region_ops heap_ops = { .read = heap_read };
    enum { ROUNDS = 3000 };
    struct fixture f;
    struct shared s = { 0 };
    pthread_t thread[2];
    unsigned freed = 0, made = 0;
    open_bus(&f, UINT64_MAX);
    vdev_bus_reader_exit(&f.reader);
    s.bus = f.bus;
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, read_all, &s);

    for (unsigned i = 0; i < ROUNDS || __atomic_load_n(&s.hits, __ATOMIC_RELAXED) < 1000; i++) {
        struct heap_region *h = calloc(1, sizeof(*h));

        h->region = (struct vdev_region){
            .name = "heap", .base = (i % 8) * 0x80, .size = 0x100, .ops = &heap_ops, .self = h
        };
        h->region.lock = &h->lock;
        h->freed = &freed;
        vm_lock_init(&h->lock, VM_RANK_DEVICE, "heap");
        cr_assert_eq(vdev_bus_add(s.bus, &h->region), 0);
        cr_assert_eq(vdev_bus_move(s.bus, &h->region, 0x400), 0);
        vdev_bus_del(s.bus, &h->region, heap_gone, h);
        made = i + 1;
    }
    __atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);

    vdev_bus_free(s.bus);
    cr_assert_eq(freed, made, "%u of %u", freed, made);
}
