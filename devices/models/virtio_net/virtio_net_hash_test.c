/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Hashes of frames against the verification suite of Microsoft's "Introduction to Receive Side Scaling", and which part of a
 * frame is hashed; then the driver's side: commands, queues, headers.
 */
#include <criterion/criterion.h>

#include "virtio_net_test.h"

enum {
    IPV4 = 1 << 0,
    TCPV4 = 1 << 1,
    UDPV4 = 1 << 2,
    IPV6 = 1 << 3,
    TCPV6 = 1 << 4,
    UDPV6 = 1 << 5,
    IP_EX = 1 << 6,
    TCP_EX = 1 << 7,
    UDP_EX = 1 << 8,
    TCP = 6,
    UDP = 17,
    PAIRS = 4,
    BUFFER = 2048,
};

static const uint8_t key[VIRTIO_NET_KEY] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
                                             0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
                                             0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4,
                                             0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
                                             0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

struct vector {
    uint8_t to[16], from[16];
    uint16_t to_port, from_port;
    uint32_t addresses, ports; /* hashes */
};
static const struct vector v4[] = {
    { { 161, 142, 100, 80 }, { 66, 9, 149, 187 }, 1766, 2794, 0x323e8fc2, 0x51ccc178 },
    { { 65, 69, 140, 83 }, { 199, 92, 111, 2 }, 4739, 14230, 0xd718262a, 0xc626b0ea },
    { { 12, 22, 207, 184 }, { 24, 19, 198, 95 }, 38024, 12898, 0xd2d0a5de, 0x5c2b394a },
    { { 209, 142, 163, 6 }, { 38, 27, 205, 30 }, 2217, 48228, 0x82989176, 0xafc7327f },
    { { 202, 188, 127, 2 }, { 153, 39, 163, 191 }, 1303, 44251, 0x5d1809c5, 0x10e828a2 },
};
static const struct vector v6[] = {
    { { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1 },
      { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7 },
      1766,
      2794,
      0x2cc18cd5,
      0x40207d3d },
    { { 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 },
      { 0x3f, 0xfe, 0x05, 0x01, 0, 8, 0, 0, 0x02, 0x60, 0x97, 0xff, 0xfe, 0x40, 0xef, 0xab },
      4739,
      14230,
      0x0f0c461c,
      0xdde51bbf },
    { { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x02, 0x00, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf },
      { 0x3f, 0xfe, 0x19, 0x00, 0x45, 0x45, 0, 3, 0x02, 0x00, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf },
      38024,
      44251,
      0x4b61e985,
      0x02d1feef },
};

/* ---- frames ---- */

static uint8_t frame[256];
static size_t len;

static void put(const void *p, size_t n)
{
    memcpy(frame + len, p, n);
    len += n;
}

static void put16(uint16_t value)
{
    put((uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void begin(uint16_t type)
{
    static const uint8_t addresses[12] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56, 2 };

    len = 0;
    put(addresses, 12);
    put16(type);
}

static void put_ports(const struct vector *v)
{
    put16(v->from_port);
    put16(v->to_port);
    put((uint8_t[16]){ 0 }, 16);
}

static void put_v4(const struct vector *v, uint8_t protocol, uint16_t piece)
{
    uint8_t header[20] = {
        0x45, 0, 0, 40, 0, 0, (uint8_t)(piece >> 8), (uint8_t)piece, 64, protocol
    };

    memcpy(header + 12, v->from, 4);
    memcpy(header + 16, v->to, 4);
    put(header, sizeof(header));
    put_ports(v);
}

static void put_v6(const uint8_t *from, const uint8_t *to, uint8_t next)
{
    put((uint8_t[]){ 0x60, 0, 0, 0, 0, 20, next, 64 }, 8);
    put(from, 16);
    put(to, 16);
}

static struct virtio_net_digest digest(uint32_t types)
{
    struct virtio_net_hash hash;

    virtio_net_hash_set_key(&hash, key);
    return virtio_net_hash(&hash, types, frame, len);
}

static void expect(uint32_t types, uint16_t kind, uint32_t value)
{
    struct virtio_net_digest d = digest(types);

    cr_assert_eq(d.kind, kind, "0x%x: %u, not %u", types, d.kind, kind);
    cr_assert_eq(d.value, value, "0x%x: 0x%08x, not 0x%08x", types, d.value, value);
}

Test(virtio_net_hash, the_vectors_of_ipv4_hold)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(v4); i++) {
        begin(0x0800);
        put_v4(&v4[i], TCP, 0x4000);

        expect(IPV4 | TCPV4, 2, v4[i].ports);
        expect(IPV4 | UDPV4, 1, v4[i].addresses);
    }
}

Test(virtio_net_hash, the_vectors_of_ipv6_hold)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(v6); i++) {
        begin(0x86dd);
        put_v6(v6[i].from, v6[i].to, UDP);
        put_ports(&v6[i]);

        expect(IPV6 | UDPV6, 6, v6[i].ports);
        expect(IPV6 | TCPV6, 4, v6[i].addresses);
    }
}

Test(virtio_net_hash, a_type_that_is_not_asked_for_gives_none)
{
    begin(0x0800);
    put_v4(&v4[0], UDP, 0);

    expect(TCPV4, 0, 0);
    expect(0, 0, 0);
    expect(IPV6 | UDPV6 | UDP_EX, 0, 0);
    expect(UDPV4, 3, v4[0].ports);
}

Test(virtio_net_hash, a_piece_of_a_packet_has_no_ports)
{
    begin(0x0800);
    put_v4(&v4[0], TCP, 0x2000); /* the first: more follow */
    expect(IPV4 | TCPV4, 1, v4[0].addresses);
    begin(0x0800);
    put_v4(&v4[0], TCP, 5);

    expect(IPV4 | TCPV4, 1, v4[0].addresses);
}

Test(virtio_net_hash, tags_are_passed_over)
{
    begin(0x88a8);
    put16(100);
    put16(0x8100);
    put16(5);
    put16(0x0800);
    put_v4(&v4[1], TCP, 0);

    expect(TCPV4, 2, v4[1].ports);
}

/* The addresses of the packet are others than those of the extension headers. */
static void put_mobile(const struct vector *v)
{
    static const uint8_t care_of[16] = { 0x20, 0x01, 0x0d, 0xb8 };

    put_v6(care_of, care_of, 60);
    put((uint8_t[]){ 43, 2, 0, 1, 0, 0, 0xc9, 16 }, 8); /* two kinds of padding before the option */
    frame[len - 6] = 1; /* PadN of 2 bytes */
    frame[len - 5] = 0;
    frame[len - 4] = 0;
    frame[len - 3] = 0;
    put(v->from, 16);
    put((uint8_t[]){ UDP, 2, 2, 1, 0, 0, 0, 0 }, 8);
    put(v->to, 16);
    put_ports(v);
}

Test(virtio_net_hash, addresses_of_extension_headers_take_the_others_place)
{
    begin(0x86dd);
    put_mobile(&v6[0]);

    expect(IP_EX | UDP_EX | IPV6 | UDPV6, 9, v6[0].ports);
    expect(IP_EX | TCP_EX | IPV6, 7, v6[0].addresses);
    cr_assert_eq(digest(UDPV6).kind, 6);
    cr_assert_neq(digest(UDPV6).value, v6[0].ports);
}

Test(virtio_net_hash, a_packet_without_extension_headers_has_none_of_their_types)
{
    begin(0x86dd);
    put_v6(v6[0].from, v6[0].to, TCP);
    put_ports(&v6[0]);

    expect(IP_EX | TCP_EX, 0, 0);
}

Test(virtio_net_hash, an_ipv6_piece_has_no_ports_but_a_whole_one_does)
{
    begin(0x86dd);
    put_v6(v6[0].from, v6[0].to, 44);
    put((uint8_t[]){ TCP, 0, 0, 1, 0, 0, 0, 9 }, 8);
    put_ports(&v6[0]);
    expect(IPV6 | TCPV6 | TCP_EX, 4, v6[0].addresses);
    frame[len - 20 - 8 + 3] = 0;

    expect(IPV6 | TCPV6 | TCP_EX, 8, v6[0].ports);
}

Test(virtio_net_hash, a_frame_that_ends_early_is_read_no_further)
{
    begin(0x86dd);
    put_mobile(&v6[1]);

    for (; len; len--) {
        uint8_t *copy = malloc(len);
        struct virtio_net_hash hash;

        memcpy(copy, frame, len); /* for the address sanitizer */
        virtio_net_hash_set_key(&hash, key);
        if (len < VNET_ETHER + 40)
            cr_assert_eq(virtio_net_hash(&hash, VIRTIO_NET_TYPES, copy, len).kind, 0);
        else
            cr_assert_neq(virtio_net_hash(&hash, VIRTIO_NET_TYPES, copy, len).kind, 0);
        free(copy);
    }
}

/* ---- the driver's side ---- */

static struct vh h;
static struct wire wire;

static void start_with(const char *options, uint64_t without)
{
    static const struct vh_config way = { .transport = VH_PCI };

    wire_init(&wire);
    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(wire_plug(&wire, &h, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, vh_offered(&h) & ~without), 0);
}

static void start(void)
{
    start_with("mac=52:54:00:12:34:56,num_queues=8,rss=on,hash=on", 0);
}

TestSuite(virtio_net_rss, .init = start, .timeout = TEST_TIMEOUT);
TestSuite(virtio_net_rss_plain, .timeout = TEST_TIMEOUT);

static int command(uint16_t queue, uint8_t cls, uint8_t cmd, const void *data, uint32_t bytes)
{
    struct fake_buf b[] = { { PACKET, 2 + bytes, false }, { PACKET + 0x1000, 1, true } };

    h.guest.host[PACKET] = cls;
    h.guest.host[PACKET + 1] = cmd;
    if (bytes)
        memcpy(h.guest.host + PACKET + 2, data, bytes);
    cr_assert_eq(vh_request(&h, queue, b, 2), 1);
    return h.guest.host[PACKET + 0x1000];
}

struct rss {
    uint32_t types;
    uint16_t mask, unclassified, table[VIRTIO_NET_STEERED], most;
    uint8_t key_bytes;
};

static uint32_t pack(const struct rss *r, uint8_t bytes[512])
{
    uint32_t at = 8;

    vm_store_le(bytes, 4, r->types);
    vm_store_le(bytes + 4, 2, r->mask);
    vm_store_le(bytes + 6, 2, r->unclassified);
    for (unsigned i = 0; i <= r->mask && i < VIRTIO_NET_STEERED; i++, at += 2)
        vm_store_le(bytes + at, 2, r->table[i]);
    vm_store_le(bytes + at, 2, r->most);
    bytes[at + 2] = r->key_bytes;
    memcpy(bytes + at + 3, key, sizeof(key));
    return at + 3 + r->key_bytes;
}

static int set_rss(const struct rss *r)
{
    uint8_t bytes[512];
    uint32_t n = pack(r, bytes);

    return command(2 * PAIRS, 4, 1, bytes, n);
}

static const struct rss usual = { .types = IPV4 | TCPV4,
                                  .mask = 3,
                                  .unclassified = 2,
                                  .table = { 3, 2, 1, 0 },
                                  .most = PAIRS,
                                  .key_bytes = 40 };

static void offer(uint16_t pair, unsigned buffers)
{
    for (unsigned i = 0; i < buffers; i++) {
        struct fake_buf b = { ROOM + (pair * 16U + i) * BUFFER, BUFFER, true };

        cr_assert_geq(fake_driver_offer(&h.drv[2 * pair], &b, 1), 0);
    }
    cr_assert_eq(vh_kick(&h, (uint16_t)(2 * pair)), 0);
    cr_assert_eq(vh_idle(&h), 0);
}

/* By the door of that pair. */
static void arrive(uint16_t door)
{
    wire_put(&wire, door, &(struct vnet_header){ 0 }, frame, len);
    virtio_net_events.readable(wire.dev, door);
    cr_assert_eq(vh_idle(&h), 0);
}

static bool has(uint16_t pair)
{
    uint16_t id;
    uint32_t bytes;

    return fake_driver_collect(&h.drv[2 * pair], &id, &bytes) > 0 &&
           bytes == len + virtio_net_header_bytes(wire.dev);
}

static struct virtio_net_header_hash header(uint16_t pair)
{
    struct virtio_net_header_hash header;

    memcpy(&header, h.guest.host + ROOM + pair * 16U * BUFFER, sizeof(header));
    return header;
}

Test(virtio_net_rss, a_frame_goes_to_the_queue_that_its_hash_says_with_the_hash_in_its_header)
{
    uint16_t pair = usual.table[v4[0].ports & 3]; /* 0x51ccc178: entry 0 */

    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    for (uint16_t n = 0; n < PAIRS; n++)
        offer(n, 2);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);

    arrive(1);

    cr_assert_eq(pair, 3);
    cr_assert(has(pair));
    cr_assert_eq(le32_get(header(pair).hash_value), v4[0].ports);
    cr_assert_eq(le16_get(header(pair).hash_report), 2);
    cr_assert_eq(le16_get(header(pair).v1.num_buffers), 1);
    cr_assert_arr_eq(h.guest.host + ROOM + pair * 16U * BUFFER + 20, frame, len);
    for (uint16_t n = 0; n < PAIRS; n++)
        cr_assert_not(has(n));
    vh_close(&h);
}

Test(virtio_net_rss, a_frame_that_came_by_its_own_door_stays_where_it_is)
{
    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    offer(3, 1);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);

    arrive(3);

    cr_assert(has(3));
    cr_assert_eq(le32_get(header(3).hash_value), v4[0].ports);
    vh_close(&h);
}

Test(virtio_net_rss, what_has_no_hash_goes_where_the_driver_said)
{
    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    for (uint16_t n = 0; n < PAIRS; n++)
        offer(n, 1);
    begin(0x0806); /* ARP */
    put((uint8_t[46]){ 0 }, 46);

    arrive(0);

    cr_assert(has(2));
    cr_assert_eq(le16_get(header(2).hash_report), 0);
    vh_close(&h);
}

Test(virtio_net_rss, a_frame_that_was_not_hashed_has_no_hash_of_an_earlier_one)
{
    struct rss all_to_first = usual;

    memset(all_to_first.table, 0, sizeof(all_to_first.table));
    cr_assert_eq(set_rss(&all_to_first), VIRTIO_NET_OK);
    offer(0, 1);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);
    arrive(0);
    cr_assert(has(0));
    cr_assert_eq(le16_get(header(0).hash_report), 2);
    cr_assert_eq(vh_reset(&h, 1000000000), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    offer(0, 1);

    arrive(0);

    cr_assert(has(0));
    cr_assert_eq(le16_get(header(0).hash_report), 0);
    cr_assert_eq(le32_get(header(0).hash_value), 0);
    vh_close(&h);
}

Test(virtio_net_rss, a_queue_without_buffers_does_not_hold_up_the_others)
{
    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    offer(3, 1);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);

    arrive(0);

    cr_assert(has(3));
    vh_close(&h);
}

Test(virtio_net_rss, a_frame_waits_for_buffers_of_its_queue_and_a_second_one_is_lost)
{
    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);
    arrive(0);
    arrive(0);
    cr_assert_eq(wire.dev->count.rx_dropped, 1);

    offer(3, 2);

    cr_assert(has(3));
    cr_assert_not(has(3));
    vh_close(&h);
}

Test(virtio_net_rss, a_long_frame_finds_its_queue_too)
{
    static uint8_t big[9000];

    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    offer(0, 1);
    offer(3, 8);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);
    memcpy(big, frame, len);
    wire_put(&wire, 0, &(struct vnet_header){ 0 }, big, sizeof(big));

    virtio_net_events.readable(wire.dev, 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(le16_get(header(3).v1.num_buffers), 5);
    cr_assert_eq(le32_get(header(3).hash_value), v4[0].ports);
    vh_close(&h);
}

Test(virtio_net_rss, a_number_of_pairs_ends_the_choice_by_hash)
{
    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    cr_assert_eq(command(2 * PAIRS, 4, 0, (uint8_t[]){ 2, 0 }, 2), VIRTIO_NET_OK);
    offer(1, 1);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);

    arrive(1);

    cr_assert(has(1));
    vh_close(&h);
}

Test(virtio_net_rss, hashes_alone_change_no_queue)
{
    uint8_t bytes[13 + 40] = { TCPV4 };

    bytes[12] = 40;
    memcpy(bytes + 13, key, 40);
    cr_assert_eq(command(2 * PAIRS, 4, 2, bytes, sizeof(bytes)), VIRTIO_NET_OK);
    offer(0, 1);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);

    arrive(0);

    cr_assert(has(0));
    cr_assert_eq(le32_get(header(0).hash_value), v4[0].ports);
    vh_close(&h);
}

Test(virtio_net_rss, commands_that_cannot_be_are_refused_and_change_nothing)
{
    struct rss bad[] = { usual, usual, usual, usual, usual, usual, usual };
    struct virtio_net_state before = wire.dev->s;
    uint8_t bytes[512];
    uint32_t n = pack(&usual, bytes);

    bad[0].types = 1 << 9;
    bad[1].mask = 2;
    bad[2].mask = 255;
    bad[3].unclassified = PAIRS;
    bad[4].table[3] = PAIRS;
    bad[5].most = 0;
    bad[6].most = PAIRS + 1;

    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++)
        cr_assert_eq(set_rss(&bad[i]), VIRTIO_NET_ERR, "%zu", i);
    for (uint32_t i = 0; i < n; i++)
        cr_assert_eq(command(2 * PAIRS, 4, 1, bytes, i), VIRTIO_NET_ERR, "%u bytes", i);
    cr_assert_eq(command(2 * PAIRS, 4, 1, bytes, n + 1), VIRTIO_NET_ERR);
    bytes[8 + 8 + 2] = 41;
    cr_assert_eq(command(2 * PAIRS, 4, 1, bytes, n + 1), VIRTIO_NET_ERR);

    cr_assert_arr_eq(&wire.dev->s, &before, sizeof(before));
    vh_close(&h);
}

Test(virtio_net_rss, a_table_outlives_the_device)
{
    struct vm_buffer saved = { 0 };

    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &saved), 0);
    vh_destroy(&h);
    wire_init(&wire);
    cr_assert_eq(wire_plug(&wire, &h, "mac=02:00:00:00:00:99,num_queues=8,rss=on,hash=on"), 0);
    cr_assert_eq(vh_quiesce(&h), 0);

    cr_assert_eq(vh_load(&h, saved.data, saved.len), 0, "%s", vm_error_text());

    cr_assert(wire.dev->hashing);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);
    cr_assert_eq(virtio_net_hash(&wire.dev->hash, TCPV4, frame, len).value, v4[0].ports);
    cr_assert_eq(wire.dev->s.table[0], 3);
    vm_buffer_free(&saved);
    vh_close(&h);
}

Test(virtio_net_rss, a_table_that_cannot_be_is_not_loaded)
{
    struct virtio_net_state s = wire.dev->s;

    s.table[127] = PAIRS;
    cr_assert_eq(h.virtio->ops->load(h.virtio, &s), -EINVAL);
    s = wire.dev->s;
    s.unclassified = PAIRS;
    cr_assert_eq(h.virtio->ops->load(h.virtio, &s), -EINVAL);
    s = wire.dev->s;
    s.table_mask = 5;

    cr_assert_eq(h.virtio->ops->load(h.virtio, &s), -EINVAL);
    vh_close(&h);
}

Test(virtio_net_rss, config_space_says_what_there_is)
{
    struct virtio_net_space s;

    vh_config_read(&h, 0, &s, sizeof(s));

    cr_assert_eq(s.rss_max_key_size, 40);
    cr_assert_eq(le16_get(s.rss_max_indirection_table_length), 128);
    cr_assert_eq(le32_get(s.supported_hash_types), 0x1ff);
    vh_close(&h);
}

Test(virtio_net_rss_plain, a_back_end_with_one_queue_serves_many)
{
    start_with("mac=52:54:00:12:34:56,num_queues=8,rss=on,socket=x", VIRTIO_NET_F_HASH_REPORT);
    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    cr_assert_eq(wire.pairs, 1);
    offer(3, 1);
    begin(0x0800);
    put_v4(&v4[0], TCP, 0);

    arrive(0);

    cr_assert(has(3));
    vh_close(&h);
}

Test(virtio_net_rss_plain, without_the_feature_the_commands_are_refused)
{
    uint8_t bytes[13] = { TCPV4 };

    start_with("mac=52:54:00:12:34:56,num_queues=8,rss=on,hash=on",
               VIRTIO_NET_F_RSS | VIRTIO_NET_F_HASH_REPORT);

    cr_assert_eq(set_rss(&usual), VIRTIO_NET_ERR);
    cr_assert_eq(command(2 * PAIRS, 4, 2, bytes, sizeof(bytes)), VIRTIO_NET_ERR);
    vh_close(&h);
}

Test(virtio_net_rss_plain, with_rss_alone_the_control_queue_is_the_last)
{
    start_with("mac=52:54:00:12:34:56,num_queues=8,rss=on", VIRTIO_NET_F_MQ);

    cr_assert_eq(set_rss(&usual), VIRTIO_NET_OK);
    vh_close(&h);
}

Test(virtio_net_rss, packets_to_be_sent_have_the_long_header)
{
    struct fake_buf b = { PACKET, 20 + 60, false };

    memset(h.guest.host + PACKET, 0, 20);
    memset(h.guest.host + PACKET + 20, 7, 60);

    cr_assert_eq(vh_request(&h, 1, &b, 1), 0);

    cr_assert_eq(wire.outs, 1);
    cr_assert_eq(wire.out[0].len, 60);
    cr_assert_eq(wire.out[0].data[0], 7);
    vh_close(&h);
}
