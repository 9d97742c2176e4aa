/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A hostile peer at a channel, in any of the four directions. First byte: direction and what was negotiated. Then pieces: a length
 * byte, a byte that says how many fds come along, the bytes. The owner looks at all that the table promises it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/vhost/channel.h>

static uint64_t sum; /* what was looked at, so that a read of too much is a read */

static uint64_t now_ns(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

static int on_message(void *ctx, struct vhost_message *m)
{
    struct vhost_channel **c = ctx;

    for (uint32_t i = 0; i < m->size; i++)
        sum ^= m->payload.bytes[i];
    if (m->fds > VHOST_FDS_MAX || m->size > VHOST_PAYLOAD_MAX)
        abort();
    return vhost_channel_ack(*c, m, sum);
}

static void on_closed(void *ctx, const struct vm_error *why)
{
    (void)ctx;
    if (!why->code || !why->text[0])
        abort(); /* nobody is told nothing */
}

static void send_piece(int fd, const uint8_t *data, size_t len, unsigned fds)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * 12)];
    } control = { .bytes = { 0 } };
    struct iovec iov = { (void *)(uintptr_t)data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int) * fds);
        for (unsigned i = 0; i < fds; i++)
            memcpy(CMSG_DATA(&control.head) + i * sizeof(fd), &fd, sizeof(fd));
    }
    (void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vhost_channel_ops ops = { on_message, on_closed };
    struct vm_env env = { .now_ns = now_ns };
    struct vhost_channel *channel = NULL;
    int fd[2];

    if (!size || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
        return 0;
    if (vm_loop_new(&env, VM_LOOP_VIRTUAL, &env.loop) ||
        vhost_channel_new(&env, fd[0], data[0] & 1 ? VHOST_FRONT : VHOST_BACK, data[0] & 2, &ops,
                          &channel, &channel))
        abort();
    vhost_channel_set_protocol(channel, data[0] & 4 ? UINT64_MAX : VHOST_PROTOCOL(REPLY_ACK));
    for (size_t at = 1; at + 2 < size;) {
        size_t len = data[at] < size - at - 2 ? data[at] : size - at - 2;

        send_piece(fd[1], data + at + 2, len, data[at + 1] & 15 ? (data[at + 1] & 15) % 12 : 0);
        at += 2 + len;
        while (vm_loop_step(env.loop, 0) > 0)
            ;
    }
    close(fd[1]);
    while (vm_loop_step(env.loop, 0) > 0)
        ;
    vhost_channel_free(channel);
    vm_loop_free(env.loop);
    return 0;
}
