/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A machine that is built but never started. */
#include "dry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/char/char.h>

enum { STAND_IN_BYTES = 1 << 20 };

/* In the place of each file: an empty one in memory, so that a plan neither needs nor locks what it names. */
static int open_stand_in(void *ctx, const char *name, unsigned how)
{
    static const unsigned peers = VM_OPEN_CONNECT | VM_OPEN_LISTEN | VM_OPEN_PTY | VM_OPEN_DIAL |
                                  VM_OPEN_TAP | VM_OPEN_USER | VM_OPEN_KERNEL;
    int fd = how & peers ? -1 : memfd_create("plan", MFD_CLOEXEC);

    (void)ctx;
    if (how & peers)
        return vm_fail(-ENOTCONN, "%s: nobody is talked to for a plan", name);
    if (fd >= 0 && !ftruncate(fd, STAND_IN_BYTES))
        return fd;
    if (fd >= 0)
        close(fd);
    return vm_fail_errno("memory file");
}

static void settle(const struct run_model *model, struct run_config *config)
{
    for (unsigned id = RUN_SERIAL; id <= RUN_CONSOLE; id++) {
        struct {
            struct vdev_common common;
            struct vchar_config chr;
        } *c = run_part_of(model, config, id);

        if (c && c->chr.mode != VCHAR_OFF)
            vchar_config_mute(&c->chr);
    }
}

static void nothing_ended(void *ctx, enum vmm_end end)
{
    (void)ctx;
    (void)end;
}

static int open_hypervisor(struct dry *d, enum dry_on on, unsigned number)
{
    switch (on) {
    case DRY_ON_REFERENCE: return varch_reference_new(&d->env, number, &d->hv, &d->reference);
    case DRY_ON_HOST: return vmm_run_kvm(&d->env, &d->hv);
    default: return 0;
    }
}

static int make_machine(const struct run_model *model, struct run_config *config, struct dry *d)
{
    struct vmm_machine_config *m = &d->inputs.machine;
    int rc = vmm_run_inputs_make(model, config, false, &d->inputs);

    if (rc)
        return rc;
    settle(model, config);
    m->env = &d->env;
    m->hv = d->hv;
    m->blank = true;
    m->sandbox.filters = false; /* and no spawner: who serves a device says nothing of what it is */
    if (d->hv) /* little of the memory is used: none is to be taken from the host for it */
        m->ram =
            (struct gm_backing){ .kind = m->ram.kind == GM_HUGETLB ? GM_ANONYMOUS : m->ram.kind };
    m->ctx = &d->inputs;
    m->ended = nothing_ended;
    rc = vmm_machine_new(m, &d->machine);
    if (rc)
        vmm_run_inputs_free(&d->inputs);
    return rc;
}

int vmm_dry_new(const struct run_model *model, struct run_config *config, enum dry_on on,
                unsigned number, struct dry *d)
{
    int rc;

    memset(d, 0, sizeof(*d));
    vm_env_host((enum vm_level)config->log_level, &d->env);
    d->env.open = open_stand_in;
    rc = vmm_run_config_check(config, false);
    if (!rc)
        rc = vm_loop_new(&d->env, 0, &d->env.loop);
    if (rc)
        return rc;
    rc = open_hypervisor(d, on, number);
    if (!rc)
        rc = make_machine(model, config, d);
    if (rc) {
        hv_free(d->hv);
        vm_loop_free(d->env.loop);
    }
    return rc;
}

void vmm_dry_free(struct dry *d)
{
    vmm_machine_free(d->machine);
    vmm_run_inputs_free(&d->inputs);
    hv_free(d->hv);
    vm_loop_free(d->env.loop);
}
