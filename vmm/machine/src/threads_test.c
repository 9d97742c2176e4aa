/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests with vCPU threads that run. */
#include <semaphore.h>

#include "emulated.h"
#include "machine_test.h"

static void start(unsigned cpus)
{
    mt_open(false);
    t.config.arch.cpus = cpus;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());
}

static unsigned turns(unsigned cpu)
{
    return __atomic_load_n(&t.cpu[cpu].turns, __ATOMIC_RELAXED);
}

static void pause_now(void)
{
    t.paused = false;
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0, "%s", vm_error_text());
    MT_UNTIL(t.paused);
}

Test(threads, every_vcpu_runs)
{
    start(4);

    for (unsigned i = 0; i < 4; i++)
        MT_UNTIL(turns(i) > 10);
    mt_close();
}

Test(threads, paused_vcpus_stand_still_and_go_on_after)
{
    unsigned seen[4];

    start(4);
    for (unsigned round = 0; round < 50; round++) {
        pause_now();
        cr_assert_eq(t.pause_code, 0);
        for (unsigned i = 0; i < 4; i++)
            seen[i] = turns(i);
        for (unsigned i = 0; i < 4; i++)
            cr_assert_eq(turns(i), seen[i]);
        cr_assert_eq(vmm_machine_resume(t.machine), 0);
        if (round % 2) /* else: paused again before they have woken */
            for (unsigned i = 0; i < 4; i++)
                MT_UNTIL(turns(i) != seen[i]);
    }
    mt_close();
}

Test(threads, a_pause_finishes_the_exit_that_was_half_done)
{
    mt_open(false);
    t.cpu[0].script[0] = (struct mt_exit){ MT_IN, LAB_PARK, .len = 1 };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    MT_UNTIL(__atomic_load_n(&t.lab[0]->dev.parked, __ATOMIC_ACQUIRE));
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);

    vdev_unpark(&t.lab[0]->dev);
    MT_UNTIL(t.paused);

    cr_assert_eq(__atomic_load_n(&t.cpu[0].answered, __ATOMIC_RELAXED), 1);
    cr_assert_eq(turns(0), 1); /* and the guest did not run on */
    mt_close();
}

Test(threads, a_crash_of_one_vcpu_ends_them_all)
{
    mt_open(false);
    t.config.arch.cpus = 4;
    t.cpu[2].script[0] = (struct mt_exit){ MT_PLAIN, .value = HV_EXIT_SHUTDOWN };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);

    MT_UNTIL(t.ended);

    cr_assert_eq(t.end, VMM_END_CRASH);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(!t.machine->vcpu[i].started);
    mt_close();
}

Test(threads, all_vcpus_may_end_the_machine_at_once)
{
    for (unsigned round = 0; round < 50; round++) {
        memset(&t, 0, sizeof(t));
        mt_open(false);
        t.config.arch.cpus = 4;
        for (unsigned i = 0; i < 4; i++)
            t.cpu[i].script[0] = (struct mt_exit){ MT_SYSTEM, .value = KVM_SYSTEM_EVENT_RESET };
        cr_assert_eq(mt_make(), 0);
        cr_assert_eq(vmm_machine_start(t.machine), 0);
        vmm_machine_stop(t.machine);
        MT_UNTIL(t.ended);
        cr_assert_eq(t.ended, 1);
        mt_close();
    }
}

Test(threads, stop_ends_a_running_machine)
{
    start(2);
    MT_UNTIL(turns(0) && turns(1));

    vmm_machine_stop(t.machine);
    MT_UNTIL(t.ended);

    cr_assert_eq(t.end, VMM_END_STOP);
    mt_close();
}

Test(threads, stop_ends_a_paused_machine)
{
    start(2);
    pause_now();

    vmm_machine_stop(t.machine);
    MT_UNTIL(t.ended);

    cr_assert_eq(t.end, VMM_END_STOP);
    mt_close();
}

static struct {
    struct vm_work work;
    sem_t hangs, over;
} io;

static void hang(struct vm_work *work)
{
    (void)work;
    vm_lock_acquire(&t.lab[0]->dev.lock);
    sem_post(&io.hangs);
    sem_wait(&io.over);
    vm_lock_release(&t.lab[0]->dev.lock);
}

Test(threads, a_machine_whose_io_thread_hangs_says_so_and_is_not_freed)
{
    start(2);
    sem_init(&io.hangs, 0, 0);
    sem_init(&io.over, 0, 0);
    vm_loop_post(t.machine->io_loop, &io.work, hang);
    MT_UNTIL(!sem_trywait(&io.hangs));
    vmm_machine_stop(t.machine);
    MT_UNTIL(t.ended);

    cr_assert_eq(vmm_machine_free(t.machine), -ETIMEDOUT);
    cr_assert(strstr(vm_error_text(), "serial0: its back end hangs"), "%s", vm_error_text());

    sem_post(&io.over);
    mt_close(); /* the sanitizer would see what was freed too early */
}

Test(threads, a_running_machine_can_be_freed)
{
    start(4);
    MT_UNTIL(turns(3));

    mt_close();

    cr_assert_eq(t.ended, 0);
}

Test(threads, a_parked_vcpu_goes_on_when_the_device_is_done)
{
    mt_open(false);
    t.cpu[0].script[0] = (struct mt_exit){ MT_OUT, LAB_PARK, 1, .value = 1 };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    MT_UNTIL(__atomic_load_n(&t.lab[0]->dev.parked, __ATOMIC_ACQUIRE));
    cr_assert_eq(turns(0), 1);

    vdev_unpark(&t.lab[0]->dev);

    MT_UNTIL(turns(0) > 1);
    mt_close();
}

Test(threads, a_pause_waits_for_a_parked_vcpu)
{
    mt_open(false);
    t.cpu[0].script[0] = (struct mt_exit){ MT_OUT, LAB_PARK, 1, .value = 1 };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    MT_UNTIL(__atomic_load_n(&t.lab[0]->dev.parked, __ATOMIC_ACQUIRE));
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);
    for (unsigned i = 0; i < 10; i++)
        vm_loop_step(t.env.loop, 0);
    cr_assert(!t.paused);

    vdev_unpark(&t.lab[0]->dev);

    MT_UNTIL(t.paused);
    mt_close();
}

Test(threads, a_parked_vcpu_does_not_keep_the_machine)
{
    mt_open(false);
    t.cpu[0].script[0] = (struct mt_exit){ MT_OUT, LAB_PARK, 1, .value = 1 };
    cr_assert_eq(mt_make(), 0);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    MT_UNTIL(__atomic_load_n(&t.lab[0]->dev.parked, __ATOMIC_ACQUIRE));

    vmm_machine_stop(t.machine);
    MT_UNTIL(t.ended);
    mt_close();
}

/* Threads with a stack that no address space has room for. */
static void make_no_more_threads(void)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    cr_assert_eq(pthread_attr_setstacksize(&attr, (size_t)1 << 46), 0);
    cr_assert_eq(pthread_setattr_default_np(&attr), 0);
}

Test(threads, a_thread_that_cannot_be_made_is_an_error_and_the_machine_can_be_freed)
{
    skip_in_emulator("limit of address space of its own");
    mt_open(false);
    cr_assert_eq(mt_make(), 0);
    make_no_more_threads();

    cr_assert_lt(vmm_machine_start(t.machine), 0);
    cr_assert(strstr(vm_error_text(), "thread of vCPU 0"), "%s", vm_error_text());
    mt_close();
}

static void note_thread(struct vm_work *work)
{
    (void)work;
    sem_post(&io.hangs);
}

Test(threads, a_machine_has_no_io_thread_until_a_device_needs_it)
{
    start(1);
    sem_init(&io.hangs, 0, 0);
    MT_UNTIL(turns(0) > 2);
    cr_assert(!t.machine->io_started);

    vm_loop_post(t.machine->io_loop, &io.work, note_thread);
    MT_UNTIL(!sem_trywait(&io.hangs));

    cr_assert(t.machine->io_started);
    mt_close();
}

Test(threads, work_that_a_device_had_before_the_start_needs_the_io_thread_at_once)
{
    mt_open(false);
    cr_assert_eq(mt_make(), 0);
    sem_init(&io.hangs, 0, 0);
    vm_loop_post(t.machine->io_loop, &io.work, note_thread);

    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());

    cr_assert(t.machine->io_started);
    sem_wait(&io.hangs);
    mt_close();
}

Test(threads, an_io_thread_that_cannot_be_made_ends_the_machine)
{
    skip_in_emulator("limit of address space of its own");
    start(1);
    make_no_more_threads();

    vm_loop_post(t.machine->io_loop, &io.work, note_thread);
    MT_UNTIL(t.ended);

    cr_assert_eq(t.end, VMM_END_FAILED);
    mt_close();
}

Test(threads, info_can_be_asked_while_vcpus_run)
{
    struct vmm_machine_info info;

    start(2);
    MT_UNTIL(turns(0) > 5 && turns(1) > 5);
    vmm_machine_get_info(t.machine, &info);

    cr_assert_eq(info.cpus, 2);
    cr_assert_eq(info.memory_bytes, 16 << 20);
    cr_assert(info.running && !info.paused);
    cr_assert_geq(info.exits, 8);
    mt_close();
}
