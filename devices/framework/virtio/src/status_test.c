/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of negotiation, the status machine and config space (VIRTIO 1.2, 2.1 to 2.5, 3.1), over both transports. */
#include <criterion/criterion.h>

#include "virtio_test.h"

static struct vh h;
static struct lab *lab;

static const struct vh_config both[] = { { .transport = VH_PCI }, { .transport = VH_MMIO_BUS } };
#define FOR_BOTH                                           \
    for (size_t way = 0; way < VM_ARRAY_SIZE(both); way++) \
        for (bool once = (lab = lab_open(&h, &both[way])); once; vh_close(&h), once = false)

enum { ACK = VIRTIO_ACKNOWLEDGE, DRV = VIRTIO_DRIVER, OK = VIRTIO_FEATURES_OK };

Test(virtio_status, offered_features_are_the_devices_the_rings_and_version_1)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_offered(&h), LAB_F_ONE | LAB_F_TWO | VQ_F_VERSION_1 | VQ_F_INDIRECT |
                                         VQ_F_EVENT_IDX | VQ_F_RING_PACKED | VQ_F_RING_RESET);
    }
}

Test(virtio_status, features_that_fit_are_taken)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_negotiate(&h, LAB_F_TWO), 0);

        cr_assert(virtio_has(&lab->dev, LAB_F_TWO));
        cr_assert_not(virtio_has(&lab->dev, LAB_F_ONE));
        cr_assert(virtio_has(&lab->dev, VQ_F_VERSION_1));
    }
}

Test(virtio_status, a_feature_that_was_not_offered_is_refused)
{
    FOR_BOTH
    {
        vh_set_status(&h, ACK | DRV);
        vh_write_features(&h, VQ_F_VERSION_1 | 1ULL << 7);

        vh_set_status(&h, ACK | DRV | OK);

        cr_assert_eq(vh_status(&h), ACK | DRV);
        cr_assert_eq(lab->dev.features, 0);
        cr_assert(vh_logged(&h, "do not fit"));
    }
}

Test(virtio_status, a_driver_without_version_1_is_refused)
{
    FOR_BOTH
    {
        vh_set_status(&h, ACK | DRV);
        vh_write_features(&h, LAB_F_ONE);

        vh_set_status(&h, ACK | DRV | OK);

        cr_assert_eq(vh_status(&h), ACK | DRV);
    }
}

Test(virtio_status, a_refused_driver_may_try_again)
{
    FOR_BOTH
    {
        vh_set_status(&h, ACK | DRV);
        vh_write_features(&h, 0);
        vh_set_status(&h, ACK | DRV | OK);

        cr_assert_eq(vh_negotiate(&h, 0), 0);
    }
}

Test(virtio_status, features_are_fixed_after_features_ok)
{
    FOR_BOTH
    {
        vh_negotiate(&h, LAB_F_ONE);

        vh_write_features(&h, VQ_F_VERSION_1 | LAB_F_TWO);

        cr_assert(virtio_has(&lab->dev, LAB_F_ONE));
        cr_assert_eq(lab->dev.driver_features & LAB_F_TWO, 0);
    }
}

Test(virtio_status, feature_words_beyond_the_second_read_zero_and_are_ignored)
{
    lab = lab_open(&h, &both[0]);

    for (uint64_t select = 2; select < 1ULL << 32; select = select * 5 + 3) {
        vh_write(&h, h.common, 4, select);
        cr_assert_eq(vh_read(&h, h.common + 4, 4), 0);
        vh_write(&h, h.common + 8, 4, select);
        vh_write(&h, h.common + 12, 4, UINT32_MAX);
        cr_assert_eq(lab->dev.driver_features, 0);
        cr_assert_eq(vh_read(&h, h.common + 8, 4), select);
    }
    vh_close(&h);
}

Test(virtio_status, bits_are_only_added)
{
    FOR_BOTH
    {
        vh_set_status(&h, ACK | DRV);

        vh_set_status(&h, ACK);

        cr_assert_eq(vh_status(&h), ACK | DRV);
    }
}

Test(virtio_status, a_driver_cannot_set_needs_reset_or_unknown_bits)
{
    FOR_BOTH
    {
        vh_set_status(&h, ACK | VIRTIO_NEEDS_RESET | 16 | 32);

        cr_assert_eq(vh_status(&h), ACK);
    }
}

Test(virtio_status, driver_ok_without_features_ok_starts_nothing)
{
    FOR_BOTH
    {
        vh_set_status(&h, ACK | DRV | VIRTIO_DRIVER_OK);

        cr_assert_eq(vh_status(&h), ACK | DRV);
        cr_assert_eq(lab->starts, 0);
    }
}

Test(virtio_status, driver_ok_starts_once)
{
    FOR_BOTH
    {
        cr_assert_eq(vh_start(&h, 0), 0);

        vh_set_status(&h, vh_status(&h));

        cr_assert_eq(lab->starts, 1);
        cr_assert(lab->dev.running);
    }
}

Test(virtio_status, failed_is_kept_until_reset)
{
    FOR_BOTH
    {
        vh_set_status(&h, VIRTIO_FAILED);
        cr_assert_eq(vh_status(&h), VIRTIO_FAILED);

        cr_assert_eq(vh_reset(&h, 0), 0);

        cr_assert_eq(vh_status(&h), 0);
    }
}

Test(virtio_status, a_device_that_does_not_start_needs_a_reset_and_says_so)
{
    FOR_BOTH
    {
        lab->start_rc = -EIO;

        vh_start(&h, 0);

        cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
        cr_assert_eq(h.config_interrupts, 1);
        cr_assert(vh_logged(&h, "the lab does not start"));
        lab->start_rc = 0;
        cr_assert_eq(vh_reset(&h, 0), 0);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
    }
}

Test(virtio_status, needs_reset_before_driver_ok_is_told_with_driver_ok)
{
    FOR_BOTH
    {
        vh_negotiate(&h, 0);
        vm_lock_acquire(&lab->dev.dev.lock);
        virtio_needs_reset(&lab->dev, "a test");
        vm_lock_release(&lab->dev.dev.lock);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(h.config_interrupts, 0);

        vh_set_status(&h, (uint8_t)(vh_status(&h) | VIRTIO_DRIVER_OK));

        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(h.config_interrupts, 1);
        cr_assert_eq(lab->starts, 0);
    }
}

Test(virtio_status, config_space_reads_any_width_and_zeros_beyond_its_end)
{
    FOR_BOTH
    {
        uint64_t at = way ? VH_MMIO + 0x100 : h.device_config;

        cr_assert_eq(vh_read(&h, at, 1), 0xc0);
        cr_assert_eq(vh_read(&h, at + 1, 2), 0xc2c1);
        cr_assert_eq(vh_read(&h, at + 4, 4), 0xc7c6c5c4);
        cr_assert_eq(vh_read(&h, at + 4, 8), 0xcbcac9c8c7c6c5c4);
        cr_assert_eq(vh_read(&h, at + 10, 4), 0x0000cbca);
        cr_assert_eq(vh_read(&h, at + 12, 4), 0);
        cr_assert_eq(vh_read(&h, at + 0xff, 1), 0);
    }
}

Test(virtio_status, config_writes_reach_the_device_only_inside_its_space)
{
    FOR_BOTH
    {
        uint64_t at = way ? VH_MMIO + 0x100 : h.device_config;

        vh_write(&h, at + 8, 4, 0x11223344);
        vh_write(&h, at + 10, 4, 0);
        vh_write(&h, at + 12, 1, 0);
        vh_write(&h, at + 200, 4, 0);

        cr_assert_eq(lab->writes, 1);
        cr_assert_eq(lab->written[8], 0x44);
    }
}

Test(virtio_status, config_writes_without_a_call_back_are_ignored)
{
    vh_open(&h, &both[1]);
    lab = lab_make(&h, &lab_plain_ops, 1);
    cr_assert_eq(vh_plug(&h, &lab->dev), 0);

    vh_write(&h, VH_MMIO + 0x100, 4, 0);

    cr_assert_eq(vh_read(&h, VH_MMIO + 0x100, 4), 0xc3c2c1c0);
    vh_close(&h);
}

static void change(void)
{
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_config_changed(&lab->dev);
    vm_lock_release(&lab->dev.dev.lock);
}

Test(virtio_status, a_change_of_config_space_shows_in_the_generation_and_interrupts)
{
    FOR_BOTH
    {
        uint64_t at = way ? VH_MMIO + 0xfc : h.common + 0x15, before;

        cr_assert_eq(vh_start(&h, 0), 0);
        before = vh_read(&h, at, way ? 4 : 1);

        change();

        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_neq(vh_read(&h, at, way ? 4 : 1), before);
        cr_assert_eq(h.config_interrupts, 1);
        cr_assert_eq(h.queue_interrupts, 0);
    }
}

Test(virtio_status, a_change_before_driver_ok_interrupts_nobody)
{
    FOR_BOTH
    {
        change();

        cr_assert_eq(vh_idle(&h), 0);
        cr_assert_eq(h.config_interrupts, 0);
    }
}
