/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A queue's state: what is loaded goes on as if nothing had happened, and nonsense is refused. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "fake_queue.h"

enum { SIZE = 8, RAM = 1 << 17, BUF = 0x10000, STEPS = 60 };

static const uint64_t kinds[] = {
    0, VQ_F_EVENT_IDX, VQ_F_IN_ORDER, VQ_F_RING_PACKED, VQ_F_RING_PACKED | VQ_F_EVENT_IDX,
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct fake_queue fq;

static void begin(uint64_t features)
{
    cr_assert_eq(fake_queue_init(&fq, SIZE, features, RAM), 0);
}

static void end(void)
{
    fake_queue_exit(&fq);
}

/* The device dies and comes back in another process. */
static void replace(uint64_t features)
{
    struct vq_state s;

    vq_save(&fq.q, &s);
    vq_exit(&fq.q);
    cr_assert_eq(vq_init(&fq.q, &fq.view, SIZE), 0);
    cr_assert_eq(vq_load(&fq.q, features, &s), 0, "%s", vm_error_text());
}

/* Plays a fixed script; the device is replaced before step `at`. */
static void play(uint64_t features, int at, uint8_t *ret_ram)
{
    struct fake_buf b[3] = { { BUF, 4, false }, { BUF + 64, 4, true }, { BUF + 128, 4, true } };
    uint32_t len;
    uint16_t id;
    struct vq_chain c;

    begin(features);
    for (int i = 0; i < STEPS; i++) {
        if (i == at)
            replace(features);
        switch (i % 5) {
        case 0: fake_driver_offer(&fq.drv, b, 2); break;
        case 1: fake_driver_offer(&fq.drv, b, 3); break;
        case 4:
            while (fake_driver_collect(&fq.drv, &id, &len) == 1)
                ;
            break;
        default:
            if (vq_next(&fq.q, &c) == 1) {
                vq_push(&fq.q, &c, &i, 4);
                vq_done(&fq.q, &c);
            }
            vq_wants_notify(&fq.q);
        }
    }
    cr_assert_null(fq.drv.complaint);
    cr_assert_eq(fq.drv.collected, fq.drv.offered);
    memcpy(ret_ram, fq.guest.host, RAM);
    end();
}

Test(state, queue_loaded_at_any_step_goes_on_the_same)
{
    static uint8_t undisturbed[RAM], other[RAM];

    for (size_t k = 0; k < KINDS; k++) {
        play(kinds[k], -1, undisturbed);
        for (int at = 0; at < STEPS; at++) {
            play(kinds[k], at, other);

            cr_assert(!memcmp(undisturbed, other, RAM), "kind %zu at %d", k, at);
        }
    }
}

Test(state, save_of_what_was_loaded_is_the_same)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct vq_state before = { 0 }, after = { 0 };
        struct fake_buf b = { BUF, 4, true };
        struct vq_chain c;

        begin(kinds[k]);
        fake_driver_offer(&fq.drv, &b, 1);
        vq_next(&fq.q, &c);
        vq_done(&fq.q, &c);
        vq_save(&fq.q, &before);
        vq_stop(&fq.q);
        cr_assert_eq(vq_load(&fq.q, kinds[k], &before), 0);
        vq_save(&fq.q, &after);

        cr_assert_eq(before.desc, after.desc);
        cr_assert_eq(before.driver, after.driver);
        cr_assert_eq(before.device, after.device);
        cr_assert_eq(before.size, after.size);
        cr_assert_eq(before.next_avail, after.next_avail);
        cr_assert_eq(before.next_used, after.next_used);
        cr_assert_eq(before.avail_wrap, after.avail_wrap);
        cr_assert_eq(before.used_wrap, after.used_wrap);
        cr_assert_eq(before.started, after.started);
        end();
    }
}

Test(state, first_answer_after_loading_is_to_notify)
{
    begin(VQ_F_EVENT_IDX);
    replace(VQ_F_EVENT_IDX);

    cr_assert(vq_wants_notify(&fq.q));
    cr_assert_not(vq_wants_notify(&fq.q));
    end();
}

Test(state, broken_queue_stays_broken_without_looking_at_its_ring)
{
    struct vq_state s;
    struct vq_chain c;

    begin(0);
    vq_break(&fq.q, "test", 0);
    vq_save(&fq.q, &s);
    vq_stop(&fq.q);
    s.desc = 3;
    s.next_avail = 99;

    cr_assert_eq(vq_load(&fq.q, 0, &s), 0);

    cr_assert(fq.q.broken);
    cr_assert(fq.q.started);
    cr_assert_not_null(fq.q.why);
    cr_assert_eq(vq_next(&fq.q, &c), 0);
    end();
}

Test(state, stopped_queue_stays_stopped)
{
    struct vq_state s;

    begin(0);
    vq_stop(&fq.q);
    vq_save(&fq.q, &s);

    cr_assert_eq(vq_load(&fq.q, 0, &s), 0);

    cr_assert_not(fq.q.started);
    cr_assert_eq(fq.q.desc, fq.drv.desc);
    end();
}

Test(state, running_queue_loads_nothing)
{
    struct vq_state s;

    begin(0);
    vq_save(&fq.q, &s);

    cr_assert_eq(vq_load(&fq.q, 0, &s), -EINVAL);

    cr_assert(fq.q.started);
    end();
}

/* Each of these is one field of a good state made wrong. */
static void refuse(uint64_t features, const struct vq_state *bad, const char *text)
{
    cr_assert_eq(vq_load(&fq.q, features, bad), -EINVAL, "%s", text);
    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    cr_assert_not(fq.q.started);
    cr_assert_eq(fq.q.desc, 0);
    cr_assert_eq(fq.q.size, SIZE);
}

Test(state, nonsense_is_refused)
{
    struct vq_state good, s;

    begin(0);
    vq_save(&fq.q, &good);
    vq_stop(&fq.q);

    s = good;
    s.size = 0;
    refuse(0, &s, "size 0");
    s.size = 3;
    refuse(0, &s, "power of two");
    s.size = 2 * SIZE;
    refuse(0, &s, "size 16 is above 8");
    s = good;
    s.desc = RAM;
    refuse(0, &s, "descriptor area");
    s = good;
    s.driver = UINT64_MAX - 1;
    refuse(0, &s, "driver area");
    s = good;
    s.device |= 1;
    refuse(0, &s, "device area");
    s = good;
    s.next_avail = 5;
    refuse(0, &s, "in flight");
    end();
}

Test(state, nonsense_about_a_packed_ring_is_refused)
{
    struct vq_state good, s;

    begin(VQ_F_RING_PACKED);
    vq_save(&fq.q, &good);
    vq_stop(&fq.q);

    s = good;
    s.next_avail = s.next_used = SIZE;
    refuse(VQ_F_RING_PACKED, &s, "positions 8 and 8");
    s = good;
    s.used_wrap = false;
    refuse(VQ_F_RING_PACKED, &s, "wrap counters");
    end();
}
