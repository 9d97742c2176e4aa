/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a device shares with its driver and with other devices, as messages: its regions of shared memory (GET_SHMEM_CONFIG, SHMEM_MAP,
 * SHMEM_UNMAP; vmm/virtio/shm.h) and its objects (GET_SHARED_OBJECT, SHARED_OBJECT_ADD, _REMOVE, _LOOKUP; vmm/virtio/object.h).
 * One question at a time, among the others on the socket for our requests.
 */
#include "backend_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <vmm/base/fd.h>
#include <vmm/virtio/object.h>
#include <vmm/virtio/shm.h>

_Static_assert((int)VIRTIO_SHM_REGIONS == (int)VHOST_SHMEM_REGIONS, "ids of both have 8 bits");

static bool is_lookup(const struct vhost_backend_share *s)
{
    return s->question.request == VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP;
}

/* ---- the device asks; under its lock ---- */

static int begin(struct vhost_backend *b, uint32_t request, uint64_t needed)
{
    struct vhost_backend_share *s = &b->share;

    if ((b->protocol & needed) != needed)
        return vm_fail(-ENOTSUP, "%s: the front end does not know %s", b->dev->dev.id,
                       vhost_message_rule(VHOST_BACK, request)->name);
    if (!b->back)
        return vm_fail(-ENOTCONN, "%s: there is no socket for requests", b->dev->dev.id);
    if (s->state != SHARE_NOTHING)
        return vm_fail(-EBUSY, "%s: a question of this kind is under way", b->dev->dev.id);
    memset(&s->question, 0, offsetof(struct vhost_message, payload));
    s->question.request = request;
    s->question.flags = VHOST_MESSAGE_VERSION;
    return 0;
}

static int ask_soon(struct vhost_backend *b)
{
    b->share.state = SHARE_DUE;
    vhost_backend_notify_soon(b);
    return -EINPROGRESS;
}

int vhost_backend_shm_change(struct virtio_transport *t, const struct virtio_shm_piece *p, int fd)
{
    struct vhost_backend *b = container_of(t, struct vhost_backend, transport);
    struct vhost_message *m = &b->share.question;
    bool map = fd >= 0;
    int rc = begin(b, map ? VHOST_USER_BACKEND_SHMEM_MAP : VHOST_USER_BACKEND_SHMEM_UNMAP,
                   VHOST_PROTOCOL(SHMEM) | (map ? VHOST_PROTOCOL(BACKEND_SEND_FD) : 0));

    if (rc)
        return rc;
    m->size = sizeof(m->payload.shmem_map);
    m->payload.shmem_map = (struct vhost_shmem_map){
        .id = p->id,
        .fd_offset = map ? p->fd_offset : 0,
        .shm_offset = p->at,
        .len = p->bytes,
        .flags = p->writable,
    };
    if (map) {
        m->fd[0] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (m->fd[0] < 0)
            return vm_fail_errno("%s: SHMEM_MAP: fd %d", b->dev->dev.id, fd);
        m->fds = 1;
    }
    return ask_soon(b);
}

int vhost_backend_object_ask(struct virtio_transport *t, unsigned what, const uint8_t name[16])
{
    static const uint32_t requests[] = {
        [VIRTIO_OBJECT_ADD] = VHOST_USER_BACKEND_SHARED_OBJECT_ADD,
        [VIRTIO_OBJECT_REMOVE] = VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE,
        [VIRTIO_OBJECT_LOOKUP] = VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP,
    };
    struct vhost_backend *b = container_of(t, struct vhost_backend, transport);
    int rc = begin(b, requests[what], VHOST_PROTOCOL(SHARED_OBJECT));

    if (rc)
        return rc;
    b->share.question.size = sizeof(struct vhost_uuid);
    memcpy(b->share.question.payload.uuid.bytes, name, sizeof(struct vhost_uuid));
    return ask_soon(b);
}

/* ---- the answer; not under the lock ---- */

static void done(struct vhost_backend *b, int code, int fd)
{
    struct vhost_backend_share *s = &b->share;
    bool memory = s->question.request >= VHOST_USER_BACKEND_SHMEM_MAP;

    vhost_backend_lock(b);
    vhost_message_drop_fds(&s->question);
    s->state = SHARE_NOTHING;
    if (memory && b->dev->ops->shm_done)
        b->dev->ops->shm_done(b->dev, code);
    else if (!memory && b->dev->ops->object_done)
        b->dev->ops->object_done(b->dev, code, fd);
    vhost_backend_unlock(b);
}

bool vhost_backend_share_ask(struct vhost_backend *b)
{
    struct vhost_backend_share *s = &b->share;
    bool answered = is_lookup(s) || b->protocol & VHOST_PROTOCOL(REPLY_ACK);

    if (s->state != SHARE_DUE)
        return false;
    if (answered && !is_lookup(s))
        s->question.flags |= VHOST_MESSAGE_NEED_REPLY;
    s->state = SHARE_ASKED;
    if (vhost_channel_send(b->back, &s->question))
        return false; /* its end comes by itself, and ends this, too */
    if (!answered)
        done(b, 0, -1);
    return answered;
}

void vhost_backend_share_answered(struct vhost_backend *b, struct vhost_message *untrusted)
{
    int fd = vhost_message_take_fd(untrusted, 0);
    bool no = untrusted->payload.u64 || (is_lookup(&b->share) && fd < 0);

    if (no)
        vm_fail(-EREMOTEIO, "%s: the front end refuses %s", b->dev->dev.id,
                vhost_message_rule(VHOST_BACK, b->share.question.request)->name);
    done(b, no ? -EREMOTEIO : 0, no ? -1 : fd);
    if (no || !b->dev->ops->object_done)
        vm_close(&fd);
}

void vhost_backend_share_drop(struct vhost_backend *b)
{
    if (b->share.state != SHARE_NOTHING)
        done(b, vm_fail(-ECONNRESET, "%s: the front end is gone", b->dev->dev.id), -1);
}

/* ---- the front end asks ---- */

int vhost_backend_get_shmem(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_message r = { .request = m->request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                               .size = sizeof(struct vhost_shmem_config) };
    struct vhost_shmem_config *c = &r.payload.shmem_config;

    memset(c, 0, sizeof(*c));
    for (unsigned id = 0; id < VHOST_SHMEM_REGIONS; id++) {
        c->size[id] = virtio_shm_size(b->dev, id);
        c->count += !!c->size[id];
    }
    (void)vhost_channel_send(b->channel, &r);
    return 0;
}

/* "Back-end will reply passing the fd when the operation is successful, or no fd otherwise." */
int vhost_backend_get_object(struct vhost_backend *b, struct vhost_message *m)
{
    struct vhost_message r = { .request = m->request,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY };

    vhost_backend_lock(b);
    r.fd[0] = b->dev->ops->object_get(b->dev, m->payload.uuid.bytes);
    r.fds = r.fd[0] >= 0;
    (void)vhost_channel_send(b->channel, &r);
    vhost_backend_unlock(b);
    return 0;
}
