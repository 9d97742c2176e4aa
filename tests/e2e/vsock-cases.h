/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between the files of vsock-cases: vsock-cases.c has the sockets, the list and the cases of streams, vsock-messages.c those of
 * messages, vsock-linux.c those that ask more of the guest's Linux, vsock-stress.c many connections at once. */
#ifndef VSOCK_CASES_H
#define VSOCK_CASES_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PATIENCE_S = 120,
    MESSAGE_ALLOC = 128 << 10, /* the most a guest may send as one: virtio_vsock.md */
    RUDE = 40, /* clients */
};

/* What the host says at the start and both need. */
struct plan {
    uint32_t linux_of_guest; /* 1000 * major + minor */
    uint32_t each; /* connections of each worker of the stress */
};

extern bool is_guest;
extern unsigned port; /* of this run of a case */
extern const char *name; /* its */
extern struct plan plan;
extern const char
    *info; /* the host's, where there is one: a command that prints the machine's metrics */

#define CHECK(what)                                                                           \
    do {                                                                                      \
        if (!(what)) {                                                                        \
            printf("@failed %s as %s, line %d: %s (%s)\n", name, is_guest ? "guest" : "host", \
                   __LINE__, #what, strerror(errno));                                         \
            fflush(stdout);                                                                   \
            _exit(1);                                                                         \
        }                                                                                     \
    } while (0)

/* The same on both sides, from a seed. */
uint32_t draw(uint32_t *state);
void fill(uint8_t *data, size_t len, uint32_t seed);
void pause_ms(unsigned ms);

/* Both sides are here. */
void meet(void);
int listening_socket(int type);
int accept_one(int listener);
int dial(int type);
/* A client of the device's own socket that has said nothing yet; the host's side. */
int reach_device(int type);
/* A connection for a case: the server listens before the client dials. */
int connection(int type, bool client);

void send_all(int fd, const uint8_t *data, size_t len);
void expect_bytes(int fd, const uint8_t *data, size_t len);
void send_byte(int fd, char c);
void expect_byte(int fd, char want);
void expect_end(int fd);
/* poll(2) says one of these in time. */
void await_events(int fd, short events);
/* Rude clients come and say what is no CONNECT line; and go. The host's side. */
void rude_come(int fd[RUDE]);
void rude_go(int fd[RUDE]);

/* vsock-messages.c */
void message_peeked(bool client);
void message_bounds(bool client);
void message_truncated(bool client);
void message_late(bool client);
void message_nowhere(bool client);
void message_hole(bool client);
void message_too_big(bool client);
/* Of both types. */
void look_before_reading(int type, bool client);

/* vsock-linux.c */
void zero_copy(bool client);
void zero_copy_messages(bool client);
void no_completion(bool client);
void all_sent(bool client);
void all_messages_sent(bool client);
void credit_by_low_water(bool client);
void credit_by_reading(bool client);
void credit_of_merged(bool client);
void no_room(bool client);

/* vsock-stress.c */
void many_mixed(bool client);
/* The device's, now; 0 where there is no machine to ask. */
unsigned long device_metric(const char *which);

#endif
