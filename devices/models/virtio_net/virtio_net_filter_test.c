/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the device does for the filters over its back end: options, changes while it runs, counters. */
#include <criterion/criterion.h>

#include "virtio_net_test.h"

enum { HEADER = sizeof(struct virtio_net_header), LEN = 60 };

static struct vh h;
static struct wire wire;
static struct vnet_filter_config heard;
static unsigned times, rules; /* heard; with new rules */

static void hear(struct vnet *net, const struct vnet_filter_config *config,
                 const struct vnet_rules *new_rules)
{
    (void)net;
    heard = *config;
    rules += new_rules != NULL;
    times++;
}

static void start(bool filters)
{
    static const struct vh_config way = { .transport = VH_PCI };
    static struct vnet_ops ops;

    wire_init(&wire);
    ops = *wire.net.ops;
    ops.set_filters = filters ? hear : NULL;
    wire.net.ops = &ops;
    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(wire_plug(&wire, &h, "mac=52:54:00:12:34:56,egress=allow,ops_size=7"), 0, "%s",
                 vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
}

static int set(const char *key_value)
{
    struct vdev *dev = &wire.dev->dev.dev;
    const struct vm_prop *prop;
    void *config;
    int rc = vdev_config_parse(dev, key_value, &prop, &config);

    if (rc)
        return rc;
    rc = vdev_set(dev, prop, config);
    vdev_config_free(dev, config);
    return rc;
}

static void send_one(void)
{
    struct fake_buf b = { PACKET, HEADER + LEN, false };

    memset(h.guest.host + PACKET, 0, HEADER + LEN);
    cr_assert_eq(vh_request(&h, TX, &b, 1), 0);
}

Test(virtio_net_filter, change_reaches_the_back_end_before_the_next_frame)
{
    start(true);

    cr_assert_eq(set("bw_size=64K"), 0, "%s", vm_error_text());
    send_one();

    cr_assert_eq(times, 1);
    cr_assert_eq(heard.bw_size, 65536);
    cr_assert_eq(heard.ops_size, 7, "the others stay");
    cr_assert_eq(heard.egress.count, 1);
    vh_close(&h);
}

Test(virtio_net_filter, new_rules_reach_the_back_end_once)
{
    start(true);

    cr_assert_eq(set("egress=[deny]"), 0, "%s", vm_error_text());
    cr_assert_eq(set("egress=[deny:tcp,allow]"), 0, "%s", vm_error_text());
    send_one();
    cr_assert_eq(times, 1);
    cr_assert_eq(rules, 1);
    cr_assert_eq(heard.egress.count, 2);
    cr_assert_eq(set("bw_size=64K"), 0, "%s", vm_error_text());
    send_one();

    cr_assert_eq(times, 2);
    cr_assert_eq(rules, 1, "they stay");
    cr_assert_eq(set("egress=[deny:udp]"), 0, "%s",
                 vm_error_text()); /* which nobody hears of any more */
    vh_close(&h);
}

Test(virtio_net_filter, rules_that_are_none_change_nothing)
{
    start(true);

    cr_assert_eq(set("egress=[deny,perhaps]"), -EINVAL);
    cr_assert(strstr(vm_error_text(), "'perhaps' is no rule"), "%s", vm_error_text());
    send_one();

    cr_assert_eq(times, 0);
    cr_assert_eq(rules, 0);
    vh_close(&h);
}

/* Whoever takes the last rule away may not know that nothing holds anything up then. */
Test(virtio_net_filter, everything_passes_only_where_that_is_said)
{
    start(true);

    cr_assert_eq(set("egress=[]"), -EINVAL);
    cr_assert(strstr(vm_error_text(), "say egress_default=allow"), "%s", vm_error_text());
    cr_assert_eq(set("egress_default=deny"), 0, "%s", vm_error_text());
    cr_assert_eq(set("egress=[]"), 0, "%s", vm_error_text());
    cr_assert_eq(set("egress_default=auto"), -EINVAL);
    cr_assert_eq(set("egress_default=allow"), 0, "%s", vm_error_text());

    vh_close(&h);
}

Test(virtio_net_filter, change_without_filters_is_refused)
{
    start(false);

    cr_assert_eq(set("bw_size=64K"), -ENOTSUP);

    vh_close(&h);
}

Test(virtio_net_filter, options_that_are_not_live_are_refused)
{
    start(true);

    cr_assert_eq(set("antispoof=on"), -ENOTSUP);

    vh_close(&h);
}

Test(virtio_net_filter, denied_frames_are_counted_by_the_device)
{
    static const struct vh_config way = { .transport = VH_PCI };
    struct fake_buf b = { PACKET, HEADER + LEN, false };
    struct vdev *dev;
    struct virtio_net *net;
    struct virtio_net_config config;

    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(vm_prop_defaults(virtio_net_class.props, &config), 0);
    cr_assert_eq(vm_prop_parse(virtio_net_class.props, &config, "net", NULL,
                               "mode=none,mac=52:54:00:12:34:56,antispoof=on"),
                 0);
    h.context.config = &config;
    cr_assert_eq(virtio_net_class.create(&h.context, &dev), 0, "%s", vm_error_text());
    vm_prop_free(virtio_net_class.props, &config);
    net = container_of(dev, struct virtio_net, dev.dev);
    cr_assert_eq(vh_plug(&h, &net->dev), 0);
    cr_assert_eq(vh_start(&h, 0), 0);

    memset(h.guest.host + PACKET, 0, HEADER + LEN);
    cr_assert_eq(vh_request(&h, TX, &b, 1), 0);

    cr_assert_eq(net->count.filter.spoofed, 1);
    cr_assert_eq(net->count.tx_dropped, 1);
    vh_close(&h);
}
