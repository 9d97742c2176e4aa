/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of pause, resume, events and the end, one step at a time. */
#include "machine_test.h"

static void pause_now(void)
{
    t.paused = false;
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0, "%s", vm_error_text());
    for (unsigned i = 0; i < t.machine->vcpus; i++)
        vmm_machine_step(t.machine, i);
    mt_idle();
}

Test(lifecycle, names_of_ends_are_words)
{
    cr_assert_str_eq(vmm_end_name(VMM_END_POWEROFF), "poweroff");
    cr_assert_str_eq(vmm_end_name(VMM_END_FAILED), "failed");
    cr_assert_str_eq(vmm_end_name((enum vmm_end)99), "?");
}

Test(lifecycle, names_of_events_are_words)
{
    cr_assert_str_eq(vmm_event_name(VMM_EVENT_TROUBLE), "trouble");
    cr_assert_str_eq(vmm_event_name(VMM_EVENT_ENDED), "ended");
    cr_assert_str_eq(vmm_event_name((enum vmm_event)99), "?");
}

Test(lifecycle, a_pause_waits_for_every_vcpu)
{
    mt_open(true);
    t.config.arch.cpus = 2;
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);
    cr_assert_eq(vmm_machine_pause_ctx(t.machine), &t);
    vmm_machine_step(t.machine, 0);
    mt_idle();
    cr_assert(!t.paused);
    vmm_machine_step(t.machine, 1);
    mt_idle();

    cr_assert(t.paused && vmm_machine_paused(t.machine));
    cr_assert_eq(t.lab[0]->quiesces, 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 0);
    cr_assert_null(vmm_machine_pause_ctx(t.machine));
    mt_close();
}

Test(lifecycle, a_pause_finishes_the_exit_that_was_half_done)
{
    mt_open(true);
    t.cpu[0].script[0] = (struct mt_exit){ MT_IN, LAB_DATA, .len = 1 };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    vmm_machine_step(t.machine, 0);
    cr_assert_eq(t.cpu[0].answered, 0);

    pause_now();

    cr_assert_eq(t.cpu[0].answered, 1);
    cr_assert_eq(t.cpu[0].turns, 1); /* and the guest did not run on */
    mt_close();
}

Test(lifecycle, a_pause_waits_for_a_device_that_takes_its_time)
{
    MT_PLAY({ .kind = MT_END });
    t.quiesce_rc = -EINPROGRESS;
    pause_now();
    cr_assert(!t.paused);

    vm_lock_acquire(&t.lab[0]->dev.lock);
    vdev_done(&t.lab[0]->dev, 0);
    vm_lock_release(&t.lab[0]->dev.lock);
    cr_assert(!t.paused); /* not in the device's thread */
    mt_idle();

    cr_assert(t.paused);
    cr_assert_eq(t.pause_code, 0);
    mt_close();
}

Test(lifecycle, a_device_that_does_not_stop_fails_the_pause_and_the_machine_runs_on)
{
    MT_PLAY({ .kind = MT_END });
    t.quiesce_rc = -EIO;

    pause_now();

    cr_assert(t.paused);
    cr_assert_eq(t.pause_code, -EIO);
    cr_assert_str_eq(t.pause_text, "the lab does not stop");
    cr_assert(!vmm_machine_paused(t.machine));
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    mt_close();
}

Test(lifecycle, a_device_that_fails_late_fails_the_pause_too)
{
    MT_PLAY({ .kind = MT_END });
    t.quiesce_rc = -EINPROGRESS;
    pause_now();

    vm_lock_acquire(&t.lab[0]->dev.lock);
    vdev_done(&t.lab[0]->dev, vm_fail(-ETIMEDOUT, "too late"));
    vm_lock_release(&t.lab[0]->dev.lock);
    vm_error_clear();
    mt_idle();

    cr_assert_eq(t.pause_code, -ETIMEDOUT);
    cr_assert_str_eq(t.pause_text, "too late");
    mt_close();
}

Test(lifecycle, a_vcpu_that_waits_for_a_broken_device_fails_the_pause_in_the_end)
{
    MT_PLAY({ MT_OUT, LAB_PARK, 1, .value = 1 }, { MT_OUT, LAB_DATA, 1, .value = 2 });
    pause_now();
    cr_assert(!t.paused);

    cr_assert_eq(vm_loop_step(t.env.loop, MACHINE_PAUSE_NS - 1), 0);
    cr_assert(!t.paused);
    cr_assert_eq(vm_loop_step(t.env.loop, 1), 1);

    cr_assert_eq(t.pause_code, -ETIMEDOUT);
    cr_assert(strstr(t.pause_text, "within 15 s"));
    vdev_unpark(&t.lab[0]->dev);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(t.lab[0]->writes, 2, "the guest runs on");
    pause_now();
    cr_assert(vmm_machine_paused(t.machine));
    mt_close();
}

static size_t job(struct vm_job_info *ret_row)
{
    return vm_jobs_list(vmm_machine_jobs(t.machine), ret_row, 1);
}

Test(lifecycle, a_pause_is_a_job_that_counts_who_is_at_rest)
{
    struct vm_job_info row = { 0 };

    mt_open(true);
    mt_add(&tube_class, NULL);
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    t.quiesce_rc = -EINPROGRESS;
    cr_assert_eq(job(&row), 0);

    pause_now();

    cr_assert_eq(job(&row), 1);
    cr_assert_str_eq(row.name, "pause");
    cr_assert_gt(row.total, 2);
    cr_assert_eq(row.done, row.total - 1, "all but the lab: %llu", (unsigned long long)row.done);
    vm_lock_acquire(&t.lab[0]->dev.lock);
    vdev_done(&t.lab[0]->dev, 0);
    vm_lock_release(&t.lab[0]->dev.lock);
    mt_idle();
    cr_assert_eq(job(&row), 0);
    cr_assert(t.paused);
    mt_close();
}

Test(lifecycle, a_pause_that_waits_for_a_vcpu_can_be_cancelled)
{
    struct vm_job_info row;

    MT_PLAY({ MT_OUT, LAB_PARK, 1, .value = 1 }, { MT_OUT, LAB_DATA, 1, .value = 2 });
    pause_now();
    cr_assert(!t.paused && job(&row) == 1);

    cr_assert_eq(vm_job_cancel(vmm_machine_jobs(t.machine), row.id), 0);
    mt_idle();

    cr_assert_eq(t.pause_code, -ECANCELED);
    cr_assert_str_eq(t.pause_text, "the pause was cancelled");
    cr_assert_eq(job(&row), 0);
    vdev_unpark(&t.lab[0]->dev);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(t.lab[0]->writes, 2, "the guest runs on");
    pause_now();
    cr_assert(vmm_machine_paused(t.machine));
    mt_close();
}

Test(lifecycle, a_pause_that_waits_for_a_device_can_be_cancelled)
{
    struct vm_job_info row;

    MT_PLAY({ .kind = MT_END });
    t.quiesce_rc = -EINPROGRESS;
    pause_now();
    cr_assert(!t.paused && job(&row) == 1);

    cr_assert_eq(vm_job_cancel(vmm_machine_jobs(t.machine), row.id), 0);
    mt_idle();

    cr_assert(t.paused);
    cr_assert_eq(t.pause_code, -ECANCELED);
    cr_assert(!vmm_machine_paused(t.machine));
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    mt_close();
}

Test(lifecycle, a_device_that_says_nothing_fails_the_pause_in_the_end)
{
    MT_PLAY({ .kind = MT_END });
    t.quiesce_rc = -EINPROGRESS;
    pause_now();

    cr_assert_eq(vm_loop_step(t.env.loop, MACHINE_PAUSE_NS - 1), 0);
    cr_assert(!t.paused);
    cr_assert_eq(vm_loop_step(t.env.loop, 1), 1);
    mt_idle();

    cr_assert_eq(t.pause_code, -ETIMEDOUT);
    cr_assert_str_eq(t.pause_text, "the lab takes its time");
    cr_assert_eq(t.machine->quiescing, 0);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1, "the guest runs on");
    t.quiesce_rc = 0;
    pause_now();
    cr_assert(vmm_machine_paused(t.machine));
    mt_close();
}

Test(lifecycle, devices_have_all_their_time_though_a_vcpu_came_out_late)
{
    MT_PLAY({ MT_OUT, LAB_PARK, 1, .value = 1 });
    t.quiesce_rc = -EINPROGRESS;
    pause_now();
    cr_assert_eq(vm_loop_step(t.env.loop, MACHINE_PAUSE_NS - 1), 0);
    vdev_unpark(&t.lab[0]->dev);
    for (unsigned i = 0; i < 2; i++)
        vmm_machine_step(t.machine, 0);
    mt_idle();
    cr_assert_eq(t.lab[0]->quiesces, 1);

    cr_assert_eq(vm_loop_step(t.env.loop, MACHINE_PAUSE_NS - 1), 0);
    cr_assert(!t.paused);
    vm_loop_step(t.env.loop, 1);
    mt_idle();

    cr_assert_eq(t.pause_code, -ETIMEDOUT);
    mt_close();
}

Test(lifecycle, resume_lets_devices_and_vcpus_go_on)
{
    MT_PLAY({ .kind = MT_END });
    pause_now();

    cr_assert_eq(vmm_machine_resume(t.machine), 0);

    cr_assert_eq(t.lab[0]->resumes, 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert(!vmm_machine_paused(t.machine));
    mt_close();
}

Test(lifecycle, a_pause_and_its_end_are_events)
{
    MT_PLAY({ .kind = MT_END });
    pause_now();
    cr_assert_eq(t.told[VMM_EVENT_PAUSED], 1);
    cr_assert_eq(t.told[VMM_EVENT_RESUMED], 0);

    cr_assert_eq(vmm_machine_resume(t.machine), 0);

    cr_assert_eq(t.told[VMM_EVENT_PAUSED], 1);
    cr_assert_eq(t.told[VMM_EVENT_RESUMED], 1);
    mt_close();
}

Test(lifecycle, a_pause_that_fails_is_no_event)
{
    MT_PLAY({ .kind = MT_END });
    t.quiesce_rc = -EIO;

    pause_now();

    cr_assert_eq(t.told[VMM_EVENT_PAUSED], 0);
    cr_assert_eq(t.told[VMM_EVENT_RESUMED], 0);
    mt_close();
}

Test(lifecycle, the_end_is_an_event_with_its_reason)
{
    MT_PLAY({ MT_OUT, LAB_EVENT, 1, .value = VDEV_EVENT_RESET });

    mt_idle();

    cr_assert_eq(t.told[VMM_EVENT_ENDED], 1);
    cr_assert_str_eq(t.event_source, "machine");
    cr_assert_str_eq(t.event, "reset");
    cr_assert_eq(t.ended, 1);
    mt_close();
}

Test(lifecycle, a_device_that_does_not_go_on_is_an_event)
{
    MT_PLAY({ .kind = MT_END });
    pause_now();
    t.resume_rc = -EIO;

    cr_assert_eq(vmm_machine_resume(t.machine), 0);
    mt_idle();

    cr_assert_eq(t.events, 1);
    cr_assert_str_eq(t.event_source, "serial0");
    cr_assert_str_eq(t.event, "the lab does not go on");
    mt_close();
}

Test(lifecycle, pausing_and_resuming_again_and_again_works)
{
    MT_PLAY({ .kind = MT_END });

    for (unsigned i = 0; i < 10; i++) {
        pause_now();
        cr_assert(t.paused, "round %u", i);
        cr_assert_eq(vmm_machine_resume(t.machine), 0);
        if (i % 2)
            vmm_machine_step(t.machine, 0);
    }
    mt_close();
}

Test(lifecycle, calls_at_the_wrong_time_say_so)
{
    mt_open(true);
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, NULL), -EBUSY);
    cr_assert_eq(vmm_machine_resume(t.machine), -EBUSY);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    cr_assert_eq(vmm_machine_start(t.machine), -EBUSY);
    cr_assert_eq(vmm_machine_resume(t.machine), -EALREADY);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, NULL), 0);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, NULL), -EBUSY);
    cr_assert_eq(vmm_machine_resume(t.machine), -EBUSY);
    vmm_machine_step(t.machine, 0);
    mt_idle();
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, NULL), -EALREADY);
    vmm_machine_stop(t.machine);

    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, NULL), -ESHUTDOWN);
    cr_assert_eq(vmm_machine_resume(t.machine), -ESHUTDOWN);
    cr_assert_eq(vmm_machine_power_button(t.machine), -ESHUTDOWN);
    cr_assert_eq(vmm_machine_start(t.machine), -ESHUTDOWN);
    mt_close();
}

Test(lifecycle, an_end_during_a_pause_ends_the_pause_first)
{
    MT_PLAY({ .kind = MT_END });
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);
    vmm_machine_stop(t.machine);
    mt_idle();

    cr_assert_eq(t.pause_code, -ESHUTDOWN);
    cr_assert_eq(t.ended, 1);
    cr_assert_eq(t.end, VMM_END_STOP);
    mt_close();
}

Test(lifecycle, a_machine_that_is_freed_ends_its_pause)
{
    MT_PLAY({ .kind = MT_END });
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);

    vmm_machine_free(t.machine);
    t.machine = NULL;

    cr_assert_eq(t.pause_code, -ESHUTDOWN);
    cr_assert_eq(t.ended, 0);
    mt_close();
}

Test(lifecycle, a_machine_that_was_never_started_can_be_stopped)
{
    mt_open(true);
    cr_assert_eq(mt_make(), 0);

    vmm_machine_stop(t.machine);
    mt_idle();

    cr_assert_eq(t.ended, 1);
    mt_close();
}

Test(lifecycle, nothing_of_a_freed_machine_is_left_in_the_loop)
{
    mt_open(true);
    cr_assert_eq(mt_make(), 0);
    vmm_machine_stop(t.machine);
    vmm_machine_free(t.machine);
    t.machine = NULL;

    mt_idle(); /* the sanitizer would see a call into freed memory */

    cr_assert_eq(t.ended, 0);
    mt_close();
}

Test(lifecycle, the_first_reason_for_the_end_wins)
{
    MT_PLAY({ MT_OUT, LAB_EVENT, 1, .value = VDEV_EVENT_POWEROFF });

    vmm_machine_stop(t.machine);
    mt_idle();

    cr_assert_eq(t.end, VMM_END_POWEROFF);
    cr_assert_eq(t.ended, 1);
    mt_close();
}

Test(lifecycle, a_balloon_tells_its_size_on_the_control_loop)
{
    MT_PLAY({ .kind = MT_END });

    vdev_event(&t.lab[0]->dev, VDEV_EVENT_BALLOON, 3 << 8);
    cr_assert_eq(t.told[VMM_EVENT_BALLOON], 0);
    mt_idle();

    cr_assert_eq(t.told[VMM_EVENT_BALLOON], 1);
    cr_assert_str_eq(t.event_source, t.lab[0]->dev.id);
    cr_assert_str_eq(t.event, "the balloon holds 3 MiB");
    cr_assert_str_eq(vmm_event_name(VMM_EVENT_BALLOON), "balloon");
    mt_close();
}

Test(lifecycle, events_of_devices_end_the_machine_as_they_say)
{
    static const struct {
        enum vdev_event event;
        enum vmm_end end;
    } rows[] = { { VDEV_EVENT_RESET, VMM_END_RESET }, { VDEV_EVENT_POWEROFF, VMM_END_POWEROFF },
                 { VDEV_EVENT_PANIC, VMM_END_PANIC }, { VDEV_EVENT_ESCAPE, VMM_END_STOP },
                 { VDEV_EVENT_DEBUG, VMM_END_NONE },  { VDEV_EVENT_SLEEP, VMM_END_NONE } };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        memset(&t, 0, sizeof(t));
        MT_PLAY({ MT_OUT, LAB_EVENT, 1, .value = rows[i].event });
        mt_idle();
        cr_assert_eq(t.end, rows[i].end, "event %u: %s", i, vmm_end_name(t.end));
        mt_close();
    }
}

Test(lifecycle, a_guest_that_asks_for_suspend_again_and_again_does_not_fill_the_log)
{
    unsigned before;

    MT_PLAY({ .kind = MT_END });
    before = t.lines;

    for (unsigned i = 0; i < 1000; i++)
        vdev_event(&t.lab[0]->dev, VDEV_EVENT_SLEEP, 0);

    cr_assert_eq(t.lines - before, 10);
    mt_close();
}

Test(lifecycle, a_broken_device_is_told_on_the_control_loop)
{
    MT_PLAY({ MT_OUT, LAB_BREAK, 1, .value = 1 });
    cr_assert_eq(t.events, 0);
    mt_idle();

    cr_assert_eq(t.events, 1);
    cr_assert_str_eq(t.event_source, "serial0");
    cr_assert_str_eq(t.event, "it fell");
    mt_close();
}

Test(lifecycle, events_that_come_too_fast_are_counted)
{
    MT_PLAY({ .kind = MT_END });

    for (unsigned i = 0; i < MACHINE_NEWS + 5; i++)
        vmm_machine_broken(&t.machine->base, NULL, "again");
    mt_idle();

    cr_assert_eq(t.events, MACHINE_NEWS + 1);
    cr_assert_str_eq(t.event, "5 more events came too fast to be kept");
    mt_close();
}

Test(lifecycle, nobody_has_to_hear_events)
{
    mt_open(true);
    t.config.event = NULL;
    cr_assert_eq(mt_make(), 0);

    vmm_machine_broken(&t.machine->base, NULL, "alone");
    mt_idle();
    mt_close();
}

Test(lifecycle, the_power_button_reaches_the_guest)
{
    struct hv_fake_irq irq;
    unsigned messages = 0;

    MT_PLAY({ MT_WRITE, test_power_key[0].addr, 4, .value = test_power_key[0].value },
            { MT_WRITE, test_power_key[1].addr, 4, .value = test_power_key[1].value });

    cr_assert_eq(vmm_machine_power_button(t.machine), 0, "%s", vm_error_text());

    while (hv_fake_irq_take(vmm_machine_vm(t.machine), &irq))
        messages += test_power_key_heard(&irq);
    cr_assert_eq(messages, 1);
    mt_close();
}

Test(lifecycle, a_machine_without_acpi_has_no_power_button)
{
    if (!varch_facts.acpi)
        cr_skip_test("this architecture's button needs no ACPI");
    mt_open(true);
    t.config.arch.acpi = false;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    cr_assert_eq(vmm_machine_power_button(t.machine), -ENOTSUP);
    mt_close();
}
