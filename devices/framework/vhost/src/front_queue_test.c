/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end and queues that their driver stops alone: VIRTIO 1.2, 2.6.1 and 4.2.2.2. */
#include "front_test.h"

enum { PCI_QUEUE_SELECT = 0x16, PCI_QUEUE_RESET = 0x3a, MMIO_QUEUE_SEL = 0x30, MMIO_READY = 0x44 };

static void quit(void)
{
    ft_close();
}

/* The driver's write, and nothing else. */
static void ask(uint16_t n)
{
    if (ft.h.pci) {
        vh_write(&ft.h, ft.h.common + PCI_QUEUE_SELECT, 2, n);
        vh_write(&ft.h, ft.h.common + PCI_QUEUE_RESET, 2, 1);
    } else {
        vh_write(&ft.h, VH_MMIO + MMIO_QUEUE_SEL, 4, n);
        vh_write(&ft.h, VH_MMIO + MMIO_READY, 4, 0);
    }
}

static bool waits(void)
{
    if (ft.h.pci)
        return vh_read(&ft.h, ft.h.common + PCI_QUEUE_RESET, 2);
    return __atomic_load_n(&ft_dev()->dev.parked, __ATOMIC_ACQUIRE);
}

static void begin(enum vh_transport transport, uint64_t protocol)
{
    ft_open_all(transport);
    ft.back.protocol |= protocol;
    ft_run();
}

static void begin_mute(enum vh_transport transport)
{
    begin(transport, 0);
    ft.back.silent = VHOST_USER_GET_VRING_BASE;
}

static void lose(void)
{
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

static void come_back(void)
{
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
}

Test(front_queue, one_queue_stops_in_the_back_end_and_the_others_run_on, .fini = quit)
{
    begin(VH_PCI, 0);

    cr_assert_eq(vh_queue_stop(&ft.h, 1, SECOND), 0);

    cr_assert_eq(ft.back.bases, 1);
    cr_assert(ft.back.ring[1].stopped);
    cr_assert_not(ft.back.ring[1].enabled);
    cr_assert(ft.back.ring[0].enabled);
    cr_assert_not(ft.back.ring[0].stopped);
}

Test(front_queue, drivers_of_both_transports_wait_until_the_back_end_has_answered, .fini = quit)
{
    static const enum vh_transport both[] = { VH_PCI, VH_MMIO_BUS };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(both); i++) {
        begin_mute(both[i]);

        ask(1);
        cr_assert_eq(vh_idle(&ft.h), 0);

        cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 1);
        cr_assert(waits());
        cr_assert(vh_queue_enabled(&ft.h, 1));
        lose();
        cr_assert_not(waits());
        cr_assert_not(vh_queue_enabled(&ft.h, 1));
        ft_close();
    }
    begin(VH_PCI, 0);
}

Test(front_queue, a_queue_that_is_enabled_again_begins_anew, .fini = quit)
{
    begin(VH_MMIO_BUS, 0);
    ft.back.base_answer = 77;
    cr_assert_eq(vh_queue_stop(&ft.h, 1, SECOND), 0);
    ft.back.ring[1].stopped = false;

    cr_assert_eq(vh_queue(&ft.h, 1, 16), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(ft.back.ring[1].enabled);
    cr_assert_eq(ft.back.ring[1].base, 0);
    cr_assert_eq(ft.back.ring[1].size, 16);
    cr_assert_gt(vm_eventfd_take(ft.back.ring[1].kick), 0);
}

Test(front_queue, a_back_end_that_does_not_answer_is_given_up_in_time, .fini = quit)
{
    begin_mute(VH_MMIO_BUS);
    ask(0);

    cr_assert_eq(vh_pass(&ft.h, 6 * SECOND), 0);

    cr_assert_not(waits());
    cr_assert(vh_logged(&ft.h, "the back end did not answer GET_VRING_BASE within 5 s"));
}

static int lingers(struct vhost_front *front)
{
    (void)front;
    return -EINPROGRESS;
}

Test(front_queue, a_process_that_may_still_write_is_waited_for, .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.ops.gone = lingers;
    ft_run();
    ft.back.silent = VHOST_USER_GET_VRING_BASE;
    ask(0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    lose();
    ask(1); /* that came after */
    cr_assert(waits());

    vhost_front_still_now(ft.front);

    cr_assert_not(waits());
    cr_assert_not(vh_queue_enabled(&ft.h, 0));
    cr_assert_not(vh_queue_enabled(&ft.h, 1));
}

Test(front_queue, a_queue_that_was_stopped_stays_so_with_the_next_back_end, .fini = quit)
{
    begin(VH_PCI, 0);
    cr_assert_eq(vh_queue_stop(&ft.h, 1, SECOND), 0);

    lose();
    come_back();

    cr_assert(ft.back.ring[0].enabled);
    cr_assert_not(ft.back.ring[1].enabled);
    cr_assert_eq(ft.back.ring[1].size, 0);
}

Test(front_queue, a_queue_stops_at_once_while_no_back_end_is_there, .fini = quit)
{
    begin(VH_MMIO_BUS, 0);
    ft.absences = 1000;
    lose();

    ask(1);

    cr_assert_not(waits());
    ft.absences = 0;
    come_back();
    cr_assert(ft.back.ring[0].enabled);
    cr_assert_not(ft.back.ring[1].enabled);
}

Test(front_queue, a_pause_that_comes_meanwhile_asks_for_each_ring_once, .fini = quit)
{
    begin(VH_PCI, 0);
    ask(1);

    cr_assert_eq(vh_quiesce(&ft.h), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_GET_VRING_BASE), 2);
    cr_assert_not(waits());
    cr_assert_eq(vdev_resume(&ft_dev()->dev), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_VRING_KICK), 3, "the other one's again");
}

Test(front_queue, a_reset_of_the_device_ends_the_stop_of_a_queue, .fini = quit)
{
    begin(VH_MMIO_BUS, 0);
    ask(1);

    cr_assert_eq(vh_reset(&ft.h, SECOND), 0);

    cr_assert_not(waits());
    cr_assert_eq(vh_start(&ft.h, 0), 0);
    cr_assert(ft.back.ring[1].enabled);
}

/* Bytes of the log of requests in flight, as the back end made it. */
static uint8_t log_byte(int fd, uint64_t at)
{
    uint8_t byte = 0;

    cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
    return byte;
}

static void mark_log(int fd, uint64_t step)
{
    for (unsigned n = 0; n < 2; n++)
        for (unsigned i = 0; i < 32; i++)
            cr_assert_eq(pwrite(fd, "\x01", 1, (off_t)(n * step + i)), 1);
}

Test(front_queue, what_the_log_says_of_a_stopped_queue_is_over, .fini = quit)
{
    uint64_t step;
    int fd;

    begin(VH_PCI, VHOST_PROTOCOL(INFLIGHT_SHMFD));
    step = ft.back.inflight.mmap_size / 2;
    fd = dup(ft.back.inflight_fd);
    mark_log(fd, step);
    ft.absences = 3;
    lose();

    cr_assert_eq(vh_queue_stop(&ft.h, 1, SECOND), 0);
    cr_assert_eq(vh_queue(&ft.h, 1, 16), 0);
    come_back();

    cr_assert(ft.back.ring[1].enabled);
    for (unsigned i = 0; i < 32; i++) {
        cr_assert_eq(log_byte(fd, i), 1, "the other queue's");
        cr_assert_eq(log_byte(fd, step + i), 0);
    }
    close(fd);
}

Test(front_queue, a_log_that_cannot_be_cleared_needs_a_reset, .fini = quit)
{
    begin(VH_PCI, VHOST_PROTOCOL(INFLIGHT_SHMFD));
    cr_assert_eq(vh_queue_stop(&ft.h, 1, SECOND), 0);
    cr_assert_eq(fcntl(ft.back.inflight_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0, "%d", errno);

    cr_assert_eq(vh_queue(&ft.h, 1, 16), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(vh_status(&ft.h) & VIRTIO_NEEDS_RESET);
    cr_assert_not(ft.back.ring[1].enabled);
}

Test(front_queue, the_feature_is_offered_and_the_back_end_hears_nothing_of_it, .fini = quit)
{
    begin(VH_PCI, 0);

    cr_assert(vh_offered(&ft.h) & VQ_F_RING_RESET);
    cr_assert(ft_dev()->features & VQ_F_RING_RESET);
    cr_assert_not(ft.back.set_features & VQ_F_RING_RESET);
}

Test(front_queue, a_back_end_without_protocol_features_is_only_asked_where_the_ring_is,
     .fini = quit)
{
    ft_open_all(VH_PCI);
    ft.back.features = VQ_F_VERSION_1;
    ft_run();

    cr_assert_eq(vh_queue_stop(&ft.h, 0, SECOND), 0);

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_VRING_ENABLE), 0);
    cr_assert(ft.back.ring[0].stopped);
}

Test(front_queue, destroying_a_device_with_a_queue_that_stops_leaves_nothing, .fini = quit)
{
    begin_mute(VH_PCI);
    ask(0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    vh_destroy(&ft.h);
    ft.front = NULL;

    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(ft.back.closed, 1);
}
