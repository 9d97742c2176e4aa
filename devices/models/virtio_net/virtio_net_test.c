/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the network device: packets both ways, over a back end in memory. */
#include <criterion/criterion.h>

#include <vmm/base/tap.h>

#include "virtio_net_test.h"

static struct vh h;
static struct wire wire;
static uint8_t data[VNET_FRAME_MAX];

enum { HEADER = sizeof(struct virtio_net_header) };
#define NO_HEADER (&(struct vnet_header){ 0 })

static void fill_data(void)
{
    static const uint8_t to[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    memcpy(data, to, sizeof(to));
}

static void start_with(const struct vh_config *way, const char *options, uint64_t want)
{
    fill_data();
    wire_init(&wire);
    cr_assert_eq(vh_open(&h, way), 0);
    cr_assert_eq(wire_plug(&wire, &h, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, want), 0);
}

static void start(void)
{
    static const struct vh_config way = { .transport = VH_PCI };

    start_with(&way, NULL, 0);
}

static void start_without(uint64_t features)
{
    static const struct vh_config way = { .transport = VH_PCI };

    fill_data();
    wire_init(&wire);
    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(wire_plug(&wire, &h, NULL), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, vh_offered(&h) & ~features), 0);
}

TestSuite(virtio_net, .init = start, .timeout = TEST_TIMEOUT);
TestSuite(virtio_net_plain, .timeout = TEST_TIMEOUT);

/* ---- sending ---- */

/* One packet with that header; its bytes follow data[]. */
static void send_at(const struct vnet_header *header, uint32_t len)
{
    struct fake_buf b[] = { { PACKET, HEADER, false }, { PACKET + HEADER, len, false } };
    struct virtio_net_header whole = { .h = *header };

    memcpy(h.guest.host + PACKET, &whole, HEADER);
    memcpy(h.guest.host + PACKET + HEADER, data, len);
    cr_assert_eq(vh_request(&h, TX, b, len ? 2 : 1), 0);
}

Test(virtio_net, a_packet_goes_out_as_it_is)
{
    send_at(NO_HEADER, 100);

    cr_assert_eq(wire.outs, 1);
    cr_assert_eq(wire.out[0].len, 100);
    cr_assert_arr_eq(wire.out[0].data, data, 100);
    vh_close(&h);
}

Test(virtio_net, packets_of_a_batch_are_told_of_once)
{
    struct fake_buf b = { PACKET, HEADER + 60, false };
    unsigned before = h.queue_interrupts;
    uint16_t id;
    uint32_t len;

    memset(h.guest.host + PACKET, 0, HEADER);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_geq(fake_driver_offer(&h.drv[TX], &b, 1), 0);
    cr_assert_eq(vh_serve(&h, TX), 0);

    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(fake_driver_collect(&h.drv[TX], &id, &len), 1);
    cr_assert_eq(wire.outs, 20);
    cr_assert_eq(h.queue_interrupts - before, 1);
    vh_close(&h);
}

Test(virtio_net, a_back_end_without_room_is_waited_for)
{
    struct fake_buf b = { PACKET, HEADER + 60, false };
    uint16_t id;
    uint32_t len;

    wire.full = true;
    memset(h.guest.host + PACKET, 0, HEADER);
    cr_assert_geq(fake_driver_offer(&h.drv[TX], &b, 1), 0);
    cr_assert_eq(vh_serve(&h, TX), 0);
    cr_assert_eq(fake_driver_collect(&h.drv[TX], &id, &len), 0);
    wire.full = false;
    virtio_net_events.writable(wire.dev, 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[TX], &id, &len), 1);
    cr_assert_eq(wire.outs, 1);
    vh_close(&h);
}

Test(virtio_net, what_waits_to_be_sent_when_the_link_goes_down_comes_back)
{
    struct fake_buf b = { PACKET, HEADER + 60, false };
    uint16_t id;
    uint32_t len;

    wire.full = true;
    memset(h.guest.host + PACKET, 0, HEADER);
    cr_assert_geq(fake_driver_offer(&h.drv[TX], &b, 1), 0);
    cr_assert_eq(vh_serve(&h, TX), 0);
    wire.full = false;
    wire.down = true;
    wire.net.info.link = false;

    virtio_net_events.link(wire.dev);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[TX], &id, &len), 1);
    cr_assert_eq(wire.dev->count.tx_dropped, 1);
    vh_close(&h);
}

Test(virtio_net, a_link_that_is_down_loses_packets_and_counts_them)
{
    wire.down = true;

    send_at(NO_HEADER, 60);

    cr_assert_eq(wire.outs, 0);
    cr_assert_eq(wire.dev->count.tx_dropped, 1);
    vh_close(&h);
}

Test(virtio_net, a_segment_to_be_cut_goes_out_with_its_header)
{
    const struct vnet_header header = { .flags = 1,
                                        .gso_type = VIRTIO_NET_GSO_TCPV4 | VIRTIO_NET_GSO_ECN,
                                        .hdr_len = le16_make(54),
                                        .gso_size = le16_make(1448),
                                        .csum_start = le16_make(34),
                                        .csum_offset = le16_make(16) };

    send_at(&header, 60000);

    cr_assert_eq(wire.outs, 1);
    cr_assert_arr_eq(&wire.out[0].header, &header, VNET_HEADER);
    vh_close(&h);
}

static const struct {
    struct vnet_header header;
    uint32_t len;
} bad[] = {
    { { .flags = 0 }, 0 },
    { { .flags = 0 }, 13 },
    { { .flags = 1, .csum_start = { 0 }, .csum_offset = { 0 } }, 100 }, /* in the addresses */
    { { .flags = 1, .csum_start = { 99 }, .csum_offset = { 0 } },
      100 }, /* its second byte outside */
    { { .flags = 1, .csum_start = { 0xffff }, .csum_offset = { 0xffff } }, 100 },
    { { .flags = 0, .gso_type = 1, .gso_size = { 1000 } }, 100 }, /* no checksum */
    { { .flags = 1, .gso_type = 1, .csum_start = { 34 }, .csum_offset = { 16 } }, 100 },
    { { .flags = 1, .gso_type = 2, .gso_size = { 9 }, .csum_start = { 34 } }, 100 },
    { { .flags = 1, .gso_type = 0x80, .gso_size = { 9 }, .csum_start = { 34 } }, 100 },
    { { .flags = 1, .gso_type = 0x83, .gso_size = { 9 }, .csum_start = { 34 } }, 100 },
    { { .flags = 1, .gso_type = 1, .gso_size = { 9 }, .hdr_len = { 101 }, .csum_start = { 34 } },
      100 },
};

Test(virtio_net, packets_with_a_header_that_cannot_be_are_dropped_and_counted)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++) {
        send_at(&bad[i].header, bad[i].len);

        cr_assert_eq(wire.outs, 0, "packet %zu", i);
        cr_assert_eq(wire.dev->count.tx_bad, i + 1, "packet %zu", i);
    }
    cr_assert(vh_logged(&h, "the guest's driver: a packet: "));
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET);
    vh_close(&h);
}

Test(virtio_net_plain, what_was_not_negotiated_is_dropped)
{
    const struct vnet_header csum = { .flags = 1,
                                      .csum_start = le16_make(34),
                                      .csum_offset = le16_make(16) };

    start_without(VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 |
                  VIRTIO_NET_F_HOST_UFO | VIRTIO_NET_F_HOST_USO | VIRTIO_NET_F_HOST_ECN);

    send_at(&csum, 100);

    cr_assert_eq(wire.outs, 0);
    cr_assert_eq(wire.dev->count.tx_bad, 1);
    vh_close(&h);
}

/* ---- receiving ---- */

static gpa_t place[256]; /* of the buffer with that id */

/* n buffers of so many bytes, beginning at the at-th place. */
static void offer_rx(unsigned at, unsigned n, uint32_t bytes)
{
    for (unsigned i = 0; i < n; i++) {
        struct fake_buf b = { ROOM + (gpa_t)(at + i) * 0x1000, bytes, true };
        int id = fake_driver_offer(&h.drv[RX], &b, 1);

        cr_assert(id >= 0 && id < 256);
        place[id] = b.addr;
    }
    cr_assert_eq(vh_serve(&h, RX), 0);
}

static void arrive(const struct vnet_header *header, size_t len)
{
    wire_put(&wire, 0, header, data, len);
    virtio_net_events.readable(wire.dev, 0);
    cr_assert_eq(vh_idle(&h), 0);
}

/* The next frame as a driver puts it together: its length, or -1. */
static int collect(struct virtio_net_header *ret_header, uint8_t *frame)
{
    unsigned left = 1;
    uint32_t got = 0;

    for (bool first = true; left; left--, first = false) {
        uint32_t len, skip = first ? HEADER : 0;
        uint16_t id;

        if (fake_driver_collect(&h.drv[RX], &id, &len) != 1)
            return -1;
        if (first) {
            memcpy(ret_header, h.guest.host + place[id], HEADER);
            left = le16_get(ret_header->num_buffers);
        }
        memcpy(frame + got, h.guest.host + place[id] + skip, len - skip);
        got += len - skip;
    }
    return (int)got;
}

static uint8_t frame[VNET_FRAME_MAX];
static struct virtio_net_header header;

Test(virtio_net, a_frame_lies_in_the_guests_buffer_behind_its_header)
{
    offer_rx(0, 8, 1536);

    arrive(NO_HEADER, 100);

    cr_assert_eq(collect(&header, frame), 100);
    cr_assert_eq(le16_get(header.num_buffers), 1);
    cr_assert_arr_eq(frame, data, 100);
    vh_close(&h);
}

Test(virtio_net, the_back_ends_header_reaches_the_guest)
{
    const struct vnet_header told = { .flags = 1,
                                      .gso_type = VIRTIO_NET_GSO_TCPV4,
                                      .gso_size = le16_make(1448),
                                      .csum_start = le16_make(34),
                                      .csum_offset = le16_make(16) };
    offer_rx(0, 8, 1536);

    arrive(&told, 1514);

    cr_assert_eq(collect(&header, frame), 1514);
    cr_assert_arr_eq(&header.h, &told, VNET_HEADER);
    vh_close(&h);
}

/* 5.1.6.4.1: tap interfaces say DATA_VALID to everybody. */
Test(virtio_net_plain, a_driver_without_checksums_hears_nothing_of_them)
{
    start_without(VIRTIO_NET_GUEST_OFFLOADS);
    offer_rx(0, 8, 1536);

    arrive(&(struct vnet_header){ .flags = VIRTIO_NET_HDR_F_DATA_VALID }, 100);

    cr_assert_eq(collect(&header, frame), 100);
    cr_assert_eq(header.h.flags, 0);
    vh_close(&h);
}

Test(virtio_net_plain, frames_for_the_offloads_of_another_driver_are_lost)
{
    start_without(VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN);
    offer_rx(0, 8, 1536);

    arrive(&(struct vnet_header){ .flags = 1, .gso_type = VIRTIO_NET_GSO_TCPV6 }, 100);
    arrive(&(struct vnet_header){ .flags = 1, .gso_type = VIRTIO_NET_GSO_TCPV4 | 0x80 }, 100);
    arrive(&(struct vnet_header){ .flags = 1, .gso_type = 77 }, 100);
    arrive(&(struct vnet_header){ .flags = 1, .gso_type = VIRTIO_NET_GSO_TCPV4 }, 101);

    cr_assert_eq(collect(&header, frame), 101);
    cr_assert_eq(wire.dev->count.rx_dropped, 3);
    vh_close(&h);
}

Test(virtio_net, a_long_frame_goes_over_several_buffers)
{
    offer_rx(0, 64, 1536);

    arrive(NO_HEADER, 60000); /* the first one flows over */
    arrive(NO_HEADER, 10000); /* buffers are taken for long ones from then on */

    cr_assert_eq(collect(&header, frame), 60000);
    cr_assert_eq(le16_get(header.num_buffers), (60000 + HEADER + 1535) / 1536);
    cr_assert_arr_eq(frame, data, 60000);
    cr_assert_eq(collect(&header, frame), 10000);
    cr_assert_arr_eq(frame, data, 10000);
    cr_assert_eq(fake_driver_in_flight(&h.drv[RX]), 64 - 40 - 7);
    vh_close(&h);
}

Test(virtio_net, a_frame_waits_for_the_buffers_that_it_needs)
{
    offer_rx(0, 2, 1536);
    arrive(NO_HEADER, 9000);
    cr_assert_eq(collect(&header, frame), -1);

    offer_rx(2, 6, 1536);

    cr_assert_eq(collect(&header, frame), 9000);
    cr_assert_arr_eq(frame, data, 9000);
    cr_assert_eq(wire.dev->count.rx_dropped, 0);
    vh_close(&h);
}

Test(virtio_net, frames_wait_in_the_back_end_while_there_is_no_buffer)
{
    arrive(NO_HEADER, 100);
    cr_assert_eq(wire.ins, 1);

    offer_rx(0, 1, 1536);

    cr_assert_eq(collect(&header, frame), 100);
    vh_close(&h);
}

Test(virtio_net, a_buffer_in_many_pieces_takes_the_header_over_their_borders)
{
    struct fake_buf b[] = { { ROOM, 5, true },
                            { ROOM + 5, 1, true },
                            { ROOM + 6, 10, true },
                            { ROOM + 16, 3, true },
                            { ROOM + 19, 1600, true } };
    int id = fake_driver_offer(&h.drv[RX], b, VM_ARRAY_SIZE(b));

    place[id] = ROOM;
    arrive(NO_HEADER, 1000);

    cr_assert_eq(collect(&header, frame), 1000);
    cr_assert_arr_eq(frame, data, 1000);
    vh_close(&h);
}

Test(virtio_net, a_buffer_too_short_for_a_header_comes_back_empty)
{
    uint32_t len;
    uint16_t id;

    offer_rx(0, 1, 12);
    arrive(NO_HEADER, 100);
    cr_assert_eq(fake_driver_collect(&h.drv[RX], &id, &len), 1);
    cr_assert_eq(len, 0);

    offer_rx(1, 1, 1536);

    cr_assert_eq(collect(&header, frame), 100);
    vh_close(&h);
}

Test(virtio_net, a_buffer_too_short_behind_sound_ones_disturbs_nothing)
{
    offer_rx(0, 1, 1536);
    offer_rx(1, 1, 8);
    offer_rx(2, 2, 1536);

    arrive(NO_HEADER, 2000); /* would need the first three */
    arrive(NO_HEADER, 100);

    cr_assert_eq(wire.dev->count.rx_dropped, 1);
    cr_assert_eq(collect(&header, frame), 100);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET);
    vh_close(&h);
}

Test(virtio_net_plain, without_mergeable_buffers_a_frame_has_one)
{
    start_without(VIRTIO_NET_F_MRG_RXBUF);
    offer_rx(0, 4, 1536);

    arrive(NO_HEADER, 3000);
    arrive(NO_HEADER, 1500);

    cr_assert_eq(wire.dev->count.rx_dropped, 1);
    cr_assert_eq(collect(&header, frame), 1500);
    cr_assert_eq(le16_get(header.num_buffers), 1);
    cr_assert_arr_eq(frame, data, 1500);
    cr_assert_eq(fake_driver_in_flight(&h.drv[RX]), 3);
    vh_close(&h);
}

Test(virtio_net_plain, split_rings_and_mmio_carry_the_same)
{
    static const struct vh_config ways[] = { { .transport = VH_MMIO_BUS },
                                             { .transport = VH_PCI, .packed = true },
                                             { .transport = VH_PCI, .no_event_idx = true } };

    for (size_t i = 0; i < VM_ARRAY_SIZE(ways); i++) {
        start_with(&ways[i], NULL, 0);
        offer_rx(0, 64, 1536);
        for (unsigned n = 0; n < 3; n++)
            arrive(NO_HEADER, 20000);

        for (unsigned n = 0; n < 3; n++) {
            cr_assert_eq(collect(&header, frame), 20000, "way %zu", i);
            cr_assert_arr_eq(frame, data, 20000);
        }
        send_at(NO_HEADER, 64);
        cr_assert_eq(wire.outs, 1);
        vh_close(&h);
    }
}

Test(virtio_net, a_reset_in_the_middle_loses_what_was_kept)
{
    offer_rx(0, 1, 1536);
    arrive(NO_HEADER, 9000);

    cr_assert_eq(vh_reset(&h, 1000000000), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    offer_rx(0, 8, 1536);

    cr_assert_eq(collect(&header, frame), -1);
    vh_close(&h);
}

/* ---- status ---- */

static struct virtio_net_space space(void)
{
    struct virtio_net_space s;

    vh_config_read(&h, 0, &s, sizeof(s));
    return s;
}

Test(virtio_net_plain, config_space_says_what_the_options_said)
{
    static const struct vh_config way = { .transport = VH_PCI };
    static const uint8_t mac[6] = { 2, 0, 0, 0xab, 0xcd, 0xef };
    struct virtio_net_space s;

    start_with(&way, "mac=02:00:00:ab:CD:ef,mtu=9000,num_queues=8,speed=10000", 0);
    s = space();

    cr_assert_arr_eq(s.mac, mac, 6);
    cr_assert_eq(le16_get(s.mtu), 9000);
    cr_assert_eq(le16_get(s.max_virtqueue_pairs), 4);
    cr_assert_eq(le32_get(s.speed), 10000);
    cr_assert_eq(s.duplex, 1);
    cr_assert_eq(le16_get(s.status), VIRTIO_NET_S_LINK_UP);
    vh_close(&h);
}

Test(virtio_net, a_link_that_goes_down_is_told)
{
    unsigned before = h.config_interrupts;

    wire.net.info.link = false;
    virtio_net_events.link(wire.dev);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(le16_get(space().status), 0);
    cr_assert_eq(h.config_interrupts - before, 1);
    vh_close(&h);
}

Test(virtio_net_plain, without_an_address_one_is_made_up)
{
    static const struct vh_config way = { .transport = VH_PCI };
    struct virtio_net_space s;

    start_with(&way, "speed=0", 0);
    s = space();

    cr_assert_eq(s.mac[0] & 3, 2);
    cr_assert(h.random_asked);
    vh_close(&h);
}

/* The address in config, as a number; chosen from a seed where there is none. */
static uint64_t settled(struct virtio_net_config *config, uint64_t seed)
{
    struct vh_config way = { .transport = VH_PCI, .seed = seed };
    uint8_t mac[6];
    uint64_t number = 0;

    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(virtio_net_class.settle(h.context.env, config), 0);
    vh_close(&h);
    cr_assert_eq(vm_mac_parse("mac", config->mac, mac), 0);
    cr_assert_eq(mac[0] & 3, 2);
    for (int i = 0; i < 6; i++)
        number = number << 8 | mac[i];
    return number;
}

Test(virtio_net_plain, the_address_of_a_device_that_is_made_twice_is_made_up_once)
{
    struct virtio_net_config one = { 0 }, other = { 0 };
    uint64_t first = settled(&one, 1);

    cr_assert_eq(settled(&one, 2), first);
    cr_assert_neq(settled(&other, 2), first);

    free(one.mac);
    free(other.mac);
}

Test(virtio_net, offloads_that_the_driver_wants_are_asked_for)
{
    cr_assert_eq(wire.offloads,
                 VNET_CSUM | VNET_TSO4 | VNET_TSO6 | VNET_ECN | VNET_UFO | VNET_USO4 | VNET_USO6);
    vh_close(&h);
}

Test(virtio_net_plain, offloads_that_the_driver_does_not_want_are_not_given)
{
    start_without(VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_UFO | VIRTIO_NET_F_GUEST_ECN);

    cr_assert_eq(wire.offloads, VNET_CSUM | VNET_TSO4 | VNET_USO4 | VNET_USO6);
    vh_close(&h);
}

Test(virtio_net, an_announcement_goes_out_and_is_asked_of_the_guest)
{
    static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

    vm_lock_acquire(&h.virtio->dev.lock);
    cr_assert_eq(h.virtio->ops->announce(h.virtio, mac), 0);
    vm_lock_release(&h.virtio->dev.lock);

    cr_assert_eq(wire.outs, 1);
    cr_assert_eq(wire.out[0].data[12] << 8 | wire.out[0].data[13], 0x8035);
    cr_assert_arr_eq(wire.out[0].data + 6, mac, 6);
    cr_assert_eq(le16_get(space().status), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
    vh_close(&h);
}

Test(virtio_net_plain, a_guest_that_cannot_announce_itself_is_announced_by_a_frame_alone)
{
    static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

    start_without(VIRTIO_NET_F_GUEST_ANNOUNCE);
    vm_lock_acquire(&h.virtio->dev.lock);
    cr_assert_eq(h.virtio->ops->announce(h.virtio, mac), 0);
    vm_lock_release(&h.virtio->dev.lock);

    cr_assert_eq(wire.outs, 1);
    cr_assert_eq(wire.out[0].data[12] << 8 | wire.out[0].data[13], 0x8035);
    cr_assert_eq(le16_get(space().status), VIRTIO_NET_S_LINK_UP);
    vh_close(&h);
}
