/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every virtio device class in the hands of a back end of ours, and our front end before it: the guest cannot tell it from a device of
 * the machine's own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/prop.h>
#include <vmm/vhost/backend.h>

#include "contract.h"

extern const struct vdev_class vhost_user_class;

enum { CHAINS = 8 };

/* The other process, which here is on the same loop: its device, in a memory that is empty until a front end comes. */
static struct vh h;
static struct {
    const struct vdev_class *cls;
    struct gm_space *space;
    struct vhost_backend *back;
    unsigned sessions, ends;
} far;

static void session_closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    (void)why;
    far.ends++;
}

static struct virtio_dev *far_device(void)
{
    struct vdev_context context = h.context;
    char options[CONTRACT_OPTIONS];
    struct vdev *dev;
    void *config = calloc(1, far.cls->config_size);

    contract_options(far.cls, options);
    cr_assert_eq(vm_prop_defaults(far.cls->props, config), 0);
    cr_assert_eq(vm_prop_parse(far.cls->props, config, far.cls->name, NULL, options), 0);
    context.id = "far";
    context.memory = far.space;
    context.config = config;
    cr_assert_eq(far.cls->create(&context, &dev), 0, "%s: %s", far.cls->name, vm_error_text());
    vm_prop_free(far.cls->props, config);
    free(config);
    return container_of(dev, struct virtio_dev, dev);
}

static int open_name(void *ctx, const char *name, unsigned how)
{
    int pair[2];

    if (how != VM_OPEN_CONNECT)
        return contract_open_image(ctx, name, how);
    if (vhost_backend_busy(far.back))
        return vm_fail(-ECONNREFUSED, "%s: not yet", name);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(vhost_backend_serve(far.back, pair[1]), 0, "%s", vm_error_text());
    far.sessions++;
    return pair[0];
}

static void begin(const struct vdev_class *cls, bool packed)
{
    static const struct vhost_backend_ops ops = { .closed = session_closed };
    const struct vh_config config = {
        .transport = VH_PCI, .shared = true, .packed = packed, .ram_bytes = CONTRACT_RAM
    };
    struct virtio_dev *dev;
    char options[128];

    memset(&far, 0, sizeof(far));
    far.cls = cls;
    cr_assert_eq(vh_open(&h, &config), 0);
    h.open = open_name;
    cr_assert_eq(gm_space_new(&h.env, &far.space), 0);
    dev = far_device();
    snprintf(options, sizeof(options),
             "type=%u,socket=/far,queues=%u,config_bytes=%u,queue_size=%u", dev->id, dev->queues,
             dev->config_bytes, dev->queue[0].size_max);
    cr_assert_eq(vhost_backend_new(dev, far.space, &ops, NULL, &far.back), 0);
    cr_assert_eq(vh_create(&h, &vhost_user_class, options), 0, "%s: %s", cls->name,
                 vm_error_text());
}

static void end(void)
{
    vh_destroy(&h);
    cr_assert_eq(vh_pass(&h, 2000000000), 0);
    cr_assert_not(vhost_backend_busy(far.back), "%s", far.cls->name);
    vhost_backend_free(far.back);
    gm_space_free(far.space);
    contract_close(&h);
}

static void each(void (*check)(void))
{
    for (const struct vdev_class *const *row = vdev_classes; *row; row++) {
        if ((*row)->kind != VDEV_VIRTIO || !contract_is_mobile(*row))
            continue;
        for (unsigned packed = 0; packed < 2; packed++) {
            begin(*row, packed);
            check();
            end();
        }
    }
}

/* How many of the chains offered so far came back. */
static unsigned offer_and_collect(void)
{
    struct fake_buf bufs[2] = { { 0x1000, 64, false }, { 0x2000, 512, true } };
    unsigned back = 0;
    uint16_t id;
    uint32_t len;

    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        for (unsigned i = 0; i < CHAINS; i++)
            (void)fake_driver_offer(&h.drv[n], bufs, 2);
        cr_assert_eq(vh_kick(&h, n), 0);
    }
    cr_assert_eq(vh_pass(&h, 2000000000), 0);
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        int rc;

        while ((rc = fake_driver_collect(&h.drv[n], &id, &len)) > 0)
            back++;
        cr_assert_eq(rc, 0, "%s: queue %u: %s", far.cls->name, n, h.drv[n].complaint);
    }
    return back;
}

static bool needs_reset(void)
{
    return vh_status(&h) & VIRTIO_NEEDS_RESET;
}

static void is_served(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);

    cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);

    cr_assert_not(needs_reset(), "%s", far.cls->name);
    cr_assert_gt(h.messages, 0, "%s: no interrupt", far.cls->name);
}

Test(vhost_pair, the_guest_is_served_across_the_socket)
{
    each(is_served);
}

static void offers_the_same(void)
{
    struct vh near;
    uint64_t far_offered = vh_offered(&h);
    struct vh *all = malloc(sizeof(near));

    cr_assert_eq(contract_open(all, far.cls, (struct vh_config){ .transport = VH_PCI }), 0);
    cr_assert_eq(vh_offered(all) & ~VQ_F_RING_PACKED, far_offered & ~VQ_F_RING_PACKED, "%s",
                 far.cls->name);
    contract_close(all);
    free(all);
}

Test(vhost_pair, the_features_are_those_of_the_device_itself)
{
    each(offers_the_same);
}

static void survives(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);
        vhost_backend_end(far.back);
        cr_assert_eq(vh_pass(&h, 3000000000), 0);
    }

    cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);
    cr_assert_eq(far.sessions, 4);
    cr_assert_eq(far.ends, 3);
    cr_assert_not(needs_reset(), "%s", far.cls->name);
}

Test(vhost_pair, a_back_end_may_end_and_come_back_while_the_driver_works)
{
    each(survives);
}

static void pauses(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    (void)offer_and_collect();
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(vh_quiesce(&h), 0, "%s", far.cls->name);
        cr_assert_eq(vdev_resume(h.dev), 0);
        cr_assert_eq(vh_idle(&h), 0);
    }

    cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);
    cr_assert_not(needs_reset(), "%s", far.cls->name);
}

Test(vhost_pair, a_pause_reaches_the_other_side_and_nothing_is_lost)
{
    each(pauses);
}

/* With chains under way in every queue; the process may end meanwhile, and the next one must not go on with what the driver has taken
 * back. */
static void stop_each_queue(bool ends)
{
    uint8_t *before = malloc(CONTRACT_RAM);

    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);
        if (ends)
            vhost_backend_end(far.back);
        cr_assert_eq(vh_queue_stop(&h, n, 20000000000), 0, "%s: queue %u", far.cls->name, n);
        memcpy(before, h.guest.host, CONTRACT_RAM);
        cr_assert_eq(vh_pass(&h, 3000000000), 0);
        cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s: queue %u", far.cls->name, n);
        cr_assert_eq(vh_queue(&h, n, 0), 0);
    }
    free(before);
}

static void stops_queues(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    stop_each_queue(false);
    stop_each_queue(true);

    cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);

    cr_assert_not(needs_reset(), "%s", far.cls->name);
}

Test(vhost_pair, a_queue_stops_alone_on_the_other_side_and_begins_anew)
{
    each(stops_queues);
}

static void is_found_broken(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    for (uint16_t n = 0; n < vh_queues(&h); n++) { /* some are not looked at when they are kicked */
        cr_assert(contract_break_ring(&h, n, CONTRACT_INDEX));
        cr_assert_eq(vh_kick(&h, n), 0);
    }
    cr_assert_eq(vh_pass(&h, 1000000000), 0);

    cr_assert(needs_reset(), "%s", far.cls->name);
    cr_assert_eq(vh_reset(&h, 20000000000), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_gt(offer_and_collect(), 0, "%s", far.cls->name);
}

Test(vhost_pair, a_broken_ring_is_told_across_the_socket_and_a_reset_helps)
{
    each(is_found_broken);
}
