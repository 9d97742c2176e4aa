/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the socket device whose packets the host's kernel moves (vhost=on), over a fake of that kernel's vhost-vsock. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

#include "fake_vhost.h"
#include "virtio_vsock_test.h"

#define LIMIT 1000000000ULL
#define KNOWN \
    (VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | VIRTIO_VSOCK_F_SEQPACKET | 1ULL << 62)

enum { COMMAND = 4, COMMAND_MEMORY = 2, COMMAND_MASTER = 4 };

static struct vh h;
static struct fake_vhost kernel;
static struct virtio_vsock *vsock;
static struct {
    int rc; /* what the opener says, but 0: a file */
    unsigned count, how;
    char name[32];
    int fd;
} opened;

static int control(void *ctx, unsigned file, unsigned long request, void *argument)
{
    cr_assert_eq(ctx, vsock);
    kernel.lock = &vsock->dev.dev.lock;
    return fake_vhost_control(&kernel, file, request, argument);
}

static int open_kernel(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    opened.count++;
    opened.how = how;
    snprintf(opened.name, sizeof(opened.name), "%s", name);
    if (opened.rc)
        return vm_fail(opened.rc, "%s", strerror(-opened.rc));
    opened.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return opened.fd;
}

static void prepare(enum vh_transport transport)
{
    const struct vh_config way = { .transport = transport };

    memset(&opened, 0, sizeof(opened));
    cr_assert_eq(vh_open(&h, &way), 0);
    h.open = open_kernel;
    fake_vhost_begin(&kernel, h.guest.space, KNOWN);
    kernel.together = true;
}

static void setup(void)
{
    prepare(VH_PCI);
}

static void teardown(void)
{
    if (h.dev)
        vh_destroy(&h);
    fake_vhost_end(&kernel);
    vh_close(&h);
}

TestSuite(virtio_vsock_kernel, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

/* Options as on the command line, over the fake. */
static int plug(const char *options)
{
    const struct vdev_class *cls = &virtio_vsock_class;
    struct virtio_vsock_config config = { 0 };
    struct vdev *dev = NULL;
    int rc = vm_prop_defaults(cls->props, &config);

    if (!rc)
        rc = vm_prop_parse(cls->props, &config, cls->name, NULL, options);
    cr_assert_eq(rc, 0, "%s", vm_error_text());
    vsock = vdev_alloc(&h.context, sizeof(*vsock));
    vsock->control = control;
    h.context.config = &config;
    rc = virtio_vsock_new(&h.context, vsock, &dev);
    h.context.config = NULL;
    vm_prop_free(cls->props, &config);
    return rc ? rc : vh_plug(&h, &vsock->dev);
}

static void begin(void)
{
    cr_assert_eq(plug("cid=42,vhost=on"), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
}

/* The driver's buffer in queue n, which the kernel fills; its byte, or -1. */
static int received(uint16_t n)
{
    struct fake_buf b = { fake_driver_alloc(&h.drv[n], 64), 64, true };
    uint32_t len;
    uint16_t id;
    int rc = vh_request(&h, n, &b, 1);

    if (rc == -EAGAIN) {
        fake_vhost_work(&kernel);
        cr_assert_eq(vh_idle(&h), 0);
        rc = fake_driver_collect(&h.drv[n], &id, &len) == 1 ? (int)len : -1;
    }
    return rc == 1 ? h.guest.host[b.addr] : -1;
}

static bool sends(const char *text)
{
    struct fake_buf b = { fake_driver_alloc(&h.drv[VSOCK_TX], 64), (uint32_t)strlen(text), false };
    uint32_t len;
    uint16_t id;

    memcpy(h.guest.host + b.addr, text, b.len);
    cr_assert_eq(vh_request(&h, VSOCK_TX, &b, 1), -EAGAIN);
    fake_vhost_work(&kernel);
    cr_assert_eq(vh_idle(&h), 0);
    return fake_driver_collect(&h.drv[VSOCK_TX], &id, &len) == 1 && kernel.sent_bytes == b.len &&
           !memcmp(kernel.sent, text, b.len);
}

/* An event's buffer, and the four bytes in it: VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is 0. */
static int event(void)
{
    struct fake_buf b = { fake_driver_alloc(&h.drv[VSOCK_EVENT], 4), 4, true };

    memset(h.guest.host + b.addr, 0xff, 4);
    return vh_request(&h, VSOCK_EVENT, &b, 1);
}

/* ---- options ---- */

Test(virtio_vsock_kernel, what_contradicts_it_is_refused_before_anything_is_opened)
{
    static const struct {
        const char *options, *text;
    } row[] = {
        { "cid=3,socket=s,vhost_device=/dev/x",
          "dut: vhost_device= (device=) names the kernel's vhost-vsock: give vhost=on, too" },
        { "cid=3,vhost=on,connections=8",
          "dut: with vhost=on connections are the kernel's, and connections= has no meaning: leave "
          "one of them out" },
        { "cid=3,vhost=on,socket=s", "dut: with vhost=on connections end in AF_VSOCK of the host, "
                                     "and socket= has no meaning: leave one of them out" },
        { "cid=3,vhost=on,seqpacket=s",
          "dut: with vhost=on connections end in AF_VSOCK of the host, and seqpacket= has no "
          "meaning: leave one of them out" },
        { "cid=3", "dut: where do connections end? Give socket=PATH (Unix sockets of the host), or "
                   "vhost=on (its AF_VSOCK)" },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        cr_expect_eq(vh_create(&h, &virtio_vsock_class, row[i].options), -EINVAL, "%s",
                     row[i].options);
        cr_expect_str_eq(vm_error_text(), row[i].text);
    }
    cr_assert_eq(opened.count, 0);
}

Test(virtio_vsock_kernel, what_cannot_be_opened_is_refused_with_what_to_do)
{
    opened.rc = -ENOENT;
    cr_expect_eq(plug("cid=3,vhost=on"), -ENOENT);
    cr_expect_str_eq(vm_error_text(),
                     "dut: vhost=on: /dev/vhost-vsock: the kernel has no vhost-vsock: load it "
                     "(modprobe vhost_vsock), or give socket=PATH instead");
    cr_expect_str_eq(opened.name, "/dev/vhost-vsock");
    cr_expect_eq(opened.how, VM_OPEN_KERNEL);

    opened.rc = -EACCES;
    cr_expect_eq(plug("cid=3,vhost=on,device=/dev/x"), -EACCES);
    cr_expect_str_eq(vm_error_text(),
                     "dut: vhost=on: /dev/x: permission denied: join the group that it belongs to "
                     "(ls -l /dev/x), or give socket=PATH instead");
    cr_expect_str_eq(opened.name, "/dev/x");
}

Test(virtio_vsock_kernel, a_plan_has_the_device_without_a_kernel)
{
    opened.rc = -ENOTCONN; /* it opens nothing */
    cr_assert_eq(plug("cid=3,vhost=on"), 0, "%s", vm_error_text());

    cr_assert_null(vsock->kernel);
    cr_assert_not(vh_offered(&h) & VQ_F_RING_PACKED);
    cr_assert(vh_offered(&h) & VIRTIO_VSOCK_F_SEQPACKET);
}

Test(virtio_vsock_kernel, only_with_it_the_class_has_rules_and_a_reason_to_be_on_a_thread)
{
    const struct virtio_vsock_config with = { .vhost = true }, without = { 0 };
    const struct vm_jail_rule *rule = virtio_vsock_class.jail_more(&with);
    unsigned running = 0;

    for (; rule->syscall; rule++)
        running += rule->check[0].value == VHOST_VSOCK_SET_RUNNING;
    cr_assert_eq(running, 1);
    cr_assert_str_eq(virtio_vsock_class.thread_reason(&with),
                     "with vhost=on the kernel works in the address space of the VMM");
    cr_assert_null(virtio_vsock_class.jail_more(&without));
    cr_assert_null(virtio_vsock_class.thread_reason(&without));
}

/* ---- the guest's address ---- */

Test(virtio_vsock_kernel, guest_and_kernel_are_told_the_same_address)
{
    struct le64 cid;

    cr_assert_eq(plug("cid=4294967294,vhost=on"), 0, "%s", vm_error_text());

    vh_config_read(&h, 0, &cid, sizeof(cid));
    cr_assert_eq(le64_get(cid), 4294967294);
    cr_assert_eq(kernel.cid, 4294967294);
    cr_assert_eq(vh_offered(&h) & (VIRTIO_VSOCK_F_STREAM | VIRTIO_VSOCK_F_SEQPACKET),
                 VIRTIO_VSOCK_F_STREAM | VIRTIO_VSOCK_F_SEQPACKET);
    cr_assert_eq(vh_offered(&h) >> 62, 0, "of what the kernel knows and we do not");
}

Test(virtio_vsock_kernel, a_kernel_without_messages_offers_none)
{
    kernel.features &= ~VIRTIO_VSOCK_F_SEQPACKET;

    cr_assert_eq(plug("cid=42,vhost=on"), 0, "%s", vm_error_text());

    cr_assert_not(vh_offered(&h) & VIRTIO_VSOCK_F_SEQPACKET);
    cr_assert(vh_offered(&h) & VIRTIO_VSOCK_F_STREAM, "which the kernel has no bit for");
}

#define ASKED(request, code) request, #request, code

Test(virtio_vsock_kernel, a_kernel_that_refuses_at_creation_refuses_the_device)
{
    static const struct {
        unsigned long request;
        const char *name;
        int why, code;
        const char *text;
    } row[] = {
        { ASKED(VHOST_GET_FEATURES, -ENOTTY), -ENOTTY,
          "dut: /dev/vhost-vsock: what was opened is no such device of the kernel's" },
        { ASKED(VHOST_SET_OWNER, -EBUSY), -EBUSY,
          "dut: /dev/vhost-vsock: what was opened is used already" },
        { ASKED(VHOST_SET_MEM_TABLE, -EFAULT), -EFAULT,
          "dut: vhost refuses the memory region at 0x0: VHOST_SET_MEM_TABLE: Bad address" },
        { ASKED(VHOST_VSOCK_SET_GUEST_CID, -EADDRINUSE), -EADDRINUSE,
          "dut: cid=42 is another guest's on this host: give another one" },
        { ASKED(VHOST_VSOCK_SET_GUEST_CID, -EINVAL), -EINVAL,
          "dut: /dev/vhost-vsock: VHOST_VSOCK_SET_GUEST_CID: Invalid argument" },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        kernel.refused = row[i].request;
        kernel.why = row[i].why;
        cr_expect_eq(plug("cid=42,vhost=on"), row[i].code, "%s", row[i].name);
        cr_expect_str_eq(vm_error_text(), row[i].text);
        cr_expect_eq(fcntl(opened.fd, F_GETFD), -1, "%s: it was taken over", row[i].name);
    }
}

/* ---- packets ---- */

static void pass_packets(enum vh_transport transport)
{
    teardown();
    prepare(transport);
    begin();

    cr_assert_eq(kernel.acked, KNOWN & ~(1ULL << 62));
    cr_assert_eq(received(VSOCK_RX), 'a');
    cr_assert(sends("a packet"));
    cr_assert_eq(received(VSOCK_RX), 'a');
}

Test(virtio_vsock_kernel, the_kernel_moves_packets_over_pci)
{
    pass_packets(VH_PCI);
}

Test(virtio_vsock_kernel, the_kernel_moves_packets_over_mmio)
{
    pass_packets(VH_MMIO_BUS);
}

Test(virtio_vsock_kernel, doorbells_that_are_registers_reach_the_kernel_or_us)
{
    h.config.refuse_doorbells = true;
    begin();

    cr_assert_eq(received(VSOCK_RX), 'a'); /* its start would be kick enough */
    cr_assert_eq(received(VSOCK_RX), 'a');
    vsock->lost = true;
    cr_assert_eq(event(), 4);
}

/* ---- life ---- */

Test(virtio_vsock_kernel, a_restored_machines_driver_is_told_that_connections_are_gone)
{
    struct vm_buffer state = { 0 };
    unsigned calls;
    uint32_t len;
    uint16_t id;

    begin();
    cr_assert_eq(event(), -EAGAIN, "nothing has happened");
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_not(kernel.ring[0].on || kernel.ring[1].on);
    cr_assert_eq(vh_save(&h, &state), 0);
    calls = kernel.calls;

    cr_assert_eq(vh_load(&h, state.data, state.len), 0, "%s", vm_error_text());
    cr_assert_eq(vdev_resume(h.dev), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_gt(kernel.calls, calls);
    cr_assert(kernel.ring[0].on && kernel.ring[1].on);
    cr_assert_eq(fake_driver_collect(&h.drv[VSOCK_EVENT], &id, &len), 1);
    cr_assert_eq(len, 4);
    vm_buffer_free(&state);
}

Test(virtio_vsock_kernel, a_reset_takes_the_rings_from_the_kernel_and_a_start_gives_them_again)
{
    begin();
    cr_assert_eq(received(VSOCK_RX), 'a');

    cr_assert_eq(vh_reset(&h, LIMIT), 0);
    cr_assert_not(kernel.ring[0].on || kernel.ring[1].on);
    cr_assert_eq(kernel.bases, 2);

    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(kernel.ring[0].base, 0);
    cr_assert_eq(received(VSOCK_RX), 'a');
    cr_assert(sends("again"));
    cr_assert_eq(kernel.cid, 42);
}

Test(virtio_vsock_kernel, a_queue_that_is_stopped_alone_stops_both_and_the_events_go_on)
{
    begin();

    cr_assert_eq(vh_queue_stop(&h, VSOCK_TX, LIMIT), 0);
    cr_assert_not(kernel.ring[0].on || kernel.ring[1].on);
    vsock->lost = true;
    cr_assert_eq(event(), 4);

    cr_assert_eq(vh_queue(&h, VSOCK_TX, 0), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(received(VSOCK_RX), 'a');
}

Test(virtio_vsock_kernel, without_bus_mastering_neither_the_kernel_nor_an_event_moves)
{
    struct fake_buf b = { 0, 4, true };
    uint32_t len;
    uint16_t id;

    begin();
    b.addr = fake_driver_alloc(&h.drv[VSOCK_EVENT], 4);
    cr_assert_eq(vh_pci_write(&h, COMMAND, 2, COMMAND_MEMORY), -EINPROGRESS);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_not(kernel.ring[0].on || kernel.ring[1].on);
    vsock->lost = true;
    cr_assert_eq(vh_request(&h, VSOCK_EVENT, &b, 1), -EAGAIN);

    cr_assert_eq(vh_pci_write(&h, COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[VSOCK_EVENT], &id, &len), 1, "without a second kick");
    cr_assert_eq(received(VSOCK_RX), 'a');
}

Test(virtio_vsock_kernel, who_is_destroyed_closes_its_file)
{
    begin();

    vh_destroy(&h);

    cr_assert_eq(fcntl(opened.fd, F_GETFD), -1);
}

/* ---- what goes wrong ---- */

static void mended(void)
{
    kernel.refused = 0;
    cr_assert_eq(vh_reset(&h, LIMIT), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(received(VSOCK_RX), 'a', "a reset mends it");
}

Test(virtio_vsock_kernel, a_kernel_that_refuses_at_the_start_breaks_the_device_until_a_reset)
{
    static const struct {
        unsigned long request;
        const char *name;
        int why;
        const char *text;
    } row[] = {
        { ASKED(VHOST_SET_FEATURES, -EFAULT), "VHOST_SET_FEATURES: Bad address" },
        { ASKED(VHOST_SET_VRING_NUM, -EINVAL), "VHOST_SET_VRING_NUM: Invalid argument" },
        { ASKED(VHOST_SET_VRING_BASE, -EBUSY), "VHOST_SET_VRING_BASE: Device or resource busy" },
        { ASKED(VHOST_SET_VRING_ADDR, -EFAULT), "VHOST_SET_VRING_ADDR: Bad address" },
        { ASKED(VHOST_SET_VRING_CALL, -EBADF), "VHOST_SET_VRING_CALL: Bad file descriptor" },
        { ASKED(VHOST_SET_VRING_ERR, -EBADF), "VHOST_SET_VRING_ERR: Bad file descriptor" },
        { ASKED(VHOST_SET_VRING_KICK, -EBADF), "VHOST_SET_VRING_KICK: Bad file descriptor" },
        { ASKED(VHOST_VSOCK_SET_RUNNING, -EFAULT),
          "the kernel does not begin to serve queue 0: Bad address" },
    };

    cr_assert_eq(plug("cid=42,vhost=on"), 0, "%s", vm_error_text());
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        memset(h.log, 0, sizeof(h.log));
        kernel.refused = row[i].request;
        kernel.why = row[i].why;
        cr_assert_eq(vh_start(&h, 0), 0);

        cr_expect(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s", row[i].name);
        cr_expect(vh_logged(&h, "/dev/vhost-vsock: "), "%s: %s", row[i].name, h.log[0]);
        cr_expect(vh_logged(&h, row[i].text), "%s: %s", row[i].name, h.log[0]);
        mended();
        cr_assert_eq(vh_reset(&h, LIMIT), 0);
    }
}

Test(virtio_vsock_kernel, a_kernel_that_does_not_let_go_loses_the_file)
{
    begin();
    kernel.refused = VHOST_VSOCK_SET_RUNNING;
    kernel.why = -EIO;

    cr_assert_eq(vh_set_status(&h, 0), 0);
    for (unsigned n = 0; n < 2; n++) { /* as closing the file does */
        kernel.ring[n].on = false;
        vq_exit(&kernel.ring[n].vq);
    }
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(vh_status(&h), 0);
    cr_assert_eq(fcntl(opened.fd, F_GETFD), -1, "it would go on and write");
    cr_assert(vh_logged(&h, "the kernel does not let go of queue 0: Input/output error"));
}

Test(virtio_vsock_kernel, a_ring_that_the_kernel_finds_broken_is_told_to_the_driver)
{
    begin();

    vm_eventfd_signal(kernel.ring[VSOCK_TX].err);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
    cr_assert(vh_logged(&h, "the kernel found a ring broken: the driver broke the rules"));
    cr_assert_not(kernel.ring[0].on || kernel.ring[1].on);
    mended();
}
