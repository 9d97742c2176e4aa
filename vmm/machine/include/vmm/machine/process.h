/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The control channel of a device's process: a SOCK_SEQPACKET socket beside its vhost-user one, for what vhost-user does not say. Both
 * ends are one program at one time (the spawner runs the file that the VMM runs from), so a message is a struct as it lies in memory;
 * still neither end believes what the other says: the process may be a guest's by now.
 *
 *     process -> VMM    OPEN value: enum vm_open flags, text: the name. One at a time; OPENED follows
 *                       READY shape, jail: the device is made, and served from now on; what its jail lacks
 *                       FAILED code, text: it cannot be made; the process ends
 *                       LOG value: enum vm_level, text: one line
 *                       SET_DONE value: the question's, code, text: 0, or why the property keeps its value
 *     VMM -> process    OPENED code, text (and the fd, where code is 0)
 *                       SET value: a number, text: "KEY=VALUE", checked: a property shall change (vmm set). After READY, one at a time
 *
 * Threads: the functions have no state.
 */
#ifndef VMM_MACHINE_PROCESS_H
#define VMM_MACHINE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/prop.h>
#include <vmm/jail/stages.h>
#include <vmm/vhost/frontend.h>

enum vmm_process_type {
    VMM_PROCESS_OPEN = 1,
    VMM_PROCESS_OPENED,
    VMM_PROCESS_READY,
    VMM_PROCESS_FAILED,
    VMM_PROCESS_LOG,
    VMM_PROCESS_SET,
    VMM_PROCESS_SET_DONE,
};

/* The numbers that a device's process has its fds at. Below them are those that the user gave. */
enum {
    VMM_PROCESS_FD_VHOST = 200,
    VMM_PROCESS_FD_CHANNEL,
    VMM_PROCESS_FD_PROFILE, /* vmm/jail/profile.h; only where there are filters or stages to take */
    VMM_PROCESS_FD_LEDGER, /* vmm/devices-core/ledger.h; only where the class has a state */
    VMM_PROCESS_FD_COUNTERS, /* vmm/devices-core/counters.h */
    VMM_PROCESS_FDS_USER = VMM_PROCESS_FD_VHOST,
};

/* What a guest sees of the device and the vhost-user messages do not say. */
struct vmm_process_shape {
    uint32_t id; /* virtio device type */
    uint32_t queues, config_bytes;
    struct virtio_span chosen; /* of its config space, by the driver */
    uint16_t queue_size[VHOST_QUEUES_MAX];
};

enum { VMM_PROCESS_TEXT_MAX = 4096 };
/* Names that a device may open: a console of 32 ports has 8 places for each. */
enum { VMM_PROCESS_NAMES_MAX = 256 };

struct vmm_process_message {
    uint32_t type; /* enum vmm_process_type */
    int32_t code;
    uint32_t value;
    uint32_t reserved;
    union {
        char text[VMM_PROCESS_TEXT_MAX]; /* with its zero byte */
        struct {
            struct vmm_process_shape shape;
            struct vmm_jail_result jail; /* of the stages that a process takes itself */
        } ready;
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

/* What a device's process may ask for: a name that stands in a path of its options; and no terminal, for those stay in the VMM. */
bool vmm_process_may_open(const struct vdev_class *cls, const void *config, const char *untrusted,
                          unsigned how);
/* Opening it makes the name, which is to be removed again. */
bool vmm_process_makes(unsigned how);

#endif
