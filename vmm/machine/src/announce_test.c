/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of announcing guests on their networks: which devices are asked, and what comes of it. */
#include "machine_test.h"

enum { NICS = 3 };

static struct {
    struct virtio_dev *dev[NICS];
    unsigned nics, asked[NICS];
    uint8_t mac[6]; /* which was announced last */
    int rc; /* of each */
    bool nameless; /* what is made has no address */
} net;

static struct {
    unsigned count;
    int code;
    char text[VM_ERROR_TEXT];
} told;

TestSuite(announce, .timeout = TEST_TIMEOUT);

static int nic_announce(struct virtio_dev *dev, const uint8_t mac[6])
{
    cr_assert(vm_loop_is_mine(dev->dev.env->loop));
    cr_assert_not(vm_lock_try(&dev->dev.lock));
    for (unsigned i = 0; i < net.nics; i++)
        net.asked[i] += net.dev[i] == dev;
    memcpy(net.mac, mac, 6);
    return net.rc ? vm_fail(net.rc, "%s: nobody is there", dev->dev.id) : 0;
}

static int nic_create(const struct vdev_context *context, struct vdev **ret_dev);
static const struct virtio_ops nic_ops = { .kick = tube_kick,
                                           .announce = nic_announce,
                                           .destroy = tube_destroy };
static const struct vdev_class nic_class = {
    .name = "nic",
    .kind = VDEV_VIRTIO,
    .props = lab_props,
    .config_size = sizeof(struct lab_config),
    .create = nic_create,
};

static int nic_create(const struct vdev_context *context, struct vdev **ret_dev)
{
    static const uint16_t sizes[] = { 16, 16 };
    const struct virtio_setup setup = { .id = VIRTIO_ID_NET,
                                        .features = net.nameless ? 0 : VIRTIO_NET_FEATURE_MAC,
                                        .queue_sizes = sizes,
                                        .queues = 2,
                                        .config_bytes = 12 };
    struct virtio_dev *dev = calloc(1, sizeof(*dev));

    cr_assert(dev);
    cr_assert_eq(virtio_init(dev, &nic_class, &nic_ops, context, &setup), 0);
    memcpy(dev->config, "\x52\x54\x00\x01\x02", 5);
    dev->config[5] = (uint8_t)net.nics;
    net.dev[net.nics++] = dev;
    *ret_dev = &dev->dev;
    return 0;
}

static void hear(void *ctx, int code)
{
    (void)ctx;
    told.count++;
    told.code = code;
    snprintf(told.text, sizeof(told.text), "%s", code ? vm_error_text() : "");
}

static int announce(const char *id)
{
    return vmm_machine_announce(t.machine, id, hear, &told);
}

/* A tube and so many of these, of a machine that runs. */
static void begin(bool stepwise, unsigned nics)
{
    mt_open(stepwise);
    mt_add(&tube_class, NULL);
    for (unsigned i = 0; i < nics; i++)
        mt_add(&nic_class, NULL);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0);
}

Test(announce, one_device_announces_the_address_of_its_config_space)
{
    begin(true, 2);

    cr_assert_eq(announce("nic1"), 0, "%s", vm_error_text());
    cr_assert_eq(told.count, 0);
    cr_assert_eq(vmm_machine_announce_ctx(t.machine), &told);
    mt_idle();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.code, 0, "%s", told.text);
    cr_assert_eq(net.asked[0], 0);
    cr_assert_eq(net.asked[1], 1);
    cr_assert_arr_eq(net.mac, "\x52\x54\x00\x01\x02\x01", 6);
    cr_assert_null(vmm_machine_announce_ctx(t.machine));
    mt_close();
}

Test(announce, without_a_name_each_network_device_does)
{
    begin(true, 3);

    cr_assert_eq(announce(NULL), 0, "%s", vm_error_text());
    mt_idle();

    cr_assert_eq(told.code, 0, "%s", told.text);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(net.asked[i], 1, "%u", i);
    mt_close();
}

Test(announce, it_happens_on_the_thread_that_serves_devices)
{
    begin(false, 1);

    cr_assert_eq(announce(NULL), 0, "%s", vm_error_text());
    MT_UNTIL(told.count);

    cr_assert_eq(told.code, 0, "%s", told.text);
    cr_assert_eq(net.asked[0], 1);
    mt_close();
}

Test(announce, the_first_that_cannot_is_told_and_the_others_are_tried)
{
    begin(true, 2);
    net.rc = -ENOTCONN;

    cr_assert_eq(announce(NULL), 0);
    mt_idle();

    cr_assert_eq(told.code, -ENOTCONN);
    cr_assert_str_eq(told.text, "nic0: nobody is there");
    cr_assert_eq(net.asked[1], 1);
    mt_close();
}

Test(announce, a_device_without_an_address_is_not_asked)
{
    net.nameless = true;
    begin(true, 1);

    cr_assert_eq(announce("nic0"), 0);
    mt_idle();

    cr_assert_eq(told.code, -ENOTSUP);
    cr_assert(strstr(told.text, "nic0: its back end gives the guest no MAC address"), "%s",
              told.text);
    cr_assert_eq(net.asked[0], 0);
    mt_close();
}

Test(announce, what_is_wrong_is_told_at_once)
{
    begin(true, 1);

    cr_expect_eq(announce("nobody"), -ENOENT);
    cr_expect_str_eq(vm_error_text(), "there is no device 'nobody': vmm info lists them");
    cr_expect_eq(announce("tube0"), -EINVAL);
    cr_expect(strstr(vm_error_text(), "tube0 is no network device"), "%s", vm_error_text());
    cr_expect_eq(announce(t.lab[0]->dev.id), -EINVAL);
    cr_assert_eq(announce(NULL), 0);
    cr_expect_eq(announce(NULL), -EBUSY);
    mt_idle();
    cr_assert_eq(told.count, 1);
    cr_assert_eq(announce(NULL), 0, "%s", vm_error_text());
    mt_close();
}

Test(announce, a_machine_without_network_devices_says_so)
{
    begin(true, 0);

    cr_assert_eq(announce(NULL), -ENOENT);
    cr_assert_str_eq(vm_error_text(), "this machine has no network device: start it with --net");
    mt_close();
}

static int nic_stop_late(struct virtio_dev *dev)
{
    (void)dev;
    return -EINPROGRESS;
}

static void left(void *ctx, int code)
{
    (void)ctx;
    cr_assert_eq(code, 0);
    told.code = 1;
}

Test(announce, a_machine_whose_only_network_device_is_being_removed_says_that)
{
    static const struct virtio_ops late = {
        .kick = tube_kick, .stop = nic_stop_late, .announce = nic_announce, .destroy = tube_destroy
    };

    begin(true, 1);
    net.dev[0]->ops = &late;
    net.dev[0]->running = true; /* a driver has begun */
    cr_assert_eq(vmm_machine_remove(t.machine, "nic0", left, &told), 0, "%s", vm_error_text());

    cr_expect_eq(announce(NULL), -EBUSY);
    cr_expect_str_eq(vm_error_text(),
                     "nic0 is being removed, and this machine has no other network device");
    cr_expect_eq(announce("nic0"), -EBUSY);
    cr_expect_str_eq(vm_error_text(), "nic0 is being removed");

    vm_lock_acquire(&net.dev[0]->dev.lock);
    virtio_stopped(net.dev[0]);
    vm_lock_release(&net.dev[0]->dev.lock);
    mt_idle();
    cr_assert_eq(told.code, 1);
    cr_expect_eq(announce(NULL), -ENOENT);
    cr_expect_str_eq(vm_error_text(), "this machine has no network device: start it with --net");
    mt_close();
}

Test(announce, a_machine_that_stands_still_announces_nothing)
{
    begin(true, 1);

    cr_assert_eq(announce(NULL), 0); /* just before the pause */
    net.dev[0]->dev.quiesced = true;
    mt_idle();
    cr_expect_eq(told.code, -EBUSY);
    net.dev[0]->dev.quiesced = false;
    cr_assert_eq(vmm_machine_pause(t.machine, mt_paused, NULL), 0);
    cr_expect_eq(announce(NULL), -EBUSY);
    for (unsigned i = 0; i < 4; i++) {
        vmm_machine_step(t.machine, 0);
        mt_idle();
    }
    cr_assert(t.paused);
    cr_expect_eq(announce(NULL), -EBUSY);
    cr_expect(strstr(vm_error_text(), "the machine is paused"), "%s", vm_error_text());

    cr_expect_eq(net.asked[0], 0);
    mt_close();
}

Test(announce, a_machine_that_was_not_started_or_has_ended_announces_nothing)
{
    mt_open(true);
    mt_add(&nic_class, NULL);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    cr_expect_eq(announce(NULL), -EBUSY);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    vmm_machine_stop(t.machine);

    cr_expect_eq(announce(NULL), -ESHUTDOWN);
    mt_close();
}

Test(announce, who_waits_when_the_machine_is_freed_hears_of_it)
{
    begin(true, 1);
    cr_assert_eq(announce(NULL), 0);

    mt_close();

    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.code, -ESHUTDOWN);
    cr_assert_eq(net.asked[0], 0);
}

/* Another device's back end holds up the I/O thread. */
static pthread_mutex_t jam = PTHREAD_MUTEX_INITIALIZER;

static void hang(struct vm_work *work)
{
    (void)work;
    pthread_mutex_lock(&jam);
    pthread_mutex_unlock(&jam);
}

Test(announce, a_thread_that_hangs_keeps_nobody_waiting)
{
    static struct vm_work work;

    begin(false, 1);
    pthread_mutex_lock(&jam);
    vm_loop_post(t.machine->io_env.loop, &work, hang);
    cr_assert_eq(announce(NULL), 0);
    __atomic_store_n(&t.ahead_ns, 2 * MACHINE_ANNOUNCE_NS, __ATOMIC_RELAXED);
    MT_UNTIL(told.count);

    cr_assert_eq(told.code, -ETIMEDOUT, "%s", told.text);
    cr_assert_null(vmm_machine_announce_ctx(t.machine));
    cr_expect_eq(announce(NULL), -EBUSY);
    pthread_mutex_unlock(&jam);
    MT_UNTIL(!t.machine->announce);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(net.asked[0], 1);
    mt_close();
}
