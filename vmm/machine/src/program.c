/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A program that is not ours, behind a vhost-user device (program.h). The device's front end asks its environment for a connection whenever
 * it has none, with a growing delay; that starts the program, and starts it again. As for our own processes (process.c) the asking is the I/O
 * loop's, and the starting the control loop's, which has the spawner. But the sockets are made by the control loop, too, for a socket that
 * listens needs a name for a moment, and the I/O thread's filter knows none: so the front end is told to come again.
 *
 *     I/O loop                                        control loop
 *     a connection is wanted: -EAGAIN           ->    the old program is killed; when it is dead the next one is started,
 *     ... asked again: it is there              <-    and our end offered
 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/file.h>
#include <vmm/base/socket.h>

#include "machine_env.h"
#include "machine_private.h"

/* How long the last words of a program that ended at once are waited for. */
#define WORDS_NS (500ULL * 1000000ULL)

struct program {
    struct machine_env env; /* the I/O loop's, with our opener */
    struct vmm_machine *m;
    char id[VDEV_ID_MAX + 1];
    struct program_words *words;
    int binary_fd;
    bool live;

    pthread_mutex_t lock; /* guards what follows */
    bool wanted, detached;
    int offered; /* our end of a connection that nobody has taken yet; -1 */

    /* The control loop's thread. */
    struct vm_work work;
    struct vmm_child *child;
    int pidfd; /* its own, duplicated: -1 before it runs */
    int err_fd;
    struct machine_lines err;
    char end[128]; /* how the last one ended */
};

/* ---- sockets: the control loop ---- */

static int connected_pair(int *ret_ours, int *ret_theirs)
{
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
        return vm_fail_errno("socket of a program");
    *ret_ours = fd[0];
    *ret_theirs = fd[1];
    return fcntl(fd[0], F_SETFL, O_NONBLOCK) ? vm_fail_errno("socket of a program") : 0;
}

/* A socket that listens has a name in the file system: for as long as it takes to connect, in a directory that is this user's alone. (An abstract
 * name would have no owner: whoever finds it connects.) */
static int listening_pair(int *ret_ours, int *ret_theirs)
{
    const char *base = getenv("TMPDIR");
    char dir[VM_SOCKET_PATH_MAX - 8], path[VM_SOCKET_PATH_MAX];
    int rc;

    snprintf(dir, sizeof(dir), "%.80s/vmm-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir))
        return vm_fail_errno("%s: a directory for a program's socket (TMPDIR says where)", dir);
    snprintf(path, sizeof(path), "%s/socket", dir);
    rc = *ret_theirs = vm_socket_listen(path, 1);
    if (rc >= 0)
        rc = *ret_ours = vm_socket_connect(path);
    unlink(path);
    unlinkat(AT_FDCWD, dir, AT_REMOVEDIR);
    if (rc < 0)
        return rc;
    return fcntl(*ret_theirs, F_SETFL, 0) ? vm_fail_errno("socket of a program") : 0;
}

/* ---- the program: the control loop ---- */

static void serve(struct program *p);

static void started(void *ctx, pid_t pid, int pidfd)
{
    struct program *p = ctx;

    (void)pid;
    p->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static void ended(void *ctx, int code, int wait_status)
{
    struct program *p = ctx;

    if (code)
        snprintf(p->end, sizeof(p->end), "did not start: %.100s", vm_error_text());
    else
        vmm_jail_explain_status(wait_status, p->end, sizeof(p->end));
    vm_log(p->m->config.env, VM_LOG_WARN, "%s: %s: %s", p->id, p->words->word[0], p->end);
    if (p->live)
        vmm_machine_tell(p->m, VMM_EVENT_PROCESS_ENDED, p->id, p->end);
    vmm_child_free(p->child);
    p->child = NULL;
    vm_close(&p->pidfd);
    serve(p); /* the next one may have waited for it */
}

/* Its words are read by the control loop, also after its end. */
static int hear(struct program *p, int *ret_theirs)
{
    int ours = -1, rc;

    vmm_lines_end(&p->err);
    vm_close(&p->err_fd);
    rc = connected_pair(&ours, ret_theirs);
    p->err_fd = ours;
    return rc ? rc : vmm_lines_begin(&p->err, p->m->config.env->loop, ours);
}

static int start(struct program *p, int *ret_ours)
{
    struct vmm_child_fd fd[] = { { -1, VMM_PROGRAM_FD }, { -1, STDERR_FILENO } };
    struct vmm_child_config config = {
        .argv = (const char *const *)p->words->word,
        .fd = fd,
        .fds = VM_ARRAY_SIZE(fd),
        .binary_fd = p->binary_fd,
        .started = started,
        .ended = ended,
        .ctx = p,
    };
    int rc = (p->words->listens ? listening_pair : connected_pair)(ret_ours, &fd[0].fd);

    if (!rc)
        rc = hear(p, &fd[1].fd);
    if (!rc)
        rc = vmm_child_start(p->m->config.sandbox.programs, &config, &p->child);
    if (rc)
        vm_close(ret_ours);
    vm_close(&fd[0].fd);
    vm_close(&fd[1].fd);
    return rc;
}

/* One at a time: the next program begins when the last one is dead. */
static void serve(struct program *p)
{
    int ours = -1;
    bool begin;

    pthread_mutex_lock(&p->lock);
    begin = p->wanted && !p->detached && p->offered < 0;
    pthread_mutex_unlock(&p->lock);
    if (begin && p->child) {
        vmm_child_kill(p->child);
        return;
    }
    if (!begin)
        return;
    if (start(p, &ours)) {
        vm_log_limited(p->m->config.env, &p->err.limit, VM_LOG_WARN, "%s: %s", p->id,
                       vm_error_text());
        return; /* the front end asks again */
    }
    pthread_mutex_lock(&p->lock);
    p->offered = ours;
    pthread_mutex_unlock(&p->lock);
}

static void serve_posted(struct vm_work *work)
{
    serve(container_of(work, struct program, work));
}

/* ---- the front end's environment: the I/O loop ---- */

static int take_offered(struct program *p)
{
    int fd;

    pthread_mutex_lock(&p->lock);
    fd = p->offered;
    p->offered = -1;
    p->wanted = fd < 0;
    pthread_mutex_unlock(&p->lock);
    return fd;
}

static int env_open(void *ctx, const char *name, unsigned how)
{
    struct program *p = container_of((struct machine_env *)ctx, struct program, env);
    int fd;

    if (how != VM_OPEN_CONNECT)
        return vm_fail(-EACCES, "%s: nothing is opened here", name);
    fd = take_offered(p);
    if (fd >= 0)
        return fd;
    if (p->live) {
        vm_loop_post(p->m->config.env->loop, &p->work, serve_posted);
    } else { /* one thread for both loops */
        serve(p);
        fd = take_offered(p);
    }
    return fd >= 0 ? fd : vm_fail(-EAGAIN, "%s does not run yet", p->words->word[0]);
}

/* ---- the program's file ---- */

/* By a name without a slash it is looked for as a shell would. */
static int find_file(const char *name, char *ret_path, size_t room)
{
    const char *path = strchr(name, '/') ? NULL : getenv("PATH");

    snprintf(ret_path, room, "%s", name);
    for (size_t len; path && *path; path += len + (path[len] == ':')) {
        len = strcspn(path, ":");
        snprintf(ret_path, room, "%.*s/%s", (int)len, path, name);
        if (len && !access(ret_path, X_OK))
            return 0;
    }
    if (!strchr(name, '/'))
        return vm_fail(-ENOENT, "program=%s: there is none in PATH: give its whole path", name);
    return 0;
}

int vmm_program_open(const char *name)
{
    char path[4096], head[2] = { 0 };
    int rc = find_file(name, path, sizeof(path)), fd;

    if (rc)
        return rc;
    if (access(path, X_OK))
        return vm_file_fail("program", path, false);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vm_file_fail("program", path, false);
    if (pread(fd, head, 2, 0) == 2 && !memcmp(head, "#!", 2)) {
        close(fd);
        return vm_fail(-ENOEXEC, "program=%s: it is a script: give its interpreter before it",
                       path);
    }
    return fd;
}

/* ---- life ---- */

int vmm_program_new(struct vmm_machine *m, const char *text, const char *id,
                    struct program **ret_program)
{
    struct program *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return vm_fail(-ENOMEM, "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    p->m = m;
    p->binary_fd = p->offered = p->pidfd = p->err_fd = -1;
    snprintf(p->id, sizeof(p->id), "%s", id);
    vmm_machine_env(&p->env, m, env_open);
    vmm_lines_init(&p->err, m->config.env, p->id);
    rc = vmm_program_words(text, &p->words);
    if (!rc)
        rc = p->binary_fd = vmm_program_open(p->words->word[0]);
    if (rc < 0) {
        vmm_program_free(p, 0);
        return rc;
    }
    *ret_program = p;
    return 0;
}

const struct vm_env *vmm_program_env(struct program *p)
{
    return &p->env.env;
}

int vmm_program_explain(struct program *p, int code)
{
    struct vm_loop *loop = p->m->config.env->loop;
    uint64_t begun = vm_loop_now_ns(loop), passed = 0;
    struct vm_error why;

    if (code == -ETIMEDOUT)
        return vm_fail(code,
                       "%s: %s does not answer on its socket: look at how its text says where that "
                       "is, or give it more time (wait=)",
                       p->id, p->words->word[0]);
    vm_error_save(code, &why);
    while ((p->err.watch.active || p->child) && passed < WORDS_NS &&
           vm_loop_step(loop, WORDS_NS - passed) >= 0)
        passed = vm_loop_now_ns(loop) - begun;
    if (p->child || !p->end[0])
        return vm_error_restore(&why);
    return vm_fail(code, "%s: %s: %s before it served the device", p->id, p->words->word[0],
                   p->end);
}

void vmm_program_live(struct program *p)
{
    p->live = true;
}

void vmm_program_detach(struct program *p)
{
    pthread_mutex_lock(&p->lock);
    p->detached = true;
    p->wanted = false;
    vm_close(&p->offered);
    pthread_mutex_unlock(&p->lock);
}

void vmm_program_free(struct program *p, int patience_ms)
{
    struct pollfd dead;

    if (!p)
        return;
    if (p->m->config.env->loop)
        vm_work_cancel(p->m->config.env->loop, &p->work);
    dead = (struct pollfd){ .fd = p->pidfd, .events = POLLIN };
    if (p->child && p->pidfd >= 0 && !syscall(SYS_pidfd_send_signal, p->pidfd, SIGTERM, NULL, 0))
        (void)poll(&dead, 1, patience_ms);
    vmm_child_free(p->child);
    vmm_lines_end(&p->err);
    vm_close(&p->err_fd);
    vm_close(&p->pidfd);
    vm_close(&p->offered);
    vm_close(&p->binary_fd);
    pthread_mutex_destroy(&p->lock);
    free(p->words);
    free(p);
}
