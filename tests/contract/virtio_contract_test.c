/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The contract of every virtio device class, over all transports (a vhost-user back end is one) and both ring formats. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "contract.h"
#include "vhost_harness.h"

static struct vh h;

static const struct vh_config ways[] = {
    { .transport = VH_PCI },
    { .transport = VH_PCI_INTX, .packed = true },
    { .transport = VH_MMIO_BUS },
    { .transport = VH_MMIO_BUS, .packed = true },
    { .transport = VH_OTHER, .other = &vh_vhost_user },
    { .transport = VH_OTHER, .other = &vh_vhost_user, .packed = true }
};

/* Runs check for each class and each way. */
static void each(void (*check)(const struct vdev_class *cls))
{
    for (const struct vdev_class *const *row = vdev_classes; *row; row++)
        for (size_t w = 0; w < VM_ARRAY_SIZE(ways); w++) {
            if ((*row)->kind != VDEV_VIRTIO || !contract_is_own(*row))
                continue;
            cr_assert_eq(contract_open(&h, *row, ways[w]), 0, "%s: %s", (*row)->name,
                         vm_error_text());
            check(*row);
            contract_close(&h);
        }
}

static void sees_all_queues(const struct vdev_class *cls)
{
    cr_assert_eq(vh_start(&h, 0), 0, "%s", cls->name);

    for (uint16_t n = 0; n < vh_queues(&h); n++)
        cr_assert(vh_queue_enabled(&h, n), "%s", cls->name);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s", cls->name);
}

Test(virtio_contract, a_driver_negotiates_everything_and_starts)
{
    each(sees_all_queues);
}

static uint64_t offered_with(const struct vdev_class *cls, const char *options)
{
    uint64_t offered;

    cr_assert_eq(contract_open_with(&h, cls, ways[0], options), 0, "%s: %s", cls->name,
                 vm_error_text());
    offered = vh_offered(&h);
    contract_close(&h);
    return offered;
}

Test(virtio_contract, packed_rings_are_offered_unless_the_user_wants_split_ones)
{
    for (const struct vdev_class *const *row = vdev_classes; *row; row++) {
        if ((*row)->kind != VDEV_VIRTIO || !contract_is_own(*row))
            continue;
        cr_assert(offered_with(*row, NULL) & VQ_F_RING_PACKED, "%s", (*row)->name);
        cr_assert_not(offered_with(*row, "packed=off") & VQ_F_RING_PACKED, "%s", (*row)->name);
    }
}

static void works_with_least(const struct vdev_class *cls)
{
    vh_set_status(&h, 3);
    vh_write_features(&h, VQ_F_VERSION_1);
    vh_set_status(&h, 11);
    cr_assert_eq(vh_status(&h), 11, "%s", cls->name);
    for (uint16_t n = 0; n < vh_queues(&h); n++) {
        h.features = VQ_F_VERSION_1;
        cr_assert_eq(vh_queue(&h, n, 2), 0, "%s", cls->name);
    }

    vh_set_status(&h, 15);

    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(vh_status(&h), 15, "%s", cls->name);
}

Test(virtio_contract, a_driver_that_takes_no_feature_and_the_smallest_rings_starts)
{
    each(works_with_least);
}

static void no_queue_is_set_up(const struct vdev_class *cls)
{
    cr_assert_eq(vh_negotiate(&h, 0), 0);

    vh_set_status(&h, 15);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        vh_kick(&h, n);

    cr_assert_eq(vh_pass(&h, 1000000000), 0);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s", cls->name);
}

Test(virtio_contract, a_driver_that_sets_up_no_queue_harms_nobody)
{
    each(no_queue_is_set_up);
}

/* A queue that the device looks into only when it has something to give may go unseen for now: then nothing was taken. */
static void breaks(const struct vdev_class *cls)
{
    unsigned seen = 0;

    for (unsigned how = 0; how < CONTRACT_BREAKS; how++)
        for (uint16_t n = 0; n < vh_queues(&h) && n < VH_QUEUES; n++) {
            uint16_t before;

            cr_assert_eq(vh_start(&h, 0), 0, "%s", cls->name);
            before = h.virtio->queue[n].next_avail;
            if (!contract_break_ring(&h, n, (enum contract_break)how)) {
                cr_assert_eq(vh_reset(&h, UINT32_MAX), 0);
                continue;
            }
            vh_kick(&h, n);
            cr_assert_eq(vh_pass(&h, 1000000000), 0);

            if (vh_status(&h) & VIRTIO_NEEDS_RESET)
                seen++;
            else
                cr_assert_eq(h.virtio->queue[n].next_avail, before, "%s: break %u of queue %u",
                             cls->name, how, n);
            cr_assert_not(fake_driver_pending(&h.drv[n]), "%s: break %u of queue %u", cls->name,
                          how, n);
            cr_assert_eq(vh_reset(&h, UINT32_MAX), 0);
            cr_assert_eq(contract_use(&h), 0, "%s works again", cls->name);
            cr_assert_eq(vh_reset(&h, UINT32_MAX), 0);
        }
    cr_assert(!vh_queues(&h) || seen, "%s: no queue was found broken", cls->name);
}

Test(virtio_contract, a_broken_ring_needs_a_reset_and_the_device_works_after_it)
{
    each(breaks);
}

static void is_told(const struct vdev_class *cls)
{
    for (uint16_t n = 0; n < vh_queues(&h) && n < VH_QUEUES; n++) {
        unsigned before;

        cr_assert_eq(vh_start(&h, 0), 0);
        before = h.config_interrupts;
        cr_assert(contract_break_ring(&h, n, CONTRACT_ADDRESS));
        vh_kick(&h, n);
        cr_assert_eq(vh_pass(&h, 1000000000), 0);
        if (vh_status(&h) & VIRTIO_NEEDS_RESET)
            cr_assert_eq(h.config_interrupts, before + 1, "%s", cls->name);
        cr_assert_eq(vh_reset(&h, UINT32_MAX), 0);
    }
}

Test(virtio_contract, the_driver_is_told_that_a_reset_is_needed)
{
    each(is_told);
}

/* Chains of all shapes: the device may answer or wait, but writes nothing that it was not given. */
static void keeps_to_its_buffers(const struct vdev_class *cls)
{
    static uint8_t before[CONTRACT_RAM], allowed[CONTRACT_RAM];

    cr_assert_eq(vh_start(&h, 0), 0);
    memset(allowed, 0, sizeof(allowed));
    for (uint16_t n = 0; n < vh_queues(&h) && n < VH_QUEUES; n++) {
        struct fake_driver *drv = &h.drv[n];

        memset(allowed + drv->device, 1, 4096);
        if (h.features & VQ_F_RING_PACKED)
            memset(allowed + drv->desc, 1, 16UL * drv->size);
        for (unsigned i = 0; i < 40; i++) {
            uint32_t a = (uint32_t)(vh_random(&h) % 64), b = (uint32_t)(vh_random(&h) % 2000);
            struct fake_buf bufs[3] = { { fake_driver_alloc(&h.drv[n], a), a, false },
                                        { fake_driver_alloc(&h.drv[n], 600), 600, false },
                                        { fake_driver_alloc(&h.drv[n], b), b, true } };

            if (!bufs[0].addr || !bufs[1].addr || !bufs[2].addr)
                break;
            for (uint32_t k = 0; k < a; k += 4)
                h.guest.host[bufs[0].addr + k] = (uint8_t)(vh_random(&h) % 16);
            if (fake_driver_offer(&h.drv[n], bufs, 3) < 0)
                break;
            memset(allowed + bufs[2].addr, 1, b);
        }
    }
    memcpy(before, h.guest.host, CONTRACT_RAM);
    for (uint16_t n = 0; n < vh_queues(&h) && n < VH_QUEUES; n++) {
        vh_kick(&h, n);
        cr_assert_eq(vh_pass(&h, 1000000000), 0);
    }

    for (size_t i = 0; i < CONTRACT_RAM; i++)
        cr_assert(allowed[i] || h.guest.host[i] == before[i], "%s wrote at %#zx", cls->name, i);
    cr_assert_null(h.drv[0].complaint);
}

Test(virtio_contract, a_device_writes_only_what_it_was_given)
{
    each(keeps_to_its_buffers);
}

static void honest_counts(const struct vdev_class *cls)
{
    cr_assert_eq(contract_use(&h), 0);
    cr_assert_eq(vh_pass(&h, 1000000000), 0);

    for (uint16_t n = 0; n < vh_queues(&h) && n < VH_QUEUES; n++) {
        uint16_t id;
        uint32_t len;
        int rc;

        while ((rc = fake_driver_collect(&h.drv[n], &id, &len)) > 0)
            ;
        cr_assert_eq(rc, 0, "%s: queue %u: %s", cls->name, n,
                     h.drv[n].complaint ? h.drv[n].complaint : "?");
    }
}

Test(virtio_contract, used_chains_are_the_drivers_own_with_lengths_that_fit)
{
    each(honest_counts);
}

static void config_edges_by_message(const struct vdev_class *cls)
{
    uint32_t size = h.virtio->config_bytes;
    uint8_t byte;

    for (uint32_t at = 0; at < VIRTIO_CONFIG_MAX; at += at < 256 ? 1 : 61) {
        vh_config_read(&h, at, &byte, 1);
        cr_assert(at < size || !byte, "%s: byte %u of %u", cls->name, at, size);
        byte = 0xff;
        vh_config_write(&h, at, &byte, 1);
    }
    cr_assert_eq(vh_idle(&h), 0);
}

static void config_edges(const struct vdev_class *cls)
{
    uint32_t size = h.virtio->config_bytes;
    uint64_t base = h.pci ? h.device_config : VH_MMIO + 0x100;
    uint64_t limit = h.pci ? 0x1000 : 0x100;

    if (h.config.other) {
        config_edges_by_message(cls);
        return;
    }
    if (h.pci && !size) {
        cr_assert_eq(h.device_config, 0, "%s: no structure for no bytes", cls->name);
        return;
    }
    for (unsigned len = 1; len <= 8; len *= 2)
        for (uint64_t at = 0; at + len <= limit; at++) {
            uint64_t v = vh_read(&h, base + at, len);

            if (at >= size)
                cr_assert_eq(v, 0, "%s: %llu bytes beyond the end", cls->name,
                             (unsigned long long)(at - size));
            vh_write(&h, base + at, len, UINT64_MAX);
        }
    cr_assert_eq(vh_idle(&h), 0);
}

Test(virtio_contract, config_space_beyond_its_end_reads_zero_and_takes_no_writes)
{
    each(config_edges);
}

static void kicked_too_early(const struct vdev_class *cls)
{
    uint8_t *before = malloc(CONTRACT_RAM);

    cr_assert_eq(vh_negotiate(&h, 0), 0);
    for (uint16_t n = 0; n < vh_queues(&h) && n < VH_QUEUES; n++) {
        struct fake_buf b[2] = { { 0x1000, 16, false }, { 0x2000, 512, true } };

        cr_assert_eq(vh_queue(&h, n, 0), 0, "%s", cls->name);
        fake_driver_offer(&h.drv[n], b, 2);
    }
    memcpy(before, h.guest.host, CONTRACT_RAM);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        vh_kick(&h, n);
    cr_assert_eq(vh_pass(&h, 1000000000), 0);

    cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s", cls->name);
    cr_assert_eq(h.messages + h.pin[0].rises, 0, "%s", cls->name);
    free(before);
}

Test(virtio_contract, a_kick_before_driver_ok_is_ignored)
{
    each(kicked_too_early);
}

static void nothing_after_reset(const struct vdev_class *cls)
{
    uint8_t *before = malloc(CONTRACT_RAM);

    cr_assert_eq(contract_use(&h), 0);
    cr_assert_eq(vh_reset(&h, UINT64_MAX / 2), 0, "%s", cls->name);
    memcpy(before, h.guest.host, CONTRACT_RAM);
    for (uint16_t n = 0; n < vh_queues(&h); n++)
        vh_kick(&h, n);

    cr_assert_eq(vh_pass(&h, 2000000000), 0);

    cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s", cls->name);
    cr_assert_not(vh_line(&h), "%s", cls->name);
    free(before);
}

Test(virtio_contract, after_a_reset_nothing_is_written_any_more)
{
    each(nothing_after_reset);
}

/* Behind a back end's transport it is the front end's: vhost_pair_test.c. */
static void queues_stop_alone(const struct vdev_class *cls)
{
    uint8_t *before = malloc(CONTRACT_RAM);

    for (uint16_t n = 0; h.config.transport != VH_OTHER && n < vh_queues(&h); n++) {
        if (n) /* contract_use() begins with a reset device */
            cr_assert_eq(vh_reset(&h, UINT64_MAX / 2), 0, "%s", cls->name);
        cr_assert_eq(contract_use(&h), 0);
        cr_assert_eq(vh_queue_stop(&h, n, UINT64_MAX / 2), 0, "%s: queue %u", cls->name, n);
        cr_assert_eq(vh_pass(&h, 2000000000), 0); /* the others come to rest */
        memcpy(before, h.guest.host, CONTRACT_RAM);
        vh_kick(&h, n);

        cr_assert_eq(vh_pass(&h, 2000000000), 0);

        cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s: queue %u", cls->name, n);
        cr_assert_eq(vh_queue(&h, n, 0), 0);
        cr_assert(vh_queue_enabled(&h, n), "%s: queue %u", cls->name, n);
    }
    free(before);
}

Test(virtio_contract, a_queue_that_is_stopped_alone_is_left_in_peace)
{
    each(queues_stop_alone);
}

/* What a device may be doing when it is taken out. */
enum moment {
    NEW,
    NEGOTIATED,
    IDLE,
    KICKED, /* and not served yet */
    SERVED_ONCE, /* one round of the loop */
    SERVED_TWICE,
    SERVED,
    BROKEN, /* NEEDS_RESET */
    RESET,
    MOMENTS
};

static void come_to(enum moment moment)
{
    if (moment == NEGOTIATED)
        cr_assert_eq(vh_negotiate(&h, 0), 0);
    if (moment < IDLE)
        return;
    cr_assert_eq(vh_start(&h, 0), 0);
    if (moment >= KICKED)
        contract_offer(&h);
    for (unsigned round = KICKED; round < moment && round < SERVED; round++)
        cr_assert_geq(vm_loop_step(h.loop, 0), 0);
    if (moment >= SERVED)
        cr_assert_eq(vh_pass(&h, 1000000000), 0);
    if (moment == BROKEN && vh_queues(&h))
        cr_assert(contract_break_ring(&h, 0, CONTRACT_ADDRESS));
    if (moment == BROKEN && vh_queues(&h))
        vh_kick(&h, 0);
    if (moment >= BROKEN)
        cr_assert_eq(vh_pass(&h, 1000000000), 0);
    if (moment == RESET)
        cr_assert_eq(vh_reset(&h, UINT32_MAX), 0);
}

static int next_fd(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

/* Its registers answer nobody, and writes to them, the doorbells among them, do nothing. */
static void answers_nothing(const char *name, uint64_t registers, uint64_t doorbell)
{
    cr_assert_eq(vh_read(&h, registers, 4), UINT32_MAX, "%s", name);
    cr_assert_eq(vh_read(&h, registers + 0x14, 1), UINT8_MAX, "%s", name);
    cr_assert_eq(vh_write(&h, registers + 0x14, 1, 0), -ENODEV, "%s", name);
    cr_assert_eq(vh_write(&h, doorbell, 4, 0), -ENODEV, "%s", name);
    if (h.root)
        cr_assert_eq(vh_pci_read(&h, 0, 4), UINT32_MAX, "%s", name);
}

static void removed_at_any_moment(const struct vdev_class *cls)
{
    static uint8_t before[CONTRACT_RAM];
    int fd = -1;

    if (h.config
            .other) /* it is its front end that takes it out, by leaving: vhost_contract_test.c */
        return;
    for (unsigned moment = NEW; moment < MOMENTS; moment++) {
        uint64_t registers, doorbell;
        unsigned interrupts;

        if (moment)
            cr_assert_eq(contract_replace(&h, cls), 0, "%s: %s", cls->name, vm_error_text());
        registers = h.pci ? h.common : VH_MMIO;
        doorbell = h.pci ? h.notify : VH_MMIO + 0x50;
        come_to((enum moment)moment);
        cr_assert_eq(vh_remove(&h), 0, "%s, moment %u: %s", cls->name, moment, vm_error_text());
        memcpy(before, h.guest.host, CONTRACT_RAM);
        interrupts = h.messages + h.pin[0].rises;
        answers_nothing(cls->name, registers, doorbell);
        cr_assert_eq(vh_pass(&h, 20000000000), 0);

        cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s, moment %u", cls->name, moment);
        cr_assert_eq(h.messages + h.pin[0].rises, interrupts, "%s, moment %u", cls->name, moment);
        cr_assert_not(h.pin[0].level, "%s, moment %u", cls->name, moment);
        cr_assert_eq(h.doorbells, 0, "%s, moment %u", cls->name, moment);
        cr_assert_eq(vm_loop_step(h.loop, UINT64_MAX), 0, "%s, moment %u", cls->name, moment);
        cr_assert(fd < 0 || next_fd() == fd, "%s, moment %u: an fd is left", cls->name, moment);
        fd = next_fd();
    }
}

Test(virtio_contract, removed_at_any_moment_nothing_is_written_after_and_nothing_left)
{
    each(removed_at_any_moment);
}

static void comes_and_goes(const struct vdev_class *cls)
{
    for (unsigned i = 0; i < 30; i++) {
        cr_assert_eq(contract_use(&h), 0, "%s", cls->name);
        switch (i % 3) {
        case 0: cr_assert_eq(vh_reset(&h, UINT32_MAX), 0); break;
        case 1: cr_assert_eq(vh_machine_reset(&h), 0); break;
        default:
            cr_assert_eq(vh_quiesce(&h), 0);
            cr_assert_eq(vdev_resume(h.dev), 0);
            cr_assert_eq(vh_reset(&h, UINT32_MAX), 0);
            break;
        }
    }
    cr_assert_eq(h.doorbells, 0, "%s", cls->name);
}

Test(virtio_contract, drivers_may_come_and_go)
{
    each(comes_and_goes);
}
