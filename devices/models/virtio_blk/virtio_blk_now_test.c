/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of requests that the thread of the vCPU serves, and of those that it leaves to the loop. */
#include <criterion/criterion.h>

#include "virtio_blk_test.h"

static struct vh h;
static struct ram_disk disk;

enum { OK = VIRTIO_BLK_S_OK, BYTES = 4096 };

static void begin_way(const struct vh_config *way, const char *options)
{
    cr_assert_eq(vh_open(&h, way), 0);
    ram_disk_init(&disk);
    disk.disk.info.read_now = true;
    cr_assert_eq(ram_disk_plug(&disk, &h, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
}

static void begin(void)
{
    struct vh_config way = { .transport = VH_PCI };

    begin_way(&way, NULL);
}

static void end(void)
{
    vh_close(&h);
}

/* Offers one request and rings; the loop does not run. */
static void ring(uint32_t type, uint64_t sector, uint32_t bytes)
{
    struct fake_buf b[] = { { ASK_HEADER, sizeof(struct virtio_blk_header), false },
                            { ASK_DATA, bytes, type == VIRTIO_BLK_T_IN },
                            { ASK_STATUS, 1, true } };

    ask_header(&h, type, sector);
    cr_assert_geq(fake_driver_offer(&h.drv[0], b, 3), 0);
    cr_assert_eq(vh_kick(&h, 0), 0);
}

static int used(void)
{
    uint32_t len;
    uint16_t id;
    int n = 0;

    while (fake_driver_collect(&h.drv[0], &id, &len) == 1)
        n++;
    return n;
}

static uint8_t status(void)
{
    return h.guest.host[ASK_STATUS];
}

TestSuite(virtio_blk_now, .init = begin, .fini = end);
TestSuite(virtio_blk_now_ways, .fini = end);

Test(virtio_blk_now, what_is_in_memory_is_read_before_the_doorbell_returns)
{
    unsigned interrupts = h.vector_count[1];

    ring(VIRTIO_BLK_T_IN, 7, BYTES);

    cr_assert_eq(status(), OK);
    for (unsigned i = 0; i < BYTES; i++)
        cr_assert_eq(h.guest.host[ASK_DATA + i], ram_disk_pattern(7 * 512 + i), "byte %u", i);
    cr_assert_eq(h.vector_count[1] - interrupts, 1);
    cr_assert_eq(used(), 1);
    cr_assert_eq(disk.calls, 0);
}

Test(virtio_blk_now_ways, virtio_mmio_can_do_it_too)
{
    struct vh_config way = { .transport = VH_MMIO_BUS };

    begin_way(&way, NULL);
    ring(VIRTIO_BLK_T_IN, 7, BYTES);

    cr_assert_eq(used(), 1);
    cr_assert_eq(h.doorbells, 0);
}

Test(virtio_blk_now, what_would_wait_is_read_in_the_loop)
{
    disk.waits = true;

    ring(VIRTIO_BLK_T_IN, 7, BYTES);

    cr_assert_eq(used(), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(used(), 1);
    cr_assert_eq(status(), OK);
    cr_assert_eq(disk.calls, 1);
}

Test(virtio_blk_now, long_reads_and_writes_are_left_to_the_loop)
{
    ring(VIRTIO_BLK_T_IN, 0, VIRTIO_BLK_NOW_BYTES + 512);
    ring(VIRTIO_BLK_T_OUT, 0, 512);

    cr_assert_eq(used(), 0);
    cr_assert_eq(disk.nows, 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(used(), 2);
    cr_assert_eq(disk.calls, 2);
    cr_assert_eq(disk.call[0].op, VBLOCK_READ, "in the order in which they came");
}

Test(virtio_blk_now, a_disk_that_ends_requests_later_does_so_here_too)
{
    disk.hold = true;
    ring(VIRTIO_BLK_T_OUT, 0, 512);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(used(), 0);

    ram_disk_end(&disk, 0);

    cr_assert_eq(used(), 1);
}

Test(virtio_blk_now, a_vcpu_does_not_read_for_ever)
{
    struct fake_buf b[] = { { ASK_HEADER, sizeof(struct virtio_blk_header), false },
                            { ASK_DATA, 512, true },
                            { ASK_STATUS, 1, true } };

    ask_header(&h, VIRTIO_BLK_T_IN, 0);
    for (int i = 0; i < VIRTIO_BLK_NOW_REQUESTS + 3; i++)
        cr_assert_geq(fake_driver_offer(&h.drv[0], b, 3), 0);

    cr_assert_eq(vh_kick(&h, 0), 0);

    cr_assert_eq(used(), VIRTIO_BLK_NOW_REQUESTS);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(used(), 3);
}

Test(virtio_blk_now, a_pause_waits_for_what_waits_for_the_loop)
{
    ring(VIRTIO_BLK_T_OUT, 0, 512);

    cr_assert_eq(vdev_quiesce(h.dev, vh_done), -EINPROGRESS);

    cr_assert_eq(vh_idle(&h), 0);
    cr_assert(h.done);
    cr_assert_eq(h.code, 0);
    cr_assert_eq(disk.calls, 1);
    ring(VIRTIO_BLK_T_IN, 0, 512);
    cr_assert_eq(used(), 1, "only what was asked for before");
    cr_assert_eq(vdev_resume(h.dev), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(used(), 1);
}

Test(virtio_blk_now, a_reset_waits_for_what_waits_for_the_loop)
{
    ring(VIRTIO_BLK_T_OUT, 0, 512);

    cr_assert_eq(vh_reset(&h, 1000000), 0);

    cr_assert_eq(disk.calls, 1);
    cr_assert_eq(vh_start(&h, 0), 0);
    ring(VIRTIO_BLK_T_IN, 7, BYTES);
    cr_assert_eq(used(), 1);
}

Test(virtio_blk_now, the_end_of_the_machine_does_not_wait)
{
    ring(VIRTIO_BLK_T_OUT, 0, 512);

    vh_destroy(&h);

    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(disk.calls, 0);
    cr_assert_eq(disk.closed, 1);
}

Test(virtio_blk_now, a_driver_that_breaks_the_rules_is_told)
{
    struct fake_buf b = { ASK_HEADER, sizeof(struct virtio_blk_header), false };

    fake_driver_offer(&h.drv[0], &b, 1);
    cr_assert_eq(vh_kick(&h, 0), 0);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
}

Test(virtio_blk_now_ways, several_queues_are_served_by_the_loop_and_its_doorbells)
{
    struct vh_config way = { .transport = VH_PCI };

    begin_way(&way, "num_queues=2");
    ring(VIRTIO_BLK_T_IN, 7, BYTES);

    cr_assert_eq(h.doorbells, 2);
    cr_assert_eq(used(), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(used(), 1);
}
