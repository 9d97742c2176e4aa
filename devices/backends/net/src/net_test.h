/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of the network back ends share: a loop, a log, and who hears of events. */
#ifndef VNET_TEST_H
#define VNET_TEST_H

#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/net/net.h>

struct side {
    struct vm_env env;
    struct vnet *net;
    unsigned readable, writable, links;
    uint8_t header[VNET_HEADER], data[VNET_FRAME_MAX];
};

static inline void on_readable(void *ctx, unsigned queue)
{
    (void)queue;
    ((struct side *)ctx)->readable++;
}

static inline void on_writable(void *ctx, unsigned queue)
{
    (void)queue;
    ((struct side *)ctx)->writable++;
}

static inline void on_link(void *ctx)
{
    ((struct side *)ctx)->links++;
}

static const struct vnet_events events = { on_readable, on_writable, on_link };

static inline int side_open(struct side *s, const struct vnet_config *config, unsigned pairs)
{
    if (!s->env.now_ns)
        vm_env_host(VM_LOG_ERROR, &s->env);
    if (!s->env.loop)
        cr_assert_eq(vm_loop_new(&s->env, 0, &s->env.loop), 0);
    return vnet_open(&s->env, "net0", config, pairs, &events, s, &s->net);
}

static inline void side_close(struct side *s)
{
    vnet_close(s->net);
    s->net = NULL;
    vm_loop_free(s->env.loop);
    s->env.loop = NULL;
}

/* What there is to do now. */
static inline void side_turn(struct side *s)
{
    while (vm_loop_step(s->env.loop, 0) > 0)
        ;
}

static inline int side_send(struct side *s, const void *data, size_t len)
{
    struct iovec iov[2] = { { s->header, VNET_HEADER }, { (void *)(uintptr_t)data, len } };

    memset(s->header, 0, sizeof(s->header));
    return vnet_send(s->net, 0, iov, 2);
}

static inline ssize_t side_receive(struct side *s, unsigned queue)
{
    struct iovec iov[3] = { { s->header, VNET_HEADER },
                            { s->data, 7 },
                            { s->data + 7, sizeof(s->data) - 7 } };

    return vnet_receive(s->net, queue, iov, 3);
}

/* As side_receive(), but waits for a frame of a sort that the caller knows, at most two seconds. */
static inline ssize_t side_await(struct side *s, unsigned queue, const void *start, size_t len)
{
    for (unsigned i = 0; i < 200; i++) {
        ssize_t n;

        while ((n = side_receive(s, queue)) > 0)
            if ((size_t)n >= len && !memcmp(s->data, start, len))
                return n;
        vm_loop_step(s->env.loop, 10000000);
    }
    return -ETIME;
}

static inline void side_fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 13 + i / 256);
}

#endif
