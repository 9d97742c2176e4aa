/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The filters over a back end in memory, in virtual time; and what a capture holds. */
#include "net_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/fd.h>

#include "filter_private.h"

#define SECOND 1000000000ULL

struct below {
    struct vnet net;
    struct vnet_setup setup;
    unsigned sent, to_come;
    size_t len; /* of what was sent last, and of what comes */
    bool full, guest_writes; /* the guest changes its memory before this reads the frame */
    uint8_t last[VNET_FRAME_MAX];
};

struct bench {
    struct side side;
    struct below below;
    struct vnet_config config;
    struct vnet_counts counts;
    char *rules[4];
    int file;
};

static uint8_t frame[3000];

static struct below *below_of(struct vnet *net)
{
    return container_of(net, struct below, net);
}

static ssize_t below_receive(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct below *b = below_of(net);
    size_t done = 0;

    (void)queue;
    if (!b->to_come)
        return -EAGAIN;
    b->to_come--;
    for (int i = 1; i < count && done < b->len; i++) {
        size_t n = iov[i].iov_len < b->len - done ? iov[i].iov_len : b->len - done;

        memcpy(iov[i].iov_base, frame + done, n);
        done += n;
    }
    return (ssize_t)b->len;
}

static int below_send(struct vnet *net, unsigned queue, struct iovec *iov, int count)
{
    struct below *b = below_of(net);

    (void)queue;
    if (b->full)
        return -EAGAIN;
    if (b->guest_writes)
        memset(frame, 0xee, sizeof(frame));
    b->sent++;
    b->len = 0;
    for (int i = 1; i < count; i++) {
        memcpy(b->last + b->len, iov[i].iov_base, iov[i].iov_len);
        b->len += iov[i].iov_len;
    }
    return 0;
}

static void below_close(struct vnet *net)
{
    (void)net;
}

static int open_memory(void *ctx, const char *name, unsigned how)
{
    struct bench *b = container_of((struct side *)ctx, struct bench, side);

    (void)name;
    (void)how;
    return fcntl(b->file, F_DUPFD_CLOEXEC, 3);
}

static int bench_open(struct bench *b)
{
    static const struct vnet_ops ops = { .receive = below_receive,
                                         .send = below_send,
                                         .close = below_close };
    struct vnet_setup setup = { &b->side.env, "net0", &b->config, 1, &events, &b->side };
    int rc;

    vm_env_host(VM_LOG_ERROR, &b->side.env);
    b->side.env.log = NULL;
    b->side.env.ctx = &b->side;
    b->side.env.open = open_memory;
    cr_assert_eq(vm_loop_new(&b->side.env, VM_LOOP_VIRTUAL, &b->side.env.loop), 0);
    b->below.net = (struct vnet){ &ops, { .link = true, .frame_max = VNET_FRAME_MAX } };
    b->config.filter.counts = &b->counts;
    if (!b->config.filter.bw_ms)
        b->config.filter.bw_ms = b->config.filter.ops_ms = 1000;
    b->config.filter.egress_active = UINT64_MAX;
    rc = vnet_filter_new(&setup, &b->below.setup, &b->side.net);
    if (!rc)
        vnet_filter_join(b->side.net, &b->below.net);
    return rc;
}

static struct bench *bench(void)
{
    static struct bench b;

    memset(&b, 0, sizeof(b));
    memset(frame, 0, sizeof(frame));
    memcpy(frame + 6, "\x52\x54\0\x12\x34\x56\x88\xcc", 8);
    b.file = memfd_create("capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return &b;
}

static void bench_close(struct bench *b)
{
    side_close(&b->side);
    vm_close(&b->file);
}

static unsigned send_all(struct bench *b, size_t len)
{
    unsigned n = 0;

    while (n < 1000 && side_send(&b->side, frame, len) == 0)
        n++;
    return n;
}

/* ---- rate ---- */

Test(vnet_filter, sent_frames_wait_for_tokens_and_the_device_hears_when_they_come)
{
    struct bench *b = bench();

    b->config.filter.ops_size = 4;
    cr_assert_eq(bench_open(b), 0);

    cr_assert_eq(send_all(b, 60), 4);
    cr_assert_eq(b->side.writable, 0);
    cr_assert_gt(vm_loop_step(b->side.env.loop, UINT64_MAX), 0);

    cr_assert_eq(vm_loop_now_ns(b->side.env.loop), SECOND / 4);
    cr_assert_eq(b->side.writable, 1);
    cr_assert_eq(send_all(b, 60), 1);
    cr_assert_eq(b->below.sent, 5);
    cr_assert_eq(b->counts.tx_waits, 2);
    bench_close(b);
}

Test(vnet_filter, received_frames_wait_in_the_back_end)
{
    struct bench *b = bench();

    b->config.filter.bw_size = 1000;
    b->below.to_come = 3;
    b->below.len = 1500;
    cr_assert_eq(bench_open(b), 0);

    cr_assert_eq(side_receive(&b->side, 0), 1500);
    cr_assert_eq(side_receive(&b->side, 0), -EAGAIN);
    cr_assert_eq(b->below.to_come, 2);
    cr_assert_gt(vm_loop_step(b->side.env.loop, UINT64_MAX), 0);

    cr_assert_eq(b->side.readable, 1);
    cr_assert_eq(vm_loop_now_ns(b->side.env.loop), SECOND / 2);
    bench_close(b);
}

Test(vnet_filter, directions_do_not_share_tokens)
{
    struct bench *b = bench();

    b->config.filter.ops_size = 1;
    b->below.to_come = 1;
    b->below.len = 60;
    cr_assert_eq(bench_open(b), 0);

    cr_assert_eq(send_all(b, 60), 1);

    cr_assert_eq(side_receive(&b->side, 0), 60);
    bench_close(b);
}

Test(vnet_filter, frame_that_the_back_end_did_not_take_costs_nothing)
{
    struct bench *b = bench();

    b->config.filter.ops_size = 1;
    b->below.full = true;
    cr_assert_eq(bench_open(b), 0);
    cr_assert_eq(side_send(&b->side, frame, 60), -EAGAIN);

    b->below.full = false;

    cr_assert_eq(side_send(&b->side, frame, 60), 0);
    bench_close(b);
}

Test(vnet_filter, limit_that_changes_wakes_who_waits)
{
    struct bench *b = bench();

    b->config.filter.ops_size = 1;
    cr_assert_eq(bench_open(b), 0);
    cr_assert_eq(send_all(b, 60), 1);

    b->config.filter.ops_size = 0;
    vnet_set_filters(b->side.net, &b->config.filter, NULL);
    cr_assert_eq(b->side.writable, 0, "not from inside the call");
    cr_assert_gt(vm_loop_step(b->side.env.loop, UINT64_MAX), 0);

    cr_assert_eq(vm_loop_now_ns(b->side.env.loop), 0);
    cr_assert_eq(b->side.writable, 1);
    cr_assert_eq(send_all(b, 60), 1000);
    bench_close(b);
}

/* ---- rules ---- */

Test(vnet_filter, denied_frame_is_lost_and_counted)
{
    struct bench *b = bench();

    b->config.filter.egress_default = VNET_EGRESS_DENY;
    cr_assert_eq(bench_open(b), 0);

    cr_assert_eq(side_send(&b->side, frame, 60), -EPERM);

    cr_assert_eq(b->below.sent, 0);
    cr_assert_eq(b->counts.other, 1);
    bench_close(b);
}

static const uint8_t *udp_frame(void)
{
    static const uint8_t head[] = { 8,  0, 0x45, 0, 0,  46, 0, 0, 0, 0, 64, VNET_UDP, 0, 0,
                                    10, 0, 0,    5, 10, 0,  0, 6, 0, 9, 0,  9,        0, 26 };

    memcpy(frame + 12, head, sizeof(head));
    return frame;
}

Test(vnet_filter, new_rules_are_counted_anew)
{
    char *text[] = { (char[]){ "deny" }, (char[]){ "allow" } };
    struct vm_prop_list list = { .items = text, .count = 2 };
    struct vnet_rules *rules;
    struct bench *b = bench();

    b->config.filter.egress = (struct vm_prop_list){ .items = text, .count = 1 };
    cr_assert_eq(bench_open(b), 0, "%s", vm_error_text());
    cr_assert_eq(side_send(&b->side, udp_frame(), 60), -EPERM);
    cr_assert_eq(b->counts.rule[0], 1);
    cr_assert_eq(vnet_rules_new(&list, &rules), 0, "%s", vm_error_text());
    b->config.filter.egress_active = 2;

    vnet_set_filters(b->side.net, &b->config.filter, rules);
    vnet_rules_free(rules);

    cr_assert_eq(b->counts.rule[0], 0);
    cr_assert_eq(side_send(&b->side, udp_frame(), 60), 0);
    cr_assert_eq(b->counts.rule[1], 1);
    bench_close(b);
}

Test(vnet_filter, frames_of_any_pieces_leave_as_they_came)
{
    struct bench *b = bench();
    struct vnet_header h = { 0 };
    struct iovec iov[5] = { { &h, VNET_HEADER },
                            { frame, 5 },
                            { frame + 5, 600 },
                            { frame + 605, 0 },
                            { frame + 605, 1895 } };

    b->config.filter.antispoof = true;
    b->config.filter.mac = "52:54:00:12:34:56";
    b->config.filter.egress_types = (struct vm_prop_list){ (uint32_t[]){ 0x88cc }, 1 };
    side_fill(frame + 14, sizeof(frame) - 14);
    cr_assert_eq(bench_open(b), 0);

    cr_assert_eq(vnet_send(b->side.net, 0, iov, 5), 0);

    cr_assert_eq(b->below.len, 2500);
    cr_assert_arr_eq(b->below.last, frame, 2500);
    bench_close(b);
}

Test(vnet_filter, guest_that_changes_headers_after_the_check_gains_nothing)
{
    uint8_t before[VNET_HEAD];
    struct bench *b = bench();

    b->config.filter.egress_default = VNET_EGRESS_ALLOW;
    cr_assert_eq(bench_open(b), 0);
    frame[12] = 0x08; /* ARP */
    frame[13] = 0x06;
    memcpy(frame + VNET_ETHER, "\0\1\x8\0\6\4\0\1", 8);
    memcpy(before, frame, 60);
    b->below.guest_writes = true;

    cr_assert_eq(side_send(&b->side, frame, 60), 0);

    cr_assert_eq(frame[0], 0xee);
    cr_assert_arr_eq(b->below.last, before, 60);
    bench_close(b);
}

Test(vnet_filter, antispoof_needs_an_address)
{
    struct bench *b = bench();

    b->config.filter.antispoof = true;

    cr_assert_eq(bench_open(b), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "antispoof=on needs the guest's address: give mac=");
    bench_close(b);
}

Test(vnet_filter, link_of_the_back_end_is_passed_on)
{
    struct bench *b = bench();

    b->config.filter.ops_size = 1;
    cr_assert_eq(bench_open(b), 0);
    cr_assert(b->side.net->info.link);

    b->below.net.info.link = false;
    b->below.setup.events->link(b->below.setup.ctx);

    cr_assert_not(b->side.net->info.link);
    cr_assert_eq(b->side.links, 1);
    bench_close(b);
}

Test(vnet_filter, nothing_is_asked_for_by_default)
{
    struct vnet_config config = {
        .filter = { .bw_ms = 1000, .ops_ms = 1000, .egress_active = UINT32_MAX }
    };

    cr_assert_not(vnet_filters_asked(&config));
    config.filter.capture = (char *)(uintptr_t) "x";
    cr_assert(vnet_filters_asked(&config));
}

/* ---- capture ---- */

static size_t capture_of(struct bench *b, uint8_t *data, size_t room)
{
    ssize_t n = pread(b->file, data, room, 0);

    cr_assert_geq(n, 0);
    return (size_t)n;
}

/* The nth block of a type, whose two lengths are checked on the way. */
static const uint8_t *block(const uint8_t *data, size_t len, uint32_t type, unsigned n)
{
    for (size_t at = 0; at < len;) {
        size_t bytes = (size_t)vm_load_le(data + at + 4, 4);

        cr_assert(bytes >= 12 && bytes % 4 == 0 && bytes <= len - at);
        cr_assert_eq(vm_load_le(data + at + bytes - 4, 4), bytes);
        if (vm_load_le(data + at, 4) == type) {
            if (!n)
                return data + at;
            n--;
        }
        at += bytes;
    }
    return NULL;
}

Test(vnet_filter, capture_has_both_directions_and_statistics)
{
    struct bench *b = bench();
    uint8_t data[4096];
    const uint8_t *p;
    size_t len;

    b->config.filter.capture = (char *)(uintptr_t) "file";
    b->below.to_come = 1;
    cr_assert_eq(bench_open(b), 0);
    cr_assert_eq(side_send(&b->side, frame, 61), 0);
    b->below.len = 70;
    cr_assert_eq(side_receive(&b->side, 0), 70);
    cr_assert_arr_eq(b->side.data, frame, 70);
    vnet_close(b->side.net);
    b->side.net = NULL;

    len = capture_of(b, data, sizeof(data));

    cr_assert_eq(vm_load_le(data, 4), 0x0a0d0d0a);
    cr_assert_eq(vm_load_le(data + 8, 4), 0x1a2b3c4d);
    cr_assert_eq(vm_load_le(block(data, len, 1, 0) + 8, 2), 1);
    p = block(data, len, 6, 0);
    cr_assert_eq(vm_load_le(p + 20, 4), 61);
    cr_assert_arr_eq(p + 28, frame, 61);
    cr_assert_eq(vm_load_le(p + 28 + 64, 2), 2);
    cr_assert_eq(vm_load_le(p + 28 + 64 + 4, 4), 2, "outbound");
    p = block(data, len, 6, 1);
    cr_assert_eq(vm_load_le(p + 20, 4), 70);
    cr_assert_eq(vm_load_le(p + 28 + 72 + 4, 4), 1, "inbound");
    p = block(data, len, 5, 0);
    cr_assert_eq(vm_load_le(p + 24, 8), 2);
    cr_assert_eq(b->counts.captured, 2);
    bench_close(b);
}

Test(vnet_filter, capture_ends_at_its_bound_and_the_network_goes_on)
{
    struct bench *b = bench();
    uint8_t data[4096];
    size_t len;

    b->config.filter.capture = (char *)(uintptr_t) "file";
    b->config.filter.capture_max = 1000;
    cr_assert_eq(bench_open(b), 0);

    cr_assert_eq(send_all(b, 60), 1000);
    vnet_close(b->side.net);
    b->side.net = NULL;

    len = capture_of(b, data, sizeof(data));
    cr_assert_leq(len, 1000);
    cr_assert_neq(block(data, len, 5, 0), NULL);
    cr_assert_eq(b->counts.captured + b->counts.capture_lost, 1000);
    cr_assert_gt(b->counts.captured, 3);
    bench_close(b);
}

Test(vnet_filter, disk_that_is_full_ends_the_capture_and_not_the_network)
{
    struct bench *b = bench();

    b->config.filter.capture = (char *)(uintptr_t) "file";
    cr_assert_eq(bench_open(b), 0);
    cr_assert_eq(fcntl(b->file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);

    cr_assert_eq(send_all(b, 60), 1000);

    cr_assert_eq(b->counts.captured, 0);
    cr_assert_eq(b->counts.capture_lost, 1000);
    bench_close(b);
}

Test(vnet_filter, frames_that_wait_are_captured_once)
{
    struct bench *b = bench();

    b->config.filter.capture = (char *)(uintptr_t) "file";
    b->below.full = true;
    cr_assert_eq(bench_open(b), 0);
    cr_assert_eq(side_send(&b->side, frame, 60), -EAGAIN);
    b->below.full = false;

    cr_assert_eq(side_send(&b->side, frame, 60), 0);

    cr_assert_eq(b->counts.captured, 1);
    bench_close(b);
}
