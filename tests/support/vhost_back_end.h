/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A vhost-user back end for tests of the front end, on the same loop: honest unless a knob says otherwise. It answers the set-up and
 * remembers it, and leaves the rings to the test.
 */
#ifndef TESTS_SUPPORT_VHOST_BACK_END_H
#define TESTS_SUPPORT_VHOST_BACK_END_H

#include <vmm/vhost/channel.h>

enum { FBE_QUEUES = 8, FBE_LOG = 512 };
/* Where it has guest address 0, in postcopy. */
#define FBE_BASE (1ULL << 44)

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
    bool no_inflight_fd, inflight_no_file,
        inflight_short; /* of a log: a file with fewer bytes than it says */
    bool inflight_cut; /* ... from when it dies */
    uint64_t state_answer, check_answer; /* to SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE */
    bool state_fd; /* with a descriptor of its own */
    uint64_t shmem[4]; /* bytes of its regions of shared memory */
    uint32_t shmem_count;
    bool no_userfault; /* to POSTCOPY_ADVISE */
    uint64_t table_lie; /* added to the sizes of its answer to SET_MEM_TABLE */
    int object_fd; /* what it gives for any object; -1: nothing */

    /* What the front end said. */
    struct vhost_channel *channel, *asks;
    uint64_t asks_answer; /* the last one to a request of its own */
    unsigned asks_answers;
    unsigned asks_fds; /* that came with it */
    struct vhost_uuid object; /* that was asked for last */
    unsigned closed; /* by the front end */
    unsigned log_count;
    uint32_t log[FBE_LOG]; /* requests, in order */
    uint64_t set_features, set_protocol, status;
    struct vhost_table table;
    unsigned regions, removed; /* by ADD_MEM_REG, REM_MEM_REG */
    struct vhost_region last_added;
    struct vhost_region last_removed;
    struct vhost_config set_config;
    struct vhost_inflight inflight;
    struct vhost_log log_area;
    int log_fd, inflight_fd;
    struct vhost_transfer transfer;
    uint64_t rarp, mtu;
    bool listening; /* POSTCOPY_LISTEN */
    unsigned table_acks;
    struct vhost_iotlb iotlb;
    uint64_t iotlb_answer;
    struct {
        uint32_t size, base;
        struct vhost_ring_addr addr;
        int kick, call, err;
        bool enabled, stopped;
    } ring[FBE_QUEUES];
    uint32_t base_answer; /* to GET_VRING_BASE */
    unsigned bases; /* such answers, on all connections */
};

void fbe_init(struct fake_back_end *b, const struct vm_env *env);
/* Serves a connected socket, which is its own from now on. 0 or -errno. */
int fbe_serve(struct fake_back_end *b, int fd);
/* It dies: sockets are closed, what it knew of the rings is forgotten; its settings stay. */
void fbe_die(struct fake_back_end *b);
/* A request of its own; NEED_REPLY is the caller's. */
int fbe_ask(struct fake_back_end *b, const struct vhost_message *m);
/* How often, and how late (1 is the first; 0: never), a request came. */
unsigned fbe_count(const struct fake_back_end *b, uint32_t request);
unsigned fbe_when(const struct fake_back_end *b, uint32_t request);

#endif
