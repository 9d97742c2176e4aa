/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of queues: enabling, kicks, doorbells, interrupts, broken rings, RING_RESET. */
#include <criterion/criterion.h>

#include <vmm/base/fd.h>

#include "virtio_test.h"

static struct vh h;
static struct lab *lab;

static const struct vh_config ways[] = { { .transport = VH_PCI },
                                         { .transport = VH_MMIO_BUS },
                                         { .transport = VH_PCI, .packed = true },
                                         { .transport = VH_MMIO_BUS, .packed = true } };
#define FOR_ALL                                            \
    for (size_t way = 0; way < VM_ARRAY_SIZE(ways); way++) \
        for (bool once = (lab = lab_open(&h, &ways[way])); once; vh_close(&h), once = false)

static unsigned all_kicks(void)
{
    return lab->kicks[0] + lab->kicks[1] + lab->kicks[2];
}

static void ask_reset(uint16_t n)
{
    if (h.pci) {
        vh_write(&h, h.common + 0x16, 2, n);
        vh_write(&h, h.common + 0x3a, 2, 1);
    } else {
        vh_write(&h, VH_MMIO + 0x30, 4, n);
        vh_write(&h, VH_MMIO + 0xc0, 4, 1);
    }
}

static uint64_t resetting(void)
{
    return h.pci ? vh_read(&h, h.common + 0x3a, 2) : vh_read(&h, VH_MMIO + 0xc0, 4);
}

static void reset_queue(uint16_t n)
{
    ask_reset(n);
    cr_assert_eq(resetting(), 0, "it has ended");
}

/* What the device kept comes back. */
static void finish(void)
{
    vm_lock_acquire(&lab->dev.dev.lock);
    lab_finish(lab);
    vm_lock_release(&lab->dev.dev.lock);
}

Test(virtio_queues, all_queues_show_and_no_more)
{
    FOR_ALL
    {
        cr_assert_eq(vh_queues(&h), LAB_QUEUES);
        for (uint16_t n = 0; n < LAB_QUEUES; n++)
            cr_assert_eq(vh_queue_size_max(&h, n), LAB_SIZE);
        cr_assert_eq(vh_queue_size_max(&h, LAB_QUEUES), 0);
        cr_assert_eq(vh_queue_size_max(&h, UINT16_MAX), 0);
    }
}

Test(virtio_queues, writes_to_a_queue_that_is_not_there_change_nothing)
{
    FOR_ALL
    {
        vh_negotiate(&h, 0);

        vh_queue_set(&h, LAB_QUEUES, 8, 0x1000, 0x2000, 0x3000);
        vh_queue_enable(&h, LAB_QUEUES);

        cr_assert_not(vh_queue_enabled(&h, LAB_QUEUES));
        cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET);
    }
}

Test(virtio_queues, a_queue_enabled_before_features_ok_needs_a_reset)
{
    FOR_ALL
    {
        vh_set_status(&h, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
        vh_queue_set(&h, 0, 8, 0x10000, 0x11000, 0x12000);

        vh_queue_enable(&h, 0);

        cr_assert_not(vh_queue_enabled(&h, 0));
        cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
        cr_assert(vh_logged(&h, "before FEATURES_OK"));
    }
}

Test(virtio_queues, a_wrong_set_up_needs_a_reset)
{
    static const struct {
        uint16_t size;
        gpa_t desc, driver, device;
    } wrong[] = {
        { 0, 0x10000, 0x11000, 0x12000 },         { LAB_SIZE * 2, 0x10000, 0x11000, 0x12000 },
        { 8, 0x10008, 0x11000, 0x12000 },         { 8, 0x10000, 0x11001, 0x12000 },
        { 8, 0x10000, 0x11000, 0x12002 },         { 8, VH_RAM_BYTES, 0x11000, 0x12000 },
        { 8, UINT64_MAX - 15, 0x11000, 0x12000 }, { 8, 0x10000, 0x11000, VH_MMIO },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++)
        FOR_ALL
        {
            vh_negotiate(&h, 0);
            vh_queue_set(&h, 1, wrong[i].size, wrong[i].desc, wrong[i].driver, wrong[i].device);

            vh_queue_enable(&h, 1);

            cr_assert_not(vh_queue_enabled(&h, 1), "%zu over %zu", i, way);
            cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
            cr_assert_eq(vh_reset(&h, 0), 0);
            cr_assert_eq(vh_start(&h, 0), 0);
            cr_assert_eq(lab_ask(&h, 1), 4);
        }
}

Test(virtio_queues, an_enabled_queue_keeps_its_addresses)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);

        vh_queue_set(&h, 0, 4, 0, 0, 0);

        cr_assert_eq(lab->dev.queue[0].desc, h.drv[0].desc);
        cr_assert_eq(lab->dev.queue[0].size, h.drv[0].size);
        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

Test(virtio_queues, a_kick_before_driver_ok_is_ignored_and_served_after_it)
{
    FOR_ALL
    {
        struct fake_buf b = { 0x8000, 16, true };
        uint16_t id;
        uint32_t len;

        vh_negotiate(&h, 0);
        cr_assert_eq(vh_queue(&h, 0, 0), 0);
        fake_driver_offer(&h.drv[0], &b, 1);
        vh_kick(&h, 0);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(all_kicks(), 0);

        vh_set_status(&h, (uint8_t)(vh_status(&h) | VIRTIO_DRIVER_OK));

        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1);
    }
}

Test(virtio_queues, a_kick_of_a_queue_that_is_not_there_is_ignored)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        unsigned before = all_kicks();

        if (h.pci)
            vh_write(&h, h.notify + LAB_QUEUES * h.notify_step, 2, LAB_QUEUES);
        else
            for (uint64_t v = LAB_QUEUES; v < 1ULL << 32; v = v * 3)
                vh_write(&h, VH_MMIO + 0x50, 4, v);

        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(all_kicks(), before);
    }
}

Test(virtio_queues, running_queues_have_doorbells_and_stopped_ones_none)
{
    FOR_ALL
    {
        cr_assert_eq(h.doorbells, 0);

        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(h.doorbells, LAB_QUEUES);

        cr_assert_eq(vh_reset(&h, 0), 0);
        cr_assert_eq(h.doorbells, 0);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(h.doorbells, LAB_QUEUES);
    }
}

Test(virtio_queues, only_enabled_queues_get_doorbells)
{
    FOR_ALL
    {
        vh_negotiate(&h, 0);
        vh_queue(&h, 1, 0);

        vh_set_status(&h, (uint8_t)(vh_status(&h) | VIRTIO_DRIVER_OK));

        cr_assert_eq(h.doorbells, 1);
        cr_assert_eq(lab_ask(&h, 1), 4);
        cr_assert_eq(all_kicks(), lab->kicks[1]);
    }
}

Test(virtio_queues, a_queue_enabled_while_the_device_runs_is_served_at_once)
{
    FOR_ALL
    {
        struct fake_buf b = { 0x8000, 16, true };
        gpa_t desc, driver, device;

        vh_negotiate(&h, 0);
        cr_assert_eq(vh_queue(&h, 1, 0), 0);
        cr_assert_eq(vh_queue(&h, 2, 0), 0);
        desc = h.drv[2].desc;
        driver = h.drv[2].driver;
        device = h.drv[2].device;
        vh_set_status(&h, 15);
        cr_assert_eq(vh_idle(&h), 0);
        reset_queue(2);
        fake_driver_offer(&h.drv[2], &b, 1);
        vh_queue_set(&h, 2, LAB_SIZE, desc, driver, device);

        vh_queue_enable(&h, 2);

        cr_assert_eq(h.doorbells, 2);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert(fake_driver_pending(&h.drv[2]));
        cr_assert_eq(vh_queue(&h, 0, 0), 0);
        cr_assert_eq(h.doorbells, 3);
    }
}

Test(virtio_queues, no_doorbell_is_left_when_the_device_goes)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);

        vh_destroy(&h);

        cr_assert_eq(h.doorbells, 0);
    }
}

Test(virtio_queues, nobody_is_interrupted_who_does_not_want_it)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        fake_driver_set_event(&h.drv[0], FAKE_EVENT_OFF, 0);

        cr_assert_eq(lab_ask(&h, 0), 4);

        cr_assert_eq(h.drv[0].notified, 0);
        cr_assert_eq(h.queue_interrupts, 0);
    }
}

Test(virtio_queues, a_broken_ring_needs_a_reset_is_told_and_works_after_it)
{
    FOR_ALL
    {
        struct fake_buf b = { VH_RAM_BYTES, 16, true };

        cr_assert_eq(vh_start(&h, 0), 0);

        cr_assert_eq(vh_request(&h, 1, &b, 1), -EAGAIN);

        cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
        cr_assert_eq(h.config_interrupts, 1);
        cr_assert(vh_logged(&h, "broke the rules"));
        cr_assert_eq(lab_ask(&h, 0), -EAGAIN, "nothing is served before the reset");
        cr_assert_eq(vh_reset(&h, 0), 0);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 1), 4);
    }
}

Test(virtio_queues, a_driver_that_goes_wrong_again_and_again_does_not_flood_the_log)
{
    FOR_ALL
    {
        struct fake_buf b = { VH_RAM_BYTES, 16, true };

        for (unsigned i = 0; i < 50; i++) {
            cr_assert_eq(vh_start(&h, 0), 0);
            vh_request(&h, 1, &b, 1);
            cr_assert_eq(vh_reset(&h, 0), 0);
        }

        cr_assert_leq(h.log_lines, 12);
    }
}

Test(virtio_queues, an_error_of_the_devices_own_needs_a_reset)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->kick_rc = way & 1 ? -EIO : -EPROTO;

        lab_ask(&h, 0);

        cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
        cr_assert(vh_logged(&h, way & 1 ? "error 5" : "broke the rules"));
    }
}

static int careless_kick(struct virtio_dev *dev, uint16_t n)
{
    struct vq_chain c;

    (void)vq_next(&dev->queue[n], &c);
    return 0;
}

Test(virtio_queues, a_device_that_ignores_a_broken_ring_is_found_out)
{
    struct virtio_ops ops = lab_ops;
    struct fake_buf b = { VH_RAM_BYTES, 16, true };

    ops.kick = careless_kick;
    vh_open(&h, &ways[0]);
    lab = lab_make(&h, &ops, 1);
    cr_assert_eq(vh_plug(&h, &lab->dev), 0);
    cr_assert_eq(vh_start(&h, 0), 0);

    vh_request(&h, 0, &b, 1);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
    vh_close(&h);
}

Test(virtio_queues, one_queue_can_be_reset_alone_and_enabled_again)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 1), 4);

        reset_queue(1);

        cr_assert_not(vh_queue_enabled(&h, 1));
        cr_assert_eq(vh_queue_size_max(&h, 1), LAB_SIZE);
        cr_assert_eq(lab_ask(&h, 0), 4);
        cr_assert_eq(vh_queue(&h, 1, 16), 0);
        cr_assert_eq(lab_ask(&h, 1), 4);
    }
}

Test(virtio_queues, a_reset_of_one_queue_waits_for_its_requests)
{
    FOR_ALL
    {
        unsigned kicks, interrupts;

        cr_assert_eq(vh_start(&h, 0), 0);
        lab->hold = true;
        lab_ask(&h, 0);
        kicks = lab->kicks[0];
        interrupts = h.queue_interrupts;

        ask_reset(0);
        cr_assert_eq(resetting(), 1);
        cr_assert(vh_queue_enabled(&h, 0));
        lab_ask(&h, 0);
        cr_assert_eq(lab->kicks[0], kicks, "no further chain is taken");
        cr_assert_eq(resetting(), 1);
        finish();

        cr_assert_eq(resetting(), 0);
        cr_assert_eq(h.queue_interrupts, interrupts);
        cr_assert_not(vh_queue_enabled(&h, 0));
        cr_assert_eq(lab->dev.queue[0].desc, 0, "the old ring is the driver's");
        cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET);
        lab->hold = false;
        cr_assert_eq(vh_queue(&h, 0, 16), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

Test(virtio_queues, other_queues_work_on_while_one_is_reset)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->hold = true;
        lab_ask(&h, 0);

        ask_reset(0);

        cr_assert_eq(lab_ask(&h, 1), 4);
        finish();
    }
}

/* The requests of queue 0 stay with the device. */
static void hold_a_request(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    lab->hold = true;
    lab_ask(&h, 0);
}

static int mmio_stop(uint16_t n)
{
    vh_write(&h, VH_MMIO + 0x30, 4, n);
    return vh_write(&h, VH_MMIO + 0x44, 4, 0);
}

static bool parked(void)
{
    return __atomic_load_n(&lab->dev.dev.parked, __ATOMIC_ACQUIRE);
}

static void queue_stopped(uint16_t n)
{
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_queue_stopped(&lab->dev, n);
    vm_lock_release(&lab->dev.dev.lock);
}

Test(virtio_queues, mmio_parks_the_vcpu_until_the_requests_of_its_queue_are_back)
{
    lab = lab_open(&h, &ways[1]);
    hold_a_request();

    cr_assert_eq(mmio_stop(0), -EINPROGRESS);
    cr_assert(parked());
    cr_assert_eq(vh_read(&h, VH_MMIO + 0x44, 4), 1);
    finish();

    cr_assert_not(parked());
    cr_assert_eq(h.unparks, 1);
    cr_assert_eq(vh_read(&h, VH_MMIO + 0x44, 4), 0);
    vh_close(&h);
}

Test(virtio_queues, mmio_stops_a_queue_at_once_that_has_nothing_under_way)
{
    lab = lab_open(&h, &ways[1]);
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(mmio_stop(1), 0);

    cr_assert_not(parked());
    cr_assert_eq(vh_read(&h, VH_MMIO + 0x44, 4), 0);
    vh_close(&h);
}

Test(virtio_queues, a_reset_of_the_device_lets_go_who_waits_for_a_queue)
{
    lab = lab_open(&h, &ways[1]);
    hold_a_request();
    cr_assert_eq(mmio_stop(0), -EINPROGRESS);

    cr_assert_eq(vh_reset(&h, 0), 0);

    cr_assert_not(parked());
    vh_close(&h);
}

Test(virtio_queues, a_vcpu_that_waits_for_one_queue_is_not_let_go_by_another)
{
    lab = lab_open(&h, &ways[1]);
    lab->queue_stop_late = true;
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(mmio_stop(0), -EINPROGRESS);
    cr_assert_eq(mmio_stop(1), -EINPROGRESS);

    queue_stopped(1);

    cr_assert(parked());
    queue_stopped(0);
    cr_assert_not(parked());
    vh_close(&h);
}

Test(virtio_queues, a_device_says_when_its_queue_has_stopped)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->queue_stop_late = true;
        ask_reset(1);
        cr_assert_eq(resetting(), 1);
        cr_assert(vh_queue_enabled(&h, 1));
        cr_assert_eq(lab->queue_stops, 1);

        queue_stopped(1);

        cr_assert_eq(resetting(), 0);
        cr_assert_not(vh_queue_enabled(&h, 1));
    }
}

Test(virtio_queues, a_queue_that_does_not_stop_marks_the_device_until_it_does)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->queue_stop_late = true;
        ask_reset(1);

        cr_assert_eq(vh_pass(&h, VIRTIO_STOP_NS + 1), 0);

        cr_assert(lab->dev.dev.broken);
        cr_assert_eq(resetting(), 1);
        queue_stopped(1);
        cr_assert_not(lab->dev.dev.broken);
        cr_assert_eq(resetting(), 0);
    }
}

Test(virtio_queues, what_is_told_of_a_stopped_queue_reaches_nobody)
{
    FOR_ALL
    {
        unsigned interrupts;

        cr_assert_eq(vh_start(&h, 0), 0);
        reset_queue(1);
        interrupts = h.queue_interrupts;
        lab->dev.kick[1].remote = true; /* whose word is taken */

        virtio_notify(&lab->dev, 1);

        cr_assert_eq(h.queue_interrupts, interrupts);
        lab->dev.kick[1].remote = false;
    }
}

Test(virtio_queues, a_doorbell_is_lent_and_taken_back_between_drivers)
{
    FOR_ALL
    {
        int fd;

        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 1), 4);
        cr_assert_eq(vh_reset(&h, 0), 0);
        virtio_kick_lend(&lab->dev, 1, true);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(virtio_kick_fd(&lab->dev, 1, &fd), 0);
        vm_eventfd_signal(fd);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(vm_eventfd_take(fd), 1, "the loop does not look at it");

        cr_assert_eq(vh_reset(&h, 0), 0);
        virtio_kick_lend(&lab->dev, 1, false);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 1), 4);
        vm_eventfd_signal(fd);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(vm_eventfd_take(fd), 0, "and now it does again");
    }
}

Test(virtio_queues, a_reset_of_the_device_ends_that_of_a_queue)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->hold = true;
        lab_ask(&h, 0);
        ask_reset(0);

        cr_assert_eq(vh_reset(&h, 0), 0);

        cr_assert_eq(resetting(), 0);
        lab->hold = false;
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

Test(virtio_queues, a_snapshot_has_a_queue_whose_reset_has_ended)
{
    FOR_ALL
    {
        struct vm_buffer b = { 0 };

        cr_assert_eq(vh_start(&h, 0), 0);
        lab->hold = true;
        lab_ask(&h, 0);
        ask_reset(0);
        cr_assert_eq(vh_quiesce(&h), 0);

        cr_assert_eq(virtio_core_save(&lab->dev, &b), 0);

        cr_assert_not(lab->dev.queue[0].started);
        vm_buffer_free(&b);
    }
}

Test(virtio_queues, a_queue_is_not_reset_alone_where_that_was_not_agreed_on)
{
    FOR_ALL
    {
        vh_set_status(&h, 3);
        vh_write_features(&h, VQ_F_VERSION_1);
        vh_set_status(&h, 11);
        cr_assert_eq(vh_queue(&h, 0, 0), 0);

        reset_queue(0);

        cr_assert(vh_queue_enabled(&h, 0));
    }
}

Test(virtio_queues, other_values_in_queue_enable_and_reset_do_nothing)
{
    lab = lab_open(&h, &ways[0]);
    vh_negotiate(&h, 0);
    vh_write(&h, h.common + 0x1c, 2, 2);
    cr_assert_not(vh_queue_enabled(&h, 0));
    cr_assert_eq(vh_queue(&h, 0, 0), 0);

    vh_write(&h, h.common + 0x1c, 2, 0);
    vh_write(&h, h.common + 0x3a, 2, 2);

    cr_assert(vh_queue_enabled(&h, 0));
    vh_close(&h);
}

Test(virtio_queues, later_work_is_asked_for_by_the_device_itself)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        unsigned before = lab->kicks[2];

        virtio_kick_later(&lab->dev, 2);
        virtio_kick_later(&lab->dev, 2);
        virtio_kick_later(&lab->dev, 99);

        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(lab->kicks[2], before + 1);
    }
}

Test(virtio_queues, there_is_no_eventfd_for_a_queue_that_is_not_there)
{
    int fd;

    lab = lab_open(&h, &ways[0]);

    cr_assert_eq(virtio_kick_fd(&lab->dev, LAB_QUEUES, &fd), -EINVAL);

    vh_close(&h);
}

Test(virtio_queues, a_device_without_queues_works)
{
    for (size_t way = 0; way < 2; way++) {
        vh_open(&h, &ways[way]);
        lab = lab_make(&h, &lab_plain_ops, 0);
        cr_assert_eq(vh_plug(&h, &lab->dev), 0);

        cr_assert_eq(vh_start(&h, 0), 0);

        cr_assert_eq(vh_queues(&h), 0);
        vh_close(&h);
    }
}

Test(virtio_queues, too_many_queues_or_config_bytes_are_refused)
{
    static uint16_t sizes[VIRTIO_QUEUES_MAX + 1];
    struct virtio_setup s = { .queue_sizes = sizes, .queues = VIRTIO_QUEUES_MAX + 1 };
    struct virtio_dev dev;

    vh_open(&h, &ways[0]);
    cr_assert_eq(virtio_init(&dev, &lab_class, &lab_ops, &h.context, &s), -EINVAL);

    s.queues = 0;
    s.config_bytes = VIRTIO_CONFIG_MAX + 1;
    cr_assert_eq(virtio_init(&dev, &lab_class, &lab_ops, &h.context, &s), -EINVAL);

    vh_close(&h);
}
