/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The front end of a vhost-user connection, for tests and fuzz targets: it has memory that it shares, makes rings of what a
 * fake_driver laid there, and asks what the specification lets it ask; or anything else, by ffe_send().
 *
 *     struct ffe f;
 *     ffe_init(&f, 1 << 20, pump, ctx);              memory, at guest address 0
 *     fd = ffe_connect(&f);                          the back end's end of the socket
 *     ffe_hello(&f, FFE_ALL);                        features and protocol features
 *     ffe_table(&f);                                 its memory
 *     ffe_ring(&f, 0, size, desc, driver, device, 0);
 *     ffe_ring_on(&f, 0);                            descriptors, enabled
 *     ffe_kick(&f, 0);
 *
 * pump runs the back end's loop until it is idle; calls that await an answer call it. Results: 0, -errno, or what the back
 * end answered: FFE_REFUSED, -EAGAIN (no answer, yet), -ECONNRESET (it has closed the connection).
 */
#ifndef TESTS_SUPPORT_FAKE_FRONT_END_H
#define TESTS_SUPPORT_FAKE_FRONT_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/vhost/message.h>

enum { FFE_RINGS = 64, FFE_REFUSED = 1 };
/* User addresses of the memory: what the front end's own process would have. */
#define FFE_USER 0x7f1200000000ULL
#define FFE_ALL  UINT64_MAX

struct ffe {
    void (*pump)(void *ctx);
    void *ctx;
    int fd, back_fd; /* -1: none */
    int ram_fd;
    uint8_t *ram;
    uint64_t ram_bytes;
    uint64_t offered, protocol_offered, features, protocol;
    struct ffe_ring {
        int kick, call, err; /* -1: none yet */
    } ring[FFE_RINGS];
    /* Addresses that the back end asks for: what the last one was, what is said (1: there is none), and what is done before. */
    unsigned misses;
    struct vhost_iotlb miss;
    uint64_t miss_answer;
    void (*missed)(struct ffe *f, const struct vhost_iotlb *miss);
    unsigned config_changes, calls_in_band[FFE_RINGS], errors_in_band[FFE_RINGS];
};

/* ram_bytes 0: none. -errno of memfd_create(2) and mmap(2). */
int ffe_init(struct ffe *f, uint64_t ram_bytes, void (*pump)(void *ctx), void *ctx);
void ffe_exit(struct ffe *f);

/* A new connection (the old one is closed): the other end, for the back end. */
int ffe_connect(struct ffe *f);
void ffe_disconnect(struct ffe *f);

/* ---- messages ---- */

struct vhost_message ffe_message(uint32_t request, const void *payload, uint32_t size);
/* As it is; flags are the caller's. fds are borrowed. */
int ffe_send(struct ffe *f, const struct vhost_message *m);
/* What has come. */
int ffe_receive(struct ffe *f, struct vhost_message *ret_message);
/* Sends m, with NEED_REPLY where REPLY_ACK is negotiated, and awaits what the back end answers. Without REPLY_ACK: 0 as long as the
 * connection stands. */
int ffe_do(struct ffe *f, struct vhost_message *m);
int ffe_do_u64(struct ffe *f, uint32_t request, uint64_t value);
int ffe_do_state(struct ffe *f, uint32_t request, uint32_t index, uint32_t num);
/* A message whose payload is a u64 with a ring's number, and an fd (-1: none, said so). */
int ffe_do_fd(struct ffe *f, uint32_t request, uint32_t index, int fd);
/* Sends m and awaits the reply that it always has. */
int ffe_ask(struct ffe *f, struct vhost_message *m, struct vhost_message *ret_reply);
int ffe_get_u64(struct ffe *f, uint32_t request, uint64_t *ret_value);

/* ---- a session ---- */

/* Asks for features; takes those protocol features of wanted that are offered; BACKEND_REQ with its socket. */
int ffe_hello(struct ffe *f, uint64_t wanted);
/* SET_FEATURES: these, and that of protocol features if any are negotiated. */
int ffe_set_features(struct ffe *f, uint64_t features);
/* All of the memory in one region. */
int ffe_table(struct ffe *f);
struct vhost_region ffe_region(const struct ffe *f);
/* NUM, BASE and ADDR by guest addresses. */
int ffe_ring(struct ffe *f, uint16_t n, uint16_t size, uint64_t desc, uint64_t driver,
             uint64_t device, uint32_t base);
/* CALL, ERR, KICK with eventfds of ours, and enabled. */
int ffe_ring_on(struct ffe *f, uint16_t n);
/* IOTLB_MSG; access: permissions; type 2: update, 3: invalidate. What the back end answers. */
int ffe_iotlb(struct ffe *f, uint8_t type, uint64_t iova, uint64_t size, uint64_t user,
              uint8_t access);
/* GET_VRING_BASE. */
int ffe_ring_stop(struct ffe *f, uint16_t n, uint32_t *ret_base);
/* SET_DEVICE_STATE_FD with fd, the back end's end of a channel: 0, FFE_REFUSED, -errno; CHECK_DEVICE_STATE likewise. */
int ffe_state(struct ffe *f, uint32_t direction, int fd);
int ffe_state_check(struct ffe *f);
/* Both, with a pipe between them: the device's state, at most room bytes of it; and back again. */
int ffe_state_save(struct ffe *f, void *ret_bytes, size_t room, size_t *ret_len);
int ffe_state_load(struct ffe *f, const void *bytes, size_t len);
/* The driver rang: by eventfd. */
void ffe_kick(struct ffe *f, uint16_t n);
/* Interrupts and errors since the last time; config changes and messages in band are taken and answered. */
unsigned ffe_calls(struct ffe *f, uint16_t n);
unsigned ffe_errors(struct ffe *f, uint16_t n);
void ffe_take_requests(struct ffe *f);
/* One of them, to be answered by the test: with a u64 and an fd (-1: none). -EAGAIN: there is none. */
int ffe_next_request(struct ffe *f, struct vhost_message *ret_request);
int ffe_answer(struct ffe *f, const struct vhost_message *request, uint64_t value, int fd);

#endif
