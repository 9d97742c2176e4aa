/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end: greeting, start, stop, configuration, memory. What happens when a back end goes away or lies: front_lost_test.c. */
#include "front_test.h"

static void quit(void)
{
    ft_close();
}

/* ---- greeting ---- */

Test(front, the_greeting_asks_in_the_order_of_the_specification, .fini = quit)
{
    ft_open_all(VH_PCI);

    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());

    cr_assert_eq(fbe_when(&ft.back, VHOST_USER_GET_FEATURES), 1);
    cr_assert_eq(fbe_when(&ft.back, VHOST_USER_GET_PROTOCOL_FEATURES), 2);
    cr_assert_eq(fbe_when(&ft.back, VHOST_USER_SET_PROTOCOL_FEATURES), 3);
    cr_assert_eq(fbe_when(&ft.back, VHOST_USER_SET_OWNER), 4);
    cr_assert_eq(fbe_when(&ft.back, VHOST_USER_GET_QUEUE_NUM), 5);
    cr_assert_eq(fbe_when(&ft.back, VHOST_USER_GET_CONFIG), 7);
    cr_assert_eq(ft.back.set_protocol, ft.back.protocol);
}

Test(front, a_back_end_without_protocol_features_is_served_as_well, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.features = VQ_F_VERSION_1;

    ft_run();

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_PROTOCOL_FEATURES), 0);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_VRING_ENABLE), 0);
    cr_assert_eq(ft.back.ring[1].size, 64);
}

Test(front, only_features_that_both_sides_can_carry_are_offered, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.features = ~0ULL;
    ft.setup.refuse = 2;

    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(vh_offered(&ft.h) & 3, 1); /* the type's own, but the refused one */
    cr_assert(vh_offered(&ft.h) & VQ_F_EVENT_IDX);
    cr_assert_not(vh_offered(&ft.h) & VHOST_FEATURE_PROTOCOL); /* not virtio's */
    cr_assert_not(vh_offered(&ft.h) & VHOST_FEATURE_LOG_ALL);
}

Test(front, packed_rings_are_offered_only_where_requests_in_flight_are_logged, .fini = quit)
{
    ft_open_all(VH_PCI);
    cr_assert_eq(ft_make(), 0);
    cr_assert_not(vh_offered(&ft.h) & VQ_F_RING_PACKED);
    ft_close();

    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    cr_assert_eq(ft_make(), 0);
    cr_assert(vh_offered(&ft.h) & VQ_F_RING_PACKED);
}

Test(front, the_device_has_no_more_queues_than_the_back_end, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.queues = 1;

    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(vh_queues(&ft.h), 1);
}

Test(front, the_configuration_is_the_back_ends_and_what_the_type_adds, .fini = quit)
{
    char bytes[17] = { 0 };

    ft_open_all(VH_PCI);
    cr_assert_eq(ft_make(), 0);

    vh_config_read(&ft.h, 0, bytes, 16);

    cr_assert_str_eq(bytes, "0123456789abcdef");
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_CONFIG),
                 1); /* a read never leaves the process */
}

static void refused(int code, const char *text)
{
    int rc = ft_make();

    cr_assert_eq(rc, code, "%d %s", rc, vm_error_text());
    cr_assert_str_eq(vm_error_text(), text);
}

Test(front, a_back_end_with_too_few_queues_is_none, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.queues = 1;
    ft.setup.queues_min = 2;

    refused(-ENOTSUP, "the back end has 1 queues; this device needs 2");
}

Test(front, a_back_end_from_before_virtio_1_is_none, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.features = 1;

    refused(-ENOTSUP, "the back end is older than VIRTIO 1.0 (features 0x1)");
}

Test(front, a_back_end_with_another_config_space_is_none, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.config_bytes = 8;

    refused(-EPROTO, "the back end's config space does not have the 16 bytes of this device");
}

Test(front, a_back_end_that_says_nothing_is_not_waited_for_for_ever, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.setup.wait_ns = 60 * SECOND;
    ft.back.silent = VHOST_USER_GET_QUEUE_NUM;
    ft.absences = 0;

    refused(-ETIMEDOUT, "the back end did not answer GET_QUEUE_NUM within 5 s");
}

Test(front, a_back_end_that_comes_in_time_is_taken, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.absences = 5;

    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(ft.connects, 6);
}

Test(front, one_that_does_not_come_is_a_clear_error, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.absences = 1000;

    refused(-ETIMEDOUT,
            "no back end has come to /socket in 3 s: start it first, or give it more time");
}

Test(front, a_socket_that_cannot_be_opened_is_not_tried_again, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.absences = 1000;
    ft.absent = -EACCES;

    refused(-EACCES, "/socket: as the test wants");
    cr_assert_eq(ft.connects, 1);
}

Test(front, a_machine_that_is_only_looked_at_needs_no_back_end, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.absences = 1;
    ft.absent = -ENOTCONN;

    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());

    cr_assert_eq(vh_queues(&ft.h), 2);
    cr_assert_eq(vh_pass(&ft.h, 10 * SECOND), 0);
    cr_assert_eq(ft.connects, 1);
}

Test(front, one_behind_an_iommu_can_be_looked_at_too, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.setup.platform = true;
    ft.absences = 1;
    ft.absent = -ENOTCONN;

    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());
}

Test(front, a_socket_that_was_handed_over_is_used, .fini = quit)
{
    int pair[2];

    ft_open_all(VH_PCI);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(fbe_serve(&ft.back, pair[1]), 0);
    ft.setup.fd = pair[0];
    ft.setup.socket = NULL;

    ft_run();

    cr_assert_eq(ft.connects, 0);
    cr_assert(ft.back.ring[0].enabled);
}

/* ---- start ---- */

Test(front, a_started_device_hands_over_memory_and_rings, .fini = quit)
{
    ft_open_all(VH_PCI);

    ft_run();

    cr_assert_eq(ft.back.set_features, (ft.h.features & ~VQ_F_RING_RESET) | VHOST_FEATURE_PROTOCOL);
    cr_assert_eq(ft.back.table.count, 1);
    cr_assert_eq(ft.back.table.region[0].size, VH_RAM_BYTES);
    for (unsigned n = 0; n < 2; n++) {
        cr_assert_eq(ft.back.ring[n].size, 64);
        cr_assert_eq(ft.back.ring[n].base, 0);
        cr_assert_eq(ft.back.ring[n].addr.desc, ft.h.drv[n].desc);
        cr_assert_eq(ft.back.ring[n].addr.avail, ft.h.drv[n].driver);
        cr_assert_eq(ft.back.ring[n].addr.used, ft.h.drv[n].device);
        cr_assert(ft.back.ring[n].enabled);
    }
    cr_assert_eq(vh_status(&ft.h) & VIRTIO_NEEDS_RESET, 0);
}

Test(front, user_addresses_tell_nothing_of_ours, .fini = quit)
{
    ft_open_all(VH_PCI);

    ft_run();

    cr_assert_eq(ft.back.table.region[0].user_addr, ft.back.table.region[0].guest_addr);
}

Test(front, memory_goes_region_by_region_where_the_back_end_can, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS);

    ft_run();

    cr_assert_eq(ft.back.regions, 1);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_MEM_TABLE), 0);
}

/* Memory that comes, in place of what goes. */
static void change_memory(struct gm_region **add, struct gm_region **remove)
{
    struct gm_change change = {
        .add = add, .remove = remove, .add_count = add && *add, .remove_count = remove && *remove
    };

    cr_assert_eq(vh_quiesce(&ft.h), 0);
    cr_assert_eq(gm_space_change(ft.h.guest.space, &change), change.add_count ? -EINPROGRESS : 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(vdev_resume(ft.h.dev), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

static struct gm_region *more_memory(void)
{
    const struct gm_backing backing = { .kind = GM_MEMFD };
    struct gm_region *region;

    cr_assert_eq(gm_region_new(1ULL << 32, 1 << 20, &backing, &region), 0);
    return region;
}

Test(front, memory_that_changed_while_it_stood_still_is_told_of, .fini = quit)
{
    struct gm_region *region;

    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS);
    ft_run();
    region = more_memory();

    change_memory(&region, NULL);
    cr_assert_eq(ft.back.regions, 2);
    cr_assert_eq(ft.back.removed, 0);
    change_memory(NULL, &region);

    cr_assert_eq(ft.back.regions, 2);
    cr_assert_eq(ft.back.removed, 1);
    cr_assert_eq(ft.back.last_removed.guest_addr, 1ULL << 32);
    cr_assert_eq(ft.back.last_removed.size, 1 << 20);
    gm_region_unref(region);
}

Test(front, a_new_table_tells_it_where_regions_are_not_told_of, .fini = quit)
{
    struct gm_region *region;

    ft_open_all(VH_PCI);
    ft_run();
    region = more_memory();

    change_memory(&region, NULL);
    cr_assert_eq(ft.back.table.count, 2);
    cr_assert_eq(ft.back.table.region[1].guest_addr, 1ULL << 32);
    change_memory(NULL, &region);

    cr_assert_eq(ft.back.table.count, 1);
    gm_region_unref(region);
}

Test(front, memory_that_stays_is_told_of_once, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();

    change_memory(NULL, NULL);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_MEM_TABLE), 1);
}

Test(front, the_drivers_doorbell_reaches_the_back_end_without_us, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    vm_eventfd_take(ft.back.ring[1].kick);

    cr_assert_eq(vh_kick(&ft.h, 1), 0); /* the loop does not run */

    cr_assert_eq(vm_eventfd_take(ft.back.ring[1].kick), 1);
}

Test(front, a_doorbell_that_is_a_register_reaches_it_too, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.h.config.refuse_doorbells = true;
    ft_run();
    vm_eventfd_take(ft.back.ring[1].kick);

    cr_assert_eq(vh_kick(&ft.h, 1), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(vm_eventfd_take(ft.back.ring[1].kick), 1);
}

Test(front, a_ring_is_kicked_once_when_it_starts, .fini = quit)
{
    ft_open_all(VH_PCI);

    ft_run();

    cr_assert_eq(vm_eventfd_take(ft.back.ring[0].kick), 1);
}

Test(front, the_back_ends_call_interrupts_the_guest, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();

    vm_eventfd_signal(ft.back.ring[1].call);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.h.vector_count[2], 1);
    cr_assert_eq(ft.h.vector_count[1], 0);
}

Test(front, the_machine_may_take_the_back_ends_calls, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.h.config.takes_calls = true;

    ft_run();

    cr_assert_eq(ft.h.calls, 2);
    for (unsigned n = 0; n < 2; n++) {
        vm_eventfd_signal(ft.back.ring[n].call);
        cr_expect_eq(vm_eventfd_take(ft.h.call[n].fd), 1);
        cr_expect_eq(ft.h.call[n].msi.data, VH_MSI_DATA + n + 1);
    }
}

Test(front, a_ring_that_the_back_end_finds_broken_needs_a_reset, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();

    vm_eventfd_signal(ft.back.ring[1].err);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(vh_status(&ft.h) & VIRTIO_NEEDS_RESET);
    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);
    cr_assert_not(vh_status(&ft.h) & VIRTIO_NEEDS_RESET);
}

Test(front, the_status_is_told_where_the_back_end_wants_it, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(STATUS);

    ft_run();
    cr_assert_eq(ft.back.status, 15);
    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.status, 0);
}

Test(front, private_memory_cannot_be_handed_over, .fini = quit)
{
    struct vh_config config = { .transport = VH_PCI };
    struct vhost_front_setup setup;

    ft_open_all(VH_PCI);
    setup = ft.setup;
    vh_close(&ft.h);
    cr_assert_eq(vh_open(&ft.h, &config), 0);
    ft.h.open = ft_open;
    ft.setup = setup;
    cr_assert_eq(ft_make(), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);

    cr_assert(vh_logged(&ft.h, "is private to this process"));
}

Test(front, as_many_queues_as_the_protocol_can_name_start, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.queues = ft.setup.queues = VHOST_QUEUES_MAX;
    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vh_negotiate(&ft.h, 0), 0);
    for (uint16_t n = 0; n < VHOST_QUEUES_MAX; n++) {
        vh_queue_set(&ft.h, n, 2, 0x10000 + n * 0x1000, 0x10400 + n * 0x1000, 0x10800 + n * 0x1000);
        vh_queue_enable(&ft.h, n);
    }

    cr_assert_eq(vh_set_status(&ft.h, 15), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_FEATURES),
                 1); /* the first connection still stands */
    cr_assert_eq(ft.back.closed, 0);
}

Test(front, memory_of_the_machines_own_is_not_handed_over, .fini = quit)
{
    const struct gm_backing private = { .kind = GM_ANONYMOUS };
    struct gm_region *region;
    struct gm_change change = { .add = &region, .add_count = 1 };

    ft_open_all(VH_PCI);
    cr_assert_eq(gm_region_new(1ULL << 32, 4096, &private, &region), 0);
    cr_assert_eq(gm_space_change(ft.h.guest.space, &change), 0);

    ft_run();

    cr_assert_eq(ft.back.table.count, 1);
    cr_assert_eq(ft.back.table.region[0].guest_addr, 0);
    cr_assert(ft.back.ring[0].enabled);
    gm_region_unref(region);
}

/* ---- stop ---- */

Test(front, a_reset_waits_for_every_ring_to_stop, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    cr_assert(ft.back.ring[0].stopped);
    cr_assert(ft.back.ring[1].stopped);
    cr_assert_eq(vh_status(&ft.h), 0);
}

Test(front, a_reset_shows_the_old_status_until_the_back_end_has_stopped, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.silent = VHOST_USER_GET_VRING_BASE;

    cr_assert_eq(vh_set_status(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_neq(vh_status(&ft.h), 0);
}

Test(front, a_back_end_that_does_not_stop_is_cut_off_in_time, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.silent = VHOST_USER_GET_VRING_BASE;

    cr_assert_eq(vh_reset(&ft.h, 6 * SECOND), 0);

    cr_assert_eq(ft.back.closed, 1);
    cr_assert(vh_logged(&ft.h, "the back end did not answer GET_VRING_BASE within 5 s"));
}

#define SKIP_DRAIN \
    (VHOST_PROTOCOL(GET_VRING_BASE_INFLIGHT) | VHOST_PROTOCOL(GET_VRING_BASE_SKIP_DRAIN))

static void run_skipping(uint64_t without)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= (SKIP_DRAIN | VHOST_PROTOCOL(INFLIGHT_SHMFD)) & ~without;
    ft_run();
}

Test(front, a_reset_does_not_wait_for_requests_where_the_back_end_can_leave_them, .fini = quit)
{
    run_skipping(0);

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 0);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE_SKIP_DRAIN), 2);
}

Test(front, a_pause_waits_for_requests_unless_they_shall_be_left, .fini = quit)
{
    run_skipping(0);

    cr_assert_eq(vh_quiesce(&ft.h), 0);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 2);
    cr_assert_eq(vdev_resume(&ft_dev()->dev), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    vhost_front_leave_in_flight(ft.front, true);
    cr_assert_eq(vh_quiesce(&ft.h), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 2);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE_SKIP_DRAIN), 2);
}

Test(front, who_can_only_do_half_of_it_is_not_asked_for_it, .fini = quit)
{
    static const uint64_t halves[] = { VHOST_PROTOCOL(GET_VRING_BASE_INFLIGHT),
                                       VHOST_PROTOCOL(GET_VRING_BASE_SKIP_DRAIN),
                                       VHOST_PROTOCOL(INFLIGHT_SHMFD) };

    for (size_t i = 0; i < VM_ARRAY_SIZE(halves); i++) {
        run_skipping(halves[i]);

        cr_expect_eq(ft.back.set_protocol & SKIP_DRAIN, 0, "%zu", i);
        ft_close();
        ft.front = NULL;
    }
    ft_open_all(VH_PCI);
}

Test(front, a_driver_starts_the_device_again_after_a_reset, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    cr_assert_eq(vh_start(&ft.h, 0), 0);

    cr_assert(ft.back.ring[0].enabled);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_MEM_TABLE), 1); /* it still has it */
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_VRING_ADDR), 4);
}

Test(front, the_pci_transport_resets_a_device_that_was_never_started, .fini = quit)
{
    ft_open_all(VH_PCI);
    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(vh_reset(&ft.h, 1), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 0);
}

Test(front, a_mmio_driver_parks_until_the_back_end_has_stopped, .fini = quit)
{
    ft_open_all(VH_MMIO_BUS);
    ft_run();

    cr_assert_eq(vh_set_status(&ft.h, 0), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.h.unparks, 1);
    cr_assert_eq(vh_status(&ft.h), 0);
}

Test(front, a_ring_that_stops_where_it_does_not_reach_needs_a_reset, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.base_answer = UINT16_MAX + 1;

    cr_assert_eq(vh_quiesce(&ft.h), 0);

    cr_assert(vh_status(&ft.h) & VIRTIO_NEEDS_RESET);
    cr_assert_eq(vq_base(&ft_dev()->queue[0]), 0);
}

Test(front, a_pause_stops_the_rings_and_a_resume_goes_on_where_they_were, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    ft.back.base_answer = 7;

    cr_assert_eq(vh_quiesce(&ft.h), 0);
    cr_assert(ft.back.ring[0].stopped);
    cr_assert_eq(vdev_resume(&ft_dev()->dev), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.ring[0].base, 7);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_VRING_BASE), 4);
}

Test(front, nothing_is_told_to_the_guest_during_a_pause_and_all_of_it_after, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();
    cr_assert_eq(vh_quiesce(&ft.h), 0);
    ft.h.messages = 0;

    vm_eventfd_signal(ft.back.ring[0].call);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(ft.h.messages, 0);
    cr_assert_eq(vdev_resume(&ft_dev()->dev), 0);

    cr_assert_gt(ft.h.vector_count[1], 0);
}

/* ---- configuration ---- */

Test(front, what_the_driver_writes_reaches_the_back_end, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft_run();

    vh_config_write(&ft.h, 4, "\x5a", 1);
    vh_config_write(&ft.h, 6, "\xa5", 1);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.set_config.offset, 4);
    cr_assert_eq(ft.back.set_config.size, 3);
    cr_assert_eq(memcmp(ft.back.set_config.bytes,
                        "\x5a"
                        "5"
                        "\xa5",
                        3),
                 0);
    cr_assert_eq(ft.back.set_config.flags, VHOST_CONFIG_WRITABLE);
}

Test(front, a_change_in_the_back_end_reaches_the_guest, .fini = quit)
{
    struct vhost_message m = { .request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, .flags = 1 };
    char byte;

    ft_open_all(VH_PCI);
    ft_run();
    ft.back.config[0] = 'X';
    cr_assert_eq(vhost_channel_send(ft.back.asks, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    vh_config_read(&ft.h, 0, &byte, 1);
    cr_assert_eq(byte, 'X');
    cr_assert_eq(ft.h.vector_count[0], 1);
}

Test(front, a_reset_takes_back_what_the_driver_wrote, .fini = quit)
{
    char byte;

    ft_open_all(VH_PCI);
    ft_run();
    vh_config_write(&ft.h, 0, "Z", 1);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    vh_config_read(&ft.h, 0, &byte, 1);
    cr_assert_eq(byte, '0');
}

/* ---- requests in flight ---- */

Test(front, the_log_of_requests_in_flight_is_asked_for_once_and_handed_back, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);

    ft_run();

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_INFLIGHT_FD), 1);
    cr_assert_gt(ft.back.inflight.mmap_size, 0);
    cr_assert_eq(ft.back.inflight.queues, 2);
    cr_assert_eq(ft.back.inflight.queue_size, 64);
    cr_assert_lt(fbe_when(&ft.back, VHOST_USER_SET_INFLIGHT_FD),
                 fbe_when(&ft.back, VHOST_USER_SET_VRING_KICK));
}

Test(front, a_reset_of_the_device_begins_a_new_log, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(INFLIGHT_SHMFD);
    ft_run();

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_INFLIGHT_FD), 2);
}
