/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of notifications that come later, in virtual time. */
#include <criterion/criterion.h>

#include "virtio_net_test.h"

static struct vh h;
static struct wire wire;

enum { CONTROL_LAST = 4, HEADER = sizeof(struct virtio_net_header), US = 1000 };

static void begin(uint64_t without)
{
    static const struct vh_config way = { .transport = VH_PCI };

    wire_init(&wire);
    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(wire_plug(&wire, &h, "mac=52:54:00:12:34:56,num_queues=4"), 0, "%s",
                 vm_error_text());
    cr_assert_eq(vh_start(&h, vh_offered(&h) & ~without), 0);
}

static void start(void)
{
    begin(0);
}

TestSuite(virtio_net_delay, .init = start, .timeout = TEST_TIMEOUT);
TestSuite(virtio_net_delay_plain, .timeout = TEST_TIMEOUT);

static int command(uint8_t cmd, const void *data, uint32_t bytes, uint32_t room)
{
    struct fake_buf b[] = { { PACKET, 2 + bytes, false }, { PACKET + 0x1000, room, true } };
    uint16_t id;
    uint32_t len;

    h.guest.host[PACKET] = 6;
    h.guest.host[PACKET + 1] = cmd;
    memcpy(h.guest.host + PACKET + 2, data, bytes);
    cr_assert_geq(fake_driver_offer(&h.drv[CONTROL_LAST], b, 2), 0);
    cr_assert_eq(vh_serve(&h, CONTROL_LAST), 0);
    cr_assert_eq(fake_driver_collect(&h.drv[CONTROL_LAST], &id, &len), 1);
    return h.guest.host[PACKET + 0x1000];
}

static int set(uint8_t cmd, uint32_t packets, uint32_t usecs)
{
    const uint32_t both[] = { packets, usecs };

    return command(cmd, both, sizeof(both), 1);
}

static int set_one(uint16_t queue, uint32_t packets, uint32_t usecs)
{
    const uint32_t all[] = { queue, packets, usecs };

    return command(2, all, sizeof(all), 1);
}

static void send(uint16_t queue)
{
    struct fake_buf b = { PACKET + 0x2000, HEADER + 60, false };

    cr_assert_geq(fake_driver_offer(&h.drv[queue], &b, 1), 0);
    cr_assert_eq(vh_serve(&h, queue), 0);
}

static void arrive(void)
{
    struct fake_buf b = { ROOM, 2048, true };

    cr_assert_geq(fake_driver_offer(&h.drv[RX], &b, 1), 0);
    wire_put(&wire, 0, &(struct vnet_header){ 0 }, (uint8_t[64]){ 0 }, 64);
    virtio_net_events.readable(wire.dev, 0);
    cr_assert_eq(vh_serve(&h, RX), 0);
}

/* Interrupts of queues since the last time. */
static unsigned told(void)
{
    static unsigned before;
    unsigned n = h.queue_interrupts - before;

    before = h.queue_interrupts;
    return n;
}

Test(virtio_net_delay, the_driver_is_told_when_so_much_time_has_passed)
{
    cr_assert_eq(set(0, 0, 50), VIRTIO_NET_OK);
    (void)told();
    send(TX);
    cr_assert_eq(vh_pass(&h, 30 * US), 0);
    send(TX);
    cr_assert_eq(vh_pass(&h, 19 * US), 0);
    cr_assert_eq(told(), 0);

    cr_assert_eq(vh_pass(&h, 2 * US), 0);

    cr_assert_eq(told(), 1);
    cr_assert_eq(vh_pass(&h, 1000 * US), 0);
    cr_assert_eq(told(), 0);
    vh_close(&h);
}

Test(virtio_net_delay, the_driver_is_told_of_so_many_packets_at_once)
{
    cr_assert_eq(set(1, 3, 1000), VIRTIO_NET_OK);
    (void)told();
    arrive();
    arrive();
    cr_assert_eq(told(), 0);

    arrive();

    cr_assert_eq(told(), 1);
    for (uint16_t i = 0, id; i < 3; i++)
        cr_assert_eq(fake_driver_collect(&h.drv[RX], &id, &(uint32_t){ 0 }), 1);
    arrive();
    cr_assert_eq(told(), 0);
    cr_assert_eq(vh_pass(&h, 1001 * US), 0);
    cr_assert_eq(told(), 1);
    vh_close(&h);
}

Test(virtio_net_delay, without_time_nothing_is_delayed)
{
    cr_assert_eq(set(0, 10, 0), VIRTIO_NET_OK);
    (void)told();

    send(TX);

    cr_assert_eq(told(), 1);
    vh_close(&h);
}

Test(virtio_net_delay, each_direction_and_each_queue_has_its_own)
{
    cr_assert_eq(set(0, 0, 50), VIRTIO_NET_OK);
    (void)told();
    arrive();
    cr_assert_eq(told(), 1);
    cr_assert_eq(set_one(TX, 0, 0), VIRTIO_NET_OK);

    (void)told();
    send(TX);

    cr_assert_eq(told(), 1);
    send(3);
    cr_assert_eq(told(), 0);
    vh_close(&h);
}

Test(virtio_net_delay, a_driver_that_takes_its_wish_back_is_told_of_what_waits)
{
    cr_assert_eq(set(0, 0, 50), VIRTIO_NET_OK);
    send(TX);
    (void)told();

    cr_assert_eq(set(0, 0, 0), VIRTIO_NET_OK);

    cr_assert_eq(told(), 2); /* with that of the command */
    vh_close(&h);
}

Test(virtio_net_delay, what_waits_is_told_of_before_the_device_comes_to_rest)
{
    cr_assert_eq(set(0, 0, 50), VIRTIO_NET_OK);
    send(TX);
    (void)told();

    cr_assert_eq(vh_quiesce(&h), 0);

    cr_assert_eq(vh_pass(&h, 0), 0);
    cr_assert_eq(told(), 1);
    cr_assert_eq(vh_pass(&h, 100 * US), 0);
    cr_assert_eq(told(), 0);
    vh_close(&h);
}

Test(virtio_net_delay, a_reset_forgets_all_of_it)
{
    cr_assert_eq(set(0, 0, 50), VIRTIO_NET_OK);
    send(TX);
    (void)told();
    vh_set_status(&h, 0);
    cr_assert_eq(vh_reset(&h, 1000000000), 0);

    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(wire.dev->delay[TX].waiting, 0);
    cr_assert_eq(vh_pass(&h, 100 * US), 0);
    cr_assert_eq(told(), 0);
    send(TX);

    cr_assert_eq(told(), 1);
    vh_close(&h);
}

Test(virtio_net_delay, a_queue_says_what_was_set)
{
    uint32_t answer[2] = { 0 };

    cr_assert_eq(set_one(2, 7, 9), VIRTIO_NET_OK);
    cr_assert_eq(command(3, (uint8_t[]){ 2, 0, 0, 0 }, 4, 9), VIRTIO_NET_OK);

    memcpy(answer, h.guest.host + PACKET + 0x1001, sizeof(answer));
    cr_assert_eq(answer[0], 7);
    cr_assert_eq(answer[1], 9);
    cr_assert_eq(command(3, (uint8_t[]){ 2, 0, 0, 0 }, 4, 8), VIRTIO_NET_ERR);
    vh_close(&h);
}

Test(virtio_net_delay, what_cannot_be_is_refused)
{
    cr_assert_eq(command(0, (uint8_t[7]){ 1 }, 7, 1), VIRTIO_NET_ERR);
    cr_assert_eq(command(4, (uint8_t[8]){ 1 }, 8, 1), VIRTIO_NET_ERR);
    cr_assert_eq(set_one(CONTROL_LAST, 1, 1), VIRTIO_NET_ERR);
    cr_assert_eq(command(3, (uint8_t[]){ 9, 0, 0, 0 }, 4, 9), VIRTIO_NET_ERR);

    cr_assert_not(wire.dev->delaying);
    vh_close(&h);
}

Test(virtio_net_delay_plain, without_the_features_the_commands_are_refused)
{
    begin(VIRTIO_NET_F_NOTF_COAL | VIRTIO_NET_F_VQ_NOTF_COAL);

    cr_assert_eq(set(0, 0, 50), VIRTIO_NET_ERR);
    cr_assert_eq(set_one(TX, 0, 50), VIRTIO_NET_ERR);
    cr_assert_eq(command(3, (uint8_t[]){ 1, 0, 0, 0 }, 4, 9), VIRTIO_NET_ERR);
    vh_close(&h);
}

Test(virtio_net_delay, it_outlives_the_device)
{
    struct vm_buffer saved = { 0 };

    cr_assert_eq(set(1, 3, 1000), VIRTIO_NET_OK);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &saved), 0);
    vh_destroy(&h);
    wire_init(&wire);
    cr_assert_eq(wire_plug(&wire, &h, "mac=52:54:00:12:34:56,num_queues=4"), 0);
    cr_assert_eq(vh_quiesce(&h), 0);

    cr_assert_eq(vh_load(&h, saved.data, saved.len), 0, "%s", vm_error_text());

    cr_assert(wire.dev->delaying);
    cr_assert_eq(le32_get(wire.dev->s.coalesce[2].packets), 3);
    cr_assert_eq(le32_get(wire.dev->s.coalesce[1].usecs), 0);
    vm_buffer_free(&saved);
    vh_close(&h);
}
