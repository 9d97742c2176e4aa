/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A vhost-user front end for tests: QEMU docs/interop/vhost-user.rst, from the other side. */
#include "fake_front_end.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/fd.h>

int ffe_init(struct ffe *f, uint64_t ram_bytes, void (*pump)(void *ctx), void *ctx)
{
    memset(f, 0, sizeof(*f));
    f->pump = pump;
    f->ctx = ctx;
    f->fd = f->back_fd = f->ram_fd = -1;
    for (unsigned i = 0; i < FFE_RINGS; i++)
        f->ring[i] = (struct ffe_ring){ -1, -1, -1 };
    f->ram_bytes = ram_bytes;
    if (!ram_bytes)
        return 0;
    f->ram_fd = memfd_create("front-end", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (f->ram_fd < 0 || ftruncate(f->ram_fd, (off_t)ram_bytes))
        return -errno;
    f->ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->ram_fd, 0);
    if (f->ram == MAP_FAILED) {
        f->ram = NULL;
        return -errno;
    }
    return 0;
}

enum { REQUESTS_MOST = 32 }; /* taken at a time */

static void close_rings(struct ffe *f)
{
    for (unsigned i = 0; i < FFE_RINGS; i++) {
        vm_close(&f->ring[i].kick);
        vm_close(&f->ring[i].call);
        vm_close(&f->ring[i].err);
    }
}

void ffe_disconnect(struct ffe *f)
{
    vm_close(&f->fd);
    vm_close(&f->back_fd);
    close_rings(f);
    f->features = f->protocol = 0;
}

void ffe_exit(struct ffe *f)
{
    ffe_disconnect(f);
    if (f->ram)
        munmap(f->ram, f->ram_bytes);
    f->ram = NULL;
    vm_close(&f->ram_fd);
}

static int pair(int *ret_ours)
{
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
        return -errno;
    *ret_ours = fd[0];
    return fd[1];
}

int ffe_connect(struct ffe *f)
{
    ffe_disconnect(f);
    return pair(&f->fd);
}

/* ---- messages ---- */

struct vhost_message ffe_message(uint32_t request, const void *payload, uint32_t size)
{
    struct vhost_message m = { .request = request, .flags = VHOST_MESSAGE_VERSION, .size = size };

    if (size)
        memcpy(m.payload.bytes, payload, size);
    return m;
}

static int transmit(int fd, const struct vhost_message *m)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
    } control = { .bytes = { 0 } };
    struct iovec iov = { (void *)(uintptr_t)&m->request, VHOST_HEADER_BYTES + m->size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (m->fds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * m->fds);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int) * m->fds);
        memcpy(CMSG_DATA(&control.head), m->fd, sizeof(int) * m->fds);
    }
    if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
        return errno == EPIPE ? -ECONNRESET : -errno;
    return 0;
}

static void take_fds(struct vhost_message *m, struct msghdr *msg)
{
    const struct cmsghdr *c = CMSG_FIRSTHDR(msg);

    if (!c || c->cmsg_type != SCM_RIGHTS)
        return;
    m->fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(m->fd, CMSG_DATA(c), m->fds * sizeof(int));
}

/* Back ends send a message at once, so it is there as a whole or not at all. */
static int receive(int fd, struct vhost_message *m)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
    } control;
    struct iovec iov = { &m->request, VHOST_HEADER_BYTES };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t n;

    memset(m, 0, sizeof(*m));
    n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    if (n != VHOST_HEADER_BYTES)
        return -ECONNRESET;
    take_fds(m, &msg);
    if (m->size > VHOST_PAYLOAD_MAX)
        return -EPROTO;
    if (m->size && recv(fd, m->payload.bytes, m->size, 0) != (ssize_t)m->size)
        return -EPROTO;
    return 0;
}

int ffe_send(struct ffe *f, const struct vhost_message *m)
{
    return transmit(f->fd, m);
}

int ffe_receive(struct ffe *f, struct vhost_message *ret_message)
{
    int rc = receive(f->fd, ret_message);

    if (rc != -EAGAIN)
        return rc;
    f->pump(f->ctx);
    return receive(f->fd, ret_message);
}

int ffe_ask(struct ffe *f, struct vhost_message *m, struct vhost_message *ret_reply)
{
    int rc = ffe_send(f, m);

    if (!rc)
        rc = ffe_receive(f, ret_reply);
    if (!rc && (ret_reply->request != m->request ||
                ret_reply->flags != (VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY)))
        rc = -EPROTO;
    return rc;
}

int ffe_do(struct ffe *f, struct vhost_message *m)
{
    struct vhost_message reply;
    int rc;

    if (!(f->protocol & VHOST_PROTOCOL(REPLY_ACK))) {
        rc = ffe_send(f, m);
        if (rc)
            return rc;
        rc = ffe_receive(f, &reply);
        return rc == -EAGAIN ? 0 : rc ? rc : -EPROTO; /* nobody asked */
    }
    m->flags |= VHOST_MESSAGE_NEED_REPLY;
    rc = ffe_ask(f, m, &reply);
    return rc ? rc : reply.payload.u64 ? FFE_REFUSED : 0;
}

int ffe_do_u64(struct ffe *f, uint32_t request, uint64_t value)
{
    struct vhost_message m = ffe_message(request, &value, sizeof(value));

    return ffe_do(f, &m);
}

int ffe_do_state(struct ffe *f, uint32_t request, uint32_t index, uint32_t num)
{
    struct vhost_ring_state state = { index, num };
    struct vhost_message m = ffe_message(request, &state, sizeof(state));

    return ffe_do(f, &m);
}

int ffe_do_fd(struct ffe *f, uint32_t request, uint32_t index, int fd)
{
    uint64_t value = index | (fd < 0 ? (uint64_t)VHOST_RING_NO_FD : 0);
    struct vhost_message m = ffe_message(request, &value, sizeof(value));

    if (fd >= 0)
        m.fd[m.fds++] = fd;
    return ffe_do(f, &m);
}

int ffe_get_u64(struct ffe *f, uint32_t request, uint64_t *ret_value)
{
    struct vhost_message m = ffe_message(request, NULL, 0), reply;
    int rc = ffe_ask(f, &m, &reply);

    if (!rc)
        *ret_value = reply.payload.u64;
    return rc;
}

/* ---- a session ---- */

static int give_back_socket(struct ffe *f)
{
    struct vhost_message m = ffe_message(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0);
    int fd = pair(&f->back_fd), rc;

    if (fd < 0)
        return fd;
    m.fd[m.fds++] = fd;
    rc = ffe_do(f, &m);
    vm_close(&fd);
    return rc;
}

int ffe_hello(struct ffe *f, uint64_t wanted)
{
    struct vhost_message owner = ffe_message(VHOST_USER_SET_OWNER, NULL, 0);
    int rc = ffe_get_u64(f, VHOST_USER_GET_FEATURES, &f->offered);

    if (!rc && f->offered & VHOST_FEATURE_PROTOCOL) {
        rc = ffe_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES, &f->protocol_offered);
        wanted &= f->protocol_offered;
        if (!rc)
            rc = ffe_do_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, wanted);
        if (!rc)
            f->protocol = wanted;
    }
    if (!rc)
        rc = ffe_do(f, &owner);
    if (!rc && f->protocol & VHOST_PROTOCOL(BACKEND_REQ))
        rc = give_back_socket(f);
    return rc;
}

int ffe_set_features(struct ffe *f, uint64_t features)
{
    int rc;

    if (f->protocol)
        features |= VHOST_FEATURE_PROTOCOL;
    rc = ffe_do_u64(f, VHOST_USER_SET_FEATURES, features);
    if (!rc)
        f->features = features;
    return rc;
}

struct vhost_region ffe_region(const struct ffe *f)
{
    return (struct vhost_region){ .size = f->ram_bytes, .user_addr = FFE_USER };
}

int ffe_table(struct ffe *f)
{
    struct vhost_table table = { .count = 1, .region = { ffe_region(f) } };
    struct vhost_message m =
        ffe_message(VHOST_USER_SET_MEM_TABLE, &table, 8 + sizeof(struct vhost_region));

    m.fd[m.fds++] = f->ram_fd;
    return ffe_do(f, &m);
}

int ffe_ring(struct ffe *f, uint16_t n, uint16_t size, uint64_t desc, uint64_t driver,
             uint64_t device, uint32_t base)
{
    /* Behind an IOMMU (VIRTIO_F_ACCESS_PLATFORM) they are the driver's. */
    bool plain = f->protocol & VHOST_PROTOCOL(GPA_ADDRESSES) || f->features & 1ULL << 33;
    uint64_t at = plain ? 0 : FFE_USER;
    struct vhost_ring_addr addr = {
        .index = n, .desc = at + desc, .avail = at + driver, .used = at + device, .log = device
    };
    struct vhost_message m = ffe_message(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr));
    int rc = ffe_do_state(f, VHOST_USER_SET_VRING_NUM, n, size);

    if (!rc)
        rc = ffe_do_state(f, VHOST_USER_SET_VRING_BASE, n, base);
    return rc ? rc : ffe_do(f, &m);
}

static int give_event(struct ffe *f, uint32_t request, uint16_t n, int *fd)
{
    vm_close(fd);
    *fd = vm_eventfd();
    return *fd < 0 ? *fd : ffe_do_fd(f, request, n, *fd);
}

int ffe_ring_on(struct ffe *f, uint16_t n)
{
    int rc = give_event(f, VHOST_USER_SET_VRING_CALL, n, &f->ring[n].call);

    if (!rc)
        rc = give_event(f, VHOST_USER_SET_VRING_ERR, n, &f->ring[n].err);
    if (!rc)
        rc = give_event(f, VHOST_USER_SET_VRING_KICK, n, &f->ring[n].kick);
    if (!rc && f->features & VHOST_FEATURE_PROTOCOL)
        rc = ffe_do_state(f, VHOST_USER_SET_VRING_ENABLE, n, 1);
    return rc;
}

int ffe_iotlb(struct ffe *f, uint8_t type, uint64_t iova, uint64_t size, uint64_t user,
              uint8_t access)
{
    const struct vhost_iotlb iotlb = { iova, size, user, access, type };
    struct vhost_message m = ffe_message(VHOST_USER_IOTLB_MSG, &iotlb, sizeof(iotlb)), reply;
    int rc = ffe_ask(f, &m, &reply);

    return rc ? rc : reply.payload.u64 ? FFE_REFUSED : 0;
}

int ffe_ring_stop(struct ffe *f, uint16_t n, uint32_t *ret_base)
{
    struct vhost_ring_state state = { n, 0 };
    struct vhost_message m = ffe_message(VHOST_USER_GET_VRING_BASE, &state, sizeof(state)), reply;
    int rc = ffe_ask(f, &m, &reply);

    if (rc)
        return rc;
    *ret_base = reply.payload.state.num;
    return reply.payload.state.index == n ? 0 : -EPROTO;
}

int ffe_state(struct ffe *f, uint32_t direction, int fd)
{
    const struct vhost_transfer transfer = { direction, VHOST_TRANSFER_STOPPED };
    struct vhost_message m =
        ffe_message(VHOST_USER_SET_DEVICE_STATE_FD, &transfer, sizeof(transfer));
    struct vhost_message reply;
    int rc;

    m.fd[m.fds++] = fd;
    rc = ffe_ask(f, &m, &reply);
    if (rc)
        return rc;
    if (reply.payload.u64 != 0x100 && reply.payload.u64 != 0x101)
        return -EPROTO; /* ours never gives a channel of its own */
    return reply.payload.u64 & 0xff ? FFE_REFUSED : 0;
}

int ffe_state_check(struct ffe *f)
{
    uint64_t answer = 0;
    int rc = ffe_get_u64(f, VHOST_USER_CHECK_DEVICE_STATE, &answer);

    return rc ? rc : answer ? FFE_REFUSED : 0;
}

int ffe_state_save(struct ffe *f, void *ret_bytes, size_t room, size_t *ret_len)
{
    int pipes[2], rc;
    ssize_t n = 1;

    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
        return -errno;
    rc = ffe_state(f, VHOST_TRANSFER_SAVE, pipes[1]);
    vm_close(&pipes[1]);
    for (*ret_len = 0; !rc && n && *ret_len < room; *ret_len += (size_t)n) {
        f->pump(f->ctx);
        n = read(pipes[0], (uint8_t *)ret_bytes + *ret_len, room - *ret_len);
        if (n < 0)
            rc = -errno;
    }
    vm_close(&pipes[0]);
    return rc ? rc : ffe_state_check(f);
}

int ffe_state_load(struct ffe *f, const void *bytes, size_t len)
{
    int pipes[2], rc;

    if (pipe2(pipes, O_CLOEXEC))
        return -errno;
    rc = ffe_state(f, VHOST_TRANSFER_LOAD, pipes[0]);
    vm_close(&pipes[0]);
    for (size_t at = 0; !rc && at < len; f->pump(f->ctx)) {
        size_t step = len - at < 1024 ? len - at : 1024;

        rc = vm_write_full(pipes[1], (const uint8_t *)bytes + at, step);
        at += step;
    }
    vm_close(&pipes[1]);
    return rc ? rc : ffe_state_check(f);
}

void ffe_kick(struct ffe *f, uint16_t n)
{
    if (f->ring[n].kick >= 0)
        vm_eventfd_signal(f->ring[n].kick);
}

static void take_request(struct ffe *f, const struct vhost_message *m)
{
    struct vhost_message reply = ffe_message(m->request, &(uint64_t){ 0 }, sizeof(uint64_t));
    uint32_t n = m->payload.state.index;

    f->config_changes += m->request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG;
    if (m->request == VHOST_USER_BACKEND_VRING_CALL && n < FFE_RINGS)
        f->calls_in_band[n]++;
    if (m->request == VHOST_USER_BACKEND_VRING_ERR && n < FFE_RINGS)
        f->errors_in_band[n]++;
    if (m->request == VHOST_USER_BACKEND_IOTLB_MSG) {
        f->misses++;
        f->miss = m->payload.iotlb;
        reply.payload.u64 = f->miss_answer;
        if (f->missed)
            f->missed(f, &f->miss);
    }
    reply.flags |= VHOST_MESSAGE_REPLY;
    if (m->flags & VHOST_MESSAGE_NEED_REPLY)
        (void)transmit(f->back_fd, &reply);
}

/* Each step lets time pass, in which a ring that is polled asks again for what it was not told: not for ever. */
void ffe_take_requests(struct ffe *f)
{
    struct vhost_message m;

    for (unsigned i = 0; i < REQUESTS_MOST && f->back_fd >= 0 && !receive(f->back_fd, &m); i++) {
        take_request(f, &m);
        f->pump(f->ctx);
    }
}

static unsigned take(int fd, unsigned *in_band)
{
    unsigned n = *in_band;

    *in_band = 0;
    return n + (fd >= 0 ? (unsigned)vm_eventfd_take(fd) : 0);
}

unsigned ffe_calls(struct ffe *f, uint16_t n)
{
    ffe_take_requests(f);
    return take(f->ring[n].call, &f->calls_in_band[n]);
}

unsigned ffe_errors(struct ffe *f, uint16_t n)
{
    ffe_take_requests(f);
    return take(f->ring[n].err, &f->errors_in_band[n]);
}

int ffe_next_request(struct ffe *f, struct vhost_message *ret_request)
{
    return f->back_fd < 0 ? -ENOTCONN : receive(f->back_fd, ret_request);
}

int ffe_answer(struct ffe *f, const struct vhost_message *request, uint64_t value, int fd)
{
    struct vhost_message reply = ffe_message(request->request, &value, sizeof(value));

    reply.flags |= VHOST_MESSAGE_REPLY;
    if (fd >= 0)
        reply.fd[reply.fds++] = fd;
    return transmit(f->back_fd, &reply);
}
