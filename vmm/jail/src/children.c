/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Requests to the spawner and the children they make. The VMM never waits for the spawner: what its socket does not take stays
 * in a bounded queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <vmm/base/fd.h>
#include <vmm/base/socket.h>

#include "client.h"

struct vmm_child {
    struct vmm_spawner *spawner;
    struct vm_list node;
    uint32_t id;
    int pidfd;
    bool ended, in_end;
    bool freed; /* waits for its end, tells nobody */
    void (*on_started)(void *ctx, pid_t pid, int pidfd);
    void (*on_ended)(void *ctx, int code, int wait_status);
    void *ctx;
};

/* ---- the queue ---- */

static void pending_free(struct vmm_spawn_pending *pending)
{
    while (pending->fds)
        vm_close(&pending->fd[--pending->fds]);
    free(pending->request);
    free(pending);
}

static int queue(struct vmm_spawner *s, const struct vmm_spawn_request *request, size_t len,
                 const int *fd, size_t fds)
{
    struct vmm_spawn_pending *pending = calloc(1, sizeof(*pending));

    if (pending)
        pending->request = malloc(len);
    if (!pending || !pending->request) {
        free(pending);
        return vm_fail(-ENOMEM, "spawner: no memory for a request");
    }
    memcpy(pending->request, request, len);
    pending->len = len;
    for (; pending->fds < fds; pending->fds++) {
        pending->fd[pending->fds] = fcntl(fd[pending->fds], F_DUPFD_CLOEXEC, 3);
        if (pending->fd[pending->fds] < 0) {
            int rc = vm_fail_errno("spawner: fd %d", fd[pending->fds]);

            pending_free(pending);
            return rc;
        }
    }
    vm_list_add(&s->queue, &pending->node);
    s->queued++;
    return vmm_spawn_watch(s);
}

int vmm_spawn_post(struct vmm_spawner *s, const struct vmm_spawn_request *request, const int *fd,
                   size_t fds)
{
    size_t len = offsetof(struct vmm_spawn_request, text) + request->text_len;
    ssize_t n;

    if (s->gone)
        return vm_fail(-EPIPE, "the spawner is gone: no process can be started any more");
    if (s->queued == VMM_SPAWNER_QUEUE_MAX)
        return vm_fail(-EAGAIN, "the spawner does not take requests: %d wait already",
                       VMM_SPAWNER_QUEUE_MAX);
    n = s->queued ? -EAGAIN : vm_socket_send(s->sock, request, len, fd, fds, 0);
    if (n == -EAGAIN)
        return queue(s, request, len, fd, fds);
    return n < 0 ? vm_socket_send_failed(n, "spawner: request") : 0;
}

void vmm_spawn_flush(struct vmm_spawner *s)
{
    while (!vm_list_empty(&s->queue)) {
        struct vmm_spawn_pending *p = container_of(s->queue.next, struct vmm_spawn_pending, node);
        ssize_t n = vm_socket_send(s->sock, p->request, p->len, p->fd, p->fds, 0);
        uint32_t id = p->request->id;

        if (n == -EAGAIN)
            return;
        vm_list_del(&p->node);
        s->queued--;
        pending_free(p);
        /* Any other error than this one is the connection's end, which is read soon. */
        if (n == -ETOOMANYREFS)
            vmm_spawn_child_refused(s, id, n);
    }
    vmm_spawn_watch(s);
}

void vmm_spawn_drop_queue(struct vmm_spawner *s)
{
    while (!vm_list_empty(&s->queue)) {
        struct vmm_spawn_pending *p = container_of(s->queue.next, struct vmm_spawn_pending, node);

        vm_list_del(&p->node);
        s->queued--;
        pending_free(p);
    }
}

/* ---- children ---- */

static int add_arguments(struct vmm_spawn_request *r, const char *const *argv)
{
    for (; argv[r->argc]; r->argc++) {
        size_t len = strlen(argv[r->argc]) + 1;

        if (len > sizeof(r->text) - r->text_len || r->argc == VMM_SPAWNER_ARGS_MAX)
            return vm_fail(-E2BIG, "spawner: over %d arguments or %zu bytes of them",
                           VMM_SPAWNER_ARGS_MAX, sizeof(r->text));
        memcpy(r->text + r->text_len, argv[r->argc], len);
        r->text_len += (uint32_t)len;
    }
    return r->argc ? 0 : vm_fail(-EINVAL, "spawner: a process has a name at least (argv[0])");
}

static int add_fds(struct vmm_spawn_request *r, const struct vmm_child_config *config,
                   int fd[VMM_SPAWN_FDS], size_t *ret_count)
{
    if (config->fds > VMM_SPAWNER_FDS_MAX)
        return vm_fail(-E2BIG, "spawner: %zu fds for one process, %d are possible", config->fds,
                       VMM_SPAWNER_FDS_MAX);
    for (size_t i = 0; i < config->fds; i++) {
        int number = config->fd[i].number;

        if (number < 0 || number > VMM_SPAWNER_NUMBER_MAX)
            return vm_fail(-EINVAL, "spawner: fd number %d: must be 0 to %d", number,
                           VMM_SPAWNER_NUMBER_MAX);
        if (memchr(r->number, number, i))
            return vm_fail(-EINVAL, "spawner: fd number %d twice", number);
        r->number[i] = (uint8_t)number;
        fd[i] = config->fd[i].fd;
    }
    r->fds = (uint32_t)config->fds;
    *ret_count = config->fds;
    if (config->binary_fd >= 0) {
        r->flags |= VMM_SPAWN_OWN_BINARY;
        fd[(*ret_count)++] = config->binary_fd;
    }
    return 0;
}

static int request_start(struct vmm_spawner *s, const struct vmm_child_config *config, uint32_t id)
{
    struct vmm_spawn_request *r = calloc(1, sizeof(*r));
    int fd[VMM_SPAWN_FDS], rc;
    size_t fds = 0;

    if (!r)
        return vm_fail(-ENOMEM, "spawner: no memory for a request");
    r->type = VMM_SPAWN_START;
    r->id = id;
    rc = add_arguments(r, config->argv);
    if (!rc)
        rc = add_fds(r, config, fd, &fds);
    if (!rc)
        rc = vmm_spawn_post(s, r, fd, fds);
    free(r);
    return rc;
}

int vmm_child_start(struct vmm_spawner *s, const struct vmm_child_config *config,
                    struct vmm_child **ret_child)
{
    struct vmm_child *child = calloc(1, sizeof(*child));
    int rc;

    if (!child)
        return vm_fail(-ENOMEM, "spawner: no memory for a process");
    child->spawner = s;
    child->id = vmm_spawn_next_id(s);
    child->pidfd = -1;
    child->on_started = config->started;
    child->on_ended = config->ended;
    child->ctx = config->ctx;
    rc = request_start(s, config, child->id);
    if (rc) {
        free(child);
        return rc;
    }
    vm_list_add(&s->children, &child->node);
    *ret_child = child;
    return 0;
}

/* If the queue is full the spawner is stuck, and its end is the child's. */
void vmm_child_kill(struct vmm_child *child)
{
    struct vmm_spawn_request r = { .type = VMM_SPAWN_KILL, .id = child->id };

    if (!child->ended && !child->spawner->gone && vmm_spawn_post(child->spawner, &r, NULL, 0))
        vm_log(child->spawner->env, VM_LOG_WARN, "%s", vm_error_text());
}

static void forget(struct vmm_child *child)
{
    vm_list_del(&child->node);
    vm_close(&child->pidfd);
    free(child);
}

void vmm_child_free(struct vmm_child *child)
{
    if (!child || child->freed)
        return;
    child->freed = true;
    vm_close(&child->pidfd);
    if (!child->ended)
        vmm_child_kill(child);
    else if (!child->in_end)
        forget(child);
}

/* ---- events ---- */

static struct vmm_child *find(struct vmm_spawner *s, uint32_t id)
{
    vm_list_for_each (node, &s->children) {
        struct vmm_child *child = container_of(node, struct vmm_child, node);

        if (child->id == id && !child->ended)
            return child;
    }
    return NULL;
}

static void end(struct vmm_child *child, int code, int status)
{
    child->ended = true;
    child->in_end = true;
    if (!child->freed)
        child->on_ended(child->ctx, code, status);
    child->in_end = false;
    if (child->freed)
        forget(child);
}

void vmm_spawn_child_refused(struct vmm_spawner *s, uint32_t id, ssize_t error)
{
    struct vmm_child *child = find(s, id);

    if (child)
        end(child, vm_socket_send_failed(error, "spawner: request"), 0);
}

void vmm_spawn_child_event(struct vmm_spawner *s, const struct vmm_spawn_event *event, int fd)
{
    struct vmm_child *child = find(s, event->id);

    if (!child || (event->type == VMM_SPAWN_STARTED && (fd < 0 || child->freed))) {
        vm_close(&fd);
    } else if (event->type == VMM_SPAWN_STARTED) {
        vm_close(&child->pidfd);
        child->pidfd = fd;
        if (child->on_started)
            child->on_started(child->ctx, event->pid, fd);
    } else {
        vm_close(&fd);
        if (event->code)
            vm_fail(event->code, "%.*s", (int)sizeof(event->text) - 1, event->text);
        end(child, event->code, event->status);
    }
}

void vmm_spawn_children_free(struct vmm_spawner *s)
{
    while (!vm_list_empty(&s->children))
        forget(container_of(s->children.next, struct vmm_child, node));
}

void vmm_spawn_children_lost(struct vmm_spawner *s)
{
    struct vm_list *node = s->children.next, *next;

    for (; node != &s->children; node = next) {
        struct vmm_child *child = container_of(node, struct vmm_child, node);

        next = node->next;
        if (child->ended)
            continue;
        vm_fail(-EPIPE, "the spawner ended, and this process with it");
        end(child, -EPIPE, 0);
        next = s->children.next; /* a call-back may have freed others; the ended ones are skipped */
    }
}
