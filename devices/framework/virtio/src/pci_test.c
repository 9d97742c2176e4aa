/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the PCI transport (VIRTIO 1.2, 4.1): registers and their widths, vectors, INTx, the configuration access window,
 * BARs that move. */
#include <stdio.h>

#include <criterion/criterion.h>

#include "pci.h"
#include "virtio_test.h"

static struct vh h;
static struct lab *lab;

static void open_way(enum vh_transport transport)
{
    struct vh_config c = { .transport = transport };

    lab = lab_open(&h, &c);
}

static void open_pci(void)
{
    open_way(VH_PCI);
}

static void close_pci(void)
{
    vh_close(&h);
}

TestSuite(virtio_pci, .init = open_pci, .fini = close_pci);

Test(virtio_pci, ids_are_those_of_the_type)
{
    cr_assert_eq(vh_pci_read(&h, 0, 2), 0x1af4);
    cr_assert_eq(vh_pci_read(&h, 2, 2), 0x1040 + VIRTIO_ID_CONSOLE);
    cr_assert_geq(vh_pci_read(&h, 8, 1), 1, "4.1.2.1: revision");
    cr_assert_geq(vh_pci_read(&h, 0x2e, 2), 0x40, "4.1.2.1: subsystem");
    cr_assert_eq(vh_pci_read(&h, 8, 4) >> 8, 0x078000);
}

Test(virtio_pci, the_type_chooses_the_class_code)
{
    static const struct {
        uint32_t id, class_code;
    } row[] = { { VIRTIO_ID_NET, 0x020000 }, { VIRTIO_ID_BLOCK, 0x018000 }, { 26, 0x00ff00 } };
    struct virtio_pci *pci;

    for (size_t i = 0; i < VM_ARRAY_SIZE(row); i++) {
        struct lab *more = lab_make(&h, &lab_plain_ops, 0);

        more->dev.id = row[i].id;
        cr_assert_eq(virtio_pci_new(&more->dev, h.root, NULL, &pci), 0);
        cr_assert_eq(vpci_config_read(virtio_pci_function(pci), 8, 4) >> 8, row[i].class_code);
        virtio_pci_free(pci);
    }
}

Test(virtio_pci, an_address_that_is_taken_leaves_the_device_with_its_owner)
{
    struct lab *more = lab_make(&h, &lab_plain_ops, 0);
    char addr[8];
    struct virtio_pci *pci;

    snprintf(addr, sizeof(addr), "%x", h.slot);

    cr_assert_eq(virtio_pci_new(&more->dev, h.root, addr, &pci), -EEXIST);

    vdev_destroy(&more->dev.dev);
}

Test(virtio_pci, freeing_nothing_is_allowed)
{
    virtio_pci_free(NULL);
    virtio_mmio_free(NULL);
}

Test(virtio_pci, fields_answer_to_their_own_width_only)
{
    static const struct {
        unsigned at, width;
    } field[] = { { 0x00, 4 }, { 0x04, 4 }, { 0x08, 4 }, { 0x0c, 4 }, { 0x10, 2 }, { 0x12, 2 },
                  { 0x14, 1 }, { 0x15, 1 }, { 0x16, 2 }, { 0x18, 2 }, { 0x1a, 2 }, { 0x1c, 2 },
                  { 0x1e, 2 }, { 0x20, 4 }, { 0x24, 4 }, { 0x28, 4 }, { 0x2c, 4 }, { 0x30, 4 },
                  { 0x34, 4 }, { 0x38, 2 }, { 0x3a, 2 } };

    vh_negotiate(&h, 0);
    vh_write(&h, h.common + 0x15, 1, 0);
    for (size_t i = 0; i < VM_ARRAY_SIZE(field); i++)
        for (unsigned len = 1; len <= 4; len *= 2) {
            uint8_t status = vh_status(&h);

            if (len == field[i].width)
                continue;
            cr_assert_eq(vh_read(&h, h.common + field[i].at, len), 0, "%#x by %u", field[i].at,
                         len);
            vh_write(&h, h.common + field[i].at, len, 0);
            cr_assert_eq(vh_status(&h), status);
        }
}

Test(virtio_pci, addresses_are_taken_in_halves_and_whole)
{
    uint64_t a = 0x123456789abcdef0;

    vh_negotiate(&h, 0);
    vh_write(&h, h.common + 0x16, 2, 2);
    for (unsigned at = 0x20; at <= 0x30; at += 8) {
        vh_write(&h, h.common + at, 4, a & UINT32_MAX);
        vh_write(&h, h.common + at + 4, 4, a >> 32);
        cr_assert_eq(vh_read(&h, h.common + at, 8), a);

        vh_write(&h, h.common + at, 8, ~a);
        cr_assert_eq(vh_read(&h, h.common + at, 4), ~a & UINT32_MAX);
        cr_assert_eq(vh_read(&h, h.common + at + 4, 4), ~a >> 32);
        a += 0x1000;
    }
    cr_assert_eq(lab->dev.queue[2].driver, ~(a - 0x2000));
}

Test(virtio_pci, read_only_fields_stay)
{
    uint64_t before[3] = { vh_read(&h, h.common + 4, 4), vh_read(&h, h.common + 0x12, 2),
                           vh_read(&h, h.common + 0x1e, 2) };

    vh_write(&h, h.common + 4, 4, 0);
    vh_write(&h, h.common + 0x12, 2, 77);
    vh_write(&h, h.common + 0x1e, 2, 77);
    vh_write(&h, h.common + 0x38, 2, 77);

    cr_assert_eq(vh_read(&h, h.common + 4, 4), before[0]);
    cr_assert_eq(vh_read(&h, h.common + 0x12, 2), before[1]);
    cr_assert_eq(vh_read(&h, h.common + 0x1e, 2), before[2]);
}

Test(virtio_pci, selects_and_features_read_back)
{
    vh_write(&h, h.common, 4, 1);
    vh_write(&h, h.common + 8, 4, 1);
    vh_write(&h, h.common + 0xc, 4, 1);
    vh_write(&h, h.common + 0x16, 2, 2);

    cr_assert_eq(vh_read(&h, h.common, 4), 1);
    cr_assert_eq(vh_read(&h, h.common + 8, 4), 1);
    cr_assert_eq(vh_read(&h, h.common + 0xc, 4), 1);
    cr_assert_eq(vh_read(&h, h.common + 0x16, 2), 2);
    cr_assert_eq(vh_read(&h, h.common + 0x1e, 2), 2, "its doorbell");
    cr_assert_eq(vh_read(&h, h.common + 0x38, 2), 2);
}

Test(virtio_pci, a_vector_that_is_not_there_reads_back_as_none)
{
    cr_assert_eq(vh_read(&h, h.common + 0x10, 2), VIRTIO_NO_VECTOR);
    vh_write(&h, h.common + 0x10, 2, h.vectors - 1U);
    cr_assert_eq(vh_read(&h, h.common + 0x10, 2), h.vectors - 1U);

    for (unsigned v = h.vectors; v <= UINT16_MAX; v = v * 2 + 1) {
        vh_write(&h, h.common + 0x10, 2, v);
        cr_assert_eq(vh_read(&h, h.common + 0x10, 2), VIRTIO_NO_VECTOR);
        vh_write(&h, h.common + 0x16, 2, 1);
        vh_write(&h, h.common + 0x1a, 2, v);
        cr_assert_eq(vh_read(&h, h.common + 0x1a, 2), VIRTIO_NO_VECTOR);
    }
}

Test(virtio_pci, there_is_a_vector_for_each_queue_and_the_configuration)
{
    cr_assert_eq(h.vectors, LAB_QUEUES + 1);
}

Test(virtio_pci, queues_interrupt_by_their_vector)
{
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(lab_ask(&h, 2), 4);

    cr_assert_eq(h.vector_count[3], 1);
    cr_assert_eq(h.vector_count[1] + h.vector_count[2], 0);
    cr_assert_not(vh_line(&h));
}

Test(virtio_pci, a_queue_without_vector_interrupts_nobody)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    vh_write(&h, h.common + 0x16, 2, 0);
    vh_write(&h, h.common + 0x1a, 2, VIRTIO_NO_VECTOR);

    cr_assert_eq(lab_ask(&h, 0), 4);

    cr_assert_eq(h.messages, 0);
    cr_assert_not(vh_line(&h));
}

Test(virtio_pci, queues_may_share_a_vector)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    vh_write(&h, h.common + 0x16, 2, 0);
    vh_write(&h, h.common + 0x1a, 2, 2);

    cr_assert_eq(lab_ask(&h, 0), 4);
    cr_assert_eq(lab_ask(&h, 1), 4);

    cr_assert_eq(h.vector_count[2], 2);
}

Test(virtio_pci, a_masked_vector_waits_in_the_pending_bits)
{
    uint64_t control;

    cr_assert_eq(vh_start(&h, 0), 0);
    control = h.msix_table + 16 * 1 + 12;
    vh_write(&h, control, 4, 1);
    cr_assert_eq(lab_ask(&h, 0), 4);
    cr_assert_eq(h.messages, 0);

    vh_write(&h, control, 4, 0);

    cr_assert_eq(h.vector_count[1], 1);
}

Test(virtio_pci, a_reset_takes_the_vectors_back)
{
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_eq(vh_reset(&h, 0), 0);

    cr_assert_eq(vh_read(&h, h.common + 0x10, 2), VIRTIO_NO_VECTOR);
    vh_write(&h, h.common + 0x16, 2, 1);
    cr_assert_eq(vh_read(&h, h.common + 0x1a, 2), VIRTIO_NO_VECTOR);
}

Test(virtio_pci, the_configuration_bit_of_the_isr_is_set_with_msix_too)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_config_changed(&lab->dev);
    vm_lock_release(&lab->dev.dev.lock);

    cr_assert_eq(vh_read(&h, h.isr, 1), 2);
    cr_assert_eq(vh_read(&h, h.isr, 1), 0);
    cr_assert_not(vh_line(&h));
}

Test(virtio_pci, doorbells_follow_the_bar)
{
    uint64_t old = h.notify;

    cr_assert_eq(vh_start(&h, 0), 0);
    vh_pci_write(&h, 0x20, 4, (uint32_t)((h.bar[4] + (1 << 20)) & UINT32_MAX));
    h.bar[4] += 1 << 20;
    cr_assert_eq(vh_probe(&h), 0);

    cr_assert_eq(h.doorbells, LAB_QUEUES);
    cr_assert_null(vh_find_doorbell(&h, false, old, 2, 0));
    cr_assert_not_null(vh_find_doorbell(&h, false, old + (1 << 20), 2, 0));
    cr_assert_eq(lab_ask(&h, 0), 4);
}

Test(virtio_pci, a_bar_under_another_one_leaves_its_doorbells_alone)
{
    static const struct vdev_region_ops nothing = { 0 };
    struct vdev_region other = { .name = "other", .size = 1 << 20, .ops = &nothing };

    cr_assert_eq(vh_start(&h, 0), 0);
    other.base = h.bar[4] + (1 << 20);
    cr_assert_eq(vdev_bus_add(h.mmio, &other), 0);
    vh_pci_write(&h, 0x20, 4, (uint32_t)(other.base & UINT32_MAX));
    cr_assert_eq(h.doorbells, 0);

    vh_pci_write(&h, 0x20, 4, (uint32_t)(h.bar[4] & UINT32_MAX));

    cr_assert_eq(h.doorbells, LAB_QUEUES);
    vdev_bus_del(h.mmio, &other, NULL, NULL);
}

Test(virtio_pci, a_bar_that_is_off_has_no_doorbells_and_on_again_has_them)
{
    cr_assert_eq(vh_start(&h, 0), 0);

    vh_pci_write(&h, 4, 2, 4);
    cr_assert_eq(h.doorbells, 0);
    vh_pci_write(&h, 4, 2, 6);

    cr_assert_eq(h.doorbells, LAB_QUEUES);
    cr_assert_eq(lab_ask(&h, 1), 4);
}

Test(virtio_pci, a_device_started_through_the_window_with_its_bar_off_gets_its_doorbells_later)
{
    cr_assert_eq(vh_negotiate(&h, 0), 0);
    cr_assert_eq(vh_queue(&h, 0, 0), 0);
    vh_pci_write(&h, 4, 2, 4);
    vh_pci_write(&h, h.window_cap + 4, 1, 4);
    vh_pci_write(&h, h.window_cap + 8, 4, 0x14);
    vh_pci_write(&h, h.window_cap + 12, 4, 1);
    vh_pci_write(&h, h.window_cap + 16, 1, 15);
    cr_assert(lab->dev.running);
    cr_assert_eq(h.doorbells, 0);

    vh_pci_write(&h, 4, 2, 6);

    cr_assert_eq(h.doorbells, 1);
    cr_assert_eq(lab_ask(&h, 0), 4);
}

Test(virtio_pci, without_bus_mastering_no_memory_is_touched)
{
    uint16_t id;
    uint32_t len;

    cr_assert_eq(vh_start(&h, 0), 0);
    vh_pci_write(&h, 4, 2, 2);

    cr_assert_eq(lab_ask(&h, 0), -EAGAIN);
    cr_assert_eq(lab->kicks[0], 1, "that of the start");

    vh_pci_write(&h, 4, 2, 6);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(fake_driver_collect(&h.drv[0], &id, &len), 1);
}

static void window_set(uint8_t bar, uint32_t offset, uint32_t length)
{
    vh_pci_write(&h, h.window_cap + 4, 1, bar);
    vh_pci_write(&h, h.window_cap + 8, 4, offset);
    vh_pci_write(&h, h.window_cap + 12, 4, length);
}

Test(virtio_pci, the_configuration_window_reads_and_writes_the_bar)
{
    window_set(4, 0x16, 2);
    vh_pci_write(&h, h.window_cap + 16, 2, 2);
    cr_assert_eq(vh_read(&h, h.common + 0x16, 2), 2);
    cr_assert_eq(vh_pci_read(&h, h.window_cap + 16, 2), 2);

    window_set(4, 0x2001, 1);
    cr_assert_eq(vh_pci_read(&h, h.window_cap + 16, 1), 0xc1);
    window_set(4, 0x2004, 4);
    cr_assert_eq(vh_pci_read(&h, h.window_cap + 16, 4), 0xc7c6c5c4);
}

Test(virtio_pci, the_configuration_window_rings_doorbells)
{
    struct fake_buf b = { 0x8000, 16, true };
    uint16_t id;
    uint32_t len;

    cr_assert_eq(vh_start(&h, 0), 0);
    fake_driver_offer(&h.drv[1], &b, 1);

    window_set(4, 0x3000 + 1 * PCI_NOTIFY_STEP, 2);
    vh_pci_write(&h, h.window_cap + 16, 2, 1);

    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(fake_driver_collect(&h.drv[1], &id, &len), 1);
}

Test(virtio_pci, a_window_onto_nothing_does_nothing)
{
    static const struct {
        uint8_t bar;
        uint32_t offset, length;
    } wrong[] = { { 3, 0x14, 1 },       { 4, 0x14, 3 },          { 4, 0x14, 0 },
                  { 4, 0x14, 8 },       { 4, 0x15, 2 },          { 4, 0xfffffffc, 4 },
                  { 4, 0x7fffffff, 1 }, { 4, 0x14, 0x80000001 }, { 0xff, 0x14, 1 } };

    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++) {
        window_set(wrong[i].bar, wrong[i].offset, wrong[i].length);

        vh_pci_write(&h, h.window_cap + 16, 4, 0x01010101);
        vh_pci_read(&h, h.window_cap + 16, 4);

        cr_assert_eq(vh_status(&h), 0, "%zu", i);
    }
}

Test(virtio_pci, what_no_structure_covers_reads_zero)
{
    for (unsigned at = 0x40; at < 0x4000; at += 0x204)
        if (at < 0x1000 || (at > 0x1000 && at < 0x2000) || at >= 0x3000)
            cr_assert_eq(vh_read(&h, h.bar[4] + at, 4), 0, "%#x", at);
    vh_write(&h, h.bar[4] + 0x40, 4, 1);
    vh_write(&h, h.bar[4] + 0x1004, 4, 1);
}

Test(virtio_pci, as_many_queues_as_there_may_be_fit_the_bar)
{
    static uint16_t sizes[VIRTIO_QUEUES_MAX];
    static struct lab many;
    struct virtio_setup s = { .id = 1, .queue_sizes = sizes, .queues = VIRTIO_QUEUES_MAX };
    struct virtio_ops ops = lab_plain_ops;
    struct virtio_pci *pci;

    for (unsigned n = 0; n < VIRTIO_QUEUES_MAX; n++)
        sizes[n] = 2;
    ops.destroy = virtio_exit;
    cr_assert_eq(virtio_init(&many.dev, &lab_class, &ops, &h.context, &s), 0);
    cr_assert_eq(virtio_pci_new(&many.dev, h.root, NULL, &pci), 0);

    cr_assert_eq(virtio_pci_function(pci)->msix.vectors, VIRTIO_QUEUES_MAX + 1);
    cr_assert_eq(vpci_root_assign(h.root), 0);
    virtio_pci_free(pci);
}

TestSuite(virtio_intx);

Test(virtio_intx, a_queue_raises_the_line_until_the_isr_is_read)
{
    struct vh_config c = { .transport = VH_PCI_INTX, .own_interrupts = true };

    lab = lab_open(&h, &c);
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(lab_ask(&h, 0), 4);
    cr_assert(vh_line(&h));
    cr_assert_eq(h.messages, 0);

    cr_assert_eq(vh_read(&h, h.isr, 1), 1);

    cr_assert_not(vh_line(&h));
    cr_assert_eq(vh_read(&h, h.isr, 1), 0);
    vh_close(&h);
}

Test(virtio_intx, a_reset_lowers_the_line)
{
    struct vh_config c = { .transport = VH_PCI_INTX, .own_interrupts = true };

    lab = lab_open(&h, &c);
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(lab_ask(&h, 0), 4);

    cr_assert_eq(vh_reset(&h, 0), 0);

    cr_assert_not(vh_line(&h));
    cr_assert_eq(vh_read(&h, h.isr, 1), 0);
    vh_close(&h);
}

Test(virtio_intx, both_reasons_show_together)
{
    struct vh_config c = { .transport = VH_PCI_INTX, .own_interrupts = true };

    lab = lab_open(&h, &c);
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(lab_ask(&h, 0), 4);
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_config_changed(&lab->dev);
    vm_lock_release(&lab->dev.dev.lock);

    cr_assert_eq(vh_read(&h, h.isr, 1), 3);
    vh_close(&h);
}

/* ---- interrupts of a device elsewhere ---- */

enum { CALL_FD = 1000 };

/* Queue 0's are signals of that eventfd. */
static void begin_calls(int fd)
{
    h.config.takes_calls = true;
    cr_assert_eq(vh_start(&h, 0), 0);
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_call_fd(&lab->dev, 0, fd);
    vm_lock_release(&lab->dev.dev.lock);
}

static void check_called(uint32_t data)
{
    cr_assert_eq(h.calls, 1);
    cr_assert(h.call[0].used);
    cr_assert_eq(h.call[0].fd, CALL_FD);
    cr_assert_eq(h.call[0].msi.addr, VH_MSI);
    cr_assert_eq(h.call[0].msi.data, data);
    cr_assert_eq(h.call[0].msi.devid, h.slot << 3);
}

Test(virtio_pci, an_eventfd_is_the_message_of_its_queues_vector)
{
    begin_calls(CALL_FD);

    check_called(VH_MSI_DATA + 1);
}

Test(virtio_pci, an_eventfd_sends_nothing_while_its_vector_is_off)
{
    uint64_t entry, control;

    begin_calls(CALL_FD);
    entry = h.msix_table + 16 * 1;
    control = entry + 12;

    vh_write(&h, control, 4, 1);
    cr_assert_eq(h.calls, 0);
    vh_write(&h, entry + 8, 4, VH_MSI_DATA + 7);
    cr_assert_eq(h.calls, 0);
    vh_write(&h, control, 4, 0);
    check_called(VH_MSI_DATA + 7);
    vh_write(&h, entry + 8, 4, VH_MSI_DATA + 8);
    check_called(VH_MSI_DATA + 8);
}

Test(virtio_pci, an_eventfd_sends_nothing_without_bus_mastering)
{
    unsigned command;

    begin_calls(CALL_FD);
    command = (unsigned)vh_pci_read(&h, 4, 2);

    vh_pci_write(&h, 4, 2, command & ~4u);
    cr_assert_eq(h.calls, 0);
    vh_pci_write(&h, 4, 2, command);
    check_called(VH_MSI_DATA + 1);
}

Test(virtio_pci, an_eventfd_follows_its_queues_vector)
{
    begin_calls(CALL_FD);

    vh_write(&h, h.common + 0x16, 2, 0);
    vh_write(&h, h.common + 0x1a, 2, VIRTIO_NO_VECTOR);
    cr_assert_eq(h.calls, 0);
    vh_write(&h, h.common + 0x1a, 2, 2);
    check_called(VH_MSI_DATA + 2);
}

Test(virtio_pci, an_eventfd_that_goes_sends_nothing_more)
{
    begin_calls(CALL_FD);

    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_call_fd(&lab->dev, 0, -1);
    vm_lock_release(&lab->dev.dev.lock);

    cr_assert_eq(h.calls, 0);
}

Test(virtio_pci, after_a_reset_an_eventfd_sends_nothing)
{
    begin_calls(CALL_FD);

    cr_assert_eq(vh_reset(&h, 0), 0);

    cr_assert_eq(h.calls, 0);
}

Test(virtio_pci, the_eventfd_of_a_device_that_was_pulled_out_sends_nothing)
{
    begin_calls(CALL_FD);

    cr_assert_eq(vh_remove(&h), 0);

    cr_assert_eq(h.calls, 0);
}

Test(virtio_pci, what_the_machine_does_not_take_comes_by_notify)
{
    h.config.takes_calls = false;
    cr_assert_eq(vh_start(&h, 0), 0);
    vm_lock_acquire(&lab->dev.dev.lock);
    virtio_call_fd(&lab->dev, 0, CALL_FD);
    vm_lock_release(&lab->dev.dev.lock);

    cr_assert_eq(lab_ask(&h, 0), 4);

    cr_assert_eq(h.calls, 0);
    cr_assert_eq(h.vector_count[1], 1);
}
