/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One device behind its vhost-user back end, on a loop of its own: front ends come and go until a signal ends it. */
#include "device.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/control/control.h>
#include <vmm/devices-core/counters.h>
#include <vmm/devices-core/ledger.h>
#include <vmm/vhost/backend.h>

#include <vmm/jail/profile.h>
#include <vmm/jail/stages.h>

#include "device_child.h"
#include "device_dial.h"
#include "run.h"
#include "shed.h"

struct serving {
    struct device_service *service;
    struct device_child child;
    struct device_dials dials; /* of a device that is nobody's child */
    struct vmm_jail_profile profile;
    struct vmm_jail_result jail;
    struct vm_env env;
    struct vdev_machine machine;
    struct gm_space *memory;
    struct vdev_counters *counters; /* NULL: nobody reads them */
    struct vhost_backend *backend;
    struct vm_watch signals, clients;
    struct shed shed;
    int signal_fd, listen_fd; /* -1: the one connection is all there is */
    bool ending;
};

/* ---- what a device asks of its machine: the front end has one, we have not ---- */

static void on_event(struct vdev_machine *machine, struct vdev *dev, enum vdev_event event,
                     uint32_t value)
{
    (void)machine;
    (void)dev;
    (void)event;
    (void)value;
}

static int no_doorbell(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                       bool match, uint64_t value, int fd)
{
    (void)machine, (void)pio, (void)addr, (void)len, (void)match, (void)value, (void)fd;
    return -ENOSYS;
}

static void no_doorbell_either(struct vdev_machine *machine, bool pio, uint64_t addr, unsigned len,
                               bool match, uint64_t value, int fd)
{
    (void)machine, (void)pio, (void)addr, (void)len, (void)match, (void)value, (void)fd;
}

static void nobody_parks(struct vdev_machine *machine, struct vdev *dev)
{
    (void)machine;
    (void)dev;
}

static void on_broken(struct vdev_machine *machine, struct vdev *dev, const char *why)
{
    (void)machine; /* the device has logged it */
    (void)dev;
    (void)why;
}

static const struct vdev_machine_ops machine_ops = {
    .event = on_event,
    .doorbell_add = no_doorbell,
    .doorbell_del = no_doorbell_either,
    .unpark = nobody_parks,
    .broken = on_broken,
};

/* ---- front ends ---- */

static void on_closed(void *ctx, const struct vm_error *why)
{
    struct serving *s = ctx;
    bool usual = why->code == -ECONNRESET || s->ending;

    vm_log(&s->env, usual ? VM_LOG_INFO : VM_LOG_WARN, "%s: %s", s->service->id, why->text);
    if (s->ending || s->listen_fd < 0)
        vm_loop_stop(s->env.loop);
    else
        vm_watch_set(&s->clients, EPOLLIN);
}

static void on_client(struct vm_watch *watch, uint32_t events)
{
    struct serving *s = container_of(watch, struct serving, clients);
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    vm_watch_set(&s->clients, 0); /* the next one waits in the queue */
    if (vhost_backend_serve(s->backend, fd)) {
        vm_log(&s->env, VM_LOG_WARN, "%s: %s", s->service->id, vm_error_text());
        vm_watch_set(&s->clients, EPOLLIN);
    }
}

/* The first asks for a clean end, the second does not wait for it. */
static void on_signal(struct vm_watch *watch, uint32_t events)
{
    struct serving *s = container_of(watch, struct serving, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (s->ending || !vhost_backend_busy(s->backend))
            vm_loop_stop(s->env.loop);
        s->ending = true;
        vhost_backend_end(s->backend);
    }
}

/* ---- life ---- */

/* Before the jail is entered. */
static int open_signals(struct serving *s)
{
    sigset_t set;

    if (!s->service->alone) /* a VMM's child has no terminal, and its end is its VMM's */
        return 0;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return vm_fail_errno("signals");
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? vm_fail_errno("signals") : 0;
}

static int make_device(struct serving *s)
{
    static const struct vhost_backend_ops ops = { .closed = on_closed };
    const struct vdev_context context = { .env = &s->env,
                                          .machine = &s->machine,
                                          .id = s->service->id,
                                          .memory = s->memory,
                                          .counters = s->counters,
                                          .config = s->service->config };
    struct vdev *dev;
    int rc = s->service->cls->create(&context, &dev);

    if (rc)
        return rc;
    if (s->counters)
        vdev_counters_begin(s->counters, dev);
    rc = vhost_backend_new(container_of(dev, struct virtio_dev, dev), s->memory, &ops, s,
                           &s->backend);
    if (rc) {
        vdev_destroy(dev);
        return rc;
    }
    if (s->service->ledger_fd >= 0)
        rc = vdev_ledger_attach(dev, s->service->ledger_fd);
    vm_close(&s->service->ledger_fd);
    return rc ? rc
              : vmm_device_child_ready(&s->child, container_of(dev, struct virtio_dev, dev),
                                       &s->jail);
}

static bool is_listening(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on;
}

static int begin(struct serving *s)
{
    int fd = s->service->fd;

    if (fd >= 0 && !is_listening(fd)) {
        s->service->fd = -1;
        return vhost_backend_serve(s->backend, fd);
    }
    s->listen_fd = fd >= 0 ? fd : s->service->listener.fd;
    return vm_watch_add(s->env.loop, &s->clients, s->listen_fd, EPOLLIN, on_client);
}

static int set_up(struct serving *s)
{
    int rc = vm_loop_new(&s->env, 0, &s->env.loop);

    s->env.keys_loop = s->env.loop;
    if (!rc && s->signal_fd >= 0)
        rc = vm_watch_add(s->env.loop, &s->signals, s->signal_fd, EPOLLIN, on_signal);
    if (!rc)
        rc = gm_space_new(&s->env, &s->memory);
    if (!rc && s->service->counters_fd >= 0)
        rc = vdev_counters_attach(s->service->counters_fd, &s->counters);
    vm_close(&s->service->counters_fd);
    if (!rc)
        rc = make_device(s);
    if (rc)
        vmm_device_child_failed(&s->child, rc);
    return rc ? rc : begin(s);
}

/* The VMM runs another program, which does not know what this one calls. */
static int own_filters(struct serving *s)
{
    const struct vmm_machine_sandbox sandbox = { .filters = true,
                                                 .action =
                                                     (enum vmm_jail_action)s->profile.action };
    struct vmm_jail_profile own;
    int rc = vmm_machine_device_profile(&sandbox, s->service->cls, s->service->id, false, &own);

    if (rc)
        return rc;
    s->profile.enter = own.enter;
    s->profile.narrow = own.narrow;
    return 0;
}

/* Before anything that somebody else wrote is read. */
static int enter_jail(struct serving *s)
{
    char text[256];
    int rc;

    if (s->service->profile_fd < 0)
        return 0;
    rc = vmm_jail_profile_read(s->service->profile_fd, &s->profile);
    vm_close(&s->service->profile_fd);
    if (!rc && s->profile.own_filters)
        rc = own_filters(s);
    if (!rc)
        rc = vmm_jail_enter(&s->profile, &s->jail);
    s->jail.refused &= ~(1u << VMM_JAIL_PID); /* nobody can have that by himself */
    if (!rc && s->service->alone && vmm_jail_result_missing(&s->jail, text, sizeof(text)))
        vm_log(&s->env, VM_LOG_WARN, "%s: %s", s->service->id, text);
    return rc;
}

static int serve(struct serving *s)
{
    int rc = set_up(s);

    if (!rc)
        rc = vmm_jail_narrow(&s->profile);
    if (rc)
        return rc;
    vmm_shed_begin(&s->shed, s->env.loop);
    rc = vm_loop_run(s->env.loop);
    vmm_shed_end(&s->shed);
    return rc;
}

/* A device that still works is left to the end of the process. */
static void tear_down(struct serving *s)
{
    vm_watch_del(&s->clients);
    vm_watch_del(&s->signals);
    vm_watch_del(&s->child.watch);
    vmm_device_dials_end(&s->dials);
    vm_close(&s->signal_fd);
    if (s->backend && vhost_backend_busy(s->backend))
        return;
    vhost_backend_free(s->backend);
    if (s->memory)
        gm_space_free(s->memory);
    vdev_counters_free(s->counters);
    vm_loop_free(s->env.loop);
}

int vmm_device_serve(struct device_service *service)
{
    struct serving s = { .service = service, .signal_fd = -1, .listen_fd = -1 };
    int rc;

    vm_env_host((enum vm_level)service->log_level, &s.env);
    vmm_device_child_init(&s.child, service->channel_fd, (enum vm_level)service->log_level, &s.env);
    if (s.child.channel < 0)
        vmm_device_dials_here(&s.dials, service->id, (enum vm_level)service->log_level, &s.env);
    s.machine.ops = &machine_ops;
    rc = open_signals(&s);
    if (!rc)
        rc = enter_jail(&s);
    if (rc)
        vmm_device_child_failed(&s.child, rc);
    else
        rc = serve(&s);
    vmm_jail_profile_free(&s.profile);
    if (rc && !s.child.failed)
        vm_log(&s.env, VM_LOG_ERROR, "%s", vm_error_text());
    tear_down(&s);
    if (s.child.channel >=
        0) /* its filter allows nothing of what the C library and others do at an end */
        _exit(rc ? vmm_run_exit_code(rc) : VMM_EXIT_OK);
    return rc ? vmm_run_exit_code(rc) : VMM_EXIT_OK;
}
