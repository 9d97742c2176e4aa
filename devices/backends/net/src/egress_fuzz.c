/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Frames of a hostile guest against rules: first a virtio_net_hdr, then the frame. What passes must be what a plain reading of it says is
 * allowed: from the own MAC address, and IP to a given network only. And where packets become sockets (mode=user), what passes must be
 * the same in a reading that knows no extension headers and no fragments, and not for the host itself.
 */
#include <stdlib.h>
#include <string.h>

#include "filter_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t own_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void read_rules(struct vnet_egress_rules *rules)
{
    static char *text[] = { (char *)(uintptr_t) "deny:tcp:25",
                            (char *)(uintptr_t) "allow:any@10.0.0.0/8",
                            (char *)(uintptr_t) "allow:any@2001:db8::/32" };
    const struct vnet_filter_config config = { .egress = { text, 3 },
                                               .egress_active = UINT64_MAX,
                                               .antispoof = true,
                                               .deny_metadata = true,
                                               .mac = "52:54:00:12:34:56" };

    if (vnet_egress_read(&config, rules))
        abort();
}

/* Where the packet begins behind VLAN tags. */
static size_t packet_of(const uint8_t *frame, size_t len, uint16_t *ret_type)
{
    size_t at = 12;

    while (at + 2 <= len && (vnet_be16(frame + at) == 0x8100 || vnet_be16(frame + at) == 0x88a8 ||
                             vnet_be16(frame + at) == 0x9100))
        at += 4;
    if (at + 2 > len)
        abort();
    *ret_type = vnet_be16(frame + at);
    return at + 2;
}

static void check_passed(const uint8_t *frame, size_t len)
{
    uint16_t type;
    size_t at = packet_of(frame, len, &type);

    if (memcmp(frame + 6, own_mac, 6))
        abort();
    if (type == VNET_ARP_TYPE || type == VNET_RARP_TYPE)
        return;
    if (type == VNET_IPV4_TYPE) {
        if (len < at + 20 || frame[at + 16] != 10)
            abort();
        if (frame[at + 9] == VNET_TCP && len >= at + 24 && frame[at] == 0x45 &&
            vnet_be16(frame + at + 22) == 25 && !(vnet_be16(frame + at + 6) & 0x1fff))
            abort();
        return;
    }
    if (type != VNET_IPV6_TYPE || len < at + 40)
        abort();
    if (memcmp(frame + at + 24, "\x20\x01\x0d\xb8", 4) && frame[at + 24] != 0xff &&
        frame[at + 24] != 0xfe)
        abort();
}

static void check_sockets(const uint8_t *frame, size_t len)
{
    static const uint8_t zeros[15];
    uint16_t type;
    size_t at = packet_of(frame, len, &type);

    if (type == VNET_IPV4_TYPE &&
        (vnet_be16(frame + at + 6) & 0x3fff || frame[at + 16] == 127 || !frame[at + 16]))
        abort();
    if (type != VNET_IPV6_TYPE)
        return;
    if (!memcmp(frame + at + 24, zeros, 15) && frame[at + 39] <= 1)
        abort();
    switch (frame[at + 6]) {
    case VNET_TCP:
    case VNET_UDP:
    case VNET_ICMPV6: return;
    case 0:
        if (len > at + 40 && frame[at + 40] == VNET_ICMPV6)
            return;
        abort();
    default: abort();
    }
}

static bool passes_to_sockets(const uint8_t *head, size_t len, size_t total,
                              const struct vnet_header *header)
{
    const struct vnet_filter_config config = { .egress_active = UINT64_MAX };
    struct vnet_egress_rules rules;

    if (vnet_egress_read(&config, &rules))
        abort();
    rules.sockets = true;
    return vnet_egress_judge(&rules, head, len, total, header).pass;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vnet_egress_rules rules;
    struct vnet_header header;
    size_t head;
    uint8_t *copy;

    if (size < sizeof(header))
        return 0;
    read_rules(&rules);
    memcpy(&header, data, sizeof(header));
    data += sizeof(header);
    size -= sizeof(header);
    head = size < VNET_HEAD ? size : VNET_HEAD;
    copy = malloc(head ? head : 1); /* of just that size: what is read beyond it is found */
    if (!copy)
        return 0;
    if (head)
        memcpy(copy, data, head);
    if (vnet_egress_judge(&rules, copy, head, size, &header).pass)
        check_passed(data, size);
    if (passes_to_sockets(copy, head, size, &header))
        check_sockets(data, size);
    free(copy);
    return 0;
}
