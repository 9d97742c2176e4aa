/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Messages of the control channel, for both of its ends. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <vmm/base/fd.h>
#include <vmm/base/socket.h>
#include <vmm/machine/process.h>

enum { HEADER = offsetof(struct vmm_process_message, text) };

static size_t bytes_of(const struct vmm_process_message *m)
{
    return HEADER + (m->type == VMM_PROCESS_READY ? sizeof(m->ready) : strlen(m->text) + 1);
}

void vmm_process_message(struct vmm_process_message *m, enum vmm_process_type type, int code,
                         uint32_t value, const char *text)
{
    size_t len = strnlen(text, VMM_PROCESS_TEXT_MAX - 1);

    memset(m, 0, HEADER);
    m->type = type;
    m->code = code;
    m->value = value;
    memcpy(m->text, text, len);
    m->text[len] = '\0';
}

int vmm_process_send(int sock, const struct vmm_process_message *m, int fd)
{
    ssize_t n = vm_socket_send(sock, m, bytes_of(m), &fd, fd >= 0, MSG_DONTWAIT);

    if (n == -ETOOMANYREFS)
        return vm_socket_send_failed(n, "control channel of a process");
    return n < 0 ? (int)n : 0;
}

int vmm_process_receive(int sock, struct vmm_process_message *m, int *ret_fd)
{
    size_t fds = 0;
    ssize_t n;

    *ret_fd = -1;
    n = vm_socket_receive(sock, m, sizeof(*m), ret_fd, 1, &fds, MSG_DONTWAIT);
    if (!fds)
        *ret_fd = -1;
    if (n == -EMSGSIZE)
        return -EPROTO;
    if (n <= 0)
        return n == -EAGAIN ? -EAGAIN : -ECONNRESET;
    if (n > HEADER && m->type == VMM_PROCESS_READY && n == HEADER + (ssize_t)sizeof(m->ready))
        return 0;
    if (n > HEADER && m->type != VMM_PROCESS_READY && !m->text[n - HEADER - 1])
        return 0;
    vm_close(ret_fd);
    return -EPROTO;
}

static bool stands_in(const struct vm_prop *props, const void *config, const char *untrusted);

static bool stands_in_one(const struct vm_prop *prop, const struct vm_prop_list *list,
                          const char *untrusted)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (stands_in(prop->props, (const char *)list->items + i * prop->element_size, untrusted))
            return true;
    return false;
}

static bool stands_in(const struct vm_prop *props, const void *config, const char *untrusted)
{
    for (; props->name; props++) {
        const char *place = (const char *)config + props->offset;

        if (props->type == VM_PROP_OBJECT && stands_in(props->props, place, untrusted))
            return true;
        if (props->type == VM_PROP_OBJECTS && stands_in_one(props, (const void *)place, untrusted))
            return true;
        if (props->type == VM_PROP_PATH && *(char *const *)(const void *)place &&
            !strcmp(*(char *const *)(const void *)place, untrusted))
            return true;
    }
    return false;
}

bool vmm_process_may_open(const struct vdev_class *cls, const void *config, const char *untrusted,
                          unsigned how)
{
    bool dial = how & VM_OPEN_DIAL;

    if (how == VM_OPEN_TAP || how == VM_OPEN_USER || how == (VM_OPEN_DIAL | VM_OPEN_CONNECT))
        return cls->may_open && cls->may_open(config, untrusted, how);
    if (dial && (!cls->dials || (how & ~(unsigned)VM_OPEN_SEQPACKET) != VM_OPEN_DIAL))
        return false;
    return how != VM_OPEN_PTY && how != VM_OPEN_KERNEL && stands_in(cls->props, config, untrusted);
}

bool vmm_process_makes(unsigned how)
{
    return (how & ~(unsigned)VM_OPEN_SEQPACKET) == VM_OPEN_LISTEN;
}
