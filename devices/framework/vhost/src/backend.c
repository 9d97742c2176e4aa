/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A vhost-user back end: its life, its sessions, and how it waits (backend_private.h). */
#include "backend_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <vmm/base/fd.h>
#include <vmm/devices-core/ledger.h>

/* Until a device that could not be brought to rest is asked again. */
#define AGAIN_NS (100 * 1000000ULL)

/* ---- waiting ---- */

static void step(struct vm_work *work);

static void try_rest(struct vhost_backend *b);

static void again(struct vm_timer *timer)
{
    try_rest(container_of(timer, struct vhost_backend, again));
}

static void step(struct vm_work *work)
{
    struct vhost_backend *b = container_of(work, struct vhost_backend, step_work);
    void (*next)(struct vhost_backend * b) = b->next;

    if (b->code) { /* it hangs, or is somebody else's just now: a ring may not be called stopped before it is */
        if (vm_timer_set(b->env->loop, &b->again, vm_loop_now_ns(b->env->loop) + AGAIN_NS, again))
            vm_loop_post(b->env->loop, &b->step_work, step);
        return;
    }
    b->next = NULL;
    if (next)
        next(b);
}

void vhost_backend_step(struct vhost_backend *b)
{
    vm_loop_post(b->env->loop, &b->step_work, step);
}

/* Under the device's lock. */
static void at_rest(struct vdev *dev, int code)
{
    struct virtio_dev *v = container_of(dev, struct virtio_dev, dev);
    struct vhost_backend *b = container_of(v->transport, struct vhost_backend, transport);

    b->code = code;
    vhost_backend_step(b);
}

static void try_rest(struct vhost_backend *b)
{
    int rc = vdev_quiesce(&b->dev->dev, at_rest);

    if (rc == -EINPROGRESS)
        return;
    b->code = rc;
    vhost_backend_step(b);
}

void vhost_backend_wait(struct vhost_backend *b, void (*next)(struct vhost_backend *b))
{
    b->next = next;
    b->code = 0;
    if (b->channel)
        vhost_channel_pause(b->channel, true);
}

void vhost_backend_rest_then(struct vhost_backend *b, void (*next)(struct vhost_backend *b))
{
    vhost_backend_wait(b, next);
    try_rest(b);
}

void vhost_backend_reset_then(struct vhost_backend *b, void (*next)(struct vhost_backend *b))
{
    vhost_backend_wait(b, next);
    vhost_backend_lock(b);
    b->resetting = true; /* the transport's reset() takes the step */
    (void)virtio_set_status(b->dev, 0);
    vhost_backend_unlock(b);
}

/* ---- the end of a session ---- */

static void forget_channels(struct vhost_backend *b)
{
    vhost_channel_free(b->channel);
    b->channel = NULL;
    vhost_backend_back_close(b);
}

static void ended(struct vhost_backend *b)
{
    b->features = b->protocol = 0;
    vhost_backend_iotlb_update(b);
    b->session = b->closing = b->config_changed = false;
    b->ops->closed(b->ctx, &b->why);
}

static void drop_memory(struct vhost_backend *b)
{
    vhost_backend_log_drop(b);
    vhost_backend_memory_drop(b, ended);
}

/* At rest. Only now is the front end told, by the end of its sockets: what it sees of rings then is what it will find. */
static void reset_device(struct vhost_backend *b)
{
    forget_channels(b);
    vhost_backend_state_drop(b);
    vhost_backend_postcopy_drop(b);
    vhost_backend_inflight_drop(b);
    vhost_backend_rings_clear(b);
    vdev_ledger_detach(&b->dev->dev); /* it is the next one's */
    vhost_backend_reset_then(b, drop_memory);
}

/* Requests in flight are finished, not dropped: the front end may come back and look for them. */
static void begin_end(struct vhost_backend *b)
{
    b->closing = true;
    vhost_backend_state_cancel(b);
    if (!b->next)
        vhost_backend_rest_then(b, reset_device);
}

static void closed(void *ctx, const struct vm_error *why)
{
    struct vhost_backend *b = ctx;

    if (!b->closing)
        b->why = *why;
    forget_channels(b);
    if (!b->closing)
        begin_end(b);
}

static void end_session(struct vhost_backend *b, int rc)
{
    if (b->closing)
        return;
    vm_error_save(rc, &b->why);
    if (b->channel)
        vhost_channel_pause(b->channel, true);
    begin_end(b);
}

void vhost_backend_end(struct vhost_backend *b)
{
    if (b->session && !b->closing)
        end_session(b, vm_fail(-ECANCELED, "the back end was told to end"));
}

/* ---- answers ---- */

int vhost_backend_later(struct vhost_backend *b, const struct vhost_message *m)
{
    b->asked.request = m->request;
    b->asked.flags = m->flags;
    return -EINPROGRESS;
}

/* The step is over. True: the session goes on. */
static bool go_on(struct vhost_backend *b)
{
    if (b->closing) {
        vhost_backend_rest_then(b, reset_device);
        return false;
    }
    return true;
}

void vhost_backend_proceed(struct vhost_backend *b)
{
    if (!go_on(b))
        return;
    vhost_backend_settle(b);
    if (!b->next)
        vhost_channel_pause(b->channel, false);
}

void vhost_backend_answer(struct vhost_backend *b, int rc)
{
    if (!go_on(b))
        return;
    rc = vhost_backend_finish(b, &b->asked, rc);
    if (rc)
        end_session(b, rc);
    else
        vhost_backend_proceed(b);
}

void vhost_backend_reply(struct vhost_backend *b, const struct vhost_message *reply)
{
    if (!b->closing)
        (void)vhost_channel_send(b->channel, reply); /* its end comes by closed() */
    vhost_backend_proceed(b);
}

/* ---- life ---- */

static int message(void *ctx, struct vhost_message *untrusted)
{
    return vhost_backend_message(ctx, untrusted);
}

const struct vm_jail_rule vhost_backend_jail[] = {
    VM_JAIL("fcntl", VM_JAIL_IS(1, F_GETFL)),
    VM_JAIL("fcntl", VM_JAIL_IS(1, F_SETFL)), /* eventfds are made non-blocking */
    VM_JAIL("fcntl", VM_JAIL_IS(1, F_DUPFD_CLOEXEC)), /* of memory and objects */
    VM_JAIL("fcntl", VM_JAIL_IS(1, F_ADD_SEALS)), /* the log in flight */
    VM_JAIL("fcntl", VM_JAIL_IS(1, F_GET_SEALS)), /* whether others may cut memory short */
    VM_JAIL("fstat"), /* what files a front end sends: vm_fstat() */
    VM_JAIL("fstatfs"), /* huge pages have a size */
    VM_JAIL("getsockopt"), /* the socket for requests is a stream */
    VM_JAIL("memfd_create", VM_JAIL_IS(1, MFD_CLOEXEC | MFD_ALLOW_SEALING)), /* the log in flight */
    VM_JAIL("fallocate", VM_JAIL_IS(1, 0)), /* the log in flight */
    { 0 },
};

int vhost_backend_new(struct virtio_dev *dev, struct gm_space *space,
                      const struct vhost_backend_ops *ops, void *ctx,
                      struct vhost_backend **ret_backend)
{
    struct vhost_backend *b;

    if (virtio_any_remote(dev))
        return vm_fail(-EINVAL, "%s: somebody else serves its queues; serve that one's",
                       dev->dev.id);
    b = calloc(1, sizeof(*b));
    if (!b)
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    b->transport = vhost_backend_transport;
    b->dev = dev;
    b->space = space;
    b->env = dev->dev.env;
    b->ops = ops;
    b->ctx = ctx;
    b->state.fd = b->postcopy.fd = -1;
    if (vhost_backend_rings_new(b)) {
        free(b);
        return vm_fail(-ENOMEM, "%s: out of memory", dev->dev.id);
    }
    vhost_backend_lock(b);
    virtio_attach(dev, &b->transport);
    vhost_backend_unlock(b);
    *ret_backend = b;
    return 0;
}

static void freed(struct vhost_backend *b)
{
    (void)b;
}

void vhost_backend_free(struct vhost_backend *b)
{
    if (!b)
        return;
    forget_channels(b);
    vm_timer_cancel(&b->again);
    vhost_backend_state_drop(b);
    vhost_backend_postcopy_drop(b);
    vhost_backend_rings_clear(b);
    vhost_backend_inflight_drop(b);
    vhost_backend_log_drop(b);
    vhost_backend_lock(b);
    virtio_attach(b->dev, NULL);
    vhost_backend_unlock(b);
    vdev_destroy(&b->dev->dev);
    b->dev = NULL;
    vhost_backend_memory_drop(b, freed);
    vm_work_cancel(b->env->loop, &b->step_work);
    vm_work_cancel(b->env->loop, &b->notify_work);
    vhost_backend_iotlb_free(b);
    free(b->ring);
    free(b);
}

static int check_socket(int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
        return vm_fail_errno("vhost-user: fd %d", fd);
    if (type != SOCK_STREAM)
        return vm_fail(-EINVAL, "vhost-user: fd %d is not a stream socket", fd);
    return 0;
}

int vhost_backend_serve(struct vhost_backend *b, int fd)
{
    static const struct vhost_channel_ops ops = { message, closed };
    int rc = b->session ? vm_fail(-EBUSY, "%s: another front end is still served", b->dev->dev.id)
                        : check_socket(fd);

    if (rc) {
        vm_close(&fd);
        return rc;
    }
    rc = vhost_channel_new(b->env, fd, VHOST_BACK, false, &ops, b, &b->channel);
    b->session = !rc;
    return rc;
}

bool vhost_backend_busy(const struct vhost_backend *b)
{
    return b->session;
}
