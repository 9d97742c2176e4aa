/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Connections for who may open no name. A socket pair: at one end a device, perhaps in a jail, asks for port P; at the other one somebody
 * connects to who listens at PATH_P (P in decimal digits) and hands the connection in. PATH was fixed when the pair was made, so no other
 * name can be asked for, and both ends are served by their loops: nobody waits for anybody. Or the name is PATH itself, whatever port is asked
 * for: who listens there comes and goes.
 *
 * Threads: one for each end.
 */
#ifndef VMM_BASE_DIAL_H
#define VMM_BASE_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/base/socket.h>

enum { VM_DIAL_PATH_MAX = VM_SOCKET_PATH_MAX - 11 }; /* with _ and ten digits it fits */

/* Who connects. */
struct vm_dial {
    int fd; /* readable: somebody asks; -1: none */
    bool exact; /* path is the whole name */
    int type; /* SOCK_STREAM, SOCK_SEQPACKET: what listens at the names */
    char path[VM_SOCKET_PATH_MAX + 1];
};

/* how: VM_OPEN_DIAL, with VM_OPEN_SEQPACKET (messages) or VM_OPEN_CONNECT (the whole name). *ret_fd is the caller's, for who asks. 0, -ENAMETOOLONG or -errno, with text; then there is no pair. */
int vm_dial_new(const char *path, unsigned how, struct vm_dial *ret_dial, int *ret_fd);
/* Harmless where there is none. */
void vm_dial_end(struct vm_dial *dial);
/* Answers some of what was asked, without waiting: call it again when fd is readable. 0, or -ECONNRESET: nobody is there any more. */
int vm_dial_serve(struct vm_dial *dial);

/* For who answers by himself, with other connections, at the other end of such a pair: the next question. 0, -EAGAIN, or -ECONNRESET (nobody
 * is there any more), without text. The answer, with fd, which is borrowed: 0 or -errno without text. */
int vm_dial_question(int fd, uint32_t *ret_tag, uint32_t *ret_port);
int vm_dial_answer(int fd, uint32_t tag, uint32_t port, int connection);

/* Who asks. tag comes back with the answer. 0, or -errno without text: -EAGAIN (too much was asked at once), -EPIPE and the like (nobody is
 * there). */
int vm_dial_ask(int fd, uint32_t tag, uint32_t port);

struct vm_dial_answer {
    uint32_t tag, port; /* as asked */
    int code; /* 0 or why not: -errno of connect(2), sendmsg(2); -EMFILE: there is no descriptor for it here */
    int fd; /* the caller's; -1 where code is not 0 */
};
/* The next answer. 0, -EAGAIN, -ECONNRESET (nobody is there any more) or -EPROTO, without text. */
int vm_dial_take(int fd, struct vm_dial_answer *ret_answer);

#endif
