/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the class knows of device types, and its options; the protocol is tested in devices/framework/vhost. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>
#include <vmm/devices/classes.h>

#include "vhost_back_end.h"
#include "virtio_harness.h"

extern const struct vdev_class vhost_user_class;

static struct vh h;
static struct fake_back_end back;
static unsigned opened; /* how, of the last one */

static int connect_back_end(void *ctx, const char *name, unsigned how)
{
    int pair[2];

    (void)ctx;
    opened = how;
    if (how != VM_OPEN_CONNECT)
        return vm_fail(-EACCES, "%s: not in this test", name);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(fbe_serve(&back, pair[1]), 0);
    return pair[0];
}

static void begin(void)
{
    const struct vh_config config = { .transport = VH_PCI, .shared = true };

    cr_assert_eq(vh_open(&h, &config), 0);
    h.open = connect_back_end;
    fbe_init(&back, &h.env);
    back.features = VQ_F_VERSION_1 | VHOST_FEATURE_PROTOCOL;
    back.protocol = VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(CONFIG);
    back.config_bytes = 256;
    back.queues = 4;
}

static void end(void)
{
    vh_destroy(&h);
    fbe_die(&back);
    vh_close(&h);
}

static void refused(const char *options, const char *text)
{
    begin();

    cr_assert_eq(vh_create(&h, &vhost_user_class, options), -EINVAL);

    cr_assert(strstr(vm_error_text(), text), "%s", vm_error_text());
    vh_close(&h);
}

static void create(const char *options)
{
    begin();
    cr_assert_eq(vh_create(&h, &vhost_user_class, options), 0, "%s", vm_error_text());
}

Test(vhost_user, a_type_is_its_name_or_its_number)
{
    create("type=rng,socket=/s");
    cr_assert_eq(h.virtio->id, VIRTIO_ID_RNG);
    cr_assert_eq(vh_queues(&h), 1);
    end();

    create("type=4,socket=/s");
    cr_assert_eq(h.virtio->id, VIRTIO_ID_RNG);
    end();
}

Test(vhost_user, any_other_type_is_what_the_options_say)
{
    create("type=27,socket=/s,queues=3,config_bytes=40,queue_size=32");

    cr_assert_eq(h.virtio->id, 27);
    cr_assert_eq(vh_queues(&h), 3);
    cr_assert_eq(h.virtio->config_bytes, 40);
    cr_assert_eq(vh_queue_size_max(&h, 0), 32);
    end();
}

Test(vhost_user, a_disk_says_how_many_queues_it_really_has)
{
    uint8_t two[2];

    create("type=block,socket=/s");
    vh_config_read(&h, 34, two, 2);
    cr_assert_eq(vm_load_le(two, 2), 4); /* all of the back end's */
    end();

    create("type=block,socket=/s,queues=2");
    vh_config_read(&h, 34, two, 2);
    cr_assert_eq(vm_load_le(two, 2), 2);
    end();
}

Test(vhost_user, a_file_system_has_the_users_tag_and_a_queue_for_urgent_requests)
{
    uint8_t tag[36], four[4];

    create("type=fs,socket=/s,tag=srv");

    vh_config_read(&h, 0, tag, sizeof(tag));
    vh_config_read(&h, 36, four, 4);
    cr_assert_str_eq((char *)tag, "srv");
    cr_assert_eq(vm_load_le(four, 4), 1);
    end();
}

/* ---- network devices (VIRTIO 1.2, 5.1) ---- */

enum { MTU = 3, MAC = 5, STATUS = 16, CTRL_VQ = 17, CTRL_RX = 18, MQ = 22, MRG_RXBUF = 15 };
#define BIT(n) (UINT64_C(1) << (n))

/* One that is the whole device, with that many pairs; it tells how many queues that are, as ours does. */
static void begin_whole(unsigned pairs)
{
    begin();
    back.features |= BIT(MAC) | BIT(MRG_RXBUF) | BIT(STATUS) | BIT(CTRL_VQ) | BIT(CTRL_RX) |
                     (pairs > 1 ? BIT(MQ) : 0);
    back.queues = 2 * pairs + 1;
    memcpy(back.config, "\x52\x54\0\0\0\1", 6);
    vm_store_le(back.config + 8, 2, pairs);
}

/* One that moves packets only; it tells how many pairs, as DPDK does. */
static void begin_mover(void)
{
    begin();
    back.features |=
        BIT(MTU) | BIT(MRG_RXBUF) | BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(STATUS) | BIT(MQ);
    back.protocol = VHOST_PROTOCOL(MQ) | VHOST_PROTOCOL(MTU);
    back.queues = 1;
}

static void make(const char *options)
{
    cr_assert_eq(vh_create(&h, &vhost_user_class, options), 0, "%s", vm_error_text());
}

static unsigned config16(uint32_t at)
{
    uint8_t two[2];

    vh_config_read(&h, at, two, 2);
    return (unsigned)vm_load_le(two, 2);
}

Test(vhost_user, a_network_device_of_a_whole_back_end_has_its_control_queue)
{
    begin_whole(2);
    make("type=net,socket=/s");
    cr_expect_eq(vh_queues(&h), 5);
    cr_expect_eq(h.virtio->offered & (BIT(CTRL_VQ) | BIT(MQ) | BIT(MAC) | BIT(STATUS)),
                 BIT(CTRL_VQ) | BIT(MQ) | BIT(MAC) | BIT(STATUS));
    cr_expect_eq(config16(8), 2);
    cr_expect_eq(config16(4), 0x0100, "its own MAC address");
    end();

    begin_whole(1);
    make("type=net,socket=/s");
    cr_expect_eq(vh_queues(&h), 3);
    cr_expect(h.virtio->offered & BIT(CTRL_VQ));
    end();
}

Test(vhost_user, with_fewer_pairs_than_a_whole_back_end_has_there_is_one)
{
    begin_whole(4);
    make("type=net,socket=/s,queues=4");
    cr_expect_eq(vh_queues(&h), 3, "its control queue is behind all of them, or behind the first");
    cr_expect(h.virtio->offered & BIT(CTRL_VQ));
    cr_expect_not(h.virtio->offered & BIT(MQ));
    end();

    begin_whole(4);
    vm_store_le(back.config + 8, 2, 0x8000);
    make("type=net,socket=/s");
    cr_expect_eq(vh_queues(&h), 3, "more than anybody has");
    end();
}

Test(vhost_user, of_who_moves_packets_only_the_user_says_address_and_mtu)
{
    uint8_t mac[6];

    begin_mover();
    make("type=net,socket=/s,mac=52:54:00:ab:cd:ef,mtu=1400");

    cr_expect_eq(vh_queues(&h), 2);
    cr_expect_eq(h.virtio->offered & 0xffffff, BIT(MAC) | BIT(MTU) | BIT(MRG_RXBUF),
                 "nothing that nobody serves: %#llx", (unsigned long long)h.virtio->offered);
    vh_config_read(&h, 0, mac, 6);
    cr_expect_arr_eq(mac, "\x52\x54\x00\xab\xcd\xef", 6);
    cr_expect_eq(config16(10), 1400);
    cr_assert_eq(vh_negotiate(&h, BIT(MAC) | BIT(MTU)), 0);
    cr_assert_eq(vh_queue(&h, 0, 16), 0);
    cr_assert_eq(vh_queue(&h, 1, 16), 0);
    vh_set_status(&h, 15);
    vh_pass(&h, 1000000);
    cr_expect_eq(back.mtu, 1400);
    cr_expect(back.set_features & BIT(MTU));
    cr_expect_not(back.set_features & BIT(MAC), "it has not offered that");
    end();
}

Test(vhost_user, of_who_moves_packets_only_nothing_is_said_that_nobody_said)
{
    begin_mover();
    make("type=net,socket=/s");
    cr_expect_eq(h.virtio->offered & 0xffffff, BIT(MRG_RXBUF));
    end();
}

Test(vhost_user, a_whole_back_end_says_itself_what_it_is)
{
    begin_whole(1);
    cr_assert_eq(vh_create(&h, &vhost_user_class, "type=net,socket=/s,mac=52:54:00:ab:cd:ef"),
                 -EINVAL);
    cr_assert(strstr(vm_error_text(), "mac=: this back end says itself"), "%s", vm_error_text());
    fbe_die(&back);
    vh_close(&h);

    begin_mover();
    back.features &= ~BIT(MTU);
    cr_assert_eq(vh_create(&h, &vhost_user_class, "type=net,socket=/s,mtu=1400"), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "does not take one"), "%s", vm_error_text());
    fbe_die(&back);
    vh_close(&h);
}

Test(vhost_user, a_descriptor_is_used_as_it_is)
{
    char options[64];
    int pair[2];

    begin();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(fbe_serve(&back, pair[1]), 0);
    snprintf(options, sizeof(options), "type=rng,fd=%d", pair[0]);

    cr_assert_eq(vh_create(&h, &vhost_user_class, options), 0, "%s", vm_error_text());

    cr_assert_eq(opened, 0);
    vm_close(&pair[0]);
    end();
}

Test(vhost_user, a_server_listens)
{
    begin();

    cr_assert_eq(vh_create(&h, &vhost_user_class, "type=rng,socket=/s,vhost_mode=server"), -EACCES);

    cr_assert_eq(opened, VM_OPEN_LISTEN);
    vh_close(&h);
}

Test(vhost_user, what_cannot_work_is_refused_before_anything_is_opened)
{
    refused("type=toaster,socket=/s", "type=toaster is no virtio device type");
    refused("type=64,socket=/s", "type=64 is no virtio device type");
    refused("type=,socket=/s", "is no virtio device type");
    refused("type=rng", "give socket=PATH, program=TEXT or fd=N");
    refused("type=rng,program=\"p {fd}\",socket=/s", "program= with socket=");
    refused("type=rng,program=\"p {fd}\",fd=1", "program= with fd=");
    refused("type=rng,program=\"p {fd}\",vhost_mode=server", "program= with vhost_mode=server");
    refused("type=rng,socket=/s,fd=1", "give one of them");
    refused("type=rng,fd=1,vhost_mode=server", "goes with socket=");
    refused("type=fs,socket=/s", "type=fs needs tag=NAME");
    refused("type=rng,socket=/s,tag=x", "only type=fs has one");
    refused("type=rng,socket=/s,mac=52:54:00:00:00:01", "mac=: only type=net has one");
    refused("type=block,socket=/s,mtu=1500", "mtu=: only type=net has one");
    refused("type=net,socket=/s,mtu=67", "at least 68");
    refused("type=net,socket=/s,mac=ff:ff:ff:ff:ff:ff", "mac");
    refused("type=vsock,socket=/s,queues=2", "has at least 3");
    refused("type=rng,socket=/s,queue_size=24", "must be a power of two");
    cr_assert_eq(opened, 0);
}
