/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Rings that the kernel serves: start, stop, pause, memory, and what goes wrong. */
#include "kernel_test.h"

enum { COMMAND = 4, COMMAND_MEMORY = 2, COMMAND_MASTER = 4 };
#define LIMIT 1000000000ULL

static void quit(void)
{
    kt_close();
}

/* ---- greeting ---- */

Test(kernel, the_kernel_has_an_owner_before_it_is_told_of_memory, .fini = quit)
{
    kt_open(VH_PCI);

    cr_assert_eq(kt_make(), 0, "%s", vm_error_text());

    cr_assert_eq(fake_vhost_when(&kt.k, VHOST_GET_FEATURES), 1);
    cr_assert_eq(fake_vhost_when(&kt.k, VHOST_SET_OWNER), 2);
    cr_assert_eq(fake_vhost_when(&kt.k, VHOST_SET_MEM_TABLE), 3);
    cr_assert_eq(kt.k.table.count, 1);
    cr_assert_eq(kt.k.table.region[0].userspace_addr, (uintptr_t)kt.h.guest.host);
}

Test(kernel, what_the_kernel_cannot_is_not_offered, .fini = quit)
{
    kt_open(VH_PCI);
    kt.k.features &= ~VQ_F_EVENT_IDX;

    cr_assert_eq(kt_make(), 0);

    cr_assert_not(vh_offered(&kt.h) & (VQ_F_RING_PACKED | VQ_F_EVENT_IDX));
    cr_assert(vh_offered(&kt.h) & VQ_F_INDIRECT);
    cr_assert_eq(vh_offered(&kt.h) & 3, 1); /* of the type's the kernel knows one */
    cr_assert(vh_offered(&kt.h) & VQ_F_RING_RESET); /* which is ours */
}

static void refused(unsigned long request, int why, int code, const char *text)
{
    int rc;

    kt_open(VH_PCI);
    kt.k.refused = request;
    kt.k.why = why;
    rc = kt_make();
    cr_assert_eq(rc, code, "%d %s", rc, vm_error_text());
    cr_assert_str_eq(vm_error_text(), text);
    kt_close();
}

Test(kernel, what_is_no_such_file_is_refused)
{
    refused(VHOST_GET_FEATURES, -ENOTTY, -ENOTTY,
            "/dev/vhost-test: what was opened is no such device of the kernel's");
    refused(VHOST_SET_OWNER, -EBUSY, -EBUSY, "/dev/vhost-test: what was opened is used already");
    refused(VHOST_SET_OWNER, -ENOMEM, -ENOMEM,
            "/dev/vhost-test: VHOST_SET_OWNER: Cannot allocate memory");
    refused(
        VHOST_SET_MEM_TABLE, -E2BIG, -E2BIG,
        "vhost refuses the memory region at 0x0: the kernel's vhost takes fewer than 1 regions of "
        "guest memory: load its module with a larger max_mem_regions");
}

Test(kernel, a_kernel_from_before_virtio_1_is_refused, .fini = quit)
{
    kt_open(VH_PCI);
    kt.k.features = 1;

    cr_assert_eq(kt_make(), -ENOTSUP);
}

/* ---- serving ---- */

static void serve_by(enum vh_transport transport)
{
    unsigned before;

    kt_run(transport);
    before = kt.h.queue_interrupts;
    cr_assert_eq(kt_request(0), 'a');
    cr_assert_gt(kt.h.queue_interrupts, before);

    cr_assert_eq(kt.k.acked, VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | 1);
    for (unsigned i = 0; i < 300; i++) {
        cr_assert_eq(kt_request(0), 'a');
        cr_assert_eq(kt_request(1), 'b');
        if (i % 100 == 99) { /* the heap is full */
            cr_assert_eq(vh_reset(&kt.h, LIMIT), 0);
            cr_assert_eq(vh_start(&kt.h, 0), 0);
        }
    }
    kt_close();
}

Test(kernel, requests_go_to_the_kernel_and_interrupts_come_back)
{
    serve_by(VH_PCI);
    serve_by(VH_PCI_INTX);
    serve_by(VH_MMIO_BUS);
}

Test(kernel, the_loop_does_not_take_the_kernels_doorbells, .fini = quit)
{
    unsigned before;

    kt_run(VH_PCI);
    kt_work();
    before = kt.kicks;

    cr_assert_eq(vh_kick(&kt.h, 1), 0);
    cr_assert_eq(vh_kick(&kt.h, 2), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);

    cr_assert_eq(vm_eventfd_take(kt.k.ring[1].kick), 1);
    cr_assert_eq(kt.kicks, before + 1, "its own queue is the device's");
}

Test(kernel, doorbells_that_are_registers_reach_the_kernel, .fini = quit)
{
    kt_open(VH_PCI);
    kt.h.config.refuse_doorbells = true;
    cr_assert_eq(kt_make(), 0);
    cr_assert_eq(vh_start(&kt.h, 0), 0);

    cr_assert_eq(kt_request(1), 'b'); /* its start would be kick enough */
    cr_assert_eq(kt_request(1), 'b');
}

Test(kernel, eventfds_that_send_messages_are_the_kernels, .fini = quit)
{
    kt_open(VH_PCI);
    kt.h.config.takes_calls = true;
    cr_assert_eq(kt_make(), 0);
    cr_assert_eq(vh_start(&kt.h, 0), 0);

    cr_assert_eq(kt.h.calls, 2);
    cr_assert_eq(vh_reset(&kt.h, LIMIT), 0);
    cr_assert_eq(kt.h.calls, 0);
}

/* ---- stopping ---- */

Test(kernel, a_reset_ends_when_the_kernel_has_let_go, .fini = quit)
{
    kt_run(VH_PCI);

    cr_assert_eq(vh_set_status(&kt.h, 0), 0);
    cr_assert_neq(vh_status(&kt.h), 0, "the kernel still has the rings");
    cr_assert(kt.k.ring[0].on && kt.k.ring[1].on);

    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_eq(vh_status(&kt.h), 0);
    cr_assert_not(kt.k.ring[0].on || kt.k.ring[1].on);
}

Test(kernel, a_pause_goes_on_where_it_was, .fini = quit)
{
    struct fake_buf b;

    kt_open(VH_PCI);
    kt.h.config.takes_calls = true;
    cr_assert_eq(kt_make(), 0);
    cr_assert_eq(vh_start(&kt.h, 0), 0);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(kt_request(1), 'b');

    cr_assert_eq(vh_quiesce(&kt.h), 0);
    cr_assert_not(kt.k.ring[0].on || kt.k.ring[1].on);
    cr_assert_eq(kt.h.calls, 0, "nobody sends messages");
    cr_assert_eq(kt.dev.queue[1].next_avail, 5);
    b = (struct fake_buf){ fake_driver_alloc(&kt.h.drv[1], 16), 16, true };
    cr_assert_geq(fake_driver_offer(&kt.h.drv[1], &b, 1), 0);

    cr_assert_eq(vdev_resume(kt.h.dev), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_eq(kt.k.ring[1].base, 5);
    cr_assert_eq(kt_work(), 1, "what was offered meanwhile is seen without a kick");
}

Test(kernel, a_signal_of_the_last_moment_is_told_after_a_pause, .fini = quit)
{
    unsigned before;

    kt_run(VH_PCI);
    before = kt.h.queue_interrupts;

    vm_eventfd_signal(kt.k.ring[0].call);
    cr_assert_eq(vh_quiesce(&kt.h), 0);
    cr_assert_eq(vdev_resume(kt.h.dev), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);

    cr_assert_gt(kt.h.queue_interrupts, before);
}

Test(kernel, a_queue_that_is_stopped_alone_leaves_the_other, .fini = quit)
{
    kt_run(VH_PCI);

    cr_assert_eq(vh_queue_stop(&kt.h, 0, LIMIT), 0);
    cr_assert_not(kt.k.ring[0].on);
    cr_assert_eq(kt_request(1), 'b');

    cr_assert_eq(vh_queue(&kt.h, 0, 0), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_eq(kt.k.ring[0].base, 0, "it begins anew");
    cr_assert_eq(kt_request(0), 'a');
}

Test(kernel, a_file_that_serves_all_rings_waits_for_all, .fini = quit)
{
    kt_open(VH_PCI);
    kt.setup.together = true;
    cr_assert_eq(kt_make(), 0);
    cr_assert_eq(vh_start(&kt.h, 0), 0);
    cr_assert_eq(kt_request(0), 'a');

    cr_assert_eq(vh_queue_stop(&kt.h, 1, LIMIT), 0);
    cr_assert_not(kt.k.ring[0].on || kt.k.ring[1].on);
    cr_assert_eq(kt.k.bases, 2, "where both are is known");

    cr_assert_eq(vh_queue(&kt.h, 1, 0), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_eq(kt_request(0), 'a');
    cr_assert_eq(kt_request(1), 'b');
}

Test(kernel, without_bus_mastering_the_kernel_touches_no_memory, .fini = quit)
{
    unsigned unparks;

    kt_run(VH_PCI);
    unparks = kt.h.unparks;

    cr_assert_eq(vh_pci_write(&kt.h, COMMAND, 2, COMMAND_MEMORY), -EINPROGRESS);
    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_not(kt.k.ring[0].on || kt.k.ring[1].on);
    cr_assert_eq(kt.h.unparks, unparks + 1, "the vCPU that wrote it goes on");

    cr_assert_eq(vh_pci_write(&kt.h, COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_eq(kt_request(0), 'a');
}

/* ---- what goes wrong ---- */

static void needs_reset(const char *why)
{
    cr_assert(vh_status(&kt.h) & VIRTIO_NEEDS_RESET);
    cr_assert(vh_logged(&kt.h, why));
    cr_assert_not(kt.k.ring[0].on || kt.k.ring[1].on);
    kt.k.refused = 0;
    cr_assert_eq(vh_reset(&kt.h, LIMIT), 0);
    cr_assert_eq(vh_start(&kt.h, 0), 0);
    cr_assert_eq(kt_request(1), 'b', "a reset mends it");
}

Test(kernel, a_kernel_that_does_not_begin_is_told_to_the_driver, .fini = quit)
{
    kt_open(VH_PCI);
    cr_assert_eq(kt_make(), 0);
    kt.k.refused = VHOST_SET_VRING_ADDR;
    kt.k.spared = 1; /* ring 0 is served when ring 1 fails */
    kt.k.why = -EFAULT;
    cr_assert_eq(vh_start(&kt.h, 0), 0);

    needs_reset("VHOST_SET_VRING_ADDR: Bad address");
}

Test(kernel, a_type_that_does_not_begin_is_told_to_the_driver, .fini = quit)
{
    kt_open(VH_PCI);
    cr_assert_eq(kt_make(), 0);
    kt.k.refused = 1; /* serve() */
    kt.k.why = -ENOTSUP;
    cr_assert_eq(vh_start(&kt.h, 0), 0);

    needs_reset("the kernel does not begin to serve queue 0: Operation not supported");
}

static int err_of_control(void *ctx, unsigned file, unsigned long request, void *argument)
{
    static int err = -1;

    if (request == VHOST_SET_VRING_ERR)
        err = ((struct vhost_vring_file *)argument)->fd;
    if (!argument && !request)
        return err;
    return request == VHOST_SET_VRING_ERR ? 0 : kt_control(ctx, file, request, argument);
}

Test(kernel, a_ring_that_the_kernel_finds_broken_is_told_to_the_driver, .fini = quit)
{
    kt_open(VH_PCI);
    kt.setup.control = err_of_control;
    cr_assert_eq(kt_make(), 0);
    cr_assert_eq(vh_start(&kt.h, 0), 0);

    vm_eventfd_signal(err_of_control(NULL, 0, 0, NULL));
    cr_assert_eq(vh_idle(&kt.h), 0);

    needs_reset("the kernel found a ring broken");
}

Test(kernel, a_ring_that_lies_in_two_pieces_of_memory_is_refused, .fini = quit)
{
    const struct gm_backing backing = { 0 };
    gpa_t end = kt.h.guest.bytes;
    struct gm_change change = { .add_count = 1 };
    struct gm_region *region;

    kt_open(VH_PCI);
    end = kt.h.guest.bytes;
    cr_assert_eq(gm_region_new(end, 1 << 20, &backing, &region), 0);
    change.add = &region;
    cr_assert_eq(gm_space_change(kt.h.guest.space, &change), 0);
    cr_assert_eq(kt_make(), 0);
    cr_assert_eq(kt.k.table.count, 2);

    cr_assert_eq(vh_negotiate(&kt.h, 0), 0);
    vh_queue_set(&kt.h, 0, 64, end - 512, end - 4096, end - 8192);
    vh_queue_enable(&kt.h, 0);
    vh_set_status(&kt.h, vh_status(&kt.h) | VIRTIO_DRIVER_OK);
    cr_assert_eq(vh_idle(&kt.h), 0);

    needs_reset("queue 0: 1024 bytes at 0x7ffe00 are not one piece of memory");
    gm_region_unref(region);
}

/* ---- memory ---- */

Test(kernel, memory_that_comes_and_goes_is_told, .fini = quit)
{
    const struct gm_backing backing = { 0 };
    struct gm_region *region;
    struct gm_change add = { .add = &region, .add_count = 1 };
    struct gm_change away = { .remove = &region, .remove_count = 1 };

    kt_run(VH_PCI);
    cr_assert_eq(gm_region_new(1ULL << 32, 1 << 20, &backing, &region), 0);

    cr_assert_eq(gm_space_change(kt.h.guest.space, &add), 0);
    cr_assert_eq(kt.k.table.count, 2);
    cr_assert_eq(kt.k.table.region[1].guest_phys_addr, 1ULL << 32);

    cr_assert_eq(gm_space_change(kt.h.guest.space, &away), 0);
    cr_assert_eq(vh_idle(&kt.h), 0);
    cr_assert_eq(kt.k.table.count, 1);

    kt.k.refused = VHOST_SET_MEM_TABLE;
    kt.k.why = -E2BIG;
    cr_assert_eq(gm_space_change(kt.h.guest.space, &add), -E2BIG);
    kt.k.refused = 0;
    cr_assert_eq(gm_space_change(kt.h.guest.space, &add), 0);
    cr_assert_eq(kt.k.table.count, 2);
    gm_region_unref(region);
}

Test(kernel, memory_that_the_guest_must_not_write_is_not_the_kernels, .fini = quit)
{
    const struct gm_backing backing = { .read_only = true };
    struct gm_region *region;
    struct gm_change add = { .add = &region, .add_count = 1 };

    kt_run(VH_PCI);
    cr_assert_eq(gm_region_new(1ULL << 32, 1 << 20, &backing, &region), 0);

    cr_assert_eq(gm_space_change(kt.h.guest.space, &add), 0);

    cr_assert_eq(kt.k.table.count, 1);
    gm_region_unref(region);
}

Test(kernel, a_device_that_is_pulled_out_leaves_nothing, .fini = quit)
{
    kt_run(VH_PCI);

    cr_assert_eq(vh_remove(&kt.h), 0);

    cr_assert(kt.destroyed);
    cr_assert_eq(kt.h.doorbells, 0);
    cr_assert_not(kt.k.ring[0].on || kt.k.ring[1].on);
}

static int opened; /* what the opener says */

static int open_kernel(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    cr_assert_str_eq(name, "/dev/vhost-moon");
    cr_assert_eq(how, VM_OPEN_KERNEL);
    return opened;
}

Test(kernel, a_file_that_cannot_be_opened_says_what_to_do)
{
    static const struct {
        int rc;
        const char *text;
    } row[] = {
        { -ENOENT, "vhost=on: /dev/vhost-moon: the kernel has no vhost-moon: load it (modprobe "
                   "vhost_moon), or look up" },
        { -ENODEV, "the kernel has no vhost-moon" },
        { -ENXIO, "the kernel has no vhost-moon" },
        { -EACCES, "vhost=on: /dev/vhost-moon: permission denied: join the group that it belongs "
                   "to (ls -l /dev/vhost-moon), or look up" },
        { -EPERM, "permission denied" },
    };
    const struct vm_env env = { .open = open_kernel }, none = { 0 };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        (void)vm_fail(-EIO, "what was wrong before");
        opened = row[i].rc;
        cr_expect_eq(vhost_kernel_open(&env, "/dev/vhost-moon", "moon", "look up"), opened);
        cr_expect(strstr(vm_error_text(), row[i].text), "%d: %s", opened, vm_error_text());
    }
    opened = 7;
    cr_expect_eq(vhost_kernel_open(&env, "/dev/vhost-moon", "moon", "look up"), 7);
    cr_expect_eq(vhost_kernel_open(&none, "/dev/vhost-moon", "moon", "look up"), -EACCES);
}
