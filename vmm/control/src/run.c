/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm run: a machine, the terminal, signals and the control socket on one loop until the guest is done. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/control/control.h>
#include <vmm/hypervisor/kvm.h>

#include "server.h"
#include "shed.h"
#include "terminal.h"
#include "window.h"

/* How long the spawner may take to make its namespaces, and then memory. */
#define SPAWNER_NS (5ULL * 1000000000ULL)

struct run {
    struct vm_env env;
    struct hv *hv;
    struct vmm_machine *machine;
    struct server *server;
    struct terminal terminal;
    struct window window;
    struct shed shed;
    struct vm_watch signals;
    struct vmm_spawner *spawner, *programs;
    int signal_fd, ram_fd; /* -1: none */
    bool asked; /* SIGTERM has pressed the power button: the next one stops */
    enum vmm_end end;
};

int vmm_run_exit_code(int code)
{
    switch (code) {
    case 0: return VMM_EXIT_OK;
    case -EINVAL:
    case -ENOEXEC:
    case -ENOENT:
    case -EISDIR:
    case -EACCES:
    case -ENXIO:
    case -ELOOP:
    case -ENAMETOOLONG:
    case -EEXIST:
    case -EADDRINUSE:
    case -ENOTSOCK:
    case -ECONNREFUSED:
    case -EFBIG:
    case -ERANGE:
    case -EBUSY:
    case -ENOTDIR:
    case -EROFS:
    case -ENOSPC: /* of the guest's memory, slots and addresses */ return VMM_EXIT_USAGE;
    case -ENOTSUP:
    case -ENODEV: return VMM_EXIT_HOST;
    case -ENOMEM:
    case -EAGAIN: /* of processes and threads */
    case -EMFILE:
    case -ENFILE:
    case -ETOOMANYREFS: return VMM_EXIT_RESOURCE;
    default: return VMM_EXIT_FAILED;
    }
}

static int end_code(enum vmm_end end)
{
    switch (end) {
    case VMM_END_POWEROFF: return VMM_EXIT_OK;
    case VMM_END_STOP: return VMM_EXIT_STOPPED;
    case VMM_END_RESET: return VMM_EXIT_RESET;
    case VMM_END_PANIC: return VMM_EXIT_PANIC;
    case VMM_END_CRASH: return VMM_EXIT_CRASH;
    default: return VMM_EXIT_FAILED;
    }
}

int vmm_run_kvm(const struct vm_env *env, struct hv **ret_hv)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), rc;

    if (fd < 0 && errno == ENOENT)
        return vm_fail(-ENODEV, "/dev/kvm does not exist: load the module kvm_intel or kvm_amd, or "
                                "switch virtualisation on in "
                                "the firmware; vmm doctor tells more");
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return vm_fail(-ENODEV, "/dev/kvm: no permission: join the group kvm (usermod -aG kvm "
                                "USER, then log in again)");
    if (fd < 0)
        return vm_fail_errno("/dev/kvm");
    rc = hv_kvm_new(env, fd, ret_hv);
    if (rc)
        close(fd);
    return rc ? vm_wrap(rc, "/dev/kvm") : 0;
}

/* SIGTERM: the power button, then the plug. SIGINT and SIGQUIT reach us by key only where the terminal is not raw: the plug at once,
 * as for SIGHUP and SIGALRM. */
static void on_signal(struct vm_watch *watch, uint32_t events)
{
    struct run *r = container_of(watch, struct run, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(r->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        bool stop = info.ssi_signo != SIGTERM || r->asked;

        if (info.ssi_signo == SIGWINCH) {
            vmm_window_update(&r->window);
            continue;
        }
        if (!stop && vmm_machine_power_button(r->machine)) {
            vm_log(&r->env, VM_LOG_WARN, "SIGTERM: %s; stopping", vm_error_text());
            stop = true;
        }
        r->asked = true;
        if (stop)
            vmm_machine_stop(r->machine);
    }
}

static int watch_signals(struct run *r)
{
    sigset_t set, blocked;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGWINCH);
    blocked = set;
    /* They mean nothing to us, but would end the program with the terminal raw: nobody ever takes them. */
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    if (sigprocmask(SIG_BLOCK, &blocked, NULL))
        return vm_fail_errno("signals");
    r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r->signal_fd < 0)
        return vm_fail_errno("signals");
    return vm_watch_add(r->env.loop, &r->signals, r->signal_fd, EPOLLIN, on_signal);
}

static void on_end(void *ctx, enum vmm_end end)
{
    struct run *r = ((struct run_inputs *)ctx)->ended_ctx;

    r->end = end;
    vm_loop_stop(r->env.loop);
}

static void on_event(void *ctx, enum vmm_event event, const char *source, const char *text)
{
    struct run *r = ((struct run_inputs *)ctx)->ended_ctx;

    if (event == VMM_EVENT_TROUBLE)
        vm_log(&r->env, VM_LOG_ERROR, "%s: %s", source, text);
    if (event ==
        VMM_EVENT_MOVED) /* a move is a start, too, and the thread that served leaves holes */
        vmm_shed_begin(&r->shed, r->env.loop);
    if (r->server)
        vmm_server_event(r->server, event, source, text);
}

/* Without the spawner what is there goes on, but nothing starts again: so the machine ends while it is whole. */
static void on_spawner_lost(void *ctx)
{
    struct run *r = ctx;

    vm_log(&r->env, VM_LOG_ERROR, "the spawner of device processes has ended, and they with it");
    if (r->machine)
        vmm_machine_stop(r->machine);
}

/* Many devices and queues need many; and no process of a device's may have as many on their way as we (vmm_process_new()). */
static void raise_limit_of_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* Before the first thread and guest byte; files that are open stay here (CLOEXEC, and it closes them). */
static int start_spawner(struct run *r, const struct run_inputs *in)
{
    struct vmm_spawner_config config = {
        .env = &r->env, .entry = vmm_control_main, .lost = on_spawner_lost, .ctx = r
    };
    int rc = in->processes ? vmm_spawner_start(&config, &r->spawner) : 0;

    if (rc || !in->programs)
        return rc;
    config.foreign = true;
    return vmm_spawner_start(&config, &r->programs);
}

/* Memory that the processes of devices map, too. A foreign one could cut a file short, so it gets a sealed memory file. */
static int share_ram(struct run *r, struct run_inputs *in)
{
    struct gm_backing *ram = &in->machine.ram;

    if (!r->spawner || in->shared || ram->kind != GM_MEMFD)
        return 0;
    r->ram_fd = vmm_spawner_ram(r->spawner, in->machine.arch.ram_bytes, SPAWNER_NS);
    if (r->ram_fd == -ETIMEDOUT || r->ram_fd == -EPIPE)
        return r->ram_fd;
    if (r->ram_fd < 0) {
        vm_log(&r->env, VM_LOG_INFO, "%s: it lies in a memory file instead", vm_error_text());
        return 0;
    }
    ram->kind = GM_FILE;
    ram->shared = true;
    ram->fd = r->ram_fd;
    return 0;
}

static int meet_programs(struct run *r, struct run_inputs *in)
{
    int rc;

    if (!r->programs)
        return 0;
    rc = vmm_spawner_ready(r->programs, SPAWNER_NS);
    if (!rc)
        rc = vmm_spawner_attach(r->programs, r->env.loop);
    in->machine.sandbox.programs = r->programs;
    return rc ? vm_wrap(rc, "programs of devices") : 0;
}

static int meet_spawner(struct run *r, struct run_inputs *in)
{
    int rc;

    if (!r->spawner)
        return 0;
    rc = vmm_spawner_ready(r->spawner, SPAWNER_NS);
    if (!rc)
        rc = share_ram(r, in);
    if (!rc)
        rc = vmm_spawner_attach(r->spawner, r->env.loop);
    in->machine.sandbox.spawner = r->spawner;
    return rc ? vm_wrap(rc, "device processes (--sandbox thread goes without)") : 0;
}

static int set_up(struct run *r, struct run_inputs *in)
{
    int rc = vm_loop_new(&r->env, 0, &r->env.loop);

    if (!rc)
        rc = vmm_run_kvm(&r->env, &r->hv);
    if (!rc)
        rc = meet_spawner(r, in);
    if (!rc)
        rc = meet_programs(r, in);
    if (rc)
        return rc;
    in->machine.env = &r->env;
    in->machine.hv = r->hv;
    in->machine.ended = on_end;
    in->machine.event = on_event;
    in->ended_ctx = r;
    in->machine.ctx = in;
    rc = vmm_machine_new(&in->machine, &r->machine);
    if (!rc)
        /* before any thread, for all inherit the mask; until here ^C just ends us */
        rc = watch_signals(r);
    if (!rc) /* behind the signal: a change in between is told twice, not never */
        vmm_window_init(&r->window, r->machine, in);
    if (!rc && in->config->socket)
        rc = vmm_server_new(&r->env, r->machine, in->config->socket, &r->server);
    return rc;
}

static void tear_down(struct run *r, int exit_code)
{
    vmm_terminal_restore(&r->terminal);
    vmm_server_free(r->server);
    if (vmm_machine_free(r->machine)) { /* a thread that hangs still uses all of it */
        vm_log(&r->env, VM_LOG_ERROR, "%s", vm_error_text());
        _exit(exit_code);
    }
    vm_watch_del(&r->signals);
    vm_close(&r->signal_fd);
    hv_free(r->hv);
    vmm_spawner_free(r->spawner);
    vmm_spawner_free(r->programs);
    vm_close(&r->ram_fd);
    vm_loop_free(r->env.loop);
}

/* The errors that only the user's limits can mend say which. */
const char *vmm_run_error_text(int code)
{
    struct rlimit files = { 0 };

    if (code == -EMFILE && !getrlimit(RLIMIT_NOFILE, &files))
        (void)vm_fail(code, "%s: the limit is %llu (RLIMIT_NOFILE): give more by ulimit -n",
                      vm_error_text(), (unsigned long long)files.rlim_cur);
    return vm_error_text();
}

static void tell(const struct run *r, int rc)
{
    vm_log(&r->env, VM_LOG_ERROR, "%s", vmm_run_error_text(rc));
}

int vmm_run_machine(const struct run_model *model, struct run_config *config)
{
    struct run r = { .signal_fd = -1, .ram_fd = -1 };
    struct run_inputs in;
    int rc, code;

    vm_env_host((enum vm_level)config->log_level, &r.env);
    rc = vmm_run_inputs_make(model, config, true, &in);
    if (rc) {
        tell(&r, rc);
        return vmm_run_exit_code(rc);
    }
    rc = start_spawner(&r, &in);
    raise_limit_of_files(); /* foreign programs keep what we were given */
    if (!rc)
        rc = set_up(&r, &in);
    if (!rc) {
        if (in.terminal)
            vmm_terminal_raw(&r.terminal);
        rc = vmm_machine_start(r.machine);
    }
    if (!rc)
        rc = vmm_machine_confine(r.machine);
    if (!rc) {
        vmm_shed_begin(&r.shed, r.env.loop);
        rc = vm_loop_run(r.env.loop);
        vmm_shed_end(&r.shed);
    }
    vmm_terminal_restore(&r.terminal);
    if (rc)
        tell(&r, rc);
    code = rc ? vmm_run_exit_code(rc) : end_code(r.end);
    tear_down(&r, code);
    vmm_run_inputs_free(&in);
    return code;
}
