/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * One end of a vhost-user socket: messages in, messages out, on a loop, never waiting. Whole messages with a sound shape reach
 * the owner (message.h); anything else, the peer's end, half a message and no more, and a peer that does not read what it is sent, ends
 * the connection. It lasts as long as anybody holds the other end: a peer may give that to others, even to us.
 *
 *   new -> message()... -> closed() once -> free
 *
 * Threads: everything in the thread of env->loop.
 */
#ifndef VMM_VHOST_CHANNEL_H
#define VMM_VHOST_CHANNEL_H

#include <vmm/base/env.h>
#include <vmm/base/error.h>
#include <vmm/vhost/message.h>

struct vhost_channel;

struct vhost_channel_ops {
    /* The peer's request, or its reply to one of ours; fds that are not taken out are closed after it. 0, or -errno with text: the
     * connection ends (closed() follows). The channel may not be freed here. */
    int (*message)(void *ctx, struct vhost_message *untrusted);
    /* The connection has ended, by the peer (-ECONNRESET), by a rule that it broke (-EPROTO) or by message(). Nothing comes any
     * more; sending is refused. The channel may be freed here. */
    void (*closed)(void *ctx, const struct vm_error *why);
};

/* So long a message may take from its first byte to its last. */
#define VHOST_MESSAGE_NS 5000000000ULL

/* role: ours. requests: our own role sends the requests and gets the replies (the main socket of a front end, the request socket of
 * a back end); otherwise the other way round. Takes fd over, also on error: a connected stream socket. 0, -ENOMEM, -EPERM. */
int vhost_channel_new(const struct vm_env *env, int fd, enum vhost_role role, bool requests,
                      const struct vhost_channel_ops *ops, void *ctx,
                      struct vhost_channel **ret_channel);
/* NULL is allowed. No call-back comes any more. */
void vhost_channel_free(struct vhost_channel *channel);

/* The protocol features that were negotiated: requests that need others are not let through (they are answered where they want an
 * answer, and otherwise end the connection). Until then: those that need none. */
void vhost_channel_set_protocol(struct vhost_channel *channel, uint64_t protocol);

/* While on, no message is taken from the socket and its end is not seen: for an owner that cannot answer the last one yet. May be
 * called from message(). */
void vhost_channel_pause(struct vhost_channel *channel, bool on);

/* Sends message; its fds are borrowed. What the socket does not take now is kept and goes later, in order. 0; -ENOTCONN; -ENOBUFS:
 * the peer has not read for too long (VHOST_QUEUE_BYTES), the connection ends, closed() comes later from the loop. */
enum { VHOST_QUEUE_BYTES = 1 << 20 };
int vhost_channel_send(struct vhost_channel *channel, const struct vhost_message *message);

/* Answers a request: as its rule says, a u64. 0 is success. Only where it is wanted; otherwise nothing is sent. */
int vhost_channel_ack(struct vhost_channel *channel, const struct vhost_message *request,
                      uint64_t result);

/* Bytes are on their way that the socket has not taken yet. */
bool vhost_channel_sending(const struct vhost_channel *channel);

#endif
