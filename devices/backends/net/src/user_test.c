/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* mode=user: what passt is told, and connections that come and go. */
#include "net_test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/dial.h>
#include <vmm/base/fd.h>

#include "net_private.h"

/* ---- what passt is told ---- */

#define LIST(...)                                                   \
    {                                                               \
        .items = (char *[]){ __VA_ARGS__ },                         \
        .count = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) \
    }
#define BEGIN  "passt --foreground --quiet --fd {fd} --pid /proc/self/fd/4"
#define CLOSED " --tcp-ports none --udp-ports none"

static char *word(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void told(struct vnet_config config, const char *text)
{
    char got[VNET_USER_TEXT_MAX];

    config.mode = VNET_USER;
    cr_assert_eq(vnet_user_text(&config, got), 0, "%s", vm_error_text());
    cr_assert_str_eq(got, text);
}

static void refused(struct vnet_config config, const char *why)
{
    config.mode = VNET_USER;
    cr_assert_lt(vnet_check(&config, 1), 0, "not refused: %s", why);
    cr_assert(strstr(vm_error_text(), why), "%s: %s", why, vm_error_text());
}

Test(vnet_user, without_options_no_port_is_forwarded)
{
    told((struct vnet_config){ 0 }, BEGIN CLOSED);
}

Test(vnet_user, ports_are_forwarded_by_protocol_address_and_range)
{
    told((struct vnet_config){ .forward = LIST(word("tcp:2222:22")) },
         BEGIN " --tcp-ports 2222-2222:22-22 --udp-ports none");
    told((struct vnet_config){ .forward = LIST(word("udp:53")) },
         BEGIN " --udp-ports 53-53:53-53 --tcp-ports none");
    told((struct vnet_config){ .forward = LIST(word("tcp:127.0.0.1:80-81:8080-8081"),
                                               word("udp:[::1]:5353:53")) },
         BEGIN " --tcp-ports 127.0.0.1/80-81:8080-8081 --udp-ports ::1/5353-5353:53-53");
}

Test(vnet_user, addresses_and_the_rest_are_passts_own_words)
{
    told((struct vnet_config){ .guest_ip = LIST(word("10.0.2.15"), word("fd00::15")),
                               .guest_mask = word("255.255.255.0"),
                               .gateway = LIST(word("10.0.2.2")),
                               .dns = LIST(word("10.0.2.3"), word("10.0.2.4")),
                               .dns_forward = LIST(word("10.0.2.5")),
                               .interface = word("eth0"),
                               .mtu = 1500,
                               .hide_host = true },
         BEGIN " --address 10.0.2.15 --address fd00::15 --netmask 255.255.255.0"
               " --gateway 10.0.2.2 --dns 10.0.2.3 --dns 10.0.2.4 --dns-forward 10.0.2.5"
               " --interface eth0 --mtu 1500 --no-map-gw" CLOSED);
    told((struct vnet_config){ .family = VNET_IPV6 }, BEGIN " --ipv6-only" CLOSED);
}

Test(vnet_user, ports_that_are_none_are_refused)
{
    static const char *const wrong[] = {
        "2222:22",   "tcp",          "tcp:",         "tcp:0:22",           "tcp:65536:22",
        "tcp:22:",   "tcp:1:2:3",    "tcp:22 ",      "sctp:1:2",           "tcp:20-10",
        "tcp:1-3:5", "tcp:::1:22:2", "tcp:[::1]2:2", "tcp:[10.0.0.1]:2:2", "tcp:1.2.3:4:5",
        "tcp:a:22",  "tcp:[]:2:2",   "udp:-1",       "tcp:22:{fd}",        "",
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++)
        refused((struct vnet_config){ .forward = LIST(word(wrong[i])) }, "2222:22 brings");
}

Test(vnet_user, what_passt_could_not_take_is_refused_before_it_starts)
{
    refused((struct vnet_config){ .mtu = 65521 }, "mtu=65521: passt carries packets of 65520");
    refused((struct vnet_config){ .mtu = 1000 }, "mtu=1000: IPv6 needs 1280");
    told((struct vnet_config){ .mtu = 1000, .family = VNET_IPV4 },
         BEGIN " --ipv4-only --mtu 1000" CLOSED);
    refused((struct vnet_config){ .guest_ip = LIST(word("10.0.0")) }, "is no address");
    refused((struct vnet_config){ .guest_ip = LIST(word("10.0.0.1"), word("10.0.0.2")) },
            "passt takes 1 of IPv4");
    refused((struct vnet_config){ .gateway = LIST(word("fe80::1")), .family = VNET_IPV4 },
            "with family=ipv4");
    refused((struct vnet_config){ .guest_mask = word("ffff") }, "no network mask");
    refused((struct vnet_config){ .interface = word("a --pcap x") }, "no name of an interface");
    cr_assert_lt(vnet_check(&(struct vnet_config){ .mode = VNET_USER }, 2), 0);
}

Test(vnet_user, its_options_mean_nothing_elsewhere)
{
    const struct vnet_config c = { .socket = word("/s"), .forward = LIST(word("tcp:1:1")) };

    cr_assert_eq(vnet_check(&c, 1), -EINVAL);

    cr_assert(strstr(vm_error_text(), "forward= has no meaning with socket"), "%s",
              vm_error_text());
}

Test(vnet_user, nothing_but_its_own_words_may_be_started)
{
    struct vnet_config c = { .mode = VNET_USER, .forward = LIST(word("tcp:2222:22")) };
    char text[VNET_USER_TEXT_MAX];

    cr_assert_eq(vnet_user_text(&c, text), 0);

    cr_assert(vnet_starts_program(&c));
    cr_assert(vnet_may_open(&c, 1, text, VM_OPEN_USER));
    cr_assert_not(vnet_may_open(&c, 1, BEGIN CLOSED, VM_OPEN_USER));
    cr_assert_not(vnet_may_open(&c, 1, text, VM_OPEN_CONNECT));
    c.mode = VNET_TAP;
    cr_assert_not(vnet_may_open(&c, 1, text, VM_OPEN_USER));
}

/* ---- connections ---- */

static struct side a;
static int feed, peer; /* who starts passt; passt */
static uint32_t tag;

static int open_feed(void *ctx, const char *name, unsigned how)
{
    int pair[2];

    (void)ctx;
    cr_assert_eq(how, VM_OPEN_USER, "%s", name);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    feed = pair[0];
    return pair[1];
}

/* The device has asked, and gets a connection. */
static void give_passt(void)
{
    uint32_t port;
    int pair[2];

    cr_assert_eq(vm_dial_question(feed, &tag, &port), 0, "nobody has asked");
    cr_assert_eq(vm_dial_question(feed, &tag, &port), -EAGAIN, "asked twice");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(vm_dial_answer(feed, tag, 0, pair[0]), 0);
    close(pair[0]);
    peer = pair[1];
}

/* Whose loop has its own time. */
static void begin(void)
{
    static const struct vnet_config config = { .mode = VNET_USER };

    vm_env_host(VM_LOG_ERROR, &a.env);
    a.env.open = open_feed;
    cr_assert_eq(vm_loop_new(&a.env, VM_LOOP_VIRTUAL, &a.env.loop), 0);
    peer = -1;
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
}

static void end(void)
{
    vm_close(&peer);
    vm_close(&feed);
    side_close(&a);
}

TestSuite(vnet_user_link, .init = begin, .fini = end, .timeout = TEST_TIMEOUT);

static void frame_comes(void)
{
    const uint8_t frame[4 + 60] = { 0, 0, 0, 60, 7 };

    cr_assert_eq(write(peer, frame, sizeof(frame)), (ssize_t)sizeof(frame));
    side_turn(&a);
    cr_assert_eq(side_receive(&a, 0), 60);
    cr_assert_eq(a.data[0], 7);
}

Test(vnet_user_link, frames_go_and_come_once_there_is_a_connection)
{
    uint8_t got[4 + 60];

    cr_assert(a.net->info.link);
    cr_assert_eq(a.net->info.frame_max, 65534);
    cr_assert_eq(side_send(&a, a.data, 60), -ENETDOWN, "nobody is there yet");
    give_passt();
    side_turn(&a);

    cr_assert_eq(side_send(&a, a.data, 60), 0);
    cr_assert_eq(read(peer, got, sizeof(got)), (ssize_t)sizeof(got));
    frame_comes();
}

/* RFC 1122, 3.2.1.3. */
Test(vnet_user_link, packets_for_the_hosts_loopback_do_not_reach_passt)
{
    uint8_t frame[60] = { [12] = 8,  [14] = 0x45, [17] = 28,  [22] = 64, [23] = 17,
                          [26] = 10, [29] = 5,    [30] = 127, [33] = 1 };
    uint8_t got[4 + 60];

    give_passt();
    side_turn(&a);

    cr_assert_eq(side_send(&a, frame, sizeof(frame)), -EPERM);
    cr_assert_eq(read(peer, got, sizeof(got)), -1);
    frame[30] = 10;
    cr_assert_eq(side_send(&a, frame, sizeof(frame)), 0);
    cr_assert_eq(read(peer, got, sizeof(got)), (ssize_t)sizeof(got));
}

Test(vnet_user_link, a_passt_that_dies_in_a_frame_is_followed_by_another_one_and_the_link_stays)
{
    give_passt();
    cr_assert_eq(write(peer, "\0\0\1\0half", 8), 8);
    side_turn(&a);
    cr_assert_eq(side_receive(&a, 0), -EAGAIN);
    vm_close(&peer);
    side_turn(&a);

    give_passt();
    side_turn(&a);

    frame_comes();
    cr_assert(a.net->info.link);
    cr_assert_eq(a.links, 0, "the guest was told something");
}

Test(vnet_user_link, it_goes_down_when_none_comes_and_up_with_the_next)
{
    vm_loop_step(a.env.loop, 4900000000);
    cr_assert(a.net->info.link);
    vm_loop_step(a.env.loop, 200000000);
    side_turn(&a);
    cr_assert_not(a.net->info.link);
    cr_assert_eq(a.links, 1);

    give_passt();
    side_turn(&a);

    cr_assert(a.net->info.link);
    cr_assert_eq(a.links, 2);
    frame_comes();
}

Test(vnet_user_link, a_connection_for_who_served_the_device_before_is_not_taken)
{
    uint32_t port;
    int pair[2];

    cr_assert_eq(vm_dial_question(feed, &tag, &port), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    peer = pair[1];

    cr_assert_eq(vm_dial_answer(feed, tag + 1, 0, pair[0]), 0);
    close(pair[0]);
    side_turn(&a);

    cr_assert_eq(side_send(&a, a.data, 60), -ENETDOWN);
    cr_assert_eq(vm_dial_question(feed, &tag, &port), -EAGAIN, "it asks again");
}

Test(vnet_user_link, without_somebody_who_starts_it_the_link_goes_down)
{
    vm_close(&feed);
    side_turn(&a);
    vm_loop_step(a.env.loop, 5100000000);
    side_turn(&a);

    cr_assert_not(a.net->info.link);
}
