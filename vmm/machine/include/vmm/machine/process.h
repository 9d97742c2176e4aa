/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The control channel of a device's process: a SOCK_SEQPACKET socket beside its vhost-user one, for what vhost-user does not say. Both
 * ends are one program at one time (the spawner runs the file that the VMM runs from), so a message is a struct as it lies in memory;
 * still neither end believes what the other says: the process may be a guest's by now.
 *
 *     process -> VMM    OPEN value: enum vm_open flags, text: the name. One at a time; OPENED follows
 *                       READY shape: the device is made, and served from now on
 *                       FAILED code, text: it cannot be made; the process ends
 *                       LOG value: enum vm_level, text: one line
 *     VMM -> process    OPENED code, text (and the fd, where code is 0)
 *                       SET text: "KEY=VALUE", checked: a property changes (vmm set)
 *
 * Threads: the functions have no state.
 */
#ifndef VMM_MACHINE_PROCESS_H
#define VMM_MACHINE_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include <vmm/vhost/frontend.h>

enum vmm_process_type {
    VMM_PROCESS_OPEN = 1,
    VMM_PROCESS_OPENED,
    VMM_PROCESS_READY,
    VMM_PROCESS_FAILED,
    VMM_PROCESS_LOG,
    VMM_PROCESS_SET,
};

/* The numbers that a device's process has its fds at. Below them are those that the user gave. */
enum {
    VMM_PROCESS_FD_VHOST = 200,
    VMM_PROCESS_FD_CHANNEL,
    VMM_PROCESS_FD_PROFILE, /* vmm/jail/profile.h; only where there are filters or stages to take */
    VMM_PROCESS_FDS_USER = VMM_PROCESS_FD_VHOST,
};

/* What a guest sees of the device and the vhost-user messages do not say. */
struct vmm_process_shape {
    uint32_t id; /* virtio device type */
    uint32_t queues, config_bytes;
    uint16_t queue_size[VHOST_QUEUES_MAX];
};

enum { VMM_PROCESS_TEXT_MAX = 4096 };

struct vmm_process_message {
    uint32_t type; /* enum vmm_process_type */
    int32_t code;
    uint32_t value;
    uint32_t reserved;
    union {
        char text[VMM_PROCESS_TEXT_MAX]; /* with its zero byte */
        struct vmm_process_shape shape;
    };
};

/* A message with a text (cut where it is too long). */
void vmm_process_message(struct vmm_process_message *ret_message, enum vmm_process_type type,
                         int code, uint32_t value, const char *text);

/* Sends without waiting, with fd (borrowed) if it is not negative. 0, or -errno without text: -EAGAIN (the other side does not take
 * what it gets), -EPIPE or -ECONNRESET (it is gone). */
int vmm_process_send(int sock, const struct vmm_process_message *message, int fd);

/* Takes one message without waiting; *ret_fd (the caller's, or -1) came with it. A text ends with a zero byte. 0, -EAGAIN,
 * -ECONNRESET (the other side is gone) or -EPROTO (no message of ours), without text. */
int vmm_process_receive(int sock, struct vmm_process_message *ret_untrusted, int *ret_fd);

#endif
