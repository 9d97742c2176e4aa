/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Notification suppression, both ways. The property: a chain is never left in the ring while nobody
 * is going to look. It is tried with the driver's steps at every one of the device's accesses to
 * the rings, and with two real threads.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fake_queue.h"

enum { SIZE = 8, RAM = 1 << 18, AREAS = 3, NEVER = -1 };

static const uint64_t kinds[] = { 0, VQ_F_EVENT_IDX, VQ_F_RING_PACKED,
                                  VQ_F_RING_PACKED | VQ_F_EVENT_IDX };
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct fake_queue fq;

static void begin(uint64_t features, int turns)
{
    struct fake_buf b = { 0, 4, true };
    struct vq_chain c;
    uint32_t len;
    uint16_t id;

    cr_assert_eq(fake_queue_init(&fq, SIZE, features, RAM), 0);
    for (int i = 0; i < turns; i++) {
        fake_driver_offer(&fq.drv, &b, 1);
        fake_driver_wants_kick(&fq.drv);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        vq_done(&fq.q, &c);
        vq_wants_notify(&fq.q);
        cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    }
    if (turns)
        cr_assert_eq(vq_next(&fq.q, &c), 0);
}

static void end(void)
{
    fake_queue_exit(&fq);
}

static void offer(int n)
{
    struct fake_buf b = { 0, 4, true };

    while (n--)
        cr_assert_geq(fake_driver_offer(&fq.drv, &b, 1), 0);
}

static int serve_all(void)
{
    struct vq_chain c;
    int n;

    for (n = 0; vq_next(&fq.q, &c) == 1; n++)
        cr_assert_eq(vq_done(&fq.q, &c), 0);
    return n;
}

Test(notify, first_chain_of_a_new_ring_is_kicked)
{
    for (size_t k = 0; k < KINDS; k++) {
        begin(kinds[k], 0);
        offer(1);

        cr_assert(fake_driver_wants_kick(&fq.drv));
        end();
    }
}

Test(notify, no_kick_is_wanted_while_the_device_looks)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct vq_chain c;

        begin(kinds[k], 3);
        offer(2);
        fake_driver_wants_kick(&fq.drv);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        offer(1);

        cr_assert_not(fake_driver_wants_kick(&fq.drv));
        end();
    }
}

Test(notify, kick_is_wanted_after_the_device_found_nothing)
{
    for (size_t k = 0; k < KINDS; k++) {
        for (int turns = 0; turns < 3 * SIZE; turns++) {
            begin(kinds[k], turns);
            offer(1);
            serve_all();
            offer(1);

            cr_assert(fake_driver_wants_kick(&fq.drv), "kind %zu after %d", k, turns);
            end();
        }
    }
}

Test(notify, driver_that_wants_no_interrupt_gets_none)
{
    for (size_t k = 0; k < KINDS; k++) {
        begin(kinds[k], 3);
        fake_driver_set_event(&fq.drv, FAKE_EVENT_OFF, 0);
        offer(5);
        serve_all();

        cr_assert_not(vq_wants_notify(&fq.q));
        end();
    }
}

Test(notify, driver_is_interrupted_once_for_a_batch)
{
    for (size_t k = 0; k < KINDS; k++) {
        begin(kinds[k], 3);
        offer(5);
        serve_all();

        cr_assert(vq_wants_notify(&fq.q));
        cr_assert_not(vq_wants_notify(&fq.q));
        end();
    }
}

Test(notify, nothing_used_is_nothing_to_tell)
{
    for (size_t k = 0; k < KINDS; k++) {
        begin(kinds[k], 3);

        cr_assert_not(vq_wants_notify(&fq.q));
        end();
    }
}

Test(notify, event_index_is_met_by_the_entry_it_names_and_no_other)
{
    static const uint64_t kind[] = { VQ_F_EVENT_IDX, VQ_F_EVENT_IDX | VQ_F_RING_PACKED };

    for (size_t k = 0; k < 2; k++) {
        for (int turns = 0; turns < 2 * SIZE; turns++) {
            begin(kind[k], turns);
            fake_driver_set_event(&fq.drv, FAKE_EVENT_AT, 3);
            for (int used = 0; used < 6; used++) {
                offer(1);
                cr_assert_eq(serve_all(), 1);
                cr_assert_eq(vq_wants_notify(&fq.q), used == 3, "kind %zu after %d: %d", k, turns,
                             used);
            }
            end();
        }
    }
}

Test(notify, event_index_is_met_within_a_batch)
{
    static const uint64_t kind[] = { VQ_F_EVENT_IDX, VQ_F_EVENT_IDX | VQ_F_RING_PACKED };

    for (size_t k = 0; k < 2; k++) {
        for (uint16_t at = 0; at < 7; at++) {
            begin(kind[k], 5);
            fake_driver_set_event(&fq.drv, FAKE_EVENT_AT, at);
            offer(5);
            serve_all();

            cr_assert_eq(vq_wants_notify(&fq.q), at < 5);
            end();
        }
    }
}

Test(notify, more_entries_than_an_index_can_tell_apart_are_told)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct fake_buf b = { 0, 4, true };
        uint32_t len;
        uint16_t id;

        begin(kinds[k], 0);
        fake_driver_set_event(&fq.drv, FAKE_EVENT_AT, 0);
        fq.drv.event = FAKE_EVENT_AT;
        for (int i = 0; i < 65536; i++) {
            fake_driver_offer(&fq.drv, &b, 1);
            serve_all();
            fake_driver_collect(&fq.drv, &id, &len);
        }

        cr_assert(vq_wants_notify(&fq.q));
        end();
    }
}

Test(notify, nonsense_in_the_drivers_event_field_does_no_harm)
{
    for (size_t k = 0; k < KINDS; k++) {
        for (uint32_t event = 0; event < 65536; event += 5) {
            begin(kinds[k], 0);
            fake_driver_corrupt_event(&fq.drv, (uint16_t)(event * 7), (uint16_t)event);
            offer(1);
            serve_all();
            vq_wants_notify(&fq.q);

            cr_assert_not(fq.q.broken);
            end();
            event += event > 64 ? 997 : 0;
        }
    }
}

/* The device goes by the view, one access at a time; at two of them the driver does one step each.
 */
struct stage {
    struct gm_iommu iommu;
    int refuse; /* so many lookups of whole areas */
    int accesses, first_at, second_at;
    void (*first)(void), (*second)(void);
};
static struct stage stage;
static bool kicked, seen;

static int watch(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    (void)ctx;
    (void)access;
    (void)ret_len;
    if (stage.refuse) {
        stage.refuse--;
        return -EIO;
    }
    stage.accesses++;
    if (stage.accesses == stage.first_at)
        stage.first();
    if (stage.accesses == stage.second_at)
        stage.second();
    *ret_gpa = iova;
    return 0;
}

static void begin_stage(int first_at, void (*first)(void), int second_at, void (*second)(void))
{
    stage = (struct stage){ .iommu = { .translate = watch },
                            .refuse = AREAS,
                            .first = first,
                            .second = second,
                            .first_at = first_at,
                            .second_at = second_at };
    gm_view_set_iommu(&fq.view, &stage.iommu);
}

/* What the device's turn was too short for comes after it. Returns whether both were in it. */
static bool end_stage(void)
{
    bool inside = stage.second_at <= stage.accesses;

    gm_view_set_iommu(&fq.view, NULL);
    cr_assert_eq(stage.refuse, 0);
    if (stage.first_at > stage.accesses)
        stage.first();
    if (stage.second_at > stage.accesses)
        stage.second();
    return inside;
}

static void step_offer(void)
{
    offer(1);
}
static void step_kick(void)
{
    kicked = fake_driver_wants_kick(&fq.drv);
}
static void step_want_interrupt(void)
{
    fake_driver_set_event(&fq.drv, FAKE_EVENT_ON, 0);
}
static void step_want_interrupt_for_this(void)
{
    fake_driver_set_event(&fq.drv, FAKE_EVENT_AT, 0);
}
static void step_look(void)
{
    seen = fake_driver_pending(&fq.drv);
}

/* Returns false when no step fell into the device's turn: all places were tried. */
static bool try_kick(uint64_t features, int turns, int first, int second)
{
    bool inside;
    int served;

    begin(features, turns);
    offer(1);
    kicked = false;
    fake_driver_wants_kick(&fq.drv);
    begin_stage(first, step_offer, second, step_kick);
    served = serve_all();
    inside = end_stage();
    cr_assert(served == 2 || kicked, "kind 0x%llx after %d chains, steps at %d and %d: kick lost",
              (unsigned long long)features, turns, first, second);
    end();
    return inside;
}

Test(notify, no_kick_is_lost_whenever_the_driver_offers)
{
    int tried = 0;

    for (size_t k = 0; k < KINDS; k++) {
        for (int turns = 0; turns <= 2 * SIZE; turns += 3) {
            for (int first = 1; first < 40; first++) {
                for (int second = first; try_kick(kinds[k], turns, first, second); second++)
                    tried++;
            }
        }
    }
    cr_assert_gt(tried, 500);
}

static bool try_interrupt(uint64_t features, int turns, void (*want)(void), int first, int second)
{
    bool inside, told;

    begin(features, turns);
    fake_driver_set_event(&fq.drv, FAKE_EVENT_OFF, 0);
    offer(1);
    seen = false;
    begin_stage(first, want, second, step_look);
    cr_assert_eq(serve_all(), 1);
    told = vq_wants_notify(&fq.q);
    inside = end_stage();
    cr_assert(seen || told, "kind 0x%llx after %d chains, steps at %d and %d: interrupt lost",
              (unsigned long long)features, turns, first, second);
    end();
    return inside;
}

Test(notify, no_interrupt_is_lost_whenever_the_driver_asks)
{
    int tried = 0;

    for (size_t k = 0; k < KINDS; k++) {
        for (int turns = 0; turns <= 2 * SIZE; turns += 3) {
            for (int first = 1; first < 40; first++) {
                for (int second = first;
                     try_interrupt(kinds[k], turns, step_want_interrupt, first, second); second++)
                    tried++;
                for (int second = first;
                     try_interrupt(kinds[k], turns, step_want_interrupt_for_this, first, second);
                     second++)
                    tried++;
            }
        }
    }
    cr_assert_gt(tried, 1000);
}

/* Two threads: the processor's own reordering. A lost notification stops both for good. */
enum { CHAINS = 20000, PATIENCE_MS = 30000 };
static int kick_fd, call_fd;
static bool stop;

static bool wait_for(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t n;

    return poll(&p, 1, PATIENCE_MS) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void signal_fd(int fd)
{
    uint64_t one = 1;

    cr_assert_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static void *device_thread(void *arg)
{
    struct vq_chain c;

    while (wait_for(kick_fd) && !__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        while (vq_next(&fq.q, &c) == 1) {
            vq_done(&fq.q, &c);
            if (vq_wants_notify(&fq.q))
                signal_fd(call_fd);
        }
    }
    return arg;
}

static void drive(void)
{
    struct fake_buf b = { 0, 4, true };
    uint32_t len, done = 0;
    uint16_t id;
    int rc;

    for (uint32_t i = 0; done < CHAINS; i++) {
        for (uint32_t n = 0; n <= i % 3 && fq.drv.offered < CHAINS; n++)
            fake_driver_offer(&fq.drv, &b, 1);
        if (fake_driver_wants_kick(&fq.drv))
            signal_fd(kick_fd);
        while ((rc = fake_driver_collect(&fq.drv, &id, &len)) == 1)
            done++;
        cr_assert_eq(rc, 0, "%s", fq.drv.complaint);
        if (!fake_driver_in_flight(&fq.drv))
            continue;
        fake_driver_set_event(&fq.drv, i % 2 ? FAKE_EVENT_AT : FAKE_EVENT_ON, 0);
        if (!fake_driver_pending(&fq.drv))
            cr_assert(wait_for(call_fd), "a notification was lost at chain %u", done);
        fake_driver_set_event(&fq.drv, FAKE_EVENT_OFF, 0);
    }
}

Test(notify, two_threads_never_wait_for_each_other)
{
    for (size_t k = 0; k < KINDS; k++) {
        pthread_t thread;

        begin(kinds[k], 0);
        kick_fd = eventfd(0, EFD_CLOEXEC);
        call_fd = eventfd(0, EFD_CLOEXEC);
        stop = false;
        cr_assert_eq(pthread_create(&thread, NULL, device_thread, NULL), 0);

        drive();

        __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
        signal_fd(kick_fd);
        pthread_join(thread, NULL);
        cr_assert_not(fq.q.broken);
        cr_assert_eq(fq.drv.collected, CHAINS);
        close(kick_fd);
        close(call_fd);
        end();
    }
}

/*
 * The barriers themselves: both sides run into the same spot at the same time, again and again.
 * Without one of them the store of either side may still wait in its processor while it looks at
 * what the other one stored.
 */
enum { COLLISIONS = 20000 };
static unsigned here; /* how often a side came to the line */
static bool told_or_taken;

static void line(unsigned turn)
{
    unsigned spins = 0;

    __atomic_add_fetch(&here, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&here, __ATOMIC_ACQUIRE) < 2 * turn) {
        if (++spins > 2000)
            sched_yield();
    }
}

static void *kick_device(void *arg)
{
    struct vq_chain c;
    unsigned turn = 0;

    for (int i = 0; i < COLLISIONS; i++) {
        line(++turn);
        told_or_taken = vq_next(&fq.q, &c) == 1;
        if (told_or_taken)
            vq_done(&fq.q, &c);
        line(++turn);
        if (!told_or_taken && vq_next(&fq.q, &c) == 1)
            vq_done(&fq.q, &c);
        line(++turn);
    }
    return arg;
}

Test(notify, no_kick_is_lost_in_a_collision)
{
    for (size_t k = 0; k < KINDS; k++) {
        unsigned turn = 0, lost = 0;
        pthread_t thread;
        uint32_t len;
        uint16_t id;
        bool kick;

        begin(kinds[k], 1);
        offer(1);
        serve_all();
        fake_driver_wants_kick(&fq.drv);
        fake_driver_collect(&fq.drv, &id, &len);
        here = 0;
        cr_assert_eq(pthread_create(&thread, NULL, kick_device, NULL), 0);
        for (int i = 0; i < COLLISIONS; i++) {
            line(++turn);
            offer(1);
            kick = fake_driver_wants_kick(&fq.drv);
            line(++turn);
            lost += !kick && !told_or_taken;
            line(++turn);
            fake_driver_collect(&fq.drv, &id, &len);
        }
        pthread_join(thread, NULL);

        cr_assert_eq(lost, 0, "kind %zu: %u kicks were lost", k, lost);
        cr_assert_eq(fq.drv.collected, fq.drv.offered);
        end();
    }
}

static void *interrupt_device(void *arg)
{
    struct vq_chain c;
    unsigned turn = 0;

    for (int i = 0; i < COLLISIONS; i++) {
        vq_next(&fq.q, &c);
        line(++turn);
        vq_done(&fq.q, &c);
        told_or_taken = vq_wants_notify(&fq.q);
        line(++turn);
        line(++turn);
    }
    return arg;
}

Test(notify, no_interrupt_is_lost_in_a_collision)
{
    for (size_t k = 0; k < KINDS; k++) {
        unsigned turn = 0, lost = 0;
        pthread_t thread;
        uint32_t len;
        uint16_t id;
        bool found;

        begin(kinds[k], 1);
        here = 0;
        fake_driver_set_event(&fq.drv, FAKE_EVENT_OFF, 0);
        offer(1);
        cr_assert_eq(pthread_create(&thread, NULL, interrupt_device, NULL), 0);
        for (int i = 0; i < COLLISIONS; i++) {
            line(++turn);
            fake_driver_set_event(&fq.drv, FAKE_EVENT_AT, 0);
            found = fake_driver_pending(&fq.drv);
            line(++turn);
            lost += !found && !told_or_taken;
            fake_driver_set_event(&fq.drv, FAKE_EVENT_OFF, 0);
            fake_driver_collect(&fq.drv, &id, &len);
            if (i + 1 < COLLISIONS)
                offer(1);
            line(++turn);
        }
        pthread_join(thread, NULL);

        cr_assert_eq(lost, 0, "kind %zu: %u interrupts were lost", k, lost);
        cr_assert_eq(fq.drv.collected, fq.drv.offered);
        end();
    }
}
