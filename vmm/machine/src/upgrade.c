/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Replacing the processes of devices, one after the other; how one of them is replaced stands in process_upgrade.c. */
#include "machine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

/* A trial cannot be taken back before it is over. */
static const struct vm_job_ops upgrade_job = { .name = "upgrade" };

static void finish(struct vmm_machine *m, int code)
{
    struct machine_upgrade u = m->upgrade;

    m->upgrade = (struct machine_upgrade){ .binary_fd = -1 };
    vm_close(&u.binary_fd);
    vm_job_end(u.job, code);
    u.done(u.ctx, code);
}

static bool has_process(const struct machine_device *d)
{
    return d->process && !d->leave;
}

static void begin(struct vmm_machine *m);

static void replaced(void *ctx, int code)
{
    struct vmm_machine *m = ctx;
    struct machine_device *d;

    if (!m->upgrade.job) /* the machine has ended meanwhile */
        return;
    if (code) {
        finish(m, code);
        return;
    }
    d = m->upgrade.device->next;
    vm_job_progress(m->upgrade.job, ++m->upgrade.ready, m->upgrade.total);
    while (d && !has_process(d))
        d = d->next;
    m->upgrade.device = d;
    if (d && m->upgrade.all)
        begin(m);
    else
        finish(m, 0);
}

static void begin(struct vmm_machine *m)
{
    int rc = vmm_process_upgrade(m->upgrade.device->process, m->upgrade.binary_fd, replaced, m);

    if (rc)
        finish(m, rc);
}

static int choose(struct vmm_machine *m, const char *id, struct machine_upgrade *u)
{
    struct machine_device *d = m->devices;

    while (d && (u->all ? !has_process(d) : strcmp(d->id, id) != 0))
        d = d->next;
    u->device = d;
    if (!d && u->all)
        return vm_fail(-ENOTSUP, "no device of this machine is in a process of its own");
    if (!d)
        return vm_fail(-ENOENT, "there is no device '%s': vmm info lists them", id);
    if (d->leave)
        return vm_fail(-EBUSY, "%s is being removed", id);
    if (!d->process)
        return vm_fail(-ENOTSUP, "%s is not in a process of ours: it cannot get another program",
                       id);
    for (d = m->devices; d; d = d->next)
        u->total += u->all ? has_process(d) : d == u->device;
    return 0;
}

static int check(const struct vmm_machine *m)
{
    if (vmm_machine_has_ended(m))
        return vmm_machine_fail_ended(m);
    if (m->state == MACHINE_BUILT)
        return vm_fail(-EBUSY, "the machine was not started yet");
    if (vmm_machine_mover(m))
        return vm_fail(-EBUSY, "%s is being moved: upgrade when that is over",
                       vmm_machine_mover(m)->id);
    return m->upgrade.job ? vm_fail(-EBUSY, "another upgrade is under way") : 0;
}

int vmm_machine_upgrade(struct vmm_machine *m, const char *id, int binary_fd,
                        void (*done)(void *ctx, int code), void *ctx)
{
    struct machine_upgrade u = { .all = !strcmp(id, "all"), .done = done, .ctx = ctx };
    int rc = check(m);

    if (!rc)
        rc = choose(m, id, &u);
    if (rc)
        return rc;
    u.binary_fd = fcntl(binary_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (u.binary_fd < 0)
        return vm_fail_errno("%s: its new program", id);
    rc = vm_job_start(m->jobs, &upgrade_job, m, 0, &u.job);
    if (!rc)
        rc = vmm_process_upgrade(u.device->process, u.binary_fd, replaced, m);
    if (!rc) {
        m->upgrade = u;
        vm_job_progress(u.job, 0, u.total);
        return 0;
    }
    if (u.job)
        vm_job_end(u.job, rc);
    vm_close(&u.binary_fd);
    return rc;
}

void *vmm_machine_upgrade_ctx(const struct vmm_machine *m)
{
    return m->upgrade.job ? m->upgrade.ctx : NULL;
}

void vmm_machine_upgrade_end(struct vmm_machine *m, int code)
{
    if (m->upgrade.job)
        finish(m, code);
}
