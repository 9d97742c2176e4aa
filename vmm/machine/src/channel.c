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
    return HEADER + (m->type == VMM_PROCESS_READY ? sizeof(m->shape) : strlen(m->text) + 1);
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
    if (n > HEADER && m->type == VMM_PROCESS_READY && n == HEADER + (ssize_t)sizeof(m->shape))
        return 0;
    if (n > HEADER && m->type != VMM_PROCESS_READY && !m->text[n - HEADER - 1])
        return 0;
    vm_close(ret_fd);
    return -EPROTO;
}
