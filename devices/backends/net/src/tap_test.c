/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Tests of tap interfaces, with real ones, in a network namespace of each test's own. Run by root, or as
 *     unshare -Urn test-net
 * Otherwise, and without /dev/net/tun, they are skipped.
 */
#include "net_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/tap.h>

static struct side a;
static char name[] = "vt0";

/* Our type of frame (IEEE 802: for experiments); the kernel's own come, too. */
static const uint8_t frame[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,   0,
                                   0,    0,    0,    1,    0x88, 0xb5, 'h', 'i' };

static void setup(void)
{
    int fd;

    if (unshare(CLONE_NEWNET))
        cr_skip_test("no network namespace of its own (unshare -Urn gives that right): %s",
                     strerror(errno));
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        cr_skip_test("/dev/net/tun: %s", strerror(errno));
    close(fd);
}

static void teardown(void)
{
    side_close(&a);
}

TestSuite(vnet_tap, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

/* The host's side: frames of our type. */
static int host_side(const char *interface)
{
    const struct timeval limit = { .tv_sec = 2 };
    struct sockaddr_ll at = { .sll_family = AF_PACKET,
                              .sll_protocol = htons(0x88b5),
                              .sll_ifindex = (int)if_nametoindex(interface) };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static struct ifreq ask(const char *interface, unsigned long request)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = { 0 };

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", interface);
    cr_assert_eq(ioctl(sock, request, &r), 0, "%s", strerror(errno));
    close(sock);
    return r;
}

Test(vnet_tap, an_interface_is_made_set_up_and_carries_frames_both_ways)
{
    static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };
    const struct vnet_config config = { .tap = name,
                                        .ip = (char *)"10.9.8.1",
                                        .mask = (char *)"255.255.0.0",
                                        .host_mac = (char *)"02:00:00:00:00:07",
                                        .mtu = 4000 };
    uint8_t got[100];
    struct ifreq r;
    int host;

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
    r = ask(name, SIOCGIFADDR);
    cr_assert_str_eq(inet_ntoa(((struct sockaddr_in *)(void *)&r.ifr_addr)->sin_addr), "10.9.8.1");
    r = ask(name, SIOCGIFNETMASK);
    cr_assert_str_eq(inet_ntoa(((struct sockaddr_in *)(void *)&r.ifr_addr)->sin_addr),
                     "255.255.0.0");
    cr_assert_eq(ask(name, SIOCGIFMTU).ifr_mtu, 4000);
    cr_assert(ask(name, SIOCGIFFLAGS).ifr_flags & IFF_UP);
    r = ask(name, SIOCGIFHWADDR);
    cr_assert_arr_eq(r.ifr_hwaddr.sa_data, mac, 6);
    host = host_side(name);
    cr_assert_eq(side_send(&a, frame, sizeof(frame)), 0);
    cr_assert_eq(recv(host, got, sizeof(got), 0), sizeof(frame));
    cr_assert_arr_eq(got, frame, sizeof(frame));
    while (side_receive(&a, 0) > 0) /* what the kernel has to say */
        ;
    side_turn(&a);
    a.readable = 0;
    cr_assert_eq(send(host, frame, sizeof(frame), 0), sizeof(frame));
    for (unsigned i = 0; i < 200 && !a.readable; i++)
        vm_loop_step(a.env.loop, 10000000);

    cr_assert_gt(a.readable, 0);
    cr_assert_eq(side_await(&a, 0, frame, 16), sizeof(frame));
    close(host);
}

Test(vnet_tap, it_has_the_offloads_of_its_kernel)
{
    const struct vnet_config config = { .tap = name };

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    cr_assert_eq(a.net->info.gives & (VNET_CSUM | VNET_TSO4 | VNET_TSO6 | VNET_ECN),
                 VNET_CSUM | VNET_TSO4 | VNET_TSO6 | VNET_ECN);
    cr_assert_eq(vnet_set_offloads(a.net, VNET_CSUM | VNET_TSO4), 0);
}

Test(vnet_tap, several_queues_have_an_fd_each_and_are_switched_off_and_on)
{
    const struct vnet_config config = { .tap = name };

    cr_assert_eq(side_open(&a, &config, 4), 0, "%s", vm_error_text());

    cr_assert_eq(vnet_set_queues(a.net, 1), 0);
    cr_assert_eq(vnet_set_queues(a.net, 1), 0);
    cr_assert_eq(vnet_set_queues(a.net, 4), 0);
    cr_assert_eq(vnet_set_queues(a.net, 2), 0);
}

Test(vnet_tap, an_open_one_can_be_given_and_stays_the_givers)
{
    char text[VM_TAP_TEXT_MAX];
    int fd;
    struct vnet_config config = { .fd = { .items = &fd, .count = 1 } };

    cr_assert_eq(vm_tap_text(&(struct vm_tap){ .name = name }, text), 0);
    fd = vm_tap_open(text);
    cr_assert_geq(fd, 0, "%s", vm_error_text());
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    cr_assert_eq(side_send(&a, frame, sizeof(frame)), 0);
    side_close(&a);
    cr_assert_geq(fcntl(fd, F_GETFD), 0);
    close(fd);
}

static void drop_privilege(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct cap[2];

    cr_assert_eq(syscall(SYS_capget, &head, cap), 0);
    cap[0].effective &= ~(1U << CAP_NET_ADMIN);
    cr_assert_eq(syscall(SYS_capset, &head, cap), 0);
}

Test(vnet_tap, open_ones_can_be_used_without_privilege)
{
    struct vm_tap tap = { .name = name, .multi = true };
    char text[VM_TAP_TEXT_MAX];
    int fds[2];
    struct vnet_config config = { .fd = { .items = fds, .count = 2 } };

    for (tap.queue = 0; tap.queue < 2; tap.queue++) {
        cr_assert_eq(vm_tap_text(&tap, text), 0);
        fds[tap.queue] = vm_tap_open(text);
        cr_assert_geq(fds[tap.queue], 0, "%s", vm_error_text());
    }
    drop_privilege();

    cr_assert_eq(side_open(&a, &config, 2), 0, "%s", vm_error_text());

    cr_assert_eq(vnet_set_offloads(a.net, a.net->info.gives), 0);
    cr_assert_eq(vnet_set_queues(a.net, 1), 0);
    cr_assert_eq(vnet_set_queues(a.net, 2), 0);
    cr_assert_eq(side_send(&a, frame, sizeof(frame)), 0);
    close(fds[0]);
    close(fds[1]);
}

Test(vnet_tap, given_ones_that_differ_in_their_header_are_refused)
{
    struct vm_tap tap = { .name = name, .multi = true };
    struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    char text[VM_TAP_TEXT_MAX];
    int fds[2];
    struct vnet_config config = { .fd = { .items = fds, .count = 2 } };

    cr_assert_eq(vm_tap_text(&tap, text), 0);
    fds[0] = vm_tap_open(text);
    fds[1] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    cr_assert(fds[0] >= 0 && fds[1] >= 0 && !ioctl(fds[1], TUNSETIFF, &r));

    cr_assert_eq(side_open(&a, &config, 2), -EINVAL);

    cr_assert(strstr(vm_error_text(), "IFF_VNET_HDR"), "%s", vm_error_text());
    close(fds[0]);
    close(fds[1]);
}

Test(vnet_tap, an_interface_that_is_deleted_takes_the_link_down)
{
    const struct vnet_config config = { .tap = name };

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
    cr_assert_eq(system("ip link del vt0"), 0); /* it needs iproute2, as the network does */
    for (unsigned i = 0; i < 200 && a.net->info.link; i++)
        vm_loop_step(a.env.loop, 10000000);

    cr_assert_not(a.net->info.link);
    cr_assert_gt(a.links, 0);
    cr_assert_eq(side_send(&a, frame, sizeof(frame)), -EBADFD);
}

Test(vnet_tap, one_that_is_lent_and_deleted_takes_the_link_down)
{
    const struct vnet_config config = { .tap = name };

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
    cr_assert_geq(vnet_lend(a.net, 0), 0, "%s", vm_error_text());
    cr_assert_eq(system("ip link del vt0"), 0);
    for (unsigned i = 0; i < 200 && a.net->info.link; i++)
        vm_loop_step(a.env.loop, 10000000);

    cr_assert_not(a.net->info.link);
    cr_assert_eq(a.links, 1);
    side_turn(&a); /* once, and nobody is woken for it again */
    cr_assert_eq(a.links, 1);
}

/* A macvtap on one end of a cable; the other end is v1. Its node is made where devtmpfs is, for the host's root; its number is found in
 * this namespace's own /sys. The index is this process's alone: nodes are named by it, and other namespaces' stand beside them. */
static int macvtap(void)
{
    char node[32], command[300];
    int fd;

    snprintf(command, sizeof(command),
             "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up && "
             "ip link add link v0 name vt0 index %d address 02:00:00:00:00:02 type macvtap mode "
             "bridge && ip link set vt0 up",
             1000000 + getpid());
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", "/sys", "sysfs", 0, NULL) || system(command))
        cr_skip_test("no macvtap can be made here: %s", strerror(errno));
    snprintf(node, sizeof(node), "/dev/tap%u", if_nametoindex(name));
    fd = open(node, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        cr_skip_test("%s: %s", node, strerror(errno));
    return fd;
}

static void carries_both_ways(void)
{
    int host = host_side("v1");
    uint8_t got[100];

    cr_assert_eq(side_send(&a, frame, sizeof(frame)), 0);
    cr_assert_eq(recv(host, got, sizeof(got), 0), sizeof(frame));
    cr_assert_arr_eq(got, frame, sizeof(frame));
    while (side_receive(&a, 0) > 0)
        ;
    cr_assert_eq(send(host, frame, sizeof(frame), 0), sizeof(frame));
    cr_assert_eq(side_await(&a, 0, frame, 16), sizeof(frame));
    close(host);
}

Test(vnet_tap, a_macvtap_carries_frames_both_ways_by_its_name)
{
    const struct vnet_config config = { .tap = name };

    close(macvtap());
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    carries_both_ways();
}

Test(vnet_tap, an_open_macvtap_carries_frames_both_ways)
{
    struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    int fd = macvtap();
    struct vnet_config config = { .fd = { .items = &fd, .count = 1 } };

    cr_assert_eq(ioctl(fd, TUNSETIFF, &r), 0);
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
    cr_assert(a.net->info.gives & VNET_CSUM);

    carries_both_ways();
    close(fd);
}

Test(vnet_tap, the_node_of_another_namespaces_macvtap_is_not_taken)
{
    const struct vnet_config config = { .tap = name };
    int first, there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    first = macvtap();
    cr_assert_eq(unshare(CLONE_NEWNET), 0);
    close(macvtap()); /* of the same index: the node there is still the first one's */

    cr_assert_eq(side_open(&a, &config, 1), -ENOENT);

    cr_assert(strstr(vm_error_text(), "is the macvtap of another network namespace"), "%s",
              vm_error_text());
    close(first);
    close(there);
}

/* As long as the kernel is like that (docs/decisions/0019): one that tells would be welcome. */
Test(vnet_tap, a_macvtap_that_is_deleted_is_told_to_nobody_but_who_asks)
{
    const struct vnet_config config = { .tap = name };

    close(macvtap());
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
    side_turn(&a);
    cr_assert_eq(system("ip link del vt0"), 0);
    for (unsigned i = 0; i < 20; i++)
        vm_loop_step(a.env.loop, 10000000);

    cr_expect_eq(side_send(&a, frame, sizeof(frame)), 0);
    while (side_receive(&a, 0) > 0)
        ;
    cr_expect_eq(side_receive(&a, 0), -EAGAIN);
    cr_expect(a.net->info.link);
    cr_expect_eq(a.links, 0);
    cr_expect_eq(vnet_set_offloads(a.net, VNET_CSUM), -ENOLINK);
}

Test(vnet_tap, one_that_another_has_is_busy)
{
    const struct vnet_config config = { .tap = name };
    struct side second = { 0 };

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    cr_assert_eq(side_open(&second, &config, 1), -EBUSY);

    cr_assert_str_eq(vm_error_text(),
                     "net0: tap vt0: another program has it, or it has no queue left");
    side_close(&second);
}

Test(vnet_tap, an_address_that_is_taken_is_refused)
{
    const struct vnet_config config = { .tap = name, .ip = (char *)"10.9.8.1" },
                             other = { .tap = (char *)"vt1", .ip = (char *)"10.9.8.1" };
    struct side second = { 0 };

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    cr_assert_eq(side_open(&second, &other, 1), -EADDRINUSE);

    cr_assert(strstr(vm_error_text(), "ip=10.9.8.1 is the address of vt0"), "%s", vm_error_text());
    side_close(&second);
}

Test(vnet_tap, it_may_have_an_ipv6_address)
{
    struct vnet_config config = { .tap = name, .ip = (char[]){ "fd00::7/48" } };
    char line[128] = "";
    FILE *f;

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    f = fopen("/proc/net/if_inet6", "re");
    if (!f)
        cr_skip_test("this host has no IPv6");
    while (!strstr(line, "fd000000000000000000000000000007"))
        cr_assert(fgets(line, sizeof(line), f), "the address is not there");
    fclose(f);
    cr_assert(strstr(line, " 30 ") && strstr(line, name), "%s", line);
    side_close(&a);
    config.tap = (char[]){ "vt1" };
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text()); /* the first has gone */
}

Test(vnet_tap, an_ipv6_address_that_is_taken_is_refused)
{
    struct vnet_config config = { .tap = name, .ip = (char[]){ "fd00::7" } };
    struct side other = { 0 };

    if (access("/proc/net/if_inet6", R_OK))
        cr_skip_test("this host has no IPv6");
    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());
    config.tap = (char[]){ "vt1" };

    cr_assert_eq(side_open(&other, &config, 1), -EADDRINUSE);

    cr_assert(strstr(vm_error_text(), "is the address of vt0"), "%s", vm_error_text());
    vm_loop_free(other.env.loop);
}

Test(vnet_tap, a_prefix_sets_the_mask)
{
    const struct vnet_config config = { .tap = name, .ip = (char[]){ "10.9.8.7/20" } };
    struct sockaddr_in mask;
    struct ifreq r;

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    r = ask(name, SIOCGIFNETMASK);
    memcpy(&mask, &r.ifr_netmask, sizeof(mask));
    cr_assert_eq(ntohl(mask.sin_addr.s_addr), 0xfffff000);
}

Test(vnet_tap, without_privilege_the_error_says_how_to_get_it)
{
    const struct vnet_config config = { .tap = name };

    drop_privilege();

    cr_assert_eq(side_open(&a, &config, 1), -EPERM);

    cr_assert(strstr(vm_error_text(), "ip tuntap add vt0 mode tap user"), "%s", vm_error_text());
}

Test(vnet_tap, something_else_of_that_name_is_told)
{
    const struct vnet_config config = { .tap = (char *)"lo" };

    cr_assert_eq(side_open(&a, &config, 1), -EINVAL);

    cr_assert(strstr(vm_error_text(), "tap lo: there is such an interface"), "%s", vm_error_text());
}

Test(vnet_tap, an_mtu_that_it_cannot_carry_is_refused)
{
    const struct vnet_config config = { .tap = name, .mtu = 65535 };

    cr_assert_eq(side_open(&a, &config, 1), -EINVAL);

    cr_assert(strstr(vm_error_text(), "tap vt0: mtu=65535: the interface does not carry that: "
                                      "a tap has 65521 bytes at most"),
              "%s", vm_error_text());
}
