/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Memory that is still on its way ("Migration", postcopy; POSTCOPY_ADVISE, _LISTEN, _END, and SET_MEM_TABLE and ADD_MEM_REG between them): a
 * userfaultfd of this process, whose other holder is the front end, which brings each page that is touched.
 *
 *   [none] --ADVISE: its descriptor--> [advised] --LISTEN--> [listening] --END--> [none]
 *
 * While it listens, what is mapped is registered before it is answered, and the answer is where it lies here. Who touches a page that
 * has not come waits for the front end, the whole process with it: so it is offered only where whoever serves gives a userfaultfd, which
 * is a policy of its own (linux Documentation/admin-guide/mm/userfaultfd.rst).
 */
#include "backend_private.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <vmm/base/fd.h>

static struct vhost_message reply_to(uint32_t request, uint32_t bytes)
{
    return (struct vhost_message){ .request = request,
                                   .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                                   .size = bytes };
}

static struct uffdio_range range_of(const struct gm_region *region)
{
    return (struct uffdio_range){ .start = (uintptr_t)gm_region_host(region),
                                  .len = gm_region_size(region) };
}

static int watch(const struct vhost_backend *b, const struct gm_region *region)
{
    struct uffdio_register r = { .range = range_of(region), .mode = UFFDIO_REGISTER_MODE_MISSING };

    if (ioctl(b->postcopy.fd, UFFDIO_REGISTER, &r))
        return vm_fail_errno("userfaultfd: memory at %#llx",
                             (unsigned long long)gm_region_base(region));
    return 0;
}

static int watch_all(const struct vhost_backend *b)
{
    int rc = 0;

    for (unsigned i = 0; !rc && i < b->have.count; i++)
        rc = watch(b, b->have.area[i].region);
    return rc;
}

/* Nobody waits for a page any more: the last holder's end of it wakes them as well. */
void vhost_backend_postcopy_drop(struct vhost_backend *b)
{
    for (unsigned i = 0; b->postcopy.listening && i < b->have.count; i++) {
        struct uffdio_range r = range_of(b->have.area[i].region);

        (void)ioctl(b->postcopy.fd, UFFDIO_UNREGISTER, &r);
    }
    vm_close(&b->postcopy.fd);
    b->postcopy.listening = b->postcopy.told = false;
}

/* ---- messages ---- */

static int open_fd(struct vhost_backend *b)
{
    struct uffdio_api api = { .api = UFFD_API };
    int fd = b->ops->userfault(b->ctx);

    if (fd < 0)
        return fd;
    if (ioctl(fd, UFFDIO_API, &api)) {
        int rc = vm_fail_errno("userfaultfd");

        vm_close(&fd);
        return rc;
    }
    vhost_backend_postcopy_drop(b);
    b->postcopy.fd = fd;
    return 0;
}

/* Without a descriptor the answer says that there is none. */
int vhost_backend_postcopy_advise(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_message r = reply_to(m->request, 0);

    if (open_fd(b)) {
        vm_log_limited(b->env, &b->complaints, VM_LOG_WARN, "%s: POSTCOPY_ADVISE: %s",
                       b->dev->dev.id, vm_error_text());
    } else {
        r.fds = 1;
        r.fd[0] = b->postcopy.fd;
    }
    (void)vhost_channel_send(b->channel, &r);
    return 0;
}

int vhost_backend_postcopy_listen(struct vhost_backend *b, struct vhost_message *m)
{
    int rc;

    (void)m;
    if (b->postcopy.fd < 0)
        return vm_fail(-EINVAL, "POSTCOPY_LISTEN: without POSTCOPY_ADVISE");
    if (vhost_backend_rings_active(b))
        return vm_fail(-EBUSY, "POSTCOPY_LISTEN: rings run");
    rc = watch_all(b);
    b->postcopy.listening = !rc;
    return rc;
}

int vhost_backend_postcopy_end(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_message r = reply_to(m->request, sizeof(uint64_t));

    r.payload.u64 = !b->postcopy.listening;
    vhost_backend_postcopy_drop(b);
    (void)vhost_channel_send(b->channel, &r);
    return 0;
}

/* ---- memory ---- */

/* "The front-end replies with an empty SET_MEM_TABLE": an acknowledgement, and no table. */
bool vhost_backend_postcopy_acked(struct vhost_backend *b, const struct vhost_message *m)
{
    bool ack = b->postcopy.told && !m->payload.u64 && !m->fds;

    b->postcopy.told = false;
    return ack;
}

static struct vhost_region at_ours(const struct vhost_memory *a)
{
    struct vhost_region r = a->r;

    r.user_addr = (uintptr_t)gm_region_host(a->region);
    return r;
}

/* The table that was asked for is there: as the front end sent it, with our addresses. */
int vhost_backend_postcopy_tell(struct vhost_backend *b)
{
    struct vhost_message r = reply_to(b->asked.request, 8);
    int rc;

    if (!b->postcopy.listening || b->closing ||
        (b->asked.request != VHOST_USER_SET_MEM_TABLE &&
         b->asked.request != VHOST_USER_ADD_MEM_REG))
        return 0;
    rc = watch_all(b);
    if (rc)
        return rc;
    if (b->asked.request == VHOST_USER_ADD_MEM_REG) {
        r.size = sizeof(r.payload.single);
        r.payload.single.padding = 0;
        r.payload.single.region = at_ours(&b->have.area[b->have.count - 1]);
    } else {
        r.payload.table.padding = 0;
        r.payload.table.count = b->have.count;
        for (unsigned i = 0; i < b->have.count; i++)
            r.payload.table.region[i] = at_ours(&b->have.area[i]);
        r.size += b->have.count * (uint32_t)sizeof(struct vhost_region);
        b->postcopy.told = true;
    }
    vhost_backend_reply(b, &r);
    return 1;
}
