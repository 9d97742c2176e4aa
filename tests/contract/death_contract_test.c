/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The process of a device dies, and another takes up what was in flight: of every virtio device class, over both ring formats, at
 * each place of a fixed piece of work (mortal.h says what the places are). The work: a driver starts, offers requests, the machine
 * comes to rest, its memory grows, it goes on, more requests are offered.
 *
 * Whatever the place, it ends as if nobody had died: each chain is back once, with the same answer, its driver was interrupted for
 * it, and what the device has written to its files is the same; but a class of VDEV_REPLAY_MARKED may have done a request twice where
 * death came between the effect and the mark, at one place for each request.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/prop.h>
#include <vmm/devices-core/ledger.h>

#include "contract.h"
#include "mortal.h"

extern const struct vdev_class vhost_user_class;

enum {
    RING = 16,
    REQUESTS = 4, /* of each queue */
    SLOT = 2048,
    PAYLOAD = 512,
    DATA = 0x80000, /* the requests' bytes, behind all rings */
    QUEUES_MOST = 16,
    DATA_BYTES = QUEUES_MOST * REQUESTS * SLOT,
    IMAGE_MOST = 2 << 20,
    DEATHS_MOST = 8, /* processes of one run */
    MORE_AT = CONTRACT_RAM * 2, /* memory that is plugged */
    MORE_BYTES = 1 << 16,
};

static struct vh h;

/* The processes so far; the last one is alive. */
static struct {
    const struct vdev_class *cls;
    struct mortal *m[DEATHS_MOST];
    unsigned count;
    unsigned place; /* the first one dies there; 0: nowhere */
    unsigned places; /* that the first one came by */
    int ledger;
} far;

/* What a run came to; calm: of the one in which nobody died. */
static struct outcome {
    unsigned back[VH_QUEUES];
    uint32_t len[VH_QUEUES][REQUESTS];
    uint8_t data[DATA_BYTES], image[IMAGE_MOST];
    size_t image_bytes;
    bool random; /* env.random was asked */
} calm, run;

/* ---- processes ---- */

static const void *make_config(void)
{
    char options[CONTRACT_OPTIONS];
    void *config = calloc(1, far.cls->config_size);

    contract_options(far.cls, options);
    cr_assert_eq(vm_prop_defaults(far.cls->props, config), 0);
    cr_assert_eq(vm_prop_parse(far.cls->props, config, far.cls->name, NULL, options), 0);
    if (far.cls->backend == VDEV_BACKEND_CHAR) /* where its output can be looked at */
        cr_assert_eq(vm_prop_parse(far.cls->props, config, far.cls->name, NULL,
                                   "mode=file,file=image,append"),
                     0);
    return config;
}

static void begin_process(void)
{
    struct vdev_context context = h.context;
    const void *config = make_config();

    cr_assert_lt(far.count, DEATHS_MOST, "%s: its processes die without end", far.cls->name);
    context.id = "far";
    cr_assert_eq(mortal_new(&context, far.cls, config, &far.m[far.count]), 0, "%s: %s",
                 far.cls->name, vm_error_text());
    if (far.cls->placements & VDEV_PROCESS)
        cr_assert_eq(mortal_ledger(far.m[far.count], far.ledger), 0, "%s", vm_error_text());
    if (!far.count)
        mortal_arm(far.m[0], far.place);
    far.count++;
    vm_prop_free(far.cls->props, (void *)(uintptr_t)config);
    free((void *)(uintptr_t)config);
}

static bool needs_process(void)
{
    return !far.count || far.m[far.count - 1]->dead || far.m[far.count - 1]->over;
}

/* The front end looks for a back end. */
static int open_name(void *ctx, const char *name, unsigned how)
{
    int pair[2];

    if (how != VM_OPEN_CONNECT)
        return contract_open_image(ctx, name, how);
    if (needs_process())
        return vm_fail(-ECONNREFUSED, "%s: not yet", name);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(mortal_serve(far.m[far.count - 1], pair[1]), 0, "%s", vm_error_text());
    return pair[0];
}

/* Each round of the loop is a place, too. */
static void pass(uint64_t ns)
{
    uint64_t end = vm_loop_now_ns(h.loop) + ns;

    while (vm_loop_now_ns(h.loop) < end) {
        mortal_place(far.m[0]);
        if (needs_process())
            begin_process();
        cr_assert_geq(vm_loop_step(h.loop, end - vm_loop_now_ns(h.loop)), 0);
    }
}

/* ---- the work ---- */

static void begin(bool packed)
{
    const struct vh_config config = {
        .transport = VH_PCI, .shared = true, .packed = packed, .ram_bytes = CONTRACT_RAM
    };
    const struct virtio_dev *dev;
    char options[128];

    cr_assert_eq(vh_open(&h, &config), 0);
    h.open = open_name;
    begin_process();
    dev = far.m[0]->dev;
    snprintf(options, sizeof(options), "type=%u,socket=/far,queues=%u,config_bytes=%u", dev->id,
             dev->queues, dev->config_bytes);
    cr_assert_eq(vh_create(&h, &vhost_user_class, options), 0, "%s: %s", far.cls->name,
                 vm_error_text());
}

static void start(void)
{
    cr_assert_eq(vh_negotiate(&h, 0), 0);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        cr_assert_eq(vh_queue(&h, n, RING), 0);
    vh_set_status(&h, 15);
    pass(1000000);
}

static gpa_t slot(uint16_t n, unsigned i)
{
    return DATA + (gpa_t)(n * REQUESTS + i) * SLOT;
}

/* A header that begins with two small numbers, bytes to read, bytes to write: to a disk a write or a read of a sector, to others
 * something else. */
static void offer(uint16_t n, unsigned i)
{
    gpa_t at = slot(n, i);
    uint8_t *bytes = h.guest.host + at;
    struct fake_buf bufs[3] = { { at, 16, false },
                                { at + 16, PAYLOAD, false },
                                { at + 1024, PAYLOAD + 1, true } };
    bool reads = i % 2;

    memset(bytes, 0, SLOT);
    bytes[0] = !reads;
    bytes[8] = (uint8_t)(n * REQUESTS + i / 2);
    for (unsigned b = 0; b < PAYLOAD; b++)
        bytes[16 + b] = (uint8_t)(1 + (n * REQUESTS + i) * 31 + b % 97);
    if (reads)
        bufs[1] = bufs[2];
    cr_assert_geq(fake_driver_offer(&h.drv[n], bufs, reads ? 2 : 3), 0);
}

static void offer_half(unsigned first)
{
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        for (unsigned i = first; i < first + REQUESTS / 2; i++)
            offer(n, i);
        cr_assert_eq(vh_kick(&h, n), 0);
    }
}

static void quiet(struct vdev *dev, int code)
{
    (void)dev;
    h.done = true;
    h.code = code;
}

static void grown(void *ctx, int code)
{
    *(int *)ctx = code;
}

/* The machine stands still, gets more memory, and goes on. Who serves the device hears of it first, or is dead. */
static void grow(void)
{
    const struct gm_backing backing = { .kind = GM_MEMFD };
    struct gm_region *more;
    int rc, code = -EINPROGRESS;
    struct gm_change change = { .add = &more, .add_count = 1, .done = grown, .ctx = &code };

    h.done = false;
    rc = vdev_quiesce(h.dev, quiet);
    for (unsigned i = 0; rc == -EINPROGRESS && !h.done && i < 1000; i++)
        pass(10000000);
    cr_assert(!rc || (h.done && !h.code), "%s: place %u: it does not come to rest", far.cls->name,
              far.place);
    cr_assert_eq(gm_region_new(MORE_AT, MORE_BYTES, &backing, &more), 0);
    rc = gm_space_change(h.guest.space, &change);
    for (unsigned i = 0; rc == -EINPROGRESS && code == -EINPROGRESS && i < 1000; i++)
        pass(10000000);
    cr_assert(!rc || !code, "%s: place %u: it gets no more memory", far.cls->name, far.place);
    gm_region_unref(more);
    cr_assert_eq(vdev_resume(h.dev), 0);
}

/* Only of queues that told of it. */
static void collect(struct outcome *o)
{
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        uint32_t len;
        uint16_t id;
        int rc = 0;

        if (!h.drv[n].notified)
            continue;
        h.drv[n].notified = 0;
        while ((rc = fake_driver_collect(&h.drv[n], &id, &len)) > 0)
            if (o->back[n] < REQUESTS)
                o->len[n][o->back[n]++] = len;
        cr_assert_eq(rc, 0, "%s: place %u: queue %u: %s", far.cls->name, far.place, n,
                     h.drv[n].complaint);
    }
}

static void keep(struct outcome *o)
{
    int fd = (int)(intptr_t)h.ctx - 1;
    struct stat st = { 0 };

    memcpy(o->data, h.guest.host + DATA, DATA_BYTES);
    o->random = h.random_asked;
    cr_assert(fd < 0 || !fstat(fd, &st));
    cr_assert_lt(st.st_size, IMAGE_MOST);
    o->image_bytes = (size_t)st.st_size;
    cr_assert(fd < 0 || pread(fd, o->image, o->image_bytes, 0) == st.st_size);
}

static void end(void)
{
    vh_destroy(&h);
    cr_assert_eq(vh_pass(&h, 2000000000), 0);
    for (unsigned i = 0; i < far.count; i++) {
        cr_assert(far.m[i]->over, "%s: place %u: a session without end", far.cls->name, far.place);
        mortal_end(far.m[i]);
    }
    contract_close(&h);
    vm_close(&far.ledger);
}

static void work(const struct vdev_class *cls, bool packed, unsigned place, struct outcome *ret)
{
    memset(&far, 0, sizeof(far));
    memset(ret->back, 0, sizeof(ret->back));
    memset(ret->len, 0, sizeof(ret->len));
    far.cls = cls;
    far.place = place;
    far.ledger = vdev_ledger_new(cls->name);
    cr_assert_geq(far.ledger, 0);
    begin(packed);
    start();
    offer_half(0);
    pass(1000000);
    collect(ret);
    grow();
    offer_half(REQUESTS / 2);
    pass(3000000000);
    collect(ret);
    keep(ret);
    far.places = far.m[0]->places;
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s: place %u", cls->name, place);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        cr_assert_not(fake_driver_pending(&h.drv[n]), "%s: place %u: queue %u: nobody told of it",
                      cls->name, place, n);
    end();
}

/* ---- every place ---- */

static bool same_files(const struct outcome *a, const struct outcome *b)
{
    return a->image_bytes == b->image_bytes && !memcmp(a->image, b->image, a->image_bytes);
}

/* Who asks for random numbers may answer something else each time; all others have one answer. */
static bool same_answers(const struct outcome *a, const struct outcome *b)
{
    return a->random || !memcmp(a->data, b->data, DATA_BYTES);
}

static void dies_everywhere(const struct vdev_class *cls, bool packed)
{
    unsigned places, twice = 0, requests = 0;

    work(cls, packed, 0, &calm);
    places = far.places;
    for (unsigned n = 0; n < VH_QUEUES; n++)
        requests += calm.back[n];
    cr_assert_gt(requests, 0, "%s", cls->name);
    for (unsigned place = 1; place <= places; place++) {
        work(cls, packed, place, &run);
        cr_assert_gt(far.count, 1, "%s: nobody died at place %u", cls->name, place);
        cr_assert_arr_eq(run.back, calm.back, sizeof(run.back), "%s: place %u", cls->name, place);
        cr_assert_arr_eq(run.len, calm.len, sizeof(run.len), "%s: place %u", cls->name, place);
        cr_assert(same_answers(&calm, &run), "%s: place %u: another answer", cls->name, place);
        twice += !same_files(&calm, &run);
        cr_assert(cls->replay == VDEV_REPLAY_MARKED || !twice, "%s: place %u: other effects",
                  cls->name, place);
    }
    cr_assert_leq(twice, requests, "%s: at %u places other effects than without death", cls->name,
                  twice);
}

static void each(bool packed)
{
    for (const struct vdev_class *const *row = vdev_classes; *row; row++)
        if ((*row)->kind == VDEV_VIRTIO && contract_is_mobile(*row))
            dies_everywhere(*row, packed);
}

Test(death_contract, a_process_may_die_at_every_step_of_a_split_ring, .timeout = TEST_TIMEOUT)
{
    each(false);
}

Test(death_contract, a_process_may_die_at_every_step_of_a_packed_ring, .timeout = TEST_TIMEOUT)
{
    each(true);
}
