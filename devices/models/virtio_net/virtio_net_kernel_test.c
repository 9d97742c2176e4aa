/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the network device whose packets the host's kernel moves (vhost=on), over a fake of that kernel's vhost-net. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "fake_vhost.h"
#include "virtio_net_test.h"

#define LIMIT  1000000000ULL
#define MAC    "mac=52:54:00:12:34:56"
#define PLAIN  MAC ",tap=t,vhost=on"
#define PAIRS2 PLAIN ",num_queues=4"
#define KNOWN \
    (VQ_F_VERSION_1 | VQ_F_INDIRECT | VQ_F_EVENT_IDX | VIRTIO_NET_F_MRG_RXBUF | 1ULL << 62)

enum { COMMAND = 4, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, ORDER = 0x100000, ACK = 0x180000 };

static struct vh h;
static struct wire wire;
static struct fake_vhost kernel;
static struct vnet_ops back_ops;
static struct {
    int rc; /* what the opener says, but 0: a file */
    unsigned spared; /* ... when it came so often */
    unsigned count, how;
    char name[32];
    int fd; /* the last one */
} opened;

static int control(void *ctx, unsigned file, unsigned long request, void *argument)
{
    cr_assert_eq(ctx, wire.dev);
    kernel.lock = &wire.dev->dev.dev.lock;
    return fake_vhost_control(&kernel, file, request, argument);
}

static int open_kernel(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    opened.how = how;
    snprintf(opened.name, sizeof(opened.name), "%s", name);
    if (opened.count++ >= opened.spared && opened.rc)
        return vm_fail(opened.rc, "%s", strerror(-opened.rc));
    opened.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return opened.fd;
}

static void prepare(enum vh_transport transport)
{
    const struct vh_config way = { .transport = transport };

    memset(&opened, 0, sizeof(opened));
    wire_init(&wire);
    wire.control = control;
    cr_assert_eq(vh_open(&h, &way), 0);
    h.open = open_kernel;
    fake_vhost_begin(&kernel, h.guest.space, KNOWN);
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

static void begin(const char *options)
{
    cr_assert_eq(wire_plug(&wire, &h, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
}

TestSuite(virtio_net_kernel, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

/* The driver's buffer in queue n, which the kernel fills; its byte, or -1. */
static int received(uint16_t n)
{
    struct fake_buf b = { ROOM + 4096U * n, 2048, true };
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

/* The driver's bytes in queue n reach the kernel, and the driver is told. */
static bool sends(uint16_t n, const char *text)
{
    struct fake_buf b = { PACKET, (uint32_t)strlen(text), false };
    uint32_t len;
    uint16_t id;

    memcpy(h.guest.host + PACKET, text, b.len);
    cr_assert_eq(vh_request(&h, n, &b, 1), -EAGAIN);
    fake_vhost_work(&kernel);
    cr_assert_eq(vh_idle(&h), 0);
    return fake_driver_collect(&h.drv[n], &id, &len) == 1 && kernel.sent_bytes == b.len &&
           !memcmp(kernel.sent, text, b.len);
}

static int command(uint16_t queue, uint8_t cls, uint8_t cmd, const void *data, uint32_t len)
{
    struct fake_buf b[] = { { ORDER, 2, false }, { ORDER + 2, len, false }, { ACK, 1, true } };

    h.guest.host[ORDER] = cls;
    h.guest.host[ORDER + 1] = cmd;
    memcpy(h.guest.host + ORDER + 2, data, len);
    h.guest.host[ACK] = 0xff;
    cr_assert_eq(vh_request(&h, queue, b, 3), 1);
    return h.guest.host[ACK];
}

static uint16_t status(void)
{
    struct le16 value;

    vh_config_read(&h, offsetof(struct virtio_net_space, status), &value, sizeof(value));
    return le16_get(value);
}

/* ---- options ---- */

Test(virtio_net_kernel, what_contradicts_it_is_refused_before_anything_is_opened)
{
    static const char stray[] = " looks at packets, which with vhost=on pass within the host's "
                                "kernel: leave one of them out";
    static const char limit[] = "a limit, an egress rule, antispoof or a capture";
    static const struct {
        const char *options, *what, *text;
    } row[] = {
        { "tap=t,vhost_device=/dev/x", "", "vhost_device= has no meaning without vhost=on" },
        { "vhost=on", "",
          "vhost=on: the kernel's vhost-net serves tap interfaces: give tap=NAME, or fd=N of an "
          "open one" },
        { "socket=s,vhost=on", "",
          "vhost=on: the kernel's vhost-net serves tap interfaces: give tap=NAME, or fd=N of an "
          "open one" },
        { "tap=t,vhost=on,num_queues=4,rss=on", "rss=on", stray },
        { "tap=t,vhost=on,hash=on", "hash=on", stray },
        { "tap=t,vhost=on,capture=f", limit, stray },
        { "tap=t,vhost=on,deny_metadata=on", limit, stray },
        { "tap=t,vhost=on,antispoof=on", limit, stray },
        { "tap=t,vhost=on,egress=[deny:any]", limit, stray },
    };
    char text[256];

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        snprintf(text, sizeof(text), "dut: %s%s", row[i].what, row[i].text);
        cr_expect_eq(vh_create(&h, &virtio_net_class, row[i].options), -EINVAL, "%s",
                     row[i].options);
        cr_expect_str_eq(vm_error_text(), text);
    }
    cr_assert_eq(opened.count, 0);
}

Test(virtio_net_kernel, what_cannot_be_opened_is_refused_with_what_to_do)
{
    opened.rc = -ENOENT;
    cr_expect_eq(wire_plug(&wire, &h, PLAIN), -ENOENT);
    cr_expect_str_eq(vm_error_text(),
                     "dut: vhost=on: /dev/vhost-net: the kernel has no vhost-net: load it "
                     "(modprobe vhost_net), or leave vhost=on out");
    cr_expect_str_eq(opened.name, "/dev/vhost-net");
    cr_expect_eq(opened.how, VM_OPEN_KERNEL);

    wire_init(&wire);
    opened.rc = -EACCES;
    cr_expect_eq(wire_plug(&wire, &h, PLAIN ",vhost_device=/dev/x"), -EACCES);
    cr_expect_str_eq(vm_error_text(),
                     "dut: vhost=on: /dev/x: permission denied: join the group that it belongs to "
                     "(ls -l /dev/x), or leave vhost=on out");
    cr_expect_str_eq(opened.name, "/dev/x");
}

Test(virtio_net_kernel, a_back_end_that_lends_no_queue_is_refused_and_the_file_closed)
{
    back_ops = *wire.net.ops;
    back_ops.lend = NULL;
    wire.net.ops = &back_ops;

    cr_assert_eq(wire_plug(&wire, &h, PLAIN), -ENOTSUP);

    cr_assert_str_eq(vm_error_text(), "dut: this is no tap interface, and the kernel's vhost-net "
                                      "serves no other");
    cr_assert_eq(fcntl(opened.fd, F_GETFD), -1);
}

Test(virtio_net_kernel, a_plan_has_the_device_without_a_kernel)
{
    opened.rc = -ENOTCONN; /* it opens nothing */
    cr_assert_eq(wire_plug(&wire, &h, PLAIN), 0, "%s", vm_error_text());

    cr_assert_null(wire.dev->kernel);
    cr_assert_not(vh_offered(&h) & VQ_F_RING_PACKED);
    cr_assert_not(vh_offered(&h) & VIRTIO_NET_F_CTRL_RX);
}

Test(virtio_net_kernel, only_with_it_the_class_has_rules_and_a_reason_to_be_on_a_thread)
{
    const struct virtio_net_config with = { .vhost = true }, without = { 0 };
    const struct vm_jail_rule *rule = virtio_net_class.jail_more(&with);
    unsigned backend = 0;

    for (; rule->syscall; rule++)
        backend += rule->check[0].value == VHOST_NET_SET_BACKEND;
    cr_assert_eq(backend, 1);
    cr_assert_str_eq(virtio_net_class.thread_reason(&with),
                     "with vhost=on the kernel works in the address space of the VMM");
    cr_assert_null(virtio_net_class.jail_more(&without));
    cr_assert_null(virtio_net_class.thread_reason(&without));
}

/* ---- features ---- */

#define OFFLOADS                                                                  \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_HOST_TSO4 |       \
     VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_GUEST_TSO6 | \
     VIRTIO_NET_F_HOST_USO | VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)

Test(virtio_net_kernel, what_looks_at_packets_is_not_offered_and_the_rest_is)
{
    const uint64_t ours = VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_VLAN |
                          VIRTIO_NET_F_CTRL_RX_EXTRA | VIRTIO_NET_F_NOTF_COAL |
                          VIRTIO_NET_F_VQ_NOTF_COAL;
    const uint64_t rest = OFFLOADS | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ |
                          VIRTIO_NET_F_GUEST_ANNOUNCE | VIRTIO_NET_F_CTRL_MAC_ADDR |
                          VIRTIO_NET_F_MRG_RXBUF;

    cr_assert_eq(wire_plug(&wire, &h, PLAIN), 0, "%s", vm_error_text());

    cr_assert_eq(vh_offered(&h) & (ours | rest), rest);
    cr_assert_not(vh_offered(&h) & (VQ_F_RING_PACKED | VIRTIO_NET_F_MQ));
    cr_assert(vh_offered(&h) & VQ_F_EVENT_IDX);
    cr_assert_eq(vh_offered(&h) >> 62, 0, "of what the kernel knows and we do not");
}

Test(virtio_net_kernel, without_offloads_of_the_interface_none_are_offered)
{
    wire.net.info.takes = wire.net.info.gives = 0;
    kernel.features &= ~VIRTIO_NET_F_MRG_RXBUF;

    cr_assert_eq(wire_plug(&wire, &h, PLAIN), 0, "%s", vm_error_text());

    cr_assert_eq(vh_offered(&h) & OFFLOADS, 0);
    cr_assert_not(vh_offered(&h) & VIRTIO_NET_F_MRG_RXBUF, "the kernel does not know it");
}

/* ---- packets ---- */

static void pass_packets(enum vh_transport transport)
{
    teardown();
    prepare(transport);
    begin(PLAIN);

    cr_assert_eq(kernel.acked, KNOWN & ~(1ULL << 62));
    cr_assert_eq(kernel.ring[RX].backend, WIRE_LENT);
    cr_assert_eq(kernel.ring[TX].backend, WIRE_LENT);
    cr_assert_eq(received(RX), 'a');
    cr_assert(sends(TX, "a frame"));
    cr_assert_eq(wire.outs, 0, "we have not seen it");
}

Test(virtio_net_kernel, the_kernel_moves_packets_over_pci)
{
    pass_packets(VH_PCI);
}

Test(virtio_net_kernel, the_kernel_moves_packets_over_mmio)
{
    pass_packets(VH_MMIO_BUS);
}

Test(virtio_net_kernel, the_control_queue_stays_here)
{
    static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
    uint64_t offloads = VIRTIO_NET_F_GUEST_CSUM;

    begin(PLAIN);

    cr_assert_eq(command(CONTROL, 1, 1, mac, 6), VIRTIO_NET_OK); /* MAC_ADDR_SET */
    cr_assert_arr_eq(wire.dev->s.mac, mac, 6);
    cr_assert_eq(command(CONTROL, 5, 0, &offloads, 8), VIRTIO_NET_OK); /* GUEST_OFFLOADS_SET */
    cr_assert_eq(wire.offloads, VNET_CSUM, "the interface is told, not the kernel's vhost");
    cr_assert_eq(command(CONTROL, 0, 0, "\1", 1), VIRTIO_NET_ERR); /* CTRL_RX: not agreed on */
    cr_assert_eq(received(RX), 'a');
}

Test(virtio_net_kernel, each_pair_has_a_file_and_its_own_end_of_the_interface)
{
    begin(PAIRS2);

    cr_assert_eq(opened.count, 2);
    cr_assert(kernel.owned[0] && kernel.owned[1] && !kernel.owned[2]);
    cr_assert_eq(wire.lent, 2);
    for (uint16_t n = 0; n < 4; n++) {
        cr_assert(kernel.ring[n].on, "%u", n);
        cr_assert_eq(kernel.ring[n].backend, WIRE_LENT + n / 2);
    }
    cr_assert_eq(received(0), 'a');
    cr_assert_eq(received(2), 'c');
    cr_assert(sends(3, "by the second"));
    cr_assert_eq(command(4, 4, 0, &(uint16_t){ 2 }, 2), VIRTIO_NET_OK); /* VQ_PAIRS_SET */
    cr_assert_eq(wire.pairs, 2);
}

Test(virtio_net_kernel, the_second_pairs_file_that_cannot_be_opened_closes_the_first)
{
    opened.rc = -EMFILE;
    opened.spared = 1;

    cr_assert_eq(wire_plug(&wire, &h, PAIRS2), -EMFILE);

    cr_assert_eq(opened.count, 2);
    cr_assert_eq(fcntl(opened.fd, F_GETFD), -1);
}

Test(virtio_net_kernel, who_is_destroyed_closes_its_files)
{
    cr_assert_eq(wire_plug(&wire, &h, PLAIN), 0, "%s", vm_error_text());
    cr_assert_geq(fcntl(opened.fd, F_GETFD), 0);

    vh_destroy(&h);

    cr_assert_eq(fcntl(opened.fd, F_GETFD), -1);
}

/* ---- life ---- */

Test(virtio_net_kernel, an_interface_that_is_deleted_is_told_to_the_guest)
{
    unsigned before;

    begin(PLAIN);
    before = h.config_interrupts;
    cr_assert_eq(status(), VIRTIO_NET_S_LINK_UP);

    wire.net.info.link = false;
    virtio_net_events.link(wire.dev);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(status(), 0);
    cr_assert_gt(h.config_interrupts, before);
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET, "a cable was pulled out, no more");
    cr_assert(kernel.ring[RX].on && kernel.ring[TX].on);
}

Test(virtio_net_kernel, a_reset_takes_the_rings_from_the_kernel_and_a_start_gives_them_again)
{
    begin(PAIRS2);
    cr_assert_eq(received(RX), 'a');

    cr_assert_eq(vh_reset(&h, LIMIT), 0);
    for (unsigned n = 0; n < 4; n++) {
        cr_assert_not(kernel.ring[n].on);
        cr_assert_eq(kernel.ring[n].backend, -1);
    }
    cr_assert_eq(kernel.bases, 4);

    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(kernel.ring[RX].base, 0);
    cr_assert_eq(received(RX), 'a');
    cr_assert(sends(TX, "again"));
}

/* Firmware, and then a kernel, say: queue 2 is the control queue of the one, the second pair's of the other. */
static void change_drivers(enum vh_transport transport)
{
    static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 1, 1 };
    uint64_t offered;

    teardown();
    prepare(transport);
    cr_assert_eq(wire_plug(&wire, &h, PAIRS2), 0);
    offered = vh_offered(&h);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(vh_start(&h, offered & ~VIRTIO_NET_F_MQ), 0);
        cr_assert_not(kernel.ring[2].on || kernel.ring[3].on);
        cr_assert_eq(received(RX), 'a');
        cr_assert_eq(command(CONTROL, 1, 1, mac, 6), VIRTIO_NET_OK);
        cr_assert_eq(vh_reset(&h, LIMIT), 0);

        cr_assert_eq(vh_start(&h, offered), 0);
        cr_assert(kernel.ring[2].on && kernel.ring[3].on);
        cr_assert_eq(received(2), 'c');
        cr_assert_eq(vh_kick(&h, 2), 0);
        cr_assert_eq(vh_idle(&h), 0);
        cr_assert(vm_eventfd_take(kernel.ring[2].kick), "the loop takes none of its doorbells");
        cr_assert_eq(command(4, 1, 1, mac, 6), VIRTIO_NET_OK);
        cr_assert_eq(vh_reset(&h, LIMIT), 0);
    }
}

Test(virtio_net_kernel, a_driver_that_did_not_agree_on_pairs_has_one_over_pci)
{
    change_drivers(VH_PCI);
}

Test(virtio_net_kernel, a_driver_that_did_not_agree_on_pairs_has_one_over_mmio)
{
    change_drivers(VH_MMIO_BUS);
}

Test(virtio_net_kernel, a_pause_ends_and_goes_on)
{
    begin(PLAIN);
    cr_assert_eq(received(RX), 'a');

    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_not(kernel.ring[RX].on || kernel.ring[TX].on);
    cr_assert_eq(vdev_resume(h.dev), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(kernel.ring[RX].base, 1);
    cr_assert_eq(received(RX), 'a');
}

Test(virtio_net_kernel, a_queue_that_is_stopped_alone_leaves_the_others)
{
    begin(PLAIN);

    cr_assert_eq(vh_queue_stop(&h, RX, LIMIT), 0);
    cr_assert_not(kernel.ring[RX].on);
    cr_assert_eq(kernel.ring[RX].backend, -1);
    cr_assert(sends(TX, "alone"));

    cr_assert_eq(vh_queue(&h, RX, 0), 0);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_eq(received(RX), 'a');
}

Test(virtio_net_kernel, without_bus_mastering_neither_the_kernel_nor_the_control_queue_moves)
{
    struct fake_buf b[] = { { ORDER, 8, false }, { ACK, 1, true } };
    uint32_t len;
    uint16_t id;

    begin(PLAIN);
    cr_assert_eq(vh_pci_write(&h, COMMAND, 2, COMMAND_MEMORY), -EINPROGRESS);
    cr_assert_eq(vh_idle(&h), 0);
    cr_assert_not(kernel.ring[RX].on || kernel.ring[TX].on);
    memcpy(h.guest.host + ORDER, "\1\1\x52\x54\0\1\1\1", 8);
    cr_assert_eq(vh_request(&h, CONTROL, b, 2), -EAGAIN);

    cr_assert_eq(vh_pci_write(&h, COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER), 0);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(fake_driver_collect(&h.drv[CONTROL], &id, &len), 1, "without a second kick");
    cr_assert_eq(received(RX), 'a');
}

/* ---- what goes wrong ---- */

#define ASKED(request, code) request, #request, code

Test(virtio_net_kernel, a_kernel_that_refuses_at_creation_refuses_the_device)
{
    static const struct {
        unsigned long request;
        const char *name;
        int why, code;
        const char *text;
    } row[] = {
        { ASKED(VHOST_GET_FEATURES, -ENOTTY), -ENOTTY,
          "dut: /dev/vhost-net: what was opened is no such device of the kernel's" },
        { ASKED(VHOST_GET_FEATURES, -EIO), -EIO,
          "dut: /dev/vhost-net: VHOST_GET_FEATURES: Input/output error" },
        { ASKED(VHOST_SET_OWNER, -EBUSY), -EBUSY,
          "dut: /dev/vhost-net: what was opened is used already" },
        { ASKED(VHOST_SET_OWNER, -ENOMEM), -ENOMEM,
          "dut: /dev/vhost-net: VHOST_SET_OWNER: Cannot allocate memory" },
        { ASKED(VHOST_SET_MEM_TABLE, -EFAULT), -EFAULT,
          "dut: vhost refuses the memory region at 0x0: VHOST_SET_MEM_TABLE: Bad address" },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        kernel.refused = row[i].request;
        kernel.why = row[i].why;
        kernel.spared = 0;
        wire.lent = 0;
        cr_expect_eq(wire_plug(&wire, &h, PLAIN), row[i].code, "%s", row[i].name);
        cr_expect_str_eq(vm_error_text(), row[i].text);
        cr_expect_eq(fcntl(opened.fd, F_GETFD), -1, "%s: it was taken over", row[i].name);
    }
}

static void mended(void)
{
    kernel.refused = 0;
    cr_assert_eq(vh_reset(&h, LIMIT), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(received(RX), 'a', "a reset mends it");
}

Test(virtio_net_kernel, a_kernel_that_refuses_at_the_start_breaks_the_device_until_a_reset)
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
        { ASKED(VHOST_NET_SET_BACKEND, -EFAULT),
          "the kernel does not begin to serve queue 0: Bad address" },
        { ASKED(VHOST_NET_SET_BACKEND, -ENOTSOCK),
          "the kernel does not begin to serve queue 0: Operation not supported" },
        { ASKED(VHOST_NET_SET_BACKEND, -EINVAL),
          "the kernel does not begin to serve queue 0: Operation not supported" },
    };

    cr_assert_eq(wire_plug(&wire, &h, PLAIN), 0, "%s", vm_error_text());
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        memset(h.log, 0, sizeof(h.log));
        kernel.refused = row[i].request;
        kernel.why = row[i].why;
        cr_assert_eq(vh_start(&h, 0), 0);

        cr_expect(vh_status(&h) & VIRTIO_NEEDS_RESET, "%s", row[i].name);
        cr_expect(vh_logged(&h, "/dev/vhost-net: "), "%s: %s", row[i].name, h.log[0]);
        cr_expect(vh_logged(&h, row[i].text), "%s: %s", row[i].name, h.log[0]);
        mended();
        cr_assert_eq(vh_reset(&h, LIMIT), 0);
    }
}

Test(virtio_net_kernel, a_kernel_that_does_not_tell_where_it_was_breaks_the_device)
{
    begin(PLAIN);
    kernel.refused = VHOST_GET_VRING_BASE;
    kernel.why = -EIO;

    cr_assert_eq(vh_reset(&h, LIMIT), 0, "the guest gets its reset");

    cr_assert_not(kernel.ring[RX].on || kernel.ring[TX].on);
    cr_assert(vh_logged(&h, "VHOST_GET_VRING_BASE: Input/output error"));
    mended();
}

Test(virtio_net_kernel, a_kernel_that_does_not_let_go_loses_the_file)
{
    begin(PLAIN);
    kernel.refused = VHOST_NET_SET_BACKEND;
    kernel.why = -EIO;

    cr_assert_eq(vh_set_status(&h, 0), 0);
    for (unsigned n = 0; n < 2; n++) { /* as closing the file does */
        kernel.ring[n].on = false;
        vq_exit(&kernel.ring[n].vq);
    }
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert_eq(vh_status(&h), 0);
    cr_assert_eq(fcntl(opened.fd, F_GETFD), -1, "it would go on and write");
    cr_assert(vh_logged(&h, "the kernel does not let go of queue"));
}

Test(virtio_net_kernel, a_ring_that_the_kernel_finds_broken_is_told_to_the_driver)
{
    begin(PAIRS2);

    vm_eventfd_signal(kernel.ring[3].err);
    cr_assert_eq(vh_idle(&h), 0);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
    cr_assert(vh_logged(&h, "the kernel found a ring broken: the driver broke the rules"));
    for (unsigned n = 0; n < 4; n++)
        cr_assert_not(kernel.ring[n].on);
    mended();
}
