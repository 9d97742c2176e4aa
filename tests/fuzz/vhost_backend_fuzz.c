/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A hostile front end before the vhost-user back end of every virtio class (FUZZ_CLASS is compiled in, once per class): honest
 * steps, so that everything is reached, and between them messages of any kind with any numbers and any descriptors, in any order,
 * whole or in pieces, and memory that changes as it likes. Nothing may crash or hang, each session must come to its end,
 * and the next, honest one must be served.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/fd.h>

#include "contract.h"
#include "vhost_harness.h"

extern const struct vdev_class FUZZ_CLASS;

enum { STEPS = 512, RAW_BYTES = 512, SMALL_FILE = 8192 };

struct fuzz {
    const uint8_t *data;
    size_t left;
    struct vh *h;
    struct ffe *front;
    uint16_t queues;
    int small, pipes[2], channel; /* the last: our end of the one for the device's state, or -1 */
    /* The back end was given our end of its own socket: then it is not closed when we close it. */
    bool lent;
};

static uint64_t get(struct fuzz *f, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes && f->left; i++, f->left--)
        v |= (uint64_t)*f->data++ << 8 * i;
    return v;
}

static void check(bool fine)
{
    if (!fine)
        __builtin_trap();
}

/* Numbers that mean something are met more often than by chance. */
static uint64_t number(struct fuzz *f)
{
    uint8_t how = (uint8_t)get(f, 1);

    switch (how % 8) {
    case 0: return get(f, 1);
    case 1: return get(f, 2);
    case 2: return FFE_USER + get(f, 3);
    case 3: return (uint64_t)(how >> 3) * GM_PAGE_BYTES;
    case 4: return FFE_USER + (uint64_t)(how >> 3) * GM_PAGE_BYTES;
    case 5: return UINT64_MAX - get(f, 1);
    case 6: return 1ULL << how % 64;
    default: return get(f, 8);
    }
}

static int some_fd(struct fuzz *f)
{
    switch (get(f, 1) % 8) {
    case 0:
    case 1: return f->front->ram_fd;
    case 2: return f->small;
    case 3: return f->pipes[0];
    case 4: f->lent = true; return f->front->fd;
    case 5: return f->front->ring[0].kick >= 0 ? f->front->ring[0].kick : f->small;
    default: return f->front->ring[0].call >= 0 ? f->front->ring[0].call : f->small;
    }
}

/* Replies are not awaited, so they must not fill the socket. */
static void drain(struct fuzz *f)
{
    char bytes[4096];

    check(!vh_idle(f->h));
    while (f->front->fd >= 0 && recv(f->front->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
}

static void disconnect(struct fuzz *f)
{
    int rc;

    vm_close(&f->channel);
    rc = vhost_harness_disconnect(f->h);
    if (rc && f->lent) {
        vhost_backend_end(vhost_harness_of(f->h)->backend);
        rc = vhost_harness_disconnect(f->h);
    }
    check(!rc);
    f->lent = false;
}

static void connect_again(struct fuzz *f)
{
    int fd;

    disconnect(f);
    fd = ffe_connect(f->front);
    check(fd >= 0 && !vhost_backend_serve(vhost_harness_of(f->h)->backend, fd));
}

static void hello(struct fuzz *f)
{
    uint8_t how;

    connect_again(f);
    (void)ffe_hello(f->front, get(f, 3)); /* some sets are refused */
    how = (uint8_t)get(f, 1);
    (void)ffe_set_features(f->front, VQ_F_VERSION_1 | (how & 1 ? VQ_F_RING_PACKED : 0) |
                                         (how & 2 ? VIRTIO_FEATURE_ACCESS_PLATFORM : 0));
    f->h->features = f->front->features;
}

static void make_ring(struct fuzz *f, uint16_t n)
{
    struct fake_config c = { .size = 16,
                             .features = f->h->features &
                                         ~(VHOST_FEATURE_PROTOCOL | VIRTIO_FEATURE_ACCESS_PLATFORM),
                             .heap = 0x4000ULL * (n + 1),
                             .heap_bytes = 0x4000 };
    struct fake_driver *drv = &f->h->drv[n];

    if (f->h->drv_made[n])
        fake_driver_exit(drv);
    f->h->drv_made[n] = !fake_driver_init(drv, f->h->guest.space, &c);
    check(f->h->drv_made[n]);
    (void)ffe_ring(f->front, n, 16, drv->desc, drv->driver, drv->device, 0);
    (void)ffe_ring_on(f->front, n);
}

static void offer(struct fuzz *f, uint16_t n)
{
    struct fake_buf b[3];
    uint8_t shape = (uint8_t)get(f, 1);

    if (!f->h->drv_made[n])
        return;
    for (unsigned i = 0; i < 3; i++)
        b[i] = (struct fake_buf){ get(f, 2) * 8, (uint32_t)get(f, 1) * 4, shape >> i & 1 };
    (void)fake_driver_offer(&f->h->drv[n], b, 1 + (shape >> 4) % 3);
    ffe_kick(f->front, n);
}

/* A message with the payload of its kind: mostly numbers, sometimes of another size than it should have. */
static void say(struct fuzz *f)
{
    struct vhost_message m = { .flags = VHOST_MESSAGE_VERSION };
    uint8_t how = (uint8_t)get(f, 1);
    const struct vhost_rule *rule;

    m.request = (uint32_t)get(f, 1);
    rule = vhost_message_rule(VHOST_FRONT, m.request);
    m.size = rule ? rule->bytes_min : 8;
    if (rule && how & 1)
        m.size = rule->bytes_max < 312 ? rule->bytes_max : 312;
    m.flags |= how & 2 ? VHOST_MESSAGE_NEED_REPLY : 0;
    for (uint32_t at = 0; at + 4 <= m.size;) {
        uint64_t v = number(f);
        uint32_t step = at + 8 <= m.size && how & 4 ? 8 : 4;

        memcpy(m.payload.bytes + at, &v, step);
        at += step;
    }
    if (how & 8)
        m.size = (uint32_t)get(f, 1);
    for (unsigned i = 0; i < how >> 4 % 9 && i < VHOST_FDS_MAX; i++)
        m.fd[m.fds++] = some_fd(f);
    if (f->front->fd >= 0)
        (void)ffe_send(f->front, &m);
}

static void region(struct fuzz *f, uint32_t request)
{
    struct vhost_single single = { .region = { number(f), number(f), number(f), number(f) } };
    struct vhost_message m = ffe_message(request, &single, sizeof(single));

    m.fd[m.fds++] = some_fd(f);
    if (f->front->fd >= 0)
        (void)ffe_send(f->front, &m);
}

/* Most addresses lead where they would without an IOMMU. */
static void translation(struct fuzz *f)
{
    uint8_t how = (uint8_t)get(f, 1);
    uint64_t iova = how & 1 ? number(f) : get(f, 1) * GM_PAGE_BYTES;
    struct vhost_iotlb iotlb = { .iova = iova,
                                 .size = how & 2 ? number(f) : GM_PAGE_BYTES,
                                 .user_addr = how & 4 ? number(f) : FFE_USER + iova % (1ULL << 40),
                                 .permissions = how >> 3 & 3,
                                 .type = how & 32 ? (uint8_t)(how >> 6) : 2 };
    struct vhost_message m = ffe_message(VHOST_USER_IOTLB_MSG, &iotlb, sizeof(iotlb));

    if (f->front->fd >= 0)
        (void)ffe_send(f->front, &m);
}

/* What the back end asks is sometimes answered. */
static void questions(struct fuzz *f)
{
    f->front->miss_answer = get(f, 1) & 1;
    ffe_take_requests(f->front);
}

/* The device's state, as it is but for one byte. */
static void bring_state(struct fuzz *f)
{
    char name[VDEV_ID_MAX + 1] = "";
    struct vm_buffer b = { 0 };

    strncpy(name, f->h->dev->cls->name, sizeof(name) - 1);
    check(!vm_buffer_add(&b, name, sizeof(name)) && !vdev_save(f->h->dev, &b));
    b.data[get(f, 2) % b.len] ^= (uint8_t)get(f, 1);
    (void)!write(f->channel, b.data, b.len);
    vm_buffer_free(&b);
}

static void begin_state(struct fuzz *f, uint32_t direction, bool odd)
{
    struct vhost_transfer transfer = { direction, odd ? (uint32_t)get(f, 1) : 0 };
    struct vhost_message m =
        ffe_message(VHOST_USER_SET_DEVICE_STATE_FD, &transfer, sizeof(transfer));
    int pipes[2];

    check(!pipe2(pipes, O_CLOEXEC | O_NONBLOCK));
    vm_close(&f->channel);
    f->channel = pipes[!direction ? 0 : 1];
    m.fd[m.fds++] = odd ? some_fd(f) : pipes[!direction ? 1 : 0];
    if (f->front->fd >= 0)
        (void)ffe_send(f->front, &m);
    vm_close(&pipes[!direction ? 1 : 0]);
}

static void state(struct fuzz *f)
{
    struct vhost_message end = ffe_message(VHOST_USER_CHECK_DEVICE_STATE, NULL, 0);
    uint8_t how = (uint8_t)get(f, 1), bytes[256];
    size_t len;

    switch (how % 8) {
    case 0:
    case 1: begin_state(f, how % 8, how & 8); break;
    case 2: bring_state(f); break;
    case 3:
        len = get(f, 1);
        len = len < f->left ? len : f->left;
        (void)!write(f->channel, f->data, len);
        break;
    case 4: (void)!read(f->channel, bytes, sizeof(bytes)); break;
    case 5: vm_close(&f->channel); break;
    default:
        if (how & 8)
            vm_close(&f->channel);
        if (f->front->fd >= 0)
            (void)ffe_send(f->front, &end);
    }
}

static void raw(struct fuzz *f)
{
    size_t len = get(f, 1);

    len = len < f->left ? len : f->left;
    if (f->front->fd >= 0)
        (void)!send(f->front->fd, f->data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    f->data += len;
    f->left -= len;
}

static void step(struct fuzz *f)
{
    uint8_t op = (uint8_t)get(f, 1);
    uint16_t n = (uint16_t)(op / 16 % f->queues);
    uint32_t base;

    switch (op % 16) {
    case 0: hello(f); break;
    case 1: (void)ffe_table(f->front); break;
    case 2:
    case 3: make_ring(f, n); break;
    case 4:
    case 5: offer(f, n); break;
    case 6: (void)ffe_ring_stop(f->front, n, &base); break;
    case 7: region(f, op & 16 ? VHOST_USER_ADD_MEM_REG : VHOST_USER_REM_MEM_REG); break;
    case 8: f->h->guest.host[get(f, 2) % CONTRACT_RAM] = (uint8_t)get(f, 1); break;
    case 9: check(vh_pass(f->h, get(f, 1) * 1000000) != -ELOOP); break;
    case 10: connect_again(f); break;
    case 11: raw(f); break;
    case 12: (void)ffe_do_state(f->front, VHOST_USER_SET_VRING_ENABLE, n, op >> 4 & 1); break;
    case 13: op & 16 ? questions(f) : translation(f); break;
    case 15: state(f); break;
    default: say(f); break;
    }
    drain(f);
}

/* Whatever was done before. */
static void serve_honestly(struct fuzz *f)
{
    disconnect(f);
    check(!vhost_harness_connect(f->h));
    f->h->features = 0;
    check(!vh_start(f->h, 0));
    for (uint16_t n = 0; n < f->queues; n++)
        vh_kick(f->h, n);
    check(!vh_idle(f->h));
    check(!(vh_status(f->h) & VIRTIO_NEEDS_RESET));
    check(f->h->virtio->queue[0].started);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vh h;
    static const struct vh_config c = { .transport = VH_OTHER, .other = &vh_vhost_user };
    struct fuzz f = { .data = data,
                      .left = size,
                      .h = &h,
                      .small = memfd_create("small", MFD_CLOEXEC),
                      .channel = -1 };

    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */

    check(!contract_open(&h, &FUZZ_CLASS, c));
    check(f.small >= 0 && !ftruncate(f.small, SMALL_FILE) && !pipe2(f.pipes, O_CLOEXEC));
    f.front = &vhost_harness_of(&h)->front;
    f.queues = h.virtio->queues < VH_QUEUES ? h.virtio->queues : VH_QUEUES;
    for (unsigned i = 0; i < STEPS && f.left; i++)
        step(&f);
    serve_honestly(&f);
    contract_close(&h);
    vm_close(&f.small);
    vm_close(&f.pipes[0]);
    vm_close(&f.pipes[1]);
    return 0;
}
