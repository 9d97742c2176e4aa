/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Network devices announce their guests on their networks: the control loop says which, the I/O loop, whose the back ends are, does it.
 *
 *     [none] --vmm_machine_announce()--> [asked] --the I/O loop--> [over] --the control loop: done()--> [none]
 *                                           +-- MACHINE_ANNOUNCE_NS, the machine's end: done() --+
 *
 * Who was told early leaves the request behind until the I/O loop has come back to it. A device that leaves meanwhile is freed by a step of
 * the I/O loop that was posted later, so the request finds it.
 */
#include "machine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/base/error.h>

enum { MAC_BYTES = 6 }; /* 5.1.4: config space begins with the address */

struct machine_announce {
    struct vmm_machine *m;
    struct vm_work io_work; /* the I/O loop's */
    struct vm_work work; /* the control loop's */
    struct vm_timer late;
    void (*done)(void *ctx, int code); /* NULL: it was told */
    void *ctx;
    struct vm_error result; /* of the first device that could not; the I/O loop's until it posts */
    unsigned count;
    struct virtio_dev *dev[];
};

static void tell(struct machine_announce *a, int code)
{
    void (*done)(void *ctx, int code) = a->done;

    vm_timer_cancel(&a->late);
    a->done = NULL;
    if (done)
        done(a->ctx, code);
}

static void over(struct vm_work *work)
{
    struct machine_announce *a = container_of(work, struct machine_announce, work);

    a->m->announce = NULL; /* done() may ask for the next one */
    tell(a, a->result.code ? vm_error_restore(&a->result) : 0);
    free(a);
}

static void too_late(struct vm_timer *timer)
{
    struct machine_announce *a = container_of(timer, struct machine_announce, late);

    tell(a, vm_fail(-ETIMEDOUT,
                    "nothing was announced in %llu s: the I/O thread hangs in a device's back end",
                    MACHINE_ANNOUNCE_NS / 1000000000ULL));
}

/* ---- on the I/O loop ---- */

/* A pause may have come in between. */
static int announce_locked(struct virtio_dev *dev)
{
    uint8_t mac[MAC_BYTES];

    if (dev->dev.quiesced)
        return vm_fail(-EBUSY, "%s: the machine is paused: announce when it runs", dev->dev.id);
    if (!dev->ops->announce)
        return vm_fail(-ENOTSUP, "%s cannot announce its guest", dev->dev.id);
    if (!(dev->offered & VIRTIO_NET_FEATURE_MAC) || dev->config_bytes < MAC_BYTES)
        return vm_fail(-ENOTSUP,
                       "%s: its back end gives the guest no MAC address that could be announced",
                       dev->dev.id);
    memcpy(mac, dev->config, MAC_BYTES);
    return dev->ops->announce(dev, mac);
}

static void announce_all(struct vm_work *work)
{
    struct machine_announce *a = container_of(work, struct machine_announce, io_work);

    for (unsigned i = 0; i < a->count; i++) {
        struct virtio_dev *dev = a->dev[i];
        int rc;

        vm_lock_acquire(&dev->dev.lock);
        rc = announce_locked(dev);
        vm_lock_release(&dev->dev.lock);
        if (rc && !a->result.code)
            vm_error_save(rc, &a->result);
    }
    vm_loop_post(a->m->config.env->loop, &a->work, over);
}

/* ---- from outside: the control loop ---- */

static struct virtio_dev *network_of(const struct machine_device *d)
{
    struct virtio_dev *dev;

    if (d->dev->cls->kind != VDEV_VIRTIO)
        return NULL;
    dev = container_of(d->dev, struct virtio_dev, dev);
    return dev->id == VIRTIO_ID_NET ? dev : NULL;
}

static int check_state(const struct vmm_machine *m)
{
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (m->announce)
        return vm_fail(-EBUSY, "another announcement is under way");
    switch (m->state) {
    case MACHINE_RUNNING: return 0;
    case MACHINE_BUILT: return vm_fail(-EBUSY, "the machine was not started yet");
    case MACHINE_PAUSED:
        return vm_fail(-EBUSY, "the machine is paused: announce its guest when it runs");
    default: return vm_fail(-EBUSY, "a pause is under way");
    }
}

static int check_named(const struct vmm_machine *m, const char *id)
{
    const struct machine_device *d = m->devices;

    while (d && strcmp(d->id, id) != 0)
        d = d->next;
    if (!d)
        return vm_fail(-ENOENT, "there is no device '%s': vmm info lists them", id);
    if (!network_of(d))
        return vm_fail(-EINVAL, "%s is no network device: vmm info lists them, with their classes",
                       id);
    return d->leave ? vm_fail(-EBUSY, "%s is being removed", id) : 0;
}

/* Gives how many devices are meant; dev: room for them, or NULL. */
static unsigned choose(const struct vmm_machine *m, const char *id, struct virtio_dev **dev)
{
    unsigned n = 0;

    for (const struct machine_device *d = m->devices; d; d = d->next) {
        if (d->leave || !network_of(d) || (id && strcmp(d->id, id) != 0))
            continue;
        if (dev)
            dev[n] = network_of(d);
        n++;
    }
    return n;
}

/* Nobody is there who could; one that is named was looked for before. */
static int fail_none(const struct vmm_machine *m)
{
    const struct machine_device *d = m->devices;

    while (d && !(d->leave && network_of(d)))
        d = d->next;
    return d ? vm_fail(-EBUSY, "%s is being removed, and this machine has no other network device",
                       d->id)
             : vm_fail(-ENOENT, "this machine has no network device: start it with --net");
}

static int make(struct vmm_machine *m, const char *id, struct machine_announce **ret_announce)
{
    struct vm_loop *loop = m->config.env->loop;
    unsigned count = choose(m, id, NULL);
    struct machine_announce *a;

    if (!count)
        return fail_none(m);
    a = calloc(1, sizeof(*a) + count * sizeof(a->dev[0]));
    if (!a || vm_timer_set(loop, &a->late, vm_loop_now_ns(loop) + MACHINE_ANNOUNCE_NS, too_late)) {
        free(a);
        return vm_fail(-ENOMEM, "out of memory");
    }
    a->m = m;
    a->count = choose(m, id, a->dev);
    *ret_announce = a;
    return 0;
}

int vmm_machine_announce(struct vmm_machine *m, const char *id, void (*done)(void *ctx, int code),
                         void *ctx)
{
    const struct machine_device *mover = vmm_machine_mover(m);
    int rc = check_state(m);

    if (!rc && id)
        rc = check_named(m, id);
    if (!rc && mover && (!id || !strcmp(mover->id, id)))
        rc = vm_fail(-EBUSY, "%s is being moved: announce when that is over", mover->id);
    if (!rc)
        rc = make(m, id, &m->announce);
    if (rc)
        return rc;
    m->announce->done = done;
    m->announce->ctx = ctx;
    vm_loop_post(m->io_env.loop, &m->announce->io_work, announce_all);
    return 0;
}

void *vmm_machine_announce_ctx(const struct vmm_machine *m)
{
    return m->announce && m->announce->done ? m->announce->ctx : NULL;
}

void vmm_machine_announce_end(struct vmm_machine *m, int code)
{
    if (m->announce)
        tell(m->announce, code);
}

void vmm_machine_announce_cancel(struct vmm_machine *m)
{
    if (!m->announce)
        return;
    vm_work_cancel(m->io_env.loop, &m->announce->io_work);
    vm_work_cancel(m->config.env->loop, &m->announce->work);
    vm_timer_cancel(&m->announce->late);
    free(m->announce);
    m->announce = NULL;
}
