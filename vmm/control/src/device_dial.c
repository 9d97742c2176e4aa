/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Who connects for devices that dial. */
#include "device_dial.h"

#include <errno.h>
#include <sys/epoll.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

#include "device_passt.h"

int vmm_device_dial(struct device_dials *d, const char *name, unsigned how)
{
    int fd, rc;

    if (d->count == DEVICE_DIALS_MAX)
        return vm_fail(-EACCES, "%s: nothing more may be opened", name);
    rc = vm_dial_new(name, how, &d->row[d->count].dial, &fd);
    if (rc)
        return rc;
    d->count++;
    return fd;
}

void vmm_device_dials_end(struct device_dials *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        vm_watch_del(&d->row[i].watch);
        vm_dial_end(&d->row[i].dial);
    }
    d->count = 0;
}

/* ---- here ---- */

static struct device_dials *of(void *ctx)
{
    return ctx;
}

static void here_log(void *ctx, enum vm_level level, const char *text)
{
    of(ctx)->host.log(of(ctx)->host.ctx, level, text);
}

static uint64_t here_now(void *ctx, enum vm_clock clock)
{
    return of(ctx)->host.now_ns(of(ctx)->host.ctx, clock);
}

static int here_random(void *ctx, void *buf, size_t len)
{
    return of(ctx)->host.random(of(ctx)->host.ctx, buf, len);
}

static void asked(struct vm_watch *watch, uint32_t events)
{
    struct device_dial *row = container_of(watch, struct device_dial, watch);

    (void)events;
    if (vm_dial_serve(&row->dial))
        vm_watch_del(watch);
}

static int here_open(void *ctx, const char *name, unsigned how)
{
    struct device_dials *d = ctx;
    struct device_dial *row = &d->row[d->count];
    int fd, rc;

    if (how == VM_OPEN_USER)
        return vmm_device_passt(d->id, name, d->level);
    if (!vmm_device_is_dial(how))
        return d->host.open(d->host.ctx, name, how);
    fd = vmm_device_dial(d, name, how);
    if (fd < 0)
        return fd;
    rc = vm_watch_add(*d->loop, &row->watch, row->dial.fd, EPOLLIN, asked);
    if (rc)
        vm_close(&fd);
    return rc ? vm_wrap(rc, "%s", name) : fd;
}

void vmm_device_dials_here(struct device_dials *d, const char *id, enum vm_level level,
                           struct vm_env *env)
{
    d->id = id;
    d->level = level;
    d->host = *env;
    d->loop = &env->loop;
    env->ctx = d;
    env->log = here_log;
    env->now_ns = here_now;
    env->random = here_random;
    env->open = here_open;
}
