/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the options of network back ends. */
#include "net_test.h"

#include <vmm/base/tap.h>

static struct side a;
static char dev[] = "t0", ip[] = "10.0.0.1", path[] = "/s";
static int closed = 100000; /* an fd that is not open */

static void teardown(void)
{
    side_close(&a);
}

TestSuite(vnet, .fini = teardown, .timeout = TEST_TIMEOUT);

static const struct {
    struct vnet_config config;
    unsigned pairs;
    const char *text;
} wrong[] = {
    { { 0 }, 1, "what is it connected to" },
    { { .mode = VNET_TAP }, 1, "mode=tap needs tap=NAME" },
    { { .mode = VNET_SOCKET }, 1, "mode=socket needs socket=PATH" },
    { { .mode = VNET_FD }, 1, "mode=fd needs fd=N" },
    { { .tap = dev, .socket = path }, 1, "socket= has no meaning with tap" },
    { { .socket = path, .ip = ip }, 1, "ip= has no meaning with socket" },
    { { .mode = VNET_NONE, .tap = dev }, 1, "tap= has no meaning with mode=none" },
    { { .tap = (char *)"sixteen-bytes-xx" }, 1, "1 to 15 bytes" },
    { { .tap = (char *)"a b" }, 1, "no such byte: 0x20" },
    { { .tap = dev, .ip = (char *)"10.0.0" }, 1, "ip=10.0.0 is no IPv4 address" },
    { { .tap = dev, .mask = (char *)"255.0.0.0" }, 1, "mask=255.0.0.0 without ip=" },
    { { .tap = dev, .host_mac = (char *)"1:2:3:4:5:6" }, 1, "no MAC address" },
    { { .tap = dev, .host_mac = (char *)"ff:ff:ff:ff:ff:ff" }, 1, "the address of a group" },
    { { .tap = dev, .mtu = 67 }, 1, "mtu=67: it can be 68 to 65535" },
    { { .socket = path }, 2, "a socket has 2 queues only" },
    { { .fd = { .items = &closed, .count = 1 } }, 2, "1 fds for 4 queues" },
    { { .fd = { .items = &closed, .count = 1 } }, 1, "fd=100000 is not open here" },
};

Test(vnet, options_that_contradict_each_other_are_refused)
{
    for (size_t i = 0; i < VM_ARRAY_SIZE(wrong); i++) {
        cr_assert_lt(side_open(&a, &wrong[i].config, wrong[i].pairs), 0, "row %zu", i);

        cr_assert(strstr(vm_error_text(), wrong[i].text), "row %zu: %s", i, vm_error_text());
    }
}

Test(vnet, only_the_names_of_the_options_may_be_opened)
{
    struct vnet_config c = { .tap = dev, .ip = ip };
    char text[VM_TAP_TEXT_MAX];

    cr_assert_eq(
        vm_tap_text(&(struct vm_tap){ .name = dev, .ip = ip, .queue = 1, .multi = true }, text), 0);

    cr_assert(vnet_may_open(&c, 2, text, VM_OPEN_TAP));
    cr_assert_not(vnet_may_open(&c, 1, text, VM_OPEN_TAP));
    cr_assert_not(vnet_may_open(&c, 2, text, VM_OPEN_READ));
    cr_assert_not(vnet_may_open(&c, 2, text, VM_OPEN_DIAL | VM_OPEN_CONNECT));
    cr_assert_not(vnet_may_open(&c, 2, "name=\"t1\"", VM_OPEN_TAP));
    c.ip = NULL;
    cr_assert_not(vnet_may_open(&c, 2, text, VM_OPEN_TAP));
}

Test(vnet, a_cable_that_is_not_plugged_in_carries_nothing)
{
    const struct vnet_config config = { .mode = VNET_NONE };

    cr_assert_eq(side_open(&a, &config, 1), 0, "%s", vm_error_text());

    cr_assert_not(a.net->info.link);
    cr_assert_eq(side_send(&a, a.data, 60), -ENETDOWN);
    cr_assert_eq(side_receive(&a, 0), -EAGAIN);
}

Test(vnet, a_file_that_is_no_network_is_refused)
{
    int fds[1] = { 0 };
    const struct vnet_config config = { .fd = { .items = fds, .count = 1 } };

    cr_assert_lt(side_open(&a, &config, 1), 0);

    cr_assert(strstr(vm_error_text(), "neither an open tap"), "%s", vm_error_text());
}

Test(vnet, where_nothing_may_be_opened_there_is_no_tap)
{
    const struct vnet_config config = { .tap = dev };

    vm_env_host(VM_LOG_ERROR, &a.env);
    a.env.open = NULL;
    cr_assert_eq(side_open(&a, &config, 1), -EACCES);
}
