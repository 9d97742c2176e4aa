/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the balloon: what it is told and tells: size, statistics, hints, state. */
#include "virtio_balloon_test.h"

enum { STATS = 0x310000 };

Test(virtio_balloon_talk, the_size_is_what_the_driver_is_asked_for)
{
    balloon_start("size=4M", 0);

    cr_assert_eq(le32_get(balloon_space().num_pages), 1024);
    cr_assert_eq(le32_get(balloon_space().actual), 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, another_size_is_told_while_the_guest_runs)
{
    unsigned before;

    balloon_start(NULL, 0);
    before = balloon_h.config_interrupts;

    cr_assert_eq(balloon_set("size=2M"), 0, "%s", vm_error_text());
    vh_idle(&balloon_h);

    cr_assert_eq(le32_get(balloon_space().num_pages), 512);
    cr_assert_eq(balloon_h.config_interrupts, before + 1);
    cr_assert_eq(balloon()->count.target, 2 << 20);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, a_size_that_the_guest_does_not_have_is_refused)
{
    cr_assert_eq(balloon_make((struct vh_config){ .transport = VH_PCI }, "size=65M"), -ERANGE);
    cr_assert(strstr(vm_error_text(), "size=65M is more than the guest's memory, 64M"), "%s",
              vm_error_text());
    vh_close(&balloon_h);
    cr_assert_eq(balloon_make((struct vh_config){ .transport = VH_PCI }, "size=5000"), -EINVAL);
    vh_close(&balloon_h);

    balloon_start(NULL, 0);
    cr_assert_eq(balloon_set("size=65540K"), -ERANGE);
    cr_assert_eq(balloon_set("size=1"), -EINVAL);
    cr_assert_eq(balloon_set("deflate_on_oom=on"), -ENOTSUP);
    cr_assert_eq(le32_get(balloon_space().num_pages), 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, the_driver_says_how_much_is_in_it_and_an_event_when_that_is_all)
{
    balloon_start("size=1M", 0);

    balloon_write(offsetof(struct virtio_balloon_space, actual), 255);
    cr_assert_eq(balloon_h.events, 0);
    balloon_write(offsetof(struct virtio_balloon_space, actual), 256);

    cr_assert_eq(balloon_h.events, 1);
    cr_assert_eq(balloon_h.event, VDEV_EVENT_BALLOON);
    cr_assert_eq(balloon_h.event_value, 256);
    cr_assert_eq(balloon()->count.actual, 1 << 20);
    cr_assert_eq(le32_get(balloon_space().actual), 256);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, what_the_guest_takes_for_want_of_memory_is_an_event_and_a_flood_is_not)
{
    balloon_start("size=1M,deflate_on_oom=on", 0);
    cr_assert(vh_offered(&balloon_h) & VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    balloon_write(offsetof(struct virtio_balloon_space, actual), 256);

    for (unsigned i = 255; i > 155; i--)
        balloon_write(offsetof(struct virtio_balloon_space, actual), i);

    cr_assert_eq(balloon_h.events, 10);
    cr_assert_eq(balloon_h.event_value, 247);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, the_driver_writes_its_own_fields_only)
{
    balloon_start("size=1M", 0);

    balloon_write(0, 77);
    balloon_write(offsetof(struct virtio_balloon_space, free_page_hint_cmd_id), 78);

    cr_assert_eq(le32_get(balloon_space().num_pages), 256);
    cr_assert_eq(le32_get(balloon_space().free_page_hint_cmd_id), 0);
    vh_close(&balloon_h);
}

/* ---- statistics ---- */

static void put_stat(unsigned i, uint16_t tag, uint64_t value)
{
    struct le16 raw_tag = le16_make(tag);
    struct le64 raw = le64_make(value);
    uint8_t *at = balloon_h.guest.host + STATS + (uint64_t)i * 10;

    memcpy(at, &raw_tag, sizeof(raw_tag));
    memcpy(at + 2, &raw, sizeof(raw));
}

/* As the driver does: one buffer, always. True: the one before came back. */
static bool offer_stats(uint32_t bytes)
{
    struct fake_buf b = { STATS, bytes, false };
    struct fake_driver *drv = &balloon_h.drv[VIRTIO_BALLOON_STATS];

    cr_assert_geq(fake_driver_offer(drv, &b, 1), 0);
    return vh_serve(&balloon_h, VIRTIO_BALLOON_STATS) == 0;
}

static bool came_back(void)
{
    uint16_t id;
    uint32_t len;

    return fake_driver_collect(&balloon_h.drv[VIRTIO_BALLOON_STATS], &id, &len) > 0;
}

Test(virtio_balloon_talk, statistics_are_read_and_their_buffer_is_kept)
{
    balloon_start(NULL, 0);
    put_stat(0, 5, 1000);
    put_stat(1, 99, 1); /* not known */
    put_stat(2, 4, 400);

    offer_stats(30);

    cr_assert(!came_back());
    cr_assert_eq(balloon()->count.stat[5], 1000);
    cr_assert_eq(balloon()->count.stat[4], 400);
    cr_assert_eq(balloon()->count.stats_given, 1 << 5 | 1 << 4);
    cr_assert_eq(balloon()->count.stats_answers, 1);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, statistics_that_are_asked_for_come_with_the_next_buffer)
{
    const uint64_t *answers;

    balloon_start(NULL, 0);
    put_stat(0, 4, 1);
    offer_stats(10);

    cr_assert_eq(vdev_refresh(balloon_h.dev, &answers), 0);
    vh_idle(&balloon_h);
    cr_assert(came_back());
    cr_assert_eq(*answers, 1);
    put_stat(0, 4, 2);
    offer_stats(10);

    cr_assert(!came_back());
    cr_assert_eq(*answers, 2);
    cr_assert_eq(balloon()->count.stat[4], 2);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, statistics_are_asked_for_by_the_clock_and_not_without_an_interval)
{
    balloon_start("stats_interval=2", 0);
    offer_stats(10);

    vh_pass(&balloon_h, 1900000000ULL);
    cr_assert(!came_back());
    vh_pass(&balloon_h, 200000000ULL);
    cr_assert(came_back());
    offer_stats(10);
    cr_assert_eq(balloon_set("stats_interval=0"), 0);
    vh_pass(&balloon_h, 60000000000ULL);

    cr_assert(!came_back());
    cr_assert_eq(balloon_set("stats_interval=1"), 0);
    vh_pass(&balloon_h, 1100000000ULL);
    cr_assert(came_back());
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, without_a_driver_there_are_no_statistics)
{
    const uint64_t *answers;

    cr_assert_eq(balloon_make((struct vh_config){ .transport = VH_PCI }, NULL), 0);
    cr_assert_eq(vdev_refresh(balloon_h.dev, &answers), -EAGAIN);
    vh_close(&balloon_h);

    balloon_start(NULL, VIRTIO_BALLOON_F_MUST_TELL_HOST);
    cr_assert_eq(vdev_refresh(balloon_h.dev, &answers), -EAGAIN);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, a_buffer_with_half_an_entry_or_far_too_many_is_no_harm)
{
    balloon_start(NULL, 0);
    put_stat(0, 4, 7);

    offer_stats(19);
    cr_assert_eq(balloon()->count.stat[4], 7);
    cr_assert_eq(vdev_refresh(balloon_h.dev, &(const uint64_t *){ NULL }), 0);
    vh_idle(&balloon_h);
    cr_assert(came_back());
    offer_stats(0x100000);

    cr_assert_eq(balloon()->count.stats_answers, 2);
    vh_close(&balloon_h);
}

/* ---- hints ---- */

static uint32_t command(void)
{
    return le32_get(balloon_space().free_page_hint_cmd_id);
}

static int send_command(uint32_t id)
{
    struct fake_buf b = { BALLOON_LIST, 4, false };
    struct le32 raw = le32_make(id);

    memcpy(balloon_h.guest.host + BALLOON_LIST, &raw, sizeof(raw));
    return vh_request(&balloon_h, VIRTIO_BALLOON_HINT, &b, 1);
}

static int hint(uint64_t addr, uint32_t len)
{
    struct fake_buf b = { addr, len, true };

    return vh_request(&balloon_h, VIRTIO_BALLOON_HINT, &b, 1);
}

Test(virtio_balloon_talk, a_session_of_hints_begins_counts_and_ends)
{
    uint32_t id;

    balloon_start(NULL, 0);
    balloon_fill(0x400, 2);
    cr_assert_eq(command(), VIRTIO_BALLOON_CMD_STOP);

    cr_assert_eq(balloon_set("free_page_hinting=on"), 0, "%s", vm_error_text());
    id = command();
    cr_assert_geq(id, VIRTIO_BALLOON_CMD_FIRST);
    cr_assert_eq(send_command(id), 0);
    cr_assert_eq(hint(0x400000, 8192), 0);
    cr_assert_eq(send_command(VIRTIO_BALLOON_CMD_STOP), 0);

    cr_assert_eq(command(), VIRTIO_BALLOON_CMD_DONE);
    cr_assert_eq(balloon()->count.hinted, 8192);
    cr_assert_eq(balloon()->count.hints, 1);
    cr_assert_eq(balloon_byte(0x400), BALLOON_FILL); /* it may have been written to since */
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, hints_of_another_session_are_ignored)
{
    balloon_start(NULL, 0);
    cr_assert_eq(balloon_set("free_page_hinting=on"), 0);

    hint(0x400000, 4096); /* no id yet */
    send_command(command() + 5);
    hint(0x400000, 4096);
    cr_assert_eq(balloon()->count.hinted, 0);
    send_command(command());
    cr_assert_eq(balloon_set("free_page_hinting=off"), 0);
    hint(0x400000, 4096);

    cr_assert_eq(command(), VIRTIO_BALLOON_CMD_DONE);
    cr_assert_eq(balloon()->count.hinted, 0);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, each_session_has_an_id_of_its_own)
{
    uint32_t first;

    balloon_start(NULL, 0);
    cr_assert_eq(balloon_set("free_page_hinting=on"), 0);
    first = command();

    cr_assert_eq(balloon_set("free_page_hinting=on"), 0);

    cr_assert_neq(command(), first);
    balloon()->s.last_command = UINT32_MAX;
    cr_assert_eq(balloon_set("free_page_hinting=on"), 0);
    cr_assert_eq(command(), VIRTIO_BALLOON_CMD_FIRST);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, without_a_driver_there_are_no_hints)
{
    cr_assert_eq(balloon_make((struct vh_config){ .transport = VH_PCI }, NULL), 0);

    cr_assert_eq(balloon_set("free_page_hinting=on"), -EAGAIN);

    cr_assert(strstr(vm_error_text(), "no driver that hints"), "%s", vm_error_text());
    cr_assert_eq(balloon_set("free_page_hinting=off"), 0);
    vh_close(&balloon_h);
}

/* ---- life ---- */

Test(virtio_balloon_talk, a_reset_empties_it_and_keeps_the_size_it_is_to_have)
{
    const uint32_t page = 0x400;

    balloon_start(NULL, 0);
    cr_assert_eq(balloon_set("size=1M"), 0);
    balloon_send(VIRTIO_BALLOON_INFLATE, &page, 1);
    balloon_write(offsetof(struct virtio_balloon_space, actual), 1);

    vh_reset(&balloon_h, 1000);
    cr_assert_eq(le32_get(balloon_space().actual), 0);
    cr_assert_eq(vh_start(&balloon_h, 0), 0);
    balloon_send(VIRTIO_BALLOON_INFLATE, &page, 1);

    cr_assert_eq(balloon()->count.refused, 0);
    cr_assert_eq(le32_get(balloon_space().num_pages), 256);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, after_a_load_pages_that_are_not_known_come_out)
{
    struct vm_buffer state = { 0 };
    const uint32_t page = 0x400;

    balloon_start("size=1M", 0);
    balloon_send(VIRTIO_BALLOON_INFLATE, &page, 1);
    balloon_write(offsetof(struct virtio_balloon_space, actual), 1);
    cr_assert_eq(vh_quiesce(&balloon_h), 0);
    cr_assert_eq(vh_save(&balloon_h, &state), 0);
    cr_assert_eq(balloon_set("size=2M"), 0);
    virtio_balloon_forget(balloon());

    cr_assert_eq(vh_load(&balloon_h, state.data, state.len), 0, "%s", vm_error_text());
    cr_assert_eq(vdev_resume(balloon_h.dev), 0);

    cr_assert_eq(balloon_send(VIRTIO_BALLOON_DEFLATE, &page, 1), 0);
    cr_assert_eq(balloon()->count.refused, 0);
    cr_assert_eq(balloon()->s.target, 256);
    cr_assert_eq(balloon()->s.actual, 1);
    vm_buffer_free(&state);
    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, a_state_that_cannot_be_is_refused)
{
    struct virtio_balloon_state s = { .target = BALLOON_PAGES + 1 };

    balloon_start(NULL, 0);

    cr_assert_eq(balloon()->dev.ops->load(&balloon()->dev, &s), -EINVAL);
    s = (struct virtio_balloon_state){ .hinting = VIRTIO_BALLOON_TAKING + 1 };
    cr_assert_eq(balloon()->dev.ops->load(&balloon()->dev, &s), -EINVAL);

    vh_close(&balloon_h);
}

Test(virtio_balloon_talk, where_memory_is_pinned_there_is_no_balloon)
{
    const struct vh_config c = { .transport = VH_PCI };

    cr_assert_eq(vh_open(&balloon_h, &c), 0);
    cr_assert_eq(gm_pin_begin(balloon_h.guest.space, "vfio0"), 0);

    cr_assert_eq(vh_create(&balloon_h, &virtio_balloon_class, NULL), -EBUSY);

    cr_assert(strstr(vm_error_text(), "discards guest pages, but vfio0 pins them"), "%s",
              vm_error_text());
    gm_pin_end(balloon_h.guest.space, "vfio0");
    cr_assert_eq(vh_create(&balloon_h, &virtio_balloon_class, NULL), 0);
    cr_assert_eq(gm_pin_begin(balloon_h.guest.space, "vfio0"), -EBUSY);
    vh_destroy(&balloon_h);
    cr_assert_eq(gm_pin_begin(balloon_h.guest.space, "vfio0"), 0);
    gm_pin_end(balloon_h.guest.space, "vfio0");
    vh_close(&balloon_h);
}

/* ---- while the host works, the lock is free ---- */

Test(virtio_balloon_talk, who_comes_while_the_host_works_waits_for_it)
{
    balloon_start(NULL, 0);
    balloon()->working = VIRTIO_BALLOON_INFLATE + 1;

    cr_assert_eq(balloon()->dev.ops->stop(&balloon()->dev), -EINPROGRESS);
    cr_assert_eq(balloon()->dev.ops->quiesce(&balloon()->dev), -EINPROGRESS);
    cr_assert_eq(balloon()->dev.ops->queue_stop(&balloon()->dev, VIRTIO_BALLOON_INFLATE),
                 -EINPROGRESS);
    cr_assert_eq(balloon()->dev.ops->queue_stop(&balloon()->dev, VIRTIO_BALLOON_DEFLATE), 0);

    balloon()->working = 0;
    cr_assert_eq(balloon()->dev.ops->stop(&balloon()->dev), 0);
    vh_close(&balloon_h);
}
