/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end when its back end goes away, comes back, or lies. */
#include "front_test.h"

#include <fcntl.h>

static void quit(void)
{
    ft_close();
}

static void lose(void)
{
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

/* Enough for the next attempt. */
static void come_back(void)
{
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
}

static bool needs_reset(void)
{
    return vh_status(&ft.h) & VIRTIO_NEEDS_RESET;
}

/* As a back end does that has used so many chains. */
static void set_used_index(uint16_t n, uint16_t index)
{
    memcpy(ft.h.guest.host + ft.h.drv[n].device + 2, &index, sizeof(index));
}

/* ---- away and back ---- */

Test(front_lost, the_guest_sees_nothing_when_the_back_end_goes_away, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.absences = 1000;

    lose();
    cr_assert_eq(vh_pass(&ft.h, 600 * SECOND), 0);

    cr_assert_not(needs_reset());
    cr_assert(vh_logged(&ft.h, "the back end is gone: the peer has closed the vhost-user socket"));
    cr_assert_lt(ft.connects, 620); /* not more than one attempt a second in the long run */
}

Test(front_lost, one_that_comes_back_gets_everything_again, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    vm_eventfd_take(ft.back.ring[0].kick); /* the first one has seen what there was */

    lose();
    come_back();

    cr_assert_eq(ft.back.table.count, 1);
    cr_assert(ft.back.ring[0].enabled);
    cr_assert(ft.back.ring[1].enabled);
    cr_assert_gt(vm_eventfd_take(ft.back.ring[0].kick), 0);
}

Test(front_lost, split_rings_go_on_at_the_used_index, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    set_used_index(1, 300);

    lose();
    come_back();

    cr_assert_eq(ft.back.ring[0].base, 0);
    cr_assert_eq(ft.back.ring[1].base, 300);
}

Test(front_lost, the_log_of_requests_in_flight_outlives_the_back_end, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft_run();

    lose();
    come_back();

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_INFLIGHT_FD), 0); /* of the second one */
    cr_assert_gt(ft.back.inflight.mmap_size, 0);
}

Test(front_lost, kicks_while_it_is_away_are_not_lost, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.absences = 3;
    lose();

    cr_assert_eq(vh_kick(&ft.h, 1), 0);
    come_back();

    cr_assert_gt(vm_eventfd_take(ft.back.ring[1].kick), 0);
}

Test(front_lost, the_device_can_be_reset_while_it_is_away, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.absences = 1000;
    lose();

    cr_assert_eq(vh_reset(&ft.h, 1), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);
    ft.absences = 0;
    come_back();

    cr_assert(ft.back.ring[0].enabled);
    cr_assert_eq(ft.back.ring[0].base, 0);
}

Test(front_lost, a_pause_and_a_resume_work_while_it_is_away, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.absences = 3;
    lose();

    cr_assert_eq(vh_quiesce(&ft.h), 0);
    come_back();
    come_back();
    cr_assert_not(ft.back.ring[0].enabled); /* it came during the pause */
    cr_assert_eq(vdev_resume(&ft_dev()->dev), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(ft.back.ring[0].enabled);
}

Test(front_lost, it_may_go_away_while_it_is_asked_to_stop, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.silent = VHOST_USER_GET_VRING_BASE;
    cr_assert_eq(vh_set_status(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    lose();

    cr_assert_eq(vh_status(&ft.h), 0);
}

Test(front_lost, patience_ends_where_the_user_has_said_so, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.setup.reconnect_ns = 10 * SECOND;
    ft_run();
    ft.absences = 1000;
    lose();

    cr_assert_eq(vh_pass(&ft.h, 9 * SECOND), 0);
    cr_assert_not(needs_reset());
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
    cr_assert(needs_reset());
}

Test(front_lost, after_that_a_reset_and_a_new_back_end_still_help, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.setup.reconnect_ns = SECOND;
    ft_run();
    ft.absences = 10;
    lose();
    cr_assert_eq(vh_pass(&ft.h, 5 * SECOND), 0);
    cr_assert(needs_reset());

    cr_assert_eq(vh_reset(&ft.h, 1), 0);
    cr_assert_eq(vh_pass(&ft.h, 20 * SECOND), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);

    cr_assert_not(needs_reset());
    cr_assert(ft.back.ring[0].enabled);
}

Test(front_lost, without_a_name_to_connect_to_there_is_no_second_one, .fini = quit)
{
    int pair[2];

    ft_open_all(VH_PCI);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(fbe_serve(&ft.back, pair[1]), 0);
    ft.setup.fd = pair[0];
    ft.setup.socket = NULL;
    ft_run();

    lose();

    cr_assert(needs_reset());
    cr_assert_eq(vh_reset(&ft.h, 1), 0);
}

/* ---- another one ---- */

Test(front_lost, one_with_fewer_features_is_sent_away_and_the_right_one_taken, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.features &= ~1ULL;
    lose();
    come_back();
    cr_assert_eq(ft.back.ring[0].size, 0);
    cr_assert(vh_logged(&ft.h, "the back end lacks features 0x1 that the driver uses"));

    ft.back.features = FT_FEATURES;
    come_back();

    cr_assert_eq(ft.back.ring[0].size, 64);
    cr_assert_not(needs_reset());
}

Test(front_lost, one_with_fewer_queues_is_sent_away, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.queues = 1;

    lose();
    come_back();

    cr_assert_eq(ft.back.ring[0].size, 0);
    cr_assert(vh_logged(&ft.h, "the back end has 1 queues, the device 2"));
}

Test(front_lost, one_with_another_config_size_is_sent_away, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.config_bytes = 4;

    lose();
    come_back();

    cr_assert_eq(ft.back.ring[0].size, 0);
}

Test(front_lost, one_with_other_config_bytes_tells_the_guest, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.config[3] = '!';

    lose();
    come_back();

    cr_assert_eq(ft.h.vector_count[0], 1);
}

/* Offset 32 of a disk's config space: writeback (VIRTIO 1.2, 5.2.4). */
Test(front_lost, what_the_driver_chose_for_a_disks_cache_is_told_to_the_next_one, .fini = quit)
{
    uint8_t now = 0xff;

    ft_open_all(VH_PCI);
    ft.setup.config_bytes = ft.back.config_bytes = 60;
    ft.setup.chosen = (struct virtio_span){ 32, 1 };
    ft.back.config[32] = 1;
    ft_run();
    vh_config_write(&ft.h, 32, "\0", 1);
    cr_assert_eq(vh_idle(&ft.h), 0);

    lose();
    memset(&ft.back.set_config, 0xee, sizeof(ft.back.set_config));
    come_back();

    cr_assert_eq(ft.back.set_config.offset, 32);
    cr_assert_eq(ft.back.set_config.size, 1);
    cr_assert_eq(ft.back.set_config.bytes[0], 0);
    vh_config_read(&ft.h, 32, &now, 1);
    cr_assert_eq(now, 0);
}

static int still_there(struct vhost_front *front)
{
    (void)front;
    return -EINPROGRESS;
}

Test(front_lost, a_reset_lasts_until_who_is_gone_cannot_write_any_more, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.ops.gone = still_there;
    ft_run();
    ft.absences = 1000;

    lose();
    cr_assert_eq(vh_reset(&ft.h, 0), -ETIMEDOUT);
    vhost_front_still_now(ft.front);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(vh_status(&ft.h), 0);
}

Test(front_lost, and_a_reset_forgets_it, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.setup.config_bytes = ft.back.config_bytes = 60;
    ft_run();
    vh_config_write(&ft.h, 32, "\1", 1);
    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);

    lose();
    memset(&ft.back.set_config, 0xee, sizeof(ft.back.set_config));
    come_back();

    cr_assert_eq(ft.back.set_config.offset, 0xeeeeeeee);
}

Test(front_lost, one_without_a_log_is_no_successor_where_rings_are_packed, .fini = quit)
{
    struct vh_config config = { .transport = VH_PCI, .shared = true, .packed = true };

    ft_open_with(&config);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft_run();
    cr_assert(ft.h.features & VQ_F_RING_PACKED);
    ft.back.protocol &= ~VHOST_PROTOCOL(INFLIGHT_SHMFD);

    lose();
    come_back();

    cr_assert_eq(ft.back.ring[0].size, 0);
    cr_assert(vh_logged(&ft.h, "keeps no log of requests in flight, which packed rings need"));
}

Test(front_lost, a_log_that_one_back_end_did_not_keep_is_not_the_next_ones, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft_run();
    ft.back.protocol &= ~VHOST_PROTOCOL(INFLIGHT_SHMFD);
    lose();
    come_back();
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);

    lose();
    come_back();

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_INFLIGHT_FD), 1);
}

Test(front_lost, what_was_finished_after_the_connection_had_ended_is_not_done_again, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.absences = 1;
    lose();

    set_used_index(0, 5);
    come_back();

    cr_assert_eq(ft.back.ring[0].base, 5);
}

Test(front_lost, the_machine_takes_the_next_ones_calls, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.h.config.takes_calls = true;
    ft_run();
    lose();
    come_back();

    cr_assert_eq(ft.h.calls, 2);
    vm_eventfd_signal(ft.back.ring[1].call);
    cr_assert_eq(vm_eventfd_take(ft.h.call[1].fd), 1);
    cr_assert_eq(ft.h.call[1].msi.data, VH_MSI_DATA + 2);
}

static void check_own_events(enum vh_transport transport)
{
    int kick, call;

    ft_open_all(transport);
    ft_run();
    kick = dup(ft.back.ring[1].kick);
    call = dup(ft.back.ring[1].call);
    lose();
    come_back();
    vm_eventfd_take(kick);
    vm_eventfd_take(ft.back.ring[1].kick);
    memset(ft.h.vector_count, 0, sizeof(ft.h.vector_count));

    cr_assert_eq(vh_kick(&ft.h, 1), 0);
    vm_eventfd_signal(call);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(vm_eventfd_take(kick), 0);
    cr_assert_eq(vm_eventfd_take(ft.back.ring[1].kick), 1);
    cr_assert_eq(ft.h.vector_count[2], 0);
    close(kick);
    close(call);
}

Test(front_lost, eventfds_that_the_last_one_kept_are_nobodys, .fini = quit)
{
    check_own_events(VH_PCI);
}

Test(front_lost, nor_are_they_with_registers_in_memory, .fini = quit)
{
    check_own_events(VH_MMIO_BUS);
}

Test(front_lost, a_call_that_was_not_looked_at_is_told_when_its_connection_ends, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.h.vector_count[2] = 0;
    lose();

    cr_assert_eq(ft.h.vector_count[2], 1);
    ft.h.vector_count[2] = 0;
    come_back(); /* what it finished since then */
    cr_assert_eq(ft.h.vector_count[2], 1);
}

/* ---- lies ---- */

/* O_NONBLOCK is the eventfd's own, and the back end has it. */
Test(front_lost, a_doorbell_that_the_back_end_filled_and_made_wait_holds_nobody_up, .fini = quit)
{
    uint64_t full = UINT64_MAX - 1;
    int kick;

    ft_open_all(VH_PCI);
    ft.h.config.refuse_doorbells = true;
    ft_run();
    kick = dup(ft.back.ring[0].kick);
    vm_eventfd_take(kick);
    cr_assert_eq(write(kick, &full, sizeof(full)), sizeof(full));
    cr_assert_eq(fcntl(kick, F_SETFL, 0), 0);

    cr_assert_eq(vh_kick(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0); /* or the test's time runs out */
    lose();
    come_back();

    cr_assert(ft.back.ring[0].enabled);
    close(kick);
}

Test(front_lost, calls_that_the_back_end_took_back_hold_nobody_up, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    cr_assert_eq(fcntl(ft.back.ring[0].call, F_SETFL, 0), 0);

    vm_eventfd_signal(ft.back.ring[0].call);
    vm_eventfd_signal(ft.back.ring[0].err);
    cr_assert_eq(vm_eventfd_take(ft.back.ring[0].call), 1); /* blocks not: it is there */
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

Test(front_lost, a_reply_to_another_request_ends_the_connection, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.swaps = VHOST_USER_GET_VRING_BASE;

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    cr_assert(vh_logged(&ft.h, "a reply where that to request 11 was awaited"));
}

Test(front_lost, a_reply_that_nobody_awaits_ends_the_connection, .fini = quit)
{
    struct vhost_message m = { .request = VHOST_USER_GET_FEATURES, .flags = 5, .size = 8 };

    ft_open_all(VH_PCI);
    ft_run();
    cr_assert_eq(vhost_channel_send(ft.back.channel, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(vh_logged(&ft.h, "GET_FEATURES: a reply that nobody awaits"));
}

Test(front_lost, a_refused_message_ends_the_connection_with_its_name, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.refuses = VHOST_USER_SET_MEM_TABLE;

    ft_run();

    cr_assert(vh_logged(&ft.h, "the back end refuses SET_MEM_TABLE (0x1)"));
}

Test(front_lost, one_that_always_refuses_is_not_tried_more_than_once_a_second, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.refuses = VHOST_USER_SET_MEM_TABLE;
    ft_run();

    cr_assert_eq(vh_pass(&ft.h, 100 * SECOND), 0);

    cr_assert_leq(ft.connects, 110);
}

Test(front_lost, a_log_without_memory_ends_the_connection, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft.back.no_inflight_fd = true;

    ft_run();

    cr_assert(vh_logged(&ft.h, "GET_INFLIGHT_FD: the back end gave no memory"));
}

Test(front_lost, a_log_that_is_no_file_ends_the_connection, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft.back.inflight_no_file = true;

    ft_run();

    cr_assert(vh_logged(&ft.h, "bytes at 0 are not in the back end's file"));
}

Test(front_lost, a_log_shorter_than_it_is_said_to_be_ends_the_connection, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft.back.inflight_short = true;

    ft_run();

    cr_assert(vh_logged(&ft.h, "bytes at 0 are not in the back end's file"));
    ft.back.inflight_short = false;
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_INFLIGHT_FD), 1, "another is asked for");
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_INFLIGHT_FD), 1);
    cr_assert_not(needs_reset());
}

Test(front_lost, a_log_that_is_cut_short_later_needs_a_reset, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft_run();
    cr_assert_not(needs_reset());

    ft.back.inflight_cut = true;
    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert(needs_reset());
}

Test(front_lost, a_flood_of_changes_ends_the_connection_and_nothing_else, .fini = quit)
{
    struct vhost_message m = { .request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, .flags = 1 };

    ft_open_all(VH_PCI);
    ft_run();
    ft.back.silent = VHOST_USER_GET_CONFIG;
    for (unsigned i = 0; ft.back.asks && i < 10 * VHOST_QUEUES_MAX + 2 * GM_REGIONS_MAX; i++) {
        (void)vhost_channel_send(ft.back.asks, &m);
        cr_assert_eq(vh_idle(&ft.h), 0);
    }

    cr_assert_eq(ft.back.closed, 1);
    cr_assert_not(needs_reset());
}

Test(front_lost, what_was_not_negotiated_may_not_be_asked_for, .fini = quit)
{
    struct vhost_message m = { .request = VHOST_USER_BACKEND_IOTLB_MSG, .flags = 1, .size = 32 };

    ft_open_all(VH_PCI);
    ft_run();
    cr_assert_eq(vhost_channel_send(ft.back.asks, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(vh_logged(&ft.h, "BACKEND_IOTLB_MSG: not negotiated"));
    cr_assert_eq(ft.back.closed, 1);
}

Test(front_lost, destroying_a_device_with_requests_under_way_leaves_nothing, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.silent = VHOST_USER_GET_VRING_BASE;
    cr_assert_eq(vh_set_status(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    vh_destroy(&ft.h);
    ft.front = NULL;
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.closed, 1);
}

/* DRIVER_OK without a queue; the loop takes one step, so that what was sent is not acknowledged yet. */
static void run_without_queues(uint64_t more)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(STATUS) | more;
    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vh_negotiate(&ft.h, 0), 0);
    cr_assert_eq(vh_set_status(&ft.h, 15), 0);
    cr_assert_geq(vm_loop_step(ft.h.env.loop, 0), 0);
}

Test(front_lost, a_reset_before_the_answers_have_come_ends, .fini = ft_close)
{
    run_without_queues(0);

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);
    cr_assert_eq(vh_status(&ft.h), 0);
}

Test(front_lost, a_reset_before_the_log_has_come_ends, .fini = ft_close)
{
    run_without_queues(VHOST_PROTOCOL(INFLIGHT_SHMFD));

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);
    cr_assert_eq(vh_status(&ft.h), 0);
}

Test(front_lost, one_that_is_refused_is_tried_more_and_more_seldom, .fini = ft_close)
{
    unsigned before;

    ft_open_all(VH_PCI);
    ft_run();
    cr_assert_eq(vh_pass(&ft.h, 5 * SECOND), 0);
    before = ft.connects;
    ft.back.features &= ~VQ_F_VERSION_1;
    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 60 * SECOND), 0);

    cr_assert_geq(ft.connects - before, 50);
    cr_assert_leq(ft.connects - before, 70, "%u", ft.connects - before);
}
