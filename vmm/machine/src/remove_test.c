/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of taking devices out of a running machine. */
#include <semaphore.h>

#include <vmm/virtio/device.h>

#include "machine_test.h"

/* A virtio device that stops when the test says so. */
static struct slow {
    struct virtio_dev *dev[2];
    int stop_rc;
    unsigned made, stops, destroyed;
    bool destroyed_elsewhere; /* not by the loop that serves it */
} slow;

static int slow_stop(struct virtio_dev *dev)
{
    (void)dev;
    __atomic_fetch_add(&slow.stops, 1, __ATOMIC_RELAXED); /* two devices, two locks */
    return slow.stop_rc;
}

static void slow_destroy(struct virtio_dev *dev)
{
    slow.destroyed++;
    slow.destroyed_elsewhere |= !vm_loop_is_mine(dev->dev.env->loop);
    virtio_exit(dev);
    free(dev);
}

static const struct virtio_ops slow_ops = { .kick = tube_kick,
                                            .stop = slow_stop,
                                            .destroy = slow_destroy };
static int slow_create(const struct vdev_context *context, struct vdev **ret_dev);
static const struct vdev_class slow_class = {
    .name = "slow",
    .kind = VDEV_VIRTIO,
    .props = lab_props,
    .config_size = sizeof(struct lab_config),
    .create = slow_create,
};

static int slow_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[] = { 16 };
    const struct virtio_setup setup = { .id = VIRTIO_ID_RNG, .queue_sizes = sizes, .queues = 1 };
    struct virtio_dev *dev = calloc(1, sizeof(*dev));

    cr_assert(dev);
    cr_assert_eq(virtio_init(dev, &slow_class, &slow_ops, context, &setup), 0);
    slow.dev[slow.made++ % 2] = dev;
    *ret_dev = &dev->dev;
    return 0;
}

/* What the caller of a removal hears. */
static struct {
    unsigned count;
    int code;
    char text[VM_ERROR_TEXT];
} told;

static void removed(void *ctx, int code)
{
    (void)ctx;
    told.count++;
    told.code = code;
    snprintf(told.text, sizeof(told.text), "%s", code ? vm_error_text() : "");
}

static int take_out(const char *id)
{
    return vmm_machine_remove(t.machine, id, removed, &t);
}

/* An access of the guest, stepwise. */
static uint64_t guest(struct mt_exit what)
{
    t.cpu[0].at = 0;
    t.cpu[0].script[0] = what;
    t.cpu[0].script[1] = (struct mt_exit){ .kind = MT_END };
    vmm_machine_step(t.machine, 0);
    vmm_machine_step(t.machine, 0);
    return t.cpu[0].script[0].value;
}

static uint64_t get(uint64_t addr, unsigned len)
{
    return guest((struct mt_exit){ MT_READ, addr, len, 0, NULL });
}

static void put(uint64_t addr, unsigned len, uint64_t value)
{
    guest((struct mt_exit){ MT_WRITE, addr, len, value, NULL });
}

static uint64_t config_of(unsigned device, unsigned function)
{
    return vpci_root_config_of(vmm_machine_pci(t.machine, 0))->ecam_base +
           ((uint64_t)device << 15) + ((uint64_t)function << 12);
}

static uint64_t bar_of(unsigned device)
{
    uint64_t at = config_of(device, 0) + 0x20;

    return (get(at, 4) & ~0xfULL) | get(at + 4, 4) << 32;
}

static uint64_t window_of(const char *id)
{
    return vmm_machine_find(t.machine, id)->firmware.resource[0].base;
}

static struct lab_config on_pci = { .common = { .id = (char *)"one", .bus = VDEV_BUS_PCI } };
static struct lab_config on_mmio = { .common = { .id = (char *)"two", .bus = VDEV_BUS_MMIO } };

/* "one" is 00:01.0, "two" the first window. */
static void begin(bool stepwise)
{
    mt_open(stepwise);
    mt_add(&slow_class, &on_pci);
    mt_add(&slow_class, &on_mmio);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0);
}

static void start_window(uint64_t at)
{
    put(at + 0x70, 4, 3);
    put(at + 0x24, 4, 1);
    put(at + 0x20, 4, 1);
    put(at + 0x70, 4, 11);
    put(at + 0x70, 4, 15);
    cr_assert_eq(get(at + 0x70, 4), 15);
}

static void start_function(uint64_t bar)
{
    put(bar + 0x14, 1, 3);
    put(bar + 0x08, 4, 1);
    put(bar + 0x0c, 4, 1);
    put(bar + 0x14, 1, 11);
    put(bar + 0x14, 1, 15);
    cr_assert_eq(get(bar + 0x14, 1), 15);
}

static void let_go(unsigned n)
{
    vm_lock_acquire(&slow.dev[n]->dev.lock);
    virtio_stopped(slow.dev[n]);
    vm_lock_release(&slow.dev[n]->dev.lock);
}

Test(removal, a_function_is_gone_from_the_bus_and_freed)
{
    uint64_t config, bar;

    begin(true);
    config = config_of(1, 0);
    bar = bar_of(1);
    cr_assert_eq(get(config, 4), 0x10441af4);
    cr_assert_eq(get(bar + 0x14, 1), 0);

    cr_assert_eq(take_out("one"), 0, "%s", vm_error_text());
    mt_idle();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.code, 0);
    cr_assert_eq(slow.destroyed, 1);
    cr_assert_null(vmm_machine_find(t.machine, "one"));
    cr_assert_eq(get(config, 4), 0xffffffff);
    cr_assert_eq(get(config + 0x20, 8), UINT64_MAX);
    cr_assert_eq(get(bar + 0x14, 1), 0xff);
    put(bar + 0x14, 1, 0);
    put(bar + 0x3000, 2, 0); /* its doorbell */
    put(config + 4, 2, 6);
    cr_assert_eq(get(config, 4), 0xffffffff);
    mt_close();
    cr_assert_eq(slow.destroyed, 2);
}

Test(removal, a_window_is_gone_and_its_interrupt_line_low)
{
    uint64_t window;
    uint32_t gsi;

    begin(true);
    window = window_of("two");
    gsi = (uint32_t)vmm_machine_find(t.machine, "two")->firmware.resource[1].base;
    start_window(window);
    vm_lock_acquire(&slow.dev[1]->dev.lock);
    virtio_config_changed(slow.dev[1]);
    vm_lock_release(&slow.dev[1]->dev.lock);
    cr_assert_eq(t.machine->gsi[gsi].up, 1);

    cr_assert_eq(take_out("two"), 0, "%s", vm_error_text());
    mt_idle();

    cr_assert_eq(told.code, 0);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(t.machine->gsi[gsi].up, 0);
    cr_assert_eq(get(window, 4), 0xffffffff);
    put(window + 0x50, 4, 0);
    cr_assert_eq(get(window + 0x70, 4), 0xffffffff);
    mt_close();
}

static unsigned doorbells(uint64_t addr)
{
    struct hv_ioeventfd e = { .addr = addr, .fd = vm_eventfd() };
    int rc = hv_vm_ioeventfd_add(vmm_machine_vm(t.machine), &e);

    if (!rc)
        hv_vm_ioeventfd_del(vmm_machine_vm(t.machine), &e);
    close(e.fd);
    return rc == -EEXIST;
}

Test(removal, its_doorbells_are_withdrawn)
{
    uint64_t bar;

    begin(true);
    bar = bar_of(1);
    put(config_of(1, 0) + 4, 2, 6);
    put(bar + 0x14, 1, 3);
    put(bar + 0x08, 4, 1);
    put(bar + 0x0c, 4, 1);
    put(bar + 0x14, 1, 11);
    for (unsigned area = 0; area < 3; area++)
        put(bar + 0x20 + 8 * area, 4, TEST_RAM_BASE + 0x100000 + 0x1000 * area);
    put(bar + 0x1c, 2, 1);
    put(bar + 0x14, 1, 15);
    mt_idle();
    cr_assert_eq(doorbells(bar + 0x3000), 1);

    cr_assert_eq(take_out("one"), 0);
    mt_idle();

    cr_assert_eq(told.code, 0);
    cr_assert_eq(doorbells(bar + 0x3000), 0);
    mt_close();
}

Test(removal, the_guest_sees_the_device_until_its_requests_have_ended)
{
    uint64_t bar;

    begin(true);
    bar = bar_of(1);
    start_function(bar);
    slow.stop_rc = -EINPROGRESS;

    cr_assert_eq(take_out("one"), 0);
    mt_idle();
    cr_assert_eq(told.count, 0);
    cr_assert_eq(get(bar + 0x14, 1), 15, "its memory is not the guest's again yet");
    let_go(0);
    cr_assert_eq(told.count, 0, "not in the device's thread");
    mt_idle();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.code, 0);
    cr_assert_eq(get(bar + 0x14, 1), 0xff);
    mt_close();
}

Test(removal, nothing_starts_a_device_again_that_is_leaving)
{
    uint64_t window;

    begin(true);
    window = window_of("two");
    start_window(window);
    slow.stop_rc = -EINPROGRESS;
    cr_assert_eq(take_out("two"), 0);
    let_go(1); /* at rest; the control loop has not looked yet */
    put(window + 0x70, 4, 3);
    put(window + 0x24, 4, 1);
    put(window + 0x20, 4, 1);
    put(window + 0x70, 4, 11);
    put(window + 0x70, 4, 15);

    cr_assert_eq(get(window + 0x70, 4), 0);
    cr_assert(!slow.dev[1]->running);
    mt_idle();
    cr_assert_eq(told.code, 0);
    mt_close();
}

Test(removal, it_is_a_job_that_cannot_be_cancelled)
{
    struct vm_jobs *jobs;
    struct vm_job_info row;

    begin(true);
    start_function(bar_of(1));
    slow.stop_rc = -EINPROGRESS;
    jobs = vmm_machine_jobs(t.machine);
    cr_assert_eq(take_out("one"), 0);

    cr_assert_eq(vm_jobs_list(jobs, &row, 1), 1);
    cr_assert_str_eq(row.name, "remove");
    cr_assert_eq(vm_job_cancel(jobs, row.id), -ENOTSUP);

    let_go(0);
    mt_idle();
    cr_assert_eq(vm_jobs_list(jobs, &row, 1), 0);
    mt_close();
}

Test(removal, one_at_a_time_and_no_pause_meanwhile)
{
    begin(true);
    start_function(bar_of(1));
    slow.stop_rc = -EINPROGRESS;
    cr_assert_eq(take_out("one"), 0);
    cr_assert_eq(vmm_machine_remove_ctx(t.machine), &t);

    cr_assert_eq(take_out("one"), -EALREADY);
    cr_assert_str_eq(vm_error_text(), "one is being removed already");
    cr_assert_eq(take_out("two"), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "two: one is being removed: one after the other");
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), -EBUSY);
    cr_assert(strstr(vm_error_text(), "one is being removed"), "%s", vm_error_text());

    let_go(0);
    mt_idle();
    cr_assert_null(vmm_machine_remove_ctx(t.machine));
    cr_assert_eq(take_out("one"), -ENOENT);
    slow.stop_rc = 0;
    cr_assert_eq(take_out("two"), 0);
    mt_idle();
    cr_assert_eq(told.count, 2);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);
    mt_close();
}

Test(removal, what_cannot_go_is_told_why)
{
    static struct lab_config second = {
        .common = { .id = (char *)"second", .bus = VDEV_BUS_PCI, .addr = (char *)"5.1" }
    };
    static struct lab_config first = {
        .common = { .id = (char *)"first", .bus = VDEV_BUS_PCI, .addr = (char *)"5.0" }
    };

    mt_open(true);
    mt_add(&tube_class, &first);
    mt_add(&tube_class, &second);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(take_out("first"), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "the machine was not started yet");
    cr_assert_eq(vmm_machine_start(t.machine), 0);

    cr_assert_eq(take_out("nobody"), -ENOENT);
    cr_assert_str_eq(vm_error_text(), "there is no device 'nobody': vmm info lists them");
    cr_assert_eq(take_out("serial0"), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "serial0 is a part of the machine"), "%s", vm_error_text());
    cr_assert_eq(take_out("first"), -EBUSY);
    cr_assert(strstr(vm_error_text(), "look for second (function 1)"), "%s", vm_error_text());
    cr_assert_eq(take_out("second"), 0);
    mt_idle();
    cr_assert_eq(take_out("first"), 0);
    mt_idle();

    cr_assert_eq(told.count, 2);
    mt_close();
}

Test(removal, a_paused_machine_keeps_its_devices)
{
    begin(true);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), 0);
    cr_assert_eq(take_out("one"), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "a pause is under way");
    vmm_machine_step(t.machine, 0);
    mt_idle();
    cr_assert(vmm_machine_paused(t.machine));

    cr_assert_eq(take_out("one"), -EBUSY);

    cr_assert(strstr(vm_error_text(), "the machine is paused"), "%s", vm_error_text());
    cr_assert_eq(vmm_machine_resume(t.machine), 0);
    cr_assert_eq(take_out("one"), 0);
    mt_idle();
    cr_assert_eq(told.code, 0);
    mt_close();
}

Test(removal, a_reset_that_the_machine_waits_for_comes_first)
{
    begin(true);
    start_function(bar_of(1));
    slow.stop_rc = -EINPROGRESS;
    cr_assert_eq(vdev_reset(&slow.dev[0]->dev, NULL), -EINPROGRESS);

    cr_assert_eq(take_out("one"), -EBUSY);
    cr_assert_str_eq(vm_error_text(), "one: a reset is still under way");
    cr_assert_null(vmm_machine_remove_ctx(t.machine));
    let_go(0);

    cr_assert_eq(take_out("one"), 0);
    mt_idle();
    cr_assert_eq(told.code, 0);
    mt_close();
}

Test(removal, a_device_that_does_not_stop_is_broken_and_goes_when_it_does)
{
    uint64_t bar;

    begin(true);
    bar = bar_of(1);
    start_function(bar);
    slow.stop_rc = -EINPROGRESS;
    cr_assert_eq(take_out("one"), 0);
    mt_idle();

    while (!told.count)
        cr_assert_gt(vm_loop_step(t.env.loop, UINT64_MAX), 0);
    cr_assert_eq(vm_loop_now_ns(t.env.loop), 10000000000ULL);
    cr_assert_eq(told.code, -ETIMEDOUT);
    cr_assert_str_eq(told.text, "one: did not stop in time: its back end is slow or hangs");
    mt_idle();
    cr_assert(vmm_machine_find(t.machine, "one")->broken);
    cr_assert_eq(t.events, 1);
    cr_assert_eq(get(bar + 0x14, 1), 15);
    cr_assert_eq(take_out("one"), -EALREADY);
    cr_assert_eq(take_out("two"), 0, "others are not held up");
    mt_idle();
    cr_assert_eq(told.count, 2);
    for (unsigned i = 0; i < 5; i++)
        vm_loop_step(t.env.loop, 4000000000ULL);
    let_go(0);
    mt_idle();

    cr_assert_eq(told.count, 2, "once is enough");
    cr_assert_null(vmm_machine_find(t.machine, "one"));
    cr_assert_eq(get(bar + 0x14, 1), 0xff);
    cr_assert_eq(slow.destroyed, 2);
    cr_assert_eq(slow.stops, 1);
    mt_close();
}

Test(removal, a_vcpu_that_waits_for_the_devices_reset_goes_on)
{
    uint64_t window;

    begin(true);
    window = window_of("two");
    start_window(window);
    slow.stop_rc = -EINPROGRESS;
    put(window + 0x70, 4, 0);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 0, "it is parked");
    cr_assert_eq(take_out("two"), 0);
    mt_idle();
    cr_assert_eq(vmm_machine_step(t.machine, 0), 0);
    let_go(1);
    mt_idle();
    cr_assert_eq(told.count, 0);
    cr_assert_eq(slow.destroyed, 0, "the vCPU still looks at it");

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    mt_idle();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(slow.destroyed, 1);
    cr_assert_eq(get(window, 4), 0xffffffff);
    mt_close();
}

Test(removal, the_end_of_the_machine_ends_it)
{
    begin(true);
    start_function(bar_of(1));
    slow.stop_rc = -EINPROGRESS;
    cr_assert_eq(take_out("one"), 0);

    vmm_machine_stop(t.machine);
    mt_idle();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.code, -ESHUTDOWN);
    cr_assert_eq(t.ended, 1);
    cr_assert_eq(take_out("two"), -ESHUTDOWN);
    let_go(0);
    mt_idle();
    mt_close();
    cr_assert_eq(slow.destroyed, 2);
}

/* A guest may switch off the moment that it sees the device gone. */
Test(removal, has_succeeded_where_the_machine_ends_behind_it)
{
    begin(true);
    start_window(window_of("two"));
    slow.stop_rc = -EINPROGRESS;
    put(window_of("two") + 0x70, 4, 0);
    cr_assert_eq(take_out("two"), 0);
    let_go(1);
    mt_idle();
    cr_assert_eq(told.count, 0, "the vCPU still looks at it");

    vmm_machine_stop(t.machine);
    mt_idle();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.code, 0);
    mt_close();
    cr_assert_eq(slow.destroyed, 2);
}

Test(removal, a_machine_may_be_freed_at_every_step_of_it)
{
    for (unsigned steps = 0; steps < 6; steps++) {
        memset(&t, 0, sizeof(t));
        memset(&slow, 0, sizeof(slow));
        memset(&told, 0, sizeof(told));
        begin(true);
        cr_assert_eq(take_out(steps % 2 ? "one" : "two"), 0);
        for (unsigned i = 0; i < steps; i++)
            vm_loop_step(t.env.loop, 0);

        mt_close();

        cr_assert_eq(told.count, 1);
        cr_assert_eq(slow.destroyed, 2);
    }
}

Test(removal, nothing_is_left_of_it)
{
    unsigned before;
    uint32_t gsi;

    begin(true);
    gsi = (uint32_t)vmm_machine_find(t.machine, "two")->firmware.resource[1].base;
    start_window(window_of("two"));
    start_function(bar_of(1));
    before = mt_fds();
    cr_assert_eq(take_out("one"), 0);
    mt_idle();
    cr_assert_eq(take_out("two"), 0);
    mt_idle();

    cr_assert_eq(told.count, 2);
    cr_assert_leq(mt_fds(), before);
    for (struct machine_line *l = t.machine->lines; l; l = l->next)
        cr_assert_neq(l->gsi->number, gsi, "the window's line");
    cr_assert_eq(vm_loop_step(t.env.loop, UINT64_MAX), 0);
    mt_close();
}

/* --- with threads --- */

enum { CPUS = 4, ROUNDS = 20 };

/* Guests that do nothing but touch the two devices, each at another pace. */
static struct {
    uint64_t config, bar, window;
    uint32_t turns[CPUS];
} touch;

static int touch_next(void *ctx, struct hv_vcpu *vcpu, struct hv_exit *e)
{
    static const uint8_t status[] = { 0, 3, 11, 15, 15, 15, 15, 7 };
    uint32_t *turn = ctx, n = __atomic_fetch_add(turn, 1, __ATOMIC_RELAXED);
    uint32_t value = status[n / 9 % 8];

    switch (n % 9) {
    case 0: hv_fake_exit_mmio(vcpu, e, false, touch.config, 4, 0); break;
    case 1: hv_fake_exit_mmio(vcpu, e, true, touch.config + 4, 2, 6); break;
    case 2: hv_fake_exit_mmio(vcpu, e, true, touch.bar + 0x14, 1, value); break;
    case 3: hv_fake_exit_mmio(vcpu, e, true, touch.bar + 0x3000, 2, 0); break;
    case 4: hv_fake_exit_mmio(vcpu, e, true, touch.window + 0x70, 4, value); break;
    case 5: hv_fake_exit_mmio(vcpu, e, true, touch.bar + (n & 64 ? 0x0c : 0x08), 4, 1); break;
    case 6: hv_fake_exit_mmio(vcpu, e, true, touch.window + (n & 64 ? 0x20 : 0x24), 4, 1); break;
    case 7: hv_fake_exit_mmio(vcpu, e, false, touch.window, 4, 0); break;
    default:
        hv_fake_exit_plain(e, HV_EXIT_INTR);
        sched_yield();
        break;
    }
    return 0;
}

static void touch_answer(void *ctx, struct hv_vcpu *vcpu, const struct hv_exit *e)
{
    (void)ctx;
    (void)vcpu;
    (void)e;
}

static uint32_t touched(unsigned cpu)
{
    return __atomic_load_n(&touch.turns[cpu], __ATOMIC_RELAXED);
}

static void begin_touching(void)
{
    memset(&t, 0, sizeof(t));
    memset(&slow, 0, sizeof(slow));
    memset(&told, 0, sizeof(told));
    memset(&touch, 0, sizeof(touch));
    mt_open(false);
    t.config.arch.cpus = CPUS;
    mt_add(&slow_class, &on_pci);
    mt_add(&slow_class, &on_mmio);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    touch.config = config_of(1, 0);
    touch.window = window_of("two");
    for (struct machine_device *d = t.machine->devices; d; d = d->next)
        if (d->pci)
            touch.bar = virtio_pci_function(d->pci)->bar[4].region.base;
    for (unsigned i = 0; i < CPUS; i++) {
        struct hv_fake_guest guest = { .answer = touch_answer,
                                       .next = touch_next,
                                       .ctx = &touch.turns[i] };

        touch.turns[i] = 31 * i;
        hv_fake_set_guest(vmm_machine_vcpu(t.machine, i), &guest);
    }
    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());
    for (unsigned i = 0; i < CPUS; i++)
        MT_UNTIL(touched(i) > 31 * i + 40);
}

Test(removal, vcpus_may_touch_the_device_all_the_time)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t seen[CPUS];

        begin_touching();
        cr_assert_eq(take_out(round % 2 ? "one" : "two"), 0, "%s", vm_error_text());
        MT_UNTIL(told.count == 1);
        cr_assert_eq(take_out(round % 2 ? "two" : "one"), 0, "%s", vm_error_text());
        MT_UNTIL(told.count == 2);

        cr_assert_eq(told.code, 0);
        cr_assert_eq(slow.destroyed, 2);
        cr_assert(!slow.destroyed_elsewhere);
        for (unsigned i = 0; i < CPUS; i++)
            seen[i] = touched(i);
        for (unsigned i = 0; i < CPUS; i++)
            MT_UNTIL(touched(i) > seen[i] + 20);
        mt_close();
    }
}

Test(removal, a_machine_may_be_freed_while_vcpus_touch_what_is_removed)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_touching();
        cr_assert_eq(take_out(round % 2 ? "one" : "two"), 0);
        for (unsigned i = 0; i < round % 5; i++)
            vm_loop_step(t.env.loop, 0);

        mt_close();

        cr_assert_eq(told.count, 1);
        cr_assert_eq(slow.destroyed, 2);
    }
}

static struct {
    struct vm_work work;
    sem_t hangs, over;
} io;

static void hang(struct vm_work *work)
{
    (void)work;
    sem_post(&io.hangs);
    sem_wait(&io.over);
}

Test(removal, an_io_thread_that_hangs_does_not_keep_the_caller)
{
    begin(false);
    sem_init(&io.hangs, 0, 0);
    sem_init(&io.over, 0, 0);
    vm_loop_post(t.machine->io_loop, &io.work, hang);
    MT_UNTIL(!sem_trywait(&io.hangs));
    cr_assert_eq(take_out("one"), 0);
    MT_UNTIL(t.machine->freeing);
    cr_assert_eq(take_out("two"), -EBUSY);
    cr_assert_eq(take_out("one"), -EALREADY);

    t.machine->remove_timer.fired(&t.machine->remove_timer); /* 15 s have passed */

    cr_assert_eq(told.code, -ETIMEDOUT);
    cr_assert(strstr(told.text, "one: is out of the guest's sight"), "%s", told.text);
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, &t), -EBUSY);
    sem_post(&io.over);
    MT_UNTIL(!t.machine->freeing);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(slow.destroyed, 1);
    mt_close();
}

Test(removal, a_device_that_hangs_with_the_io_thread_is_given_up_by_the_control_loop)
{
    begin(false);
    sem_init(&io.hangs, 0, 0);
    sem_init(&io.over, 0, 0);
    vm_lock_acquire(&slow.dev[0]->dev.lock);
    slow.dev[0]->running = true;
    vm_lock_release(&slow.dev[0]->dev.lock);
    slow.stop_rc = -EINPROGRESS;
    vm_loop_post(t.machine->io_loop, &io.work, hang);
    MT_UNTIL(!sem_trywait(&io.hangs));
    cr_assert_eq(take_out("one"), 0);

    t.machine->remove_timer.fired(&t.machine->remove_timer);
    MT_UNTIL(t.events);

    cr_assert_eq(told.code, -ETIMEDOUT);
    cr_assert(strstr(told.text, "one: did not stop in time"), "%s", told.text);
    cr_assert(slow.dev[0]->dev.broken);
    let_go(0);
    sem_post(&io.over);
    MT_UNTIL(!vmm_machine_find(t.machine, "one") && !t.machine->freeing);
    cr_assert_eq(told.count, 1);
    mt_close();
}
