/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory slots, the dirty log and the dirty ring, ioeventfds, collected writes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>

#include "payload.h"

static struct payload p;
static uint8_t page[0x1000] __attribute__((aligned(0x1000)));

TestSuite(memory, .timeout = TEST_TIMEOUT);

Test(memory, a_write_to_a_read_only_slot_is_mmio_and_changes_nothing)
{
    struct hv_slot rom = {
        .id = 7, .flags = HV_SLOT_READ_ONLY, .gpa = ROM_AT, .size = 0x1000, .host = page
    };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, rom);
    vm_store_le(page, 2, 0xf00d);
    cr_assert_eq(hv_vm_set_slot(p.vm, &rom), 0, "%s", vm_error_text());

    payload_run(&p);
    cr_assert(payload_is_mmio_write(&p, ROM_AT, 2, 0xbeef));
    payload_run_to(&p, DONE);

    cr_assert_eq(vm_load_le(p.low + RESULT, 4), 0xf00df00d);
    cr_assert_eq(vm_load_le(page, 2), 0xf00d);
    payload_free(&p);
}

Test(memory, a_removed_slot_is_no_memory_any_more)
{
    struct hv_slot slot = { .id = 7, .gpa = ROM_AT, .size = 0x1000, .host = page };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, rom);
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), 0);
    slot.size = 0;
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), 0, "%s", vm_error_text());

    payload_run(&p);

    cr_assert(payload_is_mmio_read(&p, ROM_AT, 2));
    payload_free(&p);
}

Test(memory, a_slot_that_moves_takes_its_bytes_along)
{
    struct hv_slot slot = { .id = 7, .gpa = ROM_AT + 0x1000, .size = 0x1000, .host = page };

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, rom);
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), 0, "%s", vm_error_text());
    slot.gpa = ROM_AT;
    page[0] = 0x0d, page[1] = 0xf0;

    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), 0, "%s", vm_error_text());
    payload_run_to(&p, DONE);

    cr_assert_arr_eq(p.low + RESULT, "\x0d\xf0\xef\xbe", 4);
    cr_assert_arr_eq(page, "\xef\xbe", 2);
    payload_free(&p);
}

Test(memory, overlapping_and_unaligned_slots_are_refused)
{
    struct hv_slot slot = { .id = 7, .gpa = 0x1000, .size = 0x1000, .host = page };

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), -EEXIST);
    slot.gpa = ROM_AT + 0x800;
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), -EINVAL);
    slot.gpa = ROM_AT;
    slot.flags = 0x80;
    cr_assert_eq(hv_vm_set_slot(p.vm, &slot), -EINVAL);
    payload_free(&p);
}

enum { LOW_PAGES = LOW_BYTES / 0x1000 };

static uint64_t log_word(struct payload *g)
{
    uint64_t bitmap[LOW_PAGES / 64] = { 0 };

    cr_assert_eq(hv_vm_dirty_get(g->vm, 0, LOW_PAGES, bitmap), 0, "%s", vm_error_text());
    return bitmap[0] & ~(uint64_t)OWN_PAGES;
}

Test(memory, the_dirty_log_names_written_pages_once)
{
    payload_new(&p, &(struct payload_config){ .log_dirty = true });
    payload_load(&p, dirty);

    cr_assert_eq(log_word(&p), 0);
    payload_run_to(&p, DONE);
    cr_assert_eq(log_word(&p), 1u << 5 | 1u << 9);
    cr_assert_eq(log_word(&p), 0);
    payload_run_to(&p, DONE);
    cr_assert_eq(log_word(&p), 1u << 5 | 1u << 9);

    payload_free(&p);
}

Test(memory, a_slot_without_log_has_none)
{
    uint64_t bitmap[LOW_PAGES / 64];

    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vm_dirty_get(p.vm, 0, LOW_PAGES, bitmap), -ENOENT);

    payload_free(&p);
}

Test(memory, manual_protection_keeps_the_log_until_it_is_cleared)
{
    uint64_t clear = 1u << 5;

    payload_new(&p, &(struct payload_config){ .log_dirty = true, .manual_protect = 1 });
    payload_load(&p, dirty);
    payload_run_to(&p, DONE);

    cr_assert_eq(log_word(&p), 1u << 5 | 1u << 9);
    cr_assert_eq(log_word(&p), 1u << 5 | 1u << 9);
    cr_assert_eq(hv_vm_dirty_clear(p.vm, 0, 0, 64, &clear), 0, "%s", vm_error_text());
    cr_assert_eq(log_word(&p), 1u << 9);
    payload_run_to(&p, DONE);
    cr_assert_eq(log_word(&p), 1u << 5 | 1u << 9);

    payload_free(&p);
}

static void need_ring(void)
{
    payload_new(&p, &(struct payload_config){ 0 });
    if (!hv_vm_cap(p.vm, KVM_CAP_DIRTY_LOG_RING) &&
        !hv_vm_cap(p.vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL))
        cr_skip_test("this KVM has no dirty ring (capability %d is 0)",
                     KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
    payload_free(&p);
}

/* True when both pages of the payload are among the n entries. */
static bool has_both(const struct hv_dirty_page *pages, size_t n)
{
    unsigned found = 0;

    for (size_t i = 0; i < n; i++)
        if (pages[i].slot == 0 && (pages[i].page == 5 || pages[i].page == 9))
            found |= pages[i].page == 5 ? 1 : 2;
    return found == 3;
}

Test(memory, the_dirty_ring_names_written_pages_again_after_its_reset)
{
    struct hv_dirty_page pages[64];
    size_t n;

    need_ring();
    payload_new(&p, &(struct payload_config){ .log_dirty = true, .dirty_ring = 1024 });
    payload_load(&p, dirty);

    payload_run_to(&p, DONE);
    n = hv_vcpu_dirty_take(p.vcpu, pages, 64);
    cr_assert(has_both(pages, n));
    cr_assert_eq(hv_vcpu_dirty_take(p.vcpu, pages, 64), 0);
    cr_assert_eq(hv_vm_dirty_ring_reset(p.vm), (int)n);
    cr_assert_eq(hv_vm_dirty_ring_reset(p.vm), 0);
    payload_run_to(&p, DONE);
    n = hv_vcpu_dirty_take(p.vcpu, pages, 64);
    cr_assert(has_both(pages, n));

    payload_free(&p);
}

Test(memory, a_full_dirty_ring_stops_the_guest_until_it_is_emptied)
{
    static struct hv_dirty_page pages[1024];
    enum { PAGES = 3000 };
    struct hv_slot logged;
    size_t n, total = 0, full = 0;
    uint32_t told;

    need_ring();
    payload_new(
        &p, &(struct payload_config){ .mode = FLAT_MODE, .high_pages = PAGES, .dirty_ring = 1024 });
    logged = (struct hv_slot){
        .id = 1, .flags = HV_SLOT_LOG_DIRTY, .gpa = HIGH_AT, .size = p.high_bytes, .host = p.high
    };
    cr_assert_eq(hv_vm_set_slot(p.vm, &logged), 0, "%s", vm_error_text());
    payload_load(&p, dirty_many);
    payload_set_argument(p.vcpu, PAGES);

    do {
        if (payload_run(&p) != HV_EXIT_DIRTY_RING_FULL)
            continue;
        full++;
        while ((n = hv_vcpu_dirty_take(p.vcpu, pages, 100)))
            total += n;
        cr_assert_gt(hv_vm_dirty_ring_reset(p.vm), 0);
    } while (p.exit.reason == HV_EXIT_DIRTY_RING_FULL || payload_told(&p.exit, SIDE, &told));
    total += hv_vcpu_dirty_take(p.vcpu, pages, 1024);

    cr_assert(payload_told(&p.exit, DONE, &told), "%s", hv_exit_name(p.exit.reason));
    cr_assert_geq(full, 2);
    cr_assert_geq(total, PAGES);
    payload_free(&p);
}

Test(memory, a_dirty_ring_of_the_wrong_size_is_refused)
{
    need_ring();
    payload_new(&p, &(struct payload_config){ 0 });

    cr_assert_eq(hv_vm_dirty_ring_enable(p.vm, 1000), -EINVAL);
    cr_assert_eq(hv_vm_dirty_ring_enable(p.vm, 1u << 30), -E2BIG);
    cr_assert_lt(hv_vm_dirty_ring_reset(p.vm), 0);

    payload_free(&p);
}

static int eventfd_at(struct hv_ioeventfd *event)
{
    event->fd = vm_eventfd();
    cr_assert_geq(event->fd, 0);
    cr_assert_eq(hv_vm_ioeventfd_add(p.vm, event), 0, "%s", vm_error_text());
    return event->fd;
}

Test(memory, an_ioeventfd_takes_matching_writes_only)
{
    struct hv_ioeventfd event = {
        .addr = BELL, .len = 1, .pio = BELL_IS_PORT, .match = true, .datamatch = 2
    };
    int fd;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, doorbells);
    fd = eventfd_at(&event);

    payload_run(&p);
    cr_assert(payload_is_told(&p, BELL, 1));
    cr_assert_eq(vm_eventfd_take(fd), 0);
    payload_run(&p);
    cr_assert(payload_is_told(&p, BELL, 3));
    cr_assert_eq(vm_eventfd_take(fd), 1);

    payload_free(&p);
    vm_close(&fd);
}

Test(memory, an_ioeventfd_without_match_takes_every_write_of_its_width)
{
    struct hv_ioeventfd port = { .addr = BELL, .len = 1, .pio = BELL_IS_PORT };
    struct hv_ioeventfd word = { .addr = MMIO_AT + 0x10, .len = 2, .match = true, .datamatch = 8 };
    int fd, word_fd;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, doorbells);
    fd = eventfd_at(&port);
    word_fd = eventfd_at(&word);

    payload_run(&p);
    cr_assert_eq(vm_eventfd_take(fd), 3);
    cr_assert(payload_is_mmio_write(&p, MMIO_AT + 0x10, 2, 7)); /* other value */
    payload_run(&p);
    cr_assert_eq(vm_eventfd_take(word_fd), 1);
    cr_assert(payload_is_mmio_write(&p, MMIO_AT + 0x10, 4, 7)); /* other width */
    payload_run_to(&p, DONE);

    payload_free(&p);
    vm_close(&fd);
    vm_close(&word_fd);
}

Test(memory, an_ioeventfd_of_length_0_takes_any_width)
{
    struct hv_ioeventfd any = { .addr = MMIO_AT + 0x10 },
                        port = { .addr = BELL, .len = 1, .pio = BELL_IS_PORT };
    int fd, port_fd;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, doorbells);
    fd = eventfd_at(&any);
    port_fd = eventfd_at(&port);

    payload_run_to(&p, DONE);

    cr_assert_eq(vm_eventfd_take(fd), 3);
    payload_free(&p);
    vm_close(&fd);
    vm_close(&port_fd);
}

Test(memory, a_removed_ioeventfd_takes_nothing)
{
    struct hv_ioeventfd event = { .addr = BELL, .len = 1, .pio = BELL_IS_PORT };
    int fd;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, doorbells);
    fd = eventfd_at(&event);
    cr_assert_eq(hv_vm_ioeventfd_add(p.vm, &event), -EEXIST);
    cr_assert_eq(hv_vm_ioeventfd_del(p.vm, &event), 0);
    cr_assert_eq(hv_vm_ioeventfd_del(p.vm, &event), -ENOENT);

    payload_run(&p);

    cr_assert(payload_is_told(&p, BELL, 1));
    cr_assert_eq(vm_eventfd_take(fd), 0);
    payload_free(&p);
    vm_close(&fd);
}

Test(memory, collected_writes_do_not_exit_and_come_in_order)
{
    struct hv_coalesced c;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, doorbells);
    if (!hv_vm_cap(p.vm, BELL_COLLECTED))
        cr_skip_test("this KVM does not collect writes (capability %d is 0)", BELL_COLLECTED);
    cr_assert_eq(hv_vm_coalesced_add(p.vm, BELL, 1, BELL_IS_PORT), 0, "%s", vm_error_text());

    payload_run(&p);

    cr_assert(payload_is_mmio_write(&p, MMIO_AT + 0x10, 2, 7));
    for (unsigned i = 1; i <= 3; i++) {
        cr_assert(hv_vcpu_coalesced_next(p.vcpu, &c));
        cr_assert(c.pio == BELL_IS_PORT && c.addr == BELL && c.len == 1 && c.data[0] == i);
        hv_vcpu_coalesced_done(p.vcpu);
    }
    cr_assert_not(hv_vcpu_coalesced_next(p.vcpu, &c));
    cr_assert_eq(hv_vm_coalesced_del(p.vm, BELL, 1, BELL_IS_PORT), 0);
    payload_free(&p);
}

Test(memory, writes_exit_again_once_they_are_not_collected)
{
    struct hv_coalesced c;

    payload_new(&p, &(struct payload_config){ 0 });
    payload_load(&p, doorbells);
    if (!hv_vm_cap(p.vm, BELL_COLLECTED))
        cr_skip_test("this KVM does not collect writes (capability %d is 0)", BELL_COLLECTED);
    cr_assert_eq(hv_vm_coalesced_add(p.vm, BELL, 1, BELL_IS_PORT), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_coalesced_del(p.vm, BELL, 1, BELL_IS_PORT), 0, "%s", vm_error_text());

    payload_run(&p);

    cr_assert(payload_is_told(&p, BELL, 1));
    cr_assert_not(hv_vcpu_coalesced_next(p.vcpu, &c));
    payload_free(&p);
}
