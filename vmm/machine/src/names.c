/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Names of devices, and what is open by them (names.h). */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/machine/process.h>

#include "machine_private.h"

/* The device's own fd: it closes it. */
static int open_for_thread(void *ctx, const char *name, unsigned how)
{
    struct machine_names *names =
        container_of((struct machine_env *)ctx, struct machine_names, env);
    int row = vmm_names_find(names, name, how), fd;
    bool kept;

    if (row < 0)
        row = vmm_names_add(names, name, how);
    if (row < 0)
        return vm_fail(-EACCES, "%s: nothing more may be opened", name);
    fd = vmm_names_open(names, row, &kept);
    if (fd < 0 || !kept)
        return fd;
    fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return fd < 0 ? vm_fail_errno("%s", name) : fd;
}

struct machine_names *vmm_names_new(struct vmm_machine *m, const char *id)
{
    struct machine_names *names = calloc(1, sizeof(*names));

    if (!names)
        return vm_fail(-ENOMEM, "out of memory"), NULL;
    vmm_machine_env(&names->env, m, open_for_thread);
    names->env.env.keeps_names = true;
    snprintf(names->id, sizeof(names->id), "%s", id);
    return names;
}

void vmm_names_free(struct machine_names *names)
{
    for (unsigned i = 0; names && i < names->count; i++) {
        vm_made_remove(names->row[i].name, &names->row[i].made);
        free(names->row[i].name);
        vm_watch_del(&names->row[i].watch);
        vm_dial_end(&names->row[i].dial);
        vmm_passt_free(names->row[i].passt);
        vm_close(&names->row[i].fd);
    }
    free(names);
}

int vmm_names_find(const struct machine_names *names, const char *name, unsigned how)
{
    for (unsigned i = 0; i < names->count; i++)
        if (names->row[i].how == how && !strcmp(names->row[i].name, name))
            return (int)i;
    return -1;
}

int vmm_names_add(struct machine_names *names, const char *name, unsigned how)
{
    unsigned i = names->count;
    char *copy;

    if (names->live || i == VMM_PROCESS_NAMES_MAX)
        return -1;
    copy = strdup(name);
    if (!copy)
        return -1;
    names->row[i].name = copy;
    names->row[i].how = how;
    names->row[i].made = (struct vm_made){ 0 };
    names->row[i].dial = (struct vm_dial){ .fd = -1 };
    names->row[i].passt = NULL;
    names->row[i].fd = -1;
    names->count++;
    return (int)i;
}

/* Nobody is at the other end only when we close both. */
static void dialled(struct vm_watch *watch, uint32_t events)
{
    struct name_row *row = container_of(watch, struct name_row, watch);

    (void)events;
    if (vm_dial_serve(&row->dial))
        vm_watch_del(watch);
}

static int open_dial(struct machine_names *names, int row)
{
    const struct vmm_machine_config *config = &names->env.m->config;
    const char *name = names->row[row].name;
    int fd, rc;

    if (config->blank)
        return vm_fail(-ENOTCONN, "%s: nobody is talked to for a plan", name);
    rc = vm_dial_new(name, names->row[row].how, &names->row[row].dial, &fd);
    if (rc)
        return rc;
    rc = vm_watch_add(config->env->loop, &names->row[row].watch, names->row[row].dial.fd, EPOLLIN,
                      dialled);
    if (rc) {
        vm_dial_end(&names->row[row].dial);
        vm_close(&fd);
    }
    return rc ? vm_wrap(rc, "%s", name) : fd;
}

static void passt_died(void *ctx, const char *how)
{
    struct machine_names *names = ctx;
    char text[160];

    snprintf(text, sizeof(text), "passt: %s", how);
    vmm_machine_tell(names->env.m, VMM_EVENT_PROCESS_ENDED, names->id, text);
}

static int open_user(struct machine_names *names, int row)
{
    const struct vmm_machine_config *config = &names->env.m->config;
    const struct vmm_passt_setup setup = { .env = config->env,
                                           .spawner = config->sandbox.programs,
                                           .id = names->id,
                                           .text = names->row[row].name,
                                           .died = passt_died,
                                           .ctx = names };
    int fd, rc;

    if (config->blank)
        return vm_fail(-ENOTCONN, "passt: nobody is talked to for a plan");
    rc = vmm_passt_new(&setup, &names->row[row].passt, &fd);
    return rc ? rc : fd;
}

static int open_new(struct machine_names *names, int row)
{
    const struct vm_env *env = names->env.m->config.env;
    unsigned how = names->row[row].how;

    if (how & VM_OPEN_DIAL)
        return open_dial(names, row);
    return how == VM_OPEN_USER ? open_user(names, row)
                               : env->open(env->ctx, names->row[row].name, how);
}

int vmm_names_open(struct machine_names *names, int row, bool *ret_kept)
{
    const struct vm_env *env = names->env.m->config.env;
    const char *name = names->row[row].name;
    unsigned how = names->row[row].how;
    int fd = names->row[row].fd;

    *ret_kept = (how & ~(unsigned)VM_OPEN_SEQPACKET) != VM_OPEN_CONNECT;
    if (fd >= 0)
        return fd;
    if (!env->open || (names->live && *ret_kept))
        return vm_fail(-EACCES, "%s: nothing may be opened", name);
    fd = open_new(names, row);
    if (fd >= 0 && *ret_kept)
        names->row[row].fd = fd;
    if (fd >= 0 && vmm_process_makes(how))
        (void)vm_made_note(name, &names->row[row].made); /* else it is left behind */
    return fd;
}
