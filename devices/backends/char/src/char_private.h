/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Inside of the character back ends.
 *
 * Output: one producer (the device, any thread, under its own lock) and one consumer (the loop's thread) share a ring. `head` and
 * `tail` count bytes since the start and never wrap. The producer wakes the loop only where `armed` is 0; the loop sets it to 0
 * when it found the ring empty and looks again after that, so that either it or the producer sees the other's write:
 *
 *   producer: head = more ; read armed, post the work if 0
 *   loop:     armed = 0   ; read head, go on if there is more
 *
 * While output waits for its reader, or for anyone to connect, armed stays 1: then the producer posts only where it crosses a
 * mark or finds the ring full.
 */
#ifndef VMM_CHAR_PRIVATE_H
#define VMM_CHAR_PRIVATE_H

#include <sys/types.h>

#include <vmm/base/loop.h>
#include <vmm/base/pty.h>
#include <vmm/char/char.h>

enum {
    /* Of a power of two each. Who may connect late finds at least the last KEEP_BYTES. */
    RING_BYTES = 64 << 10,
    KEPT_RING_BYTES = 128 << 10,
    KEEP_BYTES = 64 << 10,
    INPUT_BYTES = 4096, /* read in one piece */
    TYPED_BYTES = 64 << 10, /* from a terminal, until the guest takes it */
    /* What a terminal takes in one piece after poll() said that it has room: pseudo-terminals count theirs in steps of 256
     * bytes, hardware has more. */
    TTY_PIECE = 128,
    NAME_BYTES = 64,
};
#define FLUSH_NS UINT64_C(1500000) /* a burst gathers for this long */
#define RETRY_NS UINT64_C(20000000) /* an output that is busy and cannot be watched */
#define CONNECT_NS \
    UINT64_C(250000000) /* is somebody at the pseudo-terminal? is it our turn at the terminal? */

/* How bytes leave without waiting. */
enum vchar_out {
    OUT_NOBODY, /* nobody is connected: kept in the ring, the oldest are dropped */
    OUT_GONE, /* the reader has gone for good: dropped */
    OUT_DIRECT, /* a regular file never waits for a reader; or an fd of our own with O_NONBLOCK */
    OUT_PIPE, /* somebody else's pipe */
    OUT_TTY, /* somebody else's terminal or other character device */
    OUT_SOCKET,
};

struct vchar {
    const struct vm_env *env;
    const struct vchar_ops *ops;
    void *ctx;
    enum vchar_mode mode;
    char name[NAME_BYTES];
    char *
        path; /* what vchar_free() removes: the socket, or the link to the pseudo-terminal; NULL: nothing, or another does */
    struct vm_made made;
    char pty[NAME_BYTES];
    struct vchar *
        next; /* the first further sink (also=), of those the next one; each has its first as ctx */
    uint32_t turn; /* of the first: which sink's input is asked for first; atomic */
    uint32_t sinks; /* of the first: with all further ones */
    bool closing; /* nobody is told any more */
    int own_fd; /* the listening socket or the pseudo-terminal's master; -1 */

    /* Output, the loop's side. */
    enum vchar_out out;
    int out_fd;
    bool out_waits; /* for the reader */
    bool nowait_missing; /* this kernel's pipes do not know RWF_NOWAIT */
    struct vm_watch out_watch;
    struct vm_timer flush_timer;
    struct vm_work out_work, tell_work;
    struct vm_ratelimit limit;
    uint8_t *ring; /* NULL: off, null */
    uint64_t size,
        marks; /* marks: the bits of a fill level that change where it passes a quarter */

    /* Input, the reader's side: the thread of in_loop, which is env->keys_loop for the user's terminal, else env->loop. */
    struct vm_loop *in_loop;
    int in_fd;
    bool in_escape; /* Ctrl-A was seen */
    struct vm_watch in_watch, listen_watch;
    struct vm_timer connect_timer;
    struct vm_ratelimit in_limit;
    bool
        in_ahead; /* a terminal: read even while the owner takes nothing. Fixed while it is attached */
    size_t in_size;
    uint8_t *in; /* a ring; NULL: off, null */
    struct vm_work in_work; /* the owner's side, in env->loop */

    /* Shared by threads, atomic. */
    uint64_t head __attribute__((aligned(64)));
    uint32_t starved; /* a write found too little room */
    uint32_t in_want; /* the owner has to say vchar_ready() */
    uint32_t connected; /* somebody takes output */
    uint64_t connections; /* how often somebody has come */
    uint32_t help_wanted; /* the line about the escape key: output is env->loop's */
    uint64_t in_head,
        in_tail; /* bytes since the start, as below: written by the reader; by the owner's side */
    uint64_t in_dropped;
    uint64_t tail __attribute__((aligned(64)));
    uint32_t armed; /* the loop knows that there is output */
    uint64_t dropped;
};

/* output.c. attach takes the fd over: detach closes it, unless it is one of the standard ones, which are never ours. */
void vchar_out_attach(struct vchar *chr, enum vchar_out out, int fd);
void vchar_out_detach(struct vchar *chr, enum vchar_out out);
void vchar_out_kick(struct vchar *chr);
/* One turn: writes what is there until it must wait. */
void vchar_out_flush(struct vchar *chr);
/* The last turn. */
void vchar_out_finish(struct vchar *chr);
/* Writes a text of our own past the ring, if that is possible at once. */
void vchar_out_say(struct vchar *chr, const char *text);
void vchar_out_drop(struct vchar *chr, uint64_t count);

/* input.c: fds as in output.c. 0 or -errno with text (then the fd stays the caller's). */
int vchar_in_attach(struct vchar *chr, int fd);
void vchar_in_detach(struct vchar *chr);

/* char.c: opens a name that is removed at the end, by env->open (enum vm_open). The fd, or -errno with text; -ENOTCONN: there is to be
 * none, for the machine will not be started. */
int vchar_open_made(struct vchar *chr, const char *name, unsigned how);
/* poll(2) without waiting: what of events is there, and POLLHUP and POLLERR. (Filters know ppoll, which all architectures have.) */
short vchar_poll(int fd, short events);

/* Whether somebody takes output; who wants to know is told. The loop's thread, or where it stands still. */
void vchar_out_connected(struct vchar *chr, bool on);

/* char.c: what AUTO means here. */
enum vchar_mode vchar_mode_of(const struct vchar_config *config);
/* One sink of that mode, which is known to be sound. */
int vchar_one_new(const struct vm_env *env, const char *name, const struct vchar_config *config,
                  const struct vchar_ops *ops, void *ctx, struct vchar **ret_chr);
void vchar_one_free(struct vchar *chr);
void vchar_one_flush(struct vchar *chr); /* output.c */
void vchar_one_ready(struct vchar *chr); /* input.c */
size_t vchar_one_write(struct vchar *chr, const uint8_t *data, size_t len, bool take_all);

/* socket.c, pty.c, file.c */
int vchar_socket_open(struct vchar *chr, const struct vchar_config *config);
/* The client sends no more; it takes no more. */
void vchar_socket_end(struct vchar *chr);
void vchar_socket_hang_up(struct vchar *chr);
int vchar_pty_open(struct vchar *chr, const struct vchar_config *config);
void vchar_pty_hang_up(struct vchar *chr);
int vchar_file_open(struct vchar *chr, const struct vchar_config *config);
int vchar_tty_open(struct vchar *chr, const struct vchar_config *config);

#endif
