/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Signals for eventfds of others: io_submit(2), linux/aio_abi.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/bell.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>

struct vm_bell {
    aio_context_t aio; /* 0: none */
    int empty; /* a file without bytes: reading it ends at once */
};

int vm_bell_new(struct vm_bell **ret_bell)
{
    struct vm_bell *bell = calloc(1, sizeof(*bell));
    int rc;

    if (!bell)
        return vm_fail(-ENOMEM, "bell: out of memory");
    bell->empty = memfd_create("bell", MFD_CLOEXEC);
    if (bell->empty < 0) {
        rc = vm_fail_errno("bell: memfd_create");
        free(bell);
        return rc;
    }
    if (syscall(SYS_io_setup, 1, &bell->aio))
        bell->aio = 0;
    *ret_bell = bell;
    return 0;
}

void vm_bell_free(struct vm_bell *bell)
{
    if (!bell)
        return;
    if (bell->aio)
        syscall(SYS_io_destroy, bell->aio);
    vm_close(&bell->empty);
    free(bell);
}

bool vm_bell_never_waits(const struct vm_bell *bell)
{
    return bell->aio;
}

/* As close as one comes without the kernel's help. */
static void look_and_write(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT && !fcntl(fd, F_SETFL, O_NONBLOCK))
        vm_eventfd_signal(fd);
}

void vm_bell_ring(struct vm_bell *bell, int fd)
{
    char none;
    struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PREAD,
                       .aio_fildes = (uint32_t)bell->empty,
                       .aio_buf = (uintptr_t)&none,
                       .aio_nbytes = sizeof(none),
                       .aio_flags = IOCB_FLAG_RESFD,
                       .aio_resfd = (uint32_t)fd };
    struct iocb *one = &cb;
    struct io_event event;

    if (!bell->aio) {
        look_and_write(fd);
        return;
    }
    if (syscall(SYS_io_submit, bell->aio, 1, &one) == 1)
        (void)!syscall(SYS_io_getevents, bell->aio, 0, 1, &event, NULL);
}
