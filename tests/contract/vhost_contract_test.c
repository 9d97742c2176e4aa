/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What every virtio device class keeps as a vhost-user back end, beside the contract of all transports: rings are stopped and go on
 * where they were, front ends come and go. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "contract.h"
#include "vhost_harness.h"

static struct vh h;

static const struct vh_config ways[] = {
    { .transport = VH_OTHER, .other = &vh_vhost_user },
    { .transport = VH_OTHER, .other = &vh_vhost_user, .packed = true },
};

static void each(void (*check)(const struct vdev_class *cls))
{
    for (const struct vdev_class *const *row = vdev_classes; *row; row++)
        for (size_t w = 0; w < VM_ARRAY_SIZE(ways); w++) {
            if ((*row)->kind != VDEV_VIRTIO || !contract_is_mobile(*row))
                continue;
            cr_assert_eq(contract_open(&h, *row, ways[w]), 0, "%s: %s", (*row)->name,
                         vm_error_text());
            check(*row);
            contract_close(&h);
        }
}

static struct ffe *front(void)
{
    return &vhost_harness_of(&h)->front;
}

/* Chains that came back so far; all of them the driver's own. */
static unsigned collect(const struct vdev_class *cls, uint16_t n)
{
    unsigned count = 0;
    uint16_t id;
    uint32_t len;
    int rc;

    while ((rc = fake_driver_collect(&h.drv[n], &id, &len)) > 0)
        count++;
    cr_assert_eq(rc, 0, "%s: queue %u: %s", cls->name, n,
                 h.drv[n].complaint ? h.drv[n].complaint : "?");
    return count;
}

static void offer(uint16_t n)
{
    struct fake_buf b[2] = { { 0x1000, 64, false }, { 0x2000, 512, true } };

    (void)fake_driver_offer(&h.drv[n], b, 2);
    vh_kick(&h, n);
}

/* Started, with sound chains in each queue. */
static void use(const struct vdev_class *cls)
{
    cr_assert_eq(vh_start(&h, 0), 0, "%s", cls->name);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        for (unsigned i = 0; i < 8; i++)
            offer(n);
    cr_assert_eq(vh_idle(&h), 0, "%s", cls->name);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s", cls->name);
}

static void go_on(const struct vdev_class *cls, uint16_t n, uint32_t base)
{
    struct fake_driver *drv = &h.drv[n];

    cr_assert_eq(ffe_ring(front(), n, drv->size, drv->desc, drv->driver, drv->device, base), 0,
                 "%s", cls->name);
    cr_assert_eq(ffe_ring_on(front(), n), 0, "%s", cls->name);
    vh_kick(&h, n);
}

static void stops_and_goes_on(const struct vdev_class *cls)
{
    static uint8_t before[CONTRACT_RAM];
    uint32_t base[VH_QUEUES];
    unsigned stopped = 0, back = 0;

    use(cls);
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        cr_assert_eq(ffe_ring_stop(front(), n, &base[n]), 0, "%s: queue %u", cls->name, n);
        cr_assert_not(h.virtio->queue[n].started, "%s: queue %u", cls->name, n);
        stopped += collect(cls, n);
        offer(n);
    }
    memcpy(before, h.guest.host, CONTRACT_RAM);
    cr_assert_eq(vh_pass(&h, 2000000000), 0);
    cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s wrote while stopped", cls->name);

    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        go_on(cls, n, base[n]);
        offer(n);
    }

    cr_assert_eq(vh_pass(&h, 2000000000), 0);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s", cls->name);
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        cr_assert(h.virtio->queue[n].started, "%s: queue %u", cls->name, n);
        back += collect(cls, n);
    }
    cr_assert(stopped && back, "%s: %u and %u chains came back", cls->name, stopped, back);
}

Test(vhost_contract, a_ring_that_was_stopped_goes_on_where_it_was)
{
    each(stops_and_goes_on);
}

static void is_drained(const struct vdev_class *cls)
{
    uint32_t base;

    use(cls);
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        cr_assert_eq(ffe_ring_stop(front(), n, &base), 0);
        cr_assert_eq(vq_in_flight(&h.virtio->queue[n]), 0, "%s: queue %u", cls->name, n);
    }
}

Test(vhost_contract, the_answer_to_get_vring_base_comes_when_nothing_is_in_flight)
{
    each(is_drained);
}

static void front_ends_come_and_go(const struct vdev_class *cls)
{
    struct vm_buffer first = { 0 }, again = { 0 };

    cr_assert_eq(vdev_save(h.dev, &first), 0);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(contract_use(&h), 0, "%s: round %u", cls->name, i);
        cr_assert_eq(vhost_harness_disconnect(&h), 0, "%s", cls->name);
        cr_assert_eq(h.virtio->status, 0, "%s", cls->name);
        cr_assert_eq(h.virtio->running, 0, "%s", cls->name);
        cr_assert_eq(vdev_save(h.dev, &again), 0);
        cr_assert_eq(first.len, again.len, "%s", cls->name);
        cr_assert(!memcmp(first.data, again.data, first.len), "%s", cls->name);
        vm_buffer_free(&again);
        again = (struct vm_buffer){ 0 };
        cr_assert_eq(vhost_harness_connect(&h), 0, "%s", cls->name);
    }
    vm_buffer_free(&first);
}

Test(vhost_contract, front_ends_come_and_go_and_each_finds_a_new_device)
{
    each(front_ends_come_and_go);
}

/* A front end that knows DEVICE_STATE; nothing runs. */
static void connect_for_state(const struct vdev_class *cls)
{
    cr_assert_eq(vhost_harness_disconnect(&h), 0, "%s", cls->name);
    cr_assert_eq(vhost_backend_serve(vhost_harness_of(&h)->backend, ffe_connect(front())), 0);
    cr_assert_eq(ffe_hello(front(), VHOST_PROTOCOL(DEVICE_STATE) | VHOST_PROTOCOL(REPLY_ACK)), 0);
    cr_assert(front()->protocol & VHOST_PROTOCOL(DEVICE_STATE), "%s", cls->name);
}

enum { STATE_ROOM = 1 << 17 };
static uint8_t state[STATE_ROOM], again[STATE_ROOM];

static void state_moves(const struct vdev_class *cls)
{
    size_t len, len_again;
    uint32_t base;

    use(cls);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        cr_assert_eq(ffe_ring_stop(front(), n, &base), 0, "%s: queue %u", cls->name, n);
    cr_assert_eq(ffe_state_save(front(), state, sizeof(state), &len), 0, "%s", cls->name);
    cr_assert_lt(len, sizeof(state), "%s", cls->name);
    connect_for_state(cls);

    cr_assert_eq(ffe_state_load(front(), state, len), 0, "%s", cls->name);

    cr_assert_eq(ffe_state_save(front(), again, sizeof(again), &len_again), 0, "%s", cls->name);
    cr_assert_eq(len, len_again, "%s", cls->name);
    cr_assert(!memcmp(state, again, len), "%s", cls->name);
}

Test(vhost_contract, the_state_that_one_back_end_gives_is_taken_by_the_next)
{
    each(state_moves);
}

/* With the class's name before them, or none would get far. */
static void broken_state_is_refused(const struct vdev_class *cls)
{
    size_t len;

    connect_for_state(cls);
    cr_assert_eq(ffe_state_save(front(), state, sizeof(state), &len), 0, "%s", cls->name);
    for (unsigned i = 0; i < 200; i++) {
        memcpy(again, state, len);
        for (unsigned n = 0; n <= i % 4; n++) {
            uint64_t random = vh_random(&h);

            again[(random >> 8) % len] = (uint8_t)(random & UINT8_MAX);
        }
        cr_assert_geq(ffe_state_load(front(), again, len - i % 3), 0, "%s: %u", cls->name, i);
    }
    cr_assert_eq(ffe_state_load(front(), state, len), 0, "%s", cls->name);
    cr_assert_eq(vhost_harness_disconnect(&h), 0);
    cr_assert_eq(vhost_harness_connect(&h), 0);
    use(cls);
}

Test(vhost_contract, state_that_was_changed_on_its_way_harms_nobody)
{
    each(broken_state_is_refused);
}
