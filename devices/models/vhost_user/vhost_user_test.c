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
    refused("type=vsock,socket=/s,queues=2", "has at least 3");
    refused("type=rng,socket=/s,queue_size=24", "must be a power of two");
    cr_assert_eq(opened, 0);
}
