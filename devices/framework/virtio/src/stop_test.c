/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of reset and quiesce: at once, later, too late, and both together. */
#include <criterion/criterion.h>

#include "virtio_test.h"

#define SECOND 1000000000ULL

static struct vh h;
static struct lab *lab;

static const struct vh_config both[] = { { .transport = VH_PCI }, { .transport = VH_MMIO_BUS } };
#define FOR_BOTH                                           \
    for (size_t way = 0; way < VM_ARRAY_SIZE(both); way++) \
        for (bool once = (lab = lab_open(&h, &both[way])); once; vh_close(&h), once = false)

static void stopped(void)
{
    vm_lock_acquire(&lab->dev.dev.lock);
    lab_drop(lab);
    virtio_stopped(&lab->dev);
    vm_lock_release(&lab->dev.dev.lock);
}

static bool parked(void)
{
    return __atomic_load_n(&lab->dev.dev.parked, __ATOMIC_ACQUIRE);
}

Test(virtio_stop, a_reset_gives_back_everything_a_driver_changed)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);

        cr_assert_eq(vh_reset(&h, 0), 0);

        cr_assert_eq(lab->stops, 1);
        cr_assert_eq(lab->resets, 1);
        cr_assert_eq(lab->dev.driver_features, 0);
        cr_assert_eq(lab->dev.features, 0);
        cr_assert_not(lab->dev.running);
        for (uint16_t n = 0; n < LAB_QUEUES; n++) {
            cr_assert_not(vh_queue_enabled(&h, n));
            cr_assert_eq(lab->dev.queue[n].desc, 0);
            cr_assert_eq(lab->dev.queue[n].size, LAB_SIZE);
        }
        cr_assert_not(parked());
    }
}

Test(virtio_stop, a_device_that_does_not_run_is_not_stopped)
{
    FOR_BOTH
    {
        vh_negotiate(&h, 0);

        cr_assert_eq(vh_reset(&h, 0), 0);

        cr_assert_eq(lab->stops, 0);
        cr_assert_eq(lab->resets, 1);
    }
}

Test(virtio_stop, pci_shows_the_old_status_until_the_reset_has_ended)
{
    uint8_t before;

    lab = lab_open(&h, &both[0]);
    cr_assert_eq(vh_start(&h, 0), 0);
    before = vh_status(&h);
    lab->stop_late = true;

    cr_assert_eq(vh_set_status(&h, 0), 0);
    cr_assert_eq(vh_pass(&h, SECOND), 0);
    cr_assert_eq(vh_status(&h), before);
    cr_assert_eq(h.doorbells, 0, "no kick comes any more");

    stopped();
    cr_assert_eq(vh_status(&h), 0);
    lab->stop_late = false;
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(lab_ask(&h, 0), 4);
    vh_close(&h);
}

Test(virtio_stop, mmio_parks_the_vcpu_until_the_reset_has_ended)
{
    struct vdev *who = NULL;
    uint8_t zero[4] = { 0 };

    lab = lab_open(&h, &both[1]);
    cr_assert_eq(vh_start(&h, 0), 0);
    lab->stop_late = true;

    cr_assert_eq(vdev_bus_write(&h.reader, VH_MMIO + 0x70, zero, 4, &who), -EINPROGRESS);
    cr_assert_eq(who, &lab->dev.dev);
    cr_assert(parked());
    cr_assert_eq(h.unparks, 0);

    stopped();
    cr_assert_not(parked());
    cr_assert_eq(h.unparks, 1);
    cr_assert_eq(vh_status(&h), 0);
    lab->stop_late = false;
    vh_close(&h);
}

Test(virtio_stop, mmio_resets_by_the_low_byte_of_the_register)
{
    lab = lab_open(&h, &both[1]);
    cr_assert_eq(vh_start(&h, 0), 0);
    lab->stop_late = true;

    cr_assert_eq(vh_write(&h, VH_MMIO + 0x70, 4, 0x100), -EINPROGRESS);

    cr_assert(parked());
    stopped();
    lab->stop_late = false;
    vh_close(&h);
}

Test(virtio_stop, a_vcpu_is_let_go_when_its_device_is_taken_away)
{
    lab = lab_open(&h, &both[1]);
    cr_assert_eq(vh_start(&h, 0), 0);
    lab->stop_late = true;
    vh_set_status(&h, 0);

    vh_destroy(&h);

    cr_assert_eq(h.unparks, 1);
    vh_close(&h);
}

Test(virtio_stop, while_it_stops_kicks_and_registers_do_nothing)
{
    FOR_BOTH
    {
        unsigned kicks;

        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        vh_set_status(&h, 0);
        kicks = lab->kicks[0];

        vh_kick(&h, 0);
        virtio_kick_later(&lab->dev, 0);
        vh_set_status(&h, VIRTIO_FAILED);
        cr_assert_eq(vh_status(&h), 0xf);
        vh_set_status(&h, 0);
        vh_queue_set(&h, 0, 0, 0, 0, 0);
        vh_queue_enable(&h, 0);
        if (h.pci) {
            vh_write(&h, h.common + 0x3a, 2, 1);
            vh_pci_write(&h, 4, 2, 0);
            vh_pci_write(&h, 4, 2, 6);
        }
        cr_assert_eq(vh_idle(&h), 0);

        cr_assert_eq(lab->kicks[0], kicks);
        cr_assert_eq(lab->stops, 1);
        cr_assert(vh_queue_enabled(&h, 0));
        cr_assert_eq(h.doorbells, 0);
        stopped();
        cr_assert_eq(vh_status(&h), 0);
        cr_assert_not(parked());
        lab->stop_late = false;
    }
}

Test(virtio_stop, a_device_past_the_deadline_is_broken_and_the_driver_still_waits)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        vh_set_status(&h, 0);

        cr_assert_eq(vh_pass(&h, 10 * SECOND - 1), 0);
        cr_assert_eq(h.broken, 0);
        cr_assert_eq(vh_pass(&h, 1), 0);

        cr_assert_eq(h.broken, 1);
        cr_assert(lab->dev.dev.broken);
        cr_assert_eq(parked(), way == 1);
        cr_assert_neq(vh_status(&h), 0);
        stopped();
        cr_assert_not(parked());
        cr_assert_not(lab->dev.dev.broken);
        cr_assert(vh_logged(&h, "after all"));
        lab->stop_late = false;
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

Test(virtio_stop, the_deadline_of_one_reset_does_not_hit_the_next)
{
    FOR_BOTH
    {
        lab->stop_late = true;
        for (unsigned i = 0; i < 4; i++) {
            cr_assert_eq(vh_start(&h, 0), 0);
            vh_set_status(&h, 0);
            cr_assert_eq(vh_pass(&h, 6 * SECOND), 0);
            stopped();
        }

        cr_assert_eq(h.broken, 0);
        lab->stop_late = false;
    }
}

Test(virtio_stop, stopped_without_being_asked_is_harmless)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);

        stopped();

        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

static int stop_at_once(struct virtio_dev *dev)
{
    lab_of(dev)->stops++;
    lab_drop(lab_of(dev));
    virtio_stopped(dev);
    return -EINPROGRESS;
}

Test(virtio_stop, a_stop_may_end_inside_the_call)
{
    struct virtio_ops ops = lab_ops;

    ops.stop = stop_at_once;
    for (size_t way = 0; way < 2; way++) {
        vh_open(&h, &both[way]);
        lab = lab_make(&h, &ops, LAB_QUEUES);
        cr_assert_eq(vh_plug(&h, &lab->dev), 0);
        cr_assert_eq(vh_start(&h, 0), 0);

        cr_assert_eq(vh_reset(&h, 0), 0);

        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(vh_machine_reset(&h), 0);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
        vh_close(&h);
    }
}

Test(virtio_stop, the_machines_reset_waits_for_a_late_stop)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        h.done = false;

        cr_assert_eq(vdev_reset(h.dev, vh_done), -EINPROGRESS);
        cr_assert_eq(vh_pass(&h, SECOND), 0);
        cr_assert_not(h.done);
        stopped();

        cr_assert(h.done);
        cr_assert_eq(h.code, 0);
        lab->stop_late = false;
    }
}

Test(virtio_stop, the_machines_reset_joins_the_drivers)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        vh_set_status(&h, 0);
        h.done = false;

        cr_assert_eq(vdev_reset(h.dev, vh_done), -EINPROGRESS);
        cr_assert_eq(lab->stops, 1);
        stopped();

        cr_assert(h.done);
        cr_assert(!h.pci || !vh_pci_read(&h, 4, 2), "power-on, not only the driver's reset");
        cr_assert_not(parked());
        lab->stop_late = false;
    }
}

Test(virtio_stop, the_machine_is_told_when_a_reset_takes_too_long)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;

        cr_assert_eq(vh_machine_reset(&h), -ETIMEDOUT);

        cr_assert(lab->dev.dev.broken);
        stopped();
        lab->stop_late = false;
        cr_assert_eq(vh_machine_reset(&h), 0);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

Test(virtio_stop, the_machine_that_asks_again_for_a_late_reset_is_told_again)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        cr_assert_eq(vh_machine_reset(&h), -ETIMEDOUT);

        cr_assert_eq(vh_machine_reset(&h), -ETIMEDOUT);

        stopped();
        lab->stop_late = false;
    }
}

Test(virtio_stop, the_machine_that_joins_a_late_reset_of_the_drivers_is_told)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        vh_set_status(&h, 0);
        cr_assert_eq(vh_pass(&h, 11 * SECOND), 0);
        cr_assert_eq(h.broken, 1);

        cr_assert_eq(vh_machine_reset(&h), -ETIMEDOUT);

        stopped();
        lab->stop_late = false;
    }
}

Test(virtio_stop, a_queue_is_not_enabled_while_the_device_stops)
{
    FOR_BOTH
    {
        vh_negotiate(&h, 0);
        cr_assert_eq(vh_queue(&h, 0, 0), 0);
        vh_set_status(&h, 15);
        lab->stop_late = true;
        vh_set_status(&h, 0);
        vh_queue_set(&h, 1, 8, 0x20000, 0x21000, 0x22000);

        vh_queue_enable(&h, 1);

        cr_assert_not(vh_queue_enabled(&h, 1));
        stopped();
        lab->stop_late = false;
    }
}

Test(virtio_stop, a_reset_forgets_an_interrupt_that_was_held_back)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(vh_quiesce(&h), 0);
        vm_lock_acquire(&lab->dev.dev.lock);
        virtio_config_changed(&lab->dev);
        vm_lock_release(&lab->dev.dev.lock);

        cr_assert_eq(vdev_reset(h.dev, NULL), 0);

        cr_assert_not(lab->dev.config_late);
    }
}

Test(virtio_stop, quiesce_finishes_requests_and_resume_goes_on)
{
    FOR_BOTH
    {
        uint16_t id;
        uint32_t len;

        cr_assert_eq(vh_start(&h, 0), 0);
        lab->hold = true;
        cr_assert_eq(lab_ask(&h, 0), -EAGAIN);

        cr_assert_eq(vh_quiesce(&h), 0);

        cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1);
        lab->hold = false;
        cr_assert_eq(lab_ask(&h, 0), -EAGAIN, "kicks wait");
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1, "the kick was not lost");
        cr_assert_eq(lab->resumes, 1);
    }
}

Test(virtio_stop, a_device_without_quiesce_just_rests)
{
    for (size_t way = 0; way < 2; way++) {
        vh_open(&h, &both[way]);
        lab = lab_make(&h, &lab_plain_ops, 1);
        cr_assert_eq(vh_plug(&h, &lab->dev), 0);
        cr_assert_eq(vh_start(&h, 0), 0);

        cr_assert_eq(vh_quiesce(&h), 0);
        cr_assert_eq(lab_ask(&h, 0), -EAGAIN);
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_idle(&h), 0);

        cr_assert(fake_driver_pending(&h.drv[0]));
        cr_assert_eq(vh_reset(&h, 0), 0);
        vh_close(&h);
    }
}

Test(virtio_stop, interrupts_are_held_back_while_the_machine_stands_still)
{
    FOR_BOTH
    {
        struct fake_buf b = { 0x8000, 16, true };
        unsigned before;

        cr_assert_eq(vh_start(&h, 0), 0);
        lab->quiet = true;
        fake_driver_offer(&h.drv[1], &b, 1);
        cr_assert_eq(vh_serve(&h, 1), 0);
        cr_assert(fake_driver_pending(&h.drv[1]));
        cr_assert_eq(vh_quiesce(&h), 0);
        before = h.queue_interrupts + h.config_interrupts;

        vm_lock_acquire(&lab->dev.dev.lock);
        virtio_config_changed(&lab->dev);
        virtio_notify(&lab->dev, 1);
        vm_lock_release(&lab->dev.dev.lock);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(h.queue_interrupts + h.config_interrupts, before);

        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(h.config_interrupts, 1);
        cr_assert_geq(h.drv[1].notified, 1);
    }
}

Test(virtio_stop, a_late_quiesce_is_waited_for)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->quiesce_late = true;
        h.done = false;

        cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);
        cr_assert_eq(lab_ask(&h, 1), -EAGAIN, "nothing is begun any more");
        stopped();

        cr_assert(h.done);
        cr_assert_eq(h.code, 0);
        cr_assert(h.dev->quiesced);
    }
}

Test(virtio_stop, a_quiesce_past_the_deadline_fails_and_the_device_works_on)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->quiesce_late = true;
        h.done = false;

        cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);
        cr_assert_eq(lab_ask(&h, 1), -EAGAIN);
        cr_assert_eq(vh_pass(&h, 10 * SECOND), 0);

        cr_assert_eq(h.code, -ETIMEDOUT);
        cr_assert(fake_driver_pending(&h.drv[1]), "what was offered meanwhile is served");
        cr_assert_not(h.dev->quiesced);
        cr_assert_not(h.dev->broken, "it works on");
        cr_assert_eq(h.broken, 1, "but it is told");
        cr_assert_eq(lab->resumes, 1);
        cr_assert_eq(lab_ask(&h, 0), 4);
        stopped();
        lab->quiesce_late = false;
        cr_assert_eq(vh_quiesce(&h), 0);
    }
}

Test(virtio_stop, each_pause_that_fails_is_told)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->quiesce_late = true;

        for (unsigned i = 1; i <= 3; i++) {
            cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);
            cr_assert_eq(vh_pass(&h, 10 * SECOND), 0);
            cr_assert_eq(h.broken, i);
        }

        stopped();
    }
}

Test(virtio_stop, a_pause_that_is_given_up_leaves_the_device_at_work)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->quiesce_late = true;
        h.done = false;
        cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);

        vdev_give_up(h.dev);

        cr_assert(h.done);
        cr_assert_eq(h.code, -ETIMEDOUT);
        cr_assert_not(h.dev->quiesced);
        cr_assert_not(h.dev->broken);
        cr_assert_eq(lab_ask(&h, 0), 4);
        cr_assert_eq(vh_pass(&h, 20 * SECOND), 0);
        cr_assert_eq(h.broken, 1, "its own deadline does not pass any more");
        h.done = false;
        stopped();
        vdev_give_up(h.dev);
        cr_assert_not(h.done, "what comes later is nobody's");
        lab->quiesce_late = false;
        cr_assert_eq(vh_quiesce(&h), 0);
    }
}

Test(virtio_stop, a_pause_given_up_during_the_drivers_reset_leaves_the_driver_waiting)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        vh_set_status(&h, 0);
        cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);

        vdev_give_up(h.dev);

        cr_assert_eq(h.code, -ETIMEDOUT);
        cr_assert_neq(vh_status(&h), 0);
        h.done = false;
        stopped();
        cr_assert_eq(vh_status(&h), 0);
        cr_assert_not(h.done);
        lab->stop_late = false;
    }
}

Test(virtio_stop, a_quiesce_waits_for_the_drivers_reset)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        vh_set_status(&h, 0);
        h.done = false;

        cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);
        cr_assert_eq(lab->quiesces, 0);
        stopped();

        cr_assert(h.done);
        cr_assert(h.dev->quiesced);
        cr_assert_eq(vh_status(&h), 0);
        cr_assert_not(parked());
        lab->stop_late = false;
    }
}

Test(virtio_stop, a_reset_ends_a_quiesce_that_is_under_way)
{
    for (unsigned late = 0; late < 2; late++)
        FOR_BOTH
        {
            cr_assert_eq(vh_start(&h, 0), 0);
            lab->quiesce_late = true;
            lab->stop_late = late;
            h.done = false;
            cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);

            vh_set_status(&h, 0);
            if (late) {
                cr_assert_not(h.done);
                stopped();
            }

            cr_assert(h.done);
            cr_assert_eq(h.code, 0);
            cr_assert(h.dev->quiesced);
            cr_assert_eq(vh_status(&h), 0);
            lab->stop_late = false;
        }
}

Test(virtio_stop, a_device_that_does_not_run_is_quiet_already)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_quiesce(&h), 0);
        cr_assert_eq(lab->quiesces, 0);
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(lab->resumes, 0);
    }
}

Test(virtio_stop, a_resume_that_fails_leaves_the_device_quiet)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(vh_quiesce(&h), 0);
        lab->resume_rc = -EIO;

        cr_assert_eq(vdev_resume(h.dev), -EIO);

        cr_assert_eq(lab_ask(&h, 0), -EAGAIN);
    }
}

Test(virtio_stop, the_machines_reset_gives_back_what_the_drivers_leaves)
{
    lab = lab_open(&h, &both[0]);
    cr_assert_eq(vh_start(&h, 0), 0);
    lab->dev.config_generation = 9;
    cr_assert_eq(vh_reset(&h, 0), 0);
    cr_assert_eq(lab->dev.config_generation, 9);
    cr_assert(vh_pci_read(&h, 4, 2) & 4);

    cr_assert_eq(vdev_reset(h.dev, NULL), 0);

    cr_assert_eq(lab->dev.config_generation, 0);
    cr_assert_eq(vh_pci_read(&h, 4, 2), 0);
    vh_close(&h);
}

Test(virtio_stop, a_property_is_set_where_the_device_can)
{
    static const struct vm_prop prop = { .name = "size" };

    vh_open(&h, &both[0]);
    lab = lab_make(&h, &lab_plain_ops, 1);
    cr_assert_eq(vh_plug(&h, &lab->dev), 0);
    cr_assert_eq(h.dev->ops->set(h.dev, &prop, NULL), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "size cannot be changed"));
    vh_close(&h);

    lab = lab_open(&h, &both[0]);
    cr_assert_eq(h.dev->ops->set(h.dev, &prop, NULL), 0);
    cr_assert_eq(lab->sets, 1);
    vh_close(&h);
}

Test(virtio_stop, a_removal_waits_for_requests_and_takes_the_transport_away)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;
        h.done = false;
        cr_assert_eq(vdev_remove(h.dev, vh_done), -EINPROGRESS);
        vh_set_status(&h, 15);
        cr_assert_eq(lab->stops, 1);
        cr_assert_not(h.done);
        stopped();
        cr_assert(h.done);
        cr_assert_eq(h.code, 0);
        vh_start(&h, 0);
        cr_assert_not(lab->dev.running, "nothing starts it again");

        cr_assert_eq(vh_remove(&h), 0);

        cr_assert_eq(h.doorbells, 0);
        cr_assert_null(h.dev);
    }
}

Test(virtio_stop, a_removal_has_a_deadline_and_may_be_waited_for_again)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;

        cr_assert_eq(vh_remove(&h), -ETIMEDOUT);
        cr_assert(h.dev->broken);
        cr_assert_eq(h.broken, 1);
        h.done = false;
        cr_assert_eq(vdev_remove(h.dev, vh_done), -EINPROGRESS);
        stopped();

        cr_assert(h.done);
        cr_assert_eq(h.code, 0);
        cr_assert_not(h.dev->broken);
        cr_assert_eq(lab->stops, 1);
    }
}
