/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared objects (SHARED_OBJECT_ADD, _REMOVE and _LOOKUP of back ends, GET_SHARED_OBJECT; vmm/vhost/objects.h).
 *
 * A question goes from the asker's front end to the owner's, and its answer back, by posted work: no front end takes another's lock.
 *
 *   asker: LOOKUP -> [its request socket paused] ... the table ... owner: GET_SHARED_OBJECT -> answer ... the table ... asker: reply
 *
 * What two front ends know of each other is under the table's lock. Whoever goes away takes itself out of it: the owner's askers are
 * told that there is nothing, and an asker's place in the owner's queue stays, empty, for the answer that is still to come.
 */
#include "front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/lock.h>
#include <vmm/vhost/objects.h>

struct entry {
    struct vhost_uuid uuid;
    struct vhost_front *owner;
};

struct vhost_objects {
    struct vm_lock lock;
    unsigned count, room;
    struct entry *entry; /* few machines have any, none has many */
};

int vhost_objects_new(struct vhost_objects **ret_objects)
{
    struct vhost_objects *o = calloc(1, sizeof(*o));

    if (!o)
        return vm_fail(-ENOMEM, "out of memory for the table of shared objects");
    vm_lock_init(&o->lock, VM_RANK_LEAF, "shared objects");
    *ret_objects = o;
    return 0;
}

void vhost_objects_free(struct vhost_objects *o)
{
    if (!o)
        return;
    vm_lock_destroy(&o->lock);
    free(o->entry);
    free(o);
}

/* ---- the table; under its lock ---- */

static struct entry *find(struct vhost_objects *o, const struct vhost_uuid *uuid)
{
    for (unsigned i = 0; i < o->count; i++)
        if (!memcmp(&o->entry[i].uuid, uuid, sizeof(*uuid)))
            return &o->entry[i];
    return NULL;
}

static void drop(struct vhost_objects *o, struct entry *e)
{
    e->owner->object.owned--;
    *e = o->entry[--o->count];
}

static int make_room(struct vhost_objects *o)
{
    unsigned room = o->room ? 2 * o->room : 16;
    struct entry *entry;

    if (o->count < o->room)
        return 0;
    entry = realloc(o->entry, room * sizeof(*entry));
    if (!entry)
        return vm_fail(-ENOMEM, "SHARED_OBJECT_ADD: out of memory");
    o->entry = entry;
    o->room = room;
    return 0;
}

static int add(struct vhost_front *f, const struct vhost_uuid *uuid)
{
    struct vhost_objects *o = f->object.table;
    const struct entry *e = find(o, uuid);

    if (e)
        return vm_fail(-EEXIST, "SHARED_OBJECT_ADD: %s has added it",
                       e->owner == f ? "this back end" : "another back end");
    if (o->count == VHOST_OBJECTS_MAX || f->object.owned == VHOST_OBJECTS_OWNED)
        return vm_fail(-ENOSPC, "SHARED_OBJECT_ADD: more than %d objects", VHOST_OBJECTS_OWNED);
    if (make_room(o))
        return -ENOMEM;
    o->entry[o->count++] = (struct entry){ *uuid, f };
    f->object.owned++;
    return 0;
}

/* "Only the back-end owning the entry will have permission to remove it. Otherwise, the message is ignored." */
static int forget(struct vhost_front *f, const struct vhost_uuid *uuid)
{
    struct entry *e = find(f->object.table, uuid);

    if (!e || e->owner != f)
        return vm_fail(-ENOENT, "SHARED_OBJECT_REMOVE: it is not this back end's");
    drop(f->object.table, e);
    return 0;
}

static void at_work(struct vm_work *work);

static void work_soon(struct vhost_front *f)
{
    vm_loop_post(f->env->loop, &f->object.work, at_work);
}

/* The question of asker has its answer: fd, or -1. */
static void settle(struct vhost_front *asker, int fd)
{
    asker->object.owner = NULL;
    asker->object.answered = true;
    asker->object.fd = fd;
    work_soon(asker);
}

static int ask(struct vhost_front *f, const struct vhost_uuid *uuid)
{
    const struct entry *e = find(f->object.table, uuid);
    struct front_object *to = e ? &e->owner->object : NULL;

    if (!to || to->askers == FRONT_ASKERS)
        return vm_fail(-ENOENT, "SHARED_OBJECT_LOOKUP: nobody has it");
    f->object.owner = e->owner;
    f->object.uuid = *uuid;
    to->asker[to->askers++] = f;
    work_soon(e->owner);
    return 0;
}

/* The first of the owner's queue. */
static struct vhost_front *take_asker(struct front_object *owner)
{
    struct vhost_front *asker = owner->asker[0];

    owner->askers--;
    owner->sent--;
    memmove(owner->asker, owner->asker + 1, owner->askers * sizeof(owner->asker[0]));
    return asker;
}

/* ---- the owner's side ---- */

static int got_object(struct vhost_front *f, uint16_t queue, struct vhost_message *untrusted)
{
    struct vhost_objects *o = f->object.table;
    struct vhost_front *asker;

    (void)queue;
    vm_lock_acquire(&o->lock);
    asker = take_asker(&f->object);
    if (asker)
        settle(asker, vhost_message_take_fd(untrusted, 0));
    vm_lock_release(&o->lock);
    return 0;
}

/* The next question that was not asked yet; false: none. An empty place is asked nothing. */
static bool next_question(struct vhost_front *f, struct vhost_uuid *ret_uuid)
{
    struct front_object *own = &f->object;
    bool any = false;

    vm_lock_acquire(&own->table->lock);
    while (!any && own->sent < own->askers) {
        const struct vhost_front *asker = own->asker[own->sent];

        if (asker) {
            *ret_uuid = asker->object.uuid;
            own->sent++;
            any = true;
        } else {
            own->askers--;
            memmove(own->asker + own->sent, own->asker + own->sent + 1,
                    (own->askers - own->sent) * sizeof(own->asker[0]));
        }
    }
    vm_lock_release(&own->table->lock);
    return any;
}

static int send_questions(struct vhost_front *f)
{
    struct vhost_message m =
        vhost_front_message(VHOST_USER_GET_SHARED_OBJECT, sizeof(struct vhost_uuid));
    int rc = 0;

    while (!rc && f->channel && next_question(f, &m.payload.uuid))
        rc = vhost_front_call(f, &m, 0, got_object);
    return rc;
}

/* ---- the asker's side ---- */

static void answer(struct vhost_front *f)
{
    struct vhost_message m = { .request = VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP,
                               .flags = VHOST_MESSAGE_VERSION | VHOST_MESSAGE_REPLY,
                               .size = sizeof(uint64_t) };
    int fd;

    vm_lock_acquire(&f->object.table->lock);
    fd = f->object.fd;
    f->object.fd = -1;
    f->object.answered = false;
    vm_lock_release(&f->object.table->lock);
    if (f->requests) {
        m.payload.u64 = fd < 0;
        m.fds = fd >= 0;
        m.fd[0] = fd;
        (void)vhost_channel_send(f->requests, &m); /* its end comes by itself */
        vhost_channel_pause(f->requests, false);
    }
    vm_close(&fd);
}

static bool has_answer(struct vhost_front *f)
{
    bool answered;

    vm_lock_acquire(&f->object.table->lock);
    answered = f->object.answered;
    vm_lock_release(&f->object.table->lock);
    return answered;
}

static void at_work(struct vm_work *work)
{
    struct vhost_front *f = container_of(work, struct vhost_front, object.work);
    int rc;

    vm_lock_acquire(&f->dev.dev.lock);
    if (has_answer(f))
        answer(f);
    rc = send_questions(f);
    if (rc)
        vhost_front_gone_with(f, rc);
    vm_lock_release(&f->dev.dev.lock);
}

/* ---- requests of the back end ---- */

static int lookup(struct vhost_front *f, const struct vhost_message *m)
{
    int rc;

    vm_lock_acquire(&f->object.table->lock);
    rc = ask(f, &m->payload.uuid);
    if (rc)
        settle(f, -1);
    vm_lock_release(&f->object.table->lock);
    vhost_channel_pause(f->requests, true);
    return FRONT_LATER;
}

int vhost_front_object_asked(struct vhost_front *f, struct vhost_message *untrusted)
{
    int rc;

    if (!f->made) /* there is no lock yet under which it would be answered */
        return vm_fail(-EBUSY, "shared objects before there is a device");
    if (untrusted->request == VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP)
        return lookup(f, untrusted);
    vm_lock_acquire(&f->object.table->lock);
    rc = untrusted->request == VHOST_USER_BACKEND_SHARED_OBJECT_ADD
             ? add(f, &untrusted->payload.uuid)
             : forget(f, &untrusted->payload.uuid);
    vm_lock_release(&f->object.table->lock);
    if (rc)
        vm_log_limited(f->env, &f->dev.complaints, VM_LOG_WARN, "%s: %s", f->dev.dev.id,
                       vm_error_text());
    return rc ? 1 : 0;
}

/* ---- the connection's end ---- */

/* As the owner: its objects are gone, and who asked is told so. */
static void leave_owned(struct vhost_front *f)
{
    struct vhost_objects *o = f->object.table;

    for (unsigned i = 0; i < o->count;) {
        if (o->entry[i].owner == f)
            drop(o, &o->entry[i]);
        else
            i++;
    }
    for (unsigned i = 0; i < f->object.askers; i++)
        if (f->object.asker[i])
            settle(f->object.asker[i], -1);
    f->object.askers = f->object.sent = 0;
}

/* As the asker. */
static void leave_asked(struct vhost_front *f)
{
    struct vhost_front *owner = f->object.owner;

    for (unsigned i = 0; owner && i < owner->object.askers; i++)
        if (owner->object.asker[i] == f)
            owner->object.asker[i] = NULL;
    f->object.owner = NULL;
    f->object.answered = false;
    vm_close(&f->object.fd);
}

void vhost_front_object_lost(struct vhost_front *f)
{
    if (!f->object.table)
        return;
    vm_lock_acquire(&f->object.table->lock);
    leave_asked(f);
    leave_owned(f);
    leave_asked(f); /* it may have asked itself */
    vm_lock_release(&f->object.table->lock);
    vm_work_cancel(f->env->loop, &f->object.work);
}
