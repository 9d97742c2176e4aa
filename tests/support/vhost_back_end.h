/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A vhost-user back end for tests of the front end, on the same loop: honest unless a knob says otherwise. It answers the set-up and
 * remembers it, and leaves the rings to the test.
 */
#ifndef TESTS_SUPPORT_VHOST_BACK_END_H
#define TESTS_SUPPORT_VHOST_BACK_END_H

#include <vmm/vhost/channel.h>

enum { FBE_QUEUES = 8, FBE_LOG = 512 };

struct fake_back_end {
    /* What it is, set before it is connected. */
    const struct vm_env *env;
    uint64_t features, protocol, queues, slots;
    uint8_t config[VHOST_CONFIG_MAX];
    uint32_t config_bytes; /* it has; asked for more it answers with an empty payload */

    /* How it lies. */
    uint32_t silent; /* the request that it does not answer */
    uint32_t refuses; /* the one that it acknowledges with an error */
    uint32_t swaps; /* the one that it answers with another id */
    bool no_inflight_fd;
    uint64_t state_answer, check_answer; /* to SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE */
    bool state_fd; /* with a descriptor of its own */

    /* What the front end said. */
    struct vhost_channel *channel, *asks;
    uint64_t asks_answer; /* the last one to a request of its own */
    unsigned asks_answers;
    unsigned closed; /* by the front end */
    unsigned log_count;
    uint32_t log[FBE_LOG]; /* requests, in order */
    uint64_t set_features, set_protocol, status;
    struct vhost_table table;
    unsigned regions, removed; /* by ADD_MEM_REG, REM_MEM_REG */
    struct vhost_region last_removed;
    struct vhost_config set_config;
    struct vhost_inflight inflight;
    struct vhost_log log_area;
    int log_fd;
    struct vhost_transfer transfer;
    uint64_t rarp, mtu;
    struct {
        uint32_t size, base;
        struct vhost_ring_addr addr;
        int kick, call, err;
        bool enabled, stopped;
    } ring[FBE_QUEUES];
    uint32_t base_answer; /* to GET_VRING_BASE */
};

void fbe_init(struct fake_back_end *b, const struct vm_env *env);
/* Serves a connected socket, which is its own from now on. 0 or -errno. */
int fbe_serve(struct fake_back_end *b, int fd);
/* It dies: sockets are closed, what it knew of the rings is forgotten; its settings stay. */
void fbe_die(struct fake_back_end *b);
/* How often, and how late (1 is the first; 0: never), a request came. */
unsigned fbe_count(const struct fake_back_end *b, uint32_t request);
unsigned fbe_when(const struct fake_back_end *b, uint32_t request);

#endif
