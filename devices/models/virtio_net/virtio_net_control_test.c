/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the network device's control queue, of the filter that it sets, and of what outlives the device. */
#include <criterion/criterion.h>

#include "virtio_net_test.h"

static struct vh h;
static struct wire wire;

enum { COMMAND = 0x100000, ACK = 0x180000, PAIRS = 4 };

static void begin(const char *options)
{
    static const struct vh_config way = { .transport = VH_PCI };

    wire_init(&wire);
    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(wire_plug(&wire, &h, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
}

static void start(void)
{
    begin("mac=52:54:00:12:34:56,num_queues=8");
}

TestSuite(virtio_net_control, .init = start, .timeout = TEST_TIMEOUT);

static int command(uint8_t cls, uint8_t cmd, const void *data, uint32_t len)
{
    const uint16_t control = 2 * PAIRS;
    struct fake_buf b[] = { { COMMAND, 2, false }, { COMMAND + 2, len, false }, { ACK, 1, true } };

    h.guest.host[COMMAND] = cls;
    h.guest.host[COMMAND + 1] = cmd;
    if (len)
        memcpy(h.guest.host + COMMAND + 2, data, len);
    else
        b[1] = b[2];
    h.guest.host[ACK] = 0xff;
    cr_assert_eq(vh_request(&h, control, b, len ? 3 : 2), 1);
    return h.guest.host[ACK];
}

static int mode(uint8_t cmd, uint8_t on)
{
    return command(0, cmd, &on, 1);
}

/* A frame to that address comes: does the guest get it? */
static bool gets(const uint8_t to[6], uint16_t vlan)
{
    uint64_t before = wire.dev->count.rx_frames;
    uint8_t data[64] = { 0 };
    struct fake_buf b = { ROOM, 1536, true };
    uint32_t len;
    uint16_t id;

    memcpy(data, to, 6);
    if (vlan)
        memcpy(data + 12, (uint8_t[]){ 0x81, 0, (uint8_t)(vlan >> 8), (uint8_t)vlan }, 4);
    (void)fake_driver_offer(&h.drv[RX], &b, 1);
    wire_put(&wire, 0, &(struct vnet_header){ 0 }, data, sizeof(data));
    virtio_net_events.readable(wire.dev, 0);
    cr_assert_eq(vh_idle(&h), 0);
    while (fake_driver_collect(&h.drv[RX], &id, &len) > 0)
        ;
    return wire.dev->count.rx_frames != before;
}

static const uint8_t own[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 }, other[6] = { 2, 0, 0, 0, 0, 1 },
                     group[6] = { 1, 0, 0x5e, 0, 0, 1 },
                     all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

Test(virtio_net_control, who_says_nothing_gets_everything)
{
    cr_assert(gets(other, 0));
    cr_assert(gets(group, 0));
    vh_close(&h);
}

Test(virtio_net_control, without_promiscuous_mode_only_what_is_meant_for_it_comes)
{
    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);

    cr_assert(gets(own, 0));
    cr_assert(gets(all, 0));
    cr_assert_not(gets(other, 0));
    cr_assert_not(gets(group, 0));
    cr_assert_eq(wire.dev->count.rx_filtered, 2);
    vh_close(&h);
}

Test(virtio_net_control, a_frame_that_is_longer_than_its_buffers_is_filtered_too)
{
    static uint8_t data[5000];
    struct fake_buf b[] = { { ROOM, 1526, true } };

    memcpy(data, other, 6);
    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);
    for (int i = 0; i < 4; i++)
        cr_assert_geq(fake_driver_offer(&h.drv[RX], b, 1), 0);
    wire_put(&wire, 0, &(struct vnet_header){ 0 }, data, sizeof(data));

    virtio_net_events.readable(wire.dev, 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(wire.dev->count.rx_filtered, 1);
    cr_assert_eq(wire.dev->count.rx_frames, 0);
    vh_close(&h);
}

Test(virtio_net_control, modes_choose_kinds_of_frames)
{
    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);

    cr_assert_eq(mode(1, 1), VIRTIO_NET_OK);
    cr_assert(gets(group, 0));
    cr_assert_eq(mode(2, 1), VIRTIO_NET_OK);
    cr_assert(gets(other, 0));
    cr_assert_eq(mode(3, 1), VIRTIO_NET_OK);
    cr_assert_not(gets(group, 0));
    cr_assert_eq(mode(4, 1), VIRTIO_NET_OK);
    cr_assert_not(gets(own, 0));
    cr_assert_eq(mode(5, 1), VIRTIO_NET_OK);
    cr_assert_not(gets(all, 0));
    vh_close(&h);
}

static int table(uint32_t unis, uint32_t multis)
{
    static uint8_t data[8 + 6 * 200];
    size_t len = 0;

    vm_store_le(data, 4, unis);
    len += 4;
    for (uint32_t i = 0; i < unis; i++, len += 6)
        memcpy(data + len, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)(i + 1) }, 6);
    vm_store_le(data + len, 4, multis);
    len += 4;
    for (uint32_t i = 0; i < multis; i++, len += 6)
        memcpy(data + len, (uint8_t[]){ 1, 0, 0x5e, 0, 0, (uint8_t)(i + 1) }, 6);
    return command(1, 0, data, (uint32_t)len);
}

Test(virtio_net_control, addresses_of_the_table_are_let_through)
{
    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);

    cr_assert_eq(table(1, 1), VIRTIO_NET_OK);

    cr_assert(gets(other, 0));
    cr_assert(gets(group, 0));
    cr_assert_not(gets((const uint8_t[]){ 2, 0, 0, 0, 0, 2 }, 0));
    vh_close(&h);
}

Test(virtio_net_control, a_table_that_is_too_long_lets_all_through)
{
    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);

    cr_assert_eq(table(65, 70), VIRTIO_NET_OK);

    cr_assert(gets((const uint8_t[]){ 6, 0, 0, 0, 0, 9 }, 0));
    cr_assert(gets((const uint8_t[]){ 1, 9, 9, 9, 9, 9 }, 0));
    cr_assert_eq(table(0, 0), VIRTIO_NET_OK);
    cr_assert_not(gets(other, 0));
    vh_close(&h);
}

Test(virtio_net_control, an_address_can_be_changed)
{
    uint8_t shown[6];

    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);

    cr_assert_eq(command(1, 1, other, 6), VIRTIO_NET_OK);

    vh_config_read(&h, 0, shown, 6);
    cr_assert_arr_eq(shown, other, 6);
    cr_assert(gets(other, 0));
    cr_assert_not(gets(own, 0));
    vh_close(&h);
}

Test(virtio_net_control, tags_that_were_not_added_are_kept_away)
{
    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);

    cr_assert_eq(command(2, 0, (uint8_t[]){ 5, 0 }, 2), VIRTIO_NET_OK);

    cr_assert(gets(own, 5));
    cr_assert_not(gets(own, 6));
    cr_assert(gets(own, 0));
    cr_assert_eq(command(2, 1, (uint8_t[]){ 5, 0 }, 2), VIRTIO_NET_OK);
    cr_assert_not(gets(own, 5));
    vh_close(&h);
}

Test(virtio_net_control, several_queues_are_switched_on_and_off)
{
    struct fake_buf b = { ROOM, 1536, true };
    uint16_t id;
    uint32_t len;

    cr_assert_eq(wire.pairs, 1);
    cr_assert_eq(command(4, 0, (uint8_t[]){ PAIRS, 0 }, 2), VIRTIO_NET_OK);
    cr_assert_eq(wire.pairs, PAIRS);
    cr_assert_geq(fake_driver_offer(&h.drv[6], &b, 1), 0);
    wire_put(&wire, 3, &(struct vnet_header){ 0 }, own, 6);
    wire_put(&wire, 3, &(struct vnet_header){ 0 }, (uint8_t[64]){ 0 }, 64);
    virtio_net_events.readable(wire.dev, 3);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[6], &id, &len), 1);
    cr_assert_eq(len, 64 + sizeof(struct virtio_net_header));
    vh_close(&h);
}

Test(virtio_net_control, offloads_change_at_run_time_within_what_was_negotiated)
{
    const uint64_t some = VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4;

    cr_assert_eq(command(5, 0, &some, 8), VIRTIO_NET_OK);
    cr_assert_eq(wire.offloads, VNET_CSUM | VNET_TSO4);
    cr_assert_eq(command(5, 0, &(uint64_t){ 1ULL << 40 }, 8), VIRTIO_NET_ERR);

    cr_assert_eq(wire.offloads, VNET_CSUM | VNET_TSO4);
    vh_close(&h);
}

Test(virtio_net_control, an_announcement_is_acknowledged)
{
    uint16_t status;

    vm_lock_acquire(&h.virtio->dev.lock);
    cr_assert_eq(h.virtio->ops->announce(h.virtio, own), 0);
    vm_lock_release(&h.virtio->dev.lock);

    cr_assert_eq(command(3, 0, NULL, 0), VIRTIO_NET_OK);

    vh_config_read(&h, 6, &status, 2);
    cr_assert_eq(status, VIRTIO_NET_S_LINK_UP);
    vh_close(&h);
}

Test(virtio_net_control, the_address_that_the_driver_chose_is_announced_by_whichever_name)
{
    static const uint8_t chosen[6] = { 0x52, 0x54, 0, 9, 9, 9 };

    cr_assert_eq(command(1, 1, chosen, 6), VIRTIO_NET_OK);
    vm_lock_acquire(&h.virtio->dev.lock);
    cr_assert_eq(h.virtio->ops->announce(h.virtio, own), 0); /* a front end's older copy */
    vm_lock_release(&h.virtio->dev.lock);

    cr_assert_eq(wire.outs, 1);
    cr_assert_arr_eq(wire.out[0].data + 6, chosen, 6);
    vh_close(&h);
}

static const struct {
    uint8_t cls, cmd;
    uint8_t data[12];
    uint32_t len;
} wrong[] = {
    { 0, 0, { 2 }, 1 },
    { 0, 0, { 1, 0 }, 2 },
    { 0, 6, { 1 }, 1 },
    { 1, 0, { 1, 0, 0, 0 }, 4 }, /* one address, which is not there */
    { 1, 0, { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 }, 8 },
    { 1, 0, { 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 9 },
    { 1, 1, { 1, 2, 3, 4, 5, 6 }, 6 }, /* a group's */
    { 1, 1, { 2, 2, 3, 4, 5 }, 5 },
    { 1, 2, { 0 }, 1 },
    { 2, 0, { 0, 0x10 }, 2 }, /* tag 4096 */
    { 2, 2, { 0, 0 }, 2 },
    { 3, 0, { 0 }, 1 },
    { 3, 1, { 0 }, 0 },
    { 4, 0, { 0, 0 }, 2 },
    { 4, 0, { PAIRS + 1, 0 }, 2 },
    { 4, 1, { 1, 0 }, 2 },
    { 5, 0, { 1, 0, 0, 0 }, 4 },
    { 6, 0, { 0 }, 1 },
    { 255, 255, { 0 }, 1 },
};

Test(virtio_net_control, commands_that_cannot_be_are_refused_and_change_nothing)
{
    struct virtio_net_state before = wire.dev->s;

    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++) {
        int ack = command(wrong[i].cls, wrong[i].cmd, wrong[i].data, wrong[i].len);

        cr_assert_eq(ack, VIRTIO_NET_ERR, "command %zu", i);
        cr_assert_arr_eq(&wire.dev->s, &before, sizeof(before), "command %zu", i);
    }
    cr_assert_eq(wire.dev->count.control_bad, VM_ARRAY_SIZE(wrong));
    vh_close(&h);
}

Test(virtio_net_control, what_was_said_outlives_the_device)
{
    struct vm_buffer saved = { 0 };
    unsigned calls;

    cr_assert_eq(mode(0, 0), VIRTIO_NET_OK);
    cr_assert_eq(table(1, 0), VIRTIO_NET_OK);
    cr_assert_eq(command(4, 0, (uint8_t[]){ 2, 0 }, 2), VIRTIO_NET_OK);
    cr_assert_eq(command(5, 0, &(uint64_t){ VIRTIO_NET_F_GUEST_CSUM }, 8), VIRTIO_NET_OK);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &saved), 0);
    vh_destroy(&h);
    wire_init(&wire);
    calls = wire.offload_calls;
    cr_assert_eq(wire_plug(&wire, &h, "mac=02:00:00:00:00:99,num_queues=8"), 0);
    cr_assert_eq(vh_quiesce(&h), 0);

    cr_assert_eq(vh_load(&h, saved.data, saved.len), 0, "%s", vm_error_text());

    cr_assert_arr_eq(wire.dev->s.mac, own, 6);
    cr_assert_gt(wire.offload_calls, calls);
    cr_assert_eq(wire.offloads, VNET_CSUM);
    cr_assert_eq(wire.pairs, 2);
    vm_buffer_free(&saved);
    vh_close(&h);
}

Test(virtio_net_control, state_that_cannot_be_is_refused)
{
    struct virtio_net_state s = wire.dev->s;

    s.pairs = PAIRS + 1;
    cr_assert_eq(h.virtio->ops->load(h.virtio, &s), -EINVAL);
    s = wire.dev->s;
    s.uni_bytes = 5;
    cr_assert_eq(h.virtio->ops->load(h.virtio, &s), -EINVAL);
    s = wire.dev->s;
    s.offloads = 1U << 20;

    cr_assert_eq(h.virtio->ops->load(h.virtio, &s), -EINVAL);
    vh_close(&h);
}
