/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the MMIO transport (VIRTIO 1.2, 4.2): registers, widths, the interrupt line. */
#include <criterion/criterion.h>

#include "virtio_test.h"

static struct vh h;
static struct lab *lab;

static void open_mmio(void)
{
    struct vh_config c = { .transport = VH_MMIO_BUS, .own_interrupts = true };

    lab = lab_open(&h, &c);
}

static void close_mmio(void)
{
    vh_close(&h);
}

TestSuite(virtio_mmio, .init = open_mmio, .fini = close_mmio);

static uint64_t reg(unsigned at)
{
    return vh_read(&h, VH_MMIO + at, 4);
}

static void set(unsigned at, uint32_t v)
{
    vh_write(&h, VH_MMIO + at, 4, v);
}

Test(virtio_mmio, it_shows_what_it_is)
{
    cr_assert_eq(reg(0x00), 0x74726976);
    cr_assert_eq(reg(0x04), 2);
    cr_assert_eq(reg(0x08), VIRTIO_ID_CONSOLE);
    cr_assert_neq(reg(0x0c), 0);
}

Test(virtio_mmio, registers_take_words_only)
{
    vh_negotiate(&h, 0);
    for (unsigned at = 0; at < 0x100; at++)
        for (unsigned len = 1; len <= 8; len *= 2) {
            uint8_t status = vh_status(&h);

            if (len == 4 && !(at & 3))
                continue;
            if (at + len > 0x100)
                continue;
            cr_assert_eq(vh_read(&h, VH_MMIO + at, len), 0, "%#x by %u", at, len);
            vh_write(&h, VH_MMIO + at, len, 0);
            cr_assert_eq(vh_status(&h), status);
        }
}

Test(virtio_mmio, shared_memory_regions_do_not_exist)
{
    set(0xac, 0);
    cr_assert_eq(reg(0xb0), UINT32_MAX);
    cr_assert_eq(reg(0xb4), UINT32_MAX);
}

Test(virtio_mmio, what_cannot_be_read_or_written_is_harmless)
{
    for (unsigned at = 0; at < 0x70; at += 4) {
        set(at, at == 0x30 ? 0 : UINT32_MAX);
        reg(at);
    }
    set(0x30, 7);
    for (unsigned at = 0x74; at < 0x100; at += 4) {
        set(at, 1);
        reg(at);
    }
    cr_assert_eq(reg(0x34), 0);
    cr_assert_eq(vh_status(&h), 0);
}

Test(virtio_mmio, a_queue_size_beyond_16_bits_is_refused_with_the_queue)
{
    vh_negotiate(&h, 0);
    vh_queue_set(&h, 0, 8, 0x10000, 0x11000, 0x12000);
    set(0x38, 0x10008);

    set(0x44, 1);

    cr_assert_eq(reg(0x44), 0);
    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
}

Test(virtio_mmio, queue_ready_0_stops_a_queue)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    set(0x30, 1);

    set(0x44, 0);

    cr_assert_eq(reg(0x44), 0, "4.2.2.2: the driver reads it back");
    cr_assert_eq(lab_ask(&h, 0), 4);
    cr_assert_eq(vh_queue(&h, 1, 0), 0);
    cr_assert_eq(lab_ask(&h, 1), 4);
}

Test(virtio_mmio, queue_ready_0_works_without_ring_reset_too)
{
    vh_set_status(&h, 3);
    vh_write_features(&h, VQ_F_VERSION_1);
    vh_set_status(&h, 11);
    cr_assert_eq(vh_queue(&h, 0, 0), 0);

    set(0x44, 0);

    cr_assert_eq(reg(0x44), 0);
}

Test(virtio_mmio, the_line_is_high_until_every_reason_is_acknowledged)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(lab_ask(&h, 0), 4);
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_config_changed(&lab->dev);
    vm_lock_release(&lab->dev.dev.lock);
    cr_assert_eq(reg(0x60), 3);
    cr_assert(vh_line(&h));

    set(0x64, 1);
    cr_assert(vh_line(&h));
    cr_assert_eq(reg(0x60), 2);
    set(0x64, 2);

    cr_assert_not(vh_line(&h));
    cr_assert_eq(reg(0x60), 0);
}

Test(virtio_mmio, a_reset_lowers_the_line)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(lab_ask(&h, 0), 4);

    cr_assert_eq(vh_reset(&h, 0), 0);

    cr_assert_not(vh_line(&h));
    cr_assert_eq(reg(0x60), 0);
}

Test(virtio_mmio, two_devices_cannot_have_the_same_doorbell)
{
    cr_assert_eq(vh_start(&h, 0), 0);

    for (uint32_t n = 0; n < LAB_QUEUES; n++)
        cr_assert_not_null(vh_find_doorbell(&h, false, VH_MMIO + 0x50, 4, n));
    cr_assert_null(vh_find_doorbell(&h, false, VH_MMIO + 0x50, 4, LAB_QUEUES));
    cr_assert_null(vh_find_doorbell(&h, false, VH_MMIO + 0x50, 2, 0));
}

Test(virtio_mmio, config_space_that_does_not_fit_the_window_is_refused)
{
    struct virtio_setup s = { .id = 1, .config_bytes = 0x101 };
    static struct lab big;
    struct virtio_ops ops = lab_plain_ops;
    struct virtio_mmio *mmio;

    ops.destroy = virtio_exit;
    cr_assert_eq(virtio_init(&big.dev, &lab_class, &ops, &h.context, &s), 0);

    cr_assert_eq(virtio_mmio_new(&big.dev, h.mmio, VH_MMIO + 0x1000, NULL, &mmio), -EINVAL);

    cr_assert(strstr(vm_error_text(), "bus=pci"));
    vdev_destroy(&big.dev.dev);
}

Test(virtio_mmio, a_place_that_does_not_exist_is_refused)
{
    struct lab *more = lab_make(&h, &lab_plain_ops, 0);
    struct virtio_mmio *mmio;

    cr_assert_eq(virtio_mmio_new(&more->dev, h.mmio, UINT64_MAX - 1, NULL, &mmio), -EINVAL);

    vdev_destroy(&more->dev.dev);
}
