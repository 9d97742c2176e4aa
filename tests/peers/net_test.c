/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net (VIRTIO 1.2, 5.1) served by DPDK's testpmd, which sends back what it gets, in both roles of the socket, and by passt. */
#include "peers.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>

enum { RX, TX, HEADER = 12 /* 5.1.6: with VIRTIO_F_VERSION_1 */, FRAME = 64, ROOM = 2048 };
/* DPDK's memory, in MiB: without huge pages. */
#define TESTPMD_MEMORY "192"

/* Of those that tests/e2e/fetch.sh --dpdk and --passt got: with libraries and loader of their own. */
static char *fetched(const char *folder, const char *file)
{
    static char paths[16][512]; /* of a test, which is a process */
    static unsigned count;
    const char *bed = getenv("VMM_TESTBED");
    char *path = paths[count++];

    cr_assert_leq(count, 16);
    snprintf(path, sizeof(paths[0]), "%s/%s/%s", bed ? bed : "build/testbed", folder, file);
    cr_assert_eq(access(path, R_OK), 0, "%s is missing: tests/e2e/fetch.sh --%s", path, folder);
    return path;
}

static void start_testpmd(const char *role)
{
    char device[PEER_PATH + 64];
    char *argv[] = { fetched("dpdk", "ld.so"),
                     "--library-path",
                     fetched("dpdk", ""),
                     fetched("dpdk", "dpdk-testpmd"),
                     "--lcores=0@0,1@0",
                     "--no-huge",
                     "-m",
                     TESTPMD_MEMORY,
                     "--no-pci",
                     "--no-shconf",
                     "--no-telemetry",
                     "-d",
                     fetched("dpdk", "librte_net_vhost.so.23"),
                     "-d",
                     fetched("dpdk", "librte_mempool_ring.so.23"),
                     "--vdev",
                     device,
                     "--",
                     "--forward-mode=io",
                     "--port-topology=loop",
                     "--auto-start",
                     "--total-num-mbufs=2048",
                     "--no-mlockall",
                     "--disable-link-check",
                     "--stats-period=1000",
                     NULL };

    snprintf(device, sizeof(device), "net_vhost0,iface=%s,queues=1%s", peer.socket, role);
    peer_start(argv);
}

static struct fake_buf received;

static void offer_room(void)
{
    struct fake_driver *drv = &peer.h.drv[RX];

    received = (struct fake_buf){ fake_driver_alloc(drv, ROOM), ROOM, true };
    cr_assert_geq(fake_driver_offer(drv, &received, 1), 0);
    if (fake_driver_wants_kick(drv))
        cr_assert_eq(vh_kick(&peer.h, RX), 0);
}

static void send_frame(const void *frame, uint32_t bytes)
{
    struct fake_driver *drv = &peer.h.drv[TX];
    uint8_t packet[HEADER + FRAME] = { 0 };
    struct fake_buf buf = { fake_driver_alloc(drv, sizeof(packet)), HEADER + bytes, false };

    memcpy(packet + HEADER, frame, bytes);
    fake_driver_write(drv, buf.addr, packet, buf.len);
    peer_request(TX, &buf, 1);
}

/* What arrives in the room that was offered within a second: its length, or 0. */
static uint32_t receive(uint8_t frame[ROOM])
{
    uint64_t end = vm_loop_now_ns(peer.h.loop) + PEER_SECOND;
    uint8_t packet[ROOM];
    uint16_t id;
    uint32_t len = 0;
    int rc = 0;

    while (!rc && vm_loop_now_ns(peer.h.loop) < end) {
        cr_assert_geq(vm_loop_step(peer.h.loop, PEER_SECOND / 100), 0);
        rc = fake_driver_collect(&peer.h.drv[RX], &id, &len);
    }
    cr_assert_geq(rc, 0, "%s", peer.h.drv[RX].complaint);
    if (!rc)
        return 0;
    cr_assert(len > HEADER && len <= ROOM, "%u bytes", len);
    fake_driver_read(&peer.h.drv[RX], received.addr, packet, len);
    memcpy(frame, packet + HEADER, len - HEADER);
    offer_room();
    return len - HEADER;
}

/* Sends until something with the same beginning as want comes, for a network may lose packets, also before all of a back end is awake; what
 * else comes is an earlier one. */
static void exchange(const void *frame, uint32_t bytes, const void *want, uint32_t want_bytes)
{
    uint8_t back[ROOM];

    for (unsigned i = 0; i < PEER_WAIT_S; i++) {
        send_frame(frame, bytes);
        for (uint32_t len; (len = receive(back));)
            if (len >= want_bytes && !memcmp(back, want, want_bytes))
                return;
    }
    cr_assert_fail("it never came");
}

static void comes_back(uint8_t mark)
{
    uint8_t frame[FRAME];

    memset(frame, mark, sizeof(frame));
    exchange(frame, FRAME, frame, FRAME);
}

Test(testpmd, a_packet_comes_back_when_it_listens, .init = peer_begin, .fini = peer_end)
{
    start_testpmd("");
    peer_device("type=net,wait=60");
    offer_room();

    comes_back(0x5a);
    comes_back(0xa5);
}

Test(testpmd, a_packet_comes_back_when_we_listen, .init = peer_begin, .fini = peer_end)
{
    start_testpmd(",client=1");
    peer_device("type=net,wait=60,vhost_mode=server");
    offer_room();

    comes_back(0x5a);
    comes_back(0xa5);
}

Test(testpmd, killed_and_started_again_it_serves_the_next_packet, .init = peer_begin,
     .fini = peer_end)
{
    start_testpmd("");
    peer_device("type=net,wait=60");
    offer_room();
    comes_back(1);

    peer_kill();
    unlink(peer.socket);
    start_testpmd("");

    comes_back(2);
}

static void start_passt(void)
{
    char *argv[] = { fetched("passt", "ld.so"),
                     "--library-path",
                     fetched("passt", ""),
                     fetched("passt", "passt"),
                     "--foreground",
                     "--vhost-user",
                     "--socket",
                     peer.socket,
                     "--ipv4-only",
                     "--address",
                     "10.0.2.15",
                     "--gateway",
                     "10.0.2.2",
                     NULL };

    peer_start(argv);
}

/* RFC 826: who has the gateway's address? */
static void make_request(struct ether_arp *arp, struct ether_header *head, const char *target)
{
    static const uint8_t guest[6] = { 0x52, 0x54, 0, 0, 0, 1 };

    *head = (struct ether_header){ .ether_type = htons(ETHERTYPE_ARP) };
    memset(head->ether_dhost, 0xff, 6);
    memcpy(head->ether_shost, guest, 6);
    *arp = (struct ether_arp){ .ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER),
                                           .ar_pro = htons(ETHERTYPE_IP),
                                           .ar_hln = 6,
                                           .ar_pln = 4,
                                           .ar_op = htons(ARPOP_REQUEST) } };
    memcpy(arp->arp_sha, guest, 6);
    inet_pton(AF_INET, "10.0.2.15", arp->arp_spa);
    inet_pton(AF_INET, target, arp->arp_tpa);
}

Test(passt, it_answers_for_its_gateway, .init = peer_begin, .fini = peer_end)
{
    struct {
        struct ether_header head;
        struct ether_arp arp;
    } request, *answer;
    uint8_t frame[ROOM];

    start_passt();
    peer_device("type=net,wait=60");
    offer_room();
    make_request(&request.arp, &request.head, "10.0.2.2");
    send_frame(&request, sizeof(request));

    do {
        cr_assert_geq(receive(frame), sizeof(request), "no answer");
        answer = (void *)frame;
    } while (answer->head.ether_type != htons(ETHERTYPE_ARP));
    cr_assert_eq(answer->arp.ea_hdr.ar_op, htons(ARPOP_REPLY));
    cr_assert_eq(memcmp(answer->arp.arp_spa, request.arp.arp_tpa, 4), 0);
}
