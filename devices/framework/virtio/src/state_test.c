/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of save and load: equal bytes, a device that goes on where it was, and states that are nonsense. */
#include <criterion/criterion.h>

#include <vmm/base/le.h>

#include "virtio_test.h"

static struct vh h;
static struct lab *lab;
static struct vm_buffer first, second;

static const struct vh_config ways[] = { { .transport = VH_PCI },
                                         { .transport = VH_PCI_INTX },
                                         { .transport = VH_MMIO_BUS },
                                         { .transport = VH_PCI, .packed = true },
                                         { .transport = VH_MMIO_BUS, .packed = true } };
#define FOR_ALL                                            \
    for (size_t way = 0; way < VM_ARRAY_SIZE(ways); way++) \
        for (bool once = (lab = lab_open(&h, &ways[way])); once; vh_close(&h), once = false)

static void forget(void)
{
    vm_buffer_free(&first);
    vm_buffer_free(&second);
    first = second = (struct vm_buffer){ 0 };
}

static void save(struct vm_buffer *buffer)
{
    vm_buffer_free(buffer);
    *buffer = (struct vm_buffer){ 0 };
    cr_assert_eq(vh_save(&h, buffer), 0);
}

/* The device dies and is made again over the same memory; the driver knows nothing of it. */
static void replace(void)
{
    if (h.pci)
        virtio_pci_free(h.pci);
    else
        virtio_mmio_free(h.window);
    h.pci = NULL;
    h.window = NULL;
    lab = lab_make(&h, &lab_ops, LAB_QUEUES);
    if (h.root)
        cr_assert_eq(virtio_pci_new(&lab->dev, h.root, "1", &h.pci), 0);
    else
        cr_assert_eq(virtio_mmio_new(&lab->dev, h.mmio, VH_MMIO, &h.pin[0].irq, &h.window), 0);
    h.virtio = &lab->dev;
    h.dev = &lab->dev.dev;
}

Test(virtio_state, save_load_save_gives_equal_bytes_at_every_stage)
{
    FOR_ALL
    {
        for (unsigned stage = 0; stage < 4; stage++) {
            if (stage == 1)
                cr_assert_eq(vh_negotiate(&h, 0), 0);
            if (stage == 2) {
                cr_assert_eq(vh_reset(&h, 0), 0);
                cr_assert_eq(vh_start(&h, 0), 0);
                lab->saved = 0x12345678;
                cr_assert_eq(lab_ask(&h, 0), 4);
            }
            if (stage == 3) {
                struct fake_buf b = { VH_RAM_BYTES, 16, true };

                vh_request(&h, 1, &b, 1);
            }
            cr_assert_eq(vh_quiesce(&h), 0);
            save(&first);

            replace();
            cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
            cr_assert_eq(vh_load(&h, first.data, first.len), 0, "stage %u: %s", stage,
                         vm_error_text());
            save(&second);

            cr_assert_eq(first.len, second.len);
            cr_assert_arr_eq(first.data, second.data, first.len, "way %zu stage %u", way, stage);
            cr_assert_eq(vdev_resume(h.dev), 0);
        }
        forget();
    }
}

Test(virtio_state, a_loaded_device_goes_on_where_the_old_one_was)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        for (unsigned i = 0; i < 100; i++)
            cr_assert_eq(lab_ask(&h, (uint16_t)(i % LAB_QUEUES)), 4);
        lab->saved = 77;
        cr_assert_eq(vh_quiesce(&h), 0);
        cr_assert_eq(lab_ask(&h, 1), -EAGAIN);
        save(&first);

        replace();
        cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
        cr_assert_eq(vh_load(&h, first.data, first.len), 0, "%s", vm_error_text());
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_idle(&h), 0);

        uint16_t id;
        uint32_t len;
        cr_assert_eq(fake_driver_collect(&h.drv[1], &id, &len), 1, "the kick of before");
        cr_assert_eq(lab->saved, 77);
        cr_assert_eq(lab->starts, 1);
        cr_assert_eq(h.doorbells, LAB_QUEUES);
        for (unsigned i = 0; i < 100; i++)
            cr_assert_eq(lab_ask(&h, (uint16_t)(i % LAB_QUEUES)), 4);
        cr_assert_geq(h.drv[1].notified, 60);
        forget();
    }
}

Test(virtio_state, a_device_that_was_not_quiesced_for_the_load_runs_at_once)
{
    FOR_ALL
    {
        uint16_t id;
        uint32_t len;

        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(vh_quiesce(&h), 0);
        cr_assert_eq(lab_ask(&h, 1), -EAGAIN);
        save(&first);

        replace();
        cr_assert_eq(vh_load(&h, first.data, first.len), 0);
        cr_assert_eq(vh_idle(&h), 0);

        cr_assert_eq(fake_driver_collect(&h.drv[1], &id, &len), 1);
        forget();
    }
}

Test(virtio_state, what_was_used_and_not_told_is_told_after_the_load)
{
    FOR_ALL
    {
        struct fake_buf b = { 0x8000, 16, true };

        cr_assert_eq(vh_start(&h, 0), 0);
        lab->quiet = true;
        fake_driver_offer(&h.drv[1], &b, 1);
        cr_assert_eq(vh_serve(&h, 1), 0);
        cr_assert_eq(h.queue_interrupts, 0);
        save(&first);

        replace();
        lab->quiet = true;
        cr_assert_eq(vh_load(&h, first.data, first.len), 0);
        cr_assert_eq(vh_idle(&h), 0);

        cr_assert_geq(h.drv[1].notified, 1);
        forget();
    }
}

Test(virtio_state, an_interrupt_that_was_not_acknowledged_survives)
{
    static const enum vh_transport by_line[] = { VH_PCI_INTX, VH_MMIO_BUS };

    for (size_t i = 0; i < 2; i++) {
        struct vh_config c = { .transport = by_line[i], .own_interrupts = true };

        lab = lab_open(&h, &c);
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(lab_ask(&h, 0), 4);
        cr_assert(vh_line(&h));
        cr_assert_eq(vh_quiesce(&h), 0);
        save(&first);

        replace();
        cr_assert_not(vh_line(&h));
        cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
        cr_assert_eq(vh_load(&h, first.data, first.len), 0);

        cr_assert(vh_line(&h));
        cr_assert_eq(vh_take_interrupt(&h), 1);
        cr_assert_not(vh_line(&h));
        vh_close(&h);
        forget();
    }
}

Test(virtio_state, a_held_back_configuration_interrupt_survives)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        cr_assert_eq(vh_quiesce(&h), 0);
        vm_lock_acquire(&lab->dev.dev.lock);
        virtio_config_changed(&lab->dev);
        vm_lock_release(&lab->dev.dev.lock);
        save(&first);

        replace();
        cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
        cr_assert_eq(vh_load(&h, first.data, first.len), 0);
        cr_assert_eq(h.config_interrupts, 0);
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_idle(&h), 0);

        cr_assert_eq(h.config_interrupts, 1);
        forget();
    }
}

Test(virtio_state, a_load_into_a_running_device_resets_it_first)
{
    FOR_ALL
    {
        cr_assert_eq(vh_quiesce(&h), 0);
        save(&first);
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_start(&h, 0), 0);

        cr_assert_eq(vh_load(&h, first.data, first.len), 0);

        cr_assert_eq(lab->stops, 1);
        cr_assert_eq(lab->dev.status, 0);
        cr_assert_eq(h.doorbells, 0);
        forget();
    }
}

Test(virtio_state, a_load_into_a_device_that_does_not_stop_is_refused)
{
    FOR_ALL
    {
        save(&first);
        cr_assert_eq(vh_start(&h, 0), 0);
        lab->stop_late = true;

        cr_assert_eq(vh_load(&h, first.data, first.len), -EBUSY);

        vm_lock_acquire(&lab->dev.dev.lock);
        virtio_stopped(&lab->dev);
        vm_lock_release(&lab->dev.dev.lock);
        cr_assert_eq(vh_load(&h, first.data, first.len), 0);
        lab->stop_late = false;
        forget();
    }
}

static void is_at_power_on(void)
{
    cr_assert_eq(lab->dev.status, 0);
    cr_assert_not(lab->dev.running);
    cr_assert_eq(h.doorbells, 0);
    for (uint16_t n = 0; n < LAB_QUEUES; n++)
        cr_assert_not(lab->dev.queue[n].started);
}

Test(virtio_state, a_device_that_refuses_its_part_is_at_power_on)
{
    for (unsigned what = 0; what < 2; what++)
        FOR_ALL
        {
            cr_assert_eq(vh_start(&h, 0), 0);
            save(&first);
            replace();
            if (what)
                lab->load_rc = -EINVAL;
            else
                lab->start_rc = -EINVAL;

            cr_assert_eq(vh_load(&h, first.data, first.len), -EINVAL);

            cr_assert(strstr(vm_error_text(), what ? "does not load" : "does not start"), "%s",
                      vm_error_text());
            is_at_power_on();
            forget();
        }
}

Test(virtio_state, every_cut_of_a_state_is_refused)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        save(&first);
        replace();

        for (size_t len = 0; len < first.len; len += len < 64 ? 1 : 37) {
            uint8_t *cut = malloc(len ? len : 1);

            memcpy(cut, first.data, len);
            cr_assert_lt(vh_load(&h, cut, len), 0, "%zu of %zu", len, first.len);
            free(cut);
        }
        is_at_power_on();
        vm_buffer_add(&first, "", 1);
        cr_assert_eq(vh_load(&h, first.data, first.len), -EPROTO, "a byte too many");
        forget();
    }
}

Test(virtio_state, changed_bytes_never_crash)
{
    FOR_ALL
    {
        cr_assert_eq(vh_start(&h, 0), 0);
        save(&first);
        replace();

        for (unsigned i = 0; i < 3000; i++) {
            size_t at = vh_random(&h) % first.len;
            uint8_t was = first.data[at];

            first.data[at] = (uint8_t)(vh_random(&h) & 0xff);
            (void)vh_load(&h, first.data, first.len);
            vh_idle(&h);
            first.data[at] = was;
        }
        forget();
    }
}

/* Core section with another status or features or number of queues. */
static int load_core(const struct virtio_state *s)
{
    struct vm_buffer b = { 0 };
    int rc = vm_state_save(virtio_state_fields, VIRTIO_STATE_VERSION, s, &b);

    if (!rc)
        rc = virtio_core_load(&lab->dev, b.data, b.len);
    vm_buffer_free(&b);
    return rc;
}

Test(virtio_state, a_negotiation_that_cannot_be_is_refused)
{
    static struct virtio_state s;
    const struct {
        uint8_t status;
        uint64_t features;
        uint32_t queues;
        bool started;
    } wrong[] = {
        { 0x10, 0, LAB_QUEUES, false },
        { 7, 0, LAB_QUEUES, false }, /* DRIVER_OK without FEATURES_OK */
        { 11, 0, LAB_QUEUES, false }, /* no VERSION_1 */
        { 11, VQ_F_VERSION_1 | 1ULL << 9, LAB_QUEUES, false },
        { 3, 0, LAB_QUEUES - 1, false },
        { 3, 0, LAB_QUEUES + 1, false },
        { 3, 0, LAB_QUEUES, true }, /* a queue runs before FEATURES_OK */
        { 11, VQ_F_VERSION_1, LAB_QUEUES, true }, /* ... of size 0 */
    };

    lab = lab_open(&h, &ways[0]);
    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++) {
        memset(&s, 0, sizeof(s));
        s.status = wrong[i].status;
        s.driver_features = wrong[i].features;
        s.queues = wrong[i].queues;
        s.queue[0].started = wrong[i].started;

        cr_assert_eq(load_core(&s), -EINVAL, "%zu", i);
    }
    vh_close(&h);
}

Test(virtio_state, a_generation_at_its_end_counts_on)
{
    static struct virtio_state s = { .config_generation = UINT32_MAX, .queues = LAB_QUEUES };

    lab = lab_open(&h, &ways[0]);
    cr_assert_eq(load_core(&s), 0);

    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_config_changed(&lab->dev);
    vm_lock_release(&lab->dev.dev.lock);

    cr_assert_neq(lab->dev.config_generation & 0xff, 0xff);
    vh_close(&h);
}

/* The transport's section comes first, behind its length. */
static size_t find(const struct vm_buffer *b, const void *bytes, size_t len)
{
    for (size_t at = 4; at + len <= 4 + vm_load_le(b->data, 4); at++)
        if (!memcmp(b->data + at, bytes, len))
            return at;
    cr_assert_fail("not in the state");
    return 0;
}

Test(virtio_state, transport_registers_that_cannot_be_are_refused)
{
    static const uint8_t vector[] = { 1, 0, 2, 0, 2, 0, 0, 0 }; /* field 1, u16, 2 bytes */
    static const uint8_t isr[] = { 5, 0, 1, 0, 1, 0, 0, 0 };
    static const uint8_t status[] = { 4, 0, 3, 0, 4, 0, 0, 0 };
    size_t at;

    lab = lab_open(&h, &ways[0]);
    cr_assert_eq(vh_start(&h, 0), 0);
    save(&first);
    at = find(&first, vector, 8) + 8;
    first.data[at] = 99;
    cr_assert_eq(vh_load(&h, first.data, first.len), -EINVAL);
    first.data[at] = 1;
    at = find(&first, isr, 8) + 8;
    first.data[at] = 4;
    cr_assert_eq(vh_load(&h, first.data, first.len), -EINVAL);
    vh_close(&h);
    forget();

    lab = lab_open(&h, &ways[2]);
    save(&first);
    at = find(&first, status, 8) + 8;
    first.data[at] = 4;
    cr_assert_eq(vh_load(&h, first.data, first.len), -EINVAL);
    vh_close(&h);
    forget();
}
