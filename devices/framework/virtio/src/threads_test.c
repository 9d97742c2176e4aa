/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests with threads, for the thread sanitizer: vCPUs kick and read registers while the loop serves and the machine pauses. */
#include <criterion/criterion.h>
#include <sched.h>

#include "virtio_test.h"

enum { REQUESTS = 300, SPINS = 50000000 };

static struct vh h;
static struct lab *lab;
static bool over; /* atomic */

static void *run_loop(void *arg)
{
    (void)arg;
    cr_assert_eq(vm_loop_run(h.loop), 0);
    return NULL;
}

static bool is_over(void)
{
    return __atomic_load_n(&over, __ATOMIC_RELAXED);
}

/* A second vCPU: status, configuration, interrupt status, vectors, the doorbell of a queue of its own. */
static void *second_vcpu(void *arg)
{
    struct vdev_bus_reader reader;
    uint64_t status = h.pci ? h.common + 0x14 : VH_MMIO + 0x70;
    uint64_t config = h.pci ? h.device_config : VH_MMIO + 0x100;
    uint64_t isr = h.pci ? h.isr : VH_MMIO + 0x60;
    uint64_t bell = h.pci ? h.notify + 2 * h.notify_step : VH_MMIO + 0x50;
    uint8_t data[8], two[4] = { 2 }, masked[4] = { 1 }, unmasked[4] = { 0 };

    (void)arg;
    vdev_bus_reader_init(h.mmio, &reader);
    while (!is_over()) {
        (void)vdev_bus_read(&reader, status, data, h.pci ? 1 : 4, NULL);
        (void)vdev_bus_read(&reader, config, data, 4, NULL);
        (void)vdev_bus_write(&reader, config, data, 4, NULL);
        (void)vdev_bus_read(&reader, isr, data, h.pci ? 1 : 4, NULL);
        (void)vdev_bus_write(&reader, bell, two, 4, NULL);
        if (h.pci) {
            (void)vdev_bus_write(&reader, h.msix_table + 16 * 2 + 12, masked, 4, NULL);
            (void)vdev_bus_write(&reader, h.msix_table + 16 * 2 + 12, unmasked, 4, NULL);
        }
        sched_yield();
    }
    vdev_bus_reader_exit(&reader);
    return NULL;
}

/* Offers, kicks and waits for the answer, as a guest that polls. */
static void ask(uint16_t n)
{
    struct fake_buf b = { 0x8000 + n * 64U, 16, true };
    uint16_t id;
    uint32_t len;
    int rc = 0;

    cr_assert_geq(fake_driver_offer(&h.drv[n], &b, 1), 0);
    if (fake_driver_wants_kick(&h.drv[n]))
        cr_assert_eq(vh_kick(&h, n), 0);
    for (unsigned i = 0; i < SPINS && !rc; i++) {
        rc = fake_driver_collect(&h.drv[n], &id, &len);
        if (!rc)
            sched_yield();
    }
    cr_assert_eq(rc, 1);
}

static const struct vh_config ways[] = { { .transport = VH_PCI, .real_time = true },
                                         { .transport = VH_PCI, .packed = true, .real_time = true },
                                         { .transport = VH_MMIO_BUS,
                                           .real_time = true,
                                           .own_interrupts = true,
                                           .refuse_doorbells = true } };

static void begin(const struct vh_config *way, pthread_t thread[2])
{
    over = false;
    lab = lab_open(&h, way);
    cr_assert_eq(vh_start(&h, 0), 0);
    pthread_create(&thread[0], NULL, run_loop, NULL);
    pthread_create(&thread[1], NULL, second_vcpu, NULL);
}

static void end(pthread_t thread[2])
{
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    pthread_join(thread[1], NULL);
    vm_loop_stop(h.loop);
    pthread_join(thread[0], NULL);
    vh_close(&h);
}

Test(virtio_threads, vcpus_kick_and_look_while_the_loop_serves, .timeout = TEST_TIMEOUT)
{
    for (size_t w = 0; w < VM_ARRAY_SIZE(ways); w++) {
        pthread_t thread[2];

        begin(&ways[w], thread);

        for (unsigned i = 0; i < REQUESTS; i++)
            ask((uint16_t)(i % 2));

        end(thread);
    }
}

Test(virtio_threads, the_machine_pauses_and_resumes_under_traffic, .timeout = TEST_TIMEOUT)
{
    for (size_t w = 0; w < VM_ARRAY_SIZE(ways); w++) {
        pthread_t thread[2];

        begin(&ways[w], thread);

        for (unsigned i = 0; i < REQUESTS / 3; i++) {
            cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
            cr_assert_eq(vdev_resume(h.dev), 0);
            ask((uint16_t)(i % 2));
        }

        end(thread);
    }
}

Test(virtio_threads, a_driver_resets_and_starts_again_under_traffic, .timeout = TEST_TIMEOUT)
{
    pthread_t thread[2];

    begin(&ways[2], thread);

    for (unsigned i = 0; i < REQUESTS / 3; i++) {
        cr_assert_eq(vh_set_status(&h, 0), 0);
        cr_assert_eq(vh_status(&h), 0);
        cr_assert_eq(vh_negotiate(&h, 0), 0);
        for (uint16_t n = 0; n < LAB_QUEUES; n++)
            cr_assert_eq(vh_queue(&h, n, 0), 0);
        vh_set_status(&h, 15);
        ask(0);
    }

    end(thread);
}
